"""The demo as a person runs it: the launch file, real processes, and all that it leaves behind."""

import json
import os
import signal
import subprocess
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message

from facefusion_ros import msg
from facefusion_ros.app.bag.reader import BagReader

PATIENCE_S = 100.0
WIDTH, HEIGHT = 640, 480
"""Of the default world's camera."""

TOPICS = {
    '/demo/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/demo/faces': 'facefusion_ros/msg/FaceArray',
    '/demo/frame': 'facefusion_ros/msg/FrameRef',
    '/demo/illuminance': 'sensor_msgs/msg/Illuminance',
    '/demo/image_raw/compressed': 'sensor_msgs/msg/CompressedImage',
    '/demo/imu/data_raw': 'sensor_msgs/msg/Imu',
    '/demo/output/frame': 'facefusion_ros/msg/FrameRef',
    '/demo/output/image_raw/compressed': 'sensor_msgs/msg/CompressedImage',
    '/demo/patches': 'facefusion_ros/msg/FacePatchArray',
    '/demo/provenance': 'facefusion_ros/msg/Provenance',
    '/demo/timing': 'facefusion_ros/msg/FrameTiming',
    '/diagnostics': 'diagnostic_msgs/msg/DiagnosticArray',
}
KEYS = {
    'frames_in',
    'frames_out',
    'frames_dropped',
    'faces_swapped',
    'fps',
    'first_output_s',
    'latency_ms',
    'stages_ms',
    'rss_mb_start',
    'rss_mb_end',
}
RESULTS = {'demo.mp4', 'demo.mcap', 'contact_sheet.png', 'summary.json'}


def marked(mark):
    """Processes that were started with a mark in their environment."""
    found = []
    for folder in Path('/proc').iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # ended meanwhile
                if mark.encode() in (folder / 'environ').read_bytes().split(b'\0'):
                    found.append(int(folder.name))
    return found


class Demo:
    """A demo that runs, or has run."""

    def __init__(self, process, out, mark):
        self.process = process
        self.out = out
        self.mark = mark
        self.lines = []

    def read_until(self, text):
        """Read what it prints up to a line with that text; returns the line."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip('\n'))
            if text in line:
                return line
        pytest.fail(f'{text!r} was not printed, but: {self.text}')

    def end(self):
        """Wait for the end; returns the exit code."""
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(PATIENCE_S)

    @property
    def text(self):
        return '\n'.join(self.lines)

    @property
    def summary(self):
        return json.loads((self.out / 'summary.json').read_text())


@pytest.fixture(scope='module')
def demo(executable, tmp_path_factory):
    """Start demos: ``with demo('--duration', '4') as running``; checks that nothing of them is left."""

    @contextmanager
    def start(*words):
        out = tmp_path_factory.mktemp('demo') / 'out'
        mark = f'FACEFUSION_TEST_DEMO={out}'
        process = subprocess.Popen(
            [executable, 'demo', '--out', str(out), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **dict([mark.split('=', 1)])},
        )
        with process:
            running = Demo(process, out, mark)
            try:
                yield running
            finally:
                if process.poll() is None:
                    process.kill()

    return start


@pytest.fixture(scope='module', params=['composition', pytest.param('separate', marks=pytest.mark.slow)])
def run(request, demo):
    """A demo of four seconds that has ended; its exit code is in ``process.returncode``."""
    words = ['--separate'] if request.param == 'separate' else []
    with demo('--duration', '4', *words) as running:
        running.end()
    running.separate = request.param == 'separate'
    return running


def check_nothing_is_left(demo, pools):
    assert marked(demo.mark) == []
    assert pools('/demo') == []


def test_it_ends_well_and_tells_of_it(run, pools):
    assert run.process.returncode == 0, run.text
    assert {file.name for file in run.out.iterdir()} == RESULTS
    assert 'Traceback' not in run.text
    assert ' died' not in run.text
    assert 'capture to display' in run.text
    for name in RESULTS:
        assert f'{run.out / name}  (' in run.text
    check_nothing_is_left(run, pools)
    processes = {line.split()[1].rsplit('-', 1)[0] for line in run.lines if ' started (pid' in line}
    hot = {'camera', 'detector', 'swapper', 'blender', 'renderer'} if run.separate else {'pipeline'}
    assert processes == {*hot, 'ambient_light', 'gyro', 'witness'}


def test_the_summary_is_complete_and_consistent(run):
    summary = run.summary
    assert summary.keys() >= KEYS
    assert summary['frames_out'] >= 30
    assert summary['frames_in'] == summary['frames_out'] + summary['frames_dropped']
    assert summary['faces_swapped'] >= 0.95 * summary['frames_out']
    assert summary['first_output_s'] > 0.0
    assert min(summary['rss_mb_start'], summary['rss_mb_end']) > 50.0
    assert set(summary['stages_ms']) >= {'camera', 'detector', 'swapper', 'blender', 'renderer'}
    for row in (summary['latency_ms'], *summary['stages_ms'].values()):
        assert list(row) == ['p50', 'p95', 'p99']
        assert 0.0 <= row['p50'] <= row['p95'] <= row['p99']
    assert summary['latency_ms']['p50'] >= max(row['p50'] for row in summary['stages_ms'].values())


def test_the_bag_has_the_topics_of_the_plan(run):
    reader = BagReader(run.out / 'demo.mcap')
    topics = {topic: kind for topic, kind in reader.topics.items() if not topic.endswith('/transition_event')}
    assert topics == TOPICS
    counts = dict.fromkeys(TOPICS, 0)
    sequences, swapped = [], 0
    for message in reader:
        counts[message.topic] = counts.get(message.topic, 0) + 1
        if message.topic == '/demo/provenance':
            record = deserialize_message(message.cdr, msg.Provenance)
            sequences.append(record.sequence)
            swapped += bool(record.face_ids)
            assert list(record.personas) == ['porcelain'] * len(record.face_ids)
    assert reader.damage is None
    assert min(counts.values()) > 0, counts
    assert run.summary['messages'] == sum(counts.values())
    assert all(first < second for first, second in pairwise(sequences))
    assert swapped >= 0.95 * len(sequences)


def test_the_film_shows_camera_and_result_side_by_side(run):
    with av.open(str(run.out / 'demo.mp4')) as film:
        frames = [frame.to_ndarray(format='bgr24') for frame in film.decode(video=0)]
        assert film.streams.video[0].codec_context.name == 'h264'
    assert len(frames) >= 20
    replaced = 0
    for frame in frames:
        assert frame.shape[1] >= 2 * WIDTH
        assert frame.shape[0] >= HEIGHT
        # Side by side at the bottom, below a caption; a film is lossy, so only what is larger than a block counts.
        before, after = (frame[-HEIGHT:, columns].astype(np.float32) for columns in (slice(WIDTH), slice(-WIDTH, None)))
        changed = np.abs(cv2.blur(before - after, (9, 9))).max(axis=2) > 12.0
        assert changed.mean() < 0.2
        replaced += changed.mean() > 0.005
    assert replaced >= 0.95 * len(frames)


def test_the_contact_sheet_is_a_picture(run):
    sheet = cv2.imread(str(run.out / 'contact_sheet.png'))
    assert sheet is not None
    assert sheet.shape[1] > 2 * 400
    assert sheet.std() > 20


@pytest.mark.parametrize(
    ('words', 'why'),
    [
        (('--world', 'nosuch'), "no world is named 'nosuch'"),
        (('--world', 'nosuch/world.yaml'), 'nosuch/world.yaml: no such world file'),
        (('--persona', 'nosuch'), "no persona 'nosuch'"),
        (('--persona', 'nosuch', '--separate'), "no persona 'nosuch'"),
        (('--display', 'hologram'), 'hologram'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, tuple) else '',
)
def test_what_is_missing_is_said_and_ends_it(words, why, demo, pools):
    with demo('--duration', '600', *words) as running:
        assert running.end() == 1
    assert why in running.text
    assert 'Traceback' not in running.text
    assert 'no frame was shown for' not in running.text  # it did not wait for frames that cannot come
    check_nothing_is_left(running, pools)


def test_ctrl_c_leaves_the_results_so_far(demo, pools):
    with demo('--duration', '600') as running:
        running.read_until('of 600 s')
        running.process.send_signal(signal.SIGINT)
        assert running.end() == 0, running.text
    assert {file.name for file in running.out.iterdir()} == RESULTS
    assert running.summary['frames_out'] > 0
    assert BagReader(running.out / 'demo.mcap').damage is None
    assert 'Traceback' not in running.text
    check_nothing_is_left(running, pools)


def test_a_node_that_dies_ends_it_with_an_error_and_the_results_so_far(demo, pools):
    with demo('--duration', '600', '--display', 'none') as running:
        started = running.read_until('] pipeline-1 started (pid ')
        running.read_until('of 600 s')
        os.kill(int(started.rsplit('pid ', 1)[1].rstrip(')\n')), signal.SIGKILL)
        assert running.end() == 1
    assert 'pipeline-1' in running.text
    assert 'died: signal SIGKILL' in running.text
    assert running.summary['frames_out'] > 0
    assert marked(running.mark) == []
    # The next start clears away what a killed process could not.
    with demo('--duration', '1', '--display', 'none') as running:
        assert running.end() == 0, running.text
    check_nothing_is_left(running, pools)
