"""The environment that launched processes get."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def children_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for launched processes: they find the interpreter that runs this, and its ROS.

    Where ROS 2 comes as wheels from PyPI, their package ros_wheels_bootstrapper starts every Python twice to set the
    library path; with that path and its mark set here, a node starts once, and with the libraries in a fixed order.
    """
    env = dict(environ)
    _prepend(env, 'PATH', [str(Path(sys.executable).parent)])
    env['PYTHONUNBUFFERED'] = '1'
    bootstrapper = find_spec('ros_wheels_bootstrapper')
    if bootstrapper and bootstrapper.origin:
        packages = Path(bootstrapper.origin).parents[1]
        bundled = sorted(str(folder) for folder in packages.glob('ros_*.libs'))
        _prepend(env, 'LD_LIBRARY_PATH', [str(Path(sys.prefix) / 'lib'), *bundled])
        env['_ROS_WHEELS_BOOTSTRAP_COMPLETE'] = '1'
        if sys.prefix not in env.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
            _append(env, 'AMENT_PREFIX_PATH', sys.prefix)
    return env


def _prepend(env: dict[str, str], name: str, folders: Iterable[str]) -> None:
    before = [folder for folder in env.get(name, '').split(os.pathsep) if folder]
    env[name] = os.pathsep.join(dict.fromkeys([*folders, *before]))


def _append(env: dict[str, str], name: str, folder: str) -> None:
    before = [each for each in env.get(name, '').split(os.pathsep) if each]
    env[name] = os.pathsep.join(dict.fromkeys([*before, folder]))
