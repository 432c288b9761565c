"""Pictures to ``sensor_msgs`` and back, without cv_bridge and without a needless copy.

An array assigned to ``Image.data`` is checked element by element, which takes hundreds of milliseconds;
``array.frombytes`` of a memoryview costs one copy (ros2/rosidl_python issue 156).
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.intrinsics import Intrinsics
from facefusion_ros.ros.messages import to_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.frames.frame import FrameInfo

JPEG_QUALITY = 90

_TO_BGR = {'rgb8': cv2.COLOR_RGB2BGR, 'bgra8': cv2.COLOR_BGRA2BGR, 'rgba8': cv2.COLOR_RGBA2BGR}
_DISTORTIONS = ('plumb_bob', 'rational_polynomial')
_CHANNELS = {'bgr8': 3, 'rgb8': 3, 'bgra8': 4, 'rgba8': 4, 'mono8': 1}


class ImageError(FacefusionError):
    """A picture message that cannot be read."""


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
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        return _through_cv_bridge(message)
    row = message.width * channels
    if message.step < row or len(message.data) < message.step * message.height:
        text = (
            f'image of {message.width}x{message.height} {message.encoding} holds {len(message.data)} bytes with step '
        )
        raise ImageError(text + f'{message.step}: too few; mend its publisher')
    rows = np.frombuffer(message.data, np.uint8, message.step * message.height).reshape(message.height, message.step)
    picture = rows[:, :row].reshape(message.height, message.width, channels)
    if message.encoding == 'bgr8':
        return picture
    if message.encoding == 'mono8':
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.asarray(cv2.cvtColor(picture, _TO_BGR[message.encoding]), np.uint8)


def _through_cv_bridge(message: Image) -> NDArray[np.uint8]:
    try:
        from cv_bridge import CvBridge, CvBridgeError  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        known = ', '.join(_CHANNELS)
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
    coded = np.frombuffer(message.data, np.uint8)
    picture = cv2.imdecode(coded, cv2.IMREAD_COLOR) if coded.size else None
    if picture is None:
        text = f'compressed image of format {message.format!r} cannot be decoded: JPEG and PNG can'
        raise ImageError(text)
    return np.asarray(picture, np.uint8)


def from_camera_info(message: CameraInfo) -> Intrinsics | None:
    """Read the camera model; None for an uncalibrated camera, which has K[0] == 0 (CameraInfo.msg).

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
    return Intrinsics(message.width, message.height, fx, fy, cx, cy, distortion if any(distortion) else ())


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
