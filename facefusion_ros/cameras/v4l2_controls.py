"""The controls of a V4L2 device or sub-device, and a camera's exposure by them.

Sources: Linux, Documentation/userspace-api/media/v4l, extended-controls and ext-ctrls-camera, for meanings and units;
Documentation/userspace-api/media/drivers/camera-sensor.rst for the time of a line. Gain codes of Sony's sensors as in
libcamera, src/ipa/libipa/camera_sensor_helper.cpp.
"""

from __future__ import annotations

import errno
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facefusion_ros.cameras import v4l2_uapi as uapi
from facefusion_ros.cameras.controls import ControlError
from facefusion_ros.cameras.exposure import Limits, Setting
from facefusion_ros.cameras.v4l2_device import DeviceError
from facefusion_ros.cameras.v4l2_uapi import EXPOSURE_MANUAL, Cid

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable, Mapping

    from facefusion_ros.cameras.v4l2_device import V4l2Device


_MANUAL_TIME = (1, 2)
_ABSOLUTE_UNIT_S = 1e-4


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
        return not self.flags & uapi.CTRL_FLAG_READ_ONLY

    @property
    def volatile(self) -> bool:
        """Whether it tells what the hardware has chosen, also where that chooses by itself."""
        return bool(self.flags & uapi.CTRL_FLAG_VOLATILE)

    def nearest(self, value: float) -> int:
        """Return the nearest value that it takes."""
        steps = round((min(max(value, self.minimum), self.maximum) - self.minimum) / max(self.step, 1))
        nearest = self.minimum + steps * max(self.step, 1)
        return nearest if nearest <= self.maximum else nearest - max(self.step, 1)


class V4l2Controls:
    """The controls of a device; pictures may be taken from it by others at the same time."""

    def __init__(self, device: V4l2Device) -> None:
        self._device = device
        self._present: dict[int, Control] = {}

    @property
    def path(self) -> str:
        """The device's."""
        return self._device.path

    @property
    def present(self) -> Mapping[int, Control]:
        """The device's controls by identifier, as they were found by ``find``."""
        return self._present

    def find(self) -> None:
        """List the controls of the device, which must be open; raises ControlError."""
        self._present = {}
        query = uapi.QueryExtCtrl(id=uapi.CTRL_FLAG_NEXT_CTRL)
        while self._next(query):
            if query.type != uapi.CTRL_TYPE_CTRL_CLASS and not query.flags & uapi.CTRL_FLAG_DISABLED:
                name = re.sub(r'[^a-z0-9]+', '_', query.name.decode('ascii', 'replace').lower()).strip('_')
                limits = (query.minimum, query.maximum, query.step, query.default_value)
                self._present[query.id] = Control(query.id, name, query.type, *limits, query.flags)
            query = uapi.QueryExtCtrl(id=query.id | uapi.CTRL_FLAG_NEXT_CTRL)

    def first(self, *ids: Cid) -> Control:
        """Return the first of these controls that the device has; raises ControlError."""
        found = next((self._present[each] for each in ids if each in self._present), None)
        if found is None:
            names = ' or '.join(each.name.lower() for each in ids)
            present = ', '.join(control.name for control in self._present.values())
            raise ControlError(
                f'{self.path} has no control {names}: ' + (f'it has {present}' if present else 'it has none at all')
            )
        return found

    def get(self, ids: Iterable[int]) -> list[int]:
        """Read controls; raises ControlError."""
        numbers = list(ids)
        values = (uapi.ExtControl * len(numbers))(*(uapi.ExtControl(id=each) for each in numbers))
        self._transfer(uapi.VIDIOC_G_EXT_CTRLS, values)
        return [value.value64 if self._wide(value.id) else value.value for value in values]

    def set(self, wanted: Mapping[int, int]) -> None:
        """Set controls all at once; raises ControlError."""
        values = (uapi.ExtControl * len(wanted))()
        for value, (number, content) in zip(values, wanted.items(), strict=True):
            value.id = number
            if self._wide(number):
                value.value64 = content
            else:
                value.value = content
        self._transfer(uapi.VIDIOC_S_EXT_CTRLS, values)

    def crop_width(self) -> int:
        """Return how many columns of a sensor's pixels are read, of a sub-device's first pad; raises ControlError."""
        selection = uapi.SubdevSelection(which=uapi.SUBDEV_FORMAT_ACTIVE, target=uapi.SEL_TGT_CROP)
        self._ioctl(uapi.VIDIOC_SUBDEV_G_SELECTION, selection, 'crop')
        return int(selection.width)

    def _wide(self, number: int) -> bool:
        return number in self._present and self._present[number].type == uapi.CTRL_TYPE_INTEGER64

    def _next(self, query: uapi.QueryExtCtrl) -> bool:
        try:
            return self._device.has(uapi.VIDIOC_QUERY_EXT_CTRL, query, lacking=(errno.EINVAL,))
        except DeviceError as error:
            raise ControlError(str(error)) from error

    def _transfer(self, request: int, values: ctypes.Array[uapi.ExtControl]) -> None:
        message = uapi.ExtControls(count=len(values), controls=values)
        names = ', '.join(self._present[each.id].name if each.id in self._present else hex(each.id) for each in values)
        self._ioctl(request, message, names)

    def _ioctl(self, request: int, argument: ctypes.Structure, what: str) -> None:
        try:
            self._device.ioctl(request, argument, what)
        except DeviceError as error:
            raise ControlError(str(error)) from error


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
        self._controls = V4l2Controls(device)
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
        control = self._controls.present.get(Cid.WHITE_BALANCE_TEMPERATURE)
        return (control.minimum, control.maximum) if control else None

    def open(self) -> None:
        """Open the device, if it is not open, and find the controls; raises ControlError."""
        try:
            self._device.open()
        except DeviceError as error:
            raise ControlError(str(error)) from error
        try:
            self.find()
        except ControlError:
            self._device.close()
            raise

    def find(self) -> None:
        """Find the controls of the device, which must be open; raises ControlError."""
        controls = self._controls
        controls.find()
        exposure = controls.first(Cid.EXPOSURE_ABSOLUTE, Cid.EXPOSURE)
        self._unit_s = _ABSOLUTE_UNIT_S
        if exposure.id == Cid.EXPOSURE:  # lines
            controls.first(Cid.PIXEL_RATE)
            controls.first(Cid.HBLANK)
            rate_hz, blank = controls.get((Cid.PIXEL_RATE, Cid.HBLANK))
            self._unit_s = (controls.crop_width() + blank) / rate_hz
        self._exposure = exposure
        gain = controls.present.get(Cid.ANALOGUE_GAIN) or controls.present.get(Cid.GAIN)
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
                self._controls.set({number: value})

    def read(self) -> Setting:
        """Return exposure and gain; NaN what the camera chooses itself without telling, or in an unknown unit."""
        exposure, gain = self._found(), self._gain
        present = [each for each in (Cid.EXPOSURE_AUTO, Cid.AUTOGAIN) if each in self._controls.present]
        asked = [exposure.id, *([gain.id] if gain else []), *present]
        values = dict(zip(asked, self._controls.get(asked), strict=True))
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
        self._controls.set(values)

    def balance(self, kelvin: float) -> None:
        """Balance white for this colour temperature; raises ControlError."""
        temperature = self._controls.first(Cid.WHITE_BALANCE_TEMPERATURE)
        if temperature.id not in self._before:
            self._keep(temperature.id)
            self._keep(Cid.AUTO_WHITE_BALANCE)
            if Cid.AUTO_WHITE_BALANCE in self._before:
                self._controls.set({Cid.AUTO_WHITE_BALANCE: 0})
        self._controls.set({temperature.id: temperature.nearest(kelvin)})

    def close(self) -> None:
        """Give the camera back as it was, its automatic exposure last, and close the device."""
        before, self._before = self._before, {}
        for number in (*before.keys() - _AUTOMATIC, *_AUTOMATIC):
            if number in before:
                with suppress(ControlError):
                    self._controls.set({number: before[number]})
        self._device.close()

    def _keep(self, number: int) -> None:
        """Remember what a control holds, where there is one that can be set."""
        control = self._controls.present.get(number)
        if control is not None and control.writable and number not in self._before:
            [self._before[number]] = self._controls.get((number,))

    def _found(self) -> Control:
        if self._exposure is None:
            raise ControlError(f'{self._device.path} is closed: open it to use its controls')
        return self._exposure

    def _gain_of(self, code: float) -> float:
        return self._codes / (self._codes - code) if self._codes else code / self._unity


_AUTOMATIC = (Cid.AUTOGAIN, Cid.AUTO_WHITE_BALANCE, Cid.EXPOSURE_AUTO_PRIORITY, Cid.EXPOSURE_AUTO)
