"""What launch files come to; the expected commands are those that ROS 2's own launch and launch_ros make of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from facefusion_ros.app.launch import LaunchFileError, ParameterFile, Plan, Process, arguments, given, resolve

if TYPE_CHECKING:
    from conftest import Package


def words(process: Process) -> list[object]:
    """Return the command after the executable, parameter files as what they hold."""
    return [yaml.safe_load(word.text) if isinstance(word, ParameterFile) else word for word in process.argv[1:]]


def said(plan: Plan) -> list[list[object]]:
    """Return what each process's command says after its executable."""
    return [words(process) for process in plan.processes]


def refusal(robot: Package, body: str, **given_arguments: str) -> str:
    with pytest.raises(LaunchFileError) as caught:
        robot.plan(body, **given_arguments)
    text = str(caught.value)
    assert '\n' not in text
    assert text.startswith(str(robot.share / 'main.launch.xml'))
    return text.removeprefix(str(robot.share / 'main.launch.xml'))


# --- nodes


def test_a_node_in_full(robot: Package) -> None:
    plan = robot.plan("""
        <arg name="device" default="/dev/video0"/>
        <node pkg="robot" exec="camera" name="front" namespace="head" output="screen" respawn="true" respawn_delay="2.5"
              respawn_max_retries="3" on_exit="shutdown" cwd="/tmp"
              args="--device $(var device) 'a b'" ros_args="--log-level debug">
          <param name="width" value="1920"/>
          <remap from="image" to="/raw"/>
          <remap from="info" to="i"/>
          <param name="lens"><param name="focal" value="1.0"/><param name="name" value="'8'"/></param>
          <env name="LEVEL" value="$(var device)"/>
        </node>""")
    (process,) = plan.processes
    assert process.argv[0] == str(robot.lib / 'camera')
    assert words(process) == [
        *['--device', '/dev/video0', 'a b', '--ros-args', '--log-level', 'debug'],
        *['--ros-args', '-r', '__node:=front', '-r', '__ns:=/head'],
        *['--params-file', {'/head/front': {'ros__parameters': {'width': 1920}}}],
        *['--params-file', {'/head/front': {'ros__parameters': {'lens.focal': 1.0, 'lens.name': '8'}}}],
        *['-r', 'image:=/raw', '-r', 'info:=i'],
    ]
    assert process.label == 'camera-1'
    assert process.env == {**robot.environ, 'LEVEL': '/dev/video0'}
    assert process.cwd == '/tmp'
    assert (process.respawn, process.respawn_delay_s, process.respawn_limit) == (True, 2.5, 3)
    assert process.ends_launch
    assert str(process.place) == f'{robot.share}/main.launch.xml:4'


def test_a_node_of_few_words(robot: Package) -> None:
    (process,) = robot.plan('<node pkg="robot" exec="camera"/>').processes
    assert process.argv == (str(robot.lib / 'camera'), '--ros-args')
    assert (process.cwd, process.respawn, process.respawn_limit, process.ends_launch) == (None, False, -1, False)


def test_parameters_hold_for_any_node_where_its_full_name_is_not_given(robot: Package) -> None:
    plan = robot.plan("""
        <node pkg="robot" exec="camera" name="c"><param name="p" value="1"/></node>
        <node pkg="robot" exec="camera" namespace="n"><param name="p" value="1"/></node>
        <node pkg="robot" exec="camera" name="c" namespace="/"><param name="p" value="1"/></node>""")
    keys = [next(iter(word)) for command in said(plan) for word in command if isinstance(word, dict)]
    assert keys == ['/**', '/**', '/c']


def test_parameter_files(robot: Package) -> None:
    (robot.share / 'p.yaml').write_text('/**:\n  ros__parameters:\n    device: $(var device)\n')
    plan = robot.plan("""
        <arg name="device" default="7"/>
        <node pkg="robot" exec="camera">
          <param from="$(find-pkg-share robot)/p.yaml"/>
          <param from="$(dirname)/p.yaml" allow_substs="true"/>
        </node>""")
    as_it_is, substituted = words(plan.processes[0])[2::2]
    assert as_it_is == f'{robot.share}/p.yaml'
    assert substituted == {'/**': {'ros__parameters': {'device': 7}}}


@pytest.mark.parametrize(
    ('param', 'text'),
    [
        ('<param from="$(dirname)/no.yaml"/>', ':3: parameter file not found: '),
        ('<param from="$(dirname)/bad.yaml" allow_substs="true"/>', 'is no YAML once its substitutions are made'),
        ('<param from="a" name="b"/>', ":3: <param> with 'from' takes no 'name', 'value', 'type' or nested <param>"),
        ('<param from="a"><param name="b" value="1"/></param>', ":3: <param> with 'from' takes no 'name'"),
        ('<param value="1"/>', ":3: <param> takes either 'name' and 'value', or 'from'"),
        ('<param name="a" value="1" allow_substs="true"/>', ":3: <param> takes either 'name' and 'value', or 'from'"),
        ('<param name="a"/>', ":3: parameter 'a' takes either a 'value' or nested <param>"),
        ('<param name="a" value="1"><param name="b" value="1"/></param>', ":3: parameter 'a' takes either a 'value'"),
        ('<param name="a" type="int"><param name="b" value="1"/></param>', ":3: parameter 'a' takes either a 'value'"),
        ('<param name="a">\n<param name="b"/></param>', ":4: parameter 'a.b' takes either a 'value' or nested <param>"),
        ('<param name="a" value="[1, b]"/>', ":3: '[1, b]' is not a bool, an int, a float, a string or a list"),
        ('<param name="a" value="x" type="int"/>', ":3: 'x' is not of type int"),
    ],
)
def test_parameters_that_cannot_be(robot: Package, param: str, text: str) -> None:
    (robot.share / 'bad.yaml').write_text('a: [1')
    assert text in refusal(robot, f'<node pkg="robot" exec="camera">\n{param}</node>')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a b', ['a', 'b']),
        (' a ', ['a']),
        ('', ['']),
        ('--a=$(var s) --b', ['--a=x y', '--b']),
        ('$(var s) $(var s)', ['x y', 'x y']),
        ('$(var s)$(var s)', ['x yx y']),
        ('p q$(var s)r s t u$(var s) v', ['p', 'qx yr', 's', 't', 'ux y', 'v']),
        ('"a b" c', ['a b', 'c']),
        (r'\$(var s)', ['$(var', 's)']),
        ('\n  --a\n  $(var s)\n', ['--a', 'x y']),
        ('# no; sh | ell', ['#', 'no;', 'sh', '|', 'ell']),
    ],
)
def test_arguments_are_split_into_words_and_substitutions_are_not(
    robot: Package, text: str, expected: list[str]
) -> None:
    plan = robot.plan(
        f"<let name='s' value='x y'/><executable cmd='echo'/><node pkg='robot' exec='camera' args='{text}'/>"
    )
    assert words(plan.processes[1]) == [*expected, '--ros-args']


def test_words_that_cannot_be_split(robot: Package) -> None:
    body = '<let name="s" value="x"/>\n<executable cmd="echo \'$(var s)\'"/>'
    assert refusal(robot, body).startswith(':3: "echo \'" cannot be split into words: No closing quotation')


@pytest.mark.parametrize(
    ('pushed', 'own', 'expected'),
    [
        ([], None, None),
        ([], '', '/'),
        ([], 'a', '/a'),
        ([], '/a/b/', '/a/b'),
        (['r'], None, '/r'),
        (['r'], 'a', '/r/a'),
        (['r'], '/a', '/a'),
        (['r', 's'], 'a', '/r/s/a'),
        (['r', '/s'], None, '/s'),
        ([''], None, '/'),
        (['', 'r'], '', '/r'),
    ],
)
def test_namespaces(robot: Package, pushed: list[str], own: str | None, expected: str | None) -> None:
    for tag in ('push-ros-namespace', 'push_ros_namespace'):
        pushes = ''.join(f'<{tag} namespace="{each}"/>' for each in pushed)
        attribute = '' if own is None else f' namespace="{own}"'
        plan = robot.plan(f'{pushes}<node pkg="robot" exec="camera"{attribute}/>')
        assert words(plan.processes[0]) == ['--ros-args', *([] if expected is None else ['-r', f'__ns:={expected}'])]


@pytest.mark.parametrize(
    ('body', 'text'),
    [
        ('<node pkg="robot" exec="camera" name="1a"/>', ":2: '1a' is no node name"),
        ('<node pkg="robot" exec="camera" name=""/>', ":2: '' is no node name"),
        ('<node pkg="robot" exec="camera" namespace="a//b"/>', ":2: '/a//b' is no namespace"),
        ('<push-ros-namespace namespace="a b"/>', ":2: '/a b' is no namespace"),
        ('<node pkg="robot" exec="nose"/>', ":2: package 'robot' has no executable 'nose'; it has camera"),
        ('<node pkg="rowboat" exec="nose"/>', ":2: package 'rowboat' not found in "),
        ('<node exec="a" output="printer"/>', ":2: output='printer' is unknown; known are screen, log, both,"),
        ('<node exec="a" on_exit="restart"/>', ":2: on_exit='restart' is unknown; known is shutdown"),
        ('<node exec="a" respawn="perhaps"/>', ":2: 'perhaps' is not of type bool"),
        ('<node exec="a" respawn_delay="-1"/>', ":2: respawn_delay='-1' is no number from 0.0"),
        ('<node exec="a" respawn_delay="nan"/>', ":2: respawn_delay='nan' is no number from 0.0"),
        ('<node exec="a" respawn_max_retries="1.5"/>', ":2: respawn_max_retries='1.5' is no number from -1"),
        ('<executable cmd=""/>', ':2: cmd is empty; give the command to run'),
        ('<let name="a" value="b" if="perhaps"/>', ":2: if='perhaps' is no condition; write true, false, 1 or 0"),
        ('<group scoped="perhaps"/>', ":2: 'perhaps' is not of type bool"),
        ('\n<let name="a" value="$(var b)"/>', ":3: no <arg> or <let> named 'b' so far; known are none"),
        ('<include file="$(dirname)/no.launch.xml"/>', ':2: included launch file not found: '),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_file_and_line(robot: Package, body: str, text: str) -> None:
    assert refusal(robot, body).startswith(text)


def test_python_scripts_run_under_this_interpreter(robot: Package) -> None:
    script = robot.python('script', 'pass\n')
    own = robot.script('own', '#!/usr/bin/env python3 -u\n')
    plan = robot.plan(f"""
        <node pkg="robot" exec="script" launch-prefix="nice -n $(env HOME)"/>
        <node pkg="robot" exec="own"/>
        <executable cmd="{script} a"/>
        <executable cmd="python3 a"/>""")
    assert [process.argv for process in plan.processes] == [
        ('nice', '-n', '/home/robot', sys.executable, str(script), '--ros-args'),
        (str(own), '--ros-args'),
        (sys.executable, str(script), 'a'),
        ('python3', 'a'),
    ]
    assert [process.label for process in plan.processes] == ['script-1', 'own-2', 'script-3', 'python3-4']


def test_executables_and_labels(robot: Package) -> None:
    plan = robot.plan("""
        <executable cmd="/bin/echo a" name="speaker" cwd="$(dirname)" respawn="1"><env name="A" value="B"/></executable>
        <node exec="/bin/true" exec_name="yes"/>""")
    speaker, yes = plan.processes
    assert (speaker.label, speaker.argv, speaker.cwd) == ('speaker-1', ('/bin/echo', 'a'), str(robot.share))
    assert speaker.respawn
    assert speaker.env['A'] == 'B'
    assert (yes.label, yes.argv) == ('yes-2', ('/bin/true', '--ros-args'))


# --- arguments, variables, conditions, groups, environment


def test_arguments_and_variables(robot: Package) -> None:
    body = """
        <arg name="a" default="1"/>
        <arg name="b" default="$(var a)0" description="ten times a"><choice value="10"/><choice value="70"/></arg>
        <let name="c" value="$(var a)$(var b)"/>
        <executable cmd="e $(var a) $(var b) $(var c) $(var d none)"/>
        <arg name="d" default="late"/>
        <executable cmd="e $(var d)"/>"""
    assert said(robot.plan(body)) == [['1', '10', '110', 'none'], ['late']]
    assert said(robot.plan(body, a='7', d='early')) == [['7', '70', '770', 'early'], ['early']]
    assert refusal(robot, body, a='2') == ':4: b:=20 is not among the choices: 10, 70'
    assert refusal(robot, body, b='5') == ':4: b:=5 is not among the choices: 10, 70'


def test_arguments_that_must_be_given(robot: Package) -> None:
    assert refusal(robot, '<group><arg name="a"/></group><arg name="b"/><arg name="c" default=""/>', c='1') == (
        ': required argument a:=, b:= is not given; given are c:='
    )
    assert refusal(robot, '<group if="1">\n<arg name="a"/></group>') == (
        ":3: required argument 'a' is not given; add a:=VALUE"
    )
    assert said(robot.plan('<group if="0"><arg name="a"/></group>')) == []


def test_unknown_arguments_are_refused_with_those_known(robot: Package) -> None:
    robot.launch('<arg name="inner" default="1"/><arg name="set" default="1"/>', 'inc.launch.xml')
    body = '<arg name="a" default="1"/><include file="$(dirname)/inc.launch.xml"><arg name="set" value="2"/></include>'
    assert refusal(robot, body, b='1', set='3') == ': unknown argument b:=, set:=; known are a:=, inner:='
    robot.plan(body, inner='2')
    body = '<include file="$(dirname)/inc.launch.xml" if="0"/>'
    robot.plan(body, inner='2')


@pytest.mark.parametrize(
    ('text', 'sense'), [('true', True), (' TRUE ', True), ('1', True), ('False', False), ('0', False)]
)
def test_conditions(robot: Package, text: str, sense: bool) -> None:
    body = f"""
        <arg name="c" default="{text}"/>
        <executable cmd="if" if="$(var c)"/>
        <executable cmd="unless" unless="$(var c)"/>
        <group if="$(var c)"><executable cmd="group"/></group>
        <let name="x" value="set" if="$(var c)"/><set_env name="X" value="set" unless="$(var c)"/>
        <push-ros-namespace namespace="n" if="$(var c)"/><unset_env name="HOME" if="$(var c)"/>
        <arg name="y" default="set" unless="$(var c)"/>
        <include file="/no/such/file" if="0"/>
        <executable cmd="end $(var x no) $(env X no) $(env HOME gone) $(var y no) $(var ros_namespace no)"/>"""
    *some, end = robot.plan(body).processes
    assert [process.argv for process in some] == ([('if',), ('group',)] if sense else [('unless',)])
    assert words(end) == (['set', 'no', 'gone', 'no', '/n'] if sense else ['no', 'set', '/home/robot', 'set', 'no'])


def test_groups_keep_variables_environment_and_namespace(robot: Package) -> None:
    def body(scoped: str) -> str:
        return f"""
            <let name="x" value="out"/>
            <group{scoped}>
              <let name="x" value="in"/><set_env name="E" value="in"/><unset_env name="HOME"/>
              <push-ros-namespace namespace="in"/>
              <group><push-ros-namespace namespace="deep"/><node pkg="robot" exec="camera"/></group>
              <node pkg="robot" exec="camera"/>
            </group>
            <executable cmd="e $(var x) $(env E no) $(env HOME gone) $(var ros_namespace no)"/>"""

    inside = [['--ros-args', '-r', '__ns:=/in/deep'], ['--ros-args', '-r', '__ns:=/in']]
    assert said(robot.plan(body(''))) == [*inside, ['out', 'no', '/home/robot', 'no']]
    assert said(robot.plan(body(' scoped="false"'))) == [*inside, ['in', 'in', 'gone', '/in']]


def test_the_environment_of_processes(robot: Package) -> None:
    plan = robot.plan("""
        <executable cmd="before"/>
        <set_env name="A" value="1"/><unset_env name="HOME"/><unset_env name="NOT_THERE"/>
        <executable cmd="after"><env name="A" value="$(env A)2"/></executable>
        <executable cmd="last"/>""")
    before, after, last = (process.env for process in plan.processes)
    assert before == robot.environ
    without_home = {name: text for name, text in robot.environ.items() if name != 'HOME'}
    assert after == {**without_home, 'A': '12'}
    assert last == {**without_home, 'A': '1'}


def test_packages_are_looked_for_in_the_environment_of_the_file(robot: Package) -> None:
    body = '<set_env name="AMENT_PREFIX_PATH" value=""/>\n<node pkg="robot" exec="camera"/>'
    assert refusal(robot, body).startswith(":3: package 'robot' not found: AMENT_PREFIX_PATH is empty")


# --- includes


def test_includes_share_their_variables(robot: Package) -> None:
    robot.launch(
        '<arg name="a"/><arg name="b" default="b"/><let name="c" value="c"/><set_env name="D" value="d"/>'
        '<executable cmd="inside $(var a) $(var b) $(var outer) $(dirname)"/>',
        'sub/inc.launch.xml',
    )
    plan = robot.plan("""
        <let name="outer" value="o"/><arg name="a" default="x"/>
        <group>
          <include file="$(dirname)/sub/inc.launch.xml">
            <let name="b" value="$(var a)y"/><arg name="a" value="$(var a)"/>
          </include>
          <executable cmd="after $(var a) $(var b) $(var c) $(env D) $(dirname)"/>
        </group>
        <executable cmd="end $(var b no) $(var c no)"/>""")
    assert said(plan) == [
        ['x', 'xy', 'o', f'{robot.share}/sub'],
        ['x', 'xy', 'c', 'd', str(robot.share)],
        ['no', 'no'],
    ]


def test_the_values_of_an_include_are_worked_out_in_the_included_folder(robot: Package) -> None:
    robot.launch('<arg name="a" default=""/><executable cmd="inside $(var a)"/>', 'sub/inc.launch.xml')
    body = '<include file="$(dirname)/sub/inc.launch.xml"><arg name="a" value="$(dirname)"/></include>'
    assert said(robot.plan(body)) == [[f'{robot.share}/sub']]


def test_errors_in_an_included_file_carry_its_own_line(robot: Package) -> None:
    included = robot.launch('\n<let name="a" value="$(var nope)"/>', 'inc.launch.xml')
    with pytest.raises(LaunchFileError, match=f'^{included}:3: no <arg>'):
        robot.plan('<include file="$(dirname)/inc.launch.xml"/>')


def test_an_include_passes_what_the_file_requires(robot: Package) -> None:
    included = robot.launch('<arg name="a"/>', 'inc.launch.xml')
    body = '<let name="a" value="1"/>\n<include file="$(dirname)/inc.launch.xml"/>'
    assert refusal(robot, body) == f':3: <include> lacks <arg name="a" .../>, required by {included}:2'


def test_a_file_that_includes_itself_ends(robot: Package) -> None:
    assert 'includes are nested deeper than 50' in refusal(robot, '<include file="$(dirname)/main.launch.xml"/>')


# --- the command line


def test_arguments_of_a_file(robot: Package) -> None:
    robot.launch('<arg name="c" description="inner"/><arg name="set"/><arg name="a"/>', 'inc.launch.xml')
    path = robot.launch("""
        <arg name="a" default="$(var x)" description="first"><choice value="1"/><choice value="2"/></arg>
        <group if="0"><arg name="b"/></group>
        <include file="$(find-pkg-share robot)/inc.launch.xml"><arg name="set" value="1"/></include>
        <include file="$(var unknown_yet)"/>
        <include file="$(find-pkg-share elsewhere)/x"/><include file="/no/file"/>""")
    found = arguments(path, robot.environ)
    assert [(each.name, each.default, each.description, each.choices) for each in found] == [
        ('a', '$(var x)', 'first', ('1', '2')),
        ('b', None, '', ()),
        ('c', None, 'inner', ()),
    ]
    assert str(found[0].place) == f'{path}:3'


def test_given_arguments() -> None:
    assert given(['a:=1', 'b:=x:=y', 'c:=', 'a:=2']) == {'a': '2', 'b': 'x:=y', 'c': ''}
    for word in ('a', 'a=1', ':=1'):
        with pytest.raises(LaunchFileError, match=f"'{word}' is no launch argument; write name:=value"):
            given([word])


def test_resolving_leaves_what_it_was_given_alone(robot: Package) -> None:
    environ, before = dict(robot.environ), {'a': '1'}
    resolve(robot.launch('<arg name="a"/><let name="a" value="2"/><set_env name="B" value="1"/>'), before, environ)
    assert (environ, before) == (robot.environ, {'a': '1'})


def test_a_relative_path(robot: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    robot.launch('<executable cmd="e $(dirname)"/>')
    monkeypatch.chdir(robot.share)
    plan = resolve(Path('main.launch.xml'), {}, robot.environ)
    assert said(plan) == [[str(robot.share)]]
    assert str(plan.processes[0].place) == 'main.launch.xml:2'
