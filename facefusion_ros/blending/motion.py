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
_LEAD_S = 1.0
_IDENTITY = np.eye(3)
_CROSS = np.array([[0, 0, 0, 0, 0, -1, 0, 1, 0], [0, 0, 1, 0, 0, 0, -1, 0, 0], [0, -1, 0, 1, 0, 0, 0, 0, 0]], float)
"""(3, 9): takes a vector to the matrix of its cross product from the left, row by row."""


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
    if len(around) > 1 and int((around[1:] - around[:-1]).max()) > MAX_GAP_NS:
        return None
    inner = last - first
    times, along = np.empty(inner + 2), np.empty((inner + 2, 3))
    times[0], times[-1] = 0.0, (end_ns - begin_ns) * 1e-9
    times[1:-1], along[1:-1] = (stamps_ns[first:last] - begin_ns) * 1e-9, rates[first:last]
    along[0], along[-1] = _rate_at(begin_ns, first, stamps_ns, rates), _rate_at(end_ns, last, stamps_ns, rates)
    steps = (along[1:] + along[:-1]) * (0.5 * (times[1:] - times[:-1]))[:, None]
    return _product(exponential_maps(steps))


def _rate_at(time_ns: int, after: int, stamps_ns: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) rate between the readings on both sides of a time, or the one where there is one; after: the later's."""
    if after == 0 or after == len(stamps_ns):
        nearest: NDArray[np.float64] = rates[min(after, len(stamps_ns) - 1)]
        return nearest
    share = float(time_ns - stamps_ns[after - 1]) / float(stamps_ns[after] - stamps_ns[after - 1])
    between: NDArray[np.float64] = rates[after - 1] + share * (rates[after] - rates[after - 1])
    return between


def exponential_maps(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3, 3) rotations of the (n, 3) rotation vectors, radians (Rodrigues' formula)."""
    # sin(a) / a and (1 - cos a) / a^2 by half the angle, which is never quite 0: what is lost is below the rounding.
    half = np.maximum(0.5 * np.sqrt(np.einsum('ni,ni->n', vectors, vectors)), 1e-12)
    sinc = np.sin(half) / half
    cross = (vectors @ _CROSS).reshape(-1, 3, 3)
    maps: NDArray[np.float64] = (0.5 * sinc * sinc)[:, None, None] * (cross @ cross)
    maps += (sinc * np.cos(half))[:, None, None] * cross
    maps += _IDENTITY
    return maps


def _product(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) product of (n, 3, 3) matrices from left to right, neighbours first."""
    while len(maps) > 1:
        pairs = maps[: len(maps) // 2 * 2 : 2] @ maps[1::2]
        maps = np.concatenate((pairs, maps[-1:])) if len(maps) % 2 else pairs
    product: NDArray[np.float64] = maps[0]
    return product


class GyroAngle:
    """Rates that change linearly from reading to reading, integrated once; turns between two times are differences.

    Axes are added without regard to order, which for the turn from one frame to the next costs less than a thousandth
    of it. Before the first reading and after the last the rate is theirs.
    """

    def __init__(self, stamps_ns: NDArray[np.int64], rates: NDArray[np.float64]) -> None:
        """Take stamps (m,), ns, rising, and rates (m, 3), rad/s; m >= 1."""
        self.zero_ns = int(stamps_ns[0])
        # One more reading in front, as the first; the last has no slope: so what is outside needs no case of its own.
        self._times_s = np.empty(len(rates) + 1)
        self._rates, self._slopes, self._angles = np.empty((3, len(rates) + 1, 3))
        self._times_s[0], self._times_s[1:] = -_LEAD_S, (stamps_ns - self.zero_ns) * 1e-9
        self._rates[0], self._rates[1:] = rates[0], rates
        steps_s = (self._times_s[1:] - self._times_s[:-1])[:, None]
        self._slopes[-1] = 0.0
        np.divide(self._rates[1:] - self._rates[:-1], steps_s, out=self._slopes[:-1])
        self._angles[0] = -_LEAD_S * rates[0]
        np.cumsum(0.5 * steps_s * (self._rates[1:] + self._rates[:-1]), axis=0, out=self._angles[1:])
        self._angles[1:] += self._angles[0]

    @property
    def span_s(self) -> tuple[float, float]:
        """First and last time at which anything is known, seconds after zero_ns."""
        return 0.0, float(self._times_s[-1])

    def at(self, times_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Angles (..., 3), rad since zero_ns, and rates (..., 3), rad/s, at times (...) in seconds after it."""
        before = np.maximum(np.searchsorted(self._times_s, times_s, side='right') - 1, 0)
        since = (times_s - self._times_s[before])[..., None]
        rates, sloping = self._rates[before], since * self._slopes[before]
        angles: NDArray[np.float64] = self._angles[before] + since * (rates + 0.5 * sloping)
        return angles, rates + sloping

    def turns(self, about_ns: int, delays_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3, 3) rotations that take vectors as seen delays_s (n,) after a time to how they are seen at that time.

        For the few milliseconds of a picture's read-out, in which the order of rotations does not matter.
        """
        about_s = (about_ns - self.zero_ns) * 1e-9
        return exponential_maps(self.at(about_s + delays_s)[0] - self.at(np.array(about_s))[0])


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
    if not shutter.readout_s:
        moved = camera.pixels(rays @ turn)  # turn^T, from the left
        return moved if np.isfinite(moved).all() else None
    gyro = GyroAngle(*readings)
    rays = np.einsum('nij,nj->ni', gyro.turns(since_ns, shutter.delays_s(points[:, 1])), rays) @ turn
    moved = camera.pixels(rays)
    for _ in range(2):  # the row a point comes to lie in tells when it was seen there
        if not np.isfinite(moved).all():
            return None
        moved = camera.pixels(np.einsum('nji,nj->ni', gyro.turns(stamp_ns, shutter.delays_s(moved[:, 1])), rays))
    return moved if np.isfinite(moved).all() else None
