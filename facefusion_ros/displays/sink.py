"""What every display offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facefusion_ros.frames.frame import Frame


class Sink(Protocol):
    """A place where frames are shown. Used by one thread."""

    def show(self, frame: Frame, original: Frame | None) -> None:
        """Show a BGR frame; the pixels are the caller's again on return.

        ``original`` is the camera's picture of the same instant where the caller has it, for sinks that compare.
        """

    def update(self, numbers: Mapping[str, float | int | str]) -> None:
        """Take the latest live numbers (frames per second, latency and so on) for sinks that show them."""

    def close(self) -> None:
        """Finish, so that what was shown is complete; may be called twice."""
