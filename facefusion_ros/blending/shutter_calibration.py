"""How long a rolling shutter takes from the first row to the last, from matches of pictures and a gyro.

While the rows are exposed one after the other, the camera turns on. What a match's rows add to its motion the gyro
tells but for one factor, the read-out time: the same for all matches of all frames. A turn that does not change from
frame to frame says nothing of it, for it bends both pictures alike; shaking does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.gyro_calibration import Calibration, Turns, calibrate
from facefusion_ros.blending.median import median
from facefusion_ros.blending.motion import GyroAngle, Shutter
from facefusion_ros.blending.visual_turn import field, rays_of, row_turns, turn_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.blending.visual_turn import Matches
    from facefusion_ros.frames.intrinsics import Intrinsics

LEAST_READOUT_S = 5e-4
"""A shutter that reads out faster is taken for a global one: 0.2 px at 30 degrees per second (f = 800 px)."""
MOST_SIGMA_S = 1e-3
_MOST_READOUT_S = 0.1
_ROUNDS = 12
"""Each leaves up to half of what was wrong, since the time offset makes up for some of it."""
_CERTAIN = 4.0
_ODD = 3.0
_LEAST_SPREAD_PX = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two frames, one after the other."""

    begin_ns: int
    """Stamp of the earlier frame."""
    end_ns: int
    """Stamp of the later frame."""
    matches: Matches


@dataclass(frozen=True, slots=True, eq=False)
class ShutterCalibration:
    """Gyro to camera, and the camera's shutter."""

    calibration: Calibration
    turns: Turns
    """What it was found from."""
    readout_s: float
    """From the first row to the last, negative where the last comes first; 0 where it cannot be told from 0."""
    readout_sigma_s: float
    """One standard deviation, by the noise of the matches alone."""


def calibrate_shutter(
    pairs: Sequence[Pair], camera: Intrinsics, stamps_ns: NDArray[np.int64], rates: NDArray[np.float64]
) -> ShutterCalibration:
    """Estimate the read-out time together with time offset, rotation and bias.

    stamps_ns (m,), ns, and rates (m, 3), rad/s in the IMU frame, are the gyro's readings. By turns what the rows add is
    taken from the matches, the gyro is calibrated to them, and the read-out time is improved by a step of Gauss and
    Newton's method, with Cauchy's weights. The model is that of Karpenko et al., "Digital video stabilization and
    rolling shutter correction using gyroscopes", Stanford CSTR 2011-03. Raises TooLittleMotionError as ``calibrate``
    does.
    """
    turns = _turns(pairs, camera)
    found = calibrate(turns, stamps_ns, rates)
    as_global, readout_s, sigma_s = (found, turns), 0.0, math.inf
    for _ in range(_ROUNDS):
        gyro = _optical(found, stamps_ns, rates)
        step_s, sigma_s = _improve(pairs, camera, gyro, Shutter(camera.height, readout_s))
        readout_s = min(max(readout_s + step_s, -_MOST_READOUT_S), _MOST_READOUT_S)
        if not abs(readout_s) > max(LEAST_READOUT_S, _CERTAIN * sigma_s):
            return ShutterCalibration(*as_global, 0.0, sigma_s)
        turns = _turns(pairs, camera, gyro, Shutter(camera.height, readout_s))
        found = calibrate(turns, stamps_ns, rates)
        if abs(step_s) < sigma_s:
            break
    return ShutterCalibration(found, turns, readout_s, sigma_s)


def _turns(
    pairs: Sequence[Pair], camera: Intrinsics, gyro: GyroAngle | None = None, shutter: Shutter | None = None
) -> Turns:
    """Fit a turn to the matches of each pair, as seen while the middle row is where a shutter is given."""
    told = []
    for pair in pairs:
        rows = None
        if gyro is not None and shutter is not None:
            rows = row_turns(pair.matches, pair.begin_ns, pair.end_ns, gyro, shutter)
        turn = turn_of(pair.matches, camera, rows)
        if turn is not None:
            told.append((pair.begin_ns, pair.end_ns, turn))
    return Turns(
        np.array([begin for begin, _, _ in told], np.int64),
        np.array([end for _, end, _ in told], np.int64),
        np.array([turn for _, _, turn in told], np.float64).reshape(-1, 3),
    )


def _optical(found: Calibration, stamps_ns: NDArray[np.int64], rates: NDArray[np.float64]) -> GyroAngle:
    """Return the gyro as the camera would feel it, by its clock."""
    felt = found.scale * (rates - found.gyro_bias) @ found.r_optical_imu.T
    return GyroAngle(stamps_ns - round(found.time_offset_s * 1e9), felt)


def _improve(pairs: Sequence[Pair], camera: Intrinsics, gyro: GyroAngle, shutter: Shutter) -> tuple[float, float]:
    """Return by how much the read-out time should be longer, and its standard deviation, seconds.

    Of each pair the turn is free: only what differs from row to row counts.
    """
    gradient = curvature = 0.0
    for pair in pairs:
        matches, stamps_ns = pair.matches, (pair.begin_ns, pair.end_ns)
        rows = row_turns(matches, *stamps_ns, gyro, shutter)
        turn = turn_of(matches, camera, rows)
        if turn is None:
            continue
        before, after = rays_of(matches, camera, rows)
        seen = after @ cv2.Rodrigues(turn)[0].T
        flat = seen[:, :2] / seen[:, 2:]
        rest = before[:, :2] - flat
        begin_rate, end_rate = gyro.at((np.array(stamps_ns) - gyro.zero_ns) * 1e-9)[1]
        # For each second of read-out by these seconds later: half of one at the last row, as much earlier at the first.
        a_second = Shutter(camera.height, 1.0)
        begin_s, end_s = (a_second.delays_s(pixels[:, 1])[:, None] for pixels in (matches.before, matches.after))
        slopes = field(flat[:, 0], flat[:, 1])
        along = np.einsum('nij,nj->ni', slopes, end_s * end_rate - begin_s * begin_rate)
        lengths = np.hypot(rest[:, 0], rest[:, 1])
        spread = max(1.5 * median(lengths), _LEAST_SPREAD_PX * matches.pixel / camera.fx)
        weights = np.repeat(1.0 / (1.0 + (lengths / (_ODD * spread)) ** 2), 2)
        free = slopes.reshape(-1, 3)
        weighted = free.T * weights
        told = along.reshape(-1)
        told = told - free @ np.linalg.solve(weighted @ free + 1e-12 * np.eye(3), weighted @ told)
        gradient += float((told * weights) @ rest.reshape(-1)) / spread**2
        curvature += float((told * weights) @ told) / spread**2
    if not curvature > 0.0:
        return 0.0, math.inf
    return gradient / curvature, curvature**-0.5
