"""Keeps out of a stream of samples what no chip has measured: I2C has no checksum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kept = TypeVar('Kept')

FROZEN = 24
"""So many equal samples in a row are no measurement: in a real one at least one axis' noise shows."""

_DEVIATIONS = 6.0
_FORGET = 1.0 / 16.0
_FIRST_SPREAD = 0.5
"""Of the least deviation that may be a jump: three of it are let through until there is a better number."""
_LARGEST_LESSON = 2.0
_MOST_APART = 5


@dataclass(frozen=True, slots=True)
class _Held(Generic[Kept]):
    values: NDArray[np.float64]
    sample: Kept
    deviation: NDArray[np.float64] | None
    """From what was expected after those that were believed by then; None where nothing was expected."""


class Sieve(Generic[Kept]):
    """Holds back samples that jump, or do not change at all, until those that follow tell whether to believe them.

    A sample is given at once where it lies on the line through the two before it, as nearly as those before did. One
    that does not is held: if the next agrees with it, the motion has jumped and both are given; if the next goes on
    where the ones before left off, it was a slip of the bus and is dropped. Five in a row that agree with nothing are
    motion so violent that there is nothing to judge it by, and all are given. Samples equal to the last in every axis
    are held until one differs, and dropped where that takes too long.

    :param least: (n,) deviation that is no jump in any case, by axis.
    """

    def __init__(self, least: NDArray[np.float64]) -> None:
        self._least = least
        self._spread = np.square(_FIRST_SPREAD * least)
        self.dropped = 0
        """Samples that were not believed."""
        self._believed: list[NDArray[np.float64]] = []
        self._held: list[_Held[Kept]] = []
        self._apart = 0
        self._equal = 0

    @property
    def frozen(self) -> bool:
        """Whether samples have been equal for so long that they are none."""
        return self._equal >= FROZEN

    def interrupt(self) -> None:
        """Tell that samples are missing before the next; those that are held are dropped."""
        self._drop_held()
        self._believed.clear()
        self._equal = 0

    def take(self, values: NDArray[np.float64], sample: Kept) -> list[Kept]:
        """Take the next sample and its (n,) values; return those that are to be believed by now, oldest first."""
        last = self._held[-1].values if self._held else self._believed[-1] if self._believed else None
        if last is not None and np.array_equal(values, last):
            self._equal += 1
            self._held.append(_Held(values, sample, None))
            return []
        if self.frozen:
            self._drop_held()
        self._equal = 0
        deviation = self._deviation(values)
        if deviation is not None and bool(np.all(np.abs(deviation) <= self._limit)):
            if self._apart:
                self._drop_held()
            self._held.append(_Held(values, sample, deviation))
            return self._believe_held()
        agrees = self._apart > 0 and bool(np.all(np.abs(values - self._held[-1].values) <= self._limit))
        if agrees:  # with the last, and not with any before that
            self.dropped += len(self._held) - 1
            del self._held[:-1]
        self._held.append(_Held(values, sample, deviation))
        self._apart += 1
        return self._believe_held() if agrees or self._apart == _MOST_APART else []

    @property
    def _limit(self) -> NDArray[np.float64]:
        return np.asarray(np.maximum(self._least, _DEVIATIONS * np.sqrt(self._spread)))

    def _deviation(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return by how much, a sample, a new one deviates from what follows from those that are believed."""
        if not self._believed:
            return None
        gone = 1.0 + len(self._held)
        change = (values - self._believed[-1]) / gone
        return change - (self._believed[-1] - self._believed[-2]) if len(self._believed) > 1 else change

    def _believe_held(self) -> list[Kept]:
        """Give the samples that were held, and learn from them, but from no others, how nearly samples go on."""
        for held in self._held:
            if held.deviation is not None:
                lesson = np.minimum(np.abs(held.deviation), _LARGEST_LESSON * self._limit)
                self._spread += _FORGET * (np.square(lesson) - self._spread)
        given = [held.sample for held in self._held]
        self._believed = (self._believed + [held.values for held in self._held])[-2:]
        self._held.clear()
        self._apart = 0
        return given

    def _drop_held(self) -> None:
        self.dropped += len(self._held)
        self._held.clear()
        self._apart = 0
