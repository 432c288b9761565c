"""The gyro's calibration while running: from the turns of the last ten seconds, kept while the camera is at rest."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.blending.gyro_calibration import (
    LEAST_SCALE,
    LEAST_TURNS,
    MOST_SCALE,
    Calibration,
    TooLittleMotionError,
    Turns,
    refine,
    search,
    within,
)
from facefusion_ros.blending.motion import GyroAngle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.blending.motion import Rotations

WINDOW = 300
"""Turns that are fitted: 10 s at 30 turns per second."""
UPDATED_AFTER = 5
SEARCHED_AFTER = 15
_LONGEST_NS = 120_000_000
"""Turns over longer than this, where frames were lost, are left out."""

# What is known well enough to be used.
_OFFSET_SIGMA_S = 2e-3
_ROTATION_SIGMA_RAD = math.radians(2.0)
_BIAS_SIGMA_RAD_S = math.radians(0.5)
# By how much a sigma grows in the square root of a second: clocks, mountings and biases drift.
_OFFSET_DRIFT_S = 5e-5
_ROTATION_DRIFT_RAD = math.radians(0.02)
_BIAS_DRIFT_RAD_S = math.radians(0.005)


class SelfCalibration:
    """Takes turns one by one; ``calibration`` is the best known of each part at any time."""

    def __init__(self, start: Calibration) -> None:
        """Start from what is known; infinite sigmas say that it may be quite wrong."""
        self.calibration = start
        self._begin_ns = np.zeros(WINDOW, np.int64)
        self._end_ns = np.zeros(WINDOW, np.int64)
        self._vectors = np.zeros((WINDOW, 3))
        self._count = 0
        self._updated_ns = 0

    def add(self, begin_ns: int, end_ns: int, vector: NDArray[np.float64], rotations: Rotations) -> None:
        """Take a turn (3,) that the picture shows, rad in the optical frame; every fifth updates the calibration."""
        if not 0 < end_ns - begin_ns <= _LONGEST_NS:
            return
        if self._count and begin_ns < self._end_ns[(self._count - 1) % WINDOW]:
            self._count = 0  # the clock was set back, or a bag began anew
        place = self._count % WINDOW
        self._begin_ns[place], self._end_ns[place], self._vectors[place] = begin_ns, end_ns, vector
        self._count += 1
        if self._count % UPDATED_AFTER == 0 and self._count >= LEAST_TURNS:
            self._update(rotations)

    @property
    def settled(self) -> bool:
        """Whether the time offset is known: from then on it is enough to hear of every second turn."""
        return math.isfinite(self.calibration.time_offset_sigma_s)

    def _update(self, rotations: Rotations) -> None:
        kept = min(self._count, WINDOW)
        turns = Turns(self._begin_ns[:kept], self._end_ns[:kept], self._vectors[:kept])
        oldest_ns, newest_ns = int(turns.begin_ns.min()), int(turns.end_ns.max())
        stamps_ns, rates = rotations.snapshot(oldest_ns - 200_000_000, newest_ns + 200_000_000)
        if len(stamps_ns) < 2:
            return
        gyro = GyroAngle(stamps_ns, rates)
        # The latest turns' readings may still be on their way.
        covered = within(turns, gyro, abs(self.calibration.time_offset_s) + 0.02)
        if int(covered.sum()) < LEAST_TURNS:
            return
        turns = Turns(turns.begin_ns[covered], turns.end_ns[covered], turns.vectors[covered])
        if self.settled:
            # Near the answer one step of Gauss and Newton's method is enough, and the next update makes another.
            found = refine(turns, gyro, replace(self.calibration, scale=1.0), iterations=1)
        elif self._count % SEARCHED_AFTER == 0:
            everywhere = within(turns, gyro)
            chosen = Turns(turns.begin_ns[everywhere], turns.end_ns[everywhere], turns.vectors[everywhere])
            if len(chosen.begin_ns) < LEAST_TURNS:
                return
            try:
                found = refine(chosen, gyro, search(chosen, gyro))
            except TooLittleMotionError:
                found = refine(chosen, gyro, replace(self.calibration, scale=1.0), iterations=2)
        else:
            return
        self._adopt(found, 1e-9 * max(newest_ns - self._updated_ns, 0) if self._updated_ns else 0.0)
        self._updated_ns = newest_ns

    def _adopt(self, found: Calibration, elapsed_s: float) -> None:
        """Take each part of what was found that is known better than what is held."""
        held = self.calibration
        offset_sigma = math.hypot(held.time_offset_sigma_s, _OFFSET_DRIFT_S * math.sqrt(elapsed_s))
        rotation_sigma = math.hypot(held.rotation_sigma_rad, _ROTATION_DRIFT_RAD * math.sqrt(elapsed_s))
        bias_sigma = math.hypot(held.gyro_bias_sigma_rad_s, _BIAS_DRIFT_RAD_S * math.sqrt(elapsed_s))
        taken = replace(
            held,
            scale=found.scale,
            noise_rad=found.noise_rad,
            time_offset_sigma_s=offset_sigma,
            rotation_sigma_rad=rotation_sigma,
            gyro_bias_sigma_rad_s=bias_sigma,
        )
        # Where the picture shows another motion than the gyro's, as inside a vehicle, nothing is learned of either.
        alike = LEAST_SCALE <= found.scale <= MOST_SCALE
        if alike and found.time_offset_sigma_s <= min(offset_sigma, _OFFSET_SIGMA_S):
            taken = replace(taken, time_offset_s=found.time_offset_s, time_offset_sigma_s=found.time_offset_sigma_s)
        if alike and found.rotation_sigma_rad <= min(rotation_sigma, _ROTATION_SIGMA_RAD):
            taken = replace(taken, r_optical_imu=found.r_optical_imu, rotation_sigma_rad=found.rotation_sigma_rad)
        if alike and found.gyro_bias_sigma_rad_s <= min(bias_sigma, _BIAS_SIGMA_RAD_S):
            taken = replace(taken, gyro_bias=found.gyro_bias, gyro_bias_sigma_rad_s=found.gyro_bias_sigma_rad_s)
        self.calibration = taken
