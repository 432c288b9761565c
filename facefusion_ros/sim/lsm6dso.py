"""An emulated LSM6DSO: registers, a FIFO of tagged words, low-pass delay, own clock and noise.

Source: ST DS12140 (LSM6DSO datasheet, rev. 2) and application note AN5192, from which this and the driver were written
apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facefusion_ros.sim.motion_chip import EmulatedMotionChip, LowPass, MotionNoise, second_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIFO_CTRL3, _FIFO_CTRL4 = 0x09, 0x0A
_WHO_AM_I, _CTRL1_XL, _CTRL2_G, _CTRL3_C, _CTRL9_XL = 0x0F, 0x10, 0x11, 0x12, 0x18
_STATUS_REG, _OUT_TEMP_L, _OUTX_L_G, _OUTX_L_A = 0x1E, 0x20, 0x22, 0x28
_FIFO_STATUS1, _FIFO_STATUS2 = 0x3A, 0x3B
_TAG, _LAST_OF_WORD = 0x78, 0x7E
_READ_ONLY = frozenset((_WHO_AM_I, *range(0x1A, 0x42), *range(0x78, 0x80)))

_WORDS = 512
_HZ = (0.0, 12.5, 26.0, 52.0, 104.0, 208.0, 416.0, 833.0, 1666.0, 3332.0, 6664.0)
_GYRO_BANDWIDTH_HZ = (1.0, 4.2, 8.3, 16.6, 33.0, 66.8, 135.9, 295.5, 1108.1, 1320.7, 1441.8)
_MDPS = (8.75, 17.5, 35.0, 70.0)
_MG = (0.061, 0.488, 0.122, 0.244)
_START_NS = 70_000_000


class EmulatedLsm6dso(EmulatedMotionChip):
    """LSM6DSO; gyroscope and accelerometer at one rate."""

    ADDRESS = 0x6A
    IDENTITY = 0x6C
    NOISE = MotionNoise(3.8e-3, 70e-6)

    def lose_fifo_byte(self) -> None:
        """Lose a word of the FIFO, which cannot lose a byte: pairs are then no pairs any more."""
        del self._fifo[:1]

    def _reset(self) -> None:
        self._registers = bytearray(128)
        self._registers[_CTRL3_C] = 0x04
        self._registers[_CTRL9_XL] = 0xE0
        self._fifo: list[bytes] = []
        self._word = bytes(7)
        self._slot = 0
        self._overrun = False
        self._begun_ns = 0

    def _after(self, register: int) -> int:
        if register == _LAST_OF_WORD:
            return _TAG
        return super()._after(register) if self._registers[_CTRL3_C] & 0x04 else register

    def _read_register(self, register: int) -> int:
        register &= 0x7F
        if register == _WHO_AM_I:
            return self.identity
        if register == _FIFO_STATUS1:
            return len(self._fifo) & 0xFF
        if register == _FIFO_STATUS2:
            status = len(self._fifo) >> 8 | (0x48 if self._overrun else 0)
            self._overrun = False
            return status
        if _TAG <= register <= _LAST_OF_WORD:
            if register == _TAG:
                self._word = self._fifo.pop(0) if self._fifo else bytes(7)
            return self._word[register - _TAG]
        value = self._registers[register]
        if register in (_OUTX_L_G, _OUTX_L_A):
            self._registers[_STATUS_REG] &= ~(2 if register == _OUTX_L_G else 1)
        return value

    def _write_register(self, register: int, value: int) -> None:
        register &= 0x7F
        if register in _READ_ONLY:
            return
        if register == _CTRL3_C and value & 0x81:
            self._reset()  # and the bit clears itself
            self._restart_sampling()
            return
        changed = self._registers[register] != value
        self._registers[register] = value
        if register == _FIFO_CTRL4 and not value & 0x07:
            self._fifo.clear()
            self._overrun = False
            self._slot = 0
        if register == _CTRL2_G and changed:
            self._begun_ns = self._clock()
            self._restart_sampling()

    @property
    def _rate_hz(self) -> float:
        return _HZ[min(self._registers[_CTRL2_G] >> 4, len(_HZ) - 1)]

    @property
    def _filters(self) -> tuple[LowPass, LowPass]:
        gyro, accel = (min(self._registers[register] >> 4, 10) for register in (_CTRL2_G, _CTRL1_XL))
        return second_order(_GYRO_BANDWIDTH_HZ[gyro]), second_order(max(_HZ[accel] / 2, 1.0))

    @property
    def _counts_per_unit(self) -> tuple[float, float]:
        gyro, accel = self._registers[_CTRL2_G], self._registers[_CTRL1_XL] >> 2 & 3
        mdps = 4.375 if gyro & 0x02 else _MDPS[gyro >> 2 & 3]
        return 1000.0 / mdps, 1000.0 / _MG[accel] if self._registers[_CTRL1_XL] >> 4 else 0.0

    @property
    def _filling(self) -> bool:
        return bool(self._registers[_FIFO_CTRL4] & 0x07) and bool(self._registers[_FIFO_CTRL3])

    @property
    def _depth(self) -> int:
        return _WORDS + 2 if self._filling else 1

    @property
    def _still_ns(self) -> int:
        return self._begun_ns + _START_NS

    def _store(self, counts: NDArray[np.int64]) -> None:
        data = counts.astype('<i2')
        self._registers[_OUT_TEMP_L : _OUT_TEMP_L + 2] = bytes(2)
        self._registers[_OUTX_L_G : _OUTX_L_G + 6] = data[-1, 3:].tobytes()
        self._registers[_OUTX_L_A : _OUTX_L_A + 6] = data[-1, :3].tobytes()
        self._registers[_STATUS_REG] = 0x07
        if not self._filling:
            return
        rates = self._registers[_FIFO_CTRL3]
        for row in data:
            for sensor, axes, wanted in ((1, row[3:], rates >> 4), (2, row[:3], rates & 0x0F)):
                if wanted:
                    self._push(sensor, axes.tobytes())
            self._slot = (self._slot + 1) % 4

    def _push(self, sensor: int, data: bytes) -> None:
        tag = sensor << 3 | self._slot << 1
        tag |= tag.bit_count() & 1  # makes the number of ones even
        self._fifo.append(bytes((tag,)) + data)
        if len(self._fifo) > _WORDS:
            del self._fifo[0]
            self._overrun = True
