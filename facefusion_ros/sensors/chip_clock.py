"""When a chip took its samples, told from their count and not from when a program woke up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = (5.0**0.5 - 1.0) / 2.0
"""Reads spaced by a whole number of sample periods plus this part meet the chip's samples at evenly spread phases."""

PERIOD_TOLERANCE = 0.04
"""How far a chip's period may be from its nominal one (as in Linux drivers/iio/common/inv_sensors)."""

_LOCKED_PERIODS = 0.1
_LOST_PERIODS = 5.0
_LARGEST_DOUBT = 0.4
# Variances, in periods squared: an observation is evenly distributed over one period, a chip is off by 2 % or so, and
# its oscillator drifts with its temperature, some 20 ppm in 10 s at 200 Hz.
_OBSERVATION = 1.0 / 12.0
_FIRST_PERIOD = 0.02**2
_DRIFT_PER_SAMPLE = 3e-13


class ChipClock:
    """A phase-locked loop that learns a chip's sample period and phase from how many samples are there when.

    When a buffer is found to hold its n-th sample and not yet the next, that sample is between 0 and 1 period old,
    half a period on average. A Kalman filter of phase and period averages that out: it is quick at first, then slow.
    """

    def __init__(self, period_s: float) -> None:
        self._nominal_ns = period_s * 1e9
        self._period_ns = self._nominal_ns
        self._origin_ns = 0
        self._last_ns = 0.0  # the newest sample, relative to the origin: a float cannot hold it exactly otherwise
        self._phase_variance = _OBSERVATION
        self._covariance = 0.0
        self._period_variance = _FIRST_PERIOD
        self._origin_known = False
        self._gap = False

    @property
    def locked(self) -> bool:
        """True once stamps are good to a tenth of a period (standard deviation)."""
        return not self._gap and self._phase_variance < _LOCKED_PERIODS**2

    @property
    def period_s(self) -> float:
        """The chip's own sample period, seconds."""
        return self._period_ns * 1e-9

    def lose_count(self) -> None:
        """Tell that samples went by uncounted."""
        self._gap = True

    def advance(self, samples: int, found_ns: int, *, trusted: bool = True) -> None:
        """Count new samples, the newest of which was there at ``found_ns`` and no newer one.

        :param trusted: False where it is not known well when the samples were counted; they are then only counted.
        """
        measured_ns = found_ns - self._origin_ns - 0.5 * self._period_ns
        if not self._origin_known:
            self._relock(found_ns)
            return
        if self._gap:
            # The chip kept its beat: the newest sample is on the beat nearest to where it is expected.
            samples = round((measured_ns - self._last_ns) / self._period_ns)
        self._predict(samples)
        error = (measured_ns - self._last_ns) / self._period_ns
        doubt = 3.0 * self._phase_variance**0.5
        if abs(error) > _LOST_PERIODS or (self._gap and doubt > _LARGEST_DOUBT):
            self._relock(found_ns)  # somebody set the host's clock, or the beat could not be kept so long
        elif self._gap and abs(error) > 0.5 - doubt:
            return  # the beat before or after is as likely; the next read tells
        elif trusted:
            self._gap = False
            self._correct(error * self._period_ns)

    def stamps(self, samples: int) -> NDArray[np.int64]:
        """Return when the newest samples were taken, (samples,) nanoseconds, oldest first."""
        ages = np.arange(samples - 1, -1, -1) * self._period_ns
        return np.asarray(np.rint(self._last_ns - ages), np.int64) + self._origin_ns

    def _predict(self, samples: int) -> None:
        self._last_ns += samples * self._period_ns
        self._phase_variance += samples * (2.0 * self._covariance + samples * self._period_variance)
        self._covariance += samples * self._period_variance
        self._period_variance += abs(samples) * _DRIFT_PER_SAMPLE

    def _correct(self, error_ns: float) -> None:
        innovation = self._phase_variance + _OBSERVATION
        phase_gain = self._phase_variance / innovation
        period_gain = self._covariance / innovation
        self._last_ns += phase_gain * error_ns
        span_ns = PERIOD_TOLERANCE * self._nominal_ns
        period_ns = self._period_ns + period_gain * error_ns
        self._period_ns = min(max(period_ns, self._nominal_ns - span_ns), self._nominal_ns + span_ns)
        self._period_variance -= period_gain * self._covariance
        self._covariance -= phase_gain * self._covariance
        self._phase_variance -= phase_gain * self._phase_variance

    def _relock(self, found_ns: int) -> None:
        self._origin_ns = found_ns
        self._last_ns = -0.5 * self._period_ns
        self._phase_variance = _OBSERVATION
        self._covariance = 0.0
        self._origin_known = True
        self._period_variance = _FIRST_PERIOD
        self._gap = False
