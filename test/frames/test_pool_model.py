"""The pool against a model that keeps whole copies of everything."""

import secrets

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from facefusion_ros.frames.frame import Encoding, FrameInfo
from facefusion_ros.frames.pool import FrameBusy, FrameGone, FramePool, FrameReader, PoolExhausted

SLOTS = 3
WIDTH, HEIGHT = 6, 4
SHAPE = (HEIGHT, WIDTH, 3)
REGIONS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(1, 2), st.integers(1, 2)), min_size=1, max_size=3
)


class PoolAgainstModel(RuleBasedStateMachine):
    refs = Bundle('refs')

    def __init__(self):
        super().__init__()
        self.content = {}  # generation -> (slot, picture, original), while it is in its slot
        self.ever = {}  # every generation ever promised -> picture
        self.rest = []  # slots, longest rested first, those without content before all
        self.leases = []
        self.random = np.random.default_rng(0)
        self.sequence = 0

    @initialize()
    def start(self):
        # Room for every change in place of a long run.
        self.pool = FramePool.create(f'test/{secrets.token_hex(6)}', slots=SLOTS, slot_bytes=100_000)
        self.readers = [FrameReader() for _ in range(2)]
        self.rest = list(range(SLOTS))

    def teardown(self):
        for reader in self.readers:
            reader.close()
        self.pool.close()

    def picture(self):
        return self.random.integers(0, 256, SHAPE, np.uint8)

    def info(self):
        self.sequence += 1
        return FrameInfo(stamp_ns=self.sequence, frame_id='camera', sequence=self.sequence)

    def leased(self):
        return {ref.slot for _, ref, _ in self.leases}

    def holds(self, ref):
        return ref.generation in self.content

    def drop(self, slot):
        self.content = {g: held for g, held in self.content.items() if held[0] != slot}

    def promise(self, ref, picture, original):
        assert ref.generation not in self.ever, 'a generation was promised twice'
        assert ref.generation % 2 == 0
        self.ever[ref.generation] = picture
        self.drop(ref.slot)
        self.content[ref.generation] = (ref.slot, picture, original)
        self.rest.remove(ref.slot)
        self.rest.append(ref.slot)

    @rule(target=refs, publish=st.booleans())
    def write(self, publish):
        free = [slot for slot in self.rest if slot not in self.leased()]
        if not free:
            with pytest.raises(PoolExhausted):
                self.pool.writing()
            return multiple()
        picture = self.picture()
        with self.pool.writing() as slot:
            slot.picture(WIDTH, HEIGHT, Encoding.BGR8)[...] = picture
            empty = set(range(SLOTS)) - {held[0] for held in self.content.values()}
            assert slot.slot in ((empty & set(free)) or {free[0]})
            if publish:
                ref = slot.publish(self.info())
                self.promise(ref, picture, picture)
                return ref
            self.drop(slot.slot)
        return multiple()

    @rule(ref=refs, who=st.integers(0, 1))
    def lease(self, ref, who):
        if self.holds(ref):
            self.leases.append((self.readers[who].lease(ref), ref, who))
        else:
            with pytest.raises(FrameGone):
                self.readers[who].lease(ref)

    @rule(number=st.integers(0, 20))
    def release(self, number):
        if self.leases:
            self.leases.pop(number % len(self.leases))[0].release()

    @rule(target=refs, ref=refs, who=st.integers(0, 1), regions=REGIONS, publish=st.booleans())
    def revise(self, ref, who, regions, publish):
        if ref.slot in self.leased():
            with pytest.raises(FrameBusy):
                self.readers[who].revise(ref, regions)
            return multiple()
        if not self.holds(ref):
            with pytest.raises(FrameGone):
                self.readers[who].revise(ref, regions)
            return multiple()
        _, picture, original = self.content[ref.generation]
        changed = picture.copy()
        with self.readers[who].revise(ref, regions) as revision:
            for x, y, w, h in regions:
                changed[y : y + h, x : x + w] = self.picture()[y : y + h, x : x + w]
                revision.pixels[y : y + h, x : x + w] = changed[y : y + h, x : x + w]
            with pytest.raises(FrameGone):
                self.readers[1 - who].lease(ref)
            if publish:
                revised = revision.publish(self.info())
                self.promise(revised, changed, original)
                return revised
        return multiple()

    @rule(target=refs, ref=refs, who=st.integers(0, 1), regions=REGIONS)
    def copy(self, ref, who, regions):
        free = [slot for slot in self.rest if slot not in self.leased() | {ref.slot}]
        if not self.holds(ref) or not free:
            return multiple()
        _, picture, original = self.content[ref.generation]
        changed = picture.copy()
        with self.readers[who].lease(ref) as lease, self.pool.writing() as slot:
            pixels = lease.copy_into(slot, regions)
            for x, y, w, h in regions:
                changed[y : y + h, x : x + w] = pixels[y : y + h, x : x + w] = 255 - pixels[y : y + h, x : x + w]
            copied = slot.publish(self.info())
        self.promise(copied, changed, original)
        return copied

    @invariant()
    def leased_frames_stay_as_they_are(self):
        for lease, ref, _ in self.leases:
            _, picture, original = self.content[ref.generation]
            assert np.array_equal(lease.pixels, picture)
            out = np.empty(SHAPE, np.uint8)
            lease.original(out)
            assert np.array_equal(out, original)


PoolAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPoolAgainstModel = PoolAgainstModel.TestCase
