from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.blending.residual import Reference

FACE = np.array([(202, 101), (247, 103), (225, 127), (204, 140), (244, 142)], float)
STILL = np.eye(2, 3)


def grey(portrait):
    return cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)


def moving(x, y, degrees=0.0, growth=1.0):
    affine = cv2.getRotationMatrix2D(tuple(FACE.mean(axis=0)), degrees, growth)
    affine[:, 2] += (x, y)
    return affine


def off_px(found, truth):
    return np.abs(FACE @ (found - truth)[:, :2].T + (found - truth)[:, 2]).max()


@settings(max_examples=30)
@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(-5, 5), st.floats(0.95, 1.05), st.floats(0.6, 1.5))
def test_the_rest_of_a_motion_is_found_whatever_the_light(portrait, x, y, degrees, growth, gain):
    truth = moving(x, y, degrees, growth)
    before = grey(portrait)
    after = cv2.convertScaleAbs(cv2.warpAffine(before, truth, (512, 512)), alpha=0.6 * gain, beta=5)
    finished = Reference(before, FACE).find(after, [STILL])
    assert finished.followed
    assert off_px(finished.motion, truth) < 0.4


def test_the_prediction_that_makes_the_pictures_alike_is_taken(portrait):
    truth = moving(60.0, -30.0)
    after = cv2.warpAffine(grey(portrait), truth, (512, 512))
    reference = Reference(grey(portrait), FACE)
    for predictions, chosen in (([STILL, moving(57, -28)], 1), ([moving(57, -28), STILL], 0)):
        finished = reference.find(after, predictions)
        assert finished.chosen == chosen
        assert off_px(finished.motion, truth) < 0.4


def test_a_face_that_is_gone_is_not_found(portrait):
    rng = np.random.default_rng(0)
    reference = Reference(grey(portrait), FACE)
    assert reference.find(rng.integers(0, 255, (512, 512), np.uint8), [STILL]) is None
    assert reference.find(np.full((512, 512), 7, np.uint8), [STILL]) is None
    assert Reference(np.full((512, 512), 7, np.uint8), FACE).find(grey(portrait), [STILL]) is None


def test_a_face_half_out_of_the_picture_is_followed_by_the_other_half(portrait):
    cut = np.ascontiguousarray(grey(portrait)[:, 225:])
    truth = np.array([[1.0, 0.0, 3.0], [0.0, 1.0, -2.0]])
    after = np.ascontiguousarray(cv2.warpAffine(grey(portrait), truth, (512, 512))[:, 225:])
    finished = Reference(cut, FACE - (225, 0)).find(after, [STILL])
    assert finished is not None
    assert np.abs(finished.motion[:, 2] - (3, -2)).max() < 1.5


def test_landmarks_in_one_place_are_refused(portrait):
    with pytest.raises(ValueError, match='place'):
        Reference(grey(portrait), np.full((5, 2), 9.0))
