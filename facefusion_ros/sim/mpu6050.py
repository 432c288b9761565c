"""An emulated MPU-6050: registers, FIFO, low-pass delay, its own clock and its noise.

Source: InvenSense RM-MPU-6000A-00 (register map, rev. 4.2) and PS-MPU-6000A-00 (product specification, rev. 3.4),
from
which this and the driver were written apart: they share no constant.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike, NDArray

_SMPLRT_DIV, _CONFIG, _GYRO_CONFIG, _ACCEL_CONFIG = 0x19, 0x1A, 0x1B, 0x1C
_FIFO_EN = 0x23
_INT_STATUS = 0x3A
_ACCEL_XOUT_H = 0x3B
_SIGNAL_PATH_RESET = 0x68
_USER_CTRL, _PWR_MGMT_1 = 0x6A, 0x6B
_FIFO_COUNTH, _FIFO_COUNTL, _FIFO_R_W = 0x72, 0x73, 0x74
_WHO_AM_I = 0x75
_READ_ONLY = frozenset((*range(0x3A, 0x61), _FIFO_COUNTH, _FIFO_COUNTL, _WHO_AM_I))

_FIFO_BYTES = 1024
_OVERFLOW = 0x10
_BOOT_NS = 50_000_000
"""Writes within this time after a reset are lost; the data sheet asks for 100 ms of patience."""
_GYRO_START_NS = 30_000_000

# Bandwidth Hz and delay s by DLPF_CFG; 7 is reserved.
_ACCEL_FILTER = ((260, 0.0), (184, 2.0e-3), (94, 3.0e-3), (44, 4.9e-3), (21, 8.5e-3), (10, 13.8e-3), (5, 19.0e-3))
_GYRO_FILTER = ((256, 0.98e-3), (188, 1.9e-3), (98, 2.8e-3), (42, 4.8e-3), (20, 8.3e-3), (10, 13.4e-3), (5, 18.6e-3))

_G = 9.80665
_FULL_COUNT = 32767


@dataclass(frozen=True, slots=True)
class Mpu6050Noise:
    """Densities of white noise; those of the product specification by default, 0 for none."""

    gyro_dps_rthz: float = 0.005
    accel_g_rthz: float = 400e-6


class EmulatedMpu6050:
    """MPU-6050 as the bus sees it; samples are made when somebody looks.

    :param angular_velocity: (3,) rad/s in the chip's axes at a time in seconds of the clock.
    :param specific_force: (3,) m/s² in the chip's axes at a time in seconds of the clock.
    :param clock_error: how much faster than nominal the chip's own clock runs, as a fraction.
    :param bias: (3,) rad/s, what the gyroscope shows at rest.
    :param identity: what WHO_AM_I reads.
    """

    def __init__(
        self,
        angular_velocity: Callable[[float], ArrayLike],
        specific_force: Callable[[float], ArrayLike],
        *,
        address: int = 0x68,
        clock: Callable[[], int] = time.time_ns,
        clock_error: float = 0.0,
        bias: ArrayLike = (0.0, 0.0, 0.0),
        noise: Mpu6050Noise | None = None,
        seed: int = 0,
        identity: int = 0x68,
    ) -> None:
        self.address = address
        self._angular_velocity = angular_velocity
        self._specific_force = specific_force
        self._clock = clock
        self._clock_error = clock_error
        self._bias = np.asarray(bias, np.float64)
        self._noise = Mpu6050Noise() if noise is None else noise
        self._rng = np.random.default_rng(seed)
        self._identity = identity
        self.power_cycle()

    def power_cycle(self) -> None:
        """Lose power for a moment: registers as after reset, asleep, FIFO empty."""
        self._registers = bytearray(128)
        self._registers[_PWR_MGMT_1] = 0x40
        self._registers[_WHO_AM_I] = self._identity
        self._pointer = 0
        self._fifo = bytearray()
        self._boot_ns = -_BOOT_NS
        self._restart_sampling(self._clock())
        self._awake_ns = 0

    def write(self, data: bytes) -> None:
        """Set the register pointer, then write to it and the following registers."""
        if not data:
            return
        self._sample()
        self._pointer = data[0] & 0x7F
        for value in data[1:]:
            self._write_register(self._pointer, value)
            self._advance_pointer()

    def read(self, length: int) -> bytes:
        """Read from the register pointer on; FIFO_R_W gives the FIFO and does not move the pointer."""
        self._sample()
        answer = bytearray()
        while len(answer) < length:
            if self._pointer == _FIFO_R_W:
                taken = self._fifo[: length - len(answer)]
                del self._fifo[: len(taken)]
                answer += taken.ljust(length - len(answer), b'\xff')
                break
            answer.append(self._read_register(self._pointer))
            self._advance_pointer()
        return bytes(answer)

    def _advance_pointer(self) -> None:
        if self._pointer != _FIFO_R_W:
            self._pointer = (self._pointer + 1) % len(self._registers)

    def _read_register(self, register: int) -> int:
        if register == _FIFO_COUNTH:
            return len(self._fifo) >> 8
        if register == _FIFO_COUNTL:
            return len(self._fifo) & 0xFF
        value = self._registers[register]
        if register == _INT_STATUS:
            self._registers[_INT_STATUS] = 0
        return value

    def _write_register(self, register: int, value: int) -> None:
        now_ns = self._clock()
        if register in _READ_ONLY or now_ns - self._boot_ns < _BOOT_NS:
            return
        if register == _PWR_MGMT_1 and value & 0x80:
            self.power_cycle()
            self._boot_ns = now_ns
            return
        if register == _FIFO_R_W:
            self._push(bytes((value,)))
            return
        if register == _SIGNAL_PATH_RESET:
            return
        if register == _PWR_MGMT_1 and self._asleep and not value & 0x40:
            self._awake_ns = now_ns
            self._restart_sampling(now_ns)
        if register == _USER_CTRL:
            if value & 0x04 and not value & 0x40:
                self._fifo.clear()
            value &= ~0x07  # the reset bits clear themselves
        changed = self._registers[register] != value
        self._registers[register] = value
        if changed and register in (_SMPLRT_DIV, _CONFIG):
            self._restart_sampling(now_ns)

    @property
    def _asleep(self) -> bool:
        return bool(self._registers[_PWR_MGMT_1] & 0x40)

    @property
    def _filter(self) -> int:
        return self._registers[_CONFIG] & 0x07

    def _restart_sampling(self, now_ns: int) -> None:
        base_hz = 8000.0 if self._filter in (0, 7) else 1000.0
        rate_hz = base_hz / (1 + self._registers[_SMPLRT_DIV]) * (1.0 + self._clock_error)
        self._period_ns = 1e9 / rate_hz
        self._origin_ns = now_ns
        self._sampled = 0

    def _sample(self) -> None:
        """Take the samples that are due; of more than the FIFO holds, only the last matter."""
        if self._asleep:
            return
        due = int((self._clock() - self._origin_ns) / self._period_ns)
        if due <= self._sampled:
            return
        sources = self._registers[_FIFO_EN] if self._registers[_USER_CTRL] & 0x40 else 0
        datum_bytes = 6 * (sources >> 3 & 1) + 2 * (sources >> 4 & 0b1111).bit_count() if sources else 0
        wanted = _FIFO_BYTES // datum_bytes + 2 if datum_bytes else 1
        skipped = max(0, due - self._sampled - wanted)
        counts = self._measure(range(self._sampled + skipped + 1, due + 1))
        self._sampled = due
        data = counts.astype('>i2')
        self._registers[_ACCEL_XOUT_H : _ACCEL_XOUT_H + 14] = data[-1].tobytes()
        self._registers[_INT_STATUS] |= 0x01
        if datum_bytes:
            # Accelerometer, temperature and gyroscope lie in the FIFO in the order of their registers.
            taken = [bool(sources & 0x08)] * 3 + [bool(sources & bit) for bit in (0x80, 0x40, 0x20, 0x10)]
            self._push(data[:, taken].tobytes())

    def _push(self, data: bytes) -> None:
        self._fifo += data
        excess = len(self._fifo) - _FIFO_BYTES
        if excess > 0:
            del self._fifo[:excess]
            self._registers[_INT_STATUS] |= _OVERFLOW

    def _measure(self, indices: Iterable[int]) -> NDArray[np.int64]:
        """Return the counts of samples, (n, 7): accelerometer, temperature, gyroscope."""
        times_ns = [self._origin_ns + round(index * self._period_ns) for index in indices]
        accel_hz, accel_delay_s = _ACCEL_FILTER[self._filter % 7]
        gyro_hz, gyro_delay_s = _GYRO_FILTER[self._filter % 7]
        force = np.array([self._specific_force(time_ns * 1e-9 - accel_delay_s) for time_ns in times_ns], np.float64)
        omega = np.array([self._angular_velocity(time_ns * 1e-9 - gyro_delay_s) for time_ns in times_ns], np.float64)
        omega += self._bias
        noise = self._rng.standard_normal((len(times_ns), 6))
        omega += noise[:, 3:] * math.radians(self._noise.gyro_dps_rthz) * math.sqrt(gyro_hz)
        force += noise[:, :3] * self._noise.accel_g_rthz * _G * math.sqrt(accel_hz)
        omega[np.array(times_ns) - self._awake_ns < _GYRO_START_NS] = 0.0

        counts = np.empty((len(times_ns), 7))
        counts[:, :3] = force / _G * (16384 >> (self._registers[_ACCEL_CONFIG] >> 3 & 3))
        counts[:, 3] = (25.0 - 36.53) * 340.0  # degrees Celsius
        gyro_range = self._registers[_GYRO_CONFIG] >> 3 & 3
        counts[:, 4:] = np.degrees(omega) * (131.0, 65.5, 32.8, 16.4)[gyro_range]
        return np.clip(np.rint(counts), -_FULL_COUNT - 1, _FULL_COUNT).astype(np.int64)
