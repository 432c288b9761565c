"""V4L2 controls, on a device at the ioctl seam."""

import errno
import importlib.util
import math
import os
from pathlib import Path

import pytest

from facefusion_ros.cameras import v4l2_controls
from facefusion_ros.cameras.controls import ControlError
from facefusion_ros.cameras.exposure import Limits, Setting
from facefusion_ros.cameras.v4l2_controls import V4l2Controls, V4l2ExposureControl
from facefusion_ros.cameras.v4l2_device import DeviceError, V4l2Device
from facefusion_ros.cameras.v4l2_uapi import Cid

spec = importlib.util.spec_from_file_location('v4l2_device', Path(__file__).with_name('v4l2_device.py'))
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)


@pytest.fixture
def kernel():
    return fake.FakeKernel(fake.webcam())


@pytest.fixture
def control(kernel):
    made = V4l2ExposureControl(V4l2Device('/dev/video9', kernel), unity_gain=16.0)
    yield made
    made.close()
    assert kernel.opened == 0


def test_lists_controls_by_the_names_people_know(kernel):
    device = V4l2Device('/dev/video9', kernel)
    device.open()
    device.open()
    assert kernel.opened == 1
    controls = V4l2Controls(device)
    controls.find()
    names = [each.name for each in controls.present.values()]
    assert names[:2] == ['brightness', 'white_balance_automatic']
    assert 'exposure_time_absolute' in names
    assert 'user_controls' not in names
    device.close()
    device.close()
    with pytest.raises(ControlError, match='is closed'):
        controls.get((Cid.GAIN,))


def test_takes_over_and_gives_back(control, kernel):
    before = {number: knob.value for number, knob in kernel.knobs.items()}
    control.open()
    assert control.limits == Limits(pytest.approx(3e-4), pytest.approx(0.2047), 1.0, pytest.approx(255 / 16), 1e-4)
    assert control.kelvin_limits == (2800, 6500)
    assert kernel.journal == []
    control.take_over()
    assert kernel.journal == [(Cid.EXPOSURE_AUTO, 1), (Cid.EXPOSURE_AUTO_PRIORITY, 0)]
    control.apply(Setting(0.0101, 2.03))
    assert kernel.calls[-1] == {Cid.EXPOSURE_ABSOLUTE: 101, Cid.GAIN: 32}  # at once
    assert control.read() == Setting(pytest.approx(0.0101), 2.0)
    control.apply(Setting(9.0, 90.0))
    assert control.read() == Setting(pytest.approx(0.2047), 255 / 16)
    control.balance(4444.0)
    control.balance(3000.0)
    assert kernel.journal[-3:] == [
        (Cid.AUTO_WHITE_BALANCE, 0),
        (Cid.WHITE_BALANCE_TEMPERATURE, 4440),
        (Cid.WHITE_BALANCE_TEMPERATURE, 3000),
    ]
    control.close()
    assert {number: knob.value for number, knob in kernel.knobs.items()} == before
    assert kernel.journal[-1] == (Cid.EXPOSURE_AUTO, 3)  # last: then the camera goes on by itself
    control.close()


def test_a_source_that_only_reads_changes_nothing(control, kernel):
    control.open()
    setting = control.read()
    assert math.isnan(setting.exposure_s)  # the camera chooses it and does not tell
    assert setting.gain == 4.0
    kernel.knobs[Cid.EXPOSURE_ABSOLUTE].flags = fake.VOLATILE
    control.close()
    control.open()
    assert control.read().exposure_s == pytest.approx(0.0156)  # and here it does
    control.close()
    assert kernel.journal == []


def test_a_control_that_cannot_be_set_is_left_alone(control, kernel):
    kernel.knobs[Cid.EXPOSURE_AUTO_PRIORITY].flags = fake.READ_ONLY
    control.open()
    control.take_over()
    assert kernel.journal == [(Cid.EXPOSURE_AUTO, 1)]


def test_values_of_64_bits_are_whole(kernel):
    kernel.knobs[Cid.PIXEL_RATE] = fake.Knob(Cid.PIXEL_RATE, 'Pixel Rate', 1, 1, 10**10, type=fake.INTEGER64)
    device = V4l2Device('/dev/video9', kernel)
    device.open()
    controls = V4l2Controls(device)
    controls.find()
    controls.set({Cid.PIXEL_RATE: 6_000_000_001})
    assert controls.get((Cid.GAIN, Cid.PIXEL_RATE)) == [64, 6_000_000_001]
    device.close()


def test_a_gain_in_an_unknown_unit_is_left_alone(kernel):
    control = V4l2ExposureControl(V4l2Device('/dev/video9', kernel))
    control.open()
    control.take_over()
    limits = control.limits
    assert (limits.min_gain, limits.max_gain) == (1.0, 1.0)
    control.apply(Setting(0.02, 4.0))
    assert math.isnan(control.read().gain)
    control.close()
    assert Cid.GAIN not in dict(kernel.journal)


def test_an_image_sensor_counts_lines():
    kernel = fake.FakeKernel(fake.sensor(), '/dev/v4l-subdev0')
    control = V4l2ExposureControl(V4l2Device('/dev/v4l-subdev0', kernel), gain_code='imx219')
    control.open()
    control.take_over()
    line_s = (1920 + 1528) / 182.4e6
    assert control.limits == Limits(
        pytest.approx(4 * line_s), pytest.approx(1759 * line_s), 1.0, pytest.approx(256 / 24), pytest.approx(line_s)
    )
    assert control.kelvin_limits is None
    control.apply(Setting(0.01, 4.0))
    assert kernel.calls[-1] == {Cid.EXPOSURE: 529, Cid.ANALOGUE_GAIN: 192}
    assert control.read() == Setting(pytest.approx(529 * line_s), 4.0)
    with pytest.raises(ControlError, match='has no control white_balance_temperature: it has exposure, vertical_bl'):
        control.balance(5000.0)
    control.close()
    assert kernel.knobs[Cid.EXPOSURE].value == 1600


def test_controls_that_are_missing_are_told_with_those_that_are_not():
    kernel = fake.FakeKernel(fake.webcam()[:3])
    control = V4l2ExposureControl(V4l2Device('/dev/video9', kernel))
    with pytest.raises(ControlError) as refusal:
        control.open()
    assert str(refusal.value) == (
        '/dev/video9 has no control exposure_absolute or exposure: it has brightness, white_balance_automatic'
    )
    assert kernel.opened == 0
    with pytest.raises(ControlError, match='is closed'):
        control.read()
    bare = V4l2ExposureControl(V4l2Device('/dev/video9', fake.FakeKernel([])))
    with pytest.raises(ControlError, match='it has none at all'):
        bare.open()


@pytest.mark.parametrize(
    ('number', 'said'),
    [
        (errno.ENOENT, 'there is no camera /dev/video9'),
        (errno.ENXIO, 'there is no camera /dev/video9'),
        (errno.EACCES, "no permission to use /dev/video9: 'sudo usermod -aG video $USER'"),
        (errno.EBUSY, '/dev/video9 is busy'),
        (errno.EIO, 'open of /dev/video9 failed'),
    ],
)
def test_a_device_that_cannot_be_opened_says_what_helps(kernel, number, said):
    kernel.open_refusal = number
    with pytest.raises(DeviceError) as refusal:
        V4l2Device('/dev/video9', kernel).open()
    assert str(refusal.value).startswith(said)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize(
    ('number', 'said'),
    [
        (errno.ENODEV, 'the camera /dev/video9 has gone away: plug it in again'),
        (
            errno.EBUSY,
            '/dev/video9 is busy, exposure_time_absolute, gain cannot be used: end the other program',
        ),
        (errno.EACCES, '/dev/video9 refuses to use exposure_time_absolute, gain so'),
        (errno.EIO, 'exposure_time_absolute, gain of /dev/video9 failed'),
    ],
)
def test_a_device_that_fails_later_says_what_helps(control, kernel, number, said):
    control.open()
    kernel.refusal = number
    with pytest.raises(ControlError) as refusal:
        control.apply(Setting(0.01, 2.0))
    assert str(refusal.value).startswith(said)


def test_a_camera_that_has_gone_is_let_go_of(control, kernel):
    control.open()
    control.take_over()
    kernel.refusal = errno.ENODEV
    control.close()
    assert kernel.opened == 0


def test_what_is_no_camera_says_so(tmp_path):
    """With the real kernel: it knows no such request for a file, or for the null device."""
    (tmp_path / 'video0').touch()
    for path in (str(tmp_path / 'video0'), os.devnull):
        with pytest.raises(ControlError, match='is no camera'):
            V4l2ExposureControl(V4l2Device(path)).open()
    with pytest.raises(ControlError, match='there is no camera'):
        V4l2ExposureControl(V4l2Device(str(tmp_path / 'video7'))).open()


def test_nearest_values():
    control = v4l2_controls.Control(1, 'x', 1, 2800, 6500, 300, 0, 0)
    assert [control.nearest(value) for value in (0, 2900, 3000, 6400, 9999)] == [2800, 2800, 3100, 6400, 6400]
