"""From a picture that FFmpeg has decoded to BGR in memory of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from facefusion_ros.cameras.bgr import BT601, Colours, ToBgr, divides

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

# From PyAV 17 on it would take all cores, which costs a third more altogether and waits for each of them.
_ALONE: Final[dict[str, Any]] = {'threads': 1} if int(av.__version__.split('.')[0]) >= 17 else {}
_LAYOUTS: Final = {'nv12': 'nv12', 'yuv420p': 'i420', 'yuvj420p': 'i420'}
# Weights of red and blue by AVColorSpace (ITU-T H.273, MatrixCoefficients), where they are not those of BT.601.
_WEIGHTS: Final = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_FULL_RANGE: Final = 2


class Reformat:
    """Converts pictures, scaled to the size that is asked for; keeps what it needs for that from one to the next."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._to_bgr = ToBgr()

    def __call__(self, picture: VideoFrame, out: NDArray[np.uint8]) -> None:
        """Write the picture to out, (height, width, 3) BGR."""
        height, width = out.shape[:2]
        layout, colours = _LAYOUTS.get(picture.format.name, ''), _colours(picture)
        # FFmpeg is slow at NV12, which is what graphics cards decode to, and faster at planes that are not of BT.601.
        direct = layout == 'nv12' or (layout == 'i420' and (colours.red, colours.blue) == (BT601.red, BT601.blue))
        if direct and (picture.height, picture.width) == (height, width) and divides(layout, width, height):
            self._to_bgr(layout, _planes(picture, layout), out, colours)
            return
        # Two passes: FFmpeg converts into memory of its own, which is then copied; PyAV cannot have it write elsewhere.
        converted = self._reformatter.reformat(picture, width=width, height=height, format='bgr24', **_ALONE)
        np.copyto(out, _plane(converted, 0, height, width, 3))


def _colours(picture: VideoFrame) -> Colours:
    full = picture.color_range == _FULL_RANGE or picture.format.name.startswith('yuvj')
    return Colours(*_WEIGHTS.get(int(picture.colorspace), (BT601.red, BT601.blue)), full_range=full)


def _planes(picture: VideoFrame, layout: str) -> list[NDArray[np.uint8]]:
    height, width = picture.height, picture.width
    luma = _plane(picture, 0, height, width, 1)[..., 0]
    if layout == 'nv12':
        return [luma, _plane(picture, 1, height // 2, width // 2, 2)]
    return [luma, *(_plane(picture, index, height // 2, width // 2, 1)[..., 0] for index in (1, 2))]


def _plane(picture: VideoFrame, index: int, height: int, width: int, depth: int) -> NDArray[np.uint8]:
    plane = picture.planes[index]
    laid: NDArray[np.uint8] = np.ndarray(
        (height, width, depth), np.uint8, memoryview(plane), strides=(plane.line_size, depth, 1)
    )
    return laid
