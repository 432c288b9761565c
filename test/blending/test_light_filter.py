from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending import light_filter
from facefusion_ros.blending.colour import CONTRAST, GAMMA, Measured
from facefusion_ros.blending.light_filter import NOTHING_KNOWN, Light, LightFilter

MS = 1_000_000
FRAME_NS = 33_333_333
PERSONA = math.log(150.0)


def measured(level, clear=1.0, face_level=None):
    """All gains of that logarithm."""
    coefficients = np.zeros(CONTRAST + 9, np.float32)
    coefficients[:CONTRAST] = level
    face = PERSONA + level if face_level is None else face_level
    return Measured(coefficients, clear, face, PERSONA, np.full(3, 150.0))


def follow(light, level, frames, *, begin_ns=0, step_ns=None, track=1, time_constant_s=0.4):
    """Coefficient of one node over some frames while the measured ones stand at level."""
    told = Light(step_ns=step_ns)
    return [
        float(light.follow(track, begin_ns + k * FRAME_NS, measured(level), told, time_constant_s)[0])
        for k in range(frames)
    ]


def frames_until_settled(course, level):
    return int(np.argmax(np.abs(np.array(course) - level) < 0.05 * level))


def test_small_changes_are_followed_with_the_time_constant():
    light = LightFilter()
    follow(light, 0.0, 1)
    course = follow(light, 0.002, 120, begin_ns=FRAME_NS)
    assert np.all(np.diff(course) >= 0)
    assert course[11] == pytest.approx(0.002 * (1 - np.exp(-0.4 / 0.4)), rel=0.1)  # 12 frames are one time constant
    assert course[-1] == pytest.approx(0.002, rel=0.01)


def test_noise_is_smoothed():
    rng = np.random.default_rng(1)
    light = LightFilter()
    noisy = rng.normal(0, 0.003, 300)
    course = [light.follow(1, k * FRAME_NS, measured(level), NOTHING_KNOWN, 0.4)[0] for k, level in enumerate(noisy)]
    assert np.std(course[50:]) < 0.5 * np.std(noisy)


def test_a_drift_is_not_lagged_behind():
    """Half a per cent per frame: a filter of 0.4 s alone would be 6 % behind."""
    light = LightFilter()
    drift = 0.005 * np.arange(90)
    course = [light.follow(1, k * FRAME_NS, measured(at), NOTHING_KNOWN, 0.4)[0] for k, at in enumerate(drift)]
    assert np.abs(course - drift).max() < 0.012


def test_a_step_of_the_light_opens_the_filter():
    slow, fast = LightFilter(), LightFilter()
    follow(slow, 0.0, 10)
    follow(fast, 0.0, 10)
    begin_ns = 10 * FRAME_NS
    without = frames_until_settled(follow(slow, 0.006, 60, begin_ns=begin_ns), 0.006)
    told = frames_until_settled(follow(fast, 0.006, 60, begin_ns=begin_ns, step_ns=begin_ns - MS), 0.006)
    assert told <= 3
    assert without >= 5 * max(told, 1)


def test_an_old_or_a_coming_step_does_not_open_the_filter():
    for step_ns in (-5_000 * MS, 60_000 * MS):
        light = LightFilter()
        follow(light, 0.0, 1)
        assert follow(light, 0.004, 3, begin_ns=FRAME_NS, step_ns=step_ns)[-1] < 0.002


@pytest.mark.parametrize('settling', [True, False])
def test_the_filter_stays_open_while_the_camera_s_exposure_settles(settling):
    light = LightFilter()
    for k in range(60):
        told = Light(step_ns=10 * FRAME_NS, exposure_ev=-6.0 + (0.05 * k if settling else 0.0))
        light.follow(1, k * FRAME_NS, measured(0.0), told, 0.4)
    last = light.follow(1, 60 * FRAME_NS, measured(0.004), Light(exposure_ev=-6.0 + 3.0 * settling), 0.4)[0]
    assert (last > 0.003) == settling


def test_a_jump_in_the_picture_alone_opens_the_filter():
    light = LightFilter()
    follow(light, 0.0, 10)
    assert frames_until_settled(follow(light, 0.2, 60, begin_ns=10 * FRAME_NS), 0.2) <= 3


def told(lux, exposure_ev=-8.0, tint=None):
    return Light(None, exposure_ev, math.log2(lux), tint)


def learned(tint=None):
    """Filter that has seen a face at half the persona's level in 100 lx."""
    light = LightFilter()
    for k in range(30):
        light.follow(1, k * FRAME_NS, measured(math.log(0.5)), told(100.0, tint=tint), 0.0)
    return light


def test_what_is_clipped_is_as_bright_as_the_light_says():
    """Thirty-two times the light on a face that shows white only: five EV, by the power law of pixel values."""
    light = learned()
    result = light.follow(1, 30 * FRAME_NS, measured(math.log(255 / 150), clear=0.0), told(3200.0), 0.0)
    assert result[0] == pytest.approx(math.log(0.5) + 5 * math.log(2) / GAMMA, abs=0.02)
    # The camera closes by as much: the product says the face is as bright as before.
    result = light.follow(1, 31 * FRAME_NS, measured(math.log(0.6), clear=1.0), told(3200.0, -13.0), 0.0)
    assert result[0] == pytest.approx(math.log(0.6), abs=1e-5)


def test_what_is_crushed_is_as_dark_as_the_light_says():
    result = learned().follow(1, 30 * FRAME_NS, measured(math.log(3 / 150), clear=0.0), told(0.01), 0.0)
    assert result[0] < math.log(0.5) - 2.5


@pytest.mark.parametrize('late', [100.0, 3200.0])
def test_a_late_sensor_does_not_make_it_worse(late):
    """The picture is white already and the sensor says nothing of it yet, or dark already."""
    white = measured(math.log(255 / 150), clear=0.0)
    if late == 100.0:
        result, wanted = learned().follow(1, 30 * FRAME_NS, white, told(late), 0.0), white.coefficients
    else:
        dark = measured(math.log(3 / 150), clear=0.0)
        result, wanted = learned().follow(1, 30 * FRAME_NS, dark, told(late), 0.0), dark.coefficients
    assert result == pytest.approx(wanted, abs=1e-5)


def test_without_a_sensor_the_picture_is_followed():
    light = LightFilter()
    follow(light, 0.0, 5)
    white = measured(0.5, clear=0.0)
    assert np.array_equal(light.follow(1, 5 * FRAME_NS, white, NOTHING_KNOWN, 0.0), white.coefficients)


def test_the_light_s_tint_moves_a_face_whose_own_cannot_be_seen():
    white, warm = np.zeros(3), np.array([-0.2, 0.0, 0.1])
    result = learned(tint=white).follow(
        1, 30 * FRAME_NS, measured(math.log(255 / 150), clear=0.0), told(3200.0, tint=warm), 0.0
    )
    blue, _, red = result[:3]
    assert red - blue == pytest.approx(0.3, abs=0.01)


def test_faces_keep_apart_and_unmeasured_frames_hold():
    light = LightFilter()
    follow(light, 0.1, 1, track=1)
    follow(light, -0.1, 1, track=2)
    assert light.follow(1, FRAME_NS, None, NOTHING_KNOWN, 0.4)[0] == pytest.approx(0.1)
    assert light.follow(2, FRAME_NS, None, NOTHING_KNOWN, 0.4)[0] == pytest.approx(-0.1)
    assert light.follow(3, FRAME_NS, None, NOTHING_KNOWN, 0.4) is None


def test_faces_without_an_id_are_not_mixed():
    light = LightFilter()
    assert [light.follow(0, k, measured(float(k)), NOTHING_KNOWN, 0.4)[0] for k in range(3)] == [0.0, 1.0, 2.0]
    assert len(light) == 0


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 10_000)), max_size=200))
def test_memory_stays_bounded_and_times_may_jump(visits):
    light = LightFilter()
    for track, at_ms in visits:
        light.follow(track, at_ms * MS, measured(0.0), NOTHING_KNOWN, 0.4)
        assert len(light) <= light_filter.MAX_TRACKS


def test_a_face_that_left_is_forgotten():
    light = LightFilter()
    follow(light, 0.5, 3)
    late = 3 * light_filter.FORGET_NS
    assert light.follow(1, late, measured(0.0), NOTHING_KNOWN, 0.4)[0] == 0.0
    follow(light, 0.5, 1, track=2, begin_ns=3 * late)
    assert len(light) == 1
