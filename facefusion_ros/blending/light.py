"""Steps of the ambient light, found in an illuminance sensor's readings."""

from __future__ import annotations

import math
from collections import deque

WINDOW_NS = 300_000_000
SLOW_SENSOR_NS = 1_500_000_000
FLOOR_LUX = 1.0
"""Added to every reading, so that the last digit of a sensor in the dark is no step."""


class LightSteps:
    """Finds steps: a change by more than a ratio within 0.3 s, or between neighbours of a slower sensor.

    Without readings, or with readings that are not numbers, there are no steps and nothing else happens.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=32)
        self.latest_ns: int | None = None
        """Stamp of the reading that completed the latest step."""

    def observe(self, stamp_ns: int, lux: float, ratio: float) -> bool:
        """Take one reading in lux; whether it completes a step by more than ratio (above 1)."""
        if not math.isfinite(lux) or lux < 0.0:
            return False
        recent = self._recent
        if recent and stamp_ns < recent[-1][0]:
            recent.clear()  # the clock was set back, or a bag began anew
        while len(recent) > 1 and stamp_ns - recent[0][0] > WINDOW_NS:
            recent.popleft()
        if recent and stamp_ns - recent[0][0] > SLOW_SENSOR_NS:
            recent.clear()
        level = math.log(lux + FLOOR_LUX)
        step = any(abs(level - earlier) > math.log(ratio) for _, earlier in recent)
        if step:
            recent.clear()  # one step is told once
            self.latest_ns = stamp_ns
        recent.append((stamp_ns, level))
        return step
