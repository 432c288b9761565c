"""Faces in a stream of pictures: detected now and then, followed in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from facefusion_ros.errors import require
from facefusion_ros.faces.flow import Flow, alike
from facefusion_ros.faces.head import overlap
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.faces.tracker import Track, assign

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.faces.face import Face

Tracking = Literal['flow', 'hold']

# Two tracks that overlap by more than this (intersection over union): one of the faces is hidden by the other.
_HIDDEN = 0.4


@dataclass(frozen=True, slots=True)
class FinderSettings:
    """How faces are found in a stream."""

    tracking: Tracking = 'flow'
    """Between detections: 'flow' follows the pixels; 'hold' leaves a face as it was measured last."""
    detection_interval: int = 5
    """Frames from one detection to the next, 1 or more."""
    search_interval: int = 3
    """Detections from one search of the whole picture to the next, 1 or more; others look where faces are known. Where
    that is not cheaper, each one searches."""
    coast_s: float = 0.5
    """How long a face that is neither detected nor followed is still reported, seconds."""
    unseen_s: float = 3.0
    """How long a face is followed that the detector does not see, seconds."""
    correction: float = 0.15
    """Share of a detection's landmarks in the tracked ones, above 0, up to 1."""
    most_faces: int = 8
    """Faces beyond this number are passed over, the smallest first."""
    flow_side_px: int = 320
    """Faces are followed in a picture reduced to this size."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                f'tracking must be {" or ".join(get_args(Tracking))}': self.tracking in get_args(Tracking),
                'detection_interval must be 1 or more': self.detection_interval >= 1,
                'search_interval must be 1 or more': self.search_interval >= 1,
                'coast_s must be 0 or more': self.coast_s >= 0,
                'unseen_s must be 0 or more': self.unseen_s >= 0,
                'correction must be above 0, up to 1': 0 < self.correction <= 1,
                'most_faces must be 1 or more': self.most_faces >= 1,
                'flow_side_px must be 64 or more': self.flow_side_px >= 64,
            },
        )


class FaceFinder:
    """Finds faces in pictures that follow each other. Used by one thread; the same pictures give the same faces.

    A face that the detector is sure of is reported at once; others must be detected twice.
    """

    def __init__(self, settings: FinderSettings | None = None, detector: Detector | None = None) -> None:
        """Take what finds faces in single pictures, or load the usual one. Raises as ``load_detector`` does."""
        self._settings = settings or FinderSettings()
        self._detector = detector or load_detector()
        self._last_id = 0
        self.reset()

    @property
    def settings(self) -> FinderSettings:
        """How faces are found; may be replaced between two pictures."""
        return self._settings

    @settings.setter
    def settings(self, settings: FinderSettings) -> None:
        if (settings.tracking, settings.flow_side_px) != (self._settings.tracking, self._settings.flow_side_px):
            # There is no picture to follow the faces from: they coast to the next detection, which is now.
            self._flow = Flow(settings.flow_side_px)
            self._frames_to_detection = 0
            for track in self._tracks:
                track.lost, track.look = True, None
        self._settings = settings

    def reset(self) -> None:
        """Forget all faces. Ids go on: none is given twice."""
        self._tracks: list[Track] = []
        self._flow = Flow(self._settings.flow_side_px)
        self._frames_to_detection = 0
        self._detections_to_search = 0
        self._stamp_ns: int | None = None
        self._shape: tuple[int, ...] = ()

    def find(self, pixels: NDArray[np.uint8], stamp_ns: int) -> tuple[Face, ...]:
        """Return the faces of the next picture, (H, W, 3) BGR, taken at stamp_ns; largest first.

        ``measured_ns`` of a face is older than the stamp where the face was not measured in this picture. A picture of
        another size and a stamp that is not after the last one begin anew. Raises ValueError where the pixels are of
        another kind.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
            raise ValueError(f'need a picture (H, W, 3) of uint8, got {pixels.shape} of {pixels.dtype}')
        if pixels.shape != self._shape or (self._stamp_ns is not None and stamp_ns <= self._stamp_ns):
            self.reset()
        self._stamp_ns, self._shape = stamp_ns, pixels.shape
        newly_lost = False
        if self._settings.tracking == 'flow':
            self._flow.advance(pixels)
            newly_lost = self._follow(stamp_ns)
        if newly_lost:
            self._detections_to_search = 0
        if newly_lost or self._frames_to_detection <= 0 or any(not track.track_id for track in self._tracks):
            self._detect(pixels, stamp_ns)
        self._frames_to_detection -= 1
        for track in self._tracks:
            track.correct()
        self._drop(stamp_ns)
        return tuple(sorted((t.face() for t in self._tracks if t.track_id), key=lambda f: (-f.box[2], f.track_id)))

    def _follow(self, stamp_ns: int) -> bool:
        """Move the tracks with the pixels; True where one was lost that was not before."""
        newly_lost = False
        tracks = [track for track in self._tracks if not track.lost]
        motions = self._flow.follow([track.landmarks for track in tracks])
        for track, motion in zip(tracks, motions, strict=True):
            before = track.landmarks, track.measured_ns
            if motion is not None:
                track.follow(motion, stamp_ns)
                if track.look is None or alike(track.look, self._flow.look(track.landmarks)):
                    continue
                track.landmarks, track.measured_ns = before
            track.lost = newly_lost = True
        return newly_lost

    def _detect(self, pixels: NDArray[np.uint8], stamp_ns: int) -> None:
        """Search the picture where that is due, look again for the tracks it did not find, take what was found."""
        settings, flow = self._settings, self._settings.tracking == 'flow'
        self._frames_to_detection = settings.detection_interval
        faces: list[Face] = []
        # New faces, too, deserve no more than one search in each interval.
        self._detections_to_search -= 1
        if self._detections_to_search < 0 or not self._tracks or any(track.lost for track in self._tracks):
            self._detections_to_search = settings.search_interval - 1 if self._detector.again_is_cheap else 0
            faces.extend(self._detector.detect(pixels))
        assigned = assign(self._tracks, faces, stamp_ns)
        for i, track in enumerate(self._tracks):
            if i not in assigned:
                again = self._detector.again(pixels, track.face())
                if again is not None and all(overlap(again.box, face.box) < _HIDDEN for face in faces):
                    faces.append(again)
        assigned = assign(self._tracks, faces, stamp_ns)
        for i, track in enumerate(self._tracks):
            if i in assigned:
                gain, steps = (settings.correction, settings.detection_interval) if flow else (1.0, 1)
                track.detect(faces[assigned[i]], stamp_ns, gain=gain, steps=steps)
                track.look = self._flow.look(track.landmarks) if flow else None
            else:
                track.overlooked = True
                track.lost |= not flow or not track.track_id or self._is_hidden(i, assigned)
        for j, face in enumerate(faces):
            if j not in assigned.values() and len(self._tracks) < settings.most_faces:
                landmarks = face.landmarks.astype(np.float64)
                look = self._flow.look(landmarks) if flow else None
                self._tracks.append(Track(landmarks, face.score, stamp_ns, stamp_ns, look))
        for track in self._tracks:
            if not track.track_id and (track.score >= self._detector.sure_score or track.detections >= 2):
                self._last_id += 1
                track.track_id = self._last_id

    def _is_hidden(self, i: int, assigned: dict[int, int]) -> bool:
        """Whether a track that was not detected lies on one that was: its flow is the other face's."""
        box = self._tracks[i].box
        return any(overlap(box, self._tracks[k].box) > _HIDDEN for k in assigned)

    def _drop(self, stamp_ns: int) -> None:
        """Let go of faces that were lost or overlooked for too long."""
        coast_ns, unseen_ns = self._settings.coast_s * 1e9, self._settings.unseen_s * 1e9
        self._tracks = [
            track
            for track in self._tracks
            if not (track.lost and (not track.track_id or stamp_ns - track.measured_ns > coast_ns))
            and not (track.overlooked and stamp_ns - track.detected_ns > max(unseen_ns, coast_ns))
        ]
