import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sensors.sieve import FROZEN, Sieve

LEAST = np.array([0.03, 0.03, 0.03])


def stream(motion, count=400, noise=0.002, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([motion(index / 200.0) for index in range(count)]) + noise * rng.standard_normal((count, 3))


def through(values):
    sieve = Sieve[int](LEAST)
    return [index for number, value in enumerate(values) for index in sieve.take(value, number)], sieve


@settings(max_examples=40, deadline=None)
@given(
    amplitude=st.floats(0.0, 6.0),
    hz=st.floats(0.1, 15.0),
    axis=st.integers(0, 2),
    at=st.integers(60, 390),
    jump=st.floats(1.0, 30.0),
    sign=st.sampled_from([-1, 1]),
)
def test_a_single_slip_is_dropped_and_nothing_else(amplitude, hz, axis, at, jump, sign):
    values = stream(lambda t: [amplitude * math.sin(2.0 * math.pi * hz * t), 0.3, -0.1])
    deviations = np.abs(np.diff(values, 2, axis=0)).max(axis=0)
    values[at, axis] += sign * (7.0 * max(0.03, deviations[axis]) + jump)
    given_, sieve = through(values)
    assert at not in given_
    assert given_ == sorted(given_)
    assert len(given_) >= 394
    assert sieve.dropped <= 400 - len(given_)


@settings(max_examples=25, deadline=None)
@given(amplitude=st.floats(0.0, 20.0), hz=st.floats(0.1, 60.0), phase=st.floats(0.0, 6.3))
def test_motion_however_violent_gets_through(amplitude, hz, phase):
    given_, _ = through(stream(lambda t: [amplitude * math.sin(2.0 * math.pi * hz * t + phase)] * 3))
    assert given_ == sorted(given_)
    assert len(given_) > 360


def test_a_step_gets_through_a_sample_late():
    values = stream(lambda t: [5.0 if t >= 1.0 else 0.1, 0.0, 0.0])
    sieve = Sieve[int](LEAST)
    for number in range(200):
        assert sieve.take(values[number], number) == ([number] if number > 1 else [[], [0, 1]][number])
    assert sieve.take(values[200], 200) == []
    assert sieve.take(values[201], 201) == [200, 201]


@pytest.mark.parametrize('repeats', [2, FROZEN - 2])
def test_a_few_equal_samples_are_given_when_one_differs(repeats):
    values = list(stream(lambda _: [0.1, 0.2, 0.3], 100))
    values[50:50] = [values[49]] * repeats
    given_, sieve = through(values)
    assert given_ == list(range(len(values)))
    assert not sieve.frozen


def test_many_equal_samples_are_none():
    values = list(stream(lambda _: [0.1, 0.2, 0.3], 100))
    sieve = Sieve[int](LEAST)
    for number, value in enumerate(values):
        sieve.take(value, number)
    assert [sieve.take(values[-1], 200 + number) for number in range(FROZEN)] == [[]] * FROZEN
    assert sieve.frozen
    assert sieve.take(values[0], 300) == [300]
    assert sieve.dropped == FROZEN


def test_after_a_gap_one_sample_has_to_be_borne_out_by_another():
    values = stream(lambda _: [0.1, 0.2, 0.3], 100)
    sieve = Sieve[int](LEAST)
    for number, value in enumerate(values):
        sieve.take(value, number)
    sieve.interrupt()
    assert sieve.take(values[0] + 3.0, 100) == []
    assert sieve.take(values[1], 101) == []
    assert sieve.take(values[2], 102) == [101, 102]


@pytest.mark.parametrize('first', [5, 60])
def test_slips_do_not_open_the_way_for_the_next(first):
    """Slips that are dropped teach nothing, however many: each that follows is a smaller one."""
    values = stream(lambda t: [math.sin(3.0 * t), 0.3, -0.1])
    slips = range(first, first + 60, 6)
    for at, size in zip(slips, np.geomspace(8.0, 0.12, len(slips)), strict=True):
        values[at, 1] += size
    given_, sieve = through(values)
    assert set(given_) == set(range(400)) - set(slips)
    assert sieve.dropped == len(slips)
