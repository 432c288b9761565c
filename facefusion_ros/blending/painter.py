"""Painting patches onto a frame in the light of its scene."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.blending.colour import GAMMA, contrast_map, gain_field, measure
from facefusion_ros.blending.colour_temperature import LEAST_K, MOST_K, white
from facefusion_ros.blending.grain import Grain, middle, texture
from facefusion_ros.blending.light import LightSteps
from facefusion_ros.blending.light_filter import Light, LightFilter
from facefusion_ros.blending.masks import feather
from facefusion_ros.blending.paste import (
    Region,
    Scratch,
    Window,
    contrast,
    layer_size,
    paste,
    prepare,
    region_of,
    tint,
    warp,
    window_of,
)
from facefusion_ros.blending.plausibility import Brightness, LightCheck
from facefusion_ros.blending.samples import SAMPLES, sample_face
from facefusion_ros.blending.tracks import MAX_TRACKS
from facefusion_ros.faces.alignment import compose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.blending.blender import Placement
    from facefusion_ros.blending.settings import BlendSettings
    from facefusion_ros.faces.face import FacePatch

COLOUR_OLD_NS = 2_000_000_000
COLOUR_DEVIATION = 0.15
"""A colour temperature of a larger standard deviation, over itself, says nothing."""
_COLOUR_STEP = 25e-6
"""Change of 1 / kelvin within a reading's age that counts as a step: some five just noticeable differences."""


LEAST_CONTRAST = 0.02
"""Changes of contrast by less are not seen."""


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """The part of a patch that shows."""

    patch: FacePatch
    window: Window
    pixels: NDArray[np.uint8]
    image_from_patch: NDArray[np.float64]
    """From pixels of the part."""
    region: Region
    stamp_ns: int


class Painter:
    """Paints the faces of one frame after the other, and remembers the light on each."""

    def __init__(self) -> None:
        self._steps = LightSteps()
        self._check = LightCheck()
        self._light = LightFilter()
        self._grain = Grain()
        self._windows: dict[int, Window] = {}
        self._scratch = Scratch()
        self._colour: tuple[int, float] | None = None
        self._colour_step_ns: int | None = None

    @property
    def scratch_bytes(self) -> int:
        """Working memory held; it grows to what the largest region so far needed."""
        return self._scratch.size_bytes

    @property
    def light_fault(self) -> str:
        """Why the light sensor is not believed, one line; empty while it is, or there is none."""
        return self._check.fault

    def observe_light(self, stamp_ns: int, lux: float, step_ratio: float) -> None:
        """Take a reading of the ambient light, lx; one thread at a time."""
        self._check.observe(stamp_ns, lux)
        self._steps.observe(stamp_ns, lux, step_ratio)

    def observe_colour(self, stamp_ns: int, kelvin: float, variance: float) -> None:
        """Take a reading of the light's colour temperature, K, variance in K^2 (0 where unknown)."""
        if not (LEAST_K <= kelvin <= MOST_K and 0.0 <= variance <= (COLOUR_DEVIATION * kelvin) ** 2):
            return
        if self._colour is not None and abs(1.0 / kelvin - 1.0 / self._colour[1]) > _COLOUR_STEP:
            self._colour_step_ns = stamp_ns
        self._colour = stamp_ns, kelvin

    def paint(
        self,
        pixels: NDArray[np.uint8],
        placements: Sequence[Placement],
        settings: BlendSettings,
        exposure_s: float,
        gain: float,
    ) -> None:
        """Blend the placements' patches onto the frame, (height, width, 3) BGR uint8, in place; see Blender.apply."""
        scratch = self._scratch
        height, width = pixels.shape[:2]
        cuts = [cut for cut in (self._cut(place, width, height) for place in placements) if cut is not None]
        # All faces are looked at before any of them is covered.
        faces = scratch.take('faces', len(cuts), SAMPLES, SAMPLES, 3)
        looks = []
        for cut, face in zip(cuts, faces, strict=True):
            left, top, across, down = cut.region
            view = pixels[top : top + down, left : left + across]
            seen = sample_face(view, (left, top), cut.image_from_patch, cut.pixels.shape[0], face)
            wanted = settings.grain_strength > 0.0 and self._grain.looks(cut.patch.face.track_id)
            looks.append((seen, texture(middle(view)) if wanted else None))
        exposure_ev = math.log2(exposure_s * gain) if exposure_s * gain > 0.0 else math.nan
        brightnesses = []
        for cut, face, (seen, face_texture) in zip(cuts, faces, looks, strict=True):
            size, (left, top, side) = cut.patch.pixels.shape[0], cut.window
            mask = feather(size, settings.feather)[top : top + side, left : left + side]
            layer = prepare(cut.pixels, mask, layer_size(cut.image_from_patch, side), scratch)
            track_id = cut.patch.face.track_id
            measured = measure(face, seen, layer, settings, cut.patch.reflectance)
            if measured is not None:
                linear_ev = GAMMA * (measured.face_level - math.log(255.0)) / math.log(2.0)
                brightnesses.append(Brightness(track_id, linear_ev, measured.clear))
            light = self._light_at(cut.stamp_ns, exposure_ev)
            coefficients = self._light.follow(track_id, cut.stamp_ns, measured, light, settings.colour_time_constant_s)
            if coefficients is not None and coefficients.any():
                stretch = contrast_map(coefficients)
                if measured is not None and np.abs(stretch - np.eye(3)).max() > LEAST_CONTRAST:
                    contrast(layer, stretch, measured.persona_mean, scratch)
                tint(layer, gain_field(coefficients), scratch)
            warped = warp(layer, cut.region, cut.image_from_patch, scratch)
            if settings.grain_strength > 0.0:
                self._grain.match(warped, face_texture, track_id, cut.stamp_ns, settings.grain_strength, scratch)
            paste(pixels, cut.region, warped)
        if placements:
            self._check.judge(placements[0].stamp_ns, exposure_ev, brightnesses)

    def _cut(self, place: Placement, width: int, height: int) -> _Cut | None:
        """Cut off what of a patch does not show; None where nothing shows in the picture."""
        track_id = place.patch.face.track_id
        window = window_of(place.patch.pixels, self._windows.get(track_id))
        if window is None:
            return None
        if track_id != 0:
            self._windows[track_id] = window
            if len(self._windows) > MAX_TRACKS:
                del self._windows[next(iter(self._windows))]
        left, top, side = window
        image_from_patch = compose(place.image_from_patch, np.array([[1.0, 0.0, left], [0.0, 1.0, top]]))
        region = region_of(image_from_patch, side, width, height)
        if region is None:
            return None
        pixels = place.patch.pixels[top : top + side, left : left + side]
        return _Cut(place.patch, window, pixels, image_from_patch, region, place.stamp_ns)

    def _light_at(self, stamp_ns: int, exposure_ev: float) -> Light:
        lux = self._check.lux(stamp_ns)
        steps = [self._colour_step_ns, None if self._check.fault else self._steps.latest_ns]
        told = [step_ns for step_ns in steps if step_ns is not None]
        colour = self._colour
        recent = colour is not None and abs(stamp_ns - colour[0]) < COLOUR_OLD_NS
        return Light(
            max(told, default=None),
            exposure_ev,
            math.log2(lux) if lux > 0.0 else math.nan,
            np.log(white(colour[1])) / GAMMA if colour is not None and recent else None,
        )
