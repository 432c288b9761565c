"""Where ROS packages and their executables are, by the ament resource index."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from facefusion_ros.app.launch.refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENV_PYTHON = re.compile(rb'#!\s*/usr/bin/env\s+python3\s*$')


def prefix(package: str, environment: Mapping[str, str]) -> Path:
    """Return the prefix a package is installed in, searching AMENT_PREFIX_PATH; raises RefusalError."""
    searched = [folder for folder in environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if folder]
    for folder in searched:
        # REP-122 and the ament index: every package leaves an empty file of its name here.
        if (Path(folder) / 'share/ament_index/resource_index/packages' / package).is_file():
            return Path(folder)
    if not searched:
        raise RefusalError(
            f"package '{package}' not found: AMENT_PREFIX_PATH is empty; source the ROS environment first"
        )
    raise RefusalError(f"package '{package}' not found in {', '.join(searched)}; build and source it first")


def share(package: str, environment: Mapping[str, str]) -> Path:
    """Return the share folder of a package; raises RefusalError."""
    folder = prefix(package, environment) / 'share' / package
    if not folder.is_dir():
        raise RefusalError(f"package '{package}' has no folder {folder}; build it again")
    return folder


def executable(package: str, name: str, environment: Mapping[str, str]) -> Path:
    """Return the file that ``ros2 run package name`` would run; raises RefusalError naming those that there are."""
    folder = prefix(package, environment) / 'lib' / package
    if not name or not _runs(folder / name):
        there = sorted(file.name for file in folder.iterdir() if _runs(file)) if folder.is_dir() else []
        raise RefusalError(f"package '{package}' has no executable '{name}'; it has {', '.join(there) or 'none'}")
    return folder / name


def _runs(file: Path) -> bool:
    return file.is_file() and os.access(file, os.X_OK)


def command(file: str) -> list[str]:
    """Return the command for an executable; scripts of ``/usr/bin/env python3`` get the interpreter that runs this."""
    if '/' not in file:  # a program to be looked up in PATH
        return [file]
    try:
        with Path(file).open('rb') as stream:
            first_line = stream.readline(200)
    except OSError:  # starting it will say what is wrong; a program may also be run and not read
        return [file]
    return [sys.executable, file] if _ENV_PYTHON.match(first_line) else [file]
