"""What the emulated motion chips have in common: power, an own clock, noise, and filters that delay."""

from __future__ import annotations

import errno
import math
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

G = 9.80665
FULL_COUNT = 32767
_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class MotionNoise:
    """Densities of white noise; 0 for none."""

    gyro_dps_rthz: float
    accel_g_rthz: float


@dataclass(frozen=True, slots=True)
class LowPass:
    """A low-pass filter as far as slow motion goes."""

    bandwidth_hz: float
    delay_s: float


def first_order(bandwidth_hz: float, before_s: float = 0.0) -> LowPass:
    """Return a filter of first order, whose delay of slow signals is its time constant, after another delay."""
    return LowPass(bandwidth_hz, 1.0 / (2.0 * math.pi * bandwidth_hz) + before_s)


def second_order(bandwidth_hz: float) -> LowPass:
    """Return a Butterworth filter of second order, whose delay of slow signals is 2ζ/ω."""
    return LowPass(bandwidth_hz, math.sqrt(2.0) / (2.0 * math.pi * bandwidth_hz))


class EmulatedMotionChip(ABC):
    """A motion chip as the bus sees it; samples are made when somebody looks.

    :param angular_velocity: (3,) rad/s in the chip's axes at a time in seconds of the clock.
    :param specific_force: (3,) m/s² in the chip's axes at a time in seconds of the clock.
    :param address: 0 for the chip's own.
    :param clock_error: how much faster than nominal the chip's own clock runs, as a fraction, at a time in seconds of
        the clock.
    :param bias: (3,) rad/s, what the gyroscope shows at rest.
    :param noise: that of the data sheet where None.
    :param identity: what its identity register reads; None for what it should.
    :param boot_s: for how long after switching on it acknowledges nothing.
    """

    ADDRESS: ClassVar[int]
    IDENTITY: ClassVar[int]
    NOISE: ClassVar[MotionNoise]

    def __init__(
        self,
        angular_velocity: Callable[[float], ArrayLike],
        specific_force: Callable[[float], ArrayLike],
        *,
        address: int = 0,
        clock: Callable[[], int] = time.time_ns,
        clock_error: float | Callable[[float], float] = 0.0,
        bias: ArrayLike = (0.0, 0.0, 0.0),
        noise: MotionNoise | None = None,
        seed: int = 0,
        identity: int | None = None,
        boot_s: float = 0.0,
    ) -> None:
        self.address = address or self.ADDRESS
        self.identity = self.IDENTITY if identity is None else identity
        self.stuck = False
        """While true, each sample is the same as the one before."""
        self.stopped = False
        """While true, there are no new samples."""
        self.sampled_ns: deque[int] = deque(maxlen=_REMEMBERED)
        """When the motion was as each of the last samples for the FIFO has it: filter delays are subtracted."""
        self._angular_velocity = angular_velocity
        self._specific_force = specific_force
        self._clock = clock
        self._clock_error = clock_error
        self._bias = np.asarray(bias, np.float64)
        self._noise = self.NOISE if noise is None else noise
        self._rng = np.random.default_rng(seed)
        self._boot_ns = round(boot_s * 1e9)
        self._last = np.zeros((1, 6), np.int64)
        self.power_cycle()
        self._ready_ns = self._clock()

    # What the bus sees.

    def power_cycle(self) -> None:
        """Lose power for a moment: registers as after switching on, FIFO empty, deaf for a while."""
        self._ready_ns = self._clock() + self._boot_ns
        self._pointer = 0
        self._reset()
        self._restart_sampling()

    def write(self, data: bytes) -> None:
        """Set the register pointer, then write to it and the following registers."""
        self._hear()
        if not data:
            return
        self._pointer = data[0]
        for value in data[1:]:
            self._write_register(self._pointer, value)
            self._pointer = self._after(self._pointer)

    def read(self, length: int) -> bytes:
        """Read from the register pointer on."""
        self._hear()
        answer = bytearray()
        while len(answer) < length:
            burst = self._burst(self._pointer, length - len(answer))
            if burst is not None:
                answer += burst
                continue
            answer.append(self._read_register(self._pointer))
            self._pointer = self._after(self._pointer)
        return bytes(answer[:length])

    # Faults that only such a chip can have.

    @abstractmethod
    def lose_fifo_byte(self) -> None:
        """Lose a byte of the FIFO, so that all that follow are in another place."""

    # What a chip is.

    @abstractmethod
    def _reset(self) -> None:
        """Set everything as after a reset."""

    @abstractmethod
    def _write_register(self, register: int, value: int) -> None:
        """Take a byte."""

    @abstractmethod
    def _read_register(self, register: int) -> int:
        """Give a byte."""

    def _after(self, register: int) -> int:
        """Return the register that follows in a burst."""
        return (register + 1) & 0x7F

    def _burst(self, register: int, length: int) -> bytes | None:  # noqa: ARG002 - most registers are no FIFO
        """Give the bytes of a register that is read on and on, at least one; None for a common register."""
        return None

    @property
    @abstractmethod
    def _rate_hz(self) -> float:
        """Nominal samples per second; 0 while asleep."""

    @property
    @abstractmethod
    def _filters(self) -> tuple[LowPass, LowPass]:
        """Filters of gyroscope and accelerometer."""

    @property
    @abstractmethod
    def _counts_per_unit(self) -> tuple[float, float]:
        """Counts per degree/s and per g."""

    @property
    def _depth(self) -> int:
        """How many samples are worth making: what the FIFO holds and some; 1 where it is off."""
        return 1

    @property
    def _still_ns(self) -> int:
        """Until when the gyroscope shows nothing."""
        return 0

    @abstractmethod
    def _store(self, counts: NDArray[np.int64]) -> None:
        """Take new samples, (n, 6) accelerometer and gyroscope, to the data registers and the FIFO."""

    # The common part.

    def _hear(self) -> None:
        if self._clock() < self._ready_ns:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        self._sample()

    def _restart_sampling(self) -> None:
        self._origin_ns = self._last_ns = self._clock()
        self._sampled = 0

    def _sample(self) -> None:
        """Take the samples that are due; of more than the FIFO holds, only the last matter."""
        rate_hz = self._rate_hz
        if not rate_hz or self.stopped:
            self._restart_sampling()
            return
        times_ns = self._due(rate_hz)[-self._depth :]
        if not times_ns:
            return
        counts = self._measure(times_ns)
        if self.stuck:
            counts[:] = self._last
        self._last = counts[-1:].copy()
        if self._depth > 1:
            delay_ns = round(self._filters[0].delay_s * 1e9)
            self.sampled_ns.extend(time_ns - delay_ns for time_ns in times_ns)
        self._store(counts)

    def _due(self, rate_hz: float) -> list[int]:
        now_ns = self._clock()
        if not callable(self._clock_error):
            period_ns = 1e9 / (rate_hz * (1.0 + self._clock_error))
            due = int((now_ns - self._origin_ns) / period_ns)
            first, self._sampled = self._sampled + 1, max(due, self._sampled)
            return [self._origin_ns + round(index * period_ns) for index in range(first, self._sampled + 1)]
        times_ns: list[int] = []
        while True:
            next_ns = self._last_ns + round(1e9 / (rate_hz * (1.0 + self._clock_error(self._last_ns * 1e-9))))
            if next_ns > now_ns:
                return times_ns
            self._last_ns = next_ns
            times_ns.append(next_ns)

    def _measure(self, times_ns: list[int]) -> NDArray[np.int64]:
        """Return the counts of samples, (n, 6): accelerometer, gyroscope."""
        gyro, accel = self._filters
        per_dps, per_g = self._counts_per_unit
        force = np.array([self._specific_force(time_ns * 1e-9 - accel.delay_s) for time_ns in times_ns], np.float64)
        omega = np.array([self._angular_velocity(time_ns * 1e-9 - gyro.delay_s) for time_ns in times_ns], np.float64)
        noise = self._rng.standard_normal((len(times_ns), 6))
        omega += self._bias + noise[:, 3:] * math.radians(self._noise.gyro_dps_rthz) * math.sqrt(gyro.bandwidth_hz)
        force += noise[:, :3] * self._noise.accel_g_rthz * G * math.sqrt(accel.bandwidth_hz)
        omega[np.array(times_ns) < self._still_ns] = 0.0
        counts = np.concatenate([force / G * per_g, np.degrees(omega) * per_dps], axis=1)
        clipped: NDArray[np.float64] = np.clip(np.rint(counts), -FULL_COUNT - 1, FULL_COUNT)
        return clipped.astype(np.int64)
