"""What is measured on photographs, and what the detector that ships with the package must reach there."""

import numpy as np
import pytest

from facefusion_ros.app.bench.photographs import GOALS, score_crops, score_variations, small_crops, variations
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.head import box_around
from facefusion_ros.faces.stored import load_detector

COUNT = 12


def face_at(landmarks):
    return Face(box_around(landmarks), 0.9, np.asarray(landmarks, np.float32))


@pytest.fixture
def told():
    """Return a function that makes a finder which is told the answers to all variations, one after the other."""

    def told(answer):
        landmarks = iter([variation.landmarks for variation in variations(COUNT)])
        return lambda _: answer(next(landmarks))

    return told


def test_every_variation_shows_the_face_where_it_says():
    sizes = set()
    for variation in variations(COUNT):
        height, width = variation.picture.shape[:2]
        assert (variation.landmarks >= 0).all()
        assert (variation.landmarks < (width, height)).all()
        sizes.add(width)
    assert len(sizes) > COUNT / 2
    again = next(iter(variations(1)))
    np.testing.assert_array_equal(again.picture, next(iter(variations(COUNT))).picture)


def test_the_truth_has_the_best_score(told):
    score = score_variations(told(lambda truth: [face_at(truth)]), COUNT)
    assert (score.recall, score.false_per_picture) == (1.0, 0.0)
    assert score.landmark_error_mean < 1e-3


def test_what_is_wrong_is_counted(told):
    nothing = score_variations(lambda _: [], COUNT)
    assert (nothing.recall, nothing.false_per_picture) == (0.0, 0.0)
    assert np.isnan(nothing.landmark_error_mean)
    assert not GOALS.met(nothing, 100, 0)

    def twice_and_beside(truth):
        eyes = np.linalg.norm(truth[1] - truth[0])
        return [face_at(truth), face_at(truth + 0.1 * eyes), face_at(truth + 3 * eyes)]

    score = score_variations(told(twice_and_beside), COUNT)
    assert (score.recall, score.false_per_picture) == (1.0, 2.0)
    off = score_variations(told(lambda truth: [face_at(truth + 0.1 * np.linalg.norm(truth[1] - truth[0]))]), COUNT)
    assert off.landmark_error_mean == pytest.approx(0.1 * np.sqrt(2), rel=1e-3)
    assert not GOALS.met(off, 100, 0)


def test_small_pictures_are_faces_first_and_others_then():
    kinds = [is_face for _, is_face in small_crops()]
    assert kinds == [True] * 100 + [False] * 100
    asked = iter(range(200))
    assert score_crops(lambda _: [1] if next(asked) < 107 else []) == (100, 7)


def test_the_detector_that_ships_finds_what_its_card_says():
    """On real faces, none of which it was trained on. docs/models/face_detector.md says what its goals are."""
    detector = load_detector()
    try:
        portrait = score_variations(detector.detect)
        found, taken = score_crops(detector.detect)
    finally:
        detector.close()
    assert GOALS.met(portrait, found, taken), (portrait, found, taken)
