"""What a camera does to the light that reaches it: blur, noise, tone, compression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

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
        light = cv2.filter2D(light, -1, _streak(sensor.motion * side, sensor.motion_angle), borderType=cv2.BORDER_REPLICATE)
    if sensor.blur * side > 0.25:
        light = cv2.GaussianBlur(light, (0, 0), sensor.blur * side)
    small = sensor.resolution < 0.99
    if small:
        n = max(8, round(side * sensor.resolution))
        light = cv2.resize(light, (n * linear.shape[1] // side, n), interpolation=cv2.INTER_AREA)
    if sensor.shot_noise or sensor.read_noise:
        sigma = np.sqrt(np.maximum(light, 0) * sensor.shot_noise**2 + sensor.read_noise**2)
        light = light + sigma * rng.standard_normal(light.shape, np.float32)
    tone = _tone(light, sensor)
    picture = np.clip(tone * 255.0 + 0.5, 0, 255).astype(np.uint8)[..., ::-1]
    if sensor.quality:
        coded = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])[1]
        picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    if small:
        picture = cv2.resize(picture, (linear.shape[1], side), interpolation=cv2.INTER_LINEAR)
    if sensor.sharpen:
        soft = cv2.GaussianBlur(picture, (0, 0), 1.0)
        picture = cv2.addWeighted(picture, 1 + sensor.sharpen, soft, -sensor.sharpen, 0)
    return np.ascontiguousarray(picture, np.uint8)


_CURVE = np.linspace(0, 1, 4097, dtype=np.float32) ** 0.4545


def _tone(light: Floats, sensor: Sensor) -> Floats:
    """Bend linear light into the picture's values: a shoulder for what is too bright, gamma, contrast, saturation."""
    light = np.maximum(light, 0)
    bent = 1.2 * light * (1 + light * 0.05) / (1 + 0.8 * light)
    value = _CURVE[np.minimum(bent * 4096, 4096).astype(np.int32)]
    if sensor.contrast:
        value = value + sensor.contrast * (value - 0.5) * 4 * value * (1 - value)
    if sensor.saturation != 1:
        grey = value @ np.array([0.299, 0.587, 0.114], np.float32)
        value = grey[..., None] + sensor.saturation * (value - grey[..., None])
    return np.asarray(value, np.float32)


def _streak(length: float, angle: float) -> Floats:
    n = int(np.ceil(length)) | 1
    kernel = np.zeros((n + 2, n + 2), np.float32)
    c = (n + 1) / 2
    d = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * length / 2
    for t in np.linspace(-1, 1, 4 * n):
        x, y = c + t * d
        x0, y0 = int(x), int(y)
        for yy, xx, w in ((y0, x0, (1 - x + x0) * (1 - y + y0)), (y0, x0 + 1, (x - x0) * (1 - y + y0)), (y0 + 1, x0, (1 - x + x0) * (y - y0)), (y0 + 1, x0 + 1, (x - x0) * (y - y0))):
            if yy < n + 2 and xx < n + 2:
                kernel[yy, xx] += w
    return kernel / kernel.sum()
