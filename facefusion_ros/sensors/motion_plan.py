"""What is asked of a motion chip, and what it is then set to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from facefusion_ros.errors import SettingError, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Registers = Mapping[int, tuple[int, ...]]
    """First register of a run -> the bytes it has to hold."""

STANDARD_GRAVITY = 9.80665
"""m/s²; a unit by definition (ISO 80000-3)."""

Number = TypeVar('Number', int, float)


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """What is asked of a motion chip; it takes the next better thing it can do."""

    rate_hz: float = 200.0
    """Samples per second; the slowest rate of the chip that is not slower."""
    gyro_range_dps: float = 500.0
    """Greatest angular rate, degrees per second; the smallest range of the chip that holds it."""
    accel_range_g: float = 4.0
    """Greatest acceleration in g; the smallest range of the chip that holds it."""
    bandwidth_hz: float = 0.0
    """Of the gyroscope's low-pass filter: the widest of the chip that is not wider; 0 for half the rate."""
    batch_s: float = 0.012
    """About how long the chip collects samples before they are read."""

    def __post_init__(self) -> None:
        require(
            self,
            {
                'rate_hz must be more than 0': self.rate_hz > 0.0,
                'gyro_range_dps must be more than 0': self.gyro_range_dps > 0.0,
                'accel_range_g must be more than 0': self.accel_range_g > 0.0,
                'bandwidth_hz must be 0 or more': self.bandwidth_hz >= 0.0,
                'batch_s must be more than 0 and at most 0.1': 0.0 < self.batch_s <= 0.1,
            },
        )

    def widest_hz(self, rate_hz: float) -> float:
        """Return the bandwidth not to exceed at a rate."""
        return self.bandwidth_hz or 0.5 * rate_hz


@dataclass(frozen=True, slots=True)
class Plan:
    """What a chip is set to, and what its numbers then mean."""

    rate_hz: float
    gyro_range_dps: float
    accel_range_g: float
    gyro_scale: float
    """rad/s per count."""
    accel_scale: float
    """m/s² per count."""
    gyro_bandwidth_hz: float
    accel_bandwidth_hz: float
    delay_s: float
    """Group delay of the gyroscope's filter."""
    registers: Registers
    """In the order in which they are written; the first tells most surely that the chip has lost its settings."""


def not_below(setting: str, wanted: float, available: Iterable[Number]) -> Number:
    """Return the least of what is available that is not below what is wanted (by more than 1 %); or SettingError."""
    enough = sorted(each for each in available if each >= 0.99 * wanted)
    if not enough:
        raise SettingError(f'{setting} must be at most {max(available):g} for this chip, not {wanted:g}')
    return enough[0]


def not_above(wanted: float, available: Iterable[Number]) -> Number:
    """Return the greatest of what is available that is not above what is wanted, or else the least."""
    choice = sorted(available)
    return max((each for each in choice if each <= wanted), default=choice[0])


def choose(
    settings: MotionSettings, rates_hz: Iterable[float], gyro_dps: Iterable[int], accel_g: Iterable[int]
) -> tuple[float, int, int]:
    """Return what a chip does of what it can: rate, Hz, and ranges, degrees/s and g; raises SettingError."""
    return (
        not_below('rate_hz', settings.rate_hz, rates_hz),
        not_below('gyro_range_dps', settings.gyro_range_dps, gyro_dps),
        not_below('accel_range_g', settings.accel_range_g, accel_g),
    )


def first_order_delay_s(cutoff_hz: float) -> float:
    """Return the delay of slow signals in a low-pass filter of first order, 1/(2π f), derived from 1/(1 + s/2πf)."""
    return 1.0 / (2.0 * math.pi * cutoff_hz)


def butterworth_delay_s(cutoff_hz: float) -> float:
    """Return the delay of slow signals in a second-order Butterworth filter, √2/(2π f), derived from its poles.

    An estimate, for chips whose makers tell the cut-off but, as far as could be found, neither the delay nor the kind
    of filter. Where a delay is told, for cut-offs from 41 Hz on, the estimate is off by 0.7 ms at most (MPU-6050) and
    by 1.7 ms at most (MPU-6500); a calibration of the camera's time offset takes that up.
    """
    return math.sqrt(2.0) / (2.0 * math.pi * cutoff_hz)
