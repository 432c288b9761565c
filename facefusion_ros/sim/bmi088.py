"""The emulated gyroscope of a BMI088: registers, FIFO, low-pass delay, own clock and noise.

Source: Bosch BST-BMI088-DS001 (rev. 1.4), from which this and the driver were written apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facefusion_ros.sim.motion_chip import EmulatedMotionChip, LowPass, MotionNoise, second_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RATE_X_LSB, _FIFO_STATUS, _GYRO_RANGE, _BANDWIDTH, _LPM1, _SOFTRESET = 0x02, 0x0E, 0x0F, 0x10, 0x11, 0x14
_FIFO_CONFIG_1, _FIFO_DATA = 0x3E, 0x3F
_FRAMES = 100
_HZ = ((2000, 532), (2000, 230), (1000, 116), (400, 47), (200, 23), (100, 12), (200, 64), (100, 32))
_START_NS = 30_000_000


class EmulatedBmi088(EmulatedMotionChip):
    """Gyroscope of a BMI088; the accelerometer is a chip of its own."""

    ADDRESS = 0x68
    IDENTITY = 0x0F
    NOISE = MotionNoise(0.014, 0.0)

    def lose_fifo_byte(self) -> None:
        """Lose a byte on the wire, so that all others of a burst are in another place; then frames are whole again."""
        self._shift = 1

    def _reset(self) -> None:
        self._registers = bytearray(128)
        self._registers[_BANDWIDTH] = 0x80
        self._fifo: list[bytes] = []
        self._overrun = False
        self._shift = 0
        self._begun_ns = self._clock()

    def _burst(self, register: int, length: int) -> bytes | None:
        if register != _FIFO_DATA:
            return None
        answer = b''.join(self._fifo[: -(-length // 6)])[self._shift :]
        del self._fifo[: -(-length // 6)]
        self._shift = 0
        return answer[:length].ljust(length, b'\x00')

    def _read_register(self, register: int) -> int:
        register &= 0x7F
        if register == 0x00:
            return self.identity
        if register == _FIFO_STATUS:
            return (0x80 if self._overrun else 0) | len(self._fifo)
        return self._registers[register]

    def _write_register(self, register: int, value: int) -> None:
        register &= 0x7F
        if register == _SOFTRESET:
            if value == 0xB6:
                self._reset()
                self._restart_sampling()
            return
        if register < _GYRO_RANGE or register == _FIFO_DATA:
            return
        if register == _BANDWIDTH:
            value |= 0x80
            if value != self._registers[register]:
                self._restart_sampling()
        if register in (_FIFO_CONFIG_1 - 1, _FIFO_CONFIG_1):
            self._fifo.clear()
            self._overrun = False
        self._registers[register] = value

    @property
    def _rate_hz(self) -> float:
        return 0.0 if self._registers[_LPM1] & 0xA0 else float(_HZ[self._registers[_BANDWIDTH] & 7][0])

    @property
    def _filters(self) -> tuple[LowPass, LowPass]:
        return second_order(_HZ[self._registers[_BANDWIDTH] & 7][1]), second_order(1000.0)

    @property
    def _counts_per_unit(self) -> tuple[float, float]:
        return (16.384, 32.768, 65.536, 131.072, 262.144)[min(self._registers[_GYRO_RANGE], 4)], 0.0

    @property
    def _filling(self) -> bool:
        return self._registers[_FIFO_CONFIG_1] & 0xC0 == 0x80

    @property
    def _depth(self) -> int:
        return _FRAMES + 2 if self._filling else 1

    @property
    def _still_ns(self) -> int:
        return self._begun_ns + _START_NS

    def _store(self, counts: NDArray[np.int64]) -> None:
        data = counts[:, 3:].astype('<i2')
        self._registers[_RATE_X_LSB : _RATE_X_LSB + 6] = data[-1].tobytes()
        if self._filling:
            self._fifo += [row.tobytes() for row in data]
            if len(self._fifo) > _FRAMES:
                del self._fifo[:-_FRAMES]
                self._overrun = True
