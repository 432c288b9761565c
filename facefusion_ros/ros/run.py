"""Runs nodes in this process: one executor thread each, and a clean end."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
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


class _Spinner(threading.Thread):
    """Spins one node; a defect in a callback ends the process, so that no node is dead and looks alive."""

    def __init__(self, node: StageNode, stop: threading.Event) -> None:
        super().__init__(name=node.NAME, daemon=True)
        self.node = node
        self.failed = False
        self._stop_event = stop
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def run(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:  # noqa: BLE001 - whatever it was, the process must end and say so
            traceback.print_exc()
            self.failed = True
            self._stop_event.set()

    def end(self) -> None:
        self._executor.shutdown(timeout_sec=0)
        self.join(JOIN_S)


def run(*kinds: Callable[[], StageNode]) -> int:
    """Make the nodes, start them and run until SIGINT or SIGTERM; returns the exit code.

    A group's Ctrl-C reaches a process more than once, so signals only set a flag.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    cv2.setNumThreads(1)  # the stages are threads already; more only fight for the same cores
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    spinners: list[_Spinner] = []
    nodes: list[StageNode] = []
    code = 0
    try:
        nodes.extend(kind() for kind in kinds)
        for node in reversed(nodes):  # the end of the line first, so that nothing is sent to nobody
            node.autostart()
        for node in nodes:
            spinners.append(_Spinner(node, stop))
            spinners[-1].start()
        stop.wait()
    except FacefusionError as error:
        print(f'facefusion_ros: {error}', file=sys.stderr)
        code = 1
    for spinner in spinners:
        spinner.end()
    for node in nodes:
        node.stop()
        node.destroy_node()
    rclpy.try_shutdown()
    return code or int(any(spinner.failed for spinner in spinners))
