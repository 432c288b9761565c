"""A whole picture, made to fit a network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from facefusion_ros.engines.kernels.crop import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fit = Literal['corner', 'centre', 'stretch']


class Letterbox:
    """Where a picture goes in one of another size, beside grey. Makes its buffers when a picture's size is new."""

    def __init__(self, size: tuple[int, int], fit: Fit, grey: int) -> None:
        """Fit pictures into ``size``, (width, height) pixels.

        ``fit``: to the upper left ``corner`` or the ``centre`` in their own proportions, or as a ``stretch`` of them.
        """
        self._fit, self._grey = fit, grey
        self.picture: NDArray[np.uint8] = np.full((*size[::-1], 3), grey, np.uint8)
        """(height, width, 3): what ``draw`` made."""
        self._shape = (0, 0)
        self._place = self.picture
        self._corner = np.zeros(2, int)
        self._halves: list[NDArray[np.uint8]] = []

    @property
    def corner(self) -> NDArray[np.int_]:
        """Left and top of the part that shows the picture that was laid out last, pixels."""
        return self._corner

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of that part, pixels."""
        height, width = self._place.shape[:2]
        return width, height

    def draw(self, pixels: NDArray[np.uint8]) -> None:
        """Write a (H, W, 3) picture into ``picture``."""
        self.lay_out(pixels.shape[0], pixels.shape[1])
        source = pixels
        for smaller in (*self._halves, self._place):
            cv2.resize(source, smaller.shape[1::-1], dst=smaller, interpolation=cv2.INTER_LINEAR)
            source = smaller

    def sampling(self, height: int, width: int) -> Sampling:
        """Say how a kernel draws a picture of this size: the halves are means over two by two pixels, and so on."""
        self.lay_out(height, width)
        grid = np.array(self._halves[-1].shape[1::-1] if self._halves else (width, height))
        share = grid / self.shown
        (left, top), (right, bottom) = self._corner.tolist(), (self._corner + self.shown).tolist()
        # Edges meet edges, and centres of pixels are at whole numbers: hence the halves.
        shift = (0.5 - self._corner) * share - 0.5
        grid_from_crop = np.column_stack([np.diag(share), shift])
        return Sampling((int(grid[0]), int(grid[1])), grid_from_crop, (left, top, right, bottom), self._grey)

    def lay_out(self, height: int, width: int) -> None:
        """Say where a picture of this size goes."""
        if (height, width) == self._shape:
            return
        self._shape = (height, width)
        full = np.array(self.picture.shape[1::-1])
        size = full
        if self._fit != 'stretch':
            share = min(full[0] / width, full[1] / height)
            size = np.clip(np.round(np.array([width, height]) * share).astype(int), 1, full)
        self._corner = (full - size) // 2 if self._fit == 'centre' else np.zeros(2, int)
        (x, y), (right, bottom) = self._corner, self._corner + size
        self.picture[...] = self._grey
        self._place = self.picture[y:bottom, x:right]
        # Halving is a mean of four pixels and fast; from there on linear interpolation skips no pixel.
        self._halves = []
        while width // 2 >= size[0] and height // 2 >= size[1]:
            width, height = width // 2, height // 2
            self._halves.append(np.empty((height, width, 3), np.uint8))
