import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sim.gyro import Gyro, Imu
from facefusion_ros.sim.trajectory import OPTICAL_FROM_IMU, Motion, Tone, Trajectory, rotation_from_rpy
from facefusion_ros.sim.world import load_world

TONE_HZ = 5.0
SHAKE = Trajectory(Motion(pitch=(Tone(2.0, 50),)), 10.0, 0)


def read(imu, first=0, last=2000, motion=SHAKE):
    return Gyro(imu, motion, 1).read(first, last)


def test_an_ideal_gyro_reads_what_the_world_says():
    world = replace(load_world('head'), imu=Imu((10.0, 20.0, -30.0)))
    stamps_ns, rates = world.gyro.between(3.0, 4.0)
    assert len(stamps_ns) == 200
    for stamp_ns, rate in zip(stamps_ns[::20], rates[::20], strict=True):
        np.testing.assert_allclose(rate, world.angular_velocity_imu(stamp_ns * 1e-9), atol=1e-12)


def test_bias_scale_and_mounting():
    _, true = read(Imu())
    _, rates = read(Imu(bias_dps=(1.0, -2.0, 3.0), scale_error=(0.0, 0.02, -0.01)))
    np.testing.assert_allclose(rates, true * [1.0, 1.02, 0.99] + np.radians([1.0, -2.0, 3.0]), atol=1e-12)
    skewed = Imu(rpy_deg=(90.0, 0.0, 0.0), rpy_error_deg=(1.0, -2.0, 3.0))
    np.testing.assert_array_equal(skewed.optical_from_imu_told, Imu(rpy_deg=(90.0, 0.0, 0.0)).optical_from_imu)
    _, rates = read(skewed)
    error = rotation_from_rpy(*np.radians([1.0, -2.0, 3.0]))
    told = rotation_from_rpy(math.radians(90.0), 0.0, 0.0)
    np.testing.assert_allclose(rates @ (OPTICAL_FROM_IMU @ told @ error).T, true @ OPTICAL_FROM_IMU.T, atol=1e-12)


def test_stamps_are_late_by_the_offset():
    exact, late = Gyro(Imu(), SHAKE, 1), Gyro(Imu(time_offset_ms=8.0), SHAKE, 1)
    np.testing.assert_array_equal(late.read(0, 50)[0], exact.read(0, 50)[0] + 8_000_000)
    np.testing.assert_array_equal(late.read(0, 50)[1], exact.read(0, 50)[1])
    stamps_ns, _ = late.between(1.0, 2.0)
    assert stamps_ns[0] * 1e-9 == pytest.approx(1.003)
    assert len(stamps_ns) == 200


def test_noise_has_its_density_and_follows_numbers():
    imu = Imu(noise_dps_sqrthz=0.01)
    stamps_ns, rates = read(imu, 0, 5000)
    noise = np.degrees(rates - read(Imu(), 0, 5000)[1])
    np.testing.assert_allclose(noise.std(axis=0), 0.01 * math.sqrt(100.0), rtol=0.05)
    assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 0.05
    part_stamps_ns, part = read(imu, 1000, 1100)
    np.testing.assert_array_equal(part, rates[1000:1100])
    np.testing.assert_array_equal(part_stamps_ns, stamps_ns[1000:1100])
    assert np.abs(read(imu, -30, 30)[1][30:] - rates[:30]).max() == 0.0
    assert len(read(imu, 5, 5)[0]) == 0
    # The second period of the world has noise of its own.
    assert np.abs(read(imu, 2000, 4000)[1] - rates[:2000]).max() > 1e-3


@settings(max_examples=10, deadline=None)
@given(st.floats(4.0, 100.0))
def test_a_filter_weakens_and_delays_as_one_of_first_order(corner_hz):
    stamps_ns, rates = read(Imu(lowpass_hz=corner_hz))
    wave = np.exp(-2j * np.pi * TONE_HZ * stamps_ns * 1e-9)
    response = (rates[:, 1] @ wave) / (read(Imu())[1][:, 1] @ wave)
    assert abs(response - 1.0 / (1.0 + 1j * TONE_HZ / corner_hz)) < 1e-6


def test_delay_counts_the_filter():
    assert Imu(time_offset_ms=3.0, lowpass_hz=20.0).delay_ms == pytest.approx(3.0 + 7.96, abs=0.01)


def test_a_range_clips_and_rounds():
    _, rates = read(Imu(range_dps=50.0))
    step = math.radians(50.0) / 32768
    np.testing.assert_allclose(rates / step, np.rint(rates / step), atol=1e-6)
    assert np.degrees(rates).min() == pytest.approx(-50.0)
    assert np.degrees(rates).max() == pytest.approx(50.0, abs=0.01)
    _, free = read(Imu(range_dps=500.0))
    assert 0.0 < np.abs(free - read(Imu())[1]).max() <= math.radians(500.0) / 32768 / 2.0 * 1.001


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ({'rate_hz': 0.0}, 'rate_hz'),
        ({'noise_dps_sqrthz': -1.0}, 'noise_dps_sqrthz'),
        ({'scale_error': (0.0, -1.0, 0.0)}, 'scale_error'),
        ({'time_offset_ms': 2000.0}, 'time_offset_ms'),
    ],
)
def test_what_no_gyro_is(wrong, words):
    with pytest.raises(ValueError, match=words):
        Imu(**wrong)
