"""The stages in one thread and without ROS: one picture at a time, every one of them, deterministically."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.blending.alignment import Alignment
from facefusion_ros.blending.blender import Blender
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.faces.face import Face, FacePatch
from facefusion_ros.faces.finder import FaceFinder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.frames.intrinsics import Intrinsics
    from facefusion_ros.personas.patches import PatchMaker

PATCH_SIZE = 256
STILL_PATCH_SIZE = 512
"""Stills have the time for a warped persona's full resolution."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the stages made of one picture."""

    faces: tuple[Face, ...]
    regions: tuple[tuple[int, int, int, int], ...]
    """Left, top, width, height of what was changed, pixels."""


class Replacement:
    """Swaps and blends given faces into a picture, in place."""

    def __init__(self, maker: PatchMaker, settings: BlendSettings, intrinsics: Intrinsics | None = None) -> None:
        self.blender = Blender(settings, Alignment(camera=intrinsics))
        self._maker = maker
        self._patches: list[NDArray[np.uint8]] = []

    def replace(
        self, pixels: NDArray[np.uint8], faces: Sequence[Face], stamp_ns: int
    ) -> tuple[tuple[int, int, int, int], ...]:
        """Change the faces of a (height, width, 3) BGR picture, largest first; returns the regions that were changed.

        Raises EngineError where a network fails.
        """
        size = self._maker.size
        parts = self._maker.assign(pixels, faces)
        while len(self._patches) < len(parts):
            self._patches.append(np.empty((size, size, 4), np.uint8))
        patches = []
        for part, out in zip(parts, self._patches, strict=False):
            # Landmarks that no pose explains raise ValueError: such a face stays as it is.
            with suppress(ValueError):
                image_from_patch = self._maker.make(pixels, part, out)
                shown = part.shown
                patches.append(FacePatch(part.face, out, image_from_patch, shown.name, shown.digest, shown.reflectance))
        self.blender.alignment.observe_frame(pixels, stamp_ns, faces)
        placements = self.blender.plan(patches, stamp_ns, pixels.shape[1], pixels.shape[0])
        self.blender.apply(pixels, placements)
        return tuple(placement.region for placement in placements)


class OfflinePipeline:
    """Detector, swapper and blender for a stream of pictures."""

    def __init__(
        self, maker: PatchMaker, detector: Detector | None = None, intrinsics: Intrinsics | None = None
    ) -> None:
        """Take what makes the patches, and what finds the faces if it is not to be the usual detector."""
        self._finder = FaceFinder(detector=detector)
        self._replacement = Replacement(maker, BlendSettings(), intrinsics)

    @property
    def blender(self) -> Blender:
        """The blender, which takes the sensors' readings."""
        return self._replacement.blender

    def process(self, pixels: NDArray[np.uint8], stamp_ns: int) -> Outcome:
        """Find and replace the faces of a (height, width, 3) BGR picture in place. Raises EngineError."""
        faces = self._finder.find(pixels, stamp_ns)
        return Outcome(faces, self._replacement.replace(pixels, faces, stamp_ns))
