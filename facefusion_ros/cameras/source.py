"""What every camera offers, whatever it hangs on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.frames.intrinsics import Intrinsics


_NS: Final = 1_000_000_000


class SourceLost(FacefusionError):
    """The camera is not there (any more); opening it again later may help."""


class SourceEnded(FacefusionError):
    """The source has no more frames, as a file at its end."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What is known of a picture just taken."""

    stamp_ns: int
    """Middle of the exposure, nanoseconds of the clock the source was given."""
    exposure_s: float = math.nan
    gain: float = math.nan
    dropped: int = 0
    """Pictures passed over since the one before, because a newer one had come."""
    damaged: int = 0
    """Pictures and pieces of the stream since the one before that could not be read, or only in part."""
    frame_id: str = ''
    """Optical frame of the camera, where the source names it."""


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """What an open source delivers: BGR pictures of this size."""

    width: int
    height: int
    rate_hz: float
    intrinsics: Intrinsics | None = None
    """None where the camera is not calibrated."""
    decoder: str = ''
    """What decodes a compressed stream, for people: ``h264 in software``."""


class Source(Protocol):
    """A camera. Opened and read by one thread; ``close`` may come from another."""

    def open(self) -> PictureFormat:
        """Connect; raises SourceLost where the camera is not there."""

    def capture(self, out: NDArray[np.uint8]) -> Capture:
        """Wait for the next picture and write it to out, (height, width, 3) BGR.

        Raises SourceLost where the camera has gone, SourceEnded after the last frame.
        """

    def close(self) -> None:
        """Let go of the device; a waiting ``capture`` returns or raises soon. May be called twice."""


def distinct(stamp_ns: int, last_ns: int) -> int:
    """Return the stamp, or one that follows the last: frames are looked up by their stamps, no two may have the same.

    A clock that was set back by a second or more is followed.
    """
    return last_ns + 1 if last_ns - _NS < stamp_ns <= last_ns else stamp_ns
