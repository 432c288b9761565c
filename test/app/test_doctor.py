import importlib.util
import os
import shutil

import pytest

from facefusion_ros.app import doctor
from facefusion_ros.app.doctor import CHECKS, Finding

SUBJECTS = [
    'python',
    'ROS 2',
    'messages',
    'ros2 launch',
    'detector',
    'shared memory',
    'simulation',
    'engines',
    'GPU',
    'cameras',
    'I2C buses',
    'displays',
]
CURE = ('run make install', 'pip install', 'install', 'use ', 'mount', 'facefusion-ros launch', 'not needed', 'usermod')


def rows(text):
    """Mark, subject and text of every line."""
    return [(line[:4].strip(), line[6:20].strip(), line[21:]) for line in text.splitlines()]


def findings():
    found = [check() for check in CHECKS]
    return {finding.subject: finding for finding in found}


@pytest.fixture
def nothing_importable(monkeypatch):
    """A Python that finds no module, and a machine without programs."""

    def import_module(name):
        raise ImportError(f'No module named {name!r}')

    monkeypatch.setattr(importlib.util, 'find_spec', lambda _: None)
    monkeypatch.setattr(importlib, 'import_module', import_module)
    monkeypatch.setattr(shutil, 'which', lambda _: None)


def test_this_machine_can_run_the_pipeline(facefusion_process):
    done = facefusion_process('doctor')
    assert (done.code, done.err) == (0, '')
    found = rows(done.out)
    assert [subject for _, subject, _ in found] == SUBJECTS
    assert {mark for mark, _, _ in found} <= {'ok', '-'}
    for mark, subject, text in found:
        assert mark == 'ok' or any(cure in text for cure in CURE), subject


@pytest.mark.usefixtures('nothing_importable')
def test_everything_missing_has_a_cure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'SHARED_MEMORY', tmp_path / 'missing')
    assert doctor.doctor() == 1
    found = rows(capsys.readouterr().out)
    missing = {subject: text for mark, subject, text in found if mark != 'ok'}
    assert {'ROS 2', 'messages', 'ros2 launch', 'shared memory', 'simulation', 'engines'} <= missing.keys()
    for subject, text in missing.items():
        assert any(cure in text for cure in CURE), subject
    assert {subject for mark, subject, _ in found if mark == 'MISS'} == {'ROS 2', 'messages', 'shared memory'}


def test_too_little_shared_memory_says_how_to_get_more(monkeypatch):
    usage = shutil.disk_usage('/')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=10_000_000))
    finding = findings()['shared memory']
    assert not finding.present
    assert finding.needed
    assert '10 MB free' in finding.text
    assert '--shm-size' in finding.text


def test_a_device_without_permission_names_the_group(monkeypatch, tmp_path):
    for name in ('video0', 'i2c-1'):
        (tmp_path / name).touch()
    monkeypatch.setattr(doctor, 'DEVICES', tmp_path)
    assert findings()['cameras'] == Finding('cameras', present=True, text=str(tmp_path / 'video0'))
    monkeypatch.setattr(os, 'access', lambda *_: False)
    assert 'sudo usermod -aG video $USER' in findings()['cameras'].text
    assert 'sudo usermod -aG i2c $USER' in findings()['I2C buses'].text


def test_a_line_is_one_line():
    assert str(Finding('cameras', present=False, text='none')) == '-     cameras        none'
    assert str(Finding('ROS 2', present=False, text='none', needed=True)) == 'MISS  ROS 2          none'
