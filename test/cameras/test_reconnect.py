import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.cameras.reconnect import Backoff


@given(st.floats(1e-3, 10), st.floats(1, 100), st.floats(1, 5), st.integers(1, 50))
def test_delays_grow_to_the_longest_and_start_again(first_s, times, factor, count):
    longest_s = first_s * times
    backoff = Backoff(first_s=first_s, longest_s=longest_s, factor=factor)
    delays = [backoff.next_s() for _ in range(count)]
    assert delays[0] == first_s
    assert all(a <= b <= longest_s for a, b in itertools.pairwise([*delays, longest_s]))
    assert all(b == min(a * factor, longest_s) for a, b in itertools.pairwise(delays))
    backoff.reset()
    assert [backoff.next_s() for _ in range(count)] == delays


@pytest.mark.parametrize('bad', [{'first_s': 0.0}, {'first_s': 9.0}, {'factor': 0.5}])
def test_delays_that_cannot_grow_are_refused(bad):
    with pytest.raises(ValueError, match='cannot grow'):
        Backoff(**bad)
