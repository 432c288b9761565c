"""Whether an I2C bus is fast enough for what is asked of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from facefusion_ros.sensors.bus import Bus

MOST = 0.7
"""Part of the bus' time that one chip may take without harm to itself and to others."""
_FASTER = "speed up the bus (Raspberry Pi: 'dtparam=i2c_arm_baudrate=400000' in config.txt)"


class BusLoad:
    """The part of the time that a bus is in use for one chip, measured from one report to the next.

    :param clock: seconds.
    """

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._since_s = clock()
        self._busy_s = bus.busy_s
        self._load = 0.0

    def measure(self) -> float:
        """Return the load since the last call, 0 to 1; the same again where no time has passed."""
        now_s, busy_s = self._clock(), self._bus.busy_s
        if now_s > self._since_s:
            self._load = (busy_s - self._busy_s) / (now_s - self._since_s)
        self._since_s, self._busy_s = now_s, busy_s
        return self._load


def too_slow(sensor: str, load: float) -> str:
    """Say what to do where a sensor takes too much of its bus; an empty string where it does not."""
    return f'the {sensor} takes {load:.0%} of the bus: {_FASTER} or ask for fewer readings' if load > MOST else ''
