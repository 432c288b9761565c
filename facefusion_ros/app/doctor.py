"""What this machine has: one line each, with the cure for what is missing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facefusion_ros.displays.connectors import Connector

SHARED_MEMORY = Path('/dev/shm')  # noqa: S108 - POSIX shared memory lives there
WANTED_SHARED_MB = 64
DEVICES = Path('/dev')


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    present: bool
    text: str
    needed: bool = False
    """Whether the pipeline cannot run without it."""

    def __str__(self) -> str:
        mark = 'ok  ' if self.present else 'MISS' if self.needed else '-   '
        return f'{mark}  {self.subject:<14} {self.text}'


def doctor() -> int:
    """Print the findings; the exit code is 1 where something is missing that the pipeline cannot run without."""
    findings = [check() for check in CHECKS]
    print('\n'.join(map(str, findings)))
    return int(any(finding.needed and not finding.present for finding in findings))


def _python() -> Finding:
    return Finding('python', present=True, text=f'{platform.python_version()} on {platform.machine()}')


def _ros() -> Finding:
    if importlib.util.find_spec('rclpy') is None:
        return Finding(
            'ROS 2', present=False, text='no rclpy: source a ROS 2 installation, or run make install', needed=True
        )
    distribution = os.environ.get('ROS_DISTRO', 'from PyPI')
    middleware = os.environ.get('RMW_IMPLEMENTATION', 'the default middleware')
    return Finding('ROS 2', present=True, text=f'rclpy ({distribution}), {middleware}', needed=True)


def _messages() -> Finding:
    try:
        importlib.import_module('facefusion_ros.msg')
    except ImportError as error:
        return Finding(
            'messages', present=False, text=f'not built ({error}): run colcon build or make install', needed=True
        )
    return Finding('messages', present=True, text='facefusion_ros/msg is built', needed=True)


def _launch() -> Finding:
    path = shutil.which('ros2')
    text = path or 'no ros2 command; facefusion-ros launch runs the same launch files'
    return Finding('ros2 launch', present=path is not None, text=text)


def _detector() -> Finding:
    try:
        from facefusion_ros.faces.stored import load_detector  # noqa: PLC0415 - loads OpenCV, which may be missing

        detector = load_detector()
    except (ImportError, FacefusionError) as error:
        cure = 'pip install onnx onnxruntime opencv-python-headless'
        return Finding('detector', present=False, text=f'{error}: {cure}', needed=True)
    runs = ', '.join(f'{name} on {provider}' for name, provider in detector.providers.items())
    detector.close()
    return Finding('detector', present=True, text=runs, needed=True)


def _engines() -> Finding:
    found = [name for name in ('tensorrt', 'onnxruntime') if importlib.util.find_spec(name)]
    text = ', '.join(found) or 'no tensorrt, no onnxruntime: pip install onnxruntime'
    return Finding('engines', present=bool(found), text=text)


def _gpu() -> Finding:
    devices = sorted(DEVICES.glob('nvidia[0-9]*')) + sorted(DEVICES.glob('nvhost-gpu'))
    text = (
        ', '.join(map(str, devices)) or 'no NVIDIA device; install its driver if there is a GPU (the CPU does without)'
    )
    return Finding('GPU', present=bool(devices), text=text)


def _devices(subject: str, patterns: tuple[str, ...], cure: str, group: str) -> Finding:
    devices = sorted(device for pattern in patterns for device in DEVICES.glob(pattern))
    if not devices:
        return Finding(subject, present=False, text=cure)
    barred = [str(device) for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    if barred:
        text = f'no permission for {", ".join(barred)}: sudo usermod -aG {group} $USER, then log in again'
        return Finding(subject, present=False, text=text)
    return Finding(subject, present=True, text=', '.join(map(str, devices)))


def _cameras() -> Finding:
    cure = 'no /dev/video*: plug a camera in, or use source:=sim, a file or a stream'
    return _devices('cameras', ('video[0-9]*',), cure, 'video')


def _i2c() -> Finding:
    cure = 'no /dev/i2c-*: sudo modprobe i2c-dev and enable the bus, or use bus:=sim'
    return _devices('I2C buses', ('i2c-[0-9]*',), cure, 'i2c')


def _displays() -> Finding:
    try:
        from facefusion_ros.displays.drm import survey  # noqa: PLC0415 - loads OpenCV, which may be missing
        from facefusion_ros.displays.kms import Linux  # noqa: PLC0415
    except ImportError as error:
        return Finding('displays', present=False, text=f'{error}: pip install opencv-python-headless')
    found, lines = survey(Linux())
    connected = False
    for each in found:
        each.card.close()
        connected |= any(connector.connected for connector in each.connectors)
        lines.append(f'{each.path} ({each.driver}): {", ".join(map(_connector, each.connectors))}')
    desktops = [f'{name}={os.environ[name]}' for name in ('DISPLAY', 'WAYLAND_DISPLAY') if os.environ.get(name)]
    if desktops:
        has_library = importlib.util.find_spec('pygame') is not None
        cure = '' if has_library else ", for which pip install 'facefusion_ros[window]'"
        lines.append(f'a desktop at {" and ".join(desktops)} for display:=window{cure}')
    present = connected or bool(desktops)
    if not present:
        lines.append('no screen: use display:=web:8080 or file:PATH.mp4')
    return Finding('displays', present=present, text='; '.join(lines))


def _connector(connector: Connector) -> str:
    others = [str(mode) for mode in connector.modes if not (mode.preferred or mode.interlaced)]
    more = f' and {len(others) - 4} more' if len(others) > 4 else ''
    return f'{connector}' + (f' or {", ".join(others[:4])}{more}' if connector.connected and others else '')


def _shared_memory() -> Finding:
    try:
        free_mb = shutil.disk_usage(SHARED_MEMORY).free / 1e6
    except OSError:
        return Finding('shared memory', present=False, text=f'no {SHARED_MEMORY}: mount a tmpfs there', needed=True)
    enough = free_mb >= WANTED_SHARED_MB
    cure = '' if enough else f'; give it {WANTED_SHARED_MB} MB or more (docker run --shm-size=256m)'
    return Finding('shared memory', present=enough, text=f'{free_mb:.0f} MB free in {SHARED_MEMORY}{cure}', needed=True)


def _simulation() -> Finding:
    present = importlib.util.find_spec('skimage') is not None
    text = 'scikit-image, for the simulated world' if present else "no scikit-image: pip install 'facefusion_ros[demo]'"
    return Finding('simulation', present=present, text=text)


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _ros,
    _messages,
    _launch,
    _detector,
    _shared_memory,
    _simulation,
    _engines,
    _gpu,
    _cameras,
    _i2c,
    _displays,
)
