"""Runs nodes in this process: one executor thread each, and a clean end."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import cv2
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from facefusion_ros.errors import FacefusionError
from facefusion_ros.ros.signals import Ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from facefusion_ros.ros.stage import StageNode

JOIN_S = 60.0
"""For which all threads together are waited for. Whoever cannot wait for so long kills the process, as launchers do."""
LOOK_S = 0.2


class Spinner(threading.Thread):
    """Spins one node until told to end."""

    def __init__(self, node: Node) -> None:
        super().__init__(name=node.get_name(), daemon=True)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._ending = False

    def run(self) -> None:
        """Spin. The executor ends where it ran: from outside, its shutdown would take away what it waits on."""
        try:
            with contextlib.suppress(ExternalShutdownException):
                while not self._ending and self._executor.context.ok():
                    self._executor.spin_once()
        finally:
            self._executor.shutdown()

    def ask(self) -> None:
        """Ask for the end."""
        self._ending = True
        self._executor.create_task(lambda: None)  # wakes it

    def end(self) -> None:
        """Ask for the end and wait for it, but not for ever."""
        self.ask()
        if self.ident:
            self.join(JOIN_S)


def run(*kinds: Callable[[], StageNode]) -> int:
    """Make the nodes, start them and run until SIGINT, SIGTERM or until all are finalized; returns the exit code.

    A defect in a thread, of a node or of its camera, ends the process, so that no node is dead and looks alive. So does
    a node whose thread does not end: what it works with is not taken away under it, which would be a crash, but left.
    """
    ending = Ending()
    defects: list[threading.ExceptHookArgs] = []

    def end_with(failed: threading.ExceptHookArgs) -> None:
        threading.__excepthook__(failed)
        defects.append(failed)
        ending.ask()

    threading.excepthook = end_with
    faulthandler.enable()  # what a library ends the process for is told with the place of every thread
    cv2.setNumThreads(1)  # the stages are threads already; more only fight for the same cores
    spinners: list[Spinner] = []
    nodes: list[StageNode] = []
    started = False
    try:
        _init()
        nodes.extend(kind() for kind in kinds)
        # The end of the line first, so that nothing is sent to nobody. A node that cannot start has said why.
        started = all(node.autostart() for node in reversed(nodes))
        for node in nodes if started else ():
            spinners.append(Spinner(node))
            spinners[-1].start()
        while started and not (ending.wait(LOOK_S) or all(node.state == 'finalized' for node in nodes)):
            pass
    except FacefusionError as error:
        print(f'facefusion_ros: {error}', file=sys.stderr)
    for spinner in spinners:
        spinner.ask()
    deadline = time.monotonic() + JOIN_S
    for spinner in spinners:
        spinner.join(max(0.0, deadline - time.monotonic()))
    stuck = {spinner.name for spinner in spinners if spinner.is_alive()}
    for node in nodes:
        if node.get_name() not in stuck:
            node.stop()
            node.destroy_node()
    if stuck:
        names = ', '.join(sorted(stuck))
        print(f'facefusion_ros: {names} did not end within {JOIN_S:g} s: the process ends without', file=sys.stderr)
        faulthandler.dump_traceback(all_threads=True)
        sys.stdout.flush()
        os._exit(1)  # the interpreter, ending, would take away what that thread is at
    rclpy.try_shutdown()
    ending.close()
    return int(bool(defects) or not started)


def _init() -> None:
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # what rclpy makes of a remapping, namespace or parameter file that rcl refuses
        message = f'the arguments after --ros-args cannot be used: {error}'
        raise FacefusionError(message) from error
