"""By how much the camera turned from one frame to the next, as the picture around the faces shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facefusion_ros.faces.face import Face
    from facefusion_ros.frames.intrinsics import Intrinsics

PointMap = Callable[[NDArray[np.float64]], NDArray[np.float64]]

LONGEST_SIDE_PX = 320
COLUMNS, ROWS = 4, 2
"""Tiles of the picture. In each frame corners are looked for anew in one of them, since it takes time."""
POINTS_PER_TILE = 6
LEAST_POINTS = 10
_LEAST_DISTANCE_PX = 9
_EDGE_PX = 4
_QUALITY = 0.02
_WINDOW = (13, 13)
_LEVELS = 2
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.01)
_BESIDE, _ABOVE, _BELOW = 0.45, 0.4, 1.0
"""By these shares of a face's box the background begins further out: hair, neck and shoulders move with the face."""
_GUESSES = 14
_OUTLIER = 3.0
_LEAST_SPREAD_PX = 0.05
_LEAST_AGREEING = 0.5


class VisualTurn:
    """Follows corners of the background from frame to frame and fits a rotation to their motion.

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
        to_middle_row: tuple[PointMap, PointMap] | None = None,
    ) -> NDArray[np.float64] | None:
        """Take the next picture, (h, w) grey; returns the (3,) rotation vector since the last, rad, optical frame.

        ``camera`` is for a picture of any size of the same shape. ``to_middle_row``, for a rolling shutter,
        takes pixels (n, 2) of the camera's size, of the earlier and of the later frame, to where they would be seen
        when the middle row is. None where too few corners agree on a turn.
        """
        self._keep(picture)
        background = self._background(faces, camera)
        if not self.begun:
            self.begun = True
            for tile in range(COLUMNS * ROWS):
                self._look(tile, background)
            return None
        start = self._corners
        turn = None
        if len(start) >= LEAST_POINTS:
            end, found, _ = cv2.calcOpticalFlowPyrLK(
                self._before, self._now, start[:, None], np.empty_like(start), None, None, _WINDOW, _LEVELS, _STOP
            )
            height, width = self._now.shape
            inside = (end[:, 0] >= 2).all(axis=1) & (end[:, 0] <= (width - 3, height - 3)).all(axis=1)
            good = inside & (found[:, 0] == 1)
            if int(good.sum()) >= LEAST_POINTS:
                before, after = (self._restore(points[good], camera) for points in (start, end[:, 0]))
                if to_middle_row is not None:
                    before, after = to_middle_row[0](before), to_middle_row[1](after)
                turn = fit_turn(camera.rays(before), camera.rays(after), camera.fx, self._scale(camera))
            self._corners = end[good, 0]
            x, y = self._corners.astype(int).T
            self._corners = self._corners[background[y, x] > 0]
        self._tile = (self._tile + 3) % (COLUMNS * ROWS)  # not one beside the other
        self._look(self._tile, background)
        return turn

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

    def _restore(self, points: NDArray[np.float32], camera: Intrinsics) -> NDArray[np.float64]:
        return (points.astype(np.float64) + 0.5) * self._scale(camera) - 0.5


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
    turn = np.asarray(cv2.Rodrigues(_guess(before, after))[0], np.float64)
    agreeing = 0.0
    slopes = np.empty((len(before), 2, 3))
    for _ in range(2):
        seen = after @ turn.T
        x, y = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
        rest = np.stack([before[:, 0] - x, before[:, 1] - y], axis=1)
        # A small further rotation d moves a ray v by d x v, and so its point in the plane by these slopes.
        _field(x, y, slopes)
        lengths = np.hypot(rest[:, 0], rest[:, 1])
        spread = max(1.5 * median(lengths), _LEAST_SPREAD_PX * pixel / focal_px)
        weights = 1.0 / (1.0 + (lengths / (_OUTLIER * spread)) ** 2)
        agreeing = float((lengths < _OUTLIER * max(spread, 0.3 * pixel / focal_px)).mean())
        weighted = (slopes * weights[:, None, None]).reshape(-1, 3)
        step = np.linalg.solve(weighted.T @ slopes.reshape(-1, 3) + 1e-12 * np.eye(3), weighted.T @ rest.reshape(-1))
        turn = cv2.Rodrigues(step)[0] @ turn
        if float(np.abs(step).max()) < 1e-7:
            break
    return np.asarray(cv2.Rodrigues(turn)[0], np.float64)[:, 0] if agreeing >= _LEAST_AGREEING else None


def _field(x: NDArray[np.float64], y: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Write the rotational motion field, (n, 2, 3): slopes of (x, y) in the plane z = 1 by a rotation vector."""
    out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = -x * y, 1 + x * x, -y
    out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = -1 - y * y, x * y, x


def _guess(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) rotation vector of the best pair of points, for small angles; the same points give the same."""
    field = np.empty((len(before), 2, 3))
    middle = 0.5 * (before + after)
    _field(middle[:, 0], middle[:, 1], field)
    went = before[:, :2] - after[:, :2]
    count = len(before)
    first = np.arange(_GUESSES) * count // _GUESSES
    # Partners from afar and from near: points beside each other are often of one thing.
    second = (first + 1 + np.arange(_GUESSES) * 7 % max(count - 1, 1)) % count
    pairs = np.concatenate((field[first], field[second]), axis=1)
    moves = np.concatenate((went[first], went[second]), axis=1)
    transposed = np.swapaxes(pairs, 1, 2)
    vectors = np.linalg.solve(transposed @ pairs + 1e-9 * np.eye(3), transposed @ moves[..., None])[..., 0]
    rest = went - np.einsum('nij,gj->gni', field, vectors)
    squares = np.einsum('gni,gni->gn', rest, rest)
    medians = np.partition(squares, count // 2, axis=1)[:, count // 2]
    best: NDArray[np.float64] = vectors[int(np.argmin(medians))]
    return best


def median(values: NDArray[np.float64]) -> float:
    """Return the middle one of values (n,), n >= 1; the upper where n is even. Quicker than numpy's for few values."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])
