"""Every light sensor against every fault: it recovers, and never a wrong reading is delivered."""

import errno

import numpy as np
import pytest

from facefusion_ros.sensors.bh1750 import Bh1750
from facefusion_ros.sensors.bus import Bus
from facefusion_ros.sensors.opt3001 import Opt3001
from facefusion_ros.sensors.sampling import SamplingLoop, State
from facefusion_ros.sensors.tcs34725 import Tcs34725
from facefusion_ros.sensors.tsl2591 import Tsl2591
from facefusion_ros.sensors.veml6040 import Veml6040
from facefusion_ros.sensors.veml7700 import Veml7700
from facefusion_ros.sim import faults
from facefusion_ros.sim.bh1750 import EmulatedBh1750
from facefusion_ros.sim.faults import Fault, RandomFaults, Unplugged, at_registers, happens, replaced_by
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.opt3001 import EmulatedOpt3001
from facefusion_ros.sim.taos import EmulatedTcs34725, EmulatedTsl2591
from facefusion_ros.sim.vishay import EmulatedVeml6040, EmulatedVeml7700

PAIRS = {
    'bh1750': (Bh1750, EmulatedBh1750, 0x23, 0.2),
    'veml7700': (Veml7700, EmulatedVeml7700, 0x10, 0.02),
    'tsl2591': (Tsl2591, EmulatedTsl2591, 0x29, 0.02),
    'opt3001': (Opt3001, EmulatedOpt3001, 0x44, 0.02),
    'tcs34725': (Tcs34725, EmulatedTcs34725, 0x29, 0.03),
    'veml6040': (Veml6040, EmulatedVeml6040, 0x10, 0.02),
}
"""Driver, emulated chip, address, and the part by which a reading may be off before it is wrong."""
DATA_REGISTERS = {
    'veml7700': [0x04],
    'tsl2591': [0xB4],
    'opt3001': [0x00],
    'tcs34725': [0xB4],
    'veml6040': [0x08, 0x09, 0x0A, 0x0B],
}
BEGIN_S, END_S = 3.0, 5.0
every_chip = pytest.mark.parametrize('name', PAIRS)


def daylight(t_s):
    """Steps, so that a stale reading is a wrong one; between them the light stays the same to a count."""
    return (150.0, 2600.0, 700.0, 40.0, 5000.0)[int(t_s / 0.7) % 5]


class Bench:
    """A driver under its loop, stepped by hand."""

    def __init__(self, clock, name, light=daylight, troubles=(), **chip):
        make, emulate, self.address, self.tolerance = PAIRS[name]
        self.clock = clock
        self.light = light
        self.chip = emulate(lambda time_s: light(clock.since_start(time_s)), clock=clock, **chip)
        self.adapter = EmulatedAdapter(90, [self.chip], troubles, clock=clock)
        self.driver = make(Bus(90), clock=clock)
        self.readings = []
        self.loop = SamplingLoop(self.driver, self.readings.extend)

    def __enter__(self):
        self.adapter.install()
        return self

    def __exit__(self, *_):
        self.driver.close()
        self.adapter.remove()

    def run(self, seconds):
        end_s = self.clock.elapsed_s + seconds
        while self.clock.elapsed_s < end_s:
            self.clock.sleep(max(self.loop.step(), 2e-4))  # a transaction takes its time

    def run_until_well(self, seconds):
        """Return after how long readings came again."""
        begun_s, before = self.clock.elapsed_s, len(self.readings)
        while len(self.readings) == before or self.loop.health.state is not State.OK:
            self.clock.sleep(max(self.loop.step(), 2e-4))
            assert self.clock.elapsed_s < begun_s + seconds, self.loop.health
        return self.clock.elapsed_s - begun_s

    def wrong(self):
        """The readings that are of no light there was around their stamps."""
        return [reading for reading in self.readings if not self.is_true(reading)]

    def is_true(self, reading):
        at_s = self.clock.since_start(reading.stamp_ns * 1e-9)
        half_s = 0.5 * 0.45 + 0.03  # of the slowest range of any
        seen = [self.light(at_s + dt) for dt in np.arange(-half_s, half_s, 5e-3)]
        slack_lux = 1.7
        return (
            (1 - self.tolerance) * min(seen) - slack_lux <= reading.lux <= (1 + self.tolerance) * max(seen) + slack_lux
        )


@pytest.fixture(scope='module')
def bench(make_clock):
    return lambda *args, **chip: Bench(make_clock(), *args, **chip)


def stuck(b, begin_s, end_s):
    def until(chip):
        chip.stuck = b.clock() * 1e-9 < end_s

    return [Fault(happens(until), begin_s=begin_s)]


def frozen_data(b, begin_s, end_s):
    registers = DATA_REGISTERS.get(b.loop._chip.__class__.__name__.lower())
    kind = faults.stale_answer if registers is None else at_registers(faults.stale_answer, registers)
    return [Fault(kind, begin_s=begin_s, end_s=end_s)]


def another_chip(b, begin_s, end_s):
    other = EmulatedTsl2591 if isinstance(b.chip, EmulatedTcs34725) else EmulatedTcs34725
    return [Fault(replaced_by(other(lambda _: 7.0, clock=b.clock)), begin_s=begin_s, end_s=end_s)]


def of_any_chip(name):
    return lambda _bench, begin_s, end_s: [faults.SCENARIOS[name](begin_s, end_s)]


FAULTS = {
    **{name: of_any_chip(name) for name in faults.SCENARIOS},
    'data frozen': frozen_data,
    'measures no more': stuck,
    'another chip': another_chip,
    'unplugged': lambda b, begin_s, end_s: [Unplugged(b.address, begin_s, end_s)],
    'unplugged from a Pi': lambda b, begin_s, end_s: [Unplugged(b.address, begin_s, end_s, errno.EREMOTEIO)],
}
CANNOT_BE_SEEN = {
    (
        'bh1750',
        'bits flipped in writes',
    ): 'it can read nothing back; that none of its settings arrives is not to be seen',
    ('bh1750', 'another chip'): 'it has no identity',
}


@every_chip
@pytest.mark.parametrize('fault', FAULTS)
def test_it_recovers_and_delivers_nothing_wrong(bench, make_clock, name, fault):
    with bench(name) as b:
        start_s = make_clock.START_NS * 1e-9
        b.adapter.faults += FAULTS[fault](b, start_s + BEGIN_S, start_s + END_S)
        b.run(END_S)
        assert b.readings
        b.run_until_well(7.0)
        b.run(2.0)
        if (name, fault) not in CANNOT_BE_SEEN:
            assert b.wrong() == []
        assert b.loop.health.state is State.OK


@every_chip
@pytest.mark.parametrize(
    ('number', 'kind'),
    [
        (errno.EACCES, 'BusForbidden'),
        (errno.EPERM, 'BusForbidden'),
        (errno.ENOENT, 'NoBus'),
        (errno.ENOTTY, 'BusUnfit'),
    ],
)
def test_a_node_that_cannot_be_opened_is_taken_when_it_can(bench, name, number, kind):
    with bench(name) as b:
        b.adapter.open_errno = number
        b.run(6.0)
        assert b.loop.health.state is State.FAILED
        assert set(b.loop.counters.errors) == {kind}
        b.adapter.open_errno = 0
        b.run_until_well(7.0)
        assert b.wrong() == []


@every_chip
def test_an_adapter_that_is_unplugged_comes_back(bench, name):
    with bench(name) as b:
        b.run(3.0)
        b.adapter.remove()
        b.run(2.0)
        assert b.loop.health.state is State.FAILED
        b.adapter.install()
        b.chip.power_cycle()
        b.run_until_well(7.0)
        assert b.wrong() == []
        assert set(b.loop.counters.errors) == {'NoBus'}


@every_chip
def test_a_long_run_on_a_bad_bus(bench, name):
    """One transaction in a hundred goes wrong, in any way."""
    trouble = RandomFaults(0.01, seed=11)
    with bench(name, troubles=[trouble]) as b:
        while b.adapter.transactions < 17_000:
            b.run(20.0)
        assert b.wrong() == []
        assert sum(trouble.struck.values()) > 100
        assert len(b.readings) > 0.5 * b.clock.elapsed_s
        assert b.loop.counters.recoveries > 5


def test_an_old_result_is_not_taken_for_a_new_one_after_answers_that_were_cut_short(bench, make_clock):
    """The BH1750 tells the end of a measurement by nothing but another number."""
    start_s = make_clock.START_NS * 1e-9
    for seed in range(40):
        fault = Fault(faults.short_answer, begin_s=start_s + BEGIN_S, end_s=start_s + BEGIN_S + 0.05 * seed, seed=seed)
        with bench('bh1750', troubles=[fault]) as b:
            b.run(7.0)
            assert b.wrong() == []
