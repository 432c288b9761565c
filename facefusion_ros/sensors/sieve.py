"""Keeps out of a stream of samples what no chip has measured: I2C has no checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kept = TypeVar('Kept')

FROZEN = 24
"""So many equal samples in a row are no measurement: in a real one at least one axis' noise shows."""

_DEVIATIONS = 6.0
_FORGET = 1.0 / 16.0
_FIRST_SPREAD = 5.0
_LARGEST_LESSON = 2.0
_MOST_APART = 5


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
        self._held: list[tuple[NDArray[np.float64], Kept]] = []
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
        last = self._held[-1][0] if self._held else self._believed[-1] if self._believed else None
        if last is not None and np.array_equal(values, last):
            self._equal += 1
            self._held.append((values, sample))
            return []
        if self.frozen:
            self._drop_held()
        self._equal = 0
        if self._goes_on(values):
            if self._apart:
                self._drop_held()
            self._held.append((values, sample))
            return self._believe_held()
        agrees = self._apart > 0 and bool(np.all(np.abs(values - self._held[-1][0]) <= self._limit))
        if agrees:  # with the last, and not with any before that
            self.dropped += len(self._held) - 1
            del self._held[:-1]
        self._held.append((values, sample))
        self._apart += 1
        return self._believe_held() if agrees or self._apart == _MOST_APART else []

    @property
    def _limit(self) -> NDArray[np.float64]:
        return np.asarray(np.maximum(self._least, _DEVIATIONS * np.sqrt(self._spread)))

    def _goes_on(self, values: NDArray[np.float64]) -> bool:
        """Whether a sample continues those that are believed; learns how nearly samples do."""
        if not self._believed:
            return False
        gone = 1.0 + len(self._held)
        deviation = values - self._believed[-1]
        if len(self._believed) > 1 and not self._held:
            deviation = deviation - (self._believed[-1] - self._believed[-2])
        limit = self._limit
        goes_on = bool(np.all(np.abs(deviation) <= gone * limit))
        lesson = np.minimum(np.abs(deviation) / gone, _LARGEST_LESSON * limit)
        self._spread += _FORGET * (np.square(lesson) - self._spread)
        return goes_on

    def _believe_held(self) -> list[Kept]:
        given = [sample for _, sample in self._held]
        self._believed = (self._believed + [values for values, _ in self._held])[-2:]
        self._held.clear()
        self._apart = 0
        return given

    def _drop_held(self) -> None:
        self.dropped += len(self._held)
        self._held.clear()
        self._apart = 0
