"""Which mains the lamps hang on: 50 or 60 Hz, by how pictures flicker.

Lamps flicker at twice the mains' frequency. A camera that takes its pictures at another pace sees the rows of its
pictures brighten and darken at the difference; where its pace is a whole part of the flicker, it sees nothing of it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAINS_HZ = (50.0, 60.0)
_BANDS = 8
_FRAMES = 48
_LEAST_BEAT_HZ = 2.0
_LEAST_EV = 0.01
_EXPLAINED = 0.5
"""Part of all change that the flicker must explain to be one."""
_LEAST_LIGHT = 1e-3


def beat_hz(mains_hz: float, rate_hz: float) -> float:
    """Return the frequency at which lamps on these mains seem to flicker at this frame rate."""
    flicker_hz = 2.0 * mains_hz
    return abs(flicker_hz - rate_hz * round(flicker_hz / rate_hz))


class Mains:
    """Watches bands of rows; begins with the mains that could not be seen at the camera's frame rate, if there are."""

    def __init__(self) -> None:
        self.hz = MAINS_HZ[0]
        """The mains, as far as can be told."""
        self._stamps_ns: deque[int] = deque(maxlen=_FRAMES)
        self._bands: deque[NDArray[np.float64]] = deque(maxlen=_FRAMES)
        self._begun = False

    def observe(self, stamp_ns: int, light: NDArray[np.float32], exposure_ev: float) -> None:
        """Take one frame.

        :param light: (rows, columns) linear luminance, which rolling shutters read from the top.
        :param exposure_ev: log2 of exposure time (s) times gain.
        """
        if self._stamps_ns and stamp_ns <= self._stamps_ns[-1]:
            self._stamps_ns.clear()
            self._bands.clear()
        rows = len(light) // _BANDS * _BANDS
        if not rows:
            return
        bands = light[:rows].reshape(_BANDS, -1).mean(axis=1, dtype=np.float64)
        self._stamps_ns.append(stamp_ns)
        self._bands.append(np.log2(np.maximum(bands, _LEAST_LIGHT)) - exposure_ev)
        if len(self._stamps_ns) == _FRAMES:
            self._look()
            for _ in range(_FRAMES // 2):
                self._stamps_ns.popleft()
                self._bands.popleft()

    def _look(self) -> None:
        times_s = (np.array(self._stamps_ns) - self._stamps_ns[0]) * 1e-9
        rate_hz = 1.0 / float(np.median(np.diff(times_s)))
        seen = [hz for hz in MAINS_HZ if beat_hz(hz, rate_hz) >= _LEAST_BEAT_HZ]
        if not self._begun:
            self._begun = True
            self.hz = next((hz for hz in MAINS_HZ if hz not in seen), self.hz)
        # What changes smoothly is no flicker: a parabola goes out first.
        smooth = np.stack([np.ones_like(times_s), times_s, times_s**2], axis=1)
        bands = np.array(self._bands)
        bands -= smooth @ np.linalg.lstsq(smooth, bands, rcond=None)[0]
        everything = float((bands**2).sum())
        strengths = {hz: _power(times_s, bands, 2.0 * hz) for hz in seen}
        if not strengths or everything == 0.0:
            return
        hz = max(strengths, key=lambda each: strengths[each])
        amplitude_ev = math.sqrt(2.0 * strengths[hz] / bands.size)
        others = max((strength for each, strength in strengths.items() if each != hz), default=0.0)
        if amplitude_ev > _LEAST_EV and strengths[hz] > max(_EXPLAINED * everything, 2.0 * others):
            self.hz = hz


def _power(times_s: NDArray[np.float64], bands: NDArray[np.float64], flicker_hz: float) -> float:
    """Return how much of the sum of squares of (frames, bands) a sine of this frequency takes away."""
    phase = 2.0 * np.pi * flicker_hz * times_s
    sines = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    found = sines @ np.linalg.lstsq(sines, bands, rcond=None)[0]
    return float((found**2).sum())
