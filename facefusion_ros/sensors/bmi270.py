"""Bosch BMI270, a gyroscope and accelerometer that is given its program at every start.

Source: Bosch BST-BMI270-DS000 (rev. 1.3). The program, 8 KB that Bosch calls the configuration file, is Bosch's and
not part of this package: it is ``bmi270_config_file`` in bmi270.c of github.com/boschsensortec/BMI270_SensorAPI
(BSD-3-Clause), and Linux drivers/iio/imu/bmi270 takes it as the firmware bmi270-init-data.fw.

The datasheet's first page tells of the filters' delay only the least, 680 µs for image stabilisation at 6.4 kHz; the
delay at the rates used here is estimated from the gyroscope's bandwidth.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from facefusion_ros.sensors import bosch_fifo
from facefusion_ros.sensors.bmi160 import ACC_CONF, CMD, Bmi160
from facefusion_ros.sensors.bus import Remedy, SensorError, Stalled
from facefusion_ros.sensors.motion_plan import STANDARD_GRAVITY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.sensors.bus import Bus
    from facefusion_ros.sensors.chip import Clock, Sleep
    from facefusion_ros.sensors.motion_plan import MotionSettings, Registers

FIRMWARE = '/lib/firmware/bmi270-init-data.fw'
"""Where Linux has it."""
FIRMWARE_BYTES = 8192

_INTERNAL_STATUS = 0x21
_FIFO_LENGTH = 0x24
_GYR_CAS = 0x3C
_FIFO_CONFIG_0 = 0x48
_INIT_CTRL = 0x59
_INIT_ADDR_0 = 0x5B
_INIT_DATA = 0x5E
_PWR_CONF = 0x7C
_PWR_CTRL = 0x7D

_INITIALISED = 0x01
_FIFO_WAKES_ITSELF = 0x02
_ACCEL_GYRO_AND_TEMPERATURE = 0x0E
_ACCEL_PRECISE = 0xA0
_GYRO_PRECISE = 0xE0
_PIECE_BYTES = 256
_INIT_POLLS = 30
_MOST_RETRIES = 2

_RATES_HZ = (25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
_FIRST_RATE = 0x06
_CUTOFF = 0.4
"""Of the rate, where the normal filter cuts off."""


class NoFirmware(SensorError):
    """The program of the chip is not to be had."""

    remedy = Remedy.FATAL


def load_firmware(path: str) -> bytes:
    """Read the chip's program from a file of its bytes or from Bosch's bmi270.c; raises NoFirmware."""
    cure = (
        "save bmi270.c of github.com/boschsensortec/BMI270_SensorAPI (Bosch's, BSD-3-Clause) and give its path as "
        'the parameter firmware'
    )
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise NoFirmware(f'the BMI270 needs a program, and {path} cannot be read ({error.strerror}): {cure}') from error
    listing = re.search(rb'bmi270_config_file\[\]\s*=\s*\{([^}]*)\}', data)
    if listing:
        data = bytes(int(number, 16) for number in re.findall(rb'0x([0-9a-fA-F]{1,2})', listing[1]))
    if len(data) != FIRMWARE_BYTES:
        raise NoFirmware(f'{path} is no program of a BMI270, it has {len(data)} bytes and not {FIRMWARE_BYTES}: {cure}')
    return data


class Bmi270(Bmi160):
    """BMI270; address 0x69 with the SDO pin high."""

    NAME = 'BMI270'
    IDENTITIES = frozenset({0x24})
    RESET_MARK = (_PWR_CTRL, 0x00)
    FIFO_BYTES = 2048
    FIFO_REGISTER = 0x26
    STARTUP_S = 0.05
    ACCEL_NOISE = 160e-6 * STANDARD_GRAVITY
    RATES: ClassVar = {hz: (_FIRST_RATE + place, _CUTOFF * hz, _CUTOFF * hz) for place, hz in enumerate(_RATES_HZ)}
    ACCEL_RANGES: ClassVar = {2: 0, 4: 1, 8: 2, 16: 3}

    def __init__(
        self,
        bus: Bus,
        address: int = 0,
        settings: MotionSettings | None = None,
        *,
        firmware: str = FIRMWARE,
        clock: Clock = time.time_ns,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Make the driver; ``firmware`` is the path of the chip's program, which ``start`` reads."""
        super().__init__(bus, address, settings, clock=clock, sleep=sleep)
        self._firmware = firmware
        self._cross_axis = 0.0

    @classmethod
    def _registers(cls, rate: int, gyro_range: int, accel_range: int) -> Registers:
        return {
            _FIFO_CONFIG_0: (0, bosch_fifo.GYRO_ACCEL_AND_HEADER),
            ACC_CONF: (_ACCEL_PRECISE | rate, accel_range, _GYRO_PRECISE | rate, gyro_range),
            _PWR_CONF: (_FIFO_WAKES_ITSELF, _ACCEL_GYRO_AND_TEMPERATURE),
        }

    def _wake(self) -> None:
        firmware = load_firmware(self._firmware)
        self._write(CMD, bosch_fifo.SOFT_RESET)
        self._sleep(0.002)
        self._write(_PWR_CONF, 0)
        self._sleep(0.0005)
        self._write(_INIT_CTRL, 0)
        for place in range(0, FIRMWARE_BYTES, _PIECE_BYTES):
            self._write_program(place, firmware[place : place + _PIECE_BYTES])
        self._write(_INIT_CTRL, 1)
        for _ in range(_INIT_POLLS):
            self._sleep(0.005)
            if self._read(_INTERNAL_STATUS, 1)[0] & 0x0F == _INITIALISED:
                break
        else:
            raise Stalled(f'{self._name} does not take its program {self._firmware}: is it the one for this chip?')
        factor = self._surely(_GYR_CAS) & 0x7F
        self._cross_axis = (factor - 128 if factor & 0x40 else factor) / 512.0

    def _write_program(self, place: int, piece: bytes) -> None:
        """Write a piece of the program; it comes with its place each time, since the chip counts on by itself."""
        for _ in range(_MOST_RETRIES):
            with suppress(SensorError):
                return self._write_piece(place, piece)
        return self._write_piece(place, piece)

    def _write_piece(self, place: int, piece: bytes) -> None:
        word = place // 2
        self._write(_INIT_ADDR_0, word & 0x0F, word >> 4)
        self._bus.write(self._address, (_INIT_DATA, *piece))

    def _waiting(self) -> int:
        return int.from_bytes(self._read(_FIFO_LENGTH, 2), 'little') & 0x3FFF

    def _counts(self, data: bytes) -> NDArray[np.int16]:
        counts = self._frames(data, changed_bytes=4)
        corrected = counts[:, 0] - np.rint(self._cross_axis * counts[:, 2])
        counts[:, 0] = np.clip(corrected, -32768, 32767)
        return counts

    def _sleep_now(self) -> None:
        self._write(_PWR_CTRL, 0)
