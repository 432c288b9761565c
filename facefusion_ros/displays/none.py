"""The display for a machine without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facefusion_ros.frames.frame import Frame


class NoDisplay:
    """Shows nothing; frames still go to ROS topics."""

    failed: None = None
    dropped = 0
    compares = False
    shows_numbers = False
    tells_when = False

    def show(self, frame: Frame, original: Frame | None) -> None:
        """Do nothing."""

    def update(self, numbers: Mapping[str, float | int | str]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
