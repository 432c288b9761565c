"""Face detection by networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.errors import require
from facefusion_ros.faces.alignment import ARCFACE_112
from facefusion_ros.faces.decoders import DECODERS, overlaps, suppress
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.feed import Feed
from facefusion_ros.faces.head import box_around, overlap
from facefusion_ros.faces.letterbox import Letterbox
from facefusion_ros.faces.tensors import PictureTensor, allocate, arrange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine, TensorSpec
    from facefusion_ros.faces.decoders import Candidates, Decoder
    from facefusion_ros.faces.letterbox import Fit
    from facefusion_ros.models.entry import Family

# How pictures were put into the input when each family was trained, and the grey beside them. Ultralytics centres on
# 114 (LetterBox); InsightFace and OpenCV fill to the right and below with black; darknet stretches.
_FITS: dict[str, tuple[Fit, int]] = {
    'yoloface': ('centre', 114),
    'yolov4_tiny': ('stretch', 0),
    'yolov4_tiny_points': ('corner', 128),
}

# YuNet's score is the root of what the others' is; that of this package's own, trained with a focal loss, is cautious.
_LEAST_SCORES = {'yunet': 0.7, 'yolov4_tiny_points': 0.35}

# Where the file leaves the size open.
_USUAL_SIZE = (640, 640)

# A known face is looked for in a square of this many times its box.
_AGAIN = 3.0
# What overlaps less with the known face is another one.
_SAME_PLACE = 0.2

# Candidates beyond this number, the worst first, are not looked at: a network that sees faces everywhere sees none.
_MOST_CANDIDATES = 512

# Where the landmarks are in a face's box, in units of it.
_LEFT, _TOP, *_EXTENT = box_around(np.array(ARCFACE_112))
_IN_BOX = (np.array(ARCFACE_112) - (_LEFT, _TOP)) / _EXTENT


def usual_score(family: Family) -> float:
    """Least score of a face where nothing else is set, on the scale of the family.

    What a second look will judge may be proposed from the square of it on.
    """
    return _LEAST_SCORES.get(family.name, 0.5)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What counts as a face."""

    min_score: float = 0.5
    """Finds below this score are not reported; by the scale of the network, and 0.7 for YuNet where nothing is set."""
    max_overlap: float = 0.4
    """Of two boxes that overlap by more than this (intersection over union) the better one is the face."""
    averaged_overlap: float = 0.6
    """Boxes that overlap the best one by more than this are averaged with it, weighted by score; 1: none are."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                'min_score must be above 0, up to 1': 0 < self.min_score <= 1,
                'max_overlap must be 0 to 1': 0 <= self.max_overlap <= 1,
                'averaged_overlap must be 0 to 1': 0 <= self.averaged_overlap <= 1,
            },
        )


class NetworkDetector:
    """Finds faces in single pictures. Used by one thread; keeps nothing of the pictures but its buffers."""

    def __init__(
        self,
        engine: Engine,
        family: Family,
        settings: NetworkSettings | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Fit the buffers to the network; the engine stays the caller's.

        Where a network has no landmarks of its own (YOLOv4-tiny) they are put where a frontal face in the box has them;
        a ``TwoStageDetector`` finds better ones. ``size`` (width, height; multiples of 32)
        is used where the file leaves it open. Raises EngineError where the engine runs no network of this family.
        """
        self.settings = settings or NetworkSettings(usual_score(family))
        self._usual = usual_score(family)
        if family.decoder not in DECODERS:
            raise EngineError(f'{family.name} is no family of detectors; these are read as {", ".join(DECODERS)}')
        tensor = PictureTensor(engine.inputs[0], family.preprocessing, size or family.size or _USUAL_SIZE, multiple=32)
        self._size = tensor.size
        self._feed = Feed(engine, tensor)
        self._letterbox = Letterbox(tensor.size, *_FITS.get(family.decoder, ('corner', 0)))
        self._decoder, specs, shapes = _decoder(engine, family, tensor.size)
        self._outputs = {spec.name: allocate(spec, shape) for spec, shape in zip(specs, shapes, strict=True)}
        self._views = [self._outputs[spec.name].reshape(shape) for spec, shape in zip(specs, shapes, strict=True)]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the network's input, pixels."""
        return self._size

    @property
    def sure_score(self) -> float:
        """See ``Detector``: half way from the least score that is usual for the family to 1."""
        return (1.0 + self._usual) / 2

    @property
    def again_is_cheap(self) -> bool:
        """See ``Detector``."""
        return False

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Find the faces of a (H, W, 3) BGR picture, largest first.

        Raises ValueError where the pixels are of another kind, EngineError where the network fails.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
            raise ValueError(f'need a picture (H, W, 3) of uint8, got {pixels.shape} of {pixels.dtype}')
        return self._find(pixels, 0, 0)

    def again(self, pixels: NDArray[np.uint8], face: Face) -> Face | None:
        """Look for a face where one is expected: at about this place and size, closer than ``detect`` looks.

        Costs as much as ``detect``.
        """
        left, top, width, height = face.box
        reach = _AGAIN * max(width, height) / 2
        x, y = left + width / 2, top + height / 2
        limit = np.array(pixels.shape[1::-1])
        low = np.clip(np.floor([x - reach, y - reach]), 0, limit).astype(int)
        high = np.clip(np.ceil([x + reach, y + reach]), 0, limit).astype(int)
        if (high <= low).any():
            return None
        part = pixels[low[1] : high[1], low[0] : high[0]]
        faces = self._find(part, int(low[0]), int(low[1]))
        best = max(faces, key=lambda found: overlap(found.box, face.box), default=None)
        if best is None or overlap(best.box, face.box) < _SAME_PLACE:
            return None
        return best

    def _find(self, pixels: NDArray[np.uint8], left: int, top: int) -> tuple[Face, ...]:
        """Find the faces of a part of the frame that begins at (left, top)."""
        self._feed.fill(pixels, self._letterbox)
        self._feed.run(self._outputs)
        tensors = [view.astype(np.float32, copy=False) for view in self._views]
        # A network may say what overflows; such a box is not finite, and left out.
        with np.errstate(over='ignore', invalid='ignore'):
            found = self._decoder.read(tensors, self._size, self.settings.min_score)
        scale = np.array(pixels.shape[1::-1]) / self._letterbox.shown
        return self._faces(found, scale, np.array([left, top]))

    def _faces(self, found: Candidates, scale: NDArray[np.float64], shift: NDArray[np.int_]) -> tuple[Face, ...]:
        """Take candidates in the network's picture to distinct faces in the frame."""

        def to_frame(points: NDArray[np.float32]) -> NDArray[np.float64]:
            # From edges to centres of pixels.
            mapped: NDArray[np.float64] = (points - self._letterbox.corner) * scale + (shift - 0.5)
            return mapped

        boxes = to_frame(found.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        good = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] - boxes[:, :2] >= 1.0).all(axis=1)
        best = np.flatnonzero(good)
        best = best[np.argsort(-found.scores[best], kind='stable')[:_MOST_CANDIDATES]]
        boxes, scores = boxes[best], found.scores[best]
        points = None if found.landmarks is None else to_frame(found.landmarks[best])
        faces = []
        for i in suppress(boxes, scores, self.settings.max_overlap):
            # Neighbouring anchors see one face each in their own way: their mean is steadier than the best of them
            # (Gidaris and Komodakis, "Object detection via a multi-region CNN model", ICCV 2015: box voting).
            same = overlaps(boxes[i], boxes) > self.settings.averaged_overlap
            same[i] = True
            left, top, right, bottom = np.average(boxes[same], axis=0, weights=scores[same]).tolist()
            if points is None:
                landmarks = _IN_BOX * (right - left, bottom - top) + (left, top)
            else:
                landmarks = np.average(points[same], axis=0, weights=scores[same])
            if _spans(landmarks, right - left):
                box = (left, top, right - left, bottom - top)
                faces.append(Face(box, min(1.0, float(scores[i])), landmarks.astype(np.float32)))
        return tuple(sorted(faces, key=lambda face: -face.box[2] * face.box[3]))


def _spans(landmarks: NDArray[np.float64], width: float) -> bool:
    """Whether landmarks are those of a face, upright or not, and no single place or mirrored pattern."""
    try:
        head = box_around(landmarks)
    except ValueError:
        return False
    return head[2] > 0.05 * width


def _decoder(
    engine: Engine, family: Family, size: tuple[int, int]
) -> tuple[Decoder, tuple[TensorSpec, ...], list[tuple[int, ...]]]:
    """Return the family's decoder that the engine's outputs fit, and which output is which."""
    for decoder in DECODERS[family.decoder]:
        shapes = decoder.shapes(size)
        specs = arrange(engine, shapes)
        if specs is not None:
            return decoder, specs, shapes
    there = ', '.join(str(spec.shape) for spec in engine.outputs)
    raise EngineError(
        f'the outputs {there} are not those of {family.name} for pictures of {size[0]}x{size[1]}: '
        'set the right family, or the size that the file was exported for'
    )
