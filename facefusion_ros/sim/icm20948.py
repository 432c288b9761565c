"""An emulated ICM-20948: four banks of registers, FIFO, low-pass delay, own clock and noise.

Source: TDK InvenSense DS-000189, rev. 1.3, from which this and the driver were written apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facefusion_ros.sim.motion_chip import EmulatedMotionChip, LowPass, MotionNoise, first_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REG_BANK_SEL = 0x7F
# In bank 0.
_WHO_AM_I, _USER_CTRL, _LP_CONFIG, _PWR_MGMT_1 = 0x00, 0x03, 0x05, 0x06
_ACCEL_XOUT_H, _GYRO_XOUT_H, _TEMP_OUT_H = 0x2D, 0x33, 0x39
_FIFO_EN_2, _FIFO_RST = 0x67, 0x68
_FIFO_COUNTH, _FIFO_COUNTL, _FIFO_R_W = 0x70, 0x71, 0x72
# In bank 2.
_GYRO_SMPLRT_DIV, _GYRO_CONFIG_1, _ACCEL_CONFIG = 0x00, 0x01, 0x14

_FIFO_BYTES = 512
_BOOT_NS = 5_000_000
_GYRO_START_NS = 35_000_000
_BEFORE_S = 1.8e-3
_GYRO_HZ = (196.6, 151.8, 119.5, 51.2, 23.9, 11.6, 5.7, 361.4)
_ACCEL_HZ = (246.0, 246.0, 111.4, 50.4, 23.9, 11.5, 5.7, 473.0)


class EmulatedIcm20948(EmulatedMotionChip):
    """ICM-20948 without its magnetometer."""

    ADDRESS = 0x68
    IDENTITY = 0xEA
    NOISE = MotionNoise(0.015, 230e-6)

    def lose_bank(self, bank: int = 2) -> None:
        """Change the bank without being told to."""
        self._bank = bank

    def lose_fifo_byte(self) -> None:
        """Lose a byte of the FIFO, so that all that follow are in another place."""
        del self._fifo[:1]

    def _reset(self) -> None:
        self._banks = [bytearray(127) for _ in range(4)]
        self._bank = 0
        self._banks[0][_LP_CONFIG] = 0x40
        self._banks[0][_PWR_MGMT_1] = 0x41
        self._banks[2][_GYRO_CONFIG_1] = 0x01
        self._banks[2][_ACCEL_CONFIG] = 0x01
        self._fifo = bytearray()
        self._reset_ns = self._clock() - _BOOT_NS
        self._awake_ns = 0

    def _after(self, register: int) -> int:
        return register if self._bank == 0 and register == _FIFO_R_W else super()._after(register)

    def _burst(self, register: int, length: int) -> bytes | None:
        if self._bank or register != _FIFO_R_W:
            return None
        taken = bytes(self._fifo[:length])
        del self._fifo[: len(taken)]
        return taken.ljust(length, b'\xff')

    def _read_register(self, register: int) -> int:
        register &= 0x7F
        if register == _REG_BANK_SEL:
            return self._bank << 4
        if self._bank == 0 and register == _WHO_AM_I:
            return self.identity
        if self._bank == 0 and register in (_FIFO_COUNTH, _FIFO_COUNTL):
            return len(self._fifo).to_bytes(2, 'big')[register - _FIFO_COUNTH]
        return self._banks[self._bank][register]

    def _write_register(self, register: int, value: int) -> None:
        now_ns = self._clock()
        register &= 0x7F
        if now_ns - self._reset_ns < _BOOT_NS:
            return
        if register == _REG_BANK_SEL:
            self._bank = value >> 4 & 3
            return
        bank = self._banks[self._bank]
        if self._bank == 0:
            if register in (_WHO_AM_I, _FIFO_COUNTH, _FIFO_COUNTL, _FIFO_R_W):
                return
            if register == _PWR_MGMT_1:
                if value & 0x80:
                    self._reset()
                    self._restart_sampling()
                    self._reset_ns = now_ns
                    return
                if bank[_PWR_MGMT_1] & 0x40 and not value & 0x40:
                    self._awake_ns = now_ns
                    self._restart_sampling()
        elif self._bank == 2 and register == _GYRO_SMPLRT_DIV and bank[register] != value:
            bank[register] = value
            self._restart_sampling()
        bank[register] = value
        if self._banks[0][_FIFO_RST] & 0x1F:
            self._fifo.clear()

    @property
    def _rate_hz(self) -> float:
        if self._banks[0][_PWR_MGMT_1] & 0x40:
            return 0.0
        return 1125.0 / (1 + self._banks[2][_GYRO_SMPLRT_DIV])

    @property
    def _filters(self) -> tuple[LowPass, LowPass]:
        gyro, accel = (self._banks[2][register] >> 3 & 7 for register in (_GYRO_CONFIG_1, _ACCEL_CONFIG))
        return first_order(_GYRO_HZ[gyro], _BEFORE_S), first_order(_ACCEL_HZ[accel], _BEFORE_S)

    @property
    def _counts_per_unit(self) -> tuple[float, float]:
        gyro, accel = (self._banks[2][register] >> 1 & 3 for register in (_GYRO_CONFIG_1, _ACCEL_CONFIG))
        return (131.0, 65.5, 32.8, 16.4)[gyro], 16384 >> accel

    @property
    def _filling(self) -> bool:
        bank = self._banks[0]
        return bool(bank[_USER_CTRL] & 0x40) and not bank[_FIFO_RST] & 0x1F and bank[_FIFO_EN_2] & 0x1E == 0x1E

    @property
    def _depth(self) -> int:
        return _FIFO_BYTES // 12 + 2 if self._filling else 1

    @property
    def _still_ns(self) -> int:
        return self._awake_ns + _GYRO_START_NS

    def _store(self, counts: NDArray[np.int64]) -> None:
        data = counts.astype('>i2')
        bank = self._banks[0]
        bank[_ACCEL_XOUT_H:_GYRO_XOUT_H] = data[-1, :3].tobytes()
        bank[_GYRO_XOUT_H:_TEMP_OUT_H] = data[-1, 3:].tobytes()
        bank[_TEMP_OUT_H : _TEMP_OUT_H + 2] = round((25.0 - 21.0) * 333.87).to_bytes(2, 'big')
        if self._filling:
            self._fifo += data.tobytes()
            del self._fifo[: max(0, len(self._fifo) - _FIFO_BYTES)]
