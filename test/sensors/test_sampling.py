import threading

import pytest

from facefusion_ros.sensors.bh1750 import Bh1750
from facefusion_ros.sensors.bus import Bus, ChipReset, NobodyAnswers, Overrun, WrongIdentity
from facefusion_ros.sensors.mpu6050 import Mpu6050
from facefusion_ros.sensors.sampling import SamplingLoop, State
from facefusion_ros.sim.bh1750 import EmulatedBh1750
from facefusion_ros.sim.faults import Fault, Unplugged, power_glitch, timed_out
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.mpu6050 import EmulatedMpu6050


@pytest.fixture
def clock(make_clock):
    return make_clock()


class Bench:
    """Both real drivers under their loops, stepped by hand on one emulated bus."""

    def __init__(self, clock, faults=()):
        begin_s = clock.START_NS * 1e-9
        for fault in faults:
            for name in ('begin_s', 'end_s', 'at_s'):
                if hasattr(fault, name):
                    setattr(fault, name, getattr(fault, name) + begin_s)
        self.clock = clock
        light = EmulatedBh1750(lambda _: 250.0, clock=clock)
        motion = EmulatedMpu6050(lambda _: (0.1, 0.2, 0.3), lambda _: (0.0, 0.0, 9.8), clock=clock)
        self.adapter = EmulatedAdapter(90, [light, motion], faults, clock=clock)
        self.lux, self.motion = [], []
        self.chips = [Bh1750(Bus(90), clock=clock), Mpu6050(Bus(90), clock=clock, sleep=clock.sleep)]
        self.loops = {
            0x23: SamplingLoop(self.chips[0], self.lux.extend),
            0x68: SamplingLoop(self.chips[1], self.motion.extend),
        }

    def __enter__(self):
        self.adapter.install()
        return self

    def __exit__(self, *_):
        for chip in self.chips:
            chip.close()
        self.adapter.remove()

    def run(self, address, seconds):
        """Step until the clock has moved so far; the states that were seen."""
        loop = self.loops[address]
        end_s = self.clock.elapsed_s + seconds
        states = []
        while self.clock.elapsed_s < end_s:
            self.clock.sleep(loop.step())
            if not states or states[-1] is not loop.health.state:
                states.append(loop.health.state)
        return states


@pytest.mark.parametrize('address', [0x23, 0x68])
def test_a_chip_that_is_unplugged_and_plugged_in_again(clock, address):
    bench = Bench(clock, [Unplugged(address, begin_s=3.0, end_s=6.0)])
    with bench:
        loop = bench.loops[address]
        assert bench.run(address, 2.9) == [State.RECOVERING, State.OK]
        assert bench.run(address, 2.0) == [State.OK, State.RECOVERING]
        assert f'nobody answers at address {address:#04x} on /dev/i2c-90' in loop.health.reason
        before = loop.counters
        assert bench.run(address, 6.0) == [State.RECOVERING, State.OK]
        after = loop.counters
        assert loop.health.reason == ''
        assert (before.recoveries, after.recoveries) == (0, 1)
        assert after.readings > before.readings > 0
        assert set(after.errors) == {'NobodyAnswers'}
        assert after.errors['NobodyAnswers'] >= 5


@pytest.mark.parametrize(
    ('fault', 'kind'),
    [
        (Fault(power_glitch, 0x68, 3.0, most=1), 'ChipReset'),
        (Fault(timed_out, begin_s=3.0, end_s=4.0), 'TransferFailed'),
    ],
)
def test_other_accidents_of_the_motion_sensor(clock, fault, kind):
    bench = Bench(clock, [fault])
    with bench:
        assert bench.run(0x68, 9.0) == [State.RECOVERING, State.OK, State.RECOVERING, State.OK]
        assert set(bench.loops[0x68].counters.errors) == {kind}
        for sample in bench.motion:
            assert sample.angular_velocity == pytest.approx([0.1, 0.2, 0.3], abs=0.006)


def test_a_bus_that_is_not_there_fails_and_is_taken_when_it_comes(clock):
    bench = Bench(clock)
    loop = bench.loops[0x23]
    assert bench.run(0x23, 20.0) == [State.FAILED]
    assert 'no I2C bus /dev/i2c-90' in loop.health.reason
    assert set(loop.counters.errors) == {'NoBus'}
    with bench:
        assert bench.run(0x23, 2.0) == [State.FAILED, State.OK]


class ScriptedChip:
    """A chip that does what it is told, call by call."""

    period_s = 0.01

    def __init__(self, *script):
        self.script = list(script)
        self.starts = 0
        self.closed = 0
        self.done = threading.Event()

    def start(self):
        self.starts += 1
        self._next()

    def read(self):
        return self._next() or []

    def close(self):
        self.closed += 1

    def _next(self):
        if not self.script:
            self.done.set()
            return [0]
        act = self.script.pop(0)
        if isinstance(act, Exception):
            raise act
        return act


def test_a_single_doubt_is_no_restart_and_a_third_in_a_row_is():
    doubt = NobodyAnswers('x')
    chip = ScriptedChip(None, [1], doubt, doubt, [2], doubt, doubt, doubt, None, [3])
    got = []
    loop = SamplingLoop(chip, got.append)
    pauses = []
    while chip.script:
        pauses.append(loop.step())
    assert got == [[1], [2], [3]]
    assert chip.starts == 2
    assert pauses == [0.01] * 7 + [0.0125] + [0.01] * 2
    assert loop.counters.recoveries == 2


def test_what_needs_no_restart_gets_none():
    chip = ScriptedChip(None, *[Overrun('x')] * 5, [1])
    loop = SamplingLoop(chip, lambda _: None)
    while chip.script:
        assert loop.step() == 0.01
    assert chip.starts == 1


def test_pauses_double_up_to_a_fifth_of_a_second_until_a_reading_comes():
    reset = ChipReset('x')
    chip = ScriptedChip(*[NobodyAnswers('x')] * 8, *[None, reset] * 2, None, [1], reset, None, [2])
    loop = SamplingLoop(chip, lambda _: None)
    pauses = []
    while chip.script:
        pauses.append(loop.step())
    assert pauses[:8] == pytest.approx([0.0125, 0.025, 0.05, 0.1] + [0.2] * 4)
    assert pauses[8:] == pytest.approx([0.01, 0.2, 0.01, 0.2, 0.01, 0.01, 0.0125, 0.01, 0.01])


def test_a_wrong_chip_is_failed_and_still_tried_now_and_then():
    chip = ScriptedChip(WrongIdentity('another chip'), WrongIdentity('another chip'), None, [1])
    loop = SamplingLoop(chip, lambda _: None)
    assert (loop.step(), loop.step()) == (0.2, 0.2)
    assert (loop.health.state, loop.health.reason) == (State.FAILED, 'another chip')
    loop.step()
    loop.step()
    assert loop.health.state is State.OK


def test_mistakes_in_a_driver_or_a_taker_do_not_end_it():
    def take(readings):
        if readings == [1]:
            raise RuntimeError('no room')
        got.append(readings)

    got = []
    chip = ScriptedChip(None, ZeroDivisionError('y'), [1], [2])
    loop = SamplingLoop(chip, take)
    while chip.script:
        loop.step()
    assert got == [[2]]
    assert loop.counters.errors == {'ZeroDivisionError': 1, 'NotDelivered': 1}
    assert loop.counters.readings == 2


def test_the_thread_reads_and_stops_and_starts_again():
    chip = ScriptedChip(None, [1], NobodyAnswers('x'), [2])
    got = []
    loop = SamplingLoop(chip, got.append)
    assert loop.stop()
    for times in (1, 2):
        chip.done.clear()
        loop.start()
        assert chip.done.wait(30.0)
        assert loop.stop(30.0)
        assert chip.closed == times
    assert got[:2] == [[1], [2]]
    assert chip.starts == 2


def test_a_pause_between_attempts_does_not_hold_up_stopping():
    failed = threading.Event()

    class NeverThere(ScriptedChip):
        def start(self):
            failed.set()
            raise WrongIdentity('x')

    chip = NeverThere()
    loop = SamplingLoop(chip, lambda _: None)
    loop.start()
    assert failed.wait(30.0)
    assert loop.stop(30.0)
    assert chip.closed == 1


def test_real_time_real_threads_real_drivers():
    """As in a node: the wall clock, two threads, one bus."""
    enough = threading.Semaphore(0)
    light = EmulatedBh1750(lambda _: 250.0)
    motion = EmulatedMpu6050(lambda _: (0.1, 0.2, 0.3), lambda _: (0.0, 0.0, 9.8))
    with EmulatedAdapter(90, [light, motion]):
        loops = [
            SamplingLoop(Bh1750(Bus(90)), lambda _: enough.release()),
            SamplingLoop(Mpu6050(Bus(90)), lambda _: enough.release()),
        ]
        for loop in loops:
            loop.start()
        for _ in range(20):
            assert enough.acquire(timeout=30.0)
        assert all(loop.stop(30.0) for loop in loops)
        assert sum(loop.counters.readings for loop in loops) >= 20
