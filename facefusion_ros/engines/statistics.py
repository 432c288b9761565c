"""Normalisation of a crop by the statistics of the whole patch.

An instance or group normalisation divides by what it sees; given a crop around the eyes it would see other numbers than
in the whole face, and return other colours. Here the network for the whole patch gives its statistics away, and the
network for crops takes them in, so that what is left between the two is local: convolutions, whose reach the halo of a
crop covers.
"""

from __future__ import annotations

import onnx

from facefusion_ros.engines import graph as onnx_graph
from facefusion_ros.engines.engine import EngineError

_FLOAT = onnx.TensorProto.FLOAT
_NORM = 'InstanceNormalization'
_LOOKS_EVERYWHERE = frozenset(('Softmax', 'GlobalAveragePool', 'GlobalMaxPool', 'GroupNormalization', 'Attention'))


def give_statistics(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add two outputs, (1, groups, 1, ...) float32, to a float32 network for each of its instance normalisations.

    They are the means and the deviations, sqrt(variance + epsilon), in the order of the nodes. The picture that the
    network returns stays bit for bit the same. Raises EngineError.
    """
    giving = onnx_graph.prepared(model)
    graph = giving.graph
    nodes, fresh = list(graph.node), onnx_graph.FreshNames(graph)
    made: list[onnx.NodeProto] = []

    def op(kind: str, name: str, *inputs: str) -> str:
        made.append(onnx.helper.make_node(kind, list(inputs), [name], name=fresh(f'{name}_node')))
        return name

    for node in nodes:
        made.append(node)
        if node.op_type != _NORM:
            continue
        x, shape, (mean, deviation) = node.input[0], _statistics_shape(graph, node), _names(node)
        axes = list(range(2, len(shape)))
        made.append(onnx_graph.reduce_mean(giving, x, mean, axes))
        centred = op('Sub', fresh(f'{mean}_centred'), x, mean)
        square = op('Mul', fresh(f'{mean}_squared'), centred, centred)
        variance = fresh(f'{mean}_variance')
        made.append(onnx_graph.reduce_mean(giving, square, variance, axes))
        epsilon = onnx.helper.make_tensor(fresh(f'{mean}_epsilon'), _FLOAT, [], [_epsilon(node)])
        graph.initializer.append(epsilon)
        op('Sqrt', deviation, op('Add', fresh(f'{mean}_sum'), variance, epsilon.name))
        graph.output.extend(onnx.helper.make_tensor_value_info(name, _FLOAT, shape) for name in (mean, deviation))
    onnx_graph.set_nodes(graph, made)
    return giving


def take_statistics(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make the same network for crops: what ``give_statistics`` returns are inputs, of the same names and shapes.

    Raises EngineError where the network looks at the whole picture in another way too, such as by attention: a crop
    would then not do.
    """
    taking = onnx_graph.prepared(model)
    graph = taking.graph
    for node in graph.node:
        if node.op_type in _LOOKS_EVERYWHERE:
            raise EngineError(
                f'{onnx_graph.label(node)} ({node.op_type}) looks at the whole face, so the network cannot be run on '
                'crops: use fp16 instead of int8_keep_regions'
            )
    fresh = onnx_graph.FreshNames(graph)
    arrays = onnx_graph.initializers(graph)
    replaced: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != _NORM:
            nodes.append(node)
            continue
        shape = _statistics_shape(graph, node)
        mean_name, deviation_name = _names(node)
        held = []
        for place in (1, 2):
            if node.input[place] not in arrays:
                raise EngineError(f'{onnx_graph.label(node)}: its scale and bias are computed; use fp16 instead')
            replaced.add(node.input[place])
            held.append(fresh(f'{node.input[place]}_column'))
            arrays[held[-1]] = arrays[node.input[place]].reshape(shape)
        graph.input.extend(
            onnx.helper.make_tensor_value_info(name, _FLOAT, shape) for name in (mean_name, deviation_name)
        )
        steps = (('Sub', mean_name), ('Div', deviation_name), ('Mul', held[0]), ('Add', held[1]))
        x = node.input[0]
        for kind, other in steps:
            out = node.output[0] if kind == 'Add' else fresh(f'{node.output[0]}_{kind}')
            nodes.append(onnx.helper.make_node(kind, [x, other], [out], name=fresh(f'{out}_node')))
            x = out
    onnx_graph.set_nodes(graph, nodes)
    gone = replaced - {name for node in nodes for name in node.input}
    onnx_graph.set_initializers(graph, {name: array for name, array in arrays.items() if name not in gone})
    return taking


def _names(node: onnx.NodeProto) -> tuple[str, str]:
    return f'{node.output[0]}_mean', f'{node.output[0]}_deviation'


def _epsilon(node: onnx.NodeProto) -> float:
    return next((float(attribute.f) for attribute in node.attribute if attribute.name == 'epsilon'), 1e-5)


def _statistics_shape(graph: onnx.GraphProto, node: onnx.NodeProto) -> tuple[int, ...]:
    """(1, groups, 1, ...) for what is normalised."""
    x = next((value for value in (*graph.input, *graph.value_info) if value.name == node.input[0]), None)
    rank = len(x.type.tensor_type.shape.dim) if x is not None else 0
    scale = next((tensor for tensor in graph.initializer if tensor.name == node.input[1]), None)
    if rank < 3 or scale is None:
        raise EngineError(f'{onnx_graph.label(node)}: the shape of what it normalises is not known; use fp16 instead')
    return (1, int(scale.dims[0]), *[1] * (rank - 2))
