"""NV12 frame to the planar, normalised crop that a network takes: the task, and what its result is."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.kernels.sampling import MAX_SIDE_PX, places

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASK = np.dtype(
    [
        ('luma', np.uint64),
        ('chroma', np.uint64),
        ('output', np.uint64),
        ('luma_pitch', np.int32),
        ('chroma_pitch', np.int32),
        ('frame_width', np.int32),
        ('frame_height', np.int32),
        ('width', np.int32),
        ('height', np.int32),
        ('border', np.int32),
        ('blue_first', np.int32),
        ('frame_from_crop', np.float32, 6),
        ('gain', np.float32, 3),
        ('offset', np.float32, 3),
        ('black', np.int32),
        ('luma_share', np.int32),
        ('v_to_red', np.int32),
        ('v_to_green', np.int32),
        ('u_to_green', np.int32),
        ('u_to_blue', np.int32),
    ],
    align=True,
)
"""``CropTask`` of crop.h, byte for byte."""


@dataclass(frozen=True, slots=True)
class YuvMatrix:
    """How Y, U, V become R, G, B: shares in units of 2^-20, luma counted from black."""

    black: int
    luma_share: int
    v_to_red: int
    v_to_green: int
    u_to_green: int
    u_to_blue: int


BT601 = YuvMatrix(16, 1220542, 1673527, -852492, -409993, 2116026)
"""ITU-R BT.601, luma 16 to 235; the numbers of OpenCV's cvtColor (imgproc/src/color_yuv.simd.hpp), so that both give
the same bytes."""
BT709 = YuvMatrix(16, 1220945, 1879825, -558796, -223607, 2215014)
"""ITU-R BT.709, luma 16 to 235: what HD cameras mostly send. With k_r = 0.2126 and k_b = 0.0722 the shares are 255/219,
2 (1 - k_r) 255/224, minus the same times k_r / k_g, minus 2 (1 - k_b) k_b / k_g 255/224, and 2 (1 - k_b) 255/224."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """value = pixel * gain + offset, pixel 0 to 255; per channel in the order of the crop's planes."""

    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    blue_first: bool = False
    """Planes are B, G, R rather than R, G, B."""

    @classmethod
    def of(
        cls, scale: float, mean: tuple[float, float, float], std: tuple[float, float, float], *, blue_first: bool
    ) -> Normalisation:
        """Take a network's own terms: value = (pixel * scale - mean) / std."""
        gain = (scale / std[0], scale / std[1], scale / std[2])
        return cls(gain, (-mean[0] / std[0], -mean[1] / std[1], -mean[2] / std[2]), blue_first)


@dataclass(frozen=True, slots=True)
class Nv12:
    """Where an NV12 frame lies, in the memory of whoever runs the kernel. Sizes in pixels, pitches in bytes."""

    luma: int
    chroma: int
    width: int
    height: int
    luma_pitch: int
    chroma_pitch: int


def task(
    frame: Nv12,
    output: int,
    size: tuple[int, int],
    frame_from_crop: NDArray[np.float64],
    normalisation: Normalisation,
    *,
    border: int | None = None,
    matrix: YuvMatrix = BT601,
) -> np.void:
    """Describe a crop of size (width, height) to the kernel; output is the address of its three planes.

    frame_from_crop is (2, 3): where a pixel of the crop lies in the frame, pixel centres at whole numbers. border is
    what lies outside the frame: None repeats its edge, a number from 0 to 255 is a grey. Raises EngineError.
    """
    sides = (frame.width, frame.height, *size)
    if min(sides) < 1 or max(sides) > MAX_SIDE_PX or frame.width % 2 or frame.height % 2:
        raise EngineError(
            f'no crop of {size[0]} x {size[1]} from an nv12 frame of {frame.width} x {frame.height}: '
            f'sides are 1 to {MAX_SIDE_PX} pixels, those of nv12 even'
        )
    if border is not None and not 0 <= border <= 255:
        raise EngineError(f'a border of {border} is no grey: use 0 to 255, or none to repeat the edge')
    described: np.void = np.zeros(1, TASK)[0]
    described['luma'], described['chroma'], described['output'] = frame.luma, frame.chroma, output
    described['luma_pitch'], described['chroma_pitch'] = frame.luma_pitch, frame.chroma_pitch
    described['frame_width'], described['frame_height'] = frame.width, frame.height
    described['width'], described['height'] = size
    described['border'] = -1 if border is None else border
    described['blue_first'] = normalisation.blue_first
    described['frame_from_crop'] = frame_from_crop.reshape(6)
    described['gain'], described['offset'] = normalisation.gain, normalisation.offset
    for name, value in zip(TASK.names[-6:] if TASK.names else (), astuple(matrix), strict=True):
        described[name] = value
    return described


def crop(
    luma: NDArray[np.uint8], chroma: NDArray[np.uint8], described: np.void, dtype: type[np.float32 | np.float16]
) -> NDArray[np.float32 | np.float16]:
    """Give what the kernel writes: (3, height, width) of dtype; luma is (h, w), chroma (h / 2, w / 2, [U, V]).

    Each of the four neighbours is converted to RGB with the chroma of its 2 x 2 block, in integers, and only then
    interpolated: the same as converting the whole frame first. float16 is rounded from float32 to the nearest, ties to
    even.
    """
    height, width = luma.shape
    columns, rows = (np.arange(int(described[name]), dtype=np.int32) for name in ('width', 'height'))
    where = places(described['frame_from_crop'], columns, rows, width, height)
    red, green, blue = _converted(luma, chroma, described)
    order = (blue, green, red) if described['blue_first'] else (red, green, blue)
    border = int(described['border'])
    planes = []
    for index, plane in enumerate(order):

        def tap(x: NDArray[np.int32], y: NDArray[np.int32], plane: NDArray[np.float32] = plane) -> NDArray[np.float32]:
            inside = plane[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
            if border < 0:
                return inside
            seen = (x >= 0) & (y >= 0) & (x < width) & (y < height)
            return np.where(seen, inside, np.float32(border))

        planes.append(where.bilinear(tap) * described['gain'][index] + described['offset'][index])
    with np.errstate(over='ignore'):
        return np.stack(planes).astype(dtype)


def _converted(
    luma: NDArray[np.uint8], chroma: NDArray[np.uint8], described: np.void
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Red, green and blue, each (h, w), whole numbers 0 to 255."""
    share = {name: int(described[name]) for name in TASK.names or () if name != 'luma' and described[name].ndim == 0}
    light = np.maximum(luma.astype(np.int32) - share['black'], 0) * share['luma_share'] + (1 << 19)
    u, v = np.moveaxis(chroma.astype(np.int32).repeat(2, axis=0).repeat(2, axis=1) - 128, 2, 0)
    red = light + share['v_to_red'] * v
    green = light + share['v_to_green'] * v + share['u_to_green'] * u
    blue = light + share['u_to_blue'] * u
    red, green, blue = (np.clip(plane >> 20, 0, 255).astype(np.float32) for plane in (red, green, blue))
    return red, green, blue
