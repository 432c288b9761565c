"""Where landmarks sit in a patch, and the affine maps between a patch and the picture.

An affine map is a (2, 3) float64 matrix that takes (x, y, 1) to (x, y); the centre of the top left pixel is (0, 0).
A name such as ``image_from_patch`` reads from right to left: it takes points of the patch to points of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ARCFACE_112 = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Landmarks in a crop of 112 pixels: the reference points of ArcFace (InsightFace, ``face_align.py``: arcface_dst)."""

# In pixels of that crop a forehead begins about 1.2 eye distances above the eyes (y = 9) and a chin ends about 1.9
# below them (y = 118); ears are 1.1 to each side of the nose. A square of 138 about (56, 64) leaves a tenth around it.
_CENTRE = (56.0, 64.0)
_EXTENT = 138.0

# Relative to the size of the numbers: below this, points are one point and a map is flat.
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Where the five landmarks sit in a square patch."""

    size: int
    """Width and height of the patch, pixels."""
    landmarks: NDArray[np.float64]
    """(5, 2): left eye, right eye, nose, left and right mouth corner (x, y), pixels of the patch."""

    def image_from_patch(self, landmarks: ArrayLike) -> NDArray[np.float64]:
        """(2, 3) similarity that takes the patch to a face with these (5, 2) landmarks of the picture.

        Raises ValueError where the landmarks are not five distinct finite points.
        """
        return similarity(self.landmarks, landmarks)


def whole_face(size: int = 256) -> Template:
    """Return the ArcFace template with a margin: the patch holds a face from forehead to chin and ear to ear."""
    if size < 1:
        raise ValueError(f'a patch of {size} pixels: the size must be at least 1')
    # Pixel centres, not corners, are at whole numbers: hence the halves.
    scale = size / _EXTENT
    landmarks = (np.array(ARCFACE_112) - _CENTRE) * scale + (size - 1) / 2
    landmarks.flags.writeable = False
    return Template(size, landmarks)


def similarity(src: ArrayLike, dst: ArrayLike) -> NDArray[np.float64]:
    """(2, 3) float64 rotation, uniform scale and shift with the least squared distance from mapped src to dst.

    src and dst are (N, 2) with N >= 2. The estimate of Umeyama, "Least-squares estimation of transformation parameters
    between two point patterns", IEEE PAMI 13(4), 1991; in the plane it has a closed form, without reflection.
    Raises ValueError where the shapes differ, a number is not finite, or either set of points lies in one point.
    """
    source, target = np.asarray(src, np.float64), np.asarray(dst, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[0] < 2 or source.shape[1] != 2:
        raise ValueError(f'need two sets of N >= 2 points (N, 2), got shapes {source.shape} and {target.shape}')
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ValueError('a point is not finite')
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    s, t = source - source_mean, target - target_mean
    spread = float((s * s).sum())
    reach = max(float((t * t).sum()), _TINY * _TINY)
    if spread <= (_TINY * (1.0 + float(np.abs(source).max()))) ** 2:
        raise ValueError('the source points are all in one place')
    along = float((s * t).sum()) / spread
    across = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / spread
    if (along * along + across * across) * spread <= _TINY * reach:
        raise ValueError('no similarity fits: the target points are all in one place, or mirrored')
    linear = np.array([[along, -across], [across, along]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def invert(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) inverse of an affine map. Raises ValueError where the map is flat or not finite."""
    linear = affine[:, :2]
    determinant = float(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0])
    if not abs(determinant) > (_TINY * float(np.abs(linear).max())) ** 2:
        raise ValueError('the map has no inverse')
    back = np.array([[linear[1, 1], -linear[0, 1]], [-linear[1, 0], linear[0, 0]]]) / determinant
    return np.column_stack([back, -back @ affine[:, 2]])


def compose(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) affine map that does inner, then outer."""
    return np.column_stack((outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]))


def apply(affine: NDArray[np.float64], points: ArrayLike) -> NDArray[np.float64]:
    """(N, 2) points taken through the map."""
    mapped: NDArray[np.float64] = np.asarray(points, np.float64) @ affine[:, :2].T + affine[:, 2]
    return mapped
