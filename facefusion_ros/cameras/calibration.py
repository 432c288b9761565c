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
    """Read ``image_width``, ``image_height``, ``camera_matrix`` and the distortion of a calibration file in YAML.

    The matrix is that of the raw picture (K of sensor_msgs/CameraInfo). Raises CalibrationError.
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
    return Intrinsics(width, height, fx, fy, cx, cy, _distortion(path, content))


def at_size(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """Intrinsics of the same picture scaled to width x height pixels.

    Raises CalibrationError where the shape differs: which part of the picture was cut off is not known.
    """
    if abs(intrinsics.width * height - intrinsics.height * width) > max(width, height):
        raise CalibrationError(
            f'the camera was calibrated at {intrinsics.width} x {intrinsics.height} pixels and delivers '
            f'{width} x {height}, another shape: calibrate it at this size'
        )
    return intrinsics.scaled(width, height)


def _distortion(path: Path, content: dict[object, object]) -> tuple[float, ...]:
    """Coefficients in the order of Intrinsics; none where the file names none, or only zeros."""
    given = content.get('distortion_coefficients')
    data = given.get('data') if isinstance(given, dict) else None
    if data is None:
        return ()
    if not isinstance(data, list) or not all(_is_number(number) for number in data):
        raise CalibrationError(f'{path}: distortion_coefficients needs data of numbers: calibrate the camera anew')
    if not any(data):
        return ()
    model = content.get('distortion_model', 'plumb_bob')
    if model not in {'plumb_bob', 'rational_polynomial'} or len(data) not in {4, 5, 8}:
        raise CalibrationError(
            f'{path}: distortion_model {model} of {len(data)} numbers is not known: calibrate the camera with '
            'plumb_bob or rational_polynomial'
        )
    return tuple(float(number) for number in data)


def _size(path: Path, content: dict[object, object], name: str) -> int:
    value = content.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CalibrationError(f'{path}: {name} must be a whole number of pixels, not {value!r}')
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
