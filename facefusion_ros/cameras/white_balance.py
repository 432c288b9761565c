"""White balance of a camera with a control for it: what is grey on average shall look grey, and a colour sensor's word.

Works in mired (10⁶ / K), in which the ratio of red to blue of a black body is nearly a straight line: for linear sRGB
2.98 EV at CIE illuminant A (2856 K) and 0.70 EV at D50 (5003 K), 0.0153 EV per mired. The grey world is due to
G. Buchsbaum, A spatial processor model for object colour perception, Journal of the Franklin Institute 310 (1980).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.cameras.metering import LINEAR

if TYPE_CHECKING:
    from numpy.typing import NDArray

EV_PER_MIRED = 0.0153
_GREY_MIRED = 40.0
"""How far what a camera looks at is from grey on average, standard deviation."""
_SENSOR_MIRED = 20.0
"""As much for a sensor that does not tell its variance."""
_STALE_NS = 3_000_000_000
_LEAST_GREY = 0.05
"""Part of the picture that must be neither clipped nor dark nor colourful to be judged."""
_COLOURFUL_EV = 1.0
_DARK, _CLIPPED = 24, 240
HOLD_MIRED = 3.0
"""A smaller change is not worth one; the least that is seen in an adapted eye is about 5 mired."""


def cast_mired(few: NDArray[np.uint8]) -> float | None:
    """Return how much warmer than what its white balance was for the light of a picture looks; None where unclear.

    :param few: (rows, columns, 3) blue, green, red of 8 bits, sRGB-coded.
    """
    flat = few.reshape(-1, 3)
    fit = (flat.min(axis=1) > _DARK) & (flat.max(axis=1) < _CLIPPED)
    if fit.mean() < _LEAST_GREY:
        return None
    blue, green, red = np.log2(LINEAR[flat[fit]]).T
    ratio, tint = red - blue, (red + blue) / 2.0 - green
    middle = float(np.median(ratio))
    grey = (np.abs(ratio - middle) < _COLOURFUL_EV) & (np.abs(tint - np.median(tint)) < _COLOURFUL_EV)
    if grey.sum() < _LEAST_GREY * len(flat):
        return None
    return float(np.median(ratio[grey])) / EV_PER_MIRED


class WhiteBalance:
    """Chooses the colour temperature that a camera is to balance white for.

    :param kelvin_limits: what the camera's control goes through.
    :param speed: part of an error that is mended with each picture.
    """

    def __init__(self, kelvin_limits: tuple[float, float], speed: float = 0.05) -> None:
        self.speed = speed
        self._limits = kelvin_limits
        self._mired: float | None = None
        self._set: float | None = None
        self._sensor: tuple[int, float, float] | None = None

    @property
    def kelvin(self) -> float | None:
        """What the camera is set to; None before the first picture."""
        return None if self._set is None else 1e6 / self._set

    def observe_light(self, stamp_ns: int, kelvin: float, variance: float) -> None:
        """Take what a colour sensor says of the light: K and K², 0 where the variance is not known."""
        if not (math.isfinite(kelvin) and kelvin > 0.0):
            return
        mired = 1e6 / kelvin
        spread = math.sqrt(variance) * mired / kelvin if variance > 0.0 else _SENSOR_MIRED
        self._sensor = (stamp_ns, mired, spread)

    def observe_frame(self, stamp_ns: int, few: NDArray[np.uint8]) -> float | None:
        """Take a picture, (rows, columns, 3) blue, green, red; returns K to set where that is to change.

        The picture must have been taken with what was last returned; before that, it only shows that there is one.
        """
        sensor = self._sensor
        if sensor is not None and abs(stamp_ns - sensor[0]) > _STALE_NS:
            sensor = None
        wanted: list[tuple[float, float]] = []
        if sensor is not None:
            wanted.append((sensor[1], sensor[2] ** -2))
        cast = cast_mired(few) if self._set is not None else None
        if cast is not None and self._set is not None:
            wanted.append((self._set + cast, _GREY_MIRED**-2))
        if not wanted:
            if self._set is not None:
                return None
            wanted.append((1e6 / 5500.0, 1.0))
        goal = sum(mired * weight for mired, weight in wanted) / sum(weight for _, weight in wanted)
        self._mired = goal if self._mired is None else self._mired + self.speed * (goal - self._mired)
        low, high = 1e6 / self._limits[1], 1e6 / self._limits[0]
        self._mired = min(max(self._mired, low), high)
        if self._set is not None and abs(self._mired - self._set) < HOLD_MIRED:
            return None
        self._set = self._mired
        return 1e6 / self._set
