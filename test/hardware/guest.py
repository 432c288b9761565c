"""What guest tests share: kernel modules, the picture on the screen, QEMU's control. A pytest plugin, see boot.py.

A guest test is in ``test/<room>/test_<what>_guest.py`` and runs as root on a kernel of its own. Fixtures of
``test/conftest.py`` (nodes, topics) and of the room work too. One file alone, beside others who run theirs::

    PYTHONPATH=$PWD python test/hardware/boot.py --out /tmp/mine test/cameras/test_v4l2_guest.py -k formats

Example::

    pytestmark = pytest.mark.hardware

    def test_camera(modules, out):
        modules.load('vivid', n_devs=1, node_types=0x1)     # modprobe; unloaded at the end of the test
        ...
        modules.unload('vivid')                             # as when somebody pulls the plug
        (out / 'frame.png').write_bytes(...)                # to be looked at; out/hardware/ on the host

    def test_screen(modules, screen):
        modules.load('bochs')                               # /dev/dri/card0
        ...
        assert (screen() == expected).all()                 # (height, width, 3) uint8, RGB

``qemu('device_add', driver='virtio-gpu-pci', id='second')`` speaks to the machine (QEMU's QMP),
``as_user('nobody', function)`` does something as somebody who may less, ``other_program(function)`` in another process.
Both are forks of the tests' own, because a new Python takes long here until it has imported what it needs.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from usb_i2c import UsbI2c

from facefusion_ros.sim.i2c import EmulatedAdapter

_PORTS = Path('/sys/class/virtio-ports')
_FORK = get_context('fork')


class Modules:
    """Kernel modules, loaded and unloaded."""

    def __init__(self):
        self._loaded = []

    def load(self, name, **parameters):
        """Load a module and wait until udev has made what it brings; lists become ``1,2,3``, booleans 1 and 0.

        One that is there already is loaded anew where there are parameters.
        """
        words = [f'{key}={_told(value)}' for key, value in parameters.items()]
        if parameters and self.present(name):
            self.unload(name)
        fresh = not self.present(name)
        _run('modprobe', name, *words)
        if fresh:
            self._loaded.append(name)
        self.settle()

    def unload(self, name):
        """Unload a module with its devices, and those it needs where nothing else does."""
        _run('modprobe', '-r', name)
        if name in self._loaded:
            self._loaded.remove(name)
        self.settle()

    def present(self, name):
        """Tell whether a module is loaded."""
        return Path('/sys/module', name.replace('-', '_'), 'refcnt').exists()

    def settle(self):
        """Wait until udev has no more to do."""
        _run('udevadm', 'settle', '--timeout=60')

    def clean(self):
        """Unload what was loaded."""
        for name in reversed(self._loaded.copy()):
            self.unload(name)


def _told(value):
    if isinstance(value, bool):
        return int(value)
    return ','.join(map(str, value)) if isinstance(value, list | tuple) else value


def _run(*words):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f'{" ".join(map(str, words))}: {done.stderr.strip()}')
    return done.stdout


class Qemu:
    """QEMU's control socket (docs/interop/qmp-spec in its sources), which a port of this machine leads to."""

    def __init__(self):
        port = next(path.name for path in _PORTS.iterdir() if (path / 'name').read_text().strip() == 'qemu')
        self._port = Path('/dev', port).open('r+b', buffering=0)  # noqa: SIM115 - as long as the machine
        self._hear()  # the greeting
        self('qmp_capabilities')

    def __call__(self, command, **arguments):
        """Execute a command; returns what it returns; raises RuntimeError where QEMU refuses."""
        self._port.write(json.dumps({'execute': command, 'arguments': arguments}).encode() + b'\n')
        while True:
            answer = self._hear()
            if 'error' in answer:
                raise RuntimeError(f'{command}: {answer["error"]["desc"]}')
            if 'return' in answer:
                return answer['return']

    def _hear(self):
        return json.loads(self._port.readline())


@pytest.fixture
def modules():
    """Kernel modules; those that the test loads are unloaded at its end."""
    modules = Modules()
    yield modules
    modules.clean()


@pytest.fixture(scope='session')
def usb_i2c():
    """A USB I2C adapter, to be plugged in."""
    for name in ('i2c-dev', 'vhci-hcd', 'i2c-tiny-usb'):
        Modules().load(name)
    device = UsbI2c()
    yield device
    device.unplug()


@pytest.fixture
def usb_bus(usb_i2c, wait_until):
    """Wire emulated chips to the USB adapter, and no others: ``usb_bus(chip)`` gives the number of the bus."""

    def wire(*chips):
        usb_i2c.adapter = EmulatedAdapter('usb', chips)
        usb_i2c.plug()
        wait_until(lambda: usb_i2c.bus() is not None, 'the bus of the USB adapter')
        _run('udevadm', 'settle')
        return usb_i2c.bus()

    return wire


@pytest.fixture(scope='session')
def qemu():
    """Speak to the machine."""
    return Qemu()


@pytest.fixture(scope='session')
def out():
    """The folder that stays: ``out/hardware`` of the checkout."""
    return Path(os.environ['GUEST_OUT'])


@pytest.fixture(scope='session')
def screen(qemu, out):
    """See what a person in front of the screen sees: ``screen()`` gives (height, width, 3) uint8, RGB.

    ``screen('name')`` also leaves it as name.ppm, to be looked at.
    """

    def look(name=None, device='screen'):
        path = out / f'{name or "screen"}.ppm'
        qemu('screendump', filename=str(path), device=device)
        picture = _read_ppm(path.read_bytes())
        if name is None:
            path.unlink()
        return picture

    return look


@pytest.fixture(scope='session')
def as_user():
    """Call a function of a module as another user of the machine: ``as_user('nobody', function)``."""

    def call(name, function):
        with ProcessPoolExecutor(1, _FORK, initializer=_become, initargs=(pwd.getpwnam(name),)) as pool:
            return pool.submit(function).result()

    return call


def _become(user):
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


@pytest.fixture
def other_program():
    """Let another process have what a function returns, until it is killed: ``other_program(function)``, a Process."""
    with ExitStack() as running:

        def start(function):
            begun = _FORK.Event()

            def live():
                kept = function()  # noqa: F841 - open as long as this process
                begun.set()
                threading.Event().wait()

            process = _FORK.Process(target=live)
            process.start()
            running.callback(process.join)
            running.callback(process.kill)
            assert begun.wait(float(os.environ['PATIENCE_S'])), 'the other program does not come so far'
            return process

        yield start


@pytest.fixture
def text_console(modules, screen):
    """Have the kernel's console on the screen, full of words: ``text_console()`` gives what it looks like."""

    def write():
        modules.load('bochs')
        Path('/dev/tty0').write_text('\033[2J\033[H\033[?25l' + 'the console ' * 600)
        before = screen()
        for _ in range(100):  # the kernel copies what was written to the screen by and by
            picture = screen()
            if np.array_equal(picture, before) and (picture[600:] > 100).any():
                return picture
            before = picture
        pytest.fail('the console does not come on the screen')

    return write


def _read_ppm(data):
    kind, width, height, most = data.split(maxsplit=4)[:4]
    assert (kind, most) == (b'P6', b'255')
    return np.frombuffer(data[-int(width) * int(height) * 3 :], np.uint8).reshape(int(height), int(width), 3)
