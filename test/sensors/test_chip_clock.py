import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sensors.chip_clock import GOLDEN, ChipClock

PERIOD_NS = 5_000_000


class Oscillator:
    """A chip that samples at its own pace, and a reader that finds what is there."""

    def __init__(self, error, late, *, begin_ns=1_700_000_000_000_000_000):
        self.period_ns = PERIOD_NS / (1.0 + error)
        self.begin_ns = begin_ns
        self.now_ns = begin_ns
        self.late = late
        self.counted = 0
        self.clock = ChipClock(PERIOD_NS * 1e-9)
        self.due_ns = begin_ns

    def due(self):
        return int((self.now_ns - self.begin_ns) / self.period_ns)

    def read(self):
        """The stamps of new samples and their true times."""
        self.due_ns += round((3 + GOLDEN) * PERIOD_NS)
        self.now_ns = max(self.now_ns, self.due_ns + round(self.late() * PERIOD_NS))
        new = self.due() - self.counted
        self.counted += new
        if new:
            self.clock.advance(new, self.now_ns)
        true = self.begin_ns + np.rint((np.arange(new) + self.counted - new + 1) * self.period_ns).astype(np.int64)
        return self.clock.stamps(new), true


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.03, 0.03), st.floats(0.0, 1.0), st.integers(0, 2**31))
def test_stamps_follow_any_chip_however_late_the_reader_is(error, lateness, seed):
    rng = np.random.default_rng(seed)
    chip = Oscillator(error, lambda: lateness * rng.random())
    last = 0
    errors = []
    for _ in range(600):
        stamps, true = chip.read()
        if chip.clock.locked and len(stamps):
            assert stamps[0] > last
            assert np.all(np.diff(stamps) > 0)
            last = stamps[-1]
            errors.append(np.abs(stamps - true).max() / PERIOD_NS)
    # A reader can hit few phases again and again by bad luck; knowing half a period is then all there is to know.
    assert max(errors) < 0.55
    assert np.median(errors[len(errors) // 2 :]) < 0.2


def test_a_gap_in_the_count_does_not_shift_the_beat():
    chip = Oscillator(0.02, lambda: 0.0)
    for _ in range(300):
        chip.read()
    for pause_ns in range(700_000_000, 720_000_000, 700_000):
        chip.now_ns += pause_ns
        chip.due_ns = chip.now_ns
        chip.counted = chip.due() - 2  # what was in the buffer before is gone
        chip.clock.lose_count()
        locked = 0
        for _ in range(20):
            stamps, true = chip.read()
            if chip.clock.locked:  # unless found so early or late that the beat before or after is as likely
                locked += 1
                assert np.abs(stamps - true).max() < 0.15 * PERIOD_NS
        assert locked >= 15


@pytest.mark.parametrize('step_s', [3600.0, -3600.0])
def test_a_clock_that_is_set_is_followed(step_s):
    chip = Oscillator(0.01, lambda: 0.0)
    for _ in range(100):
        chip.read()
    for name in ('now_ns', 'due_ns', 'begin_ns'):
        setattr(chip, name, getattr(chip, name) + round(step_s * 1e9))
    chip.read()
    assert not chip.clock.locked
    for _ in range(100):
        stamps, true = chip.read()
    assert chip.clock.locked
    assert np.abs(stamps - true).max() < 0.2 * PERIOD_NS


def test_counts_at_uncertain_times_are_counted_and_not_believed():
    chip = Oscillator(0.0, lambda: 0.0)
    for _ in range(300):
        chip.read()
    chip.counted += 4
    chip.now_ns = chip.due_ns = chip.begin_ns + round(chip.counted * chip.period_ns) + PERIOD_NS
    before = chip.clock.stamps(1)[0]
    chip.clock.advance(4, chip.now_ns + 3 * PERIOD_NS, trusted=False)
    assert chip.clock.stamps(1)[0] - before == pytest.approx(4 * chip.period_ns, abs=10_000)
