"""What is left of a face's motion once it is predicted, from the picture itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.median import median
from facefusion_ros.faces.alignment import compose, invert, similarity, whole_face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIDE_PX = 96
"""Faces are followed in pictures of this size."""
_TEMPLATE = whole_face(SIDE_PX)
_AXIS = np.linspace(0.0, SIDE_PX - 1.0, 11)
_GRID = np.stack(np.meshgrid(_AXIS, _AXIS), axis=-1).reshape(-1, 2)
_MIDDLE = np.array([0.5 * (SIDE_PX - 1), 0.53 * SIDE_PX])
# The oval from brows to chin and cheek to cheek: what is beyond is hair or not the face.
_OVAL = ((_GRID - _MIDDLE) / (0.36 * SIDE_PX, 0.4 * SIDE_PX)) ** 2
_POINTS = _GRID[_OVAL.sum(axis=1) <= 1.0]
# A quarter of the pixels tells as well how alike two faces are.
_COARSE_PX = SIDE_PX // 2
_FINE_FROM_COARSE = np.array([2.0, 2.0, 1.0])
_Y, _X = 2 * np.mgrid[:_COARSE_PX, :_COARSE_PX]
_SAMPLES = np.flatnonzero(
    ((_X - _MIDDLE[0]) / (0.38 * SIDE_PX)) ** 2 + ((_Y - _MIDDLE[1]) / (0.42 * SIDE_PX)) ** 2 <= 1.0
)
_WINDOW = (13, 13)
_LEVELS = 1
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 8, 0.03)
_LEAST_POINTS = 10
_LEAST_SHARE = 0.5
_OUTLIER = 2.5
_LEAST_RESIDUAL_PX = 0.1
_FURTHEST_PX = 0.25 * SIDE_PX
_MOST_GROWTH = 1.15
_CLEARLY = 0.02
"""By so much more alike another prediction must make the pictures to be preferred to the first."""
_LEAST_LIKENESS = 0.5
_FLAT = 2.0
"""A standard deviation below this many of 255 steps is noise and no face."""


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A face's motion as the picture shows it."""

    motion: NDArray[np.float64]
    """(2, 3) affine map from the earlier picture to the later."""
    likeness: float
    """Correlation of the face in the two pictures, moved by it, up to 1."""
    chosen: int
    """Which prediction was the best to start from."""
    followed: bool
    """Whether the picture improved on the prediction."""


class Reference:
    """A face as it looks in the earlier picture."""

    def __init__(self, picture: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> None:
        """Take a grey picture (h, w) and landmarks (5, 2) in its pixels; raises ValueError where no pose fits them."""
        self._picture_from_face = similarity(_TEMPLATE.landmarks, landmarks)
        self._face_from_picture = invert(self._picture_from_face)
        self._face = _look(picture, self._picture_from_face, SIDE_PX)
        values, self._mean, self._deviation = _spread(self._face[::2, ::2])
        # Without its mean, so that the other picture's does not matter.
        self._normal = (values - self._mean) / max(self._deviation * len(values) ** 0.5, 1e-6)
        places = _POINTS @ self._picture_from_face[:, :2].T + self._picture_from_face[:, 2]
        height, width = picture.shape
        self._points = _POINTS[((places >= 0) & (places <= (width - 1, height - 1))).all(axis=1)].astype(np.float32)

    def find(self, picture: NDArray[np.uint8], predictions: Sequence[NDArray[np.float64]]) -> Finished | None:
        """Follow the face into a later picture, from the prediction under which it looks most alike.

        predictions are (2, 3) affine maps from the earlier to the later picture, the likeliest first. Few points are
        followed on one further level (Lucas and Kanade, IJCAI 1981; Bouguet, Intel 2001) after the prediction and the
        change of brightness were undone, and a similarity is fitted to those that agree. None where the face has no
        texture, or looks like itself under none of the predictions.
        """
        if self._deviation < _FLAT:
            return None
        chosen, best, whole = 0, _Likeness(-np.inf), self._picture_from_face
        for index, prediction in enumerate(predictions):
            if best.value + _CLEARLY >= 1.0:
                break
            moved = compose(prediction, self._picture_from_face)
            likeness = self._likeness(picture, moved)
            if index == 0 or likeness.value > best.value + _CLEARLY:
                chosen, best, whole = index, likeness, moved
        rest = self._follow(_look(picture, whole, SIDE_PX), best)
        if rest is not None:
            moved = compose(whole, rest)
            after = self._likeness(picture, moved).value
            if after > max(best.value - 0.25 * _CLEARLY, _LEAST_LIKENESS):
                return Finished(compose(moved, self._face_from_picture), after, chosen, followed=True)
        # A prediction under which the face looks like another thing is not confirmed.
        if best.value < _LEAST_LIKENESS:
            return None
        return Finished(predictions[chosen], best.value, chosen, followed=False)

    def _likeness(self, picture: NDArray[np.uint8], picture_from_face: NDArray[np.float64]) -> _Likeness:
        values, mean, deviation = _spread(_look(picture, picture_from_face * _FINE_FROM_COARSE, _COARSE_PX))
        length = deviation * len(values) ** 0.5
        return _Likeness(float(self._normal @ values) / length if length > 0.0 else 0.0, mean, deviation)

    def _follow(self, look: NDArray[np.uint8], likeness: _Likeness) -> NDArray[np.float64] | None:
        """(2, 3) similarity that takes the face as it looked to how it looks now, both (SIDE_PX, SIDE_PX)."""
        start = self._points
        if len(start) < _LEAST_POINTS:
            return None
        gain = self._deviation / max(likeness.deviation, 0.25 * self._deviation)
        even = cv2.addWeighted(look, gain, look, 0.0, self._mean - gain * likeness.mean)
        end, found, _ = cv2.calcOpticalFlowPyrLK(
            self._face, even, start[:, None], np.empty_like(start), None, None, _WINDOW, _LEVELS, _STOP, 0, 1e-3
        )
        end = end[:, 0]
        good = (found[:, 0] == 1) & (end >= 0).all(axis=1) & (end <= SIDE_PX - 1).all(axis=1)
        needed = max(_LEAST_POINTS, _LEAST_SHARE * len(start))
        # A similarity is a complex factor and a shift: Umeyama's estimate, of those that agree, then of those again.
        begin, stop = (points.view(np.complex64)[:, 0] for points in (start, end))
        factor = shift = 0j
        for _ in range(2):
            count = np.count_nonzero(good)
            if count < needed:
                return None
            agreeing, where = begin[good], stop[good]
            here, there = complex(agreeing.sum()) / count, complex(where.sum()) / count
            about = agreeing - here
            factor = complex(np.vdot(about, where) / np.vdot(about, about))
            shift = there - factor * here
            off = np.abs(factor * begin + shift - stop)
            good &= off <= max(_LEAST_RESIDUAL_PX, _OUTLIER * median(off[good]))
        middle = complex(*_MIDDLE)
        grown = 1 / _MOST_GROWTH < abs(factor) < _MOST_GROWTH
        if np.count_nonzero(good) < needed or not grown or abs(factor * middle + shift - middle) > _FURTHEST_PX:
            return None
        return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


@dataclass(frozen=True, slots=True)
class _Likeness:
    """How alike two pictures are, and what the later is like."""

    value: float
    """Correlation, up to 1."""
    mean: float = 0.0
    deviation: float = 0.0


def _look(picture: NDArray[np.uint8], picture_from_face: NDArray[np.float64], side_px: int) -> NDArray[np.uint8]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    look = cv2.warpAffine(picture, picture_from_face, (side_px, side_px), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(look, np.uint8)


def _spread(coarse: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float, float]:
    """(n,) pixels of the oval of a face, and their mean and standard deviation."""
    values = coarse.reshape(-1)[_SAMPLES].astype(np.float32)
    mean = float(values.sum()) / len(values)
    # Sums of squares up to 6e7 lose nothing that noise would not take; from a rounded mean they could become negative.
    return values, mean, max(float(values @ values) / len(values) - mean * mean, 0.0) ** 0.5
