"""Looking into an ONNX file without loading its weights."""

from __future__ import annotations

import contextlib
import mmap
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from facefusion_ros.models.entry import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from numpy.typing import NDArray
    from onnx import ModelProto, TensorProto, ValueInfoProto

# Field numbers of onnx.proto (onnx/onnx on GitHub) and the wire format of protocol buffers
# (protobuf.dev/programming-guides/encoding): a file is read field by field, and the weights' values are stepped over.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_VALUES = {4, 5, 6, 7, 9, 10, 11}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_OTHER_FILES = {
    b'<!DOCTYPE': 'a web page: the download went wrong',
    b'<html': 'a web page: the download went wrong',
    b'version https://git-lfs': 'a Git LFS pointer: fetch the real file with `git lfs pull`',
    b'PK\x03\x04': 'an archive or a PyTorch file: unpack it, or export it to ONNX',
    b'\x80\x02': 'a pickle of PyTorch: export it to ONNX',
}


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """An input or output of a graph."""

    name: str
    shape: tuple[int | None, ...]
    """None where a dimension is left open."""
    dtype: np.dtype[np.generic] | None
    """None where numpy has no such type."""

    def __str__(self) -> str:
        sizes = ', '.join('?' if size is None else str(size) for size in self.shape)
        return f'{self.name} [{sizes}] {self.dtype}'


@dataclass(frozen=True, slots=True)
class Initializer:
    """A weight of a graph."""

    name: str
    shape: tuple[int, ...]
    used: bool
    """Whether a node reads it."""
    file: str | None
    """Name of the file beside the network's that holds the values; None where they are in the network's own."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What an ONNX file says of its network."""

    path: Path
    inputs: tuple[GraphTensor, ...]
    """Without those that only name weights."""
    outputs: tuple[GraphTensor, ...]
    initializers: tuple[Initializer, ...]
    operators: Mapping[str, int]
    """How many nodes there are of each; those of other domains as ``domain.name``."""
    opset: int
    """Version of the standard operators."""
    producer: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What else whoever exported it wrote into the file."""

    @property
    def parameters(self) -> int:
        """How many numbers the weights are."""
        return sum(int(np.prod(weight.shape, dtype=np.int64)) for weight in self.initializers)

    @property
    def files_beside(self) -> tuple[str, ...]:
        """Names of the files beside the network's that hold weights."""
        return tuple(sorted({weight.file for weight in self.initializers if weight.file}))


def read_graph(path: Path) -> Graph:
    """Read what an ONNX file says of its network, in time and memory that do not depend on its weights.

    Raises ModelError where it is not ONNX, is cut short, or lacks files with its weights; OSError where it cannot be
    opened.
    """
    model = read_skeleton(path)
    graph, weights = model.graph, model.graph.initializer
    read = {name for node in graph.node for name in node.input}
    names = {weight.name for weight in weights}
    return Graph(
        path=path,
        inputs=tuple(_tensor(value) for value in graph.input if value.name not in names),
        outputs=tuple(_tensor(value) for value in graph.output),
        initializers=tuple(
            Initializer(_text(w.name), tuple(w.dims), w.name in read, _file_beside(w, path)) for w in weights
        ),
        operators=dict(Counter(_text(n.domain) + '.' * bool(n.domain) + _text(n.op_type) for n in graph.node)),
        opset=max((o.version for o in model.opset_import if o.domain in {'', 'ai.onnx'}), default=0),
        producer=f'{_text(model.producer_name)} {_text(model.producer_version)}'.strip(),
        metadata={_text(each.key): _text(each.value) for each in model.metadata_props},
    )


def read_skeleton(path: Path, kept_bytes: int = 0) -> ModelProto:
    """Read an ONNX file whose weights of more than ``kept_bytes`` have a name, a type and a shape, but no values.

    Raises ModelError and OSError as ``read_graph`` does, but for files with weights, which are not looked for.
    """
    onnx = _onnx()
    with _opened(path) as data:
        head, nodes, weights = bytearray(), bytearray(), []
        for number, field_start, start, end in _fields(data, 0, len(data), path):
            if number != _MODEL_GRAPH:
                head += data[field_start:end]
                continue
            for within, part_start, value, part_end in _fields(data, start, end, path):
                if within != _GRAPH_INITIALIZER:
                    nodes += data[part_start:part_end]
                elif part_end - value > kept_bytes:
                    weights.append(_without_values(data, value, part_end, path))
                else:
                    weights.append(_parsed(onnx.TensorProto, data[value:part_end], path))
        model, graph = _parsed(onnx.ModelProto, bytes(head), path), _parsed(onnx.GraphProto, bytes(nodes), path)
    if not model.ir_version:
        raise ModelError(f'{path}: is not an ONNX file')
    if not model.opset_import:
        raise ModelError(f'{path}: is cut short: its end, with the versions of its operators, is missing; get it again')
    if not graph.node or not graph.output:
        raise ModelError(f'{path}: is not an ONNX network: it has no nodes or no outputs')
    model.graph.CopyFrom(graph)
    model.graph.initializer.extend(weights)
    return model


def read_weight(path: Path, name: str) -> NDArray[np.generic]:
    """Read one weight of an ONNX file, without the others; raises ModelError where there is none of that name."""
    onnx = _onnx()
    with _opened(path) as data:
        for number, _, start, end in _fields(data, 0, len(data), path):
            if number != _MODEL_GRAPH:
                continue
            for within, _, value, part_end in _fields(data, start, end, path):
                if within == _GRAPH_INITIALIZER and _without_values(data, value, part_end, path).name == name:
                    tensor = _parsed(onnx.TensorProto, data[value:part_end], path)
                    _file_beside(tensor, path)
                    return onnx.numpy_helper.to_array(tensor, str(path.parent))  # type: ignore[no-any-return]
    raise ModelError(f'{path}: has no weight named {name!r}')


def _onnx() -> ModuleType:
    # A machine that only runs what is in its store has no need of it.
    try:
        return import_module('onnx')
    except ImportError:
        raise ModelError('looking into an ONNX file needs the package onnx: pip install onnx') from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    with path.open('rb') as file:
        start = file.read(64)
        if not start:
            raise ModelError(f'{path}: is empty, not an ONNX file')
        for sign, what in _OTHER_FILES.items():
            if start.lstrip().lower().startswith(sign.lower()):
                raise ModelError(f'{path}: is not an ONNX file but {what}')
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # Else the kernel reads ahead into the weights that are stepped over.
            data.madvise(mmap.MADV_RANDOM)
            yield data


def _fields(data: mmap.mmap, start: int, end: int, path: Path) -> Iterator[tuple[int, int, int, int]]:
    """Go through the fields of a message: number, where it starts, where its value starts and where it ends."""
    at = start
    while at < end:
        field_start = at
        tag, at = _varint(data, at, end, path)
        number, kind = tag >> 3, tag & 7
        value = at
        if kind == _VARINT:
            _, at = _varint(data, at, end, path)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        elif kind == _BYTES:
            length, value = _varint(data, at, end, path)
            at = value + length
        if number == 0 or kind not in {_VARINT, _FIXED64, _BYTES, _FIXED32}:
            raise ModelError(f'{path}: is not an ONNX file, or is damaged at byte {field_start}')
        if at > end:
            _refuse_short(data, path, at)
        yield number, field_start, value, at


def _varint(data: mmap.mmap, at: int, end: int, path: Path) -> tuple[int, int]:
    """Read a number of 7 bits per byte, lowest first; return it and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    return _refuse_short(data, path, at + 1)


def _refuse_short(data: mmap.mmap, path: Path, wanted: int) -> tuple[int, int]:
    # Every ONNX file begins with its format version: field 1, a number that is small.
    if data[0] == 8 and len(data) > 1 and data[1] < 128:
        raise ModelError(
            f'{path}: is cut short or damaged: it has {len(data)} bytes and should have at least {wanted}; get it again'
        )
    raise ModelError(f'{path}: is not an ONNX file')


def _without_values(data: mmap.mmap, start: int, end: int, path: Path) -> TensorProto:
    """Read a weight's name and shape."""
    kept = bytearray()
    for number, field_start, _, at in _fields(data, start, end, path):
        if number not in _TENSOR_VALUES:
            kept += data[field_start:at]
    return _parsed(_onnx().TensorProto, bytes(kept), path)


def _parsed(kind: type, data: bytes, path: Path) -> Any:  # noqa: ANN401 - protocol buffers come without types
    message = kind()
    try:
        message.ParseFromString(data)
    except Exception as error:  # noqa: BLE001 - DecodeError is not of the onnx package
        raise ModelError(f'{path}: is not an ONNX file, or is damaged: {error}') from None
    return message


def _text(value: str | bytes) -> str:
    # What is not UTF-8 comes as bytes: the file is damaged, and is refused by what runs it.
    return value if isinstance(value, str) else value.decode(errors='replace')


def _tensor(value: ValueInfoProto) -> GraphTensor:
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField('dim_value') and d.dim_value > 0 else None for d in kind.shape.dim)
    try:
        dtype = np.dtype(_onnx().helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except KeyError:
        dtype = None
    return GraphTensor(_text(value.name), shape, dtype)


def _file_beside(tensor: TensorProto, path: Path) -> str | None:
    """Name of the file that holds a weight's values; raises ModelError where it is missing or too short."""
    if tensor.data_location != tensor.EXTERNAL:
        return None
    said = {entry.key: entry.value for entry in tensor.external_data}
    location = PurePosixPath(said.get('location', ''))
    if not location.name or location.is_absolute() or '..' in location.parts:
        raise ModelError(f'{path}: keeps its weights in {str(location)!r}, which is not beside it: export it again')
    file = path.parent / location
    if not file.is_file():
        raise ModelError(f'{path}: its weights are in {location}, which is missing: put that file beside it')
    wanted = int(said.get('offset', 0)) + int(said.get('length', 0))
    if file.stat().st_size < wanted:
        raise ModelError(f'{file}: is cut short: it has {file.stat().st_size} bytes, {path.name} needs {wanted}')
    return str(location)
