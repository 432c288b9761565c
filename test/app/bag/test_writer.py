from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2.storage_mcap import McapReader as RosbagsReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from facefusion_ros.app.bag.errors import BagError
from facefusion_ros.app.bag.reader import BagReader
from facefusion_ros.app.bag.writer import BagWriter, OfferedQos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STRING = 'std_msgs/msg/String'
IMU = 'sensor_msgs/msg/Imu'


def test_rosbags_reads_types_and_values(tmp_path: Path, message_text: Callable[[str, str], str]) -> None:
    """Rosbags, which shares no code with this package or with mcap, decodes by the definitions in the file alone."""
    known = get_typestore(Stores.ROS2_KILTED)
    types = known.types
    header = types['std_msgs/msg/Header'](types['builtin_interfaces/msg/Time'](12, 34), 'gyro')
    vector = types['geometry_msgs/msg/Vector3']
    imu = types[IMU](
        header,
        types['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0),
        np.arange(9.0),
        vector(0.1, 0.2, 0.3),
        np.zeros(9),
        vector(1.0, 2.0, 9.8),
        np.full(9, -1.0),
    )
    path = tmp_path / 'imu.mcap'
    with BagWriter(path, message_text) as bag:
        bag.add_topic(
            '/imu/data_raw', IMU, OfferedQos(reliability='best_effort', durability='transient_local', depth=2)
        )
        bag.write('/imu/data_raw', IMU, bytes(known.serialize_cdr(imu, IMU)), 1_000, 900, 7)
        bag.write('/note', STRING, bytes(known.serialize_cdr(types[STRING]('hello'), STRING)), 2_000)

    reader = RosbagsReader(path)
    reader.open()
    seen = get_typestore(Stores.EMPTY)
    for connection in reader.connections:
        fresh = get_types_from_msg(connection.msgdef.data, connection.msgtype)
        seen.register({name: fields for name, fields in fresh.items() if name not in seen.fielddefs})
    found = {
        connection.topic: (time, seen.deserialize_cdr(cdr, connection.msgtype))
        for connection, time, cdr in reader.messages(reader.connections)
    }
    assert found['/imu/data_raw'][0] == 1_000
    assert found['/imu/data_raw'][1].header.frame_id == 'gyro'
    assert found['/imu/data_raw'][1].header.stamp.nanosec == 34
    assert found['/imu/data_raw'][1].linear_acceleration.z == 9.8
    assert found['/imu/data_raw'][1].orientation_covariance.tolist() == list(range(9))
    assert found['/note'][1].data == 'hello'
    [qos] = next(c for c in reader.connections if c.topic == '/imu/data_raw').ext.offered_qos_profiles
    assert (qos.reliability, qos.durability, qos.depth) == (
        QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL,
        2,
    )
    assert next(c for c in reader.connections if c.topic == '/note').ext.offered_qos_profiles == []
    reader.close()


def test_mcap_sees_times_and_sequence(tmp_path: Path, message_text: Callable[[str, str], str]) -> None:
    with BagWriter(tmp_path / 'a.mcap', message_text) as bag:
        bag.write('/note', STRING, b'\0\1\0\0', 1_000, 900, 7)
        bag.write('/note', STRING, b'\0\1\0\0', 1_001)
    with (tmp_path / 'a.mcap').open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == 'ros2'
        found = [(m.log_time, m.publish_time, m.sequence) for _, _, m in reader.iter_messages()]
        schemas = [schema.encoding for schema in reader.get_summary().schemas.values()]
    assert found == [(1_000, 900, 7), (1_001, 1_001, 0)]
    assert schemas == ['ros2msg']


MESSAGES = st.lists(
    st.tuples(st.sampled_from(['/a', '/b', '/deep/topic']), st.binary(max_size=300), st.integers(0, 2**63 - 1)),
    max_size=50,
)


@given(MESSAGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_goes_in_comes_out_in_order_of_time(
    tmp_path: Path, message_text: Callable[[str, str], str], messages: list[tuple[str, bytes, int]]
) -> None:
    with BagWriter(tmp_path / 'a.mcap', message_text) as bag:
        for topic, cdr, log_time_ns in messages:
            bag.write(topic, STRING, cdr, log_time_ns)
    assert bag.message_count == len(messages)
    reader = BagReader(tmp_path / 'a.mcap')
    found = [(message.topic, message.cdr, message.log_time_ns) for message in reader]
    assert found == sorted(messages, key=lambda message: message[2])
    assert reader.damage is None
    assert reader.topics == {topic: STRING for topic, _, _ in messages}
    with (tmp_path / 'a.mcap').open('rb') as file:
        assert sorted(m.data for _, _, m in make_reader(file).iter_messages()) == sorted(m[1] for m in messages)


def test_a_topic_has_one_type(tmp_path: Path, message_text: Callable[[str, str], str]) -> None:
    with BagWriter(tmp_path / 'a.mcap', message_text) as bag:
        bag.write('/note', STRING, b'', 1)
        with pytest.raises(BagError, match=r'/note has the type std_msgs/msg/String'):
            bag.write('/note', IMU, b'', 2)
        bag.write('/note', STRING, b'', 3)
    assert len(list(BagReader(tmp_path / 'a.mcap'))) == 2


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r'missing/a\.mcap: No such file or directory; .*folder'):
        BagWriter(tmp_path / 'missing' / 'a.mcap')


def test_a_disk_that_is_full_from_the_start() -> None:
    with pytest.raises(BagError, match=r'No space left on device; free some space'):
        BagWriter('/dev/full')


LIMITED = """
    import resource, signal, sys
    from facefusion_ros.app.bag.errors import BagError
    from facefusion_ros.app.bag.writer import BagWriter
    import random

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    bag = BagWriter(sys.argv[1], lambda package, name: 'string data')
    raised = 0
    for number in range(200):
        try:
            cdr = number.to_bytes(4, 'little') + random.randbytes(5000)
            bag.write('/note', 'std_msgs/msg/String', cdr, number * 300_000_000)
        except BagError as error:
            raised += 1
            assert str(error) == bag.failed
    bag.close()
    bag.close()
    print(raised, bag.message_count, bag.failed)
"""


@pytest.mark.parametrize('limit', [60_000, 100_000, 100_001, 250_000])
def test_a_disk_that_fills_up_leaves_a_bag_for_every_reader(tmp_path: Path, limit: int) -> None:
    path = tmp_path / 'a.mcap'
    command = [sys.executable, '-c', textwrap.dedent(LIMITED), path, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stderr == ''
    raised, count, failed = done.stdout.split(maxsplit=2)
    assert raised == '1'
    assert 'File too large; free some space' in failed
    reader = BagReader(path)
    numbers = [int.from_bytes(message.cdr[:4], 'little') for message in reader]
    assert numbers == list(range(int(count)))
    assert len(numbers) >= limit // 5100 - 5
    assert reader.damage is None
    with path.open('rb') as file:
        assert len(list(make_reader(file, validate_crcs=True).iter_messages())) == len(numbers)
    other = RosbagsReader(path)
    other.open()
    assert len(list(other.messages(other.connections))) == len(numbers)
    other.close()


KILLED = """
    import os, signal, sys
    from facefusion_ros.app.bag.writer import BagWriter

    bag = BagWriter(sys.argv[1], lambda package, name: 'string data')
    for number in range(1000):
        bag.write('/note', 'std_msgs/msg/String', number.to_bytes(4, 'little'), number * 10_000_000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_recorder_loses_a_second_at_most(tmp_path: Path) -> None:
    subprocess.run([sys.executable, '-c', textwrap.dedent(KILLED), tmp_path / 'a.mcap'], timeout=100)
    reader = BagReader(tmp_path / 'a.mcap')
    numbers = [int.from_bytes(message.cdr, 'little') for message in reader]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 900
    assert reader.damage is not None
    assert 'the recording was not finished' in reader.damage
