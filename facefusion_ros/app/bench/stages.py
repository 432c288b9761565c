"""What each stage costs on one thread, without ROS, on the simulated head."""

from __future__ import annotations

import os
import platform
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facefusion_ros.app.summary import percentiles
from facefusion_ros.blending.alignment import Alignment
from facefusion_ros.blending.blender import Blender
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.engines.chain import EngineSettings
from facefusion_ros.engines.ort import OrtSettings
from facefusion_ros.faces.face import FacePatch
from facefusion_ros.faces.finder import FaceFinder
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.personas.patches import PatchMaker, PatchSettings
from facefusion_ros.sim.world import load_world

if TYPE_CHECKING:
    from facefusion_ros.sim.world import World

SIZES = ((640, 480), (1280, 720), (1920, 1080))


def stages(frames: int = 150) -> dict[str, Any]:
    """Run detector, swapper and blender, each with what it has by default, at three sizes; times in milliseconds."""
    cv2.setNumThreads(1)
    world = load_world('head')
    return {
        'frames': frames,
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}',
        **{f'{width}x{height}': _stages_of(world.sized(width, height), frames) for width, height in SIZES},
    }


def _stages_of(world: World, frames: int) -> dict[str, Any]:
    camera = world.camera
    width, height = camera.intrinsics.width, camera.intrinsics.height
    engines = EngineSettings(onnxruntime=OrtSettings(threads=1))
    blender = Blender(BlendSettings(), Alignment(camera=camera.intrinsics))
    picture = np.empty((height, width, 3), np.uint8)
    times: dict[str, list[float]] = {'detector': [], 'swapper': [], 'blender': []}
    found = 0
    with (
        closing(load_detector(settings=engines)) as detector,
        closing(PatchMaker(PatchSettings(engines=engines))) as maker,
    ):
        finder = FaceFinder(detector=detector)
        patch = np.empty((maker.size, maker.size, 4), np.uint8)
        for index in range(frames):
            world.render(index, picture)
            stamp_ns = world.frame_stamp_ns(index)
            marks = [time.perf_counter()]
            faces = finder.find(picture, stamp_ns)
            marks.append(time.perf_counter())
            parts = maker.assign(picture, faces[:1])
            patches = [FacePatch(part.face, patch, maker.make(picture, part, patch)) for part in parts]
            marks.append(time.perf_counter())
            blender.apply(picture, blender.plan(patches, stamp_ns, width, height))
            marks.append(time.perf_counter())
            for stage, begin, end in zip(times, marks, marks[1:], strict=False):
                times[stage].append((end - begin) * 1e3)
            found += bool(faces)
    return {
        **{stage: percentiles(values) for stage, values in times.items()},
        'sum': percentiles([sum(row) for row in zip(*times.values(), strict=True)]),
        'frames_with_a_face': found,
    }
