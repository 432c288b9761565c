"""Crops that the detector takes for faces though they are none, for the landmarks' network to learn to refuse.

python -m training.mined --heads heads --detector training/runs/detector/checkpoint.pt --out mined

With ``--landmarks`` only those that this network does not refuse, and those that the finder would look at next:
aligned by what was seen in the first.
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
from training.landmarks import Landmarks
from training.loop import channels_first
from training.scenes import TEMPLATE
from training.sprites import five

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 128
SCORE = 0.1
"""From which on a find is looked at; lower than the finder's, so that there is enough to learn from."""
NEAR = 0.6
"""Finds nearer than this to a face, in its widths, are not taken."""
MOST = 6
"""Of one scene."""
CHANCE = 0.02
"""Of a face, by the landmarks' network, from which on a crop is kept and looked at again."""


def false_finds(
    found: NDArray[np.floating], faces: NDArray[np.floating], most: int = MOST
) -> list[NDArray[np.float64]]:
    """(5, 2) landmarks of those finds (n, 15), best first, that are far from all faces (F, 15) and from each other."""
    there = faces[faces[:, 4] > 0]
    kept: list[NDArray[np.float64]] = []
    taken = [_place(face) for face in there]
    for find in found[np.argsort(-found[:, 4])]:
        place = _place(find)
        if any(_near(place, other) for other in taken):
            continue
        taken.append(place)
        kept.append(np.asarray(find[5:], np.float64).reshape(5, 2))
        if len(kept) == most:
            break
    return kept


_IN_EYES, _LEAST_PX = 2.2, 4.0
"""Width of a face in distances of its eyes, and the least, in pixels, that is looked at again."""


def _place(find: NDArray[np.floating]) -> tuple[NDArray[np.floating], float]:
    return (find[:2] + find[2:4]) / 2, float(find[2] - find[0])


def _near(one: tuple[NDArray[np.floating], float], other: tuple[NDArray[np.floating], float]) -> bool:
    return bool(np.linalg.norm(one[0] - other[0]) < NEAR * max(one[1], other[1]))


def looks(
    picture: NDArray[np.uint8], marks: NDArray[np.floating], net: Landmarks | None, there: NDArray[np.floating]
) -> list[NDArray[np.uint8]]:
    """Cut (128, 128, 3) crops at (5, 2) landmarks, counted from edges of pixels, as the finder does.

    With ``net`` two at most, those that it does not refuse.
    """
    kept: list[NDArray[np.uint8]] = []
    marks = marks - 0.5
    for _ in range(2 if net else 1):
        matrix = similarity(marks, TEMPLATE * SIDE - 0.5)
        crop = np.asarray(cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR), np.uint8)
        if net is not None:
            with torch.no_grad():
                points, face = net(channels_first(crop[None]).float() / 255)
            if float(face.sigmoid()) < CHANCE:
                break
            back = cv2.invertAffineTransform(matrix)
            marks = five((points[0, :, :2].numpy() * SIDE - 0.5) @ back[:, :2].T + back[:, 2])
        kept.append(crop)
        width = _IN_EYES * float(np.linalg.norm(marks[1] - marks[0]))
        if width < _LEAST_PX or any(_near((marks.mean(axis=0), width), _place(face)) for face in there):
            break
    return kept


def main() -> None:
    """Look for faces where there are none and keep what was found, as one file of crops."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--heads', type=Path, required=True)
    parser.add_argument('--detector', type=Path, required=True, help='checkpoint.pt of training.detector')
    parser.add_argument('--landmarks', type=Path, help='checkpoint.pt of training.landmarks')
    parser.add_argument('--out', type=Path, required=True, help='file of crops, .npy')
    parser.add_argument('--batches', type=int, default=200)
    parser.add_argument('--seed', type=int, default=1 << 16)
    options = parser.parse_args()
    net = Detector()
    net.load_state_dict(torch.load(options.detector, weights_only=True)['average'])
    net.eval()
    closer = None
    if options.landmarks:
        closer = Landmarks().eval()
        closer.load_state_dict(torch.load(options.landmarks, weights_only=True)['average'])
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
            for marks in false_finds(found[found[:, 4] > SCORE], there):
                crops += looks(picture, marks, closer, there[there[:, 4] > 0])
        if (index + 1) % 20 == 0:
            print(f'{len(crops)} crops of {16 * (index + 1)} scenes', flush=True)
    np.save(options.out, np.stack(crops))


if __name__ == '__main__':
    main()
