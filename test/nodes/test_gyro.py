"""The motion sensor's node, with its real driver on an emulated bus."""

import itertools
import re
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Imu

from facefusion_ros.nodes.gyro import Gyro
from facefusion_ros.ros.messages import from_time, vector
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.mpu6050 import EmulatedMpu6050

EPOCH_NS = 1_700_000_000_000_000_000


def values_of(status):
    return {value.key: value.value for value in status.values}


def test_motion_is_the_worlds(listener, start, world, world_file):
    """In the axes of the sensor, which this world turns against the camera's body."""
    heard, diagnostics = listener.hear(Imu, 'imu/data_raw'), listener.diagnostics('gyro')
    start(Gyro, world=world_file, world_epoch_ns=EPOCH_NS, frame_id='skull', rate_hz=200.0)
    samples = heard.wait(100)
    stamps = np.array([from_time(sample.header.stamp) for sample in samples])
    assert np.diff(stamps).min() > 0
    assert np.median(np.diff(stamps)) == pytest.approx(5e6, rel=0.05)
    times = [world.time_s(stamp_ns, EPOCH_NS) for stamp_ns in stamps.tolist()]
    truth = np.array([world.angular_velocity_imu(time_s) for time_s in times])
    measured = np.array([vector(sample.angular_velocity) for sample in samples])
    assert np.abs(truth).max() > 0.01
    assert np.abs((measured - truth).mean(axis=0)).max() < 0.003
    truth = np.array([world.specific_force_imu(time_s) for time_s in times])
    measured = np.array([vector(sample.linear_acceleration) for sample in samples])
    assert np.abs((measured - truth).mean(axis=0)).max() < 0.1

    # REP-145: what is not measured has -1 in the first element of its covariance.
    sample = samples[0]
    assert sample.header.frame_id == 'skull'
    assert sample.orientation_covariance[0] == -1.0
    for covariance in (sample.angular_velocity_covariance, sample.linear_acceleration_covariance):
        matrix = covariance.reshape(3, 3)
        assert (np.diag(matrix) > 0).all()
        np.testing.assert_array_equal(matrix, np.diag(np.diag(matrix)))
    status = diagnostics.until(lambda status: status.level == DiagnosticStatus.OK)
    assert int(values_of(status)['readings']) > 0


@pytest.mark.parametrize(
    ('chip', 'rate_hz'),
    [
        ('mpu6500', 200.0),
        ('mpu9250', 200.0),
        ('icm20948', 225.0),
        ('lsm6dso', 208.0),
        ('bmi088', 200.0),
        ('bmi160', 200.0),
    ],
)
def test_any_chip_may_be_the_one(listener, start, world, world_file, chip, rate_hz):
    heard, diagnostics = listener.hear(Imu, 'imu/data_raw'), listener.diagnostics('gyro')
    start(Gyro, chip=chip, world=world_file, world_epoch_ns=EPOCH_NS)
    samples = heard.wait(60)
    times = [world.time_s(from_time(sample.header.stamp), EPOCH_NS) for sample in samples]
    truth = np.array([world.angular_velocity_imu(time_s) for time_s in times])
    measured = np.array([vector(sample.angular_velocity) for sample in samples])
    assert np.abs((measured - truth).mean(axis=0)).max() < 0.003
    has_accelerometer = chip != 'bmi088'
    assert (samples[0].linear_acceleration_covariance[0] > 0.0) == has_accelerometer
    if not has_accelerometer:
        assert samples[0].linear_acceleration_covariance[0] == -1.0
    values = values_of(diagnostics.until(lambda status: status.level == DiagnosticStatus.OK))
    assert float(values['rate Hz']) == pytest.approx(rate_hz, rel=0.01)
    assert float(values['stamp jitter us']) < 1000.0
    assert values['bus load'].endswith('%')
    assert int(values['dropped']) == 0


def test_a_bmi270_takes_its_program_from_a_file(listener, start, world_file, tmp_path):
    (tmp_path / 'program').write_bytes(bytes(range(256)) * 32)
    heard = listener.hear(Imu, 'imu/data_raw')
    start(Gyro, chip='bmi270', firmware=str(tmp_path / 'program'), world=world_file)
    heard.wait(20)


def test_without_its_program_a_bmi270_says_where_to_get_it(start, tmp_path):
    started = start(Gyro, chip='bmi270', firmware=str(tmp_path / 'none'))
    assert not started.started
    assert 'save bmi270.c of github.com/boschsensortec/BMI270_SensorAPI' in started.failure


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        ({'rate_hz': 2000.0}, 'rate_hz must be at most 1000 for this chip, not 2000'),
        ({'chip': 'lsm6dso', 'accel_range_g': 24.0}, 'accel_range_g must be at most 16 for this chip, not 24'),
    ],
)
def test_what_the_chip_cannot_do_is_said(start, values, said):
    started = start(Gyro, **values)
    assert not started.started
    assert started.failure == said


def test_a_kernel_driver_that_is_not_there_is_told(listener, start):
    start(Gyro, access='iio', chip='bmi160')
    status = listener.diagnostics('gyro').until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert 'bmi160' in status.message
    assert values_of(status)['clipped'] == '0'


def test_a_chip_without_a_kernel_driver_is_told(start):
    started = start(Gyro, access='iio', chip='icm20948')
    assert started.failure == 'Linux has no driver for the icm20948: set access:=i2c'


def test_a_bus_that_is_too_slow_for_the_rate_is_warned_of(listener, start, world_file, monkeypatch):
    read = EmulatedMpu6050.read

    def read_slowly(chip, length):
        time.sleep(0.004)  # the time that so many bytes take on a slow wire
        return read(chip, length)

    monkeypatch.setattr(EmulatedMpu6050, 'read', read_slowly)
    diagnostics = listener.diagnostics('gyro')
    start(Gyro, world=world_file)
    status = diagnostics.until(lambda status: 'of the bus' in status.message)
    assert status.level == DiagnosticStatus.WARN
    assert re.match(r'the motion sensor takes \d+% of the bus: speed up the bus', status.message)
    assert float(values_of(status)['bus load'].rstrip('%')) > 70.0


def test_faster_than_the_range_is_counted_and_not_published(listener, start, tmp_path):
    """Up to 13 rad/s and back 17 times a second, where the sensor goes to 8.7 rad/s (500 degrees per second).

    200 samples a second meet every phase of that, and so rates close to the range's end.
    """
    path = tmp_path / 'shaken.yaml'
    path.write_text(
        'period_s: 1.0\nseed: 1\ncamera: {width: 64, height: 48, rate_hz: 10.0, hfov_deg: 60.0}\n'
        'motion: {yaw: [{amplitude_deg: 7.0, cycles: 17}]}\nlight: {lux: 400.0}\n'
        'scene: {distance_m: 0.5, width_m: 0.746}\n'
    )
    heard, diagnostics = listener.hear(Imu, 'imu/data_raw'), listener.diagnostics('gyro')
    start(Gyro, world=str(path))
    diagnostics.until(lambda status: int(values_of(status)['clipped']) > 10)
    rates = np.abs([vector(sample.angular_velocity) for sample in heard.wait(60)])
    assert 0.5 * 8.7 < rates.max() < 32768 / 65.5 * np.pi / 180  # the largest number it has


@pytest.mark.parametrize(('rate_hz', 'period_ns'), [(1000.0, 1e6), (50.0, 2e7)])
def test_samples_come_at_the_rate_that_is_asked_for(listener, start, world_file, rate_hz, period_ns):
    heard = listener.hear(Imu, 'imu/data_raw')
    start(Gyro, world=world_file, rate_hz=rate_hz, address=0x69)
    stamps = [from_time(sample.header.stamp) for sample in heard.wait(20)]
    steps = [other - one for one, other in itertools.pairwise(stamps)]
    assert np.median(steps) == pytest.approx(period_ns, rel=0.05)


def test_nobody_at_the_address_is_told_and_outlived(listener, start):
    with EmulatedAdapter('/dev/i2c-92', []):
        assert start(Gyro, bus='/dev/i2c-92', address=0x69).started
        status = listener.diagnostics('gyro').until(lambda status: 'nobody answers' in status.message)
        assert status.level == DiagnosticStatus.WARN
        assert '0x69 on /dev/i2c-92' in status.message
        assert listener.state('gyro') == 'active'
        assert listener.transit('gyro', 'deactivate')


def test_a_bus_that_is_not_there_is_told_with_the_cure(listener, start):
    assert start(Gyro, bus='77').started
    status = listener.diagnostics('gyro').until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert status.message.startswith('there is no I2C bus /dev/i2c-77: ')
