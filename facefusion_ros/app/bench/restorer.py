"""A small restorer of the shape of CodeFormer, for measuring what a precision does to colours.

Encoder, code look-up by ArgMin and Gather, decoder with group normalisation that takes in the encoder's features at
every scale (Zhou et al., "Towards Robust Blind Face Restoration with Codebook Lookup Transformer", NeurIPS 2022,
figure 4, with the fidelity weight at 1 and without the Transformer between). Its weights are drawn from a seed, its
codes are features of drawn faces, and its last convolution is fitted by least squares so that it returns what it is
given: colours then mean something, though nothing is restored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.engines.parity import PictureCode, drawn_faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SIZE = 256
STEP_PX = 8
"""Side of the coarsest pixel."""
CODE = PictureCode('input', 'output', black=-1.0, white=1.0)
_CHANNELS = (16, 24, 32, 48)
_CODES, _CODE_LENGTH = 256, 16
_GROUPS = 8
_OPSET = 17
_LAST = 'decoder.last'
_FITTED_PIXELS = 20_000
_KERNEL = np.where(np.arange(9).reshape(3, 3) == 4, 2.0, 0.5).astype(np.float32)
"""What stands at a place is mostly about that place; a network of plain noise would blur beyond recovery."""
_CODES_SHARE = 0.2
"""Of what the codes say beside what the encoder saw, for a network that nobody has trained to weigh them."""


@dataclass
class _Graph:
    """A graph under construction; weights are drawn in the order in which they are first named."""

    weights: dict[str, NDArray[Any]]
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    used: dict[str, NDArray[Any]] = field(default_factory=dict)

    def op(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - as ONNX takes them
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, name: str, *shape: int, mean: float = 0.0, deviation: float = 1.0) -> str:
        if name not in self.weights:
            self.weights[name] = self.rng.normal(mean, deviation, shape).astype(np.float32)
        self.used[name] = self.weights[name]
        return name

    def constant(self, name: str, values: object, dtype: Any = np.int64) -> str:  # noqa: ANN401 - as numpy takes it
        self.used[name] = np.asarray(values, dtype)
        return name

    def conv(self, name: str, x: str, inside: int, outside: int, *, stride: int = 1, kernel: int = 3) -> str:
        deviation = float(np.sqrt(1.5 / (inside * kernel * kernel)))
        drawn = f'{name}.weight' not in self.weights
        weight = self.weight(f'{name}.weight', outside, inside, kernel, kernel, deviation=deviation)
        if drawn and kernel > 1:
            self.weights[weight] *= _KERNEL
        bias = self.weight(f'{name}.bias', outside, deviation=0.1)
        pad = kernel // 2
        return self.op('Conv', name, x, weight, bias, strides=[stride] * 2, pads=[pad] * 4, kernel_shape=[kernel] * 2)

    def group_norm(self, name: str, x: str, channels: int, batch: int, height: int, width: int) -> str:
        """Normalise as PyTorch exports it: an instance normalisation of the groups, laid out in rows."""
        rows = self.op('Reshape', f'{name}.rows', x, self.constant(f'{name}.grouped', [0, _GROUPS, -1]))
        ones, zeros = (self.constant(f'{name}.{k}', np.full(_GROUPS, k), np.float32) for k in (1, 0))
        normed = self.op('InstanceNormalization', f'{name}.normed', rows, ones, zeros, epsilon=1e-6)
        shape = self.constant(f'{name}.shape', [batch, channels, height, width])
        back = self.op('Reshape', f'{name}.back', normed, shape)
        gain = self.weight(f'{name}.gain', 1, channels, 1, 1, mean=1.0, deviation=0.1)
        scaled = self.op('Mul', f'{name}.scaled', back, gain)
        return self.op('Add', name, scaled, self.weight(f'{name}.shift', 1, channels, 1, 1, deviation=0.1))

    def swish(self, x: str) -> str:
        return self.op('Mul', f'{x}.swish', x, self.op('Sigmoid', f'{x}.sigmoid', x))


class Restorer:
    """Weights of the network, from which it is written for any size."""

    def __init__(self, seed: int = 0) -> None:
        self._weights: dict[str, NDArray[Any]] = {}
        self._seed = seed
        pictures = np.concatenate([CODE.encode(face.rgb) for face in drawn_faces(SIZE, SIZE, count=6, seed=seed + 1)])
        pictures = np.concatenate([pictures, _clouds(6, seed)])
        self._take_codes(pictures)
        self._fit(pictures)

    def model(self, width: int = SIZE, height: int = SIZE, batch: int = 1) -> onnx.ModelProto:
        """Write it with fixed shapes; width and height are multiples of ``STEP_PX``."""
        return self._write('output', (batch, 3, height, width))

    def _write(self, wanted: str, shape: tuple[int, int, int, int]) -> onnx.ModelProto:
        graph = _Graph(self._weights, np.random.default_rng(self._seed))
        batch, _, height, width = shape
        scales = [(height >> k, width >> k) for k in range(4)]
        features = [graph.conv('encoder.0', 'input', 3, _CHANNELS[0])]
        for k in (1, 2, 3):
            normed = graph.group_norm(f'encoder.{k}.norm', features[-1], _CHANNELS[k - 1], batch, *scales[k - 1])
            features.append(graph.conv(f'encoder.{k}', graph.swish(normed), _CHANNELS[k - 1], _CHANNELS[k], stride=2))
        code = graph.conv('encoder.code', features[3], _CHANNELS[3], _CODE_LENGTH, kernel=1)
        x = graph.conv('decoder.3', self._look_up(graph, code, batch, *scales[3]), _CODE_LENGTH, _CHANNELS[3])
        for k in (3, 2, 1, 0):
            name = f'decoder.{k}'
            if k < 3:
                sizes = graph.constant(f'{name}.scales', [1, 1, 2, 2], np.float32)
                x = graph.op('Resize', f'{name}.larger', x, '', sizes, mode='nearest', nearest_mode='floor',
                             coordinate_transformation_mode='asymmetric')  # fmt: skip
                x = graph.conv(f'{name}.narrow', x, _CHANNELS[k + 1], _CHANNELS[k])
            seen = graph.conv(f'{name}.seen', features[k], _CHANNELS[k], _CHANNELS[k])
            share = graph.constant(f'{name}.share', _CODES_SHARE, np.float32)
            fused = graph.op('Add', f'{name}.fused', seen, graph.op('Mul', f'{name}.faint', x, share))
            normed = graph.group_norm(f'{name}.norm', fused, _CHANNELS[k], batch, *scales[k])
            x = graph.swish(normed) if k else graph.op('Add', 'features', graph.swish(normed), fused)
        graph.conv(_LAST, x, _CHANNELS[0], 3)
        graph.nodes[-1].output[0] = 'output'
        value = helper.make_tensor_value_info
        made = helper.make_graph(
            graph.nodes,
            'restorer',
            [value('input', TensorProto.FLOAT, shape)],
            [value(wanted, TensorProto.FLOAT, shape if wanted == 'output' else None)],
            [numpy_helper.from_array(array, name) for name, array in graph.used.items()],
        )
        return helper.make_model(made, opset_imports=[helper.make_opsetid('', _OPSET)], ir_version=8)

    @staticmethod
    def _look_up(graph: _Graph, code: str, batch: int, height: int, width: int) -> str:
        """Replace each code by the nearest of the codebook, by the square of the distance."""
        rows = graph.op('Transpose', 'code.rows', code, perm=[0, 2, 3, 1])
        book = graph.weight('codebook', _CODES, _CODE_LENGTH)
        turned = graph.op('Transpose', 'codebook.turned', book, perm=[1, 0])
        product = graph.op('MatMul', 'code.product', rows, turned)
        two = graph.constant('code.two', 2.0, np.float32)
        squares = graph.op('ReduceSum', 'codebook.squares', graph.op('Mul', 'codebook.square', book, book),
                           graph.constant('code.axis', [1]), keepdims=0)  # fmt: skip
        distance = graph.op('Sub', 'code.distance', squares, graph.op('Mul', 'code.twice', product, two))
        index = graph.op('ArgMin', 'code.index', distance, axis=-1, keepdims=0)
        found = graph.op('Gather', 'code.found', book, index, axis=0)
        shape = graph.constant('code.shape', [batch, height, width, _CODE_LENGTH])
        return graph.op(
            'Transpose', 'code.quantised', graph.op('Reshape', 'code.grid', found, shape), perm=[0, 3, 1, 2]
        )

    # What is learnt

    def _take_codes(self, pictures: Floats) -> None:
        """Make codes of the pictures the codebook."""
        codes = self._run('encoder.code', pictures)
        rows = codes.transpose(0, 2, 3, 1).reshape(-1, _CODE_LENGTH)
        chosen = np.random.default_rng([self._seed, 1]).choice(len(rows), _CODES, replace=False)
        self._weights['codebook'] = rows[chosen]

    def _fit(self, pictures: Floats) -> None:
        """Fit the last convolution so that the network returns its input."""
        features = self._run('features', pictures)
        count, channels, height, width = features.shape
        rng = np.random.default_rng([self._seed, 2])
        n, y, x = (
            rng.integers(low, high, _FITTED_PIXELS) for low, high in ((0, count), (1, height - 1), (1, width - 1))
        )
        around = [features[n, :, y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        known = np.stack([*np.moveaxis(np.stack(around, axis=-1), 0, -1).reshape(-1, len(n)), np.ones(len(n))]).T
        known = known.astype(np.float64)
        ridge = 1e-4 * len(n) * np.eye(known.shape[1])
        solved = np.linalg.solve(known.T @ known + ridge, known.T @ pictures[n, :, y, x].astype(np.float64))
        self._weights[f'{_LAST}.weight'] = np.ascontiguousarray(solved[:-1].T.reshape(3, channels, 3, 3), np.float32)
        self._weights[f'{_LAST}.bias'] = solved[-1].astype(np.float32)

    def _run(self, wanted: str, pictures: Floats) -> Floats:
        model = self._write(wanted, (1, *pictures.shape[1:]))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
        return np.concatenate([session.run([wanted], {'input': picture[None]})[0] for picture in pictures])


def _clouds(count: int, seed: int) -> Floats:
    """Coloured noise of a photograph's spectrum (amplitude as one over frequency), -1 to 1."""
    rng = np.random.default_rng([seed, 3])
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE))
    spectrum = np.fft.rfft2(rng.standard_normal((count, 3, SIZE, SIZE))) / np.maximum(frequency, 1.0 / SIZE)
    noise = np.fft.irfft2(spectrum, (SIZE, SIZE))
    noise /= 2.5 * noise.std(axis=(2, 3), keepdims=True)
    return np.clip(noise + rng.uniform(-0.4, 0.4, (count, 3, 1, 1)), -1.0, 1.0).astype(np.float32)
