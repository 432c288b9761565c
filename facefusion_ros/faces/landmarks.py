"""Landmarks by networks that look at one face."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.faces.aligned import image_from_crop
from facefusion_ros.faces.alignment import apply
from facefusion_ros.faces.feed import Feed
from facefusion_ros.faces.head import box_around
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


_SHAPES: dict[str, tuple[tuple[tuple[int, ...], ...], ...]] = {
    # Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D Face Alignment problem?", ICCV 2017: places and
    # heatmaps, of which one is enough.
    'fan': (((68, 3), (68, _HEATMAP, _HEATMAP)), ((68, 3),), ((68, _HEATMAP, _HEATMAP),)),
    # Guo et al., "PFLD: A Practical Facial Landmark Detector", 2019.
    'pfld': tuple(((2 * count,),) for count in (68, 98, 106)),
    # training/landmarks.py of this package: places and whether each is seen, and whether there is a face.
    'seen': (((68, 3), (1,)),),
}
"""Shapes of the outputs that are read, without the batch: alternatives, the best first."""

_FIVE: dict[int, tuple[Sequence[int], ...]] = {
    # iBUG 300-W.
    68: (range(36, 42), range(42, 48), [30], [48], [54]),
    # WFLW (Wu et al., "Look at Boundary", CVPR 2018).
    98: (range(60, 68), range(68, 76), [54], [76], [82]),
    # InsightFace's order (2d106det); zhaoyk1986/pfld_106_face_landmarks has the same. 38 and 88 are the pupils.
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
        if family.decoder not in _SHAPES:
            raise EngineError(f'{family.name} is no family of landmarks; these are read as {", ".join(_SHAPES)}')
        self._min_score = min_score
        self._tensor = PictureTensor(engine.inputs[0], family.preprocessing, family.size or (256, 256))
        width, height = self._tensor.size
        if width != height:
            raise EngineError(f'input {self._tensor.name} of {width}x{height} pixels: {family.name} looks at squares')
        self._feed = Feed(engine, self._tensor)
        # How much wider than the face's box the crop is, and a unit of the network's in pixels of it.
        self._margin = 1.0 / (family.box_fill or 1.0)
        self._template = family.template
        self._unit = width / _HEATMAP if family.decoder == 'fan' else float(width)
        self._read = _read_seen if family.decoder == 'seen' else _read
        for shapes in _SHAPES[family.decoder]:
            specs = arrange(engine, shapes)
            if specs is not None:
                break
        else:
            there = ', '.join(str(spec.shape) for spec in engine.outputs)
            raise EngineError(f'the outputs {there} are not those of {family.name}: set the right family')
        self._outputs = {spec.name: allocate(spec, shape) for spec, shape in zip(specs, shapes, strict=True)}
        self._views = [self._outputs[spec.name].reshape(shape) for spec, shape in zip(specs, shapes, strict=True)]

    @property
    def judges(self) -> bool:
        """Whether the score is the chance that there is a face, and not how clearly it is seen."""
        return self._read is _read_seen

    def points(self, pixels: NDArray[np.uint8], face: Face) -> tuple[NDArray[np.float64], float]:
        """Return all landmarks of a face, (N, 2), pixels of the (H, W, 3) BGR frame, and their score, 0 to 1.

        The score is 1 for networks that give none. Raises ValueError where the face's box is flat.
        """
        image_from_crop = self._around(face)
        self._feed.fill(pixels, image_from_crop)
        self._feed.run(self._outputs)
        tensors = [view.astype(np.float32, copy=False) for view in self._views]
        places, score = self._read(tensors)
        # From edges to centres of pixels.
        return apply(image_from_crop, places * self._unit - 0.5), score

    def refine(self, pixels: NDArray[np.uint8], face: Face) -> Face:
        """Return the face with the network's five landmarks; unchanged where it is not sure of them."""
        points, score = self.points(pixels, face)
        landmarks = five(points)
        try:
            box_around(landmarks)
        except ValueError:
            return face
        return replace(face, landmarks=landmarks.astype(np.float32)) if score >= self._min_score else face

    def _around(self, face: Face) -> NDArray[np.float64]:
        """(2, 3) map from the crop to the frame: by the template, else the box with a margin, the eyes level."""
        if self._template is not None:
            return image_from_crop(self._template, self._tensor.size[0], face.landmarks)
        left, top, width, height = face.box
        size = self._tensor.size[0]
        scale = self._margin * max(width, height) / size
        if not scale > 0 or not math.isfinite(scale):
            raise ValueError(f'a face with the box {face.box} has no pixels')
        x, y = face.landmarks[1].astype(np.float64) - face.landmarks[0]
        cos, sin = np.array([x, y]) * (scale / math.hypot(x, y)) if x or y else (scale, 0.0)
        linear = np.array([[cos, -sin], [sin, cos]])
        centre = np.array([left + width / 2, top + height / 2])
        return np.column_stack([linear, centre - linear @ np.full(2, (size - 1) / 2)])


def _read_seen(tensors: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float64], float]:
    """(N, 2) places in crops, and the chance that there is a face."""
    return tensors[0][:, :2].astype(np.float64), float(0.5 + 0.5 * np.tanh(0.5 * tensors[1][0]))


def _read(tensors: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float64], float]:
    """(N, 2) places in the network's own unit, and the score."""
    first, last = tensors[0], tensors[-1]
    if last.ndim == 1:
        return last.reshape(-1, 2).astype(np.float64), 1.0
    places = first[:, :2].astype(np.float64) if first.ndim == 2 else peaks(first)
    tops = last[:, 2] if last.ndim == 2 else last.max(axis=(1, 2))
    return places, min(1.0, float(tops.mean()) / _SURE_PEAK)
