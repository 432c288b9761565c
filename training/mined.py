"""Crops that the detector takes for faces though they are none, for the landmarks' network to learn to refuse.

python -m training.mined --heads heads --detector training/runs/detector/checkpoint.pt --out mined
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from facefusion_ros.faces.alignment import similarity
from training.detector import ANCHORS, HEIGHT, WIDTH, Detector, decode
from training.detector import batch as scenes_of
from training.scenes import TEMPLATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 128
SCORE = 0.15
"""From which on a find is looked at; lower than the finder's, so that there is enough to learn from."""
NEAR = 0.6
"""Finds nearer than this to a face, in its widths, are not taken."""
MOST = 6
"""Of one scene."""


def false_finds(
    found: NDArray[np.floating], faces: NDArray[np.floating], most: int = MOST
) -> list[NDArray[np.float64]]:
    """(5, 2) landmarks of those finds (n, 15), best first, that are far from all faces (F, 15) and from each other."""
    there = faces[faces[:, 4] > 0]
    kept: list[NDArray[np.float64]] = []
    taken = [((face[:2] + face[2:4]) / 2, float(face[2] - face[0])) for face in there]
    for find in found[np.argsort(-found[:, 4])]:
        middle, width = (find[:2] + find[2:4]) / 2, float(find[2] - find[0])
        if any(np.linalg.norm(middle - other) < NEAR * max(width, wide) for other, wide in taken):
            continue
        taken.append((middle, width))
        kept.append(np.asarray(find[5:], np.float64).reshape(5, 2))
        if len(kept) == most:
            break
    return kept


def main() -> None:
    """Look for faces where there are none and keep what was found, as one file of crops."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--heads', type=Path, required=True)
    parser.add_argument('--detector', type=Path, required=True, help='checkpoint.pt of training.detector')
    parser.add_argument('--out', type=Path, required=True, help='file of crops, .npy')
    parser.add_argument('--batches', type=int, default=200)
    parser.add_argument('--seed', type=int, default=1 << 16)
    options = parser.parse_args()
    net = Detector()
    net.load_state_dict(torch.load(options.detector, weights_only=True)['average'])
    net.eval()
    crops: list[NDArray[np.uint8]] = []
    for index in range(options.batches):
        pictures, faces = scenes_of(index, heads=options.heads, count=16, seed=options.seed, size=(WIDTH, HEIGHT))
        with torch.no_grad():
            heads = net(pictures.float() / 255)
        every = torch.cat([decode(h, s, a).reshape(16, -1, 15) for h, (s, a) in zip(heads, ANCHORS, strict=True)], 1)
        every[..., 4] = every[..., 4].sigmoid()
        for picture, found, there in zip(
            pictures.permute(0, 2, 3, 1).numpy(), every.numpy(), faces.numpy(), strict=True
        ):
            for five in false_finds(found[found[:, 4] > SCORE], there):
                matrix = similarity(five - 0.5, TEMPLATE * SIDE - 0.5)
                crop = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
                crops.append(np.asarray(crop, np.uint8))
        if (index + 1) % 20 == 0:
            print(f'{len(crops)} crops of {16 * (index + 1)} scenes', flush=True)
    np.save(options.out, np.stack(crops))


if __name__ == '__main__':
    main()
