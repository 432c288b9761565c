"""Gyroscope of the Bosch BMI088; its accelerometer is a second chip with another address and clock, and is not read.

Source: Bosch BST-BMI088-DS001 (rev. 1.4), chapter 5.5; codes of the ranges also as in Linux
drivers/iio/gyro/bmg160_core.c. The delay of the filter is found in neither, and estimated from its bandwidth.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.sensors.bus import Garbled
from facefusion_ros.sensors.motion import MotionChip
from facefusion_ros.sensors.motion_plan import MotionSettings, Plan, butterworth_delay_s, not_above, not_below

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RATE_X_LSB = 0x02
_FIFO_STATUS = 0x0E
_RANGE = 0x0F
_BANDWIDTH = 0x10
_LPM1 = 0x11
_SOFT_RESET_REGISTER = 0x14
_FIFO_CONFIG = 0x3D
_SOFT_RESET = 0xB6
_SUSPEND = 0x80
_STREAM = 0x80
_RESET_S = 0.03
_ALWAYS_SET = 0x80

_FILTERS = {
    100.0: {32.0: 7, 12.0: 5},
    200.0: {64.0: 6, 23.0: 4},
    400.0: {47.0: 3},
    1000.0: {116.0: 2},
    2000.0: {230.0: 1, 532.0: 0},
}
"""Rate, Hz -> bandwidth, Hz -> code."""
_RANGES = {125: 4, 250: 3, 500: 2, 1000: 1, 2000: 0}


class Bmi088(MotionChip):
    """The gyroscope of a BMI088; address 0x69 with the SDO2 pin high."""

    NAME = 'gyroscope of a BMI088'
    ADDRESS = 0x68
    IDENTITY_REGISTER = 0x00
    IDENTITIES = frozenset({0x0F})
    RESET_MARK = (_BANDWIDTH, 0x80)
    FRAME_BYTES = 6
    FIFO_BYTES = 100 * 6
    FIFO_REGISTER = 0x3F
    STARTUP_S = 0.03
    GYRO_NOISE = math.radians(0.014)
    ACCEL_NOISE = 0.0
    HAS_ACCELEROMETER = False

    @classmethod
    def planned(cls, settings: MotionSettings) -> Plan:
        """Return what the chip is set to; the accelerometer's range means nothing."""
        rate_hz = not_below('rate_hz', settings.rate_hz, _FILTERS)
        dps = not_below('gyro_range_dps', settings.gyro_range_dps, _RANGES)
        bandwidth_hz = not_above(settings.widest_hz(rate_hz), _FILTERS[rate_hz])
        return Plan(
            rate_hz=rate_hz,
            gyro_range_dps=dps,
            accel_range_g=0.0,
            gyro_scale=math.radians(dps) / 32768.0,
            accel_scale=0.0,
            gyro_bandwidth_hz=bandwidth_hz,
            accel_bandwidth_hz=0.0,
            delay_s=butterworth_delay_s(bandwidth_hz),
            registers={
                _FIFO_CONFIG: (0, _STREAM),
                _RANGE: (_RANGES[dps], _ALWAYS_SET | _FILTERS[rate_hz][bandwidth_hz]),
                _LPM1: (0,),
            },
        )

    def _wake(self) -> None:
        self._write(_SOFT_RESET_REGISTER, _SOFT_RESET)
        self._sleep(_RESET_S)

    def _clear_fifo(self) -> None:
        self._write(_FIFO_CONFIG, 0, _STREAM)

    def _waiting(self) -> int:
        status = self._read(_FIFO_STATUS, 1)[0]
        return self.FIFO_BYTES if status & 0x80 else self.FRAME_BYTES * (status & 0x7F)

    def _ask(self) -> tuple[int, int, int]:
        self._began_ns = self._clock()
        self._before = self._read(_RATE_X_LSB, self.FRAME_BYTES)
        return super()._ask()

    def _take(self, waiting: int) -> bytes:
        """Read the FIFO. Its frames carry no mark; that the last is also in the data registers shows that none slipped.

        They are read before the count is asked for and afterwards: a sample that comes in between is in the one or in
        the other. Where it took so long that two may have come, it has to do that fewer are left than there were.
        """
        data = super()._take(waiting)
        known = (self._before, self._read(_RATE_X_LSB, self.FRAME_BYTES))
        if data[-self.FRAME_BYTES :] not in known:
            soon = self._clock() - self._began_ns < 0.9e9 * self._nominal_s
            if soon or not 0 < self._waiting() < waiting:
                raise Garbled(f'the FIFO of {self._name} has slipped: check cable length, pull-ups and bus speed')
        return data

    def _counts(self, data: bytes) -> NDArray[np.int16]:
        return np.frombuffer(data, '<i2').astype(np.int16).reshape(-1, 3)

    def _sleep_now(self) -> None:
        self._write(_LPM1, _SUSPEND)
