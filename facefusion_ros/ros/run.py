"""Runs nodes in this process: one executor thread each, and a clean end."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

import cv2
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facefusion_ros.ros.stage import StageNode

JOIN_S = 2.0
LOOK_S = 0.2


class _Spinner(threading.Thread):
    """Spins one node."""

    def __init__(self, node: StageNode) -> None:
        super().__init__(name=node.NAME, daemon=True)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def run(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def end(self) -> None:
        self._executor.shutdown(timeout_sec=0)
        self.join(JOIN_S)


def run(*kinds: Callable[[], StageNode]) -> int:
    """Make the nodes, start them and run until SIGINT, SIGTERM or until all are finalized; returns the exit code.

    A group's Ctrl-C reaches a process more than once, so signals only set a flag. A defect in a thread, of a node or of
    its camera, ends the process, so that no node is dead and looks alive.
    """
    stop, defect = threading.Event(), threading.Event()

    def end_with(failed: threading.ExceptHookArgs) -> None:
        threading.__excepthook__(failed)
        defect.set()
        stop.set()

    threading.excepthook = end_with
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    cv2.setNumThreads(1)  # the stages are threads already; more only fight for the same cores
    spinners: list[_Spinner] = []
    nodes: list[StageNode] = []
    started = False
    try:
        _init()
        nodes.extend(kind() for kind in kinds)
        # The end of the line first, so that nothing is sent to nobody. A node that cannot start has said why.
        started = all(node.autostart() for node in reversed(nodes))
        for node in nodes if started else ():
            spinners.append(_Spinner(node))
            spinners[-1].start()
        while started and not (stop.wait(LOOK_S) or all(node.state == 'finalized' for node in nodes)):
            pass
    except FacefusionError as error:
        print(f'facefusion_ros: {error}', file=sys.stderr)
    for spinner in spinners:
        spinner.end()
    for node in nodes:
        node.stop()
        node.destroy_node()
    rclpy.try_shutdown()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the interpreter, ending, would let one more of them kill the process
    return int(defect.is_set() or not started)


def _init() -> None:
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # what rclpy makes of a remapping, namespace or parameter file that rcl refuses
        message = f'the arguments after --ros-args cannot be used: {error}'
        raise FacefusionError(message) from error
