"""What gyro and camera have to do with each other: time offset, rotation and bias, from turns that both have seen.

A picture shows by how much the camera turned from one frame to the next. The gyro, integrated between the same two
times, shows it too: later by the time offset, in other axes, and with its bias added. No target is needed, only motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.blending.motion import GyroAngle, exponential_maps
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEARCH_S = 0.08
SEARCH_STEP_S = 0.004
LEAST_TURNS = 30
LEAST_LIKENESS = 0.6
"""Correlation of the picture's turns with the gyro's, below which they are not the same motion."""
LEAST_SCALE, MOST_SCALE = 0.5, 1.6
ITERATIONS = 6
LEAST_NOISE_RAD = 2e-5
"""The picture is never better than this, whatever its residuals say: some 0.02 px."""
_BIAS_SIGMA_RAD_S = math.radians(20.0)
_ROTATION_SIGMA_RAD = math.radians(30.0)
_OFFSET_SIGMA_S = 0.05
_SCALE_SIGMA = 0.2
_ODD = 3.0


class TooLittleMotionError(FacefusionError):
    """The picture and the gyro have not moved enough, or not together."""


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """How the camera turned between pairs of frames, as the pictures show."""

    begin_ns: NDArray[np.int64]
    """(n,) stamps of the earlier frames."""
    end_ns: NDArray[np.int64]
    """(n,) stamps of the later frames."""
    vectors: NDArray[np.float64]
    """(n, 3) rotation vectors in the optical frame, rad: the optical frame at the end to that at the beginning."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Gyro to camera; each sigma is one standard deviation."""

    time_offset_s: float
    """Stamp of a gyro reading minus stamp of a frame of the same moment."""
    r_optical_imu: NDArray[np.float64]
    """(3, 3) rotation of a vector from the IMU frame to the optical frame."""
    gyro_bias: NDArray[np.float64]
    """(3,) rad/s in the IMU frame."""
    scale: float = 1.0
    """How much of the gyro's turn the picture shows: 0 inside a vehicle; focal length and parallax are in it too."""
    time_offset_sigma_s: float = math.inf
    rotation_sigma_rad: float = math.inf
    """About the axis that is known worst."""
    gyro_bias_sigma_rad_s: float = math.inf
    """Of the axis that is known worst."""
    noise_rad: float = math.nan
    """Standard deviation of the pictures' turns from the gyro's, per axis."""


def search(turns: Turns, gyro: GyroAngle) -> Calibration:
    """Find where to start: the time offset whose turns are most alike, and the rotation that goes with it.

    Offsets to 80 ms are tried in steps of 4 ms; for each the rotation is the least-squares one (Kabsch, Acta
    Crystallographica A32, 1976), of both motions without their means, which takes the bias away. Raises
    TooLittleMotionError where none is alike.
    """
    begin_s, end_s = _seconds(turns, gyro)
    offsets = np.arange(-SEARCH_S, SEARCH_S + 1e-9, SEARCH_STEP_S)
    whole = gyro.at(end_s + offsets[:, None])[0] - gyro.at(begin_s + offsets[:, None])[0]
    chosen = np.ones(len(begin_s), bool)
    for _ in range(2):  # then without those that do not fit
        mean_felt, mean_seen = whole[:, chosen].mean(axis=1), turns.vectors[chosen].mean(axis=0)
        felt, seen = whole[:, chosen] - mean_felt[:, None], turns.vectors[chosen] - mean_seen
        u, singular, vt = np.linalg.svd(np.einsum('ni,mnj->mij', seen, felt))
        mirrored = np.linalg.det(u @ vt) < 0
        singular[mirrored, 2] *= -1.0
        power = np.sqrt((felt**2).sum(axis=(1, 2)) * float((seen**2).sum()))
        likeness = singular.sum(axis=1) / np.maximum(power, 1e-12)
        best = int(np.argmax(likeness))
        scale = float(singular[best].sum() / max(float((felt[best] ** 2).sum()), 1e-12))
        rotation = u[best] @ np.diag([1.0, 1.0, -1.0 if mirrored[best] else 1.0]) @ vt[best]
        rest = turns.vectors - mean_seen - scale * (whole[best] - mean_felt[best]) @ rotation.T
        lengths = np.sqrt((rest**2).sum(axis=1))
        chosen = lengths <= _ODD * float(np.median(lengths))
    if not (likeness[best] >= LEAST_LIKENESS and LEAST_SCALE <= scale <= MOST_SCALE):
        raise TooLittleMotionError(
            f'the picture does not show what the gyro feels (correlation {likeness[best]:.2f}, {scale:.2f} of the '
            'motion): turn the camera about all axes, at 20 degrees per second or more, before something that stands '
            'still'
        )
    bias = (mean_felt[best] - rotation.T @ mean_seen / scale) / float((end_s - begin_s).mean())
    return Calibration(float(offsets[best]), rotation, bias, scale)


def refine(turns: Turns, gyro: GyroAngle, start: Calibration, iterations: int = ITERATIONS) -> Calibration:
    """Fit time offset, rotation, bias and scale together, and say how well each is known.

    seen = scale R (felt(offset) - bias dt), by Gauss and Newton's method with Cauchy's weights; the formulation of
    Furgale, Rehder and Siegwart ("Unified temporal and spatial calibration for multi-sensor systems", IROS 2013) for
    rotations alone. The start holds, weakly, what the motion says nothing of. Where the pictures' errors are normal the
    sigmas are what they claim.
    """
    begin_s, end_s = _seconds(turns, gyro)
    dt = (end_s - begin_s)[:, None]
    offset, rotation, bias, scale = start.time_offset_s, start.r_optical_imu, start.gyro_bias, start.scale
    held = np.concatenate(
        ([_OFFSET_SIGMA_S], np.full(3, _ROTATION_SIGMA_RAD), np.full(3, _BIAS_SIGMA_RAD_S), [_SCALE_SIGMA])
    )
    jacobian = np.empty((len(dt), 3, 8))
    noise, normal = LEAST_NOISE_RAD, np.eye(8)
    for _ in range(iterations):
        end_angle, end_rate = gyro.at(end_s + offset)
        begin_angle, begin_rate = gyro.at(begin_s + offset)
        turned = scale * (end_angle - begin_angle - bias * dt) @ rotation.T
        rest = turns.vectors - turned
        lengths = np.sqrt((rest**2).mean(axis=1))
        noise = max(1.2 * float(np.median(lengths)), LEAST_NOISE_RAD)
        weights = 1.0 / (1.0 + (lengths / (3.0 * noise)) ** 2)
        jacobian[:, :, 0] = scale * (end_rate - begin_rate) @ rotation.T
        jacobian[:, :, 1:4] = -_crosses(turned)
        jacobian[:, :, 4:7] = -scale * dt[:, :, None] * rotation
        jacobian[:, :, 7] = turned / scale
        weighted = (jacobian * weights[:, None, None]).reshape(-1, 8)
        normal = weighted.T @ jacobian.reshape(-1, 8) / noise**2 + np.diag(held**-2)
        step = np.linalg.solve(normal, weighted.T @ rest.reshape(-1) / noise**2)
        offset += float(np.clip(step[0], -0.02, 0.02))
        rotation = exponential_maps(step[None, 1:4])[0] @ rotation
        bias = bias + step[4:7]
        scale = float(np.clip(scale + step[7], 0.1, 3.0))
    variance = np.linalg.inv(normal)
    return Calibration(
        time_offset_s=offset,
        r_optical_imu=rotation,
        gyro_bias=bias,
        scale=scale,
        time_offset_sigma_s=math.sqrt(variance[0, 0]),
        rotation_sigma_rad=math.sqrt(float(np.linalg.eigvalsh(variance[1:4, 1:4])[-1])),
        gyro_bias_sigma_rad_s=math.sqrt(float(np.linalg.eigvalsh(variance[4:7, 4:7])[-1])),
        noise_rad=noise,
    )


def calibrate(turns: Turns, stamps_ns: NDArray[np.int64], rates: NDArray[np.float64]) -> Calibration:
    """Estimate from turns and gyro readings (m,), ns, and (m, 3), rad/s in the IMU frame, whatever the mounting.

    Raises TooLittleMotionError where there are too few turns, or they say too little.
    """
    gyro = GyroAngle(stamps_ns, rates) if len(stamps_ns) > 1 else None
    covered = within(turns, gyro) if gyro is not None else np.zeros(0, bool)
    if gyro is None or int(covered.sum()) < LEAST_TURNS:
        raise TooLittleMotionError(
            f'only {int(covered.sum())} pairs of frames with gyro readings all along: {LEAST_TURNS} are needed; record '
            'pictures and imu/data_raw together for 10 s'
        )
    chosen = Turns(turns.begin_ns[covered], turns.end_ns[covered], turns.vectors[covered])
    return refine(chosen, gyro, search(chosen, gyro), iterations=15)


def within(turns: Turns, gyro: GyroAngle, margin_s: float = SEARCH_S) -> NDArray[np.bool_]:
    """(n,) which turns the gyro's readings cover at any offset that is tried."""
    begin_s, end_s = _seconds(turns, gyro)
    first, last = gyro.span_s
    covered: NDArray[np.bool_] = (begin_s - margin_s >= first) & (end_s + margin_s <= last)
    return covered


def _seconds(turns: Turns, gyro: GyroAngle) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return _since(turns.begin_ns, gyro.zero_ns), _since(turns.end_ns, gyro.zero_ns)


def _since(stamps_ns: NDArray[np.int64], zero_ns: int) -> NDArray[np.float64]:
    return np.asarray(stamps_ns - zero_ns, np.float64) * 1e-9


def _crosses(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3, 3) matrices of the cross product from the left."""
    crosses = np.zeros((len(vectors), 3, 3))
    crosses[:, 2, 1], crosses[:, 0, 2], crosses[:, 1, 0] = vectors.T
    crosses[:, 1, 2], crosses[:, 2, 0], crosses[:, 0, 1] = -vectors.T
    return crosses
