"""Where the camera's own rotation moved the picture, from the gyro."""

from __future__ import annotations

import math
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from facefusion_ros.frames.intrinsics import Intrinsics

CAPACITY = 2048
MAX_EXTRAPOLATION_NS = 30_000_000
MAX_GAP_NS = 60_000_000
MAX_INTERVAL_NS = 500_000_000
MAX_RATE_RAD_S = 35.0
"""2000 degrees per second, the full scale of the common MEMS gyros."""
MAX_TURN_RAD = math.radians(30.0)
CLOCK_SET_BACK_NS = 500_000_000


class Rotations:
    """The latest angular rates, a ring of fixed size; written by one thread, read by another.

    The lock is held only while a reading is put in or the ring is copied out, never while computing.
    """

    def __init__(self) -> None:
        self._stamps_ns = np.zeros(CAPACITY, np.int64)
        self._rates = np.zeros((CAPACITY, 3))
        self._count = 0
        self._lock = Lock()

    def observe(self, stamp_ns: int, angular_velocity: ArrayLike) -> None:
        """Take one reading, (3,) rad/s in the IMU frame; impossible readings and late comers are passed over."""
        rate = np.asarray(angular_velocity, np.float64)
        # Written so that a NaN fails it.
        if rate.shape != (3,) or not float(np.abs(rate).max()) <= MAX_RATE_RAD_S:
            return
        with self._lock:
            if self._count:
                behind_ns = int(self._stamps_ns[(self._count - 1) % CAPACITY]) - stamp_ns
                if behind_ns > CLOCK_SET_BACK_NS:
                    self._count = 0
                elif behind_ns >= 0:
                    return
            place = self._count % CAPACITY
            self._stamps_ns[place] = stamp_ns
            self._rates[place] = rate
            self._count += 1

    def snapshot(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Copy the stamps (n,), ns, rising, and the rates (n, 3), rad/s in the IMU frame."""
        with self._lock:
            count = self._count
            stamps_ns, rates = self._stamps_ns[:count].copy(), self._rates[:count].copy()
        oldest = count % CAPACITY if count > CAPACITY else 0
        return np.roll(stamps_ns, -oldest), np.roll(rates, -oldest, axis=0)


def turn_between(
    stamps_ns: NDArray[np.int64], rates: NDArray[np.float64], begin_ns: int, end_ns: int
) -> NDArray[np.float64] | None:
    """Rotation of the body from begin to end, by its own angular rates.

    stamps_ns (n,) rise; rates (n, 3) rad/s are expressed in the body's frame. Returns (3, 3) R, which takes vectors of
    the body's frame at end_ns to its frame at begin_ns: the product of exponential maps of trapezoidal steps, rates
    interpolated linearly at both ends (Sola, "Quaternion kinematics for the error-state Kalman filter", 2017, sections
    2.4 and 4.6). None where the readings do not cover the interval: an end more than 30 ms beyond them, or a gap.
    """
    if not 0 <= end_ns - begin_ns <= MAX_INTERVAL_NS or len(stamps_ns) == 0:
        return None
    if begin_ns < stamps_ns[0] - MAX_EXTRAPOLATION_NS or end_ns > stamps_ns[-1] + MAX_EXTRAPOLATION_NS:
        return None
    first, last = np.searchsorted(stamps_ns, [begin_ns, end_ns], side='right')
    around = stamps_ns[max(first - 1, 0) : last + 1]
    if len(around) > 1 and int(np.diff(around).max()) > MAX_GAP_NS:
        return None
    inner = (stamps_ns[first:last] - begin_ns) * 1e-9
    times = np.concatenate(([0.0], inner, [(end_ns - begin_ns) * 1e-9]))
    low, high = max(first - 1, 0), last + 1
    known = (stamps_ns[low:high] - begin_ns) * 1e-9
    along = np.stack([np.interp(times, known, rates[low:high, axis]) for axis in range(3)], axis=1)
    steps = 0.5 * (along[1:] + along[:-1]) * np.diff(times)[:, None]
    turn = np.eye(3)
    for step in _exponential_maps(steps):
        turn = turn @ step
    return turn


def _exponential_maps(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3, 3) rotations of the (n, 3) rotation vectors, radians (Rodrigues' formula)."""
    angles = np.linalg.norm(vectors, axis=1)[:, None, None]
    cross = np.zeros((len(vectors), 3, 3))
    cross[:, 2, 1], cross[:, 0, 2], cross[:, 1, 0] = vectors.T
    cross[:, 1, 2], cross[:, 2, 0], cross[:, 0, 1] = -vectors.T
    # sinc holds its value at 0; the second factor is (1 - cos a) / a^2, written without its 0 / 0.
    maps: NDArray[np.float64] = (
        np.eye(3) + np.sinc(angles / np.pi) * cross + 0.5 * np.sinc(angles / (2.0 * np.pi)) ** 2 * (cross @ cross)
    )
    return maps


def picture_motion(
    turn: NDArray[np.float64], intrinsics: Intrinsics, width: int, height: int
) -> NDArray[np.float64] | None:
    """Homography by which far and near points alike move in the picture while the camera turns.

    turn is (3, 3), the optical frame at the end to the optical frame at the beginning. Returns (3, 3) K turn^T K^-1 for
    a picture of width x height pixels (Hartley and Zisserman, "Multiple View Geometry", 2003, section 8.4), None where
    the camera turned further than a face could be followed.
    """
    if math.acos(min(1.0, max(-1.0, 0.5 * (float(np.trace(turn)) - 1.0)))) > MAX_TURN_RAD:
        return None
    pixels = intrinsics.matrix
    # The same lens on a picture of another size; half pixels since (0, 0) is the centre of a pixel.
    pixels[:2, 2] += 0.5
    pixels[:2] *= np.array([[width / intrinsics.width], [height / intrinsics.height]])
    pixels[:2, 2] -= 0.5
    motion: NDArray[np.float64] = pixels @ turn.T @ np.linalg.inv(pixels)
    return motion


def local_affine(motion: NDArray[np.float64], point: Sequence[float]) -> NDArray[np.float64] | None:
    """(2, 3) affine map that agrees with the (3, 3) homography and its slopes at the point (x, y).

    None where the point does not stay in front of the camera.
    """
    x, y = point
    mapped = motion @ np.array([x, y, 1.0])
    if not mapped[2] > 0.0:
        return None
    moved = mapped[:2] / mapped[2]
    slopes = (motion[:2, :2] - np.outer(moved, motion[2, :2])) / mapped[2]
    return np.column_stack((slopes, moved - slopes @ np.array([x, y])))
