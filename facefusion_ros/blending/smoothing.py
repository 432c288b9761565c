"""Landmarks freed of their jitter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facefusion_ros.faces.alignment import apply, similarity

Floats = NDArray[np.float64]

_FIRST = 10
"""So many measurements count equally. What is wrong with later ones is wrong for long: better a still error."""

_FAR_PX = 1.5
"""Nor is one far off who is less than this away: a detector's noise does not shrink with the face."""


@dataclass(frozen=True, slots=True)
class SmoothingSettings:
    """Cutoffs of the filters: at rest, and by how much more a second of speed opens them."""

    least_hz: float = 0.006
    """At rest; lower is steadier."""
    opening: float = 0.4
    """Hz per width of the face (or radian, or e-fold of its size) per second; higher lags less."""
    carried: float = 0.8
    """Hz per width of the face per second by which it was expected to move: what shakes while it moves is not seen."""
    speed_hz: float = 1.0
    """Of the speed itself."""
    far: float = 0.008
    """Widths of the face (or radians, or e-folds): who is further off is not waited for."""
    far_hz: float = 8.0
    """By how much the cutoff rises with every such distance more."""


class Steady:
    """1 euro filter (Casiez, Roussel and Vogel, CHI 2012) of one face's similarity, about where it was expected.

    Place, angle, size, and the shape that is none of these each have one cutoff, which rises with the speed at which
    the measured face moves other than expected, and where it is far from what the filter says. What is expected is what
    was said last, moved by all that is known of the motion since: so only what is not known has to be filtered. The
    first measurements count equally, as in a mean.
    """

    def __init__(self, landmarks: Floats) -> None:
        self.landmarks = landmarks
        """(5, 2) as they are now taken to be, pixels."""
        self._off = np.zeros(5)
        self._speeds = np.zeros(5)
        self._carried = 0.0
        self._count = 1

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
        shape = (measured - apply(change, expected)) / width
        off = np.array([shift[0], shift[1], angle, growth, math.sqrt(float((shape**2).mean()))])
        self._speeds += _share(settings.speed_hz, dt_s) * ((off - self._off) / dt_s - self._speeds)
        speeds, far = np.abs(self._speeds), np.abs(off)
        speeds[:2], far[:2] = math.hypot(speeds[0], speeds[1]), math.hypot(far[0], far[1])
        self._count += 1
        carried = math.sqrt(float(((expected - self.landmarks) ** 2).sum(axis=1).mean())) / (width * dt_s)
        self._carried += _share(settings.speed_hz, dt_s) * (carried - self._carried)
        cutoffs_hz = settings.least_hz + settings.opening * speeds + settings.carried * self._carried
        cutoffs_hz += settings.far_hz * np.maximum(far / max(settings.far, _FAR_PX / width) - 1.0, 0.0)
        least = 1.0 / self._count if self._count <= _FIRST else 0.0
        shares = np.array([max(_share(float(cutoff_hz), dt_s), least) for cutoff_hz in cutoffs_hz])
        shift_x, shift_y, angle, growth = (float(value) for value in shares[:4] * off[:4])
        cos, sin = math.exp(growth) * math.cos(angle), math.exp(growth) * math.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        moved = (expected - middle) @ linear.T + middle + width * np.array([shift_x, shift_y])
        self.landmarks = moved + shares[4] * width * shape
        self._off = (1.0 - shares) * off


def _share(cutoff_hz: float, dt_s: float) -> float:
    """How much of a new value a low pass of the first order takes."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff_hz * dt_s))
