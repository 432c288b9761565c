"""The controls of a V4L2 device or sub-device, and a camera's exposure by them.

Sources: Linux, include/uapi/linux/videodev2.h, v4l2-controls.h, v4l2-subdev.h and asm-generic/ioctl.h, for codes and
structures; Documentation/userspace-api/media/v4l, extended-controls and ext-ctrls-camera for meanings and units;
Documentation/userspace-api/media/drivers/camera-sensor.rst for the time of a line. Gain codes of Sony's sensors as in
libcamera, src/ipa/libipa/camera_sensor_helper.cpp.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import math
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from facefusion_ros.cameras.controls import ControlError
from facefusion_ros.cameras.exposure import Limits, Setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Cid(IntEnum):
    """Identifiers of the controls that matter here."""

    AUTO_WHITE_BALANCE = 0x0098090C
    EXPOSURE = 0x00980911
    AUTOGAIN = 0x00980912
    GAIN = 0x00980913
    WHITE_BALANCE_TEMPERATURE = 0x0098091A
    EXPOSURE_AUTO = 0x009A0901
    EXPOSURE_ABSOLUTE = 0x009A0902
    EXPOSURE_AUTO_PRIORITY = 0x009A0903
    HBLANK = 0x009E0902
    ANALOGUE_GAIN = 0x009E0903
    PIXEL_RATE = 0x009F0902


EXPOSURE_MANUAL = 1
"""Of EXPOSURE_AUTO; 2 chooses the aperture only."""
_MANUAL_TIME = (1, 2)
_ABSOLUTE_UNIT_S = 1e-4

TYPE_INTEGER64 = 5
_TYPE_CLASS = 6
_FLAG_DISABLED, _FLAG_READ_ONLY, _FLAG_VOLATILE = 0x0001, 0x0004, 0x0080
_FLAG_NEXT = 0x80000000


class QueryExtCtrl(ctypes.Structure):
    """``struct v4l2_query_ext_ctrl``."""

    _fields_ = (
        ('id', ctypes.c_uint32),
        ('type', ctypes.c_uint32),
        ('name', ctypes.c_char * 32),
        ('minimum', ctypes.c_int64),
        ('maximum', ctypes.c_int64),
        ('step', ctypes.c_uint64),
        ('default_value', ctypes.c_int64),
        ('flags', ctypes.c_uint32),
        ('elem_size', ctypes.c_uint32),
        ('elems', ctypes.c_uint32),
        ('nr_of_dims', ctypes.c_uint32),
        ('dims', ctypes.c_uint32 * 4),
        ('reserved', ctypes.c_uint32 * 32),
    )


class _Value(ctypes.Union):
    _fields_ = (('value', ctypes.c_int32), ('value64', ctypes.c_int64), ('ptr', ctypes.c_void_p))


class ExtControl(ctypes.Structure):
    """``struct v4l2_ext_control``."""

    _pack_ = 1
    _layout_ = 'ms'  # what packed structures have; later Pythons want it said
    _anonymous_ = ('u',)
    _fields_ = (('id', ctypes.c_uint32), ('size', ctypes.c_uint32), ('reserved2', ctypes.c_uint32), ('u', _Value))


class ExtControls(ctypes.Structure):
    """``struct v4l2_ext_controls``."""

    _fields_ = (
        ('which', ctypes.c_uint32),
        ('count', ctypes.c_uint32),
        ('error_idx', ctypes.c_uint32),
        ('request_fd', ctypes.c_int32),
        ('reserved', ctypes.c_uint32),
        ('controls', ctypes.POINTER(ExtControl)),
    )


class SubdevSelection(ctypes.Structure):
    """``struct v4l2_subdev_selection``."""

    _fields_ = (
        ('which', ctypes.c_uint32),
        ('pad', ctypes.c_uint32),
        ('target', ctypes.c_uint32),
        ('flags', ctypes.c_uint32),
        ('left', ctypes.c_int32),
        ('top', ctypes.c_int32),
        ('width', ctypes.c_uint32),
        ('height', ctypes.c_uint32),
        ('reserved', ctypes.c_uint32 * 8),
    )


def _iowr(number: int, argument: type[ctypes.Structure]) -> int:
    return 3 << 30 | ctypes.sizeof(argument) << 16 | ord('V') << 8 | number


VIDIOC_SUBDEV_G_SELECTION = _iowr(61, SubdevSelection)
VIDIOC_G_EXT_CTRLS = _iowr(71, ExtControls)
VIDIOC_S_EXT_CTRLS = _iowr(72, ExtControls)
VIDIOC_QUERY_EXT_CTRL = _iowr(103, QueryExtCtrl)
_WHICH_ACTIVE, _TARGET_CROP = 1, 0


@dataclass(frozen=True, slots=True)
class Control:
    """A control of a device."""

    id: int
    name: str
    """As v4l2-ctl writes it: exposure_time_absolute."""
    type: int
    minimum: int
    maximum: int
    step: int
    default: int
    flags: int

    @property
    def writable(self) -> bool:
        """Whether it can be set."""
        return not self.flags & _FLAG_READ_ONLY

    @property
    def volatile(self) -> bool:
        """Whether it tells what the hardware has chosen, also where that chooses by itself."""
        return bool(self.flags & _FLAG_VOLATILE)

    def nearest(self, value: float) -> int:
        """Return the nearest value that it takes."""
        steps = round((min(max(value, self.minimum), self.maximum) - self.minimum) / max(self.step, 1))
        nearest = self.minimum + steps * max(self.step, 1)
        return nearest if nearest <= self.maximum else nearest - max(self.step, 1)


class Kernel(Protocol):
    """The three calls by which a device is spoken to."""

    def open(self, path: str, flags: int) -> int:
        """As ``os.open``."""

    def ioctl(self, descriptor: int, request: int, argument: ctypes.Structure) -> int:
        """As ``fcntl.ioctl``."""

    def close(self, descriptor: int) -> None:
        """As ``os.close``."""


class _Linux:
    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags)

    def ioctl(self, descriptor: int, request: int, argument: ctypes.Structure) -> int:
        result: int = fcntl.ioctl(descriptor, request, argument)
        return result

    def close(self, descriptor: int) -> None:
        os.close(descriptor)


class V4l2Device:
    """The controls of a device node; pictures may be taken from the device by others at the same time.

    :param path: /dev/videoN, or /dev/v4l-subdevN of an image sensor.
    """

    def __init__(self, path: str, kernel: Kernel | None = None) -> None:
        self.path = path
        self.controls: dict[int, Control] = {}
        """By identifier; filled by ``open``."""
        self._kernel = kernel or _Linux()
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Open the device and list its controls, if it is not open; raises ControlError."""
        with self._lock:
            if self._descriptor is not None:
                return
            try:
                self._descriptor = self._kernel.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise self._failed('open', error) from error
        self.controls = {control.id: control for control in self._list()}

    def close(self) -> None:
        """Close the device; may be called twice."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                self._kernel.close(descriptor)

    def control(self, *ids: Cid) -> Control:
        """Return the first of these controls that the device has; raises ControlError."""
        found = next((self.controls[each] for each in ids if each in self.controls), None)
        if found is None:
            wanted = ' or '.join(each.name.lower() for each in ids)
            present = ', '.join(control.name for control in self.controls.values())
            raise ControlError(
                f'{self.path} has no control {wanted}: ' + (f'it has {present}' if present else 'it has none at all')
            )
        return found

    def get(self, ids: Iterable[int]) -> list[int]:
        """Read controls; raises ControlError."""
        numbers = list(ids)
        values = (ExtControl * len(numbers))(*(ExtControl(id=each) for each in numbers))
        self._transfer(VIDIOC_G_EXT_CTRLS, values)
        return [value.value64 if self._wide(value.id) else value.value for value in values]

    def set(self, wanted: Mapping[int, int]) -> None:
        """Set controls all at once; raises ControlError."""
        values = (ExtControl * len(wanted))()
        for value, (number, content) in zip(values, wanted.items(), strict=True):
            value.id = number
            if self._wide(number):
                value.value64 = content
            else:
                value.value = content
        self._transfer(VIDIOC_S_EXT_CTRLS, values)

    def crop_width(self) -> int:
        """Return how many columns of a sensor's pixels are read, of a sub-device's first pad; raises ControlError."""
        selection = SubdevSelection(which=_WHICH_ACTIVE, target=_TARGET_CROP)
        self._ioctl(VIDIOC_SUBDEV_G_SELECTION, selection, 'crop')
        return int(selection.width)

    def _wide(self, number: int) -> bool:
        return number in self.controls and self.controls[number].type == TYPE_INTEGER64

    def _list(self) -> list[Control]:
        found: list[Control] = []
        query = QueryExtCtrl(id=_FLAG_NEXT)
        while True:
            try:
                self._ioctl(VIDIOC_QUERY_EXT_CTRL, query, 'controls')
            except ControlError as error:
                if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EINVAL:
                    return found  # the last one was the last
                self.close()
                raise
            if query.type != _TYPE_CLASS and not query.flags & _FLAG_DISABLED:
                name = re.sub(r'[^a-z0-9]+', '_', query.name.decode('ascii', 'replace').lower()).strip('_')
                limits = (query.minimum, query.maximum, query.step, query.default_value)
                found.append(Control(query.id, name, query.type, *limits, query.flags))
            query = QueryExtCtrl(id=query.id | _FLAG_NEXT)

    def _transfer(self, request: int, values: ctypes.Array[ExtControl]) -> None:
        message = ExtControls(count=len(values), controls=values)
        names = ', '.join(self.controls[each.id].name if each.id in self.controls else hex(each.id) for each in values)
        self._ioctl(request, message, names)

    def _ioctl(self, request: int, argument: ctypes.Structure, what: str) -> None:
        with self._lock:
            if self._descriptor is None:
                raise ControlError(f'{self.path} is closed: open it to use its controls')
            try:
                self._kernel.ioctl(self._descriptor, request, argument)
            except OSError as error:
                failed = error
            else:
                return
        raise self._failed(what, failed) from failed

    def _failed(self, what: str, error: OSError) -> ControlError:
        path = self.path
        if error.errno in (errno.ENOENT, errno.ENXIO):
            present = [
                str(node) for pattern in ('video*', 'v4l-subdev*') for node in sorted(Path('/dev').glob(pattern))
            ]
            among = f'there are {", ".join(present)}' if present else 'plug the camera in, or load its driver'
            return ControlError(f'there is no camera {path}: {among}')
        if error.errno == errno.ENODEV:
            return ControlError(f'the camera {path} has gone away: plug it in again')
        if error.errno in (errno.EACCES, errno.EPERM) and what == 'open':
            return ControlError(
                f"no permission to use {path}: 'sudo usermod -aG video $USER' and log in again, or run as that group"
            )
        if error.errno == errno.ENOTTY:
            return ControlError(
                f'{path} is no camera whose controls can be listed: give /dev/videoN or /dev/v4l-subdevN'
            )
        if error.errno == errno.EBUSY:
            return ControlError(
                f'{path} is busy, {what} cannot be used: end the other program that controls the camera'
            )
        if error.errno in (errno.EACCES, errno.EINVAL, errno.ERANGE):
            return ControlError(
                f'{path} refuses to use {what} so ({error.strerror}): is another control in charge of it?'
            )
        return ControlError(f'{what} of {path} failed ({error.strerror}): look into dmesg')


GAIN_CODES = {'linear': 0, 'imx219': 256, 'imx477': 1024, 'imx708': 1024}
"""Sensor -> n where gain is n / (n - code); 0 where the code is proportional to the gain."""


class V4l2ExposureControl:
    """Exposure and gain by V4L2: absolute times of a USB camera, or lines of an image sensor's sub-device.

    :param gain_code: how the gain control's value means a gain; one of GAIN_CODES.
    :param unity_gain: value of the gain control at gain 1, where it is proportional to the gain; 0 where that is not
        known, and the gain is then left alone.
    """

    def __init__(self, device: V4l2Device, *, gain_code: str = 'linear', unity_gain: float = 0.0) -> None:
        self._device = device
        self._codes = GAIN_CODES[gain_code]
        self._unity = unity_gain
        self._exposure: Control | None = None
        self._gain: Control | None = None
        self._before: dict[int, int] = {}

    @property
    def limits(self) -> Limits:
        """What the camera can do."""
        exposure = self._found()
        low, high = max(exposure.minimum, 1) * self._unit_s, exposure.maximum * self._unit_s
        gains = (1.0, 1.0)
        if self._gain is not None:
            gains = (max(self._gain_of(self._gain.minimum), 1e-3), self._gain_of(self._gain.maximum))
        return Limits(low, high, *gains, max(exposure.step, 1) * self._unit_s)

    @property
    def kelvin_limits(self) -> tuple[float, float] | None:
        """What WHITE_BALANCE_TEMPERATURE goes through."""
        control = self._device.controls.get(Cid.WHITE_BALANCE_TEMPERATURE)
        return (control.minimum, control.maximum) if control else None

    def open(self) -> None:
        """Find the controls; raises ControlError."""
        device = self._device
        device.open()
        try:
            exposure = device.control(Cid.EXPOSURE_ABSOLUTE, Cid.EXPOSURE)
            self._unit_s = _ABSOLUTE_UNIT_S
            if exposure.id == Cid.EXPOSURE:  # lines
                device.control(Cid.PIXEL_RATE)
                device.control(Cid.HBLANK)
                rate_hz, blank = device.get((Cid.PIXEL_RATE, Cid.HBLANK))
                self._unit_s = (device.crop_width() + blank) / rate_hz
        except ControlError:
            device.close()
            raise
        self._exposure = exposure
        gain = device.controls.get(Cid.ANALOGUE_GAIN) or device.controls.get(Cid.GAIN)
        self._gain = gain if self._codes or self._unity else None

    def take_over(self) -> None:
        """Switch off what else would change exposure, gain and frame rate; raises ControlError."""
        off = {Cid.EXPOSURE_AUTO: EXPOSURE_MANUAL, Cid.EXPOSURE_AUTO_PRIORITY: 0}
        if self._gain is not None:
            off[Cid.AUTOGAIN] = 0
        kept = [each.id for each in (self._gain, self._found()) if each is not None]
        for number in (*off, *kept):
            self._keep(number)
        for number, value in off.items():
            if number in self._before:
                self._device.set({number: value})

    def read(self) -> Setting:
        """Return exposure and gain; NaN what the camera chooses itself without telling, or in an unknown unit."""
        exposure, gain = self._found(), self._gain
        present = [each for each in (Cid.EXPOSURE_AUTO, Cid.AUTOGAIN) if each in self._device.controls]
        asked = [exposure.id, *([gain.id] if gain else []), *present]
        values = dict(zip(asked, self._device.get(asked), strict=True))
        exposure_s, factor = values[exposure.id] * self._unit_s, math.nan
        if values.get(Cid.EXPOSURE_AUTO, EXPOSURE_MANUAL) not in _MANUAL_TIME and not exposure.volatile:
            exposure_s = math.nan
        if gain is not None and (gain.volatile or not values.get(Cid.AUTOGAIN, 0)):
            factor = self._gain_of(values[gain.id])
        return Setting(exposure_s, factor)

    def apply(self, setting: Setting) -> None:
        """Set exposure and gain at once; raises ControlError."""
        exposure = self._found()
        values = {exposure.id: exposure.nearest(setting.exposure_s / self._unit_s)}
        if self._gain is not None:
            code = self._codes - self._codes / setting.gain if self._codes else setting.gain * self._unity
            values[self._gain.id] = self._gain.nearest(code)
        self._device.set(values)

    def balance(self, kelvin: float) -> None:
        """Balance white for this colour temperature; raises ControlError."""
        temperature = self._device.control(Cid.WHITE_BALANCE_TEMPERATURE)
        if temperature.id not in self._before:
            self._keep(temperature.id)
            self._keep(Cid.AUTO_WHITE_BALANCE)
            if Cid.AUTO_WHITE_BALANCE in self._before:
                self._device.set({Cid.AUTO_WHITE_BALANCE: 0})
        self._device.set({temperature.id: temperature.nearest(kelvin)})

    def close(self) -> None:
        """Give the camera back as it was, its automatic exposure last, and close the device."""
        before, self._before = self._before, {}
        for number in (*before.keys() - _AUTOMATIC, *_AUTOMATIC):
            if number in before:
                with suppress(ControlError):
                    self._device.set({number: before[number]})
        self._device.close()

    def _keep(self, number: int) -> None:
        """Remember what a control holds, where there is one that can be set."""
        control = self._device.controls.get(number)
        if control is not None and control.writable and number not in self._before:
            [self._before[number]] = self._device.get((number,))

    def _found(self) -> Control:
        if self._exposure is None:
            raise ControlError(f'{self._device.path} is closed: open it to use its controls')
        return self._exposure

    def _gain_of(self, code: float) -> float:
        return self._codes / (self._codes - code) if self._codes else code / self._unity


_AUTOMATIC = (Cid.AUTOGAIN, Cid.AUTO_WHITE_BALANCE, Cid.EXPOSURE_AUTO_PRIORITY, Cid.EXPOSURE_AUTO)
