"""ROHM BH1750FVI, an illuminance sensor that knows opcodes but no registers.

Source of opcodes, times and formulae: ROHM, BH1750FVI datasheet (2011.11 Rev.D), "Instruction Set Architecture" and
"Electrical Characteristics"; the integration time per MTreg step as in Linux drivers/iio/light/bh1750.c.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from facefusion_ros.sensors.bus import Saturated, SensorError, SettingsLost, Stalled
from facefusion_ros.sensors.chip import LightReading
from facefusion_ros.sensors.light_range import Range, choose_range, variance_of

if TYPE_CHECKING:
    from facefusion_ros.sensors.bus import Bus
    from facefusion_ros.sensors.chip import Clock

ADDRESS = 0x23
"""With the ADDR pin low; 0x5C with it high."""

_POWER_DOWN = 0x00
_POWER_ON = 0x01
_ONCE_HIGH_RESOLUTION = 0x20
_MEASUREMENT_TIME_HIGH_BITS = 0x40
_MEASUREMENT_TIME_LOW_BITS = 0x60

_FULL_COUNT = 0xFF00
"""So that an answer of which only the low byte came counts as full."""
_COUNTS_PER_LUX = 1.2
_DEFAULT_MEASUREMENT_TIME = 69
_SECONDS_PER_STEP = 1.740e-3
_FASTEST, _SLOWEST = 0.8, 1.5
"""A conversion of 120 ms typically takes 180 ms at most."""
_TOO_SOON = 0.6
"""No result comes before this part of a conversion unless the chip has lost its measurement time."""
_POLL = 0.06
"""Part of a conversion."""
_PACE_SLACK = 0.06
"""By how much of the nominal time a conversion may differ from those before it."""
_STRAYS = 3
"""So many in a row show that it was the first that was wrong."""
_LOST_AFTER_S = 1.0
_FEW_COUNTS = 2
_ZEROS_FOR_DARKNESS = 3
_FIRST_WITNESSES, _WITNESSES = 2, 3
"""So many readings, of which the last two agree, it takes at first and after a jump. Two alone that agree can be wrong:
the one counted twice, in the mode that is a bit away from ours, and the other fallen into the jump, where it may be
anything."""
_NEAR = 0.15
_NEAR_LUX = 3.0

TOLERANCE = 0.2
"""The datasheet allows 0.96 to 1.44 counts per lux around 1.2."""


def _range(measurement_time: int, low: float, high: float) -> Range:
    time_opcodes = (
        _MEASUREMENT_TIME_HIGH_BITS | measurement_time >> 5,
        _MEASUREMENT_TIME_LOW_BITS | measurement_time & 0x1F,
    )
    return Range(
        sensitivity=_COUNTS_PER_LUX * measurement_time / _DEFAULT_MEASUREMENT_TIME,
        integration_s=_SECONDS_PER_STEP * measurement_time,
        low=low,
        high=high,
        full_count=_FULL_COUNT,
        begin=tuple(
            (opcode, 0)
            for opcode in (
                _POWER_ON,
                *2 * time_opcodes,  # in case that one is garbled: nothing tells which time is in use
                _ONCE_HIGH_RESOLUTION,
            )
        ),
    )


RANGES = (
    _range(254, low=0.0, high=150.0),
    _range(69, low=24.0, high=54_000.0),
    _range(31, low=19_000.0, high=float('inf')),
)
"""From sensitive and slow (0.23 lux per count, 0.44 s) to 121 klx (1.9 lux per count, 54 ms)."""


class Bh1750:
    """BH1750, measuring once at a time with automatic range.

    Nothing can be read back from this chip, hence some care:

    - The opcode that begins a measurement is written once and then only data is read: writing it again, as reading "a
      register" would, starts the measurement anew.
    - An answer that was cut short ends with ones. One that goes on ending so must be confirmed in another range.
    - The chip does not tell when a measurement ends. It is polled; a changed number dates the end. A chip that has
      taken more or less time than for the measurements before has lost the time it was set to.
    - A number that stays the same may be a light that stays the same, or a chip that has stopped: a measurement in
      another range tells.
    - A chip that lost its power for a moment shows 0. That is believed when it has come three times.
    - Nor can an answer be checked by anything but itself: it must come three times.
    - A setting that was garbled on the wire can be told by nothing but that time. A reading far from those before is
      held back until the next two have confirmed it.
    """

    def __init__(self, bus: Bus, address: int = 0, *, clock: Clock = time.time_ns) -> None:
        self._bus = bus
        self._address = address or ADDRESS
        self._clock = clock
        self._index = self._next = 1
        self._measuring = False
        self._begun_ns = self._polled_ns = self._due_ns = 0
        self._last: int | None = None
        self._known = False
        """Whether the chip showed ``_last`` when the measurement began, so that anything else is its result."""
        self._doubted: LightReading | None = None
        self._suspect = False
        self._pace = 1.0
        """Of the nominal time, the part that this chip's measurements take."""
        self._paced = False
        self._strayed = 0
        self._zeros = 0
        self._trusted: LightReading | None = None
        self._odd: list[LightReading] = []

    @property
    def range(self) -> Range:
        """The range in use."""
        return RANGES[self._index]

    @property
    def period_s(self) -> float:
        """Seconds to the next poll."""
        return min(max(0.0, (self._due_ns - self._clock()) * 1e-9), self.range.integration_s)

    def start(self) -> None:
        """Find the chip and let it measure. It has no identity to check: whoever acknowledges is taken for it."""
        self._bus.open()
        self._bus.claim(self._address)
        self._index = self._next = 1
        self._zeros = 0
        self._trusted = None
        self._odd = []
        self._known = False
        self._begin()

    def read(self) -> list[LightReading]:
        """Return the readings that are due; raises Saturated above 121 klx."""
        now_ns = self._clock()
        conversion_ns = round(self.range.integration_s * 1e9)
        elapsed_ns = now_ns - self._begun_ns
        if not self._measuring or not 0 <= elapsed_ns < _SLOWEST * conversion_ns + _LOST_AFTER_S * 1e9:
            self._known = False
            self._begin()  # after a failure, or the host's clock has been set
            return []
        if now_ns < self._due_ns:
            return []
        count = int.from_bytes(self._bus.read_surely(self._address, (b'', 2)), 'big')
        changed = self._known and count != self._last and not _perhaps_cut_short(count)
        if changed and elapsed_ns < _FASTEST * conversion_ns:
            self._measuring = False
            raise SettingsLost(
                f'the BH1750 at {self._where} has measured for less time than it was told: look for a weak supply'
            )
        if changed and not self._keeps_pace(now_ns):
            self._last = count
            self._begin()
            return []
        if not changed and elapsed_ns < _SLOWEST * conversion_ns:
            self._polled_ns = now_ns
            self._due_ns = max(now_ns + round(_POLL * conversion_ns), self._begun_ns + round(_FASTEST * conversion_ns))
            return []
        end_ns = self._begun_ns + round(self._pace * conversion_ns)
        return self._ended(count, (self._begun_ns + end_ns) // 2)

    def close(self) -> None:
        """Power the chip down if it still answers, and close the bus."""
        self._measuring = False
        with suppress(SensorError):
            self._bus.write(self._address, (_POWER_DOWN,))
        self._bus.close()

    def _keeps_pace(self, now_ns: int) -> bool:
        """Whether a measurement that has ended since the last poll took as long as others; learns how long that is."""
        conversion_ns = 1e9 * self.range.integration_s
        earliest, latest = ((time_ns - self._begun_ns) / conversion_ns for time_ns in (self._polled_ns, now_ns))
        if self._paced and not earliest - _PACE_SLACK <= self._pace <= latest + _PACE_SLACK:
            self._strayed += 1
            if self._strayed < _STRAYS:
                return False
        self._strayed = 0
        self._paced = True
        self._pace = min(max(self._pace, earliest), latest)
        return True

    def _ended(self, count: int, middle_ns: int) -> list[LightReading]:
        doubted, self._doubted = self._doubted, None
        repeated, self._last = count == self._last, count
        cut_short = count < _FULL_COUNT and _perhaps_cut_short(count)
        self._known = count < _FULL_COUNT and not cut_short
        if doubted is not None:
            lux = min(count, _FULL_COUNT) / self.range.sensitivity
            confirmed = not repeated and (_near(doubted.lux, lux) or (count >= _FULL_COUNT and doubted.lux > lux))
            self._begin()
            self._suspect = repeated  # unless the light has just changed by as much as the ranges differ
            return self._confirmed(doubted) if confirmed else []
        suspect, self._suspect = self._suspect, False
        if suspect and repeated:
            self._measuring = False
            raise Stalled(f'the BH1750 at {self._where} always shows the same: it measures no more, check its supply')
        if count >= _FULL_COUNT:
            return self._saturated()
        self._zeros = self._zeros + 1 if count == 0 else 0
        self._next = choose_range(RANGES, count, self._index)
        if (self._next < self._index and count <= _FEW_COUNTS) or 0 < self._zeros < _ZEROS_FOR_DARKNESS:
            self._begin()
            return []
        lux_per_count = 1.0 / self.range.sensitivity
        lux = count * lux_per_count
        reading = LightReading(middle_ns, lux, variance_of(lux, count, lux_per_count, TOLERANCE))
        if (repeated and count > _FEW_COUNTS) or cut_short:
            self._begin(self._index + 1 if self._index + 1 < len(RANGES) else self._index - 1)
            self._doubted = reading
            return []
        self._begin()
        return self._confirmed(reading)

    def _confirmed(self, reading: LightReading) -> list[LightReading]:
        """Return the readings that their neighbours in time confirm."""
        before, odd = self._trusted, self._odd
        if before is not None and _near(before.lux, reading.lux):
            return self._trust([reading])
        odd.append(reading)
        del odd[:-_WITNESSES]
        if len(odd) < (_FIRST_WITNESSES if before is None else _WITNESSES) or not _near(odd[-2].lux, reading.lux):
            return []
        return self._trust([each for each in odd if _near(each.lux, reading.lux)])

    def _trust(self, readings: list[LightReading]) -> list[LightReading]:
        self._trusted, self._odd = readings[-1], []
        return readings

    def _saturated(self) -> list[LightReading]:
        least_sensitive = len(RANGES) - 1
        if self._index == least_sensitive:
            full_lux = _FULL_COUNT / self.range.sensitivity
            self._begin()
            raise Saturated(
                f'brighter than {full_lux:.0f} lux at {self._where}: shade the light sensor or put a diffuser over it'
            )
        self._next = least_sensitive
        self._begin()
        return []

    def _begin(self, index: int | None = None) -> None:
        self._measuring = False
        self._doubted = None
        self._index = self._next if index is None else index
        for opcode, _ in self.range.begin:
            self._bus.write(self._address, (opcode,), tries=2)
        self._begun_ns = self._polled_ns = self._clock()
        self._due_ns = self._begun_ns + round(_TOO_SOON * self.range.integration_s * 1e9)
        self._measuring = True

    @property
    def _where(self) -> str:
        return f'{self._address:#04x} on {self._bus.path}'


def _perhaps_cut_short(count: int) -> bool:
    return count & 0xFF == 0xFF


def _near(one_lux: float, other_lux: float) -> bool:
    return abs(one_lux - other_lux) <= _NEAR * max(one_lux, other_lux) + _NEAR_LUX
