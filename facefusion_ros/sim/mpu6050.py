"""Emulated MPU-6050, MPU-6500 and MPU-9250: registers, FIFO, low-pass delay, own clock and noise.

Source: InvenSense RM-MPU-6000A-00 (register map, rev. 4.2), PS-MPU-6000A-00 (product specification, rev. 3.4) and
RM-MPU-6500A-00 (rev. 2.1), from which these and the drivers were written apart: they share no constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from facefusion_ros.sim.motion_chip import EmulatedMotionChip, LowPass, MotionNoise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SMPLRT_DIV, _CONFIG, _GYRO_CONFIG, _ACCEL_CONFIG, _ACCEL_CONFIG_2 = 0x19, 0x1A, 0x1B, 0x1C, 0x1D
_FIFO_EN = 0x23
_INT_STATUS = 0x3A
_ACCEL_XOUT_H, _TEMP_OUT_H, _GYRO_XOUT_H = 0x3B, 0x41, 0x43
_SIGNAL_PATH_RESET = 0x68
_USER_CTRL, _PWR_MGMT_1 = 0x6A, 0x6B
_FIFO_COUNTH, _FIFO_COUNTL, _FIFO_R_W = 0x72, 0x73, 0x74
_WHO_AM_I = 0x75
_READ_ONLY = frozenset((*range(0x3A, 0x61), _FIFO_COUNTH, _FIFO_COUNTL, _WHO_AM_I))

_OVERFLOW = 0x10
_BOOT_NS = 50_000_000
"""Writes within this time after a reset are lost; the data sheet asks for 100 ms of patience."""
_GYRO_START_NS = 30_000_000


def _row(*filters: tuple[float, float]) -> tuple[LowPass, ...]:
    return tuple(LowPass(*each) for each in filters)


class EmulatedMpu6050(EmulatedMotionChip):
    """MPU-6050."""

    ADDRESS = 0x68
    IDENTITY = 0x68
    NOISE = MotionNoise(0.005, 400e-6)
    FIFO_BYTES: ClassVar = 1024
    POWER_AFTER_RESET: ClassVar = 0x40
    TEMPERATURE: ClassVar = round((25.0 - 36.53) * 340.0)
    # By DLPF_CFG; 7 is reserved.
    GYRO_FILTERS: ClassVar = _row(
        (256, 0.98e-3), (188, 1.9e-3), (98, 2.8e-3), (42, 4.8e-3), (20, 8.3e-3), (10, 13.4e-3), (5, 18.6e-3)
    )
    ACCEL_FILTERS: ClassVar = _row(
        (260, 0.0), (184, 2.0e-3), (94, 3.0e-3), (44, 4.9e-3), (21, 8.5e-3), (10, 13.8e-3), (5, 19.0e-3)
    )
    ACCEL_FILTER_REGISTER: ClassVar = _CONFIG

    def _reset(self) -> None:
        self._registers = bytearray(128)
        self._registers[_PWR_MGMT_1] = self.POWER_AFTER_RESET
        self._fifo = bytearray()
        self._reset_ns = self._clock() - _BOOT_NS
        self._awake_ns = 0

    def lose_fifo_byte(self) -> None:
        """Lose a byte of the FIFO, so that all that follow are in another place."""
        del self._fifo[:1]

    def _after(self, register: int) -> int:
        return register if register == _FIFO_R_W else super()._after(register)

    def _burst(self, register: int, length: int) -> bytes | None:
        if register != _FIFO_R_W:
            return None
        taken = bytes(self._fifo[:length])
        del self._fifo[: len(taken)]
        return taken.ljust(length, b'\xff')

    def _read_register(self, register: int) -> int:
        if register == _WHO_AM_I:
            return self.identity
        if register == _FIFO_COUNTH:
            return len(self._fifo) >> 8
        if register == _FIFO_COUNTL:
            return len(self._fifo) & 0xFF
        value = self._registers[register & 0x7F]
        if register == _INT_STATUS:
            self._registers[_INT_STATUS] = 0
        return value

    def _write_register(self, register: int, value: int) -> None:
        now_ns = self._clock()
        register &= 0x7F
        if register in _READ_ONLY or now_ns - self._reset_ns < _BOOT_NS:
            return
        if register == _PWR_MGMT_1 and value & 0x80:
            self._reset()
            self._restart_sampling()
            self._reset_ns = now_ns
            return
        if register == _FIFO_R_W:
            self._push(bytes((value,)))
            return
        if register == _SIGNAL_PATH_RESET:
            return
        wakes = register == _PWR_MGMT_1 and not self._rate_hz and not value & 0x40
        if register == _USER_CTRL:
            if value & 0x04 and not value & 0x40:
                self._fifo.clear()
            value &= ~0x07  # the reset bits clear themselves
        changed = self._registers[register] != value
        self._registers[register] = value
        if wakes:
            self._awake_ns = now_ns
        if wakes or (changed and register in (_SMPLRT_DIV, _CONFIG)):
            self._restart_sampling()

    @property
    def _rate_hz(self) -> float:
        if self._registers[_PWR_MGMT_1] & 0x40:
            return 0.0
        base_hz = 8000.0 if self._registers[_CONFIG] & 7 in (0, 7) else 1000.0
        return base_hz / (1 + self._registers[_SMPLRT_DIV])

    @property
    def _filters(self) -> tuple[LowPass, LowPass]:
        gyro, accel = self._registers[_CONFIG] & 7, self._registers[self.ACCEL_FILTER_REGISTER] & 7
        return self.GYRO_FILTERS[gyro % 7], self.ACCEL_FILTERS[accel % 7]

    @property
    def _counts_per_unit(self) -> tuple[float, float]:
        gyro, accel = (self._registers[register] >> 3 & 3 for register in (_GYRO_CONFIG, _ACCEL_CONFIG))
        return (131.0, 65.5, 32.8, 16.4)[gyro], 16384 >> accel

    @property
    def _depth(self) -> int:
        return self.FIFO_BYTES // 2 + 2 if self._sources else 1

    @property
    def _sources(self) -> int:
        return self._registers[_FIFO_EN] & 0xF8 if self._registers[_USER_CTRL] & 0x40 else 0

    @property
    def _still_ns(self) -> int:
        return self._awake_ns + _GYRO_START_NS

    def _store(self, counts: NDArray[np.int64]) -> None:
        data = counts.astype('>i2')
        temperature = self.TEMPERATURE.to_bytes(2, 'big', signed=True)
        self._registers[_ACCEL_XOUT_H:_TEMP_OUT_H] = data[-1, :3].tobytes()
        self._registers[_TEMP_OUT_H:_GYRO_XOUT_H] = temperature
        self._registers[_GYRO_XOUT_H : _GYRO_XOUT_H + 6] = data[-1, 3:].tobytes()
        self._registers[_INT_STATUS] |= 0x01
        sources = self._sources
        for row in data if sources else ():
            # Accelerometer, temperature and gyroscope lie in the FIFO in the order of their registers.
            if sources & 0x08:
                self._push(row[:3].tobytes())
            if sources & 0x80:
                self._push(temperature)
            for axis, bit in enumerate((0x40, 0x20, 0x10)):
                if sources & bit:
                    self._push(row[3 + axis : 4 + axis].tobytes())

    def _push(self, data: bytes) -> None:
        self._fifo += data
        excess = len(self._fifo) - self.FIFO_BYTES
        if excess > 0:
            del self._fifo[:excess]
            self._registers[_INT_STATUS] |= _OVERFLOW


class EmulatedMpu6500(EmulatedMpu6050):
    """MPU-6500: half the FIFO, awake after a reset, the accelerometer's filter apart."""

    IDENTITY = 0x70
    NOISE = MotionNoise(0.01, 300e-6)
    FIFO_BYTES = 512
    POWER_AFTER_RESET = 0x01
    TEMPERATURE = round((25.0 - 21.0) * 333.87)
    GYRO_FILTERS = _row(
        (250, 0.97e-3), (184, 2.9e-3), (92, 3.9e-3), (41, 5.9e-3), (20, 9.9e-3), (10, 17.85e-3), (5, 33.48e-3)
    )
    ACCEL_FILTERS = _row(
        (460, 1.94e-3), (184, 5.8e-3), (92, 7.8e-3), (41, 11.8e-3), (20, 19.8e-3), (10, 35.7e-3), (5, 66.96e-3)
    )
    ACCEL_FILTER_REGISTER = _ACCEL_CONFIG_2


class EmulatedMpu9250(EmulatedMpu6500):
    """MPU-9250."""

    IDENTITY = 0x71
