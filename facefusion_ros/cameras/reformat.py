"""From a picture that FFmpeg has decoded to BGR in memory of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from av.video.reformatter import VideoReformatter

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray


class Reformat:
    """Converts pictures, scaled to the size that is asked for; keeps what it needs for that from one to the next."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, picture: VideoFrame, out: NDArray[np.uint8]) -> None:
        """Write the picture to out, (height, width, 3) BGR."""
        # Two passes: FFmpeg converts into memory of its own, which is then copied; PyAV cannot have it write elsewhere.
        height, width = out.shape[:2]
        converted = self._reformatter.reformat(picture, width=width, height=height, format='bgr24')
        plane = converted.planes[0]
        np.copyto(out, np.ndarray((height, width, 3), np.uint8, memoryview(plane), strides=(plane.line_size, 3, 1)))
