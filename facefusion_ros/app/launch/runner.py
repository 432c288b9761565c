"""Runs the processes of a plan: starts them, shows what they print, starts them again, stops them all."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

from facefusion_ros.app.launch import guard
from facefusion_ros.app.launch.environment import children_environment
from facefusion_ros.app.launch.plan import ParameterFile, Plan, Process
from facefusion_ros.app.launch.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_LOOK_S = 0.05
"""How often processes are looked after when they print nothing."""
_ESCALATION = ((0.0, signal.SIGINT), (3.0, signal.SIGTERM), (4.5, signal.SIGKILL))
"""Seconds after a process was asked to end, and the signal its group gets then."""
_GIVE_UP_S = 4.9
"""After this long a killed process hangs in the kernel, and nobody can end it."""
_SHORTEST_RESPAWN_S = 0.1
_LONGEST_LINE = 1 << 16
_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95)
_RED = 31
_ENDED_AS_ASKED = {0, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM}


@dataclass(frozen=True, slots=True)
class Started:
    """A process was started, for the first time or again."""

    label: str
    pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A process ended."""

    label: str
    pid: int
    returncode: int
    """Exit code; the negative signal number where a signal ended it (as subprocess gives it)."""
    asked: bool
    """It was asked to end, because the launch was being stopped."""


Event: TypeAlias = 'Started | Ended'


def run(
    path: Path,
    arguments: Mapping[str, str],
    *,
    stream: TextIO | None = None,
    stop: threading.Event | None = None,
    on_event: Callable[[Event], None] | None = None,
    handle_signals: bool = False,
) -> int:
    """Run a launch file in this process's environment until everything in it has ended; see execute.

    Raises LaunchFileError before anything is started.
    """
    plan = resolve(path, arguments, children_environment(os.environ))
    return execute(plan, stream=stream, stop=stop, on_event=on_event, handle_signals=handle_signals)


def execute(
    plan: Plan,
    *,
    stream: TextIO | None = None,
    stop: threading.Event | None = None,
    on_event: Callable[[Event], None] | None = None,
    handle_signals: bool = False,
) -> int:
    """Run a plan until all its processes have ended or ``stop`` is set; may be called from any thread.

    Everything the processes print goes to ``stream`` (the standard output where None), each line with the label of
    its process. ``on_event`` is called from the calling thread as processes start and end. With ``handle_signals``
    (main thread only) SIGINT, SIGTERM and SIGHUP stop the launch. To stop means SIGINT to every process and those it
    has started, SIGTERM after 3 s, SIGKILL after 4.5 s.

    Returns 0 when all ended without error or were stopped, 1 when one died and was not started again.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_guarded())
        launch = _Launch(plan, folder, stream or sys.stdout, on_event)
        if handle_signals:
            stack.enter_context(_signals_to(launch))
        launch.run(stop or threading.Event())
        return 1 if launch.failed else 0


@contextmanager
def _guarded() -> Iterator[Path]:
    """Give a folder for the launch's files; the guard (guard.py) removes it at the end, with every process left."""
    folder = tempfile.mkdtemp(prefix='facefusion_launch_')
    command = [sys.executable, '-I', '-S', guard.__file__, folder]
    # Without the mark of a launch around this one, whose guard would end ours before it has done its work.
    env = {name: text for name, text in os.environ.items() if name != guard.VARIABLE}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=env, start_new_session=True):
        yield Path(folder)  # leaving closes the pipe and waits for the guard


@contextmanager
def _signals_to(launch: _Launch) -> Iterator[None]:
    def handler(number: int, _frame: object) -> None:
        launch.reason = signal.Signals(number).name

    before = {each: signal.signal(each, handler) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)


class _Run:
    """A process from its start until it and all others of its group have ended."""

    def __init__(self, popen: subprocess.Popen[bytes], output: int) -> None:
        self.popen = popen
        self.output = output
        """File descriptor of the pipe that it prints to."""
        self.partial_line = b''
        self.asked_at_s = 0.0
        self.signals_sent = 0
        self.reported = False


class _Child:
    """A process of the plan, over all its runs."""

    def __init__(self, process: Process, number: int) -> None:
        self.process = process
        self.colour = _COLOURS[number % len(_COLOURS)]
        self.run: _Run | None = None
        self.starts = 0
        self.start_at_s: float | None = 0.0
        """When to start it, by the monotonic clock; None where it is not to be."""


class _Launch:
    """A plan being run, by one thread."""

    def __init__(self, plan: Plan, folder: Path, stream: TextIO, on_event: Callable[[Event], None] | None) -> None:
        self.children = [_Child(process, number) for number, process in enumerate(plan.processes)]
        self.folder = folder
        self.stream = stream
        self.coloured = stream.isatty()
        self.on_event = on_event or (lambda _event: None)
        self.selector = selectors.DefaultSelector()
        self.reason = ''
        """Why the launch is to be stopped; empty while it is not."""
        self.stopping = False
        self.failed = False

    def run(self, stop: threading.Event) -> None:
        if not self.children:
            self.say('nothing to start')
        with self.selector:
            while any(child.run or child.start_at_s is not None for child in self.children):
                if stop.is_set():
                    self.reason = self.reason or 'asked to'
                if self.reason and not self.stopping:
                    self.stopping = True
                    self.say(f'stopping: {self.reason}')
                for child in self.children:
                    if child.run:
                        self.look_after(child, child.run)
                    elif self.stopping:
                        child.start_at_s = None
                    elif child.start_at_s is not None and time.monotonic() >= child.start_at_s:
                        self.start(child)
                for key, _ in self.selector.select(_LOOK_S):
                    self.show_output(*key.data)

    def start(self, child: _Child) -> None:
        process = child.process
        child.start_at_s = None
        child.starts += 1
        output, its_end = os.pipe()
        try:
            popen = subprocess.Popen(
                self.argv(process),
                stdin=subprocess.DEVNULL,
                stdout=its_end,
                stderr=subprocess.STDOUT,
                env={**process.env, guard.VARIABLE: str(self.folder)},
                cwd=process.cwd,
                start_new_session=True,
            )
        except OSError as error:
            os.close(output)
            self.failed = True
            self.say(f'{process.label} ({process.place}) cannot be started: {error}', _RED)
            self.end_launch_with(process)
            return
        finally:
            os.close(its_end)
        os.set_blocking(output, False)
        child.run = _Run(popen, output)
        self.selector.register(output, selectors.EVENT_READ, (child, child.run))
        self.say(f'{process.label} started (pid {popen.pid})')
        self.on_event(Started(process.label, popen.pid))

    def argv(self, process: Process) -> list[str]:
        words = []
        for number, word in enumerate(process.argv):
            if isinstance(word, ParameterFile):
                path = self.folder / f'{process.label}_{number}.yaml'
                path.write_text(word.text)
                words.append(str(path))
            else:
                words.append(word)
        return words

    def look_after(self, child: _Child, run: _Run) -> None:
        returncode = run.popen.poll()
        if returncode is not None and not run.reported:
            self.report(child, run, returncode)
        if returncode is not None and not _group_lives(run.popen.pid):
            self.close(child, run)
        elif run.signals_sent or self.stopping or returncode is not None:
            if not run.signals_sent:
                run.asked_at_s = time.monotonic()
                if returncode is not None:
                    self.say(f'{child.process.label} left processes behind; they are asked to end')
            self.escalate(child, run)

    def escalate(self, child: _Child, run: _Run) -> None:
        waited_s = time.monotonic() - run.asked_at_s
        while run.signals_sent < len(_ESCALATION) and waited_s >= _ESCALATION[run.signals_sent][0]:
            number = _ESCALATION[run.signals_sent][1]
            if run.signals_sent:
                self.say(f'{child.process.label} does not end, it gets {number.name}', _RED)
            with suppress(ProcessLookupError):
                os.killpg(run.popen.pid, number)
            run.signals_sent += 1
        if waited_s >= _GIVE_UP_S:
            self.say(f'{child.process.label} (pid {run.popen.pid}) hangs in the kernel and cannot be ended', _RED)
            self.close(child, run)

    def report(self, child: _Child, run: _Run, returncode: int) -> None:
        """Tell that a process has ended, and decide what follows."""
        process = child.process
        run.reported = True
        asked = run.signals_sent > 0
        self.show_output(child, run)
        if run.partial_line:
            self.show(child, run.partial_line)
            run.partial_line = b''
        again = process.respawn and not process.ends_launch and not self.stopping
        again = again and (process.respawn_limit < 0 or child.starts <= process.respawn_limit)
        if returncode not in (_ENDED_AS_ASKED if asked else {0}):
            self.say(f'{process.label} ({process.place}) died: {_cause(returncode)}', _RED)
            self.failed |= not asked and not again
        else:
            self.say(f'{process.label} ended')
        if again:
            delay_s = max(process.respawn_delay_s, _SHORTEST_RESPAWN_S)
            child.start_at_s = time.monotonic() + delay_s
            self.say(f'{process.label} is started again in {delay_s:g} s')
        self.end_launch_with(process)
        self.on_event(Ended(process.label, run.popen.pid, returncode, asked))

    def end_launch_with(self, process: Process) -> None:
        if process.ends_launch:
            self.reason = self.reason or f'{process.label} has ended'

    def close(self, child: _Child, run: _Run) -> None:
        if run.output in self.selector.get_map():
            self.selector.unregister(run.output)
        os.close(run.output)
        child.run = None

    def show_output(self, child: _Child, run: _Run) -> None:
        """Show what has arrived from a process."""
        try:
            arrived = os.read(run.output, _LONGEST_LINE)  # as much as a pipe holds
        except BlockingIOError:
            return
        if not arrived:
            if run.output in self.selector.get_map():
                self.selector.unregister(run.output)
            return
        *lines, run.partial_line = (run.partial_line + arrived).split(b'\n')
        if len(run.partial_line) > _LONGEST_LINE:
            lines.append(run.partial_line)
            run.partial_line = b''
        for line in lines:
            self.show(child, line)

    def show(self, child: _Child, line: bytes) -> None:
        self.write(child.process.label, line.decode(errors='replace').rstrip('\r'), label_colour=child.colour)

    def say(self, text: str, colour: int | None = None) -> None:
        self.write('launch', text, text_colour=colour)

    def write(self, label: str, text: str, *, label_colour: int | None = None, text_colour: int | None = None) -> None:
        line = f'{self.painted(f"[{label}]", label_colour)} {self.painted(text, text_colour)}\n'
        # A terminal that went away or a full disk is no reason to stop: the line is lost, the processes go on.
        with suppress(OSError, ValueError):
            self.stream.write(line)
            self.stream.flush()

    def painted(self, text: str, colour: int | None) -> str:
        return f'\x1b[{colour}m{text}\x1b[0m' if colour and self.coloured else text


def _group_lives(group: int) -> bool:
    """Return whether a process group has a member that is more than a zombie."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for folder in Path('/proc').iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # ended meanwhile
                # After the name in brackets: state, parent, group (proc_pid_stat(5)).
                state, _parent, its_group = (folder / 'stat').read_text().rpartition(')')[2].split()[:3]
                if int(its_group) == group and state not in {'Z', 'X'}:
                    return True
    return False


def _cause(returncode: int) -> str:
    if returncode >= 0:
        return f'exit code {returncode}'
    try:
        return f'signal {signal.Signals(-returncode).name}'
    except ValueError:
        return f'signal {-returncode}'
