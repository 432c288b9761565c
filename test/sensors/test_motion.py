"""All motion chips: what they have in common is tested on each of them."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facefusion_ros.sensors.bus import (
    Bus,
    ChipReset,
    Garbled,
    NobodyAnswers,
    Overrun,
    SettingsLost,
    Stalled,
    TransferFailed,
    WrongIdentity,
)
from facefusion_ros.sensors.motion_chips import MOTION_CHIPS
from facefusion_ros.sensors.motion_plan import MotionSettings
from facefusion_ros.sim.faults import Fault, power_glitch, timed_out
from facefusion_ros.sim.motion_chip import MotionNoise

UP = np.array([0.0, 0.0, 9.80665])
QUIET = MotionNoise(0.002, 1e-4)
"""Far less than real, and yet no two samples are the same."""


def gathered(given):
    samples = [sample for samples in given for sample in samples]
    stamps_s = np.array([s.stamp_ns for s in samples]) * 1e-9
    return stamps_s, np.array([s.angular_velocity for s in samples]), np.array([s.specific_force for s in samples])


def at_rest(_t_s):
    return (0.0, 0.0, 0.0)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([125, 250, 500, 1000, 2000]),
    st.sampled_from([2, 4, 8, 16]),
    st.lists(st.floats(-0.99, 0.99), min_size=6, max_size=6),
)
def test_any_motion_within_range_is_read_to_one_count_and_the_noise(motion_world, read_for, motion_chip, dps, g, parts):
    omega = np.radians(dps) * np.array(parts[:3])
    force = 9.80665 * g * np.array(parts[3:])
    wanted = MotionSettings(gyro_range_dps=dps, accel_range_g=g)
    with motion_world(motion_chip, lambda _: omega, lambda _: force, wanted, noise=QUIET) as w:
        assert w.driver.plan.gyro_range_dps >= dps
        w.driver.start()
        _, omegas, forces = gathered(read_for(w.driver, w.clock, 0.7))
        assert len(omegas) > 20
        assert np.abs(omegas - omega).max() <= w.driver.plan.gyro_scale + math.radians(0.15)
        if w.driver.HAS_ACCELEROMETER:
            assert np.abs(forces - force).max() <= w.driver.plan.accel_scale + 0.08


def test_noise_is_what_the_variance_says(motion_world, read_for, motion_chip):
    with motion_world(motion_chip, at_rest) as w:
        w.driver.start()
        given = read_for(w.driver, w.clock, 8.0)
        _, omegas, forces = gathered(given)
        sample = given[-1][-1]
        assert omegas.var() == pytest.approx(sample.angular_velocity_variance, rel=0.12)
        if w.driver.HAS_ACCELEROMETER:
            assert (forces - UP).var() == pytest.approx(sample.specific_force_variance, rel=0.12)
        else:
            assert sample.specific_force_variance == -1.0
        assert w.driver.dropped == 0


def test_stamps_are_the_middle_of_what_the_filter_shows(motion_world, read_for, motion_chip):
    """By the phase of a swing, as the emulation delays it: not by its own account of times."""
    rng = np.random.default_rng(3)

    def omega(t_s):
        return (0.0, 0.0, 3.0 * math.sin(4.0 * math.pi * t_s))

    with motion_world(motion_chip, omega, clock_error=0.02) as w:
        w.driver.start()
        stamps_s, omegas, _ = gathered(read_for(w.driver, w.clock, 6.0, lambda: 1e-3 * rng.random()))
        angle = 4.0 * math.pi * np.array([w.clock.since_start(stamp) for stamp in stamps_s])
        design = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        (sine, cosine), *_ = np.linalg.lstsq(design, omegas[:, 2], rcond=None)
        assert abs(math.atan2(cosine, sine)) / (4.0 * math.pi) < 2e-4
        assert np.all(np.diff(stamps_s) > 0.0)
        rate_hz = w.driver.plan.rate_hz * 1.02
        assert len(stamps_s) == pytest.approx((stamps_s[-1] - stamps_s[0]) * rate_hz + 1, abs=1)  # none missing
        assert 1.0 / w.driver.sample_period_s == pytest.approx(rate_hz, rel=1e-3)


def test_the_end_of_the_range_is_marked(motion_world, read_for, motion_chip):
    wanted = MotionSettings(gyro_range_dps=250)
    with motion_world(motion_chip, lambda t_s: (0.0, 0.0, 9.0 if t_s > 1.0 else 1.0), settings=wanted) as w:
        w.driver.start()
        samples = [s for given in read_for(w.driver, w.clock, 1.5) for s in given]
        assert {sample.clipped for sample in samples} == {False, True}
        for sample in samples:
            assert sample.clipped == (sample.angular_velocity[2] > 1.1)


def test_a_full_fifo_is_said_and_got_over(motion_world, read_for, motion_chip):
    def omega(t_s):
        return (0.2 * t_s, -0.2 * t_s, 0.1 * t_s)

    with motion_world(motion_chip, omega, clock_error=0.02) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 1.5)
        for pause_s in (1.2, 3.0):
            w.clock.sleep(pause_s)
            with pytest.raises(Overrun, match=f'0x{w.chip.address:02x} on /dev/i2c-90'):
                w.driver.read()
            stamps_s, omegas, _ = gathered(read_for(w.driver, w.clock, 0.8))
            t_s = np.array([w.clock.since_start(stamp) for stamp in stamps_s])
            assert len(t_s) > 40
            assert np.abs(omegas[:, 0] - 0.2 * t_s).max() < 0.02


def test_a_reset_of_the_chip_is_seen_at_once(motion_world, read_for, motion_chip, make_clock):
    at_s = make_clock.START_NS * 1e-9 + 1.5
    with motion_world(motion_chip, at_rest) as w:
        w.adapter.faults.append(Fault(power_glitch, w.chip.address, at_s, most=1))
        w.driver.start()
        with pytest.raises((ChipReset, SettingsLost, Garbled)):
            read_for(w.driver, w.clock, 3.0)
        assert w.clock.elapsed_s < 1.65
        with pytest.raises(ChipReset, match='has reset itself'):
            w.driver.read()
        w.driver.start()
        _, omegas, _ = gathered(read_for(w.driver, w.clock, 1.0))
        assert len(omegas) > 80
        assert np.abs(omegas).max() < 0.02


def test_any_lost_setting_is_noticed(motion_world, read_for, motion_chip):
    for register, values in MOTION_CHIPS[motion_chip].planned(MotionSettings()).registers.items():
        for place, value in enumerate(values):
            with motion_world(motion_chip, at_rest) as w:
                w.driver.start()
                read_for(w.driver, w.clock, 0.4)
                w.driver._write(register + place, value ^ 0x08)
                with pytest.raises((SettingsLost, ChipReset, Stalled, Garbled, Overrun)):
                    read_for(w.driver, w.clock, 0.5)


def test_a_chip_that_stops_or_freezes_is_noticed(motion_world, read_for, motion_chip):
    for way, said in (('stopped', 'stopped giving samples'), ('stuck', 'same sample again and again')):
        with motion_world(motion_chip, at_rest) as w:
            w.driver.start()
            read_for(w.driver, w.clock, 0.6)
            setattr(w.chip, way, True)
            began_s = w.clock.elapsed_s
            with pytest.raises(Stalled, match=said):
                read_for(w.driver, w.clock, 0.5)
            assert w.clock.elapsed_s - began_s < 0.25


def test_a_failed_transfer_does_not_tear_samples(motion_world, read_for, motion_chip):
    """The FIFO may be half read when a transfer breaks off."""

    class BreaksOff:
        left = 0

        def carry(self, message, chip, onward):
            if self.left:
                self.left -= 1
                if not self.left:
                    if message.length:
                        chip.read(min(5, message.length))
                    raise OSError(5, 'Input/output error')
            return onward(message, chip)

    fault = BreaksOff()
    with motion_world(motion_chip, lambda _: (1.0, 2.0, 3.0), faults=[fault]) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 0.8)
        for message in range(1, 12):
            fault.left = message
            w.clock.sleep(w.driver.period_s)
            try:
                w.driver.read()
            except TransferFailed:
                assert not fault.left
            fault.left = 0
            with suppress(Garbled):  # the FIFO is found in disorder
                w.driver.read()
            _, omegas, _ = gathered(read_for(w.driver, w.clock, 0.2))
            assert len(omegas) > 30
            assert np.abs(omegas - (1.0, 2.0, 3.0)).max() < 0.02


@pytest.mark.parametrize('chip', [chip for chip, driver in MOTION_CHIPS.items() if driver.HAS_ACCELEROMETER])
def test_an_older_answer_is_not_taken_for_new_samples(motion_world, read_for, chip):
    """Even where the count agrees with it, as when the FIFO has just been emptied; a BMI088 has other means."""

    def turning(t_s):
        return (math.sin(4.0 * t_s), math.cos(5.0 * t_s), 0.0)

    with motion_world(chip, turning) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 1.0)
        take, batches = w.driver._take, []

        def again(waiting):
            data = take(waiting)
            batches.append(data)
            return next((old for old in batches[:-1] if len(old) == len(data) > 20), data)

        w.driver._take = again
        stale = 0
        for _ in range(12):
            w.clock.sleep(w.driver.period_s)
            try:
                samples = w.driver.read()
            except Garbled:
                stale += 1
                continue
            for sample in samples:
                true = turning(w.clock.since_start(sample.stamp_ns * 1e-9))
                assert np.abs(sample.angular_velocity - true).max() < 0.03
        assert stale > 2


@pytest.mark.parametrize(
    ('chip', 'driver_of', 'said'),
    [
        ('mpu6500', 'mpu6050', 'a MPU-6500 answers at 0x68 on /dev/i2c-90, not a MPU-6050: set chip:=mpu6500'),
        ('mpu9250', 'mpu6500', 'a MPU-9250 answers at 0x68 on /dev/i2c-90, not a MPU-6500: set chip:=mpu9250'),
        ('icm20948', 'bmi160', 'a ICM-20948 answers at 0x68 on /dev/i2c-90, not a BMI160: set chip:=icm20948'),
        ('bmi270', 'bmi160', 'a BMI270 answers at 0x68 on /dev/i2c-90, not a BMI160: set chip:=bmi270'),
        ('bmi160', 'bmi270', 'a BMI160 answers at 0x68 on /dev/i2c-90, not a BMI270: set chip:=bmi160'),
    ],
)
def test_another_chip_is_named_with_what_to_set(motion_world, chip, driver_of, said):
    with motion_world(chip, at_rest, driver_of=driver_of) as w:
        with pytest.raises(WrongIdentity) as caught:
            w.driver.start()
        assert str(caught.value) == said


def test_an_unknown_chip_is_not_written_to(motion_world, motion_chip):
    with motion_world(motion_chip, at_rest, identity=0x5A) as w:
        with pytest.raises(WrongIdentity, match='its identity is 0x5a'):
            w.driver.start()
        assert w.clock.elapsed_s == 0.0  # nothing was reset, or there would have been a wait


def test_nobody_there_and_a_stuck_bus_are_told_apart(motion_world):
    with motion_world('mpu6050', at_rest) as w:
        driver = MOTION_CHIPS['mpu6050'](Bus(90), 0x69)
        with pytest.raises(NobodyAnswers, match='0x69 on /dev/i2c-90'):
            driver.start()
        driver.close()
        w.adapter.faults.append(Fault(timed_out))
        with pytest.raises(TransferFailed):
            w.driver.start()


@pytest.mark.parametrize('rate_hz', [50.0, 1000.0])
def test_other_rates(motion_world, read_for, motion_chip, rate_hz):
    with motion_world(motion_chip, at_rest, settings=MotionSettings(rate_hz=rate_hz)) as w:
        w.driver.start()
        stamps_s, _, _ = gathered(read_for(w.driver, w.clock, 120.0 / rate_hz + 0.6))
        assert len(stamps_s) > 60
        assert np.diff(stamps_s) == pytest.approx(1.0 / w.driver.plan.rate_hz, rel=0.2)


@pytest.mark.parametrize('filled', [0xFF, 0x00])
def test_samples_that_the_wire_made_up_are_not_believed(motion_world, read_for, filled):
    """All ones is what a master reads when the chip has let go of the wire."""

    class LetsGo:
        armed = False

        def carry(self, message, chip, onward):
            answer = onward(message, chip)
            if self.armed and message.asked == b'\x74' and len(answer) > 20:
                self.armed = False
                return answer[:5] + bytes((filled,)) * (len(answer) - 5)
            return answer

    fault = LetsGo()
    with motion_world('mpu6050', lambda _: (0.01, 0.0, 0.0), lambda _: (0.0, 0.0, 0.5), faults=[fault]) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 0.8)
        fault.armed = True
        with pytest.raises(Garbled, match='gives empty samples'):
            read_for(w.driver, w.clock, 0.2)


def test_a_frame_that_slipped_on_the_wire_is_noticed_by_the_data_registers(motion_world, read_for):
    with motion_world('bmi088', lambda _: (0.5, 0.2, -0.3)) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 0.8)
        for _ in range(5):
            w.chip.lose_fifo_byte()
            with pytest.raises(Garbled, match='has slipped'):
                read_for(w.driver, w.clock, 0.2)
            _, omegas, _ = gathered(read_for(w.driver, w.clock, 0.3))
            assert np.abs(omegas - (0.5, 0.2, -0.3)).max() < 0.02
