import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sensors.bus import (
    Bus,
    ChipReset,
    NobodyAnswers,
    Overrun,
    SettingsLost,
    TransferFailed,
    WrongIdentity,
)
from facefusion_ros.sensors.mpu6050 import ADDRESS, Mpu6050, Mpu6050Settings
from facefusion_ros.sim.faults import BusFault, SilentReset
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.mpu6050 import EmulatedMpu6050, Mpu6050Noise

SILENT = Mpu6050Noise(0.0, 0.0)
UP = (0.0, 0.0, 9.80665)


@pytest.fixture(scope='module')
def world(make_clock):
    """Make a driver at an emulated chip that moves as a function of seconds since the start."""

    class World:
        def __init__(self, omega, force=lambda _: UP, faults=(), driver=None, noise=SILENT, **chip):
            self.clock = make_clock()
            since = self.clock.since_start
            self.chip = EmulatedMpu6050(
                lambda time_s: omega(since(time_s)),
                lambda time_s: force(since(time_s)),
                clock=self.clock,
                noise=noise,
                **chip,
            )
            self.adapter = EmulatedAdapter(90, [self.chip], faults, clock=self.clock)
            self.driver = Mpu6050(Bus(90), settings=driver, clock=self.clock, sleep=self.clock.sleep)

        def __enter__(self):
            self.adapter.install()
            return self

        def __exit__(self, *_):
            self.driver.close()
            self.adapter.remove()

    return World


def gathered(given):
    samples = [sample for samples in given for sample in samples]
    stamps_s = np.array([s.stamp_ns for s in samples]) * 1e-9
    return stamps_s, np.array([s.angular_velocity for s in samples]), np.array([s.specific_force for s in samples])


def at_rest(_t_s):
    return (0.0, 0.0, 0.0)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([250, 500, 1000, 2000]),
    st.sampled_from([2, 4, 8, 16]),
    st.lists(st.floats(-0.999, 0.999), min_size=6, max_size=6),
)
def test_any_motion_within_range_is_read_to_one_count(world, read_for, dps, g, parts):
    omega = np.radians(dps) * np.array(parts[:3])
    force = 9.80665 * g * np.array(parts[3:])
    driver = Mpu6050Settings(gyro_range_dps=dps, accel_range_g=g)
    with world(lambda _: omega, lambda _: force, driver=driver) as w:
        w.driver.start()
        _, omegas, forces = gathered(read_for(w.driver, w.clock, 0.9))
        assert len(omegas) > 10
        assert np.abs(omegas - omega).max() <= math.radians(dps) / 32000  # one count
        assert np.abs(forces - force).max() <= 9.80665 * g / 32768


@settings(max_examples=12, deadline=None)
@given(
    error=st.sampled_from([-0.02, 0.0, 0.02]),
    late_s=st.floats(0.0, 0.004),
    bandwidth=st.sampled_from([188, 98, 42, 20]),
    seed=st.integers(0, 2**31),
)
def test_stamps_are_true_to_a_millisecond_with_any_chip_clock(world, read_for, error, late_s, bandwidth, seed):
    turns_hz = 2.0

    def omega(t_s):
        return (0.0, 0.0, 3.0 * math.sin(2.0 * math.pi * turns_hz * t_s))

    rng = np.random.default_rng(seed)
    driver = Mpu6050Settings(bandwidth_hz=bandwidth)
    with world(omega, driver=driver, clock_error=error) as w:
        w.driver.start()
        stamps_s, omegas, _ = gathered(read_for(w.driver, w.clock, 8.0, lambda: late_s * rng.random()))
        t_s = np.array([w.clock.since_start(stamp) for stamp in stamps_s])
        angle = 2.0 * math.pi * turns_hz * t_s
        design = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        (sine, cosine), *_ = np.linalg.lstsq(design, omegas[:, 2], rcond=None)
        shift_s = math.atan2(cosine, sine) / (2.0 * math.pi * turns_hz)
        assert abs(shift_s) < 1e-3
        assert math.hypot(sine, cosine) == pytest.approx(3.0, rel=1e-3)
        assert np.all(np.diff(stamps_s) > 0.0)
        # None is missing and none is there twice.
        assert len(t_s) == pytest.approx((t_s[-1] - t_s[0]) * 200.0 * (1.0 + error) + 1, abs=1)
        assert 1.0 / w.driver.sample_period_s == pytest.approx(200.0 * (1.0 + error), rel=2e-3)


def test_noise_is_what_the_variance_says(world, read_for):
    with world(at_rest, noise=None) as w:
        w.driver.start()
        given = read_for(w.driver, w.clock, 10.0)
        _, omegas, forces = gathered(given)
        sample = given[-1][-1]
        assert omegas.var() == pytest.approx(sample.angular_velocity_variance, rel=0.1)
        assert (forces - UP).var() == pytest.approx(sample.specific_force_variance, rel=0.1)


def test_the_end_of_the_range_is_marked(world, read_for):
    driver = Mpu6050Settings(gyro_range_dps=250)
    with world(lambda t_s: (0.0, 0.0, 5.0 if t_s > 2.0 else 1.0), driver=driver) as w:
        w.driver.start()
        for sample in (s for given in read_for(w.driver, w.clock, 3.0) for s in given):
            assert sample.clipped == (sample.angular_velocity[2] > 1.1)


def test_a_full_fifo_is_said_and_got_over(world, read_for):
    def omega(t_s):
        return (t_s, -t_s, 0.5 * t_s)

    with world(omega, clock_error=0.02) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 2.0)
        for pause_s in (0.42, 0.5, 3.0):
            w.clock.sleep(pause_s)
            with pytest.raises(Overrun, match='0x68 on /dev/i2c-90 was not read for too long'):
                w.driver.read()
            stamps_s, omegas, forces = gathered(read_for(w.driver, w.clock, 0.5))
            t_s = np.array([w.clock.since_start(stamp) for stamp in stamps_s])
            assert len(t_s) > 90
            assert np.abs(omegas[:, 0] - t_s).max() < 2e-3
            assert np.abs(forces - UP).max() < 1e-2


def test_a_reset_of_the_chip_is_seen_at_once(world, read_for, make_clock):
    at_s = make_clock.START_NS * 1e-9 + 2.0
    with world(at_rest, faults=[SilentReset(ADDRESS, at_s)]) as w:
        w.driver.start()
        with pytest.raises(ChipReset, match='has reset itself'):
            read_for(w.driver, w.clock, 3.0)
        assert w.clock.elapsed_s < 2.3
        w.driver.start()
        _, _, forces = gathered(read_for(w.driver, w.clock, 2.0))
        assert len(forces) > 200
        assert np.abs(forces - UP).max() < 1e-2


@pytest.mark.parametrize('register', [0x19, 0x1A, 0x1B, 0x1C, 0x23, 0x6A, 0x6B])
def test_any_lost_setting_is_noticed(world, read_for, register):
    with world(at_rest) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 1.0)
        w.chip.write(bytes((register, 0x06)))
        with pytest.raises(SettingsLost, match='from register 0x'):
            read_for(w.driver, w.clock, 0.4)


def test_a_chip_that_stops_giving_samples_is_noticed(world, read_for):
    with world(at_rest) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 1.0)
        w.chip._sample = lambda: None
        with pytest.raises(SettingsLost, match='stopped giving samples'):
            read_for(w.driver, w.clock, 0.5)


def test_a_failed_transfer_does_not_tear_samples(world, read_for):
    """The FIFO may be half read when a transfer breaks off."""

    class BreaksOff:
        def __init__(self):
            self.left = 0

        def carry(self, message, chip, onward):
            if self.left:
                self.left -= 1
                if not self.left:
                    chip.read(5)
                    raise OSError(5, 'Input/output error')
            return onward(message, chip)

    fault = BreaksOff()
    with world(lambda _: (1.0, 2.0, 3.0), faults=[fault]) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 1.0)
        for message in range(1, 5):
            fault.left = message
            w.clock.sleep(w.driver.period_s)
            try:
                w.driver.read()
            except TransferFailed:
                assert not fault.left
            _, omegas, forces = gathered(read_for(w.driver, w.clock, 0.3))
            assert len(omegas) > 40
            assert np.abs(omegas - (1.0, 2.0, 3.0)).max() < 1e-3
            assert np.abs(forces - UP).max() < 1e-2


def test_another_chip_is_named(world):
    named = r'0x68 on /dev/i2c-90 is no MPU-6050: WHO_AM_I is 0x71 \(MPU-9250\)'
    with world(at_rest, identity=0x71) as w, pytest.raises(WrongIdentity, match=named):
        w.driver.start()


def test_nobody_there_and_a_stuck_bus_are_told_apart(world):
    with world(at_rest) as w:
        driver = Mpu6050(Bus(90), 0x69)
        with pytest.raises(NobodyAnswers, match='0x69 on /dev/i2c-90'):
            driver.start()
        driver.close()
        w.adapter.faults.append(BusFault(0.0))
        with pytest.raises(TransferFailed):
            w.driver.start()


@pytest.mark.parametrize(
    'wrong',
    [
        {'rate_hz': 300.0},
        {'rate_hz': 0.0},
        {'rate_hz': math.nan},
        {'gyro_range_dps': 300},
        {'accel_range_g': 1},
        {'bandwidth_hz': 100},
        {'batch_s': 1.0},
    ],
)
def test_settings_it_cannot_have_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Mpu6050Settings(**wrong)


@pytest.mark.parametrize('rate_hz', [50.0, 1000.0])
def test_other_rates(world, read_for, rate_hz):
    with world(at_rest, driver=Mpu6050Settings(rate_hz=rate_hz)) as w:
        w.driver.start()
        stamps_s, _, _ = gathered(read_for(w.driver, w.clock, 4.0))
        assert len(stamps_s) > 2.5 * rate_hz
        assert np.diff(stamps_s) == pytest.approx(1.0 / rate_hz, rel=0.2)
