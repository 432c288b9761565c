"""A picture with its true time, and the reference by which stages pass it along."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Encoding(str, Enum):
    """Pixel layout, by its ``sensor_msgs/image_encodings`` name."""

    BGR8 = 'bgr8'
    BGRA8 = 'bgra8'
    MONO8 = 'mono8'
    NV12 = 'nv12'


@dataclass(frozen=True, slots=True)
class StageTime:
    """When one stage worked on a frame; nanoseconds after the frame's stamp."""

    stage: str
    begin_ns: int
    end_ns: int
    dropped: int = 0
    """Frames the stage passed over since the one before this."""


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """What is known of a frame besides its pixels."""

    stamp_ns: int
    """Middle of the exposure, nanoseconds of the ROS clock."""
    frame_id: str
    """Optical frame of the camera (REP-103: x right, y down, z into the picture)."""
    sequence: int
    """Number of the frame, counted by the camera from 0."""
    exposure_s: float = math.nan
    """Exposure time, seconds; NaN where unknown."""
    gain: float = math.nan
    """Sensor gain, linear factor; NaN where unknown."""
    journal: tuple[StageTime, ...] = ()
    """What the stages did to the frame so far, in order."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture in memory.

    ``pixels`` is uint8: (height, width, 3) for BGR8, (height, width, 4) for BGRA8, (height, width) for MONO8,
    (height * 3 / 2, width) for NV12.
    """

    pixels: NDArray[np.uint8]
    info: FrameInfo
    encoding: Encoding = Encoding.BGR8


@dataclass(frozen=True, slots=True)
class FrameRef:
    """Where a frame's pixels are: a slot of a shared-memory pool, and the generation promised to be in it."""

    pool: str
    slot: int
    generation: int
    width: int
    height: int
    encoding: Encoding
    info: FrameInfo = field(compare=False)
