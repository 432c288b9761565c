"""A sensor on a test bench: a real driver on an emulated chip, in simulated time, in a world whose truth is known.

Nothing sleeps; a minute of a sensor's life takes a second or two. Transfers take their time on the wire, the reader
is late as on a busy computer, and the chips' clocks are off and drift.
"""

from __future__ import annotations

import math
import tempfile
from abc import ABC, abstractmethod
from bisect import bisect_left
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from facefusion_ros.sensors.bus import Bus
from facefusion_ros.sensors.chip import ImuSample, LightReading
from facefusion_ros.sensors.light_chips import LIGHT_CHIPS
from facefusion_ros.sensors.motion_chips import MOTION_CHIPS
from facefusion_ros.sensors.sampling import SamplingLoop
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.light_chips import colour_temperature, emulate_light_chip
from facefusion_ros.sim.motion_chips import emulate_motion_chip
from facefusion_ros.sim.world import load_world

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

    from facefusion_ros.sensors.chip import Chip
    from facefusion_ros.sensors.motion_plan import MotionSettings
    from facefusion_ros.sim.i2c import EmulatedChip, Message, Onward

BUS_NUMBER = 173
EPOCH_NS = 1_700_000_000_000_000_000
WRONG_RAD_S = 0.015
"""What noise and a true stamp cannot explain."""
WRONG_BY_A_BIT_RAD_S = 0.06
"""A flipped bit that changes less than this cannot be told from motion."""

_BITS_PER_BYTE = 9
_FRAMING_BITS = 2
"""Start and stop."""
_WRONG_LUX = 3.0
_WRONG_PART = 0.05
_WRONG_PART_OF_BH1750 = 0.2
"""It holds back what is far from its neighbours, since it cannot be asked for its settings."""
_WRONG_CCT_PART = 0.1
_NEAR_NS = 40_000_000
"""How far a light sensor's stamp may be off: chips without a flag for it are given the time of the slowest."""

Reading = TypeVar('Reading', LightReading, ImuSample)


class SimulatedTime:
    """A clock, nanoseconds, that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = EPOCH_NS

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return (self.now_ns - EPOCH_NS) * 1e-9

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
    bits: int = 0
    """That went over the wire, with acknowledgements, starts and stops."""

    def carry(self, message: Message, chip: EmulatedChip | None, onward: Onward) -> bytes:
        """Carry a message in its time: a chip takes what is written at its end, and tells what is read at the start."""
        byte_s = _BITS_PER_BYTE / self.bus_hz
        self.bits += _FRAMING_BITS + _BITS_PER_BYTE * (1 + len(message.data) + message.length)
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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What there is to be measured at a time, seconds since the bench was set up."""

    angular_velocity: Callable[[float], ArrayLike]
    """(3,) rad/s in the chip's axes."""
    force: Callable[[float], ArrayLike]
    """(3,) m/s² in the chip's axes."""
    lux: Callable[[float], float]
    cct_k: Callable[[float], float]


def _shaken(time_s: float) -> tuple[float, float, float]:
    return math.sin(4.4 * time_s), 0.5 * math.cos(6.9 * time_s), 0.3 * math.sin(3.1 * time_s + 1.0)


def _swayed(time_s: float) -> tuple[float, float, float]:
    return math.sin(2.0 * time_s), 0.5, 9.80665


def _stepped(time_s: float) -> float:
    return (150.0, 2600.0, 700.0, 40.0, 5000.0)[int(time_s / 0.7) % 5]


STEPS = Surroundings(_shaken, _swayed, _stepped, lambda _: 4000.0)
"""Shaken, so that a wrong stamp is a wrong value, in light whose steps do the same; between them it stays the same."""
CLOUDS = Surroundings(_shaken, _swayed, lambda t_s: 300.0 + 200.0 * math.sin(0.7 * t_s), lambda _: 4000.0)
"""The same motion, and light that changes slowly."""


def surroundings_of(world: str) -> Surroundings:
    """Return what the sensors of a simulated world feel and see; raises WorldError."""
    there = load_world(world)

    def at(time_s: float) -> float:
        return time_s % there.period_s

    def cct_k(time_s: float) -> float:
        return colour_temperature(float(there.light.at(np.asarray(time_s), there.period_s)[1]))

    return Surroundings(
        lambda time_s: there.angular_velocity_imu(at(time_s)),
        lambda time_s: there.specific_force_imu(at(time_s)),
        lambda time_s: there.lux(at(time_s)),
        cct_k,
    )


def since_start(time_s: float) -> float:
    """Return seconds since the beginning for seconds of the clock."""
    return time_s - EPOCH_NS * 1e-9


class SensorBench(ABC, Generic[Reading]):
    """One chip, its driver and its loop in simulated time; use as a context.

    :param clock_error: of the chip's clock, as a fraction; that of a motion chip drifts by ``drift_per_s``.
    :param troubles: what goes wrong on the bus from the beginning.
    """

    SETTLED_S: float
    """After which a chip surely gives readings."""
    FAULT_S: float
    """For how long a fault is worth watching."""
    OBSERVED_S: float
    """For how long what comes after it is, at most."""

    adapter: EmulatedAdapter
    driver: Chip[Reading]
    chip: Any
    """The emulated chip."""

    def __init__(
        self,
        name: str,
        around: Surroundings = STEPS,
        *,
        clock_error: float = 0.02,
        drift_per_s: float = 5e-6,
        bus_hz: float = 400_000.0,
        lateness: Lateness | None = None,
        seed: int = 0,
        troubles: Sequence[Any] = (),
    ) -> None:
        self.name = name
        self.around = around
        self.time = SimulatedTime()
        self.rng = Random(seed)
        self.lateness = lateness or Lateness()
        self.given: list[tuple[int, Reading]] = []
        """When each reading was given, nanoseconds, and the reading."""
        self.wire = Wire(self.time, bus_hz, rng=Random(seed))
        self._due_s = 0.0
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.bus = Bus(BUS_NUMBER, sysfs=self.folder)
        self.chip = self._emulated(seed, clock_error, drift_per_s)
        self.adapter = EmulatedAdapter(BUS_NUMBER, [self.chip], [*troubles, self.wire], clock=self.time)
        self.driver = self._driver()
        self.loop: SamplingLoop[Reading] = SamplingLoop(self.driver, self._take)

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

    def settle(self) -> None:
        """Let the loop work until its chip surely gives readings, and a little longer or shorter each time."""
        self.run(self.SETTLED_S + self.rng.random() * 0.1)

    @abstractmethod
    def wrong(self, *, by_bits: bool = False) -> int:
        """Count the readings that are not what there was at their stamp.

        :param by_bits: take no account of what bits flipped in transfers and no measure against that can see.
        """

    @abstractmethod
    def true_ns(self) -> NDArray[np.int64]:
        """Return when the chip really measured, nanoseconds, in order."""

    @abstractmethod
    def _emulated(self, seed: int, clock_error: float, drift_per_s: float) -> object:
        """Make the emulated chip."""

    @abstractmethod
    def _driver(self) -> Chip[Reading]:
        """Make the driver."""

    def _take(self, readings: Sequence[Reading]) -> None:
        self.given += [(self.time(), reading) for reading in readings]


class MotionBench(SensorBench[ImuSample]):
    """A motion chip; ``settings`` as the driver takes them."""

    SETTLED_S = 0.8
    FAULT_S = 0.5
    OBSERVED_S = 1.5

    def __init__(
        self,
        name: str,
        around: Surroundings = STEPS,
        settings: MotionSettings | None = None,
        **options: Any,  # noqa: ANN401 - as all benches take
    ) -> None:
        self.settings = settings
        super().__init__(name, around, **options)

    def wrong(self, *, by_bits: bool = False) -> int:
        """Count the samples that are not what the motion was at their stamp."""
        if not self.given:
            return 0
        tolerance = WRONG_BY_A_BIT_RAD_S if by_bits else WRONG_RAD_S
        times_s = [since_start(sample.stamp_ns * 1e-9) for _, sample in self.given]
        told = np.array([sample.angular_velocity for _, sample in self.given])
        true = np.array([self.around.angular_velocity(time_s) for time_s in times_s])
        off = np.abs(told - true).max(axis=1) > tolerance
        if MOTION_CHIPS[self.name].HAS_ACCELEROMETER:
            forces = np.array([sample.specific_force for _, sample in self.given])
            true = np.array([self.around.force(time_s) for time_s in times_s])
            off |= np.abs(forces - true).max(axis=1) > 1.5 + 30.0 * tolerance
        return int(off.sum())

    def true_ns(self) -> NDArray[np.int64]:
        """Return when the chip took its samples, the delay of its filter subtracted."""
        return np.array(self.chip.sampled_ns)

    def _emulated(self, seed: int, clock_error: float, drift_per_s: float) -> object:
        program = np.random.default_rng(seed).integers(0, 256, 8192, np.uint8).tobytes()
        (self.folder / 'program').write_bytes(program)
        return emulate_motion_chip(
            self.name,
            lambda time_s: self.around.angular_velocity(since_start(time_s)),
            lambda time_s: self.around.force(since_start(time_s)),
            clock=self.time,
            clock_error=lambda time_s: clock_error + drift_per_s * since_start(time_s),
            seed=seed,
            program=program,
        )

    def _driver(self) -> Chip[ImuSample]:
        firmware = {'firmware': str(self.folder / 'program')} if self.name == 'bmi270' else {}
        return MOTION_CHIPS[self.name](self.bus, 0, self.settings, clock=self.time, sleep=self.time.sleep, **firmware)


class LightBench(SensorBench[LightReading]):
    """A light chip."""

    SETTLED_S = 2.5
    FAULT_S = 2.0
    OBSERVED_S = 4.0

    def wrong(self, *, by_bits: bool = False) -> int:  # noqa: ARG002 - flipped bits are all seen
        """Count the readings of a light that was not at their stamp, nor measured around it."""
        measured = list(self.chip.measured)
        middles_ns = [middle_ns for middle_ns, _ in measured]
        return sum(not self._is_true(reading, measured, middles_ns) for _, reading in self.given)

    def true_ns(self) -> NDArray[np.int64]:
        """Return the middles of the chip's integrations."""
        return np.array([middle_ns for middle_ns, _ in self.chip.measured])

    def _is_true(self, reading: LightReading, measured: list[tuple[int, float]], middles_ns: list[int]) -> bool:
        part = _WRONG_PART_OF_BH1750 if self.name == 'bh1750' else _WRONG_PART
        first = bisect_left(middles_ns, reading.stamp_ns - _NEAR_NS)
        near = [lux for middle_ns, lux in measured[first : first + 8] if middle_ns <= reading.stamp_ns + _NEAR_NS]
        near.append(self.around.lux(since_start(reading.stamp_ns * 1e-9)))
        if not any(abs(reading.lux - lux) <= part * lux + _WRONG_LUX for lux in near):
            return False
        cct_k = self.around.cct_k(since_start(reading.stamp_ns * 1e-9))
        return reading.cct_k is None or abs(reading.cct_k - cct_k) <= _WRONG_CCT_PART * cct_k

    def _emulated(self, seed: int, clock_error: float, drift_per_s: float) -> object:  # noqa: ARG002 - hardly matters
        return emulate_light_chip(
            self.name,
            lambda time_s: self.around.lux(since_start(time_s)),
            lambda time_s: self.around.cct_k(since_start(time_s)),
            clock=self.time,
            clock_error=clock_error,
            noise_counts=0.3,
            seed=seed,
        )

    def _driver(self) -> Chip[LightReading]:
        return LIGHT_CHIPS[self.name](self.bus, clock=self.time)


def bench_of(chip: str, around: Surroundings = STEPS, **options: Any) -> LightBench | MotionBench:  # noqa: ANN401 - as they take
    """Make the bench of a chip by its name."""
    kind = LightBench if chip in LIGHT_CHIPS else MotionBench
    return kind(chip, around, **options)
