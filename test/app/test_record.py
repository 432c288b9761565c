"""Recording what real nodes publish, with the real command, in a process of its own."""

import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import pytest
from mcap.reader import make_reader
from rclpy.serialization import deserialize_message
from rosbags.rosbag2.storage_mcap import McapReader as RosbagsReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import CompressedImage, Imu

from facefusion_ros import msg
from facefusion_ros.app.bag.reader import BagReader
from facefusion_ros.ros.messages import from_timing, to_header

PATIENCE_S = 60.0


class Recording:
    """A recorder at work."""

    def __init__(self, process, folder):
        self._process = process
        self._folder = folder

    def end(self, number=None):
        """Send a signal, if one is given, and wait for the end; returns exit code, standard output and error."""
        if number:
            self._process.send_signal(number)
        code = self._process.wait(PATIENCE_S)
        return code, (self._folder / 'out').read_text(), (self._folder / 'err').read_text()


@pytest.fixture
def record(executable, namespace, tmp_path):
    """Start the recorder in the test's namespace: ``with record('--out', path) as recording``."""

    @contextmanager
    def start(*words, command=(executable,)):
        words = [*command, 'record', '--namespace', namespace, *map(str, words)]
        with (tmp_path / 'out').open('wb') as out, (tmp_path / 'err').open('wb') as err:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            yield Recording(process, tmp_path)
        finally:
            process.kill()
            process.wait()

    return start


@pytest.fixture
def recorder_takes(listener, wait_until):
    """Wait until the recorder has subscribed to topics of the namespace."""

    def wait(*topics):
        for topic in topics:
            full = f'{listener.namespace}/{topic}'
            wait_until(
                lambda full=full: [
                    info
                    for info in listener.node.get_subscriptions_info_by_topic(full)
                    if info.node_name == 'recorder' and info.node_namespace == listener.namespace
                ],
                f'the recorder on {full}',
            )

    return wait


def timing(number):
    """A message of our own, with something in every field."""
    message = msg.FrameTiming(header=to_header(1_000_000_007 * number, 'camera'), sequence=number)
    message.stages = ['camera', f'stage {number}']
    message.begin_ns.extend([0, number])
    message.end_ns.extend([5, number + 10])
    message.dropped.extend([0, number % 3])
    return message


def read(path, topic):
    return [message for message in BagReader(path) if message.topic == topic]


def test_what_nodes_publish_is_in_the_bag(record, launch, listener, recorder_takes, namespace, tmp_path, ros):
    path = tmp_path / 'drive.mcap'
    launch('camera', source='sim', world='still')
    launch('gyro', bus='sim')
    with record('--out', path) as recording, ros.listener(ros.namespace()) as stranger:
        imu = listener.hear(Imu, 'imu/data_raw')
        pictures = listener.hear(CompressedImage, 'image_raw/compressed')
        ours, theirs = (
            listener.speak(msg.FrameTiming, 'timing'),
            stranger.node.create_publisher(msg.FrameTiming, 'timing', 1),
        )
        recorder_takes('timing', 'frame', 'camera_info', 'imu/data_raw', 'image_raw/compressed')
        for number in range(20):
            ours.publish(timing(number))
            theirs.publish(timing(99))
        imu.more(50)
        pictures.more(3)
        code, out, err = recording.end(signal.SIGINT)
    assert (code, err) == (0, '')
    messages = list(BagReader(path))
    types = BagReader(path).topics
    assert f'{path}: {len(messages)} messages of {len(types)} topics' in out
    assert BagReader(path).damage is None
    assert types[f'{namespace}/frame'] == 'facefusion_ros/msg/FrameRef'
    assert types[f'{namespace}/camera_info'] == 'sensor_msgs/msg/CameraInfo'
    assert types[f'{namespace}/image_raw/compressed'] == 'sensor_msgs/msg/CompressedImage'
    assert types[f'{namespace}/imu/data_raw'] == 'sensor_msgs/msg/Imu'
    assert types['/diagnostics'] == 'diagnostic_msgs/msg/DiagnosticArray'
    # Neither another pipeline's topics nor raw pictures, which fill disks.
    assert {topic.startswith((f'{namespace}/', '/diagnostics')) for topic in types} == {True}
    assert f'{namespace}/image_raw' not in types
    found = [deserialize_message(each.cdr, msg.FrameTiming) for each in read(path, f'{namespace}/timing')]
    assert found == [timing(number) for number in range(20)]
    assert len(read(path, f'{namespace}/imu/data_raw')) >= 50
    sequences = [deserialize_message(each.cdr, msg.FrameRef).sequence for each in read(path, f'{namespace}/frame')]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))

    with path.open('rb') as file:
        assert len(list(make_reader(file, validate_crcs=True).iter_messages())) == len(messages)
    check_with_rosbags(path, f'{namespace}/timing')


def check_with_rosbags(path, topic):
    """Decode by the definitions in the file alone, with code that shares nothing with ours."""
    reader = RosbagsReader(path)
    reader.open()
    store = get_typestore(Stores.EMPTY)
    for connection in reader.connections:
        fresh = get_types_from_msg(connection.msgdef.data, connection.msgtype)
        store.register({name: fields for name, fields in fresh.items() if name not in store.fielddefs})
    connections = [connection for connection in reader.connections if connection.topic == topic]
    decoded = [store.deserialize_cdr(cdr, each.msgtype) for each, _, cdr in reader.messages(connections)]
    reader.close()
    assert [each.sequence for each in decoded] == list(range(20))
    for number, each in enumerate(decoded):
        journal = from_timing(timing(number))
        assert each.stages == [entry.stage for entry in journal]
        assert each.end_ns.tolist() == [entry.end_ns for entry in journal]
        assert each.dropped.tolist() == [entry.dropped for entry in journal]


def test_only_the_topics_that_are_asked_for(record, launch, listener, recorder_takes, namespace, tmp_path):
    path = tmp_path / 'some.mcap'
    launch('gyro', bus='sim')
    with record('timing', 'imu/data_raw', '--out', path) as recording:
        imu = listener.hear(Imu, 'imu/data_raw')
        publisher = listener.speak(msg.FrameTiming, 'timing')
        recorder_takes('imu/data_raw')
        publisher.publish(timing(1))
        imu.more(20)
        code, _, err = recording.end(signal.SIGTERM)
    assert (code, err) == (0, '')
    assert BagReader(path).topics.keys() == {f'{namespace}/timing', f'{namespace}/imu/data_raw'}
    assert len(read(path, f'{namespace}/timing')) == 1


def test_it_ends_by_itself_after_the_duration(record, launch, listener, tmp_path):
    launch('gyro', bus='sim')
    listener.hear(Imu, 'imu/data_raw').wait(1)
    with record('--out', tmp_path / 'short.mcap', '--duration', '1') as recording:
        code, _, err = recording.end()
    assert (code, err) == (0, '')
    reader = BagReader(tmp_path / 'short.mcap')
    assert list(reader)
    assert reader.damage is None


def test_nothing_published_is_an_error(record, namespace, tmp_path):
    path = tmp_path / 'nothing.mcap'
    with record('nosuch', '--out', path, '--duration', '0.5') as recording:
        code, _, err = recording.end()
    assert code == 1
    assert err == (
        f'facefusion-ros: nothing was published in {namespace}: is the pipeline running there, in the same '
        'ROS_DOMAIN_ID?\n'
    )
    assert not path.exists()


def test_a_bag_that_is_there_is_not_overwritten(facefusion_process, golden_bag):
    before = golden_bag.read_bytes()
    assert 'exists: name another file' in facefusion_process('record', '--out', golden_bag).refusal
    assert golden_bag.read_bytes() == before


FULL_DISK = """
    import resource, signal, sys
    from facefusion_ros.app.main import main

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    sys.exit(main())
"""


def test_a_full_disk_ends_the_recording_and_not_the_pipeline(record, launch, listener, namespace, tmp_path):
    path = tmp_path / 'full.mcap'
    camera = launch('camera', source='sim')
    with record('--out', path, command=(sys.executable, '-c', textwrap.dedent(FULL_DISK))) as recording:
        code, _, err = recording.end()
    assert code == 1
    assert len(err.splitlines()) == 1, err
    assert f'recording {path} stopped: File too large; free some space' in err
    reader = BagReader(path)
    messages = list(reader)
    assert reader.damage is None
    assert f'({len(messages)} messages are in the file)' in err
    pictures = [each for each in messages if each.topic == f'{namespace}/image_raw/compressed']
    assert sum(len(each.cdr) for each in pictures) > 1_000_000
    with path.open('rb') as file:
        assert len(list(make_reader(file, validate_crcs=True).iter_messages())) == len(messages)
    # The pipeline goes on.
    listener.hear(CompressedImage, 'image_raw/compressed').wait(5)
    assert camera.stop() == 0
