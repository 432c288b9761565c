"""Crops of a face as the catalogue's networks were trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.faces.alignment import invert, similarity
from facefusion_ros.models.families import catalogue

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def image_from_crop(template: str, size: int, landmarks: ArrayLike) -> NDArray[np.float64]:
    """(2, 3) similarity that takes a square crop of ``size`` pixels to a picture with these (5, 2) landmarks.

    The points of the catalogue's template scale with the crop, and the map is fitted in its pixels, as in training
    (InsightFace, face_align.py, norm_crop). Raises ValueError where the landmarks are not five finite points that a
    similarity can reach.
    """
    known = catalogue().templates[template]
    return invert(similarity(landmarks, np.array(known.points) * (size / known.size)))
