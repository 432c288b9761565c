"""The file in shared memory behind a frame pool: its geometry, locks and records of what was changed in place.

The file is one page of geometry, one page of header per slot, the slots' pixels, the slots' undo areas. Undo areas are
sparse: memory is taken when a frame is changed, and only as much as its changed regions need.

Every lock is an open-file-description lock (``F_OFD_SETLK`` in fcntl(2), Linux 3.15): it belongs to the descriptor, so
two handles of one process exclude each other, and the kernel drops it when the process dies, however it dies.
Nothing here ever waits for such a lock. What a header says may be read under a shared or exclusive lock of its slot and
written under an exclusive one; the locks order memory between processes.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.frame import Encoding
from facefusion_ros.frames.layout import picture_shape, region_planes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Region = tuple[int, int, int, int]
    """Left, top, width, height; whole pixels."""

ENCODINGS: Final = tuple(Encoding)

_MAGIC: Final = int.from_bytes(b'ffframes', 'little')
_FORMAT: Final = 1
_PAGE: Final = mmap.PAGESIZE
_PAGE_WORDS: Final = _PAGE // 8
_GENERATION, _WIDTH, _HEIGHT, _ENCODING, _UNDO_REGIONS, _UNDO_BYTES, _UNDO_ROOM, _FIRST_REGION = range(8)
_MOST_REGIONS: Final = (_PAGE_WORDS - _FIRST_REGION) // 4

_FLOCK: Final = struct.Struct('hhqqi4x')  # struct flock of 64-bit Linux: type, whence, start, len, pid (0 for OFD)
_OWNER_BYTE: Final = 0
_FIRST_SLOT_BYTE: Final = 1


class PoolError(FacefusionError):
    """Something is wrong with a frame pool."""


def _flock(kind: int, start: int, length: int = 1) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)


def owner_lives(fd: int) -> bool:
    """Whether the owner of the pool file holds its lock; asked through a descriptor that is not the owner's."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, _OWNER_BYTE))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def lock_owner(fd: int) -> None:
    """Mark the pool file as owned until fd is closed or the process dies."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, _OWNER_BYTE))


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def pool_bytes(slots: int, slot_bytes: int) -> tuple[int, int]:
    """Bytes a pool takes from the start, and the size of its file with all undo areas."""
    pixels_end = _PAGE * (1 + slots) + slots * _whole_pages(slot_bytes)
    return pixels_end, pixels_end + slots * _whole_pages(slot_bytes)


def lay_out(fd: int, slots: int, slot_bytes: int, generation: int) -> None:
    """Give the empty file its size, memory and headers; every slot starts without content at the odd generation.

    Raises OSError (ENOSPC) where shared memory has not enough room, so that no page is missing later (SIGBUS).
    """
    needed, size = pool_bytes(slots, slot_bytes)
    os.ftruncate(fd, size)
    os.posix_fallocate(fd, 0, needed)
    os.pwrite(fd, struct.pack('4Q', _MAGIC, _FORMAT, slots, slot_bytes), 0)
    for slot in range(slots):
        os.pwrite(fd, struct.pack('Q', generation), _PAGE * (1 + slot))


class Segment:
    """A mapped pool file. Owns the descriptor it is given, and with it all locks taken here. For one thread at a time.

    ``held[slot]`` counts this handle's shared locks, -1 is its exclusive lock: the kernel keeps one lock per descriptor
    and would let a handle lock itself out of nothing.
    """

    def __init__(self, fd: int) -> None:
        """Map the file; raises PoolError where it is not a pool of this version."""
        self.fd = fd
        size = os.fstat(fd).st_size
        magic, version, slots, slot_bytes = struct.unpack('4Q', os.pread(fd, 32, 0).ljust(32, b'\0'))
        self.slots: int = slots
        self.slot_bytes: int = slot_bytes
        if (magic, version) != (_MAGIC, _FORMAT) or pool_bytes(self.slots, self.slot_bytes)[1] != size:
            raise PoolError('not a frame pool of this version: run the same version of facefusion_ros in every process')
        mapped = mmap.mmap(fd, size)
        self._writable = memoryview(mapped)
        self._readable = self._writable.toreadonly()
        self._words = self._writable.cast('Q')
        self._area = _whole_pages(self.slot_bytes)
        self._pixels_at = _PAGE * (1 + self.slots)
        self._undo_at = self._pixels_at + self.slots * self._area
        self.held = [0] * self.slots
        lock_bytes = range(_FIRST_SLOT_BYTE, _FIRST_SLOT_BYTE + self.slots)
        self._shared = [_flock(fcntl.F_RDLCK, byte) for byte in lock_bytes]
        self._exclusive = [_flock(fcntl.F_WRLCK, byte) for byte in lock_bytes]
        self._unlock = [_flock(fcntl.F_UNLCK, byte) for byte in lock_bytes]

    # -- locks

    def share(self, slot: int) -> bool:
        """Keep everyone from changing the slot; False where somebody is changing it now."""
        held = self.held[slot]
        if held < 0 or (held == 0 and not self._lock(self._shared[slot])):
            return False
        self.held[slot] = held + 1
        return True

    def seize(self, slot: int) -> bool:
        """Keep everyone else out of the slot; False where somebody is in it."""
        if self.held[slot] != 0 or not self._lock(self._exclusive[slot]):
            return False
        self.held[slot] = -1
        return True

    def release(self, slot: int) -> None:
        """Undo one ``share`` or ``seize``; harmless after ``close``."""
        held = max(self.held[slot] - 1, 0)
        self.held[slot] = held
        if held == 0 and self.fd >= 0:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, self._unlock[slot])

    def check_open(self) -> None:
        """Raise PoolError after ``close``."""
        if self.fd < 0:
            raise PoolError('this frame pool was closed')

    def _lock(self, lock: bytes) -> bool:
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError:
            return False
        return True

    # -- what a slot holds

    def generation(self, slot: int) -> int:
        """Even: stable content. Odd: none, or somebody is writing."""
        return self._words[_PAGE_WORDS * (1 + slot)]

    def set_generation(self, slot: int, generation: int) -> None:
        """One 8-byte store, so that a process killed here leaves the old value or the new."""
        self._words[_PAGE_WORDS * (1 + slot)] = generation

    def content(self, slot: int) -> tuple[int, int, Encoding]:
        """Width, height (pixels) and encoding."""
        word = _PAGE_WORDS * (1 + slot)
        return self._words[word + _WIDTH], self._words[word + _HEIGHT], ENCODINGS[self._words[word + _ENCODING]]

    def set_content(self, slot: int, width: int, height: int, encoding: Encoding) -> None:
        """Name what the slot is about to hold; nothing of it is changed yet, so nothing is left to undo."""
        word = _PAGE_WORDS * (1 + slot)
        self._words[word + _WIDTH] = width
        self._words[word + _HEIGHT] = height
        self._words[word + _ENCODING] = ENCODINGS.index(encoding)
        self._words[word + _UNDO_REGIONS] = 0
        self._words[word + _UNDO_BYTES] = 0

    def pixels(self, slot: int, shape: tuple[int, ...], *, writable: bool = False) -> NDArray[np.uint8]:
        """View of the slot's pixels as uint8 of the given shape."""
        buffer = self._writable if writable else self._readable
        view: NDArray[np.uint8] = np.ndarray(shape, np.uint8, buffer, self._pixels_at + slot * self._area)
        return view

    def all_pixels(self) -> NDArray[np.uint8]:
        """Read-only view of the pixels of all slots, (n,) whole pages of memory: without headers and undo areas."""
        view: NDArray[np.uint8] = np.ndarray((self.slots * self._area,), np.uint8, self._readable, self._pixels_at)
        return view

    # -- what was changed in place

    def undo_regions(self, slot: int) -> int:
        """How many regions of the slot's pixels are recorded as they were before they were changed."""
        return self._words[_PAGE_WORDS * (1 + slot) + _UNDO_REGIONS]

    def record(self, slot: int, regions: Iterable[Region]) -> None:
        """Add the pixels under the regions, which are about to change, to the slot's undo record.

        Raises ValueError for a region that reaches beyond the picture, PoolError where the record is full.
        """
        width, height, encoding = self.content(slot)
        wanted = [region for region in regions if region[2] > 0 and region[3] > 0]
        if any(x < 0 or y < 0 or x + w > width or y + h > height for x, y, w, h in wanted):
            raise ValueError(f'regions {wanted} reach beyond the picture of {width} x {height} pixels: clip them first')
        pixels = self.pixels(slot, picture_shape(encoding, width, height))
        word = _PAGE_WORDS * (1 + slot)
        count, used = self._words[word + _UNDO_REGIONS], self._words[word + _UNDO_BYTES]
        planes = [plane for region in wanted for plane in region_planes(pixels, encoding, region)]
        if count + len(wanted) > _MOST_REGIONS or used + sum(plane.size for plane in planes) > self.slot_bytes:
            wanted = [_around(wanted)]
            planes = list(region_planes(pixels, encoding, wanted[0]))
        self._make_room(slot, count + len(wanted), used + sum(plane.size for plane in planes))
        undo = self._undo(slot)
        for plane in planes:
            np.copyto(undo[used : used + plane.size].reshape(plane.shape), plane)
            used += plane.size
        for region in wanted:
            for offset, number in enumerate(region):
                self._words[word + _FIRST_REGION + 4 * count + offset] = number
            count += 1
        self._words[word + _UNDO_REGIONS] = count
        self._words[word + _UNDO_BYTES] = used

    def put_back(self, slot: int, into: NDArray[np.uint8], *, since: int = 0) -> None:
        """Write the recorded regions into a picture, the latest first, down to record number ``since``."""
        encoding = self.content(slot)[2]
        undo = self._undo(slot)
        pieces: list[tuple[int, NDArray[np.uint8]]] = []
        at = 0
        for number, region in enumerate(self._regions(slot)):
            for plane in region_planes(into, encoding, region):
                if number >= since:
                    pieces.append((at, plane))
                at += plane.size
        for begin, plane in reversed(pieces):
            np.copyto(plane, undo[begin : begin + plane.size].reshape(plane.shape))

    def forget(self, slot: int, *, since: int) -> None:
        """Drop the records from number ``since`` on."""
        width, height, encoding = self.content(slot)
        pixels = self.pixels(slot, picture_shape(encoding, width, height))
        kept = self._regions(slot)[:since]
        word = _PAGE_WORDS * (1 + slot)
        self._words[word + _UNDO_REGIONS] = since
        self._words[word + _UNDO_BYTES] = sum(
            plane.size for region in kept for plane in region_planes(pixels, encoding, region)
        )

    def take_record(self, slot: int, other: Segment, other_slot: int) -> None:
        """Copy the undo record of another slot that holds the same picture."""
        source, target = _PAGE_WORDS * (1 + other_slot), _PAGE_WORDS * (1 + slot)
        count, used = other._words[source + _UNDO_REGIONS], other._words[source + _UNDO_BYTES]
        self._make_room(slot, count, used)
        np.copyto(self._undo(slot)[:used], other._undo(other_slot)[:used])
        for word in (_UNDO_REGIONS, _UNDO_BYTES, *range(_FIRST_REGION, _FIRST_REGION + 4 * count)):
            self._words[target + word] = other._words[source + word]

    def _regions(self, slot: int) -> list[Region]:
        first = _PAGE_WORDS * (1 + slot) + _FIRST_REGION
        flat = self._words[first : first + 4 * self.undo_regions(slot)].tolist()
        return list(zip(flat[0::4], flat[1::4], flat[2::4], flat[3::4], strict=True))

    def _undo(self, slot: int) -> NDArray[np.uint8]:
        at = self._undo_at + slot * self._area
        view: NDArray[np.uint8] = np.ndarray((self.slot_bytes,), np.uint8, self._writable, at)
        return view

    def _make_room(self, slot: int, regions: int, size: int) -> None:
        if regions > _MOST_REGIONS or size > self.slot_bytes:
            raise PoolError('this frame was changed in place too often to keep its original: copy it into a fresh slot')
        word = _PAGE_WORDS * (1 + slot)
        if size > self._words[word + _UNDO_ROOM]:
            try:
                os.posix_fallocate(self.fd, self._undo_at + slot * self._area, _whole_pages(size))
            except OSError as error:
                raise PoolError(
                    f'shared memory has no room for {size} more bytes ({error.strerror}): free some of /dev/shm'
                ) from error
            self._words[word + _UNDO_ROOM] = _whole_pages(size)

    # -- the end

    def close(self) -> None:
        """Drop all locks and let go of the file; may be called twice.

        Views that are still about keep the memory mapped until the last of them is gone.
        """
        if self.fd < 0:
            return
        # The map keeps a duplicate of the descriptor, which would keep the locks: drop them by hand.
        fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, 0, 0))
        os.close(self.fd)
        self.fd = -1
        del self._words, self._readable, self._writable


def _around(regions: list[Region]) -> Region:
    left, top = min(region[0] for region in regions), min(region[1] for region in regions)
    right = max(region[0] + region[2] for region in regions)
    bottom = max(region[1] + region[3] for region in regions)
    return left, top, right - left, bottom - top
