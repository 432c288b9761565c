"""Small networks of each role's shape, with random weights: what there is to measure without a user's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from facefusion_ros.app.bench.net import Map, Net
from facefusion_ros.models.entry import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EMBEDDING = 512


def _detector(net: Net) -> None:
    """Make two heads at strides 16 and 32, as YOLOv4-tiny has them."""
    x = net.picture('input', 320)
    for made in (16, 32, 48, 64):
        x = net.block(x, made, stride=2)
    fine = net.block(x, 64)
    coarse = net.block(net.block(fine, 96, stride=2), 96)
    net.output_map('fine', net.conv(fine, 18, 1))
    net.output_map('coarse', net.conv(coarse, 18, 1))


def _pooled(net: Net, size: int, widths: tuple[int, ...]) -> str:
    x = net.picture('input', size)
    for made in widths:
        x = net.block(net.block(x, made, stride=2), made)
    return net.op('Flatten', net.op('GlobalAveragePool', x.name))


def _landmarks(net: Net) -> None:
    """Make 98 points of a crop of 112, as PFLD has them."""
    net.output('landmarks', net.dense(_pooled(net, 112, (16, 32, 64)), 64, 196), 1, 196)


def _recognition(net: Net) -> None:
    """Make an embedding of 512 of a crop of 112, as ArcFace has it."""
    net.output('embedding', net.dense(_pooled(net, 112, (32, 64, 128)), 128, EMBEDDING), 1, EMBEDDING)


def _identity(net: Net) -> None:
    """Turn one embedding into another, as the converters between recognisers do."""
    x = net.op('LeakyRelu', net.dense(net.input('input', 1, EMBEDDING), EMBEDDING, 1024), alpha=0.1)
    net.output('output', net.dense(x, 1024, EMBEDDING), 1, EMBEDDING)


def _modulated(net: Net, x: Map, embedding: str) -> Map:
    """Normalise; gain and bias come from an identity, as in style transfer."""
    gain, bias = (net.reshaped(net.dense(embedding, EMBEDDING, x.channels), 1, x.channels, 1, 1) for _ in range(2))
    return net.each('Add', net.each('Mul', net.instance_norm(x), gain), bias)


def _swapper(net: Net) -> None:
    """Take a crop of 128 and an embedding; modulated residual blocks at a quarter of the size, as inswapper has."""
    source, target = net.input('source', 1, EMBEDDING), net.picture('target', 128)
    x = net.block(net.block(target, 32, stride=2), 64, stride=2)
    for _ in range(3):
        x = net.each('Add', x, _modulated(net, net.block(x, 64), source).name)
    x = net.block(net.resized(net.block(net.resized(x, 2), 32), 2), 16)
    net.output_map('output', net.each('Tanh', net.conv(x, 3)))


def _enhancer(net: Net) -> None:
    """Take a patch of 256 through an encoder and a decoder with a shortcut."""
    first = net.block(net.picture('input', 256), 16, stride=2)
    x = net.block(net.block(first, 32, stride=2), 64, stride=2)
    x = net.block(net.resized(net.block(net.resized(net.block(x, 64), 2), 32), 2), 16)
    x = net.block(net.resized(net.each('Add', x, first.name), 2), 8)
    net.output_map('output', net.each('Tanh', net.conv(x, 3)))


def _mask(net: Net) -> None:
    """Make a mask of a patch of 256, as XSeg has it."""
    x = net.block(net.block(net.picture('input', 256), 16, stride=2), 32, stride=2)
    x = net.conv(net.resized(net.block(net.resized(net.block(x, 32), 2), 8), 2), 1)
    net.output_map('mask', net.each('Sigmoid', x))


def _background(net: Net) -> None:
    """Make a picture four times as wide and high, as the compact networks of Real-ESRGAN do."""
    x = net.block(net.picture('input', 128), 24)
    for _ in range(3):
        x = net.block(x, 24)
    x = net.conv(x, 48)
    x = Map(net.op('DepthToSpace', x.name, blocksize=4, mode='CRD'), 3, 4 * x.size)
    net.output_map('output', x)


NETWORKS: dict[Role, Callable[[Net], None]] = {
    Role.DETECTOR: _detector,
    Role.LANDMARKS: _landmarks,
    Role.RECOGNITION: _recognition,
    Role.IDENTITY: _identity,
    Role.SWAPPER: _swapper,
    Role.ENHANCER: _enhancer,
    Role.MASK: _mask,
    Role.BACKGROUND: _background,
}
"""What builds a network of each role."""


def write_network(role: Role, folder: Path, seed: int = 0) -> Path:
    """Make a network and write it to ``<role>.onnx`` in a folder; the same seed makes the same file."""
    net, path = Net(seed), folder / f'{role.value}.onnx'
    NETWORKS[role](net)
    onnx.save(net.model(role.value), path)
    return path
