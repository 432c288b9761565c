"""Pictures of any size and encoding onto a screen of another: as large as fits, centred, the rest black."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from facefusion_ros.displays.scaling import scale_into
from facefusion_ros.frames.frame import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.frames.frame import Frame

_TO_BGRA = {
    Encoding.BGR8: cv2.COLOR_BGR2BGRA,
    Encoding.MONO8: cv2.COLOR_GRAY2BGRA,
    Encoding.NV12: cv2.COLOR_YUV2BGRA_NV12,
}


class Region(NamedTuple):
    """A rectangle on a screen, pixels."""

    left: int
    top: int
    width: int
    height: int


def picture_size(frame: Frame) -> tuple[int, int]:
    """Width and height of a frame's picture, pixels."""
    rows, columns = frame.pixels.shape[:2]
    return columns, rows * 2 // 3 if frame.encoding is Encoding.NV12 else rows


def fit(size: tuple[int, int], screen: tuple[int, int]) -> Region:
    """Place a picture of a (width, height) on a screen: the largest place of its proportions, in the middle."""
    (width, height), (across, down) = size, screen
    if width * down >= height * across:
        place = across, max(1, min(down, round(height * across / width)))
    else:
        place = max(1, min(across, round(width * down / height))), down
    return Region((across - place[0]) // 2, (down - place[1]) // 2, *place)


class Painter:
    """Paints frames into (height, width, 4) uint8 arrays of blue, green, red and a byte that nothing looks at.

    The screen's memory is only ever written, row after row: where it lies on a graphics card, reading is slow. Nothing
    is allocated but at the first frame of a size. Used by one thread.
    """

    def __init__(self) -> None:
        self._scratch: NDArray[np.uint8] = np.empty((0, 0, 4), np.uint8)

    def paint(self, frame: Frame, screen: NDArray[np.uint8], before: Region | None) -> Region:
        """Paint a frame and return its place.

        ``before`` is the place of the picture that the screen holds: where it is the same the rest is black already;
        None where nothing is known.
        """
        down, across = screen.shape[:2]
        size = picture_size(frame)
        place = fit(size, (across, down))
        if place != before:
            screen[...] = 0
        view = screen[place.top : place.top + place.height, place.left : place.left + place.width]
        if size == (place.width, place.height):
            self._convert(frame, view)
            return place
        picture = frame.pixels
        if frame.encoding is not Encoding.BGRA8:
            if self._scratch.shape[:2] != size[::-1]:
                self._scratch = np.empty((*size[::-1], 4), np.uint8)
            picture = self._scratch
            self._convert(frame, picture)
        scale_into(picture, view)
        return place

    def _convert(self, frame: Frame, picture: NDArray[np.uint8]) -> None:
        if frame.encoding is Encoding.BGRA8:
            np.copyto(picture, frame.pixels)
        else:
            cv2.cvtColor(frame.pixels, _TO_BGRA[frame.encoding], dst=picture)
