"""A ROS package prefix made of small scripts, and launch files written for one test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from facefusion_ros.app.launch import Plan, resolve

if TYPE_CHECKING:
    from pathlib import Path


class Package:
    """A prefix with one package, ``robot``, as colcon would install it."""

    def __init__(self, folder: Path) -> None:
        self.prefix = folder / 'prefix'
        self.share = self.prefix / 'share/robot'
        self.lib = self.prefix / 'lib/robot'
        self.share.mkdir(parents=True)
        self.lib.mkdir(parents=True)
        index = self.prefix / 'share/ament_index/resource_index/packages'
        index.mkdir(parents=True)
        (index / 'robot').touch()
        self.environ = {'AMENT_PREFIX_PATH': str(self.prefix), 'PATH': os.environ['PATH'], 'HOME': '/home/robot'}
        self.script('camera', '#!/bin/sh\n')

    def script(self, name: str, text: str) -> Path:
        path = self.lib / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def python(self, name: str, text: str) -> Path:
        return self.script(name, '#!/usr/bin/env python3\n' + text)

    def launch(self, body: str, name: str = 'main.launch.xml') -> Path:
        path = self.share / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'<launch>\n{body}\n</launch>\n')
        return path

    def plan(self, body: str, **arguments: str) -> Plan:
        return resolve(self.launch(body), arguments, self.environ)


@pytest.fixture
def robot(tmp_path: Path) -> Package:
    return Package(tmp_path)
