"""What motion chips are set to for what is asked of them."""

import math

import pytest

from facefusion_ros.errors import SettingError
from facefusion_ros.sensors.motion_chips import MOTION_CHIPS
from facefusion_ros.sensors.motion_plan import MotionSettings, first_order_delay_s, not_above, not_below


@pytest.mark.parametrize(
    ('wanted', 'got'),
    [
        ('mpu6050', 200.0),
        ('icm20948', 225.0),
        ('lsm6dso', 208.0),
        ('bmi088', 200.0),
        ('bmi160', 200.0),
        ('bmi270', 200.0),
    ],
)
def test_a_chip_takes_its_next_faster_rate(wanted, got):
    assert MOTION_CHIPS[wanted].planned(MotionSettings(rate_hz=200.0)).rate_hz == got


def test_the_filter_is_the_widest_under_half_the_rate_or_what_is_asked_for():
    chip = MOTION_CHIPS['mpu6050']
    assert chip.planned(MotionSettings()).gyro_bandwidth_hz == 98
    assert chip.planned(MotionSettings(rate_hz=1000.0)).gyro_bandwidth_hz == 188
    assert chip.planned(MotionSettings(bandwidth_hz=42.0)).gyro_bandwidth_hz == 42
    assert chip.planned(MotionSettings(bandwidth_hz=1.0)).gyro_bandwidth_hz == 5


@pytest.mark.parametrize(
    'wrong',
    [{'rate_hz': 5000.0}, {'gyro_range_dps': 4000.0}, {'accel_range_g': 40.0}],
)
def test_what_a_chip_cannot_do_is_refused_by_name(motion_chip, wrong):
    (name,) = wrong
    if motion_chip == 'bmi088' and name == 'accel_range_g':
        return  # it has no accelerometer to set
    with pytest.raises(SettingError, match=f'^{name} must be at most'):
        MOTION_CHIPS[motion_chip].planned(MotionSettings(**wrong))


@pytest.mark.parametrize(
    'wrong',
    [{'rate_hz': 0.0}, {'rate_hz': math.nan}, {'gyro_range_dps': -1.0}, {'bandwidth_hz': -1.0}, {'batch_s': 1.0}],
)
def test_settings_without_sense_are_refused_by_name(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        MotionSettings(**wrong)


def test_the_filters_of_an_mpu6500_are_of_first_order_and_two_samples():
    """By its published delays; the ICM-20948, which has none, is taken to be like it."""
    for bandwidth_hz in (184.0, 92.0, 41.0, 20.0, 10.0, 5.0):
        settings = MotionSettings(bandwidth_hz=bandwidth_hz)
        published_s = MOTION_CHIPS['mpu6500'].planned(settings).delay_s
        assert first_order_delay_s(bandwidth_hz) + 2e-3 == pytest.approx(published_s, abs=0.4e-3)
    assert MOTION_CHIPS['icm20948'].planned(MotionSettings()).delay_s == pytest.approx(4.89e-3, abs=1e-5)


def test_choices():
    assert not_below('x', 201.0, [100.0, 200.0, 400.0]) == 200.0  # as good as
    assert not_below('x', 210.0, [100.0, 200.0, 400.0]) == 400.0
    assert not_above(90.0, [50.0, 80.0, 100.0]) == 80.0
    assert not_above(9.0, [50.0, 80.0]) == 50.0
