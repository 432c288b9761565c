import math
from dataclasses import replace

import numpy as np
import pytest

from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.errors import SettingError
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.head import UPRIGHT, box_around, overlap
from facefusion_ros.faces.landmarks import LandmarkNetwork, five
from facefusion_ros.faces.network import NetworkDetector, NetworkSettings
from facefusion_ros.faces.two_stage import TwoStageDetector, TwoStageSettings
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.tiny import write_tiny

PICTURE = np.zeros((480, 640, 3), np.uint8)
FIRST, SECOND = UPRIGHT * 60 + (200, 200), UPRIGHT * 40 + (450, 250)


def face_at(landmarks, score=0.6):
    return Face(box_around(landmarks), score, np.asarray(landmarks, np.float32), 3, 77)


class Proposes:
    """A detector that always finds the same."""

    sure_score = 0.9
    again_is_cheap = False

    def __init__(self, *faces):
        self.faces = faces
        self.asked = 0

    def detect(self, _):
        self.asked += 1
        return self.faces

    def again(self, _, face):
        self.asked += 1
        return next((each for each in self.faces if overlap(each.box, face.box) > 0.2), None)


class Knows:
    """A network of landmarks that knows where faces are, and is the surer the better its crop is aligned."""

    judges = True

    def __init__(self, *truths):
        self.truths = truths
        self.looks = 0

    def points(self, _, face):
        self.looks += 1
        for truth in self.truths:
            apart = np.abs(face.landmarks - truth).max() / np.linalg.norm(truth[1] - truth[0])
            if apart < 0.6:
                points = np.zeros((68, 2))
                points[36:42], points[42:48], points[30], points[48], points[54] = truth
                # Off by a tenth of what the crop is off, until that is nothing.
                return points + 0.1 * (face.landmarks - truth).mean(axis=0), 0.9999 - apart * apart
        return np.tile(face.landmarks.mean(axis=0), (68, 1)) + np.arange(68)[:, None], 0.02

    def refine(self, pixels, face):
        return replace(face, landmarks=five(self.points(pixels, face)[0]).astype(np.float32))


def test_a_rough_proposal_becomes_a_face_with_its_landmarks():
    detector = TwoStageDetector(Proposes(face_at(FIRST + 20, 0.4)), Knows(FIRST))
    (face,) = detector.detect(PICTURE)
    # The second crop was aligned by what was seen in the first.
    np.testing.assert_allclose(face.landmarks, FIRST, atol=0.3)
    assert face.box == pytest.approx(box_around(face.landmarks), abs=1e-3)
    # Their odds multiply, those of the looks averaged, and the score of the least evidence is 0.5.
    looks = [0.9999 - (apart / 60) ** 2 for apart in (20, 2)]
    odds = 0.4 / 0.6 * math.sqrt(math.prod(p / (1 - p) for p in looks)) / math.exp(TwoStageSettings().evidence)
    assert face.score == pytest.approx(odds / (1 + odds), abs=0.01)
    (once,) = TwoStageDetector(
        Proposes(face_at(FIRST + 20, 0.4)), Knows(FIRST), TwoStageSettings(looks=1, evidence=0.0)
    ).detect(PICTURE)
    assert np.abs(once.landmarks - FIRST).mean() > np.abs(face.landmarks - FIRST).mean()


def test_what_is_no_face_goes_however_sure_the_detector_is():
    detector = TwoStageDetector(Proposes(face_at(SECOND, 1.0), face_at(FIRST, 0.5)), Knows(FIRST))
    (face,) = detector.detect(PICTURE)
    np.testing.assert_allclose(face.landmarks, FIRST, atol=0.1)


def test_what_hardly_looks_like_a_face_to_either_goes():
    strict = TwoStageSettings(evidence=6.0)
    assert TwoStageDetector(Proposes(face_at(FIRST + 20, 0.1)), Knows(FIRST), strict).detect(PICTURE) == ()


def test_one_face_is_looked_at_once_however_often_it_is_proposed():
    looks = Knows(FIRST, SECOND)
    proposed = [face_at(truth + 3 * i, 0.9 - 0.1 * i) for truth in (FIRST, SECOND) for i in range(4)]
    faces = TwoStageDetector(Proposes(*proposed), looks).detect(PICTURE)
    assert all(np.abs(face.landmarks - truth).max() < 1 for face, truth in zip(faces, (FIRST, SECOND), strict=True))
    assert looks.looks == 2 * 2
    assert faces[0].box[2] > faces[1].box[2]


def test_proposals_that_meet_on_one_face_are_one():
    """Boxes side by side, of which each look finds the same face between them."""
    looks = Knows(FIRST)
    (face,) = TwoStageDetector(
        Proposes(face_at(FIRST - np.array([30, 0]), 0.5), face_at(FIRST + np.array([30, 0]), 0.6)), looks
    ).detect(PICTURE)
    assert np.abs(face.landmarks - FIRST).max() < 1


def test_only_the_best_proposals_are_looked_at():
    looks = Knows()
    proposed = [face_at(UPRIGHT * 10 + (30 * i + 20, 100), 0.01 * i) for i in range(20)]
    assert TwoStageDetector(Proposes(*proposed), looks, TwoStageSettings(most_proposals=5)).detect(PICTURE) == ()
    assert looks.looks == 5


def test_a_known_face_is_seen_again_by_its_landmarks_alone():
    first, looks = Proposes(), Knows(FIRST)
    detector = TwoStageDetector(first, looks)
    assert detector.again_is_cheap
    face = detector.again(PICTURE, face_at(FIRST + 8, 0.8))
    assert np.abs(face.landmarks - FIRST).max() < 1.5
    assert (face.score, face.track_id, face.measured_ns) == (0.8, 3, 77)
    assert (first.asked, looks.looks) == (0, 1)
    assert detector.again(PICTURE, face_at(SECOND, 0.8)) is None


def test_a_network_that_does_not_judge_gives_landmarks_and_drops_nothing():
    looks = Knows(FIRST)
    looks.judges = False
    first = Proposes(face_at(FIRST + 10, 0.5), face_at(SECOND, 0.4))
    detector = TwoStageDetector(first, looks)
    faces = detector.detect(PICTURE)
    assert [face.score for face in faces] == [0.5, 0.4]
    assert np.abs(faces[0].landmarks - FIRST).max() < 2
    assert (detector.sure_score, detector.again_is_cheap) == (0.9, False)
    assert np.abs(detector.again(PICTURE, face_at(FIRST)).landmarks - FIRST).max() < 2
    assert detector.again(PICTURE, face_at(FIRST + 400)) is None


@pytest.mark.parametrize('place', [np.nan, 7.0])
def test_landmarks_that_are_no_face_are_left_out(place):
    looks = Knows(FIRST)
    looks.points = lambda *_: (np.full((68, 2), place), 0.99)
    assert TwoStageDetector(Proposes(face_at(FIRST)), looks).detect(PICTURE) == ()


def test_the_package_s_own_families_work_together(tmp_path):
    for family in ('yolov4_tiny_points', 'landmarks_68'):
        write_tiny(family, tmp_path / family)
    known = catalogue()
    first = NetworkDetector(
        OrtEngine(tmp_path / 'yolov4_tiny_points'), known.family('yolov4_tiny_points'), NetworkSettings(0.1)
    )
    looks = LandmarkNetwork(OrtEngine(tmp_path / 'landmarks_68'), known.family('landmarks_68'))
    (found,) = first.detect(PICTURE)
    (face,) = TwoStageDetector(first, looks, TwoStageSettings(evidence=6.0)).detect(PICTURE)
    assert overlap(face.box, found.box) > 0.1
    assert face.score == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    'change',
    [{'most_proposals': 0}, {'looks': 0}, {'first_chance': -0.1}, {'kept_chance': 1.1}, {'evidence': float('nan')}],
)
def test_settings_out_of_range_say_so(change):
    with pytest.raises(SettingError, match=next(iter(change))):
        TwoStageSettings(**change)
