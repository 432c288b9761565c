"""Pairs to learn a swap from: a face, and the same moment with each persona's face; drawn once, kept on disk."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.scenes import similarity, turned_scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

cv2.setNumThreads(1)

SIDE = 320
"""Side of the pictures on disk, pixels."""
CROP = 256
"""Side of the crop that the networks see."""
TEMPLATE = (
    np.array(
        [
            [192.9814, 239.9471],
            [318.9028, 240.1936],
            [256.6342, 314.0193],
            [201.2612, 371.4104],
            [313.0890, 371.1512],
        ]
    )
    / 512
    * CROP
)
"""(5, 2) left eye, right eye, nose, mouth corners in the crop: those of FFHQ, facexlib's face_restoration_helper.py."""
PERSONAS = ('porcelain', 'obsidian', 'jade')
SHARD = 50
_SPAN_MM = (262.0, 300.0)
_EDGE_PX = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A face and what a swap makes of it. Pictures are BGR uint8."""

    face: NDArray[np.uint8]
    """(SIDE, SIDE, 3)"""
    personas: NDArray[np.uint8]
    """(P, SIDE, SIDE, 3) the same with the persona's head."""
    masks: NDArray[np.uint8]
    """(P, SIDE, SIDE) 255 where the persona is to be shown."""
    five: NDArray[np.float32]
    """(5, 2) the face's landmarks, pixels."""


class PairStore:
    """The pairs in a folder, by number."""

    def __init__(self, folder: Path) -> None:
        self._pictures = [np.load(file, mmap_mode='r') for file in sorted(folder.glob('*.pictures.npy'))]
        self._masks = [np.load(file, mmap_mode='r') for file in sorted(folder.glob('*.masks.npy'))]
        five = [np.load(file) for file in sorted(folder.glob('*.five.npy'))]
        if not self._pictures or not len(self._pictures) == len(self._masks) == len(five):
            raise SystemExit(f'no pairs in {folder}: draw some with python -m training.pairs --out {folder}')
        self._five = np.concatenate(five)

    @staticmethod
    @cache
    def of(folder: Path) -> PairStore:
        """Open a folder, once in each process."""
        return PairStore(folder)

    def __len__(self) -> int:
        return len(self._five)

    def __getitem__(self, number: int) -> Pair:
        pictures = self._pictures[number // SHARD][number % SHARD]
        return Pair(pictures[0], pictures[1:], self._masks[number // SHARD][number % SHARD], self._five[number])


def crop_map(
    five: NDArray[np.floating], rng: np.random.Generator | None = None, loose: float = 0.035
) -> NDArray[np.float64]:
    """(2, 3) map from a picture to the crop; with ``rng`` as inexact as a detector's landmarks, times ``loose``."""
    marks = np.asarray(five, np.float64)
    if rng is not None:
        eyes = float(np.linalg.norm(marks[1] - marks[0]))
        marks = marks + rng.normal(0, loose * eyes, (5, 2))
    matrix = similarity(marks, TEMPLATE)
    if rng is not None:
        middle = np.full(2, (CROP - 1) / 2)
        more = turned_scaled(float(np.exp(rng.normal(0, 0.04))), rng.normal(0, 0.05), middle, middle)
        matrix = np.column_stack([more[:, :2] @ matrix[:, :2], more[:, :2] @ matrix[:, 2] + more[:, 2]])
    return matrix


def cropped(picture: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """(CROP, CROP, …) float32 0..255 of a picture under a map of ``crop_map``."""
    out = cv2.warpAffine(picture, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)


def draw(rng: np.random.Generator) -> Pair:
    """Draw a face and each persona in its place, without what a sensor adds."""
    from training.faces import Region, Settings, as_persona, render, sample  # noqa: PLC0415 - compiles for a while

    told = Settings(yaw=22.0, roll=8.0, roll_limit=25.0, span=_SPAN_MM, shift=0.03, occluders=0.2)
    parameters = sample(rng, told)
    face = render(parameters, SIDE, supersample=1.5)
    others = [render(as_persona(parameters, name), SIDE, supersample=1.5) for name in PERSONAS]
    return Pair(
        face=face.clean,
        personas=np.stack([other.clean for other in others]),
        masks=np.stack([_mask(np.maximum(other.face, other.region == Region.EAR)) for other in others]),
        five=face.five,
    )


def _mask(face: NDArray[np.float32]) -> NDArray[np.uint8]:
    """All skin of the face up to the hair, the beard and the ears, with an edge as soft as a picture's."""
    soft = cv2.GaussianBlur(np.asarray(face, np.float32), (0, 0), _EDGE_PX)
    return np.rint(255 * np.clip(soft, 0, 1)).astype(np.uint8)


def draw_shard(folder: Path, shard: int, seed: int) -> int:
    """Draw 50 pairs, unless they are there."""
    target = folder / f'{shard:05d}.pictures.npy'
    if target.exists():
        return shard
    pictures = np.zeros((SHARD, 1 + len(PERSONAS), SIDE, SIDE, 3), np.uint8)
    masks = np.zeros((SHARD, len(PERSONAS), SIDE, SIDE), np.uint8)
    five = np.zeros((SHARD, 5, 2), np.float32)
    for number in range(SHARD):
        pair = draw(np.random.default_rng([seed, shard, number]))
        pictures[number, 0], pictures[number, 1:], masks[number] = pair.face, pair.personas, pair.masks
        five[number] = pair.five
    np.save(folder / f'{shard:05d}.five.npy', five)
    np.save(folder / f'{shard:05d}.masks.npy', masks)
    partial = folder / f'.{shard:05d}.npy'
    np.save(partial, pictures)
    partial.replace(target)
    return shard


def main() -> None:
    """Draw pairs into a folder; what is there stays."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--count', type=int, default=3000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--processes', type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    shards = -(-options.count // SHARD)
    with ProcessPoolExecutor(options.processes) as pool:
        for shard in pool.map(draw_shard, [options.out] * shards, range(shards), [options.seed] * shards):
            print(f'{(shard + 1) * SHARD} of {shards * SHARD} pairs', flush=True)


if __name__ == '__main__':
    main()
