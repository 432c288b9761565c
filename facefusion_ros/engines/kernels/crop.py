"""A part of a frame to the normalised picture that a network takes: the task, and what its result is."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.kernels.sampling import MAX_SIDE_PX, places

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MATRIX = ('black', 'luma_share', 'v_to_red', 'v_to_green', 'u_to_green', 'u_to_blue')
TASK = np.dtype(
    [
        ('pixels', np.uint64),
        ('chroma', np.uint64),
        ('output', np.uint64),
        ('pitch', np.int32),
        ('chroma_pitch', np.int32),
        ('pixel_step', np.int32),
        ('region', np.int32, 2),
        ('grid', np.int32, 2),
        ('width', np.int32),
        ('height', np.int32),
        ('place', np.int32, 4),
        ('grey', np.int32),
        ('blue_first', np.int32),
        ('channel_step', np.int32),
        ('column_step', np.int32),
        ('cell', np.float32, 2),
        ('grid_from_crop', np.float32, 6),
        ('gain', np.float32, 3),
        ('offset', np.float32, 3),
        *((name, np.int32) for name in _MATRIX),
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
    """value = pixel * gain + offset, pixel 0 to 255; per channel in the order of the network's."""

    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    blue_first: bool = False
    """Channels are B, G, R rather than R, G, B."""

    @classmethod
    def of(
        cls, scale: float, mean: tuple[float, float, float], std: tuple[float, float, float], *, blue_first: bool
    ) -> Normalisation:
        """Take a network's own terms: value = (pixel * scale - mean) / std."""
        gain = (scale / std[0], scale / std[1], scale / std[2])
        return cls(gain, (-mean[0] / std[0], -mean[1] / std[1], -mean[2] / std[2]), blue_first)


@dataclass(frozen=True, slots=True)
class Nv12:
    """Where an NV12 picture lies, in the memory of whoever runs the kernel. Sizes in pixels, pitches in bytes."""

    luma: int
    chroma: int
    width: int
    height: int
    luma_pitch: int
    chroma_pitch: int


@dataclass(frozen=True, slots=True)
class Bgr:
    """Where a BGR picture lies, in the memory of whoever runs the kernel. Sizes in pixels, pitch in bytes."""

    pixels: int
    width: int
    height: int
    pitch: int
    step: int = 3
    """Bytes from one pixel to the next: 4 for BGRA, whose fourth is not looked at."""


@dataclass(frozen=True, slots=True)
class Output:
    """A network's input: where its numbers go, and how they lie."""

    address: int
    width: int
    height: int
    planar: bool = True
    """One channel after the other (NCHW) rather than all of a pixel together (NHWC)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which part of a picture each pixel of the output sees.

    The picture is averaged to a grid (``cv2.INTER_AREA``), in which the output's pixels are interpolated; a grid of the
    picture's own size averages nothing. Beyond the grid its edge goes on. Pixel centres are at whole numbers.
    """

    grid: tuple[int, int]
    """Width and height; at most the picture's."""
    grid_from_crop: NDArray[np.float64]
    """(2, 3)."""
    place: tuple[int, int, int, int] | None = None
    """Left, top, right and bottom of the part of the output that sees the picture; None: all of it."""
    grey: int = 0
    """What is beside that part, 0 to 255."""


def task(
    picture: Nv12 | Bgr, output: Output, sampling: Sampling, normalisation: Normalisation, matrix: YuvMatrix = BT601
) -> np.void:
    """Describe a crop to the kernel; ``matrix`` is for NV12. Raises EngineError."""
    size = (output.width, output.height)
    sides = (picture.width, picture.height, *size)
    if min(sides) < 1 or max(sides) > MAX_SIDE_PX:
        raise EngineError(
            f'no crop of {size[0]} x {size[1]} from a picture of {picture.width} x {picture.height}: '
            f'sides are 1 to {MAX_SIDE_PX} pixels'
        )
    if isinstance(picture, Nv12) and (picture.width % 2 or picture.height % 2):
        raise EngineError(f'no nv12 picture is {picture.width} x {picture.height}: its sides are even')
    grid = sampling.grid
    if min(grid) < 1 or grid[0] > picture.width or grid[1] > picture.height:
        raise EngineError(
            f'a picture of {picture.width} x {picture.height} cannot be averaged to {grid[0]} x {grid[1]}: '
            'a grid has from one cell to as many as the picture has pixels'
        )
    if not 0 <= sampling.grey <= 255:
        raise EngineError(f'a border of {sampling.grey} is no grey: use 0 to 255')
    described: np.void = np.zeros(1, TASK)[0]
    if isinstance(picture, Nv12):
        described['pixels'], described['chroma'] = picture.luma, picture.chroma
        described['pitch'], described['chroma_pitch'] = picture.luma_pitch, picture.chroma_pitch
    else:
        described['pixels'], described['pitch'], described['pixel_step'] = picture.pixels, picture.pitch, picture.step
    described['output'] = output.address
    described['region'] = picture.width, picture.height
    described['grid'] = grid
    described['width'], described['height'] = size
    described['place'] = sampling.place or (0, 0, *size)
    described['grey'] = sampling.grey
    described['blue_first'] = normalisation.blue_first
    described['channel_step'], described['column_step'] = (size[0] * size[1], 1) if output.planar else (1, 3)
    described['cell'] = picture.width / grid[0], picture.height / grid[1]
    described['grid_from_crop'] = sampling.grid_from_crop.reshape(6)
    described['gain'], described['offset'] = normalisation.gain, normalisation.offset
    for name, value in zip(_MATRIX, astuple(matrix), strict=True):
        described[name] = value
    return described


def crop(
    planes: tuple[NDArray[np.uint8], ...], described: np.void, dtype: type[np.float32 | np.float16]
) -> NDArray[np.float32 | np.float16]:
    """Give what the kernel writes, as (3, height, width) of dtype.

    ``planes``: (BGR (h, w, 3 or 4),) or (luma (h, w), chroma (h / 2, w / 2, [U, V])). A pixel of NV12 is converted to
    RGB with the chroma of its 2 x 2 block, in integers, and only then used: the same as converting the whole picture
    first. float16 is rounded from float32 to the nearest, ties to even.
    """
    picture = (
        planes[0][..., 2::-1].astype(np.float32) if len(planes) == 1 else _converted(planes[0], planes[1], described)
    )
    columns, rows = (np.arange(int(described[name]), dtype=np.int32) for name in ('width', 'height'))
    width, height = described['grid'].tolist()
    where = places(described['grid_from_crop'], columns, rows, width, height)
    cells = _averaged(picture, described)
    left, top, right, bottom = described['place'].tolist()
    beside = (columns < left) | (columns >= right) | ((rows < top) | (rows >= bottom))[:, None]
    order = (2, 1, 0) if described['blue_first'] else (0, 1, 2)
    result = []
    for index, channel in enumerate(order):
        plane = cells[..., channel]

        def tap(x: NDArray[np.int32], y: NDArray[np.int32], plane: NDArray[np.float32] = plane) -> NDArray[np.float32]:
            near: NDArray[np.float32] = plane[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
            return near

        seen = np.where(beside, np.float32(described['grey']), where.bilinear(tap))
        with np.errstate(over='ignore'):
            result.append(seen * described['gain'][index] + described['offset'][index])
    with np.errstate(over='ignore'):
        return np.stack(result).astype(dtype)


def _averaged(picture: NDArray[np.float32], described: np.void) -> NDArray[np.float32]:
    """Mean of the (h, w, 3) pixels under each cell of the grid, each by how much of it lies there."""
    rows, columns = (
        _shares(int(described['grid'][axis]), described['cell'][axis], picture.shape[1 - axis]) for axis in (1, 0)
    )
    total = np.zeros((len(rows.first), len(columns.first), 3), np.float32)
    for each_row in range(rows.share.shape[1]):
        line = np.zeros_like(total)
        y = np.minimum(rows.first + each_row, picture.shape[0] - 1)
        for each_column in range(columns.share.shape[1]):
            x = np.minimum(columns.first + each_column, picture.shape[1] - 1)
            line = line + picture[y[:, None], x] * columns.share[:, each_column, None]
        total = total + line * rows.share[:, each_row, None, None]
    return total / (rows.length[:, None] * columns.length)[..., None]


@dataclass(frozen=True)
class _Shares:
    """What the cells along an axis take of its pixels: from which on, how much of each, how much in all."""

    first: NDArray[np.int32]
    share: NDArray[np.float32]
    length: NDArray[np.float32]


def _shares(cells: int, length: np.float32, pixels: int) -> _Shares:
    low = np.arange(cells, dtype=np.float32) * length
    high = np.minimum(low + length, np.float32(pixels))
    first = low.astype(np.int32)
    most = int((np.ceil(high).astype(np.int32) - first).max())
    at = (first[:, None] + np.arange(most, dtype=np.int32)).astype(np.float32)
    share = np.minimum(at + np.float32(1), high[:, None]) - np.maximum(at, low[:, None])
    return _Shares(first, np.maximum(share, np.float32(0)), high - low)


def _converted(luma: NDArray[np.uint8], chroma: NDArray[np.uint8], described: np.void) -> NDArray[np.float32]:
    """Red, green and blue, (h, w, 3), whole numbers 0 to 255."""
    share = {name: int(described[name]) for name in _MATRIX}
    light = np.maximum(luma.astype(np.int32) - share['black'], 0) * share['luma_share'] + (1 << 19)
    u, v = np.moveaxis(chroma.astype(np.int32).repeat(2, axis=0).repeat(2, axis=1) - 128, 2, 0)
    red = light + share['v_to_red'] * v
    green = light + share['v_to_green'] * v + share['u_to_green'] * u
    blue = light + share['u_to_blue'] * u
    whole = np.clip(np.stack((red, green, blue), axis=-1) >> 20, 0, 255)
    return np.asarray(whole, np.float32)
