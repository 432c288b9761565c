"""What tests of the command line share: the command itself, and bags made from the simulated world."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Illuminance, Imu
from skimage.data import astronaut as photograph

from facefusion_ros.app.bag.writer import BagWriter
from facefusion_ros.app.main import main
from facefusion_ros.app.share import adopt_environment
from facefusion_ros.frames.frame import FrameInfo
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.ros.image import to_camera_info, to_compressed, to_image
from facefusion_ros.ros.messages import to_header
from facefusion_ros.sim.world import load_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from facefusion_ros.sim.world import World

EPOCH_NS = 1_700_000_000_000_000_000
IMU_HZ, LIGHT_HZ = 200, 20
PATIENCE_S = 100.0


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line of a command that refused; checks that it is one, and nothing else."""
        assert self.code not in {0, None}, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith('facefusion-ros: '), self.err
        return lines[0].removeprefix('facefusion-ros: ')


@pytest.fixture
def facefusion(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command in this process: ``facefusion('detect', picture, '--json', '-')``."""

    def run(*words: object) -> Result:
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:  # of argparse
            code = end.code
        return Result(code, *capfd.readouterr())

    return run


@pytest.fixture(scope='session')
def executable() -> str:
    """The installed command."""
    beside = Path(sys.prefix) / 'bin' / 'facefusion-ros'
    found = str(beside) if beside.exists() else shutil.which('facefusion-ros')
    assert found, 'facefusion-ros is not installed: make install'
    return found


@pytest.fixture
def facefusion_process(executable: str) -> Callable[..., Result]:
    """Run a command as a process of its own, as a person does."""

    def run(*words: object, **env: str) -> Result:
        done = subprocess.run(
            [executable, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **env},
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


def write_bag(
    path: Path, world: World, frames: int, *, raw: bool = False, every: int = 1, imu_late_ns: int = 0
) -> None:
    """Write what the head's camera and sensors see of a world, as a running pipeline publishes it."""
    camera = world.camera
    picture = np.empty((camera.height, camera.width, 3), np.uint8)
    messages: list[tuple[int, str, str, object]] = []
    for index in range(0, frames * every, every):
        world.render(index, picture)
        stamp_ns = world.frame_stamp_ns(index, EPOCH_NS)
        info = FrameInfo(stamp_ns, 'camera_optical_frame', index)
        if raw:
            messages.append((stamp_ns, 'image_raw', 'sensor_msgs/msg/Image', to_image(picture, info)))
        else:
            kind = 'sensor_msgs/msg/CompressedImage'
            messages.append((stamp_ns, 'image_raw/compressed', kind, to_compressed(picture, info)))
        shape = camera.intrinsics, camera.width, camera.height
        messages.append((stamp_ns, 'camera_info', 'sensor_msgs/msg/CameraInfo', to_camera_info(*shape, info)))
    end_ns = messages[-1][0]
    for stamp_ns in range(EPOCH_NS, end_ns, 1_000_000_000 // IMU_HZ):
        time_s = world.time_s(stamp_ns, EPOCH_NS)
        imu = Imu(header=to_header(stamp_ns + imu_late_ns, 'imu_link'))
        imu.orientation_covariance[0] = -1.0
        for vector, values in (
            (imu.angular_velocity, world.angular_velocity_imu(time_s)),
            (imu.linear_acceleration, world.specific_force_imu(time_s)),
        ):
            vector.x, vector.y, vector.z = map(float, values)
        messages.append((stamp_ns, 'imu/data_raw', 'sensor_msgs/msg/Imu', imu))
    for stamp_ns in range(EPOCH_NS, end_ns, 1_000_000_000 // LIGHT_HZ):
        lux = world.lux(world.time_s(stamp_ns, EPOCH_NS))
        light = Illuminance(header=to_header(stamp_ns, 'ambient_light_link'), illuminance=lux)
        messages.append((stamp_ns, 'illuminance', 'sensor_msgs/msg/Illuminance', light))
    with BagWriter(path) as bag:
        for stamp_ns, topic, kind, message in sorted(messages, key=lambda each: each[:2]):
            bag.write(f'/robot/{topic}', kind, serialize_message(message), stamp_ns)


@pytest.fixture(scope='session')
def golden_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames of the default world: JPEG pictures, camera_info, motion and light."""
    adopt_environment()
    path = tmp_path_factory.mktemp('bag') / 'golden.mcap'
    write_bag(path, load_world('head'), 40)
    return path


@pytest.fixture(scope='session')
def shaken_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of a small camera that turns, its gyro stamped 12 ms late."""
    adopt_environment()
    path = tmp_path_factory.mktemp('bag') / 'shaken.mcap'
    write_bag(path, load_world('head').sized(320, 240), 150, imu_late_ns=12_000_000)
    return path


@pytest.fixture(scope='session')
def rolling_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same through a shutter that takes 24 ms from the first row to the last."""
    adopt_environment()
    path = tmp_path_factory.mktemp('bag') / 'rolling.mcap'
    world = load_world('head').sized(320, 240)
    rolling = replace(world, camera=replace(world.camera, readout_s=0.024))
    write_bag(path, rolling, 150, imu_late_ns=12_000_000)
    return path


@pytest.fixture(scope='session')
def raw_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same world in a few small uncompressed pictures."""
    adopt_environment()
    path = tmp_path_factory.mktemp('bag') / 'raw.mcap'
    write_bag(path, load_world('head').sized(320, 240), 6, raw=True)
    return path


@pytest.fixture(scope='session')
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait of a real person, as PNG."""
    path = tmp_path_factory.mktemp('portrait') / 'astronaut.png'
    cv2.imwrite(str(path), cv2.cvtColor(photograph(), cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture(scope='session')
def _tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('models')
    store = Store(folder / 'store', catalogue())
    for family in ('yunet', 'arcface', 'inswapper', 'hyperswap', 'uniface', 'dfm', 'codeformer_256', 'xseg', 'bisenet'):
        write_tiny(family, folder / f'{family}.onnx')
        store.add(folder / f'{family}.onnx', licence='GPL-3.0' if family == 'xseg' else 'Apache-2.0', family=family)
    write_tiny('inswapper', folder / 'closed.onnx')
    store.add(folder / 'closed.onnx', licence='CC-BY-NC-4.0', family='inswapper', accept_noncommercial=True)
    return store.folder


@pytest.fixture
def models(_tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of tiny networks, each named as its family; ``closed`` is a swapper for non-commercial use."""
    monkeypatch.setenv('FACEFUSION_MODELS', str(_tiny_models))
    return _tiny_models
