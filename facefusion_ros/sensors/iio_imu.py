"""Gyroscopes and accelerometers that a kernel driver owns, through buffers of Linux' Industrial I/O.

Source: Linux Documentation/ABI/testing/sysfs-bus-iio and Documentation/iio/iio_devbuf.rst: the elements of a scan lie
in the order of their indices, each aligned to its own size, and the whole to its largest.
"""

from __future__ import annotations

import math
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.sensors.bus import BusUnfit, Overrun, SensorError, SettingsLost, Stalled
from facefusion_ros.sensors.chip import ImuSample
from facefusion_ros.sensors.iio import DEVICES, IioDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from facefusion_ros.sensors.chip import Clock

_AXES = ('x', 'y', 'z')
_GYRO = tuple(f'in_anglvel_{axis}' for axis in _AXES)
_ACCEL = tuple(f'in_accel_{axis}' for axis in _AXES)
_TIMESTAMP = 'in_timestamp'
_BATCH_S = 0.012
_STALLED_PERIODS = 20
_LOST = 1.6
"""A gap of so many periods has lost a sample."""

_FULL_COUNT = 32_768
_FULL_DPS = (125.0, 250.0, 500.0, 1000.0, 2000.0)
_EXACT_SCALES = ('bmi160', 'bmi260', 'bmi270', 'bmi323', 'bmg160', 'bmi055_gyro', 'bmi088_gyro')
"""Drivers that cut their scale to whole microradians, off by up to 0.9 % at 125 degrees per second."""

NAMES = {
    'mpu6050': ('mpu6050',),
    'mpu6500': ('mpu6500',),
    'mpu9250': ('mpu9250',),
    'lsm6dso': ('lsm6dso_gyro', 'lsm6dso'),
    'bmi088': ('bmi088_gyro', 'bmg160'),
    'bmi160': ('bmi160',),
    'bmi270': ('bmi270',),
}
"""Chip -> what the kernel's drivers call it; there is none for the ICM-20948."""


@dataclass(frozen=True, slots=True)
class Element:
    """How one value lies in a scan."""

    signed: bool
    bits: int
    storage_bits: int
    shift: int
    big_endian: bool

    @classmethod
    def parse(cls, text: str) -> Element:
        """Parse a type such as ``be:s12/16>>4``; raises ValueError."""
        match = re.fullmatch(r'(be|le):([su])(\d+)/(\d+)>>(\d+)', text)
        if match is None:
            raise ValueError(f'{text!r} is no type of a scan element')
        order, sign, bits, storage_bits, shift = match.groups()
        return cls(sign == 's', int(bits), int(storage_bits), int(shift), order == 'be')

    def decode(self, data: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Decode the bytes of (n, storage_bits / 8) values to (n,)."""
        dtype = f'{">" if self.big_endian else "<"}u{self.storage_bits // 8}'
        words = np.ascontiguousarray(data).view(dtype)[:, 0].astype(np.uint64) >> np.uint64(self.shift)
        unused = np.uint64(64 - self.bits)
        left = words << unused
        values: NDArray[np.int64] = left.view(np.int64) >> np.int64(unused) if self.signed else left >> unused
        return values.astype(np.int64)


def offsets(elements: Iterable[Element]) -> tuple[list[int], int]:
    """Return where each element begins in a scan, and the length of the scan, in bytes."""
    begins, end, largest = [], 0, 1
    for element in elements:
        size = element.storage_bits // 8
        end = -(-end // size) * size
        begins.append(end)
        end += size
        largest = max(largest, size)
    return begins, -(-end // largest) * largest


def exact_scale(driver: str, scale: float) -> float:
    """Return the rad/s per count that a driver means by what it tells."""
    if driver in _EXACT_SCALES:
        for full_dps in _FULL_DPS:
            exact = math.radians(full_dps) / _FULL_COUNT
            if abs(scale - exact) < 0.02 * exact:
                return exact
    return scale


class IioImu:
    """An IMU with a kernel driver, sampled by the driver itself.

    :param rate_hz: what the driver is asked for; it may do another that it has.
    :param delay_s: of the chip's filter, taken off the stamps.
    :param devices: where the kernel lists IIO devices; their nodes are in ``nodes``.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        rate_hz: float = 200.0,
        delay_s: float = 0.0,
        devices: Path = DEVICES,
        nodes: Path = Path('/dev'),
        clock: Clock = time.time_ns,
    ) -> None:
        self._device = IioDevice(names, devices)
        self._nodes = nodes
        self._wanted_hz = rate_hz
        self._rate_hz = rate_hz
        self._delay_ns = round(delay_s * 1e9)
        self._clock = clock
        self._descriptor = -1
        self._columns: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.int64]]] = {}
        self._ends: dict[str, int] = {}
        self._scan_bytes = 1
        self._rest = b''
        self._last_ns = self._heard_ns = 0
        self._lost = False

    @property
    def period_s(self) -> float:
        """Seconds from one read to the next."""
        return max(_BATCH_S, 1.0 / self._rate_hz)

    @property
    def rate_hz(self) -> float:
        """Samples per second that the driver has agreed to."""
        return self._rate_hz

    def start(self) -> None:
        """Find the device, set it up and begin; raises SensorError."""
        self._stop()
        device = self._device
        device.find()
        buffered = device.has('scan_elements/in_anglvel_x_en') and device.has('buffer/enable')
        if not buffered or (device.has('trigger/current_trigger') and not device.text('trigger/current_trigger')):
            raise BusUnfit(
                f'{device.folder} has no {"trigger" if buffered else "buffer"}: its driver needs an interrupt line '
                'or a trigger; read the chip through I2C instead (access: i2c), after its driver is unbound'
            )
        device.write('buffer/enable', 0)
        self._set_rate()
        if device.has('current_timestamp_clock'):
            device.write('current_timestamp_clock', 'realtime')
        self._gyro_scale = exact_scale(device.name, device.number('in_anglvel_scale'))
        self._has_accel = device.has('scan_elements/in_accel_x_en')
        self._accel_scale = device.number('in_accel_scale') if self._has_accel else 0.0
        self._lay_out((*_GYRO, *(_ACCEL if self._has_accel else ()), _TIMESTAMP))
        device.write('buffer/length', max(16, round(self._rate_hz)))
        device.write('buffer/enable', 1)
        node = self._nodes / device.folder.name
        try:
            self._descriptor = os.open(node, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise device.failed(str(node), error) from error
        self._rest = b''
        self._last_ns = 0
        self._lost = False
        self._heard_ns = self._clock()

    def read(self) -> list[ImuSample]:
        """Return the samples since the last call; raises SensorError."""
        if self._lost:
            self._lost = False
            raise Overrun(f'{self._device.folder} lost samples: the reader was held up, or the bus is too slow')
        now_ns = self._clock()
        try:
            data = self._rest + os.read(self._descriptor, 256 * self._scan_bytes)
        except BlockingIOError:
            data = self._rest
        except OSError as error:
            raise self._device.failed(str(self._nodes / self._device.folder.name), error) from error
        whole = len(data) // self._scan_bytes
        self._rest = data[whole * self._scan_bytes :]
        if not whole:
            if abs(now_ns - self._heard_ns) > _STALLED_PERIODS * 1e9 / self._rate_hz + 1e8:
                raise Stalled(f'{self._device.folder} gives no samples: look into dmesg')
            return []
        self._heard_ns = now_ns
        scans = np.frombuffer(data, np.uint8, whole * self._scan_bytes).reshape(whole, self._scan_bytes)
        stamps_ns = self._columns[_TIMESTAMP](scans)
        steps_ns = np.diff(stamps_ns, prepend=self._last_ns or stamps_ns[0])
        self._last_ns = int(stamps_ns[-1])
        self._lost = bool(np.any(steps_ns < 0) or np.any(steps_ns > _LOST * 1e9 / self._rate_hz))
        return self._samples(scans, stamps_ns)

    def close(self) -> None:
        """Stop the sampling and let go of the device."""
        self._stop()

    def _samples(self, scans: NDArray[np.uint8], stamps_ns: NDArray[np.int64]) -> list[ImuSample]:
        gyro = np.stack([self._columns[name](scans) for name in _GYRO], axis=1)
        names = _ACCEL if self._has_accel else ()
        accel = np.stack([self._columns[name](scans) for name in names], axis=1) if names else np.zeros_like(gyro)
        ends = np.array([self._ends[name] for name in (*_GYRO, *names)])
        counts = np.concatenate((gyro, accel), axis=1)[:, : len(ends)]
        clipped = np.any((counts >= ends - 1) | (counts <= -ends), axis=1)
        omega, force = gyro * self._gyro_scale, accel * self._accel_scale
        unknown = 0.0 if self._has_accel else -1.0
        return [
            ImuSample(int(stamp) - self._delay_ns, omega[row], force[row], 0.0, unknown, bool(clipped[row]))
            for row, stamp in enumerate(stamps_ns)
        ]

    def _set_rate(self) -> None:
        device = self._device
        attribute = next(
            (name for name in ('sampling_frequency', 'in_anglvel_sampling_frequency') if device.has(name)), ''
        )
        if not attribute:
            self._rate_hz = self._wanted_hz
            return
        wanted = self._wanted_hz
        available = f'{attribute}_available'
        if device.has(available):
            choice = [float(each) for each in re.findall(r'[\d.]+', device.text(available))]
            if choice and '[' not in device.text(available):  # not a span
                wanted = min((each for each in choice if each >= 0.99 * wanted), default=max(choice))
        device.write(attribute, f'{wanted:g}')
        self._rate_hz = device.number(attribute)
        if not 0.5 * self._wanted_hz <= self._rate_hz <= 8.0 * self._wanted_hz:
            raise SettingsLost(
                f'{device.folder} samples at {self._rate_hz:g} Hz and not at {self._wanted_hz:g}: ask for a rate it has'
            )

    def _lay_out(self, wanted: tuple[str, ...]) -> None:
        """Switch on the wanted elements, and no others, and note where they lie."""
        device = self._device
        for path in sorted((device.folder / 'scan_elements').glob('*_en')):
            device.write(f'scan_elements/{path.name}', int(path.name[:-3] in wanted))
        ordered = sorted(wanted, key=lambda name: device.number(f'scan_elements/{name}_index'))
        try:
            elements = [Element.parse(device.text(f'scan_elements/{name}_type')) for name in ordered]
        except ValueError as error:
            raise BusUnfit(f'{device.folder}: {error}; report it') from error
        begins, self._scan_bytes = offsets(elements)
        self._columns = {
            name: _column(element, begin) for name, element, begin in zip(ordered, elements, begins, strict=True)
        }
        self._ends = {name: 1 << element.bits - 1 for name, element in zip(ordered, elements, strict=True)}

    def _stop(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with suppress(SensorError):
                self._device.write('buffer/enable', 0)


def _column(element: Element, begin: int) -> Callable[[NDArray[np.uint8]], NDArray[np.int64]]:
    end = begin + element.storage_bits // 8
    return lambda scans: element.decode(scans[:, begin:end])
