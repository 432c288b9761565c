"""Where the camera's own rotation moved the picture, from the gyro."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from facefusion_ros.frames.intrinsics import Intrinsics

CAPACITY = 16384
"""Readings kept: 16 s at 1 kHz."""
MAX_EXTRAPOLATION_NS = 30_000_000
MAX_GAP_NS = 60_000_000
MAX_INTERVAL_NS = 500_000_000
MAX_RATE_RAD_S = 35.0
"""2000 degrees per second, the full scale of the common MEMS gyros."""
MAX_TURN_RAD = math.radians(30.0)
CLOCK_SET_BACK_NS = 500_000_000
FOREVER_NS = 1 << 62


class Rotations:
    """The latest angular rates, at most CAPACITY; written by one thread, read by another.

    The lock is held only while a reading is put in or some are copied out, never while computing.
    """

    def __init__(self) -> None:
        # Twice the room, so that moving the newer half to the front is seldom needed and the readings lie in one piece.
        self._stamps_ns = np.zeros(2 * CAPACITY, np.int64)
        self._rates = np.zeros((2 * CAPACITY, 3))
        self._count = 0
        self._lock = Lock()

    @property
    def begun(self) -> bool:
        """Whether there was any reading."""
        return self._count > 0

    def observe(self, stamp_ns: int, angular_velocity: ArrayLike) -> None:
        """Take one reading, (3,) rad/s in the IMU frame; impossible readings and late comers are passed over."""
        rate = np.asarray(angular_velocity, np.float64)
        # Written so that a NaN fails it.
        if rate.shape != (3,) or not float(np.abs(rate).max()) <= MAX_RATE_RAD_S:
            return
        with self._lock:
            if self._count:
                behind_ns = int(self._stamps_ns[self._count - 1]) - stamp_ns
                if behind_ns > CLOCK_SET_BACK_NS:
                    self._count = 0
                elif behind_ns >= 0:
                    return
            if self._count == 2 * CAPACITY:
                self._stamps_ns[:CAPACITY] = self._stamps_ns[CAPACITY:]
                self._rates[:CAPACITY] = self._rates[CAPACITY:]
                self._count = CAPACITY
            self._stamps_ns[self._count] = stamp_ns
            self._rates[self._count] = rate
            self._count += 1

    def snapshot(
        self, begin_ns: int = -FOREVER_NS, end_ns: int = FOREVER_NS
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Copy the stamps (n,), ns, rising, and the rates (n, 3), rad/s in the IMU frame.

        The readings between two times and one more on each side, where there are such.
        """
        with self._lock:
            oldest = max(self._count - CAPACITY, 0)
            known_ns = self._stamps_ns[oldest : self._count]
            first, last = np.searchsorted(known_ns, [begin_ns, end_ns], side='right')
            chosen = slice(oldest + max(int(first) - 1, 0), min(oldest + int(last) + 1, self._count))
            return self._stamps_ns[chosen].copy(), self._rates[chosen].copy()


@dataclass(frozen=True, slots=True, eq=False)
class Shutter:
    """When the rows of a picture are exposed."""

    height: int
    readout_s: float = 0.0
    """From the first row to the last; negative where the last comes first."""

    def delays_s(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds from a frame's stamp, which is its middle row's, to the exposure of rows (n,), pixels."""
        middle = 0.5 * (self.height - 1)
        delays: NDArray[np.float64] = (rows - middle) * (self.readout_s / max(self.height - 1, 1))
        return delays


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
    return _product(exponential_maps(steps))


def exponential_maps(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
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


def _product(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) product of (n, 3, 3) matrices from left to right, neighbours first."""
    while len(maps) > 1:
        pairs = maps[: len(maps) // 2 * 2 : 2] @ maps[1::2]
        maps = np.concatenate((pairs, maps[-1:])) if len(maps) % 2 else pairs
    product: NDArray[np.float64] = maps[0]
    return product


def angles_about(
    stamps_ns: NDArray[np.int64], rates: NDArray[np.float64], about_ns: int, delays_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, 3) rotation vectors from about_ns to delays_s (n,) later or earlier, by rates (m, 3) that change linearly.

    For the few milliseconds of a picture's read-out, in which the order of rotations does not matter. Beyond the
    readings the first or last of them counts.
    """
    known = (stamps_ns - about_ns) * 1e-9
    times = np.concatenate(([0.0], delays_s))
    turned = np.zeros((len(known), 3))
    np.cumsum(0.5 * (rates[1:] + rates[:-1]) * np.diff(known)[:, None], axis=0, out=turned[1:])
    before = np.clip(np.searchsorted(known, times, side='right') - 1, 0, max(len(known) - 2, 0))
    since = times - known[before]
    if len(known) > 1:
        slope = (rates[before + 1] - rates[before]) / (known[before + 1] - known[before])[:, None]
        outside = (times < known[0]) | (times > known[-1])
        slope[outside] = 0.0
    else:
        slope = np.zeros((len(times), 3))
    begin = rates[before].copy()
    late = times > known[-1]
    begin[late], since[late] = rates[-1], times[late] - known[-1]
    at = (
        np.where(late[:, None], turned[-1], turned[before]) + begin * since[:, None] + 0.5 * slope * since[:, None] ** 2
    )
    angles: NDArray[np.float64] = at[1:] - at[0]
    return angles


def displaced(
    points: NDArray[np.float64],
    since_ns: int,
    stamp_ns: int,
    readings: tuple[NDArray[np.int64], NDArray[np.float64]],
    camera: Intrinsics,
    shutter: Shutter,
) -> NDArray[np.float64] | None:
    """Where far and near points alike went in the picture while the camera turned: pixels (n, 2) to pixels (n, 2).

    readings are stamps (m,) of the camera's clock and rates (m, 3), rad/s in the optical frame; points are of the frame
    stamped since_ns, what is returned of that stamped stamp_ns. A ray is turned from the time of its own row in one
    frame to that in the other (Karpenko et al., "Digital video stabilization and rolling shutter correction using
    gyroscopes", Stanford CSTR 2011-03); with a global shutter and no distortion this is the homography K R K^-1
    (Hartley and Zisserman, "Multiple View Geometry", 2003, section 8.4). None where the readings do not tell, where the
    camera turned further than a face could be followed, or where a point goes behind it.
    """
    turn = turn_between(*readings, since_ns, stamp_ns)
    if turn is None or math.acos(min(1.0, max(-1.0, 0.5 * (float(np.trace(turn)) - 1.0)))) > MAX_TURN_RAD:
        return None
    rays = camera.rays(points)
    if shutter.readout_s:
        row_turns = exponential_maps(angles_about(*readings, since_ns, shutter.delays_s(points[:, 1])))
        rays = np.einsum('nij,nj->ni', row_turns, rays)
    rays = rays @ turn  # turn^T, from the left
    moved = camera.pixels(rays)
    if shutter.readout_s:
        for _ in range(2):  # the row a point comes to lie in tells when it was seen there
            rows = np.nan_to_num(moved[:, 1], nan=0.0)
            row_turns = exponential_maps(angles_about(*readings, stamp_ns, shutter.delays_s(rows)))
            moved = camera.pixels(np.einsum('nji,nj->ni', row_turns, rays))
    return moved if bool(np.isfinite(moved).all()) else None


def affine_between(points: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) affine map that takes points (n, 2) to moved (n, 2) with the least squared distance; n >= 3."""
    middle = points.mean(axis=0)
    terms = np.column_stack((points - middle, np.ones(len(points))))
    solved: NDArray[np.float64] = np.linalg.lstsq(terms, moved, rcond=None)[0].T
    solved[:, 2] -= solved[:, :2] @ middle
    return solved
