"""What all motion chips have in common: one state machine, and samples out of a FIFO.

The state machine follows PX4's BMI088 driver: reset, wait, configure and verify, run, recover. Registers are checked
again while the chip runs, and all of them after any failed transfer.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from facefusion_ros.sensors.bus import (
    ChipReset,
    Garbled,
    Overrun,
    SensorError,
    SettingsLost,
    Stalled,
    WrongIdentity,
)
from facefusion_ros.sensors.chip import ImuSample
from facefusion_ros.sensors.chip_clock import GOLDEN, ChipClock
from facefusion_ros.sensors.motion_plan import MotionSettings
from facefusion_ros.sensors.sieve import Sieve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.sensors.bus import Bus
    from facefusion_ros.sensors.chip import Clock, Sleep
    from facefusion_ros.sensors.motion_plan import Plan

_SPARE_FRAMES = 3
_LATE_PERIODS = 2
"""Without a sample, after which it is asked whether the chip has reset itself."""
_STALLED_PERIODS = 20
_HURRIED = 0.4
"""Periods between reads while the beat is learned."""
_TRIES = 2
"""Of a transfer that may come twice."""
_GYRO_JUMP = math.radians(2.0)
_ACCEL_JUMP = 1.0

_WHO = {
    0x75: {
        0x68: ('MPU-6050', 'mpu6050'),
        0x70: ('MPU-6500', 'mpu6500'),
        0x71: ('MPU-9250', 'mpu9250'),
        0x73: ('MPU-9255', 'mpu9250'),
        0x74: ('MPU-6515', 'mpu6500'),
        0x78: ('MPU-6880', 'mpu6500'),
        0x98: ('ICM-20689', ''),
    },
    0x00: {
        0xEA: ('ICM-20948', 'icm20948'),
        0xE1: ('ICM-20649', ''),
        0xD1: ('BMI160', 'bmi160'),
        0x24: ('BMI270', 'bmi270'),
        0x27: ('BMI260', ''),
        0x0F: ('gyroscope of a BMI088', 'bmi088'),
        0x1E: ('accelerometer of a BMI088, whose gyroscope has another address', 'bmi088'),
    },
    0x0F: {0x6C: ('LSM6DSO', 'lsm6dso')},
}
"""Identity register -> what it reads -> the chip, and its name for the parameter."""


class MotionChip(ABC):
    """A motion chip read through its FIFO.

    Stamps are made from the number of samples and the chip's own period, which a phase-locked loop learns, less the
    delay of the low-pass filter; no readings come in the first 0.3 s, while it learns. No sample is given unless the
    chip's settings were found whole after it was read, its place in the FIFO is beyond doubt, and it does not stand
    out from those around it as a flipped bit would.
    """

    NAME: ClassVar[str]
    ADDRESS: ClassVar[int]
    IDENTITY_REGISTER: ClassVar[int]
    IDENTITIES: ClassVar[frozenset[int]]
    RESET_MARK: ClassVar[tuple[int, int]]
    """A register and what it holds after a reset but not when set up."""
    FRAME_BYTES: ClassVar[int]
    """Of one sample in the FIFO."""
    FIFO_BYTES: ClassVar[int]
    FIFO_REGISTER: ClassVar[int]
    STARTUP_S: ClassVar[float]
    """From set up to true samples."""
    GYRO_NOISE: ClassVar[float]
    """rad/s/√Hz."""
    ACCEL_NOISE: ClassVar[float]
    """m/s²/√Hz."""
    HAS_ACCELEROMETER: ClassVar[bool] = True

    def __init__(
        self,
        bus: Bus,
        address: int = 0,
        settings: MotionSettings | None = None,
        *,
        clock: Clock = time.time_ns,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Make the driver, for address 0 at the chip's usual address; raises SettingError. Nothing is sent yet."""
        self.settings = settings or MotionSettings()
        self.plan = self.planned(self.settings)
        self._bus = bus
        self._address = address or self.ADDRESS
        self._clock = clock
        self._sleep = sleep
        self._nominal_s = 1.0 / self.plan.rate_hz
        self._batch = max(1, round(self.settings.batch_s / self._nominal_s - 0.5))
        self._beat = ChipClock(self._nominal_s, ahead=max(32, 4 * self._batch))
        axes = 6 if self.HAS_ACCELEROMETER else 3
        self._sieve = Sieve[ImuSample](np.array([_GYRO_JUMP] * 3 + [_ACCEL_JUMP] * 3)[:axes])
        self._checks = 0
        self._reads = 0
        self._filled_ns = 0
        self._doubtful = False
        self._torn = False
        self._seen: dict[int, bytes] = {}
        """The last batch of each length."""

        plan = self.plan
        self._scale = np.array([plan.gyro_scale] * 3 + [plan.accel_scale] * 3)[:axes]
        self._delay_ns = round(plan.delay_s * 1e9)
        self._gyro_variance = self.GYRO_NOISE**2 * plan.gyro_bandwidth_hz + plan.gyro_scale**2 / 12.0
        self._accel_variance = -1.0
        if self.HAS_ACCELEROMETER:
            self._accel_variance = self.ACCEL_NOISE**2 * plan.accel_bandwidth_hz + plan.accel_scale**2 / 12.0

    # What a chip says of itself.

    @classmethod
    @abstractmethod
    def planned(cls, settings: MotionSettings) -> Plan:
        """Return what the chip is set to for some settings; raises SettingError for what it cannot do."""

    @abstractmethod
    def _wake(self) -> None:
        """Reset the chip and bring it to where its registers can be set."""

    @abstractmethod
    def _clear_fifo(self) -> None:
        """Empty the FIFO and let it fill."""

    @abstractmethod
    def _waiting(self) -> int:
        """Return how many bytes wait in the FIFO; more than it holds where the chip says that it ran over."""

    @abstractmethod
    def _counts(self, data: bytes) -> NDArray[np.int16]:
        """Return the samples in data of the FIFO: (n, 6), gyroscope and accelerometer, or (n, 3); raises Garbled."""

    def _take(self, waiting: int) -> bytes:
        """Read so many bytes of the FIFO, or as many of them as are whole samples."""
        return self._read_once(waiting - waiting % self.FRAME_BYTES)

    def _read_once(self, length: int) -> bytes:
        """Read bytes of the FIFO, which gives each only once, whether or not it arrives."""
        return self._bus.write_read(self._address, (self.FIFO_REGISTER & 0xFF,), length)

    @abstractmethod
    def _sleep_now(self) -> None:
        """Put the chip to sleep."""

    # What everybody sees.

    @property
    def period_s(self) -> float:
        """Seconds from one read to the next; changes, so that reads meet the chip's samples at all phases."""
        # The phase moves by a part that itself grows by the golden ratio each time: a quadratic sequence, which spreads
        # evenly whatever the chip's period turns out to be (H. Weyl, 1916). Equal steps would meet it in resonance.
        part = self._reads * GOLDEN % 1.0
        batch = self._batch + part if self._beat.locked else _HURRIED + _HURRIED * part
        return batch * self._nominal_s

    @property
    def sample_period_s(self) -> float:
        """The chip's own sample period as learned so far, seconds."""
        return self._beat.period_s

    @property
    def jitter_s(self) -> float:
        """RMS of the corrections of the stamps' beat, seconds."""
        return self._beat.jitter_s

    @property
    def dropped(self) -> int:
        """Samples that were read but not believed."""
        return self._sieve.dropped

    def start(self) -> None:
        """Find, reset and set up the chip, and check every setting; takes some 0.2 s."""
        self._bus.open()
        self._bus.claim(self._address)
        self._identify()
        self._wake()
        for register, values in self.plan.registers.items():
            self._write(register, *values)
        self._sleep(self.STARTUP_S + 4.0 * self.plan.delay_s)
        self._beat.lose_beat()
        self._torn = True
        self._make_sure()

    def read(self) -> list[ImuSample]:
        """Return the samples in the FIFO; raises Overrun where they waited too long there."""
        self._reads += 1
        try:
            if self._doubtful:
                self._make_sure()
            return self._read_fifo()
        except Overrun:
            raise
        except SensorError:
            self._doubtful = True
            raise

    def close(self) -> None:
        """Put the chip to sleep if it still answers, and close the bus."""
        with suppress(SensorError):
            self._sleep_now()
        self._bus.close()

    # The common part.

    def _make_sure(self) -> None:
        """Go on only with all settings as they should be, and with an empty FIFO where its order is in doubt."""
        self._doubtful = True
        if self._torn:
            self._empty()
        for register in self.plan.registers:
            self._check(register)
        self._doubtful = False

    def _empty(self) -> None:
        self._clear_fifo()
        self._torn = False
        self._filled_ns = self._clock()
        self._beat.lose_count()
        self._sieve.interrupt()

    def _read_fifo(self) -> list[ImuSample]:
        waiting, asked_ns, answered_ns = self._ask()
        if waiting < self.FRAME_BYTES:
            self._check_stalled(answered_ns)
            if not self._beat.contradicts(0, asked_ns, answered_ns):
                self._beat.advance(0, asked_ns, answered_ns)  # that there is no new one yet tells as much
            return []
        self._torn = True  # until it is known that all that was asked for was got
        data = self._take(waiting)
        self._make_sure_of(waiting // self.FRAME_BYTES, asked_ns)
        counts = self._counts(data)
        if not len(counts):
            return []
        if self.HAS_ACCELEROMETER and ((counts == -1).all(axis=1) | (counts == 0).all(axis=1)).any():
            raise Garbled(f'{self._name} gives empty samples: check cable length, pull-ups and bus speed')
        if self._repeats(counts):
            raise Garbled(f'{self._name} gives samples that it gave before: check cable length and bus speed')
        self._torn = False
        self._filled_ns = answered_ns
        self._beat.advance(len(counts), asked_ns, answered_ns)
        return self._believed(counts) if self._beat.locked else []

    def _repeats(self, counts: NDArray[np.int16]) -> bool:
        """Whether the bus gave the answer to an older question: with noise, no six axes are the same in two samples."""
        before, self._seen[len(counts)] = self._seen.get(len(counts)), counts.tobytes()
        told_apart = self.HAS_ACCELEROMETER and bool((counts[1:] != counts[:-1]).any())
        return told_apart and before == self._seen[len(counts)]

    def _ask(self) -> tuple[int, int, int]:
        """Ask what waits in the FIFO until it makes sense; also when it was asked and answered."""
        for _ in range(3):
            asked_ns = self._clock()
            waiting = self._waiting()
            answered_ns = self._clock()
            samples = waiting // self.FRAME_BYTES
            if waiting > self.FIFO_BYTES - _SPARE_FRAMES * self.FRAME_BYTES:
                if self._waiting() <= self.FIFO_BYTES - _SPARE_FRAMES * self.FRAME_BYTES:
                    continue
                self._empty()
                raise Overrun(
                    f'{self._name} was not read for too long and its FIFO ran full: give this process more time'
                )
            possible = samples == 0 or not self._beat.contradicts(samples, asked_ns, answered_ns)
            if self._aligned(waiting) and possible:
                return waiting, asked_ns, answered_ns
        self._torn = True
        raise Garbled(
            f'the FIFO of {self._name} cannot hold {waiting} bytes: check cable length, pull-ups and bus speed'
        )

    def _aligned(self, waiting: int) -> bool:
        """Whether the FIFO can hold so many bytes."""
        return waiting % self.FRAME_BYTES == 0

    def _make_sure_of(self, taken: int, asked_ns: int) -> None:
        """Raise unless the data just read were the FIFO's, at their place in it, and the chip is as it should be."""
        asked_left_ns = self._clock()
        left = self._waiting()
        answered_ns = self._clock()
        since = (answered_ns - asked_ns) * 1e-9 / self._nominal_s
        samples = left // self.FRAME_BYTES
        too_many = samples > 1.1 * since + 1.0 or self._beat.contradicts(taken + samples, asked_left_ns, answered_ns)
        if too_many or not self._aligned(left):
            raise Garbled(f'the FIFO of {self._name} has lost its order: check cable length, pull-ups and bus speed')
        registers = list(self.plan.registers)
        self._check(registers[0])
        self._checks += 1
        if self._checks % 4 == 0:
            self._check(registers[self._checks // 4 % len(registers)])

    def _believed(self, counts: NDArray[np.int16]) -> list[ImuSample]:
        values = counts * self._scale
        clipped = ((counts == 32767) | (counts == -32768)).any(axis=1)
        stamps = self._beat.stamps(len(counts)) - self._delay_ns
        given: list[ImuSample] = []
        for stamp, value, clip in zip(stamps.tolist(), values, clipped.tolist(), strict=True):
            force = value[3:] if self.HAS_ACCELEROMETER else np.zeros(3)
            sample = ImuSample(stamp, value[:3], force, self._gyro_variance, self._accel_variance, clip)
            given += self._sieve.take(value, sample)
        if self._sieve.frozen:
            raise Stalled(f'{self._name} gives the same sample again and again: switch its power off and on')
        return given

    def _identify(self) -> None:
        identity = self._surely(self.IDENTITY_REGISTER)
        if identity in self.IDENTITIES:
            return
        for register, chips in _WHO.items():
            name, choice = chips.get(self._surely(register), ('', ''))
            if name:
                cure = f'set chip:={choice}' if choice else 'this driver does not know it'
                raise WrongIdentity(f'a {name} answers at {self._where}, not a {self.NAME}: {cure}')
        raise WrongIdentity(
            f'the chip at {self._where} is no {self.NAME}, its identity is {identity:#04x}: set the chip or address '
            'that is really there'
        )

    def _check(self, register: int) -> None:
        """Raise ChipReset or SettingsLost unless a run of registers holds what was written."""
        wanted = self.plan.registers[register]
        for _ in range(2):  # what was read may be wrong, and not what is there
            found = tuple(self._read(register, len(wanted)))
            if found == wanted:
                return
        mark, value = self.RESET_MARK
        if self._read(mark, 1)[0] == value:
            raise ChipReset(f'{self._name} has reset itself: look for a weak supply or a loose wire')
        raise SettingsLost(
            f'{self._name} holds {bytes(found).hex()} from register {register:#04x} on and not '
            f'{bytes(wanted).hex()}: look for a weak supply, long wires or a second program that uses it'
        )

    def _check_stalled(self, now_ns: int) -> None:
        periods = (now_ns - self._filled_ns) * 1e-9 / self._nominal_s
        if 0.0 <= periods < _LATE_PERIODS:
            return
        if 0.0 <= periods < _STALLED_PERIODS:
            self._check(next(iter(self.plan.registers)))
            return
        for register in self.plan.registers:
            self._check(register)
        raise Stalled(f'{self._name} has stopped giving samples: switch its power off and on if this goes on')

    def _write(self, register: int, *values: int) -> None:
        self._bus.write(self._address, (register, *values), tries=_TRIES)

    def _read(self, register: int, length: int) -> bytes:
        return self._bus.write_read(self._address, (register,), length, tries=_TRIES)

    def _surely(self, register: int) -> int:
        return self._bus.read_surely(self._address, (bytes((register,)), 1))[0]

    @property
    def _where(self) -> str:
        return f'{self._address:#04x} on {self._bus.path}'

    @property
    def _name(self) -> str:
        return f'the {self.NAME} at {self._where}'
