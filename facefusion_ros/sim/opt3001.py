"""An emulated Texas Instruments OPT3001: big-endian registers, its own choice of range, flags.

Source: TI, OPT3001 datasheet (SBOS681C), from which this and the driver were written apart: they share no constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros.sim.light_chip import EmulatedLightChip

if TYPE_CHECKING:
    from collections.abc import Callable

_FINISHED, _OVERFLOW = 0x0080, 0x0100
_FLAGS = 0x01E0
_MODE = 0x0600


class EmulatedOpt3001(EmulatedLightChip):
    """OPT3001 as the bus sees it."""

    def __init__(self, lux: Callable[[float], float], *, address: int = 0x44, **chip: Any) -> None:  # noqa: ANN401
        super().__init__(lux, address=address, **chip)

    def _reset(self) -> None:
        self._registers = {0x00: 0x0000, 0x01: 0xC810, 0x02: 0xC000, 0x03: 0xBFFF, 0x7E: 0x5449, 0x7F: 0x3001}

    def _command(self, command: int, data: bytes) -> None:
        self._pointer = command
        if len(data) < 2 or command not in (0x01, 0x02, 0x03):
            return
        value = int.from_bytes(data[:2], 'big')
        if command == 0x01:
            value &= ~_FLAGS
            mode = value & _MODE
            if mode:
                self._start(once=mode == 0x0200)
            else:
                self._stop()
        self._registers[command] = value

    def _answer(self, length: int) -> bytes:
        value = self._registers.get(self._pointer, 0)
        if self._pointer == 0x01:
            self._registers[0x01] &= ~_FINISHED
        return value.to_bytes(2, 'big').ljust(length, b'\xff')[:length]

    def _timing(self) -> tuple[float, float]:
        return 0.008, 0.8 if self._registers[0x01] & 0x0800 else 0.1

    def _convert(self, lux: float, time_s: float) -> None:  # noqa: ARG002 - sees no colours
        hundredths = lux * 100.0
        number = self._registers[0x01] >> 12
        if number > 11:
            number = 0
            while number < 11 and hundredths / 2**number * self._sensitivity > 4095:
                number += 1
        count = self._count(hundredths / 2**number, 0xFFF)
        self._registers[0x00] = number << 12 | count
        overflow = _OVERFLOW if hundredths / 2**number * self._sensitivity >= 4095.5 else 0
        self._registers[0x01] = self._registers[0x01] & ~_OVERFLOW | overflow | _FINISHED
        if self._once:
            self._registers[0x01] &= ~_MODE
