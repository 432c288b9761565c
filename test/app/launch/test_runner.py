"""Real processes: their output, their end, starting again, and that nothing outlives a launch."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import pytest

from facefusion_ros.app.launch import (
    Ended,
    LaunchFileError,
    Started,
    children_environment,
    execute,
    resolve,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Package

DEADLINE_S = 60.0
"""Nothing here takes that long; whoever waits longer waits for what will not come."""

STEADY = """
import signal
try:
    print('ready', flush=True)
    while True:
        signal.pause()
except KeyboardInterrupt:
    print('goodbye')
"""
"""Runs until SIGINT."""

STUBBORN = """
import os, signal, subprocess
signal.signal(signal.SIGINT, lambda *_: print('sigint', flush=True))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(['sh', '-c', 'trap "" INT TERM; echo deaf $$; while true; do sleep 1; done'])
print('ready', flush=True)
while True:
    signal.pause()
"""
"""Ends only by SIGKILL, and so does its child."""


class Screen:
    """A text stream whose reader can wait for what is written."""

    def __init__(self) -> None:
        self.text = ''
        self.changed = threading.Condition()

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        with self.changed:
            self.text += text
            self.changed.notify_all()
        return len(text)

    def flush(self) -> None: ...

    def wait_for(self, text: str, times: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.text.count(text) >= times, DEADLINE_S), self.text

    @property
    def stream(self) -> TextIO:
        return cast('TextIO', self)


@pytest.fixture
def screen() -> Screen:
    return Screen()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in {'Z', 'X'}
    except OSError:
        return False


def wait_until_gone(*pids: int) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline_s, [pid for pid in pids if alive(pid)]
        time.sleep(0.02)


class Running:
    """A launch in a thread of its own."""

    def __init__(self, robot: Package, screen: Screen) -> None:
        self.robot = robot
        self.screen = screen
        self.stop = threading.Event()
        self.events: list[Started | Ended] = []
        self.pool = ThreadPoolExecutor(1)
        self.code: Future[int] = Future()

    def start(self, body: str) -> None:
        plan = resolve(self.robot.launch(body), {}, children_environment(self.robot.environ))
        self.code = self.pool.submit(
            execute, plan, stream=self.screen.stream, stop=self.stop, on_event=self.events.append
        )

    def end(self) -> int:
        return self.code.result(DEADLINE_S)

    def pids(self) -> list[int]:
        return [event.pid for event in self.events if isinstance(event, Started)]


@pytest.fixture
def running(robot: Package, screen: Screen) -> Iterator[Running]:
    each = Running(robot, screen)
    robot.python('steady', STEADY)
    robot.python('stubborn', STUBBORN)
    yield each
    each.stop.set()
    each.pool.shutdown()


def test_output_comes_line_by_line_with_its_label(running: Running) -> None:
    running.robot.script('talker', '#!/bin/sh\necho one; echo two >&2; printf "\\377bad\\r\\n"; printf "no end"\n')
    running.robot.python('writer', 'import sys; print("x" * 200_000); print(sys.argv[1:])\n')
    running.start('<node pkg="robot" exec="talker"/>\n<node pkg="robot" exec="writer" name="w" args="a"/>')
    assert running.end() == 0
    lines = running.screen.text.splitlines()
    assert [line for line in lines if line.startswith('[talker-1]')] == [
        '[talker-1] one',
        '[talker-1] two',
        '[talker-1] \ufffdbad',
        '[talker-1] no end',
    ]
    written = [line.removeprefix('[writer-2] ') for line in lines if line.startswith('[writer-2]')]
    assert ''.join(written) == 'x' * 200_000 + "['a', '--ros-args', '-r', '__node:=w']"
    assert any(re.fullmatch(r'\[launch\] talker-1 started \(pid \d+\)', line) for line in lines)
    assert '[launch] writer-2 ended' in lines


def test_stopping_ends_all_of_them_cleanly(running: Running) -> None:
    running.start('<node pkg="robot" exec="steady"/><node pkg="robot" exec="steady"/>')
    running.screen.wait_for('] ready', times=2)
    running.stop.set()
    assert running.end() == 0
    wait_until_gone(*running.pids())
    assert running.screen.text.count('goodbye') == 2
    one, two = running.pids()
    ended = [event for event in running.events if isinstance(event, Ended)]
    assert sorted(ended, key=lambda event: event.label) == [
        Ended('steady-1', one, 0, asked=True),
        Ended('steady-2', two, 0, asked=True),
    ]


def test_who_does_not_listen_is_killed_with_its_children(running: Running) -> None:
    running.start('<node pkg="robot" exec="stubborn"/>\n<node pkg="robot" exec="steady"/>')
    running.screen.wait_for('deaf')
    running.screen.wait_for('] ready', times=2)
    deaf = re.search(r'deaf (\d+)', running.screen.text)
    assert deaf
    running.stop.set()
    assert running.end() == 0
    wait_until_gone(int(deaf[1]), *running.pids())
    text = running.screen.text
    assert text.count('sigint') == 1
    assert text.index('[steady-2] goodbye') < text.index('stubborn-1 does not end, it gets SIGTERM')
    assert text.index('it gets SIGTERM') < text.index('stubborn-1 does not end, it gets SIGKILL')
    assert 'main.launch.xml:2) died: signal SIGKILL' in text


@pytest.mark.parametrize(
    ('code', 'said'), [('raise SystemExit(3)', 'exit code 3'), ('import os; os.abort()', 'signal SIGABRT')]
)
def test_a_process_that_dies_is_reported_and_the_others_go_on(running: Running, code: str, said: str) -> None:
    running.robot.python('mortal', code)
    running.start('<node pkg="robot" exec="steady"/>\n<node pkg="robot" exec="mortal"/>')
    running.screen.wait_for(f'mortal-2 ({running.robot.share}/main.launch.xml:3) died: {said}\n')
    running.screen.wait_for('[steady-1] ready')
    running.stop.set()
    assert running.end() == 1
    assert 'goodbye' in running.screen.text


def test_a_process_that_cannot_be_started_is_reported(running: Running) -> None:
    running.robot.script('broken', '#!/no/such/interpreter\n')
    running.start('<node pkg="robot" exec="broken" on_exit="shutdown"/><node pkg="robot" exec="steady"/>')
    assert running.end() == 1
    assert 'main.launch.xml:2) cannot be started: [Errno 2]' in running.screen.text


def test_a_process_is_started_again_as_often_as_asked(running: Running) -> None:
    running.robot.python('mortal', 'print("alive"); raise SystemExit(1)')
    running.start('<node pkg="robot" exec="mortal" respawn="true" respawn_delay="0.01" respawn_max_retries="2"/>')
    assert running.end() == 1
    assert running.screen.text.count('[mortal-1] alive') == 3
    assert running.screen.text.count('mortal-1 is started again in 0.1 s') == 2
    assert [type(event) for event in running.events] == [Started, Ended] * 3


def test_stopping_does_not_wait_for_a_respawn(running: Running) -> None:
    running.robot.python('mortal', 'raise SystemExit(1)')
    running.start('<node pkg="robot" exec="mortal" respawn="true" respawn_delay="100000"/>')
    running.screen.wait_for('is started again in 100000 s')
    running.stop.set()
    assert running.end() == 0
    assert len(running.pids()) == 1


@pytest.mark.parametrize('code', [0, 5])
def test_on_exit_shutdown_ends_the_others(running: Running, code: int) -> None:
    running.robot.python('main', f'raise SystemExit({code})')
    running.start('<node pkg="robot" exec="steady"/><node pkg="robot" exec="main" on_exit="shutdown" respawn="true"/>')
    assert running.end() == (1 if code else 0)
    assert 'stopping: main-2 has ended' in running.screen.text
    wait_until_gone(*running.pids())


def test_what_a_process_leaves_behind_in_its_group_is_ended(running: Running) -> None:
    running.robot.script('parent', '#!/bin/sh\nsleep 100000 &\necho child $!\n')
    running.start('<node pkg="robot" exec="parent"/>')
    assert running.end() == 0
    child = re.search(r'child (\d+)', running.screen.text)
    assert child
    assert 'parent-1 left processes behind' in running.screen.text
    wait_until_gone(int(child[1]))


def test_what_left_its_group_is_ended_with_the_launch(running: Running, tmp_path: Path) -> None:
    running.robot.script(
        'parent',
        '#!/bin/sh\n'
        'setsid sh -c "echo child \\$\\$; touch left; exec sleep 100000" &\n'
        'while [ ! -e left ]; do sleep 0.02; done\n',
    )
    running.start(f'<node pkg="robot" exec="parent" cwd="{tmp_path}"/>')
    assert running.end() == 0
    child = re.search(r'child (\d+)', running.screen.text)
    assert child
    wait_until_gone(int(child[1]))


def test_environment_folder_and_parameter_files_reach_the_process(running: Running, tmp_path: Path) -> None:
    running.robot.python(
        'asker',
        'import os, sys\nprint(os.getcwd(), os.environ["A"], sys.executable)\nprint(open(sys.argv[3]).read())\n',
    )
    running.start(
        f'<node pkg="robot" exec="asker" cwd="{tmp_path}"><env name="A" value="1 2"/><param name="p" value="y"/></node>'
    )
    assert running.end() == 0
    assert f'{tmp_path} 1 2 {sys.executable}' in running.screen.text
    assert '[asker-1]     "p": "y"' in running.screen.text


def test_rcl_reads_the_parameters_and_names_as_meant(running: Running) -> None:
    """The whole way into a real node: command line and parameter file are rcl's to read."""
    running.robot.python(
        'node',
        'import rclpy\n'
        'rclpy.init()\n'
        'node = rclpy.create_node("other", allow_undeclared_parameters=True,\n'
        '                         automatically_declare_parameters_from_overrides=True)\n'
        'print(node.get_fully_qualified_name(), node.resolve_topic_name("image"))\n'
        'for name in ("i", "f", "b", "s", "y", "e", "l", "a.b"):\n'
        '    value = node.get_parameter(name).value\n'
        '    print(name, repr(value.tolist() if hasattr(value, "tolist") else value))\n'
        'node.destroy_node()\n'
        'rclpy.shutdown()\n',
    )
    for name in ('HOME', 'LD_LIBRARY_PATH', 'PYTHONPATH', 'ROS_DISTRO'):
        if name in os.environ:
            running.robot.environ[name] = os.environ[name]
    running.robot.environ['AMENT_PREFIX_PATH'] += ':' + os.environ.get('AMENT_PREFIX_PATH', '')
    running.robot.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'OFF'
    running.start("""
        <push-ros-namespace namespace="robot"/>
        <node pkg="robot" exec="node" name="camera">
          <param name="i" value="1"/><param name="f" value="0.00001"/><param name="b" value="true"/>
          <param name="s" value="1" type="str"/><param name="y" value="y"/><param name="e" value=""/>
          <param name="l" value="[x, y, n]"/><param name="a"><param name="b" value="[1.0, 2.0]"/></param>
          <remap from="image" to="/raw"/>
        </node>""")
    assert running.end() == 0, running.screen.text
    said = [line.removeprefix('[node-1] ') for line in running.screen.text.splitlines() if line.startswith('[node-1]')]
    assert said[0] == '/robot/camera /raw'
    assert said[1:6] == ['i 1', 'f 1e-05', 'b True', "s '1'", "y 'y'"]
    assert said[6:] == ["e ''", "l ['x', 'y', 'n']", 'a.b [1.0, 2.0]']


def test_colours_on_a_terminal(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.screen, 'isatty', lambda: True)
    running.robot.script('talker', '#!/bin/sh\necho one\nexit 2\n')
    running.start('<node pkg="robot" exec="talker"/>')
    assert running.end() == 1
    assert '\x1b[36m[talker-1]\x1b[0m one\n' in running.screen.text
    assert re.search(r'\[launch\] \x1b\[31mtalker-1 .* died: exit code 2\x1b\[0m\n', running.screen.text)


def test_a_stream_that_cannot_be_written_does_not_stop_the_processes(running: Running, tmp_path: Path) -> None:
    mark = tmp_path / 'done'
    plan = running.robot.plan(f'<executable cmd="sh -c \'echo hello; touch {mark}\'"/>')
    stream = Path('/dev/full').open('w')  # noqa: SIM115 - closing it fails, as it must
    assert execute(plan, stream=stream) == 0
    assert mark.exists()
    with pytest.raises(OSError, match='No space left'):
        stream.close()


def test_nothing_to_start(running: Running) -> None:
    running.start('<let name="a" value="1"/>')
    assert running.end() == 0
    assert running.screen.text == '[launch] nothing to start\n'


def test_a_bad_file_starts_nothing(robot: Package, screen: Screen) -> None:
    path = robot.launch('<executable cmd="true"/><foo/>')
    with pytest.raises(LaunchFileError):
        run(path, {}, stream=screen.stream)
    assert screen.text == ''


# --- the runner as a process of its own


def command_line(robot: Package, body: str) -> subprocess.Popen[str]:
    path = robot.launch(body)
    code = (
        'import sys; from pathlib import Path; from facefusion_ros.app.launch import run; '
        f'sys.exit(run(Path({str(path)!r}), {{}}, handle_signals=True))'
    )
    env = {**os.environ, 'AMENT_PREFIX_PATH': robot.environ['AMENT_PREFIX_PATH']}
    return subprocess.Popen([sys.executable, '-c', code], env=env, stdout=subprocess.PIPE, text=True)


def read_until(runner: subprocess.Popen[str], wanted: int, text: str) -> str:
    assert runner.stdout
    lines = ''
    while lines.count(text) < wanted:
        line = runner.stdout.readline()
        assert line, lines
        lines += line
    return lines


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_the_launch(robot: Package, number: signal.Signals) -> None:
    robot.python('steady', STEADY)
    with command_line(robot, '<node pkg="robot" exec="steady"/><node pkg="robot" exec="steady"/>') as runner:
        lines = read_until(runner, 2, '] ready')
        runner.send_signal(number)
        rest, _ = runner.communicate(timeout=DEADLINE_S)
    assert runner.returncode == 0
    assert f'[launch] stopping: {number.name}' in rest
    assert rest.count('goodbye') == 2
    wait_until_gone(*map(int, re.findall(r'pid (\d+)', lines)))


def test_a_killed_runner_takes_everything_with_it(robot: Package) -> None:
    robot.python('stubborn', STUBBORN)
    robot.python('showfile', 'import sys\nprint("file", sys.argv[3], flush=True)\n' + STUBBORN)
    body = '<node pkg="robot" exec="stubborn"/><node pkg="robot" exec="showfile"><param name="p" value="1"/></node>'
    with command_line(robot, body) as runner:
        lines = read_until(runner, 2, '] ready')
        lines += read_until(runner, 2 - lines.count('deaf'), 'deaf')
        runner.kill()
    wait_until_gone(*map(int, re.findall(r'(?:pid|deaf) (\d+)', lines)))
    file = re.search(r'file (\S+)', lines)
    assert file
    # The guard removes the folder as its last act, after the processes are gone.
    with subprocess.Popen(['sh', '-c', f'while [ -e {file[1]} ]; do sleep 0.05; done']) as waiting:
        assert waiting.wait(DEADLINE_S) == 0
