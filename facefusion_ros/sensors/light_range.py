"""Ranges of a light sensor: which to measure in, and how good a number is that was measured in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Settings: TypeAlias = 'tuple[tuple[int, int], ...]'
"""Registers and their values, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class Range:
    """A sensitivity of a chip, and the counts at which to leave it."""

    sensitivity: float
    """Counts per lux; of white light, where the light's colour matters."""
    integration_s: float
    """Nominal."""
    low: float
    """Go to the next more sensitive range below this count; infinite for a range that is never stayed in."""
    high: float
    """Go to the next less sensitive range above this count."""
    full_count: int = 0xFFFF
    """A count of this or more is saturated."""
    before: Settings = ()
    """Written before a measurement, which they stop."""
    begin: Settings = ()
    """Written then; the last of them begins the measurement."""


def choose_range(ranges: Sequence[Range], count: float, index: int) -> int:
    """Return the index of the range to measure the light with that gives this count in the range ``index``.

    Ranges go from sensitive to insensitive. The distance between the counts at which neighbours are left keeps the
    choice from swinging between two.
    """
    light = count / ranges[index].sensitivity
    while index + 1 < len(ranges) and light * ranges[index].sensitivity > ranges[index].high:
        index += 1
    while index > 0 and light * ranges[index].sensitivity < ranges[index].low:
        index -= 1
    return index


def variance_of(lux: float, count: float, lux_per_count: float, tolerance: float) -> float:
    """Return the variance of a reading, lux².

    Rounding to whole counts; the shot noise of as many electrons as counts, which is more than a chip can have; and
    the tolerance of the part's sensitivity, taken as evenly distributed. The last is the same for every reading of
    one chip: it says how far the number is from the truth, not how much successive numbers scatter.

    :param tolerance: largest relative error of the sensitivity.
    """
    return lux_per_count**2 * (1.0 / 12.0 + count) + (tolerance * lux) ** 2 / 3.0
