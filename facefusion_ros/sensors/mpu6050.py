"""InvenSense MPU-6050, a gyroscope and accelerometer.

Source of registers: InvenSense RM-MPU-6000A-00 (register map, rev. 4.2); of times, noise and sensitivity:
PS-MPU-6000A-00 (product specification, rev. 3.4). The recovery follows PX4's BMI088 driver, the FIFO limits
Linux drivers/iio/imu/inv_mpu6050/inv_mpu_ring.c.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.sensors.bus import ChipReset, Overrun, SensorError, SettingsLost, WrongIdentity
from facefusion_ros.sensors.chip import ImuSample
from facefusion_ros.sensors.chip_clock import GOLDEN, ChipClock

if TYPE_CHECKING:
    from facefusion_ros.sensors.bus import Bus
    from facefusion_ros.sensors.chip import Clock, Sleep

ADDRESS = 0x68
"""With the AD0 pin low; 0x69 with it high."""

_SMPLRT_DIV = 0x19
_FIFO_EN = 0x23
_SIGNAL_PATH_RESET = 0x68
_USER_CTRL = 0x6A
_PWR_MGMT_1 = 0x6B
_FIFO_COUNT = 0x72
_FIFO_R_W = 0x74
_WHO_AM_I = 0x75

_DEVICE_RESET = 0x80
_ASLEEP = 0x40
"""What PWR_MGMT_1 reads after a reset."""
_CLOCK_OF_GYRO_X = 0x01
_RESET_ALL_PATHS = 0x07
_FIFO_RESET = 0x04
_FIFO_ENABLE = 0x40
_GYRO_AND_ACCEL = 0x78

_RESET_S = 0.1
_FIFO_BYTES = 1024
_SAMPLE_BYTES = 12
_SPARE_SAMPLES = 3
_RECHECK_S = 0.1
_STALLED_PERIODS = 20
_WELL_TIMED_S = 1e-3

STANDARD_GRAVITY = 9.80665
GYRO_NOISE_DENSITY = math.radians(0.005)
"""rad/s/√Hz."""
ACCEL_NOISE_DENSITY = 400e-6 * STANDARD_GRAVITY
"""m/s²/√Hz."""

_IDENTITIES = {
    0x68: 'MPU-6050',
    0x70: 'MPU-6500',
    0x71: 'MPU-9250',
    0x73: 'MPU-9255',
    0x74: 'MPU-6515',
    0x78: 'MPU-6880',
    0x98: 'ICM-20689',
    0xEA: 'ICM-20948',
}
_IDENTITY = 0x68

_GYRO_COUNTS_PER_DPS = {250: 131.0, 500: 65.5, 1000: 32.8, 2000: 16.4}
_ACCEL_COUNTS_PER_G = {2: 16384, 4: 8192, 8: 4096, 16: 2048}


@dataclass(frozen=True, slots=True)
class Filter:
    """A setting of the digital low-pass filter."""

    dlpf_cfg: int
    gyro_bandwidth_hz: float
    gyro_delay_s: float
    accel_bandwidth_hz: float


FILTERS = {
    188: Filter(1, 188.0, 1.9e-3, 184.0),
    98: Filter(2, 98.0, 2.8e-3, 94.0),
    42: Filter(3, 42.0, 4.8e-3, 44.0),
    20: Filter(4, 20.0, 8.3e-3, 21.0),
    10: Filter(5, 10.0, 13.4e-3, 10.0),
    5: Filter(6, 5.0, 18.6e-3, 5.0),
}
"""By the bandwidth of the gyroscope, Hz. The accelerometer's delay differs by 0.4 ms at most."""


@dataclass(frozen=True, slots=True)
class Mpu6050Settings:
    """How the chip measures; raises ValueError for what it cannot do."""

    rate_hz: float = 200.0
    """Samples per second: 1000 divided by a whole number up to 256."""
    gyro_range_dps: int = 500
    """250, 500, 1000 or 2000."""
    accel_range_g: int = 4
    """2, 4, 8 or 16."""
    bandwidth_hz: int = 98
    """Of the gyroscope: 188, 98, 42, 20, 10 or 5."""
    batch_s: float = 0.018
    """About how long the chip collects samples before they are read."""

    def __post_init__(self) -> None:
        divider = 1000.0 / self.rate_hz if self.rate_hz > 0.0 else 0.0
        if not 1 <= round(divider) <= 256 or abs(divider - round(divider)) > 1e-6 * divider:
            raise ValueError(f'rate_hz is {self.rate_hz}: take 1000 divided by a whole number from 1 to 256')
        if self.gyro_range_dps not in _GYRO_COUNTS_PER_DPS:
            raise ValueError(f'gyro_range_dps is {self.gyro_range_dps}: take one of {list(_GYRO_COUNTS_PER_DPS)}')
        if self.accel_range_g not in _ACCEL_COUNTS_PER_G:
            raise ValueError(f'accel_range_g is {self.accel_range_g}: take one of {list(_ACCEL_COUNTS_PER_G)}')
        if self.bandwidth_hz not in FILTERS:
            raise ValueError(f'bandwidth_hz is {self.bandwidth_hz}: take one of {list(FILTERS)}')
        longest_s = (_FIFO_BYTES // _SAMPLE_BYTES // 2) / self.rate_hz
        if not 0.0 < self.batch_s <= longest_s:
            raise ValueError(f'batch_s is {self.batch_s}: take up to {longest_s:.3f}, what half the FIFO holds')

    @property
    def registers(self) -> dict[int, tuple[int, ...]]:
        """What is written where and has to stay there: first register of a run -> its bytes."""
        gyro_bits = list(_GYRO_COUNTS_PER_DPS).index(self.gyro_range_dps) << 3
        accel_bits = list(_ACCEL_COUNTS_PER_G).index(self.accel_range_g) << 3
        divider = round(1000.0 / self.rate_hz) - 1
        return {
            _SMPLRT_DIV: (divider, FILTERS[self.bandwidth_hz].dlpf_cfg, gyro_bits, accel_bits),
            _FIFO_EN: (_GYRO_AND_ACCEL,),
            _USER_CTRL: (_FIFO_ENABLE, _CLOCK_OF_GYRO_X),
        }


class Mpu6050:
    """MPU-6050 read through its FIFO.

    Stamps are made from the number of samples and the chip's own period, learned by a phase-locked loop, less the delay
    of the low-pass filter; the first 0.3 s after a start, while it learns, give no readings. One run of registers is
    compared with what it should hold every 100 ms, all of them after any failed transfer and when samples stay away.
    """

    def __init__(
        self,
        bus: Bus,
        address: int = ADDRESS,
        settings: Mpu6050Settings | None = None,
        *,
        clock: Clock = time.time_ns,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.settings = settings or Mpu6050Settings()
        self._bus = bus
        self._address = address
        self._clock = clock
        self._sleep = sleep
        self._registers = self.settings.registers
        self._period_s = 1.0 / self.settings.rate_hz
        self._beat = ChipClock(self._period_s)
        self._recheck_ns = 0
        self._rechecks = 0
        self._filled_ns = 0
        self._doubtful = False

        low_pass = FILTERS[self.settings.bandwidth_hz]
        gyro = math.radians(1.0) / _GYRO_COUNTS_PER_DPS[self.settings.gyro_range_dps]
        accel = STANDARD_GRAVITY / _ACCEL_COUNTS_PER_G[self.settings.accel_range_g]
        self._scale = np.array([accel] * 3 + [gyro] * 3)
        self._delay_ns = round(low_pass.gyro_delay_s * 1e9)
        self._gyro_variance = GYRO_NOISE_DENSITY**2 * low_pass.gyro_bandwidth_hz + gyro**2 / 12.0
        self._accel_variance = ACCEL_NOISE_DENSITY**2 * low_pass.accel_bandwidth_hz + accel**2 / 12.0

    @property
    def period_s(self) -> float:
        """Seconds from one read to the next; not a whole number of samples, so that the phase can be learned."""
        whole = max(1, round(self.settings.batch_s / self._period_s - GOLDEN))
        return (whole + GOLDEN) * self._period_s

    @property
    def sample_period_s(self) -> float:
        """The chip's own sample period as learned so far, seconds."""
        return self._beat.period_s

    def start(self) -> None:
        """Reset, identify and set up the chip, and check every setting; takes 0.2 s."""
        self._bus.open()
        self._bus.claim(self._address)
        self._identify()
        self._write(_PWR_MGMT_1, _DEVICE_RESET)
        self._sleep(_RESET_S)
        self._write(_SIGNAL_PATH_RESET, _RESET_ALL_PATHS)
        self._sleep(_RESET_S)
        self._write(_PWR_MGMT_1, _CLOCK_OF_GYRO_X)
        self._write(_SMPLRT_DIV, *self._registers[_SMPLRT_DIV])
        self._reset_fifo()
        for register in self._registers:
            self._check(register)
        self._doubtful = False
        self._beat = ChipClock(self._period_s)

    def read(self) -> list[ImuSample]:
        """Return the samples in the FIFO; raises Overrun where they waited too long there."""
        try:
            if self._doubtful:
                for register in self._registers:
                    self._check(register)
                self._reset_fifo()
                self._doubtful = False
            return self._read_fifo()
        except Overrun:
            raise
        except SensorError:
            self._doubtful = True
            raise

    def close(self) -> None:
        """Put the chip to sleep if it still answers, and close the bus."""
        with suppress(SensorError):
            self._write(_PWR_MGMT_1, _ASLEEP)
        self._bus.close()

    def _read_fifo(self) -> list[ImuSample]:
        asked_ns = self._clock()
        if not 0 <= asked_ns - self._recheck_ns < _RECHECK_S * 1e9:
            self._recheck_ns = asked_ns
            self._rechecks += 1
            self._check(list(self._registers)[self._rechecks % len(self._registers)])
            asked_ns = self._clock()
        waiting = int.from_bytes(self._bus.write_read(self._address, (_FIFO_COUNT,), 2), 'big')
        answered_ns = self._clock()
        if waiting > _FIFO_BYTES - _SPARE_SAMPLES * _SAMPLE_BYTES:
            self._reset_fifo()
            raise Overrun(f'{self._name} was not read for too long and its FIFO ran full: give this process more time')
        samples = waiting // _SAMPLE_BYTES
        if samples == 0:
            self._check_stalled(answered_ns)
            return []
        self._filled_ns = answered_ns
        data = self._bus.write_read(self._address, (_FIFO_R_W,), samples * _SAMPLE_BYTES)
        well_timed = 0 <= answered_ns - asked_ns < _WELL_TIMED_S * 1e9
        self._beat.advance(samples, (asked_ns + answered_ns) // 2, trusted=well_timed)
        return self._decode(data) if self._beat.locked else []

    def _decode(self, data: bytes) -> list[ImuSample]:
        counts = np.frombuffer(data, '>i2').reshape(-1, 6)
        values = counts * self._scale
        clipped = ((counts == 32767) | (counts == -32768)).any(axis=1)
        stamps = self._beat.stamps(len(counts)) - self._delay_ns
        return [
            ImuSample(stamp, value[3:], value[:3], self._gyro_variance, self._accel_variance, clip)
            for stamp, value, clip in zip(stamps.tolist(), values, clipped.tolist(), strict=True)
        ]

    def _identify(self) -> None:
        identity = self._bus.write_read(self._address, (_WHO_AM_I,), 1)[0]
        if identity != _IDENTITY:
            name = _IDENTITIES.get(identity, 'unknown')
            raise WrongIdentity(
                f'the chip at {self._address:#04x} on {self._bus.path} is no MPU-6050: WHO_AM_I is {identity:#04x} '
                f'({name}); set the chip or address that is really there'
            )

    def _reset_fifo(self) -> None:
        self._write(_FIFO_EN, 0)
        self._write(_USER_CTRL, 0)
        self._write(_USER_CTRL, _FIFO_RESET)
        self._write(_USER_CTRL, _FIFO_ENABLE)
        self._write(_FIFO_EN, _GYRO_AND_ACCEL)
        self._filled_ns = self._clock()
        self._beat.lose_count()

    def _check(self, register: int) -> None:
        """Raise ChipReset or SettingsLost unless a run of registers holds what was written."""
        wanted = self._registers[register]
        found = tuple(self._bus.write_read(self._address, (register,), len(wanted)))
        if found == wanted:
            return
        power = self._bus.write_read(self._address, (_PWR_MGMT_1,), 1)[0]
        if power == _ASLEEP:
            raise ChipReset(f'{self._name} has reset itself: look for a weak supply or a loose wire')
        raise SettingsLost(
            f'{self._name} holds {bytes(found).hex()} from register {register:#04x} on and not '
            f'{bytes(wanted).hex()}: look for a weak supply, long wires or a second program that uses it'
        )

    def _check_stalled(self, now_ns: int) -> None:
        if 0 <= now_ns - self._filled_ns < _STALLED_PERIODS * self._period_s * 1e9:
            return
        for register in self._registers:
            self._check(register)
        raise SettingsLost(f'{self._name} has stopped giving samples: switch its power off and on if this goes on')

    def _write(self, register: int, *values: int) -> None:
        self._bus.write(self._address, (register, *values))

    @property
    def _name(self) -> str:
        return f'the MPU-6050 at {self._address:#04x} on {self._bus.path}'
