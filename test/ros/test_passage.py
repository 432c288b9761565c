"""What all stages of the hot path do with a frame."""

from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros import msg
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.frames.frame import Encoding, FrameInfo, StageTime
from facefusion_ros.frames.pool import FramePool
from facefusion_ros.ros import qos
from facefusion_ros.ros.messages import from_frame_ref, to_frame_ref
from facefusion_ros.ros.passage import FrameStage, Passage


def frame(sequence, *dropped):
    """A frame whose journal says what the camera and the stages after it passed over."""
    stages = zip(('camera', 'detector', 'swapper', 'blender', 'renderer'), dropped, strict=False)
    return FrameInfo(0, 'camera', sequence, journal=tuple(StageTime(name, 0, 0, count) for name, count in stages))


fates = st.sampled_from(['through', 'passed over', 'gone'])


@given(st.lists(st.tuples(fates, fates, fates), min_size=1, max_size=40), st.integers(0, 1000), st.integers(0, 3))
def test_every_frame_that_is_not_shown_is_counted_once(events, first, camera_dropped):
    """Three stages in a row, each of which may pass a frame over, or take it and find it gone."""
    stages = [Passage() for _ in range(3)]
    through = ('through',) * 3
    shown = []
    for sequence, fate in enumerate([through, *events, through], first):
        dropped = [camera_dropped]
        for stage, what in zip(stages, fate, strict=True):
            if what == 'passed over':
                break
            dropped.append(stage.arrive(frame(sequence, *dropped)))
            if what == 'gone':
                stage.lose()
                break
        else:
            shown.append(sum(dropped[1:]))
    everything = len(events) + 2
    assert len(shown) + sum(shown) == everything
    assert stages[-1].frames == len(shown)
    assert sum(stage.gone for stage in stages) == sum('gone' in fate[: reach(fate)] for fate in events)


def reach(fate):
    """How many stages a frame comes to."""
    return next((number + 1 for number, what in enumerate(fate) if what != 'through'), len(fate))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.integers(0, 1000))
def test_one_stage_counts_what_it_passed_over_and_what_was_gone(events, first):
    passage = Passage()
    sequence = first - 1
    for number, (passed_over, gone) in enumerate(events):
        sequence += 1 + (passed_over if number else 0)
        passage.arrive(frame(sequence))
        if gone:
            passage.lose()
        assert passage.frames + passage.dropped == sequence + 1 - first
    assert passage.gone == sum(gone for _, gone in events)
    assert passage.values()['dropped'] == passage.dropped


def test_what_stages_before_passed_over_is_not_counted_again():
    passage = Passage()
    passage.arrive(frame(10, 0, 0))
    assert passage.arrive(frame(14, 7, 3)) == 0
    assert passage.arrive(frame(20, 0, 1)) == 4
    assert passage.dropped == 4


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30))
def test_a_camera_that_starts_anew_is_no_drop(sequences):
    passage = Passage()
    last = None
    for sequence in sequences:
        expected = 0 if last is None or sequence <= last else sequence - last - 1
        assert passage.arrive(frame(sequence)) == expected
        last = sequence
    assert passage.frames == len(sequences)


def test_a_frame_that_is_lost_after_the_camera_started_anew_is_counted():
    passage = Passage()
    for sequence in (70, 71, 0):
        passage.arrive(frame(sequence))
    passage.lose()
    assert passage.dropped == 1
    assert passage.arrive(frame(1)) == 1
    assert (passage.frames, passage.dropped) == (3, 1)


def test_mean_time_is_of_the_frames_that_went_through():
    passage = Passage()
    for sequence in range(4):
        passage.arrive(frame(sequence))
        passage.busy_ns += 2_000_000
    assert passage.values()['mean ms'] == '2.00'
    assert Passage().values()['mean ms'] == '0.00'


class Mean(FrameStage):
    """The smallest stage of the hot path: it looks at a frame and hands it on, if it is not dark."""

    NAME = 'mean'

    def configure(self):
        super().configure()
        self.on = self.advertise(msg.FrameRef, 'on')
        self.seen = []

    def activate(self):
        super().activate()
        self.take(msg.FrameRef, 'frame', self._on_frame, qos.NEWEST)

    def _on_frame(self, message):
        with self.visit(message) as visit:
            with self.reader.lease(visit.ref) as lease:
                brightness = int(lease.pixels.mean())
            self.seen.append(brightness)
            if brightness == 0:
                return
            if brightness == 13:
                raise EngineError('the network has failed: this is a test')
            self.on.publish(to_frame_ref(self.leave(visit)))


@pytest.fixture
def mean(start, listener, namespace, wait_until):
    node = start(Mean)
    publisher = listener.speak(msg.FrameRef, 'frame')
    heard = listener.hear(msg.FrameRef, 'on')
    name = f'test{namespace}/frames'

    @contextmanager
    def camera():
        with FramePool.create(name, slots=2, slot_bytes=12) as pool:

            def shoot(sequence, brightness, *, gone=False):
                refs = []
                for _ in range(3 if gone else 1):  # two more frames take the slot of the first
                    with pool.writing() as slot:
                        slot.picture(2, 2, Encoding.BGR8)[...] = brightness
                        refs.append(slot.publish(FrameInfo(1_000, 'camera', sequence)))
                done = node.passage.frames + node.passage.gone
                publisher.publish(to_frame_ref(refs[0]))
                wait_until(lambda: node.passage.frames + node.passage.gone > done, 'the stage to be done')

            yield shoot

    node.camera, node.heard = camera, heard
    return node


def test_a_stage_journals_what_goes_through_and_counts_what_does_not(mean, capfd):
    with mean.camera() as shoot:
        shoot(0, 100)
        shoot(1, 13)  # a network that fails
        shoot(2, 0)  # a stage that does not leave
        shoot(3, 50, gone=True)
        shoot(6, 200)
    assert mean.seen == [100, 13, 0, 200]
    first, last = (from_frame_ref(message).info for message in mean.heard.wait(2))
    assert [entry.stage for entry in first.journal] == [entry.stage for entry in last.journal] == ['mean']
    assert (first.journal[0].dropped, last.journal[0].dropped) == (0, 5)
    assert 0 < last.journal[0].begin_ns <= last.journal[0].end_ns
    assert (mean.passage.frames, mean.passage.gone, mean.passage.dropped) == (2, 3, 5)
    assert mean.passage.busy_ns > 0
    told = capfd.readouterr().err
    assert 'the network has failed: this is a test' in told
    assert 'Traceback' not in told
