"""What every display offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from facefusion_ros.frames.frame import Frame, FrameInfo

    Told: TypeAlias = Callable[[FrameInfo, int | None], None]
    """``Sink.tells_when`` says what it is for."""


class DisplayError(FacefusionError):
    """A display cannot be opened, or cannot go on."""


class Sink(Protocol):
    """A place where frames are shown. Used by one thread.

    Opening one raises DisplayError; afterwards no call raises because of the display, so that a full disk or a page
    nobody looks at cannot stop the pipeline: the display says in ``failed`` why it has stopped.
    """

    @property
    def failed(self) -> str | None:
        """One line for a person: why nothing is shown any more and what to do; None while all is well."""

    @property
    def compares(self) -> bool:
        """Whether ``show`` wants the original."""

    @property
    def shows_numbers(self) -> bool:
        """Whether ``update`` does anything."""

    @property
    def tells_when(self) -> bool:
        """Whether it tells, by the function that it was opened with, when each frame came on the display.

        The function gets a frame's info, once for each that was handed to ``show``, with the time at which the frame
        could be seen (CLOCK_MONOTONIC, nanoseconds) or None where it was replaced by a newer one or never shown. It is
        called by any thread, and must not call back.
        """

    @property
    def dropped(self) -> int:
        """Frames this display had to leave out because it was behind."""

    def show(self, frame: Frame, original: Frame | None) -> None:
        """Show a frame of any encoding; the pixels are the caller's again on return.

        ``original`` is the camera's picture of the same instant where the caller has it, for sinks that compare.
        """

    def update(self, numbers: Mapping[str, float | int | str]) -> None:
        """Take the latest live numbers for sinks that show them.

        Known keys, each optional: ``fps``; ``latency_ms`` (newest), ``latency_p50_ms``, ``latency_p95_ms`` capture to
        display; ``stage.<name>_ms`` per stage in the order of the way; ``faces``; ``dropped``; ``lux``; ``gyro_rad_s``
        (magnitude of the angular velocity); ``persona``. Others are shown by their name. NaN: no reading.
        """

    def close(self) -> None:
        """Finish, so that what was shown is complete; may be called twice."""
