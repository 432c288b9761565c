"""InvenSense MPU-6050, MPU-6500 and MPU-9250, gyroscopes and accelerometers with one register map.

Source of registers: InvenSense RM-MPU-6000A-00 (rev. 4.2), RM-MPU-6500A-00 (rev. 2.1) and RM-MPU-9250A-00 (rev. 1.6);
of times, noise and sensitivity: PS-MPU-6000A-00 (rev. 3.4), PS-MPU-6500A-01 (rev. 1.3) and PS-MPU-9250A-01 (rev. 1.1).
The limits of the FIFOs as in Linux drivers/iio/imu/inv_mpu6050/inv_mpu_core.c.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from facefusion_ros.sensors.invensense import (
    ACCEL_COUNTS_PER_G,
    FIFO_ENABLE,
    GYRO_COUNTS_PER_DPS,
    RUNNING,
    InvenSenseChip,
    code_of,
    rates_hz,
)
from facefusion_ros.sensors.motion_plan import STANDARD_GRAVITY, Plan, choose, not_above

if TYPE_CHECKING:
    from facefusion_ros.sensors.motion_plan import MotionSettings

_SMPLRT_DIV = 0x19
_CONFIG = 0x1A
_FIFO_EN = 0x23
_USER_CTRL = 0x6A
_PWR_MGMT_1 = 0x6B

_ASLEEP = 0x40
_FIFO_RESET = 0x04
_GYRO_AND_ACCEL = 0x78
_FASTEST_HZ = 1000.0

# Bandwidth of the gyroscope, Hz -> its delay, s, and the accelerometer's bandwidth, Hz; DLPF_CFG counts from 1.
_FILTERS_6050 = {
    188: (1.9e-3, 184.0),
    98: (2.8e-3, 94.0),
    42: (4.8e-3, 44.0),
    20: (8.3e-3, 21.0),
    10: (13.4e-3, 10.0),
    5: (18.6e-3, 5.0),
}
_FILTERS_6500 = {
    184: (2.9e-3, 184.0),
    92: (3.9e-3, 92.0),
    41: (5.9e-3, 41.0),
    20: (9.9e-3, 20.0),
    10: (17.85e-3, 10.0),
    5: (33.48e-3, 5.0),
}


class Mpu6050(InvenSenseChip):
    """MPU-6050; address 0x69 with the AD0 pin high."""

    NAME = 'MPU-6050'
    IDENTITY_REGISTER = 0x75
    IDENTITIES = frozenset({0x68})
    RESET_MARK = (_PWR_MGMT_1, _ASLEEP)
    POWER = _PWR_MGMT_1
    ASLEEP = _ASLEEP
    FIFO_COUNT = 0x72
    FIFO_BYTES = 1024
    FIFO_REGISTER = 0x74
    STARTUP_S = 0.06
    GYRO_NOISE = math.radians(0.005)
    ACCEL_NOISE = 400e-6 * STANDARD_GRAVITY
    FILTERS: ClassVar = _FILTERS_6050
    FILTERS_APART = False
    """Whether the accelerometer's filter is set in a register of its own, which follows its range."""

    @classmethod
    def planned(cls, settings: MotionSettings) -> Plan:
        """Return what the chip is set to; rates are 1000 Hz divided by a whole number up to 256."""
        rate_hz, dps, g = choose(settings, rates_hz(_FASTEST_HZ), GYRO_COUNTS_PER_DPS, ACCEL_COUNTS_PER_G)
        bandwidth = not_above(settings.widest_hz(rate_hz), cls.FILTERS)
        dlpf = list(cls.FILTERS).index(bandwidth) + 1
        delay_s, accel_bandwidth_hz = cls.FILTERS[bandwidth]
        ranges = (code_of(dps, GYRO_COUNTS_PER_DPS) << 3, code_of(g, ACCEL_COUNTS_PER_G) << 3)
        return Plan(
            rate_hz=rate_hz,
            gyro_range_dps=dps,
            accel_range_g=g,
            gyro_scale=math.radians(1.0) / GYRO_COUNTS_PER_DPS[dps],
            accel_scale=STANDARD_GRAVITY / ACCEL_COUNTS_PER_G[g],
            gyro_bandwidth_hz=bandwidth,
            accel_bandwidth_hz=accel_bandwidth_hz,
            delay_s=delay_s,
            registers={
                _USER_CTRL: (FIFO_ENABLE, RUNNING),
                _SMPLRT_DIV: (round(_FASTEST_HZ / rate_hz) - 1, dlpf, *ranges, *([dlpf] if cls.FILTERS_APART else [])),
                _FIFO_EN: (_GYRO_AND_ACCEL,),
            },
        )

    def _clear_fifo(self) -> None:
        self._write(_FIFO_EN, 0)
        self._write(_USER_CTRL, 0)
        self._write(_USER_CTRL, _FIFO_RESET)
        self._write(_USER_CTRL, FIFO_ENABLE)
        self._write(_FIFO_EN, _GYRO_AND_ACCEL)


class Mpu6500(Mpu6050):
    """MPU-6500, and MPU-6515 and MPU-6880, which differ in nothing used here."""

    NAME = 'MPU-6500'
    IDENTITIES = frozenset({0x70, 0x74, 0x78})
    RESET_MARK = (_CONFIG, 0x00)
    FIFO_BYTES = 512
    STARTUP_S = 0.07
    GYRO_NOISE = math.radians(0.01)
    ACCEL_NOISE = 300e-6 * STANDARD_GRAVITY
    FILTERS = _FILTERS_6500
    FILTERS_APART = True


class Mpu9250(Mpu6500):
    """MPU-9250 and MPU-9255 without their magnetometer."""

    NAME = 'MPU-9250'
    IDENTITIES = frozenset({0x71, 0x73})
