"""What all nodes have in common."""

import os

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import String

from facefusion_ros.errors import FacefusionError
from facefusion_ros.ros import qos
from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.ros.stage import Health, LazyPublisher, StageNode


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
