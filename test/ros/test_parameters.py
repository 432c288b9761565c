"""The parameters of every node, as ROS sees them."""

from contextlib import ExitStack

import pytest
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import DescribeParameters

from facefusion_ros.nodes.ambient_light import AmbientLight
from facefusion_ros.nodes.blender import Blender
from facefusion_ros.nodes.camera import Camera
from facefusion_ros.nodes.detector import Detector
from facefusion_ros.nodes.gyro import Gyro
from facefusion_ros.nodes.renderer import Renderer
from facefusion_ros.nodes.swapper import Swapper

KINDS = (Camera, Detector, Swapper, Blender, Renderer, AmbientLight, Gyro)
NUMBERS = {ParameterType.PARAMETER_INTEGER: 'integer_range', ParameterType.PARAMETER_DOUBLE: 'floating_point_range'}

REFUSED_AT_START = {
    'detector': [
        ('detection_interval', 0, 'from 1 to 60'),
        ('detection_interval', 'often', 'must be int from 1 to 60'),
        ('tracking', 'magic', "must be one of flow, hold, not 'magic'"),
    ],
    'blender': [
        ('colour_strength', 'strong', 'must be a decimal number such as 30.0 from 0 to 1'),
        ('colour_strength', 1, 'must be a decimal number'),
        ('colour_strength', 1.5, 'from 0 to 1'),
        ('imu_rotation', '[1.0, 2.0]', '9 of a 3x3 rotation'),
        ('imu_rotation', '[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0]', 'must be a rotation'),
    ],
    'gyro': [('rate_hz', 1500.0, 'rate_hz must be at most 1000'), ('address', 200, 'from 0 to 119')],
    'swapper': [
        ('persona', 'nobody', "no persona 'nobody'"),
        ('persona', 7, "no persona '7'"),
        ('persona', True, 'parameter persona must be text, not True; quote it'),
    ],
    'renderer': [('display', 'cinema', "no display 'cinema'")],
    'camera': [
        ('world', 'nowhere', "no world is named 'nowhere'"),
        ('source', '/nowhere.mp4', 'there is no such file'),
        ('calibration', '/nowhere.yaml', '/nowhere.yaml'),
    ],
}


@pytest.fixture(scope='module')
def asleep(ros):
    """One node of every kind, unconfigured, and an ear beside them."""
    namespace = ros.namespace()
    with ros.listener(namespace) as listener, ExitStack() as nodes:
        running = [nodes.enter_context(ros.node(kind, namespace, autostart=False)) for kind in KINDS]
        yield listener, {node.NAME: node for node in running}


@pytest.fixture(scope='module')
def awake(ros):
    """A node of every stage, active."""
    namespace = ros.namespace()
    with ros.listener(namespace) as listener, ExitStack() as nodes:
        running = [nodes.enter_context(ros.node(kind, namespace)) for kind in (Detector, Swapper, Blender, Renderer)]
        yield listener, {node.NAME: node for node in running}


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: kind.NAME)
def test_every_parameter_says_what_it_is(asleep, kind):
    listener, nodes = asleep
    names = ['autostart', *(row.name for row in kind.TABLE)]
    request = DescribeParameters.Request(names=names)
    described = listener.call(DescribeParameters, f'{kind.NAME}/describe_parameters', request).descriptors
    assert [descriptor.name for descriptor in described] == names
    for descriptor in described:
        assert len(descriptor.description) > 10, descriptor.name
        if descriptor.type in NUMBERS:
            ranges = getattr(descriptor, NUMBERS[descriptor.type])
            assert ranges or '[' in descriptor.description, f'{descriptor.name} has neither range nor unit'
            for one in ranges:
                assert one.from_value <= nodes[kind.NAME].values[descriptor.name] <= one.to_value
        value = nodes[kind.NAME].values[descriptor.name]
        if isinstance(value, str) and descriptor.additional_constraints:
            assert value in descriptor.additional_constraints


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: kind.NAME)
def test_what_is_read_once_cannot_be_set_later(asleep, kind):
    listener, nodes = asleep
    values = nodes[kind.NAME].values
    fixed = {row.name: values[row.name] for row in kind.TABLE if row.fixed} | {'autostart': True}
    results = listener.set_parameters(kind.NAME, **fixed)
    assert len(results) == len(fixed)
    for result in results:
        assert not result.successful
        assert 'read-only' in result.reason
    assert not nodes[kind.NAME].values['autostart']


@pytest.mark.parametrize('name', REFUSED_AT_START)
def test_values_that_will_not_do_are_refused_at_the_start_in_one_line(ros, name):
    with ExitStack() as running:
        started = [
            (running.enter_context(ros.process(name, ros.namespace(), **{parameter: value})), expected)
            for parameter, value, expected in REFUSED_AT_START[name]
        ]
        for process, expected in started:
            assert process.wait() == 1
            (line,) = process.text.splitlines()
            assert expected in line


@pytest.mark.parametrize(
    ('node', 'values', 'reason'),
    [
        ('detector', {'detection_interval': 0}, 'out of range. Min: 1, Max: 60, value: 0'),
        ('detector', {'detection_interval': 61}, 'out of range'),
        ('detector', {'detection_interval': 2.0}, 'Wrong parameter type'),
        ('detector', {'tracking': 'magic'}, "must be one of flow, hold, not 'magic'"),
        ('detector', {'coast_s': float('nan')}, 'out of range'),
        ('detector', {'nonsense': 1}, 'undeclared'),
        ('swapper', {'persona': 'nobody'}, "no persona 'nobody': known are porcelain"),
        ('swapper', {'persona': 7}, "no persona '7'"),
        ('swapper', {'max_faces': 17}, 'out of range'),
        ('blender', {'colour_strength': 1.01}, 'out of range'),
        ('blender', {'colour_strength': 1}, 'Wrong parameter type'),
        ('blender', {'gyro_prediction': 'yes'}, 'Wrong parameter type'),
        ('blender', {'imu_rotation': [1.0, 2.0, 3.0]}, 'has 3 numbers: give the 9'),
        ('blender', {'imu_rotation': [1.0] * 9}, 'must be a rotation'),
    ],
)
def test_values_that_will_not_do_are_refused_at_run_time_with_a_reason(awake, node, values, reason):
    listener, nodes = awake
    before = dict(nodes[node].values)
    (result,) = listener.set_parameters(node, **values)
    assert not result.successful
    assert reason in result.reason
    assert '\n' not in result.reason
    assert nodes[node].values == before
    for name in values.keys() & before.keys():
        assert list(np_free(nodes[node].get_parameter(name).value)) == list(np_free(before[name]))


def np_free(value):
    """Return a value as a sequence, since arrays do not compare to lists."""
    return [value] if isinstance(value, (bool, int, float, str)) else value


def test_values_that_will_do_are_taken_at_run_time(awake):
    listener, nodes = awake
    for node, values in {
        'detector': {'detection_interval': 60, 'tracking': 'hold', 'coast_s': 0.0},
        'swapper': {'max_faces': 0, 'persona': 'jade'},
        'blender': {
            'feather': 0.5,
            'colour_strength': 0.0,
            'imu_rotation': [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        },
    }.items():
        for name, value in values.items():
            (result,) = listener.set_parameters(node, **{name: value})
            assert (result.successful, result.reason) == (True, '')
            assert list(np_free(nodes[node].values[name])) == list(np_free(value))
