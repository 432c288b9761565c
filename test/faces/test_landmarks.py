import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.engines.engine import EngineError, TensorSpec
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.head import box_around
from facefusion_ros.faces.landmarks import LandmarkNetwork, five, peaks
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.tiny import write_tiny

# Where the tiny networks see the five landmarks, in units of their crop.
SEEN = np.array([[0.35, 0.42], [0.65, 0.42], [0.5, 0.58], [0.37, 0.74], [0.63, 0.74]])
UPRIGHT = np.array([[290.0, 230.0], [350.0, 230.0], [320.0, 265.0], [295.0, 290.0], [345.0, 290.0]])


class Answers:
    """An engine whose network always answers the same."""

    provider = 'written by hand'

    def __init__(self, side, answers):
        self.inputs = (TensorSpec('face', (1, 3, side, side), np.dtype(np.float32)),)
        self.outputs = tuple(TensorSpec(name, a.shape, a.dtype) for name, a in answers.items())
        self.answers = answers

    def run(self, inputs, outputs):
        self.asked = inputs['face'].copy()
        for name in outputs:
            outputs[name][...] = self.answers[name]

    def warm_up(self):
        pass

    def close(self):
        pass


def face_at(landmarks, box=None):
    return Face(box or box_around(landmarks), 0.9, np.asarray(landmarks, np.float32), 7, 123)


def heatmaps(places, peak=0.85, side=64):
    y, x = np.mgrid[:side, :side] + 0.5
    distance = (x - places[:, 0, None, None]) ** 2 + (y - places[:, 1, None, None]) ** 2
    return (peak * np.exp(-distance / 2)).astype(np.float32)


@pytest.fixture
def frame():
    return np.full((480, 640, 3), 120, np.uint8)


@pytest.mark.parametrize('name', ['2dfan4', 'pfld_68', 'pfld_98', 'pfld_106'])
def test_every_family_gives_five_landmarks_of_its_tiny_network(tmp_path, frame, name):
    write_tiny(name, tmp_path / 'tiny.onnx')
    family = catalogue().family(name)
    network = LandmarkNetwork(OrtEngine(tmp_path / 'tiny.onnx'), family)
    box = (220.0, 130.0, 160.0, 200.0)
    before = face_at(UPRIGHT, box)
    after = network.refine(frame, before)
    # A square about the middle of the box; its longer side takes ``box_fill`` of it.
    side = 200.0 / family.box_fill
    np.testing.assert_allclose(after.landmarks, (SEEN - 0.5) * side + [300, 230] - 0.5, atol=1.0)
    assert after.landmarks.dtype == np.float32
    assert (after.box, after.score, after.track_id, after.measured_ns) == (box, 0.9, 7, 123)


def test_a_family_with_a_template_looks_at_a_crop_with_the_five_where_it_has_them(tmp_path, frame):
    write_tiny('landmarks_68', tmp_path / 'tiny.onnx')
    family = catalogue().family('landmarks_68')
    network = LandmarkNetwork(OrtEngine(tmp_path / 'tiny.onnx'), family)
    known = np.array(catalogue().templates['face_68'].points)
    before = face_at(2 * known + (200, 100), (0.0, 0.0, 1.0, 1.0))  # the box is of no account
    after = network.refine(frame, before)
    np.testing.assert_allclose(after.landmarks, 2 * (SEEN * 128 - 0.5) + (200, 100), atol=0.6)
    assert network.points(frame, before)[1] == pytest.approx(0.993, abs=0.01)
    assert network.judges


@pytest.mark.parametrize('roll_deg', [-70, -20, 15, 90])
def test_the_crop_turns_with_the_face(tmp_path, frame, roll_deg):
    write_tiny('pfld_98', tmp_path / 'tiny.onnx')
    network = LandmarkNetwork(OrtEngine(tmp_path / 'tiny.onnx'), catalogue().family('pfld_98'))
    box = (220.0, 130.0, 200.0, 200.0)
    centre = np.array([320.0, 230.0])
    upright = network.refine(frame, face_at(UPRIGHT, box)).landmarks
    cos, sin = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
    turn = np.array([[cos, -sin], [sin, cos]])
    rolled = network.refine(frame, face_at((UPRIGHT - centre) @ turn.T + centre, box)).landmarks
    np.testing.assert_allclose(rolled, (upright - centre) @ turn.T + centre, atol=0.05)


def test_the_network_sees_the_face_upright(portrait):
    """Whatever the roll, the crop that is looked at is the same picture."""
    engine = Answers(112, {'out': np.zeros((1, 196), np.float32)})
    network = LandmarkNetwork(engine, catalogue().family('pfld_98'))
    seen = []
    for roll_deg in (0, 40):
        pixels, truth = portrait.picture(60, roll_deg=roll_deg)
        nose = truth[2]
        network.points(pixels, face_at(truth, (nose[0] - 80, nose[1] - 80, 160.0, 160.0)))
        seen.append(engine.asked)
    assert np.abs(seen[0] - seen[1]).mean() < 0.02
    assert seen[0].std() > 0.1


def test_heatmaps_alone_are_enough(frame):
    places = np.random.default_rng(2).uniform(6, 58, (68, 2))
    maps = heatmaps(places)[None]
    network = LandmarkNetwork(Answers(256, {'heatmaps': maps}), catalogue().family('2dfan4'))
    points, score = network.points(frame, face_at(UPRIGHT, (220.0, 130.0, 195.0, 195.0)))
    # This box makes the crop as large as the input: 4 pixels to each of the heatmap's.
    np.testing.assert_allclose(points, places * 4 - 0.5 + [317.5 - 128, 227.5 - 128] + [0.5, 0.5], atol=1.2)
    # The mean of the heatmaps' highest pixels, which are up to 0.7 from the peak.
    assert score == pytest.approx(maps.max(axis=(2, 3)).mean() / 0.9)


def test_places_come_before_heatmaps_and_heatmaps_say_how_sure(frame):
    places = np.full((1, 68, 3), 20.0, np.float32)
    places[0, :, 0] = np.arange(68) % 64
    maps = heatmaps(np.full((68, 2), 32.5), peak=0.45)[None]
    network = LandmarkNetwork(Answers(256, {'heatmaps': maps, 'xyscore': places}), catalogue().family('2dfan4'))
    points, score = network.points(frame, face_at(UPRIGHT))
    assert np.ptp(points[:64, 0]) > 10 * np.ptp(points[:64, 1])
    assert score == pytest.approx(0.5)


def test_an_unsure_network_leaves_the_landmarks(frame):
    maps = heatmaps(np.random.default_rng(2).uniform(6, 58, (68, 2)), peak=0.3)[None]
    before = face_at(UPRIGHT)
    network = LandmarkNetwork(Answers(256, {'heatmaps': maps}), catalogue().family('2dfan4'))
    assert network.refine(frame, before) is before
    bold = LandmarkNetwork(Answers(256, {'heatmaps': maps}), catalogue().family('2dfan4'), min_score=0.1)
    assert bold.refine(frame, before) is not before


@pytest.mark.parametrize('answer', [0.5, np.nan])
def test_landmarks_that_are_no_face_change_nothing(frame, answer):
    engine = Answers(112, {'out': np.full((1, 196), answer, np.float32)})
    before = face_at(UPRIGHT)
    assert LandmarkNetwork(engine, catalogue().family('pfld_98')).refine(frame, before) is before


def test_features_beside_the_landmarks_are_passed_over(frame):
    values = np.random.default_rng(0).uniform(0.2, 0.8, (1, 196)).astype(np.float32)
    engine = Answers(112, {'features': np.zeros((1, 64, 28, 28), np.float32), 'landmarks': values})
    points, score = LandmarkNetwork(engine, catalogue().family('pfld_98')).points(frame, face_at(UPRIGHT))
    assert points.shape == (98, 2)
    assert not LandmarkNetwork(engine, catalogue().family('pfld_98')).judges
    assert score == 1.0


def test_another_network_is_refused():
    with pytest.raises(EngineError, match=r'\(1, 10\).*not those of pfld_98'):
        LandmarkNetwork(Answers(112, {'out': np.zeros((1, 10), np.float32)}), catalogue().family('pfld_98'))
    with pytest.raises(EngineError, match='no family of landmarks'):
        LandmarkNetwork(Answers(112, {}), catalogue().family('arcface'))


def test_a_face_without_pixels_is_refused(frame):
    network = LandmarkNetwork(Answers(112, {'out': np.zeros((1, 196), np.float32)}), catalogue().family('pfld_98'))
    with pytest.raises(ValueError, match='no pixels'):
        network.points(frame, face_at(UPRIGHT, (0.0, 0.0, 0.0, 0.0)))


@pytest.mark.parametrize('count', [68, 98, 106])
def test_five_landmarks_are_inside_all_landmarks(count):
    points = np.random.default_rng(count).uniform(0, 100, (count, 2))
    landmarks = five(points)
    assert landmarks.shape == (5, 2)
    np.testing.assert_allclose(five(points * 3 + 5), landmarks * 3 + 5)


@given(st.lists(st.tuples(st.floats(3, 29), st.floats(3, 13)), min_size=1, max_size=6))
def test_a_peak_is_found_within_less_than_half_a_pixel(places):
    y, x = np.mgrid[:16, :32] + 0.5
    at = np.array(places)
    maps = np.exp(-((x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2) / 2)
    assert np.abs(peaks(maps) - at).max() <= 0.2500001
