"""The head around five landmarks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.faces.alignment import apply, similarity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from facefusion_ros.faces.face import Face

# Proportions of a frontal face in units of the distance between the eyes; the origin is midway between them, x to the
# right in the image, y towards the chin. Between the means of two sets of aligned faces: ArcFace (see alignment) puts
# the mouth at 1.16, FFHQ (Karras et al., CVPR 2019) at 1.04; a smile lifts it, a beard or a look up lowers it.
_NOSE_Y = 0.57
_MOUTH_Y = 1.05
_MOUTH_X = 0.43
UPRIGHT = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, _NOSE_Y], [-_MOUTH_X, _MOUTH_Y], [_MOUTH_X, _MOUTH_Y]])
"""(5, 2) landmarks of a frontal face in these units."""

# Ear to ear and forehead to chin in the same units: left, top, width, height.
_HEAD = (-1.05, -1.1, 2.1, 2.85)

# Two boxes that overlap by more than this (intersection over union) are one face.
_SAME_FACE = 0.3


def box_around(landmarks: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """Left, top, width, height of a head (forehead to chin) with these (5, 2) landmarks, same unit as these."""
    image_from_face = similarity(UPRIGHT, landmarks)
    left, top, width, height = _HEAD
    ((x, y),) = apply(image_from_face, [[left + width / 2, top + height / 2]])
    scale = math.hypot(image_from_face[0, 0], image_from_face[1, 0])
    return (float(x - scale * width / 2), float(y - scale * height / 2), scale * width, scale * height)


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes (left, top, width, height), 0 to 1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def distinct(faces: Iterable[Face]) -> tuple[Face, ...]:
    """Return the faces without those that overlap one of higher score, largest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, face.box)):
        if all(overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return tuple(sorted(kept, key=lambda face: (-face.box[2] * face.box[3], face.box)))
