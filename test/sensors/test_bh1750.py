import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facefusion_ros.sensors.bh1750 import ADDRESS, RANGES, Bh1750
from facefusion_ros.sensors.bus import Bus, NobodyAnswers, Saturated
from facefusion_ros.sensors.light_range import choose_range
from facefusion_ros.sensors.sampling import SamplingLoop
from facefusion_ros.sim.bh1750 import EmulatedBh1750
from facefusion_ros.sim.faults import Fault, at_registers, power_glitch
from facefusion_ros.sim.i2c import EmulatedAdapter

HIGHEST_LUX = 121_000.0
LARGEST_COUNT_LUX = 1.0 / RANGES[-1].sensitivity
LUX = st.floats(-1.0, 5.0).map(lambda exponent: 10.0**exponent)


@pytest.fixture(scope='module')
def world(make_clock):
    """Make a driver at an emulated chip under a light, which is a function of seconds since the start."""

    class World:
        def __init__(self, light, faults=(), **chip):
            self.clock = make_clock()
            self.chip = EmulatedBh1750(lambda time_s: light(self.clock.since_start(time_s)), clock=self.clock, **chip)
            self.adapter = EmulatedAdapter(90, [self.chip], faults, clock=self.clock)
            self.driver = Bh1750(Bus(90), clock=self.clock)

        def __enter__(self):
            self.adapter.install()
            self.driver.start()
            return self

        def __exit__(self, *_):
            self.driver.close()
            self.adapter.remove()

    return World


@settings(max_examples=60, deadline=None)
@given(lux=LUX)
@example(lux=0.1)
@example(lux=50_000.0)
@example(lux=100_000.0)
@example(lux=11868.664421303287)  # in the next range an answer that ends with ones
def test_any_illuminance_is_read_to_half_a_count(world, read_for, lux):
    with world(lambda _: lux) as w:
        readings = [r for given in read_for(w.driver, w.clock, 3.0) for r in given]
        assert readings
        for reading in readings:
            assert abs(reading.lux - lux) <= 0.5 * LARGEST_COUNT_LUX + 1e-9 * lux
        assert abs(readings[-1].lux - lux) <= 0.005 * lux + 0.42
        spread = 0.2 * lux / 3**0.5
        assert spread * 0.9 - 1 <= readings[-1].variance ** 0.5 <= spread * 1.1 + 1 + lux**0.5
        assert readings[-1].variance > 0.0


LIMITS = [count / r.sensitivity for r in RANGES for count in (r.low, r.high) if 0.0 < count < float('inf')]
NEAR_A_LIMIT = st.builds(lambda limit, factor: limit * factor, st.sampled_from(LIMITS), st.floats(0.7, 1.4))


@given(st.one_of(LUX, NEAR_A_LIMIT), st.floats(1.0, 1.25), st.integers(0, len(RANGES) - 1))
def test_the_range_grows_with_the_light_and_does_not_swing(lux, factor, index):
    def choose(light, index):
        return choose_range(RANGES, light * RANGES[index].sensitivity, index)

    first = choose(lux, index)
    assert choose(lux, first) == first
    second = choose(lux * factor, first)
    assert second >= first
    for wavering in (lux, lux * factor, lux):
        assert choose(wavering, second) == second


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(LUX, st.floats(0.05, 2.0)), min_size=2, max_size=6))
def test_no_reading_is_ever_brighter_or_darker_than_the_light_was(world, read_for, path):
    levels = [lux for lux, _ in path]
    ends = np.cumsum([seconds for _, seconds in path])

    def light(t_s):
        return levels[min(int(np.searchsorted(ends, t_s, side='right')), len(levels) - 1)]

    with world(light) as w:
        given = read_for(w.driver, w.clock, float(ends[-1]) + 3.0)
        slack = LARGEST_COUNT_LUX
        for reading in (r for readings in given for r in readings):
            assert min(levels) - slack <= reading.lux <= max(levels) + slack
            # Nor at another time than it says, to the integration time of the slowest range.
            seen = [light(w.clock.since_start(reading.stamp_ns * 1e-9) + dt) for dt in np.linspace(-0.45, 0.45, 181)]
            assert min(seen) - slack <= reading.lux <= max(seen) + slack
        assert abs(given[-1][-1].lux - levels[-1]) <= slack if given[-1] else True


def test_too_much_light_is_an_error_and_no_number(world, read_for):
    with world(lambda t_s: 200_000.0 if 1.0 < t_s < 3.0 else 1000.0) as w:
        readings = [r for given in read_for(w.driver, w.clock, 1.0) for r in given]
        with pytest.raises(Saturated, match=r'brighter than 121084 lux at 0x23 on /dev/i2c-90'):
            read_for(w.driver, w.clock, 1.5)
        while w.clock.elapsed_s < 3.3:
            w.clock.sleep(w.driver.period_s)
            try:
                readings += w.driver.read()
            except Saturated:
                continue
        # The conversion during which the light came or went has the mean of both.
        assert max(r.lux for r in readings) < HIGHEST_LUX
        assert readings[-1].lux == pytest.approx(1000.0, abs=1.0)


def test_stamps_are_the_middle_of_the_integration(world, read_for):
    slope = 300.0
    with world(lambda t_s: 500.0 + slope * t_s) as w:
        readings = [r for given in read_for(w.driver, w.clock, 8.0) for r in given]
        late = [w.clock.since_start(r.stamp_ns * 1e-9) - (r.lux - 500.0) / slope for r in readings]
        conversion_s = w.driver.range.integration_s
        assert abs(np.mean(late)) < 0.003
        assert np.abs(late).max() < conversion_s / 7
        assert len(readings) == pytest.approx(8.0 / conversion_s, rel=0.12)


def test_constant_light_is_read_at_the_rate_of_the_slowest_chip(world, read_for):
    with world(lambda _: 500.0) as w:
        readings = [r for given in read_for(w.driver, w.clock, 9.0) for r in given]
        assert len(readings) == pytest.approx(9.0 / 0.18, rel=0.1)
        assert np.all(np.diff([r.stamp_ns for r in readings]) > 0)


@pytest.mark.parametrize('clock_error', [-0.3, 0.05])
def test_a_slow_or_fast_chip_is_not_read_before_it_is_done(world, read_for, clock_error):
    """From 100 lux the range changes; a number of the old range read in the new one would be wrong by a factor."""
    with world(lambda t_s: 30.0 if t_s < 1.0 else 40_000.0 if t_s < 2.0 else 100_000.0, clock_error=clock_error) as w:
        for reading in (r for given in read_for(w.driver, w.clock, 4.0) for r in given):
            time_s = w.clock.since_start(reading.stamp_ns * 1e-9)
            if abs(time_s - 1.0) > 0.4 and abs(time_s - 2.0) > 0.4:
                expected = 30.0 if time_s < 1.0 else 40_000.0 if time_s < 2.0 else 100_000.0
                assert reading.lux == pytest.approx(expected, abs=1.0)


@pytest.fixture(scope='module')
def looped_for():
    """Let a loop read the driver for a time; what it gave and what it counted."""

    def run(w, seconds):
        readings = []
        loop = SamplingLoop(w.driver, readings.extend)
        end_s = w.clock.elapsed_s + seconds
        while w.clock.elapsed_s < end_s:
            w.clock.sleep(max(loop.step(), 2e-4))
        return readings, loop.counters.errors

    return run


@pytest.mark.parametrize('part', [0.0, 0.2, 0.4, 0.6, 0.8])
def test_a_brown_out_gives_no_false_darkness(world, looped_for, make_clock, part):
    at_s = make_clock.START_NS * 1e-9 + 2.0 + 0.13 * part
    with world(lambda _: 300.0, [Fault(power_glitch, ADDRESS, at_s, most=1)]) as w:
        readings, _ = looped_for(w, 5.0)
        assert {round(r.lux) for r in readings} == {300}
        gap_s = np.diff([r.stamp_ns for r in readings]).max() * 1e-9
        assert gap_s < 0.8


def test_a_chip_that_has_lost_its_measurement_time_is_told_by_its_haste(world, looped_for):
    """Its power fails just before it is told to measure: 69 steps instead of 254, and numbers 3.7 times too small."""
    with world(lambda t_s: 30.0 + 3.0 * t_s, [Fault(at_registers(power_glitch, [0x20]), begin_s=2.0)]) as w:
        w.adapter.faults[0].begin_s += w.clock.START_NS * 1e-9
        readings, errors = looped_for(w, 6.0)
        assert len(readings) > 3
        assert {
            r.lux == pytest.approx(30.0 + 3.0 * w.clock.since_start(r.stamp_ns * 1e-9), abs=2.0) for r in readings
        } == {True}
        assert errors['SettingsLost'] > 2


@pytest.mark.parametrize(('before', 'after'), [(1000.0, 150.0), (700.0, 40.0), (40.0, 5000.0)])
def test_light_counted_twice_is_not_taken_for_light_that_passes(world, looped_for, make_clock, before, after):
    """A garbled opcode makes it measure in its other mode, which counts twice, just as the light changes."""

    def in_the_other_mode(message, chip, onward, _rng):
        return onward(message.replaced(data=b'\x21') if message.data == b'\x20' else message, chip)

    start_s = make_clock.START_NS * 1e-9
    for step_s in 2.0 + 0.004 * np.arange(40):
        fault = Fault(in_the_other_mode, begin_s=start_s + step_s, end_s=start_s + step_s + 0.125)
        with world(lambda t_s, step_s=step_s: before if t_s < step_s else after, [fault]) as w:
            told = [r.lux for r in looped_for(w, 4.0)[0]]
            assert told[-1] == pytest.approx(after, rel=0.02)
            assert [lux for lux in told if all(abs(lux - light) > 0.15 * light for light in (before, after))] == []


def test_real_darkness_is_believed_and_a_brown_out_in_it_ends(world, read_for, make_clock):
    at_s = make_clock.START_NS * 1e-9 + 3.0
    with world(lambda t_s: 0.0 if t_s < 4.0 else 300.0, [Fault(power_glitch, ADDRESS, at_s, most=1)]) as w:
        dark = [r for given in read_for(w.driver, w.clock, 4.0) for r in given]
        assert {r.lux for r in dark} == {0.0}
        light = [r for given in read_for(w.driver, w.clock, 11.0) for r in given]
        assert light[-1].lux == pytest.approx(300.0, abs=1.0)


def test_a_clock_set_back_does_not_silence_it(world, read_for):
    with world(lambda _: 300.0) as w:
        read_for(w.driver, w.clock, 1.0)
        w.clock.now_ns -= 3600 * 10**9
        w.chip._begin_ns -= 3600 * 10**9  # the chip does not know of the host's clock
        assert [r for given in read_for(w.driver, w.clock, 1.0) for r in given]


def test_nobody_there_is_found_at_the_start():
    with EmulatedAdapter(90):
        driver = Bh1750(Bus(90))
        with pytest.raises(NobodyAnswers, match='0x23 on /dev/i2c-90'):
            driver.start()
        driver.close()
