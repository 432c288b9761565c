"""When a chip took its samples, told from their count and not from when a program woke up."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = (5.0**0.5 - 1.0) / 2.0
"""Reads spaced by a whole number of sample periods plus this part meet the chip's samples at evenly spread phases."""

PERIOD_TOLERANCE = 0.04
"""How far a chip's period may be from its nominal one (as in Linux drivers/iio/common/inv_sensors)."""

_REMEMBERED_TOLERANCE = 1e-3
"""How far a period may have moved while the beat was lost."""
_MOST_OBSERVATIONS = 384
_LONGEST_WINDOW_NS = 6e9
_FEWEST_OBSERVATIONS = 6
_LOCKED_PERIODS = 0.08
_DRIFT_SPAN_NS = 4e9
_DRIFT_WEIGHT = 1.0 / 256.0
_LARGEST_DRIFT = 2e-4
"""Of the period, per second: twice what a chip does that warms up by 1 K a second."""
_CONTRADICTED_PERIODS = 0.25
_LOST_PERIODS = 5.0
_LARGEST_DOUBT = 0.45
# A chip tells its count in the last two of the transfer's five bytes.
_COUNT_IS_TAKEN = 0.6
_CORRECTION_WEIGHT = 1.0 / 64.0


class ChipClock:
    """A phase-locked loop that learns a chip's sample period and phase from how many samples are there when.

    When a chip is found to hold its n-th sample and not yet the next, the n-th was taken before the answer came, and
    the next will be after the question was asked. Both hold however long the program slept or the bus took, so that a
    late or slow read says less but never anything wrong. Of all straight lines from count to time that no read of the
    last seconds contradicts, the loop takes the one in their middle; with n reads at evenly spread phases these leave
    some 1/n of a period open, where an average of ages would leave 1/sqrt(n). A steady drift of the chip's oscillator,
    as while it warms up, is learned from the period's own past and bends the lines; when it changes so that no line
    is left, the oldest reads are forgotten.

    The method is that of clock synchronisation between two hosts by the convex hull of message delays: A. Duda and
    others, "Estimating global time in distributed systems", ICDCS 1987.
    """

    def __init__(self, period_s: float) -> None:
        self._nominal_ns = period_s * 1e9
        self._period_ns = self._nominal_ns
        self._tolerance = PERIOD_TOLERANCE
        self._counts = np.zeros(2 * _MOST_OBSERVATIONS, np.int64)
        self._asked_ns = np.zeros(2 * _MOST_OBSERVATIONS, np.int64)
        self._answered_ns = np.zeros(2 * _MOST_OBSERVATIONS, np.int64)
        self._begin = self._end = 0
        self._count = 0
        self._newest_ns = 0
        self._slack_ns = float('inf')
        self._transfer_ns = 0.0
        self._correction = 0.0
        self._gap = False
        self._past: deque[tuple[int, int, float]] = deque()
        self._bend_ns = 0.0

    @property
    def locked(self) -> bool:
        """True once stamps are good to some hundredths of a period."""
        enough = self._end - self._begin >= _FEWEST_OBSERVATIONS
        return enough and not self._gap and self._slack_ns < _LOCKED_PERIODS * self._period_ns + self._transfer_ns

    @property
    def period_s(self) -> float:
        """The chip's own sample period, seconds."""
        return self._period_ns * 1e-9

    @property
    def jitter_s(self) -> float:
        """RMS of the last corrections of the beat, seconds: how evenly the stamps come."""
        return float(self._correction**0.5 * 1e-9)

    def lose_count(self) -> None:
        """Tell that samples went by uncounted; the chip kept its beat."""
        self._gap = True

    def lose_beat(self) -> None:
        """Tell that the chip was started anew: its samples come at another phase, at almost the same period."""
        if self.locked:
            self._remember_period()
        self._forget()

    def contradicts(self, samples: int, asked_ns: int, answered_ns: int) -> bool:
        """Tell whether so many new samples cannot be; the times are those of the transfer that told the number."""
        if not self.locked:
            return False
        newest_ns = samples * self._period_ns - (answered_ns - self._newest_ns)
        spare_ns = _CONTRADICTED_PERIODS * self._period_ns
        return newest_ns > spare_ns or newest_ns + self._period_ns < asked_ns - answered_ns - spare_ns

    def advance(self, samples: int, asked_ns: int, answered_ns: int) -> None:
        """Count new samples: between the two times, the last of them was there and no newer one."""
        if answered_ns < asked_ns:
            return  # somebody set the host's clock just now
        if self._end == self._begin:
            self._observe(asked_ns, answered_ns)
            return
        since_ns = answered_ns - self._newest_ns
        off = abs(samples - since_ns / self._period_ns)
        if self._gap or self.contradicts(samples, asked_ns, answered_ns):
            found = self._periods_since(asked_ns, answered_ns)
            if found is None:
                return  # the beat before or after is as likely; the next read tells
            samples = found
        elif off > _LOST_PERIODS + since_ns * self._tolerance / self._period_ns:
            self._forget()  # somebody set the host's clock
            samples = 0
        expected_ns = self._newest_ns + samples * self._period_ns
        steady = self.locked
        self._count += samples
        self._gap = False
        self._observe(asked_ns, answered_ns)
        self._fit()
        if steady:
            self._correction += _CORRECTION_WEIGHT * ((self._newest_ns - expected_ns) ** 2 - self._correction)

    def stamps(self, samples: int) -> NDArray[np.int64]:
        """Return when the newest samples were taken, (samples,) nanoseconds, oldest first."""
        ages = np.arange(samples - 1, -1, -1) * self._period_ns
        return self._newest_ns - np.asarray(np.rint(ages), np.int64)

    def _periods_since(self, asked_ns: int, answered_ns: int) -> int | None:
        """Return how many samples were taken since the newest known one; None where that is not sure."""
        since_ns = answered_ns - self._newest_ns
        span_ns = max(self._answered_ns[self._end - 1] - self._answered_ns[self._begin], 1)
        sure_ns = min(self._slack_ns, self._period_ns)
        doubt_ns = 0.5 * sure_ns + since_ns * min(sure_ns / span_ns, self._tolerance)
        if since_ns < 0 or doubt_ns > _LARGEST_DOUBT * self._period_ns:
            if self._slack_ns < self._period_ns:
                self._remember_period()
            self._forget()
            self._observe(asked_ns, answered_ns)
            return None
        least = int((asked_ns - self._newest_ns - doubt_ns) // self._period_ns)
        most = int((since_ns + doubt_ns) // self._period_ns)
        return least if least == most else None

    def _remember_period(self) -> None:
        self._nominal_ns = self._period_ns
        self._tolerance = _REMEMBERED_TOLERANCE

    def _forget(self) -> None:
        self._begin = self._end = 0
        self._slack_ns = float('inf')
        self._gap = False
        self._past.clear()
        self._bend_ns = 0.0

    def _observe(self, asked_ns: int, answered_ns: int) -> None:
        if self._end == len(self._counts):
            kept = slice(self._end - _MOST_OBSERVATIONS, self._end)
            for values in (self._counts, self._asked_ns, self._answered_ns):
                values[:_MOST_OBSERVATIONS] = values[kept]
            self._begin, self._end = 0, _MOST_OBSERVATIONS
        self._counts[self._end] = self._count
        self._asked_ns[self._end] = asked_ns
        self._answered_ns[self._end] = answered_ns
        self._end += 1
        if self._end - self._begin == 1:
            self._newest_ns = answered_ns - round(0.5 * self._period_ns)

    def _fit(self) -> None:
        answered_ns = int(self._answered_ns[self._end - 1])
        oldest = int(np.searchsorted(self._answered_ns[: self._end], answered_ns - _LONGEST_WINDOW_NS))
        self._begin = max(self._begin, oldest, self._end - _MOST_OBSERVATIONS)
        while self._end - self._begin >= _FEWEST_OBSERVATIONS:
            window = slice(self._begin, self._end)
            ages = (self._counts[window] - self._count).astype(np.float64)
            bend = 0.5 * self._bend_ns * ages**2
            before = self._asked_ns[window] - answered_ns - bend
            after = self._answered_ns[window] - answered_ns - bend
            spread = self._tolerance * self._nominal_ns
            period_ns, earliest, latest = _middle_line(
                ages, before, after, self._nominal_ns - spread, self._nominal_ns + spread
            )
            if latest > earliest:
                self._period_ns = period_ns
                self._slack_ns = latest - earliest
                self._transfer_ns = float((after - before).min())
                late = (_COUNT_IS_TAKEN - 0.5) * self._transfer_ns
                self._newest_ns = answered_ns + round(0.5 * (earliest + latest) + late)
                self._learn_drift(answered_ns)
                return
            self._begin += max(1, (self._end - self._begin) // 8)
        # So few: the phase is not known, or was wrong.
        self._newest_ns = answered_ns - round(0.5 * self._period_ns)
        self._slack_ns = float('inf')
        if self._tolerance < PERIOD_TOLERANCE and self._end - self._begin == _FEWEST_OBSERVATIONS - 1:
            self._tolerance = min(2.0 * self._tolerance, PERIOD_TOLERANCE)

    def _learn_drift(self, now_ns: int) -> None:
        if now_ns - int(self._answered_ns[self._begin]) < 0.5 * _LONGEST_WINDOW_NS:
            return  # the period is not known so well yet
        self._past.append((now_ns, self._count, self._period_ns))
        then_ns, count, period_ns = self._past[0]
        if now_ns - then_ns < _DRIFT_SPAN_NS or count == self._count:
            return
        largest = _LARGEST_DRIFT * self._nominal_ns * self._nominal_ns * 1e-9
        bend_ns = (self._period_ns - period_ns) / (self._count - count)
        self._bend_ns += _DRIFT_WEIGHT * (min(max(bend_ns, -largest), largest) - self._bend_ns)
        while now_ns - self._past[0][0] > _DRIFT_SPAN_NS:
            self._past.popleft()


def _middle_line(
    counts: NDArray[np.float64],
    asked: NDArray[np.float64],
    answered: NDArray[np.float64],
    shortest: float,
    longest: float,
) -> tuple[float, float, float]:
    """Find the period that leaves the phase the most room, and that room: the earliest and the latest time of count 0.

    Sample n was taken before ``answered`` and sample n + 1 after ``asked``. The room is a concave, piecewise linear
    function of the period; its maximum is where the tangents from both sides meet.
    """

    def room(period: float) -> tuple[float, float, float]:
        latest_of = answered - period * counts
        earliest_of = asked - period * (counts + 1.0)
        last, first = int(latest_of.argmin()), int(earliest_of.argmax())
        return float(earliest_of[first]), float(latest_of[last]), float(counts[first] + 1.0 - counts[last])

    left, right = shortest, longest
    at_left, at_right = room(left), room(right)
    if at_left[2] <= 0.0:
        return left, *at_left[:2]
    if at_right[2] >= 0.0:
        return right, *at_right[:2]
    middle, found = left, at_left
    for _ in range(24):
        room_left, room_right = at_left[1] - at_left[0], at_right[1] - at_right[0]
        middle = (room_right - room_left + at_left[2] * left - at_right[2] * right) / (at_left[2] - at_right[2])
        found = room(middle)
        meeting = room_left + at_left[2] * (middle - left)
        if found[2] == 0.0 or meeting - (found[1] - found[0]) < 1.0:  # nanosecond
            break
        if found[2] > 0.0:
            left, at_left = middle, found
        else:
            right, at_right = middle, found
    return middle, *found[:2]
