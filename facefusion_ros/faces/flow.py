"""How faces moved from one picture to the next, by optical flow on a reduced picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.faces.alignment import ARCFACE_112, apply, similarity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cv2.typing import MatLike
    from numpy.typing import NDArray

# Faces are described in the frame of the ArcFace crop, in units of its width about its centre.
_FACE = (np.array(ARCFACE_112) - 56.0) / 112.0
# Points that are followed: a grid over the oval of brows, eyes, nose and mouth.
_GRID = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 9), np.linspace(-0.35, 0.65, 9)), axis=-1).reshape(-1, 2)
_GRID = _GRID[((_GRID - [0.0, 0.15]) ** 2).sum(axis=1) <= 0.5**2]
# The look of a face: the flattened picture at these points.
_LOOK = np.stack(np.meshgrid(np.linspace(-0.45, 0.45, 24), np.linspace(-0.3, 0.6, 24)), axis=-1)

_WINDOW = (15, 15)
_LEVELS = 3
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.01)
_MIN_TEXTURE = 1e-4

# A point that does not come back to this distance, pixels of the reduced picture, was not followed.
_BACK_PX = 0.5
# Points beyond this multiple of the median residual do not move with the face.
_OUTLIER = 2.5
_RESIDUAL_PX = 0.1
# So many points, and this share of those that are in view, must agree.
_MIN_POINTS = 8
_MIN_SHARE = 0.4
# Nothing real changes more than this in one frame: size (ratio), likeness to the face as it was detected.
_MAX_GROWTH = 1.25
_MIN_LIKENESS = 0.4

# Logarithm of brightness: gain becomes an offset, which the high pass takes away. 12 keeps the noise of black small.
_LOG = np.clip(46.0 * np.log2((np.arange(256) + 12.0) / 12.0), 0, 255).astype(np.uint8)
_HIGH_PASS = (25, 25)


class Flow:
    """The last two pictures, reduced and flattened so that changes of light do not look like motion."""

    def __init__(self, longest_side_px: int) -> None:
        """Follow faces in pictures reduced to this size."""
        self._longest_side_px = longest_side_px
        self._before: NDArray[np.uint8]
        self._now: NDArray[np.uint8]
        self._allocate(1, 1)

    def advance(self, pixels: NDArray[np.uint8]) -> None:
        """Take the next (H, W, 3) BGR picture. After one of another size there is nothing to follow from."""
        if pixels.shape[:2] != self._frame_size:
            self._allocate(pixels.shape[0], pixels.shape[1])
        self._before, self._now = self._now, self._before
        cv2.resize(pixels, self._size, dst=self._reduced, interpolation=cv2.INTER_AREA)
        cv2.cvtColor(self._reduced, cv2.COLOR_BGR2GRAY, dst=self._now)
        cv2.LUT(self._now, _LOG, dst=self._now)
        cv2.boxFilter(self._now, -1, _HIGH_PASS, dst=self._level)
        cv2.addWeighted(self._now, 1.0, self._level, -1.0, 128.0, dst=self._now)

    def follow(self, faces: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64] | None]:
        """For each face's (5, 2) landmarks in the last picture, the (2, 3) similarity that takes them to this one.

        Coordinates are the frame's. None where too few points inside agree on a motion (Lucas-Kanade in a pyramid,
        Bouguet, "Pyramidal implementation of the Lucas Kanade feature tracker", Intel 2001; forward-backward check of
        Kalal et al., ICPR 2010).
        """
        if not faces:
            return []
        starts = [self._reduce(apply(similarity(_FACE, landmarks), _GRID)) for landmarks in faces]
        start = np.concatenate(starts).astype(np.float32).reshape(-1, 1, 2)
        end, found, _ = cv2.calcOpticalFlowPyrLK(
            self._before, self._now, start, np.empty_like(start), None, None, _WINDOW, _LEVELS, _STOP, 0, _MIN_TEXTURE
        )
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(
            self._now, self._before, end, end.copy(), None, None, _WINDOW, _LEVELS, _STOP, 0, _MIN_TEXTURE
        )
        inside = self._inside(start[:, 0])
        good = inside & self._inside(end[:, 0]) & (found[:, 0] == 1) & (found_back[:, 0] == 1)
        good &= np.hypot(*(back - start)[:, 0].T) < _BACK_PX
        each = np.split(np.arange(len(start)), len(faces))
        return [self._motion(start[i, 0], end[i, 0], good[i], int(inside[i].sum())) for i in each]

    def look(self, landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
        """(24, 24) look of a face with these landmarks in this picture, about 0; NaN beyond the picture."""
        places = self._reduce(apply(similarity(_FACE, landmarks), _LOOK.reshape(-1, 2))).astype(np.float32)
        x, y = places.reshape(*_LOOK.shape[:2], 2).transpose(2, 0, 1)
        look: NDArray[np.float32] = np.subtract(cv2.remap(self._now, x, y, cv2.INTER_LINEAR), 128.0, dtype=np.float32)
        look[~self._inside(places).reshape(look.shape)] = np.nan
        return look

    def _allocate(self, height: int, width: int) -> None:
        share = min(1.0, self._longest_side_px / max(height, width))
        self._frame_size = (height, width)
        self._size = (max(1, round(width * share)), max(1, round(height * share)))
        self._scale = np.array(self._size) / (width, height)
        shape = self._size[::-1]
        self._reduced = np.empty((*shape, 3), np.uint8)
        self._before, self._now = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        self._level = np.empty(shape, np.uint8)

    def _reduce(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return (points + 0.5) * self._scale - 0.5

    def _restore(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        return (points.astype(np.float64) + 0.5) / self._scale - 0.5

    def _inside(self, points: NDArray[np.floating] | MatLike) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = np.all((points >= 0) & (points <= np.array(self._size) - 1), axis=1)
        return inside

    def _motion(
        self, start: NDArray[np.float32], end: NDArray[np.float32], good: NDArray[np.bool_], in_view: int
    ) -> NDArray[np.float64] | None:
        """Fit, leave out what does not fit, fit again."""
        needed = max(_MIN_POINTS, _MIN_SHARE * in_view)
        for _ in range(3):
            if good.sum() < needed:
                return None
            try:
                motion = similarity(start[good], end[good])
            except ValueError:
                return None
            residual = np.hypot(*(apply(motion, start) - end).T)
            good = good & (residual <= max(_RESIDUAL_PX, _OUTLIER * float(np.median(residual[good]))))
        growth = float(np.hypot(motion[0, 0], motion[1, 0]))
        if not 1 / _MAX_GROWTH < growth < _MAX_GROWTH:
            return None
        return similarity(self._restore(start[good]), self._restore(end[good])) if good.sum() >= needed else None


def alike(look: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two looks are of one face: their correlation where both are in view."""
    seen = np.isfinite(look) & np.isfinite(other)
    a, b = look[seen].astype(np.float64), other[seen].astype(np.float64)
    return float(a @ b) > _MIN_LIKENESS * float(np.sqrt((a @ a) * (b @ b)))
