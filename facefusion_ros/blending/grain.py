"""Grain and sharpness: a persona that is cleaner or crisper than the picture around it looks pasted on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.tracks import MAX_TRACKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.blending.paste import Scratch, Warped

MAX_GRAIN = 14.0
LEAST_GRAIN = 0.6
"""Standard deviations in pixel values; less than the least is not seen, more than the most is no noise."""
MAX_BLUR_PX = 2.5
LEAST_BLUR_PX = 0.6
_SIDE_PX = 96
"""Texture is measured on no more than this square from the middle of the face."""
_TILE_PX = 256
"""After so many pixels the noise repeats; in each frame it begins elsewhere, so that nobody sees it."""
_TILE_STEP = 32.0
"""One standard deviation in the tile of noise."""
_SECOND = np.array([1.0, -2.0, 1.0])
_REBLUR_PX = 1.0
_EDGES = 0.06
"""Share of a face's pixels that is taken for edges."""
_SHARE = 0.3
"""Part of what a frame tells that is taken over: noise and sharpness change slowly."""
_EVERY = 3
"""Texture is looked at in every third frame."""


@dataclass(slots=True, eq=False)
class Texture:
    """Grain and sharpness of a picture of a face."""

    grain: NDArray[np.float64]
    """(3,) standard deviations of the noise, BGR, pixel values."""
    blur_px: float
    """Standard deviation of the blur of its edges; NaN where there are none clear enough."""


def middle(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Middle half of a region (h, w, 3), where a patch is opaque, no larger than is needed for its texture."""
    height, width = view.shape[:2]
    h, w = min(height // 2, _SIDE_PX), min(width // 2, _SIDE_PX)
    top, left = (height - h) // 2, (width - w) // 2
    return view[top : top + h, left : left + w]


def texture(view: NDArray[np.uint8]) -> Texture | None:
    """Measure a picture (h, w, 3) BGR; None where it is too small.

    Noise by the difference of two Laplacians, which is blind to planes and straight edges (Immerkaer, "Fast noise
    variance estimation", CVIU 64(2), 1996), with the median in place of the mean. Blur by how much its strongest edges
    lose when they are blurred once more (Zhuo and Sim, "Defocus map estimation from a single image", Pattern
    Recognition 44(9), 2011).
    """
    if min(view.shape[:2]) < 16:
        return None
    rough = cv2.sepFilter2D(view, cv2.CV_16S, _SECOND, _SECOND)[1:-1:2, 1:-1:2].reshape(-1, 3)
    # The filter's weights have a square sum of 36; the median of a normal distribution's magnitude is 0.6745.
    grain = np.maximum(np.median(np.abs(rough), axis=0) - 0.5, 0.0) / (6.0 * 0.6745)
    luma = np.asarray(cv2.cvtColor(view, cv2.COLOR_BGR2GRAY), np.uint8)
    steep = _gradient(luma)
    flat = _gradient(np.asarray(cv2.GaussianBlur(luma, (0, 0), _REBLUR_PX), np.uint8))
    height, width = steep.shape
    steep, flat = steep[4 : height - 4, 4 : width - 4], flat[4 : height - 4, 4 : width - 4]
    count = max(8, round(_EDGES * steep.size))
    least = float(np.partition(steep, -count, axis=None)[-count])
    # Sobel's weights have a square sum of 12.
    if least < 6.0 * math.sqrt(12.0) * float(grain.mean()) or least < 24.0:
        return Texture(grain, math.nan)
    edges = steep >= least
    ratio = float(np.median(steep[edges] / np.maximum(flat[edges], 1.0)))
    return Texture(grain, _REBLUR_PX / math.sqrt(max(ratio * ratio - 1.0, 0.04)))


def _gradient(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    across, down = (cv2.Sobel(luma, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(across, down), np.float32)


@dataclass(slots=True, eq=False)
class _Lack:
    """What the persona lacks, as a variance."""

    grain: NDArray[np.float64]
    blur_px2: float
    looks: int = 1


class Grain:
    """Gives each face's persona the grain and the blur that its scene has and it has not."""

    def __init__(self) -> None:
        self._lacks: dict[int, _Lack] = {}

    def looks(self, track_id: int) -> bool:
        """Whether this frame's texture is wanted; counts the frames."""
        lack = self._lacks.get(track_id)
        if lack is None:
            return True
        lack.looks += 1
        return lack.looks % _EVERY == 0

    def match(
        self, warped: Warped, face: Texture | None, track_id: int, stamp_ns: int, strength: float, scratch: Scratch
    ) -> None:
        """Blur and roughen a persona, as it is about to be put on, in place.

        face is the texture of what it covers, None where that was not looked at this time.
        The noise is the same for the same stamp and track.
        """
        persona = texture(middle(warped.colour)) if face is not None else None
        if face is not None and persona is not None:
            lack = self._follow(track_id, face, persona)
        elif track_id in self._lacks:
            lack = self._lacks[track_id]
        else:
            return
        blur_px = strength * math.sqrt(max(lack.blur_px2, 0.0))
        if blur_px > LEAST_BLUR_PX:
            cv2.GaussianBlur(warped.colour, (0, 0), min(blur_px, MAX_BLUR_PX), dst=warped.colour)
        grain = strength * math.sqrt(max(float(lack.grain.mean()), 0.0))
        if grain > LEAST_GRAIN:
            roughen(warped, min(grain, MAX_GRAIN), (stamp_ns // 1000) * 31 + track_id * 7919, scratch)

    def _follow(self, track_id: int, face: Texture, persona: Texture) -> _Lack:
        grain = face.grain**2 - persona.grain**2
        blur_px2 = face.blur_px**2 - persona.blur_px**2
        lack = self._lacks.get(track_id)
        if lack is None:
            lack = _Lack(grain, blur_px2 if math.isfinite(blur_px2) else 0.0)
            if track_id != 0:
                if len(self._lacks) >= MAX_TRACKS:
                    del self._lacks[next(iter(self._lacks))]
                self._lacks[track_id] = lack
            return lack
        lack.grain = lack.grain + _SHARE * (grain - lack.grain)
        # Where no edge is clear, the doubt grows that the blur is still the same.
        lack.blur_px2 += _SHARE * ((blur_px2 if math.isfinite(blur_px2) else 0.0) - lack.blur_px2)
        return lack


def roughen(warped: Warped, deviation: float, seed: int, scratch: Scratch) -> None:
    """Add noise of that standard deviation, pixel values, where the persona shows; the same for the same seed."""
    height, width = warped.colour.shape[:2]
    noise = scratch.take('grain', height, width, 3)
    state = (seed * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    dy, dx = (state >> 40) % _TILE_PX, (state >> 20) % _TILE_PX
    scale = deviation / _TILE_STEP / 255.0
    # What it brightens and what it darkens apart: OpenCV is quickest with one type of pixels.
    for change, tile in zip((cv2.add, cv2.subtract), _tiles(), strict=True):
        for y in range(0, height, _TILE_PX):
            for x in range(0, width, _TILE_PX):
                block = np.s_[y : y + _TILE_PX, x : x + _TILE_PX]
                shown = warped.alphas[block]
                piece = tile[dy : dy + shown.shape[0], dx : dx + shown.shape[1]]
                cv2.multiply(piece, shown, dst=noise[block], scale=scale)
        change(warped.colour, noise, dst=warped.colour)


@lru_cache(maxsize=1)
def _tiles() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Noise above 0 and below, each (2 * _TILE_PX, 2 * _TILE_PX, 3), 0 elsewhere.

    It repeats, so that a block may begin anywhere in the first quarter.
    """
    noise = np.random.default_rng(5).standard_normal((_TILE_PX, _TILE_PX, 3), dtype=np.float32)
    whole = np.tile(np.clip(np.rint(_TILE_STEP * noise), -127, 127), (2, 2, 1))
    brighter, darker = np.maximum(whole, 0).astype(np.uint8), np.maximum(-whole, 0).astype(np.uint8)
    for tile in (brighter, darker):
        tile.setflags(write=False)
    return brighter, darker
