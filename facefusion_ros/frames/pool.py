"""Frames in shared memory: written once, read without a copy, by any process of this user on this machine.

A pool has a fixed number of slots. Its owner (a camera) writes each frame into the slot that has rested longest and
that nobody reads, and passes a FrameRef on. A reader leases the slot for as long as it looks at it; nobody can change a
leased slot. Each content of a slot has its own generation, so a reader that comes too late is told that the frame is
gone and can never see another one in its place. A stage that changes little of a frame changes it in place and keeps
what was there, so that the original can be had again.

A process that dies at any point leaves slots that are free or hold whole frames, and the next pool that is made removes
the files of the dead. All handles here are for one thread at a time; threads and processes each open their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from facefusion_ros.frames.frame import Encoding, FrameInfo, FrameRef
from facefusion_ros.frames.layout import frame_bytes, picture_shape
from facefusion_ros.frames.segment import PoolError, Segment, lay_out, lock_owner, owner_lives, pool_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from facefusion_ros.frames.segment import Region

_SHARED_MEMORY: Final = '/dev/shm'  # noqa: S108 - not for temporary files: this is where Linux keeps shared memory
_PREFIX: Final = 'facefusion_ros'
_FILE_NAME: Final = re.compile(rf'{_PREFIX}-\d+-[\w.~-]+-[0-9a-f]{{16}}', re.ASCII)
_TURN_S: Final = 10.0


class PoolInUse(PoolError):
    """A living pool has this name."""


class PoolExhausted(PoolError):
    """Every slot is being read or written: drop the frame."""


class FrameGone(PoolError):
    """The slot no longer holds the promised frame."""


class FrameBusy(PoolError):
    """Somebody else reads the frame, so it cannot be changed in place: copy it into a slot of another pool."""


class FramePool:
    """The owner's side of a pool; see the module."""

    def __init__(self, segment: Segment, name: str) -> None:
        self._segment = segment
        self.name: Final = name
        """File name in /dev/shm, unique to this pool; ``FrameRef.pool``."""

    @classmethod
    def create(cls, name: str, *, slots: int, slot_bytes: int) -> Self:
        """Make a pool whose slots hold pictures of up to slot_bytes bytes each.

        ``name`` says whose pool it is: ROS domain, namespace and node, such as ``42/head/camera``. Removes the files of
        pools whose owner has died. Raises PoolInUse where a living pool has the name, PoolError where /dev/shm has
        no room or the name cannot be used.
        """
        stem = f'{_PREFIX}-{os.getuid()}-{name.replace("/", ".")}'
        born_ns = time.monotonic_ns()
        file = f'{stem}-{born_ns:016x}'
        if len(file) > 255 or not _FILE_NAME.fullmatch(file):
            raise PoolError(f'{name!r} cannot name a frame pool: use letters, digits, _ and /, at most 200 of them')
        if slots < 1 or slot_bytes < 1:
            raise PoolError(f'a frame pool needs slots with room, not {slots} slots of {slot_bytes} bytes')
        directory = os.open(_SHARED_MEMORY, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _refuse_second(stem, name)  # first of all: it may make the room that is needed below
            fd = _nameless_file(slots, slot_bytes, born_ns)
            try:
                # The file gets its name when it is complete and owned: nobody ever sees one that is neither.
                with _turn(directory):
                    _refuse_second(stem, name)
                    os.link(f'/proc/self/fd/{fd}', file, src_dir_fd=directory, dst_dir_fd=directory)
                segment = Segment(fd)
            except BaseException:
                os.close(fd)
                raise
        finally:
            os.close(directory)
        return cls(segment, file)

    @property
    def slots(self) -> int:
        """How many frames the pool holds."""
        return self._segment.slots

    @property
    def slot_bytes(self) -> int:
        """Bytes of the largest picture a slot holds."""
        return self._segment.slot_bytes

    def writing(self) -> WritableSlot:
        """Take the slot that was written or changed least recently of those that nobody reads.

        For a ``with`` statement. Raises PoolExhausted where there is none: the caller drops its frame and counts it.
        """
        segment = self._segment
        segment.check_open()
        age = [0 if generation % 2 else generation for generation in map(segment.generation, range(segment.slots))]
        for slot in sorted(range(segment.slots), key=age.__getitem__):
            if segment.seize(slot):
                segment.set_generation(slot, segment.generation(slot) | 1)
                return WritableSlot(segment, self.name, slot)
        raise PoolExhausted(
            f'all {segment.slots} slots of frame pool {self.name} are being read: this frame is dropped; '
            'where that goes on, give the pool more slots'
        )

    def close(self) -> None:
        """Remove the file and let go of the memory; readers keep what they have leased. May be called twice."""
        with contextlib.suppress(FileNotFoundError):
            Path(_SHARED_MEMORY, self.name).unlink()
        self._segment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class WritableSlot:
    """A slot that is the writer's alone until it is published or left."""

    __slots__ = ('_content', '_mine', '_pixels', '_pool', 'segment', 'slot')

    def __init__(self, segment: Segment, pool: str, slot: int) -> None:
        self.segment = segment
        self.slot = slot
        self._pool = pool
        self._mine = True
        self._pixels: NDArray[np.uint8] | None = None
        self._content: tuple[int, int, Encoding] = (0, 0, Encoding.BGR8)

    def picture(self, width: int, height: int, encoding: Encoding = Encoding.BGR8) -> NDArray[np.uint8]:
        """Where the pixels go: a writable view, uint8, shaped by layout.picture_shape, with undefined content.

        Raises LayoutError for an impossible size, PoolError for a picture that is too large for the slot.
        """
        if not self._mine:
            raise PoolError('this slot was already published or left')
        self.segment.check_open()
        needed = frame_bytes(encoding, width, height)
        if needed > self.segment.slot_bytes:
            raise PoolError(
                f'a picture of {width} x {height} in {encoding.value} takes {needed} bytes, the slots of pool '
                f'{self._pool} hold {self.segment.slot_bytes}: make the pool anew for this size'
            )
        self._content = (width, height, encoding)
        self.segment.set_content(self.slot, width, height, encoding)
        self._pixels = self.segment.pixels(self.slot, picture_shape(encoding, width, height), writable=True)
        return self._pixels

    def publish(self, info: FrameInfo) -> FrameRef:
        """Make the picture a frame; it must not be written any more. Readers may lease it at once."""
        if self._pixels is None:
            raise PoolError("nothing to publish: take the slot's picture and fill it first")
        self._pixels.flags.writeable = False
        self._pixels = None
        self._mine = False
        return _publish(self.segment, self._pool, self.slot, self._content, info)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pixels = None
        if self._mine:
            self._mine = False
            self.segment.release(self.slot)


class Follower(Protocol):
    """Is told where a FrameReader has frames in memory, such as to map them into a GPU."""

    def attached(self, pool: str, pixels: NDArray[np.uint8]) -> None:
        """Take note of the pixels of all slots of a pool that was opened, read-only (n,), whole pages of memory."""

    def letting_go(self, pixels: NDArray[np.uint8]) -> None:
        """Forget them: the pool is closed. The same memory as before; what is leased of it may still be used."""


class FrameReader:
    """Leases frames of any pool of this user that a FrameRef names. Open one per thread, keep it, close it."""

    def __init__(self, followers: Iterable[Follower] = ()) -> None:
        """``followers`` are told of every pool before its first frame is leased."""
        self._followers = tuple(followers)
        self._segments: dict[str, Segment] = {}
        self._newest: dict[str, str] = {}

    def lease(self, ref: FrameRef) -> Lease:
        """Keep the frame from changing while it is looked at; for a ``with`` statement.

        Raises FrameGone where the slot holds another frame by now, or none.
        """
        segment = self._segment(ref)
        if not segment.share(ref.slot):
            raise FrameGone(f'frame {ref.info.sequence} is being overwritten: drop it')
        try:
            return Lease(segment, ref)
        except BaseException:
            segment.release(ref.slot)
            raise

    def revise(self, ref: FrameRef, regions: Iterable[Region]) -> Revision:
        """Change a frame in place, within the regions only; for a ``with`` statement.

        ``regions`` are (left, top, width, height) in pixels, within the picture; NV12 regions widen to even pixels.
        Raises FrameBusy where others read the frame, FrameGone where it is no longer there, ValueError for a region
        beyond the picture. The frame becomes a new generation, for which the old references no longer hold. It stays
        as it was where the block raises or ends without ``publish``.
        """
        segment = self._segment(ref)
        if not segment.seize(ref.slot):
            raise FrameBusy(f'frame {ref.info.sequence} is being read by others: copy it instead of changing it')
        try:
            return Revision(segment, ref, regions)
        except BaseException:
            segment.release(ref.slot)
            raise

    def _segment(self, ref: FrameRef) -> Segment:
        if len(self._segments) > len(self._newest):
            self._drop_old()
        segment = self._segments.get(ref.pool)
        if segment is None:
            segment = self._attach(ref.pool)
        if not 0 <= ref.slot < segment.slots:
            raise FrameGone(f'pool {ref.pool} has no slot {ref.slot}: drop the frame')
        return segment

    def _attach(self, pool: str) -> Segment:
        # The name comes in a message: nothing but a file of a pool may be opened by it.
        if not _FILE_NAME.fullmatch(pool):
            raise FrameGone(f'{pool!r} is not the name of a frame pool: drop the frame')
        stem = pool.rpartition('-')[0]
        if pool <= self._newest.get(stem, ''):
            raise FrameGone(f'pool {pool} has been replaced by a newer one: drop the frame')
        try:
            fd = os.open(f'{_SHARED_MEMORY}/{pool}', os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise FrameGone(f'pool {pool} is gone, its owner has ended: drop the frame') from None
        except OSError as error:
            raise PoolError(
                f'cannot open frame pool {pool} ({error.strerror}): run all stages of a pipeline as the same user'
            ) from error
        try:
            segment = Segment(fd)
        except BaseException:
            os.close(fd)
            raise
        self._segments[pool] = segment
        self._newest[stem] = pool
        for follower in self._followers:
            follower.attached(pool, segment.all_pixels())
        self._drop_old()
        return segment

    def _drop_old(self) -> None:
        """Let go of pools that a newer one of the same name replaced, but for those that are still leased."""
        newest = set(self._newest.values())
        for name in [name for name, old in self._segments.items() if name not in newest and not any(old.held)]:
            self._let_go(self._segments.pop(name))

    def _let_go(self, segment: Segment) -> None:
        for follower in self._followers:
            follower.letting_go(segment.all_pixels())
        segment.close()

    def close(self) -> None:
        """Drop every lease and let go of all pools; may be called twice."""
        for segment in self._segments.values():
            self._let_go(segment)
        self._segments.clear()
        self._newest.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Lease:
    """A frame that nobody changes until it is released. Made by FrameReader.lease."""

    __slots__ = ('_segment', 'pixels', 'ref')

    def __init__(self, segment: Segment, ref: FrameRef) -> None:
        shape = _promised(segment, ref)
        self.ref = ref
        self._segment: Segment | None = segment
        self.pixels = segment.pixels(ref.slot, shape)
        """Read-only view of the slot, uint8, shaped by layout.picture_shape; not to be used after ``release``."""

    def original(self, out: NDArray[np.uint8]) -> None:
        """Write the frame as it was before any stage changed it in place to out, of the shape of ``pixels``."""
        if out.shape != self.pixels.shape:
            raise ValueError(f'the original of shape {self.pixels.shape} does not fit an array of shape {out.shape}')
        np.copyto(out, self.pixels)
        self._leased().put_back(self.ref.slot, out)

    def copy_into(self, target: WritableSlot, regions: Iterable[Region] = ()) -> NDArray[np.uint8]:
        """Copy the frame and its undo record into a slot; returns the writable view, to be changed in the regions only.

        The way out of FrameBusy: ``original`` of what is published there is the same as here.
        """
        ref = self.ref
        pixels = target.picture(ref.width, ref.height, ref.encoding)
        np.copyto(pixels, self.pixels)
        target.segment.take_record(target.slot, self._leased(), ref.slot)
        target.segment.record(target.slot, regions)
        return pixels

    def _leased(self) -> Segment:
        if self._segment is None:
            raise PoolError('this lease was released')
        return self._segment

    def release(self) -> None:
        """Give the slot back; may be called twice."""
        segment, self._segment = self._segment, None
        if segment is not None:
            del self.pixels
            segment.release(self.ref.slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class Revision:
    """A frame that is being changed in place. Made by FrameReader.revise."""

    __slots__ = ('_before', '_kept', '_pixels', '_ref', '_segment')

    def __init__(self, segment: Segment, ref: FrameRef, regions: Iterable[Region]) -> None:
        shape = _promised(segment, ref)
        slot = ref.slot
        self._segment = segment
        self._ref = ref
        self._kept = segment.undo_regions(slot)
        segment.set_generation(slot, ref.generation + 1)
        try:
            segment.record(slot, regions)
        except BaseException:
            segment.set_generation(slot, ref.generation)
            raise
        self._pixels: NDArray[np.uint8] | None = segment.pixels(slot, shape, writable=True)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Writable view of the frame, uint8, shaped by layout.picture_shape; only the regions may be changed."""
        if self._pixels is None:
            raise PoolError('this frame was already published or given back')
        return self._pixels

    def publish(self, info: FrameInfo) -> FrameRef:
        """Make the changed picture the slot's frame. Readers may lease it at once."""
        self.pixels.flags.writeable = False
        self._pixels = None
        ref = self._ref
        return _publish(self._segment, ref.pool, ref.slot, (ref.width, ref.height, ref.encoding), info)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pixels, self._pixels = self._pixels, None
        segment, slot = self._segment, self._ref.slot
        if pixels is None or segment.fd < 0:
            return
        pixels.flags.writeable = False
        segment.put_back(slot, segment.pixels(slot, pixels.shape, writable=True), since=self._kept)
        segment.forget(slot, since=self._kept)
        segment.set_generation(slot, self._ref.generation)
        segment.release(slot)


def _promised(segment: Segment, ref: FrameRef) -> tuple[int, ...]:
    """Shape of the frame, where the locked slot holds the very frame that ref promises; raises FrameGone."""
    generation = segment.generation(ref.slot)
    if generation % 2 or generation != ref.generation:
        raise FrameGone(f'frame {ref.info.sequence} is gone, its slot was used again: drop it')
    if segment.content(ref.slot) != (ref.width, ref.height, ref.encoding):
        raise FrameGone(f'frame {ref.info.sequence} is not what its reference says: drop it')
    return picture_shape(ref.encoding, ref.width, ref.height)


def _publish(segment: Segment, pool: str, slot: int, content: tuple[int, int, Encoding], info: FrameInfo) -> FrameRef:
    segment.check_open()
    # The time makes generations comparable between slots: the lowest has rested longest.
    generation = max(segment.generation(slot) + 1, time.monotonic_ns() & ~1)
    segment.set_generation(slot, generation)
    segment.release(slot)
    width, height, encoding = content
    return FrameRef(pool, slot, generation, width, height, encoding, info)


def _nameless_file(slots: int, slot_bytes: int, born_ns: int) -> int:
    """Make a complete pool file without a name; it is gone should this process die. Returns its locked descriptor."""
    room = os.statvfs(_SHARED_MEMORY)
    free = room.f_bavail * room.f_frsize
    if pool_bytes(slots, slot_bytes)[0] > free:
        raise _no_room(slots, slot_bytes, free)
    fd = os.open(_SHARED_MEMORY, os.O_RDWR | os.O_TMPFILE, 0o600)
    try:
        lock_owner(fd)
        lay_out(fd, slots, slot_bytes, born_ns | 1)
    except OSError as error:  # another program took the room in the meantime
        os.close(fd)
        raise _no_room(slots, slot_bytes, free) from error
    return fd


def _no_room(slots: int, slot_bytes: int, free: int) -> PoolError:
    needed_mib = -(-pool_bytes(slots, slot_bytes)[0] // 2**20)
    return PoolError(
        f'{slots} frames of {slot_bytes} bytes need {needed_mib} MiB of shared memory, {_SHARED_MEMORY} has '
        f'{free // 2**20} MiB free: take fewer or smaller frames, or start a container with '
        f'--shm-size={2 * needed_mib}m'
    )


@contextlib.contextmanager
def _turn(directory: int) -> Iterator[None]:
    """One creation at a time on this machine; held for microseconds."""
    end_s = time.monotonic() + _TURN_S
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end_s:
                raise PoolError(
                    f'another program keeps {_SHARED_MEMORY} locked: find it with `lslocks` and end it'
                ) from None
            time.sleep(0.002)
    try:
        yield
    finally:
        fcntl.flock(directory, fcntl.LOCK_UN)


def _refuse_second(stem: str, name: str) -> None:
    """Remove this user's pool files whose owner has died; raises PoolInUse where a living one has this stem."""
    mine = f'{_PREFIX}-{os.getuid()}-'
    for path in Path(_SHARED_MEMORY).iterdir():
        if not path.name.startswith(mine):
            continue
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # removed by another, or not a file of ours
        try:
            if not owner_lives(fd):
                # A file is owned before it has a name and its name is never used again: this cannot hit another pool.
                path.unlink(missing_ok=True)
            elif path.name.rpartition('-')[0] == stem:
                raise PoolInUse(
                    f'another pipeline already runs under the name {name}: end it, or choose another namespace '
                    'or ROS_DOMAIN_ID'
                )
        finally:
            os.close(fd)
