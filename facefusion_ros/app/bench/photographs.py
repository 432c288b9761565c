"""How well faces are found and measured in photographs: one with its landmarks marked by hand, varied, and small crops.

The photographs come with scikit-image: the portrait of Eileen Collins (NASA, public domain), and 100 faces and 100
pictures of none, 25x25, after Labeled Faces in the Wild (Huang et al., 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.faces.alignment import apply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from facefusion_ros.faces.face import Face

    Find = Callable[[NDArray[np.uint8]], Sequence[Face]]

MARKED = np.array([[203.3, 101.3], [246.6, 103.6], [225.0, 126.5], [204.0, 140.0], [244.5, 141.5]])
"""(5, 2) left eye, right eye, nose, left and right mouth corner of the portrait, pixels; marked by hand."""
GREY = 128
NEAR = 0.5
"""A face is found where the mean of its five landmarks is this close to the truth, in distances of the eyes."""


@dataclass(frozen=True, slots=True, eq=False)
class Variation:
    """The portrait under other conditions."""

    picture: NDArray[np.uint8]
    """(H, W, 3) BGR."""
    landmarks: NDArray[np.float64]
    """(5, 2) pixels, inside the picture."""
    said: str
    """What was done to it."""


@dataclass(frozen=True, slots=True)
class Score:
    """How a detector did."""

    pictures: int
    recall: float
    false_per_picture: float
    landmark_error_mean: float
    """Mean distance of the five landmarks, in distances of the eyes, of the faces found; NaN where there were none."""
    landmark_error_p95: float


@dataclass(frozen=True, slots=True)
class Goals:
    """What the detector that ships with the package has to reach."""

    recall: float = 0.95
    false_per_picture: float = 0.05
    landmark_error_mean: float = 0.08
    small_faces_found: int = 90
    other_pictures_taken_for_one: int = 5

    def met(self, portrait: Score, found: int, taken: int) -> bool:
        """Whether all of it is reached, by the scores of ``score_variations`` and ``score_crops``."""
        return (
            portrait.recall >= self.recall
            and portrait.false_per_picture <= self.false_per_picture
            and portrait.landmark_error_mean <= self.landmark_error_mean
            and found >= self.small_faces_found
            and taken <= self.other_pictures_taken_for_one
        )


GOALS = Goals()
VARIATIONS = 200


def variations(count: int = VARIATIONS, seed: int = 0) -> Iterator[Variation]:
    """Draw variations of the portrait: turned ±30°, 0.25 to 2 times as large, dark to bright, blurred, noisy, moved."""
    from skimage.data import astronaut  # noqa: PLC0415 - not needed elsewhere

    portrait = np.ascontiguousarray(astronaut()[..., ::-1])
    centre = MARKED.mean(axis=0)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        turn_deg, scale = rng.uniform(-30, 30), 2.0 ** rng.uniform(-2, 1)
        bright, blur = 2.0 ** rng.uniform(-2, 1), rng.uniform(0, 1.5) * (rng.random() < 0.5)
        noise = rng.uniform(0, 12) * (rng.random() < 0.5)
        side = round(512 * scale)
        middle = (float(centre[0]), float(centre[1]))
        matrix = np.asarray(cv2.getRotationMatrix2D(middle, turn_deg, scale), np.float64)
        # Half of the time where the photographer put it, else anywhere as far as the landmarks stay inside.
        reach = 45.0 * scale
        place = centre * scale if rng.random() < 0.5 else rng.uniform(reach, side - reach, 2)
        matrix[:, 2] += place - centre
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        source = portrait
        if scale < 0.5:  # a warp looks at four pixels only
            source = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
            half = matrix.copy()
            half[:, :2] *= 2
            half[:, 2] += 0.5 * matrix[:, :2].sum(axis=1)
            picture = cv2.warpAffine(source, half, (side, side), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3)
        else:
            picture = cv2.warpAffine(source, matrix, (side, side), flags=how, borderValue=(GREY,) * 3)
        if blur:
            picture = cv2.GaussianBlur(picture, (0, 0), blur)
        values = picture.astype(np.float32) * bright + rng.normal(0, noise or 1e-6, picture.shape)
        picture = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        said = f'turned {turn_deg:+.0f}, scale {scale:.2f}, brightness {bright:.2f}, blur {blur:.1f}, noise {noise:.0f}'
        yield Variation(picture, apply(matrix, MARKED), said)


def score_variations(find: Find, count: int = VARIATIONS, seed: int = 0) -> Score:
    """Look for the face in each variation."""
    found, false, errors = 0, 0, []
    for variation in variations(count, seed):
        eyes = np.linalg.norm(variation.landmarks[1] - variation.landmarks[0])
        near = []
        for face in find(variation.picture):
            apart = np.linalg.norm(face.landmarks - variation.landmarks, axis=1) / eyes
            if np.linalg.norm(face.landmarks.mean(axis=0) - variation.landmarks.mean(axis=0)) < NEAR * eyes:
                near.append(float(apart.mean()))
            else:
                false += 1
        if near:
            found += 1
            false += len(near) - 1
            errors.append(min(near))
    mean, p95 = (float(np.mean(errors)), float(np.percentile(errors, 95))) if errors else (float('nan'),) * 2
    return Score(count, found / count, false / count, mean, p95)


def small_crops(
    enlarged_px: int = 100, canvas_px: tuple[int, int] = (320, 256)
) -> Iterator[tuple[NDArray[np.uint8], bool]]:
    """Yield 100 small faces and 100 pictures of none, each enlarged on a grey canvas; (picture, whether a face)."""
    from skimage.data import lfw_subset  # noqa: PLC0415 - not needed elsewhere

    width, height = canvas_px
    left, top = (width - enlarged_px) // 2, (height - enlarged_px) // 2
    for number, crop in enumerate(lfw_subset()):
        values = np.clip(np.rint(crop * 255), 0, 255).astype(np.uint8)
        large = cv2.resize(values, (enlarged_px, enlarged_px), interpolation=cv2.INTER_CUBIC)
        picture = np.full((height, width, 3), GREY, np.uint8)
        picture[top : top + enlarged_px, left : left + enlarged_px] = large[..., None]
        yield picture, number < 100


def score_crops(find: Find) -> tuple[int, int]:
    """Count the faces found among the 100, and the pictures of none that were taken for one."""
    found = [0, 0]
    for picture, is_face in small_crops():
        found[0 if is_face else 1] += bool(find(picture))
    return found[0], found[1]
