from __future__ import annotations

import numpy as np
import pytest

from facefusion_ros.blending.smoothing import SmoothingSettings, Steady

FACE = np.array([(202, 101), (247, 103), (225, 127), (204, 140), (244, 142)], float)
DT_S = 1 / 30


def rms(off):
    return float(np.sqrt((off**2).sum(axis=-1).mean()))


def test_a_still_face_does_not_shake():
    rng = np.random.default_rng(0)
    steady = Steady(FACE + rng.normal(0, 0.5, (5, 2)))
    course = []
    for _ in range(300):
        steady.follow(steady.landmarks, FACE + rng.normal(0, 0.5, (5, 2)), DT_S, SmoothingSettings())
        course.append(steady.landmarks)
    assert rms(np.array(course[30:]) - np.mean(course[30:], axis=0)) < 0.1
    assert rms(course[-1] - FACE) < 0.4


def test_what_is_expected_does_not_lag():
    """A face that goes by 5 pixels a frame, as is known: the filter has nothing to hold back."""
    step = np.array([5.0, -2.0])
    steady = Steady(FACE)
    for k in range(1, 30):
        steady.follow(steady.landmarks + step, FACE + k * step, DT_S, SmoothingSettings())
        assert np.allclose(steady.landmarks, FACE + k * step)


@pytest.mark.parametrize('speed_px', [1.0, 4.0])
def test_what_is_not_expected_lags_by_little(speed_px):
    """A face that goes by so many pixels a frame, of which nothing is known."""
    steady = Steady(FACE)
    for k in range(1, 60):
        steady.follow(steady.landmarks, FACE + np.array([k * speed_px, 0]), DT_S, SmoothingSettings())
    assert rms(steady.landmarks - (FACE + np.array([59 * speed_px, 0]))) < 1.5 + 2.5 * speed_px


def test_a_jump_is_caught_up_with():
    steady = Steady(FACE)
    for _ in range(30):
        steady.follow(steady.landmarks, FACE, DT_S, SmoothingSettings())
    for _ in range(30):
        steady.follow(steady.landmarks, 1.1 * (FACE - 200) + 230, DT_S, SmoothingSettings())
    assert rms(steady.landmarks - (1.1 * (FACE - 200) + 230)) < 2.5


def test_landmarks_that_no_similarity_explains_are_taken_as_they_are():
    steady = Steady(FACE)
    steady.follow(np.zeros((5, 2)), FACE + 7, DT_S, SmoothingSettings())
    assert np.array_equal(steady.landmarks, FACE + 7)
