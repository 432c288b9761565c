"""How parameter values get their type; the expected values are those of ROS 2's own launch_ros."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.app.launch.parameters import Value, boolean, file_text, value
from facefusion_ros.app.launch.refusal import RefusalError
from facefusion_ros.app.launch.substitution import Scope

SCOPE = Scope(
    {'x': '5', 'f': '1.5', 'd': 'true', 's': 'a b', 'e': '', 'l': '[1, 2]', 'y': 'y', 'q': "'7'", 'bad': '[1,'}, {}, '/'
)


@pytest.mark.parametrize(
    ('text', 'type_name', 'expected'),
    [
        ('1', 'yaml', 1),
        ('1.0', 'yaml', 1.0),
        ('true', 'yaml', True),
        ('yes', 'yaml', True),
        ('y', 'yaml', 'y'),
        ('hello', 'yaml', 'hello'),
        ("'1'", 'yaml', '1'),
        ('', 'yaml', ''),
        ('1e3', 'yaml', '1e3'),
        ('010', 'yaml', 8),
        ('[1, 2]', 'yaml', [1, 2]),
        ('[1.0, 2.5]', 'yaml', [1.0, 2.5]),
        ('[a, b c]', 'yaml', ['a', 'b c']),
        ('[]', 'yaml', []),
        ('$(var x)', 'yaml', 5),
        ('$(var x).5', 'yaml', 5.5),
        ('$(var d)', 'yaml', True),
        ('$(var s)', 'yaml', 'a b'),
        ('$(var e)', 'yaml', ''),
        ('$(var l)', 'yaml', [1, 2]),
        ('$(var q)', 'yaml', '7'),
        ("'$(var x)'", 'yaml', 5),
        ('[$(var x), 6]', 'yaml', [5, 6]),
        ('[$(var s), b]', 'yaml', ['a b', 'b']),
        ('/dev/video$(var x)', 'yaml', '/dev/video5'),
        (r'\$(var x)', 'yaml', '$(var x)'),
        ('1', 'str', '1'),
        ('$(var x)', 'str', '5'),
        ('[1,', 'str', '[1,'),
        ('1', 'float', 1.0),
        ('$(var x)', 'float', 5.0),
        ('1', 'bool', True),
        ('0', 'bool', False),
        ('$(var d)', 'bool', True),
        ('7', 'int', 7),
        ('$(var x)', 'int', 5),
        ('[1, 2]', 'list_of_int', [1, 2]),
        ('[$(var x), 2]', 'list_of_int', [5, 2]),
        ('[a, 1]', 'str', '[a, 1]'),
        ('[]', 'list_of_str', []),
    ],
)
def test_values_and_their_types(text: str, type_name: str, expected: Value) -> None:
    found = value(text, type_name, SCOPE)
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(found, list):
        assert [type(item) for item in found] == [type(item) for item in expected]


@pytest.mark.parametrize(
    ('text', 'type_name'),
    [
        ('~', 'yaml'),
        ('a: b', 'yaml'),
        ('2024-01-01', 'yaml'),
        ('[1, 2.0]', 'yaml'),
        ('[a, 1]', 'yaml'),
        ('[1, true]', 'yaml'),
        ('[[1]]', 'yaml'),
        ('[$(var l), 3]', 'yaml'),
        ('[$(var x), a]', 'yaml'),
        ('$(var bad)', 'yaml'),
        ('1.5', 'int'),
        ('a', 'int'),
        ('$(var f)', 'int'),
        ('a', 'float'),
        ('maybe', 'bool'),
        ('2', 'bool'),
        ('[1, 2]', 'int'),
        ('1', 'list_of_int'),
        ('[1, 2]', 'list_of_float'),
        ('[a]', 'list_of_int'),
        ('$(var l)', 'list_of_int'),
        ('[]', 'list_of_int'),
    ],
)
def test_values_of_no_type(text: str, type_name: str) -> None:
    with pytest.raises(RefusalError, match='is not') as caught:
        value(text, type_name, SCOPE)
    assert '\n' not in str(caught.value)


def test_an_unknown_type_is_refused_with_those_known() -> None:
    with pytest.raises(
        RefusalError, match="unknown parameter type 'double'; known are yaml, str, bool, float, int, list"
    ):
        value('1', 'double', SCOPE)


def test_truth_values() -> None:
    assert [boolean(text) for text in ('true', '1', 'yes', 'false', '0')] == [True, True, True, False, False]
    with pytest.raises(RefusalError, match="'maybe' is not of type bool"):
        boolean('maybe')


scalars = st.one_of(st.booleans(), st.integers(), st.floats(), st.text())
lists = st.one_of(*(st.lists(each, min_size=1) for each in (st.booleans(), st.integers(), st.floats(), st.text())))


@given(st.dictionaries(st.text(min_size=1), st.one_of(scalars, lists), min_size=1))
def test_a_parameter_file_says_what_was_meant(parameters: dict[str, Value]) -> None:
    read = yaml.safe_load(file_text('/robot/camera', parameters))['/robot/camera']['ros__parameters']
    assert _same(read, parameters)


def _same(a: Value, b: Value) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and a == b


def test_strings_that_rcl_would_take_for_something_else_are_quoted() -> None:
    text = file_text('/**', {'axes': ['x', 'y', 'n'], 'number': '1e3'})
    assert all(f'"{word}"' in text for word in ('x', 'y', 'n', '1e3'))
