"""Where the package and the ROS 2 it belongs to are installed."""

from __future__ import annotations

import os
from pathlib import Path

from facefusion_ros.app.launch.environment import children_environment
from facefusion_ros.app.launch.packages import share
from facefusion_ros.app.launch.refusal import RefusalError
from facefusion_ros.errors import FacefusionError


def adopt_environment() -> None:
    """Let this process find the packages of the ROS 2 that was installed with pip, as sourcing would do."""
    os.environ['AMENT_PREFIX_PATH'] = children_environment(os.environ).get('AMENT_PREFIX_PATH', '')


def launch_file(name: str) -> Path:
    """Return the path of a launch file: one that exists as named, or one of the package's own."""
    if Path(name).exists():
        return Path(name)
    try:
        folder = share('facefusion_ros', os.environ) / 'launch'
    except RefusalError as error:
        message = f'facefusion_ros is not installed: run make install, or source your colcon workspace ({error})'
        raise FacefusionError(message) from error
    if not (folder / name).exists():
        known = ', '.join(sorted(file.name for file in folder.glob('*.launch.xml')))
        message = f'no launch file {name}: give a path, or one of {known}'
        raise FacefusionError(message)
    return folder / name
