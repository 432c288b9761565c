"""A clock that only moves when told, and one life of a driver on an emulated bus."""

from __future__ import annotations

import pytest

BUS = 90


class ManualClock:
    """Nanoseconds that pass when somebody sleeps; starts at a date of these years, as time.time_ns does."""

    START_NS = 1_700_000_000_000_000_000

    def __init__(self):
        self.now_ns = self.START_NS

    def __call__(self):
        return self.now_ns

    @property
    def elapsed_s(self):
        return (self.now_ns - self.START_NS) * 1e-9

    def since_start(self, time_s):
        """Seconds since the start of a time in seconds of the clock."""
        return time_s - self.START_NS * 1e-9

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


@pytest.fixture(scope='session')
def make_clock():
    return ManualClock


@pytest.fixture(scope='session')
def read_for():
    """Read a chip at its own pace for a time; the list of lists it gave."""

    def read(chip, clock, seconds, late_s=lambda: 0.0):
        given = []
        end_s = clock.elapsed_s + seconds
        due_s = clock.elapsed_s
        while clock.elapsed_s < end_s:
            due_s = max(due_s + chip.period_s, clock.elapsed_s)
            clock.sleep(max(0.0, due_s + late_s() - clock.elapsed_s))
            given.append(list(chip.read()))
        return given

    return read
