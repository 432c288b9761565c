"""Reading bags: MCAP recordings, finished or cut off.

Format: https://mcap.dev/spec. A record is an opcode (1 byte), a length (8 bytes) and its content.
"""

from __future__ import annotations

import heapq
import io
import re
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, Schema
from mcap.stream_reader import get_chunk_data_stream

from facefusion_ros.app.bag.errors import BagError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcap.summary import Summary

MAGIC = b'\x89MCAP0\r\n'
LARGEST_CHUNK_BYTES = 1 << 32
"""A chunk that claims to be larger than this is damaged."""

_HEAD = struct.Struct('<BQ')
_MESSAGE = struct.Struct('<HIQQ')
_FOOTER = struct.Struct('<QQI')
_FOOTER_BYTES = _HEAD.size + _FOOTER.size + len(MAGIC)
_OTHER_FORMATS = {
    b'SQLite format 3\0': 'is a rosbag2 database (sqlite3); convert it to MCAP with `ros2 bag convert`',
    b'#ROSBAG V2.0': 'is a ROS 1 bag; convert it to MCAP with `rosbags-convert` (pip install rosbags)',
    b'\x28\xb5\x2f\xfd': 'is compressed as a whole; unpack it with `zstd -d`',
}
# What the decoders of records and of the two compressions raise on damaged bytes.
_DECODING_ERRORS = (McapError, struct.error, zstandard.ZstdError, ValueError, RuntimeError, OverflowError, MemoryError)


@dataclass(frozen=True, slots=True)
class Message:
    """One recorded message."""

    topic: str
    type_name: str
    """As ``package/msg/Name``."""
    cdr: bytes
    """Serialized, with the encapsulation header."""
    log_time_ns: int
    """When it was received."""


class _DamageError(Exception):
    """Bytes that are no records; the text says where and why."""


@dataclass
class _Index:
    """Where the messages of one file are, and what they are."""

    path: Path
    blocks: list[tuple[int, int]] = field(default_factory=list)
    """First log time and offset of every chunk, and of every message outside chunks."""
    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)

    def learn(self, opcode: int, content: bytes) -> None:
        """Remember a channel or a schema."""
        if opcode == Opcode.CHANNEL:
            channel = Channel.read(ReadDataStream(io.BytesIO(content)))
            self.channels[channel.id] = channel
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(ReadDataStream(io.BytesIO(content)))
            self.schemas[schema.id] = schema


class BagReader:
    """The messages of a bag in the order of their log time; equal times in the order of the file.

    A bag that is cut off or damaged gives what is readable. ``damage`` then says what is missing: of a file without
    an end it is known on opening, of a damaged chunk in a finished file once the iteration has come to it, so ask
    after the last message. May be iterated more than once. Only messages in CDR are given.
    """

    def __init__(self, path: Path | str) -> None:
        """Read the index of an .mcap file, or of all .mcap files in a rosbag2 folder.

        Raises BagError where there is no bag, or one of another format.
        """
        self._damage: dict[str, None] = {}  # a set that keeps its order
        self._files = [self._open(file) for file in _files_of(Path(path))]

    @property
    def damage(self) -> str | None:
        """One line: what could not be read; None while all was readable."""
        if not self._damage:
            return None
        first, more = next(iter(self._damage)), len(self._damage) - 1
        return f'{first} (and {more} more places)' if more else first

    @property
    def topics(self) -> Mapping[str, str]:
        """Type names by topic."""
        return {
            channel.topic: file.schemas[channel.schema_id].name
            for file in self._files
            for channel in file.channels.values()
            if _is_readable(file, channel)
        }

    def __iter__(self) -> Iterator[Message]:
        return heapq.merge(*map(self._messages, self._files), key=lambda message: message.log_time_ns)

    def _open(self, path: Path) -> _Index:
        try:
            with path.open('rb') as file:
                index = self._read_index(path, file)
        except OSError as error:
            raise BagError(f'cannot read the bag {path}: {error.strerror}') from error
        encodings = sorted({channel.message_encoding for channel in index.channels.values()})
        if encodings and 'cdr' not in encodings:
            raise BagError(f'{path} holds no ROS 2 messages (its encoding is {", ".join(encodings)}, not cdr)')
        return index

    def _read_index(self, path: Path, file: BinaryIO) -> _Index:
        size = path.stat().st_size
        head = file.read(16)
        if not head:
            raise BagError(f'{path} is empty: nothing was recorded')
        for magic, cure in _OTHER_FORMATS.items():
            if head.startswith(magic):
                raise BagError(f'{path} {cure}')
        if not head.startswith(MAGIC):
            raise BagError(f'{path} is not a bag; give an .mcap file or a folder made by `ros2 bag record -s mcap`')
        index = _Index(path)
        summary = _summary(file, size)
        if summary and summary.chunk_indexes and summary.channels:
            index.channels, index.schemas = summary.channels, summary.schemas
            index.blocks = [(chunk.message_start_time, chunk.chunk_start_offset) for chunk in summary.chunk_indexes]
        else:
            self._search(index, file, size)
        index.blocks.sort()
        return index

    def _search(self, index: _Index, file: BinaryIO, size: int) -> None:
        """Find the messages of a file without an index by walking through it."""
        reached, before = len(MAGIC), 0
        try:
            for opcode, offset, length in _records(file, reached, size):
                reached = offset
                if opcode in {Opcode.DATA_END, Opcode.FOOTER}:
                    return
                # An index of messages follows its chunk: what stands in the chunk's place was one.
                if opcode == Opcode.MESSAGE_INDEX and before not in {Opcode.CHUNK, Opcode.MESSAGE_INDEX}:
                    self._note(index, offset, _DamageError('there is no chunk where its index says so'))
                before = opcode
                if opcode == Opcode.CHUNK:
                    try:
                        begin_ns = self._learn_chunk(index, file.read(length))
                    except _DamageError as damage:
                        self._note(index, offset, damage)
                    else:
                        index.blocks.append((begin_ns, offset))
                elif opcode == Opcode.MESSAGE and length >= _MESSAGE.size:
                    index.blocks.append((_MESSAGE.unpack(file.read(_MESSAGE.size))[2], offset))
                elif opcode in {Opcode.CHANNEL, Opcode.SCHEMA}:
                    index.learn(opcode, file.read(length))
                reached = offset + _HEAD.size + length
        except (_DamageError, *_DECODING_ERRORS) as damage:
            self._note(index, reached, damage)
        else:
            self._note(index, reached, 'the recording was not finished')

    @staticmethod
    def _learn_chunk(index: _Index, content: bytes) -> int:
        """Remember a chunk's channels and schemas, and check it; returns its first log time."""
        data, begin_ns = _unpack_chunk(content)
        stream = io.BytesIO(data)
        try:
            for opcode, _, length in _records(stream, 0, len(data)):
                if opcode in {Opcode.CHANNEL, Opcode.SCHEMA}:
                    index.learn(opcode, stream.read(length))
        except _DECODING_ERRORS as error:
            raise _DamageError(str(error)) from error
        return begin_ns

    def _messages(self, index: _Index) -> Iterator[Message]:
        """Merge the blocks of one file, reading each when its time comes."""
        waiting: list[tuple[int, int, int, Message]] = []
        with index.path.open('rb') as file:
            for begin_ns, offset in index.blocks:
                while waiting and waiting[0][0] < begin_ns:
                    yield heapq.heappop(waiting)[3]
                try:
                    for number, message in enumerate(_block_messages(index, file, offset)):
                        heapq.heappush(waiting, (message.log_time_ns, offset, number, message))
                except (_DamageError, OSError, *_DECODING_ERRORS) as damage:
                    self._note(index, offset, damage)
        while waiting:
            yield heapq.heappop(waiting)[3]

    def _note(self, index: _Index, offset: int, reason: object) -> None:
        self._damage[f'{index.path} is damaged at byte {offset}: {reason}'] = None


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(path.glob('*.mcap'))
        if files:
            metadata = path / 'metadata.yaml'
            text = metadata.read_text(errors='replace') if metadata.is_file() else ''
            if re.search(r'^\s*compression_mode:\s*["\']?MESSAGE', text, re.MULTILINE | re.IGNORECASE):
                raise BagError(f'{path} has compressed messages; convert it with `ros2 bag convert`')
            return files
        others = sorted(path.glob('*.db3')) + sorted(path.glob('*.zstd'))
        if others:
            return others[:1]  # refused by its own content
        raise BagError(f'{path} is a folder without an .mcap file; give a bag')
    if not path.exists():
        raise BagError(f'there is no bag {path}; check the path')
    return [path]


def _summary(file: BinaryIO, size: int) -> Summary | None:
    """Read the index at the end of a finished file; None where there is none."""
    if size < len(MAGIC) + _FOOTER_BYTES:
        return None
    file.seek(size - _FOOTER_BYTES)
    footer = file.read(_FOOTER_BYTES)
    if not footer.endswith(MAGIC) or _HEAD.unpack_from(footer) != (Opcode.FOOTER, 20):
        return None
    summary_begin, _, crc = _FOOTER.unpack_from(footer, _HEAD.size)
    if crc:
        if not summary_begin <= size - _FOOTER_BYTES:
            return None
        file.seek(summary_begin)
        # The checksum covers everything from the summary's begin up to itself.
        if zlib.crc32(file.read(size - summary_begin - len(MAGIC) - 4)) != crc:
            return None
    file.seek(0)
    try:
        return SeekingReader(file, record_size_limit=size).get_summary()
    except (*_DECODING_ERRORS, KeyError):
        return None


def _records(stream: BinaryIO, begin: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Walk records: opcode, offset and length of content; the stream then stands at the content."""
    offset = begin
    while offset < size:
        stream.seek(offset)
        head = stream.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise _DamageError('the file ends within a record')
        opcode, length = _HEAD.unpack(head)
        if opcode == 0:
            raise _DamageError('there is no record')
        if offset + _HEAD.size + length > size:
            raise _DamageError('the file ends within a record')
        yield opcode, offset, length
        offset += _HEAD.size + length


def _unpack_chunk(content: bytes) -> tuple[bytes, int]:
    """Uncompressed records of a chunk, and its first log time."""
    try:
        chunk = Chunk.read(ReadDataStream(io.BytesIO(content)))
        if chunk.uncompressed_size > LARGEST_CHUNK_BYTES:
            raise _DamageError(f'a chunk claims {chunk.uncompressed_size} bytes')
        stream, size = get_chunk_data_stream(chunk, validate_crc=True)
        return stream.read(size), chunk.message_start_time
    except _DECODING_ERRORS as error:
        raise _DamageError(str(error) or type(error).__name__) from error


def _block_messages(index: _Index, file: BinaryIO, offset: int) -> Iterator[Message]:
    """Read the messages of a chunk, or the one message, at an offset."""
    size = index.path.stat().st_size
    opcode, _, length = next(_records(file, offset, size), (0, 0, 0))
    content = file.read(length)
    if opcode == Opcode.MESSAGE:
        yield from _decode(index, content)
    elif opcode == Opcode.CHUNK:
        data, _ = _unpack_chunk(content)
        stream = io.BytesIO(data)
        for inner, _, inner_length in _records(stream, 0, len(data)):
            if inner == Opcode.MESSAGE:
                yield from _decode(index, stream.read(inner_length))
    else:
        raise _DamageError('there is no chunk')


def _decode(index: _Index, content: bytes) -> Iterator[Message]:
    """Give a message; nothing where it is not in CDR."""
    channel_id, _, log_time_ns, _ = _MESSAGE.unpack_from(content)
    channel = index.channels.get(channel_id)
    if channel is None:
        raise _DamageError(f'a message of the unknown channel {channel_id}')
    if _is_readable(index, channel):
        type_name = index.schemas[channel.schema_id].name
        yield Message(channel.topic, type_name, content[_MESSAGE.size :], log_time_ns)


def _is_readable(index: _Index, channel: Channel) -> bool:
    return channel.message_encoding == 'cdr' and channel.schema_id in index.schemas
