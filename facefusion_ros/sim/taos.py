"""Emulated ams (once TAOS) light sensors: TSL2591 and TCS34725, of 8-bit registers behind a command byte.

Sources: ams, TSL2591 datasheet (DS000338) and TCS3472 datasheet (TAOS135), from which these and the drivers were
written apart: they share no constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros.sim.light_chip import EmulatedLightChip

if TYPE_CHECKING:
    from collections.abc import Callable

_ENABLE, _IDENTITY, _STATUS, _DATA = 0x00, 0x12, 0x13, 0x14
_RUNS = 0x03
_POWER_UP_NS = 2_400_000


class _ByteRegisters(EmulatedLightChip):
    """Registers of one byte; a command says which."""

    RESET: dict[int, int]

    def _reset(self) -> None:
        self._registers = bytearray(0x20)
        for register, value in self.RESET.items():
            self._registers[register] = value

    def _command(self, command: int, data: bytes) -> None:
        if not command & 0x80 or command & 0x60 == 0x60:  # not a command, or a special one, about interrupts
            return
        self._pointer = command & 0x1F
        for value in data:
            if self._pointer < _IDENTITY - 1:
                self._store(self._pointer, value)
            self._advance()

    def _answer(self, length: int) -> bytes:
        answer = bytearray()
        for _ in range(length):
            ready = self._pointer == _STATUS and self._done
            answer.append(self._registers[self._pointer] | (0x01 if ready else 0x00))
            self._advance()
        return bytes(answer)

    def _advance(self) -> None:
        # The data sheet has a bit for that, but drivers that leave it out read words from real chips as well.
        self._pointer = (self._pointer + 1) % len(self._registers)

    def _store(self, register: int, value: int) -> None:
        was = self._registers[register]
        self._registers[register] = value
        if register == _ENABLE:
            if value & _RUNS != _RUNS:
                self._stop()
                self._converted = 0
            elif was & _RUNS != _RUNS:
                self._start()

    def _set_words(self, *counts: int) -> None:
        for index, count in enumerate(counts):
            self._registers[_DATA + 2 * index : _DATA + 2 * index + 2] = count.to_bytes(2, 'little')


class EmulatedTsl2591(_ByteRegisters):
    """TSL2591 as the bus sees it.

    :param infrared: what the infrared diode sees of what the other sees, as a fraction.
    """

    RESET = {_IDENTITY: 0x50}  # noqa: RUF012 - a table

    def __init__(
        self,
        lux: Callable[[float], float],
        *,
        address: int = 0x29,
        infrared: float = 0.2,
        **chip: Any,  # noqa: ANN401 - as the base takes
    ) -> None:
        self._infrared = infrared
        super().__init__(lux, address=address, **chip)

    def _store(self, register: int, value: int) -> None:
        if register == 0x01 and value & 0x80:
            self.power_cycle()
            return
        super()._store(register, value)

    def _timing(self) -> tuple[float, float]:
        return 0.0, 0.1 * (1 + min(self._registers[0x01] & 0x7, 5))

    def _convert(self, lux: float, time_s: float) -> None:  # noqa: ARG002 - sees no colours
        _, integration_s = self._timing()
        gain = (1.0, 25.0, 428.0, 9876.0)[self._registers[0x01] >> 4 & 0x3]
        full = 0x8FFF if integration_s < 0.15 else 0xFFFF
        everything = lux * integration_s * 1e3 * gain / 408.0 / (1.0 - self._infrared) ** 2
        self._set_words(self._count(everything, full), self._count(everything * self._infrared, full))


class EmulatedTcs34725(_ByteRegisters):
    """TCS34725 as the bus sees it.

    :param cct_k: correlated colour temperature, kelvin, at a time in seconds of the clock.
    :param infrared: infrared in each channel, relative to green.
    """

    RESET = {0x01: 0xFF, _IDENTITY: 0x44}  # noqa: RUF012 - a table

    def __init__(
        self,
        lux: Callable[[float], float],
        cct_k: Callable[[float], float] = lambda _: 5000.0,
        *,
        address: int = 0x29,
        infrared: float = 0.05,
        **chip: Any,  # noqa: ANN401 - as the base takes
    ) -> None:
        self._cct_k = cct_k
        self._infrared = infrared
        super().__init__(lux, address=address, **chip)

    def _timing(self) -> tuple[float, float]:
        return _POWER_UP_NS * 1e-9, 0.0024 * (256 - self._registers[0x01])

    def _convert(self, lux: float, time_s: float) -> None:
        _, integration_s = self._timing()
        gain = (1.0, 4.0, 16.0, 60.0)[self._registers[0x0F] & 0x3]
        full = min(0xFFFF, 1024 * (256 - self._registers[0x01]))
        # Designer's Notebook 40, solved for the channels; red and green are taken to be the same.
        blue_of_red = (self._cct_k(time_s) - 1391.0) / 3810.0
        red = lux * integration_s * 1e3 * gain / 310.0 / (0.136 + 1.0 - 0.444 * blue_of_red)
        blue = red * blue_of_red
        infrared = red * self._infrared
        clear = red + red + blue + infrared  # so that half of what R + G + B exceeds it by is the infrared
        self._set_words(
            self._count(clear, full),
            self._count(red + infrared, full),
            self._count(red + infrared, full),
            self._count(blue + infrared, full),
        )
