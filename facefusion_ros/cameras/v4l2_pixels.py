"""From the bytes that a V4L2 device delivers to BGR.

Layouts after Linux, Documentation/userspace-api/media/v4l, yuv-formats and pixfmt-rgb. Range and matrix are those that
the device tells (colorspaces-details there). Primaries and transfer functions are not converted: a device that
announces others than sRGB's is shown as if they were that.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

import av
import av.error
import cv2
import numpy as np

from facefusion_ros.cameras.bgr import ToBgr
from facefusion_ros.cameras.reformat import Reformat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.cameras.v4l2_modes import Mode

    Picture = NDArray[np.uint8]

_JPEG: Final = ('MJPG', 'JPEG')
# libavcodec, idctdsp: not the one that it takes by itself, but a quarter of the time goes with it where it is in SSE2.
_TRANSFORM: Final = {'idct': 'xvid'} if platform.machine() == 'x86_64' else {}
_LAYOUTS: Final = {
    'NV12': 'nv12',
    'NM12': 'nv12',
    'NV21': 'nv21',
    'NM21': 'nv21',
    'YU12': 'i420',
    'YUYV': 'yuyv',
    'UYVY': 'uyvy',
    'BGR3': 'bgr',
    'RGB3': 'rgb',
    'GREY': 'grey',
}


class Spoilt(Exception):
    """The picture is not whole."""


class PixelReader:
    """Reads pictures of one mode of a device, and keeps what memory that takes."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._jpeg = _Jpeg(mode) if mode.code in _JPEG else None
        self._to_bgr = ToBgr()
        self._expand = mode.code in ('BGR3', 'RGB3', 'GREY') and not mode.colours.full_range

    def read(self, buffers: tuple[Picture, ...], out: Picture) -> None:
        """Write the picture in the bytes of a device's buffers to out, (height, width, 3) BGR; raises Spoilt."""
        if self._jpeg is not None:
            self._jpeg.read(buffers[0], out)
            return
        self._to_bgr(_LAYOUTS[self._mode.code], _planes(self._mode, buffers), out, self._mode.colours)
        if self._expand:
            cv2.LUT(out, _EXPANDED, dst=out)


class _Jpeg:
    """A JPEG each, by FFmpeg, which refuses one of which a part is missing (OpenCV shows what is left of it)."""

    def __init__(self, mode: Mode) -> None:
        self._size = mode.size
        self._decoder = av.CodecContext.create('mjpeg', 'r')
        self._decoder.options = {'err_detect': 'explode', **_TRANSFORM}
        self._decoder.thread_count = 1
        self._reformat = Reformat()

    def read(self, buffer: Picture, out: Picture) -> None:
        if not buffer.size:  # which would be the end of the film
            raise Spoilt
        try:
            pictures = self._decoder.decode(av.Packet(buffer))
        except (av.error.FFmpegError, ValueError) as error:
            raise Spoilt from error
        if len(pictures) != 1 or (pictures[0].width, pictures[0].height) != self._size:
            raise Spoilt
        self._reformat(pictures[0], out)


def _planes(mode: Mode, buffers: tuple[Picture, ...]) -> list[Picture]:
    """Lay the planes of a picture over the bytes of its buffers, in one of which all may follow each other."""
    width, height = mode.size
    if mode.code in ('NV12', 'NM12', 'NV21', 'NM21'):
        stride = mode.strides[0] or width
        second = buffers[1] if len(buffers) > 1 else buffers[0][stride * height :]
        chroma = _rows(second, height // 2, mode.strides[-1] or width, width)
        return [_rows(buffers[0], height, stride, width), chroma.reshape(height // 2, width // 2, 2)]
    if mode.code == 'YU12':
        stride = mode.strides[0] or width
        begins = (stride * height, stride * height + stride // 2 * (height // 2))
        luma = _rows(buffers[0], height, stride, width)
        return [luma, *(_rows(buffers[0][begin:], height // 2, stride // 2, width // 2) for begin in begins)]
    channels = {'GREY': 1, 'YUYV': 2, 'UYVY': 2}.get(mode.code, 3)
    rows = _rows(buffers[0], height, mode.strides[0] or width * channels, width * channels)
    return [rows.reshape(height, width, channels) if channels > 1 else rows]


def _rows(buffer: Picture, rows: int, stride: int, length: int) -> Picture:
    """Return (rows, length) bytes, of which a row begins every ``stride``; raises Spoilt where there are too few."""
    if len(buffer) < (rows - 1) * stride + length:
        raise Spoilt
    laid: Picture = np.ndarray((rows, length), np.uint8, buffer, strides=(stride, 1))
    return laid


_EXPANDED: Final = np.clip(np.rint((np.arange(256) - 16.0) * (255.0 / 219.0)), 0, 255).astype(np.uint8)[None]
