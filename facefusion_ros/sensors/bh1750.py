"""ROHM BH1750FVI, an illuminance sensor that knows opcodes but no registers.

Source of opcodes, times and formulae: ROHM, BH1750FVI datasheet (2011.11 Rev.D), "Instruction Set Architecture" and
"Electrical Characteristics"; the integration time per MTreg step as in Linux drivers/iio/light/bh1750.c.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facefusion_ros.sensors.bus import Saturated, SensorError
from facefusion_ros.sensors.chip import LightReading

if TYPE_CHECKING:
    from facefusion_ros.sensors.bus import Bus
    from facefusion_ros.sensors.chip import Clock

ADDRESS = 0x23
"""With the ADDR pin low; 0x5C with it high."""

_POWER_DOWN = 0x00
_POWER_ON = 0x01
_RESET = 0x07
_CONTINUOUS_HIGH_RESOLUTION = 0x10
_MEASUREMENT_TIME_HIGH_BITS = 0x40
_MEASUREMENT_TIME_LOW_BITS = 0x60

_FULL_COUNT = 0xFFFF
_COUNTS_PER_LUX = 1.2
_DEFAULT_MEASUREMENT_TIME = 69
_SECONDS_PER_STEP = 1.740e-3
_SLOWEST_CHIP = 1.5
"""A conversion of 120 ms typically takes 180 ms at most."""
_POLLS_PER_CONVERSION = 3.618
"""Not a whole number: the ends of conversions are then found early and late alike."""
_REARM_S = 10.0

ACCURACY = 0.2
"""The datasheet allows 0.96 to 1.44 counts per lux around 1.2."""


@dataclass(frozen=True, slots=True)
class Range:
    """A setting of the measurement time register and the illuminances at which to leave it."""

    measurement_time: int
    """MTreg, 31 to 254."""
    below_lux: float
    """Go to the next more sensitive range below this."""
    above_lux: float
    """Go to the next less sensitive range above this."""

    @property
    def lux_per_count(self) -> float:
        """Size of one count, lux."""
        return _DEFAULT_MEASUREMENT_TIME / self.measurement_time / _COUNTS_PER_LUX

    @property
    def conversion_s(self) -> float:
        """Integration time of a typical chip, seconds."""
        return _SECONDS_PER_STEP * self.measurement_time


RANGES = (
    Range(254, below_lux=0.0, above_lux=120.0),
    Range(69, below_lux=60.0, above_lux=45_000.0),
    Range(31, below_lux=35_000.0, above_lux=float('inf')),
)
"""From sensitive and slow (0.23 lux per count, 0.44 s) to 121 klx (1.9 lux per count, 54 ms)."""


def choose_range(lux: float, index: int) -> int:
    """Return the index in RANGES to measure this illuminance with, coming from the range ``index``.

    Grows with lux; the distance between the limits of neighbours keeps it from swinging between two ranges.
    """
    while lux > RANGES[index].above_lux:
        index += 1
    while lux < RANGES[index].below_lux:
        index -= 1
    return index


def variance_of(lux: float, lux_per_count: float) -> float:
    """Return the variance of a reading, lux²: rounding to whole counts, and the tolerance of the chip's sensitivity.

    Both are taken as evenly distributed. The second is the same for every reading of one chip: it says how far the
    number is from the truth, not how much successive numbers scatter.
    """
    return lux_per_count**2 / 12.0 + (ACCURACY * lux) ** 2 / 3.0


class Bh1750:
    """BH1750 in continuous high-resolution mode with automatic range.

    The measuring opcode is written once and then only data is read: writing it again, as reading "a register" would,
    starts the conversion anew. The chip does not tell when a conversion ends, so it is polled a few times in each, and
    a changed number dates the end to a seventh of the integration time. A light that stays the same gives a reading
    at the slowest rate the datasheet allows.

    A chip that lost its power for a moment answers 0 and measures no more. Hence it is armed again every 10 s, and
    a 0 is believed only if it is still there after that.
    """

    def __init__(self, bus: Bus, address: int = ADDRESS, *, clock: Clock = time.time_ns) -> None:
        self._bus = bus
        self._address = address
        self._clock = clock
        self._index = 1
        self._armed_ns = 0
        self._read_ns = 0
        self._published_ns = 0
        self._count = -1
        self._dark = False

    @property
    def range(self) -> Range:
        """The range in use."""
        return RANGES[self._index]

    @property
    def period_s(self) -> float:
        """Seconds from one poll to the next."""
        return self.range.conversion_s / _POLLS_PER_CONVERSION

    def start(self) -> None:
        """Reset the chip and let it measure. It has no identity to check: whoever acknowledges is taken for it."""
        self._bus.open()
        self._bus.claim(self._address)
        self._command(_POWER_ON)
        self._command(_RESET)
        self._index = 1
        self._dark = False
        self._arm()

    def read(self) -> list[LightReading]:
        """Return the reading of the conversion that has ended, if one has; raises Saturated above 121 klx."""
        now_ns = self._clock()
        conversion_ns = round(self.range.conversion_s * 1e9)
        if not 0 <= now_ns - self._armed_ns < _REARM_S * 1e9:  # the host's clock may have been set back
            self._arm()
            return []
        if now_ns - self._armed_ns < _SLOWEST_CHIP * conversion_ns:
            return []
        count = int.from_bytes(self._bus.read(self._address, 2), 'big')
        if count == _FULL_COUNT:
            return self._saturated()
        if count == 0 and not self._dark:
            self._dark = True
            self._arm()
            return []
        self._dark = count == 0

        if self._count < 0:
            end_ns = now_ns - (now_ns - self._armed_ns) % conversion_ns
        elif count != self._count:
            end_ns = (self._read_ns + now_ns) // 2
        else:
            end_ns = now_ns - conversion_ns // 2  # at most one conversion ago
        new = count != self._count or now_ns - self._published_ns >= _SLOWEST_CHIP * conversion_ns
        self._read_ns, self._count = now_ns, count
        if not new:
            return []
        self._published_ns = now_ns
        lux = count * self.range.lux_per_count
        reading = LightReading(end_ns - conversion_ns // 2, lux, variance_of(lux, self.range.lux_per_count))
        self._change_range(choose_range(lux, self._index))
        return [reading]

    def close(self) -> None:
        """Power the chip down if it still answers, and close the bus."""
        with suppress(SensorError):
            self._command(_POWER_DOWN)
        self._bus.close()

    def _saturated(self) -> list[LightReading]:
        least_sensitive = len(RANGES) - 1
        if self._index == least_sensitive:
            full_lux = _FULL_COUNT * self.range.lux_per_count
            raise Saturated(
                f'brighter than {full_lux:.0f} lux at {self._address:#04x} on {self._bus.path}: '
                'shade the light sensor or put a diffuser over it'
            )
        self._change_range(least_sensitive)
        return []

    def _change_range(self, index: int) -> None:
        if index != self._index:
            self._index = index
            self._arm()

    def _arm(self) -> None:
        time_bits = self.range.measurement_time
        self._command(_POWER_ON)
        self._command(_MEASUREMENT_TIME_HIGH_BITS | time_bits >> 5)
        self._command(_MEASUREMENT_TIME_LOW_BITS | time_bits & 0x1F)
        self._command(_CONTINUOUS_HIGH_RESOLUTION)
        self._armed_ns = self._clock()
        self._count = -1

    def _command(self, opcode: int) -> None:
        self._bus.write(self._address, (opcode,))
