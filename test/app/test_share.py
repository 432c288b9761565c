import os
import sys
from pathlib import Path

import pytest

from facefusion_ros.app.share import adopt_environment, launch_file
from facefusion_ros.errors import FacefusionError


def test_a_launch_file_of_the_package_is_found_by_its_name():
    adopt_environment()
    for name in ('demo', 'pipeline', 'sensors'):
        path = launch_file(f'{name}.launch.xml')
        assert path.is_file()
        assert path.parts[-4:-1] == ('share', 'facefusion_ros', 'launch')


def test_a_file_that_is_there_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('demo.launch.xml').write_text('<launch/>')
    assert launch_file('demo.launch.xml') == Path('demo.launch.xml')
    assert launch_file(str(tmp_path / 'demo.launch.xml')) == tmp_path / 'demo.launch.xml'


def test_an_unknown_launch_file_names_the_known():
    adopt_environment()
    with pytest.raises(
        FacefusionError, match=r'nosuch\.launch\.xml.*demo\.launch\.xml, pipeline\.launch\.xml, sensors\.launch\.xml'
    ):
        launch_file('nosuch.launch.xml')


def test_a_package_that_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with pytest.raises(FacefusionError, match='not installed: run make install, or source'):
        launch_file('demo.launch.xml')


def test_adopting_keeps_what_was_sourced_first(tmp_path, monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    adopt_environment()
    first, *rest = os.environ['AMENT_PREFIX_PATH'].split(os.pathsep)
    assert first == str(tmp_path)
    assert rest in ([], [sys.prefix])  # the latter where ROS 2 was installed with pip
    adopt_environment()
    assert os.environ['AMENT_PREFIX_PATH'].split(os.pathsep) == [first, *rest]
