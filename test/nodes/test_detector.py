"""The detector node, given frames in a pool of the test's own."""

from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import Log

from facefusion_ros import msg
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store
from facefusion_ros.models.tiny import FACE_POINTS, write_tiny
from facefusion_ros.nodes.detector import Detector
from facefusion_ros.ros.messages import from_face, from_frame_ref, from_timing, to_frame_ref
from facefusion_ros.sim.trajectory import Motion
from facefusion_ros.sim.world import load_world

EYES_APART_PX = 57.0


@pytest.fixture
def detector(listener, start):
    """A detector, what it says, and the way to it: ``find(ref)`` returns its answer."""
    node = start(Detector)
    heard = listener.hear(msg.FaceArray, 'faces')
    publisher = listener.speak(msg.FrameRef, 'frame')

    def find(ref):
        before = len(heard.messages)
        publisher.publish(to_frame_ref(ref))
        return heard.wait(before + 1)[before]

    node.find, node.publisher, node.heard = find, publisher, heard
    return node


def test_the_face_is_found_and_stamped_as_its_frame(detector, frames, scene):
    ref = frames.put(scene.pixels)
    answer = detector.find(ref)
    assert answer.header == to_frame_ref(ref).header
    passed_on = from_frame_ref(answer.frame)
    assert passed_on == ref
    assert passed_on.info.stamp_ns == ref.info.stamp_ns
    (face,) = (from_face(found) for found in answer.faces)
    apart = np.linalg.norm(scene.face.landmarks[0] - scene.face.landmarks[1])
    assert np.abs(face.landmarks - scene.face.landmarks).max() < 0.25 * apart
    assert face.track_id > 0
    assert face.measured_ns == ref.info.stamp_ns
    (entry,) = from_timing(answer.frame.timing)
    assert (entry.stage, entry.dropped) == ('detector', 0)
    assert entry.end_ns >= entry.begin_ns > 0


def test_a_frame_without_a_face_is_passed_on_all_the_same(detector, frames, scene):
    answer = detector.find(frames.put(np.full_like(scene.pixels, 90)))
    assert list(answer.faces) == []
    assert answer.frame.sequence == 1


def test_a_face_keeps_its_id(detector, frames, scene):
    ids = [detector.find(frames.put(scene.pixels)).faces[0].id for _ in range(3)]
    assert len(set(ids)) == 1


def followed(detector, frames, world, count=55, settled=10):
    """Landmarks as they are found in a world's frames, one after the other, and as they are: (n, 5, 2) each."""
    found, true = [], []
    pixels = np.empty((world.camera.height, world.camera.width, 3), np.uint8)
    for index in range(count):
        true.append(world.render(index, pixels).landmarks.astype(np.float64))
        (face,) = detector.find(frames.put(pixels, stamp_ns=world.frame_stamp_ns(index, 1))).faces
        found.append(from_face(face).landmarks.astype(np.float64))
    return np.array(found[settled:]), np.array(true[settled:])


def test_a_still_face_does_not_shake(detector, frames):
    """In spite of the sensor's noise: it is followed in the picture, and detections correct it step by step."""
    found, _ = followed(detector, frames, replace(load_world('turning'), motion=Motion()))
    off_px = np.linalg.norm(found - found.mean(axis=0), axis=2)
    assert np.sqrt((off_px**2).mean()) < 0.15


def test_a_moving_face_does_not_lag(detector, frames):
    world = load_world('turning')
    found, true = (landmarks.mean(axis=1) for landmarks in followed(detector, frames, world))
    speeds = np.gradient(true, axis=0) * float(world.camera.rate)
    assert np.sqrt((speeds**2).sum(axis=1).mean()) > 200.0  # px/s
    behind = true - found - (true - found).mean(axis=0)
    assert abs((behind * speeds).sum() / (speeds**2).sum()) < 1e-3  # s


def test_a_frame_that_is_gone_is_dropped_and_counted(detector, listener, frames, scene):
    gone, *_ = [frames.put(scene.pixels) for _ in range(7)]  # its slot was used again by the last
    diagnostics = listener.diagnostics('detector')
    detector.publisher.publish(to_frame_ref(gone))
    status = diagnostics.until(lambda status: {value.key: value.value for value in status.values}['gone'] == '1')
    assert status.level == DiagnosticStatus.OK
    assert detector.heard.messages == []
    # Frame 1 is gone, 2 to 7 never came: the next one that goes through tells of all seven.
    (entry,) = from_timing(detector.find(frames.put(scene.pixels)).frame.timing)
    assert entry.dropped == 7


@pytest.mark.parametrize(
    ('spoil', 'complaint'),
    [
        ({'pool': 'facefusion_ros-0-nowhere-0000000000000000'}, 'is gone, its owner has ended'),
        ({'pool': '../../etc/passwd'}, 'is not the name of a frame pool'),
        ({'slot': 2**32 - 1}, 'has no slot'),
        ({'generation': 1}, 'is gone, its slot was used again'),
        ({'width': 4096}, 'is not what its reference says'),
        ({'encoding': 'yuyv'}, 'run the same version'),
        ({'timing': msg.FrameTiming(stages=['one without times'])}, 'run the same version'),
    ],
)
def test_a_reference_that_makes_no_sense_is_passed_over_with_a_word(
    detector, listener, frames, scene, spoil, complaint
):
    said = listener.hear(Log, '/rosout')
    message = to_frame_ref(frames.put(scene.pixels))
    for field, value in spoil.items():
        setattr(message, field, value)
    detector.publisher.publish(message)
    said.until(lambda line: complaint in line.msg and line.name.endswith('detector'))
    assert len(detector.find(frames.put(scene.pixels)).faces) == 1


def test_how_often_is_searched_can_be_changed_at_run_time(detector, listener, frames, scene):
    """With tracking by the gyro a face is measured only where it is searched for."""
    for result in listener.set_parameters('detector', tracking='hold', detection_interval=1):
        assert result.successful, result.reason
    refs = [frames.put(scene.pixels) for _ in range(3)]
    answers = [detector.find(ref) for ref in refs]
    assert [from_face(answer.faces[0]).measured_ns for answer in answers] == [ref.info.stamp_ns for ref in refs]

    (result,) = listener.set_parameters('detector', detection_interval=60)
    assert result.successful
    detector.find(frames.put(scene.pixels))  # the last one of the old interval
    old = from_face(detector.find(frames.put(scene.pixels)).faces[0]).measured_ns
    ref = frames.put(scene.pixels)
    held = from_face(detector.find(ref).faces[0])
    assert held.measured_ns == old < ref.info.stamp_ns


def test_diagnostics_count_frames_with_a_face(detector, listener, frames, scene):
    detector.find(frames.put(scene.pixels))
    detector.find(frames.put(np.zeros_like(scene.pixels)))
    status = listener.diagnostics('detector').until(lambda status: status.values[0].value == '2')
    values = {value.key: value.value for value in status.values}
    assert (values['frames'], values['dropped'], values['gone']) == ('2', '0', '0')
    assert values['frames with a face'] in {'1', '2'}  # a face that is lost is kept for a moment
    assert float(values['mean ms']) > 0


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of networks with two of a family's true signature in it."""
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path / 'store'))
    made = Store(tmp_path / 'store', catalogue())
    for family in ('yunet', 'arcface'):
        write_tiny(family, tmp_path / f'{family}.onnx')
        made.add(tmp_path / f'{family}.onnx', name=family, family=family, licence='MIT', source='written by this test')
    return made


@pytest.mark.usefixtures('store')
def test_a_network_of_the_store_finds_the_face(listener, start, frames, scene):
    start(Detector, model='yunet')
    heard = listener.hear(msg.FaceArray, 'faces')
    listener.speak(msg.FrameRef, 'frame').publish(to_frame_ref(frames.put(scene.pixels)))
    (face,) = (from_face(found) for found in heard.wait(1)[0].faces)
    side = max(scene.pixels.shape)  # a YuNet's input is square, and the picture lies in its top left corner
    assert np.abs(face.landmarks - np.array(FACE_POINTS) * side).max() < 0.02 * side


@pytest.mark.usefixtures('store')
@pytest.mark.parametrize(
    ('parameters', 'complaint'),
    [
        ({'model': 'nobody'}, "no model is named 'nobody'"),
        ({'model': 'arcface'}, 'is a recognition (arcface), not a detector'),
        ({'model': 'yunet', 'engine': 'abacus'}, "chain must be of tensorrt, onnxruntime, not ('abacus',)"),
        ({'model': 'yunet', 'providers': 'cuda'}, 'cuda'),
    ],
)
def test_a_network_that_cannot_be_had_is_named(start, parameters, complaint):
    node = start(Detector, **parameters)
    assert not node.started
    assert complaint in node.failure
    assert '\n' not in node.failure
