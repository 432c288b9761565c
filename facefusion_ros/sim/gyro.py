"""The simulated IMU as it is mounted: a gyroscope with bias, noise, a filter, a skewed mounting and a late clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facefusion_ros.sim.trajectory import OPTICAL_FROM_IMU, Trajectory, rotation_from_rpy

Floats = NDArray[np.float64]

_BLOCK = 1024
"""Readings whose noise is drawn together."""
_STEPS = 32768
"""Steps of a 16-bit converter to each side of 0."""
_NODES, _WEIGHTS = np.polynomial.laguerre.laggauss(40)


@dataclass(frozen=True, slots=True)
class Imu:
    """How the IMU is mounted, and what is wrong with its gyroscope."""

    rpy_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Fixed-axis roll, pitch, yaw of the IMU in the camera's body frame (x forward, y left, z up), as it is told."""
    rpy_error_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How the IMU is really turned against that, about its own axes as told."""
    rate_hz: float = 200.0
    """Readings per second."""
    bias_dps: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Reading at rest, degrees/s, in the IMU's frame."""
    noise_dps_sqrthz: float = 0.0
    """Density of white noise, degrees/s/sqrt(Hz)."""
    scale_error: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """0.01 reads 1 % too fast; per axis of the IMU."""
    time_offset_ms: float = 0.0
    """How much later a reading is stamped than a picture of the same instant."""
    lowpass_hz: float = 0.0
    """Corner of a first-order low-pass filter whose delay nobody has subtracted; 0 for none."""
    range_dps: float = 0.0
    """Greatest rate, of a 16-bit converter; 0 for one without limit and steps."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.rate_hz <= 10_000.0:
            raise ValueError('rate_hz must be between 1 and 10000')
        if self.noise_dps_sqrthz < 0.0 or self.lowpass_hz < 0.0 or self.range_dps < 0.0:
            raise ValueError('noise_dps_sqrthz, lowpass_hz and range_dps must be at least 0')
        if min(self.scale_error) <= -1.0:
            raise ValueError('scale_error must be above -1')
        if abs(self.time_offset_ms) > 1000.0:
            raise ValueError('time_offset_ms must be between -1000 and 1000')

    @property
    def optical_from_imu_told(self) -> Floats:
        """(3, 3) R_optical_imu by ``rpy_deg``: what a transform tree would say."""
        return OPTICAL_FROM_IMU @ rotation_from_rpy(*(math.radians(a) for a in self.rpy_deg))

    @property
    def optical_from_imu(self) -> Floats:
        """(3, 3) true R_optical_imu: a vector's coordinates in the IMU's body frame to optical coordinates."""
        if not any(self.rpy_error_deg):
            return self.optical_from_imu_told
        return self.optical_from_imu_told @ rotation_from_rpy(*(math.radians(a) for a in self.rpy_error_deg))

    @property
    def delay_ms(self) -> float:
        """What a calibration should find: stamps are late by this, filter included.

        A first-order filter delays slow turns by 1 / (2 pi f).
        """
        return self.time_offset_ms + (1e3 / (2.0 * math.pi * self.lowpass_hz) if self.lowpass_hz else 0.0)


class Gyro:
    """Readings of the gyroscope; a pure function of their numbers. Reading k is taken at k / rate_hz of world time."""

    def __init__(self, imu: Imu, trajectory: Trajectory, seed: int) -> None:
        self._imu = imu
        self._trajectory = trajectory
        self._imu_from_optical = imu.optical_from_imu.T
        self._seed = seed

    def read(self, first: int, last: int) -> tuple[NDArray[np.int64], Floats]:
        """Take readings first to last - 1: stamps (n,) in ns of the camera's clock, rates (n, 3) rad/s in IMU axes.

        The stamps count from world time 0 and go on over its end.
        """
        imu = self._imu
        numbers = np.arange(first, last)
        times = numbers / imu.rate_hz
        rates = self._filtered(times) @ self._imu_from_optical.T
        rates = rates * (1.0 + np.array(imu.scale_error)) + np.radians(imu.bias_dps)
        if imu.noise_dps_sqrthz:
            rates += math.radians(imu.noise_dps_sqrthz) * math.sqrt(imu.rate_hz / 2.0) * self._noise(numbers)
        if imu.range_dps:
            step = math.radians(imu.range_dps) / _STEPS
            rates = np.clip(np.rint(rates / step), -_STEPS, _STEPS - 1) * step
        stamps_ns = np.rint(times * 1e9 + imu.time_offset_ms * 1e6).astype(np.int64)
        return stamps_ns, rates

    def between(self, begin_s: float, end_s: float) -> tuple[NDArray[np.int64], Floats]:
        """Take all readings stamped from begin_s to below end_s; see ``read``."""
        late_s = self._imu.time_offset_ms * 1e-3
        first, last = (math.ceil(round((t - late_s) * self._imu.rate_hz, 6)) for t in (begin_s, end_s))
        return self.read(first, last)

    def _filtered(self, times: Floats) -> Floats:
        """(n, 3) rad/s in the optical frame.

        The filter's response to the past, the integral of exp(-u) omega(t - u tau) over u, by Gauss-Laguerre
        quadrature: exact for all motion that is slow or smooth against tau.
        """
        if not self._imu.lowpass_hz:
            return self._trajectory.angular_velocity(times)
        past_s = _NODES / (2.0 * math.pi * self._imu.lowpass_hz)
        past = self._trajectory.angular_velocity(times[:, None] - past_s)
        filtered: Floats = np.einsum('nkc,k->nc', past, _WEIGHTS)
        return filtered

    def _noise(self, numbers: NDArray[np.int64]) -> Floats:
        """(n, 3) of variance 1, for consecutive numbers."""
        if not len(numbers):
            return np.empty((0, 3))
        first, last = int(numbers[0]) // _BLOCK, int(numbers[-1]) // _BLOCK
        # Numbers before 0 have noise too; a seed has no sign.
        drawn = [
            np.random.default_rng([self._seed, 5, abs(block), int(block < 0)]).standard_normal((_BLOCK, 3))
            for block in range(first, last + 1)
        ]
        return np.concatenate(drawn)[numbers - first * _BLOCK]
