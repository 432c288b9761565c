"""Every fault that a sensor on its bus can have, and what becomes of it."""

from __future__ import annotations

import errno
import math
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from facefusion_ros.app.bench.sensor_bench import BUS_NUMBER, STEPS, LightBench, MotionBench, SensorBench, bench_of
from facefusion_ros.sensors.light_chips import LIGHT_CHIPS
from facefusion_ros.sensors.motion import MotionChip
from facefusion_ros.sensors.photometer import Photometer
from facefusion_ros.sim import faults
from facefusion_ros.sim.light_chips import emulate_light_chip
from facefusion_ros.sim.motion_chips import emulate_motion_chip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facefusion_ros.app.bench.sensor_bench import Surroundings
    from facefusion_ros.sim.i2c import EmulatedChip, Message, Onward, Trouble

    Bench: TypeAlias = LightBench | MotionBench
    Happening: TypeAlias = Callable[[Bench], AbstractContextManager[None]]
    """There is the fault while its context is open."""

_ALWAYS = float('inf')


def _scenario(name: str) -> Happening:
    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        with _on_the_wire(bench, faults.SCENARIOS[name](-_ALWAYS, _ALWAYS, bench.rng.randrange(1 << 30))):
            yield

    return fault


@contextmanager
def _on_the_wire(bench: Bench, trouble: Trouble) -> Iterator[None]:
    bench.adapter.faults.insert(0, trouble)
    try:
        yield
    finally:
        bench.adapter.faults.remove(trouble)


def _once(act: Callable[[Bench], object]) -> Happening:
    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        act(bench)
        yield

    return fault


def _while_true(name: str) -> Happening:
    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        setattr(bench.chip, name, True)
        yield
        setattr(bench.chip, name, False)

    return fault


def _unplugged(number: int) -> Happening:
    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        with _on_the_wire(bench, faults.Unplugged(bench.chip.address, -_ALWAYS, errno=number)):
            yield
        bench.chip.power_cycle()

    return fault


@contextmanager
def _frozen_data(bench: Bench) -> Iterator[None]:
    """Let the registers of the result, and no others, read as they did the last time."""
    driver = bench.driver
    kind: faults.Kind = faults.stale_answer
    if isinstance(driver, Photometer):
        kind = faults.at_registers(kind, [driver.COMMAND | register for register, _ in driver.DATA])
    elif isinstance(driver, MotionChip):
        kind = faults.at_registers(kind, [driver.FIFO_REGISTER & 0xFF])
    with _on_the_wire(bench, faults.Fault(kind)):
        yield


@contextmanager
def _bus_gone(bench: Bench) -> Iterator[None]:
    bench.adapter.remove()
    yield
    bench.adapter.install()


@contextmanager
def _no_permission(bench: Bench) -> Iterator[None]:
    bench.bus.close()
    bench.adapter.open_errno = errno.EACCES
    yield
    bench.adapter.open_errno = 0


@contextmanager
def _kernel_owns(bench: Bench) -> Iterator[None]:
    """Plug the adapter in anew, and let a kernel driver be the first to take the chip."""
    bench.adapter.remove()
    bench.chip.power_cycle()
    bench.loop.step()
    bench.adapter.install()
    driver = bench.folder / f'{BUS_NUMBER}-{bench.chip.address:04x}' / 'driver'
    driver.mkdir(parents=True)
    yield
    driver.rmdir()


@contextmanager
def _another_chip(bench: Bench) -> Iterator[None]:
    other: EmulatedChip
    if isinstance(bench, LightBench):
        name = 'tsl2591' if bench.name == 'tcs34725' else 'tcs34725'
        other = emulate_light_chip(name, lambda _: 7.0, bench.around.cct_k, clock=bench.time)
    else:
        name = 'bmi160' if bench.name.startswith('mpu') else 'mpu6500'
        other = emulate_motion_chip(name, lambda _: (0.1, 0.2, 0.3), bench.around.force, clock=bench.time)
    with _on_the_wire(bench, faults.Fault(faults.replaced_by(other))):
        yield
    bench.chip.power_cycle()


@contextmanager
def _wrong_identity(bench: Bench) -> Iterator[None]:
    """Let a chip that has lost its power answer as before in all but its identity."""
    bench.chip.power_cycle()
    driver = bench.driver
    if isinstance(driver, Photometer):
        registers = [driver.COMMAND | register for register, _ in driver.IDENTITY]
        with _on_the_wire(bench, faults.Fault(faults.at_registers(_inverted, registers))):
            yield
    else:
        identity, bench.chip.identity = bench.chip.identity, 0x55
        yield
        bench.chip.identity = identity
    bench.chip.power_cycle()


def _inverted(message: Message, chip: EmulatedChip | None, onward: Onward, rng: object) -> bytes:  # noqa: ARG001 - as all
    return bytes(value ^ 0xFF for value in onward(message, chip))


FAULTS: dict[str, Happening] = {
    **{name: _scenario(name) for name in faults.SCENARIOS},
    'frozen_data': _frozen_data,
    'frozen': _while_true('stuck'),
    'stopped': _while_true('stopped'),
    'silent_reset': _once(lambda bench: bench.chip.power_cycle()),
    'unplugged': _unplugged(errno.ENXIO),
    'unplugged_from_a_pi': _unplugged(errno.EREMOTEIO),
    'not_read': _once(lambda bench: bench.time.sleep(5.0)),
    'fifo_misaligned': _once(lambda bench: bench.chip.lose_fifo_byte()),
    'bank_lost': _once(lambda bench: bench.chip.lose_bank()),
    'wrong_identity': _wrong_identity,
    'another_chip': _another_chip,
    'bus_gone': _bus_gone,
    'no_permission': _no_permission,
    'kernel_owns_chip': _kernel_owns,
}
"""Faults by name: on the wire those of ``sim.faults.SCENARIOS``; in the chip; and around it.

``frozen`` is a chip that measures but always shows the same, ``stopped`` one that measures no more; ``not_read`` lets a
FIFO run over.
"""


def impossible(chip: str) -> dict[str, str]:
    """Return the names of the faults that a chip cannot have, and why."""
    reasons: dict[str, str] = {}
    if chip in LIGHT_CHIPS:
        reasons['fifo_misaligned'] = 'it has no FIFO'
    if chip != 'icm20948':
        reasons['bank_lost'] = 'it has no banks of registers'
    if chip in ('bh1750', 'veml7700', 'veml6040'):
        reasons['wrong_identity'] = 'it tells no identity'
    if chip == 'bh1750':
        reasons['another_chip'] = 'it tells neither an identity nor any setting: whoever answers is taken for it'
    return reasons


def unseen(chip: str) -> dict[str, str]:
    """Return the names of the faults in which a chip shows what is wrong and nothing shows that it is, and why."""
    if chip != 'bh1750':
        return {}
    return {
        'power_glitch': 'nothing can be read back: that its power fails at every message looks like darkness',
        'written_bit_flipped': 'nothing can be read back: that none of its settings arrives is not to be seen',
    }


def faults_of(chip: str) -> list[str]:
    """Return the names of the faults a chip can have."""
    return [name for name in FAULTS if name not in impossible(chip)]


@dataclass(frozen=True, slots=True)
class FaultFigures:
    """What became of a fault."""

    fault: str
    recovered: bool
    recovery_s: float
    """From the end of the fault to when the next reading taken after it was given."""
    wrong_values: int
    errors: dict[str, int]
    """Errors the loop counted, by kind."""


def fault_figures(
    chip: str,
    fault: str,
    around: Surroundings = STEPS,
    *,
    seed: int = 0,
    **options: Any,  # noqa: ANN401 - as the bench takes
) -> FaultFigures:
    """Let one fault happen to a chip that runs, for a while or once, and watch what comes after."""
    with bench_of(chip, around, seed=seed, **options) as bench:
        bench.settle()
        with FAULTS[fault](bench):
            bench.run(bench.FAULT_S)
        over_ns = bench.time()
        after_ns = None
        while after_ns is None and bench.time() - over_ns < 1e9 * bench.OBSERVED_S:
            bench.run(0.1)
            after_ns = _recovered_ns(bench, over_ns)
        bench.run(0.3 * bench.OBSERVED_S)
        return FaultFigures(
            fault,
            recovered=after_ns is not None,
            recovery_s=math.inf if after_ns is None else (after_ns - over_ns) * 1e-9,
            wrong_values=bench.wrong(by_bits='bit_flipped' in fault),
            errors=dict(bench.loop.counters.errors),
        )


def _recovered_ns(bench: SensorBench[Any], over_ns: int) -> int | None:
    """Return when the first reading was given that was taken after a time."""
    return next((at_ns for at_ns, reading in bench.given if reading.stamp_ns > over_ns), None)


@dataclass(frozen=True, slots=True)
class EnduranceFigures:
    """What became of many faults at random."""

    transactions: int
    faults: dict[str, int]
    """How many there were, by kind."""
    errors: dict[str, int]
    """Errors the loop counted, by kind."""
    readings: int
    seconds: float
    wrong_values: int
    recovered: int
    """Of the faults, those after which readings came again."""
    recovery_s_p95: float
    """From a fault to the next reading taken after it."""
    recovery_s_max: float


def endurance_figures(
    chip: str,
    around: Surroundings = STEPS,
    *,
    transactions: int = 100_000,
    rate: float = 0.01,
    seed: int = 0,
    **options: Any,  # noqa: ANN401 - as the bench takes
) -> EnduranceFigures:
    """Read a chip while a part of its transactions goes wrong, each in one of the ways of ``sim.faults.ANY``."""
    trouble = faults.RandomFaults(rate, seed)
    wrong = 0
    times_ns: list[tuple[int, int]] = []
    with bench_of(chip, around, seed=seed, troubles=[trouble], **options) as bench:

        def judge() -> int:
            times_ns.extend((at_ns, reading.stamp_ns) for at_ns, reading in bench.given)
            found = bench.wrong(by_bits=True)
            bench.given.clear()
            return found

        while bench.adapter.transactions < transactions:
            bench.run(10.0)
            wrong += judge()
        seconds = bench.time.seconds
        bench.adapter.faults.remove(trouble)
        bench.run(bench.OBSERVED_S)
        wrong += judge()
    given_ns, stamps_ns = np.array(times_ns).reshape(-1, 2).T
    struck_ns = np.rint(np.array(trouble.struck_s) * 1e9).astype(np.int64)
    next_ = np.searchsorted(stamps_ns, struck_ns, side='right')
    recovered = next_ < len(stamps_ns)
    recovery_s = (given_ns[next_[recovered]] - struck_ns[recovered]) * 1e-9
    return EnduranceFigures(
        transactions=bench.adapter.transactions,
        faults=dict(trouble.struck),
        errors=dict(bench.loop.counters.errors),
        readings=len(given_ns),
        seconds=seconds,
        wrong_values=wrong,
        recovered=int(recovered.sum()),
        recovery_s_p95=float(np.quantile(recovery_s, 0.95)),
        recovery_s_max=float(recovery_s.max()),
    )
