"""Writing networks with drawn weights, operation by operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

OPSET = 17
IR_VERSION = 9
SLOPE = 0.2
"""Of a leaky rectifier below zero."""


class Map(NamedTuple):
    """A square picture of features on its way through the graph, (1, channels, size, size) float32."""

    name: str
    channels: int
    size: int


class Net:
    """A graph under construction; each method adds an operation and returns what it makes.

    Weights keep the variance of what goes through them, so that no value leaves the range of a float. Without
    ``values`` they have a shape only, which is enough to count what the network costs.
    """

    def __init__(self, seed: int, *, values: bool = True) -> None:
        self._random = np.random.default_rng(seed)
        self._values = values
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, *shape: int, dtype: int = TensorProto.FLOAT) -> str:
        """Add an input."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def picture(self, name: str, size: int) -> Map:
        """Add a square picture of three channels as input."""
        return Map(self.input(name, 1, 3, size, size), 3, size)

    def output(self, name: str, made: str, *shape: int) -> None:
        """Give out what was made."""
        self._nodes.append(helper.make_node('Identity', [made], [name], name))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def output_map(self, name: str, x: Map) -> None:
        """Give out a picture of features."""
        self.output(name, x.name, 1, x.channels, x.size, x.size)

    def model(self, name: str) -> onnx.ModelProto:
        """Close the graph."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION)

    # Weights

    def fixed(self, values: ArrayLike, dtype: Any = np.float32) -> str:  # noqa: ANN401 - as numpy takes it
        """Add numbers that are part of the architecture."""
        name = f'w{len(self._weights)}'
        self._weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def drawn(self, *shape: int, deviation: float, mean: float = 0.0, name: str = '') -> str:
        """Add numbers that training would find."""
        name = name or f'w{len(self._weights)}'
        if self._values:
            values = self._random.standard_normal(shape, np.float32)
            values *= np.float32(deviation)
            values += np.float32(mean)
            self._weights.append(numpy_helper.from_array(values, name))
        else:
            self._weights.append(onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape))
        return name

    def filled(self, value: float, *shape: int) -> str:
        """Add numbers that training would find, where it begins: zeros or ones."""
        return self.drawn(*shape, deviation=0.0, mean=value)

    # Operations

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - as ONNX takes them
        """Add any operator with one output."""
        made = f't{len(self._nodes)}'
        self._nodes.append(helper.make_node(kind, inputs, [made], made, **attributes))
        return made

    def each(self, kind: str, x: Map, *others: str, **attributes: Any) -> Map:  # noqa: ANN401 - as ONNX takes them
        """Add an operator that keeps the shape of its first input."""
        return x._replace(name=self.op(kind, x.name, *others, **attributes))

    def leaky(self, x: Map, slope: float = SLOPE) -> Map:
        """Rectify, but for a slope."""
        return self.each('LeakyRelu', x, alpha=slope)

    def conv(
        self, x: Map, made: int, kernel: int = 3, stride: int = 1, *, gain: float = 2.0, pad: int | None = None
    ) -> Map:
        """Convolve; ``gain`` is that of the variance, 2 where half of it is rectified away afterwards."""
        pad = kernel // 2 if pad is None else pad
        weight = self.drawn(made, x.channels, kernel, kernel, deviation=(gain / (x.channels * kernel**2)) ** 0.5)
        bias = self.filled(0.0, made)
        name = self.op('Conv', x.name, weight, bias, pads=[pad] * 4, strides=[stride] * 2)
        return Map(name, made, (x.size + 2 * pad - kernel) // stride + 1)

    def block(self, x: Map, made: int, kernel: int = 3, stride: int = 1, slope: float = 0.1) -> Map:
        """Convolve and rectify."""
        return self.leaky(self.conv(x, made, kernel, stride), slope)

    def dense(self, x: str, taken: int, made: int, *, gain: float = 1.0, bias: float = 0.0) -> str:
        """Multiply rows (1, taken) by a matrix."""
        weight = self.drawn(taken, made, deviation=(gain / taken) ** 0.5)
        return self.op('Gemm', x, weight, self.filled(bias, made))

    def resized(self, x: Map, factor: float, mode: str = 'nearest') -> Map:
        """Scale width and height."""
        attributes = {'mode': mode}
        if mode == 'nearest':
            attributes |= {'coordinate_transformation_mode': 'asymmetric', 'nearest_mode': 'floor'}
        name = self.op('Resize', x.name, '', self.fixed([1, 1, factor, factor]), **attributes)
        return Map(name, x.channels, round(x.size * factor))

    def joined(self, *maps: Map) -> Map:
        """Put the channels of all behind each other."""
        name = self.op('Concat', *(x.name for x in maps), axis=1)
        return Map(name, sum(x.channels for x in maps), maps[0].size)

    def channels(self, x: Map, begin: int, end: int) -> Map:
        """Take some of the channels."""
        bounds = (self.fixed([number], np.int64) for number in (begin, end, 1))
        return Map(self.op('Slice', x.name, *bounds), end - begin, x.size)

    def instance_norm(self, x: Map) -> Map:
        """Give each channel mean 0 and variance 1."""
        return self.each(
            'InstanceNormalization', x, self.fixed(np.ones(x.channels)), self.fixed(np.zeros(x.channels)), epsilon=1e-6
        )

    def reshaped(self, x: str, *shape: int) -> str:
        """Arrange the same numbers otherwise."""
        return self.op('Reshape', x, self.fixed(shape, np.int64))
