"""An enhancer that never holds up the picture."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from facefusion_ros.errors import require
from facefusion_ros.faces.alignment import similarity, whole_face
from facefusion_ros.personas.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class PatchEnhancer(Protocol):
    """What ``Enhancer`` does."""

    def enhance(self, patch: NDArray[np.uint8], landmarks: NDArray[np.floating], out: NDArray[np.uint8]) -> None:
        """Write the restored (S, S, 4) BGRA patch to ``out``; ``landmarks``: (5, 2) of the patch."""


@dataclass(frozen=True, slots=True)
class DeadlineSettings:
    """How long is waited, and how old an enhanced patch may be."""

    budget_s: float = 0.0
    """Time for which a patch waits for its own enhancement; 0 takes what is there."""
    max_age_s: float = 0.25
    """Older enhanced patches are not shown; faces that were not asked for in this time are forgotten."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                'budget_s must be 0 to 60': 0 <= self.budget_s <= 60,
                'max_age_s must be 0 to 60': 0 <= self.max_age_s <= 60,
            },
        )


@dataclass(slots=True, eq=False)
class _Job:
    """A patch, plain or enhanced."""

    pixels: NDArray[np.uint8]
    landmarks: NDArray[np.float64] = field(default_factory=lambda: np.zeros((5, 2)))
    stamp_ns: int = 0
    number: int = 0
    """Counts the patches from 1; 0 is none."""

    def describe(self, other: _Job) -> None:
        """Say of these pixels what is known of another's."""
        self.landmarks[...] = other.landmarks
        self.stamp_ns, self.number = other.stamp_ns, other.number


class _Track:
    """The patches of one face. Buffers change hands, so that nobody waits for another's copy."""

    def __init__(self, size: int) -> None:
        self.filled, self.waiting, self.ready, self.shown = (_Job(np.zeros((size, size, 4), np.uint8)) for _ in '1234')
        self.asked_ns = 0
        self.pending = False
        self.turn = 0
        """When it was served last, counted in jobs."""


class DeadlineEnhancer:
    """Enhances patches in a thread of its own, and shows at once the best there is for each face.

    That is the enhancement of this very patch if it is done within the budget, else that of the face's newest enhanced
    patch, moved to where the landmarks are now, else the plain patch. Of each face only the newest patch waits for the
    network; the face whose turn is longest ago comes next. To be called from one thread.
    """

    def __init__(
        self,
        enhancer: PatchEnhancer,
        size: int,
        settings: DeadlineSettings | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Start the thread, in which alone ``enhancer`` is used; it stays the caller's.

        ``size``: width and height of the patches, pixels; ``clock`` gives nanoseconds.
        """
        self.settings = settings or DeadlineSettings()
        """May be replaced between two patches."""
        self._enhancer = enhancer
        self._size = size
        self._clock = clock
        self._usual = whole_face(size).landmarks
        self._moved = np.zeros((size, size, 4), np.uint8)
        self._share, self._rest = np.zeros((2, size, size), np.float32)
        self._count = 0

        # The rest is shared with the worker, under its lock.
        self._tracks: dict[int, _Track] = {}
        self._turn = 0
        self._running, self._result = (_Job(np.zeros_like(self._moved)) for _ in '12')
        self._worker = Worker('enhancer', self._take, self._run, self._done)

    def enhance(
        self, track_id: int, patch: NDArray[np.uint8], landmarks: NDArray[np.floating], out: NDArray[np.uint8]
    ) -> int | None:
        """Write the patch to ``out``, as well enhanced as there is time for; its alpha is the patch's.

        ``patch`` and ``out``: two (S, S, 4) BGRA arrays, C-contiguous; ``landmarks``: (5, 2) of the patch, pixels. A
        ``track_id`` of 0 is nobody in particular: then older patches are not shown. Returns the age in nanoseconds of
        what is shown, 0 for this very patch; None for the plain patch. Raises ValueError where the arrays are not as
        described, and once, for whichever face, what the enhancer raised since the last call; ``out`` stays as it is.
        """
        for name, array in (('patch', patch), ('out', out)):
            if array.shape != self._moved.shape or array.dtype != np.uint8 or not array.flags.c_contiguous:
                raise ValueError(f'{name} must be C-contiguous uint8 {self._moved.shape}, not {array.shape}')
        similarity(self._usual, landmarks)  # or ValueError, here and not in the thread
        settings, now = self.settings, self._clock()
        self._count += 1
        track = self._track(track_id, now)
        job = track.filled
        job.pixels[...] = patch
        job.landmarks[...] = landmarks
        job.stamp_ns, job.number = now, self._count
        with self._worker.changed:
            track.filled, track.waiting, track.pending = track.waiting, job, True
            self._worker.changed.notify_all()
            error = self._worker.wait(lambda: track.ready.number == self._count, settings.budget_s)
            if track.ready.number > track.shown.number:
                track.ready, track.shown = track.shown, track.ready
        if error is not None:
            raise error
        return self._show(track_id, track.shown, patch, landmarks, out, now)

    def close(self) -> None:
        """End the thread, when the network has done what it is at; may be called twice."""
        self._worker.close()

    def _show(
        self,
        track_id: int,
        shown: _Job,
        patch: NDArray[np.uint8],
        landmarks: NDArray[np.floating],
        out: NDArray[np.uint8],
        now: int,
    ) -> int | None:
        if shown.number == self._count:
            out[...] = shown.pixels
            return 0
        age = now - shown.stamp_ns
        if not shown.number or track_id == 0 or not 0 <= age <= self.settings.max_age_s * 1e9:
            out[...] = patch
            return None
        cv2.warpAffine(
            shown.pixels,
            similarity(landmarks, shown.landmarks),
            (self._size, self._size),
            dst=self._moved,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        # Where the persona did not show then, the enhanced patch has nothing to give.
        np.multiply(self._moved[..., 3], np.float32(1 / 255), out=self._share)
        np.subtract(np.float32(1), self._share, out=self._rest)
        self._moved[..., 3] = patch[..., 3]
        cv2.blendLinear(patch, self._moved, self._rest, self._share, dst=out)
        return age

    def _track(self, track_id: int, now: int) -> _Track:
        track = self._tracks.get(track_id)
        if track is None:
            track = _Track(self._size)
            with self._worker.changed:
                limit = self.settings.max_age_s * 1e9
                for known in [key for key, each in self._tracks.items() if now - each.asked_ns > limit]:
                    del self._tracks[known]
                self._tracks[track_id] = track
        track.asked_ns = now
        return track

    def _take(self) -> _Track | None:
        """Take the patch of the face whose turn it is."""
        pending = [track for track in self._tracks.values() if track.pending]
        track = min(pending, key=lambda track: track.turn, default=None)
        if track is not None:
            self._turn += 1
            track.turn, track.pending = self._turn, False
            self._running, track.waiting = track.waiting, self._running
        return track

    def _run(self, _: _Track) -> None:
        self._enhancer.enhance(self._running.pixels, self._running.landmarks, self._result.pixels)

    def _done(self, track: _Track) -> None:
        self._result.describe(self._running)
        track.ready, self._result = self._result, track.ready
