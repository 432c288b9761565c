"""The guest itself: what the other guest tests rely on."""

import os
import platform
import socket
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.hardware


def test_it_is_a_machine_of_its_own(out):
    assert os.getuid() == 0
    assert platform.release().endswith('-amd64')
    assert socket.gethostname() == 'guest'
    (out / 'here').write_text('was here')


def test_it_writes_nothing_to_the_host(out):
    """The host's root is under a layer: a file made here is on no disk."""
    Path(__file__).with_name('never').write_text('')
    assert Path(__file__).stat().st_dev != out.stat().st_dev


def test_modules_come_and_go(modules):
    modules.load('i2c-dev')
    modules.load('i2c-stub', chip_addr=[0x23, 0x68])
    buses = {path.name: (path / 'name').read_text() for path in Path('/sys/class/i2c-dev').iterdir()}
    stub = next(name for name, text in buses.items() if 'SMBus stub' in text)
    assert Path('/dev', stub).is_char_device()
    modules.unload('i2c-stub')
    assert not Path('/dev', stub).exists()


def test_the_screen_shows_what_is_drawn(modules, screen):
    modules.load('bochs')
    assert Path('/dev/dri/card0').exists()
    # The kernel's console is on the screen: nearly all black, with grey letters after something was written to it.
    Path('/dev/tty0').write_text('\033[2J\033[H\033[47mfacefusion\033[0m\n')
    picture = screen()
    assert picture.shape[2] == 3
    grey = (picture == np.array([170, 170, 170])).all(axis=2)
    assert 0.0 < grey.mean() < 0.2
