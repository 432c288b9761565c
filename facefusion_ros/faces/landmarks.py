"""Landmarks by networks that look at one face."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.faces.alignment import apply
from facefusion_ros.faces.cascade import box_around
from facefusion_ros.faces.crop import crop
from facefusion_ros.faces.tensors import PictureTensor, allocate, arrange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.faces.face import Face
    from facefusion_ros.models.entry import Family

_HEATMAP = 64
"""Width and height of a heatmap, pixels."""
_SURE_PEAK = 0.9
"""Mean peak of the heatmaps of a face that is seen clearly."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """How one kind of network is fed and read."""

    side: float
    """Side of the square that is cropped, in units of the longer side of the face's box."""
    points: int
    shapes: tuple[tuple[tuple[int, ...], ...], ...]
    """Shapes of the outputs that are read, without the batch: alternatives, the best first."""
    span: tuple[float, float] = (0.0, 1.0)
    """Values at the left (top) and right (bottom) edge of the crop."""


def _flat(points: int, side: float, span: tuple[float, float] = (0.0, 1.0)) -> _Reading:
    return _Reading(side, points, (((2 * points,),), ((points, 2),)), span)


_READINGS = {
    # Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D Face Alignment problem?", ICCV 2017: a box of
    # 195 pixels in a crop of 256; places and heatmaps, of which one is enough.
    '2dfan4': _Reading(
        256 / 195,
        68,
        (((68, 3), (68, _HEATMAP, _HEATMAP)), ((68, 3),), ((68, _HEATMAP, _HEATMAP),)),
        (0.0, float(_HEATMAP)),
    ),
    # Guo et al., "PFLD: A Practical Facial Landmark Detector", 2019; polarisZhao/PFLD-pytorch, camera.py.
    'pfld_68': _flat(68, 1.1),
    'pfld_98': _flat(98, 1.1),
    'pfld_106': _flat(106, 1.1),
    # InsightFace, model_zoo/landmark.py.
    '2d106det': _flat(106, 1.5, (-1.0, 1.0)),
}

_FIVE: dict[int, tuple[Sequence[int], ...]] = {
    # iBUG 300-W.
    68: (range(36, 42), range(42, 48), [30], [48], [54]),
    # WFLW (Wu et al., "Look at Boundary", CVPR 2018).
    98: (range(60, 68), range(68, 76), [54], [76], [82]),
    # InsightFace's order, which PFLD with 106 points shares: 38 and 88 are the pupils.
    106: ([38], [88], [86], [52], [61]),
}
"""Which landmarks, averaged, are left eye, right eye, nose, left and right mouth corner as seen in the image."""


def five(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the five landmarks, (5, 2) in our order, of (68, 2) iBUG, (98, 2) WFLW or (106, 2) InsightFace ones."""
    return np.array([points[list(each)].mean(axis=0, dtype=np.float64) for each in _FIVE[len(points)]])


def peaks(heatmaps: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, 2) places of the maxima of (N, H, W) heatmaps, pixels from the left (top) edge.

    The centre of the highest pixel, moved by a quarter towards its higher neighbour (Newell et al., "Stacked Hourglass
    Networks for Human Pose Estimation", ECCV 2016).
    """
    count, height, width = heatmaps.shape
    each = np.arange(count)
    y, x = np.divmod(heatmaps.reshape(count, -1).argmax(axis=1), width)
    right, left = heatmaps[each, y, np.minimum(x + 1, width - 1)], heatmaps[each, y, np.maximum(x - 1, 0)]
    below, above = heatmaps[each, np.minimum(y + 1, height - 1), x], heatmaps[each, np.maximum(y - 1, 0), x]
    inside_x, inside_y = (x > 0) & (x < width - 1), (y > 0) & (y < height - 1)
    return np.stack(
        [
            x + 0.5 + 0.25 * inside_x * np.sign(right - left),
            y + 0.5 + 0.25 * inside_y * np.sign(below - above),
        ],
        axis=1,
    )


class LandmarkNetwork:
    """Finds landmarks in a crop around a face. Used by one thread; the engine stays the caller's."""

    def __init__(self, engine: Engine, family: Family, min_score: float = 0.5) -> None:
        """Fit the buffers to the network. Where its heatmaps score lower, a face keeps the landmarks it has.

        Raises EngineError where the engine runs no network of this family.
        """
        if family.name not in _READINGS:
            raise EngineError(f'{family.name} is no family of landmarks; these are: {", ".join(_READINGS)}')
        self._engine, self._min_score = engine, min_score
        self._reading = _READINGS[family.name]
        self._tensor = PictureTensor(engine.inputs[0], family.preprocessing, family.size or (256, 256))
        width, height = self._tensor.size
        if width != height:
            raise EngineError(f'input {self._tensor.name} of {width}x{height} pixels: {family.name} looks at squares')
        self._crop = np.zeros((height, width, 3), np.uint8)
        for shapes in self._reading.shapes:
            specs = arrange(engine, shapes)
            if specs is not None:
                break
        else:
            there = ', '.join(str(spec.shape) for spec in engine.outputs)
            raise EngineError(f'the outputs {there} are not those of {family.name}: set the right family')
        self._outputs = {spec.name: allocate(spec, shape) for spec, shape in zip(specs, shapes, strict=True)}
        self._views = [self._outputs[spec.name].reshape(shape) for spec, shape in zip(specs, shapes, strict=True)]

    def points(self, pixels: NDArray[np.uint8], face: Face) -> tuple[NDArray[np.float64], float]:
        """Return all landmarks of a face, (N, 2), pixels of the (H, W, 3) BGR frame, and their score, 0 to 1.

        The score is 1 for networks that give none. Raises ValueError where the face's box is flat.
        """
        width = self._tensor.size[0]
        image_from_crop = self._around(face, width)
        crop(pixels, image_from_crop, self._crop)
        self._tensor.fill(self._crop)
        self._engine.run({self._tensor.name: self._tensor.array}, self._outputs)
        tensors = [view.astype(np.float32, copy=False) for view in self._views]
        places, score = _read(tensors, self._reading)
        low, high = self._reading.span
        return apply(image_from_crop, (places - low) * (width / (high - low)) - 0.5), score

    def refine(self, pixels: NDArray[np.uint8], face: Face) -> Face:
        """Return the face with the network's five landmarks; unchanged where it is not sure of them."""
        points, score = self.points(pixels, face)
        landmarks = five(points)
        try:
            box_around(landmarks)
        except ValueError:
            return face
        return replace(face, landmarks=landmarks.astype(np.float32)) if score >= self._min_score else face

    def _around(self, face: Face, size: int) -> NDArray[np.float64]:
        """(2, 3) map from a crop of this size to the frame: the box with a margin, turned until the eyes are level."""
        left, top, width, height = face.box
        scale = self._reading.side * max(width, height) / size
        if not scale > 0 or not math.isfinite(scale):
            raise ValueError(f'a face with the box {face.box} has no pixels')
        x, y = face.landmarks[1].astype(np.float64) - face.landmarks[0]
        cos, sin = np.array([x, y]) * (scale / math.hypot(x, y)) if x or y else (scale, 0.0)
        linear = np.array([[cos, -sin], [sin, cos]])
        centre = np.array([left + width / 2, top + height / 2])
        return np.column_stack([linear, centre - linear @ np.full(2, (size - 1) / 2)])


def _read(tensors: Sequence[NDArray[np.float32]], reading: _Reading) -> tuple[NDArray[np.float64], float]:
    """(N, 2) places in the network's own unit, and the score."""
    first, last = tensors[0], tensors[-1]
    if last.ndim == 3:
        places = peaks(last) if first is last else first[:, :2].astype(np.float64)
        return places, min(1.0, float(last.max(axis=(1, 2)).mean()) / _SURE_PEAK)
    if first.shape == (reading.points, 3):
        return first[:, :2].astype(np.float64), min(1.0, float(first[:, 2].mean()) / _SURE_PEAK)
    return first.reshape(-1, 2).astype(np.float64), 1.0
