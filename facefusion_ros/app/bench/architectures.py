"""The networks that users bring, in their true architecture with random weights: as large and as slow as the real ones.

Built from what is public about each (the sources are with the builders); what they return means nothing. Batch
normalisation is folded into the convolutions before it, as it is in a file for inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto

from facefusion_ros.app.bench.net import Map, Net
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDENTITY = 512
"""Length of an identity, and of StyleGAN's style."""


def build(name: str, seed: int = 0, *, values: bool = True) -> onnx.ModelProto:
    """Make one of ``ARCHITECTURES``; without ``values`` its weights have shapes only. Raises FacefusionError."""
    if name not in ARCHITECTURES:
        raise FacefusionError(f'no architecture is named {name!r}: choose from {", ".join(ARCHITECTURES)}')
    net = Net(seed, values=values)
    ARCHITECTURES[name].build(net)
    return net.model(name)


def write(name: str, folder: Path, seed: int = 0) -> Path:
    """Make an architecture, write it to ``<name>-<seed>.onnx`` unless that is there, and return the path.

    The large ones are of half a gigabyte. Raises FacefusionError for a name that is not known, OSError.
    """
    path = folder / f'{name}-{seed}.onnx'
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix('.part')
        onnx.save(build(name, seed), part)
        part.replace(path)
    return path


def _yolov4_tiny(net: Net, size: int = 416) -> None:
    """AlexeyAB/darknet, cfg/yolov4-tiny.cfg, with one class: 3 anchors x (4 of the box, objectness, class)."""
    x = net.block(net.block(net.picture('input', size), 32, stride=2), 64, stride=2)
    for width in (64, 128, 256):
        first = net.block(x, width)
        second = net.block(net.channels(first, width // 2, width), width // 2)
        third = net.block(second, width // 2)
        fine = net.block(net.joined(third, second), width, 1)
        joined = net.joined(first, fine)
        x = Map(net.op('MaxPool', joined.name, kernel_shape=[2, 2], strides=[2, 2]), 2 * width, joined.size // 2)
    coarse = net.block(net.block(x, 512), 256, 1)
    net.output_map('head_32', net.conv(net.block(coarse, 512), 18, 1))
    fine = net.joined(net.resized(net.block(coarse, 128, 1), 2), fine)
    net.output_map('head_16', net.conv(net.block(fine, 256), 18, 1))


def _inswapper(net: Net) -> None:
    """somanchiu/ReSwapper, StyleTransferModel_128.py: the graph of InsightFace's inswapper_128, written anew.

    A weight that no operator reads is the projection of identities, which published files carry along.
    """
    target, source = net.picture('target', 128), net.input('source', 1, IDENTITY)
    x = net.leaky(_reflected(net, target, 128))
    for made, stride in ((256, 1), (512, 2), (1024, 2)):
        x = net.block(x, made, stride=stride, slope=0.2)
    for _ in range(6):
        y = net.each('Relu', _styled(net, net.conv(x, 1024, gain=1.0), source))
        x = net.each('Add', _styled(net, net.conv(y, 1024), source), x.name)
    for made in (512, 256):
        x = net.block(net.resized(x, 2, 'linear'), made, slope=0.2)
    x = net.each('Tanh', _reflected(net, net.block(x, 128, slope=0.2), 3))
    x = net.each('Div', net.each('Add', x, net.fixed(1.0)), net.fixed(2.0))
    net.output_map('output', x)
    net.drawn(IDENTITY, IDENTITY, deviation=IDENTITY**-0.5, name='buff2fs')


def _reflected(net: Net, x: Map, made: int) -> Map:
    """Convolve by 7 x 7 what is mirrored at the border."""
    pads = net.fixed([0, 0, 3, 3, 0, 0, 3, 3], np.int64)
    wide = Map(net.op('Pad', x.name, pads, mode='reflect'), x.channels, x.size + 6)
    return net.conv(wide, made, 7, gain=1.0, pad=0)


def _styled(net: Net, x: Map, source: str) -> Map:
    """Adaptive instance normalisation: gain and bias of each channel from the identity."""
    style = net.op('Unsqueeze', net.dense(source, IDENTITY, 2 * x.channels), net.fixed([2, 3], np.int64))
    gain, bias = (net.channels(Map(style, 2 * x.channels, 1), begin, begin + x.channels) for begin in (0, x.channels))
    return net.each('Add', net.each('Mul', net.instance_norm(x), gain.name), bias.name)


_CODES, _CODE_LENGTH = 1024, 256
_HEADS, _TOKEN_LENGTH, _LAYERS = 8, 512, 9
_CODEFORMER_WIDTHS = (64, 128, 128, 256, 256, 512)
"""Channels at each scale, finest first."""


def _codeformer(size: int) -> Callable[[Net], None]:
    """sczhou/CodeFormer, basicsr/archs/vqgan_arch.py and codeformer_arch.py, as inference_codeformer.py runs it.

    Autoencoder of six scales, nine Transformer layers over the coarsest, a code for each of its pixels, and the
    encoder's features fused in at the four scales between, by the fidelity weight. The published network is of 512; of
    256 its code grid is 8 x 8.
    """

    def made(net: Net) -> None:
        x = net.conv(net.picture('input', size), _CODEFORMER_WIDTHS[0], gain=1.0)
        weight = net.op('Cast', net.input('weight', 1, dtype=TensorProto.DOUBLE), to=TensorProto.FLOAT)
        seen: list[Map] = []
        last = len(_CODEFORMER_WIDTHS) - 1
        for scale, width in enumerate(_CODEFORMER_WIDTHS):
            for _ in range(2):
                x = _residual(net, x, width)
                x = _attentive(net, x) if scale == last else x
            seen.append(x)
            if scale < last:
                below = Map(net.op('Pad', x.name, net.fixed([0] * 6 + [1, 1], np.int64)), width, x.size + 1)
                x = net.conv(below, width, stride=2, gain=1.0, pad=0)
        x = _middle(net, x)
        features = net.conv(_swish(net, _group_norm(net, x), normed=False), _CODE_LENGTH, gain=1.0)
        x = net.conv(_coded(net, features), _CODEFORMER_WIDTHS[-1], gain=1.0)
        x = _middle(net, x)
        for scale in range(last, -1, -1):
            for index in range(2):
                x = _residual(net, x, _CODEFORMER_WIDTHS[scale])
                x = _attentive(net, x) if scale == last else x
                if index == 0 and 0 < scale < last:
                    x = _fused(net, seen[scale], x, weight)
            if scale:
                x = net.conv(net.resized(x, 2), x.channels, gain=1.0)
        net.output_map('output', net.conv(_group_norm(net, x), 3, gain=0.1))

    return made


def _group_norm(net: Net, x: Map, groups: int = 32) -> Map:
    """Group normalisation as PyTorch exports it to this opset: instances are the groups."""
    ones, zeros = net.fixed(np.ones(groups)), net.fixed(np.zeros(groups))
    grouped = net.op('InstanceNormalization', net.reshaped(x.name, 0, groups, -1), ones, zeros, epsilon=1e-6)
    normed = x._replace(name=net.reshaped(grouped, 1, x.channels, x.size, x.size))
    return net.each(
        'Add', net.each('Mul', normed, net.filled(1.0, x.channels, 1, 1)), net.filled(0.0, x.channels, 1, 1)
    )


def _swish(net: Net, x: Map, *, normed: bool = True) -> Map:
    x = _group_norm(net, x) if normed else x
    return net.each('Mul', x, net.op('Sigmoid', x.name))


def _residual(net: Net, x: Map, made: int) -> Map:
    y = net.conv(_swish(net, x), made)
    y = net.conv(_swish(net, y), made, gain=0.5)
    return net.each('Add', y, (net.conv(x, made, 1, gain=1.0) if x.channels != made else x).name)


def _attentive(net: Net, x: Map) -> Map:
    """Let each pixel look at all others."""
    normed, pixels = _group_norm(net, x), x.size**2
    query, key, value = (net.reshaped(net.conv(normed, x.channels, 1, gain=1.0).name, 1, x.channels, pixels)
                         for _ in range(3))  # fmt: skip
    alike = net.op('MatMul', net.op('Transpose', query, perm=[0, 2, 1]), key)
    share = net.op('Softmax', net.op('Mul', alike, net.fixed(x.channels**-0.5)), axis=2)
    found = net.op('MatMul', value, net.op('Transpose', share, perm=[0, 2, 1]))
    found = net.reshaped(found, 1, x.channels, x.size, x.size)
    return net.each('Add', x, net.conv(x._replace(name=found), x.channels, 1, gain=1.0).name)


def _middle(net: Net, x: Map) -> Map:
    return _residual(net, _attentive(net, _residual(net, x, x.channels)), x.channels)


def _coded(net: Net, features: Map) -> Map:
    """Replace each pixel's features by the code that the Transformer expects there, in the features' own colours."""
    tokens = features.size**2
    flat = net.reshaped(features.name, 1, _CODE_LENGTH, tokens)
    x = _linear(net, net.op('Transpose', flat, perm=[0, 2, 1]), _CODE_LENGTH, _TOKEN_LENGTH)
    place = net.drawn(1, tokens, _TOKEN_LENGTH, deviation=0.1)
    for _ in range(_LAYERS):
        x = _transformed(net, x, place, tokens)
    book = net.drawn(_CODES, _CODE_LENGTH, deviation=1.0)
    logits = net.op('MatMul', _layer_norm(net, x), net.drawn(_TOKEN_LENGTH, _CODES, deviation=_TOKEN_LENGTH**-0.5))
    found = net.op('Gather', book, net.op('ArgMax', logits, axis=2, keepdims=0))
    found = net.reshaped(net.op('Transpose', found, perm=[0, 2, 1]), 1, _CODE_LENGTH, features.size, features.size)
    codes = features._replace(name=found)
    mean, deviation = _colours(net, features)
    theirs, spread = _colours(net, codes)
    normed = net.each('Div', net.each('Sub', codes, theirs), spread)
    return net.each('Add', net.each('Mul', normed, deviation), mean)


def _colours(net: Net, x: Map) -> tuple[str, str]:
    """Mean and deviation of each channel."""
    mean = net.op('ReduceMean', x.name, axes=[2, 3])
    apart = net.op('Sub', x.name, mean)
    variance = net.op('ReduceMean', net.op('Mul', apart, apart), axes=[2, 3])
    return mean, net.op('Sqrt', net.op('Add', variance, net.fixed(1e-5)))


def _linear(net: Net, x: str, taken: int, made: int, *, gain: float = 1.0) -> str:
    product = net.op('MatMul', x, net.drawn(taken, made, deviation=(gain / taken) ** 0.5))
    return net.op('Add', product, net.filled(0.0, made))


def _layer_norm(net: Net, x: str) -> str:
    return net.op('LayerNormalization', x, net.filled(1.0, _TOKEN_LENGTH), net.filled(0.0, _TOKEN_LENGTH), epsilon=1e-5)


def _transformed(net: Net, x: str, place: str, tokens: int) -> str:
    """One layer: attention among all tokens by eight heads, then two matrices with GELU between."""
    normed, each = _layer_norm(net, x), _TOKEN_LENGTH // _HEADS
    placed = net.op('Add', normed, place)
    query, key, value = (
        net.reshaped(_linear(net, taken, _TOKEN_LENGTH, _TOKEN_LENGTH), 1, tokens, _HEADS, each)
        for taken in (placed, placed, normed)
    )
    query = net.op('Mul', net.op('Transpose', query, perm=[0, 2, 1, 3]), net.fixed(each**-0.5))
    share = net.op('Softmax', net.op('MatMul', query, net.op('Transpose', key, perm=[0, 2, 3, 1])), axis=3)
    heard = net.op('MatMul', share, net.op('Transpose', value, perm=[0, 2, 1, 3]))
    heard = net.reshaped(net.op('Transpose', heard, perm=[0, 2, 1, 3]), 1, tokens, _TOKEN_LENGTH)
    x = net.op('Add', x, _linear(net, heard, _TOKEN_LENGTH, _TOKEN_LENGTH))
    y = _linear(net, _layer_norm(net, x), _TOKEN_LENGTH, 2 * _TOKEN_LENGTH)
    bell = net.op('Add', net.op('Erf', net.op('Div', y, net.fixed(2**0.5))), net.fixed(1.0))
    y = net.op('Mul', net.op('Mul', y, bell), net.fixed(0.5))
    return net.op('Add', x, _linear(net, y, 2 * _TOKEN_LENGTH, _TOKEN_LENGTH))


def _fused(net: Net, seen: Map, x: Map, weight: str) -> Map:
    """Let what the encoder saw scale and shift what the decoder makes."""
    both = _residual(net, net.joined(seen, x), x.channels)
    scale, shift = (net.conv(net.leaky(net.conv(both, x.channels)), x.channels, gain=0.02) for _ in range(2))
    change = net.each('Add', net.each('Mul', x, scale.name), shift.name)
    return net.each('Add', x, net.op('Mul', change.name, weight))


def _stylegan_width(size: int, multiplier: int) -> int:
    """Channels of StyleGAN2 at a scale."""
    return 512 if size <= 32 else 256 * 64 // size * multiplier


def _modulated(net: Net, x: Map, style: str, made: int, kernel: int = 3, *, demodulate: bool = True) -> str:
    """Scale the weights of a convolution by a style (1, 512): (made, channels, kernel, kernel)."""
    gain = net.reshaped(net.dense(style, IDENTITY, x.channels, gain=0.1, bias=1.0), 1, x.channels, 1, 1)
    weight = net.op(
        'Mul', net.drawn(made, x.channels, kernel, kernel, deviation=(x.channels * kernel**2) ** -0.5), gain
    )
    if demodulate:
        total = net.op('ReduceSum', net.op('Mul', weight, weight), net.fixed([1, 2, 3], np.int64))
        weight = net.op('Div', weight, net.op('Sqrt', net.op('Add', total, net.fixed(1e-8))))
    return weight


def _gfpgan(net: Net, size: int = 512) -> None:
    """TencentARC/GFPGAN, gfpgan/archs/gfpganv1_clean_arch.py, as version 1.4 has it.

    A U-Net finds a style for each layer of a StyleGAN2 decoder, and scales and shifts half of its features at every
    size.
    """
    sizes = [2**power for power in range(3, size.bit_length())]

    def width(at: int) -> int:
        return _stylegan_width(at, 2) // 2

    x = net.leaky(net.conv(net.picture('input', size), width(size), 1))
    skips: list[Map] = []
    for at in reversed(sizes):
        x = _halved_or_doubled(net, x, width(at // 2), 0.5)
        skips.insert(0, x)
    x = net.leaky(net.conv(x, width(4)))
    latents = 2 * len(sizes) + 2
    styles = net.dense(net.op('Flatten', x.name), width(4) * 16, latents * IDENTITY, gain=0.5)
    styles = net.reshaped(styles, latents, IDENTITY)
    style = [net.op('Gather', styles, net.fixed([index], np.int64), axis=0) for index in range(latents)]

    y = Map(net.drawn(1, 512, 4, 4, deviation=1.0), 512, 4)
    y = _styled_conv(net, y, style[0], 512)
    picture = _coloured(net, y, style[1])
    for index, (at, skip) in enumerate(zip(sizes, skips, strict=True)):
        x = _halved_or_doubled(net, net.each('Add', x, skip.name), width(at), 2.0)
        scale, shift = (
            net.conv(net.leaky(net.conv(x, x.channels)), x.channels, gain=0.02 / (index + 1)) for _ in range(2)
        )
        made = _stylegan_width(at, 2)
        y = _styled_conv(net, net.resized(y, 2, 'linear'), style[2 * index + 1], made)
        same, changed = net.channels(y, 0, made // 2), net.channels(y, made // 2, made)
        changed = net.each('Add', net.each('Mul', changed, scale.name), shift.name)
        y = _styled_conv(net, net.joined(same, changed), style[2 * index + 2], made)
        coloured = _coloured(net, y, style[2 * index + 3])
        picture = net.each('Add', coloured, net.resized(picture, 2, 'linear').name)
    net.output_map('output', picture)


def _halved_or_doubled(net: Net, x: Map, made: int, factor: float) -> Map:
    y = net.resized(net.leaky(net.conv(x, x.channels)), factor, 'linear')
    y = net.leaky(net.conv(y, made, gain=1.0))
    skip = net.resized(x, factor, 'linear')
    weight = net.drawn(made, x.channels, 1, 1, deviation=(0.5 / x.channels) ** 0.5)
    return net.each('Add', y, net.op('Conv', skip.name, weight))


def _styled_conv(net: Net, x: Map, style: str, made: int) -> Map:
    """Modulated convolution, stored noise, bias."""
    y = Map(net.op('Conv', x.name, _modulated(net, x, style, made), pads=[1] * 4), made, x.size)
    y = net.each('Add', net.each('Mul', y, net.fixed(2**0.5)), net.drawn(1, 1, x.size, x.size, deviation=0.1))
    return net.leaky(net.each('Add', y, net.filled(0.0, 1, made, 1, 1)))


def _coloured(net: Net, x: Map, style: str) -> Map:
    name = net.op('Conv', x.name, _modulated(net, x, style, 3, 1, demodulate=False))
    return net.each('Add', Map(name, 3, x.size), net.filled(0.0, 1, 3, 1, 1))


_BLUR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def _gpen(size: int, multiplier: int, narrow: float) -> Callable[[Net], None]:
    """yangxy/GPEN, face_model/gpen_model.py: an encoder whose features are the noise of a StyleGAN2 decoder."""
    sizes = [2**power for power in range(3, size.bit_length())]

    def width(at: int) -> int:
        return int(_stylegan_width(at, multiplier) * narrow)

    def made(net: Net) -> None:
        x = net.leaky(net.conv(net.picture('input', size), width(size), 1))
        seen = [x]
        for at in reversed(sizes):
            x = net.leaky(net.conv(_blurred(net, x, 2), width(at // 2), stride=2, pad=0))
            seen.insert(0, x)
        style = net.dense(net.op('Flatten', x.name), width(4) * 16, IDENTITY)
        power = net.op('ReduceMean', net.op('Mul', style, style), axes=[1])
        style = net.op('Div', style, net.op('Sqrt', net.op('Add', power, net.fixed(1e-8))))
        for _ in range(8):
            style = net.op('LeakyRelu', net.dense(style, IDENTITY, IDENTITY, gain=2.0), alpha=0.2)

        y = Map(net.drawn(1, width(4), 4, 4, deviation=1.0), width(4), 4)
        y = _with_seen(net, _convolved(net, y, style, width(4)), seen[0])
        picture = _coloured(net, y, style)
        for at, features in zip(sizes, seen[1:], strict=True):
            y = _with_seen(net, _doubled(net, y, style, width(at)), features)
            y = _with_seen(net, _convolved(net, y, style, width(at)), features)
            # Zeros between the pixels, then a blur by four times the kernel: a transposed convolution.
            kernel = net.fixed(np.tile(4 * _BLUR, (3, 1, 1, 1)))
            name = net.op('ConvTranspose', picture.name, kernel, strides=[2, 2], pads=[1] * 4, group=3)
            picture = net.each('Add', _coloured(net, y, style), name)
        net.output_map('output', picture)

    return made


def _blurred(net: Net, x: Map, pad: int, gain: float = 1.0) -> Map:
    kernel = net.fixed(np.tile(gain * _BLUR, (x.channels, 1, 1, 1)))
    name = net.op('Conv', x.name, kernel, pads=[pad] * 4, group=x.channels)
    return Map(name, x.channels, x.size + 2 * pad - 3)


def _convolved(net: Net, x: Map, style: str, made: int) -> Map:
    return Map(net.op('Conv', x.name, _modulated(net, x, style, made), pads=[1] * 4), made, x.size)


def _doubled(net: Net, x: Map, style: str, made: int) -> Map:
    weight = net.op('Transpose', _modulated(net, x, style, made), perm=[1, 0, 2, 3])
    name = net.op('ConvTranspose', x.name, weight, strides=[2, 2])
    return _blurred(net, Map(name, made, 2 * x.size + 1), 1, 4.0)


def _with_seen(net: Net, x: Map, features: Map) -> Map:
    both = net.joined(x, net.each('Mul', features, net.drawn(1, deviation=0.1, mean=0.3)))
    biased = net.each('Add', both, net.filled(0.0, 1, both.channels, 1, 1))
    return net.each('Mul', net.leaky(biased), net.fixed(2**0.5))


def _real_esrgan_general(net: Net, size: int = 128, layers: int = 32) -> None:
    """xinntao/Real-ESRGAN, realesrgan/archs/srvgg_arch.py as realesr-general-x4v3 has it; of one tile."""
    picture = net.picture('input', size)
    x = picture
    for _ in range(layers + 1):
        x = net.conv(x, 64, gain=1.9)
        x = net.each('PRelu', x, net.filled(0.25, 64, 1, 1))
    name = net.op('DepthToSpace', net.conv(x, 48, gain=0.1).name, blocksize=4, mode='CRD')
    net.output_map('output', net.each('Add', net.resized(picture, 4), name))


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that can be built."""

    build: Callable[[Net], None]
    family: str
    """Of the catalogue."""


ARCHITECTURES: dict[str, Architecture] = {
    'yolov4_tiny_416': Architecture(_yolov4_tiny, 'yolov4_tiny'),
    'inswapper_128': Architecture(_inswapper, 'inswapper'),
    'gpen_bfr_256': Architecture(_gpen(256, 1, 0.5), 'gpen_256'),
    'gpen_bfr_512': Architecture(_gpen(512, 2, 1.0), 'gpen'),
    'gfpgan_512': Architecture(_gfpgan, 'gfpgan'),
    'codeformer_512': Architecture(_codeformer(512), 'codeformer'),
    'codeformer_256': Architecture(_codeformer(256), 'codeformer_256'),
    'real_esrgan_general_x4v3': Architecture(_real_esrgan_general, 'real_esrgan_x4'),
}
