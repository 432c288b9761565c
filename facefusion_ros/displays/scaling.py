"""Pictures of any encoding and size into memory of another size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.frames.frame import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray


_TO_BGR = {
    Encoding.BGRA8: cv2.COLOR_BGRA2BGR,
    Encoding.MONO8: cv2.COLOR_GRAY2BGR,
    Encoding.NV12: cv2.COLOR_YUV2BGR_NV12,
}


def scale_into(picture: NDArray[np.uint8], view: NDArray[np.uint8]) -> None:
    """Write a picture to a view of as many channels, which it is scaled to."""
    if picture.shape == view.shape:
        np.copyto(view, picture)
        return
    # Averaging is slow at small factors, where it would be seen least.
    method = cv2.INTER_AREA if 2 * view.shape[1] <= picture.shape[1] else cv2.INTER_LINEAR
    cv2.resize(picture, (view.shape[1], view.shape[0]), dst=view, interpolation=method)


def bgr_of(pixels: NDArray[np.uint8], encoding: Encoding) -> NDArray[np.uint8]:
    """Return a picture of any encoding as BGR, (height, width, 3): itself, or a new one."""
    if encoding is Encoding.BGR8:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, _TO_BGR[encoding]), np.uint8)


def nv12_of(bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return luma (height, width) and chroma (height / 2, width / 2, 2) of a BGR picture whose sides are even.

    ITU-R BT.601 of the limited range, as all NV12 of the pipeline.
    """
    height, width = bgr.shape[:2]
    i420 = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), np.uint8)
    colours = i420[height:].reshape(2, height // 2, width // 2)
    return i420[:height], np.asarray(cv2.merge((colours[0], colours[1])), np.uint8)
