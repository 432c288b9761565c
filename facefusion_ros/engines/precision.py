"""Half precision for a network: the ONNX file itself says which tensors are float16, so every engine obeys it.

What stays float32, and why:

* statistics of normalisations, and the squares that they sum: the sum of a large map passes 65504, an epsilon of 1e-8
  is 0 in float16 (least positive value 2**-24);
* demodulation of StyleGAN-like weights, 1 / sqrt(sum(w**2) + 1e-8) (Karras et al., "Analyzing and Improving the Image
  Quality of StyleGAN", CVPR 2020, section 2.2): for both reasons;
* softmax, and everything between the last product and an ArgMin, ArgMax or TopK: a rounding there picks another code,
  which is another picture, not a slightly different one; the codes looked up stay exact too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from facefusion_ros.engines import graph as onnx_graph

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

FLOAT, HALF = int(onnx.TensorProto.FLOAT), int(onnx.TensorProto.FLOAT16)
HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class RangeLoss:
    """A constant with values that float16 cannot hold."""

    tensor: str
    overflow: int
    """Finite values that would become infinite."""
    underflow: int
    """Values other than 0 that would become 0."""
    values: int
    """All values of the tensor."""


@dataclass(frozen=True, slots=True)
class Fp16Report:
    """What a conversion did."""

    halved: int
    """Nodes that compute in float16."""
    kept: tuple[tuple[str, str], ...]
    """Nodes that stay float32, each with the reason."""
    losses: tuple[RangeLoss, ...]
    """Constants out of range. Those with an overflow, and single numbers that would be 0, stay float32."""


_STATISTICS = frozenset(
    (
        'BatchNormalization',
        'GroupNormalization',
        'InstanceNormalization',
        'LayerNormalization',
        'LpNormalization',
        'MeanVarianceNormalization',
        'RMSNormalization',
        'GlobalAveragePool',
        'GlobalLpPool',
        'CumSum',
        'ReduceL1',
        'ReduceL2',
        'ReduceLogSum',
        'ReduceLogSumExp',
        'ReduceMean',
        'ReduceProd',
        'ReduceSum',
        'ReduceSumSquare',
    )
)
_SOFTMAX = frozenset(('Softmax', 'LogSoftmax', 'Hardmax'))
_ROOTS = frozenset(('Sqrt', 'Reciprocal', 'Exp', 'Log'))
_PICKS = frozenset(('ArgMin', 'ArgMax', 'TopK'))
_LOOK_UPS = frozenset(('Gather', 'GatherElements', 'GatherND'))
_ONE_HOT = frozenset(('OneHot', 'ScatterElements', 'ScatterND', 'Scatter'))
_PRODUCTS = frozenset(('MatMul', 'Gemm', 'Einsum'))
_MOVES = frozenset(
    (
        'Concat',
        'Expand',
        'Flatten',
        'Identity',
        'Reshape',
        'Slice',
        'Split',
        'Squeeze',
        'Transpose',
        'Unsqueeze',
        'Tile',
        'Pad',
        'Dropout',
    )
)
_ELEMENTWISE = frozenset(
    (
        'Add',
        'Sub',
        'Mul',
        'Div',
        'Neg',
        'Abs',
        'Pow',
        'Min',
        'Max',
        'Clip',
        'Sum',
        'Mean',
    )
)
_TYPED_BY_ATTRIBUTE = frozenset(
    (
        'Cast',
        'CastLike',
        'ConstantOfShape',
        'EyeLike',
        'RandomNormal',
        'RandomNormalLike',
        'RandomUniform',
        'RandomUniformLike',
        'Bernoulli',
        'Multinomial',
        'BlackmanWindow',
        'HammingWindow',
        'HannWindow',
    )
)
_ANY_TYPE = frozenset(('Shape', 'Size'))


def to_fp16(
    model: onnx.ModelProto,
    *,
    keep_io: bool = True,
    keep: Collection[str] = (),
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[onnx.ModelProto, Fp16Report]:
    """Convert weights and activations to float16, with a Cast wherever the two precisions meet.

    keep_io leaves the inputs and outputs of the network float32. keep names nodes or operators that stay float32.
    ranges, by tensor, are least and greatest values seen (see ``calibration.activation_ranges``): a node that makes or
    takes a larger number than float16 has stays float32. The model given is not changed. Raises EngineError.
    """
    converted = onnx_graph.prepared(model)
    return converted, _Conversion(converted, keep_io=keep_io, keep=keep, ranges=ranges or {}).apply()


def range_losses(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, RangeLoss]:
    """Find the float32 constants that float16 cannot hold, by name."""
    losses = {}
    for name, array in arrays.items():
        if array.dtype != np.float32 or not array.size:
            continue
        with np.errstate(over='ignore'):
            half = array.astype(np.float16)
        overflow = int(np.count_nonzero(np.isinf(half) & np.isfinite(array)))
        underflow = int(np.count_nonzero((half == 0) & (array != 0)))
        if overflow or underflow:
            losses[name] = RangeLoss(name, overflow, underflow, int(array.size))
    return losses


class _Sensitive:
    """Which nodes need float32 for what they compute, with the reason by index."""

    def __init__(self, graph: onnx.GraphProto, constants: Mapping[str, NDArray[np.generic]]) -> None:
        self._nodes = graph.node
        self._constants = constants
        self._made_by = onnx_graph.producers(graph)
        self._taken_by = onnx_graph.consumers(graph)
        self.reasons: dict[int, str] = {}
        for index, node in enumerate(graph.node):
            self._judge(index, node)

    def _keep(self, index: int, reason: str) -> None:
        self.reasons.setdefault(index, reason)

    def _makers(self, index: int) -> list[int]:
        return [self._made_by[name] for name in self._nodes[index].input if name in self._made_by]

    def _judge(self, index: int, node: onnx.NodeProto) -> None:
        if node.op_type in _STATISTICS:
            self._keep(index, 'statistics')
            self._squares(index, 'statistics')
        elif node.op_type in _SOFTMAX:
            self._keep(index, 'softmax')
        elif node.op_type in _PICKS:
            self._keep(index, 'code look-up')
            self._before_pick(index)
        elif self._looks_up(index, node):
            self._keep(index, 'code look-up')
        elif node.op_type in _ROOTS or self._is_root(node):
            self._root(index)

    def _looks_up(self, index: int, node: onnx.NodeProto) -> bool:
        """Whether it takes rows of a constant, by index or by a product with a one-hot matrix."""
        if node.op_type in _LOOK_UPS:
            return node.input[0] in self._constants
        return node.op_type in _PRODUCTS and any(self._nodes[m].op_type in _ONE_HOT for m in self._makers(index))

    def _is_root(self, node: onnx.NodeProto) -> bool:
        """Whether it is Pow with a negative or broken exponent, such as -0.5, or one that is not known."""
        if node.op_type != 'Pow':
            return False
        exponent = self._constants.get(node.input[1])
        return exponent is None or not bool(np.all(np.asarray(exponent, np.float64) >= 1.0))

    def _root(self, index: int) -> None:
        reason = 'root or quotient of statistics'
        self._keep(index, reason)
        for maker in self._makers(index):
            if self._nodes[maker].op_type in {'Add', 'Max', 'Clip'}:  # the epsilon
                self._keep(maker, reason)
        for name in self._nodes[index].output:
            for taker in self._taken_by.get(name, ()):
                if self._nodes[taker].op_type in {'Div', 'Mul', 'Reciprocal'}:
                    self._keep(taker, reason)

    def _squares(self, index: int, reason: str) -> None:
        """Keep the square under a sum, and the centring or the modulation of weights under the square."""
        for square in self._makers(index):
            node = self._nodes[square]
            if node.op_type == 'Pow' or (node.op_type == 'Mul' and node.input[0] == node.input[1]):
                self._keep(square, reason)
                for inner in self._makers(square):
                    if self._nodes[inner].op_type in {'Sub', 'Mul', 'Div'}:
                        self._keep(inner, reason)

    def _before_pick(self, index: int) -> None:
        """Keep what a pick compares, up to the product that made it."""
        waiting, seen = self._makers(index), set()
        while waiting:
            maker = waiting.pop()
            if maker in seen:
                continue
            seen.add(maker)
            kind = self._nodes[maker].op_type
            if kind in _PRODUCTS:
                self._keep(maker, 'code look-up')
            elif kind in _ELEMENTWISE | _MOVES | _STATISTICS | _SOFTMAX | _ROOTS:
                self._keep(maker, 'code look-up')
                waiting += self._makers(maker)


class _Conversion:
    """One graph on its way to float16; changed in place."""

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        keep_io: bool,
        keep: Collection[str],
        ranges: Mapping[str, tuple[float, float]],
    ) -> None:
        self._graph = model.graph
        self._opsets = onnx_graph.opsets(model)
        self._io = FLOAT if keep_io else HALF
        self._types = onnx_graph.element_types(self._graph)
        self._constants = onnx_graph.initializers(self._graph)
        self._losses = range_losses(self._constants)
        self._pinned = {name for node in self._graph.node for name in onnx_graph.captured(node)}
        self._kept = self._choose(keep, ranges)
        self._fresh = onnx_graph.FreshNames(self._graph)
        self._native: dict[str, int] = {}
        """Type in which each float tensor is made."""
        self._made_as: dict[str, str] = {}
        """Name under which an output of the network is made, where it still has to be cast."""
        self._other: dict[str, str] = {}
        """The same tensor in the other of the two types."""
        self._nodes: list[onnx.NodeProto] = []

    # Which nodes

    def _choose(self, keep: Collection[str], ranges: Mapping[str, tuple[float, float]]) -> dict[int, str]:
        """Reasons of the nodes that stay float32, by index."""
        large = {name for name, (low, high) in ranges.items() if max(-low, high) > HALF_MAX}
        # Of a tensor of weights, values too small for float16 hardly matter; a single number may be a divisor.
        fixed = {name for name, loss in self._losses.items() if loss.overflow or loss.values == 1}
        kept = _Sensitive(self._graph, self._constants).reasons
        for index, node in enumerate(self._graph.node):
            tensors = {*node.input, *node.output}
            if not tensors - {''} <= self._types.keys():
                kept.setdefault(index, 'types not known')
            elif not any(self._is_float(name) for name in tensors):
                continue
            elif not self._allows_half(node):
                kept.setdefault(index, 'no float16 form')
            elif node.name in keep or node.op_type in keep:
                kept.setdefault(index, 'as asked')
            elif tensors & large:
                kept.setdefault(index, 'values seen beyond float16')
            elif tensors & fixed:
                kept.setdefault(index, 'constant beyond float16')
            elif tensors & self._pinned:
                kept.setdefault(index, 'used in a branch or loop')
        self._extend_over_moves(kept)
        return kept

    def _extend_over_moves(self, kept: dict[int, str]) -> None:
        """Keep a node that only moves numbers, where they come from float32 and go to float32."""
        made_by, taken_by = onnx_graph.producers(self._graph), onnx_graph.consumers(self._graph)
        changed = True
        while changed:
            changed = False
            for index, node in enumerate(self._graph.node):
                if index in kept or node.op_type not in _MOVES:
                    continue
                takers = [taker for name in node.output for taker in taken_by.get(name, ())]
                if made_by.get(node.input[0]) in kept and takers and all(taker in kept for taker in takers):
                    kept[index] = 'between float32 nodes'
                    changed = True

    def _allows_half(self, node: onnx.NodeProto) -> bool:
        if node.op_type in _TYPED_BY_ATTRIBUTE or any(onnx_graph.subgraphs(node)):
            return False
        schema = self._schema(node)
        if schema is None:
            return False
        return all(
            _formal_type(schema, schema.inputs, place) != 'other'
            for place, name in enumerate(node.input)
            if self._is_float(name)
        ) and all(
            _formal_type(schema, schema.outputs, place) == 'half'
            for place, name in enumerate(node.output)
            if self._is_float(name)
        )

    def _schema(self, node: onnx.NodeProto) -> onnx.defs.OpSchema | None:
        domain = '' if node.domain == 'ai.onnx' else node.domain
        try:
            return onnx.defs.get_schema(node.op_type, self._opsets.get(domain, 1), domain)
        except onnx.defs.SchemaError:
            return None

    def _is_float(self, name: str) -> bool:
        return self._types.get(name) == FLOAT

    # The new graph

    def apply(self) -> Fp16Report:
        """Rewrite the graph."""
        graph = self._graph
        outputs = {value.name for value in graph.output}
        for value in graph.input:
            if self._is_float(value.name):
                self._native[value.name] = FLOAT if value.name in self._pinned else self._io
                value.type.tensor_type.elem_type = self._native[value.name]
        kept = tuple(
            (onnx_graph.label(node), self._kept[index])
            for index, node in enumerate(graph.node)
            if index in self._kept and any(self._is_float(name) for name in (*node.input, *node.output))
        )
        halved = 0
        for index, node in enumerate(graph.node):
            half = index not in self._kept
            halved += half and any(self._is_float(name) for name in node.output)
            self._take_inputs(node, half=half)
            for place, name in enumerate(node.output):
                if self._is_float(name):
                    self._native[name] = HALF if half else FLOAT
                    if name in outputs and self._native[name] != self._io:
                        node.output[place] = self._made_as[name] = self._fresh(f'{name}_before_cast')
            self._nodes.append(node)
        for value in graph.output:
            if value.name in self._native:
                value.type.tensor_type.elem_type = self._io
                self._as(value.name, self._io)
        for value in graph.value_info:
            if value.name in self._native:
                value.type.tensor_type.elem_type = self._native[value.name]
        onnx_graph.set_nodes(graph, self._nodes)
        self._store_constants()
        return Fp16Report(halved, kept, tuple(self._losses.values()))

    def _take_inputs(self, node: onnx.NodeProto, *, half: bool) -> None:
        schema = self._schema(node)
        for place, name in enumerate(node.input):
            if not self._is_float(name):
                continue
            if node.op_type in _ANY_TYPE:
                node.input[place] = self._made_as.get(name, name)
                continue
            # Such as the scales of Resize, which are float32 whatever is resized.
            accepts = schema is not None and _formal_type(schema, schema.inputs, place) == 'half'
            node.input[place] = self._as(name, HALF if half and accepts else FLOAT)

    def _as(self, name: str, wanted: int) -> str:
        """Name of the tensor in the wanted type; a Cast is added where there is none yet."""
        if self._native.get(name, FLOAT) == wanted:
            return self._made_as.get(name, name)
        if name not in self._other:
            constant = name in self._constants
            self._other[name] = (
                name if name in self._made_as else self._fresh(f'{name}_{"half" if wanted == HALF else "float"}')
            )
            if not constant:
                source = self._made_as.get(name, name)
                cast = onnx.helper.make_node('Cast', [source], [self._other[name]], to=wanted)
                cast.name = self._fresh(f'Cast_{self._other[name]}')
                self._nodes.append(cast)
        return self._other[name]

    def _store_constants(self) -> None:
        """Keep what is used, in the types in which it is used, and what never was used: it may be an embedding map."""
        used = {name for node in self._nodes for name in (*node.input, *onnx_graph.captured(node))}
        used.update(value.name for value in self._graph.output)
        stored: dict[str, NDArray[np.generic]] = {}
        for name, array in self._constants.items():
            if name in used or name not in self._other:
                stored[name] = array
            if name in self._other:
                with np.errstate(over='ignore'):
                    stored[self._other[name]] = array.astype(np.float16)
        onnx_graph.set_initializers(self._graph, stored)


def _formal_type(schema: onnx.defs.OpSchema, formals: list[onnx.defs.OpSchema.FormalParameter], place: int) -> str:
    """Tell what a float tensor in this place may be: ``half`` too, ``float`` only, or ``other``, where it is unsure."""
    kind = formals[min(place, len(formals) - 1)].type_str
    for constraint in schema.type_constraints:
        if constraint.type_param_str == kind:
            return 'half' if 'tensor(float16)' in constraint.allowed_type_strs else 'other'
    return 'float' if kind == 'tensor(float)' else 'other'
