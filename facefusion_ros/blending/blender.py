"""The blender: where patches go, and putting them there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.blending.alignment import Alignment
from facefusion_ros.blending.painter import Painter
from facefusion_ros.blending.paste import Region, region_of
from facefusion_ros.faces.alignment import compose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.blending.settings import BlendSettings
    from facefusion_ros.faces.face import FacePatch


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where a patch goes on one frame."""

    patch: FacePatch
    image_from_patch: NDArray[np.float64]
    """(2, 3) affine map from patch pixels to pixels of the frame, moved along with the face."""
    region: Region
    """Left, top, width, height: all that may change, within the picture."""
    stamp_ns: int
    """Stamp of the frame it is meant for."""


class Blender:
    """Puts patches onto frames in place, in the scene's light.

    ``plan`` and ``apply`` belong to one thread; readings of the sensors may come from others. ``settings`` may be
    replaced at any time, the next call uses them. ``alignment`` takes the frames and the gyro's readings.
    """

    def __init__(self, settings: BlendSettings, alignment: Alignment | None = None) -> None:
        self.settings = settings
        self.alignment = alignment or Alignment()
        self._painter = Painter()

    @property
    def scratch_bytes(self) -> int:
        """Working memory held; it grows to what the largest region so far needed."""
        return self._painter.scratch_bytes

    def observe_light(self, stamp_ns: int, lux: float) -> None:
        """Take a reading of the ambient light; one thread at a time."""
        self._painter.observe_light(stamp_ns, lux, self.settings.light_step_ratio)

    def observe_colour(self, stamp_ns: int, kelvin: float, variance: float) -> None:
        """Take a reading of the light's colour temperature, K, with its variance, K^2 (0 where unknown)."""
        self._painter.observe_colour(stamp_ns, kelvin, variance)

    @property
    def light_fault(self) -> str:
        """Why the light sensor is not believed, one line for people; empty while it is, or there is none."""
        return self._painter.light_fault

    def plan(self, patches: Sequence[FacePatch], stamp_ns: int, width: int, height: int) -> tuple[Placement, ...]:
        """Say where each patch goes on the frame of that stamp, width x height pixels.

        A face measured in an older frame is moved along with what is known of its motion since then. Patches wholly
        outside the picture, or with a map that is not finite or flat, get no placement.
        """
        placements = []
        for patch in patches:
            size = patch.pixels.shape[0]
            image_from_patch = np.asarray(patch.image_from_patch, np.float64)
            along = self.alignment.motion(patch.face, stamp_ns)
            if along is not None:
                image_from_patch = compose(along, image_from_patch)
            region = region_of(image_from_patch, size, width, height)
            if region is not None:
                placements.append(Placement(patch, image_from_patch, region, stamp_ns))
        return tuple(placements)

    def apply(
        self,
        pixels: NDArray[np.uint8],
        placements: Sequence[Placement],
        exposure_s: float = math.nan,
        gain: float = math.nan,
    ) -> None:
        """Blend the placements' patches onto the frame, (height, width, 3) BGR uint8, in place; later ones on top.

        Nothing outside their regions changes, nor any pixel where a patch's alpha is 0. Raises ValueError where pixels
        is of another kind or smaller than the picture the placements were planned for.

        exposure_s and gain (linear) are the camera's for these pixels, NaN where unknown: with them the light sensor is
        checked, and can say how bright a face is that the picture shows clipped or crushed.
        """
        _require_frame(pixels, placements)
        self._painter.paint(pixels, placements, self.settings, exposure_s, gain)


def _require_frame(pixels: NDArray[np.uint8], placements: Sequence[Placement]) -> None:
    # OpenCV would write to a copy of anything else, and the result would be lost without a word.
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.strides[1:] != (3, 1):
        raise ValueError('a frame is (height, width, 3) uint8 with rows of adjoining pixels')
    if not pixels.flags.writeable:
        raise ValueError('the frame is read-only')
    height, width = pixels.shape[:2]
    for place in placements:
        left, top, region_width, region_height = place.region
        if left + region_width > width or top + region_height > height:
            raise ValueError(f'a placement reaches beyond the frame of {width}x{height}')
