"""What every camera offers whose exposure can be controlled, and how its settings get to the frames they belong to."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

from facefusion_ros.cameras.exposure import Delays
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from facefusion_ros.cameras.exposure import Limits, Setting


class ControlError(FacefusionError):
    """The camera cannot be controlled (any more)."""


class ExposureControl(Protocol):
    """Exposure, gain and perhaps white balance of a camera; used by one thread, ``close`` may come from another."""

    @property
    def limits(self) -> Limits:
        """What the camera can do; to be asked once it is open."""

    @property
    def kelvin_limits(self) -> tuple[float, float] | None:
        """Lowest and highest colour temperature to balance white for; None where the camera has no such control."""

    def open(self) -> None:
        """Find the camera and change nothing; raises ControlError."""

    def take_over(self) -> None:
        """Switch the camera's own automatic exposure off; raises ControlError."""

    def read(self) -> Setting:
        """Return exposure and gain as they are set; NaN what the camera chooses itself. Raises ControlError."""

    def apply(self, setting: Setting) -> None:
        """Set exposure and gain to what is nearest within the camera's limits; raises ControlError."""

    def balance(self, kelvin: float) -> None:
        """Balance white for light of this colour temperature; raises ControlError."""

    def close(self) -> None:
        """Undo ``take_over``, as far as the camera still answers, and let go of it. May be called twice."""


class Readback:
    """What frames were taken with, by a control that only tells what was set last.

    It is asked once per frame; what it tells is true of a later frame, by the delays.

    :param slack_frames: by how much the delays may be wrong; a frame that this makes a difference to is told nothing.
    """

    def __init__(self, delays: Delays | None = None, slack_frames: int = 0) -> None:
        self._delays = delays or Delays()
        self._slack = slack_frames
        self._told: deque[tuple[int, Setting]] = deque(maxlen=8)

    def of_frame(self, sequence: int, set_now: Setting) -> tuple[float, float]:
        """Return exposure time (s) and gain of the frame that has just come; NaN as long as they cannot be known.

        :param sequence: number of the frame, with gaps where the camera or its driver dropped some.
        :param set_now: what the control tells now, while the next frame is exposed.
        """
        if self._told and sequence < self._told[-1][0]:  # the camera counts anew
            self._told.clear()
        self._told.append((sequence + 1, set_now))
        exposures = self._written_about(sequence - self._delays.exposure_frames)
        gains = self._written_about(sequence - self._delays.gain_frames)
        return _agreed([each.exposure_s for each in exposures]), _agreed([each.gain for each in gains])

    def _written_about(self, sequence: int) -> list[Setting]:
        """Return what was set when that frame was exposed, and up to so many before and after as the slack is."""
        found = []
        for each in range(sequence - self._slack, sequence + self._slack + 1):
            setting = next((setting for number, setting in reversed(self._told) if number <= each), None)
            if setting is None:
                return []
            found.append(setting)
        return found


def _agreed(values: list[float]) -> float:
    return values[0] if values and min(values) == max(values) else math.nan
