"""The errors of launch files."""

from __future__ import annotations

from facefusion_ros.errors import FacefusionError


class LaunchFileError(FacefusionError):
    """A launch file, or what was given to it, cannot be run; begins with file and line where they are known."""


class RefusalError(Exception):
    """What is wrong with one element, in one line; whoever knows its file and line raises LaunchFileError from it."""
