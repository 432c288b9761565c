"""ROS 2 launch files in XML, run where ``ros2 launch`` is missing."""

from __future__ import annotations

from facefusion_ros.app.launch.environment import children_environment
from facefusion_ros.app.launch.plan import Argument, ParameterFile, Plan, Process
from facefusion_ros.app.launch.refusal import LaunchFileError
from facefusion_ros.app.launch.resolve import arguments, given, resolve
from facefusion_ros.app.launch.runner import Ended, Started, execute, run

__all__ = [
    'Argument',
    'Ended',
    'LaunchFileError',
    'ParameterFile',
    'Plan',
    'Process',
    'Started',
    'arguments',
    'children_environment',
    'execute',
    'given',
    'resolve',
    'run',
]
