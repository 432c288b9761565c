"""By how much the camera turned from one frame to the next, as the picture around the faces shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.median import median

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.blending.motion import GyroAngle, Shutter
    from facefusion_ros.faces.face import Face
    from facefusion_ros.frames.intrinsics import Intrinsics

LONGEST_SIDE_PX = 320
COLUMNS, ROWS = 4, 2
"""Tiles of the picture. In each frame corners are looked for anew in one of them, since it takes time."""
POINTS_PER_TILE = 6
LEAST_POINTS = 10
_LEAST_DISTANCE_PX = 9
_EDGE_PX = 4
_QUALITY = 0.02
_WINDOW = (11, 11)
_LEVELS = 2
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.01)
_BESIDE, _ABOVE, _BELOW = 0.45, 0.4, 1.0
"""By these shares of a face's box the background begins further out: hair, neck and shoulders move with the face."""
_GUESSES = 14
_GUESS = np.arange(_GUESSES)
_FITS = 2
_HELD = 1e-12 * np.eye(3)
"""Keeps equations solvable that say nothing of an axis."""
_OUTLIER = 3.0
_LEAST_SPREAD_PX = 0.05
_LEAST_AGREEING = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Where the background was and is."""

    before: NDArray[np.float64]
    """(n, 2) pixels of the earlier frame, n >= LEAST_POINTS."""
    after: NDArray[np.float64]
    """(n, 2) pixels of the later frame."""
    pixel: float
    """Size of the pixels they were found in, pixels of the frame."""


class VisualTurn:
    """Follows corners of the background from frame to frame.

    Without faces all of the picture is background.
    """

    def __init__(self) -> None:
        self._before = np.empty((0, 0), np.uint8)
        self._now = np.empty((0, 0), np.uint8)
        self._factor = 1
        self._mask = np.empty((0, 0), np.uint8)
        self._corners = np.empty((0, 2), np.float32)
        self._tile = 0
        self.begun = False
        """Whether there is a frame to follow from."""

    def reset(self) -> None:
        """Forget the last frame."""
        self.begun = False
        self._corners = self._corners[:0]

    def advance(
        self,
        picture: NDArray[np.uint8],
        faces: Sequence[Face],
        camera: Intrinsics,
    ) -> Matches | None:
        """Take the next picture, (h, w) grey; returns where the background went since the last.

        ``camera`` is for a picture of any size of the same shape. None where too few corners were followed.
        """
        self._keep(picture)
        background = self._background(faces, camera)
        if not self.begun:
            self.begun = True
            for tile in range(COLUMNS * ROWS):
                self._look(tile, background)
            return None
        start = self._corners
        matches = None
        if len(start) >= LEAST_POINTS:
            end, found, _ = cv2.calcOpticalFlowPyrLK(
                self._before, self._now, start[:, None], np.empty_like(start), None, None, _WINDOW, _LEVELS, _STOP
            )
            height, width = self._now.shape
            inside = (end[:, 0] >= 2).all(axis=1) & (end[:, 0] <= (width - 3, height - 3)).all(axis=1)
            good = inside & (found[:, 0] == 1)
            if np.count_nonzero(good) >= LEAST_POINTS:
                pixel = self._scale(camera)
                before, after = (self._restore(points[good], pixel) for points in (start, end[:, 0]))
                matches = Matches(before, after, pixel)
            self._corners = end[good, 0]
            x, y = self._corners.astype(int).T
            self._corners = self._corners[background[y, x] > 0]
        self._tile = (self._tile + 3) % (COLUMNS * ROWS)  # not one beside the other
        self._look(self._tile, background)
        return matches

    def _keep(self, picture: NDArray[np.uint8]) -> None:
        height, width = picture.shape
        factor = max(1, -(-max(width, height) // LONGEST_SIDE_PX))
        size = (max(1, height // factor), max(1, width // factor))
        if size != self._now.shape or factor != self._factor:
            self._factor = factor
            self._before, self._now, self._mask = (np.empty(size, np.uint8) for _ in range(3))
            self.reset()
        self._before, self._now = self._now, self._before
        whole = picture[: size[0] * factor, : size[1] * factor]
        cv2.resize(whole, size[::-1], dst=self._now, interpolation=cv2.INTER_AREA)

    def _look(self, tile: int, background: NDArray[np.uint8]) -> None:
        """Replace the corners of a tile by new ones in the background."""
        height, width = self._now.shape
        row, column = divmod(tile, COLUMNS)
        x0, x1 = (_EDGE_PX + max(width - 2 * _EDGE_PX, 0) * i // COLUMNS for i in (column, column + 1))
        y0, y1 = (_EDGE_PX + max(height - 2 * _EDGE_PX, 0) * i // ROWS for i in (row, row + 1))
        low, high = np.array((x0, y0)), np.array((x1, y1))
        kept = self._corners[~((self._corners >= low) & (self._corners < high)).all(axis=1)]
        view, mask = self._now[y0:y1, x0:x1], background[y0:y1, x0:x1]
        found = None
        if mask.any():
            found = cv2.goodFeaturesToTrack(view, POINTS_PER_TILE, _QUALITY, _LEAST_DISTANCE_PX, mask=mask, blockSize=5)
        new = np.empty((0, 2), np.float32) if found is None else np.asarray(found[:, 0] + low, np.float32)
        self._corners = np.concatenate((kept, new))

    def _background(self, faces: Sequence[Face], camera: Intrinsics) -> NDArray[np.uint8]:
        """(h, w): 0 on and about faces, 255 elsewhere."""
        mask = self._mask
        mask.fill(255)
        share = 1.0 / self._scale(camera)
        for face in faces:
            left, top, width, height = (value * share for value in face.box)
            if all(map(math.isfinite, (left, top, width, height))):
                x0, x1 = left - _BESIDE * width, left + (1 + _BESIDE) * width
                y0, y1 = top - _ABOVE * height, top + (1 + _BELOW) * height
                mask[max(0, int(y0)) : max(0, int(y1)), max(0, int(x0)) : max(0, int(x1))] = 0
        return mask

    def _scale(self, camera: Intrinsics) -> float:
        """Pixels of the camera to one of the picture that is looked at."""
        return camera.width / self._now.shape[1]

    def _restore(self, points: NDArray[np.float32], pixel: float) -> NDArray[np.float64]:
        return (points.astype(np.float64) + 0.5) * pixel - 0.5


def row_turns(
    matches: Matches, before_ns: int, after_ns: int, gyro: GyroAngle, shutter: Shutter
) -> NDArray[np.float64]:
    """(2 n, 3, 3) rotations for a rolling shutter, of matches in the earlier, then in the later frame of these stamps.

    They take rays as seen while their row is to how they would be seen while the middle row is.
    """
    frames = (matches.before, before_ns), (matches.after, after_ns)
    return np.concatenate([gyro.turns(stamp_ns, shutter.delays_s(pixels[:, 1])) for pixels, stamp_ns in frames])


def turn_of(
    matches: Matches, camera: Intrinsics, turns: NDArray[np.float64] | None = None
) -> NDArray[np.float64] | None:
    """(3,) rotation vector of the camera from the earlier to the later frame, rad, optical frame.

    ``turns`` are the ``row_turns`` of a rolling shutter. None where too few corners agree on a turn.
    """
    return fit_turn(*rays_of(matches, camera, turns), camera.fx, matches.pixel)


def rays_of(
    matches: Matches, camera: Intrinsics, turns: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rays (n, 3), z = 1, of the optical frames of the earlier and of the later frame, turned by ``turns``."""
    count = len(matches.before)
    rays = camera.rays(np.concatenate((matches.before, matches.after)))
    if turns is not None:
        rays = np.einsum('nij,nj->ni', turns, rays)
        rays /= rays[:, 2:]
    return rays[:count], rays[count:]


def fit_turn(
    before: NDArray[np.float64], after: NDArray[np.float64], focal_px: float, pixel: float = 1.0
) -> NDArray[np.float64] | None:
    """(3,) rotation vector that takes rays (n, 3), z = 1, of the later frame to those of the earlier one, rad.

    The rotational part of the motion field (Longuet-Higgins and Prazdny, Proc. R. Soc. B 208, 1980). Not all that is
    seen stands still: of the turns that pairs of points tell, the one with the least median of distances (Rousseeuw,
    J. American Statistical Association 79, 1984) is where Gauss and Newton's method starts, with Cauchy's weights on
    the distances of the rays in the plane z = 1. ``pixel`` is the size of the pixels it was measured in, in units in
    which the focal length is ``focal_px``. None where fewer than half of the points agree.
    """
    slopes = field(0.5 * (before[:, 0] + after[:, 0]), 0.5 * (before[:, 1] + after[:, 1]))
    turn = cv2.Rodrigues(_guess(slopes, before[:, :2] - after[:, :2]))[0]
    seen = after @ turn.T
    flat = seen[:, :2] / seen[:, 2:]
    # A small further rotation d moves a ray v by d x v, and so its point in the plane by these slopes.
    slopes, rest = field(flat[:, 0], flat[:, 1]), before[:, :2] - flat
    rows, told = slopes.reshape(-1, 3), rest.reshape(-1)
    step = np.zeros(3)
    agreeing = 0.0
    for _ in range(_FITS):
        left = (told - rows @ step).reshape(-1, 2)
        lengths = np.hypot(left[:, 0], left[:, 1])
        spread = max(1.5 * median(lengths), _LEAST_SPREAD_PX * pixel / focal_px)
        agreeing = np.count_nonzero(lengths < _OUTLIER * max(spread, 0.3 * pixel / focal_px)) / len(lengths)
        weights = 1.0 / (1.0 + (lengths / (_OUTLIER * spread)) ** 2)
        weighted = (slopes * weights[:, None, None]).reshape(-1, 3).T
        step = np.linalg.solve(weighted @ rows + _HELD, weighted @ told)
    turn = cv2.Rodrigues(step)[0] @ turn
    return np.asarray(cv2.Rodrigues(turn)[0], np.float64)[:, 0] if agreeing >= _LEAST_AGREEING else None


def field(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2, 3) rotational motion field: slopes of (x, y) in the plane z = 1 by a rotation vector."""
    slopes = np.empty((len(x), 2, 3))
    xy = x * y
    slopes[:, 0, 0], slopes[:, 0, 1], slopes[:, 0, 2] = -xy, 1 + x * x, -y
    slopes[:, 1, 0], slopes[:, 1, 1], slopes[:, 1, 2] = -1 - y * y, xy, x
    return slopes


def _guess(slopes: NDArray[np.float64], went: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) rotation vector of the best pair of points, for small angles; the same points give the same."""
    count = len(went)
    first = _GUESS * count // _GUESSES
    # Partners from afar and from near: points beside each other are often of one thing.
    pairs = np.stack((first, (first + 1 + _GUESS * 7 % max(count - 1, 1)) % count), axis=1)
    chosen = slopes[pairs].reshape(-1, 4, 3)
    transposed = chosen.transpose(0, 2, 1)
    vectors = np.linalg.solve(transposed @ chosen + 1e3 * _HELD, transposed @ went[pairs].reshape(-1, 4, 1))[..., 0]
    rest = (went.reshape(-1, 1) - slopes.reshape(-1, 3) @ vectors.T).reshape(count, 2, -1)
    squares = rest[:, 0] ** 2 + rest[:, 1] ** 2
    medians = np.partition(squares, count // 2, axis=0)[count // 2]
    best: NDArray[np.float64] = vectors[int(np.argmin(medians))]
    return best
