from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from facefusion_ros.frames.frame import Frame, FrameInfo

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def make_frame() -> Callable[..., Frame]:
    def make(
        number: int = 0, width: int = 64, height: int = 48, *, stamp_ns: int | None = None, blue: int = 0
    ) -> Frame:
        """Draw a grey picture whose level tells the number of the frame: 10 + 3 * number."""
        pixels = np.full((height, width, 3), 10 + 3 * number, np.uint8)
        if blue:
            pixels[...] = (blue, 0, 0)
        stamp_ns = 1_700_000_000_000_000_000 + number * 33_333_333 if stamp_ns is None else stamp_ns
        return Frame(pixels, FrameInfo(stamp_ns=stamp_ns, frame_id='camera_optical_frame', sequence=number))

    return make
