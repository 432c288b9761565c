"""The pool among processes, some of which are killed."""

import base64
import pickle

import numpy as np
import pytest

from facefusion_ros.frames.frame import FrameInfo
from facefusion_ros.frames.pool import FrameBusy, FrameGone, FramePool, FrameReader, PoolExhausted, PoolInUse

PREAMBLE = """
import base64, pickle, sys
import numpy as np
from facefusion_ros.frames.frame import FrameInfo
from facefusion_ros.frames.pool import *

def say(thing): print(base64.b64encode(pickle.dumps(thing)).decode(), flush=True)
def hear(): return pickle.loads(base64.b64decode(input()))
info = FrameInfo(1, 'camera', 0)
"""
OWNER = """
pool = FramePool.create(sys.argv[1], slots=2, slot_bytes=300)
with pool.writing() as slot:
    slot.picture(10, 10)[...] = 42
    say(slot.publish(info))
"""
WRITING = """
slot = pool.writing()
slot.picture(10, 10)[...] = 13
say('writing')
"""
WAIT = """
sys.stdin.read()
"""
READING = """
reader = FrameReader()
lease = reader.lease(hear())
say(int(lease.pixels[0, 0, 0]))
"""
REVISING = """
reader = FrameReader()
revision = reader.revise(hear(), [(0, 0, 5, 5)])
revision.pixels[:5, :5] = 0
say('revising')
"""


def told(process):
    return pickle.loads(base64.b64decode(process.line()))  # noqa: S301 - from a process of this very test


def tell(process, thing):
    process.say(base64.b64encode(pickle.dumps(thing)).decode())


def write(pool, value):
    with pool.writing() as slot:
        slot.picture(10, 10)[...] = value
        return slot.publish(FrameInfo(1, 'camera', 0))


def test_a_frame_crosses_processes_both_ways(name, other):
    owner = other(PREAMBLE + OWNER + READING + WAIT, f'{name}/theirs')
    theirs = told(owner)
    with FramePool.create(name, slots=1, slot_bytes=300) as pool, FrameReader() as reader:
        with reader.lease(theirs) as lease:
            assert (lease.pixels == 42).all()
        tell(owner, write(pool, 7))
        assert told(owner) == 7
        with pytest.raises(PoolExhausted):
            pool.writing()
    assert owner.end() == 0


def test_a_killed_owner_is_swept_by_the_next_and_its_readers_go_on(name, other, pool_files):
    owner = other(PREAMBLE + OWNER + WAIT, name)
    ref = told(owner)
    with FrameReader() as reader:
        lease = reader.lease(ref)
        with pytest.raises(PoolInUse):
            FramePool.create(name, slots=1, slot_bytes=300)
        owner.kill()
        assert [path.name for path in pool_files(name)] == [ref.pool]
        with FramePool.create(f'{name}/another', slots=1, slot_bytes=300):
            assert not pool_files(name), 'any new pool removes the files of the dead'
        assert (lease.pixels == 42).all()
        with FramePool.create(name, slots=1, slot_bytes=300) as pool:
            with reader.lease(write(pool, 8)) as newer:
                assert (newer.pixels == 8).all()
            lease.release()
            with pytest.raises(FrameGone):
                reader.lease(ref)


def test_a_writer_killed_in_the_middle_leaves_no_content(name, other):
    owner = other(PREAMBLE + OWNER + WRITING + WRITING + WAIT, name)
    ref = told(owner)
    assert told(owner) == 'writing'
    assert told(owner) == 'writing'
    with FrameReader() as reader:
        with pytest.raises(FrameGone, match='being overwritten'):
            reader.lease(ref)
        owner.kill()
        with pytest.raises(FrameGone, match='used again'):
            reader.lease(ref)
    with FramePool.create(name, slots=1, slot_bytes=300):
        pass  # which sweeps


def test_a_killed_reader_gives_its_slot_back(name, other):
    with FramePool.create(name, slots=1, slot_bytes=300) as pool:
        ref = write(pool, 5)
        process = other(PREAMBLE + READING + WAIT)
        tell(process, ref)
        assert told(process) == 5
        with pytest.raises(PoolExhausted):
            pool.writing()
        with FrameReader() as reader, pytest.raises(FrameBusy):
            reader.revise(ref, [])
        process.kill()
        assert write(pool, 6).slot == ref.slot


def test_a_reviser_killed_in_the_middle_leaves_a_slot_without_content(name, other):
    with FramePool.create(name, slots=1, slot_bytes=300) as pool, FrameReader() as reader:
        ref = write(pool, 5)
        process = other(PREAMBLE + REVISING + WAIT)
        tell(process, ref)
        assert told(process) == 'revising'
        with pytest.raises(PoolExhausted):
            pool.writing()
        process.kill()
        with pytest.raises(FrameGone, match='used again'):
            reader.lease(ref)
        with reader.lease(write(pool, 6)) as lease:
            original = np.zeros_like(lease.pixels)
            lease.original(original)
            assert (original == 6).all()


CREATING = """
hear()
try:
    pool = FramePool.create(sys.argv[1], slots=2, slot_bytes=300)
    say('made')
except PoolInUse:
    say('refused')
"""


def test_of_processes_that_start_at_once_exactly_one_gets_the_name(name, other):
    processes = [other(PREAMBLE + CREATING + WAIT, name) for _ in range(4)]
    for process in processes:
        tell(process, 'go')
    assert sorted(told(process) for process in processes) == ['made', 'refused', 'refused', 'refused']
    for process in processes:
        process.kill()
    with FramePool.create(name, slots=1, slot_bytes=300):
        pass  # which sweeps


HAMMER = """
reader = FrameReader()
seen = gone = 0
while True:
    ref = hear()
    if ref is None:
        break
    try:
        with reader.lease(ref) as lease:
            assert (lease.pixels == ref.info.sequence % 256).all(), 'a torn or strange frame'
            seen += 1
    except FrameGone:
        gone += 1
say((seen, gone))
"""


def test_readers_never_see_another_frame_than_the_promised(name, other):
    readers = [other(PREAMBLE + HAMMER) for _ in range(2)]
    dropped = 0
    with FramePool.create(name, slots=3, slot_bytes=64 * 64 * 3) as pool:
        for sequence in range(2000):
            try:
                with pool.writing() as slot:
                    slot.picture(64, 64)[...] = sequence % 256
                    ref = slot.publish(FrameInfo(1, 'camera', sequence))
            except PoolExhausted:
                dropped += 1
                continue
            for reader in readers:
                tell(reader, ref)
        for reader in readers:
            tell(reader, None)
            seen, gone = told(reader)
            assert seen + gone == 2000 - dropped
            assert seen > 0
