"""Every node is driven through its lifecycle by its services, a process each, as a system's manager would."""

from contextlib import ExitStack

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Illuminance, Imu

from facefusion_ros import msg
from facefusion_ros.nodes.ambient_light import AmbientLight
from facefusion_ros.nodes.camera import Camera
from facefusion_ros.nodes.gyro import Gyro
from facefusion_ros.nodes.renderer import Renderer
from facefusion_ros.nodes.swapper import Swapper

STAGES = {
    'camera': ('frame', msg.FrameRef),
    'detector': ('faces', msg.FaceArray),
    'swapper': ('patches', msg.FacePatchArray),
    'blender': ('output/frame', msg.FrameRef),
    'renderer': ('timing', msg.FrameTiming),
    'ambient_light': ('illuminance', Illuminance),
    'gyro': ('imu/data_raw', Imu),
}
SIMULATED = {'camera', 'ambient_light', 'gyro'}


@pytest.fixture(scope='module')
def apart(ros, world_file):
    """Every node in a process of its own, unconfigured: (listener, namespace, processes)."""
    namespace = ros.namespace()
    with ExitStack() as running, ros.listener(namespace) as listener:
        processes = {}
        for name in STAGES:
            world = {'world': world_file} if name in SIMULATED else {}
            processes[name] = running.enter_context(ros.process(name, namespace, autostart=False, **world))
        yield listener, namespace, processes


def all_make(listener, transition, state):
    for name in STAGES:
        assert listener.transit(name, transition), (name, transition)
        assert listener.state(name) == state


@pytest.mark.parametrize('time', ['the first time', 'the second time'])
def test_round_the_lifecycle(apart, pools, time):
    listener, namespace, _ = apart
    for name in STAGES:
        assert listener.state(name) == 'unconfigured', time
        # What cannot be done in this state is refused, and changes nothing.
        assert not listener.transit(name, 'activate')
        assert not listener.transit(name, 'deactivate')
    heard = {name: listener.hear(kind, topic) for name, (topic, kind) in STAGES.items()}
    all_make(listener, 'configure', 'inactive')
    all_make(listener, 'activate', 'active')
    for name in STAGES:
        heard[name].wait(2)

    # From the end of the line, so that the stage before still speaks: the one that was deactivated does not.
    for name in reversed(STAGES):
        assert listener.transit(name, 'deactivate')
        if name == 'camera':
            break
        heard['camera'].more(2)  # what was on its way has come
        silent = len(heard[name].messages)
        heard['camera'].more(2)
        assert len(heard[name].messages) == silent, name
    frames = len(heard['camera'].messages)

    all_make(listener, 'activate', 'active')
    heard['renderer'].more(2)
    numbers = [frame.sequence for frame in heard['camera'].messages]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > frames
    assert len(pools(namespace)) >= 2
    all_make(listener, 'deactivate', 'inactive')
    all_make(listener, 'cleanup', 'unconfigured')
    assert pools(namespace) == []
    for name in STAGES:
        listener.deafen(heard[name])


def test_diagnostics_follow_the_state(apart):
    listener, _, _ = apart
    diagnostics = listener.diagnostics('detector')
    for transition, told in (
        ('configure', 'inactive'),
        ('activate', 'running'),
        ('deactivate', 'inactive'),
        ('cleanup', 'unconfigured'),
    ):
        assert listener.transit('detector', transition)
        status = diagnostics.until(lambda status: status.message == told, since=len(diagnostics.messages))  # noqa: B023 - called at once
        assert status.level == DiagnosticStatus.OK


def test_shutdown_ends_the_process(apart):
    """From any state; the others are not disturbed."""
    listener, _, processes = apart
    assert listener.transit('detector', 'configure')
    assert listener.transit('swapper', 'configure')
    assert listener.transit('swapper', 'activate')
    for name in STAGES:
        assert listener.transit(name, 'shutdown')
        assert processes[name].wait() == 0
        assert 'Traceback' not in processes[name].text


def test_nothing_of_them_is_left(apart, pools):
    _, namespace, processes = apart
    for process in processes.values():
        process.kill()
    assert pools(namespace) == []


@pytest.mark.parametrize(
    ('kind', 'parameters', 'reason'),
    [
        (Swapper, {'persona': 'nobody'}, "no persona 'nobody'"),
        (Camera, {'world': 'nowhere'}, "no world is named 'nowhere'"),
        (Camera, {'source': 'gopher://camera'}, 'cannot begin with gopher://'),
        (Camera, {'calibration': '/nowhere.yaml'}, '/nowhere.yaml'),
        (Renderer, {'display': 'cinema'}, "no display 'cinema'"),
        (Gyro, {'rate_hz': 1500.0}, 'rate_hz must be at most 1000 for this chip'),
    ],
)
def test_a_configure_that_fails_leaves_it_unconfigured_and_says_why(listener, start, kind, parameters, reason):
    start(kind, autostart=False, **parameters)
    assert not listener.transit(kind.NAME, 'configure')
    assert listener.state(kind.NAME) == 'unconfigured'
    status = listener.diagnostics(kind.NAME).wait()[0]
    assert status.level == DiagnosticStatus.ERROR
    assert reason in status.message
    assert '\n' not in status.message


@pytest.mark.parametrize(
    ('kind', 'parameters', 'reason'),
    [
        (Camera, {'source': '/nowhere.mp4'}, '/nowhere.mp4: there is no such file'),
        (Camera, {'source': '/dev/video99'}, 'plug the camera in'),
        (AmbientLight, {'world': 'nowhere'}, "no world is named 'nowhere'"),
    ],
)
def test_an_activate_that_fails_leaves_it_inactive_and_says_why(listener, start, kind, parameters, reason):
    start(kind, autostart=False, **parameters)
    assert listener.transit(kind.NAME, 'configure')
    assert not listener.transit(kind.NAME, 'activate')
    assert listener.state(kind.NAME) == 'inactive'
    status = listener.diagnostics(kind.NAME).wait()[0]
    assert status.level == DiagnosticStatus.ERROR
    assert reason in status.message
    assert listener.transit(kind.NAME, 'cleanup')
    assert listener.state(kind.NAME) == 'unconfigured'


def test_what_was_wrong_can_be_mended_and_tried_again(listener, start):
    start(Swapper, autostart=False, persona='nobody')
    assert not listener.transit('swapper', 'configure')
    (result,) = listener.set_parameters('swapper', persona='jade')
    assert (result.successful, result.reason) == (True, '')
    assert listener.transit('swapper', 'configure')
    assert listener.transit('swapper', 'activate')
    status = listener.diagnostics('swapper').wait()[0]
    assert (status.level, status.message) == (DiagnosticStatus.OK, 'running')
    assert {value.key: value.value for value in status.values}['persona'] == 'jade'
