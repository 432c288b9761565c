"""The stages in one thread and without ROS: one picture at a time, every one of them, deterministically."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.blending.blender import Blender
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.faces.face import Face, FacePatch
from facefusion_ros.faces.finder import FaceFinder, FinderSettings
from facefusion_ros.personas.swapper import WarpSwapper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.frames.intrinsics import Intrinsics
    from facefusion_ros.personas.persona import Persona

PATCH_SIZE = 256
STILL_PATCH_SIZE = 512
"""Stills have the time for the persona's full resolution."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the stages made of one picture."""

    faces: tuple[Face, ...]
    regions: tuple[tuple[int, int, int, int], ...]
    """Left, top, width, height of what was changed, pixels."""


class Replacement:
    """Swaps and blends given faces into a picture, in place."""

    def __init__(
        self, persona: Persona, settings: BlendSettings, intrinsics: Intrinsics | None, size: int = PATCH_SIZE
    ) -> None:
        self.blender = Blender(settings, intrinsics)
        self._swapper = WarpSwapper(persona, size)
        self._patches: list[NDArray[np.uint8]] = []

    def replace(
        self, pixels: NDArray[np.uint8], faces: Sequence[Face], stamp_ns: int
    ) -> tuple[tuple[int, int, int, int], ...]:
        """Change the faces of a (height, width, 3) BGR picture; returns the regions that were changed."""
        size = self._swapper.size
        while len(self._patches) < len(faces):
            self._patches.append(np.empty((size, size, 4), np.uint8))
        patches = []
        for face, out in zip(faces, self._patches, strict=False):
            # Landmarks that no pose explains raise ValueError: such a face stays as it is.
            with suppress(ValueError):
                patches.append(FacePatch(face, out, self._swapper.swap(pixels, face, out)))
        placements = self.blender.plan(patches, stamp_ns, pixels.shape[1], pixels.shape[0])
        self.blender.apply(pixels, placements)
        return tuple(placement.region for placement in placements)


class OfflinePipeline:
    """Detector, swapper and blender for a stream of pictures."""

    def __init__(self, persona: Persona, intrinsics: Intrinsics | None = None) -> None:
        self._finder = FaceFinder(FinderSettings())
        self._replacement = Replacement(persona, BlendSettings(), intrinsics)

    @property
    def blender(self) -> Blender:
        """The blender, which takes the sensors' readings."""
        return self._replacement.blender

    def process(self, pixels: NDArray[np.uint8], stamp_ns: int) -> Outcome:
        """Find and replace the faces of a (height, width, 3) BGR picture in place."""
        faces = self._finder.find(pixels, stamp_ns)
        return Outcome(faces, self._replacement.replace(pixels, faces, stamp_ns))
