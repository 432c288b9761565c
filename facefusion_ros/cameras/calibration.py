"""Calibration files as ROS writes them (camera_calibration, camera_info_manager) and what they mean at another size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import yaml

from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.intrinsics import Intrinsics

if TYPE_CHECKING:
    from pathlib import Path


class CalibrationError(FacefusionError):
    """The calibration cannot be used."""


def read_calibration(path: Path) -> Intrinsics:
    """Read ``image_width``, ``image_height`` and ``camera_matrix`` of a calibration file in YAML.

    The matrix is that of the raw picture (K of sensor_msgs/CameraInfo); distortion coefficients are not used.
    Raises CalibrationError.
    """
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'it is not text'
        raise CalibrationError(f'{path}: cannot read the calibration ({reason}): give the file of a camera') from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        where = f'{path}:{mark.line + 1}' if mark else f'{path}'
        raise CalibrationError(f'{where}: this is not YAML: calibrate the camera anew or mend the file') from error
    if not isinstance(content, dict):
        raise CalibrationError(f'{path}: not a camera calibration: it needs image_width, image_height, camera_matrix')
    width, height = (_size(path, content, name) for name in ('image_width', 'image_height'))
    matrix = content.get('camera_matrix')
    data = matrix.get('data') if isinstance(matrix, dict) else None
    if not isinstance(data, list) or len(data) != 9 or not all(_is_number(number) for number in data):
        raise CalibrationError(f'{path}: camera_matrix needs data of 9 numbers: calibrate the camera anew')
    fx, skew, cx, zero, fy, cy, *last = (float(number) for number in data)
    if fx <= 0.0 or fy <= 0.0 or [zero, *last] != [0.0, 0.0, 0.0, 1.0] or abs(skew) > 1e-6 * fx:
        raise CalibrationError(
            f'{path}: camera_matrix is not [fx, 0, cx, 0, fy, cy, 0, 0, 1] with positive focal lengths: '
            'calibrate the camera anew'
        )
    return Intrinsics(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)


def at_size(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """Intrinsics of the same picture scaled to width x height pixels.

    Raises CalibrationError where the shape differs: which part of the picture was cut off is not known.
    """
    if abs(intrinsics.width * height - intrinsics.height * width) > max(width, height):
        raise CalibrationError(
            f'the camera was calibrated at {intrinsics.width} x {intrinsics.height} pixels and delivers '
            f'{width} x {height}, another shape: calibrate it at this size'
        )
    x, y = width / intrinsics.width, height / intrinsics.height
    # The picture's corner is at (-0.5, -0.5): scaling is about that point.
    return Intrinsics(
        width=width,
        height=height,
        fx=intrinsics.fx * x,
        fy=intrinsics.fy * y,
        cx=(intrinsics.cx + 0.5) * x - 0.5,
        cy=(intrinsics.cy + 0.5) * y - 0.5,
    )


def _size(path: Path, content: dict[object, object], name: str) -> int:
    value = content.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CalibrationError(f'{path}: {name} must be a whole number of pixels, not {value!r}')
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
