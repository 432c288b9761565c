"""The camera's exposure by the real node, on an emulated image sensor and on a device at the ioctl seam."""

import importlib.util
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Illuminance

from facefusion_ros import msg
from facefusion_ros.app.launch import resolve
from facefusion_ros.app.share import adopt_environment, launch_file
from facefusion_ros.cameras import v4l2_device
from facefusion_ros.faces.face import Face
from facefusion_ros.nodes.camera_control import CameraControl
from facefusion_ros.ros.messages import to_face_array, to_frame_ref, to_header
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.imx219 import EmulatedImx219

spec = importlib.util.spec_from_file_location('v4l2_device', Path(__file__).parents[1] / 'cameras' / 'v4l2_device.py')
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)

BUS = '/dev/i2c-95'
AUTO, ABSOLUTE, PRIORITY, GAIN = 0x009A0901, 0x009A0902, 0x009A0903, 0x00980913


def values_of(status):
    return {value.key: value.value for value in status.values}


class Scene:
    """A wall before a camera whose frames the test passes on one by one, when the node has done with the last."""

    def __init__(self, listener, frames, wait_until, node):
        self._frames, self._wait_until, self._node = frames, wait_until, node
        self._frame = listener.speak(msg.FrameRef, 'frame')
        self._light = listener.speak(Illuminance, 'illuminance')
        self._faces = listener.speak(msg.FaceArray, 'faces')
        self.stamp_ns = 1_700_000_000_000_000_000
        self.wall = np.exp2(np.random.default_rng(0).normal(-2.5, 0.5, (60, 80, 1))) * np.ones((1, 1, 3))

    def show(self, brightness, exposure_s=math.nan, gain=math.nan, face=None, lux=None):
        """Publish a picture of that brightness, and wait until the node has heeded it."""
        self.stamp_ns += 33_333_333
        if lux is not None:
            header = to_header(self.stamp_ns - 60_000_000, '')
            self._light.publish(Illuminance(header=header, illuminance=lux))
        linear = np.clip(self.wall * brightness, 0.0, 1.0)
        coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        ref = self._frames.put(np.rint(255.0 * coded).astype(np.uint8), stamp_ns=self.stamp_ns)
        ref = replace(ref, info=replace(ref.info, exposure_s=exposure_s, gain=gain))
        if face is not None:
            self._faces.publish(to_face_array(ref, [Face(face, 0.9, np.zeros((5, 2), np.float32))]))
        before = self._node.frames
        self._frame.publish(to_frame_ref(ref))
        self._wait_until(lambda: self._node.frames > before, 'a frame that was heeded')


class Clock:
    def __init__(self):
        self.now_ns = time.time_ns()

    def __call__(self):
        return self.now_ns


@pytest.fixture
def sensor():
    """An image sensor on a bus, whose time the test makes pass."""
    clock = Clock()
    chip = EmulatedImx219(clock=clock)
    with EmulatedAdapter(BUS, [chip], clock=clock):
        chip.clock = clock
        yield chip


@pytest.mark.parametrize('told', [True, False], ids=['the camera tells', 'the camera tells nothing'])
def test_a_bare_sensor_is_brought_to_the_target_and_kept_there(listener, start, frames, wait_until, sensor, told):
    node = start(CameraControl, access='i2c', bus=BUS, mains='50', metering='average')
    assert node.started
    scene = Scene(listener, frames, wait_until, node)
    seen = []
    for frame in range(60):
        sensor.clock.now_ns = sensor.begins_ns(frame + 1) + 3_000_000
        exposure_s, gain = sensor.taken(frame)
        seen.append(60.0 * exposure_s * gain if frame < 30 else 6.0 * exposure_s * gain)
        scene.show(seen[-1], *((exposure_s, gain) if told else ()))
    for brightness in (seen[27:30], seen[57:]):
        assert np.mean(scene.wall) * np.array(brightness) == pytest.approx([0.18] * 3, rel=0.08)
    assert sensor.taken(59)[0] == pytest.approx(0.02, rel=0.002)  # two whole periods
    status = listener.diagnostics('camera_control').until(lambda status: 'exposure ms' in values_of(status))
    values = values_of(status)
    assert status.level == DiagnosticStatus.OK
    assert values['exposure ms'] == '20.000' or values['exposure ms'].startswith('19.99')
    assert float(values['brightness']) == pytest.approx(0.18, rel=0.1)
    assert values['mains Hz'] == '50'


@pytest.mark.usefixtures('sensor')
def test_light_is_heeded_and_can_be_left_out(listener, start, frames, wait_until):
    node = start(CameraControl, access='i2c', bus=BUS, metering='average', mains='off')
    scene = Scene(listener, frames, wait_until, node)
    for _ in range(15):
        scene.show(0.9, 0.005, 1.0, lux=100.0)
    diagnostics = listener.diagnostics('camera_control')
    status = diagnostics.until(lambda status: 'log2 brightness per lux s' in values_of(status))
    assert float(values_of(status)['log2 brightness per lux s']) == pytest.approx(
        math.log2(0.18 / 0.005 / 100.0), abs=0.2
    )
    assert listener.set_parameters('camera_control', use_illuminance=False)[0].successful


@pytest.mark.usefixtures('sensor')
def test_the_metering_follows_faces(listener, start, frames, wait_until):
    node = start(CameraControl, access='i2c', bus=BUS, mains='off')
    scene = Scene(listener, frames, wait_until, node)
    scene.wall[:] = 0.7
    scene.wall[20:40, 30:50] = 0.05
    diagnostics = listener.diagnostics('camera_control')
    measured = []
    for face in (None, (30.0, 20.0, 20.0, 20.0)):
        for _ in range(3):
            scene.show(1.0, 0.005, 1.0, face=face)
        seen = len(diagnostics.messages)
        diagnostics.until(lambda status: 'brightness' in values_of(status), seen + 1)
        measured.append(float(values_of(diagnostics.messages[-1])['brightness']))
    assert measured[1] < 0.7 * measured[0]


def test_a_v4l2_camera_is_taken_over_and_given_back(listener, start, frames, wait_until, monkeypatch):
    kernel = fake.FakeKernel(fake.webcam(), '/dev/video9')
    monkeypatch.setattr(v4l2_device, 'Linux', lambda: kernel)
    node = start(CameraControl, device='/dev/video9', unity_gain=16.0, mains='60', white_balance='scene')
    assert node.started
    assert (kernel.knobs[AUTO].value, kernel.knobs[PRIORITY].value) == (1, 0)
    scene = Scene(listener, frames, wait_until, node)
    for _ in range(25):
        exposure_s, gain = kernel.knobs[ABSOLUTE].value * 1e-4, kernel.knobs[GAIN].value / 16.0
        scene.show(20.0 * exposure_s * gain, exposure_s, gain)
    assert 20.0 * kernel.knobs[ABSOLUTE].value * 1e-4 * kernel.knobs[GAIN].value / 16.0 * np.mean(
        scene.wall
    ) == pytest.approx(0.18, rel=0.1)
    assert kernel.knobs[ABSOLUTE].value == 167  # 16.7 ms are two periods of 60 Hz
    assert kernel.knobs[0x0098090C].value == 0
    assert listener.transit('camera_control', 'deactivate')
    assert {number: knob.value for number, knob in kernel.knobs.items()} == {
        knob.id: knob.value for knob in fake.webcam()
    }
    assert kernel.opened == 0


def test_a_camera_that_goes_is_told_and_taken_again(listener, start, frames, wait_until, monkeypatch):
    kernel = fake.FakeKernel(fake.webcam(), '/dev/video9')
    monkeypatch.setattr(v4l2_device, 'Linux', lambda: kernel)
    node = start(CameraControl, device='/dev/video9')
    scene = Scene(listener, frames, wait_until, node)
    scene.show(0.5)
    kernel.refusal = kernel.open_refusal = 19
    diagnostics = listener.diagnostics('camera_control')
    ref = to_frame_ref(frames.put(np.full((60, 80, 3), 99, np.uint8), stamp_ns=scene.stamp_ns + 1))

    def failed():
        scene._frame.publish(ref)
        return kernel.opened == 0

    wait_until(failed, 'a camera that is let go of')
    status = diagnostics.until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert status.message == 'the camera /dev/video9 has gone away: plug it in again'
    kernel.refusal = kernel.open_refusal = 0
    kernel.knobs[AUTO].value = 3  # it was plugged in again

    def back():
        scene._frame.publish(ref)
        return kernel.knobs[AUTO].value == 1

    wait_until(back, 'a camera that is taken over again')
    diagnostics.until(lambda status: status.level != DiagnosticStatus.ERROR, len(diagnostics.messages))


def test_a_camera_that_is_not_there_is_told_and_outlived(listener, start):
    assert start(CameraControl, device='/dev/video77').started
    status = listener.diagnostics('camera_control').until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert status.message.startswith('there is no camera /dev/video77: ')
    assert listener.state('camera_control') == 'active'
    assert listener.transit('camera_control', 'deactivate')
    assert listener.transit('camera_control', 'cleanup')


def test_a_camera_that_exposes_by_itself_is_refused(start):
    started = start(CameraControl, device='sim')
    assert not started.started
    assert started.failure == (
        "device must be a device node such as /dev/video0 and not 'sim': "
        'the simulated camera, files and streams expose by themselves'
    )


def test_the_launch_file_starts_it_for_the_camera_it_starts():
    adopt_environment()
    for wanted in (False, True):
        plan = resolve(
            launch_file('pipeline.launch.xml'),
            {'source': '/dev/video2', 'camera_control': str(wanted).lower(), 'sensors': 'false'},
            os.environ,
        )
        said = [str(process.argv) for process in plan.processes if 'camera_control' in str(process.argv[:2])]
        assert len(said) == wanted
        assert all('device": "/dev/video2' in text for text in said)


@pytest.mark.usefixtures('sensor')
def test_a_sensor_of_a_kernel_driver_is_left_to_it(listener, start, tmp_path, monkeypatch):
    (tmp_path / '95-0010').mkdir()
    (tmp_path / 'imx219').mkdir()
    (tmp_path / '95-0010' / 'driver').symlink_to(tmp_path / 'imx219')
    monkeypatch.setattr('facefusion_ros.sensors.bus.Bus.__init__.__kwdefaults__', {'sysfs': tmp_path})
    start(CameraControl, access='i2c', bus='95')
    status = listener.diagnostics('camera_control').until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert status.message == (
        'a kernel driver owns the camera at 0x10 on 95: set access:=v4l2 and device:=/dev/v4l-subdevN'
    )


@pytest.mark.usefixtures('sensor')
def test_limits_can_be_changed_and_contradictions_are_refused(listener, start, frames, wait_until):
    node = start(CameraControl, access='i2c', bus=BUS, mains='off', metering='average')
    scene = Scene(listener, frames, wait_until, node)
    assert listener.set_parameters('camera_control', max_exposure_s=0.001, max_gain=2.0)[0].successful
    for _ in range(4):
        scene.show(0.001, 0.001, 2.0)
    diagnostics = listener.diagnostics('camera_control')
    status = diagnostics.until(lambda status: status.level == DiagnosticStatus.WARN)
    assert 'the picture is too dark: allow a longer max_exposure_s' in status.message
    assert (values_of(status)['exposure ms'], values_of(status)['gain']) == ('0.983', '2.00')
    [refused] = listener.set_parameters('camera_control', min_exposure_s=0.5)
    assert not refused.successful
    assert refused.reason == 'min_exposure_s must not be above max_exposure_s, which is 0.001'


@pytest.mark.usefixtures('sensor')
def test_a_frame_that_is_gone_is_counted(listener, start, frames, wait_until):
    node = start(CameraControl, access='i2c', bus=BUS)
    scene = Scene(listener, frames, wait_until, node)
    scene.show(0.5)
    ref = frames.put(np.zeros((60, 80, 3), np.uint8))
    diagnostics = listener.diagnostics('camera_control')
    scene._frame.publish(to_frame_ref(replace(ref, generation=ref.generation + 7)))
    diagnostics.until(lambda status: values_of(status).get('gone') == '1')


@pytest.mark.usefixtures('sensor')
def test_mains_are_found_by_the_flicker(listener, start, frames, wait_until):
    """At 30 frames a second 60 Hz would not be seen, so that is where it begins; the beat says that it is 50 Hz."""
    node = start(CameraControl, access='i2c', bus=BUS, metering='average')
    scene = Scene(listener, frames, wait_until, node)
    diagnostics = listener.diagnostics('camera_control')
    for depth, found in ((0.0, '60'), (0.15, '50')):
        for _ in range(50):
            wave = 1.0 + depth * math.sin(2.0 * math.pi * 100.0 * (scene.stamp_ns + 33_333_333) * 1e-9)
            scene.show(wave, 1.0 / 120.0, 1.0)
        diagnostics.until(lambda status, found=found: values_of(status)['mains Hz'] == found, len(diagnostics.messages))
