"""Adafruit's drivers, written by others for real chips, on our emulated chips: they read what ours read."""

import importlib
import types

import numpy as np
import pytest

from facefusion_ros.sensors.motion_plan import MotionSettings
from facefusion_ros.sim.motion_chip import MotionNoise
from facefusion_ros.sim.motion_chips import emulate_motion_chip

pytest.importorskip('adafruit_bus_device', reason='pip install --no-deps --requirement requirements/witness.txt')

adafruit_icm20x, adafruit_lsm6ds, adafruit_lsm6dsox, adafruit_mpu6050 = (
    importlib.import_module(f'adafruit_{chip}') for chip in ('icm20x', 'lsm6ds', 'lsm6ds.lsm6dsox', 'mpu6050')
)

QUIET = MotionNoise(1e-6, 1e-9)
MOTIONS = [
    ((0.0, 0.0, 0.0), (0.0, 0.0, 9.80665)),
    ((1.5, -2.0, 0.25), (3.0, -8.0, 12.0)),
    ((-4.0, 0.01, 4.1), (-19.0, 0.02, -1.0)),
]


@pytest.fixture
def clock(make_clock, monkeypatch):
    clock = make_clock()
    for module in (adafruit_icm20x, adafruit_lsm6ds, adafruit_mpu6050):
        monkeypatch.setattr(module, 'sleep', clock.sleep)
    monkeypatch.setattr(adafruit_icm20x, 'time', types.SimpleNamespace(sleep=clock.sleep), raising=False)
    return clock


@pytest.fixture
def ours(motion_world, read_for):
    """Make what our driver reads from a chip that moves evenly."""

    def make(chip, omega, force):
        settings = MotionSettings(gyro_range_dps=500, accel_range_g=4)
        with motion_world(chip, lambda _: omega, lambda _: force, settings) as w:
            w.driver.start()
            samples = [sample for given in read_for(w.driver, w.clock, 2.0) for sample in given]
        return (
            np.mean([sample.angular_velocity for sample in samples], axis=0),
            np.mean([sample.specific_force for sample in samples], axis=0),
        )

    return make


def mpu6050(bus):
    driver = adafruit_mpu6050.MPU6050(bus)
    driver.gyro_range = adafruit_mpu6050.GyroRange.RANGE_500_DPS
    driver.accelerometer_range = adafruit_mpu6050.Range.RANGE_4_G
    driver.filter_bandwidth = adafruit_mpu6050.Bandwidth.BAND_94_HZ
    return driver


class WithoutMagnetometer(adafruit_icm20x.ICM20948):
    def _magnetometer_init(self):
        return True

    def initialize(self):
        adafruit_icm20x.ICM20X.initialize(self)


def icm20948(bus):
    driver = WithoutMagnetometer(bus, address=0x68)
    driver.gyro_range = adafruit_icm20x.GyroRange.RANGE_500_DPS
    driver.accelerometer_range = adafruit_icm20x.AccelRange.RANGE_4G
    return driver


def lsm6dso(bus):
    driver = adafruit_lsm6dsox.LSM6DSOX(bus)
    driver.gyro_range = adafruit_lsm6ds.GyroRange.RANGE_500_DPS
    driver.accelerometer_range = adafruit_lsm6ds.AccelRange.RANGE_4G
    return driver


@pytest.mark.parametrize(('omega', 'force'), MOTIONS)
@pytest.mark.parametrize(
    ('chip', 'make', 'gyro_count', 'accel_count'),
    [
        ('mpu6050', mpu6050, 2.7e-4, 1.2e-3),
        ('icm20948', icm20948, 2.7e-4, 1.2e-3),
        ('lsm6dso', lsm6dso, 3.1e-4, 1.2e-3),
    ],
)
def test_their_driver_reads_what_ours_does(clock, theirs, ours, chip, make, gyro_count, accel_count, omega, force):
    """To a count, and what noise our mean still has."""
    emulated = emulate_motion_chip(chip, lambda _: omega, lambda _: force, clock=clock, noise=QUIET)
    driver = make(theirs(clock, emulated))
    clock.sleep(0.3)
    seen = ours(chip, omega, force)
    assert driver.gyro == pytest.approx(seen[0], abs=gyro_count + 3e-4)
    assert driver.acceleration == pytest.approx(seen[1], abs=accel_count + 5e-3)
