"""Which pixel format, size and rate a V4L2 device is set to, among those that it has.

Source: Linux, Documentation/userspace-api/media/v4l: vidioc-enum-fmt, vidioc-enum-framesizes,
vidioc-enum-frameintervals, vidioc-g-fmt, vidioc-g-parm, colorspaces-defs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from facefusion_ros.cameras import v4l2_uapi as uapi
from facefusion_ros.cameras.bgr import BT601, Colours
from facefusion_ros.cameras.source import SourceLost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from facefusion_ros.cameras.v4l2_device import V4l2Device

PIXEL_FORMATS: Final = {
    'NV12': ('NV12', 'NM12'),
    'YUYV': ('YUYV',),
    'UYVY': ('UYVY',),
    'NV21': ('NV21', 'NM21'),
    'YU12': ('YU12',),
    'BGR3': ('BGR3',),
    'RGB3': ('RGB3',),
    'MJPG': ('MJPG', 'JPEG'),
    'GREY': ('GREY',),
}
"""What can be read, the best first: as the parameter calls it, and the kernel's codes of it.

Those that cost least to convert come first and the one without colour last.
"""
_ALIASES: Final = {'MJPEG': 'MJPG', 'JPEG': 'MJPG', 'I420': 'YU12', 'YUY2': 'YUYV', 'MONO': 'GREY', 'GRAY': 'GREY'}
_FIELDS: Final = (
    uapi.FIELD_ANY,
    uapi.FIELD_NONE,
    uapi.FIELD_INTERLACED,
    uapi.FIELD_INTERLACED_TB,
    uapi.FIELD_INTERLACED_BT,
)
_ENCODINGS: Final = {
    uapi.COLORSPACE_REC709: uapi.YCBCR_ENC_709,
    uapi.COLORSPACE_DCI_P3: uapi.YCBCR_ENC_709,
    uapi.COLORSPACE_BT2020: uapi.YCBCR_ENC_BT2020,
    uapi.COLORSPACE_SMPTE240M: uapi.YCBCR_ENC_SMPTE240M,
}
"""Of a colour space, where a device does not tell; that of BT.601 of all others."""
_LUMA_WEIGHTS: Final = {
    uapi.YCBCR_ENC_709: (0.2126, 0.0722),
    uapi.YCBCR_ENC_XV709: (0.2126, 0.0722),
    uapi.YCBCR_ENC_BT2020: (0.2627, 0.0593),
    uapi.YCBCR_ENC_BT2020_CONST_LUM: (0.2627, 0.0593),
    uapi.YCBCR_ENC_SMPTE240M: (0.212, 0.087),
}
"""Weight of red and of blue in luma, where they are not those of BT.601."""
_ENOUGH_HZ: Final = 30.0
_SAME: Final = 0.02
_UNKNOWN_RATE_HZ: Final = 30.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a device; the device's own, or the best, where nothing is."""

    pixel_format: str = ''
    size: tuple[int, int] | None = None
    rate_hz: float | None = None


@dataclass(frozen=True, slots=True)
class Mode:
    """What a device has been set to."""

    code: str
    """Of the pixel format, as in PIXEL_FORMATS."""
    width: int
    height: int
    strides: tuple[int, ...]
    """Bytes from one row to the next, of each of the buffer's planes."""
    colours: Colours = BT601
    """What the numbers mean; of RGB and grey only whether they are of the full range."""
    rate_hz: float = _UNKNOWN_RATE_HZ

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class _Sizes:
    """One size, or a range of them: lowest, highest and step of the width and of the height."""

    width: tuple[int, int, int]
    height: tuple[int, int, int]

    def __contains__(self, size: object) -> bool:
        return isinstance(size, tuple) and all(
            low <= each <= high and (each - low) % max(step, 1) == 0
            for each, (low, high, step) in zip(size, (self.width, self.height), strict=True)
        )

    def __str__(self) -> str:
        low, high = f'{self.width[0]}x{self.height[0]}', f'{self.width[1]}x{self.height[1]}'
        return low if low == high else f'{low} to {high}'

    def nearest(self, size: tuple[int, int]) -> tuple[int, int]:
        width, height = (
            low + (min(max(each, low), high) - low) // max(step, 1) * max(step, 1)
            for each, (low, high, step) in zip(size, (self.width, self.height), strict=True)
        )
        return width, height


@dataclass(frozen=True, slots=True)
class _Intervals:
    """One interval between pictures, or a range of them; seconds."""

    shortest: Fraction
    longest: Fraction

    def interval(self, rate_hz: float) -> Fraction | None:
        """Return the interval of this rate; None where it is not among them."""
        wanted = 1 / Fraction(rate_hz).limit_denominator(1001)
        nearest = min(max(wanted, self.shortest), self.longest)
        return nearest if abs(nearest / wanted - 1) <= _SAME else None

    def __str__(self) -> str:
        slow, fast = f'{float(1 / self.longest):.4g}', f'{float(1 / self.shortest):.4g}'
        return slow if slow == fast else f'{slow} to {fast}'


@dataclass(frozen=True, slots=True)
class _Candidate:
    code: str
    size: tuple[int, int]
    intervals: list[_Intervals]

    @property
    def fastest_hz(self) -> float:
        return max((float(1 / each.shortest) for each in self.intervals), default=math.inf)

    def interval(self, rate_hz: float) -> Fraction | None:
        if not self.intervals:  # the driver does not tell: try
            return 1 / Fraction(rate_hz).limit_denominator(1001)
        return next((found for each in self.intervals if (found := each.interval(rate_hz)) is not None), None)


def canonical(pixel_format: str) -> str:
    """Return the name of a pixel format as in PIXEL_FORMATS; '' for ''. Raises SourceLost for any other."""
    name = pixel_format.strip().upper()
    name = _ALIASES.get(name, name)
    if name and name not in PIXEL_FORMATS:
        raise SourceLost(f'pixel_format {pixel_format} cannot be read: use one of {", ".join(PIXEL_FORMATS)}')
    return name


class Modes:
    """The modes of an open device.

    :param kind: type of the device's buffers, of one plane or of several.
    """

    def __init__(self, device: V4l2Device, kind: int) -> None:
        self._device = device
        self._kind = kind

    def set(self, wanted: Wanted) -> Mode:
        """Set the device to what is wanted; raises SourceLost with what there is, and DeviceError."""
        chosen = self._choose(wanted)
        form = self._form()
        pix = self._pix(form)
        pix.width, pix.height = chosen.size
        pix.pixelformat, pix.field = _number(chosen.code), uapi.FIELD_NONE
        for rows in (pix,) if isinstance(pix, uapi.PixFormat) else pix.plane_fmt:
            rows.bytesperline = rows.sizeimage = 0  # or the padding of the format before would stay
        self._device.ioctl(uapi.VIDIOC_S_FMT, form, f'{chosen.code} of {_size(chosen.size)}')
        rate_hz = self._set_rate(chosen, wanted.rate_hz)
        mode = self._mode(form, rate_hz)
        if mode.code != chosen.code or mode.size != chosen.size:
            raise self._lost(
                f'{chosen.code} of {_size(chosen.size)} is not available, it makes {mode.code} of {_size(mode.size)} '
                'of it: set width and height to that, or leave them at 0'
            )
        if pix.field not in _FIELDS:
            raise self._lost('it delivers single fields of interlaced video: set the source to a progressive mode')
        return mode

    def size(self) -> tuple[int, int]:
        """Return the size that the device delivers now; raises DeviceError."""
        pix = self._pix(self._form())
        return int(pix.width), int(pix.height)

    # -- choosing

    def _choose(self, wanted: Wanted) -> _Candidate:
        names = [canonical(wanted.pixel_format)] if wanted.pixel_format else list(PIXEL_FORMATS)
        offered = list(self._offered())
        known = [code for name in names for code in PIXEL_FORMATS[name] if code in offered]
        if not known:
            there = ', '.join(offered) if offered else 'none at all'
            usable = ', '.join(name for name, codes in PIXEL_FORMATS.items() if {*codes} & {*offered})
            cure = f'set pixel_format to {usable}' if usable else f'what can be read is {", ".join(PIXEL_FORMATS)}'
            which = f'no pixel format {names[0]}' if wanted.pixel_format else 'no pixel format that can be read'
            raise self._lost(f'{which}, it has {there}: {cure}')
        sizes = {code: list(self._sizes(code)) for code in known}
        fitting = self._fitting(wanted, sizes)
        if not fitting:
            there = ', '.join(dict.fromkeys(str(each) for code in known for each in sizes[code]))
            raise self._lost(
                f'{_size(wanted.size or (0, 0))} is not available{_of(wanted.pixel_format)}: '
                f'set width and height to one of {there}'
            )
        rate_hz = wanted.rate_hz or min(_ENOUGH_HZ, max(each.fastest_hz for each in fitting))
        for each in fitting:
            if each.interval(rate_hz) or (not wanted.rate_hz and each.fastest_hz > rate_hz):
                return each
        there = ', '.join(dict.fromkeys(f'{rate} Hz' for each in fitting for rate in each.intervals))
        size = _size(fitting[0].size)
        raise self._lost(
            f'{rate_hz:g} Hz is not available at {size}{_of(wanted.pixel_format)}: set rate_hz to one of {there}'
        )

    def _fitting(self, wanted: Wanted, sizes: dict[str, list[_Sizes]]) -> list[_Candidate]:
        own = self.size()
        found = []
        for code, there in sizes.items():
            if not there:  # the driver does not tell: try
                size = wanted.size or own
            elif wanted.size is None:
                # A device of unreadable format may have been left at a size that the readable ones have not.
                size = min((each.nearest(own) for each in there), key=lambda each: abs(each[0] - own[0]))
            elif any(wanted.size in each for each in there):
                size = wanted.size
            else:
                continue
            found.append(_Candidate(code, size, list(self._intervals(code, size))))
        if wanted.size is None and any(each.size == own for each in found):
            found = [each for each in found if each.size == own]
        return found

    def _offered(self) -> Iterator[str]:
        for index in itertools.count():
            described = uapi.FmtDesc(index=index, type=self._kind)
            if not self._device.has(uapi.VIDIOC_ENUM_FMT, described):
                return
            yield _code(described.pixelformat)

    def _sizes(self, code: str) -> Iterator[_Sizes]:
        for index in itertools.count():
            told = uapi.FrmSizeEnum(index=index, pixel_format=_number(code))
            if not self._device.has(uapi.VIDIOC_ENUM_FRAMESIZES, told):
                return
            numbers = [int(each) for each in told.stepwise]
            if told.type == uapi.FRMSIZE_TYPE_DISCRETE:
                width, height = numbers[:2]
                yield _Sizes((width, width, 1), (height, height, 1))
            else:
                yield _Sizes((numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4], numbers[5]))
                return

    def _intervals(self, code: str, size: tuple[int, int]) -> Iterator[_Intervals]:
        for index in itertools.count():
            told = uapi.FrmIvalEnum(index=index, pixel_format=_number(code), width=size[0], height=size[1])
            if not self._device.has(uapi.VIDIOC_ENUM_FRAMEINTERVALS, told):
                return
            discrete = told.type == uapi.FRMIVAL_TYPE_DISCRETE
            shortest, longest = (_fraction(told.stepwise[each]) for each in ((0, 0) if discrete else (0, 1)))
            if shortest and longest:
                yield _Intervals(shortest, longest)
            if not discrete:
                return

    # -- setting

    def _set_rate(self, chosen: _Candidate, rate_hz: float | None) -> float:
        parameters = uapi.StreamParm(type=self._kind)
        there = self._device.has(uapi.VIDIOC_G_PARM, parameters)
        if rate_hz:
            interval = chosen.interval(rate_hz)
            per_frame = parameters.parm.capture.timeperframe
            if interval is not None:
                per_frame.numerator, per_frame.denominator = interval.as_integer_ratio()
            if not there or not self._device.has(uapi.VIDIOC_S_PARM, parameters):
                raise self._lost('its rate cannot be set: leave rate_hz at 0')
        interval = _fraction(parameters.parm.capture.timeperframe) if there else None
        if interval is None:
            return chosen.fastest_hz if math.isfinite(chosen.fastest_hz) else _UNKNOWN_RATE_HZ
        got_hz = float(1 / interval)
        if rate_hz and abs(got_hz / rate_hz - 1.0) > _SAME:
            raise self._lost(f'{rate_hz:g} Hz is not available, it makes {got_hz:.4g} Hz of it: set rate_hz to that')
        return got_hz

    def _mode(self, form: uapi.Format, rate_hz: float) -> Mode:
        pix = self._pix(form)
        if self._kind == uapi.BUF_TYPE_VIDEO_CAPTURE_MPLANE:
            strides = tuple(int(pix.plane_fmt[each].bytesperline) for each in range(pix.num_planes))
        else:
            strides = (int(pix.bytesperline),)
        code = _code(pix.pixelformat)
        colours = _colours(code, pix.colorspace, pix.ycbcr_enc, pix.quantization)
        return Mode(code, int(pix.width), int(pix.height), strides, colours, rate_hz)

    def _form(self) -> uapi.Format:
        form = uapi.Format(type=self._kind)
        self._device.ioctl(uapi.VIDIOC_G_FMT, form, 'format')
        return form

    def _pix(self, form: uapi.Format) -> uapi.PixFormat | uapi.PixFormatMplane:
        several = self._kind == uapi.BUF_TYPE_VIDEO_CAPTURE_MPLANE
        pix: uapi.PixFormat | uapi.PixFormatMplane = form.fmt.pix_mp if several else form.fmt.pix
        return pix

    def _lost(self, why: str) -> SourceLost:
        return SourceLost(f'{self._device.path}: {why}')


def _colours(code: str, colorspace: int, encoding: int, quantization: int) -> Colours:
    """Return what a device's colours mean, with the header's defaults (V4L2_MAP_…_DEFAULT) for what it leaves open."""
    if encoding == uapi.YCBCR_ENC_DEFAULT:
        encoding = _ENCODINGS.get(colorspace, uapi.YCBCR_ENC_601)
    full_range = quantization == uapi.QUANTIZATION_FULL_RANGE
    if quantization == uapi.QUANTIZATION_DEFAULT:
        full_range = code in ('BGR3', 'RGB3', 'GREY') or colorspace == uapi.COLORSPACE_JPEG
    return Colours(*_LUMA_WEIGHTS.get(encoding, (BT601.red, BT601.blue)), full_range)


def _number(code: str) -> int:
    return int.from_bytes(code.encode('ascii'), 'little')


def _code(number: int) -> str:
    return int(number & 0x7FFFFFFF).to_bytes(4, 'little').decode('ascii', 'replace').strip()


def _fraction(told: uapi.Fract) -> Fraction | None:
    return Fraction(told.numerator, told.denominator) if told.numerator and told.denominator else None


def _size(size: Iterable[int]) -> str:
    return 'x'.join(str(each) for each in size)


def _of(pixel_format: str) -> str:
    return f' in {pixel_format}' if pixel_format else ''
