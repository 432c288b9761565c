"""A world that can be compared with what nodes say of it, and frames in a pool of the test's own."""

import math
import os
import time
from dataclasses import dataclass

import numpy as np
import pytest

from facefusion_ros.faces.face import Face
from facefusion_ros.frames.frame import Encoding, FrameInfo
from facefusion_ros.frames.pool import FramePool, FrameReader
from facefusion_ros.sim.world import load_world

WORLD = """
period_s: 10.0
seed: 3
camera: {width: 480, height: 360, rate_hz: 10.0, hfov_deg: 60.0}
motion:
  yaw: [{amplitude_deg: 3.0, cycles: 2}]
  roll: [{amplitude_deg: 2.0, cycles: 1, phase_deg: 90.0}]
imu: {rpy_deg: [0.0, 0.0, 90.0]}
light: {lux: 400.0, drift: [{fraction: 0.2, cycles: 1}]}
scene: {distance_m: 0.5, width_m: 0.746}
"""


@pytest.fixture(scope='session')
def world_file(tmp_path_factory):
    """A world of 10 pictures a second, in which camera and light change slowly."""
    path = tmp_path_factory.mktemp('world') / 'slow.yaml'
    path.write_text(WORLD)
    return str(path)


@pytest.fixture(scope='session')
def world(world_file):
    """That world."""
    return load_world(world_file)


@dataclass(frozen=True)
class Scene:
    """A picture of the world and the truth of it."""

    pixels: np.ndarray
    face: Face


@pytest.fixture(scope='session')
def scene(world):
    """A picture with one face."""
    camera = world.camera
    pixels = np.empty((camera.height, camera.width, 3), np.uint8)
    truth = world.render(0, pixels)
    pixels.flags.writeable = False
    return Scene(pixels, Face(truth.box, 0.9, truth.landmarks, track_id=5, measured_ns=0))


class Frames:
    """A pool, as a camera's, into which the test puts pictures."""

    def __init__(self, name, slots=6):
        self._pool = FramePool.create(name, slots=slots, slot_bytes=3 * 1024 * 1024)
        self._reader = FrameReader()
        self.sequence = 0

    def close(self):
        self._reader.close()
        self._pool.close()

    def put(self, pixels, *, sequence=None, stamp_ns=None, exposure_s=math.nan, gain=math.nan):
        """Put a picture into the pool as the next frame, taken now where not told otherwise."""
        self.sequence = self.sequence + 1 if sequence is None else sequence
        height, width, channels = pixels.shape
        with self._pool.writing() as slot:
            np.copyto(slot.picture(width, height, Encoding.BGRA8 if channels == 4 else Encoding.BGR8), pixels)
            info = FrameInfo(stamp_ns or time.time_ns(), 'camera_optical_frame', self.sequence, exposure_s, gain)
            return slot.publish(info)

    def lease(self, ref):
        return self._reader.lease(ref)

    def pixels(self, ref):
        """Copy a frame of any pool."""
        with self._reader.lease(ref) as lease:
            return lease.pixels.copy()

    def original(self, ref):
        """Copy a frame as it was before it was changed in place."""
        with self._reader.lease(ref) as lease:
            before = np.empty(lease.pixels.shape, np.uint8)
            lease.original(before)
            return before


@pytest.fixture
def frames(namespace):
    """A pool of the test's own."""
    made = Frames(f'{os.environ["ROS_DOMAIN_ID"]}{namespace}/of_the_test')
    yield made
    made.close()
