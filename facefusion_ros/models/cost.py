"""What a network costs to run, told from its graph: operations, weights, and what moves between them.

One multiplication with its addition is two operations. Only what multiplies matrices counts as such; everything else
is counted apart, roughly, since it costs next to nothing beside them and an engine fuses it into them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING

from facefusion_ros.models.graph import read_skeleton

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

    Shape = tuple[int, ...]

VALUE_BYTES: Mapping[str, int] = MappingProxyType({'fp32': 4, 'fp16': 2, 'int8': 1})
"""Bytes of one weight or one activation at a precision."""

KEPT_BYTES = 4096
"""Weights up to this size are shapes, axes and scales: what other shapes follow from."""

_MATRIX = {'Conv', 'ConvTranspose', 'MatMul', 'Gemm'}
_INTEGER = {'ConvInteger': 'Conv', 'MatMulInteger': 'MatMul', 'QLinearConv': 'Conv', 'QLinearMatMul': 'MatMul'}
_WEIGHT_INPUT = {'QLinearConv': 3, 'QLinearMatMul': 3}
"""Place of the second factor among the inputs, where it is not 1."""
_NOT_TOLD = {'Attention', 'DeformConv', 'Einsum', 'GRU', 'If', 'LSTM', 'Loop', 'RNN', 'Scan'}
"""Operators that multiply, or hold others that may, and are not counted."""
_MOVES = {'Cast', 'Concat', 'Constant', 'ConstantOfShape', 'DepthToSpace', 'Expand', 'Flatten', 'Gather', 'GatherND',
          'Identity', 'Pad', 'Reshape', 'Shape', 'Slice', 'SpaceToDepth', 'Split', 'Squeeze', 'Tile', 'Transpose',
          'Unsqueeze'}  # fmt: skip
_NORMALISES = {'GroupNormalization', 'InstanceNormalization', 'LayerNormalization', 'MeanVarianceNormalization'}
_NORMALISATION_FLOP = 7
"""For each element: mean and variance take three, the division two, gain and bias two."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a network takes, at the shapes it was counted for."""

    matrix_flop: int
    """Operations of convolutions and matrix products, two for each multiplication and addition."""
    other_flop: int
    """Operations of everything else: one for each element of its larger side, seven where it normalises."""
    parameters: int
    """Numbers in the weights that some operator reads, each once."""
    stored_bytes: int
    """Of these weights, in the types that the file has."""
    activations: int
    """Values that the matrix operators read and write, without weights: what moves through memory where everything
    else is fused into them and no cache holds one's output until another reads it."""
    untold: tuple[str, ...] = field(default=())
    """Operators that are not counted, as ``operator name``: of a kind or a shape that is not known here. Where there
    are any, the other numbers are what the network takes at least."""

    def weight_bytes(self, precision: str) -> int:
        """Bytes of the weights at ``fp32``, ``fp16`` or ``int8``."""
        return self.parameters * VALUE_BYTES[precision]

    def activation_bytes(self, precision: str) -> int:
        """Bytes of the activations at ``fp32``, ``fp16`` or ``int8``."""
        return self.activations * VALUE_BYTES[precision]


def file_cost(path: Path, shapes: Mapping[str, Shape] = MappingProxyType({})) -> Cost:
    """Count what a network in an ONNX file takes, without reading its weights; see ``network_cost``.

    Raises ModelError where it is no ONNX file, OSError where it cannot be opened.
    """
    return network_cost(read_skeleton(path, KEPT_BYTES), shapes)


def network_cost(model: ModelProto, shapes: Mapping[str, Shape] = MappingProxyType({})) -> Cost:
    """Count what a network takes, from the shapes that ONNX infers; weights need no values.

    ``shapes`` are those of inputs that the network leaves open; a first dimension that is left open counts as 1.
    """
    onnx = import_module('onnx')
    inputs = {value.name for value in model.graph.input}
    kept = [weight for weight in model.graph.initializer if _has_values(weight)]
    names = {weight.name for weight in kept} | inputs
    # A large weight becomes an input of its shape, so that the inference has no values to carry along.
    counted = onnx.ModelProto(
        ir_version=model.ir_version,
        opset_import=model.opset_import,
        functions=model.functions,
        graph=onnx.GraphProto(
            name=model.graph.name,
            node=model.graph.node,
            input=[
                *model.graph.input,
                *(
                    onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
                    for weight in model.graph.initializer
                    if weight.name not in names
                ),
            ],
            output=model.graph.output,
            value_info=model.graph.value_info,
            initializer=kept,
        ),
    )
    _close_shapes(counted.graph.input, shapes)
    # Where shapes contradict each other they stay unknown, and the operator is named as not counted.
    graph = onnx.shape_inference.infer_shapes(counted, data_prop=True).graph
    return _count(graph, list(model.graph.initializer), onnx)


def _count(graph: GraphProto, weights: list[TensorProto], onnx: object) -> Cost:
    shapes: dict[str, Shape] = {weight.name: tuple(weight.dims) for weight in weights}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField('shape') and all(each.HasField('dim_value') for each in dims):
            shapes.setdefault(value.name, tuple(each.dim_value for each in dims))
    # What follows from weights alone is a weight too: one that is dequantised, or transposed.
    fixed = {weight.name for weight in weights}
    matrix = other = activations = 0
    untold = []
    for node in graph.node:
        kind = _INTEGER.get(node.op_type, node.op_type)
        if all(source in fixed for source in node.input if source):
            fixed.update(node.output)
        elif node.domain not in {'', 'ai.onnx'} or kind in _NOT_TOLD:
            untold.append(f'{node.op_type} {node.name}'.strip())
        elif kind in _MATRIX:
            factors = (node.input[0], node.input[_WEIGHT_INPUT.get(node.op_type, 1)])
            if not all(each in shapes for each in (*factors, node.output[0])):
                untold.append(f'{node.op_type} {node.name}'.strip())
                continue
            matrix += 2 * _products(node, kind, *(shapes[each] for each in (*factors, node.output[0])))
            activations += prod(shapes[node.output[0]])
            activations += sum(prod(shapes[each]) for each in factors if each not in fixed)
        elif kind not in _MOVES:
            sides = [prod(shapes[each]) for each in (*node.input[:1], *node.output[:1]) if each in shapes]
            other += max(sides, default=0) * (_NORMALISATION_FLOP if kind in _NORMALISES else 1)
    read = {source for node in graph.node for source in node.input}
    used = [weight for weight in weights if weight.name in read]
    return Cost(
        matrix_flop=matrix,
        other_flop=other,
        parameters=sum(prod(weight.dims) for weight in used),
        stored_bytes=sum(prod(weight.dims) * _bytes(weight, onnx) for weight in used),
        activations=activations,
        untold=tuple(untold),
    )


def _products(node: NodeProto, kind: str, first: Shape, second: Shape, made: Shape) -> int:
    """Count multiplications: for each value that is made, or that is spread out by a transposed convolution."""
    if kind == 'ConvTranspose':
        return prod(first) * prod(second[1:])
    if kind == 'Conv':
        return prod(made) * prod(second[1:])
    if kind == 'Gemm' and _attribute(node, 'transA'):
        return prod(made) * first[0]
    return prod(made) * first[-1]


def _attribute(node: NodeProto, name: str) -> int:
    found: list[AttributeProto] = [each for each in node.attribute if each.name == name]
    return found[0].i if found else 0


def _bytes(weight: TensorProto, onnx: object) -> int:
    # Types that numpy has not are of a byte or less.
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(weight.data_type).itemsize)  # type: ignore[attr-defined]
    except KeyError:
        return 1


def _has_values(weight: TensorProto) -> bool:
    return weight.ByteSize() <= KEPT_BYTES and bool(
        weight.raw_data
        or weight.float_data
        or weight.double_data
        or weight.int32_data
        or weight.int64_data
        or weight.uint64_data
        or weight.string_data
        or not prod(weight.dims)
    )


def _close_shapes(inputs: list[ValueInfoProto], shapes: Mapping[str, Shape]) -> None:
    for value in inputs:
        dims = value.type.tensor_type.shape.dim
        wanted = shapes.get(value.name)
        if wanted is not None and len(wanted) == len(dims):
            for each, size in zip(dims, wanted, strict=True):
                each.dim_value = size
        elif dims and dims[0].dim_value <= 0:
            dims[0].dim_value = 1
