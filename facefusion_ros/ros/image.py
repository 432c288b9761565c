"""Pictures to ``sensor_msgs`` and back, without cv_bridge and without a needless copy.

An array assigned to ``Image.data`` is checked element by element, which takes hundreds of milliseconds;
``array.frombytes`` of a memoryview costs one copy (ros2/rosidl_python issue 156).
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from facefusion_ros.cameras.bgr import LayoutUnknown, ToBgr
from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.intrinsics import Intrinsics
from facefusion_ros.ros.messages import to_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.frames.frame import FrameInfo

JPEG_QUALITY = 90

_DISTORTIONS = ('plumb_bob', 'rational_polynomial')
_BAYER = ('rggb', 'bggr', 'gbrg', 'grbg')
# Layout and bytes of a pixel (sensor_msgs/image_encodings.hpp); of NV12 and NV21 that of luma.
_ENCODINGS = {
    'bgr8': ('bgr', 3),
    '8UC3': ('bgr', 3),
    'rgb8': ('rgb', 3),
    'bgra8': ('bgra', 4),
    '8UC4': ('bgra', 4),
    'rgba8': ('rgba', 4),
    'mono8': ('grey', 1),
    '8UC1': ('grey', 1),
    'mono16': ('grey', 2),
    'yuv422': ('uyvy', 2),
    'uyvy': ('uyvy', 2),
    'yuv422_yuy2': ('yuyv', 2),
    'yuyv': ('yuyv', 2),
    'nv12': ('nv12', 1),
    'nv21': ('nv21', 1),
    **{f'bayer_{pattern}8': (f'bayer_{pattern}', 1) for pattern in _BAYER},
    **{f'bayer_{pattern}16': (f'bayer_{pattern}', 2) for pattern in _BAYER},
}


class ImageError(FacefusionError):
    """A picture message that cannot be read."""


_SEMIPLANAR = {'nv12', 'nv21'}
_SINGLE = {'grey', *(f'bayer_{pattern}' for pattern in _BAYER)}


def to_image(pixels: NDArray[np.uint8], info: FrameInfo) -> Image:
    """Copy a BGR picture, (height, width, 3) uint8, into a message."""
    height, width = pixels.shape[:2]
    data = array('B')
    data.frombytes(np.ascontiguousarray(pixels).data.cast('B'))
    header = to_header(info.stamp_ns, info.frame_id)
    return Image(header=header, height=height, width=width, encoding='bgr8', step=width * 3, data=data)


def from_image(message: Image) -> NDArray[np.uint8]:
    """Return the picture as BGR, (height, width, 3) uint8; a view of the message where it is ``bgr8``.

    Encodings this package does not convert itself go through cv_bridge where that is installed. Raises ImageError.
    """
    if _ENCODINGS.get(message.encoding, ('', 0))[0] == 'bgr':
        (view,) = _planes(message)
        return view
    picture = np.empty((message.height, message.width, 3), np.uint8)
    image_into(message, picture, ToBgr())
    return picture


def image_into(message: Image, out: NDArray[np.uint8], to_bgr: ToBgr) -> None:
    """Write the picture as BGR to out, (height, width, 3) uint8; raises ImageError as ``from_image`` does."""
    if message.encoding not in _ENCODINGS:
        np.copyto(out, _through_cv_bridge(message))
        return
    try:
        to_bgr(_ENCODINGS[message.encoding][0], _planes(message), out)
    except LayoutUnknown as error:
        text = f'image of {message.width}x{message.height} {message.encoding} cannot be: {error}'
        raise ImageError(text) from error


def _planes(message: Image) -> list[NDArray[Any]]:
    """Lay arrays over the bytes of the message; of which there may be more at the end of each row."""
    layout, size = _ENCODINGS[message.encoding]
    height, width, step = message.height, message.width, message.step
    rows, row = height * 3 // 2 if layout in _SEMIPLANAR else height, width * size
    if not height or not row or step < row or len(message.data) < step * (rows - 1) + row:
        text = f'image of {width}x{height} {message.encoding} holds {len(message.data)} bytes with step {step}'
        raise ImageError(f'{text}: too few; mend its publisher')
    data = np.frombuffer(message.data, np.uint8)
    pixels: NDArray[Any] = np.ndarray((height, width, size), np.uint8, data, strides=(step, size, 1))
    if layout in _SEMIPLANAR:
        halves = (height // 2, width // 2, 2)
        return [pixels[..., 0], np.ndarray(halves, np.uint8, data, step * height, (step, 2, 1))]
    if layout not in _SINGLE:
        return [pixels]
    if size == 2:  # a row may begin at an odd byte
        order = '>u2' if message.is_bigendian else '<u2'
        pixels = np.ascontiguousarray(pixels).view(order).astype(np.uint16)
    return [pixels[..., 0]]


def _through_cv_bridge(message: Image) -> NDArray[np.uint8]:
    try:
        from cv_bridge import CvBridge, CvBridgeError  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        known = ', '.join(_ENCODINGS)
        text = f'image encoding {message.encoding!r} is not one of {known}: convert it, or install cv_bridge'
        raise ImageError(text) from error
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, 'bgr8'), np.uint8)
    except CvBridgeError as error:
        text = f'cv_bridge cannot convert image encoding {message.encoding!r}: {error}'
        raise ImageError(text) from error


def to_compressed(pixels: NDArray[np.uint8], info: FrameInfo) -> CompressedImage:
    """Encode a BGR picture as JPEG."""
    _, jpeg = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    data = array('B')
    data.frombytes(jpeg.data.cast('B'))
    header = to_header(info.stamp_ns, info.frame_id)
    return CompressedImage(header=header, format='bgr8; jpeg compressed bgr8', data=data)


def from_compressed(message: CompressedImage) -> NDArray[np.uint8]:
    """Decode a compressed picture to BGR, (height, width, 3) uint8. Raises ImageError."""
    if 'compressedDepth' in message.format:
        raise ImageError('compressedDepth is a picture of distances, which shows nobody: name the topic of the colours')
    coded = np.frombuffer(message.data, np.uint8)
    picture = cv2.imdecode(coded, cv2.IMREAD_COLOR) if coded.size else None
    if picture is None:
        text = f'compressed image of format {message.format!r} cannot be decoded: JPEG and PNG can'
        raise ImageError(text)
    return np.asarray(picture, np.uint8)


def from_camera_info(message: CameraInfo) -> Intrinsics | None:
    """Read the camera model; None for an uncalibrated camera, which has K[0] == 0 (CameraInfo.msg).

    It is that of the picture as it is sent, after cutting and binning (roi, binning_x and binning_y of CameraInfo.msg).
    Raises ImageError where its distortion is of a model that is not known here.
    """
    fx, _, cx, _, fy, cy, *_ = (float(value) for value in message.k)
    if not fx:
        return None
    distortion = tuple(float(value) for value in message.d)
    if any(distortion) and (message.distortion_model not in _DISTORTIONS or len(distortion) not in {4, 5, 8}):
        text = (
            f'camera_info has the distortion model {message.distortion_model!r} of {len(distortion)} numbers: '
            f'calibrate the camera with {" or ".join(_DISTORTIONS)}'
        )
        raise ImageError(text)
    roi, across, down = message.roi, message.binning_x or 1, message.binning_y or 1
    width, height = (roi.width or message.width), (roi.height or message.height)
    cut = Intrinsics(width, height, fx, fy, cx - roi.x_offset, cy - roi.y_offset, distortion if any(distortion) else ())
    return cut.scaled(width // across, height // down) if max(across, down) > 1 else cut


def to_camera_info(intrinsics: Intrinsics | None, width: int, height: int, info: FrameInfo) -> CameraInfo:
    """Describe the camera; an uncalibrated one has K[0] == 0 (CameraInfo.msg)."""
    message = CameraInfo(header=to_header(info.stamp_ns, info.frame_id), width=width, height=height)
    if intrinsics is not None:
        k, distortion = intrinsics.matrix, intrinsics.distortion
        message.distortion_model = _DISTORTIONS[len(distortion) > 5]
        message.d = array('d', distortion + (0.0,) * (5 - len(distortion)))
        message.k = k.reshape(9)
        message.r = np.eye(3).reshape(9)
        message.p = np.hstack([k, np.zeros((3, 1))]).reshape(12)
    return message
