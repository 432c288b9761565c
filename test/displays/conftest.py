from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from facefusion_ros.displays import kms
from facefusion_ros.frames.frame import Encoding, Frame, FrameInfo

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def make_frame() -> Callable[..., Frame]:
    def make(
        number: int = 0, width: int = 64, height: int = 48, *, stamp_ns: int | None = None, blue: int = 0
    ) -> Frame:
        """Draw a grey picture whose level tells the number of the frame: 10 + 3 * number."""
        pixels = np.full((height, width, 3), 10 + 3 * number, np.uint8)
        if blue:
            pixels[...] = (blue, 0, 0)
        stamp_ns = 1_700_000_000_000_000_000 + number * 33_333_333 if stamp_ns is None else stamp_ns
        return Frame(pixels, FrameInfo(stamp_ns=stamp_ns, frame_id='camera_optical_frame', sequence=number))

    return make


@pytest.fixture
def as_encoding() -> Callable[[Frame, Encoding], Frame]:
    """Make the same picture in another encoding."""

    def convert(frame: Frame, encoding: Encoding) -> Frame:
        if encoding is Encoding.BGR8:
            return frame
        if encoding is not Encoding.NV12:
            code = {Encoding.BGRA8: cv2.COLOR_BGR2BGRA, Encoding.MONO8: cv2.COLOR_BGR2GRAY}[encoding]
            return replace(frame, pixels=cv2.cvtColor(frame.pixels, code), encoding=encoding)
        height, width = frame.pixels.shape[:2]
        i420 = cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2YUV_I420)
        chroma = i420[height:].reshape(2, -1).T.reshape(height // 2, width)
        return replace(frame, pixels=np.vstack((i420[:height], chroma)), encoding=encoding)

    return convert


class Told:
    """What became of frames: sequence and the time of the flip, None where it never came."""

    def __init__(self, patience_s: float = 20.0) -> None:
        self.all: list[tuple[int, int | None]] = []
        self._patience_s = patience_s
        self._change = threading.Condition()

    def __call__(self, info: FrameInfo, time_ns: int | None) -> None:
        with self._change:
            self.all.append((info.sequence, time_ns))
            self._change.notify_all()

    def wait(self, count: int) -> list[tuple[int, int | None]]:
        return self.until(lambda: len(self.all) >= count)

    def until(self, holds: Callable[[], bool]) -> list[tuple[int, int | None]]:
        with self._change:
            assert self._change.wait_for(holds, self._patience_s), self.all
        return self.all

    @property
    def shown(self) -> list[int]:
        return [sequence for sequence, time_ns in self.all if time_ns is not None]


@pytest.fixture(scope='session')
def make_told() -> type[Told]:
    return Told


@pytest.fixture
def told() -> Told:
    return Told()


REFRESH_NS = 16_666_000
MODES = ((1280, 720, 60.0), (1920, 1080, 60.0), (1920, 1080, 50.0), (640, 480, 59.94))
"""Of the screen, its preferred one first."""
CONSOLE_FB = 7


def _timing(width, height, refresh_hz, *, preferred=False):
    info = kms.ModeInfo(hdisplay=width, vdisplay=height, htotal=width + 200, vtotal=height + 50)
    info.clock = round(info.htotal * info.vtotal * refresh_hz / 1000)
    info.vrefresh, info.type, info.name = round(refresh_hz), 8 * preferred, f'{width}x{height}'.encode()
    return info


@dataclass
class _Socket:
    id: int
    kind: int
    encoder: int
    plugged: bool = False
    known: bool = False
    """What the kernel believes."""
    modes: list = field(default_factory=lambda: [_timing(*mode, preferred=n == 0) for n, mode in enumerate(MODES)])
    in_use: int = 0


@dataclass
class _Layer:
    id: int
    kind: int
    formats: tuple
    fb: int = 0
    values: dict = field(default_factory=dict)
    """Of its properties, by name."""


@dataclass
class _Fb:
    width: int
    height: int
    format: int
    handle: int
    pitch: int


class SimulatedCard:
    """A graphics card and its driver, as the kernel lets them be seen through ioctls.

    One CRTC, sockets HDMI-A-1 (with a screen) and DP-1, a console that owns the screen until somebody sets a mode.
    ``refresh`` is the screen's next vertical blanking: what was asked for comes on the screen then and not before.
    """

    CRTC = 40
    PROPERTIES = ('type', 'FB_ID', 'CRTC_ID', *(f'{of}_{what}' for of in ('SRC', 'CRTC') for what in 'XYWH'))

    def __init__(self, path='/dev/dri/card0'):
        self.path = path
        self.sockets = {50: _Socket(50, 11, 60, plugged=True, known=True), 51: _Socket(51, 10, 61)}
        self.layers = {30: _Layer(30, 1, (kms.Format.XRGB8888,))}
        self.atomic = self.scales = False
        self.can_show = True
        self.notices = True
        """Whether the kernel knows of plugs before it asks the screen (nvidia-drm does not)."""
        self.dumb = 1
        self.master = None
        self.errors = {}
        """Request -> error number that it fails with from now on."""
        self.calls = []
        self.commits = []
        """Flags of the atomic commits that were taken."""
        self.mode = None
        self.time_ns = 5_000_000_000
        self.fbs = {CONSOLE_FB: _Fb(1280, 720, kms.Format.XRGB8888, 0, 0)}
        self.memory = {}
        self._memory_files = {}
        self._files = {}
        self._pending = None
        self._next = 100
        self._hotplug = None
        self.show_console()

    # What a person in front of the screen does and sees.

    def show_console(self):
        self.layers = {each.id: replace(each, fb=0, values={}) for each in self.layers.values()}
        self.layers[30].fb = CONSOLE_FB
        self.mode = _timing(*MODES[0], preferred=True)
        self.sockets[50].in_use = 60

    def plug(self, number=50, *, plugged=True, say=True):
        self.sockets[number].plugged = plugged
        if self.notices:
            self.sockets[number].known = plugged
        if say and self._hotplug:
            self._hotplug.send(b'change@/devices/card0\0ACTION=change\0SUBSYSTEM=drm\0HOTPLUG=1')

    def say(self, words):
        self._hotplug.send(words)

    @property
    def shows_console(self):
        return self.mode is not None and self.layers[30].fb == CONSOLE_FB

    @property
    def asked(self):
        """Whether a flip waits for the next refresh."""
        return self._pending is not None

    def refresh(self):
        """The next vertical blanking; returns its time."""
        self.time_ns += REFRESH_NS
        pending, self._pending = self._pending, None
        if pending:
            layer, changes, number, descriptor = pending
            self._change(layer, changes)
            event = (2, 32, number, self.time_ns // 10**9, self.time_ns // 1000 % 10**6, 0, self.CRTC)
            self._files[descriptor].send(struct.pack('=IIQIIII', *event))
        return self.time_ns

    def picture(self):
        """What the screen shows: (height, width, 3) BGR; None where it is dark or shows the console."""
        if self.mode is None or self.shows_console:
            return None
        shown = np.zeros((self.mode.vdisplay, self.mode.hdisplay, 3), np.uint8)
        for layer in sorted(self.layers.values(), key=lambda each: -each.kind):
            if not layer.fb:
                continue
            fb = self.fbs[layer.fb]
            memory = np.frombuffer(self.memory[fb.handle], np.uint8)
            if fb.format == kms.Format.NV12:
                rows = memory[: fb.pitch * fb.height * 3 // 2].reshape(-1, fb.pitch)[:, : fb.width]
                picture = cv2.cvtColor(np.ascontiguousarray(rows), cv2.COLOR_YUV2BGR_NV12)
            else:
                rows = memory[: fb.pitch * fb.height].reshape(fb.height, fb.pitch)[:, : fb.width * 4]
                picture = rows.reshape(fb.height, fb.width, 4)[..., :3]
            whole = {'CRTC_X': 0, 'CRTC_Y': 0, 'CRTC_W': fb.width, 'CRTC_H': fb.height}
            left, top, width, height = (layer.values.get(name, value) for name, value in whole.items())
            shown[top : top + height, left : left + width] = cv2.resize(np.ascontiguousarray(picture), (width, height))
        return shown

    # The kernel.

    def cards(self):
        return [self.path]

    def open(self, path, flags):
        self._fail('open')
        assert path == self.path
        assert flags & os.O_NONBLOCK
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        theirs.setblocking(False)
        descriptor = theirs.detach()
        self._files[descriptor] = ours
        if self.master is None:
            self.master = descriptor
        return descriptor

    def close(self, descriptor):
        os.close(descriptor)
        self._files.pop(descriptor).close()
        if self.master == descriptor:
            self.master = self._pending = None
            for number in [each for each in self.fbs if each != CONSOLE_FB]:
                self._remove(number)
            self.show_console()

    def hotplug(self):
        if self._hotplug is None:
            self._hotplug, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            theirs.setblocking(False)
            return theirs
        return None

    def map(self, descriptor, length, offset):
        assert descriptor in self._files
        handle = offset >> 12
        self._require(len(self.memory[handle]) == length, errno.EINVAL)
        return mmap.mmap(self._memory_files[handle], length)

    def ioctl(self, descriptor, request, argument):
        assert descriptor in self._files
        self.calls.append(request)
        self._fail(request)
        answer = {
            kms.VERSION: self._version,
            kms.GET_CAP: self._capability,
            kms.SET_CLIENT_CAP: self._client,
            kms.SET_MASTER: lambda _: self._require(self.master == descriptor, errno.EBUSY),
            kms.GETRESOURCES: self._resources,
            kms.GETCRTC: self._get_crtc,
            kms.SETCRTC: self._set_crtc,
            kms.GETENCODER: self._encoder,
            kms.GETCONNECTOR: self._connector,
            kms.GETPLANERESOURCES: self._plane_list,
            kms.GETPLANE: self._plane,
            kms.OBJ_GETPROPERTIES: self._properties,
            kms.GETPROPERTY: self._property,
            kms.CREATE_DUMB: self._create,
            kms.MAP_DUMB: lambda where: setattr(where, 'offset', where.handle << 12),
            kms.DESTROY_DUMB: self._destroy,
            kms.ADDFB2: self._add,
            kms.RMFB: lambda number: self._remove(number.value),
            kms.PAGE_FLIP: lambda flip: self._page_flip(flip, descriptor),
            kms.ATOMIC: lambda commit: self._atomic(commit, descriptor),
        }[request]
        if request in {kms.SETCRTC, kms.PAGE_FLIP, kms.ATOMIC}:
            self._require(self.master == descriptor, errno.EACCES)
        answer(argument)
        return 0

    def _fail(self, what):
        if what in self.errors:
            raise OSError(self.errors[what], os.strerror(self.errors[what]))

    @staticmethod
    def _require(holds, error):
        if not holds:
            raise OSError(error, os.strerror(error))

    @staticmethod
    def _list(pointer, count, content, kind=ctypes.c_uint32):
        """Fill a list of the caller's where it is long enough; returns its true length."""
        if count >= len(content) and pointer:
            ctypes.memmove(pointer, (kind * len(content))(*content), len(content) * ctypes.sizeof(kind))
        return len(content)

    def _version(self, version):
        ctypes.memmove(version.name, b'simulated', 9)
        version.name_len = 9

    def _capability(self, wanted):
        self._require(wanted.capability in (kms.CAP_DUMB_BUFFER, kms.CAP_TIMESTAMP_MONOTONIC), errno.EINVAL)
        wanted.value = self.dumb if wanted.capability == kms.CAP_DUMB_BUFFER else 1

    def _client(self, wanted):
        self._require(self.atomic or wanted.capability != kms.CLIENT_ATOMIC, errno.EOPNOTSUPP)

    def _resources(self, wanted):
        self._require(self.can_show, errno.EOPNOTSUPP)
        wanted.count_crtcs = self._list(wanted.crtc_id_ptr, wanted.count_crtcs, [self.CRTC])
        wanted.count_connectors = self._list(wanted.connector_id_ptr, wanted.count_connectors, list(self.sockets))

    def _encoder(self, wanted):
        wanted.possible_crtcs = 1
        used = any(each.in_use == wanted.encoder_id for each in self.sockets.values())
        wanted.crtc_id = self.CRTC if used and self.mode else 0

    def _connector(self, wanted):
        found = self.sockets[wanted.connector_id]
        if wanted.count_modes == 0:
            found.known = found.plugged
        wanted.connector_type, wanted.connector_type_id = found.kind, 1
        wanted.connection = 1 if found.known else 2
        modes = found.modes if found.known else []
        wanted.count_modes = self._list(wanted.modes_ptr, wanted.count_modes, modes, kms.ModeInfo)
        wanted.count_encoders = self._list(wanted.encoders_ptr, wanted.count_encoders, [found.encoder])
        wanted.encoder_id = found.in_use

    def _get_crtc(self, wanted):
        self._require(wanted.crtc_id == self.CRTC, errno.ENOENT)
        wanted.mode_valid = int(self.mode is not None)
        wanted.fb_id = self.layers[30].fb
        if self.mode:
            wanted.mode = self.mode

    def _set_crtc(self, wanted):
        self._require(wanted.crtc_id == self.CRTC, errno.ENOENT)
        self._pending = None
        if not wanted.mode_valid:
            self._require(wanted.count_connectors == 0, errno.EINVAL)
            self._dark()
            return
        self._require(wanted.fb_id in self.fbs, errno.ENOENT)
        fb = self.fbs[wanted.fb_id]
        self._require(wanted.count_connectors > 0, errno.EINVAL)
        self._require(fb.width >= wanted.mode.hdisplay and fb.height >= wanted.mode.vdisplay, errno.ENOSPC)
        numbers = (ctypes.c_uint32 * wanted.count_connectors).from_address(wanted.set_connectors_ptr)
        for each in self.sockets.values():
            each.in_use = each.encoder if each.id in list(numbers) else 0
        self.mode = kms.ModeInfo.from_buffer_copy(bytes(wanted.mode))
        self._change(30, {'FB_ID': wanted.fb_id})
        self.layers[30].values = {}

    def _dark(self):
        self.mode = None
        self.layers[30].fb = 0
        for each in self.sockets.values():
            each.in_use = 0

    def _change(self, layer, changes):
        found = self.layers[layer]
        found.values.update(changes)
        found.fb = changes['FB_ID']

    def _plane_list(self, wanted):
        wanted.count_planes = self._list(wanted.plane_id_ptr, wanted.count_planes, list(self.layers))

    def _plane(self, wanted):
        layer = self.layers[wanted.plane_id]
        wanted.possible_crtcs = 1
        wanted.count_format_types = self._list(wanted.format_type_ptr, wanted.count_format_types, layer.formats)

    def _properties(self, wanted):
        layer = self.layers[wanted.obj_id]
        values = {'type': layer.kind, **layer.values, 'CRTC_ID': self.CRTC if layer.fb else 0}
        count = wanted.count_props
        ids = [1000 + number for number in range(len(self.PROPERTIES))]
        wanted.count_props = self._list(wanted.props_ptr, count, ids)
        self._list(wanted.prop_values_ptr, count, [values.get(name, 0) for name in self.PROPERTIES], ctypes.c_uint64)

    def _property(self, wanted):
        wanted.name = self.PROPERTIES[wanted.prop_id - 1000].encode()

    def _create(self, wanted):
        wanted.pitch = -(-wanted.width * wanted.bpp // 8 // 256) * 256 + 256
        wanted.size = -(-wanted.pitch * wanted.height // 4096) * 4096
        self._next += 1
        wanted.handle = self._next
        self._memory_files[wanted.handle] = file = os.memfd_create('buffer')
        os.ftruncate(file, wanted.size)
        self.memory[wanted.handle] = mmap.mmap(file, wanted.size)

    def _destroy(self, handle):
        self._require(handle.value in self.memory, errno.ENOENT)
        del self.memory[handle.value]
        os.close(self._memory_files.pop(handle.value))

    def _add(self, wanted):
        fb = _Fb(wanted.width, wanted.height, wanted.pixel_format, wanted.handles[0], wanted.pitches[0])
        self._require(fb.handle in self.memory, errno.ENOENT)
        rows = fb.height
        if fb.format == kms.Format.NV12:
            rows = fb.height * 3 // 2
            planes = (wanted.handles[1], wanted.pitches[1], wanted.offsets[1])
            self._require(planes == (fb.handle, fb.pitch, fb.pitch * fb.height), errno.EINVAL)
        self._require(fb.pitch * rows <= len(self.memory[fb.handle]), errno.EINVAL)
        self._next += 1
        wanted.fb_id = self._next
        self.fbs[self._next] = fb

    def _remove(self, number):
        self._require(number in self.fbs, errno.ENOENT)
        del self.fbs[number]
        for layer in self.layers.values():
            if layer.fb == number:
                layer.fb, layer.values = 0, {}
                if layer.kind == 1:
                    self._dark()

    def _page_flip(self, flip, descriptor):
        self._require(flip.fb_id in self.fbs, errno.ENOENT)
        self._require(self.mode is not None and self.layers[30].fb, errno.EBUSY)
        self._require(self._pending is None, errno.EBUSY)
        now, then = self.fbs[self.layers[30].fb], self.fbs[flip.fb_id]
        self._require((now.width, now.height, now.format) == (then.width, then.height, then.format), errno.EINVAL)
        self._pending = 30, {'FB_ID': flip.fb_id}, flip.user_data, descriptor

    def _atomic(self, commit, descriptor):
        self._require(self.atomic, errno.EOPNOTSUPP)
        test = bool(commit.flags & kms.TEST_ONLY)
        self._require(not (test and commit.flags & kms.FLIP_EVENT), errno.EINVAL)
        self._require(commit.count_objs == 1, errno.EINVAL)
        layer = self.layers[ctypes.c_uint32.from_address(commit.objs_ptr).value]
        count = ctypes.c_uint32.from_address(commit.count_props_ptr).value
        ids = (ctypes.c_uint32 * count).from_address(commit.props_ptr)
        numbers = (ctypes.c_uint64 * count).from_address(commit.prop_values_ptr)
        values = {self.PROPERTIES[each - 1000]: number for each, number in zip(ids, numbers, strict=True)}
        self._require(bool(values['FB_ID']) == bool(values['CRTC_ID']), errno.EINVAL)
        if values['FB_ID']:
            fb = self.fbs[values['FB_ID']]
            self._require(fb.format in layer.formats, errno.EINVAL)
            source = values['SRC_W'] >> 16, values['SRC_H'] >> 16
            self._require(source == (fb.width, fb.height), errno.ENOSPC)
            self._require(self.scales or source == (values['CRTC_W'], values['CRTC_H']), errno.ERANGE)
        if test:
            return
        self._fail('commit')
        self._require(self._pending is None, errno.EBUSY)
        self.commits.append(commit.flags)
        if commit.flags & kms.NONBLOCK:
            self._pending = layer.id, values, commit.user_data, descriptor
        else:
            self._change(layer.id, values)


@pytest.fixture
def make_card():
    return SimulatedCard


@pytest.fixture
def card():
    return SimulatedCard()
