from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from facefusion_ros.app.bag.definition import full_definition
from facefusion_ros.app.bag.errors import BagError

if TYPE_CHECKING:
    from collections.abc import Callable

BAR = '=' * 80


def test_dependencies_follow_once_each() -> None:
    texts = {
        ('a', 'Top'): '# other/Word in a comment\nuint8 ONE=1\nLeaf leaf\nb/Far[<=3] far # Leaf\nstring<=5 name "x"\n',
        ('a', 'Leaf'): 'float64[9] numbers\n',
        ('b', 'Far'): 'a/Leaf again\nb/msg/Deep deep\nLocal local\n',
        ('b', 'Deep'): 'bool yes',
        ('b', 'Local'): 'int32 x\n\n\n',
    }
    text = full_definition('a/msg/Top', lambda package, name: texts[package, name])
    assert text == (
        texts['a', 'Top']
        + f'{BAR}\nMSG: a/Leaf\nfloat64[9] numbers\n'
        + f'{BAR}\nMSG: b/Far\n{texts["b", "Far"]}'
        + f'{BAR}\nMSG: b/Deep\nbool yes\n'
        + f'{BAR}\nMSG: b/Local\nint32 x\n'
    )


@pytest.mark.parametrize(
    'type_name', ['sensor_msgs/msg/Imu', 'sensor_msgs/msg/CameraInfo', 'diagnostic_msgs/msg/DiagnosticArray']
)
def test_an_independent_reader_sees_the_same_type(type_name: str, message_text: Callable[[str, str], str]) -> None:
    known = get_typestore(Stores.ROS2_KILTED)
    seen = get_typestore(Stores.EMPTY)
    seen.register(get_types_from_msg(full_definition(type_name, message_text), type_name))
    assert seen.hash_rihs01(type_name) == known.hash_rihs01(type_name)


@pytest.mark.parametrize('name', ['FrameRef', 'FaceArray', 'FacePatchArray', 'FrameTiming', 'Provenance'])
def test_own_types_are_understood(name: str, message_text: Callable[[str, str], str]) -> None:
    type_name = f'facefusion_ros/msg/{name}'
    types = get_types_from_msg(full_definition(type_name, message_text), type_name)
    assert type_name in types
    assert 'std_msgs/msg/Header' in types


@pytest.mark.parametrize('type_name', ['sensor_msgs/Imu', 'Imu', '', 'std_srvs/srv/Empty', '/msg/', 'a/msg/b/c'])
def test_other_names_are_refused(type_name: str, message_text: Callable[[str, str], str]) -> None:
    with pytest.raises(BagError, match=r'package/msg/Name'):
        full_definition(type_name, message_text)


@pytest.mark.parametrize('type_name', ['no_such_package/msg/Imu', 'sensor_msgs/msg/NoSuchType'])
def test_a_type_that_is_not_installed_is_named(type_name: str, message_text: Callable[[str, str], str]) -> None:
    with pytest.raises(BagError, match=type_name):
        full_definition(type_name, message_text)


def test_without_ros_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    with pytest.raises(BagError, match='source the ROS 2 setup'):
        full_definition('sensor_msgs/msg/Imu')
