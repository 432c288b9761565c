import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sensors.chip_clock import GOLDEN, ChipClock

PERIOD_NS = 5_000_000


class Oscillator:
    """A chip that samples at its own pace, and a reader that asks for its count over a slow bus."""

    def __init__(self, error, late, transfer=lambda: (0.0, 0.0), *, drift_per_s=0.0, period_ns=PERIOD_NS):
        self.nominal_ns = period_ns
        self.begin_ns = 1_700_000_000_000_000_000
        steps = period_ns / (1.0 + error + drift_per_s * np.arange(12_000) * period_ns * 1e-9)
        self.samples_ns = self.begin_ns + np.rint(np.cumsum(steps)).astype(np.int64)
        self.now_ns = self.due_ns = self.begin_ns
        self.late = late
        self.transfer = transfer
        self.counted = 0
        self.reads = 0
        self.clock = ChipClock(period_ns * 1e-9)

    def count(self):
        """How many samples there are, and between which times that was told."""
        asked_ns = self.now_ns
        before, after = self.transfer()
        told_ns = asked_ns + round(before * PERIOD_NS)
        self.now_ns = told_ns + round(after * PERIOD_NS)
        return int(np.searchsorted(self.samples_ns, told_ns, 'right')), asked_ns, self.now_ns

    def read(self):
        """The stamps of new samples and their true times."""
        self.reads += 1
        self.due_ns += round((2 + self.reads * GOLDEN % 1.0) * self.nominal_ns)
        self.now_ns = max(self.now_ns, self.due_ns + round(self.late() * PERIOD_NS))
        count, asked_ns, answered_ns = self.count()
        new, self.counted = count - self.counted, count
        self.clock.advance(new, asked_ns, answered_ns)
        return self.clock.stamps(new), self.samples_ns[count - new : count]


@settings(max_examples=25, deadline=None)
@given(
    error=st.floats(-0.03, 0.03),
    drift=st.floats(-3e-5, 3e-5),
    lateness=st.floats(0.02, 0.4),
    stalls=st.floats(0.0, 0.02),
    jitter=st.floats(0.0, 0.01),
    seed=st.integers(0, 2**31),
)
def test_stamps_are_true_to_a_fiftieth_of_a_period_however_late_and_slow_the_reads(
    error, drift, lateness, stalls, jitter, seed
):
    """At 200 Hz: lateness up to 2 ms, stalls of 20 ms, transfers that hang for 50 µs now before, now after."""
    rng = np.random.default_rng(seed)
    chip = Oscillator(
        error,
        lambda: lateness * rng.random() + (4.0 if rng.random() < stalls else 0.0),
        lambda: (0.015 + rng.exponential(jitter), 0.01 + rng.exponential(jitter)),
        drift_per_s=drift,
    )
    given_ns, true_ns = [], []
    for _ in range(1200):
        stamps, true = chip.read()
        if chip.clock.locked:
            given_ns.extend(stamps)
            true_ns.extend(true)
    errors = (np.array(given_ns) - true_ns) / PERIOD_NS
    assert len(errors) > 0.9 * chip.counted
    assert np.all(np.diff(given_ns) > 0)
    assert np.sqrt(np.mean(errors**2)) < 0.03
    assert np.sqrt(np.mean(errors[len(errors) // 3 :] ** 2)) < 0.02  # 100 µs
    assert np.abs(errors).max() < 0.25
    assert 1.0 / chip.clock.period_s == pytest.approx(1e9 / np.diff(chip.samples_ns)[chip.counted], rel=5e-4)
    assert chip.clock.jitter_s < 0.05 * PERIOD_NS * 1e-9


def test_no_read_is_too_late_to_be_counted_right():
    """A read that hangs for many periods only says less."""
    rng = np.random.default_rng(1)
    chip = Oscillator(0.01, lambda: 0.3 * rng.random(), lambda: (0.02, 8.0 if rng.random() < 0.1 else 0.01))
    for _ in range(600):
        stamps, true = chip.read()
        if chip.reads > 100 and len(stamps):
            assert chip.clock.locked
            assert np.abs(stamps - true).max() < 0.1 * PERIOD_NS


def test_a_gap_in_the_count_does_not_shift_the_beat():
    rng = np.random.default_rng(2)
    chip = Oscillator(0.02, lambda: 0.2 * rng.random())
    for _ in range(300):
        chip.read()
    for pause_ns in range(700_000_000, 720_000_000, 700_000):
        chip.now_ns += pause_ns
        chip.due_ns = chip.now_ns
        chip.counted = chip.count()[0]  # what was in the buffer is gone
        chip.clock.lose_count()
        assert not chip.clock.locked
        locked = 0
        for _ in range(20):
            stamps, true = chip.read()
            if chip.clock.locked and len(stamps):  # unless found so early or late that the next beat is as likely
                locked += 1
                assert np.abs(stamps - true).max() < 0.1 * PERIOD_NS
        assert locked >= 17


@pytest.mark.parametrize('slip', [-2, -1, 1, 2, 3])
def test_a_count_that_cannot_be_is_seen_and_does_not_shift_the_beat(slip):
    chip = Oscillator(0.02, lambda: 0.0)
    for _ in range(200):
        chip.read()
    chip.now_ns = chip.due_ns = int(chip.samples_ns[chip.counted + 3]) + PERIOD_NS // 2
    count, asked_ns, answered_ns = chip.count()
    new, chip.counted = count - chip.counted, count
    assert not chip.clock.contradicts(new, asked_ns, answered_ns)
    assert chip.clock.contradicts(new + slip, asked_ns, answered_ns)
    chip.clock.advance(new + slip, asked_ns, answered_ns)
    assert chip.clock.stamps(1)[0] == pytest.approx(chip.samples_ns[chip.counted - 1], abs=0.05 * PERIOD_NS)


@pytest.mark.parametrize('step_s', [3600.0, -3600.0])
def test_a_clock_that_is_set_is_followed(step_s):
    chip = Oscillator(0.01, lambda: 0.0)
    for _ in range(100):
        chip.read()
    step_ns = round(step_s * 1e9)
    chip.now_ns += step_ns
    chip.due_ns += step_ns
    chip.samples_ns = chip.samples_ns + step_ns
    chip.read()
    assert not chip.clock.locked
    for _ in range(100):
        stamps, true = chip.read()
    assert chip.clock.locked
    assert np.abs(stamps - true).max() < 0.1 * PERIOD_NS


def test_after_a_restart_of_the_chip_its_period_is_still_known():
    chip = Oscillator(0.03, lambda: 0.0)
    reads = 0
    while not chip.clock.locked:
        chip.read()
        reads += 1
    for _ in range(200):
        chip.read()
    chip.clock.lose_beat()
    assert not chip.clock.locked
    again = 0
    while not chip.clock.locked:
        chip.read()
        again += 1
    assert again < reads


def test_restarts_one_after_the_other_do_not_make_it_forget_the_period():
    reads = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        chip = Oscillator(0.02, lambda rng=rng: 0.3 * rng.random(), lambda: (0.015, 0.01))
        for _ in range(600):
            chip.read()
        for _ in range(6):
            chip.clock.lose_beat()
            for _ in range(8):
                chip.read()
        while not chip.clock.locked:
            chip.read()
            reads += 1
    assert reads / 5 < 20  # where it has to learn the period anew: 34


@pytest.mark.parametrize('drift_per_s', [-8e-5, 8e-5])
def test_a_steady_drift_is_learned(drift_per_s):
    """A straight line through 6 s would be off by 180 µs at its end."""
    rng = np.random.default_rng(4)
    chip = Oscillator(0.01, lambda: 0.3 * rng.random(), lambda: (0.015, 0.01), drift_per_s=drift_per_s)
    errors = []
    for _ in range(2000):
        stamps, true = chip.read()
        errors.extend((stamps - true) / PERIOD_NS)
    assert abs(np.mean(errors[-1500:])) < 0.006  # 30 µs
