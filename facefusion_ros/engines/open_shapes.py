"""What has to be known of an ONNX file before it is loaded: which dimensions it leaves open, where its weights are."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.refusal import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx import GraphProto


def parse(path: Path) -> GraphProto:
    """Parse a file without the weights that lie beside it. Raises EngineError."""
    try:
        onnx = import_module('onnx')
        broken = import_module('google.protobuf.message').DecodeError
    except ImportError as error:
        raise EngineError(f'onnx cannot be imported ({error}): pip install onnx') from error
    try:
        return onnx.load(path, load_external_data=False).graph
    except broken as error:
        raise refusal(path, 'INVALID_PROTOBUF', '') from error


def has_external_data(graph: GraphProto) -> bool:
    """Tell whether some weights lie in another file."""
    return any(tensor.data_location for tensor in graph.initializer)


def dimensions(path: Path, graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the sizes of the dimensions that the file names and the wanted shapes fix. Raises EngineError."""
    tensors = {each.name: each.type.tensor_type.shape.dim for each in graph.input}
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in tensors:
            raise EngineError(f'{path}: there is no input {name} to give a shape to: it has {", ".join(tensors)}')
        held = tuple(each.dim_value or None for each in tensors[name])
        if len(shape) != len(held) or any(have not in {None, want} for want, have in zip(shape, held, strict=True)):
            raise EngineError(f'{path}: {name} cannot be {shape_text(shape)}: the file has {shape_text(held)}')
        for size, each in zip(shape, tensors[name], strict=True):
            if each.dim_param and sizes.setdefault(each.dim_param, size) != size:
                raise EngineError(
                    f'{path}: {each.dim_param} of {name} is both {sizes[each.dim_param]} and {size}: '
                    'dimensions of one name have one size'
                )
    return sizes


def shape_text(shape: tuple[int | None, ...]) -> str:
    """Write a shape for a person: ``1x3x?x?``."""
    return 'x'.join('?' if size is None else str(size) for size in shape) or 'a scalar'
