"""Painting in millimetres: a picture twice as fine as its result, linear light RGB, float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.personas.anatomy import Half

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from facefusion_ros.personas.anatomy import Plane

    Line = tuple[Plane, Plane]
    """x and y of its points, millimetres."""

SIZE_PX = 512
MM_PER_PX = 0.5
CENTRE_X_PX = (SIZE_PX - 1) / 2
EYE_LINE_PX = 232.0
"""Row of the pupils; with the column CENTRE_X_PX the origin of the anatomy's millimetres."""

_FINE = 2
_SHAPE = (SIZE_PX * _FINE, SIZE_PX * _FINE)
_FINE_PER_MM = _FINE / MM_PER_PX
_SUBPIXEL_BITS = 4


def pixel(x_mm: float, y_mm: float) -> tuple[float, float]:
    """Where a point of the anatomy lies in the finished picture, pixels."""
    return CENTRE_X_PX + x_mm / MM_PER_PX, EYE_LINE_PX + y_mm / MM_PER_PX


def half_grid() -> Half:
    """Positions of the pixels of the right half, millimetres."""
    return Half(*grid(slice(0, _SHAPE[0]), slice(_SHAPE[1] // 2, _SHAPE[1])))


def whole(half: Plane) -> Plane:
    """Mirror the right half into a whole picture."""
    half = np.broadcast_to(half, (_SHAPE[0], _SHAPE[1] // 2, *half.shape[2:]))
    return np.ascontiguousarray(np.concatenate([half[:, ::-1], half], axis=1))


def finished(canvas: Plane) -> Plane:
    """Average down to the size of the result."""
    return np.asarray(cv2.resize(canvas, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA), np.float32)


def blur(plane: Plane, sigma_mm: float) -> Plane:
    """Gaussian blur; a wide one works on a reduced picture, where it costs little."""
    sigma = sigma_mm * _FINE_PER_MM
    step = max(1, int(sigma / 3))
    if step == 1:
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)
    size = plane.shape[1], plane.shape[0]
    small = cv2.resize(plane, (size[0] // step, size[1] // step), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.float32)


def lay(canvas: Plane, mask: Plane, colour: ArrayLike) -> None:
    """Blend a colour, or a picture of colours, into the canvas where the mask is."""
    canvas += mask[..., None] * (np.asarray(colour, np.float32) - canvas)


def strokes(lines: Sequence[Line], width: int) -> Plane:
    """Lines as an antialiased mask, 0 to 1; one unit of width is a quarter of a millimetre."""
    mask = np.zeros(_SHAPE, np.uint8)
    cv2.polylines(mask, [_fixed_point(x, y) for x, y in lines], False, 255, width, cv2.LINE_AA, _SUBPIXEL_BITS)  # noqa: FBT003 - OpenCV's own order
    return mask.astype(np.float32) / 255


def areas(outlines: Sequence[Line]) -> Plane:
    """Fill outlines as an antialiased mask, 0 to 1."""
    mask = np.zeros(_SHAPE, np.uint8)
    for x, y in outlines:
        cv2.fillPoly(mask, [_fixed_point(x, y)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask.astype(np.float32) / 255


def mirrored(lines: Sequence[Line]) -> list[Line]:
    """Lines of the right half, and their mirror images."""
    return [*lines, *((-x, y) for x, y in lines)]


def window(left: float, right: float, top: float, bottom: float) -> tuple[slice, slice]:
    """Rows and columns of a rectangle given in millimetres."""
    (x0, y0), (x1, y1) = _fixed_point(np.array([left, right]), np.array([top, bottom])) >> _SUBPIXEL_BITS
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def grid(rows: slice, columns: slice) -> tuple[Plane, Plane]:
    """X and y of the pixels of a window, millimetres, (1, width) and (height, 1)."""
    x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / _FINE - 0.5
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / _FINE - 0.5
    return (x[None] - CENTRE_X_PX) * MM_PER_PX, (y[:, None] - EYE_LINE_PX) * MM_PER_PX


def normals(height: Plane) -> tuple[Plane, Plane, Plane]:
    """Return unit normals (x, y, z) of a relief in millimetres."""
    scale = _FINE_PER_MM / 8
    nx = -cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=scale)
    ny = -cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=scale)
    nz = 1 / np.sqrt(nx * nx + ny * ny + 1)
    return nx * nz, ny * nz, nz


def shifted(plane: Plane, x_mm: float, y_mm: float, step: int) -> Plane:
    """Move a plane that was reduced ``step`` times."""
    k = _FINE_PER_MM / step
    move = np.array([[1, 0, x_mm * k], [0, 1, y_mm * k]], np.float32)
    size = plane.shape[1], plane.shape[0]
    return np.asarray(cv2.warpAffine(plane, move, size, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _fixed_point(x: Plane, y: Plane) -> NDArray[np.int32]:
    """Millimetres to OpenCV's fixed-point pixels of the fine picture."""
    mm = np.stack([x, y], axis=-1)
    px = ((mm / MM_PER_PX + (CENTRE_X_PX, EYE_LINE_PX)) + 0.5) * _FINE - 0.5
    return np.asarray(np.round(px * (1 << _SUBPIXEL_BITS)), np.int32)
