"""How bright a picture is: a few thousand of its pixels, weighted, in linear light.

Source: libcamera, src/ipa/rpi/controller/rpi/agc_channel.cpp (BSD-2-Clause), for the brightness that counts clipped
pixels as they would clip at the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.frames.frame import Encoding
from facefusion_ros.frames.layout import nv12_planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Box = tuple[float, float, float, float]
    """Left, top, width and height, pixels of the whole picture."""

_COLUMNS = 96
"""About as many pixels of a row are looked at."""
_CLIPPED = 250
"""An 8-bit value of this or more may have been any more."""
_WHITE_PART = 0.25
"""With more of the picture clipped than this, its mean does not tell how bright it is."""
_BLACK = 0.002
"""A mean below this is more of black level and noise than of light."""
_FACE_PART = 0.7
"""Of the weight that faces have together; the rest keeps the surroundings from burning out."""
_PASSES = 10
_MOST_GAIN = 512.0


def _linear() -> NDArray[np.float32]:
    """(256,) linear values of 8-bit sRGB (IEC 61966-2-1), which cameras' own curves are close to."""
    coded = np.arange(256) / 255.0
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4).astype(np.float32)


LINEAR = _linear()
_LUMINANCE = (0.0722, 0.7152, 0.2126)
"""Of linear blue, green and red (ITU-R BT.709)."""


@dataclass(frozen=True, slots=True)
class Level:
    """Brightness of a picture."""

    brightness: float
    """Linear, 1 is white: the target divided by the factor by which the exposure is to change to meet it."""
    white: bool = False
    """So much is clipped that it may have been any brighter."""
    black: bool = False
    """So dark that it may have been any darker."""
    clipped: float = 0.0
    """Part of the weight that is clipped."""


def stride_of(width: int) -> int:
    """Every how many pixels ``thin`` takes one."""
    return max(1, width // _COLUMNS)


def thin(pixels: NDArray[np.uint8], encoding: Encoding) -> NDArray[np.uint8]:
    """Copy every n-th pixel of a picture shaped by ``layout.picture_shape``.

    :return: (rows, columns, 3) blue, green, red; (rows, columns) for pictures without colour and for NV12, of which
        the luma is taken, stretched from video range.
    """
    if encoding is Encoding.NV12:
        luma, _ = nv12_planes(pixels)
        stride = stride_of(luma.shape[1])
        few = luma[::stride, ::stride].astype(np.int32)
        stretched: NDArray[np.uint8] = np.clip((few - 16) * 255 // 219, 0, 255).astype(np.uint8)
        return stretched
    stride = stride_of(pixels.shape[1])
    taken: NDArray[np.uint8] = (pixels[..., :3] if pixels.ndim == 3 else pixels)[::stride, ::stride].copy()
    return taken


def luminance(few: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(rows, columns) linear luminance, 1 is white, of what ``thin`` gives."""
    linear: NDArray[np.float32] = LINEAR[few]
    return linear if few.ndim == 2 else (linear @ np.array(_LUMINANCE, np.float32)).astype(np.float32)


def weights(shape: tuple[int, int], metering: str, faces: Sequence[Box] = (), stride: int = 1) -> NDArray[np.float32]:
    """(rows, columns) weights that add up to 1.

    :param shape: rows and columns.
    :param metering: 'average'; 'centre', where the middle weighs most; 'face', where faces do, and the middle where
        there are none in the picture.
    :param faces: where they are in the whole picture, of which every stride-th pixel is looked at.
    """
    rows, columns = shape
    if metering == 'average':
        return np.full(shape, 1.0 / (rows * columns), np.float32)
    y = (np.arange(rows, dtype=np.float32) + 0.5) / rows * 2.0 - 1.0
    x = (np.arange(columns, dtype=np.float32) + 0.5) / columns * 2.0 - 1.0
    centre = np.exp(-2.0 * (y[:, None] ** 2 + x[None, :] ** 2))
    centre /= centre.sum()
    on_faces = np.zeros(shape, np.float32)
    for left, top, width, height in faces if metering == 'face' else ():
        edges = (top / stride, (top + height) / stride, left / stride, (left + width) / stride)
        above, below, before, behind = (max(0, round(edge)) for edge in edges)
        on_faces[above:below, before:behind] = 1.0
    area = on_faces.sum()
    weighted = _FACE_PART / area * on_faces + (1.0 - _FACE_PART) * centre if area > 0.0 else centre
    return weighted.astype(np.float32)


def measure(few: NDArray[np.uint8], weight: NDArray[np.float32], target: float) -> Level:
    """Measure the brightness of what ``thin`` gives.

    :param weight: (rows, columns), adding up to 1.
    :param target: mean brightness that is aimed at, above 0 and below 1.
    """
    light = luminance(few).ravel()
    weight = weight.ravel()
    brightest = few.max(axis=2) if few.ndim == 3 else few
    clipped = float(weight[brightest.ravel() >= _CLIPPED].sum())
    gain = 1.0
    for _ in range(_PASSES):
        mean = float(np.minimum(light * gain, 1.0) @ weight)
        gain = min(gain * target / max(mean, target / _MOST_GAIN), _MOST_GAIN)
        if math.isclose(mean, target, rel_tol=1e-3):
            break
    brightness = target / gain
    return Level(brightness, clipped > _WHITE_PART and gain < 1.0, brightness < _BLACK, clipped)
