"""Covering a picture with tiles of one size, whose seams do not show."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Pixels. A network knows nothing of what is beyond its picture, so what it makes of the rim is not shown where another
# tile has more to go by; between two tiles the one fades into the other. Real-ESRGAN (realesrgan/utils.py: tile_pad 10)
# and FaceFusion (processors/modules/frame_enhancer: 8) have about the same rim, and no fade.
_RIM, _FADE = 8, 8


def tile_starts(length: int, side: int) -> tuple[int, ...]:
    """Return where tiles of a side begin, evenly spread over a length, all in pixels; one begins at 0 if it covers it.

    Neighbours overlap by two rims and the fade between them, of small tiles by half.
    """
    if length <= side:
        return (0,)
    overlap = min(2 * _RIM + _FADE, side // 2)
    gaps = -(-(length - side) // (side - overlap))
    return tuple(round(gap * (length - side) / gaps) for gap in range(gaps + 1))


def tile_shares(starts: Sequence[int], side: int, length: int, times: int = 1) -> NDArray[np.float32]:
    """Return how much of each tile shows at each pixel, 0..1, (tiles, ``length * times``); they add up to one.

    ``times``: how often each pixel of the length is divided.
    """
    at = (np.arange(length * times) + 0.5) / times
    seams = [(left + side + right) / 2 for left, right in pairwise(starts)]
    overlaps = [left + side - right for left, right in pairwise(starts)]
    fade = max(1 / times, min([_FADE, *overlaps]))
    # Of what comes after a seam, and of nothing after the last tile.
    begun = [np.ones_like(at), *(np.clip((at - seam) / fade + 0.5, 0, 1) for seam in seams), np.zeros_like(at)]
    shares: NDArray[np.float32] = -np.diff(np.stack(begun), axis=0).astype(np.float32)
    return shares
