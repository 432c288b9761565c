"""The kernel's structures, request codes and constants of Video4Linux that are used here.

Sources: Linux, include/uapi/linux/videodev2.h, v4l2-controls.h, v4l2-subdev.h, v4l2-common.h and asm-generic/ioctl.h,
as on 64-bit machines. Names are those of the headers without their prefix.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Any

U8, U16, U32, S32, S64, U64 = (
    ctypes.c_uint8,
    ctypes.c_uint16,
    ctypes.c_uint32,
    ctypes.c_int32,
    ctypes.c_int64,
    ctypes.c_uint64,
)


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

CTRL_TYPE_INTEGER64, CTRL_TYPE_CTRL_CLASS = 5, 6
CTRL_FLAG_DISABLED, CTRL_FLAG_READ_ONLY, CTRL_FLAG_VOLATILE = 0x0001, 0x0004, 0x0080
CTRL_FLAG_NEXT_CTRL = 0x80000000
SUBDEV_FORMAT_ACTIVE, SEL_TGT_CROP = 1, 0

CAP_VIDEO_CAPTURE, CAP_VIDEO_CAPTURE_MPLANE, CAP_META_CAPTURE = 0x1, 0x1000, 0x800000
CAP_STREAMING, CAP_DEVICE_CAPS = 0x4000000, 0x80000000
BUF_TYPE_VIDEO_CAPTURE, BUF_TYPE_VIDEO_CAPTURE_MPLANE = 1, 9
MEMORY_MMAP = 1
VIDEO_MAX_PLANES = 8
BUF_FLAG_ERROR = 0x40
BUF_FLAG_TIMESTAMP_MASK, BUF_FLAG_TIMESTAMP_MONOTONIC = 0xE000, 0x2000
BUF_FLAG_TSTAMP_SRC_MASK, BUF_FLAG_TSTAMP_SRC_SOE = 0x70000, 0x10000
FIELD_ANY, FIELD_NONE, FIELD_INTERLACED, FIELD_INTERLACED_TB, FIELD_INTERLACED_BT = 0, 1, 4, 8, 9
FRMSIZE_TYPE_DISCRETE, FRMIVAL_TYPE_DISCRETE = 1, 1
EVENT_SOURCE_CHANGE = 5
COLORSPACE_SMPTE240M, COLORSPACE_REC709, COLORSPACE_JPEG = 2, 3, 7
COLORSPACE_BT2020, COLORSPACE_DCI_P3 = 10, 12
YCBCR_ENC_DEFAULT, YCBCR_ENC_601, YCBCR_ENC_709, YCBCR_ENC_XV709 = 0, 1, 2, 4
YCBCR_ENC_BT2020, YCBCR_ENC_BT2020_CONST_LUM, YCBCR_ENC_SMPTE240M = 6, 7, 8
QUANTIZATION_DEFAULT, QUANTIZATION_FULL_RANGE, QUANTIZATION_LIM_RANGE = 0, 1, 2


class QueryExtCtrl(ctypes.Structure):
    """``struct v4l2_query_ext_ctrl``."""

    _fields_ = (
        ('id', U32),
        ('type', U32),
        ('name', ctypes.c_char * 32),
        ('minimum', S64),
        ('maximum', S64),
        ('step', U64),
        ('default_value', S64),
        ('flags', U32),
        ('elem_size', U32),
        ('elems', U32),
        ('nr_of_dims', U32),
        ('dims', U32 * 4),
        ('reserved', U32 * 32),
    )


class _Value(ctypes.Union):
    _fields_ = (('value', S32), ('value64', S64), ('ptr', ctypes.c_void_p))


class ExtControl(ctypes.Structure):
    """``struct v4l2_ext_control``."""

    _pack_ = 1
    _layout_ = 'ms'  # what packed structures have; later Pythons want it said
    _anonymous_ = ('u',)
    _fields_ = (('id', U32), ('size', U32), ('reserved2', U32), ('u', _Value))


class ExtControls(ctypes.Structure):
    """``struct v4l2_ext_controls``."""

    _fields_ = (
        ('which', U32),
        ('count', U32),
        ('error_idx', U32),
        ('request_fd', S32),
        ('reserved', U32),
        ('controls', ctypes.POINTER(ExtControl)),
    )


class SubdevSelection(ctypes.Structure):
    """``struct v4l2_subdev_selection``."""

    _fields_ = (
        ('which', U32),
        ('pad', U32),
        ('target', U32),
        ('flags', U32),
        ('left', S32),
        ('top', S32),
        ('width', U32),
        ('height', U32),
        ('reserved', U32 * 8),
    )


class Capability(ctypes.Structure):
    """``struct v4l2_capability``."""

    _fields_ = (
        ('driver', ctypes.c_char * 16),
        ('card', ctypes.c_char * 32),
        ('bus_info', ctypes.c_char * 32),
        ('version', U32),
        ('capabilities', U32),
        ('device_caps', U32),
        ('reserved', U32 * 3),
    )


class FmtDesc(ctypes.Structure):
    """``struct v4l2_fmtdesc``."""

    _fields_ = (
        ('index', U32),
        ('type', U32),
        ('flags', U32),
        ('description', ctypes.c_char * 32),
        ('pixelformat', U32),
        ('mbus_code', U32),
        ('reserved', U32 * 3),
    )


class FrmSizeEnum(ctypes.Structure):
    """``struct v4l2_frmsizeenum``; a discrete size has its width and height in the first two of ``stepwise``."""

    _fields_ = (('index', U32), ('pixel_format', U32), ('type', U32), ('stepwise', U32 * 6), ('reserved', U32 * 2))


class Fract(ctypes.Structure):
    """``struct v4l2_fract``."""

    _fields_ = (('numerator', U32), ('denominator', U32))


class FrmIvalEnum(ctypes.Structure):
    """``struct v4l2_frmivalenum``; a discrete interval is the first of ``stepwise`` (min, max, step)."""

    _fields_ = (
        ('index', U32),
        ('pixel_format', U32),
        ('width', U32),
        ('height', U32),
        ('type', U32),
        ('stepwise', Fract * 3),
        ('reserved', U32 * 2),
    )


class PixFormat(ctypes.Structure):
    """``struct v4l2_pix_format``."""

    _fields_ = tuple(
        (name, U32)
        for name in (
            'width',
            'height',
            'pixelformat',
            'field',
            'bytesperline',
            'sizeimage',
            'colorspace',
            'priv',
            'flags',
            'ycbcr_enc',
            'quantization',
            'xfer_func',
        )
    )


class PlanePixFormat(ctypes.Structure):
    """``struct v4l2_plane_pix_format``."""

    _pack_ = 1
    _layout_ = 'ms'
    _fields_ = (('sizeimage', U32), ('bytesperline', U32), ('reserved', U16 * 6))


class PixFormatMplane(ctypes.Structure):
    """``struct v4l2_pix_format_mplane``."""

    _pack_ = 1
    _layout_ = 'ms'
    _fields_ = (
        ('width', U32),
        ('height', U32),
        ('pixelformat', U32),
        ('field', U32),
        ('colorspace', U32),
        ('plane_fmt', PlanePixFormat * VIDEO_MAX_PLANES),
        ('num_planes', U8),
        ('flags', U8),
        ('ycbcr_enc', U8),
        ('quantization', U8),
        ('xfer_func', U8),
        ('reserved', U8 * 7),
    )


class _Fmt(ctypes.Union):
    # Overlay formats, which are not used here, have pointers and give the union their alignment.
    _fields_ = (('pix', PixFormat), ('pix_mp', PixFormatMplane), ('raw_data', U8 * 200), ('align', ctypes.c_void_p))


class Format(ctypes.Structure):
    """``struct v4l2_format``."""

    _fields_ = (('type', U32), ('fmt', _Fmt))


class CaptureParm(ctypes.Structure):
    """``struct v4l2_captureparm``."""

    _fields_ = (
        ('capability', U32),
        ('capturemode', U32),
        ('timeperframe', Fract),
        ('extendedmode', U32),
        ('readbuffers', U32),
        ('reserved', U32 * 4),
    )


class _Parm(ctypes.Union):
    _fields_ = (('capture', CaptureParm), ('raw_data', U8 * 200))


class StreamParm(ctypes.Structure):
    """``struct v4l2_streamparm``."""

    _fields_ = (('type', U32), ('parm', _Parm))


class RequestBuffers(ctypes.Structure):
    """``struct v4l2_requestbuffers``."""

    _fields_ = (
        ('count', U32),
        ('type', U32),
        ('memory', U32),
        ('capabilities', U32),
        ('flags', U8),
        ('reserved', U8 * 3),
    )


class _PlaneMemory(ctypes.Union):
    _fields_ = (('mem_offset', U32), ('userptr', ctypes.c_ulong), ('fd', S32))


class Plane(ctypes.Structure):
    """``struct v4l2_plane``."""

    _fields_ = (
        ('bytesused', U32),
        ('length', U32),
        ('m', _PlaneMemory),
        ('data_offset', U32),
        ('reserved', U32 * 11),
    )


class TimeVal(ctypes.Structure):
    """``struct timeval``."""

    _fields_ = (('tv_sec', ctypes.c_long), ('tv_usec', ctypes.c_long))


class _BufferMemory(ctypes.Union):
    _fields_ = (('offset', U32), ('userptr', ctypes.c_ulong), ('planes', ctypes.POINTER(Plane)), ('fd', S32))


class Buffer(ctypes.Structure):
    """``struct v4l2_buffer``; ``timecode`` is not looked into."""

    _fields_ = (
        ('index', U32),
        ('type', U32),
        ('bytesused', U32),
        ('flags', U32),
        ('field', U32),
        ('timestamp', TimeVal),
        ('timecode', U32 * 4),
        ('sequence', U32),
        ('memory', U32),
        ('m', _BufferMemory),
        ('length', U32),
        ('reserved2', U32),
        ('request_fd', S32),
    )


class EventSubscription(ctypes.Structure):
    """``struct v4l2_event_subscription``."""

    _fields_ = (('type', U32), ('id', U32), ('flags', U32), ('reserved', U32 * 5))


class Event(ctypes.Structure):
    """``struct v4l2_event``; ``u`` is not looked into."""

    _fields_ = (
        ('type', U32),
        ('u', U64 * 8),
        ('pending', U32),
        ('sequence', U32),
        ('timestamp', ctypes.c_long * 2),
        ('id', U32),
        ('reserved', U32 * 8),
    )


class DvTimings(ctypes.Structure):
    """``struct v4l2_dv_timings``, as a whole."""

    _fields_ = (('type', U32), ('reserved', U32 * 32))


def _code(direction: int, number: int, argument: type[Any]) -> int:
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord('V') << 8 | number


_W, _R, _WR = 1, 2, 3

VIDIOC_QUERYCAP = _code(_R, 0, Capability)
VIDIOC_ENUM_FMT = _code(_WR, 2, FmtDesc)
VIDIOC_G_FMT = _code(_WR, 4, Format)
VIDIOC_S_FMT = _code(_WR, 5, Format)
VIDIOC_REQBUFS = _code(_WR, 8, RequestBuffers)
VIDIOC_QUERYBUF = _code(_WR, 9, Buffer)
VIDIOC_QBUF = _code(_WR, 15, Buffer)
VIDIOC_DQBUF = _code(_WR, 17, Buffer)
VIDIOC_STREAMON = _code(_W, 18, ctypes.c_int)
VIDIOC_STREAMOFF = _code(_W, 19, ctypes.c_int)
VIDIOC_G_PARM = _code(_WR, 21, StreamParm)
VIDIOC_S_PARM = _code(_WR, 22, StreamParm)
VIDIOC_SUBDEV_G_SELECTION = _code(_WR, 61, SubdevSelection)
VIDIOC_G_EXT_CTRLS = _code(_WR, 71, ExtControls)
VIDIOC_S_EXT_CTRLS = _code(_WR, 72, ExtControls)
VIDIOC_ENUM_FRAMESIZES = _code(_WR, 74, FrmSizeEnum)
VIDIOC_ENUM_FRAMEINTERVALS = _code(_WR, 75, FrmIvalEnum)
VIDIOC_S_DV_TIMINGS = _code(_WR, 87, DvTimings)
VIDIOC_DQEVENT = _code(_R, 89, Event)
VIDIOC_SUBSCRIBE_EVENT = _code(_W, 90, EventSubscription)
VIDIOC_QUERY_DV_TIMINGS = _code(_R, 99, DvTimings)
VIDIOC_QUERY_EXT_CTRL = _code(_WR, 103, QueryExtCtrl)
