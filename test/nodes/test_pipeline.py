"""The whole way of a frame: five nodes in one process, as they run by default."""

import itertools
import threading
from contextlib import ExitStack

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from facefusion_ros import msg
from facefusion_ros.faces.finder import FaceFinder
from facefusion_ros.nodes.blender import Blender
from facefusion_ros.nodes.camera import Camera
from facefusion_ros.nodes.detector import Detector
from facefusion_ros.nodes.renderer import Renderer
from facefusion_ros.nodes.swapper import Swapper
from facefusion_ros.ros.image import from_image
from facefusion_ros.ros.messages import from_face, from_time, from_timing

STAGES = ['camera', 'detector', 'swapper', 'blender', 'renderer']
SLOW_S = 0.35


@pytest.fixture(scope='module')
def running(ros, world_file):
    """The pipeline's executable in the slow world, and an ear beside it."""
    namespace = ros.namespace()
    with ros.listener(namespace) as listener, ros.process('pipeline', namespace, world=world_file) as process:
        listener.process = process
        yield listener


def passed_over(timings):
    """Frames that were not shown between the first and the last of these, by what the stages say."""
    return sum(entry.dropped for timing in timings[1:] for entry in from_timing(timing)[1:])


def test_frames_go_the_whole_way(running):
    frames, timings = running.hear(msg.FrameRef, 'frame'), running.hear(msg.FrameTiming, 'timing')
    records, faces = running.hear(msg.Provenance, 'provenance'), running.hear(msg.FaceArray, 'faces')
    shown = timings.wait(15)
    for timing in shown:
        journal = from_timing(timing)
        assert [entry.stage for entry in journal] == STAGES
        assert all(entry.end_ns >= entry.begin_ns for entry in journal)
        assert all(one.end_ns <= other.begin_ns for one, other in itertools.pairwise(journal))
    numbers = [timing.sequence for timing in shown]
    assert all(one < other for one, other in itertools.pairwise(numbers))
    assert numbers[-1] - numbers[0] + 1 == len(shown) + passed_over(shown)
    assert len(shown) > 0.5 * (numbers[-1] - numbers[0] + 1)
    # Every stage speaks of the same frame by the same stamp.
    stamps = {frame.sequence: frame.header for frame in frames.messages}
    for told in (*shown, *records.wait(10)):
        assert stamps.get(told.sequence, told.header) == told.header
    for found in faces.wait(10):
        assert found.header == found.frame.header
    with_a_face = [record for record in records.messages if record.face_ids]
    assert len(with_a_face) > 0.8 * len(records.messages)
    assert {name for record in with_a_face for name in record.personas} == {'porcelain'}


def test_the_output_is_the_camera_s_picture_but_for_the_face(running):
    before, after = running.hear(Image, 'image_raw'), running.hear(Image, 'output/image_raw')
    records, faces = running.hear(msg.Provenance, 'provenance'), running.hear(msg.FaceArray, 'faces')

    def both(picture):
        return (
            any(one.header == picture.header for one in before.messages)
            and any(found.header == picture.header for found in faces.messages)
            and any(record.header == picture.header and record.face_ids for record in records.messages)
        )

    output = after.until(both)
    camera = from_image(next(one for one in before.messages if one.header == output.header))
    record = next(record for record in records.messages if record.header == output.header)
    changed = (from_image(output) != camera).any(axis=2)
    mask = np.zeros_like(changed)
    for left, top, width, height in np.array(record.regions, int).reshape(-1, 4):
        mask[top : top + height, left : left + width] = True
    assert not changed[~mask].any()
    # From eye to eye and down to the mouth nothing is left of the face that was there.
    face = from_face(next(found for found in faces.messages if found.header == output.header).faces[0])
    left_eye, right_eye, _, left_mouth, right_mouth = face.landmarks.astype(np.int32)
    inner = cv2.fillConvexPoly(
        np.zeros(changed.shape, np.uint8), np.array([left_eye, right_eye, right_mouth, left_mouth]), 1
    )
    assert inner.sum() > 1000
    assert changed[inner > 0].mean() > 0.95
    for heard in (before, after, records, faces):
        running.deafen(heard)


@pytest.mark.parametrize('name', STAGES)
def test_every_stage_says_how_it_is(running, name):
    status = running.diagnostics(name).wait()[0]
    assert status.level == DiagnosticStatus.OK
    assert status.hardware_id == str(running.process.pid)
    values = {value.key: value.value for value in status.values}
    assert int(values['frames']) > 0
    if name != 'camera':
        assert values.keys() >= {'dropped', 'gone', 'mean ms'}
        assert float(values['mean ms']) > 0


def test_it_ends_cleanly_and_leaves_nothing(running, pools):
    assert pools(running.namespace)
    assert running.process.stop() == 0
    assert 'Traceback' not in running.process.text
    assert pools(running.namespace) == []


def test_the_newest_frame_wins_where_a_stage_is_slow(ros, namespace, listener, world_file, monkeypatch):
    """A detector that takes several frames' time: what it does not see is counted, and it never falls behind."""
    find, never = FaceFinder.find, threading.Event()

    def slow(self, pixels, stamp_ns):
        never.wait(SLOW_S)
        return find(self, pixels, stamp_ns)

    monkeypatch.setattr(FaceFinder, 'find', slow)
    frames, timings = listener.hear(msg.FrameRef, 'frame'), listener.hear(msg.FrameTiming, 'timing')
    with ExitStack() as nodes:
        for kind in (Renderer, Blender, Swapper, Detector):
            nodes.enter_context(ros.node(kind, namespace))
        nodes.enter_context(ros.node(Camera, namespace, world=world_file, pool_slots=16))
        shown = timings.wait(6)
    numbers = [timing.sequence for timing in shown]
    assert numbers[-1] - numbers[0] + 1 == len(shown) + passed_over(shown)
    dropped = dict.fromkeys(STAGES, 0)
    published = {frame.sequence: from_time(frame.header.stamp) + frame.timing.end_ns[0] for frame in frames.messages}
    for timing in shown[1:]:
        journal = from_timing(timing)
        for entry in journal:
            dropped[entry.stage] += entry.dropped
        began_ns = from_time(timing.header.stamp) + journal[1].begin_ns
        newer = [number for number, at_ns in published.items() if number > timing.sequence and at_ns < began_ns]
        assert len(newer) <= 1, 'an old frame was taken although newer ones had come'
    assert dropped['detector'] >= 2 * (len(shown) - 1)
    assert dropped['detector'] > 5 * (dropped['swapper'] + dropped['blender'] + dropped['renderer'])
