"""Faces over time: one track for each, with an id that stays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.faces.alignment import apply
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.head import box_around

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A detection this far from a track's place (widths of the face), or larger or smaller by this, is another face's.
_REACH = 0.5
_REACH_LOST = 1.0
_SIZE_RATIO = 1.6

# Detected landmarks this far from the tracked ones (mean, as a share of the face's width) mean that flow has slipped;
# twice in a row, since a pair of eyes is sometimes misread.
_SLIPPED = 0.12


@dataclass(slots=True, eq=False)
class Track:
    """One face over time."""

    landmarks: NDArray[np.float64]
    """(5, 2), pixels of the frame."""
    score: float
    """Of the last detection."""
    measured_ns: int
    """Stamp of the frame in which the face was last detected or followed."""
    detected_ns: int
    """Stamp of the frame in which the face was last detected."""
    look: NDArray[np.float32] | None
    """How it looked then (see flow)."""
    track_id: int = 0
    """0 until the face is reported for the first time."""
    detections: int = 1
    """Since the face was last lost."""
    slips: int = 0
    lost: bool = False
    """Neither detected nor followed at the last attempt."""
    overlooked: bool = False
    """The last detection did not see it."""
    correction: NDArray[np.float64] = field(default_factory=lambda: np.zeros((5, 2)))
    """What is still to be added to the landmarks, step by step."""
    steps: int = 0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width, height."""
        return box_around(self.landmarks)

    def follow(self, motion: NDArray[np.float64], stamp_ns: int) -> None:
        """Move with a (2, 3) motion measured between the last frame and the one of this stamp."""
        self.landmarks = apply(motion, self.landmarks)
        self.measured_ns = stamp_ns

    def detect(self, face: Face, stamp_ns: int, *, gain: float, steps: int) -> None:
        """Take a detection: at once where the face was lost, else as a correction spread over some frames.

        The first detections count equally, as in a mean; later ones with the gain; one of 1 is taken at once.
        """
        detected = face.landmarks.astype(np.float64)
        error = detected - self.landmarks
        slipped = float(np.hypot(*error.T).mean()) > _SLIPPED * face.box[2]
        self.slips = self.slips + 1 if slipped else 0
        self.detections += 1
        if self.lost or self.slips >= 2:
            self.detections, self.slips = 1, 0
        if self.detections == 1 or gain >= 1:
            self.landmarks, self.steps = detected, 0
        elif not slipped:
            self.correction, self.steps = max(gain, 1.0 / self.detections) * error, steps
        self.score, self.measured_ns, self.detected_ns = face.score, stamp_ns, stamp_ns
        self.lost = self.overlooked = False

    def correct(self) -> None:
        """Take one step of the correction."""
        if self.steps:
            step = self.correction / self.steps
            self.landmarks = self.landmarks + step
            self.correction = self.correction - step
            self.steps -= 1

    def face(self) -> Face:
        """Return what is reported of the face."""
        return Face(self.box, self.score, self.landmarks.astype(np.float32), self.track_id, self.measured_ns)


def assign(tracks: Sequence[Track], faces: Sequence[Face], stamp_ns: int) -> dict[int, int]:
    """Which face belongs to which track (index of the track to index of the face), nearest pairs first."""
    pairs = []
    for i, track in enumerate(tracks):
        left, top, width, height = track.box
        # A face that was not measured in this frame may have gone further.
        reach = _REACH if track.measured_ns == stamp_ns else _REACH_LOST
        for j, face in enumerate(faces):
            x, y, w, h = face.box
            size = max(width, w)
            distance = float(np.hypot(x + w / 2 - left - width / 2, y + h / 2 - top - height / 2)) / size
            if distance < reach and size < _SIZE_RATIO * min(width, w):
                pairs.append((distance, i, j))
    assigned: dict[int, int] = {}
    for _, i, j in sorted(pairs):
        if i not in assigned and j not in assigned.values():
            assigned[i] = j
    return assigned
