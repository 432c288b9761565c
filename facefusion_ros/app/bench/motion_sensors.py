"""How true the motion sensors' stamps and values are: real drivers on emulated chips, in simulated time.

Nothing sleeps; a minute of a sensor's life takes a second or two. Transfers take their time on the wire, the reader
is late as on a busy computer, and the chips' clocks are off and drift.
"""

from __future__ import annotations

import errno
import math
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from facefusion_ros.sensors.bus import Bus
from facefusion_ros.sensors.motion import MotionSettings
from facefusion_ros.sensors.motion_chips import MOTION_CHIPS
from facefusion_ros.sensors.sampling import SamplingLoop
from facefusion_ros.sim import faults
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.motion_chips import emulate_motion_chip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

    from facefusion_ros.sensors.chip import ImuSample
    from facefusion_ros.sim.i2c import EmulatedChip, Message, Onward

BUS_NUMBER = 173
_EPOCH_NS = 1_700_000_000_000_000_000
_BITS_PER_BYTE = 9
_SETTLED_S = 0.8
_FAULT_S = 0.3
_OBSERVED_S = 1.2
WRONG_RAD_S = 0.015
"""What noise and a true stamp cannot explain."""
WRONG_BY_A_BIT_RAD_S = 0.06
"""A flipped bit that changes less than this cannot be told from motion."""


class SimulatedTime:
    """A clock, nanoseconds, that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = _EPOCH_NS

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return (self.now_ns - _EPOCH_NS) * 1e-9

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(max(0.0, seconds) * 1e9)


@dataclass
class Wire:
    """The time that messages take on the bus, and the kernel between them."""

    time: SimulatedTime
    bus_hz: float = 400_000.0
    pause_s: float = 30e-6
    """Mean of what the kernel adds to a message."""
    rng: Random = field(default_factory=lambda: Random(1))

    def carry(self, message: Message, chip: EmulatedChip | None, onward: Onward) -> bytes:
        """Carry a message in its time: a chip takes what is written at its end, and tells what is read at the start."""
        byte_s = _BITS_PER_BYTE / self.bus_hz
        self.time.sleep(self.rng.expovariate(1.0 / self.pause_s) + byte_s * (1 + len(message.data)))
        answer = onward(message, chip)
        self.time.sleep(byte_s * message.length)
        return answer


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late the reader wakes up."""

    least_s: float = 0.1e-3
    most_s: float = 2e-3
    stall_s: float = 20e-3
    stalls: float = 0.005
    """Part of the reads that are late by a stall as well."""

    def draw(self, rng: Random) -> float:
        """Draw a lateness, seconds."""
        stall_s = self.stall_s if rng.random() < self.stalls else 0.0
        return rng.uniform(self.least_s, self.most_s) + stall_s


def motion(time_s: float) -> tuple[float, float, float]:
    """Return the angular velocity of the bench, rad/s, at seconds of the clock."""
    t_s = time_s - _EPOCH_NS * 1e-9
    return math.sin(4.4 * t_s), 0.5 * math.cos(6.9 * t_s), 0.3 * math.sin(3.1 * t_s + 1.0)


def force(time_s: float) -> tuple[float, float, float]:
    """Return the specific force of the bench, m/s², at seconds of the clock."""
    t_s = time_s - _EPOCH_NS * 1e-9
    return math.sin(2.0 * t_s), 0.5, 9.80665


class MotionBench:
    """One chip, its driver and its loop in simulated time; use as a context.

    :param clock_error: of the chip's clock, as a fraction; it drifts by ``drift_per_s``.
    :param troubles: what goes wrong on the bus from the beginning.
    """

    def __init__(
        self,
        chip: str,
        settings: MotionSettings | None = None,
        *,
        clock_error: float = 0.02,
        drift_per_s: float = 5e-6,
        bus_hz: float = 400_000.0,
        lateness: Lateness | None = None,
        seed: int = 0,
        troubles: Sequence[Any] = (),
    ) -> None:
        self.time = SimulatedTime()
        self.rng = Random(seed)
        self.lateness = lateness or Lateness()
        self.given: list[tuple[int, ImuSample]] = []
        """When each sample was given, nanoseconds, and the sample."""
        self._stack = ExitStack()
        program = np.random.default_rng(seed).integers(0, 256, 8192, np.uint8).tobytes()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        (self.folder / 'program').write_bytes(program)
        self.chip = emulate_motion_chip(
            chip,
            motion,
            force,
            clock=self.time,
            clock_error=lambda time_s: clock_error + drift_per_s * (time_s - _EPOCH_NS * 1e-9),
            seed=seed,
            program=program,
        )
        wire = Wire(self.time, bus_hz, rng=Random(seed))
        self.adapter = EmulatedAdapter(BUS_NUMBER, [self.chip], [*troubles, wire], clock=self.time)
        self.bus = Bus(BUS_NUMBER, sysfs=self.folder)
        options = {'firmware': str(self.folder / 'program')} if chip == 'bmi270' else {}
        self.driver = MOTION_CHIPS[chip](self.bus, 0, settings, clock=self.time, sleep=self.time.sleep, **options)
        self.loop = SamplingLoop(self.driver, self._take)
        self._due_s = 0.0

    def __enter__(self) -> Self:
        """Make the bus appear."""
        self.adapter.install()
        self._stack.callback(self.adapter.remove)
        self._stack.callback(self.driver.close)
        return self

    def __exit__(self, *error: object) -> None:
        """Make the bus disappear."""
        self._stack.close()

    def run(self, seconds: float) -> None:
        """Let the loop work, at absolute deadlines as its thread does."""
        end_s = self.time.seconds + seconds
        while self.time.seconds < end_s:
            self.time.sleep(max(0.0, self._due_s - self.time.seconds) + self.lateness.draw(self.rng))
            pause_s = self.loop.step()
            self._due_s = max(self._due_s + pause_s, self.time.seconds)

    def wrong(self, tolerance_rad_s: float = WRONG_RAD_S) -> int:
        """Count the samples that are not what the motion was at their stamp."""
        if not self.given:
            return 0
        told = np.array([sample.angular_velocity for _, sample in self.given])
        true = np.array([motion(sample.stamp_ns * 1e-9) for _, sample in self.given])
        off = np.abs(told - true).max(axis=1) > tolerance_rad_s
        forces = np.array([sample.specific_force for _, sample in self.given])
        if self.driver.HAS_ACCELEROMETER:
            true = np.array([force(sample.stamp_ns * 1e-9) for _, sample in self.given])
            off |= np.abs(forces - true).max(axis=1) > 1.5 + 30.0 * tolerance_rad_s
        return int(off.sum())

    def _take(self, samples: Sequence[ImuSample]) -> None:
        self.given += [(self.time(), sample) for sample in samples]


@dataclass(frozen=True, slots=True)
class StampFigures:
    """How true stamps are."""

    samples: int
    rate_hz: float
    """As the chip really samples."""
    stamp_error_us_rms: float
    stamp_error_us_p99: float
    stamp_error_us_mean: float
    lost: int
    """Samples of the chip between the first and the last that were given which were not given."""
    locked_s: float
    """From the start to the first sample."""
    delay_ms_p99: float
    """From the middle of a sample's measurement to when it was given."""
    wrong_values: int


def stamp_figures(chip: str, *, seconds: float = 60.0, rate_hz: float = 200.0, **options: Any) -> StampFigures:  # noqa: ANN401 - as the bench takes
    """Read a chip for some simulated seconds and compare its stamps with when the emulation took its samples.

    :param chip: name of the chip, of ``MOTION_CHIPS``.
    :param options: of ``MotionBench``.
    """
    with MotionBench(chip, MotionSettings(rate_hz=rate_hz), **options) as bench:
        bench.run(seconds)
    given_ns = np.array([at_ns for at_ns, _ in bench.given])
    stamps_ns = np.array([sample.stamp_ns for _, sample in bench.given])
    true_ns = np.array(bench.chip.sampled_ns)
    after = np.clip(np.searchsorted(true_ns, stamps_ns), 1, len(true_ns) - 1)
    nearest = after - (stamps_ns - true_ns[after - 1] < true_ns[after] - stamps_ns)
    error_us = (stamps_ns - true_ns[nearest]) * 1e-3
    return StampFigures(
        samples=len(stamps_ns),
        rate_hz=1e9 * float(nearest[-1] - nearest[0]) / float(true_ns[nearest[-1]] - true_ns[nearest[0]]),
        stamp_error_us_rms=float(np.sqrt(np.mean(error_us**2))),
        stamp_error_us_p99=float(np.quantile(np.abs(error_us), 0.99)),
        stamp_error_us_mean=float(error_us.mean()),
        lost=int(np.abs(np.diff(nearest) - 1).sum()),
        locked_s=float(given_ns[0] - _EPOCH_NS) * 1e-9,
        delay_ms_p99=float(np.quantile(given_ns - stamps_ns, 0.99)) * 1e-6,
        wrong_values=bench.wrong(),
    )


def _on_the_bus(kind: faults.Kind, *, most: int | None = None) -> Callable[[MotionBench], Any]:
    @contextmanager
    def fault(bench: MotionBench) -> Iterator[None]:
        trouble = faults.Fault(kind, bench.chip.address, most=most)
        bench.adapter.faults.insert(0, trouble)
        yield
        bench.adapter.faults.remove(trouble)

    return fault


def _once(act: Callable[[Any], object]) -> Callable[[MotionBench], Any]:
    @contextmanager
    def fault(bench: MotionBench) -> Iterator[None]:
        act(bench)
        yield

    return fault


def _while_true(name: str) -> Callable[[MotionBench], Any]:
    @contextmanager
    def fault(bench: MotionBench) -> Iterator[None]:
        setattr(bench.chip, name, True)
        yield
        setattr(bench.chip, name, False)

    return fault


@contextmanager
def _unplugged(bench: MotionBench) -> Iterator[None]:
    trouble = faults.Fault(faults.address_nack, bench.chip.address)
    bench.adapter.faults.insert(0, trouble)
    yield
    bench.adapter.faults.remove(trouble)
    bench.chip.power_cycle()


@contextmanager
def _bus_gone(bench: MotionBench) -> Iterator[None]:
    bench.adapter.remove()
    yield
    bench.adapter.install()


@contextmanager
def _no_permission(bench: MotionBench) -> Iterator[None]:
    bench.bus.close()
    bench.adapter.open_errno = errno.EACCES
    yield
    bench.adapter.open_errno = 0


@contextmanager
def _kernel_owns(bench: MotionBench) -> Iterator[None]:
    driver = bench.folder / f'{BUS_NUMBER}-{bench.chip.address:04x}' / 'driver'
    driver.mkdir(parents=True)
    bench.chip.power_cycle()
    yield
    driver.rmdir()


@contextmanager
def _another_chip(bench: MotionBench) -> Iterator[None]:
    identity, bench.chip.identity = bench.chip.identity, 0x55
    bench.chip.power_cycle()
    yield
    bench.chip.identity = identity
    bench.chip.power_cycle()


@contextmanager
def _not_read(bench: MotionBench) -> Iterator[None]:
    bench.time.sleep(5.0)
    yield


FAULTS: dict[str, Callable[[MotionBench], Any]] = {
    **{kind.__name__: _on_the_bus(kind) for kind in faults.ANY},
    **{f'one_{kind.__name__}': _on_the_bus(kind, most=1) for kind in faults.ANY},
    'unplugged': _unplugged,
    'silent_reset': _once(lambda bench: bench.chip.power_cycle()),
    'frozen': _while_true('stuck'),
    'no_samples': _while_true('stopped'),
    'fifo_overflow': _not_read,
    'fifo_misaligned': _once(lambda bench: bench.chip.lose_fifo_byte()),
    'wrong_identity': _another_chip,
    'bus_gone': _bus_gone,
    'no_permission': _no_permission,
    'kernel_owns_chip': _kernel_owns,
    'bank_lost': _once(lambda bench: bench.chip.lose_bank()),
}
"""Faults by name; each is there for a while, or strikes once."""


def faults_of(chip: str) -> list[str]:
    """Return the names of the faults a chip can have."""
    return [name for name in FAULTS if name != 'bank_lost' or chip == 'icm20948']


@dataclass(frozen=True, slots=True)
class FaultFigures:
    """What became of a fault."""

    fault: str
    recovered: bool
    recovery_s: float
    """From the end of the fault to the next sample taken after it."""
    wrong_values: int
    errors: dict[str, int]
    """Errors the loop counted, by kind."""


def fault_figures(chip: str, fault: str, *, seed: int = 0, **options: Any) -> FaultFigures:  # noqa: ANN401 - as the bench takes
    """Let one fault happen to a chip that runs, for 0.3 s or once, and watch it for 1.2 s more."""
    with MotionBench(chip, seed=seed, **options) as bench:
        bench.run(_SETTLED_S + 0.01 * seed)
        with FAULTS[fault](bench):
            bench.run(_FAULT_S)
        over_ns = bench.time()
        bench.run(_OBSERVED_S)
        after = [at_ns for at_ns, sample in bench.given if sample.stamp_ns > over_ns]
        flips = 'bit_flipped' in fault
        return FaultFigures(
            fault,
            recovered=bool(after),
            recovery_s=(after[0] - over_ns) * 1e-9 if after else math.inf,
            wrong_values=bench.wrong(WRONG_BY_A_BIT_RAD_S if flips else WRONG_RAD_S),
            errors=dict(bench.loop.counters.errors),
        )


@dataclass(frozen=True, slots=True)
class EnduranceFigures:
    """What became of many faults at random."""

    transactions: int
    faults: dict[str, int]
    """How many there were, by kind."""
    errors: dict[str, int]
    """Errors the loop counted, by kind."""
    samples: int
    seconds: float
    wrong_values: int
    longest_silence_s: float
    """Between two samples that were given."""
    recovered: bool
    """Whether samples came again once the faults had ended."""


def endurance_figures(
    chip: str,
    *,
    transactions: int = 100_000,
    rate: float = 0.01,
    seed: int = 0,
    **options: Any,  # noqa: ANN401 - as the bench takes
) -> EnduranceFigures:
    """Read a chip while a part of its transactions goes wrong, each in one of the ways of ``sim.faults.ANY``."""
    trouble = faults.RandomFaults(rate, seed)
    with MotionBench(chip, seed=seed, troubles=[trouble], **options) as bench:
        while bench.adapter.transactions < transactions:
            bench.run(1.0)
        seconds = bench.time.seconds
        bench.adapter.faults.remove(trouble)
        over_ns = bench.time()
        bench.run(_OBSERVED_S)
        given_ns = np.array([at_ns for at_ns, _ in bench.given])
        return EnduranceFigures(
            transactions=bench.adapter.transactions,
            faults=dict(trouble.struck),
            errors=dict(bench.loop.counters.errors),
            samples=len(given_ns),
            seconds=seconds,
            wrong_values=bench.wrong(WRONG_BY_A_BIT_RAD_S),
            longest_silence_s=float(np.diff(given_ns).max()) * 1e-9,
            recovered=bool(given_ns[-1] > over_ns),
        )


def sensor_figures(
    chip: str, *, seconds: float = 60.0, seeds: int = 1, transactions: int = 0
) -> dict[str, float | int]:
    """Return the figures of one chip as the benchmark's JSON has them: its stamps, and all faults it can have.

    :param seeds: how often each fault is tried, each time at another moment.
    :param transactions: transactions to do with one random fault in a hundred; 0 for none.
    """
    stamps = stamp_figures(chip, seconds=seconds)
    found = [fault_figures(chip, fault, seed=seed) for fault in faults_of(chip) for seed in range(seeds)]
    recovered = [each.recovery_s for each in found if each.recovered]
    figures: dict[str, float | int] = {
        'rate_hz': stamps.rate_hz,
        'stamp_error_us_rms': stamps.stamp_error_us_rms,
        'stamp_error_us_p99': stamps.stamp_error_us_p99,
        'lost': stamps.lost,
        'delay_ms_p99': stamps.delay_ms_p99,
        'faults_injected': len(found),
        'faults_recovered': len(recovered),
        'wrong_values': stamps.wrong_values + sum(each.wrong_values for each in found),
        'recovery_s_p95': float(np.quantile(recovered, 0.95)),
    }
    if transactions:
        endured = endurance_figures(chip, transactions=transactions)
        figures['transactions'] = endured.transactions
        figures['random_faults'] = sum(endured.faults.values())
        figures['wrong_values'] += endured.wrong_values
    return figures
