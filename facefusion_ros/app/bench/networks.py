"""Small networks of each role's shape, with random weights: what there is to measure without a user's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.models.entry import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

OPSET = 17
IR_VERSION = 9
EMBEDDING = 512


class _Net:
    """A graph under construction; each method adds an operation and returns its output's name."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, *shape: int) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        output = f't{len(self._nodes)}'
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, values: NDArray[np.generic]) -> str:
        name = f'w{len(self._weights)}'
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x: str, taken: int, made: int, size: int = 3, stride: int = 1) -> str:
        # Weights that keep the variance, so that no value leaves the range of a float.
        values = self._random.normal(0.0, (2.0 / (taken * size * size)) ** 0.5, (made, taken, size, size))
        kernel, bias = self.weight(values.astype(np.float32)), self.weight(np.zeros(made, np.float32))
        return self.add('Conv', x, kernel, bias, pads=[size // 2] * 4, strides=[stride] * 2)

    def block(self, x: str, taken: int, made: int, stride: int = 1) -> str:
        return self.add('LeakyRelu', self.conv(x, taken, made, stride=stride), alpha=0.1)

    def dense(self, x: str, taken: int, made: int) -> str:
        values = self._random.normal(0.0, taken**-0.5, (taken, made)).astype(np.float32)
        return self.add('Gemm', x, self.weight(values), self.weight(np.zeros(made, np.float32)))

    def twice(self, x: str) -> str:
        scales = self.weight(np.array([1, 1, 2, 2], np.float32))
        return self.add('Resize', x, '', scales, mode='nearest')

    def modulated(self, x: str, embedding: str, channels: int) -> str:
        """Instance normalisation whose gain and bias come from an identity, as in style transfer."""
        ones, zeros = self.weight(np.ones(channels, np.float32)), self.weight(np.zeros(channels, np.float32))
        shape = self.weight(np.array([1, channels, 1, 1], np.int64))
        gain = self.add('Reshape', self.dense(embedding, EMBEDDING, channels), shape)
        bias = self.add('Reshape', self.dense(embedding, EMBEDDING, channels), shape)
        return self.add('Add', self.add('Mul', self.add('InstanceNormalization', x, ones, zeros), gain), bias)

    def model(self, *outputs: tuple[str, str, tuple[int, ...]]) -> onnx.ModelProto:
        """Close the graph; outputs are (what made it, its name, its shape)."""
        self._nodes += [helper.make_node('Identity', [made], [name]) for made, name, _ in outputs]
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for _, name, shape in outputs]
        graph = helper.make_graph(self._nodes, 'bench', self._inputs, values, self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION)


def _detector(seed: int) -> onnx.ModelProto:
    """Make two heads at strides 16 and 32, as YOLOv4-tiny has them."""
    net = _Net(seed)
    x, channels = net.input('input', 1, 3, 320, 320), 3
    for made in (16, 32, 48, 64):
        x, channels = net.block(x, channels, made, stride=2), made
    fine = net.block(x, channels, 64)
    coarse = net.block(net.block(fine, 64, 96, stride=2), 96, 96)
    return net.model(
        (net.conv(fine, 64, 18, size=1), 'fine', (1, 18, 20, 20)),
        (net.conv(coarse, 96, 18, size=1), 'coarse', (1, 18, 10, 10)),
    )


def _pooled(net: _Net, size: int, widths: tuple[int, ...]) -> str:
    x, channels = net.input('input', 1, 3, size, size), 3
    for made in widths:
        x, channels = net.block(net.block(x, channels, made, stride=2), made, made), made
    return net.add('Flatten', net.add('GlobalAveragePool', x))


def _landmarks(seed: int) -> onnx.ModelProto:
    """Make 98 points of a crop of 112, as PFLD has them."""
    net = _Net(seed)
    return net.model((net.dense(_pooled(net, 112, (16, 32, 64)), 64, 196), 'landmarks', (1, 196)))


def _recognition(seed: int) -> onnx.ModelProto:
    """Make an embedding of 512 of a crop of 112, as ArcFace has it."""
    net = _Net(seed)
    return net.model((net.dense(_pooled(net, 112, (32, 64, 128)), 128, EMBEDDING), 'embedding', (1, EMBEDDING)))


def _identity(seed: int) -> onnx.ModelProto:
    """Turn one embedding into another, as the converters between recognisers do."""
    net = _Net(seed)
    x = net.add('LeakyRelu', net.dense(net.input('input', 1, EMBEDDING), EMBEDDING, 1024), alpha=0.1)
    return net.model((net.dense(x, 1024, EMBEDDING), 'output', (1, EMBEDDING)))


def _swapper(seed: int) -> onnx.ModelProto:
    """Take a crop of 128 and an embedding; modulated residual blocks at a quarter of the size, as inswapper has."""
    net = _Net(seed)
    source, target = net.input('source', 1, EMBEDDING), net.input('target', 1, 3, 128, 128)
    x = net.block(net.block(target, 3, 32, stride=2), 32, 64, stride=2)
    for _ in range(3):
        x = net.add('Add', x, net.modulated(net.block(x, 64, 64), source, 64))
    x = net.block(net.twice(net.block(net.twice(x), 64, 32)), 32, 16)
    return net.model((net.add('Tanh', net.conv(x, 16, 3)), 'output', (1, 3, 128, 128)))


def _enhancer(seed: int) -> onnx.ModelProto:
    """Take a patch of 256 through an encoder and a decoder with a shortcut."""
    net = _Net(seed)
    first = net.block(net.input('input', 1, 3, 256, 256), 3, 16, stride=2)
    x = net.block(net.block(first, 16, 32, stride=2), 32, 64, stride=2)
    x = net.block(net.twice(net.block(net.twice(net.block(x, 64, 64)), 64, 32)), 32, 16)
    x = net.block(net.twice(net.add('Add', x, first)), 16, 8)
    return net.model((net.add('Tanh', net.conv(x, 8, 3)), 'output', (1, 3, 256, 256)))


def _mask(seed: int) -> onnx.ModelProto:
    """Make a mask of a patch of 256, as XSeg has it."""
    net = _Net(seed)
    x = net.block(net.block(net.input('input', 1, 3, 256, 256), 3, 16, stride=2), 16, 32, stride=2)
    x = net.conv(net.twice(net.block(net.twice(net.block(x, 32, 32)), 32, 8)), 8, 1)
    return net.model((net.add('Sigmoid', x), 'mask', (1, 1, 256, 256)))


NETWORKS: dict[Role, Callable[[int], onnx.ModelProto]] = {
    Role.DETECTOR: _detector,
    Role.LANDMARKS: _landmarks,
    Role.RECOGNITION: _recognition,
    Role.IDENTITY: _identity,
    Role.SWAPPER: _swapper,
    Role.ENHANCER: _enhancer,
    Role.MASK: _mask,
}
"""What makes a network of each role, from a seed."""


def write_network(role: Role, folder: Path, seed: int = 0) -> Path:
    """Make a network and write it to ``<role>.onnx`` in a folder; the same seed makes the same file."""
    path = folder / f'{role.value}.onnx'
    onnx.save(NETWORKS[role](seed), path)
    return path
