"""Landmarks freed of their jitter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facefusion_ros.faces.alignment import apply, similarity

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SmoothingSettings:
    """Cutoffs of the filters: at rest, and by how much more a second of speed opens them."""

    least_hz: float = 0.5
    """At rest; lower is steadier."""
    opening: float = 6.0
    """Hz per width of the face (or radian, or e-fold of its size) per second; higher lags less."""
    speed_hz: float = 1.0
    """Of the speed itself."""
    shape_hz: float = 0.5
    """Of what is no motion of the face as a whole: expressions, and the detector's mistakes."""


class Steady:
    """1 euro filter (Casiez, Roussel and Vogel, CHI 2012) of one face's similarity, about where it was expected.

    Place, angle and size each have one cutoff, which rises with the speed at which the face leaves where it was
    expected. What was expected is what the filter said last, moved by all that is known of the motion since: so only
    what is not known has to be filtered.
    """

    def __init__(self, landmarks: Floats) -> None:
        self.landmarks = landmarks
        """(5, 2) as they are now taken to be, pixels."""
        self._speeds = np.zeros(4)

    def follow(self, expected: Floats, measured: Floats, dt_s: float, settings: SmoothingSettings) -> None:
        """Take measured landmarks (5, 2) where expected (5, 2) were, dt_s after the last; pixels."""
        try:
            change = similarity(expected, measured)
        except ValueError:
            self.landmarks = measured
            return
        middle = expected.mean(axis=0)
        width = max(float(np.ptp(expected, axis=0).max()) * 1.6, 1.0)
        shift = (change[:, :2] @ middle + change[:, 2] - middle) / width
        angle = math.atan2(change[1, 0], change[0, 0])
        growth = math.log(math.hypot(change[0, 0], change[1, 0]))
        rest = np.array([shift[0], shift[1], angle, growth])
        self._speeds += _share(settings.speed_hz, dt_s) * (rest / dt_s - self._speeds)
        along = math.hypot(self._speeds[0], self._speeds[1])
        speeds = np.array([along, along, abs(self._speeds[2]), abs(self._speeds[3])])
        shares = np.array([_share(settings.least_hz + settings.opening * float(speed), dt_s) for speed in speeds])
        shift_x, shift_y, angle, growth = (float(value) for value in shares * rest)
        cos, sin = math.exp(growth) * math.cos(angle), math.exp(growth) * math.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        moved = (expected - middle) @ linear.T + middle + width * np.array([shift_x, shift_y])
        shape = measured - apply(change, expected)
        self.landmarks = moved + _share(settings.shape_hz, dt_s) * shape


def _share(cutoff_hz: float, dt_s: float) -> float:
    """How much of a new value a low pass of the first order takes."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff_hz * dt_s))
