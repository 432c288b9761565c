"""Reading launch XML: lines, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from facefusion_ros.app.launch import LaunchFileError
from facefusion_ros.app.launch.document import read

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, text: str, name: str = 'a.launch.xml') -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(LaunchFileError) as caught:
        read(path)
    text = str(caught.value)
    assert '\n' not in text
    return text


def test_elements_know_their_line_and_keep_their_order(tmp_path: Path) -> None:
    root = read(
        write(
            tmp_path,
            '<?xml version="1.0"?>\n<launch version="0.1">\n <!-- x -->\n <let name="a"\n'
            '   value="1"/>\n <group><node exec="e"><remap from="a" to="b"/><param name="p" value="1"/>'
            '\n<param name="q" value="2"/></node></group>\n</launch>\n',
        )
    )
    assert [(child.tag, child.place.line) for child in root.children] == [('let', 4), ('group', 6)]
    node = root.children[1].children[0]
    assert [(child.tag, child.place.line) for child in node.children] == [('remap', 6), ('param', 6), ('param', 7)]
    assert [child.attributes['name'] for child in node.named('param')] == ['p', 'q']


@pytest.mark.parametrize(
    ('body', 'line', 'said'),
    [
        ('\n\n<foo/>', 4, 'unknown tag <foo> in <launch>; known are <arg>, <executable>, <group>, <include>, <let>,'),
        ('<group>\n<timer/></group>', 3, 'unknown tag <timer> in <group>; known are'),
        ('<node exec="e"><let name="a" value="b"/></node>', 2, 'unknown tag <let> in <node>; known are <env>, <param>'),
        ('<let name="a" value="b"><x/></let>', 2, 'unknown tag <x> in <let>; known are none'),
        ('<remap from="a" to="b"/>', 2, 'unknown tag <remap> in <launch>'),
        ('<node exec="e"\n foo="1"/>', 2, "<node> has no attribute 'foo'; known are args, cwd, exec, exec_name, if,"),
        ('<node exec="e"><param name="p" value="1" if="1"/></node>', 2, "<param> has no attribute 'if'"),
        ('<arg name="a" value="1"/>', 2, "<arg> has no attribute 'value'; known are default, description, if, name,"),
        ('<group><group>\n<let name="a"/></group></group>', 3, "<let> lacks the attribute 'value'"),
        ('<node pkg="p"/>', 2, "<node> lacks the attribute 'exec'"),
        ('<let name="a" value="b" if="1" unless="1"/>', 2, "<let> has both 'if' and 'unless'"),
        ('<let name="a" value="$(eval 1+1)"/>', 2, 'unknown substitution $(eval); known are $(var), $(env),'),
        ('<group if="0">\n<let name="a" value="$(var"/></group>', 3, 'malformed substitution'),
        ('<let name="a" value="b">', 3, 'mismatched tag'),
        ('<let name="a" value="<"/>', 2, 'not well-formed'),
    ],
)  # fmt: skip
def test_what_is_unknown_is_refused_with_file_and_line(tmp_path: Path, body: str, line: int, said: str) -> None:
    path = write(tmp_path, f'<launch>\n{body}\n</launch>\n')
    text = refusal(path)
    assert text.startswith(f'{path}:{line}: ')
    assert said in text


def test_the_root_is_launch(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, '\n<robot/>')).endswith(':2: unknown tag <robot>; known are <launch>')


def test_an_empty_file_is_no_xml(tmp_path: Path) -> None:
    assert 'no element found' in refusal(write(tmp_path, ''))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / 'no.launch.xml') == (
        f'{tmp_path}/no.launch.xml: the launch file cannot be read: No such file or directory'
    )


@pytest.mark.parametrize('name', ['a.launch.py', 'a.launch.yaml'])
def test_other_kinds_of_launch_file_are_refused(tmp_path: Path, name: str) -> None:
    assert 'only XML launch files can be run here' in refusal(write(tmp_path, '', name))


def test_text_that_ros_does_not_substitute_is_left_alone(tmp_path: Path) -> None:
    root = read(write(tmp_path, '<launch><arg name="a" description="as $(eval does"/></launch>'))
    assert root.children[0].attributes['description'] == 'as $(eval does'
