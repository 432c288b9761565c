"""An emulated BH1750 light sensor: opcodes, conversions that take their time, light integrated over that time.

Source: ROHM, BH1750FVI datasheet (2011.11 Rev.D), from which this and the driver were written apart: they
share no constant.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_HIGH_RESOLUTION = 0b00
_HIGH_RESOLUTION_2 = 0b01
_LOW_RESOLUTION = 0b11
_CONVERSION_S = {_HIGH_RESOLUTION: 0.120, _HIGH_RESOLUTION_2: 0.120, _LOW_RESOLUTION: 0.016}
_DEFAULT_MEASUREMENT_TIME = 69
_COUNTS_PER_LUX = 1.2
_FULL_COUNT = 0xFFFF
_INTEGRATION_POINTS = 16


class EmulatedBh1750:
    """BH1750 as the bus sees it.

    :param lux: illuminance, lux, at a time in seconds of the clock.
    :param sensitivity: relative to a typical chip; the datasheet allows 0.8 to 1.2.
    :param clock_error: how much faster than nominal the chip's own clock runs, as a fraction.
    """

    def __init__(
        self,
        lux: Callable[[float], float],
        *,
        address: int = 0x23,
        clock: Callable[[], int] = time.time_ns,
        sensitivity: float = 1.0,
        clock_error: float = 0.0,
    ) -> None:
        self.address = address
        self._lux = lux
        self._clock = clock
        self._sensitivity = sensitivity
        self._clock_error = clock_error
        self.power_cycle()

    def power_cycle(self) -> None:
        """Lose power for a moment: powered down, data 0, default measurement time."""
        self._powered = False
        self._mode: int | None = None
        self._continuous = False
        self._time_register = _DEFAULT_MEASUREMENT_TIME
        self._time_in_use = _DEFAULT_MEASUREMENT_TIME
        self._begin_ns = 0
        self._converted = 0
        self._data = 0

    def write(self, data: bytes) -> None:
        """Take an opcode; the chip knows one per transfer."""
        if not data:
            return
        opcode = data[0]
        self._convert()
        if opcode == 0x00:
            self._powered, self._mode = False, None
        elif opcode == 0x01:
            self._powered = True
        elif opcode == 0x07:
            if self._powered:
                self._data = 0
        elif opcode >> 5 == 0b011:
            self._time_register = self._time_register & 0xE0 | opcode & 0x1F
        elif opcode >> 3 == 0b01000:
            self._time_register = self._time_register & 0x1F | (opcode & 0x07) << 5
        elif opcode >> 4 in (1, 2) and opcode & 0x0F in _CONVERSION_S:
            self._powered = True
            self._mode = opcode & 0x0F
            self._continuous = opcode >> 4 == 1
            self._time_in_use = self._time_register
            self._begin_ns = self._clock()
            self._converted = 0

    def read(self, length: int) -> bytes:
        """Give the data of the last conversion that has ended, high byte first."""
        self._convert()
        return self._data.to_bytes(2, 'big').ljust(length, b'\xff')[:length]

    def _convert(self) -> None:
        """Do the conversions that have ended by now; of those nobody has read, only the last matters."""
        if self._mode is None:
            return
        sensitivity = self._time_in_use / _DEFAULT_MEASUREMENT_TIME
        conversion_s = _CONVERSION_S[self._mode] * sensitivity / (1.0 + self._clock_error)
        ended = int((self._clock() - self._begin_ns) * 1e-9 / conversion_s)
        if not self._continuous:
            ended = min(ended, 1)
        if ended <= self._converted:
            return
        self._converted = ended
        begin_s = self._begin_ns * 1e-9 + (ended - 1) * conversion_s
        times = begin_s + (np.arange(_INTEGRATION_POINTS) + 0.5) / _INTEGRATION_POINTS * conversion_s
        lux = float(np.mean([self._lux(time_s) for time_s in times.tolist()]))
        counts = round(
            lux * _COUNTS_PER_LUX * sensitivity * self._sensitivity * (1 + (self._mode == _HIGH_RESOLUTION_2))
        )
        self._data = min(max(counts, 0), _FULL_COUNT)
        if self._mode == _LOW_RESOLUTION:
            self._data &= ~0b11  # 4 lux per step
        if not self._continuous:
            self._powered, self._mode = False, None
