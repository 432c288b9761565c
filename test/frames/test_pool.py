import contextlib
import gc
import mmap
import os
import secrets
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.frames.frame import Encoding, FrameInfo, FrameRef
from facefusion_ros.frames.layout import frame_bytes, picture_shape
from facefusion_ros.frames.pool import (
    FrameBusy,
    FrameGone,
    FramePool,
    FrameReader,
    PoolExhausted,
    PoolInUse,
)
from facefusion_ros.frames.segment import PoolError


def about(sequence=0):
    return FrameInfo(stamp_ns=1000 + sequence, frame_id='camera_optical', sequence=sequence)


def write(pool, pixels, encoding=Encoding.BGR8, sequence=0):
    rows, columns = pixels.shape[:2]
    height = rows * 2 // 3 if encoding is Encoding.NV12 else rows
    with pool.writing() as slot:
        slot.picture(columns, height, encoding)[...] = pixels
        return slot.publish(about(sequence))


def noise(seed, shape=(24, 32, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def pool(name):
    with FramePool.create(name, slots=3, slot_bytes=24 * 32 * 3) as pool:
        yield pool


@pytest.fixture
def reader():
    with FrameReader() as reader:
        yield reader


def test_a_frame_is_read_where_it_was_written(pool, reader):
    ref = write(pool, noise(1), sequence=7)
    assert (ref.pool, ref.width, ref.height, ref.encoding) == (pool.name, 32, 24, Encoding.BGR8)
    assert ref.info == about(7)
    assert ref.generation % 2 == 0
    with reader.lease(ref) as lease:
        assert np.array_equal(lease.pixels, noise(1))
        assert not lease.pixels.flags.owndata
        with pytest.raises(ValueError, match='read-only'):
            lease.pixels[0, 0, 0] = 1


def test_a_published_picture_cannot_be_written_any_more(pool):
    with pool.writing() as slot:
        pixels = slot.picture(4, 4)
        slot.publish(about())
        with pytest.raises(ValueError, match='read-only'):
            pixels[...] = 1
        with pytest.raises(PoolError, match='already published'):
            slot.picture(4, 4)


def test_a_slot_left_without_publishing_holds_nothing(pool, reader):
    refs = [write(pool, noise(seed)) for seed in range(3)]
    with contextlib.suppress(ZeroDivisionError), pool.writing() as slot:
        slot.picture(32, 24)[...] = 0
        raise ZeroDivisionError
    with pytest.raises(FrameGone, match='used again'):
        reader.lease(refs[0])
    for seed in (1, 2):
        with reader.lease(refs[seed]) as lease:
            assert np.array_equal(lease.pixels, noise(seed))
    assert write(pool, noise(3)).slot == refs[0].slot, 'the slot without content is taken first'


def test_the_slot_that_rested_longest_is_taken(pool, reader):
    refs = [write(pool, noise(seed)) for seed in range(3)]
    assert len({ref.slot for ref in refs}) == 3
    with reader.revise(refs[0], [(0, 0, 1, 1)]) as revision:
        revision.publish(about())
    assert write(pool, noise(3)).slot == refs[1].slot, 'a frame that was changed in place counts as new'


def test_a_leased_slot_is_passed_over_and_all_leased_is_exhaustion(pool, reader):
    refs = [write(pool, noise(seed)) for seed in range(3)]
    with reader.lease(refs[0]) as held:
        assert write(pool, noise(3)).slot == refs[1].slot
        with reader.lease(refs[2]), pool.writing(), pytest.raises(PoolExhausted, match='more slots'):
            pool.writing()
        assert np.array_equal(held.pixels, noise(0))
    assert write(pool, noise(4)).slot in {refs[0].slot, refs[1].slot}


def test_a_writer_keeps_readers_out_until_it_publishes(pool, reader):
    refs = [write(pool, noise(seed)) for seed in range(3)]
    with pool.writing() as slot:
        with pytest.raises(FrameGone, match='being overwritten'):
            reader.lease(refs[0])
        slot.picture(32, 24)[...] = noise(9)
        ref = slot.publish(about())
        with reader.lease(ref) as lease:
            assert np.array_equal(lease.pixels, noise(9))


def test_one_reader_may_lease_a_frame_twice(pool, reader):
    ref = write(pool, noise(1))
    first, second = reader.lease(ref), reader.lease(ref)
    first.release()
    first.release()
    for seed in range(2, 8):
        write(pool, noise(seed))
    assert np.array_equal(second.pixels, noise(1))
    second.release()


@pytest.mark.parametrize(
    ('encoding', 'size'),
    [
        *((encoding, (7680, 4320)) for encoding in Encoding),
        *((encoding, (2, 2) if encoding is Encoding.NV12 else (1, 1)) for encoding in Encoding),
    ],
)
def test_the_smallest_and_the_largest_pictures(name, reader, encoding, size):
    shape = picture_shape(encoding, *size)
    with FramePool.create(name, slots=1, slot_bytes=frame_bytes(encoding, *size)) as pool:
        with pool.writing() as slot:
            pixels = slot.picture(*size, encoding)
            pixels[...] = 17
            pixels[-1, -1] = 99
            ref = slot.publish(about())
        with reader.revise(ref, [(0, 0, *size)]) as revision:
            revision.pixels[...] = 3
            ref = revision.publish(about())
        with reader.lease(ref) as lease:
            original = np.empty(shape, np.uint8)
            lease.original(original)
            assert (lease.pixels == 3).all()
        assert (original[-1, -1] == 99).all()
        assert (original[:-1] == 17).all()


def test_a_picture_larger_than_the_slots_is_refused(pool):
    with pool.writing() as slot, pytest.raises(PoolError, match='hold 2304'):
        slot.picture(33, 24)


@pytest.mark.parametrize(
    'change',
    [
        {'slot': 3},
        {'generation': 12},
        {'width': 31},
        {'encoding': Encoding.MONO8},
        {'pool': 'facefusion_ros-0-other-00000000000000ff'},
        {'pool': '../../etc/passwd'},
        {'pool': ''},
    ],
)
def test_a_reference_to_something_else_is_gone(pool, reader, change):
    ref = write(pool, noise(1))
    fields = {name: getattr(ref, name) for name in FrameRef.__slots__} | change
    for attempt in (reader.lease, lambda ref: reader.revise(ref, [])):
        with pytest.raises(FrameGone, match='drop'):
            attempt(FrameRef(**fields))
    with reader.revise(ref, []) as revision:
        revision.publish(about())


def test_a_file_that_is_no_pool_is_refused(name, reader):
    ref = FrameRef(
        f'facefusion_ros-{os.getuid()}-{name.replace("/", ".")}-{1:016x}', 0, 2, 1, 1, Encoding.BGR8, about()
    )
    path = Path('/dev/shm', ref.pool)
    for content in (b'', b'x', b'x' * 9000):
        path.write_bytes(content)
        with pytest.raises(PoolError, match='same version'):
            reader.lease(ref)
    path.unlink()


# -- changing a frame in place


def test_revising_in_place_keeps_the_original(pool, reader):
    ref = write(pool, noise(1))
    with reader.revise(ref, [(2, 3, 10, 5)]) as revision:
        revision.pixels[3:8, 2:12] = 0
        revised = revision.publish(about(1))
    assert revised.slot == ref.slot
    assert revised.generation > ref.generation
    expected = noise(1)
    expected[3:8, 2:12] = 0
    original = np.empty((24, 32, 3), np.uint8)
    with reader.lease(revised) as lease:
        assert np.array_equal(lease.pixels, expected)
        lease.original(original)
        with pytest.raises(ValueError, match='does not fit'):
            lease.original(np.empty((1, 24, 32, 3), np.uint8))
    assert np.array_equal(original, noise(1))
    with pytest.raises(FrameGone):
        reader.lease(ref)


def test_a_revision_that_fails_loses_nothing(pool, reader):
    ref = write(pool, noise(1))
    with (
        contextlib.suppress(ZeroDivisionError),
        reader.revise(ref, [(0, 0, 8, 8), (4, 4, 8, 8)]) as revision,
    ):
        revision.pixels[0:8, 0:8] = revision.pixels[4:12, 4:12] = 0
        raise ZeroDivisionError
    with pytest.raises(PoolError, match='given back'):
        revision.pixels.any()
    with reader.revise(ref, [(0, 0, 32, 24)]) as revision:
        revision.pixels[...] = 0  # and not published
    with reader.lease(ref) as lease:
        assert np.array_equal(lease.pixels, noise(1))


@pytest.mark.parametrize('region', [(-1, 0, 2, 2), (0, -1, 2, 2), (31, 0, 2, 2), (0, 23, 2, 2)])
def test_a_region_beyond_the_picture_is_refused_and_nothing_is_lost(pool, reader, region):
    ref = write(pool, noise(1))
    with pytest.raises(ValueError, match='clip them first'):
        reader.revise(ref, [region])
    with reader.lease(ref) as lease:
        assert np.array_equal(lease.pixels, noise(1))


def test_a_frame_others_read_is_busy_and_can_be_copied_with_its_record(name, pool, reader):
    ref = write(pool, noise(1))
    with reader.revise(ref, [(0, 0, 6, 6)]) as revision:
        revision.pixels[0:6, 0:6] = 1
        ref = revision.publish(about())
    with FrameReader() as another, another.lease(ref), pytest.raises(FrameBusy, match='copy it'):
        reader.revise(ref, [(0, 0, 1, 1)])
    with reader.lease(ref), pytest.raises(FrameBusy):
        reader.revise(ref, [(0, 0, 1, 1)])
    original = np.empty((24, 32, 3), np.uint8)
    with FramePool.create(f'{name}/own', slots=1, slot_bytes=24 * 32 * 3) as own:
        with reader.lease(ref) as lease, own.writing() as slot:
            pixels = lease.copy_into(slot, [(3, 3, 9, 9)])
            pixels[3:12, 3:12] = 2
            copy = slot.publish(about())
        with reader.lease(copy) as lease:
            lease.original(original)
            assert (lease.pixels[3:12, 3:12] == 2).all()
            assert (lease.pixels[0:3, 0:3] == 1).all()
    assert np.array_equal(original, noise(1))


def test_more_regions_than_the_record_lists_are_kept_as_one(pool, reader):
    ref = write(pool, noise(1))
    regions = [(x, y, 1, 1) for x in range(0, 32, 2) for y in range(0, 24, 2)]
    with reader.revise(ref, regions) as revision:
        for x, y, _, _ in regions:
            revision.pixels[y, x] = 0
        ref = revision.publish(about())
    with reader.lease(ref) as lease:
        original = np.empty_like(lease.pixels)
        lease.original(original)
        assert (lease.pixels[::2, ::2] == 0).all()
    assert np.array_equal(original, noise(1))


def test_a_record_that_is_full_says_so_and_nothing_is_lost(pool, reader):
    ref = write(pool, noise(1))
    with reader.revise(ref, [(0, 0, 32, 24)]) as revision:
        revision.pixels[...] = 5
        ref = revision.publish(about())
    with pytest.raises(PoolError, match='too often'):
        reader.revise(ref, [(0, 0, 1, 1)])
    with reader.lease(ref) as lease:
        assert (lease.pixels == 5).all()


@st.composite
def revisions(draw):
    """An encoding, a size, and a few rounds of regions within it."""
    encoding = draw(st.sampled_from(list(Encoding)))
    width, height = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    if encoding is Encoding.NV12:
        width, height = width * 2, height * 2

    def region():
        x, y = draw(st.integers(0, width)), draw(st.integers(0, height))
        return x, y, draw(st.integers(0, width - x)), draw(st.integers(0, height - y))

    rounds = [[region() for _ in range(draw(st.integers(0, 5)))] for _ in range(draw(st.integers(1, 4)))]
    return encoding, width, height, rounds


@settings(deadline=None, max_examples=150)
@given(revisions(), st.integers(0, 2**31))
def test_the_original_survives_any_revisions(case, seed):
    encoding, width, height, rounds = case
    shape = picture_shape(encoding, width, height)
    random = np.random.default_rng(seed)
    first = random.integers(0, 256, shape, np.uint8)
    current = first
    original = np.empty(shape, np.uint8)
    size = 4 * frame_bytes(encoding, width, height) + 64  # room for every round
    token = secrets.token_hex(6)
    with FrameReader() as reader, FramePool.create(f'test/{token}', slots=2, slot_bytes=size) as pool:
        ref = write(pool, first, encoding)
        for number, regions in enumerate(rounds):
            inside = np.zeros((height, width), bool)
            for x, y, w, h in regions:
                inside[y : y + h, x : x + w] = True
            changed = random.integers(0, 256, shape, np.uint8)
            if encoding is Encoding.NV12:
                inside = inside.reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3))
                inside = np.concatenate([inside.repeat(2, 0).repeat(2, 1), inside.repeat(2, 1)])
            changed[~inside] = current[~inside]
            with reader.revise(ref, regions) as revision:
                revision.pixels[...] = changed
                if number % 2 == 0:
                    ref = revision.publish(about())
                    current = changed
            with reader.lease(ref) as lease:
                assert np.array_equal(lease.pixels, current)
                lease.original(original)
            assert np.array_equal(original, first)
        with reader.lease(ref) as lease, pool.writing() as slot:
            lease.copy_into(slot)
            copy = slot.publish(about())
        with reader.lease(copy) as lease:
            assert np.array_equal(lease.pixels, current)
            lease.original(original)
        assert np.array_equal(original, first)


# -- making and ending pools


@pytest.mark.usefixtures('pool')
def test_a_second_pool_of_the_same_name_is_refused(name):
    with pytest.raises(PoolInUse, match=f'already runs under the name {name}.*another namespace'):
        FramePool.create(name, slots=1, slot_bytes=16)
    with FramePool.create(f'{name}/second', slots=1, slot_bytes=16):
        pass


def test_after_close_the_name_is_free_and_the_file_gone(name, pool_files):
    with FramePool.create(name, slots=1, slot_bytes=16) as first:
        assert [path.name for path in pool_files(name)] == [first.name]
        assert pool_files(name)[0].stat().st_mode & 0o777 == 0o600
    assert not pool_files(name)
    first.close()
    with FramePool.create(name, slots=1, slot_bytes=16) as second:
        assert second.name > first.name


def test_of_pools_made_at_once_exactly_one_lives(name):
    made, refused = [], []
    together = threading.Barrier(6)

    def create():
        together.wait()
        try:
            made.append(FramePool.create(name, slots=1, slot_bytes=16))
        except PoolInUse:
            refused.append(1)

    for number in range(20):
        threads = [threading.Thread(target=create) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(made), len(refused)) == (1, 5), f'round {number}'
        made.pop().close()
        refused.clear()


def test_a_pool_that_does_not_fit_says_what_it_needs(name, pool_files):
    with pytest.raises(PoolError, match=r'need 8388609 MiB of shared memory.*--shm-size'):
        FramePool.create(name, slots=8, slot_bytes=2**40)
    assert not pool_files(name)


@pytest.mark.parametrize('bad', ['ä', 'a b', 'x' * 300, '', '..\n'])
def test_a_name_that_is_no_file_name_is_refused(bad):
    with pytest.raises(PoolError, match='cannot name a frame pool'):
        FramePool.create(bad, slots=1, slot_bytes=16)


@pytest.mark.parametrize(('slots', 'slot_bytes'), [(0, 16), (1, 0)])
def test_a_pool_without_room_is_refused(name, slots, slot_bytes):
    with pytest.raises(PoolError, match='needs slots with room'):
        FramePool.create(name, slots=slots, slot_bytes=slot_bytes)


def test_undo_takes_memory_only_for_what_was_changed(name, reader, pool_files):
    size = 1000 * 1000 * 3
    with FramePool.create(name, slots=2, slot_bytes=size) as pool:

        def taken():
            return pool_files(name)[0].stat().st_blocks * 512

        before = taken()
        assert 2 * size <= before <= 2 * size + 8 * mmap.PAGESIZE
        ref = write(pool, noise(1, (1000, 1000, 3)))
        for _ in range(3):
            with reader.revise(ref, [(100, 100, 50, 40)]) as revision:
                revision.pixels[100:140, 100:150] = 0
        assert before < taken() <= before + 50 * 40 * 3 + mmap.PAGESIZE


def test_closing_under_a_view_keeps_the_view(name):
    pool, reader = FramePool.create(name, slots=1, slot_bytes=24 * 32 * 3), FrameReader()
    lease = reader.lease(write(pool, noise(1)))
    pool.close()
    reader.close()
    reader.close()
    assert np.array_equal(lease.pixels, noise(1))
    lease.release()
    with pytest.raises(PoolError, match='closed'):
        pool.writing()
    with pytest.raises(PoolError, match='released'):
        lease._leased()


def test_closing_in_the_middle_of_writing_and_revising(name):
    pool, reader = FramePool.create(name, slots=2, slot_bytes=24 * 32 * 3), FrameReader()
    ref = write(pool, noise(1))
    with reader.revise(ref, [(0, 0, 1, 1)]) as revision, pool.writing() as slot:
        slot.picture(4, 4)
        reader.close()
        pool.close()
        for late in (revision, slot):
            with pytest.raises(PoolError, match='closed'):
                late.publish(about())


def test_readers_and_pools_that_come_and_go_leave_nothing(name):
    def once():
        with FramePool.create(name, slots=2, slot_bytes=64) as pool, FrameReader() as reader:
            ref = write(pool, noise(1, (2, 2, 3)))
            reader.lease(ref)
            reader.lease(ref).release()
            with FrameReader() as another, another.lease(ref):
                pass

    def held():
        gc.collect()
        return len(list(Path('/proc/self/fd').iterdir())), Path('/proc/self/maps').read_text().count('/dev/shm/')

    once()
    before = held()
    for _ in range(50):
        once()
    assert held() == before


def test_a_reader_lets_go_of_a_pool_that_was_replaced(name):
    def maps():
        # Of readers only: the owner's map is shown under the number of a file that had no name yet.
        return Path('/proc/self/maps').read_text().count(f'.{name.rpartition("/")[2]}-')

    with FrameReader() as reader:
        refs = []
        for _ in range(3):
            with FramePool.create(name, slots=1, slot_bytes=64) as pool:
                refs.append(write(pool, noise(1, (2, 2, 3))))
                with reader.lease(refs[-1]):
                    pass
        assert maps() == 1
        with pytest.raises(FrameGone, match='replaced by a newer'):
            reader.lease(refs[0])
        held = reader.lease(refs[-1])
        with FramePool.create(name, slots=1, slot_bytes=64) as pool:
            ref = write(pool, noise(2, (2, 2, 3)))
            with reader.lease(ref):
                assert np.array_equal(held.pixels, noise(1, (2, 2, 3)))
            held.release()
            with reader.lease(ref):
                pass
            assert maps() == 1
    assert maps() == 0


class Follower:
    """Keeps where a reader has frames."""

    def __init__(self):
        self.open = {}

    def attached(self, pool, pixels):
        assert pixels.ctypes.data not in self.open
        self.open[pixels.ctypes.data] = pool, pixels

    def letting_go(self, pixels):
        _, known = self.open.pop(pixels.ctypes.data)
        assert known.shape == pixels.shape
        # Still there to be read.
        assert known.max() == pixels.max()


class TestFollowers:
    def test_are_told_once_of_all_the_memory_that_frames_are_in(self, pool):
        follower = Follower()
        with FrameReader([follower]) as reader:
            refs = [write(pool, noise(seed), sequence=seed) for seed in range(3)]
            for ref in refs:
                with reader.lease(ref) as lease:
                    ((name, memory),) = follower.open.values()
                    assert name == pool.name
                    offset = lease.pixels.ctypes.data - memory.ctypes.data
                    np.testing.assert_array_equal(memory[offset : offset + lease.pixels.size], lease.pixels.ravel())
            assert memory.ctypes.data % mmap.PAGESIZE == memory.size % mmap.PAGESIZE == 0
            assert not memory.flags.writeable
        assert not follower.open

    def test_undo_areas_take_no_memory_by_it(self, pool, pool_files, name):
        follower = Follower()
        with FrameReader([follower]) as reader, reader.lease(write(pool, noise(0))):
            ((_, memory),) = follower.open.values()
            (file,) = pool_files(name)
            before = file.stat().st_blocks
            assert memory.sum() > 0  # every page of it is looked at
            assert file.stat().st_blocks == before

    def test_are_told_when_a_newer_pool_takes_its_place(self, name):
        follower = Follower()
        with FrameReader([follower]) as reader:
            for _ in range(3):
                with FramePool.create(name, slots=1, slot_bytes=24 * 32 * 3) as pool:
                    with reader.lease(write(pool, noise(1))):
                        assert [each for each, _ in follower.open.values()][-1] == pool.name
                    assert len(follower.open) <= 2
            reader.close()
            assert not follower.open
