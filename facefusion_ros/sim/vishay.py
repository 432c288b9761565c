"""Emulated Vishay light sensors: VEML7700 and VEML6040, of 16-bit registers that are read one by one.

Sources: Vishay, VEML7700 datasheet (document 84286) and VEML6040 datasheet (document 84276), from which these and the
drivers were written apart: they share no constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros.sim.light_chip import EmulatedLightChip

if TYPE_CHECKING:
    from collections.abc import Callable

_FULL = 0xFFFF


class _WordRegisters(EmulatedLightChip):
    """Registers of two bytes, the low one first; a write of only one of them is lost."""

    RESET: dict[int, int]
    READ_ONLY: frozenset[int]

    def _reset(self) -> None:
        self._registers = dict(self.RESET)

    def _command(self, command: int, data: bytes) -> None:
        self._pointer = command
        if len(data) < 2 or command in self.READ_ONLY:
            return
        value = int.from_bytes(data[:2], 'little')
        was = self._registers.get(command, 0)
        self._registers[command] = value
        if command == 0x00 and value != was:
            if value & 0x01:
                self._stop()
            else:
                self._start()

    def _answer(self, length: int) -> bytes:
        value = self._registers.get(self._pointer, 0)
        return value.to_bytes(2, 'little').ljust(length, b'\xff')[:length]


class EmulatedVeml7700(_WordRegisters):
    """VEML7700 as the bus sees it; what it shows of bright light is too little, as the real one's."""

    RESET = {0x00: 0x0001, 0x07: 0xC481}  # noqa: RUF012 - a table
    READ_ONLY = frozenset({0x04, 0x05, 0x06, 0x07})

    def __init__(self, lux: Callable[[float], float], *, address: int = 0x10, **chip: Any) -> None:  # noqa: ANN401
        super().__init__(lux, address=address, **chip)

    def _timing(self) -> tuple[float, float]:
        code = self._registers[0x00] >> 6 & 0xF
        return 0.0025, {0xC: 0.025, 0x8: 0.05, 0x0: 0.1, 0x1: 0.2, 0x2: 0.4, 0x3: 0.8}.get(code, 0.1)

    def _convert(self, lux: float, time_s: float) -> None:  # noqa: ARG002 - sees no colours
        _, integration_s = self._timing()
        gain = (1.0, 2.0, 0.125, 0.25)[self._registers[0x00] >> 11 & 0x3]
        shown = _shown_by_veml7700(lux)
        self._registers[0x04] = self._count(shown / 0.0042 * integration_s / 0.8 * gain / 2.0, _FULL)
        self._registers[0x05] = min(_FULL, 2 * self._registers[0x04])


def _shown_by_veml7700(lux: float) -> float:
    """Return what the linear formula gives for an illuminance, by halving: the inverse of the note's polynomial."""
    low, high = 0.0, lux
    for _ in range(60):
        middle = (low + high) / 2.0
        if 6.0135e-13 * middle**4 - 9.3924e-9 * middle**3 + 8.1488e-5 * middle**2 + 1.0023 * middle < lux:
            low = middle
        else:
            high = middle
    return low


class EmulatedVeml6040(_WordRegisters):
    """VEML6040 as the bus sees it.

    :param cct_k: correlated colour temperature, kelvin, at a time in seconds of the clock.
    """

    RESET = {0x00: 0x0000}  # noqa: RUF012 - a table
    READ_ONLY = frozenset({0x08, 0x09, 0x0A, 0x0B})

    def __init__(
        self,
        lux: Callable[[float], float],
        cct_k: Callable[[float], float] = lambda _: 5000.0,
        *,
        address: int = 0x10,
        **chip: Any,  # noqa: ANN401 - as the base takes
    ) -> None:
        self._cct_k = cct_k
        super().__init__(lux, address=address, **chip)

    def _reset(self) -> None:
        super()._reset()
        self._start()  # it is not asleep after switching on

    def _timing(self) -> tuple[float, float]:
        return 0.002, 0.04 * 2 ** min(self._registers[0x00] >> 4 & 0x7, 5)

    def _convert(self, lux: float, time_s: float) -> None:
        _, integration_s = self._timing()
        green = lux / 0.25168 * integration_s / 0.04
        redness = (self._cct_k(time_s) / 4278.6) ** (-1.0 / 1.2455) - 0.5  # (red - blue) / green
        self._registers[0x08] = self._count(green * (0.9 + redness / 2.0), _FULL)
        self._registers[0x09] = self._count(green, _FULL)
        self._registers[0x0A] = self._count(green * (0.9 - redness / 2.0), _FULL)
        self._registers[0x0B] = self._count(green * 1.2, _FULL)
