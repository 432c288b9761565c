from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending.light import LightSteps

MS = 1_000_000


def feed(steps, readings, period_ms=100, begin_ms=1000):
    return [steps.observe((begin_ms + k * period_ms) * MS, lux, 1.5) for k, lux in enumerate(readings)]


def test_lamp_on_and_off_are_one_step_each():
    steps = LightSteps()
    told = feed(steps, [100, 101, 99, 100, 400, 405, 398, 400, 401, 100, 99, 100])
    assert [k for k, step in enumerate(told) if step] == [4, 9]
    assert steps.latest_ns == (1000 + 900) * MS


def test_a_step_spread_over_two_conversions_is_found():
    assert any(feed(LightSteps(), [100, 130, 175, 176], period_ms=120))


def test_a_sensor_slower_than_the_window_still_tells_its_steps():
    assert feed(LightSteps(), [100, 100, 300, 300], period_ms=800) == [False, False, True, False]


@given(st.lists(st.floats(80, 100), max_size=60))
def test_small_changes_are_no_step(readings):
    assert not any(feed(LightSteps(), readings))


def test_slow_drift_is_no_step():
    assert not any(feed(LightSteps(), [100 * 1.05**k for k in range(100)]))


def test_the_last_digit_in_the_dark_is_no_step():
    assert not any(feed(LightSteps(), [0.0, 0.4, 0.1, 0.0, 0.4]))


@given(st.lists(st.sampled_from([math.nan, math.inf, -math.inf, -1.0])))
def test_readings_that_are_no_light_are_passed_over(readings):
    steps = LightSteps()
    assert not any(feed(steps, [100.0, *readings, 100.0]))
    assert steps.latest_ns is None


def test_a_clock_set_back_is_no_step_and_does_not_blind():
    steps = LightSteps()
    feed(steps, [100, 100], begin_ms=100_000)
    assert feed(steps, [500, 500, 100], begin_ms=1000) == [False, False, True]
