"""What light sensors do about faults, beyond what the bench for sensors tries with all of them."""

import errno

import pytest

from facefusion_ros.app.bench.sensor_bench import CLOUDS, bench_of
from facefusion_ros.sensors.light_chips import LIGHT_CHIPS
from facefusion_ros.sensors.sampling import State
from facefusion_ros.sim import faults
from facefusion_ros.sim.faults import Fault

every_chip = pytest.mark.parametrize('name', LIGHT_CHIPS)


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
def test_a_node_that_cannot_be_opened_is_taken_when_it_can(name, number, kind):
    with bench_of(name) as bench:
        bench.adapter.open_errno = number
        bench.run(3.0)
        assert bench.given == []
        assert bench.loop.health.state is State.FAILED
        assert set(bench.loop.counters.errors) == {kind}
        bench.adapter.open_errno = 0
        bench.run(1.5)
        assert bench.loop.health.state is State.OK
        assert len(bench.given) > 3
        assert bench.wrong() == 0


@every_chip
def test_an_adapter_that_is_unplugged_comes_back(name):
    with bench_of(name) as bench:
        bench.run(3.0)
        bench.adapter.remove()
        bench.run(2.0)
        assert bench.loop.health.state is State.FAILED
        given = len(bench.given)
        bench.adapter.install()
        bench.chip.power_cycle()
        bench.run(1.5)
        assert bench.loop.health.state is State.OK
        assert len(bench.given) > given
        assert bench.wrong() == 0
        assert set(bench.loop.counters.errors) == {'NoBus'}


def test_an_old_result_is_not_taken_for_a_new_one_after_answers_that_were_cut_short():
    """The BH1750 tells the end of a measurement by nothing but another number."""
    for seed in range(40):
        with bench_of('bh1750', seed=seed) as bench:
            bench.run(3.0)
            bench.adapter.faults.insert(0, Fault(faults.short_answer, seed=seed))
            bench.run(0.05 * seed)
            del bench.adapter.faults[0]
            bench.run(2.0)
            assert bench.wrong() == 0


def test_a_colour_that_was_asked_for_wrongly_is_not_taken_for_a_dark_one():
    """The VEML6040's registers are asked for one by one, and one that does not exist reads as 0."""
    for seed in range(20):
        with bench_of('veml6040', seed=seed) as bench:
            bench.run(2.0)
            bench.adapter.faults.insert(0, Fault(faults.written_bit_flipped, seed=seed))
            bench.run(0.3)
            del bench.adapter.faults[0]
            bench.run(0.5)
            assert bench.wrong() == 0


@pytest.mark.parametrize('name', [name for name, chip in LIGHT_CHIPS.items() if getattr(chip, 'READY', None)])
def test_a_chip_that_was_not_told_to_begin_is_not_read(name):
    """Such a chip says that it is ready at once, and shows the light of before."""
    chip = LIGHT_CHIPS[name]
    begins = {
        (chip.COMMAND | register, *value.to_bytes(chip.WIDTH, chip.ORDER))
        for each in chip.RANGES
        for register, value in each.begin
    }

    def not_begun(message, chip_there, onward, _rng):
        if tuple(message.data) in begins:
            idle = {'opt3001': 0xC010}.get(name, 0x01)
            return onward(message.replaced(data=message.data[:1] + idle.to_bytes(chip.WIDTH, chip.ORDER)), chip_there)
        return onward(message, chip_there)

    with bench_of(name, CLOUDS) as bench:
        bench.run(2.0)
        given = len(bench.given)
        bench.adapter.faults.insert(0, Fault(not_begun))
        bench.run(2.0)
        assert len(bench.given) <= given + 2  # of what had been measured before
        assert bench.loop.counters.errors
        del bench.adapter.faults[0]
        bench.run(1.0)
        assert len(bench.given) > given + 3
        assert bench.wrong() == 0
