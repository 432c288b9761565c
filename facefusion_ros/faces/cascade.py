"""Face detection with the Haar cascades that OpenCV brings along, and five landmarks from eyes and proportions.

The cascades: Viola and Jones, "Rapid object detection using a boosted cascade of simple features", CVPR 2001; Lienhart
and Maydt, "An extended set of Haar-like features", ICIP 2002 (haarcascade_frontalface_alt2.xml, haarcascade_eye.xml,
haarcascade_eye_tree_eyeglasses.xml).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.errors import FacefusionError, require
from facefusion_ros.faces.alignment import apply, similarity
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.head import UPRIGHT, box_around, distinct, overlap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cv2.typing import MatLike
    from numpy.typing import NDArray

_MOUTH_Y = UPRIGHT[3, 1]
_MOUTH_Y_SD = 0.18

# Where the eyes are in the square that frontalface_alt2 finds, in units of the square: its training crops.
_EYE_DISTANCE = 0.43
_EYE_Y = 0.385
# How far they stray from there (standard deviations): for telling a pair of eyes from brows, nostrils and curls.
_EYE_DISTANCE_SD = 0.06
_EYE_MIDDLE_SD = 0.05
_EYE_TILT_SD = math.radians(10.0)
_NOT_EYES = 3.0**2

# The square is looked at closely in a crop of this width; the crop reaches lower than the square, to hold the mouth.
_CHIP_WIDTH = 96
_CHIP_HEIGHT = 112

# A known face is looked for again in a crop in which its square has this width, with a margin to each side.
_AGAIN_WIDTH = 48
_AGAIN_MARGIN = 14

# The last stage's sum of frontalface_alt2 passes from false to true about here, over about this range; and how much
# remains of the score where one eye or none is found inside.
_SUM_MIDDLE = 55.4
_SUM_RANGE = 0.4
_EYES_FACTOR = (0.5, 0.8, 1.0)

CASCADE_FOLDERS = (getattr(getattr(cv2, 'data', None), 'haarcascades', ''), '/usr/share/opencv4/haarcascades')
"""Where the cascades lie: wheels carry them; Debian and Ubuntu (ROS machines) have them in the package opencv-data."""


class CascadeMissingError(FacefusionError):
    """OpenCV came without its cascades."""


@dataclass(frozen=True, slots=True)
class CascadeSettings:
    """How hard to look."""

    longest_side_px: int = 320
    """Faces are searched in a picture reduced to this size; 64 or more."""
    smallest_face: float = 0.15
    """Smallest face, width as a share of the picture's shorter side; never below 20 pixels of the reduced picture."""
    size_step: float = 1.2
    """Ratio of one size searched to the next, above 1."""
    min_neighbours: int = 3
    """Overlapping hits that make a find."""
    min_score: float = 0.4
    """Finds below this score are not reported."""
    rolls_deg: tuple[float, ...] = ()
    """Where no upright face is found: rolls of the head to try, degrees clockwise as seen in the image."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                'longest_side_px must be 64 or more': self.longest_side_px >= 64,
                'smallest_face must be 0 to 1': 0 <= self.smallest_face <= 1,
                'size_step must be 1.01 to 2': 1.01 <= self.size_step <= 2,
                'min_neighbours must be 1 or more': self.min_neighbours >= 1,
                'min_score must be 0 to 1': 0 <= self.min_score <= 1,
                'rolls_deg must be -180 to 180': all(-180 <= roll <= 180 for roll in self.rolls_deg),
            },
        )


STREAM = CascadeSettings()
"""For pictures that follow each other: fast, for faces wider than a seventh of the picture's shorter side."""
STILL = CascadeSettings(longest_side_px=1280, smallest_face=0.0, size_step=1.1, rolls_deg=(-22.0, 22.0))
"""For a single picture: small and rolled faces too."""


@dataclass(frozen=True, slots=True)
class _Find:
    """A square that the face cascade accepts, and its last stage's sum."""

    image_from_square: NDArray[np.float64]
    """(2, 3): takes the unit square to pixels of the frame."""
    stage_sum: float


class CascadeDetector:
    """Finds faces in single pictures. Used by one thread; keeps nothing of the pictures but its buffers."""

    def __init__(self, settings: CascadeSettings = STREAM) -> None:
        """Load the cascades. Raises CascadeMissingError where OpenCV has none."""
        self.settings = settings
        self._face = _cascade('frontalface_alt2')
        self._eyes = (_cascade('eye'), _cascade('eye_tree_eyeglasses'))
        self._reduced = np.empty((0, 0, 3), np.uint8)
        self._grey = np.empty((0, 0), np.uint8)

    sure_score = 0.7
    again_is_cheap = True

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Find the faces of a (H, W, 3) BGR picture, largest first.

        Raises ValueError where the pixels are of another kind.
        """
        grey, frame_from_grey = self._reduce(pixels)
        faces = distinct(self._faces(pixels, self._search(grey, frame_from_grey)))
        for roll_deg in self.settings.rolls_deg:
            if faces:
                break
            turned, grey_from_turned = _turn(grey, roll_deg)
            finds = self._search(turned, _after(frame_from_grey, grey_from_turned))
            faces = distinct(self._faces(pixels, finds))
        return faces

    def again(self, pixels: NDArray[np.uint8], face: Face) -> Face | None:
        """Look for a face where one is expected: at about this place, size and roll. Costs a fraction of ``detect``."""
        square = _square_from_landmarks(face.landmarks)
        scale = 1.0 / _AGAIN_WIDTH
        square_from_crop = np.array([[scale, 0.0, -_AGAIN_MARGIN * scale], [0.0, scale, -_AGAIN_MARGIN * scale]])
        frame_from_crop = _after(square, square_from_crop)
        side = _AGAIN_WIDTH + 2 * _AGAIN_MARGIN
        crop = _crop(pixels, frame_from_crop, side, side)
        _stretch(crop)
        smallest, largest = int(0.75 * _AGAIN_WIDTH), int(1.33 * _AGAIN_WIDTH)
        finds = _finds(self._face, crop, frame_from_crop, 1.1, self.settings.min_neighbours, smallest, largest)
        faces = distinct(self._faces(pixels, finds))
        return max(faces, key=lambda found: overlap(found.box, face.box), default=None)

    def _reduce(self, pixels: NDArray[np.uint8]) -> tuple[MatLike, NDArray[np.float64]]:
        """Return the grey picture that is searched, and the map from its pixels to the frame's."""
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
            raise ValueError(f'need a picture (H, W, 3) of uint8, got {pixels.shape} of {pixels.dtype}')
        height, width = pixels.shape[:2]
        share = min(1.0, self.settings.longest_side_px / max(height, width))
        size = (max(1, round(height * share)), max(1, round(width * share)))
        if self._grey.shape != size:
            self._reduced, self._grey = np.empty((*size, 3), np.uint8), np.empty(size, np.uint8)
        cv2.resize(pixels, size[::-1], dst=self._reduced, interpolation=cv2.INTER_AREA)
        cv2.cvtColor(self._reduced, cv2.COLOR_BGR2GRAY, dst=self._grey)
        _stretch(self._grey)
        x, y = width / size[1], height / size[0]
        return self._grey, np.array([[x, 0.0, x / 2 - 0.5], [0.0, y, y / 2 - 0.5]])

    def _search(self, grey: MatLike, frame_from_grey: NDArray[np.float64]) -> Sequence[_Find]:
        smallest = max(20, round(self.settings.smallest_face * min(grey.shape)))
        settings = self.settings
        return _finds(self._face, grey, frame_from_grey, settings.size_step, settings.min_neighbours, smallest)

    def _faces(self, pixels: NDArray[np.uint8], finds: Iterable[_Find]) -> Iterable[Face]:
        for find in finds:
            likely = 1.0 / (1.0 + math.exp((_SUM_MIDDLE - find.stage_sum) / _SUM_RANGE))
            if likely < self.settings.min_score:
                continue
            landmarks, eyes_seen = self._landmarks(pixels, find.image_from_square)
            score = likely * _EYES_FACTOR[eyes_seen]
            if score >= self.settings.min_score:
                yield Face(box_around(landmarks), score, landmarks.astype(np.float32))

    def _landmarks(
        self, pixels: NDArray[np.uint8], image_from_square: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], int]:
        """(5, 2) landmarks in the frame of the face in a square, and how many eyes were seen."""
        scale = 1.0 / _CHIP_WIDTH
        image_from_chip = _after(image_from_square, np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]]))
        chip = cv2.equalizeHist(_crop(pixels, image_from_chip, _CHIP_WIDTH, _CHIP_HEIGHT))
        left = self._eyes_in(chip, 0.0) or [None]
        right = self._eyes_in(chip, 0.45) or [None]
        eyes, seen = min((_pair(a, b) for a, b in product(left, right)), key=lambda pair: pair[2])[:2]
        chip_from_face = similarity(UPRIGHT[:2], eyes * _CHIP_WIDTH)
        landmarks = UPRIGHT.copy()
        landmarks[3:, 1] = _mouth_y(chip, chip_from_face)
        return apply(_after(image_from_chip, chip_from_face), landmarks), seen

    def _eyes_in(self, chip: MatLike, left: float) -> list[NDArray[np.float64] | None]:
        """Centres of what looks like an eye in one half of the chip, in units of the square."""
        x, y = int(left * _CHIP_WIDTH), int(0.16 * _CHIP_WIDTH)
        half = chip[y : int(0.62 * _CHIP_WIDTH), x : x + int(0.55 * _CHIP_WIDTH)]
        smallest, largest = int(0.16 * _CHIP_WIDTH), int(0.4 * _CHIP_WIDTH)
        for cascade in self._eyes:
            boxes = cascade.detectMultiScale(half, 1.1, 3, 0, (smallest, smallest), (largest, largest))
            if len(boxes):
                return [np.array([x + b[0] + b[2] / 2, y + b[1] + b[3] / 2]) / _CHIP_WIDTH for b in boxes]
        return []


def _pair(
    left: NDArray[np.float64] | None, right: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], int, float]:
    """Two eyes in units of the square, how many of them were seen, and how far they are from where eyes should be."""
    usual = np.array([[0.5 - _EYE_DISTANCE / 2, _EYE_Y], [0.5 + _EYE_DISTANCE / 2, _EYE_Y]])
    if left is not None and right is not None:
        (x, y), middle = right - left, (left + right) / 2
        misfit = (
            ((math.hypot(x, y) - _EYE_DISTANCE) / _EYE_DISTANCE_SD) ** 2
            + (math.atan2(y, x) / _EYE_TILT_SD) ** 2
            + float((((middle - usual.mean(axis=0)) / _EYE_MIDDLE_SD) ** 2).sum())
        )
        if misfit < _NOT_EYES:
            return np.stack([left, right]), 2, misfit
    for index, eye in enumerate((left, right)):
        if eye is not None:
            shift = eye - usual[index]
            misfit = float(((shift / _EYE_MIDDLE_SD) ** 2).sum())
            if misfit < _NOT_EYES:
                # The cascade's square is as sure of the place as one eye is.
                return usual + shift / 2, 1, _NOT_EYES + misfit
    return usual, 0, 3 * _NOT_EYES


def _mouth_y(chip: MatLike, chip_from_face: NDArray[np.float64]) -> float:
    """Distance of the mouth from the eyes in eye distances: where edges run across the face, near the usual place."""
    rows, columns, across, top = 64, 24, 0.4, 0.7
    step = 0.75 / rows
    face_from_strip = np.array([[2 * across / columns, 0.0, -across], [0.0, step, top]])
    strip = cv2.warpAffine(
        chip,
        _after(chip_from_face, face_from_strip),
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    edges = np.diff(cv2.GaussianBlur(strip, (0, 0), 2.0).astype(np.float64).mean(axis=1)) ** 2
    y = top + step * (np.arange(rows - 1) + 0.5)
    weight = edges * np.exp(-0.5 * ((y - _MOUTH_Y) / _MOUTH_Y_SD) ** 2)
    total = float(weight.sum())
    return float((weight * y).sum()) / total if total > 0 else _MOUTH_Y


def _square_from_landmarks(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(2, 3) map from the unit square of the face cascade to the picture, for a face with these landmarks."""
    face_from_square = (
        np.array(
            [[1.0, 0.0, -0.5], [0.0, 1.0, -_EYE_Y]],
        )
        / _EYE_DISTANCE
    )
    return _after(similarity(UPRIGHT, landmarks), face_from_square)


def _finds(
    cascade: cv2.CascadeClassifier,
    grey: MatLike,
    frame_from_grey: NDArray[np.float64],
    size_step: float,
    min_neighbours: int,
    smallest: int,
    largest: int = 0,
) -> list[_Find]:
    boxes, _, sums = cascade.detectMultiScale3(
        grey, size_step, min_neighbours, 0, (smallest, smallest), (largest, largest), outputRejectLevels=True
    )
    return [
        # A box's left edge is half a pixel left of its first pixel's centre.
        _Find(
            _after(frame_from_grey, np.array([[b[2], 0.0, b[0] - 0.5], [0.0, b[3], b[1] - 0.5]], np.float64)), float(s)
        )
        for b, s in zip(boxes, np.ravel(sums), strict=True)
    ]


def _crop(pixels: NDArray[np.uint8], image_from_crop: NDArray[np.float64], width: int, height: int) -> MatLike:
    """Grey crop (height, width) of the frame; beyond the frame its edge goes on."""
    corners = apply(image_from_crop, [[0, 0], [width, 0], [0, height], [width, height]])
    limit = np.array(pixels.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, limit - 1)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, low + 1, limit)
    scale = math.hypot(image_from_crop[0, 0], image_from_crop[1, 0])
    size = [max(1, round(int(side) / max(1.0, scale))) for side in high - low]
    # A warp looks at four pixels and would alias; the mean over areas comes first.
    region = cv2.resize(pixels[low[1] : high[1], low[0] : high[0]], size, interpolation=cv2.INTER_AREA)
    region = cv2.cvtColor(region, cv2.COLOR_BGR2GRAY)
    x, y = size / (high - low)
    region_from_image = np.array([[x, 0.0, (0.5 - low[0]) * x - 0.5], [0.0, y, (0.5 - low[1]) * y - 0.5]])
    return cv2.warpAffine(
        region,
        _after(region_from_image, image_from_crop),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _stretch(grey: MatLike) -> None:
    """Spread the brightness of all but the darkest and brightest hundredth over the whole range, in place.

    The cascades level contrast themselves, but not that of a dark picture's few steps. Equalised histograms serve them
    worse: a large even background takes the contrast from the face.
    """
    share = np.cumsum(cv2.calcHist([grey], [0], None, [256], [0, 256])) / grey.size
    low, high = np.searchsorted(share, (0.01, 0.99))
    steps = (np.arange(256) - low) * (255.0 / max(high - low, 8))
    cv2.LUT(grey, np.clip(steps, 0, 255).astype(np.uint8), dst=grey)


def _turn(grey: MatLike, roll_deg: float) -> tuple[MatLike, NDArray[np.float64]]:
    """Turn the picture so that heads rolled by this much stand upright, whole; and the map back to grey."""
    height, width = grey.shape
    cos, sin = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    size = (
        math.ceil(width * abs(cos) + height * abs(sin)),
        math.ceil(width * abs(sin) + height * abs(cos)),
    )
    linear = np.array([[cos, -sin], [sin, cos]])
    centre, middle = np.array([width - 1, height - 1]) / 2, np.array([size[0] - 1, size[1] - 1]) / 2
    back = np.column_stack([linear, centre - linear @ middle])
    return cv2.warpAffine(grey, back, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), back


def _after(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) map that does the inner one first."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _cascade(name: str) -> cv2.CascadeClassifier:
    file = f'haarcascade_{name}.xml'
    for folder in CASCADE_FOLDERS:
        path = Path(folder) / file
        if path.is_file():
            cascade = cv2.CascadeClassifier(str(path))
            if not cascade.empty():
                return cascade
    raise CascadeMissingError(
        f'OpenCV has no {file}; install opencv-python-headless 4.x, or opencv-data beside python3-opencv'
    )
