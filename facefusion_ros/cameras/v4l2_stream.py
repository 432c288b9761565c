"""Buffers that a V4L2 device fills and that are looked at where they lie.

Source: Linux, Documentation/userspace-api/media/v4l: mmap, vidioc-reqbufs, vidioc-qbuf, func-poll, buffer,
vidioc-dqevent.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from facefusion_ros.cameras import v4l2_uapi as uapi
from facefusion_ros.cameras.source import SourceLost
from facefusion_ros.cameras.v4l2_device import DeviceError

if TYPE_CHECKING:
    import mmap

    from numpy.typing import NDArray

    from facefusion_ros.cameras.v4l2_device import V4l2Device

BUFFERS: Final = 4
_GONE: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL


@dataclass(frozen=True, slots=True)
class Filled:
    """A picture as the device left it in a buffer, until that is given back."""

    index: int
    planes: tuple[NDArray[np.uint8], ...]
    """The bytes that are used, of each plane; in the device's memory."""
    stamp_ns: int
    """Of CLOCK_MONOTONIC; -1 where the driver tells no such time."""
    begun: bool
    """Whether that is when the exposure began; else when the last of the picture was read."""
    sequence: int


class Stream:
    """The device's buffers while it films. ``wake`` may come from another thread."""

    def __init__(self, device: V4l2Device, kind: int, planes: int, buffers: int = BUFFERS) -> None:
        """Start the device; raises DeviceError."""
        self._device = device
        self._kind = kind
        self._planes = (uapi.Plane * uapi.VIDEO_MAX_PLANES)()
        self._plane_count = planes
        self._several = kind == uapi.BUF_TYPE_VIDEO_CAPTURE_MPLANE
        self._mapped: list[mmap.mmap] = []
        self._memory: list[tuple[NDArray[np.uint8], ...]] = []
        self._spoilt = 0
        self._lock = threading.Lock()
        self._wake: int | None = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            count = self._request(buffers)
            for index in range(count):
                self._memory.append(self._map(index))
                self._queue(index)
            device.ioctl(uapi.VIDIOC_STREAMON, ctypes.c_int(kind), 'streaming')
        except BaseException:
            self.close()
            raise

    def newest(self, timeout_s: float) -> tuple[Filled, int] | None:
        """Wait for a whole picture: the newest, and how many before it were passed over. None once it is woken.

        Raises SourceLost where none came in time, DeviceError where the device has gone.
        """
        end_s = time.monotonic() + timeout_s
        passed = 0
        while True:
            bits, woken = self._device.poll(self._wake if self._wake is not None else -1, end_s - time.monotonic())
            if woken:
                return None
            if bits & select.POLLPRI:
                self._heed_events()
            filled, more = self._take()
            passed += more
            if filled is not None:
                return filled, passed
            if bits & _GONE:
                raise self._device.gone()
            if time.monotonic() >= end_s:
                raise SourceLost(f'{self._device.path}: no picture for {timeout_s:g} s: look at the cable and at dmesg')

    def give_back(self, filled: Filled) -> None:
        """Let the device fill the buffer again; raises DeviceError."""
        self._queue(filled.index)

    def wake(self) -> None:
        """End a waiting ``newest``."""
        with self._lock:
            if self._wake is not None:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Stop the device and let go of its memory, as far as it still answers."""
        with contextlib.suppress(DeviceError):
            self._device.ioctl(uapi.VIDIOC_STREAMOFF, ctypes.c_int(self._kind), 'streaming')
        self._memory.clear()
        for mapped in self._mapped:
            with contextlib.suppress(BufferError):  # something still looks at it, and frees it when it is done
                mapped.close()
        self._mapped.clear()
        with contextlib.suppress(DeviceError):
            self._request(0)
        with self._lock:
            wake, self._wake = self._wake, None
            if wake is not None:
                os.close(wake)

    def _take(self) -> tuple[Filled | None, int]:
        """Take all that are ready: the newest whole one, and how many before it were passed over or spoilt."""
        newest: Filled | None = None
        passed = 0
        while True:
            buffer = self._buffer(0)
            if not self._device.has(uapi.VIDIOC_DQBUF, buffer, lacking=(errno.EAGAIN,)):
                return newest, passed
            if buffer.flags & uapi.BUF_FLAG_ERROR:
                self._spoilt += 1
                self._queue(buffer.index)
                continue
            if newest is not None:
                passed += 1
                self._queue(newest.index)
            newest = self._filled(buffer)
            passed, self._spoilt = passed + self._spoilt, 0

    def _filled(self, buffer: uapi.Buffer) -> Filled:
        memory = self._memory[buffer.index]
        if self._several:
            used = tuple(
                each[plane.data_offset : plane.bytesused] for each, plane in zip(memory, self._planes, strict=False)
            )
        else:
            used = (memory[0][: buffer.bytesused],)
        monotonic = buffer.flags & uapi.BUF_FLAG_TIMESTAMP_MASK == uapi.BUF_FLAG_TIMESTAMP_MONOTONIC
        stamp_ns = buffer.timestamp.tv_sec * 1_000_000_000 + buffer.timestamp.tv_usec * 1000 if monotonic else -1
        begun = buffer.flags & uapi.BUF_FLAG_TSTAMP_SRC_MASK == uapi.BUF_FLAG_TSTAMP_SRC_SOE
        return Filled(int(buffer.index), used, stamp_ns, bool(begun), int(buffer.sequence))

    def _heed_events(self) -> None:
        event = uapi.Event(pending=1)
        while event.pending and self._device.has(uapi.VIDIOC_DQEVENT, event, lacking=(errno.ENOENT, errno.ENOTTY)):
            if event.type == uapi.EVENT_SOURCE_CHANGE:
                raise SourceLost(f'{self._device.path}: what it films has changed its size or rate: opening it anew')

    def _request(self, count: int) -> int:
        request = uapi.RequestBuffers(count=count, type=self._kind, memory=uapi.MEMORY_MMAP)
        self._device.ioctl(uapi.VIDIOC_REQBUFS, request, 'streaming')
        return int(request.count)

    def _map(self, index: int) -> tuple[NDArray[np.uint8], ...]:
        buffer = self._buffer(index)
        self._device.ioctl(uapi.VIDIOC_QUERYBUF, buffer, 'buffers')
        places = [(buffer.length, buffer.m.offset)]
        if self._several:
            places = [(plane.length, plane.m.mem_offset) for plane in self._planes[: self._plane_count]]
        arrays = []
        for length, offset in places:
            mapped = self._device.map(int(length), int(offset))
            self._mapped.append(mapped)
            arrays.append(np.frombuffer(mapped, np.uint8))
        return tuple(arrays)

    def _queue(self, index: int) -> None:
        self._device.ioctl(uapi.VIDIOC_QBUF, self._buffer(index), 'buffers')

    def _buffer(self, index: int) -> uapi.Buffer:
        buffer = uapi.Buffer(index=index, type=self._kind, memory=uapi.MEMORY_MMAP)
        if self._several:
            ctypes.memset(self._planes, 0, ctypes.sizeof(self._planes))
            buffer.m.planes = self._planes
            buffer.length = self._plane_count
        return buffer
