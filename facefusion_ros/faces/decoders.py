"""From a detection network's outputs to boxes, scores and landmarks.

Coordinates are pixels of the network's input as the networks count them: 0 is the left (top) edge of the first pixel.
``size`` is the input's width and height, multiples of 32. Outputs come without their batch dimension, float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Float = NDArray[np.float32]
    Size = tuple[int, int]

_STRIDES = (8, 16, 32)

# Width and height in pixels and stride of the two heads (Wang et al., "Scaled-YOLOv4", CVPR 2021; yolov4-tiny.cfg of
# AlexeyAB/darknet: anchors, mask = 3,4,5 and 1,2,3, scale_x_y = 1.05). The smallest of the six anchors is not used.
_YOLOV4_TINY = ((32, ((81, 82), (135, 169), (344, 319))), (16, ((23, 27), (37, 58), (81, 82))))
_YOLOV4_STRETCH = 1.05
# Those of this package's own detector (training/detector.py).
_FACE_ANCHORS = ((32, ((72, 90), (125, 155), (210, 250))), (16, ((12, 15), (22, 28), (40, 50))))

# Deng et al., "RetinaFace", CVPR 2020, as in biubug6/Pytorch_Retinaface, data/config.py: min_sizes and variance.
_RETINAFACE_SIZES = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2

# Sizes are exp(x) of what the network says; beyond this they are no face's, and overflow.
_MAX_LOG = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes that may hold a face, many for the same one."""

    boxes: Float
    """(N, 4): left, top, right, bottom."""
    scores: Float
    """(N,): 0 to 1."""
    landmarks: Float | None
    """(N, 5, 2): left eye, right eye, nose, left and right mouth corner as seen in the image; None where the network
    has none."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """How one kind of network is read."""

    shapes: Callable[[Size], list[tuple[int, ...]]]
    """Shapes of the outputs for a size of input, in the order in which ``read`` takes them."""
    read: Callable[[Sequence[Float], Size, float], Candidates]
    """(outputs, size, least score) to candidates."""


def yunet(outputs: Sequence[Float], size: Size, min_score: float) -> Candidates:
    """Read YuNet: (cells, 1) classes and objectness, (cells, 4) boxes, (cells, 10) landmarks, each for three strides.

    One anchor in a cell, at its corner (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023; OpenCV,
    face_detect.cpp). The score is the root of the product of class and objectness, each within 0 to 1, as OpenCV's is.
    """
    found = []
    for i, stride in enumerate(_STRIDES):
        scores = np.sqrt(np.clip(outputs[i][:, 0], 0, 1) * np.clip(outputs[3 + i][:, 0], 0, 1))
        hit = scores >= min_score
        corner = _cells(size, stride)[hit]
        box, points = outputs[6 + i][hit], outputs[9 + i][hit].reshape(-1, 5, 2)
        centre, extent = (corner + box[:, :2]) * stride, _exp(box[:, 2:]) * stride
        found.append(Candidates(_around(centre, extent), scores[hit], (points + corner[:, None]) * stride))
    return _together(found)


def scrfd(outputs: Sequence[Float], size: Size, min_score: float) -> Candidates:
    """Read SCRFD: (anchors, 1) scores, (anchors, 4) distances and, if there, (anchors, 10) landmarks for three strides.

    Two anchors at each cell's corner; distances to the box's sides and landmarks in strides from there (Guo et al.,
    "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022; InsightFace, scrfd.py). The files
    called retinaface_10g or det_10g are read the same way.
    """
    found = []
    for i, stride in enumerate(_STRIDES):
        scores = outputs[i][:, 0]
        hit = scores >= min_score
        anchor = np.repeat(_cells(size, stride), 2, axis=0)[hit]
        distance = outputs[3 + i][hit]
        boxes = np.concatenate([anchor - distance[:, :2], anchor + distance[:, 2:]], axis=1) * stride
        landmarks = None
        if len(outputs) > 6:
            landmarks = (outputs[6 + i][hit].reshape(-1, 5, 2) + anchor[:, None]) * stride
        found.append(Candidates(boxes, scores[hit], landmarks))
    return _together(found)


def retinaface(outputs: Sequence[Float], size: Size, min_score: float) -> Candidates:
    """Read RetinaFace with priors: (priors, 4) boxes, (priors, 2) background and face, (priors, 10) landmarks.

    Deng et al., "RetinaFace: Single-shot Multi-level Face Localisation in the Wild", CVPR 2020, in the form of
    biubug6/Pytorch_Retinaface (box_utils.py: decode, decode_landm): offsets in units of the prior, scaled by variances.
    """
    box, scores, points = outputs[0], outputs[1][:, 1], outputs[2]
    hit = scores >= min_score
    centre, extent = (part[hit] for part in _priors(size))
    box, points = box[hit], points[hit].reshape(-1, 5, 2)
    middle = centre + _CENTRE_VARIANCE * box[:, :2] * extent
    landmarks = centre[:, None] + _CENTRE_VARIANCE * points * extent[:, None]
    return Candidates(_around(middle, extent * _exp(_SIZE_VARIANCE * box[:, 2:])), scores[hit], landmarks)


def yolov8_face(outputs: Sequence[Float], size: Size, min_score: float) -> Candidates:
    """Read YOLOv8 for faces: one (5, cells) or (20, cells): centre, width, height, score, five of x, y, visibility.

    All in pixels of the input, nothing left to decode (Ultralytics, Detect and Pose heads).
    """
    del size
    values = outputs[0][:, outputs[0][4] >= min_score].T
    landmarks = values[:, 5:].reshape(-1, 5, 3)[..., :2] if values.shape[1] > 5 else None
    return Candidates(_around(values[:, :2], values[:, 2:4]), values[:, 4], landmarks)


def yolov4_tiny(outputs: Sequence[Float], size: Size, min_score: float) -> Candidates:
    """Read the two raw heads of YOLOv4-tiny with one class: (18, H/32, W/32) and (18, H/16, W/16).

    For each of three anchors: x, y, log width, log height, objectness, class, before the sigmoid (Redmon and Farhadi,
    "YOLOv3", 2018; Bochkovskiy et al., "YOLOv4", 2020). The score is the product of objectness and class.
    """
    found = []
    for output, (stride, anchors) in zip(outputs, _YOLOV4_TINY, strict=True):
        values = output.reshape(3, 6, -1)
        scores = _sigmoid(values[:, 4]) * _sigmoid(values[:, 5])
        anchor, cell = np.nonzero(scores >= min_score)
        x_y, log_size = values[anchor, :2, cell], values[anchor, 2:4, cell]
        inside = _sigmoid(x_y) * _YOLOV4_STRETCH - (_YOLOV4_STRETCH - 1.0) / 2
        extent = _exp(log_size) * np.array(anchors, np.float32)[anchor]
        boxes = _around((inside + _cells(size, stride)[cell]) * stride, extent)
        found.append(Candidates(boxes, scores[anchor, cell], None))
    return _together(found)


def yolov4_tiny_points(outputs: Sequence[Float], size: Size, min_score: float) -> Candidates:
    """Read the two heads of this package's detector: (45, H/32, W/32) and (45, H/16, W/16).

    For each of three anchors: x, y, log width, log height and score as in ``yolov4_tiny``, and x and y of five
    landmarks, from the middle of the cell in units of the anchor (training/detector.py).
    """
    found = []
    for output, (stride, anchors) in zip(outputs, _FACE_ANCHORS, strict=True):
        values = output.reshape(3, 15, -1)
        scores = _sigmoid(values[:, 4])
        anchor, cell = np.nonzero(scores >= min_score)
        each = values[anchor, :, cell]
        unit, corner = np.array(anchors, np.float32)[anchor], _cells(size, stride)[cell]
        inside = _sigmoid(each[:, :2]) * _YOLOV4_STRETCH - (_YOLOV4_STRETCH - 1.0) / 2
        boxes = _around((inside + corner) * stride, _exp(each[:, 2:4]) * unit)
        points = each[:, 5:].reshape(-1, 5, 2) * unit[:, None] + ((corner + 0.5) * stride)[:, None]
        found.append(Candidates(boxes, scores[anchor, cell], points))
    return _together(found)


def yolov4_boxes(outputs: Sequence[Float], size: Size, min_score: float) -> Candidates:
    """Read YOLOv4 exported with its decoder, for one class: (N, 1, 4) left, top, right, bottom in 0..1; (N, 1) scores.

    As Tianxiaomo/pytorch-YOLOv4 exports it (``boxes`` and ``confs``).
    """
    scores = outputs[1][:, 0]
    hit = scores >= min_score
    return Candidates(outputs[0][hit, 0] * np.tile(np.array(size, np.float32), 2), scores[hit], None)


def suppress(boxes: NDArray[np.floating], scores: NDArray[np.floating], max_overlap: float) -> NDArray[np.intp]:
    """Return the indices of the boxes that overlap no better one by more than this, best first.

    boxes: (N, 4) left, top, right, bottom; scores: (N,). Overlap is intersection over union, 0 to 1. Of equal scores
    the earlier is the better.
    """
    rest = np.argsort(-scores, kind='stable')
    kept: list[np.intp] = []
    while rest.size:
        kept.append(rest[0])
        rest = rest[1:][overlaps(boxes[rest[0]], boxes[rest[1:]]) <= max_overlap]
    return np.array(kept, np.intp)


def overlaps(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N,) intersection over union of one box with others, (N, 4) left, top, right, bottom, none of them flat."""
    common = np.clip(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0, None).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    shares: NDArray[np.floating] = common / (area + (box[2:] - box[:2]).prod() - common)
    return shares


def _counts(size: Size, each: int = 1) -> list[int]:
    return [each * (size[0] // stride) * (size[1] // stride) for stride in _STRIDES]


def _grid_shapes(size: Size, anchors: int, columns: Sequence[int]) -> list[tuple[int, ...]]:
    return [(count, width) for width in columns for count in _counts(size, anchors)]


_SCRFD = Decoder(lambda size: _grid_shapes(size, 2, (1, 4, 10)), scrfd)

DECODERS: dict[str, tuple[Decoder, ...]] = {
    'yolov4_tiny': (
        Decoder(lambda size: [(18, size[1] // stride, size[0] // stride) for stride in (32, 16)], yolov4_tiny),
        Decoder(
            lambda size: [(rows := 3 * sum(size[0] // s * (size[1] // s) for s in (16, 32)), 1, 4), (rows, 1)],
            yolov4_boxes,
        ),
    ),
    'yolov4_tiny_points': (
        Decoder(lambda size: [(45, size[1] // stride, size[0] // stride) for stride in (32, 16)], yolov4_tiny_points),
    ),
    'yoloface': (
        Decoder(lambda size: [(20, sum(_counts(size)))], yolov8_face),
        Decoder(lambda size: [(5, sum(_counts(size)))], yolov8_face),
    ),
    'scrfd': (_SCRFD, Decoder(lambda size: _grid_shapes(size, 2, (1, 4)), scrfd)),
    'retinaface': (
        _SCRFD,
        Decoder(lambda size: [(sum(_counts(size, 2)), columns) for columns in (4, 2, 10)], retinaface),
    ),
    'yunet': (Decoder(lambda size: _grid_shapes(size, 1, (1, 1, 4, 10)), yunet),),
}
"""By the name in the catalogue, the layouts in which networks come; which one it is, the outputs' shapes say."""


@lru_cache(maxsize=32)
def _cells(size: Size, stride: int) -> Float:
    """(cells, 2) x and y of the cells of a grid, row by row, in cells."""
    y, x = np.indices((size[1] // stride, size[0] // stride), np.float32).reshape(2, -1)
    cells = np.stack([x, y], axis=1)
    cells.flags.writeable = False
    return cells


@lru_cache(maxsize=8)
def _priors(size: Size) -> tuple[Float, Float]:
    """(priors, 2) centres and (priors, 1) sizes, pixels."""
    centres = [np.repeat((_cells(size, stride) + 0.5) * stride, 2, axis=0) for stride in _STRIDES]
    sizes = [np.tile(_RETINAFACE_SIZES[s], len(c) // 2) for s, c in zip(_STRIDES, centres, strict=True)]
    priors = np.concatenate(centres).astype(np.float32), np.concatenate(sizes).astype(np.float32)[:, None]
    for part in priors:
        part.flags.writeable = False
    return priors


def _around(centre: Float, extent: Float) -> Float:
    """(N, 4) boxes of (N, 2) centres and sizes."""
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)


def _together(found: Sequence[Candidates]) -> Candidates:
    points = [each.landmarks for each in found if each.landmarks is not None]
    return Candidates(
        np.concatenate([each.boxes for each in found]),
        np.concatenate([each.scores for each in found]),
        np.concatenate(points) if points else None,
    )


def _exp(values: Float) -> Float:
    exp: Float = np.exp(np.minimum(values, _MAX_LOG))
    return exp


def _sigmoid(values: Float) -> Float:
    sigmoid: Float = 0.5 + 0.5 * np.tanh(0.5 * values)
    return sigmoid
