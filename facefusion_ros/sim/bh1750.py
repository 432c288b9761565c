"""An emulated BH1750 light sensor: opcodes, conversions that take their time, light integrated over that time.

Source: ROHM, BH1750FVI datasheet (2011.11 Rev.D), from which this and the driver were written apart: they
share no constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros.sim.light_chip import EmulatedLightChip

if TYPE_CHECKING:
    from collections.abc import Callable

_HIGH_RESOLUTION = 0b00
_HIGH_RESOLUTION_2 = 0b01
_LOW_RESOLUTION = 0b11
_CONVERSION_S = {_HIGH_RESOLUTION: 0.120, _HIGH_RESOLUTION_2: 0.120, _LOW_RESOLUTION: 0.016}
_DEFAULT_MEASUREMENT_TIME = 69
_COUNTS_PER_LUX = 1.2
_FULL_COUNT = 0xFFFF


class EmulatedBh1750(EmulatedLightChip):
    """BH1750 as the bus sees it; the datasheet allows sensitivities of 0.8 to 1.2."""

    def __init__(self, lux: Callable[[float], float], *, address: int = 0x23, **chip: Any) -> None:  # noqa: ANN401
        super().__init__(lux, address=address, **chip)

    def _reset(self) -> None:
        self._powered = False
        self._mode = _HIGH_RESOLUTION
        self._time_register = _DEFAULT_MEASUREMENT_TIME
        self._time_in_use = _DEFAULT_MEASUREMENT_TIME
        self._data = 0

    def _command(self, command: int, data: bytes) -> None:  # noqa: ARG002 - one opcode per transfer
        if command == 0x00:
            self._powered = False
            self._stop()
        elif command == 0x01:
            self._powered = True
        elif command == 0x07:
            if self._powered:
                self._data = 0
        elif command >> 5 == 0b011:
            self._time_register = self._time_register & 0xE0 | command & 0x1F
        elif command >> 3 == 0b01000:
            self._time_register = self._time_register & 0x1F | (command & 0x07) << 5
        elif command >> 4 in (1, 2) and command & 0x0F in _CONVERSION_S:
            self._powered = True
            self._mode = command & 0x0F
            self._time_in_use = max(self._time_register, 1)
            self._start(once=command >> 4 == 2)

    def _answer(self, length: int) -> bytes:
        return self._data.to_bytes(2, 'big').ljust(length, b'\xff')[:length]

    def _timing(self) -> tuple[float, float]:
        return 0.0, _CONVERSION_S[self._mode] * self._time_in_use / _DEFAULT_MEASUREMENT_TIME

    def _convert(self, lux: float, time_s: float) -> None:  # noqa: ARG002 - sees no colours
        sensitivity = self._time_in_use / _DEFAULT_MEASUREMENT_TIME * (1 + (self._mode == _HIGH_RESOLUTION_2))
        self._data = self._count(lux * _COUNTS_PER_LUX * sensitivity, _FULL_COUNT)
        if self._mode == _LOW_RESOLUTION:
            self._data &= ~0b11  # 4 lux per step
