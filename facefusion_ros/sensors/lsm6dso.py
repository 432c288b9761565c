"""ST LSM6DSO (and LSM6DSOX), a gyroscope and accelerometer whose FIFO tags each word.

Source: ST DS12140 (LSM6DSO datasheet, rev. 2) and application note AN5192, "FIFO" and "Gyroscope bandwidth".
The delay of the gyroscope's filter is not found there, and estimated from its bandwidth.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.sensors.bus import Garbled
from facefusion_ros.sensors.motion import MotionChip
from facefusion_ros.sensors.motion_plan import STANDARD_GRAVITY, MotionSettings, Plan, butterworth_delay_s, choose

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIFO_CTRL = 0x07
_CTRL1_XL = 0x10
_CTRL2_G = 0x11
_CTRL3_C = 0x12
_CTRL9_XL = 0x18
_FIFO_STATUS = 0x3A

_SOFTWARE_RESET = 0x01
_BLOCK_UPDATE_AND_INCREMENT = 0x44
_NO_I3C = 0xE2
_CONTINUOUS = 0x06
_OVERRUN = 0x48 << 8
_GYRO_TAG, _ACCEL_TAG = 1, 2
_WORD_BYTES = 7
_RESET_S = 0.01

# Rate, Hz -> bandwidth of the gyroscope's second low-pass filter, Hz; the code of the rate counts from 1.
_RATES = {
    12.5: 4.2,
    26.0: 8.3,
    52.0: 16.6,
    104.0: 33.0,
    208.0: 66.8,
    416.0: 135.9,
    833.0: 295.5,
    1666.0: 1108.1,
}
_GYRO_RANGES = {
    125: (0x02, 4.375e-3),
    250: (0x00, 8.75e-3),
    500: (0x04, 17.5e-3),
    1000: (0x08, 35e-3),
    2000: (0x0C, 70e-3),
}
"""Range, degrees/s -> its bits, and degrees/s per count."""
_ACCEL_RANGES = {2: (0x00, 0.061e-3), 4: (0x08, 0.122e-3), 8: (0x0C, 0.244e-3), 16: (0x04, 0.488e-3)}
"""Range, g -> its bits, and g per count."""


class Lsm6dso(MotionChip):
    """LSM6DSO; address 0x6B with the SA0 pin high."""

    NAME = 'LSM6DSO'
    ADDRESS = 0x6A
    IDENTITY_REGISTER = 0x0F
    IDENTITIES = frozenset({0x6C})
    RESET_MARK = (_CTRL2_G, 0x00)
    FRAME_BYTES = 2 * _WORD_BYTES
    FIFO_BYTES = 512 * _WORD_BYTES
    FIFO_REGISTER = 0x78
    STARTUP_S = 0.08
    GYRO_NOISE = math.radians(3.8e-3)
    ACCEL_NOISE = 70e-6 * STANDARD_GRAVITY

    @classmethod
    def planned(cls, settings: MotionSettings) -> Plan:
        """Return what the chip is set to; its filter goes with its rate."""
        rate_hz, dps, g = choose(settings, _RATES, _GYRO_RANGES, _ACCEL_RANGES)
        code = list(_RATES).index(rate_hz) + 1
        gyro_bits, dps_per_count = _GYRO_RANGES[dps]
        accel_bits, g_per_count = _ACCEL_RANGES[g]
        return Plan(
            rate_hz=rate_hz,
            gyro_range_dps=dps,
            accel_range_g=g,
            gyro_scale=math.radians(dps_per_count),
            accel_scale=STANDARD_GRAVITY * g_per_count,
            gyro_bandwidth_hz=_RATES[rate_hz],
            accel_bandwidth_hz=0.5 * rate_hz,
            delay_s=butterworth_delay_s(_RATES[rate_hz]),
            registers={
                _CTRL1_XL: (code << 4 | accel_bits, code << 4 | gyro_bits, _BLOCK_UPDATE_AND_INCREMENT),
                _CTRL9_XL: (_NO_I3C,),
                _FIFO_CTRL: (0, 0, code << 4 | code, _CONTINUOUS),
            },
        )

    def _wake(self) -> None:
        self._write(_CTRL3_C, _SOFTWARE_RESET)
        self._sleep(_RESET_S)
        self._write(_CTRL3_C, _BLOCK_UPDATE_AND_INCREMENT)
        self._slot: int | None = None

    def _clear_fifo(self) -> None:
        self._write(_FIFO_CTRL + 3, 0)
        self._write(_FIFO_CTRL + 3, _CONTINUOUS)
        self._slot = None

    def _waiting(self) -> int:
        status = int.from_bytes(self._read(_FIFO_STATUS, 2), 'little')
        return self.FIFO_BYTES if status & _OVERRUN else (status & 0x3FF) * _WORD_BYTES

    def _aligned(self, waiting: int) -> bool:
        return waiting % _WORD_BYTES == 0  # one of the pair may be there a little before the other

    def _counts(self, data: bytes) -> NDArray[np.int16]:
        """Check the tags: every word has parity, and a counter of two bits that goes on from sample to sample."""
        pairs = np.frombuffer(data, np.uint8).reshape(-1, 2, _WORD_BYTES)
        tags = pairs[:, :, 0]
        slots = tags >> 1 & 3
        first = self._slot if self._slot is not None else int(slots[0, 0])
        expected = (first + np.arange(len(pairs))) % 4
        odd = np.unpackbits(tags[:, :, np.newaxis], axis=2).sum(axis=2) % 2
        kinds = np.sort(tags >> 3, axis=1)
        if odd.any() or (kinds != (_GYRO_TAG, _ACCEL_TAG)).any() or (slots != expected[:, np.newaxis]).any():
            raise Garbled(f'the FIFO of {self._name} has lost its order: check cable length, pull-ups and bus speed')
        self._slot = int(expected[-1] + 1) % 4
        ordered = np.take_along_axis(pairs, (tags >> 3).argsort(axis=1)[:, :, np.newaxis], axis=1)
        words = np.ascontiguousarray(ordered[:, :, 1:]).view('<i2')
        return words.astype(np.int16).reshape(-1, 6)

    def _sleep_now(self) -> None:
        self._write(_CTRL1_XL, 0, 0)
