"""Contact sheets: faces as chance draws them, and the truth about them laid over.

python -m training.faces.sheet --out faces.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.faces.rendering import Rendered, render
from training.faces.sampling import Settings, sample
from training.faces.subject import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOURS = np.array(
    [
        (60, 60, 60),
        (140, 180, 230),
        (40, 80, 140),
        (255, 255, 255),
        (90, 200, 240),
        (60, 60, 230),
        (20, 20, 120),
        (180, 160, 120),
        (120, 140, 170),
        (30, 120, 60),
        (60, 90, 90),
        (160, 80, 80),
        (230, 200, 0),
        (0, 160, 160),
        (255, 0, 255),
    ],
    np.uint8,
)


def overlay(rendered: Rendered) -> NDArray[np.uint8]:
    """Return the picture beside its regions, with landmarks: green where seen, red where not."""
    picture = rendered.image.copy()
    regions = _COLOURS[rendered.region]
    mixed = cv2.addWeighted(picture, 0.35, regions, 0.65, 0)
    for k, (x, y) in enumerate(rendered.landmarks):
        colour = (0, 255, 0) if rendered.visible[k] else (0, 0, 255)
        for canvas in (picture, mixed):
            cv2.circle(canvas, (round(float(x) * 16), round(float(y) * 16)), 20, colour, -1, cv2.LINE_AA, 4)
    return np.asarray(np.concatenate([picture, mixed], 1), np.uint8)


def tiled(pictures: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Return pictures of one size side by side, in rows."""
    rows = [np.concatenate(pictures[k : k + columns], 1) for k in range(0, len(pictures), columns)]
    return np.asarray(np.concatenate(rows), np.uint8)


def main() -> None:
    """Draw the two sheets."""
    parser = argparse.ArgumentParser(description='Draw contact sheets of procedural faces.')
    parser.add_argument(
        '--out', type=Path, default=Path('faces.png'), help='the first sheet; the second gets "_truth" to its name'
    )
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--size', type=int, default=192, help='side of a picture, pixels')
    parser.add_argument('--columns', type=int, default=8)
    parser.add_argument('--rows', type=int, default=6)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    settings = Settings()
    faces = [render(sample(rng, settings), arguments.size) for _ in range(arguments.columns * arguments.rows)]
    cv2.imwrite(str(arguments.out), tiled([face.image for face in faces], arguments.columns))
    truth = arguments.out.with_name(arguments.out.stem + '_truth' + arguments.out.suffix)
    cv2.imwrite(
        str(truth),
        tiled(
            [overlay(face) for face in faces[: arguments.columns * arguments.rows // 2]], max(1, arguments.columns // 2)
        ),
    )
    print(
        f'{arguments.out}: {len(faces)} faces; {truth}: landmarks and regions of the first half ({len(Region)} regions)'
    )


if __name__ == '__main__':
    main()
