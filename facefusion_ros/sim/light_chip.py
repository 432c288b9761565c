"""What the emulated light sensors have in common: power, registers, and conversions that integrate the light."""

from __future__ import annotations

import errno
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_POINTS = 16
_REMEMBERED = 200_000


class EmulatedLightChip(ABC):
    """A light sensor with registers, which converts one time after the other while it is told to.

    :param lux: illuminance, lux, at a time in seconds of the clock.
    :param sensitivity: relative to a typical chip.
    :param clock_error: how much faster than nominal the chip's own clock runs, as a fraction.
    :param noise_counts: standard deviation of a count.
    :param boot_s: for how long after switching on it acknowledges nothing.
    """

    def __init__(
        self,
        lux: Callable[[float], float],
        *,
        address: int,
        clock: Callable[[], int] = time.time_ns,
        sensitivity: float = 1.0,
        clock_error: float = 0.0,
        noise_counts: float = 0.0,
        boot_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.address = address
        self.stuck = False
        """While true, conversions end without a new result."""
        self.stopped = False
        """While true, conversions do not end."""
        self.measured: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        """Middles of the last integrations that gave a result, nanoseconds, and the mean illuminance, lux."""
        self._lux = lux
        self._clock = clock
        self._sensitivity = sensitivity
        self._clock_error = clock_error
        self._noise_counts = noise_counts
        self._boot_ns = round(boot_s * 1e9)
        self._rng = np.random.default_rng(seed)
        self._booted_ns: int | None = None
        self.power_cycle()
        self._booted_ns = None  # on for long

    def power_cycle(self) -> None:
        """Lose power for a moment: registers as after switching on, and deaf for a while."""
        self._booted_ns = self._clock() + self._boot_ns
        self._pointer = 0
        self._begin_ns: int | None = None
        self._once = False
        self._converted = 0
        self._reset()

    def write(self, data: bytes) -> None:
        """Take a write: the command, then what goes to the register."""
        self._hear()
        if data:
            self._command(data[0], data[1:])

    def read(self, length: int) -> bytes:
        """Give bytes from the register that was last named."""
        self._hear()
        return self._answer(length)

    @abstractmethod
    def _reset(self) -> None:
        """Set all registers as after switching on."""

    @abstractmethod
    def _command(self, command: int, data: bytes) -> None:
        """Take the first byte of a write, and the others."""

    @abstractmethod
    def _answer(self, length: int) -> bytes:
        """Give bytes."""

    @abstractmethod
    def _timing(self) -> tuple[float, float]:
        """Return nominal seconds from the start to the first integration, and of one integration."""

    @abstractmethod
    def _convert(self, lux: float, time_s: float) -> None:
        """Store the result for the mean illuminance of an integration around a time of the clock."""

    def _start(self, *, once: bool = False) -> None:
        self._begin_ns, self._once, self._converted = self._clock(), once, 0

    def _stop(self) -> None:
        self._begin_ns = None

    @property
    def _done(self) -> bool:
        """Whether a conversion has ended since the start."""
        return self._converted > 0

    def _count(self, expected: float, full: int) -> int:
        noise = self._rng.normal(0.0, self._noise_counts) if self._noise_counts else 0.0
        return min(max(round(expected * self._sensitivity + noise), 0), full)

    def _hear(self) -> None:
        """Be up to date; of conversions that nobody has read only the last matters."""
        now_ns = self._clock()
        if self._booted_ns is not None:
            if now_ns < self._booted_ns:
                raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
            self._booted_ns = None
        if self._begin_ns is None or self.stopped:
            return
        wake_s, integration_s = (seconds / (1.0 + self._clock_error) for seconds in self._timing())
        ended = int(((now_ns - self._begin_ns) * 1e-9 - wake_s) / integration_s)
        if self._once:
            ended = min(ended, 1)
        if ended <= self._converted:
            return
        self._converted = ended
        if self.stuck:
            return
        first_s = self._begin_ns * 1e-9 + wake_s + (ended - 1) * integration_s
        times = first_s + (np.arange(_POINTS) + 0.5) / _POINTS * integration_s
        lux = float(np.mean([self._lux(each) for each in times.tolist()]))
        middle_s = first_s + integration_s / 2.0
        self.measured.append((round(middle_s * 1e9), lux))
        self._convert(lux, middle_s)
