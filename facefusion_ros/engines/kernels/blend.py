"""A network's planar patch back into the BGR frame, coloured and masked: the task, and what its result is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.kernels.sampling import MAX_SIDE_PX, places

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASK = np.dtype(
    [
        ('frame', np.uint64),
        ('patch', np.uint64),
        ('mask', np.uint64),
        ('frame_pitch', np.int32),
        ('left', np.int32),
        ('top', np.int32),
        ('width', np.int32),
        ('height', np.int32),
        ('patch_width', np.int32),
        ('patch_height', np.int32),
        ('blue_first', np.int32),
        ('patch_from_frame', np.float32, 6),
        ('gain', np.float32, 3),
        ('offset', np.float32, 3),
    ],
    align=True,
)
"""``BlendTask`` of blend.h, byte for byte."""


@dataclass(frozen=True, slots=True)
class ColourMap:
    """pixel = value * gain + offset, per channel in the order of the patch's planes.

    Undoes the network's normalisation and brings the scene's light in one go.
    """

    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    blue_first: bool = False
    """Planes are B, G, R rather than R, G, B."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Where a patch lies, in the memory of whoever runs the kernel: three planes and a uint8 mask of their size."""

    pixels: int
    mask: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class BgrFrame:
    """Where a BGR frame lies. Sizes in pixels, the pitch in bytes."""

    pixels: int
    width: int
    height: int
    pitch: int


def task(
    frame: BgrFrame,
    region: tuple[int, int, int, int],
    patch: Patch,
    patch_from_frame: NDArray[np.float64],
    colours: ColourMap,
) -> np.void:
    """Describe to the kernel a blend into a region (left, top, width, height; pixels) of the frame.

    patch_from_frame is (2, 3): where a pixel of the frame lies in the patch, pixel centres at whole numbers. Raises
    EngineError where the region is not within the frame, which the kernel does not check.
    """
    left, top, width, height = region
    if min(left, top) < 0 or min(width, height) < 1 or left + width > frame.width or top + height > frame.height:
        raise EngineError(
            f'the region of {width} x {height} at {left}, {top} does not lie within the frame of '
            f'{frame.width} x {frame.height}: cut it first'
        )
    sides = (frame.width, frame.height, patch.width, patch.height)
    if min(sides) < 1 or max(sides) > MAX_SIDE_PX:
        raise EngineError(f'frames and patches have sides of 1 to {MAX_SIDE_PX} pixels, and not {max(sides)}')
    described: np.void = np.zeros(1, TASK)[0]
    described['frame'], described['patch'], described['mask'] = frame.pixels, patch.pixels, patch.mask
    described['frame_pitch'] = frame.pitch
    described['left'], described['top'], described['width'], described['height'] = region
    described['patch_width'], described['patch_height'] = patch.width, patch.height
    described['blue_first'] = colours.blue_first
    described['patch_from_frame'] = patch_from_frame.reshape(6)
    described['gain'], described['offset'] = colours.gain, colours.offset
    return described


def blend(
    frame: NDArray[np.uint8],
    patch: NDArray[np.float32 | np.float16],
    mask: NDArray[np.uint8],
    described: np.void,
) -> None:
    """Do in place what the kernel does: frame is (h, w, 3) BGR, patch (3, s, t), mask (s, t).

    Patch and mask are interpolated; beyond the patch's edge the mask is 0 and the colours are those of the edge. The
    interpolated value is mapped, limited to 0..255 (a NaN becomes 0), and mixed: value * alpha + frame * (1 - alpha)
    with alpha = mask / 255, rounded to the nearest, ties to even. Where the mask is 0 the frame's bytes stay.
    """
    left, top, width, height = (int(described[name]) for name in ('left', 'top', 'width', 'height'))
    rows_of_patch, columns_of_patch = mask.shape
    columns = np.arange(left, left + width, dtype=np.int32)
    rows = np.arange(top, top + height, dtype=np.int32)
    where = places(described['patch_from_frame'], columns, rows, columns_of_patch, rows_of_patch)

    def edge(picture: NDArray[np.generic], x: NDArray[np.int32], y: NDArray[np.int32]) -> NDArray[np.float32]:
        return picture[np.clip(y, 0, rows_of_patch - 1), np.clip(x, 0, columns_of_patch - 1)].astype(np.float32)

    def covered(x: NDArray[np.int32], y: NDArray[np.int32]) -> NDArray[np.float32]:
        inside = (x >= 0) & (y >= 0) & (x < columns_of_patch) & (y < rows_of_patch)
        return np.where(inside, edge(mask, x, y), np.float32(0))

    alpha = where.bilinear(covered) / np.float32(255)
    view = frame[top : top + height, left : left + width]
    with np.errstate(over='ignore', invalid='ignore'):
        for plane in range(3):
            picture = patch[plane]
            value = where.bilinear(lambda x, y, picture=picture: edge(picture, x, y))  # type: ignore[misc]
            value = value * described['gain'][plane] + described['offset'][plane]
            value = np.fmin(np.fmax(value, np.float32(0)), np.float32(255))
            channel = view[..., plane if described['blue_first'] else 2 - plane]
            mixed = value * alpha + channel.astype(np.float32) * (np.float32(1) - alpha)
            np.copyto(channel, np.rint(mixed).astype(np.uint8), where=alpha != 0)
