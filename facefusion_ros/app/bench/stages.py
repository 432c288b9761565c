"""What each stage costs on one thread, without ROS, on the simulated head."""

from __future__ import annotations

import os
import platform
import time
from typing import Any

import cv2
import numpy as np

from facefusion_ros.app.summary import percentiles
from facefusion_ros.blending.alignment import Alignment
from facefusion_ros.blending.blender import Blender
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.faces.face import FacePatch
from facefusion_ros.faces.finder import FaceFinder
from facefusion_ros.personas.persona import load_persona
from facefusion_ros.personas.swapper import WarpSwapper
from facefusion_ros.sim.world import load_world

SIZES = ((640, 480), (1280, 720), (1920, 1080))
PATCH_SIZE = 256


def stages(frames: int = 150) -> dict[str, Any]:
    """Run detector, swapper and blender over the default world at three sizes; times in milliseconds."""
    cv2.setNumThreads(1)
    result: dict[str, Any] = {
        'frames': frames,
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}',
    }
    world = load_world('head')
    for width, height in SIZES:
        sized = world.sized(width, height)
        camera = sized.camera
        finder, swapper = FaceFinder(), WarpSwapper(load_persona('porcelain'), PATCH_SIZE)
        blender = Blender(BlendSettings(), Alignment(camera=camera.intrinsics))
        picture = np.empty((height, width, 3), np.uint8)
        patch = np.empty((PATCH_SIZE, PATCH_SIZE, 4), np.uint8)
        times: dict[str, list[float]] = {'detector': [], 'swapper': [], 'blender': []}
        found = 0
        for index in range(frames):
            sized.render(index, picture)
            stamp_ns = sized.frame_stamp_ns(index)
            marks = [time.perf_counter()]
            faces = finder.find(picture, stamp_ns)
            marks.append(time.perf_counter())
            patches = [FacePatch(face, patch, swapper.swap(picture, face, patch)) for face in faces[:1]]
            marks.append(time.perf_counter())
            blender.apply(picture, blender.plan(patches, stamp_ns, width, height))
            marks.append(time.perf_counter())
            for stage, begin, end in zip(times, marks, marks[1:], strict=False):
                times[stage].append((end - begin) * 1e3)
            found += bool(faces)
        result[f'{width}x{height}'] = {
            **{stage: percentiles(values) for stage, values in times.items()},
            'sum': percentiles([sum(row) for row in zip(*times.values(), strict=True)]),
            'frames_with_a_face': found,
        }
    return result
