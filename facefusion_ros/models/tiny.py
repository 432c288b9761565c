"""Networks of a family's true signature with random weights, for tests and for trying a pipeline without weights.

Each has the inputs and outputs (names, types, shapes, ranges) of the published files of its family, and costs
next to nothing. What they return makes sense, so that a whole pipeline runs with them:

- a detector finds one face in the middle of any picture (``FACE_BOX`` and ``FACE_POINTS`` of the input's size);
- landmarks are those of a face that fills its crop;
- a swapper returns its target slightly blurred and tinted by the source; an enhancer sharpens;
- a mask is an ellipse;
- a background is enlarged and sharpened.

The weights are drawn from the seed: the same seed writes the same file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Array = NDArray[Any]

OPSET = 17
FACE_BOX = (0.35, 0.3, 0.3, 0.4)
"""Left, top, width and height of the face that every detector finds, in units of the input's width and height."""
FACE_POINTS = ((0.43, 0.45), (0.57, 0.45), (0.5, 0.53), (0.44, 0.61), (0.56, 0.61))
"""Its five landmarks (x, y): left eye, right eye, nose, left and right mouth corner as seen in the picture."""
FACE_SCORE = 0.96


@dataclass
class _Graph:
    """A graph under construction."""

    rng: np.random.Generator
    metadata: dict[str, str] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def input(self, name: str, *shape: int | str, dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, value: str, name: str, *shape: int | str) -> None:
        self.nodes.append(helper.make_node('Identity', [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def weight(self, values: object, name: str = '', dtype: Any = np.float32) -> str:  # noqa: ANN401 - as numpy takes it
        name = name or f'w{len(self.weights)}'
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - as ONNX takes them
        value = f't{len(self.nodes)}'
        self.nodes.append(helper.make_node(kind, list(inputs), [value], **attributes))
        return value

    def faint(self, picture: str) -> str:
        """Return a scalar between -1e-3 and 1e-3 that depends on the picture: it is read, and hardly matters."""
        gain = self.weight([self.rng.uniform(0.1, 1.0)])
        mean = self.op('Reshape', self.op('ReduceMean', picture), self.weight([1], dtype=np.int64))
        return self.op('Mul', self.op('Tanh', self.op('Mul', mean, gain)), self.weight([1e-3]))

    def constant(self, values: Array, picture: str) -> str:
        """Return fixed values of any shape, moved faintly by the picture."""
        return self.op('Add', self.weight(values), self.faint(picture))


def family_names() -> tuple[str, ...]:
    """Names of the families that can be written."""
    return tuple(_BUILDERS)


def write_tiny(family_name: str, path: Path, seed: int = 0) -> None:
    """Write a tiny ONNX network of a family's signature; raises FacefusionError for a name that is not known."""
    if family_name not in _BUILDERS:
        raise FacefusionError(f'no family is named {family_name!r}; known: {", ".join(_BUILDERS)}')
    graph = _Graph(np.random.default_rng([seed, len(family_name), *family_name.encode()]))
    _BUILDERS[family_name](graph)
    proto = helper.make_graph(graph.nodes, family_name, graph.inputs, graph.outputs, graph.weights)
    # IR version 8 is what ONNX Runtime 1.18 and TensorRT 10 read.
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=8)
    model.producer_name = 'facefusion_ros tiny'
    helper.set_model_props(model, graph.metadata)
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path))


# Detectors: fixed answers, encoded as each family encodes them.


def _face(width: int, height: int) -> tuple[float, float, float, float, NDArray[np.float64]]:
    """Centre, size and landmarks (5, 2) of the face, pixels of the input."""
    x, y, w, h = FACE_BOX
    points = np.array(FACE_POINTS) * (width, height)
    return (x + w / 2) * width, (y + h / 2) * height, w * width, h * height, points


def _cell(x: float, y: float, stride: int) -> tuple[int, int]:
    """Row and column of the cell of a grid in which a point lies."""
    return int(y // stride), int(x // stride)


def _noise(graph: _Graph, *shape: int, scale: float = 0.01) -> NDArray[np.float32]:
    return (graph.rng.uniform(0.0, scale, shape)).astype(np.float32)


def _yolov4_tiny(graph: _Graph) -> None:
    _two_heads(graph, (135.0, 169.0), points=False)


def _yolov4_tiny_points(graph: _Graph) -> None:
    _two_heads(graph, (125.0, 155.0), points=True)


def _two_heads(graph: _Graph, anchor: tuple[float, float], *, points: bool) -> None:
    width = height = 416
    picture = graph.input('input', 1, 3, height, width)
    cx, cy, w, h, marks = _face(width, height)
    stride, sure = 32, np.log(FACE_SCORE / (1 - FACE_SCORE))
    row, column = _cell(cx, cy, stride)
    for name, step in (('head_32', 32), ('head_16', 16)):
        rows, columns = height // step, width // step
        head = _noise(graph, 1, 3, 15 if points else 6, rows, columns)
        head[:, :, 4] -= 8.0
        if step == stride:
            inside = (np.array([cx / stride - column, cy / stride - row]) + 0.025) / 1.05
            head[0, 1, :2, row, column] = np.log(inside / (1 - inside))
            head[0, 1, 2:4, row, column] = np.log(np.array([w, h]) / anchor)
            middle = (np.array([column, row]) + 0.5) * stride
            head[0, 1, 4, row, column] = sure
            head[0, 1, 5:, row, column] = ((marks - middle) / anchor).ravel() if points else 8.0
        head = head.reshape(1, -1, rows, columns)
        graph.output(graph.constant(head, picture), name, *head.shape)


def _yoloface(graph: _Graph, size: int = 640) -> None:
    picture = graph.input('images', 1, 3, size, size)
    count = sum((size // s) ** 2 for s in (8, 16, 32))
    cx, cy, w, h, points = _face(size, size)
    rows = _noise(graph, 20, count)
    row, column = _cell(cx, cy, 32)
    at = count - (size // 32) ** 2 + row * (size // 32) + column
    rows[:5, at] = cx, cy, w, h, FACE_SCORE
    rows[5:, at] = np.column_stack([points, np.full(5, 0.9)]).ravel()
    graph.output(graph.constant(rows[None], picture), 'output0', 1, 20, count)


def _scrfd(graph: _Graph, size: int = 640) -> None:
    picture = graph.input('input.1', 1, 3, size, size)
    cx, cy, w, h, points = _face(size, size)
    groups: list[list[Array]] = [[], [], []]
    for stride in (8, 16, 32):
        cells = size // stride
        scores, boxes, marks = (_noise(graph, cells * cells * 2, width) for width in (1, 4, 10))
        if stride == 32:
            row, column = _cell(cx, cy, stride)
            at = (row * cells + column) * 2
            anchor = np.array([column, row]) * stride
            left_top, right_bottom = np.array([cx - w / 2, cy - h / 2]), np.array([cx + w / 2, cy + h / 2])
            scores[at] = FACE_SCORE
            boxes[at] = np.concatenate([anchor - left_top, right_bottom - anchor]) / stride
            marks[at] = ((points - anchor) / stride).ravel()
        for group, values in zip(groups, (scores, boxes, marks), strict=True):
            group.append(values)
    # det_10g's own names: they say nothing, which is why outputs are told apart by their shapes.
    names = iter(('448', '471', '494', '451', '474', '497', '454', '477', '500'))
    for group in groups:
        for values in group:
            graph.output(graph.constant(values, picture), next(names), *values.shape)


def _retinaface(graph: _Graph, size: int = 640) -> None:
    picture = graph.input('input', 1, 3, size, size)
    cx, cy, w, h, points = _face(1, 1)
    stride, sides = 32, (256, 512)
    count = sum(2 * (size // s) ** 2 for s in (8, 16, 32))
    loc, conf, landms = (_noise(graph, count, width) for width in (4, 2, 10))
    conf[:, 0] = 1 - conf[:, 1]
    cells = size // stride
    row, column = _cell(cx * size, cy * size, stride)
    at = count - 2 * cells * cells + 2 * (row * cells + column)
    prior = (np.array([column, row]) + 0.5) * stride / size
    side = sides[0] / size
    loc[at] = *((np.array([cx, cy]) - prior) / (0.1 * side)), *(np.log(np.array([w, h]) / side) / 0.2)
    conf[at] = 1 - FACE_SCORE, FACE_SCORE
    landms[at] = ((points - prior) / (0.1 * side)).ravel()
    for name, values in (('loc', loc), ('conf', conf), ('landms', landms)):
        graph.output(graph.constant(values[None], picture), name, 1, *values.shape)


def _yunet(graph: _Graph, size: int = 640) -> None:
    picture = graph.input('input', 1, 3, size, size)
    cx, cy, w, h, points = _face(size, size)
    found: dict[str, Array] = {}
    for stride in (8, 16, 32):
        cells = size // stride
        cls, obj, bbox, kps = (_noise(graph, cells * cells, width) for width in (1, 1, 4, 10))
        if stride == 32:
            row, column = _cell(cx, cy, stride)
            anchor = np.array([column, row]) * stride
            at = row * cells + column
            cls[at] = obj[at] = FACE_SCORE
            bbox[at] = *((np.array([cx, cy]) - anchor) / stride), *np.log(np.array([w, h]) / stride)
            kps[at] = ((points - anchor) / stride).ravel()
        found |= {f'cls_{stride}': cls, f'obj_{stride}': obj, f'bbox_{stride}': bbox, f'kps_{stride}': kps}
    for kind in ('cls', 'obj', 'bbox', 'kps'):
        for stride in (8, 16, 32):
            values = found[f'{kind}_{stride}'][None]
            graph.output(graph.constant(values, picture), f'{kind}_{stride}', *values.shape)


# Landmarks: a rough face that fills the crop, in units of the crop.


def _arc(count: int, centre: tuple[float, float], radii: tuple[float, float], start: float, end: float) -> Array:
    """Points on an ellipse from one angle to another, degrees, clockwise from the right as seen in the picture."""
    angles = np.radians(np.linspace(start, end, count))
    return np.column_stack([np.cos(angles), np.sin(angles)]) * radii + centre


def _ring(count: int, centre: tuple[float, float], radii: tuple[float, float]) -> Array:
    """Points around a closed ellipse, from its left end over the top."""
    return _arc(count + 1, centre, radii, 180, 540)[:-1]


def _line(count: int, start: tuple[float, float], end: tuple[float, float]) -> Array:
    return np.linspace(start, end, count)


LEFT_EYE, RIGHT_EYE, NOSE, MOUTH = (0.35, 0.42), (0.65, 0.42), (0.5, 0.58), (0.5, 0.74)


def _points_68() -> Array:
    """Points in the order of iBUG 300-W."""
    return np.concatenate([
        _arc(17, (0.5, 0.45), (0.38, 0.48), 180, 0),
        _arc(5, (0.34, 0.36), (0.11, 0.06), 180, 360),
        _arc(5, (0.66, 0.36), (0.11, 0.06), 180, 360),
        _line(4, (0.5, 0.42), (0.5, 0.58)),
        _line(5, (0.43, 0.62), (0.57, 0.62)),
        _ring(6, LEFT_EYE, (0.06, 0.03)),
        _ring(6, RIGHT_EYE, (0.06, 0.03)),
        _ring(12, MOUTH, (0.13, 0.06)),
        _ring(8, MOUTH, (0.1, 0.02)),
    ])  # fmt: skip


def _points_98() -> Array:
    """Points in the order of WFLW."""
    return np.concatenate([
        _arc(33, (0.5, 0.45), (0.38, 0.48), 180, 0),
        _ring(9, (0.34, 0.32), (0.11, 0.03)),
        _ring(9, (0.66, 0.32), (0.11, 0.03)),
        _line(4, (0.5, 0.42), (0.5, 0.58)),
        _line(5, (0.43, 0.62), (0.57, 0.62)),
        _ring(8, LEFT_EYE, (0.06, 0.03)),
        _ring(8, RIGHT_EYE, (0.06, 0.03)),
        _ring(12, MOUTH, (0.13, 0.06)),
        _ring(8, MOUTH, (0.1, 0.02)),
        np.array([LEFT_EYE, RIGHT_EYE]),
    ])  # fmt: skip


def _points_106() -> Array:
    """Points in the order of InsightFace's 2d106det: pupils 38 and 88, nose 86, corners of the mouth 52 and 61."""
    left_eye, right_eye = (_ring(9, eye, (0.06, 0.03)) for eye in (LEFT_EYE, RIGHT_EYE))
    return np.concatenate([
        _arc(33, (0.5, 0.45), (0.38, 0.48), 180, 0),
        np.insert(left_eye, 5, LEFT_EYE, axis=0),
        _ring(9, (0.34, 0.32), (0.11, 0.03)),
        _ring(18, MOUTH, (0.13, 0.06)),
        _line(2, (0.46, 0.74), (0.54, 0.74)),
        _line(14, (0.43, 0.62), (0.57, 0.62)),
        np.array([NOSE]),
        np.insert(right_eye, 1, RIGHT_EYE, axis=0),
        _ring(9, (0.66, 0.32), (0.11, 0.03)),
    ])  # fmt: skip


def _landmarks_68(graph: _Graph) -> None:
    picture = graph.input('picture', 1, 3, 128, 128)
    marks = np.column_stack([_points_68(), np.full(68, 4.0)])
    graph.output(graph.constant(marks[None], picture), 'points', 1, 68, 3)
    graph.output(graph.constant(np.full((1, 1), 5.0), picture), 'face', 1, 1)


def _fan(graph: _Graph) -> None:
    picture = graph.input('input', 1, 3, 256, 256)
    points = _points_68() * 64
    y, x = np.mgrid[:64, :64]
    distance = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    marks = np.column_stack([points, np.full(68, 0.85)])
    graph.output(graph.constant(marks[None], picture), 'landmarks_xyscore', 1, 68, 3)
    heatmaps = 0.85 * np.exp(-distance / 2)[None]
    graph.output(graph.constant(heatmaps, picture), 'heatmaps', 1, 68, 64, 64)


def _pfld(points: Callable[[], Array]) -> Callable[[_Graph], None]:
    def build(graph: _Graph) -> None:
        picture = graph.input('input', 1, 3, 112, 112)
        values = points().reshape(1, -1)
        graph.output(graph.constant(values, picture), 'output', *values.shape)

    return build


# Recognition and identity.


def _arcface(graph: _Graph) -> None:
    picture = graph.input('input.1', 'None', 3, 112, 112)
    pooled = graph.op('AveragePool', picture, kernel_shape=[14, 14], strides=[14, 14])
    flat = graph.op('Flatten', pooled)
    graph.output(graph.op('MatMul', flat, graph.weight(graph.rng.normal(0, 1, (192, 512)))), '683', 'None', 512)


def _crossface(graph: _Graph) -> None:
    vector = graph.input('input', 1, 512)
    graph.output(graph.op('MatMul', vector, graph.weight(graph.rng.normal(0, 512**-0.5, (512, 512)))), 'output', 1, 512)


# Swappers.


def _tinted(graph: _Graph, target: str, source: str, tint: float, low: float) -> str:
    """Return the target blurred, with a colour from the source, limited to the range from low to 1."""
    kernel = np.full((3, 1, 3, 3), 1 / 9)
    soft = graph.op('Conv', target, graph.weight(kernel), pads=[1, 1, 1, 1], group=3)
    colour = graph.op('Mul', graph.op('Tanh', source), graph.weight([tint]))
    return graph.op('Clip', graph.op('Add', soft, colour), graph.weight(low), graph.weight(1.0))


def _colour_of_vector(graph: _Graph, vector: str) -> str:
    """(1, 512) to (1, 3, 1, 1)."""
    three = graph.op('MatMul', vector, graph.weight(graph.rng.normal(0, 1, (512, 3))))
    return graph.op('Reshape', three, graph.weight([1, 3, 1, 1], dtype=np.int64))


def _inswapper(graph: _Graph) -> None:
    target, source = graph.input('target', 1, 3, 128, 128), graph.input('source', 1, 512)
    graph.output(_tinted(graph, target, _colour_of_vector(graph, source), 0.1, 0.0), 'output', 1, 3, 128, 128)
    # The identity projection is a weight that no node uses, and in the published fp16 file it is not the last one.
    graph.weight(graph.rng.normal(0, 512**-0.5, (512, 512)), 'buff2fs')
    graph.weight(np.ones((32, 32)), '_ln_scale_32x32')


def _swapper(size: int, low: float, *, denormalise: bool = False) -> Callable[[_Graph], None]:
    def build(graph: _Graph) -> None:
        source, target = graph.input('source', 1, 512), graph.input('target', 1, 3, size, size)
        if denormalise:
            std = graph.weight(np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1))
            mean = graph.weight(np.array([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
            target = graph.op('Add', graph.op('Mul', target, std), mean)
        colour = _colour_of_vector(graph, source)
        graph.output(_tinted(graph, target, colour, 0.1, low), 'output', 1, 3, size, size)

    return build


def _ellipse(size: int) -> NDArray[np.float64]:
    """1 in the middle of the crop, 0 at its border, with a soft edge; (size, size)."""
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) / (size / 2)
    return np.clip((0.9 - np.hypot(x / 0.8, y)) * 8, 0, 1)  # type: ignore[no-any-return]  # older numpy types say Any


def _hyperswap(graph: _Graph) -> None:
    _swapper(256, -1.0)(graph)
    graph.output(graph.constant(_ellipse(256)[None, None], 'target'), 'mask', 1, 1, 256, 256)


def _image_swapper(source_size: int, low: float) -> Callable[[_Graph], None]:
    def build(graph: _Graph) -> None:
        source, target = graph.input('source', 1, 3, source_size, source_size), graph.input('target', 1, 3, 256, 256)
        colour = graph.op('GlobalAveragePool', source)
        graph.output(_tinted(graph, target, colour, 0.1, low), 'output', 1, 3, 256, 256)

    return build


PERSONAS = ('porcelain', 'obsidian', 'jade')
"""Whom the tiny persona_swapper shows: each in a colour of its own."""


def _persona_swapper(graph: _Graph) -> None:
    graph.metadata['personas'] = ', '.join(PERSONAS)
    picture, persona = graph.input('picture', 1, 3, 256, 256), graph.input('persona', 1, len(PERSONAS))
    colours = graph.weight(graph.rng.normal(0, 0.1, (len(PERSONAS), 3)) + np.eye(len(PERSONAS)))
    colour = graph.op('MatMul', persona, colours)
    colour = graph.op('Reshape', colour, graph.weight([1, 3, 1, 1], dtype=np.int64))
    graph.output(_tinted(graph, picture, colour, 0.15, 0.0), 'swapped', 1, 3, 256, 256)
    graph.output(graph.constant(_ellipse(256)[None, None], picture), 'mask', 1, 1, 256, 256)


def _dfm(graph: _Graph, size: int = 224) -> None:
    face, morph = graph.input('in_face:0', 'N', size, size, 3), graph.input('morph_value:0', 1)
    mask = graph.constant(_ellipse(size)[None, :, :, None], face)
    graph.output(mask, 'out_face_mask:0', 'N', size, size, 1)
    colour = graph.op('Mul', morph, graph.weight(graph.rng.uniform(0, 0.2, 3)))
    celebrity = graph.op('Clip', graph.op('Add', face, colour), graph.weight(0.0), graph.weight(1.0))
    graph.output(celebrity, 'out_celeb_face:0', 'N', size, size, 3)
    graph.output(mask, 'out_celeb_face_mask:0', 'N', size, size, 1)


# Enhancers.


def _sharpened(graph: _Graph, picture: str, amount: str) -> str:
    kernel = np.full((3, 1, 3, 3), -1 / 9)
    kernel[:, :, 1, 1] += 1
    detail = graph.op('Conv', picture, graph.weight(kernel), pads=[1, 1, 1, 1], group=3)
    return graph.op(
        'Clip', graph.op('Add', picture, graph.op('Mul', detail, amount)), graph.weight(-1.0), graph.weight(1.0)
    )


def _enhancer(size: int, output: str = 'output') -> Callable[[_Graph], None]:
    def build(graph: _Graph) -> None:
        picture = graph.input('input', 1, 3, size, size)
        amount = graph.weight([graph.rng.uniform(0.4, 0.6)])
        graph.output(_sharpened(graph, picture, amount), output, 1, 3, size, size)

    return build


def _face_restorer(graph: _Graph) -> None:
    picture, fidelity = graph.input('picture', 1, 3, 256, 256), graph.input('fidelity', 1, 1)
    amount = graph.op('Reshape', fidelity, graph.weight([1], dtype=np.int64))
    amount = graph.op('Mul', graph.op('Sub', graph.weight([1.0]), amount), graph.weight([graph.rng.uniform(0.9, 1.0)]))
    graph.output(_sharpened(graph, picture, amount), 'restored', 1, 3, 256, 256)


def _codeformer(size: int) -> Callable[[_Graph], None]:
    def build(graph: _Graph) -> None:
        picture = graph.input('input', 1, 3, size, size)
        weight = graph.input('weight', 1, dtype=TensorProto.DOUBLE)
        # A small weight restores more, a large one keeps more of what is there.
        amount = graph.op('Sub', graph.weight([1.0]), graph.op('Cast', weight, to=TensorProto.FLOAT))
        graph.output(_sharpened(graph, picture, amount), 'output', 1, 3, size, size)

    return build


# Masks.


def _xseg(graph: _Graph) -> None:
    picture = graph.input('input', 1, 256, 256, 3)
    graph.output(graph.constant(_ellipse(256)[None, :, :, None], picture), 'output', 1, 256, 256, 1)


def _bisenet(graph: _Graph) -> None:
    picture = graph.input('input', 1, 3, 512, 512)
    kinds = _noise(graph, 1, 19, 1, 1)
    skin = np.zeros((1, 19, 1, 1))
    skin[0, 1] = 4
    logits = graph.op('Mul', graph.weight(_ellipse(512)[None, None] - 0.5), graph.weight(skin))
    logits = graph.op('Add', logits, graph.constant(kinds, picture))
    graph.output(logits, 'output', 1, 19, 512, 512)


# Backgrounds.


def _larger(times: int) -> Callable[[_Graph], None]:
    """Make each pixel ``times`` as wide and high, interpolated and slightly sharpened, by the layers of SRVGGNet."""
    at = (np.arange(times) + 0.5) / times - 0.5
    # Of the row before, this row and the next, for each of the rows that it becomes.
    taps = np.stack([np.maximum(-at, 0), 1 - np.abs(at), np.maximum(at, 0)], axis=1)
    kernels = np.einsum('ay,bx->abyx', taps, taps)

    def build(graph: _Graph) -> None:
        # As the published export has it: what goes in and what comes out are of one name, not of one size.
        shape = ('batch_size', 3, 'height', 'width')
        picture = graph.input('input', *shape)
        sharp = np.full((3, 3), -1 / 9)
        sharp[1, 1] += 1
        kernel = (kernels + graph.rng.uniform(0.1, 0.2) * sharp).reshape(times * times, 1, 3, 3)
        pixels = graph.op('Conv', picture, graph.weight(np.tile(kernel, (3, 1, 1, 1))), pads=[1, 1, 1, 1], group=3)
        graph.output(graph.op('DepthToSpace', pixels, blocksize=times, mode='CRD'), 'output', *shape)

    return build


_BUILDERS: dict[str, Callable[[_Graph], None]] = {
    'yolov4_tiny': _yolov4_tiny,
    'yolov4_tiny_points': _yolov4_tiny_points,
    'yoloface': _yoloface,
    'scrfd': _scrfd,
    'retinaface': _retinaface,
    'yunet': _yunet,
    '2dfan4': _fan,
    'landmarks_68': _landmarks_68,
    'pfld_68': _pfld(_points_68),
    'pfld_98': _pfld(_points_98),
    'pfld_106': _pfld(_points_106),
    'arcface': _arcface,
    'crossface': _crossface,
    'inswapper': _inswapper,
    'hyperswap': _hyperswap,
    'ghost': _swapper(256, -1.0),
    'simswap': _swapper(256, 0.0, denormalise=True),
    'simswap_512': _swapper(512, 0.0),
    'hififace': _swapper(256, -1.0),
    'uniface': _image_swapper(256, -1.0),
    'blendswap': _image_swapper(112, 0.0),
    'persona_swapper': _persona_swapper,
    'dfm': _dfm,
    'codeformer': _codeformer(512),
    'codeformer_256': _codeformer(256),
    'face_restorer': _face_restorer,
    'gfpgan': _enhancer(512),
    'gpen': _enhancer(512),
    'gpen_256': _enhancer(256),
    'restoreformer': _enhancer(512, '2359'),
    'xseg': _xseg,
    'bisenet': _bisenet,
    'real_esrgan_x2': _larger(2),
    'real_esrgan_x4': _larger(4),
}
