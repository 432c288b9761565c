"""When a chip took its samples, told from their count and not from when a program woke up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = (5.0**0.5 - 1.0) / 2.0
"""Whose multiples spread most evenly over one turn."""

PERIOD_TOLERANCE = 0.04
"""How far a chip's period may be from its nominal one (as in Linux drivers/iio/common/inv_sensors)."""

_REMEMBERED_TOLERANCE = 1e-3
"""How far a period may have moved while the beat was lost."""
_MOST_OBSERVATIONS = 384
_LONGEST_WINDOW_NS = 6e9
_FEWEST_OBSERVATIONS = 6
_LOCKED_PERIODS = 0.05
_CERTAIN = 3.0
_SLICES = np.linspace(0.0, 1.0, 9)
_DRIFT_SPAN_NS = 4e9
_DRIFT_WEIGHT = 1.0 / 256.0
_LARGEST_DRIFT = 2e-4
"""Of the period, per second: twice what a chip does that warms up by 1 K a second."""
_CONTRADICTED_PERIODS = 0.05
_LOST_PERIODS = 5.0
_LARGEST_DOUBT = 0.45
# A chip tells its count in the last two of the transfer's five bytes.
_COUNT_IS_TAKEN = 0.6
_CORRECTION_WEIGHT = 1.0 / 64.0


class ChipClock:
    """A phase-locked loop that learns a chip's sample period and phase from how many samples are there when.

    When a chip is found to hold its n-th sample and not yet the next, the n-th was taken before the answer came, and
    the next will be after the question was asked. Both hold however long the program slept or the bus took, so that a
    late or slow read says less but never anything wrong. The loop takes the mean of all straight lines from count to
    time that no read of the last seconds contradicts; with n reads at evenly spread phases these leave some 1/n of a
    period open, where an average of ages would leave 1/sqrt(n). A steady drift of the chip's oscillator, as while it
    warms up, is learned from the period's own past and bends the lines; when it changes so that no line is left, the
    oldest reads are forgotten.

    The method is that of clock synchronisation between two hosts by the convex hull of message delays: A. Duda and
    others, "Estimating global time in distributed systems", ICDCS 1987.

    :param period_s: the nominal period.
    :param ahead: number of samples for which the beat has to hold without a further read.
    """

    def __init__(self, period_s: float, ahead: int = 8) -> None:
        self._ahead = float(ahead)
        self._nominal_ns = period_s * 1e9
        self._period_ns = self._nominal_ns
        self._tolerance = PERIOD_TOLERANCE
        self._counts = np.zeros(2 * _MOST_OBSERVATIONS, np.int64)
        self._asked_ns = np.zeros(2 * _MOST_OBSERVATIONS, np.int64)
        self._answered_ns = np.zeros(2 * _MOST_OBSERVATIONS, np.int64)
        self._begin = self._end = 0
        self._count = 0
        self._newest_ns = 0
        self._lines = _UNKNOWN
        self._steady = False
        self._transfer_ns = 0.0
        self._correction = 0.0
        self._gap = False
        self._past: deque[tuple[int, int, float]] = deque()
        self._bend_ns = 0.0

    @property
    def locked(self) -> bool:
        """True once stamps are good to some hundredths of a period, until the count or the beat is lost."""
        return self._steady and not self._gap

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
        if self._steady:
            self._remember_period()
        self._forget()

    def contradicts(self, samples: int, asked_ns: int, answered_ns: int) -> bool:
        """Tell whether so many new samples cannot be; the times are those of the transfer that told the number."""
        if not self.locked:
            return False
        newest_ns = samples * self._period_ns - (answered_ns - self._newest_ns)
        doubt_ns = _CERTAIN * self._lines.doubt(max(samples, 0))
        spare_ns = min(_CONTRADICTED_PERIODS * self._period_ns + doubt_ns, _LARGEST_DOUBT * self._period_ns)
        return newest_ns > spare_ns or newest_ns + self._period_ns < asked_ns - answered_ns - spare_ns

    def advance(self, samples: int, asked_ns: int, answered_ns: int) -> None:
        """Count new samples: between the two times, the last of them was there and no newer one."""
        if answered_ns < asked_ns:
            return  # somebody set the host's clock just now
        if self._end == self._begin:
            self._observe(asked_ns, answered_ns)
            return
        since_ns = answered_ns - self._newest_ns
        early_ns = samples * self._period_ns - since_ns
        late_ns = asked_ns - self._newest_ns - (samples + 1) * self._period_ns
        if self._gap or self.contradicts(samples, asked_ns, answered_ns):
            found = self._periods_since(asked_ns, answered_ns)
            if found is None:
                return  # the beat before or after is as likely; the next read tells
            samples = found
        elif max(early_ns, late_ns) > _LOST_PERIODS * self._period_ns + abs(since_ns) * self._tolerance:
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
        doubt_ns = _CERTAIN * self._lines.doubt(since_ns / self._period_ns)
        if since_ns < 0 or not doubt_ns < _LARGEST_DOUBT * self._period_ns:
            self.lose_beat()
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
        self._lines = _UNKNOWN
        self._steady = False
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
        enough = self._end - self._begin >= _FEWEST_OBSERVATIONS
        while self._end - self._begin >= _FEWEST_OBSERVATIONS:
            window = slice(self._begin, self._end)
            ages = (self._counts[window] - self._count).astype(np.float64)
            bend = 0.5 * self._bend_ns * ages**2
            before = self._asked_ns[window] - answered_ns - bend
            after = self._answered_ns[window] - answered_ns - bend
            spread = self._tolerance * self._nominal_ns
            lines = _lines_through(ages, before, after, self._nominal_ns - spread, self._nominal_ns + spread)
            if lines is not None:
                self._lines = lines
                self._period_ns = lines.period_ns
                self._transfer_ns = float((after - before).min())
                late = (_COUNT_IS_TAKEN - 0.5) * self._transfer_ns
                self._newest_ns = answered_ns + round(lines.newest_ns + late)
                good = lines.doubt(self._ahead) < _LOCKED_PERIODS * self._period_ns + 0.5 * self._transfer_ns
                self._steady = self._steady or good
                self._learn_drift(answered_ns)
                return
            self._begin += max(1, (self._end - self._begin) // 8)
        # So few: the phase is not known, or was wrong.
        self._newest_ns = answered_ns - round(0.5 * self._period_ns)
        self._lines = _UNKNOWN
        self._steady = False
        if enough:  # and no line fits: perhaps the period has moved
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


@dataclass(frozen=True, slots=True)
class _Lines:
    """Mean and covariance of straight lines from count to time: time of count 0, and period."""

    newest_ns: float
    period_ns: float
    phase_variance: float
    covariance: float
    period_variance: float

    def doubt(self, counts: float) -> float:
        """Return the standard deviation of the time of a later count, nanoseconds."""
        variance = self.phase_variance + counts * (2.0 * self.covariance + counts * self.period_variance)
        return float(max(variance, 0.0) ** 0.5)


_UNKNOWN = _Lines(0.0, 0.0, float('inf'), 0.0, 0.0)


def _lines_through(
    counts: NDArray[np.float64],
    asked: NDArray[np.float64],
    answered: NDArray[np.float64],
    shortest: float,
    longest: float,
) -> _Lines | None:
    """Find the lines that no observation contradicts; None where there are none.

    Sample n was taken before ``answered`` and sample n + 1 after ``asked``. For one period, these leave the time of
    count 0 some room, a concave, piecewise linear function of the period. Newton's method finds where it ends on both
    sides; from outside of a concave function it does not overshoot.
    """

    def room(period: float) -> tuple[float, float]:
        latest_of = answered - period * counts
        earliest_of = asked - period * (counts + 1.0)
        last, first = int(latest_of.argmin()), int(earliest_of.argmax())
        return float(latest_of[last] - earliest_of[first]), float(counts[first] + 1.0 - counts[last])

    ends = []
    for start, towards in ((shortest, 1.0), (longest, -1.0)):
        period = start
        for _ in range(30):
            left, slope = room(period)
            if left > -1.0:  # nanosecond
                break
            if slope * towards <= 0.0:
                return None
            period -= left / slope
        ends.append(period)
    if ends[0] > ends[1]:
        return None
    periods = ends[0] + (ends[1] - ends[0]) * _SLICES
    latest = (answered - periods[:, np.newaxis] * counts).min(axis=1)
    earliest = (asked - periods[:, np.newaxis] * (counts + 1.0)).max(axis=1)
    width = np.maximum(latest - earliest, 0.0) + 1e-3
    weight = width / width.sum()
    middle = 0.5 * (latest + earliest)
    newest, period = float(weight @ middle), float(weight @ periods)
    return _Lines(
        newest,
        period,
        float(weight @ ((middle - newest) ** 2 + width**2 / 12.0)),
        float(weight @ ((middle - newest) * (periods - period))),
        float(weight @ (periods - period) ** 2),
    )
