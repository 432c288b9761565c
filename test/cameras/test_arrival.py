"""Stamps of a stream that a network has delayed, against the times at which its pictures were taken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.cameras.arrival import Arrivals

MS, S = 1_000_000, 1_000_000_000
FRAME = 33 * MS


def errors_ns(taken, delays, drift=0.0):
    """What a reader takes each picture's time to be, less what it is; the sender's clock has a time of its own."""
    arrivals = Arrivals()
    found = []
    for taken_ns, delay_ns in zip(taken, delays, strict=True):
        sent_ns = int(taken_ns * (1.0 + drift)) - 7 * S
        arrivals.heed(taken_ns + delay_ns, sent_ns)
        found.append(arrivals.taken_ns(sent_ns) - taken_ns)
    return np.array(found)


@given(st.lists(st.integers(0, 400 * MS), min_size=1, max_size=60), st.integers(0, 50 * MS))
def test_no_picture_is_stamped_before_the_least_delay_nor_after_it_came(extra, least):
    delays = [least + each for each in extra]
    errors = errors_ns([number * FRAME for number in range(len(delays))], delays)
    assert (errors <= np.minimum.accumulate(delays)).all()
    assert (errors >= min(delays)).all()


def test_a_picture_that_was_held_up_is_as_old_as_it_is():
    delays = [5 * MS] * 30 + [800 * MS - n * FRAME for n in range(24)] + [5 * MS] * 30
    assert errors_ns([number * FRAME for number in range(84)], delays).tolist() == [5 * MS] * 84


def test_what_waited_while_the_stream_was_opened_does_not_shift_what_follows():
    delays = [max(1000 * MS - n * FRAME, 4 * MS) for n in range(60)]
    assert errors_ns([number * FRAME for number in range(60)], delays)[-20:].tolist() == [4 * MS] * 20


@pytest.mark.parametrize('drift', [1e-4, -1e-4])
def test_a_sender_whose_clock_goes_wrong_is_followed(drift):
    errors = errors_ns([number * FRAME for number in range(5000)], [3 * MS] * 5000, drift)
    assert np.abs(errors - 3 * MS).max() <= 1.1 * MS


@pytest.mark.parametrize('leap', [-20 * S, -3 * S, 3 * S, 600 * S])
def test_a_stream_that_counts_anew_is_followed(leap):
    arrivals = Arrivals()
    for number in range(40):
        sent = number * FRAME + (leap if number >= 10 else 0)
        arrivals.heed(number * FRAME + 2 * MS, sent)
    assert arrivals.taken_ns(sent) == 39 * FRAME + 2 * MS


def test_pictures_that_are_sent_before_those_made_of_them_do_not_count_anew():
    arrivals = Arrivals()
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    for place, number in enumerate(order):
        arrivals.heed((place + 3) * FRAME, number * FRAME)
    assert [arrivals.taken_ns(number * FRAME) for number in order] == [(number + 1) * FRAME for number in order]


def test_without_stamps_nothing_is_known():
    arrivals = Arrivals()
    assert arrivals.taken_ns(5) is None
    arrivals.heed(10, 5)
    assert arrivals.taken_ns(None) is None
