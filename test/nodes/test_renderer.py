"""The renderer node, given output frames in a pool of the test's own."""

import json
import socket
import time
import urllib.request
from dataclasses import replace

import av
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Vector3
from sensor_msgs.msg import Illuminance, Imu

from facefusion_ros import msg
from facefusion_ros.frames.frame import StageTime
from facefusion_ros.frames.pool import FrameReader
from facefusion_ros.nodes import renderer
from facefusion_ros.nodes.renderer import Renderer
from facefusion_ros.ros.messages import from_timing, to_frame_ref

BEFORE = tuple(
    StageTime(stage, 1_000_000 * number, 1_000_000 * number + 400_000)
    for number, stage in enumerate(('camera', 'detector', 'swapper', 'blender'))
)


def came_through(ref):
    """The same frame, after the four stages before the renderer."""
    return replace(ref, info=replace(ref.info, journal=BEFORE))


def values_of(status):
    return {value.key: value.value for value in status.values}


@pytest.fixture
def show(listener, start):
    """Start a renderer: ``show(display='none')``; returns a function that shows a frame and returns its timing."""

    def begin(**parameters):
        node = start(Renderer, **parameters)
        timings = listener.hear(msg.FrameTiming, 'timing')
        publisher = listener.speak(msg.FrameRef, 'output/frame')

        def shown(ref):
            before = len(timings.messages)
            publisher.publish(to_frame_ref(came_through(ref)))
            return timings.wait(before + 1)[before]

        shown.node, shown.publisher, shown.timings = node, publisher, timings
        return shown

    return begin


def test_timing_has_all_stages_in_order(show, frames, scene):
    shown = show()
    ref = frames.put(scene.pixels)
    timing = shown(ref)
    assert timing.header == to_frame_ref(ref).header
    assert timing.sequence == ref.info.sequence
    journal = from_timing(timing)
    assert [entry.stage for entry in journal] == ['camera', 'detector', 'swapper', 'blender', 'renderer']
    assert journal[:-1] == BEFORE
    assert all(entry.end_ns >= entry.begin_ns for entry in journal)
    assert journal[-1].dropped == 0


def test_what_was_passed_over_is_told_with_the_next_frame(show, frames, scene):
    shown = show()
    shown(frames.put(scene.pixels, sequence=1))
    assert from_timing(shown(frames.put(scene.pixels, sequence=5)))[-1].dropped == 3


def test_diagnostics_tell_how_fast_it_is(show, listener, frames, scene):
    shown = show()
    for _ in range(3):
        shown(frames.put(scene.pixels))
    status = listener.diagnostics('renderer').wait()[0]
    values = values_of(status)
    assert (status.level, status.message) == (DiagnosticStatus.OK, 'running')
    assert values['frames'] == '3'
    assert float(values['latency_p95_ms']) >= float(values['latency_p50_ms']) > 0
    assert float(values['fps']) > 0


def test_a_frame_that_is_gone_is_dropped_and_counted(show, listener, frames, scene):
    shown = show()
    gone, *_ = [frames.put(scene.pixels) for _ in range(7)]  # its slot was used again by the last
    diagnostics = listener.diagnostics('renderer')
    shown.publisher.publish(to_frame_ref(came_through(gone)))
    diagnostics.until(lambda status: values_of(status).get('gone') == '1')
    assert shown.timings.messages == []
    assert from_timing(shown(frames.put(scene.pixels)))[-1].dropped == 7


def test_a_film_shows_the_camera_s_picture_beside_the_output(show, listener, frames, scene, tmp_path):
    path = tmp_path / 'film.mp4'
    shown = show(display=f'compare:{path}', persona='porcelain', rate_hz=10.0)
    height, width = scene.pixels.shape[:2]
    with FrameReader() as stage:
        for _ in range(5):
            ref = frames.put(scene.pixels)
            with stage.revise(ref, [(100, 100, 200, 150)]) as revision:
                revision.pixels[100:250, 100:300] = (0, 0, 250)
                ref = revision.publish(ref.info)
            shown(ref)
    for transition in ('deactivate', 'cleanup'):
        assert listener.transit('renderer', transition)
    with av.open(str(path)) as film:
        pictures = [picture.to_ndarray(format='bgr24') for picture in film.decode(video=0)]
    assert len(pictures) == 5
    tall, wide = pictures[-1].shape[:2]
    assert wide >= 2 * width
    assert tall >= height
    # Beside and above the pictures there may be captions: look for the square, which is only on the right.
    red = (pictures[-1][..., 2] > 200) & (pictures[-1][..., 1] < 60)
    assert red[:, : wide // 2].mean() < 0.01
    assert red[:, wide // 2 :].sum() == pytest.approx(200 * 150, rel=0.05)


def test_the_page_shows_the_live_numbers(show, listener, frames, scene, wait_until):
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    shown = show(display=f'web:{port}')
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/events', timeout=40) as events:
        for kind, topic, message in (
            (Illuminance, 'illuminance', Illuminance(illuminance=321.0)),
            (Imu, 'imu/data_raw', Imu(angular_velocity=Vector3(x=3.0, y=4.0))),
            (msg.Provenance, 'provenance', msg.Provenance(face_ids=[7, 8])),
        ):
            listener.speak(kind, topic).publish(message)
        wait_until(lambda: shown.node._faces and shown.node._rotation_rad_s and shown.node._lux > 0, 'the readings')
        shown(frames.put(scene.pixels, sequence=1))
        for sequence in range(3, 22):
            shown(frames.put(scene.pixels, sequence=sequence))
        for line in events:
            numbers = json.loads(line[6:]) if line.startswith(b'data: ') else {}
            if numbers.get('dropped'):
                break
    assert (numbers['lux'], numbers['gyro_rad_s'], numbers['faces'], numbers['dropped']) == (321.0, 5.0, 2, 1)
    assert numbers['fps'] > 0
    assert numbers['latency_ms'] > 0
    assert [key for key in numbers if key.startswith('stage.')] == [
        f'stage.{stage}_ms' for stage in ('camera', 'detector', 'swapper', 'blender', 'renderer')
    ]


def test_frames_of_another_size_are_shown_too(show, frames, scene, tmp_path):
    shown = show(display=f'file:{tmp_path / "film.mp4"}')
    shown(frames.put(scene.pixels))
    assert from_timing(shown(frames.put(np.zeros((2, 2, 3), np.uint8))))[-1].stage == 'renderer'


def test_a_display_that_cannot_be_opened_fails_the_start(listener, start, tmp_path):
    node = start(Renderer, display=f'file:{tmp_path / "missing" / "film.mp4"}')
    assert not node.started
    assert listener.state('renderer') == 'unconfigured'
    status = listener.diagnostics('renderer').wait()[0]
    assert status.level == DiagnosticStatus.ERROR
    assert 'film.mp4' in status.message


class Screen:
    """A display that shows a frame when the test says so."""

    failed = None
    compares = shows_numbers = False
    tells_when = True
    dropped = 0

    def __init__(self, tell):
        self._tell = tell
        self.infos = []

    def show(self, frame, _):
        self.infos.append(frame.info)

    def tell(self, number, time_ns):
        self._tell(self.infos[number], time_ns)

    def close(self):
        pass


@pytest.fixture
def screen(monkeypatch):
    opened = []

    def open_screen(*asked):
        opened.append(Screen(asked[-1]))
        return opened[-1]

    monkeypatch.setattr(renderer, 'open_sink', open_screen)
    return opened


def test_timing_carries_the_instant_of_the_flip(screen, listener, start, frames, scene, wait_until):
    start(Renderer)
    timings = listener.hear(msg.FrameTiming, 'timing')
    publisher = listener.speak(msg.FrameRef, 'output/frame')
    refs = [came_through(frames.put(scene.pixels, sequence=number)) for number in (4, 6, 7, 9)]
    for number, ref in enumerate(refs):
        publisher.publish(to_frame_ref(ref))
        wait_until(lambda number=number: len(screen[0].infos) > number, 'the frame to reach the display')
    assert timings.messages == []
    flipped_ns = time.monotonic_ns() - 25_000_000
    since_epoch_ns = time.time_ns() - time.monotonic_ns()
    screen[0].tell(0, flipped_ns)
    screen[0].tell(1, None)
    screen[0].tell(2, None)
    screen[0].tell(3, flipped_ns + 16_000_000)
    first, second = timings.wait(2)
    entry = from_timing(first)[-1]
    assert (first.sequence, entry.stage, entry.dropped) == (4, 'renderer', 0)
    assert refs[0].info.stamp_ns + entry.end_ns == pytest.approx(since_epoch_ns + flipped_ns, abs=20_000_000)
    later = from_timing(second)[-1]
    # Two were replaced before they could be seen, and 5 and 8 never came.
    assert (second.sequence, later.dropped) == (9, 4)
    apart_ns = refs[3].info.stamp_ns + later.end_ns - refs[0].info.stamp_ns - entry.end_ns
    assert apart_ns == pytest.approx(16_000_000, abs=5_000_000)
    values = values_of(listener.diagnostics('renderer').wait()[0])
    assert (values['frames'], values['dropped']) == ('2', '4')


def test_a_frame_that_is_gone_never_reaches_the_screen(screen, listener, start, frames, scene, wait_until):
    node = start(Renderer)
    publisher = listener.speak(msg.FrameRef, 'output/frame')
    gone, *_ = [frames.put(scene.pixels) for _ in range(7)]
    publisher.publish(to_frame_ref(came_through(gone)))
    publisher.publish(to_frame_ref(came_through(frames.put(scene.pixels))))
    wait_until(lambda: screen[0].infos, 'the frame to reach the display')
    assert len(screen[0].infos) == len(node._waiting) == 1
