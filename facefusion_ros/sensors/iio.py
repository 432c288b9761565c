"""Sensors that a kernel driver owns, through the files of Linux' Industrial I/O.

Source of names and units: Linux Documentation/ABI/testing/sysfs-bus-iio; what single drivers do otherwise is said in
the tables, from their sources in drivers/iio/light.
"""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from facefusion_ros.sensors import tcs34725, tsl2591, veml6040, veml7700
from facefusion_ros.sensors.bus import Remedy, Saturated, SensorError, TransferFailed
from facefusion_ros.sensors.chip import LightReading
from facefusion_ros.sensors.light_range import variance_of
from facefusion_ros.sensors.photometer import Light

if TYPE_CHECKING:
    from collections.abc import Callable

    from facefusion_ros.sensors.chip import Clock

DEVICES = Path('/sys/bus/iio/devices')
_FULL_COUNT = 0xFFFF
_TOLERANCE = 0.2
_SHORTEST_PERIOD_S = 0.05


class NoIioDevice(SensorError):
    """The kernel has no such IIO device."""

    remedy = Remedy.FATAL


class IioForbidden(SensorError):
    """This user may not use the IIO device."""

    remedy = Remedy.FATAL


class IioDevice:
    """The folder of an IIO device, found by its name or label: numbers change from boot to boot.

    :param names: any of these it may be called.
    """

    def __init__(self, names: tuple[str, ...], devices: Path = DEVICES) -> None:
        self._names = names
        self._devices = devices
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """Where it is; raises NoIioDevice before ``find`` and where it has gone."""
        if self._folder is None:
            raise NoIioDevice(f'there is no IIO device {" or ".join(self._names)} in {self._devices}')
        return self._folder

    @property
    def name(self) -> str:
        """What its driver calls it."""
        return self.text('name')

    def find(self) -> None:
        """Look for it; raises NoIioDevice."""
        present = []
        for folder in sorted(self._devices.glob('iio:device*')):
            called = [_first_line(folder / 'name'), _first_line(folder / 'label')]
            if set(called) & set(self._names):
                self._folder = folder
                return
            present.append(called[0] or folder.name)
        self._folder = None
        among = f'there are {", ".join(present)}' if present else 'there is none at all: load the driver of the chip'
        raise NoIioDevice(f'there is no IIO device {" or ".join(self._names)} in {self._devices}: {among}')

    def has(self, attribute: str) -> bool:
        """Tell whether there is such a file."""
        return (self.folder / attribute).exists()

    def text(self, attribute: str) -> str:
        """Read a file; raises SensorError."""
        try:
            return (self.folder / attribute).read_text().strip()
        except OSError as error:
            raise self.failed(attribute, error) from error

    def number(self, attribute: str) -> float:
        """Read a number; raises SensorError."""
        text = self.text(attribute)
        try:
            return float(text.split()[0])
        except (ValueError, IndexError) as error:
            raise TransferFailed(f'{self.folder}/{attribute} holds no number but {text!r}: report it') from error

    def write(self, attribute: str, value: object) -> None:
        """Write a file; raises SensorError."""
        try:
            (self.folder / attribute).write_text(f'{value}')
        except OSError as error:
            raise self.failed(attribute, error) from error

    def failed(self, what: str, error: OSError) -> SensorError:
        """Return the error for a failure with one of its files."""
        where = f'{self.folder}/{what}'
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return NoIioDevice(f'there is no {where}: has the chip, or its driver, gone?')
        if error.errno in (errno.EACCES, errno.EPERM):
            return IioForbidden(f'no permission to use {where}: give your group access to it by a udev rule')
        return TransferFailed(f'{where} failed ({error.strerror}): look into dmesg')


Number: TypeAlias = 'Callable[[str], float]'


class _Full(Exception):
    """A count is at its end."""


def _not_full(count: float, full_count: float = _FULL_COUNT) -> int:
    if count >= full_count:
        raise _Full
    return int(count)


def _tsl2591(number: Number) -> tuple[Light, float]:
    """Compute lux here: the driver divides by time x gain / 408 as an integer, which is 0 at gain 1 up to 400 ms."""
    integration = number('integration_time')
    milliseconds = integration * (100.0 if integration >= 1.0 else 1000.0)  # the driver counts in steps of 100 ms
    full_count = tsl2591.FULL_COUNT if milliseconds <= 100.0 else _FULL_COUNT
    counts = [_not_full(number(f'in_intensity_{which}_raw'), full_count) for which in ('both', 'ir')]
    sensitivity = milliseconds * number('calibscale') / tsl2591.LUX_MS
    return tsl2591.light_of(counts[0], counts[1], sensitivity), milliseconds * 1e-3


def _veml7700(number: Number) -> tuple[Light, float]:
    """Compute lux here: ``scale`` is the gain in the older driver, and the fraction of ``input`` is wrong in it."""
    scale, integration_s = number('in_illuminance_scale'), number('in_illuminance_integration_time')
    if scale in (0.125, 0.25, 1.0, 2.0):
        scale = veml7700.LUX_PER_COUNT * (0.8 / integration_s) * (2.0 / scale)
    count = _not_full(number('in_illuminance_raw'))
    if count * scale > veml7700.MOST_LINEAR_LUX:
        raise _Full
    return veml7700.light_of(count, scale), integration_s


def _tcs3472(number: Number) -> tuple[Light, float]:
    integration_s = number('in_intensity_integration_time')
    full_count = tcs34725.full_count(round(integration_s * 1e3 / tcs34725.STEP_MS))
    clear, red, green, blue = (
        _not_full(number(f'in_intensity_{which}_raw'), full_count) for which in ('clear', 'red', 'green', 'blue')
    )
    sensitivity = integration_s * 1e3 * number('in_intensity_calibscale') / tcs34725.DEVICE_FACTOR
    return tcs34725.light_of(clear, red, green, blue, sensitivity), integration_s


def _veml6040(number: Number) -> tuple[Light, float]:
    """Compute lux here: the driver has no scale, and its integration time is in milliseconds."""
    integration = number('in_intensity_integration_time')
    integration_s = integration * (1e-3 if integration >= 2.0 else 1.0)
    red, green, blue = (_not_full(number(f'in_intensity_{which}_raw')) for which in ('red', 'green', 'blue'))
    return veml6040.light_of(red, green, blue, integration_s / 0.04 / veml6040.LUX_PER_COUNT_40_MS), integration_s


_COMPUTED: dict[str, Callable[[Number], tuple[Light, float]]] = {
    'tsl2591': _tsl2591,
    'veml6030': _veml7700,
    'veml7700': _veml7700,
    'tcs3472': _tcs3472,
    'veml6040': _veml6040,
}
"""Name of the driver -> light and integration time, for drivers whose lux is wrong or missing."""

_REFRESH_S = {'veml6030': 1.0, 'veml7700': 1.0}
"""How long drivers that save power wait between measurements."""

NAMES = {
    'bh1750': ('bh1750',),
    'veml7700': ('veml7700', 'veml6030'),
    'tsl2591': ('tsl2591',),
    'opt3001': ('opt3001',),
    'tcs34725': ('tcs3472',),
    'veml6040': ('veml6040',),
}
"""Chip -> what the kernel's drivers call it."""


class IioPhotometer:
    """A light sensor with a kernel driver.

    The driver chooses range and time, so a saturated reading cannot be helped here, and its stamp is only as good as
    the driver's behaviour: the middle of the read where the driver measures while it is read, and half a measurement
    and half a pause before it where the driver gives the last result.
    """

    def __init__(
        self, names: tuple[str, ...], *, devices: Path = DEVICES, clock: Clock = time.time_ns, period_s: float = 0.1
    ) -> None:
        self._device = IioDevice(names, devices)
        self._clock = clock
        self._wanted_s = max(period_s, _SHORTEST_PERIOD_S)

    @property
    def period_s(self) -> float:
        """Seconds from one reading to the next."""
        return self._wanted_s

    def start(self) -> None:
        """Find the device; raises NoIioDevice."""
        self._device.find()
        self._name = self._device.name

    def read(self) -> list[LightReading]:
        """Return one reading; raises Saturated and SensorError."""
        begun_ns = self._clock()
        try:
            light, integration_s = _COMPUTED.get(self._name, self._as_told)(self._device.number)
        except _Full:
            raise Saturated(
                f'too bright for the {self._name} as its driver has set it: write a smaller gain or integration time '
                f'to its files in {self._device.folder}, or shade the light sensor'
            ) from None
        except ZeroDivisionError as error:
            raise TransferFailed(f'{self._device.folder} tells an integration time or gain of 0: report it') from error
        ended_ns = self._clock()
        if ended_ns - begun_ns >= 0.5e9 * integration_s:
            stamp_ns = (begun_ns + ended_ns) // 2
        else:
            stamp_ns = ended_ns - round(1e9 * (integration_s + _REFRESH_S.get(self._name, 0.0) / 2.0))
        return [LightReading(stamp_ns, light.lux, light.variance, light.cct_k, light.cct_variance)]

    def close(self) -> None:
        """Nothing is kept open."""

    def _as_told(self, number: Number) -> tuple[Light, float]:
        """Return what the driver itself says, for those that may be believed."""
        device = self._device
        time_file = 'in_illuminance_integration_time'
        integration_s = number(time_file) if device.has(time_file) else 0.0
        if device.has('in_illuminance_input'):
            lux = number('in_illuminance_input')
            return Light(lux, variance_of(lux, lux, 1.0, _TOLERANCE)), integration_s
        count = _not_full(number('in_illuminance_raw'))
        scale = number('in_illuminance_scale') if device.has('in_illuminance_scale') else 1.0
        offset = number('in_illuminance_offset') if device.has('in_illuminance_offset') else 0.0
        lux = (count + offset) * scale
        return Light(lux, variance_of(lux, count, scale, _TOLERANCE)), integration_s


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ''
