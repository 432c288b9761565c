"""A Video4Linux device node: how it is spoken to, found again after it was unplugged, and what its refusals mean.

Sources: Linux, Documentation/userspace-api/media/v4l, open and querycap; systemd, rules.d/60-persistent-v4l.rules, for
the names under /dev/v4l.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import mmap
import os
import select
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from facefusion_ros.cameras import v4l2_uapi as uapi
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterator

Argument: TypeAlias = 'ctypes.Structure | ctypes.c_int'

DEVICES = Path('/dev')
PROCESSES = Path('/proc')


class DeviceError(FacefusionError):
    """The device refuses, or has gone."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number
        """What the kernel said; None where it was not the kernel."""


class Kernel(Protocol):
    """The calls by which a device is spoken to."""

    def open(self, path: str, flags: int) -> int:
        """As ``os.open``."""

    def ioctl(self, descriptor: int, request: int, argument: Argument) -> int:
        """As ``fcntl.ioctl``."""

    def map(self, descriptor: int, length: int, offset: int) -> mmap.mmap:
        """Map memory of the device."""

    def poll(self, descriptor: int, wake: int, timeout_s: float) -> tuple[int, bool]:
        """Wait for the device's input or events, or for ``wake``: the device's ``POLL…`` bits, and whether woken."""

    def close(self, descriptor: int) -> None:
        """As ``os.close``."""


class Linux:
    """The kernel itself."""

    def open(self, path: str, flags: int) -> int:
        """As ``os.open``."""
        return os.open(path, flags)

    def ioctl(self, descriptor: int, request: int, argument: Argument) -> int:
        """As ``fcntl.ioctl``."""
        result: int = fcntl.ioctl(descriptor, request, argument)
        return result

    def map(self, descriptor: int, length: int, offset: int) -> mmap.mmap:
        """Map memory of the device."""
        return mmap.mmap(descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)

    def poll(self, descriptor: int, wake: int, timeout_s: float) -> tuple[int, bool]:
        """Wait for the device's input or events, or for ``wake``."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN | select.POLLPRI)
        poll.register(wake, select.POLLIN)
        ready = dict(poll.poll(max(0.0, timeout_s) * 1e3))
        return ready.get(descriptor, 0), wake in ready

    def close(self, descriptor: int) -> None:
        """As ``os.close``."""
        os.close(descriptor)


class V4l2Device:
    """A device node; several programs, and several parts of one, may have it open at the same time.

    A node under /dev/videoN is remembered by its name under /dev/v4l, where udev gave it one, and opened by that from
    the second time on: a camera that is unplugged may come back under another number. That of its place (by-path) comes
    first, since cameras of one make may share the other; the other finds a camera that was moved to another socket.

    :param path: /dev/videoN, a link to it, or /dev/v4l-subdevN of an image sensor.
    """

    def __init__(self, path: str, kernel: Kernel | None = None, devices: Path | None = None) -> None:
        self.path = path
        self._kernel = kernel or Linux()
        self._devices = devices or DEVICES
        self._stable: tuple[str, ...] = ()
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Open the device, if it is not open; raises DeviceError."""
        with self._lock:
            if self._descriptor is not None:
                return
            for path in self._stable or (self.path,):
                try:
                    self._descriptor = self._kernel.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                except OSError as error:  # noqa: PERF203 - at most three names
                    number = error.errno or errno.EIO
                else:
                    self._stable = self._stable or stable_names(path, self._devices)
                    return
        raise self._failed('open', number)

    def close(self) -> None:
        """Close the device; may be called twice."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                self._kernel.close(descriptor)

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._descriptor is not None

    def ask(self, request: int, argument: Argument) -> int:
        """Ask the driver: 0, or the number of its refusal. Raises DeviceError where the device is closed."""
        with self._lock:
            if self._descriptor is None:
                raise DeviceError(f'{self.path} is closed: open it to use it')
            try:
                self._kernel.ioctl(self._descriptor, request, argument)
            except OSError as error:
                return error.errno or errno.EIO
            return 0

    def ioctl(self, request: int, argument: Argument, what: str) -> None:
        """Ask the driver; raises DeviceError, in which ``what`` names the thing that was asked for."""
        number = self.ask(request, argument)
        if number:
            raise self._failed(what, number)

    def has(self, request: int, argument: Argument, *, lacking: tuple[int, ...] = (errno.ENOTTY, errno.EINVAL)) -> bool:
        """Ask the driver for what it may not have: False where it says so; raises DeviceError."""
        number = self.ask(request, argument)
        if number and number not in lacking:
            raise self._failed(hex(request), number)
        return not number

    def map(self, length: int, offset: int) -> mmap.mmap:
        """Map memory of the device; raises DeviceError."""
        if self._descriptor is None:
            raise DeviceError(f'{self.path} is closed: open it to use it')
        try:
            return self._kernel.map(self._descriptor, length, offset)
        except OSError as error:
            raise self._failed('memory', error.errno or errno.EIO) from error

    def poll(self, wake: int, timeout_s: float) -> tuple[int, bool]:
        """Wait as ``Kernel.poll``; raises DeviceError."""
        if self._descriptor is None:
            raise DeviceError(f'{self.path} is closed: open it to use it')
        return self._kernel.poll(self._descriptor, wake, timeout_s)

    def gone(self) -> DeviceError:
        """Return the error of a device that is not there any more."""
        return self._failed('', errno.ENODEV)

    def _failed(self, what: str, number: int) -> DeviceError:
        return DeviceError(self._said(what, number), number)

    def _said(self, what: str, number: int) -> str:
        path = self.path
        if number in (errno.ENOENT, errno.ENXIO):
            if self._stable:
                return f'the camera {path} has gone away: plug it in again ({self._stable[0]})'
            present = [
                str(node)
                for pattern in ('video*', 'v4l-subdev*')
                for node in sorted(self._devices.glob(pattern), key=_number)
            ]
            among = f'there are {", ".join(present)}' if present else 'plug the camera in, or load its driver'
            return f'there is no camera {path}: {among}'
        if number == errno.ENODEV:
            return f'the camera {path} has gone away: plug it in again'
        if number in (errno.EACCES, errno.EPERM) and what == 'open':
            return (
                f"no permission to use {path}: 'sudo usermod -aG {_group(path)} $USER' and log in again, "
                'or run as that group'
            )
        if number == errno.ENOTTY:
            return f'{path} is no camera: give /dev/videoN or /dev/v4l-subdevN'
        if number == errno.EBUSY:
            programs = ' and '.join(holders(path)) or 'the other program that uses the camera'
            return f'{path} is busy, {what} cannot be used: end {programs}'
        if number in (errno.EACCES, errno.EINVAL, errno.ERANGE):
            return f'{path} refuses to use {what} so ({os.strerror(number)}): is another control in charge of it?'
        return f'{what} of {path} failed ({os.strerror(number)}): look into dmesg'


def stable_names(path: str, devices: Path = DEVICES) -> tuple[str, ...]:
    """Return the names under /dev/v4l of a numbered node: of its place first, then of its make; none of other paths."""
    node = Path(path)
    if not node.name.startswith('video'):
        return ()
    real = node.resolve()
    links = [link for kind in ('by-path', 'by-id') for link in sorted((devices / 'v4l' / kind).glob('*'))]
    return tuple(str(link) for link in links if link.resolve() == real)


def holders(path: str, processes: Path | None = None) -> list[str]:
    """Return the programs that have a device node open, as 'name (process N)', as far as this user may see them."""
    real = str(Path(path).resolve())
    processes = processes or PROCESSES
    found = []
    for process in sorted(processes.glob('[0-9]*'), key=lambda each: int(each.name)):
        with suppress(OSError):
            if process.name != str(os.getpid()) and any(_link(each) == real for each in (process / 'fd').iterdir()):
                found.append(f'{(process / "comm").read_text().strip()} (process {process.name})')
    return found


def capture_nodes(kernel: Kernel | None = None, devices: Path = DEVICES) -> Iterator[tuple[str, str]]:
    """List the nodes from which pictures can be taken: path, and the camera's name."""
    for node in sorted(devices.glob('video*'), key=_number):
        device = V4l2Device(str(node), kernel)
        capability = uapi.Capability()
        with suppress(DeviceError):
            device.open()
            device.ioctl(uapi.VIDIOC_QUERYCAP, capability, 'capabilities')
            if abilities(capability) & (uapi.CAP_VIDEO_CAPTURE | uapi.CAP_VIDEO_CAPTURE_MPLANE):
                yield str(node), capability.card.decode('utf-8', 'replace')
        device.close()


def abilities(capability: uapi.Capability) -> int:
    """Return the ``CAP_…`` bits of the node itself, and not of all the nodes of its device."""
    if capability.capabilities & uapi.CAP_DEVICE_CAPS:
        return int(capability.device_caps)
    return int(capability.capabilities)


def _number(node: Path) -> tuple[str, int]:
    digits = node.name.lstrip('abcdefghijklmnopqrstuvwxyz-4')
    return node.name.removesuffix(digits), int(digits) if digits.isdigit() else -1


def _group(path: str) -> str:
    try:
        return grp.getgrgid(Path(path).stat().st_gid).gr_name
    except (OSError, KeyError):
        return 'video'


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # closed meanwhile
        return ''
