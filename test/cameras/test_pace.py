import itertools
import threading

from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.cameras.pace import Pace

SECOND = 1_000_000_000


class Clock:
    """A clock that says what it is told to."""

    def __init__(self, *times):
        self.times = iter(times)

    def __call__(self):
        return next(self.times)


def test_pictures_are_due_by_their_time_stamps_from_the_first_on():
    pace = Pace(Clock(100), 10.0)
    assert not pace.begun
    assert [pace.due_ns(stamp) for stamp in (7_000, 7_010, 7_500)] == [100, 110, 600]
    assert pace.begun


def test_bad_time_stamps_are_bridged_by_the_rate():
    pace = Pace(Clock(0), 10.0)
    dues = [pace.due_ns(stamp) for stamp in (0, None, 5, 5, 3, 60 * SECOND)]
    assert dues == [number * SECOND // 10 for number in range(6)]
    pace.cut()
    assert pace.due_ns(0) == 6 * SECOND // 10


@given(st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62)), min_size=2))
def test_whatever_the_time_stamps_are_pictures_come_one_after_the_other_and_soon(stamps):
    pace = Pace(Clock(0), 30.0)
    dues = [pace.due_ns(stamp) for stamp in stamps]
    assert all(0 < b - a <= 10 * SECOND for a, b in itertools.pairwise(dues))


def test_a_picture_is_waited_for():
    pace = Pace(Clock(0, 0, 10, 30, 51), 10.0)
    pace.due_ns(0)
    assert pace.wait(pace.due_ns(50), threading.Event()) == 50


def test_who_falls_behind_plays_the_rest_later():
    pace = Pace(Clock(0, 5 * SECOND, 5 * SECOND), 10.0)
    pace.due_ns(0)
    assert pace.wait(pace.due_ns(50), threading.Event()) == 5 * SECOND
    assert pace.due_ns(150) == 5 * SECOND + 100


def test_a_clock_that_is_set_back_does_not_stop_the_film():
    pace = Pace(Clock(900, 900, 900, 3, 3), 10.0)
    pace.due_ns(0)
    assert pace.wait(pace.due_ns(1000), threading.Event()) == 3


def test_a_stopped_wait_ends():
    stop = threading.Event()
    stop.set()
    pace = Pace(Clock(0, 0, 0), 10.0)
    pace.due_ns(0)
    assert pace.wait(pace.due_ns(1000), stop) is None
