"""Emulated motion chips, spoken to with smbus2 as their data sheets say; time passes when told."""

import math

import numpy as np
import pytest

from facefusion_ros.sim.motion_chip import MotionNoise
from facefusion_ros.sim.motion_chips import EMULATED_MOTION_CHIPS, emulate_motion_chip

UP = (0.0, 0.0, 9.80665)
OMEGA = (0.5, -0.25, 1.0)
PROGRAM = np.random.default_rng(0).integers(0, 256, 8192, np.uint8).tobytes()


@pytest.fixture(scope='module')
def bench(chip_on_bus):
    """Make the bench of a chip by its name."""

    def make(chip, omega=lambda _: OMEGA, **options):
        options.setdefault('noise', MotionNoise(0.0, 0.0))
        return chip_on_bus(emulate_motion_chip, chip, omega, lambda _: UP, program=PROGRAM, **options)

    return make


@pytest.mark.parametrize(
    ('chip', 'register', 'identity'),
    [
        ('mpu6050', 0x75, 0x68),
        ('mpu6500', 0x75, 0x70),
        ('mpu9250', 0x75, 0x71),
        ('icm20948', 0x00, 0xEA),
        ('lsm6dso', 0x0F, 0x6C),
        ('bmi088', 0x00, 0x0F),
        ('bmi160', 0x00, 0xD1),
        ('bmi270', 0x00, 0x24),
    ],
)
def test_who_it_is_and_that_it_cannot_be_told_otherwise(bench, chip, register, identity):
    with bench(chip) as b:
        assert b.get(register) == bytes((identity,))
        b.set(register, 0x12)
        assert b.get(register) == bytes((identity,))
    with bench(chip, identity=0x33) as b:
        assert b.get(register) == b'\x33'


@pytest.mark.parametrize('chip', EMULATED_MOTION_CHIPS)
def test_it_is_deaf_while_it_boots(bench, chip):
    with bench(chip, boot_s=0.05) as b:
        b.get(0x00)
        b.chip.power_cycle()
        for after_s, deaf in ((0.0, True), (0.049, True), (0.002, False)):
            b.wait(after_s)
            if deaf:
                with pytest.raises(OSError, match='No such device or address'):
                    b.get(0x00)
            else:
                b.get(0x00)


def test_icm20948_has_banks_and_sleeps_at_first(bench):
    with bench('icm20948') as b:
        assert b.get(0x06) == b'\x41'
        b.set(0x7F, 0x20)
        assert b.get(0x7F) == b'\x20'
        assert b.get(0x01) == b'\x01'  # GYRO_CONFIG_1
        b.set(0x00, 4, 0x01 | 1 << 1)
        assert b.get(0x00, 2) == bytes((4, 3))
        b.set(0x7F, 0x00)
        assert b.get(0x00) == b'\xea'
        b.wait(1.0)
        assert b.get(0x2D, 12) == bytes(12)
        b.set(0x06, 0x01)
        b.wait(0.1)
        gyro = np.frombuffer(b.get(0x33, 6), '>i2')
        assert gyro == pytest.approx(np.degrees(OMEGA) * 65.5, abs=1)
        assert np.frombuffer(b.get(0x2D, 6), '>i2').tolist() == [0, 0, 16384]
        b.set(0x06, 0x80)
        assert b.get(0x06) == b'\x41'


def test_icm20948_keeps_its_fifo_empty_while_that_is_reset(bench):
    with bench('icm20948') as b:
        b.set(0x06, 0x01)
        b.set(0x03, 0x40)
        b.set(0x67, 0x1E)
        b.wait(0.02)
        assert int.from_bytes(b.get(0x70, 2), 'big') == 12 * 22
        b.set(0x68, 0x1F)
        b.wait(0.02)
        assert b.get(0x70, 2) == bytes(2)
        b.set(0x68, 0x00)
        b.wait(0.01)
        assert int.from_bytes(b.get(0x70, 2), 'big') == 12 * 11
        b.wait(10.0)
        assert int.from_bytes(b.get(0x70, 2), 'big') == 512


def test_lsm6dso_tags_its_words_and_goes_round_in_a_burst(bench):
    with bench('lsm6dso') as b:
        b.set(0x12, 0x44)
        b.set(0x10, 0x50 | 0x08, 0x50 | 0x04)
        b.set(0x09, 0x55, 0x06)
        b.wait(0.1)
        words = int.from_bytes(b.get(0x3A, 2), 'little') & 0x3FF
        assert words == 2 * 20
        data = np.frombuffer(b.get(0x78, 7 * words), np.uint8).reshape(-1, 7)
        assert (data[:, 0] >> 3).tolist() == [1, 2] * 20
        assert (data[::2, 0] >> 1 & 3).tolist() == [slot % 4 for slot in range(20)]
        assert not (np.unpackbits(data[:, :1], axis=1).sum(axis=1) % 2).any()
        gyro = np.frombuffer(data[-2, 1:].tobytes(), '<i2')
        assert gyro == pytest.approx(np.degrees(OMEGA) / 17.5e-3, abs=1)
        assert np.frombuffer(data[-1, 1:].tobytes(), '<i2')[2] == pytest.approx(1000 / 0.122, abs=1)
        assert b.get(0x3A, 2) == bytes(2)
        b.wait(3.0)
        assert b.get(0x3B)[0] & 0x48 == 0x48  # it ran over
        b.set(0x0A, 0x00)
        assert b.get(0x3A, 2) == bytes(2)
        b.set(0x12, 0x01)
        assert b.get(0x10, 3) == bytes((0, 0, 0x04))


def test_lsm6dso_does_not_go_on_without_increment(bench):
    with bench('lsm6dso') as b:
        b.set(0x12, 0x40)
        assert b.get(0x0F, 3) == b'\x6c\x6c\x6c'


def start_bmi160(b):
    b.set(0x7E, 0x11)
    b.wait(0.004)
    b.set(0x7E, 0x15)
    assert b.get(0x03) == b'\x10'
    b.wait(0.081)
    assert b.get(0x03) == b'\x14'
    b.set(0x47, 0xD0)
    b.set(0x7E, 0xB0)


def test_bmi160_wakes_by_commands_and_frames_its_fifo(bench):
    with bench('bmi160') as b:
        b.wait(1.0)
        assert b.get(0x0C, 12) == bytes(12)
        start_bmi160(b)
        b.wait(0.0501)
        assert int.from_bytes(b.get(0x22, 2), 'little') == 13 * 5
        first = b.get(0x24, 20)
        assert first[0] == first[13] == 0x8C
        assert b.get(0x24, 13)[:7] == first[13:]  # a frame that was not read to its end comes again
        assert np.frombuffer(first[1:7], '<i2') == pytest.approx(np.degrees(OMEGA) * 16.384, abs=1)
        assert np.frombuffer(first[7:13], '<i2').tolist() == [0, 0, 16384]
        assert b.get(0x24, 50)[39:] == b'\x80' * 11  # nothing more
        b.wait(2.0)
        assert b.get(0x24, 1) == b'\x40'  # frames were left out
        b.set(0x7E, 0xB0)
        assert b.get(0x22, 2) == bytes(2)
        b.set(0x42, 0x29)
        assert b.get(0x24, 2) == b'\x48\x00'  # settings changed
        b.set(0x7E, 0xB6)
        assert b.get(0x03) == b'\x00'


def give_program(b, program):
    b.set(0x7C, 0x00)
    b.set(0x59, 0x00)
    for place in range(0, 8192, 1024):
        b.set(0x5B, place // 2 & 0x0F, place // 2 >> 4)
        b.set(0x5E, *program[place : place + 1024])
    b.set(0x59, 0x01)
    b.wait(0.03)
    return b.get(0x21)[0] & 0x0F


def test_bmi270_measures_only_with_its_program(bench):
    with bench('bmi270') as b:
        b.set(0x7D, 0x0E)
        b.wait(1.0)
        assert b.get(0x0C, 12) == bytes(12)
        assert give_program(b, PROGRAM[::-1]) == 2
        b.wait(1.0)
        assert b.get(0x0C, 12) == bytes(12)
        b.set(0x7E, 0xB6)
        assert give_program(b, PROGRAM) == 1
        b.set(0x7D, 0x0E)
        b.wait(0.1)
        assert np.frombuffer(b.get(0x0C, 6), '<i2').tolist() == [0, 0, 4096]
        assert np.frombuffer(b.get(0x12, 6), '<i2') == pytest.approx(np.degrees(OMEGA) * 16.384, abs=1)
        b.chip.power_cycle()
        b.wait(1.0)
        assert b.get(0x21) == b'\x00'
        assert b.get(0x0C, 12) == bytes(12)


def test_bmi088_counts_frames_and_says_that_it_ran_over(bench):
    with bench('bmi088') as b:
        assert b.get(0x10) == b'\x80'
        b.set(0x10, 0x06)
        assert b.get(0x10) == b'\x86'
        b.set(0x0F, 0x02)
        b.set(0x3D, 0x00, 0x80)
        b.wait(0.0501)
        assert b.get(0x0E) == bytes((10,))
        data = np.frombuffer(b.get(0x3F, 60), '<i2').reshape(-1, 3)
        assert data[-1] == pytest.approx(np.degrees(OMEGA) * 65.536, abs=1)
        assert b.get(0x0E) == b'\x00'
        b.wait(1.0)
        assert b.get(0x0E) == bytes((0x80 | 100,))
        b.set(0x3E, 0x80)
        assert b.get(0x0E) == b'\x00'
        b.set(0x14, 0xB6)
        assert b.get(0x0F, 2) == b'\x00\x80'


def test_the_clock_may_drift_and_tells_when_it_sampled(bench):
    with bench('bmi088', clock_error=lambda time_s: 0.01 * time_s) as b:
        b.set(0x10, 0x06)
        b.set(0x3D, 0x00, 0x80)
        for _ in range(50):
            b.wait(0.04)
            b.get(0x3F, 6 * b.get(0x0E)[0])
        steps = np.diff(b.chip.sampled_ns)
        assert steps[0] == pytest.approx(5e6, rel=1e-3)
        assert steps[-1] == pytest.approx(5e6 / 1.02, rel=1e-3)


@pytest.mark.parametrize('chip', ['bmi088', 'lsm6dso'])
def test_the_filter_delays_what_it_shows(bench, chip):
    with bench(chip, lambda t_s: (t_s, 0.0, 0.0)) as b:
        if chip == 'bmi088':
            b.set(0x10, 0x06)
            per_dps, data, hz, rate_hz = 16.384, 0x02, 64.0, 200.0
        else:
            b.set(0x10, 0x50, 0x50)
            per_dps, data, hz, rate_hz = 1 / 8.75e-3, 0x22, 66.8, 208.0
        b.wait(math.ceil(rate_hz) / rate_hz)
        seen = math.radians(np.frombuffer(b.get(data, 2), '<i2')[0] / per_dps)
        assert seen == pytest.approx(b.now_s - math.sqrt(2.0) / (2.0 * math.pi * hz), abs=2e-3)


def test_stuck_and_stopped(bench):
    with bench('bmi088', noise=MotionNoise(0.01, 0.0)) as b:
        b.wait(0.05)
        b.set(0x3D, 0x00, 0x80)
        b.wait(0.02)
        assert len({b.get(0x3F, 6) for _ in range(10)}) > 5
        b.chip.stuck = True
        b.wait(0.02)
        count = b.get(0x0E)[0]
        b.get(0x3F, 6 * (count - 5))
        assert len({b.get(0x3F, 6) for _ in range(5)}) == 1
        b.chip.stopped = True
        b.set(0x3E, 0x80)
        b.wait(0.1)
        assert b.get(0x0E) == b'\x00'
