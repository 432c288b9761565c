"""Pictures to calibrate the eight-bit versions of swapper and restorer on: drawn faces, degraded as the restorer's are.

python -m training.calibration --pairs pairs --out faces
facefusion-ros models build face_restorer --precision int8 --calibration faces
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from training.clutter import degraded
from training.pairs import PairStore


def write(pairs: Path, out: Path, count: int, seed: int = 0) -> None:
    """Write so many faces of a folder of pairs, evenly spread over it, as PNG."""
    store = PairStore.of(pairs)
    out.mkdir(parents=True, exist_ok=True)
    for number in np.linspace(0, len(store) - 1, count).astype(int):
        rng = np.random.default_rng([seed, number])
        cv2.imwrite(str(out / f'{number:05d}.png'), degraded(rng, np.asarray(store[number].face, np.float32)))


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pairs', type=Path, required=True, help='folder of training.pairs')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--count', type=int, default=60)
    options = parser.parse_args()
    write(options.pairs, options.out, options.count)


if __name__ == '__main__':
    main()
