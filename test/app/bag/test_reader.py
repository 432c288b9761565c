from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as RosbagsWriter
from rosbags.typesys import Stores, get_typestore

from facefusion_ros.app.bag.errors import BagError
from facefusion_ros.app.bag.reader import MAGIC, BagReader
from facefusion_ros.app.bag.writer import BagWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STRING = 'std_msgs/msg/String'


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory, message_text: Callable[[str, str], str]) -> Path:
    """Forty messages on two topics, in ten chunks."""
    path = tmp_path_factory.mktemp('bag') / 'a.mcap'
    with BagWriter(path, message_text) as writer:
        for number in range(40):
            writer.write('/ab'[: 2 + number % 2], STRING, number.to_bytes(4, 'little'), number * 300_000_000)
    return path


def numbers(reader: BagReader) -> list[int]:
    return [int.from_bytes(message.cdr, 'little') for message in reader]


def test_may_be_read_twice(bag: Path) -> None:
    reader = BagReader(bag)
    assert numbers(reader) == numbers(reader) == list(range(40))
    assert reader.topics == {'/a': STRING, '/ab': STRING}
    assert reader.damage is None


def test_cut_off_anywhere_gives_what_is_there(bag: Path, tmp_path: Path) -> None:
    whole = bag.read_bytes()
    path = tmp_path / 'cut.mcap'
    counts = []
    for size in range(len(MAGIC), len(whole), 3):
        path.write_bytes(whole[:size])
        reader = BagReader(path)
        found = numbers(reader)
        assert found == list(range(len(found)))
        counts.append(len(found))
        if len(found) < 40:
            assert reader.damage is not None
            assert '\n' not in reader.damage
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == 40


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_never_crash_nor_invent(bag: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(bag.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / 'flipped.mcap'
    path.write_bytes(content)
    with contextlib.suppress(BagError):
        reader = BagReader(path)
        found = set(numbers(reader))
        assert found == set(range(40)) or (reader.damage and found < set(range(40)))


def test_a_chunk_that_is_called_something_else_is_missed(bag: Path, tmp_path: Path) -> None:
    content = bytearray(bag.read_bytes())
    reader = BagReader(bag)
    chunk = reader._files[0].blocks[1][1]
    content[chunk] = 0x09  # an attachment
    content[-len(MAGIC) - 20] ^= 0xFF  # where the summary begins
    path = tmp_path / 'called.mcap'
    path.write_bytes(content)
    reader = BagReader(path)
    assert set(numbers(reader)) < set(range(40))
    assert reader.damage


def test_a_damaged_chunk_is_left_out_and_said(bag: Path, tmp_path: Path) -> None:
    content = bytearray(bag.read_bytes())
    middle = content.index(b'zstd', len(content) // 3)  # in the head of a chunk
    content[middle + 14] ^= 0xFF
    path = tmp_path / 'damaged.mcap'
    path.write_bytes(content)
    reader = BagReader(path)
    found = numbers(reader)
    assert 30 <= len(found) < 40
    assert found[0] == 0
    assert found[-1] == 39
    assert reader.damage is not None
    assert 'damaged at byte' in reader.damage


@pytest.mark.parametrize('compression', list(CompressionType))
@pytest.mark.parametrize('chunks', [True, False])
@pytest.mark.parametrize('index', [IndexType.ALL, IndexType.NONE])
def test_every_layout_of_the_format(
    tmp_path: Path, compression: CompressionType, chunks: bool, index: IndexType
) -> None:
    path = tmp_path / 'a.mcap'
    with path.open('wb') as file:
        writer = Writer(file, 100, compression=compression, use_chunking=chunks, index_types=index)
        writer.start('ros2')
        schema = writer.register_schema(STRING, 'ros2msg', b'string data')
        channel = writer.register_channel('/note', 'cdr', schema)
        json = writer.register_channel('/json', 'json', schema)
        for number in reversed(range(40)):
            writer.add_message(channel, number, number.to_bytes(4, 'little'), number)
            writer.add_message(json, number, b'{}', number)
        writer.finish()
    reader = BagReader(path)
    assert numbers(reader) == list(range(40))
    assert reader.topics == {'/note': STRING}
    assert reader.damage is None


def test_a_folder_of_rosbag2_in_several_files(tmp_path: Path, message_text: Callable[[str, str], str]) -> None:
    for part in range(3):
        with BagWriter(tmp_path / f'bag_{part}.mcap', message_text) as writer:
            for number in range(part, 30, 3):
                writer.write('/note', STRING, number.to_bytes(4, 'little'), number)
    assert numbers(BagReader(tmp_path)) == list(range(30))


@pytest.mark.parametrize('plugin', list(StoragePlugin))
def test_a_folder_written_by_rosbags(tmp_path: Path, plugin: StoragePlugin) -> None:
    store = get_typestore(Stores.ROS2_KILTED)
    with RosbagsWriter(tmp_path / 'bag', version=9, storage_plugin=plugin) as writer:
        connection = writer.add_connection('/note', STRING, typestore=store)
        for number in range(10):
            writer.write(connection, number, number.to_bytes(4, 'little'))
    if plugin is StoragePlugin.MCAP:
        reader = BagReader(tmp_path / 'bag')
        assert numbers(reader) == list(range(10))
        assert reader.topics == {'/note': STRING}
        assert reader.damage is None
    else:
        with pytest.raises(BagError, match='ros2 bag convert'):
            BagReader(tmp_path / 'bag')


def test_compressed_messages_are_refused(bag: Path, tmp_path: Path) -> None:
    (tmp_path / 'a.mcap').write_bytes(bag.read_bytes())
    (tmp_path / 'metadata.yaml').write_text('rosbag2_bagfile_information:\n  compression_mode: MESSAGE\n')
    with pytest.raises(BagError, match='compressed'):
        BagReader(tmp_path)


def test_what_is_no_bag(tmp_path: Path) -> None:
    def refusal(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BagError) as caught:
            BagReader(tmp_path / name)
        assert '\n' not in str(caught.value)
        return str(caught.value)

    assert 'is empty' in refusal('a.mcap', b'')
    assert 'is not a bag' in refusal('a.txt', b'hello')
    assert 'is not a bag' in refusal('b.mcap', MAGIC[:5])
    assert 'ROS 1' in refusal('a.bag', b'#ROSBAG V2.0\n')
    assert 'zstd -d' in refusal('a.mcap.zstd', b'\x28\xb5\x2f\xfdxxxxxxxxxx')
    sqlite3.connect(tmp_path / 'a.db3').execute('CREATE TABLE topics (id)').connection.close()
    with pytest.raises(BagError, match='ros2 bag convert'):
        BagReader(tmp_path / 'a.db3')
    with pytest.raises(BagError, match='there is no bag'):
        BagReader(tmp_path / 'missing.mcap')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(BagError, match=r'without an \.mcap file'):
        BagReader(tmp_path / 'folder')


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    with (tmp_path / 'a.mcap').open('wb') as file:
        writer = Writer(file)
        writer.start()
        writer.add_message(writer.register_channel('/json', 'json', 0), 0, b'{}', 0)
        writer.finish()
    with pytest.raises(BagError, match='json, not cdr'):
        BagReader(tmp_path / 'a.mcap')
