import math

import numpy as np
import pytest

from facefusion_ros.sim.motion_chip import MotionNoise
from facefusion_ros.sim.mpu6050 import EmulatedMpu6050

ADDRESS = 0x68
UP = (0.0, 0.0, 9.80665)


@pytest.fixture(scope='module')
def bench(chip_on_bus):
    class Bench(chip_on_bus):
        def __init__(self, omega=lambda _: (0.0, 0.0, 0.0), force=lambda _: UP, **chip):
            chip.setdefault('noise', MotionNoise(0.0, 0.0))
            super().__init__(EmulatedMpu6050, omega, force, **chip)

        def wake(self, *, divider=4, dlpf=2, gyro=0, accel=0, fifo=0x78):
            self.set(0x6B, 0x01)
            self.set(0x19, divider, dlpf, gyro << 3, accel << 3)
            self.set(0x23, fifo)
            self.set(0x6A, 0x04)
            self.set(0x6A, 0x40)

        def waiting(self):
            return int.from_bytes(self.get(0x72, 2), 'big')

        def words(self, register, count):
            return np.frombuffer(self.get(register, 2 * count), '>i2')

    return Bench


def test_after_power_on_it_sleeps_and_says_who_it_is(bench):
    with bench() as b:
        assert b.get(0x6B) == b'\x40'
        assert b.get(0x75) == b'\x68'
        b.now_s = 1.0
        assert b.get(0x3B, 14) == bytes(14)
        b.set(0x75, 0x12)
        assert b.get(0x75) == b'\x68'


def test_reset_clears_itself_and_swallows_what_comes_too_soon(bench):
    with bench() as b:
        b.wake()
        b.now_s = 1.0
        b.set(0x6B, 0x80)
        assert b.get(0x6B) == b'\x40'
        assert b.get(0x19, 4) == bytes(4)
        b.set(0x6B, 0x01)
        assert b.get(0x6B) == b'\x40'
        b.now_s += 0.1
        b.set(0x6B, 0x01)
        assert b.get(0x6B) == b'\x01'


def test_registers_follow_each_other_but_the_fifo_stays(bench):
    with bench() as b:
        b.wake()
        assert b.get(0x19, 4) == bytes((4, 2, 0, 0))
        b.now_s = 0.0501
        assert b.waiting() == 120
        assert b.get(0x74, 24) == b.get(0x74, 24)  # at rest, every datum is the same
        assert b.waiting() == 72
        assert b.get(0x73, 3)[0] == 72  # pointer goes from the count to the FIFO and stays there
        assert b.waiting() == 70


@pytest.mark.parametrize('gyro', [0, 1, 2, 3])
@pytest.mark.parametrize('accel', [0, 1, 2, 3])
def test_ranges(bench, gyro, accel):
    dps, g = 250 << gyro, 2 << accel
    omega = np.radians([0.5 * dps, -0.25 * dps, 1.5 * dps])
    force = np.array([0.5, -2.0, 0.25]) * g * 9.80665
    with bench(lambda _: omega, lambda _: force) as b:
        b.wake(gyro=gyro, accel=accel)
        b.now_s = 0.1
        words = b.words(0x3B, 7)
        assert words[:3] == pytest.approx([16384, -32768, 8192], abs=1)
        assert words[4:] == pytest.approx([16384, -8192, 32767], rel=2e-3)
        assert words[3] / 340.0 + 36.53 == pytest.approx(25.0, abs=0.01)


@pytest.mark.parametrize(
    ('sources', 'words'),
    [(0x78, [8192, 1, 2, 3]), (0x08, [8192]), (0x70, [1, 2, 3]), (0x50, [1, 3]), (0xF8, [8192, -3920, 1, 2, 3])],
)
def test_what_is_in_the_fifo_and_in_which_order(bench, sources, words):
    with bench(lambda _: np.radians([1 / 131, 2 / 131, 3 / 131]), lambda _: (0.0, 0.0, 4.903325)) as b:
        b.wake(fifo=sources)
        b.now_s = 0.1
        b.set(0x6A, 0x04)
        b.set(0x6A, 0x40)
        b.now_s += 0.0051
        waiting = b.waiting()
        data = np.frombuffer(b.get(0x74, waiting), '>i2')
        assert [word for word in data.tolist() if word] == words
        assert b.waiting() == 0


def test_the_rate_follows_the_divider_the_filter_and_the_chips_own_clock(bench):
    for divider, dlpf, error, rate_hz in ((4, 2, 0.0, 200.0), (9, 1, 0.02, 102.0), (7, 0, -0.02, 980.0)):
        with bench(clock_error=error) as b:
            b.wake(divider=divider, dlpf=dlpf)
            b.now_s = 0.05
            assert b.waiting() // 12 == int(rate_hz * 0.05)


def test_a_full_fifo_loses_the_oldest_and_says_so(bench):
    with bench(lambda t_s: (t_s / 10.0, 0.0, 0.0)) as b:
        b.wake()
        b.now_s = 0.4
        assert (b.waiting(), b.get(0x3A)[0] & 0x10) == (960, 0)
        b.now_s = 30.0
        assert b.waiting() == 1024
        assert b.get(0x3A)[0] & 0x10
        assert b.get(0x3A)[0] & 0x10 == 0
        newest = np.frombuffer(b.get(0x74, 1024)[-12:], '>i2')
        assert newest[3] == pytest.approx(math.degrees(0.1 * (30.0 - 2.8e-3)) * 131.0, abs=1)
        b.set(0x6A, 0x44)
        b.now_s += 0.01
        assert b.waiting() > 0  # it is not reset while it is on


@pytest.mark.parametrize(('dlpf', 'delay_s'), [(1, 1.9e-3), (2, 2.8e-3), (4, 8.3e-3), (6, 18.6e-3)])
def test_the_filter_delays_what_it_shows(bench, dlpf, delay_s):
    with bench(lambda t_s: (t_s, 0.0, 0.0)) as b:
        b.wake(dlpf=dlpf)
        b.now_s = 1.0
        assert math.radians(b.words(0x43, 1)[0] / 131.0) == pytest.approx(1.0 - delay_s, abs=2e-4)


def test_noise_comes_from_the_seed_and_not_from_how_it_is_read(bench):
    def counts(steps, seed):
        with bench(noise=EmulatedMpu6050.NOISE, seed=seed) as b:
            b.wake()
            data = b''
            for _ in range(steps):
                b.now_s += 0.4 / steps
                data += b.get(0x74, b.waiting())
            return np.frombuffer(data, '>i2').reshape(-1, 6)

    once = counts(1, 7)
    assert np.array_equal(once, counts(40, 7))
    assert not np.array_equal(once, counts(1, 8))
    assert once[10:, 3:].std() == pytest.approx(0.005 * math.sqrt(98.0) * 131.0, rel=0.2)


def test_bias_and_start_of_the_gyroscope(bench):
    with bench(bias=(0.1, 0.0, -0.1)) as b:
        b.wake()
        b.now_s = 0.02
        assert b.words(0x43, 3).tolist() == [0, 0, 0]
        b.now_s = 0.1
        assert b.words(0x43, 3) == pytest.approx([751, 0, -751], abs=1)
