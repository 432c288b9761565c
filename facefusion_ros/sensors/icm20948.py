"""InvenSense ICM-20948, a gyroscope and accelerometer whose registers lie in four banks.

Source: TDK InvenSense DS-000189 (ICM-20948 datasheet, rev. 1.3), sections 3 and 7 to 10.

The delay of the gyroscope's filter is not in it, but which filter it is: section 10.2 gives for each setting the
bandwidth to -3 dB and that of noise (also in SparkFun's driver, as in gyr_d5bw7_n8bw9), and their ratio goes to π/2 as
the bandwidth gets small, which is a filter of first order (1.56 at 5.7 Hz), behind one that is always there. The
delay of that one is taken from the MPU-6500, whose delays are those of a filter of first order and 2.0 ms, two of its
samples at 1 kHz.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from facefusion_ros.sensors.bus import SettingsLost
from facefusion_ros.sensors.invensense import (
    ACCEL_COUNTS_PER_G,
    FIFO_ENABLE,
    GYRO_COUNTS_PER_DPS,
    RUNNING,
    InvenSenseChip,
    code_of,
    rates_hz,
)
from facefusion_ros.sensors.motion_plan import STANDARD_GRAVITY, Plan, choose, first_order_delay_s, not_above

if TYPE_CHECKING:
    from facefusion_ros.sensors.motion_plan import MotionSettings

# Bank in the high byte, register in the low one.
_USER_CTRL = 0x003
_PWR_MGMT_1 = 0x006
_FIFO_EN = 0x066
_FIFO_RST = 0x068
_FIFO_MODE = 0x069
_BANK = 0x7F
_GYRO_SMPLRT_DIV = 0x200
_ACCEL_SMPLRT_DIV = 0x210
_ACCEL_CONFIG = 0x214

_ASLEEP = 0x41
_GYRO_AND_ACCEL = 0x1E
_ALL_OF_FIFO = 0x1F

_FASTEST_HZ = 1125.0
_FIXED_DELAY_S = 2.0 / _FASTEST_HZ
_GYRO_FILTERS_HZ = (196.6, 151.8, 119.5, 51.2, 23.9, 11.6, 5.7, 361.4)
_ACCEL_FILTERS_HZ = (246.0, 246.0, 111.4, 50.4, 23.9, 11.5, 5.7, 473.0)


class Icm20948(InvenSenseChip):
    """ICM-20948; address 0x69 with the AD0 pin high."""

    NAME = 'ICM-20948'
    IDENTITY_REGISTER = 0x00
    IDENTITIES = frozenset({0xEA})
    RESET_MARK = (_PWR_MGMT_1, _ASLEEP)
    POWER = _PWR_MGMT_1
    ASLEEP = _ASLEEP
    FIFO_COUNT = 0x070
    FIFO_BYTES = 512
    FIFO_REGISTER = 0x072
    STARTUP_S = 0.06
    GYRO_NOISE = math.radians(0.015)
    ACCEL_NOISE = 230e-6 * STANDARD_GRAVITY

    @classmethod
    def planned(cls, settings: MotionSettings) -> Plan:
        """Return what the chip is set to; rates are 1125 Hz divided by a whole number up to 256."""
        rate_hz, dps, g = choose(settings, rates_hz(_FASTEST_HZ), GYRO_COUNTS_PER_DPS, ACCEL_COUNTS_PER_G)
        bandwidth_hz = not_above(settings.widest_hz(rate_hz), _GYRO_FILTERS_HZ)
        dlpf = _GYRO_FILTERS_HZ.index(bandwidth_hz)
        divider = round(_FASTEST_HZ / rate_hz) - 1
        filtered = dlpf << 3 | 0x01
        return Plan(
            rate_hz=rate_hz,
            gyro_range_dps=dps,
            accel_range_g=g,
            gyro_scale=math.radians(1.0) / GYRO_COUNTS_PER_DPS[dps],
            accel_scale=STANDARD_GRAVITY / ACCEL_COUNTS_PER_G[g],
            gyro_bandwidth_hz=bandwidth_hz,
            accel_bandwidth_hz=_ACCEL_FILTERS_HZ[dlpf],
            delay_s=first_order_delay_s(bandwidth_hz) + _FIXED_DELAY_S,
            registers={
                _USER_CTRL: (FIFO_ENABLE,),
                _GYRO_SMPLRT_DIV: (divider, filtered | code_of(dps, GYRO_COUNTS_PER_DPS) << 1),
                _ACCEL_SMPLRT_DIV: (0, divider),
                _ACCEL_CONFIG: (filtered | code_of(g, ACCEL_COUNTS_PER_G) << 1,),
                _PWR_MGMT_1: (RUNNING, 0),
                _FIFO_EN: (0, _GYRO_AND_ACCEL),
                _FIFO_MODE: (0,),
            },
        )

    def _identify(self) -> None:
        self._choose(0)
        super()._identify()

    def _clear_fifo(self) -> None:
        self._choose(0)
        self._write(_FIFO_EN, 0, 0)
        self._write(_FIFO_RST, _ALL_OF_FIFO)
        self._write(_FIFO_RST, 0)
        self._write(_FIFO_EN, 0, _GYRO_AND_ACCEL)

    def _waiting(self) -> int:
        self._choose(0)
        return super()._waiting()

    def _take(self, waiting: int) -> bytes:
        data = super()._take(waiting)
        bank = super()._read(_BANK, 1)[0]
        if bank & 0x30:  # what was read was not the FIFO
            raise SettingsLost(f'{self._name} has changed its register bank by itself: look for a weak supply')
        return data

    # Bank 0 is the one that is chosen, but for the moment that another is needed. What the chip has chosen may be
    # something else, so it is told anew before each batch and asked after it.

    def _choose(self, bank: int) -> None:
        super()._write(_BANK, bank << 4)

    def _write(self, register: int, *values: int) -> None:
        bank, register = divmod(register, 0x100)
        if bank:
            self._choose(bank)
        super()._write(register, *values)
        if bank:
            self._choose(0)

    def _read(self, register: int, length: int) -> bytes:
        bank, register = divmod(register, 0x100)
        if bank:
            self._choose(bank)
        data = super()._read(register, length)
        if bank:
            self._choose(0)
        return data
