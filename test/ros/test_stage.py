"""What all nodes have in common."""

import os

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given
from hypothesis import strategies as st
from std_msgs.msg import String

from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.frame import FrameInfo, StageTime
from facefusion_ros.ros import qos
from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.ros.stage import Health, LazyPublisher, Passage, StageNode


class Echo(StageNode):
    """The smallest stage there can be: says again what it hears, louder where it is told to."""

    NAME = 'echo'
    TABLE = (
        Parameter('loudness', 1, 'How often a word is said', 'times', 1, 9),
        Parameter('fault', '', 'What goes wrong, and when', fixed=True),
    )

    def configure(self):
        self._fail('configure')
        self.said = self.advertise(String, 'said')
        self.let_go = []
        self.while_configured.callback(self.let_go.append, 'configured')

    def activate(self):
        self.while_active.callback(self.let_go.append, 'active')
        self._fail('activate')
        self.take(String, 'heard', self._on_heard, qos.NEWEST)

    def change(self, values):
        if values['loudness'] == 7:
            raise FacefusionError('7 is an unlucky number: take 6')

    def health(self):
        return Health(values={'loudness': self.values['loudness']})

    def _fail(self, when):
        if self.values['fault'] == when:
            raise FacefusionError(f'cannot {when}: this is a test')
        if self.values['fault'] == f'mistake in {when}':
            raise KeyError(when)

    def _on_heard(self, message):
        self.said.publish(String(data=message.data * self.values['loudness']))


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


def test_pools_of_other_domains_namespaces_and_purposes_have_other_names(ros, monkeypatch):
    names = []
    for namespace in ('', '/robot', '/robot/head', '/robot_head'):
        with ros.node(Echo, namespace, autostart=False) as node:
            names += [node.pool_name('frames'), node.pool_name('patches')]
            with monkeypatch.context() as another:
                another.setenv('ROS_DOMAIN_ID', '231')
                names.append(node.pool_name('frames'))
                another.delenv('ROS_DOMAIN_ID')
                names.append(node.pool_name('frames'))
    assert len(set(names)) == len(names)
    assert f'{os.environ["ROS_DOMAIN_ID"]}/robot/head/frames' in names
    assert '0/frames' in names


def test_diagnostics_tell_name_level_and_values(listener, start, namespace):
    start(Echo, loudness=3)
    status = listener.diagnostics('echo').wait()[0]
    assert status.name == f'{namespace[1:]}/echo: echo'
    assert (status.level, status.message, status.hardware_id) == (DiagnosticStatus.OK, 'running', str(os.getpid()))
    assert [(value.key, value.value) for value in status.values] == [('loudness', '3')]


@pytest.mark.parametrize(
    ('fault', 'state', 'reason'),
    [
        ('configure', 'unconfigured', 'cannot configure: this is a test'),
        ('activate', 'inactive', 'cannot activate: this is a test'),
        ('mistake in configure', 'unconfigured', "mistake in the echo, please report it: KeyError('configure')"),
        ('mistake in activate', 'inactive', "mistake in the echo, please report it: KeyError('activate')"),
    ],
)
def test_a_transition_that_fails_leaves_the_state_and_says_why(listener, start, fault, state, reason):
    node = start(Echo, fault=fault)
    assert not node.started
    assert listener.state('echo') == state
    status = listener.diagnostics('echo').wait()[0]
    assert (status.level, status.message) == (DiagnosticStatus.ERROR, reason)
    if 'activate' in fault:
        assert node.let_go == ['active']


def test_what_was_made_is_let_go_of_in_the_other_direction(listener, start):
    node = start(Echo)
    for transition in ('deactivate', 'activate', 'deactivate', 'cleanup'):
        assert listener.transit('echo', transition)
    assert node.let_go == ['active', 'active', 'configured']
    status = listener.diagnostics('echo').until(lambda status: status.message == 'unconfigured')
    assert status.level == DiagnosticStatus.OK


def test_a_reason_that_was_overcome_is_not_told_any_more(listener, start):
    node = start(Echo, fault='configure')
    node.values['fault'] = ''
    assert listener.transit('echo', 'configure')
    assert listener.transit('echo', 'activate')
    assert listener.diagnostics('echo').wait()[0].message == 'running'


def test_a_parameter_refused_by_the_node_stays_as_it_was(listener, start):
    node = start(Echo)
    (result,) = listener.set_parameters('echo', loudness=7)
    assert (result.successful, result.reason) == (False, '7 is an unlucky number: take 6')
    assert node.values['loudness'] == node.get_parameter('loudness').value == 1
    heard = listener.hear(String, 'said')
    publisher = listener.speak(String, 'heard')
    (result,) = listener.set_parameters('echo', loudness=3)
    assert result.successful
    publisher.publish(String(data='ho'))
    assert heard.wait()[0].data == 'hohoho'


def test_a_lazy_publisher_makes_nothing_for_nobody(listener, start, wait_until):
    node = start(Echo)
    made = []
    lazy = LazyPublisher(node.said)

    def make():
        made.append(String(data='costly'))
        return made[-1]

    lazy.publish(make)
    assert not made
    heard = listener.hear(String, 'said')
    wait_until(lambda: lazy.wanted, 'a subscription')
    lazy.publish(make)
    assert heard.wait()[0].data == 'costly'
    listener.deafen(heard)
    wait_until(lambda: not lazy.wanted, 'the end of the subscription')
    lazy.publish(make)
    assert len(made) == 1
