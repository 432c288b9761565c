"""The latest frames, grey and reduced, for all that is measured between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT = 16
LONGEST_SIDE_PX = 640


class Pictures:
    """A ring of the latest frames, reduced by a whole number so that no side exceeds 640 pixels; allocated once."""

    def __init__(self) -> None:
        self.factor = 1
        """Pixels of a frame to one of the reduced picture, in each direction."""
        self.frame_size = (0, 0)
        """Width and height of the frames."""
        self._stamps_ns: list[int] = []
        self._ring: list[NDArray[np.uint8]] = []
        self._reduced = np.empty((0, 0, 3), np.uint8)

    def __len__(self) -> int:
        return len(self._stamps_ns)

    def keep(self, pixels: NDArray[np.uint8], stamp_ns: int) -> NDArray[np.uint8]:
        """Take a frame, (height, width, 3) BGR or (height, width) grey; returns it reduced, (h, w) grey.

        A frame of another size, or one that is not after the last, begins anew.
        """
        height, width = pixels.shape[:2]
        if (width, height) != self.frame_size:
            self._allocate(width, height)
        if self._stamps_ns and stamp_ns <= self._stamps_ns[-1]:
            self._stamps_ns.clear()
        if len(self._stamps_ns) == KEPT:
            del self._stamps_ns[0]
            self._ring.append(self._ring.pop(0))
        kept = self._ring[len(self._stamps_ns)]
        self._stamps_ns.append(stamp_ns)
        whole = pixels[: kept.shape[0] * self.factor, : kept.shape[1] * self.factor]
        size = kept.shape[1::-1]
        if whole.ndim == 2:
            cv2.resize(whole, size, dst=kept, interpolation=cv2.INTER_AREA)
        elif self.factor == 1:
            cv2.cvtColor(whole, cv2.COLOR_BGR2GRAY, dst=kept)
        else:
            cv2.resize(whole, size, dst=self._reduced, interpolation=cv2.INTER_AREA)
            cv2.cvtColor(self._reduced, cv2.COLOR_BGR2GRAY, dst=kept)
        return kept

    def at(self, stamp_ns: int) -> NDArray[np.uint8] | None:
        """(h, w) grey, the reduced picture of the frame of that stamp, while it is kept; not to be written."""
        try:
            return self._ring[self._stamps_ns.index(stamp_ns)]
        except ValueError:
            return None

    def reduce(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels of a frame (n, 2) to pixels of its reduced picture."""
        reduced: NDArray[np.float64] = (points + 0.5) / self.factor - 0.5
        return reduced

    def reduced_map(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, 3) affine map between two frames, as it is between their reduced pictures."""
        reduced: NDArray[np.float64] = affine.copy()
        reduced[:, 2] += 0.5 * (self.factor - 1) * (affine[:, 0] + affine[:, 1] - 1.0)
        reduced[:, 2] /= self.factor
        return reduced

    def restored_map(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, 3) affine map between two reduced pictures, as it is between the frames."""
        restored: NDArray[np.float64] = affine.copy()
        restored[:, 2] *= self.factor
        restored[:, 2] -= 0.5 * (self.factor - 1) * (affine[:, 0] + affine[:, 1] - 1.0)
        return restored

    def _allocate(self, width: int, height: int) -> None:
        self.frame_size = (width, height)
        self.factor = max(1, -(-max(width, height) // LONGEST_SIDE_PX))
        # What is left over at the right and at the bottom is not looked at.
        size = (max(1, height // self.factor), max(1, width // self.factor))
        self._ring = [np.empty(size, np.uint8) for _ in range(KEPT)]
        self._reduced = np.empty((*size, 3), np.uint8)
        self._stamps_ns.clear()
