"""How the pixels of each encoding lie in memory: shapes, bytes, planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.frame import Encoding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHANNELS = {Encoding.BGR8: 3, Encoding.BGRA8: 4, Encoding.MONO8: 1}


class LayoutError(FacefusionError):
    """No picture of this size exists in this encoding."""


def picture_shape(encoding: Encoding, width: int, height: int) -> tuple[int, ...]:
    """Shape of the uint8 array of a width x height pixel picture.

    (height, width, 3) for BGR8, (height, width, 4) for BGRA8, (height, width) for MONO8, (height * 3 / 2, width) for
    NV12. Raises LayoutError for an empty picture and for NV12 of odd size.
    """
    if width < 1 or height < 1:
        raise LayoutError(f'a picture of {width} x {height} pixels is empty: width and height must be at least 1')
    if encoding is Encoding.NV12:
        if width % 2 or height % 2:
            raise LayoutError(
                f'an nv12 picture shares colour among 2 x 2 pixels and cannot be {width} x {height}: '
                'use an even width and height, or bgr8'
            )
        return (height * 3 // 2, width)
    channels = _CHANNELS[encoding]
    return (height, width) if channels == 1 else (height, width, channels)


def frame_bytes(encoding: Encoding, width: int, height: int) -> int:
    """Bytes of a width x height pixel picture; raises LayoutError as ``picture_shape`` does."""
    rows, columns, *channels = picture_shape(encoding, width, height)
    return rows * columns * (channels[0] if channels else 1)


def nv12_planes(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Split (height * 3 / 2, width) NV12 into views: luma (height, width), chroma (height / 2, width / 2, [U, V]).

    Layout after the Linux kernel's V4L2 documentation, pixfmt-nv12 (V4L2_PIX_FMT_NV12).
    """
    rows, width = pixels.shape
    height = rows * 2 // 3
    return pixels[:height], pixels[height:].reshape(height // 2, width // 2, 2)


def region_planes(
    pixels: NDArray[np.uint8], encoding: Encoding, region: tuple[int, int, int, int]
) -> tuple[NDArray[np.uint8], ...]:
    """Cut a region (left, top, width, height; pixels) out of a picture that contains it.

    Returns one view, or luma and chroma for NV12, where the region is widened to whole 2 x 2 blocks.
    """
    x, y, width, height = region
    if encoding is not Encoding.NV12:
        return (pixels[y : y + height, x : x + width],)
    luma, chroma = nv12_planes(pixels)
    left, top, right, bottom = x // 2, y // 2, (x + width + 1) // 2, (y + height + 1) // 2
    return luma[top * 2 : bottom * 2, left * 2 : right * 2], chroma[top:bottom, left:right]
