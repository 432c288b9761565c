import importlib.util
import os
import shutil
from types import SimpleNamespace

import pytest

from facefusion_ros.app import doctor
from facefusion_ros.app.doctor import CHECKS, Finding
from facefusion_ros.displays import drm
from facefusion_ros.displays.connectors import Connector, Mode

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


def test_displays_are_told_with_what_is_plugged_in(monkeypatch):
    modes = [Mode(1920, 1080, rate, preferred=rate == 60.0) for rate in (60.0, 59.94, 50.0, 48.0, 30.0, 25.0, 24.0)]
    connectors = Connector(1, 'HDMI-A-1', connected=True, modes=tuple(modes)), Connector(2, 'DP-1', connected=False)
    closed = []
    card = SimpleNamespace(close=lambda: closed.append(1))
    found = drm.Survey('/dev/dri/card1', 'nvidia-drm', connectors, card)
    monkeypatch.setattr(drm, 'survey', lambda _: ([found], ['/dev/dri/card0 computes pictures and shows none']))
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    assert findings()['displays'] == Finding(
        'displays',
        present=True,
        text='/dev/dri/card0 computes pictures and shows none; /dev/dri/card1 (nvidia-drm): HDMI-A-1 (1920x1080@60) or '
        '1920x1080@59.94, 1920x1080@50, 1920x1080@48, 1920x1080@30 and 2 more, DP-1 (nothing plugged in)',
    )
    assert closed
    monkeypatch.setattr(drm, 'survey', lambda _: ([], []))
    assert findings()['displays'].text == 'no screen: use display:=web:8080 or file:PATH.mp4'
    monkeypatch.setenv('DISPLAY', ':0')
    assert findings()['displays'].present
    assert 'display:=window' in findings()['displays'].text


def test_a_line_is_one_line():
    assert str(Finding('cameras', present=False, text='none')) == '-     cameras        none'
    assert str(Finding('ROS 2', present=False, text='none', needed=True)) == 'MISS  ROS 2          none'
