"""A part of a picture, turned and scaled into a patch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.faces.alignment import apply

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A warp looks at four pixels: where one of the patch covers more than this many of the picture, their mean comes first.
_SHRINK = 1.5


@dataclass(frozen=True, slots=True)
class View:
    """What a patch sees of a picture."""

    region: NDArray[np.uint8]
    """View of the part of the picture that matters."""
    grid: tuple[int, int]
    """Width and height to which that part is averaged; its own where it is not."""
    grid_from_patch: NDArray[np.float64]
    """(2, 3) map from the patch to pixels of the averaged part."""


def view(pixels: NDArray[np.uint8], image_from_patch: NDArray[np.float64], size: tuple[int, int]) -> View:
    """Say what a patch of ``size``, (width, height), sees of a (H, W, ...) picture by a (2, 3) similarity."""
    width, height = size
    # A pixel reaches half its width beyond its centre.
    right, below = width - 0.5, height - 0.5
    corners = apply(image_from_patch, [[-0.5, -0.5], [right, -0.5], [-0.5, below], [right, below]])
    limit = np.array(pixels.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0)) - 1, 0, limit - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 2, low + 1, limit).astype(int)
    region = pixels[low[1] : high[1], low[0] : high[0]]
    grid = high - low
    ratio = np.ones(2)
    scale = math.hypot(image_from_patch[0, 0], image_from_patch[1, 0])
    if scale > _SHRINK:
        grid = np.maximum(1, np.round((high - low) / scale)).astype(int)
        ratio = grid / (high - low)
    grid_from_patch = image_from_patch * ratio[:, None]
    grid_from_patch[:, 2] += (0.5 - low) * ratio - 0.5
    return View(region, (int(grid[0]), int(grid[1])), grid_from_patch)


def crop(pixels: NDArray[np.uint8], image_from_patch: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
    """Write the part of a (H, W, 3) picture that the (2, 3) similarity points at to ``out``, (h, w, 3).

    Beyond the picture its edge goes on. Takes no memory of the picture's size.
    """
    seen = view(pixels, image_from_patch, out.shape[1::-1])
    region = seen.region
    if seen.grid != region.shape[1::-1]:
        region = cv2.resize(region, seen.grid, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]  # as region
    cv2.warpAffine(
        region,
        seen.grid_from_patch,
        out.shape[1::-1],
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
