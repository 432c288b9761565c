"""The environment of launched processes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from facefusion_ros.app.launch import children_environment


def test_this_interpreter_comes_first_and_once() -> None:
    folder = str(Path(sys.executable).parent)
    env = children_environment({'PATH': f'/a:{folder}:/b', 'HOME': '/h'})
    assert env['PATH'] == f'{folder}:/a:/b'
    assert (env['HOME'], env['PYTHONUNBUFFERED']) == ('/h', '1')
    assert children_environment(env) == env


def test_ros_from_wheels_is_set_up_and_only_then() -> None:
    env = children_environment({'LD_LIBRARY_PATH': '/mine', 'AMENT_PREFIX_PATH': '/workspace'})
    if find_spec('ros_wheels_bootstrapper') is None:
        assert (env['LD_LIBRARY_PATH'], env['AMENT_PREFIX_PATH']) == ('/mine', '/workspace')
        assert '_ROS_WHEELS_BOOTSTRAP_COMPLETE' not in env
        return
    assert env['AMENT_PREFIX_PATH'] == f'/workspace:{sys.prefix}'
    first, *others, last = env['LD_LIBRARY_PATH'].split(':')
    assert (first, last) == (str(Path(sys.prefix) / 'lib'), '/mine')
    assert others == sorted(others)
    assert others


def test_rclpy_starts_in_it_without_being_started_twice() -> None:
    env = children_environment({name: os.environ[name] for name in ('HOME', 'PATH') if name in os.environ})
    if find_spec('ros_wheels_bootstrapper') is None:
        env = children_environment(os.environ)  # a ROS distribution that has been sourced
    code = 'import os, rclpy; rclpy.init(); rclpy.shutdown(); print(os.environ["LD_LIBRARY_PATH"])'
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == env['LD_LIBRARY_PATH']
