"""What holds for every light sensor with registers: its driver on its emulated chip."""

import itertools
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sensors.bus import (
    Bus,
    ChipReset,
    KernelOwnsChip,
    NobodyAnswers,
    Saturated,
    SensorError,
    Stalled,
    WrongIdentity,
)
from facefusion_ros.sensors.light_range import choose_range
from facefusion_ros.sensors.opt3001 import Opt3001
from facefusion_ros.sensors.tcs34725 import Tcs34725
from facefusion_ros.sensors.tsl2591 import Tsl2591
from facefusion_ros.sensors.veml6040 import Veml6040
from facefusion_ros.sensors.veml7700 import Veml7700
from facefusion_ros.sim.faults import Fault, power_glitch, replaced_by
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.opt3001 import EmulatedOpt3001
from facefusion_ros.sim.taos import EmulatedTcs34725, EmulatedTsl2591
from facefusion_ros.sim.vishay import EmulatedVeml6040, EmulatedVeml7700

PAIRS = {
    'veml7700': (Veml7700, EmulatedVeml7700),
    'tsl2591': (Tsl2591, EmulatedTsl2591),
    'opt3001': (Opt3001, EmulatedOpt3001),
    'tcs34725': (Tcs34725, EmulatedTcs34725),
    'veml6040': (Veml6040, EmulatedVeml6040),
}
HIGHEST_LUX = {
    'veml7700': 112_000.0,
    'tsl2591': 90_000.0,
    'opt3001': 83_000.0,
    'tcs34725': 20_000.0,
    'veml6040': 12_000.0,
}
every_chip = pytest.mark.parametrize('name', PAIRS)
LUX = st.floats(-0.5, 5.0).map(lambda exponent: 10.0**exponent)


class World:
    """A driver at an emulated chip under a light, which is a function of seconds since the start."""

    def __init__(self, clock, name, light, faults=(), driver=None, **chip):
        make, emulate = PAIRS[name]
        self.name = name
        self.clock = clock
        self.light = light
        self.chip = emulate(lambda time_s: light(clock.since_start(time_s)), clock=clock, **chip)
        self.adapter = EmulatedAdapter(90, [self.chip], faults, clock=clock)
        self.driver = make(Bus(90), clock=clock, **(driver or {}))

    def __enter__(self):
        self.adapter.install()
        self.driver.start()
        return self

    def __exit__(self, *_):
        self.driver.close()
        self.adapter.remove()

    def read(self, seconds):
        """Read at the driver's pace and return the readings; errors are theirs who call."""
        readings = []
        end_s = self.clock.elapsed_s + seconds
        while self.clock.elapsed_s < end_s:
            self.clock.sleep(max(self.driver.period_s, 1e-4))
            readings += self.driver.read()
        return readings

    def assert_true(self, reading):
        """The reading is of the light around its stamp."""
        stamp_s = self.clock.since_start(reading.stamp_ns * 1e-9)
        half_s = 0.75 * max(each.integration_s for each in self.driver.RANGES)
        seen = [self.light(stamp_s + dt) for dt in np.linspace(-half_s, half_s, 161)]
        slack = 0.01 * max(seen) + 1.5 / min(each.sensitivity for each in self.driver.RANGES)
        assert min(seen) - slack <= reading.lux <= max(seen) + slack


@contextmanager
def collecting(errors):
    try:
        yield
    except SensorError as error:
        errors.append(error)
        raise


@pytest.fixture(scope='module')
def world(make_clock):
    return lambda name, light, *args, **chip: World(make_clock(), name, light, *args, **chip)


@every_chip
@settings(max_examples=25, deadline=None)
@given(lux=LUX)
def test_any_illuminance_is_read_in_the_range_that_suits(world, name, lux):
    lux = min(lux, HIGHEST_LUX[name])
    with world(name, lambda _: lux) as w:
        readings = w.read(4.0)
        assert len(readings) >= 3
        first_count = 1.0 / w.driver.RANGES[w.driver.FIRST_RANGE].sensitivity
        for reading in readings:
            assert reading.lux == pytest.approx(lux, rel=0.01, abs=first_count)
        assert readings[-1].lux == pytest.approx(lux, rel=0.01, abs=0.04)
        assert readings[-1].variance > 0.0
        assert readings[-1].variance ** 0.5 == pytest.approx(0.1 * lux, rel=0.5, abs=1.0 + lux**0.5)


@every_chip
def test_the_ranges_do_not_swing(name):
    ranges = PAIRS[name][0].RANGES
    for (above, sensitive), (_, insensitive) in itertools.pairwise(enumerate(ranges)):
        if insensitive.low == float('inf'):
            continue  # never measured with
        ratio = sensitive.sensitivity / insensitive.sensitivity
        assert ratio > 1.0
        assert sensitive.high <= sensitive.full_count
        assert sensitive.high / ratio > 1.2 * insensitive.low, 'would come back at once'
        for light in (sensitive.high / sensitive.sensitivity, insensitive.low / insensitive.sensitivity):
            for factor in (0.99, 1.01):
                chosen = {choose_range(ranges, light * factor * ranges[above].sensitivity, above)}
                for _ in range(3):
                    index = chosen.pop()
                    chosen.add(choose_range(ranges, light * factor * ranges[index].sensitivity, index))
                    assert chosen == {index}


@every_chip
def test_the_rate_in_daylight(world, name):
    with world(name, lambda _: 2000.0, noise_counts=2.0) as w:
        readings = w.read(5.0)
        assert len(readings) >= 5 * 8
        assert all(one.stamp_ns < other.stamp_ns for one, other in itertools.pairwise(readings))


@every_chip
def test_stamps_are_the_middle_of_the_integration(world, name):
    slope = 200.0
    with world(name, lambda t_s: 1500.0 + slope * t_s) as w:
        readings = w.read(6.0)
        late = [w.clock.since_start(r.stamp_ns * 1e-9) - (r.lux - 1500.0) / slope for r in readings]
        assert abs(np.median(late)) < 0.012
        assert len(readings) > 40


@every_chip
@settings(max_examples=12, deadline=None)
@given(
    path=st.lists(st.tuples(LUX, st.floats(0.05, 2.0)), min_size=2, max_size=6),
    clock_error=st.sampled_from([-0.1, 0, 0.1]),
)
def test_no_reading_is_of_another_light_than_that_of_its_time(world, name, path, clock_error):
    levels = [min(lux, HIGHEST_LUX[name]) for lux, _ in path]
    ends = np.cumsum([seconds for _, seconds in path])

    def light(t_s):
        return levels[min(int(np.searchsorted(ends, t_s, side='right')), len(levels) - 1)]

    with world(name, light, clock_error=clock_error) as w:
        readings = w.read(float(ends[-1]) + 4.0)
        for reading in readings:
            if clock_error == 0.0:
                w.assert_true(reading)
            else:
                assert 0.85 * min(levels) - 1.6 <= reading.lux <= 1.15 * max(levels) + 1.6
        assert readings[-1].lux == pytest.approx(levels[-1], rel=abs(clock_error) + 0.02, abs=0.3)


@every_chip
def test_few_counts_are_not_told_where_the_chip_can_count_more(world, name):
    """As a TSL2591 that has just seen 5000 lux would at 150: 57 and 13, where one more or less of the 13 is 5 %."""
    for lux in (60.0, 75.0, 95.0, 110.0, 125.0, 150.0):
        with world(name, lambda t_s, lux=lux: 5000.0 if t_s < 2.0 else lux) as w:
            w.read(2.0)
            after = [r for r in w.read(2.0) if w.clock.since_start(r.stamp_ns * 1e-9) > 2.06]
            assert len(after) > 5
            assert [r.lux for r in after] == pytest.approx([lux] * len(after), rel=0.03)


@every_chip
def test_darkness_is_a_reading(world, name):
    with world(name, lambda t_s: 0.0 if t_s < 5.0 else 500.0) as w:
        dark = w.read(3.9)
        assert len(dark) >= 5
        assert {r.lux for r in dark} == {0.0}
        assert dark[-1].variance > 0.0
        assert w.read(3.0)[-1].lux == pytest.approx(500.0, rel=0.01)


@every_chip
def test_too_much_light_is_an_error_and_no_number(world, name):
    with world(name, lambda t_s: 1000.0 if t_s < 2.0 else 500_000.0 if t_s < 4.0 else 1000.0) as w:
        readings, errors = w.read(1.9), []
        assert readings
        while w.clock.elapsed_s < 6.0:
            with suppress(Saturated), collecting(errors):
                readings += w.read(0.01)
        assert len(errors) >= 5
        assert all(f'the {w.driver.NAME} at 0x' in str(e) and 'shade' in str(e) for e in errors)
        assert all(r.lux < 300_000.0 for r in readings)  # partly of the time before
        assert readings[-1].lux == pytest.approx(1000.0, rel=0.01)


@every_chip
def test_a_silent_reset_is_noticed_and_named(world, name, make_clock):
    at_s = make_clock.START_NS * 1e-9 + 1.7
    address = PAIRS[name][0].ADDRESS
    with world(name, lambda _: 20.0, [Fault(power_glitch, address, at_s, most=1)], boot_s=0.001) as w:
        assert w.read(1.0)
        with pytest.raises((ChipReset, NobodyAnswers)):
            w.read(1.0)


@every_chip
def test_a_chip_that_measures_no_more_is_noticed_without_a_wrong_reading(world, name):
    with world(name, lambda t_s: 300.0 if t_s < 2.0 else 900.0) as w:
        assert w.read(1.9)
        w.chip.stuck = True
        readings = []

        def until_noticed():
            while True:
                readings.extend(w.read(0.01))

        with pytest.raises(Stalled, match=w.driver.NAME):
            until_noticed()
        assert all(w.assert_true(r) is None for r in readings)
        assert w.clock.elapsed_s < 3.5
        w.chip.stuck = False
        w.driver.start()
        assert w.read(2.0)[-1].lux == pytest.approx(900.0, rel=0.01)


@every_chip
def test_the_chip_is_there_or_named(world, name):
    make, _ = PAIRS[name]
    with EmulatedAdapter(90):
        driver = make(Bus(90))
        with pytest.raises(NobodyAnswers, match=f'{make.ADDRESS:#04x} on /dev/i2c-90'):
            driver.start()
        driver.close()
    with world(name, lambda _: 1.0) as w:
        driver = make(Bus(90), make.ADDRESS + 1)
        with pytest.raises(NobodyAnswers):
            driver.start()
        driver.close()
        assert w.read(1.0)


@pytest.mark.parametrize('name', [name for name, (make, _) in PAIRS.items() if make.IDENTITY])
def test_another_chip_is_named(world, name):
    make, _ = PAIRS[name]
    other = EmulatedTcs34725 if name == 'tsl2591' else EmulatedTsl2591
    with world(name, lambda _: 100.0) as w:
        assert w.read(1.0)
        w.adapter.faults.append(Fault(replaced_by(other(lambda _: 5.0, clock=w.clock))))
        with pytest.raises(SensorError):
            w.read(1.0)
        with pytest.raises(WrongIdentity, match=rf'at {make.ADDRESS:#04x} on /dev/i2c-90 is no {make.NAME}: register'):
            w.driver.start()


@every_chip
def test_a_chip_that_the_kernel_owns_is_left_alone(name, tmp_path):
    make, _ = PAIRS[name]
    (tmp_path / f'90-{make.ADDRESS:04x}' / 'driver').mkdir(parents=True)
    with EmulatedAdapter(90):
        driver = make(Bus(90, sysfs=tmp_path))
        with pytest.raises(KernelOwnsChip, match='access: iio'):
            driver.start()
        driver.close()


@every_chip
def test_a_clock_that_is_set_does_not_silence_it(world, name):
    for step_s in (-3600, 3600):
        with world(name, lambda _: 300.0) as w:
            w.read(1.0)
            w.clock.now_ns += step_s * 10**9
            w.chip._begin_ns += step_s * 10**9  # the chip does not know of the host's clock
            assert w.read(1.5)[-1].lux == pytest.approx(300.0, rel=0.01)


@every_chip
def test_a_late_reader_gets_true_stamps(world, name):
    slope = 100.0
    with world(name, lambda t_s: 1000.0 + slope * t_s) as w:
        w.read(1.0)
        late = []
        for _ in range(20):
            w.clock.sleep(0.37)
            late += [w.clock.since_start(r.stamp_ns * 1e-9) - (r.lux - 1000.0) / slope for r in w.driver.read()]
        assert len(late) > 8
        assert np.abs(late).max() < 0.11
