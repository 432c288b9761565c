"""Pairs to learn a swap from: a face, and the same moment with each persona's face; drawn once, kept on disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.faces.alignment import similarity
from facefusion_ros.models.families import catalogue
from training.scenes import loosened
from training.shards import draw_all, keep, kept, opened

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

cv2.setNumThreads(1)

SIDE = 320
"""Side of the pictures on disk, pixels."""
CROP = 256
"""Side of the crop that the networks see."""
_FFHQ = catalogue().templates['ffhq_512']
TEMPLATE = np.array(_FFHQ.points) * (CROP / _FFHQ.size)
"""(5, 2) left eye, right eye, nose, mouth corners in the crop, as the pipeline cuts it."""
PERSONAS = ('porcelain', 'obsidian', 'jade')
LIGHT = 0.4
"""How much of ``spoil_light`` a balanced and exposed picture still has."""
SKIN, EYE = 1, 2
SHARD = 50
_PARTS = ('pictures', 'masks', 'places', 'kinds', 'five')
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
    places: NDArray[np.float16]
    """(P, SIDE, SIDE, 2) where on the persona's unfolded head each pixel lies: on skin, mm; on eyes, radii of the ball
    about where they look; right and up."""
    kinds: NDArray[np.uint8]
    """(P, SIDE, SIDE) what it lies on: ``SKIN``, ``EYE``, or 0 for anything else."""
    five: NDArray[np.float32]
    """(5, 2) the face's landmarks, pixels."""

    @property
    def white_balance(self) -> NDArray[np.float32]:
        """(3,) RGB gains under which the first persona, of white porcelain, is white.

        A camera balances its pictures; what colour of light it leaves nobody can tell from that of the skin.
        """
        mean = np.average(self.personas[0][..., ::-1].reshape(-1, 3), axis=0, weights=self.masks[0].ravel() + 1e-3)
        return np.asarray(np.clip(mean.mean() / np.maximum(mean, 1.0), 0.5, 2.0), np.float32)

    @property
    def covered(self) -> bool:
        """Whether something is before the mouth, its corners or what is beside and below them."""
        nose, mouth = self.five[2], self.five[3:].mean(axis=0)
        below = 0.5 * (mouth - nose)
        at = np.concatenate([self.five[3:], self.five[3:] + below, [mouth + below]])
        columns, rows = np.clip(np.rint(at).astype(int), 0, SIDE - 1).T
        return bool(self.masks[0][rows, columns].min() < 128)

    def unfolded(self, which: int, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        """(CROP, CROP, 4) float32 of a persona under a map of ``crop_map``: ``places``, and how much is skin and eye.

        Where a place is partly eye, the place is the eye's.
        """
        out = np.zeros((CROP, CROP, 4), np.float32)
        for layer, kind, least in ((2, SKIN, 0.5), (3, EYE, 0.25)):
            there = (self.kinds[which] == kind).astype(np.float32)
            given = np.dstack([self.places[which] * there[..., None], there])
            warped = np.asarray(cv2.warpAffine(given, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR), np.float32)
            of = warped[..., 2] > least
            out[of, :2] = warped[of, :2] / warped[of, 2:]
            out[of, layer] = warped[of, 2]
        out[out[..., 3] > 0, 2] = 0
        return out


class PairStore:
    """The pairs in a folder, by number."""

    def __init__(self, folder: Path) -> None:
        parts = [opened(folder, name) for name in _PARTS]
        if not parts[0] or len({len(part) for part in parts}) > 1:
            raise SystemExit(f'no pairs in {folder}: draw some with python -m training.pairs --out {folder}')
        *self._parts, five = parts
        self._five = np.concatenate(five)

    @staticmethod
    @cache
    def of(folder: Path) -> PairStore:
        """Open a folder, once in each process."""
        return PairStore(folder)

    def __len__(self) -> int:
        return len(self._five)

    def __getitem__(self, number: int) -> Pair:
        pictures, masks, places, kinds = (part[number // SHARD][number % SHARD] for part in self._parts)
        return Pair(pictures[0], pictures[1:], masks, places, kinds, self._five[number])


def crop_map(
    five: NDArray[np.floating], rng: np.random.Generator | None = None, loose: float = 0.035
) -> NDArray[np.float64]:
    """(2, 3) map from a picture to the crop; with ``rng`` as inexact as a detector's landmarks, times ``loose``."""
    marks = np.asarray(five, np.float64)
    if rng is not None:
        eyes = float(np.linalg.norm(marks[1] - marks[0]))
        marks = marks + rng.normal(0, loose * eyes, (5, 2))
    matrix = similarity(marks, TEMPLATE)
    return matrix if rng is None else loosened(rng, matrix, CROP, 0.04, 0.05)


def cropped(picture: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """(CROP, CROP, …) float32 0..255 of a picture under a map of ``crop_map``."""
    out = cv2.warpAffine(picture, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)


def draw(rng: np.random.Generator) -> Pair:
    """Draw a face and each persona in its place, without what a sensor adds."""
    from training.faces import Region, Settings, as_persona, render, sample, unfold  # noqa: PLC0415 - compiles for a while

    told = Settings(yaw=22.0, roll=8.0, roll_limit=25.0, span=_SPAN_MM, shift=0.03, occluders=0.2)
    parameters = sample(rng, told)
    face = render(parameters, SIDE, supersample=1.5)
    swapped = [as_persona(parameters, name) for name in PERSONAS]
    others = [render(each, SIDE, supersample=1.5) for each in swapped]
    skin, eyes = (np.stack(maps) for maps in zip(*(unfold(each, SIDE) for each in swapped), strict=True))
    on_skin, on_eyes = np.isfinite(skin[..., 0]), np.isfinite(eyes[..., 0])
    return Pair(
        face=face.clean,
        personas=np.stack([other.clean for other in others]),
        masks=np.stack([_mask(np.maximum(other.face, other.region == Region.EAR)) for other in others]),
        places=np.nan_to_num(np.where(on_skin[..., None], skin, eyes)).astype(np.float16),
        kinds=(SKIN * on_skin + EYE * on_eyes).astype(np.uint8),
        five=face.five,
    )


def _mask(face: NDArray[np.float32]) -> NDArray[np.uint8]:
    """All skin of the face up to the hair, the beard and the ears, with an edge as soft as a picture's."""
    soft = cv2.GaussianBlur(np.asarray(face, np.float32), (0, 0), _EDGE_PX)
    return np.rint(255 * np.clip(soft, 0, 1)).astype(np.uint8)


def draw_shard(folder: Path, shard: int, seed: int) -> int:
    """Draw 50 pairs, unless they are there."""
    if kept(folder, shard, 'pictures').exists():
        return shard
    pictures = np.zeros((SHARD, 1 + len(PERSONAS), SIDE, SIDE, 3), np.uint8)
    masks = np.zeros((SHARD, len(PERSONAS), SIDE, SIDE), np.uint8)
    places, kinds = np.zeros((*masks.shape, 2), np.float16), np.zeros_like(masks)
    five = np.zeros((SHARD, 5, 2), np.float32)
    for number in range(SHARD):
        pair = draw(np.random.default_rng([seed, shard, number]))
        pictures[number, 0], pictures[number, 1:], masks[number] = pair.face, pair.personas, pair.masks
        places[number], kinds[number], five[number] = pair.places, pair.kinds, pair.five
    keep(folder, shard, five=five, masks=masks, places=places, kinds=kinds, pictures=pictures)
    return shard


if __name__ == '__main__':
    draw_all(draw_shard, SHARD, 'pairs', 3000)
