"""Recording topics to an MCAP file, as rosbag2 does."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcap.writer import CompressionType, IndexType, Writer

from facefusion_ros.app.bag.definition import full_definition, installed_message_text
from facefusion_ros.app.bag.errors import BagError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from facefusion_ros.app.bag.definition import MessageText

CHUNK_BYTES = 1 << 20
"""Messages are compressed and written in chunks of about this size ..."""
CHUNK_NS = 1_000_000_000
"""... or of this much log time, so that a killed recorder loses no more than that."""


@dataclass(frozen=True, slots=True)
class OfferedQos:
    """The part of a publisher's quality of service that decides who may subscribe to it on replay."""

    reliability: str = 'reliable'
    durability: str = 'volatile'
    depth: int = 10

    def profiles(self) -> str:
        """YAML of one profile as rosbag2 writes it since Jazzy (rosbag2_storage/src/rosbag2_storage/qos.cpp)."""
        forever = '{sec: 9223372036, nsec: 854775807}'
        return (
            f'- {{history: keep_last, depth: {self.depth}, reliability: {self.reliability}, '
            f'durability: {self.durability}, deadline: {forever}, lifespan: {forever}, liveliness: automatic, '
            f'liveliness_lease_duration: {forever}, avoid_ros_namespace_conventions: false}}'
        )


class BagWriter:
    """Writes serialized messages to a bag. Used by one thread.

    The file is readable at every moment up to its last whole chunk. Where it cannot be written any more, BagError is
    raised once, the file is cut back to its last whole chunk and finished, and later writes do nothing; ``failed``
    says why.
    """

    def __init__(self, path: Path | str, message_text: MessageText = installed_message_text) -> None:
        """Create or overwrite the file; raises BagError where that fails."""
        self.path = Path(path)
        self.failed: str | None = None
        """Why the recording stopped; None while it goes on."""
        self.message_count = 0
        """Messages in the file; those of the chunk in progress are not counted yet."""
        self._message_text = message_text
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, tuple[int, str]] = {}
        self._waiting_count = 0
        self._waiting_bytes = 0
        self._chunk_begin_ns = 0
        self._whole_bytes = 0
        try:
            self._file = self.path.open('wb')
        except OSError as error:
            raise BagError(
                f'cannot write the bag {self.path}: {error.strerror}; name a file in a folder that exists'
            ) from error
        # This class says where chunks end, so that it knows how much of the file is whole.
        # Any: mcap's writer is annotated in part only.
        self._writer: Any = Writer(self._file, chunk_size=sys.maxsize, compression=CompressionType.ZSTD)
        with self._stopping_on_error():
            self._writer.start(profile='ros2', library='facefusion_ros')
            self._end_chunk()

    def add_topic(self, topic: str, type_name: str, qos: OfferedQos | None = None) -> None:
        """Announce a topic; ``write`` does so by itself for topics of the default quality of service.

        That default (reliable, volatile) is written as no profile, which every rosbag2 takes for it; the text of a
        profile differs between Humble and later releases.
        Raises BagError where the type is not installed, or where the topic has another type already.
        """
        if topic in self._channels:
            known = self._channels[topic][1]
            if known != type_name:
                raise BagError(f'topic {topic} has the type {known} in {self.path}; {type_name} needs another topic')
            return
        if type_name not in self._schemas:
            text = full_definition(type_name, self._message_text).encode()
            self._schemas[type_name] = self._writer.register_schema(type_name, 'ros2msg', text)
        metadata = {'offered_qos_profiles': qos.profiles() if qos else ''}
        channel = self._writer.register_channel(topic, 'cdr', self._schemas[type_name], metadata)
        self._channels[topic] = channel, type_name

    def write(
        self,
        topic: str,
        type_name: str,
        cdr: bytes,
        log_time_ns: int,
        publish_time_ns: int | None = None,
        sequence: int = 0,
    ) -> None:
        """Add a message: CDR with its encapsulation header, as rclpy's ``serialize_message`` makes it.

        ``log_time_ns`` is when it was received, ``publish_time_ns`` when it was sent, the same where unknown.
        Raises BagError as ``add_topic`` does, and once where the file cannot be written any more.
        """
        if self.failed:
            return
        self.add_topic(topic, type_name)
        if not self._waiting_count:
            self._chunk_begin_ns = log_time_ns
        publish_time_ns = log_time_ns if publish_time_ns is None else publish_time_ns
        self._writer.add_message(self._channels[topic][0], log_time_ns, cdr, publish_time_ns, sequence)
        self._waiting_count += 1
        self._waiting_bytes += len(cdr)
        if self._waiting_bytes >= CHUNK_BYTES or abs(log_time_ns - self._chunk_begin_ns) >= CHUNK_NS:
            with self._stopping_on_error():
                self._end_chunk()

    def close(self) -> None:
        """Finish the file with its index; may be called twice. Raises BagError where that fails."""
        if self._file.closed:
            return
        with self._stopping_on_error():
            self._end_chunk()
            self._writer.finish()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end_chunk(self) -> None:
        self._writer.flush()
        self._whole_bytes = self._file.tell()
        self.message_count += self._waiting_count
        self._waiting_count = self._waiting_bytes = 0

    @contextlib.contextmanager
    def _stopping_on_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failed = (
                f'recording {self.path} stopped: {error.strerror}; free some space or record elsewhere '
                f'({self.message_count} messages are in the file)'
            )
            self._finish_early()
            raise BagError(self.failed) from error

    def _finish_early(self) -> None:
        """Cut the file back to its last whole chunk and end it without an index, as the format allows."""
        self._file.raw.close()  # what is buffered must not be tried again
        with contextlib.suppress(OSError), self.path.open('r+b') as file:
            file.truncate(self._whole_bytes)
            file.seek(0, 2)
            end: Any = Writer(
                file,
                index_types=IndexType.NONE,
                repeat_channels=False,
                repeat_schemas=False,
                use_chunking=False,
                use_statistics=False,
                use_summary_offsets=False,
            )
            end.finish()
