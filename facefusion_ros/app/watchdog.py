"""Tells systemd that the pipeline works, as long as every process of it that lives also speaks.

A launch starts again what ends. What it cannot see is a process that lives and does nothing: stuck in a driver, or
waiting for itself. Every node says how it is once a second on ``/diagnostics``, on the thread that does its work, so
whoever is silent is stuck. The rest is systemd's work: WatchdogSec= in deploy/facefusion.service.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from facefusion_ros.errors import FacefusionError
from facefusion_ros.ros import qos
from facefusion_ros.ros.parameters import Parameter, declare
from facefusion_ros.ros.signals import Ending

if TYPE_CHECKING:
    from collections.abc import Callable

TELL_PERIOD_S = 1.0
TABLE = (
    Parameter('silent_s', 20.0, 'How long a living process may say nothing', 's', 2.0, 3600.0, fixed=True),
    Parameter(
        'start_s',
        900.0,
        'How long the pipeline may take to start; building engines takes minutes',
        's',
        5.0,
        86400.0,
        fixed=True,
    ),
)
_OURS = re.compile(r'(?P<namespace>(?:[^:]+/)?)(?P<name>[^/:]+): (?P=name)')
_WORST_FIRST = (DiagnosticStatus.ERROR, DiagnosticStatus.STALE, DiagnosticStatus.WARN)


@dataclass(slots=True)
class _Word:
    pid: int
    heard_s: float
    level: bytes
    message: str


@dataclass(slots=True)
class Heartbeats:
    """What is known of the nodes by what they say.

    :ivar alive: whether the process of a number lives.
    """

    begun_s: float
    silent_s: float
    start_s: float
    alive: Callable[[int], bool] = psutil.pid_exists
    _last: dict[str, _Word] = field(default_factory=dict)
    _ended: dict[str, float] = field(default_factory=dict)

    def heard(self, name: str, pid: int, level: bytes, message: str, now_s: float) -> None:
        """Take note of what a node says; ``now_s`` is of the monotonic clock."""
        self._last[name] = _Word(pid, now_s, level, message)
        self._ended.pop(name, None)

    def complaint(self, now_s: float) -> str:
        """Return why the pipeline has to be started again; empty where it has not to be."""
        for name, word in list(self._last.items()):
            if not self.alive(word.pid):
                del self._last[name]
                self._ended.setdefault(name, now_s)
            elif now_s - word.heard_s > self.silent_s:
                return f'{name} (process {word.pid}) lives and has been silent for {now_s - word.heard_s:.0f} s'
        for name, ended_s in self._ended.items():
            if now_s - ended_s > self.start_s:
                return f'{name} ended and has not come back for {now_s - ended_s:.0f} s'
        if not self._last and not self._ended and now_s - self.begun_s > self.start_s:
            return f'no node has said anything for {now_s - self.begun_s:.0f} s'
        return ''

    def status(self) -> str:
        """Return one line for a person."""
        for level in _WORST_FIRST:
            for name, word in sorted(self._last.items()):
                if word.level == level:
                    return f'{name}: {word.message}'
        waiting = f', {len(self._ended)} starting again' if self._ended else ''
        return f'{len(self._last)} nodes run{waiting}' if self._last else f'no node runs yet{waiting}'


def tell_systemd(*lines: str) -> None:
    """Send lines to the service manager that started this; does nothing where none did.

    Source: sd_notify(3). Raises FacefusionError where the manager does not take them.
    """
    address = os.environ.get('NOTIFY_SOCKET', '')
    if not address:
        return
    if address.startswith('@'):  # of the abstract namespace
        address = f'\0{address[1:]}'
    try:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) as teller:
            teller.connect(address)
            teller.sendall('\n'.join(lines).encode())
    except OSError as error:
        raise FacefusionError(f'systemd does not listen: {error.strerror}; is NotifyAccess=all in the unit?') from error


class Watchdog(Node):  # type: ignore[misc]
    """Listens to the nodes of the namespace it is in."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - whatever rclpy's nodes take
        super().__init__('watchdog', **options)
        values = declare(self, TABLE, lambda _: None)
        self.beats = Heartbeats(time.monotonic(), values['silent_s'], values['start_s'])
        self._namespace = self.get_namespace().strip('/')
        self._complained = ''
        self.create_subscription(DiagnosticArray, '/diagnostics', self._listen, qos.SAMPLES)
        self.create_timer(TELL_PERIOD_S, self._tell)

    def _listen(self, array: DiagnosticArray) -> None:
        for status in array.status:
            ours = _OURS.fullmatch(status.name)
            if ours and ours['namespace'].strip('/') == self._namespace and status.hardware_id.isdigit():
                self.beats.heard(ours['name'], int(status.hardware_id), status.level, status.message, time.monotonic())

    def _tell(self) -> None:
        complaint = self.beats.complaint(time.monotonic())
        if complaint:
            if not self._complained:
                self.get_logger().error(f'{complaint}: asking systemd to start everything again')
            self._complained = complaint
            tell_systemd(f'STATUS={complaint}', 'WATCHDOG=trigger')
            return
        tell_systemd('READY=1', 'WATCHDOG=1', f'STATUS={self.beats.status()}')
        self._complained = ''


def main() -> int:
    """Run until a signal comes."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    ending = Ending()
    executor = SingleThreadedExecutor()
    watchdog = Watchdog()
    executor.add_node(watchdog)
    code = 0
    try:
        while not ending.asked:
            executor.spin_once(timeout_sec=0.2)
    except ExternalShutdownException:
        pass
    except FacefusionError as error:
        print(f'facefusion_ros: {error}', file=sys.stderr)
        code = 1
    watchdog.destroy_node()
    rclpy.try_shutdown()
    return code
