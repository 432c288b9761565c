"""Where a kernel samples and what it makes of four neighbours, in numpy; ``pixel.h`` does the same.

All arithmetic is float32 with every operation rounded on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MAX_SIDE_PX = 16384
"""Largest picture: float32 still knows a position in it to a thousandth of a pixel."""

Taps = tuple['NDArray[np.float32]', 'NDArray[np.float32]', 'NDArray[np.float32]', 'NDArray[np.float32]']


@dataclass(frozen=True)
class Places:
    """Where each pixel of a grid lies: the pixel up and left of it, and the way on from there, 0 to 1."""

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    right: NDArray[np.float32]
    down: NDArray[np.float32]

    def bilinear(
        self, tap: Callable[[NDArray[np.int32], NDArray[np.int32]], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Interpolate what ``tap`` gives for columns and rows: first along the rows, then between them."""
        top = _between(tap(self.x, self.y), tap(self.x + 1, self.y), self.right)
        bottom = _between(tap(self.x, self.y + 1), tap(self.x + 1, self.y + 1), self.right)
        return _between(top, bottom, self.down)


def _between(a: NDArray[np.float32], b: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    return a + share * (b - a)


def places(
    affine: NDArray[np.float32], columns: NDArray[np.int32], rows: NDArray[np.int32], width: int, height: int
) -> Places:
    """Map columns, (w,), and rows, (h,), by six numbers (a 2 x 3 matrix by rows) into a width x height picture.

    x = (m0 * column + m1 * row) + m2, y likewise, limited to [-2, width + 1] and [-2, height + 1]: what is further out
    looks the same. A NaN counts as outside.
    """
    u, v = columns.astype(np.float32), rows.astype(np.float32)[:, None]
    with np.errstate(over='ignore', invalid='ignore'):
        x = (affine[0] * u + affine[1] * v) + affine[2]
        y = (affine[3] * u + affine[4] * v) + affine[5]
    x = np.fmin(np.fmax(x, np.float32(-2)), np.float32(width) + np.float32(1))
    y = np.fmin(np.fmax(y, np.float32(-2)), np.float32(height) + np.float32(1))
    left, top = np.floor(x), np.floor(y)
    return Places(left.astype(np.int32), top.astype(np.int32), x - left, y - top)
