"""Emulated BMI160 and BMI270: registers, commands, a FIFO of frames with headers, own clock and noise.

Source: Bosch BST-BMI160-DS000 (rev. 0.9) and BST-BMI270-DS000 (rev. 1.3), from which these and the drivers were written
apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from facefusion_ros.sim.motion_chip import EmulatedMotionChip, LowPass, MotionNoise, second_order

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

_ACC_CONF, _ACC_RANGE, _GYR_CONF, _GYR_RANGE = 0x40, 0x41, 0x42, 0x43
_CMD = 0x7E
_GYRO_HZ = {6: 10.7, 7: 20.8, 8: 39.9, 9: 74.6, 10: 136.6, 11: 254.6, 12: 523.9, 13: 890.0}
_ACCEL_HZ = {5: 5.06, 6: 10.1, 7: 20.2, 8: 40.5, 9: 80.0, 10: 162.0, 11: 324.0, 12: 684.0}


class EmulatedBmi160(EmulatedMotionChip):
    """BMI160."""

    ADDRESS = 0x68
    IDENTITY = 0xD1
    NOISE = MotionNoise(0.007, 180e-6)
    FIFO_BYTES: ClassVar = 1024
    FIFO_LENGTH: ClassVar = 0x22
    FIFO_DATA: ClassVar = 0x24
    FIFO_CONFIG_1: ClassVar = 0x47
    GYRO_DATA: ClassVar = 0x0C
    ACCEL_DATA: ClassVar = 0x12
    CHANGED_FRAME: ClassVar = b'\x48\x00'
    RESET_VALUES: ClassVar = {_ACC_CONF: 0x28, _ACC_RANGE: 0x03, _GYR_CONF: 0x28, 0x46: 0x80, 0x47: 0x10}
    G_OF_RANGE: ClassVar = {0x3: 2.0, 0x5: 4.0, 0x8: 8.0, 0xC: 16.0}

    def lose_fifo_byte(self) -> None:
        """Lose a byte of the FIFO, so that all that follow are in another place."""
        if self._frames:
            self._frames[0] = self._frames[0][1:]

    def _reset(self) -> None:
        self._registers = bytearray(128)
        for register, value in self.RESET_VALUES.items():
            self._registers[register] = value
        self._frames: list[bytes] = []
        self._skipped = 0
        self._gyro_ns: int | None = None
        self._accel_ns: int | None = None

    def _burst(self, register: int, length: int) -> bytes | None:
        """Give frames; one that is not read to its end is given again."""
        if register != self.FIFO_DATA:
            return None
        answer = b''
        if self._skipped:
            answer, self._skipped = bytes((0x40, min(self._skipped, 255))), 0
        while self._frames and len(answer) + len(self._frames[0]) <= length:
            answer += self._frames.pop(0)
        if self._frames:
            answer += self._frames[0][: length - len(answer)]
        return answer.ljust(length, b'\x80')

    def _read_register(self, register: int) -> int:
        register &= 0x7F
        if register == 0x00:
            return self.identity
        if register == 0x03:
            return self._power_status
        if register in (self.FIFO_LENGTH, self.FIFO_LENGTH + 1):
            length = sum(map(len, self._frames)) + (2 if self._skipped else 0)
            return length.to_bytes(2, 'little')[register - self.FIFO_LENGTH]
        return 0 if register == _CMD else self._registers[register]

    def _write_register(self, register: int, value: int) -> None:
        register &= 0x7F
        if register == _CMD:
            self._command(value)
        elif register >= 0x40:
            changed = self._registers[register] != value
            self._registers[register] = value
            if changed and register == _GYR_CONF:
                self._restart_sampling()
            if changed and register <= _GYR_RANGE and self._filling:
                self._frames.append(self.CHANGED_FRAME)

    def _command(self, command: int) -> None:
        now_ns = self._clock()
        if command == 0xB6:
            self._reset()
            self._restart_sampling()
        elif command == 0xB0:
            self._frames.clear()
            self._skipped = 0
        elif command == 0x11:
            self._accel_ns = now_ns + 3_800_000
        elif command == 0x15:
            self._gyro_ns = now_ns + 80_000_000
            self._restart_sampling()
        elif command == 0x10:
            self._accel_ns = None
        elif command == 0x14:
            self._gyro_ns = None

    @property
    def _power_status(self) -> int:
        accel, gyro = (since is not None and self._clock() >= since for since in (self._accel_ns, self._gyro_ns))
        return accel << 4 | gyro << 2

    @property
    def _measuring(self) -> bool:
        return self._power_status == 0x14

    @property
    def _rate_hz(self) -> float:
        return 25.0 * 2.0 ** ((self._registers[_GYR_CONF] & 0x0F) - 6) if self._measuring else 0.0

    @property
    def _filters(self) -> tuple[LowPass, LowPass]:
        gyro, accel = self._registers[_GYR_CONF] & 0x0F, self._registers[_ACC_CONF] & 0x0F
        return second_order(_GYRO_HZ.get(gyro, 10.0)), second_order(_ACCEL_HZ.get(accel, 10.0))

    @property
    def _counts_per_unit(self) -> tuple[float, float]:
        dps = 2000.0 / 2 ** min(self._registers[_GYR_RANGE] & 0x07, 4)
        return 32768.0 / dps, 32768.0 / self.G_OF_RANGE.get(self._registers[_ACC_RANGE], 2.0)

    @property
    def _filling(self) -> bool:
        return self._registers[self.FIFO_CONFIG_1] & 0xD0 == 0xD0

    @property
    def _depth(self) -> int:
        return self.FIFO_BYTES // 13 + 4 if self._filling else 1

    def _store(self, counts: NDArray[np.int64]) -> None:
        data = counts.astype('<i2')
        self._registers[self.GYRO_DATA : self.GYRO_DATA + 6] = data[-1, 3:].tobytes()
        self._registers[self.ACCEL_DATA : self.ACCEL_DATA + 6] = data[-1, :3].tobytes()
        if not self._filling:
            return
        for row in data:
            self._frames.append(b'\x8c' + row[3:].tobytes() + row[:3].tobytes())
            while sum(map(len, self._frames)) > self.FIFO_BYTES - 2:
                del self._frames[0]
                self._skipped += 1


class EmulatedBmi270(EmulatedBmi160):
    """BMI270: measures only once it has been given its program.

    :param program: the 8192 bytes it takes for its program.
    :param cross_axis: factor by which the z axis of the gyroscope shows on x, in parts of 512, -64 to 63.
    """

    IDENTITY = 0x24
    NOISE = MotionNoise(0.007, 160e-6)
    FIFO_BYTES = 2048
    FIFO_LENGTH = 0x24
    FIFO_DATA = 0x26
    FIFO_CONFIG_1 = 0x49
    GYRO_DATA = 0x12
    ACCEL_DATA = 0x0C
    CHANGED_FRAME = b'\x48\x00\x00\x00\x00'
    RESET_VALUES: ClassVar = {
        _ACC_CONF: 0xA8,
        _ACC_RANGE: 0x02,
        _GYR_CONF: 0xA9,
        0x48: 0x02,
        0x49: 0x10,
        0x59: 0x90,
        0x7C: 0x03,
    }
    G_OF_RANGE: ClassVar = {0: 2.0, 1: 4.0, 2: 8.0, 3: 16.0}

    def __init__(self, *motion: Any, program: bytes, cross_axis: int = 0, **options: Any) -> None:  # noqa: ANN401 - as its parent
        self._program = program
        self._cross_axis = cross_axis
        super().__init__(*motion, **options)

    def _reset(self) -> None:
        super()._reset()
        self._registers[0x3C] = self._cross_axis & 0x7F
        self._ram = bytearray(len(self._program))
        self._piece = 0
        self._initialised_ns: int | None = None
        self._fails = False

    def _after(self, register: int) -> int:
        return register if register == 0x5E else super()._after(register)

    def _read_register(self, register: int) -> int:
        if register & 0x7F == 0x21:
            return 0 if self._initialised_ns is None or self._clock() < self._initialised_ns else 2 - (not self._fails)
        return self._registers[0x03] if register & 0x7F == 0x03 else super()._read_register(register)

    def _write_register(self, register: int, value: int) -> None:
        if register == 0x5E:
            place = 2 * (self._registers[0x5B] & 0x0F | self._registers[0x5C] << 4)
            at = place + self._piece
            if at < len(self._ram):
                self._ram[at] = value
            self._piece += 1
            return
        if register in (0x5B, 0x5C):
            self._piece = 0
        elif register == 0x59 and value & 1 and not self._registers[0x7C] & 1:
            self._initialised_ns = self._clock() + 20_000_000
            self._fails = self._ram != self._program
        elif register == 0x7D and value & 0x06 == 0x06:
            self._restart_sampling()
        super()._write_register(register, value)

    def _command(self, command: int) -> None:
        if command in (0xB6, 0xB0):
            super()._command(command)

    @property
    def _measuring(self) -> bool:
        powered = self._registers[0x7D] & 0x06 == 0x06
        return powered and self._initialised_ns is not None and not self._fails

    @property
    def _filters(self) -> tuple[LowPass, LowPass]:
        hz = 25.0 * 2.0 ** ((self._registers[_GYR_CONF] & 0x0F) - 6)
        return second_order(0.4 * hz), second_order(0.4 * hz)

    def _measure(self, times_ns: list[int]) -> NDArray[np.int64]:
        counts = super()._measure(times_ns)
        counts[:, 3] += (counts[:, 5] * self._cross_axis) // 512
        return counts
