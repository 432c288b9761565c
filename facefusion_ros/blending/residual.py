"""What is left of a face's motion once it is predicted, from the picture itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.visual_turn import median
from facefusion_ros.faces.alignment import compose, invert, similarity, whole_face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIDE_PX = 96
"""Faces are compared as pictures of this size."""
_TEMPLATE = whole_face(SIDE_PX)
_AXIS = np.linspace(0.0, SIDE_PX - 1.0, 13)
_GRID = np.stack(np.meshgrid(_AXIS, _AXIS), axis=-1).reshape(-1, 2)
_MIDDLE = np.array([0.5 * (SIDE_PX - 1), 0.53 * SIDE_PX])
# The oval from brows to chin and cheek to cheek: what is beyond is hair or not the face.
_OVAL = ((_GRID - _MIDDLE) / (0.36 * SIDE_PX, 0.4 * SIDE_PX)) ** 2
_POINTS = _GRID[_OVAL.sum(axis=1) <= 1.0]
_Y, _X = np.mgrid[:SIDE_PX, :SIDE_PX]
_MASK = ((_X - _MIDDLE[0]) / (0.38 * SIDE_PX)) ** 2 + ((_Y - _MIDDLE[1]) / (0.42 * SIDE_PX)) ** 2 <= 1.0
# A quarter of the pixels tells as well how alike two faces are.
_SAMPLES = np.flatnonzero(_MASK & (_X % 2 == 0) & (_Y % 2 == 0))
_COMPLEX = np.array([1.0, 1.0j])
_WINDOW = (15, 15)
_LEVELS = 1
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.01)
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
        self._face = _look(picture, self._picture_from_face)
        values = _values(self._face)
        self._mean, self._deviation = float(values.mean()), float(values.std())
        self._normal = (values - self._mean) / max(self._deviation * np.sqrt(len(values)), 1e-6)
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
        looks = [_look(picture, compose(prediction, self._picture_from_face)) for prediction in predictions]
        likenesses = [self._likeness(look) for look in looks]
        chosen = 0
        for index in range(1, len(looks)):
            if likenesses[index] > likenesses[chosen] + _CLEARLY:
                chosen = index
        prediction, likeness = predictions[chosen], likenesses[chosen]
        rest = self._follow(looks[chosen])
        if rest is not None:
            whole = compose(prediction, self._picture_from_face)
            moved = compose(compose(whole, rest), invert(self._picture_from_face))
            after = self._likeness(_look(picture, compose(moved, self._picture_from_face)))
            if after > max(likeness - 0.25 * _CLEARLY, _LEAST_LIKENESS):
                return Finished(moved, after, chosen, followed=True)
        # A prediction under which the face looks like another thing is not confirmed.
        return Finished(prediction, likeness, chosen, followed=False) if likeness >= _LEAST_LIKENESS else None

    def _likeness(self, look: NDArray[np.uint8]) -> float:
        values = _values(look)
        values -= values.mean()
        length = float(np.sqrt(values @ values))
        return float(self._normal @ values) / length if length > 0.0 else 0.0

    def _follow(self, look: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """(2, 3) similarity that takes the face as it looked to how it looks now, both (SIDE_PX, SIDE_PX)."""
        start = self._points
        if len(start) < _LEAST_POINTS:
            return None
        values = _values(look)
        gain = self._deviation / max(float(values.std()), 0.25 * self._deviation)
        even = cv2.addWeighted(look, gain, look, 0.0, self._mean - gain * float(values.mean()))
        end, found, _ = cv2.calcOpticalFlowPyrLK(
            self._face, even, start[:, None], np.empty_like(start), None, None, _WINDOW, _LEVELS, _STOP, 0, 1e-3
        )
        end = end[:, 0]
        good = (found[:, 0] == 1) & (end >= 0).all(axis=1) & (end <= SIDE_PX - 1).all(axis=1)
        needed = max(_LEAST_POINTS, _LEAST_SHARE * len(start))
        # A similarity is a complex factor and a shift: Umeyama's estimate, of those that agree, then of those again.
        begin, stop = start @ _COMPLEX, end @ _COMPLEX
        factor = shift = 0j
        for _ in range(3):
            if int(good.sum()) < needed:
                return None
            here, there = begin[good].mean(), stop[good].mean()
            about = begin[good] - here
            factor = np.vdot(about, stop[good] - there) / np.vdot(about, about)
            shift = there - factor * here
            off = np.abs(factor * begin + shift - stop)
            good = good & (off <= max(_LEAST_RESIDUAL_PX, _OUTLIER * median(off[good])))
        middle = complex(*_MIDDLE)
        grown = 1 / _MOST_GROWTH < abs(factor) < _MOST_GROWTH
        if int(good.sum()) < needed or not grown or abs(factor * middle + shift - middle) > _FURTHEST_PX:
            return None
        return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def _look(picture: NDArray[np.uint8], picture_from_face: NDArray[np.float64]) -> NDArray[np.uint8]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    look = cv2.warpAffine(picture, picture_from_face, (SIDE_PX, SIDE_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(look, np.uint8)


def _values(look: NDArray[np.uint8]) -> NDArray[np.float32]:
    return look.reshape(-1)[_SAMPLES].astype(np.float32)
