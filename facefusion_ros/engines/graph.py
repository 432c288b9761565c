"""Reading and changing the graph of an ONNX file: who makes a tensor, who takes it, of which type it is."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import inliner, numpy_helper, shape_inference

from facefusion_ros.engines.engine import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_LARGEST_BYTES = 2**31 - 2**20
"""Protocol buffers end at 2 GiB; some room for what is added."""
_AXES_ARE_INPUT = 18
"""Opset from which ReduceMean takes its axes as an input."""


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy of a model with functions inlined, constants among the initializers and nowhere else, and types inferred.

    Raises EngineError where the model is larger than 2 GiB, or holds a constant of a kind that networks have not.
    """
    if model.ByteSize() > _LARGEST_BYTES:
        raise EngineError('the model is larger than 2 GiB, which is too large to be converted: use it at fp32')
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if copy.functions:
        copy = inliner.inline_local_functions(copy)
    graph = copy.graph
    nodes = []
    for node in graph.node:
        if node.op_type == 'Constant' and node.domain in {'', 'ai.onnx'}:
            graph.initializer.append(_constant(node))
        else:
            nodes.append(node)
    _replace(graph.node, nodes)
    fixed = {tensor.name for tensor in graph.initializer}
    # Files of before IR version 4 list their weights among the inputs too.
    _replace(graph.input, [value for value in graph.input if value.name not in fixed])
    copy.ir_version = max(copy.ir_version, 4)
    return shape_inference.infer_shapes(copy)


def _constant(node: onnx.NodeProto) -> onnx.TensorProto:
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == 'value':
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        return tensor
    kinds = {'value_float': np.float32, 'value_floats': np.float32, 'value_int': np.int64, 'value_ints': np.int64}
    if attribute.name not in kinds:
        raise EngineError(f'the constant {node.output[0]} is of a kind ({attribute.name}) that cannot be converted')
    return numpy_helper.from_array(np.asarray(value, kinds[attribute.name]), node.output[0])


def _replace(field: object, values: list[object]) -> None:
    values = list(values)
    del field[:]  # type: ignore[attr-defined]  # a repeated field of protobuf, which has no public type
    field.extend(values)  # type: ignore[attr-defined]  # as above


def set_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Make these the nodes of the graph, in this order."""
    _replace(graph.node, [*nodes])


def set_initializers(graph: onnx.GraphProto, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Make these the constants of the graph."""
    _replace(graph.initializer, [numpy_helper.from_array(array, name) for name, array in arrays.items()])


def initializers(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """Constants of the graph by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def element_types(graph: onnx.GraphProto) -> dict[str, int]:
    """Element type (``onnx.TensorProto.FLOAT`` and so on) of each tensor where it is known."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.elem_type:
            types[value.name] = value.type.tensor_type.elem_type
    return types


def producers(graph: onnx.GraphProto) -> dict[str, int]:
    """Index of the node that makes a tensor."""
    return {name: index for index, node in enumerate(graph.node) for name in node.output if name}


def consumers(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Map a tensor to the indices of the nodes that take it, those that capture it in a subgraph included."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(graph.node):
        for name in {*node.input, *captured(node)} - {''}:
            found[name].append(index)
    return found


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Bodies of If, Loop and Scan."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def captured(node: onnx.NodeProto) -> set[str]:
    """Names that the node's subgraphs take from outside (names made inside may be among them)."""
    names: set[str] = set()
    for body in subgraphs(node):
        names.update(value.name for value in body.output)
        for inner in body.node:
            names.update(inner.input)
            names |= captured(inner)
    return names - {''}


def opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Version of each operator domain; the standard one is ''."""
    return {'' if entry.domain == 'ai.onnx' else entry.domain: entry.version for entry in model.opset_import}


def label(node: onnx.NodeProto) -> str:
    """Name a node to a person: its name, or its operator and what it makes."""
    return node.name or f'{node.op_type} {next(filter(None, node.output), "")}'.strip()


def reduce_mean(
    model: onnx.ModelProto, taken: str, made: str, axes: list[int], *, keepdims: bool = True
) -> onnx.NodeProto:
    """Make a node for the mean over axes, which from opset 18 on are a constant that is added to the graph."""
    name = f'{made}_node'
    if opsets(model).get('', 1) < _AXES_ARE_INPUT:
        return onnx.helper.make_node('ReduceMean', [taken], [made], name=name, axes=axes, keepdims=int(keepdims))
    held = f'{made}_axes'
    model.graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), held))
    return onnx.helper.make_node('ReduceMean', [taken, held], [made], name=name, keepdims=int(keepdims))


class FreshNames:
    """Names that no tensor or node of a graph has yet."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._taken = {tensor.name for tensor in graph.initializer}
        self._taken.update(value.name for value in (*graph.input, *graph.output))
        for node in graph.node:
            self._taken.update((node.name, *node.input, *node.output, *captured(node)))

    def __call__(self, stem: str) -> str:
        """Return the stem, with a number where it is taken."""
        name, number = stem, 1
        while name in self._taken:
            name, number = f'{stem}_{number}', number + 1
        self._taken.add(name)
        return name
