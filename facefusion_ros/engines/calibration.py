"""How large the numbers inside a network get: least and greatest value of each tensor over sample inputs.

The extremes, and no percentile: clipping the rare bright values is what shifts the colour of a whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from facefusion_ros.engines import graph as onnx_graph
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    Sample = Mapping[str, NDArray[np.generic]]
    """Inputs of one run, by name."""

    Ranges = dict[str, tuple[float, float]]


def activation_ranges(
    model: onnx.ModelProto, samples: Iterable[Sample], tensors: Collection[str] | None = None
) -> Ranges:
    """Run the network over the samples and return the least and the greatest value of each float32 tensor.

    tensors limits it to some of those that nodes make and take; None measures all. Runs on the CPU through ONNX
    Runtime. Raises EngineError where there is no sample, the network does not run, or a value is not finite.
    """
    return measure(model, samples, ranges_of=tensors, means_of={}).ranges


@dataclass(frozen=True, slots=True)
class Activations:
    """What was seen of the tensors inside a network."""

    ranges: Ranges
    means: dict[str, NDArray[np.float64]]
    """Mean of each channel, (channels,)."""


def measure(
    model: onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    ranges_of: Collection[str] | None,
    means_of: Mapping[str, int],
) -> Activations:
    """Like ``activation_ranges``; of tensors (N, channels, ...), given with their rank, the channels' means too."""
    import onnxruntime  # noqa: PLC0415 - a network is converted where it is seldom run

    measuring, ranged, averaged = _measuring(model, ranges_of, means_of)
    outputs = [value.name for value in measuring.graph.output]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    low, high = np.full(len(ranged), np.inf), np.full(len(ranged), -np.inf)
    sums: list[Any] = [0.0] * len(averaged)
    runs = 0
    try:
        session = onnxruntime.InferenceSession(measuring.SerializeToString(), options, ['CPUExecutionProvider'])
        for runs, sample in enumerate(samples, start=1):  # noqa: B007 - counted for the check below
            found = session.run(outputs, dict(sample))
            extremes = np.array(found[: 2 * len(ranged)], np.float64).reshape(-1, 2)
            # These keep NaN.
            low, high = np.minimum(low, extremes[:, 0]), np.maximum(high, extremes[:, 1])
            sums = [total + mean for total, mean in zip(sums, found[2 * len(ranged) :], strict=True)]
    except FacefusionError:  # of reading a sample
        raise
    except Exception as error:  # noqa: BLE001 - the errors of ONNX Runtime have no base of their own
        raise EngineError(f'the model does not run on the calibration samples: {str(error).splitlines()[0]}') from None
    if not runs:
        raise EngineError('no samples to calibrate with: give at least one picture')
    for name, *extremes_of_one in zip(ranged, low, high, strict=True):
        if not np.isfinite(extremes_of_one).all():
            raise EngineError(f'{name} is not finite for a sample: calibrate with pictures that the model takes')
    return Activations(
        {name: (float(a), float(b)) for name, a, b in zip(ranged, low, high, strict=True)},
        {name: np.asarray(total, np.float64) / runs for name, total in zip(averaged, sums, strict=True)},
    )


def _measuring(
    model: onnx.ModelProto, ranges_of: Collection[str] | None, means_of: Mapping[str, int]
) -> tuple[onnx.ModelProto, list[str], list[str]]:
    """Return the network with what is measured as the only outputs: two extremes each, then means; and whose."""
    measuring = onnx_graph.prepared(model)
    graph = measuring.graph
    types, fresh = onnx_graph.element_types(graph), onnx_graph.FreshNames(graph)
    candidates = [value.name for value in graph.input] + [name for node in graph.node for name in node.output]
    names = [name for name in dict.fromkeys(candidates) if types.get(name) == onnx.TensorProto.FLOAT]
    wanted = {*(ranges_of or ()), *means_of}
    if missing := sorted(wanted - set(names)):
        raise EngineError(f'no such float32 tensor in the graph: {missing[0]}')
    ranged = [name for name in names if ranges_of is None or name in ranges_of]
    averaged = [name for name in names if name in means_of]
    del graph.output[:]

    for name in ranged:
        for kind in ('ReduceMin', 'ReduceMax'):
            extreme = fresh(f'{name}_{kind}')
            graph.node.append(onnx.helper.make_node(kind, [name], [extreme], keepdims=0))
            graph.output.append(onnx.helper.make_tensor_value_info(extreme, onnx.TensorProto.FLOAT, []))
    for name in averaged:
        mean = fresh(f'{name}_mean')
        axes = [0, *range(2, means_of[name])]
        graph.node.append(onnx_graph.reduce_mean(measuring, name, mean, axes, keepdims=False))
        graph.output.append(onnx.helper.make_tensor_value_info(mean, onnx.TensorProto.FLOAT, [None]))
    return measuring, ranged, averaged
