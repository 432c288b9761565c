"""Eight-bit convolutions, stated in the ONNX file by QuantizeLinear and DequantizeLinear.

Symmetric throughout (zero point 0), as TensorRT demands: weights per output channel, activations per tensor, with the
extremes seen in calibration at 127. A convolution after which no other comes stays float: it makes the colours, and a
picture has no more than 256 steps to hide its error in. Written out here rather than left to
``onnxruntime.quantization``, whose defaults (asymmetric, unsigned, all operators) are not what TensorRT takes, whose
options for it change between releases, and which cannot leave the result of a convolution unquantised on request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import version_converter

from facefusion_ros.engines import graph as onnx_graph
from facefusion_ros.engines.calibration import measure
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.reduced import IntegerKernels

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from facefusion_ros.engines.calibration import Sample

_STEPS = 127
_LEAST_OPSET = 13
"""The first with a scale per channel."""
_HALF_OPSET = 19
"""The first in which what is dequantised may be float16, so that ``to_fp16`` leaves no Cast before a convolution."""
_INT32_MAX = 2**31 - 1
KEEPS_FLOAT = 'int8_keeps_float'
"""Entry of a file's metadata: convolutions that stay float as its maker wants it, names with spaces between."""


@dataclass(frozen=True, slots=True)
class Int8Report:
    """What a conversion did."""

    quantised: tuple[str, ...]
    """Convolutions that compute in int8."""
    kept: tuple[tuple[str, str], ...]
    """Convolutions that stay float, each with the reason."""
    scales: Mapping[str, float]
    """Step of each quantised activation, by tensor."""


def to_int8(
    model: onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    kernels: IntegerKernels = IntegerKernels.TENSORRT,
    keep: Collection[str] = (),
) -> tuple[onnx.ModelProto, Int8Report]:
    """Quantise the convolutions of a float32 network, calibrated on the samples.

    keep names convolutions that stay float beside the last and those of the file's ``KEEPS_FLOAT``. Inputs and outputs
    stay float32; ``to_fp16`` of the result makes float16 of what is not int8. The model given is not changed. Raises
    EngineError where it cannot be quantised or the samples do not fit.
    """
    quantised = onnx_graph.prepared(_in_opset(model))
    asked = ' '.join(each.value for each in model.metadata_props if each.key == KEEPS_FLOAT).split()
    chosen, kept = _choose(quantised.graph, {*keep, *asked})
    if not chosen:
        raise EngineError('no convolution of this network can be computed in int8: use fp16')
    nodes = [quantised.graph.node[index] for index in sorted(chosen)]
    activations = {node.input[0] for node in nodes}
    if kernels is IntegerKernels.ONNXRUNTIME:
        activations |= {node.output[0] for node in nodes}
    seen = measure(quantised, samples, ranges_of=activations, means_of=_ranks(quantised.graph, nodes))
    scales = {name: _step(max(-low, high)) for name, (low, high) in seen.ranges.items()}
    _correct_biases(quantised.graph, nodes, seen.means)
    _insert(quantised.graph, chosen, scales, kernels)
    return quantised, Int8Report(tuple(onnx_graph.label(node) for node in nodes), kept, scales)


def quantise_weights(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise (out channels, ...) weights to int8 of that shape and the (out channels,) float32 steps."""
    largest = np.abs(weights).reshape(weights.shape[0], -1).max(axis=1)
    steps = np.array([_step(float(value)) for value in largest], np.float32)
    scaled = weights / steps.reshape(-1, *[1] * (weights.ndim - 1))
    return np.rint(np.clip(scaled, -_STEPS, _STEPS)).astype(np.int8), steps


def _ranks(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> dict[str, int]:
    """Rank of what each of the convolutions takes, which is that of its weights."""
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    return {node.input[0]: ranks[node.input[1]] for node in nodes}


def _correct_biases(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], means: Mapping[str, NDArray[np.float64]]
) -> None:
    """Take from each bias what the rounding of the weights adds to the result on the average.

    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, with
    the means of the inputs measured. It is what shifts a colour as a whole; at the borders, where a convolution sees
    padding, it is a little off.
    """
    constants, fresh = onnx_graph.initializers(graph), onnx_graph.FreshNames(graph)
    replaced: set[str] = set()
    for node in nodes:
        weights = np.asarray(constants[node.input[1]], np.float64)
        held, steps = quantise_weights(np.asarray(weights, np.float32))
        error = held * steps.reshape(-1, *[1] * (weights.ndim - 1)).astype(np.float64) - weights
        taps = error.reshape(*weights.shape[:2], -1).sum(axis=2)
        groups = means[node.input[0]].size // weights.shape[1]
        inputs = np.repeat(means[node.input[0]].reshape(groups, -1), weights.shape[0] // groups, axis=0)
        bias = constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(weights.shape[0])
        replaced.update(node.input[2:])
        name = fresh(f'{node.output[0]}_bias')
        constants[name] = np.asarray(bias - (taps * inputs).sum(axis=1), np.float32)
        del node.input[2:]
        node.input.append(name)
    _store(graph, constants, replaced)


def _store(graph: onnx.GraphProto, constants: dict[str, NDArray[np.generic]], replaced: set[str]) -> None:
    """Make these the constants, without those replaced; one that nobody takes stays: it may be an embedding map."""
    used = {name for node in graph.node for name in (*node.input, *onnx_graph.captured(node))}
    gone = replaced - used - {value.name for value in graph.output}
    onnx_graph.set_initializers(graph, {name: array for name, array in constants.items() if name not in gone})


def _step(largest: float) -> float:
    """Give the least step that float16 holds and that reaches so far, so that ``to_fp16`` changes none.

    It would make 0 of the step of a channel that training has left all but dead, and TensorRT refuses the network.
    """
    if largest <= np.finfo(np.float32).tiny * _STEPS:
        return 1.0  # A tensor of zeros only has no range; any step serves.
    step = np.float32(largest / _STEPS)
    if step > np.finfo(np.float16).max:
        return float(step)
    half = np.float16(step)
    return float(half if half >= step else np.nextafter(half, np.float16(np.inf)))


def _in_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bring the model to an opset with what is needed here."""
    version = onnx_graph.opsets(model).get('', 1)
    reason = ''
    for target in (_HALF_OPSET, _LEAST_OPSET):
        if version >= target:
            return model
        try:
            return version_converter.convert_version(model, target)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
    raise EngineError(
        f'the model is of ONNX opset {version}, which has no scale per channel, and cannot be brought to '
        f'{_LEAST_OPSET}: export it again ({reason})'
    )


def _choose(graph: onnx.GraphProto, keep: Collection[str]) -> tuple[set[int], tuple[tuple[str, str], ...]]:
    """Pick the convolutions to quantise, by index; name the others, with the reason."""
    constants, types = onnx_graph.initializers(graph), onnx_graph.element_types(graph)
    last = _last_convolutions(graph)
    chosen, kept = set(), []
    for index, node in enumerate(graph.node):
        if node.op_type not in {'Conv', 'ConvTranspose'}:
            continue
        if index in last:
            kept.append((onnx_graph.label(node), 'last convolution'))
        elif node.name in keep or node.output[0] in keep:
            kept.append((onnx_graph.label(node), 'as asked'))
        elif node.op_type == 'ConvTranspose':
            kept.append((onnx_graph.label(node), 'transposed convolution'))
        elif types.get(node.input[0]) != onnx.TensorProto.FLOAT:
            kept.append((onnx_graph.label(node), 'not float32'))
        elif node.input[1] not in constants or (len(node.input) > 2 and node.input[2] not in {'', *constants}):
            kept.append((onnx_graph.label(node), 'weights are computed'))
        else:
            chosen.add(index)
    return chosen, tuple(kept)


def _last_convolutions(graph: onnx.GraphProto) -> set[int]:
    """Convolutions whose result reaches no other convolution."""
    taken_by = onnx_graph.consumers(graph)
    reaches: set[int] = set()
    last = set()
    # Nodes are in topological order, so that takers have been seen before makers here.
    for index in range(len(graph.node) - 1, -1, -1):
        node = graph.node[index]
        takers = {taker for name in node.output for taker in taken_by.get(name, ())}
        convolution = node.op_type in {'Conv', 'ConvTranspose'}
        if convolution and not takers & reaches:
            last.add(index)
        if convolution or takers & reaches:
            reaches.add(index)
    return last


def _insert(graph: onnx.GraphProto, chosen: set[int], scales: Mapping[str, float], kernels: IntegerKernels) -> None:
    fresh = onnx_graph.FreshNames(graph)
    constants = onnx_graph.initializers(graph)
    shared: dict[str, str] = {}
    weights: dict[str, tuple[str, NDArray[np.float32]]] = {}
    nodes: list[onnx.NodeProto] = []

    def store(stem: str, array: NDArray[np.generic]) -> str:
        name = fresh(stem)
        constants[name] = array
        return name

    middle = np.uint8(128) if kernels is IntegerKernels.ONNXRUNTIME else np.int8(0)

    def dequantise(stored: str, step: NDArray[np.float32], stem: str, middle: np.integer[Any]) -> str:
        scale = store(f'{stem}_scale', step)
        zero = store(f'{stem}_zero_point', np.full(step.shape, middle))
        out = fresh(f'{stem}_dequantised')
        axis = {'axis': 0} if step.ndim else {}
        nodes.append(onnx.helper.make_node('DequantizeLinear', [stored, scale, zero], [out], name=fresh(out), **axis))
        return out

    def round_trip(name: str) -> str:
        if name not in shared:
            step = np.array(scales[name], np.float32)
            scale, zero = store(f'{name}_step', step), store(f'{name}_zero', np.asarray(middle))
            held = fresh(f'{name}_quantised')
            nodes.append(onnx.helper.make_node('QuantizeLinear', [name, scale, zero], [held], name=fresh(held)))
            shared[name] = dequantise(held, step, name, middle)
        return shared[name]

    outputs = {value.name for value in graph.output}
    results: set[str] = set()
    replaced: set[str] = set()
    for index, node in enumerate(graph.node):
        if index not in chosen:
            # What a quantised convolution made is taken as such, or the kernel that makes it could not round it.
            for place, name in enumerate(node.input):
                node.input[place] = shared[name] if name in results else name
            nodes.append(node)
            continue
        activation, weight = node.input[0], node.input[1]
        replaced.update(node.input[1:])
        if weight not in weights:
            held, steps = quantise_weights(np.asarray(constants[weight], np.float32))
            weights[weight] = (dequantise(store(f'{weight}_int8', held), steps, weight, np.int8(0)), steps)
        node.input[0], node.input[1] = round_trip(activation), weights[weight][0]
        if kernels is IntegerKernels.ONNXRUNTIME:
            bias_steps = (weights[weight][1] * np.float32(scales[activation])).astype(np.float32)
            whole = np.rint(np.asarray(constants[node.input[2]], np.float64) / bias_steps)
            held_bias = np.clip(whole, -_INT32_MAX, _INT32_MAX).astype(np.int32)
            stored = store(f'{node.input[2]}_int32', held_bias)
            node.input[2] = dequantise(stored, bias_steps, node.input[2], np.int32(0))
            nodes.append(node)
            if node.output[0] not in outputs:
                round_trip(node.output[0])
                results.add(node.output[0])
        else:
            nodes.append(node)
    onnx_graph.set_nodes(graph, nodes)
    _store(graph, constants, replaced)
