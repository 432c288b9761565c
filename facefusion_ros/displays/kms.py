"""Kernel mode setting: a graphics card's connectors, modes, buffers and page flips, spoken to by its own ioctls.

Sources: Linux, include/uapi/drm/drm.h, drm_mode.h and drm_fourcc.h for codes and structures; Documentation/gpu/drm-uapi
and drm-kms for what they mean; drivers/gpu/drm/drm_connector.c for when a connector is probed; lib/kobject_uevent.c for
the form of the kernel's events.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from facefusion_ros.displays.connectors import TYPE_NAMES, Connector, Mode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

T = TypeVar('T', bound=ctypes.Structure)

_U8, _U16, _U32, _I32, _U64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint64


class Format(IntEnum):
    """Pixel formats, by their four characters in little-endian order."""

    XRGB8888 = int.from_bytes(b'XR24', 'little')
    """In memory: blue, green, red and a byte that is not looked at."""
    NV12 = int.from_bytes(b'NV12', 'little')


class Object(IntEnum):
    """Kinds of objects that have properties."""

    CRTC = 0xCCCCCCCC
    CONNECTOR = 0xC0C0C0C0
    PLANE = 0xEEEEEEEE


class Version(ctypes.Structure):
    """``struct drm_version``."""

    _fields_ = (
        ('version_major', ctypes.c_int),
        ('version_minor', ctypes.c_int),
        ('version_patchlevel', ctypes.c_int),
        ('name_len', ctypes.c_size_t),
        ('name', ctypes.c_void_p),
        ('date_len', ctypes.c_size_t),
        ('date', ctypes.c_void_p),
        ('desc_len', ctypes.c_size_t),
        ('desc', ctypes.c_void_p),
    )


class Capability(ctypes.Structure):
    """``struct drm_get_cap`` and ``struct drm_set_client_cap``."""

    _fields_ = (('capability', _U64), ('value', _U64))


class ModeInfo(ctypes.Structure):
    """``struct drm_mode_modeinfo``; clock in kHz."""

    _fields_ = (
        ('clock', _U32),
        ('hdisplay', _U16),
        ('hsync_start', _U16),
        ('hsync_end', _U16),
        ('htotal', _U16),
        ('hskew', _U16),
        ('vdisplay', _U16),
        ('vsync_start', _U16),
        ('vsync_end', _U16),
        ('vtotal', _U16),
        ('vscan', _U16),
        ('vrefresh', _U32),
        ('flags', _U32),
        ('type', _U32),
        ('name', ctypes.c_char * 32),
    )


class CardResources(ctypes.Structure):
    """``struct drm_mode_card_res``."""

    _fields_ = (
        ('fb_id_ptr', _U64),
        ('crtc_id_ptr', _U64),
        ('connector_id_ptr', _U64),
        ('encoder_id_ptr', _U64),
        ('count_fbs', _U32),
        ('count_crtcs', _U32),
        ('count_connectors', _U32),
        ('count_encoders', _U32),
        ('min_width', _U32),
        ('max_width', _U32),
        ('min_height', _U32),
        ('max_height', _U32),
    )


class Crtc(ctypes.Structure):
    """``struct drm_mode_crtc``."""

    _fields_ = (
        ('set_connectors_ptr', _U64),
        ('count_connectors', _U32),
        ('crtc_id', _U32),
        ('fb_id', _U32),
        ('x', _U32),
        ('y', _U32),
        ('gamma_size', _U32),
        ('mode_valid', _U32),
        ('mode', ModeInfo),
    )


class GetEncoder(ctypes.Structure):
    """``struct drm_mode_get_encoder``."""

    _fields_ = (
        ('encoder_id', _U32),
        ('encoder_type', _U32),
        ('crtc_id', _U32),
        ('possible_crtcs', _U32),
        ('possible_clones', _U32),
    )


class GetConnector(ctypes.Structure):
    """``struct drm_mode_get_connector``."""

    _fields_ = (
        ('encoders_ptr', _U64),
        ('modes_ptr', _U64),
        ('props_ptr', _U64),
        ('prop_values_ptr', _U64),
        ('count_modes', _U32),
        ('count_props', _U32),
        ('count_encoders', _U32),
        ('encoder_id', _U32),
        ('connector_id', _U32),
        ('connector_type', _U32),
        ('connector_type_id', _U32),
        ('connection', _U32),
        ('mm_width', _U32),
        ('mm_height', _U32),
        ('subpixel', _U32),
        ('pad', _U32),
    )


class GetPlaneResources(ctypes.Structure):
    """``struct drm_mode_get_plane_res``."""

    _fields_ = (('plane_id_ptr', _U64), ('count_planes', _U32))


class GetPlane(ctypes.Structure):
    """``struct drm_mode_get_plane``."""

    _fields_ = (
        ('plane_id', _U32),
        ('crtc_id', _U32),
        ('fb_id', _U32),
        ('possible_crtcs', _U32),
        ('gamma_size', _U32),
        ('count_format_types', _U32),
        ('format_type_ptr', _U64),
    )


class ObjectProperties(ctypes.Structure):
    """``struct drm_mode_obj_get_properties``."""

    _fields_ = (
        ('props_ptr', _U64),
        ('prop_values_ptr', _U64),
        ('count_props', _U32),
        ('obj_id', _U32),
        ('obj_type', _U32),
    )


class GetProperty(ctypes.Structure):
    """``struct drm_mode_get_property``."""

    _fields_ = (
        ('values_ptr', _U64),
        ('enum_blob_ptr', _U64),
        ('prop_id', _U32),
        ('flags', _U32),
        ('name', ctypes.c_char * 32),
        ('count_values', _U32),
        ('count_enum_blobs', _U32),
    )


class CreateDumb(ctypes.Structure):
    """``struct drm_mode_create_dumb``."""

    _fields_ = (
        ('height', _U32),
        ('width', _U32),
        ('bpp', _U32),
        ('flags', _U32),
        ('handle', _U32),
        ('pitch', _U32),
        ('size', _U64),
    )


class MapDumb(ctypes.Structure):
    """``struct drm_mode_map_dumb``."""

    _fields_ = (('handle', _U32), ('pad', _U32), ('offset', _U64))


class FrameBuffer(ctypes.Structure):
    """``struct drm_mode_fb_cmd2``."""

    _fields_ = (
        ('fb_id', _U32),
        ('width', _U32),
        ('height', _U32),
        ('pixel_format', _U32),
        ('flags', _U32),
        ('handles', _U32 * 4),
        ('pitches', _U32 * 4),
        ('offsets', _U32 * 4),
        ('modifier', _U64 * 4),
    )


class PageFlip(ctypes.Structure):
    """``struct drm_mode_crtc_page_flip``."""

    _fields_ = (('crtc_id', _U32), ('fb_id', _U32), ('flags', _U32), ('reserved', _U32), ('user_data', _U64))


class Atomic(ctypes.Structure):
    """``struct drm_mode_atomic``."""

    _fields_ = (
        ('flags', _U32),
        ('count_objs', _U32),
        ('objs_ptr', _U64),
        ('count_props_ptr', _U64),
        ('props_ptr', _U64),
        ('prop_values_ptr', _U64),
        ('reserved', _U64),
        ('user_data', _U64),
    )


def _iowr(number: int, argument: type[ctypes.Structure | ctypes.c_uint32], direction: int = 3) -> int:
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord('d') << 8 | number


VERSION = _iowr(0x00, Version)
GET_CAP = _iowr(0x0C, Capability)
SET_CLIENT_CAP = _iowr(0x0D, Capability, direction=1)
SET_MASTER = ord('d') << 8 | 0x1E
GETRESOURCES = _iowr(0xA0, CardResources)
GETCRTC = _iowr(0xA1, Crtc)
SETCRTC = _iowr(0xA2, Crtc)
GETENCODER = _iowr(0xA6, GetEncoder)
GETCONNECTOR = _iowr(0xA7, GetConnector)
GETPROPERTY = _iowr(0xAA, GetProperty)
RMFB = _iowr(0xAF, ctypes.c_uint32)
PAGE_FLIP = _iowr(0xB0, PageFlip)
CREATE_DUMB = _iowr(0xB2, CreateDumb)
MAP_DUMB = _iowr(0xB3, MapDumb)
DESTROY_DUMB = _iowr(0xB4, ctypes.c_uint32)
GETPLANERESOURCES = _iowr(0xB5, GetPlaneResources)
GETPLANE = _iowr(0xB6, GetPlane)
ADDFB2 = _iowr(0xB8, FrameBuffer)
OBJ_GETPROPERTIES = _iowr(0xB9, ObjectProperties)
ATOMIC = _iowr(0xBC, Atomic)

CAP_DUMB_BUFFER, CAP_TIMESTAMP_MONOTONIC = 0x1, 0x6
CLIENT_UNIVERSAL_PLANES, CLIENT_ATOMIC = 2, 3
FLIP_EVENT, TEST_ONLY, NONBLOCK, ALLOW_MODESET = 0x0001, 0x0100, 0x0200, 0x0400
EVENT_FLIP_COMPLETE = 0x02
CONNECTED = 1
_PREFERRED, _INTERLACED = 1 << 3, 1 << 4
_STEREO = 0x1F << 14
_EVENT = struct.Struct('=IIQIIII')
"""``struct drm_event_vblank``: type, length, user data, seconds, microseconds, sequence, crtc."""
_MOST_EVENTS_BYTES = 4096


class Kernel(Protocol):
    """The calls by which a card is spoken to. What ``open`` returns can be read and polled for its events."""

    def cards(self) -> list[str]:
        """Return the device nodes of the graphics cards."""

    def open(self, path: str, flags: int) -> int:
        """As ``os.open``."""

    def ioctl(self, descriptor: int, request: int, argument: ctypes.Structure | ctypes.c_uint32) -> int:
        """As ``fcntl.ioctl``."""

    def map(self, descriptor: int, length: int, offset: int) -> mmap.mmap:
        """Map a buffer, to be read and written."""

    def close(self, descriptor: int) -> None:
        """As ``os.close``."""

    def hotplug(self) -> socket.socket | None:
        """Return a socket with the kernel's events of devices; None where there is none to be had."""


class Linux:
    """The kernel that runs."""

    def cards(self) -> list[str]:
        """Return the device nodes of the graphics cards."""
        return sorted(map(str, Path('/dev/dri').glob('card*')))

    def open(self, path: str, flags: int) -> int:
        """As ``os.open``."""
        return os.open(path, flags)

    def ioctl(self, descriptor: int, request: int, argument: ctypes.Structure | ctypes.c_uint32) -> int:
        """As ``fcntl.ioctl``."""
        result: int = fcntl.ioctl(descriptor, request, argument)
        return result

    def map(self, descriptor: int, length: int, offset: int) -> mmap.mmap:
        """Map a buffer, to be read and written."""
        return mmap.mmap(descriptor, length, offset=offset)

    def close(self, descriptor: int) -> None:
        """As ``os.close``."""
        os.close(descriptor)

    def hotplug(self) -> socket.socket | None:
        """Listen to NETLINK_KOBJECT_UEVENT; some containers do not allow it."""
        listening = None
        try:
            listening = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _KOBJECT_UEVENT)
            listening.bind((0, _GROUP_KERNEL))
        except OSError:
            if listening is not None:
                listening.close()
            return None
        return listening


_KOBJECT_UEVENT, _GROUP_KERNEL = 15, 1


def heard_of_displays(hotplug: socket.socket) -> bool:
    """Read what the kernel has said of devices; True where a display was among them, or where something was missed."""
    found = False
    while True:
        try:
            words = hotplug.recv(8192).split(b'\0')
        except BlockingIOError:
            return found
        except OSError:  # ENOBUFS: more was said than fitted
            found = True
            continue
        found |= b'SUBSYSTEM=drm' in words


@dataclass(frozen=True, slots=True)
class Flip:
    """A buffer has come on the screen."""

    number: int
    """What was given with the request."""
    time_ns: int
    """CLOCK_MONOTONIC, of the first pixel that left for the screen where the driver knows it."""


class Buffer:
    """Memory that a card can scan out, mapped into this process.

    ``pixels`` is a uint8 view: (height, width, 4) for XRGB8888; for NV12 luma (height, width), and ``chroma``
    (height / 2, width). Rows may lie further apart than they are long.
    """

    def __init__(self, memory: CreateDumb, size: tuple[int, int], pixel_format: Format, mapping: mmap.mmap) -> None:
        self.handle = memory.handle
        self.fb = 0
        self.size = size
        self._mapping = mapping
        (width, height), pitch = size, memory.pitch
        self.pixels: NDArray[np.uint8]
        self.chroma: NDArray[np.uint8]
        if pixel_format is Format.NV12:
            self.pixels = np.ndarray((height, width), np.uint8, mapping, 0, (pitch, 1))
            self.chroma = np.ndarray((height // 2, width), np.uint8, mapping, pitch * height, (pitch, 1))
            self.pixels[...], self.chroma[...] = 16, 128
        else:
            self.pixels = np.ndarray((height, width, 4), np.uint8, mapping, 0, (pitch, 4, 1))
            self.chroma = np.empty((0, 0), np.uint8)
            self.pixels[...] = 0

    def unmap(self) -> None:
        """Give the mapping back, which would keep the card open; the views are not to be used again."""
        nothing: NDArray[np.uint8] = np.empty((0, 0, 4), np.uint8)
        self.pixels = self.chroma = nothing
        self._mapping.close()


@dataclass(frozen=True, slots=True)
class Plane:
    """A layer that a CRTC composes its picture of."""

    id: int
    possible_crtcs: int
    formats: frozenset[int]


class Card:
    """A graphics card that is open. Every call raises OSError as the kernel's."""

    def __init__(self, path: str, kernel: Kernel) -> None:
        self.path = path
        self._kernel = kernel
        self.descriptor = kernel.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)

    def close(self) -> None:
        """Close the card: what it still shows of this program goes away, and it is free for others."""
        self._kernel.close(self.descriptor)

    def driver(self) -> str:
        """Name the driver."""
        name = ctypes.create_string_buffer(64)
        version = Version(name_len=len(name) - 1, name=ctypes.addressof(name))
        self._ioctl(VERSION, version)
        return name.value.decode('ascii', 'replace')

    def capability(self, number: int) -> int:
        """Return what the driver can; 0 where it has not heard of it."""
        answer = Capability(number)
        with suppress(OSError):
            self._ioctl(GET_CAP, answer)
        return int(answer.value)

    def speak_as(self, number: int) -> bool:
        """Tell the kernel what this program understands; False where the driver does not."""
        try:
            self._ioctl(SET_CLIENT_CAP, Capability(number, 1))
        except OSError:
            return False
        return True

    def take_master(self) -> None:
        """Become the one who may set modes; EBUSY where another program is, EACCES where that would need privileges."""
        self._ioctl(SET_MASTER, ctypes.c_uint32())

    def resources(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids of CRTCs and of connectors; EOPNOTSUPP of a card that cannot show anything."""
        answer = CardResources()
        self._ioctl(GETRESOURCES, answer)
        while True:
            crtcs, connectors = _numbers(answer.count_crtcs), _numbers(answer.count_connectors)
            asked = CardResources(
                crtc_id_ptr=ctypes.addressof(crtcs),
                connector_id_ptr=ctypes.addressof(connectors),
                count_crtcs=len(crtcs),
                count_connectors=len(connectors),
            )
            self._ioctl(GETRESOURCES, asked)
            if asked.count_crtcs <= len(crtcs) and asked.count_connectors <= len(connectors):
                return tuple(crtcs)[: asked.count_crtcs], tuple(connectors)[: asked.count_connectors]
            answer = asked

    def connector(self, number: int) -> Connector:
        """Look what is plugged into a connector now, which may take a tenth of a second (the screen is asked)."""
        answer = GetConnector(connector_id=number)
        self._ioctl(GETCONNECTOR, answer)
        while True:
            modes = (ModeInfo * max(answer.count_modes, 1))()  # with none, the kernel would probe again
            encoders = _numbers(answer.count_encoders)
            asked = GetConnector(
                connector_id=number,
                modes_ptr=ctypes.addressof(modes),
                encoders_ptr=ctypes.addressof(encoders),
                count_modes=len(modes),
                count_encoders=len(encoders),
            )
            self._ioctl(GETCONNECTOR, asked)
            if asked.count_modes <= len(modes) and asked.count_encoders <= len(encoders):
                break
            answer = asked
        kind = TYPE_NAMES[asked.connector_type] if asked.connector_type < len(TYPE_NAMES) else TYPE_NAMES[0]
        return Connector(
            id=number,
            name=f'{kind}-{asked.connector_type_id}',
            connected=asked.connection == CONNECTED,
            modes=tuple(_mode(each) for each in modes[: asked.count_modes] if not each.flags & _STEREO),
            encoders=tuple(encoders)[: asked.count_encoders],
            encoder=asked.encoder_id,
        )

    def still_connected(self, number: int) -> bool:
        """Tell what the kernel knows of a connector, at no cost: nothing is asked of the screen."""
        mode = ModeInfo()
        answer = GetConnector(connector_id=number, modes_ptr=ctypes.addressof(mode), count_modes=1)
        self._ioctl(GETCONNECTOR, answer)
        return bool(answer.connection == CONNECTED)

    def encoder(self, number: int) -> tuple[int, int]:
        """Return the CRTC that feeds an encoder (0 for none), and a bit for each that could."""
        answer = GetEncoder(encoder_id=number)
        self._ioctl(GETENCODER, answer)
        return int(answer.crtc_id), int(answer.possible_crtcs)

    def crtc(self, number: int) -> Crtc:
        """Return what a CRTC shows."""
        answer = Crtc(crtc_id=number)
        self._ioctl(GETCRTC, answer)
        return answer

    def set_crtc(self, wanted: Crtc, connectors: Sequence[int]) -> None:
        """Let a CRTC show a frame buffer in a mode on connectors; waits until it does."""
        numbers = _numbers(len(connectors), connectors)
        wanted.set_connectors_ptr = ctypes.addressof(numbers) if connectors else 0
        wanted.count_connectors = len(connectors)
        self._ioctl(SETCRTC, wanted)

    def planes(self) -> list[Plane]:
        """List all planes (CLIENT_UNIVERSAL_PLANES: also those that CRTCs have of their own)."""
        answer = GetPlaneResources()
        self._ioctl(GETPLANERESOURCES, answer)
        ids = _numbers(answer.count_planes)
        self._ioctl(GETPLANERESOURCES, GetPlaneResources(ctypes.addressof(ids), len(ids)))
        found = []
        for number in ids:
            plane = GetPlane(plane_id=number)
            self._ioctl(GETPLANE, plane)
            formats = _numbers(plane.count_format_types)
            asked = GetPlane(
                plane_id=number, count_format_types=len(formats), format_type_ptr=ctypes.addressof(formats)
            )
            self._ioctl(GETPLANE, asked)
            found.append(Plane(number, int(asked.possible_crtcs), frozenset(formats)))
        return found

    def properties(self, number: int, kind: Object) -> dict[str, tuple[int, int]]:
        """Return the properties of an object: name -> id and value."""
        answer = ObjectProperties(obj_id=number, obj_type=kind)
        self._ioctl(OBJ_GETPROPERTIES, answer)
        ids = _numbers(answer.count_props)
        values = (_U64 * answer.count_props)()
        pointers = ctypes.addressof(ids), ctypes.addressof(values)
        self._ioctl(OBJ_GETPROPERTIES, ObjectProperties(*pointers, len(ids), number, kind))
        found = {}
        for identifier, value in zip(ids, values, strict=True):
            prop = GetProperty(prop_id=identifier)
            self._ioctl(GETPROPERTY, prop)
            found[prop.name.decode('ascii', 'replace')] = (identifier, value)
        return found

    def create(self, size: tuple[int, int], pixel_format: Format) -> Buffer:
        """Make a black buffer of a (width, height) that can be shown."""
        width, height = size
        rows, bits = (height * 3 // 2, 8) if pixel_format is Format.NV12 else (height, 32)
        memory = CreateDumb(height=rows, width=width, bpp=bits)
        self._ioctl(CREATE_DUMB, memory)
        where = MapDumb(handle=memory.handle)
        try:
            self._ioctl(MAP_DUMB, where)
            mapping = self._kernel.map(self.descriptor, memory.size, where.offset)
        except OSError:
            self._ioctl(DESTROY_DUMB, ctypes.c_uint32(memory.handle))
            raise
        buffer = Buffer(memory, size, pixel_format, mapping)
        wanted = FrameBuffer(width=width, height=height, pixel_format=pixel_format)
        wanted.handles[0], wanted.pitches[0] = memory.handle, memory.pitch
        if pixel_format is Format.NV12:
            wanted.handles[1], wanted.pitches[1] = memory.handle, memory.pitch
            wanted.offsets[1] = memory.pitch * height
        try:
            self._ioctl(ADDFB2, wanted)
        except OSError:
            self.destroy(buffer)
            raise
        buffer.fb = wanted.fb_id
        return buffer

    def destroy(self, buffer: Buffer) -> None:
        """Give a buffer back; a CRTC that shows it goes dark. Raises nothing: the card may be gone."""
        buffer.unmap()
        with suppress(OSError):
            if buffer.fb:
                self._ioctl(RMFB, ctypes.c_uint32(buffer.fb))
        with suppress(OSError):
            self._ioctl(DESTROY_DUMB, ctypes.c_uint32(buffer.handle))

    def flip(self, crtc: int, fb: int, number: int) -> None:
        """Ask for another frame buffer at the next vertical blanking; ``number`` comes back with the event."""
        self._ioctl(PAGE_FLIP, PageFlip(crtc, fb, FLIP_EVENT, 0, number))

    def commit(self, changes: Mapping[int, Mapping[int, int]], flags: int, number: int = 0) -> None:
        """Change properties (object -> property -> value) all at once."""
        objects = _numbers(len(changes), list(changes))
        counts = _numbers(len(changes), [len(each) for each in changes.values()])
        names = [name for each in changes.values() for name in each]
        properties = _numbers(len(names), names)
        values = (_U64 * len(names))(*(value for each in changes.values() for value in each.values()))
        pointers = (ctypes.addressof(each) for each in (objects, counts, properties, values))
        self._ioctl(ATOMIC, Atomic(flags, len(objects), *pointers, 0, number))

    def events(self) -> list[Flip]:
        """Return the flips that have come about since the last call; does not wait."""
        try:
            said = os.read(self.descriptor, _MOST_EVENTS_BYTES)
        except BlockingIOError:
            return []
        found, place = [], 0
        while place + 8 <= len(said):
            kind, length = struct.unpack_from('=II', said, place)
            if kind == EVENT_FLIP_COMPLETE:
                _, _, number, seconds, microseconds, _, _ = _EVENT.unpack_from(said, place)
                found.append(Flip(number, seconds * 1_000_000_000 + microseconds * 1000))
            place += max(length, 8)
        return found

    def _ioctl(self, request: int, argument: ctypes.Structure | ctypes.c_uint32) -> None:
        while True:
            try:
                self._kernel.ioctl(self.descriptor, request, argument)
            except OSError as error:  # noqa: PERF203 - the loop is for the rare case
                if error.errno not in {errno.EINTR, errno.EAGAIN}:  # Documentation/gpu/drm-uapi: to be called again
                    raise
            else:
                return


def _numbers(count: int, content: Sequence[int] = ()) -> ctypes.Array[ctypes.c_uint32]:
    return (_U32 * count)(*content)


def _mode(info: ModeInfo) -> Mode:
    dots = info.htotal * info.vtotal
    refresh_hz = info.clock * 1000 / dots if dots else float(info.vrefresh)
    interlaced = bool(info.flags & _INTERLACED)
    return Mode(
        info.hdisplay,
        info.vdisplay,
        refresh_hz * (2 if interlaced else 1),
        preferred=bool(info.type & _PREFERRED),
        interlaced=interlaced,
        timing=bytes(info),
    )
