"""What a camera does to the light that reaches it: blur, noise, tone, compression."""

# mypy: disable-error-code="untyped-decorator,no-any-unimported,no-any-return"
from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.faces.raster import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import Sensor

    Floats = NDArray[np.float32]


def develop(linear: Floats, sensor: Sensor) -> NDArray[np.uint8]:
    """Return the BGR picture (H, W, 3) that a camera makes of linear RGB light (H, W, 3)."""
    side = linear.shape[0]
    rng = np.random.default_rng(sensor.seed)
    light = linear * (np.array(sensor.cast, np.float32) * sensor.exposure)
    if sensor.skew:
        rows = (np.arange(side, dtype=np.float32) / side - 0.5) * sensor.skew * side
        y, x = np.mgrid[0:side, 0 : linear.shape[1]].astype(np.float32)
        light = cv2.remap(light, x + rows[:, None], y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if sensor.motion * side > 0.6:
        light = cv2.filter2D(
            light, -1, _streak(sensor.motion * side, sensor.motion_angle), borderType=cv2.BORDER_REPLICATE
        )
    if sensor.blur * side > 0.25:
        light = cv2.GaussianBlur(light, (0, 0), sensor.blur * side)
    small = sensor.resolution < 0.99
    if small:
        n = max(8, round(side * sensor.resolution))
        light = cv2.resize(light, (n * linear.shape[1] // side, n), interpolation=cv2.INTER_AREA)
    if sensor.shot_noise or sensor.read_noise:
        sigma = np.sqrt(np.maximum(light, 0) * sensor.shot_noise**2 + sensor.read_noise**2)
        start = int(rng.integers(_NOISE - light.size)) if light.size < _NOISE else 0
        noise = (
            _noise()[start : start + light.size] if light.size < _NOISE else rng.standard_normal(light.size, np.float32)
        )
        light = light + sigma * noise.reshape(light.shape)
    picture: NDArray[np.uint8] = _tone(
        np.ascontiguousarray(light, np.float32), _CURVE, sensor.contrast, sensor.saturation
    )
    if sensor.quality:
        coded = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])[1]
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    if small:
        picture = np.asarray(cv2.resize(picture, (linear.shape[1], side), interpolation=cv2.INTER_LINEAR), np.uint8)
    if sensor.sharpen:
        soft = cv2.GaussianBlur(picture, (0, 0), 1.0)
        picture = np.asarray(cv2.addWeighted(picture, 1 + sensor.sharpen, soft, -sensor.sharpen, 0), np.uint8)
    return np.ascontiguousarray(picture, np.uint8)


_CURVE = np.linspace(0, 1, 4097, dtype=np.float32) ** 0.4545


@compiled
def _tone(light: Floats, curve: Floats, contrast: float, saturation: float) -> NDArray[np.uint8]:
    """Bend linear RGB light into BGR values: a shoulder for what is too bright, gamma, contrast, saturation."""
    out = np.empty(light.shape, np.uint8)
    value = np.empty(3, np.float32)
    for y in range(light.shape[0]):
        for x in range(light.shape[1]):
            for c in range(3):
                v = max(light[y, x, c], np.float32(0))
                v = 1.2 * v * (1 + v * 0.05) / (1 + 0.8 * v)
                v = curve[min(int(v * 4096), 4096)]
                value[c] = v + contrast * (v - 0.5) * 4 * v * (1 - v)
            grey = 0.299 * value[0] + 0.587 * value[1] + 0.114 * value[2]
            for c in range(3):
                v = grey + saturation * (value[c] - grey)
                out[y, x, 2 - c] = np.uint8(min(max(v * 255.0 + 0.5, 0.0), 255.0))
    return out


_NOISE = 1 << 20


@cache
def _noise() -> Floats:
    """Return _NOISE normal numbers; drawing them anew for every picture takes longer than a face."""
    return np.random.default_rng(0).standard_normal(_NOISE, np.float32)


def _streak(length: float, angle: float) -> Floats:
    n = int(np.ceil(length)) | 1
    kernel = np.zeros((n + 2, n + 2), np.float32)
    c = (n + 1) / 2
    d = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * length / 2
    for t in np.linspace(-1, 1, 4 * n):
        x, y = c + t * d
        x0, y0 = int(x), int(y)
        for yy, xx, w in (
            (y0, x0, (1 - x + x0) * (1 - y + y0)),
            (y0, x0 + 1, (x - x0) * (1 - y + y0)),
            (y0 + 1, x0, (1 - x + x0) * (y - y0)),
            (y0 + 1, x0 + 1, (x - x0) * (y - y0)),
        ):
            if yy < n + 2 and xx < n + 2:
                kernel[yy, xx] += w
    return kernel / kernel.sum()
