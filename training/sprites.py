"""Heads drawn once and kept on disk, to be put into many scenes: drawing takes longer than training on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.shards import draw_all, keep, kept, opened

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 224
SPAN_MM = (280.0, 380.0)
"""What a sprite shows from top to bottom: room for the hair."""
RIM_PX = 8
SHARD = 250

FLIPPED = np.array(
    # Jaw, brows, nose, eyes, lips.
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]  # noqa: RUF005 - reads better
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
)
"""Where each of the 68 points comes from when the picture is mirrored."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A head without a background."""

    rgba: NDArray[np.uint8]
    """(224, 224, 4), alpha not multiplied in."""
    points: NDArray[np.float32]
    """(68, 2) pixels."""
    seen: NDArray[np.bool_]
    """(68,)"""

    def mirrored(self) -> Sprite:
        """Left is right."""
        points = self.points[FLIPPED].copy()
        points[:, 0] = SIDE - 1 - points[:, 0]
        return Sprite(np.ascontiguousarray(self.rgba[:, ::-1]), points, self.seen[FLIPPED])


def five(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(5, 2) left eye, right eye, nose, left and right mouth corner of (68, 2) points."""
    places = (points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54])
    return np.array(places, np.float64)


class SpriteStore:
    """The heads in a folder, by number."""

    def __init__(self, folder: Path) -> None:
        self._shards, told = opened(folder, 'rgba'), opened(folder, 'points')
        if not self._shards:
            raise SystemExit(f'no heads in {folder}: draw some with python -m training.sprites --out {folder}')
        self._points = np.concatenate(told)

    @staticmethod
    @cache
    def of(folder: Path) -> SpriteStore:
        """Return the store of a folder, opened once in a process."""
        return SpriteStore(folder)

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, number: int) -> Sprite:
        points = self._points[number]
        return Sprite(np.asarray(self._shards[number // SHARD][number % SHARD]), points[:, :2], points[:, 2] > 0)


def draw(rng: np.random.Generator) -> Sprite:
    """Draw a head; turning it and what cameras do comes when it is put into a scene."""
    from training.faces import Settings, render, sample  # noqa: PLC0415 - compiles for a while

    told = Settings(roll=4.0, roll_limit=15.0, span=SPAN_MM, shift=0.02)
    drawn = render(sample(rng, told), SIDE)
    colour = np.ascontiguousarray(drawn.clean[..., ::-1])
    # Pixels at the edge are half background: they get the colour of the head beside them.
    solid = (drawn.alpha > 0.98).astype(np.float32)
    beside = cv2.blur(colour * solid[..., None], (7, 7)) / np.maximum(cv2.blur(solid, (7, 7)), 1e-3)[..., None]
    edge = (drawn.alpha <= 0.98) & (cv2.blur(solid, (7, 7)) > 0.01)
    colour[edge] = np.clip(beside[edge], 0, 255).astype(np.uint8)
    # What reaches the sprite's rim would end in a straight line.
    ramp = np.minimum(np.arange(SIDE), np.arange(SIDE)[::-1]) / RIM_PX
    fade = np.clip(np.minimum(ramp, ramp[:, None]), 0, 1)
    alpha = np.rint(255 * drawn.alpha * fade).astype(np.uint8)
    return Sprite(np.dstack([colour, alpha]), drawn.landmarks, drawn.visible)


def draw_shard(folder: Path, shard: int, seed: int) -> int:
    """Draw 250 heads, unless they are there."""
    if kept(folder, shard, 'rgba').exists():
        return shard
    pictures = np.zeros((SHARD, SIDE, SIDE, 4), np.uint8)
    points = np.zeros((SHARD, 68, 3), np.float32)
    for number in range(SHARD):
        head = draw(np.random.default_rng([seed, shard, number]))
        pictures[number], points[number, :, :2], points[number, :, 2] = head.rgba, head.points, head.seen
    keep(folder, shard, points=points, rgba=pictures)
    return shard


if __name__ == '__main__':
    draw_all(draw_shard, SHARD, 'heads', 20_000)
