"""Bosch BMI160, a gyroscope and accelerometer.

Source: Bosch BST-BMI160-DS000 (rev. 0.9); waiting times also as in Linux drivers/iio/imu/bmi160/bmi160_core.c.
The delay of the gyroscope's filter is found in neither, and estimated from its bandwidth.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from facefusion_ros.sensors import bosch_fifo
from facefusion_ros.sensors.bus import Garbled, Overrun, Stalled
from facefusion_ros.sensors.motion import MotionChip
from facefusion_ros.sensors.motion_plan import STANDARD_GRAVITY, Plan, butterworth_delay_s, choose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.sensors.motion_plan import MotionSettings, Registers

_PMU_STATUS = 0x03
_FIFO_LENGTH = 0x22
ACC_CONF = 0x40
_FIFO_CONFIG_1 = 0x47
CMD = 0x7E

_ACCEL_NORMAL = 0x11
_GYRO_NORMAL = 0x15
_BOTH_NORMAL = 0x14
_ACCEL_SUSPEND = 0x10
_GYRO_SUSPEND = 0x14
_NORMAL_FILTER = 0x20

# Rate, Hz -> code, bandwidth of the gyroscope and of the accelerometer, Hz.
_RATES = {
    25.0: (0x06, 10.7, 10.1),
    50.0: (0x07, 20.8, 20.2),
    100.0: (0x08, 39.9, 40.5),
    200.0: (0x09, 74.6, 80.0),
    400.0: (0x0A, 136.6, 162.0),
    800.0: (0x0B, 254.6, 324.0),
    1600.0: (0x0C, 523.9, 684.0),
}
_GYRO_RANGES = {125: 4, 250: 3, 500: 2, 1000: 1, 2000: 0}
_ACCEL_RANGES = {2: 0x3, 4: 0x5, 8: 0x8, 16: 0xC}


class Bmi160(MotionChip):
    """BMI160; address 0x69 with the SDO pin high."""

    NAME = 'BMI160'
    ADDRESS = 0x68
    IDENTITY_REGISTER = 0x00
    IDENTITIES = frozenset({0xD1})
    RESET_MARK = (_PMU_STATUS, 0x00)
    FRAME_BYTES = bosch_fifo.FRAME_BYTES
    FIFO_BYTES = 1024
    FIFO_REGISTER = 0x24
    STARTUP_S = 0.01
    GYRO_NOISE = math.radians(0.007)
    ACCEL_NOISE = 180e-6 * STANDARD_GRAVITY

    RATES: ClassVar[dict[float, tuple[int, float, float]]] = _RATES
    ACCEL_RANGES: ClassVar[dict[int, int]] = _ACCEL_RANGES

    @classmethod
    def planned(cls, settings: MotionSettings) -> Plan:
        """Return what the chip is set to; its filter goes with its rate."""
        rate_hz, dps, g = choose(settings, cls.RATES, _GYRO_RANGES, cls.ACCEL_RANGES)
        code, gyro_hz, accel_hz = cls.RATES[rate_hz]
        return Plan(
            rate_hz=rate_hz,
            gyro_range_dps=dps,
            accel_range_g=g,
            gyro_scale=math.radians(dps) / 32768.0,
            accel_scale=STANDARD_GRAVITY * g / 32768.0,
            gyro_bandwidth_hz=gyro_hz,
            accel_bandwidth_hz=accel_hz,
            delay_s=butterworth_delay_s(gyro_hz),
            registers=cls._registers(code, _GYRO_RANGES[dps], cls.ACCEL_RANGES[g]),
        )

    @classmethod
    def _registers(cls, rate: int, gyro_range: int, accel_range: int) -> Registers:
        """Return what to write for these codes."""
        conf = (_NORMAL_FILTER | rate, accel_range, _NORMAL_FILTER | rate, gyro_range)
        return {_FIFO_CONFIG_1: (bosch_fifo.GYRO_ACCEL_AND_HEADER,), ACC_CONF: conf}

    def _wake(self) -> None:
        for command, wait_s in ((bosch_fifo.SOFT_RESET, 0.015), (_ACCEL_NORMAL, 0.005), (_GYRO_NORMAL, 0.081)):
            self._write(CMD, command)
            self._sleep(wait_s)
        if self._read(_PMU_STATUS, 1)[0] & 0x3C != _BOTH_NORMAL:
            raise Stalled(f'{self._name} does not wake up: switch its power off and on if this goes on')

    def _clear_fifo(self) -> None:
        self._write(CMD, bosch_fifo.FLUSH)

    def _waiting(self) -> int:
        return int.from_bytes(self._read(_FIFO_LENGTH, 2), 'little') & 0x7FF

    def _aligned(self, waiting: int) -> bool:  # noqa: ARG002 - every frame has a header, and not all are as long
        return True

    def _take(self, waiting: int) -> bytes:
        return self._read_once(waiting)

    def _counts(self, data: bytes) -> NDArray[np.int16]:
        return self._frames(data, changed_bytes=1)

    def _frames(self, data: bytes, changed_bytes: int) -> NDArray[np.int16]:
        try:
            return bosch_fifo.counts_in(data, changed_bytes)
        except bosch_fifo.Skipped as error:
            self._empty()
            raise Overrun(f'{self._name} has left out samples: give this process more time') from error
        except bosch_fifo.NoFrame as error:
            raise Garbled(
                f'the FIFO of {self._name} has lost its order: check cable length, pull-ups and bus speed'
            ) from error

    def _sleep_now(self) -> None:
        self._write(CMD, _GYRO_SUSPEND)
        self._write(CMD, _ACCEL_SUSPEND)
