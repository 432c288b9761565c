"""The motion sensor's node, with its real driver on an emulated bus."""

import itertools

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Imu

from facefusion_ros.nodes.gyro import Gyro
from facefusion_ros.ros.messages import from_time, vector
from facefusion_ros.sim.i2c import EmulatedAdapter

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


def test_faster_than_the_range_is_counted_and_not_published(listener, start, tmp_path):
    """Up to 13 rad/s and back twenty times a second, where the sensor goes to 8.7 rad/s (500 degrees per second)."""
    path = tmp_path / 'shaken.yaml'
    path.write_text(
        'period_s: 1.0\nseed: 1\ncamera: {width: 64, height: 48, rate_hz: 10.0, hfov_deg: 60.0}\n'
        'motion: {yaw: [{amplitude_deg: 6.0, cycles: 20}]}\nlight: {lux: 400.0}\n'
        'scene: {distance_m: 0.5, width_m: 0.746}\n'
    )
    heard, diagnostics = listener.hear(Imu, 'imu/data_raw'), listener.diagnostics('gyro')
    start(Gyro, world=str(path))
    diagnostics.until(lambda status: int(values_of(status)['clipped']) > 10)
    rates = np.abs([vector(sample.angular_velocity) for sample in heard.wait(20)])
    assert 0.5 * 8.7 < rates.max() < 8.73


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
