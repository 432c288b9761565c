"""The ``record`` command: a node that records until it is told to stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_topic_name import validate_topic_name

from facefusion_ros.app.recorder import Recorder
from facefusion_ros.errors import FacefusionError
from facefusion_ros.ros.signals import Ending

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TELL_EVERY_S = 5.0
DISCOVERY_S = 6.0
"""Fast DDS announces every participant anew after 3 s (its default), which a newcomer may have to wait for."""


def record(path: Path, topics: Sequence[str], namespace: str, duration_s: float | None) -> int:
    """Record until SIGINT, SIGTERM, the end of the duration or a full disk; returns the exit code.

    The duration counts from the first message, which has to come within DISCOVERY_S then.
    """
    try:
        validate_namespace('/' + namespace.removeprefix('/'))
        for topic in topics:
            validate_topic_name(topic)
    except NameValidationException as error:
        message = ' '.join(line.strip() for line in str(error).splitlines()[:2])  # the third points at the character
        raise FacefusionError(message) from error
    if path.exists():
        message = f'{path} exists: name another file with --out, or move that one away'
        raise FacefusionError(message)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    ending = Ending()
    node = rclpy.create_node('recorder', namespace=namespace)
    try:
        recorder = Recorder(node, path, topics)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        told_s = time.monotonic()
        until_s = told_s + DISCOVERY_S
        begun = False
        print(f'recording to {path}; Ctrl-C ends', flush=True)
        while not ending.asked and not recorder.failed:
            executor.spin_once(timeout_sec=0.2)
            now_s = time.monotonic()
            if duration_s is not None:
                if recorder.received and not begun:
                    begun, until_s = True, now_s + duration_s
                if now_s >= until_s:
                    break
            if now_s - told_s >= TELL_EVERY_S:
                told_s = now_s
                print(f'{recorder.received} messages on {len(recorder.topics)} topics', flush=True)
        names = recorder.topics
        recorder.close()
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    if recorder.failed:  # the recorder has said why
        return 1
    if not recorder.received:
        path.unlink()
        message = f'nothing was published in {namespace}: is the pipeline running there, in the same ROS_DOMAIN_ID?'
        raise FacefusionError(message)
    print(f'{path}: {recorder.bag.message_count} messages of {len(names)} topics')
    return 0
