"""A part of a picture, turned and scaled into a patch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.faces.alignment import apply

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A warp looks at four pixels: where one of the patch covers more than this many of the picture, their mean comes first.
_SHRINK = 1.5


def crop(pixels: NDArray[np.uint8], image_from_patch: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
    """Write the part of a (H, W, 3) picture that the (2, 3) similarity points at to ``out``, (h, w, 3).

    Beyond the picture its edge goes on. Takes no memory of the picture's size.
    """
    height, width = out.shape[:2]
    corners = apply(image_from_patch, [[0, 0], [width, 0], [0, height], [width, height]])
    limit = np.array(pixels.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0)) - 1, 0, limit - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 2, low + 1, limit).astype(int)
    region = pixels[low[1] : high[1], low[0] : high[0]]
    ratio = np.ones(2)
    scale = math.hypot(image_from_patch[0, 0], image_from_patch[1, 0])
    if scale > _SHRINK:
        size = np.maximum(1, np.round((high - low) / scale)).astype(int)
        region = cv2.resize(region, size.tolist(), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]  # as region
        ratio = size / (high - low)
    region_from_patch = image_from_patch * ratio[:, None]
    region_from_patch[:, 2] += (0.5 - low) * ratio - 0.5
    cv2.warpAffine(
        region,
        region_from_patch,
        (width, height),
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
