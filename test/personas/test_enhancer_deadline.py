import contextlib
import threading

import numpy as np
import pytest

from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.faces.alignment import apply as moved
from facefusion_ros.faces.alignment import whole_face
from facefusion_ros.faces.face import Face
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.personas.deadline import DeadlineEnhancer, DeadlineSettings
from facefusion_ros.personas.enhancer import Enhancer
from facefusion_ros.personas.swapper import WarpSwapper

SIZE = 64
LANDMARKS = whole_face(SIZE).landmarks
PATIENT = DeadlineSettings(budget_s=60.0, max_age_s=0.25)
HASTY = DeadlineSettings(budget_s=0.0, max_age_s=0.25)


class Brightens:
    """Adds 100 to a patch, once for each permission."""

    def __init__(self):
        self.started = threading.Semaphore(0)
        self.permits = threading.Semaphore(0)
        self.seen = []
        self.error = None

    def enhance(self, patch, landmarks, out):  # noqa: ARG002 - as an enhancer is called
        self.seen.append(int(patch[0, 0, 0]))
        self.started.release()
        assert self.permits.acquire(timeout=60)
        if self.error:
            raise self.error
        out[...] = patch
        out[..., :3] += 100


class Setup:
    def __init__(self):
        self.enhancer = Brightens()
        self.now_ns = 10**15
        self.deadline = DeadlineEnhancer(self.enhancer, SIZE, PATIENT, lambda: self.now_ns)

    def permit(self, jobs=1):
        self.enhancer.permits.release(jobs)

    def begun(self):
        assert self.enhancer.started.acquire(timeout=60)

    def show(self, value, track=1, landmarks=LANDMARKS, settings=None):
        """Return the age, and the value of the pixel in the middle."""
        self.deadline.settings = settings or HASTY
        out = np.zeros((SIZE, SIZE, 4), np.uint8)
        age = self.deadline.enhance(track, plain(value), landmarks, out)
        return age, int(out[SIZE // 2, SIZE // 2, 0])


def plain(value):
    return np.full((SIZE, SIZE, 4), (value, value, value, 255), np.uint8)


@pytest.fixture
def setup():
    made = Setup()
    yield made
    made.permit(1000)
    made.deadline.close()
    assert not made.deadline._worker._thread.is_alive()


def test_what_is_done_within_the_budget_is_shown(setup):
    setup.permit()
    assert setup.show(50, settings=PATIENT) == (0, 150)


def test_without_any_enhanced_patch_the_plain_one_is_shown_at_once(setup):
    assert setup.show(50) == (None, 50)
    setup.begun()
    assert setup.show(51) == (None, 51)


def test_a_late_network_means_the_last_enhanced_patch_until_it_is_too_old(setup):
    setup.permit()
    setup.show(50, settings=PATIENT)
    for age_ns in (0, 33_000_000, 250_000_000):
        setup.now_ns = 10**15 + age_ns
        assert setup.show(60) == (age_ns, 150)
    setup.now_ns += 1
    assert setup.show(60) == (None, 60)
    # When it is done at last, it counts again from the time of its own patch.
    setup.permit(10)
    assert setup.show(70, settings=PATIENT) == (0, 170)


def test_a_clock_that_went_back_shows_nothing_from_the_future(setup):
    setup.permit()
    setup.show(50, settings=PATIENT)
    setup.now_ns -= 5_000_000_000
    assert setup.show(60) == (None, 60)
    setup.permit(10)
    assert setup.show(70, settings=PATIENT) == (0, 170)


def test_of_one_face_only_the_newest_patch_waits(setup):
    setup.show(1)
    setup.begun()
    for value in (2, 3, 4):
        setup.show(value)
    setup.permit()
    setup.begun()
    assert setup.enhancer.seen == [1, 4]


def test_faces_take_turns_however_often_one_asks(setup):
    setup.show(10, track=1)
    setup.begun()
    for value in (1, 2, 3):
        setup.show(20 + value, track=2)
        setup.show(10 + value, track=1)
    setup.show(30, track=3)
    for _ in range(3):
        setup.permit()
        setup.begun()
    assert setup.enhancer.seen == [10, 23, 30, 13]


def test_faces_do_not_mix(setup):
    setup.permit(2)
    assert setup.show(50, track=1, settings=PATIENT) == (0, 150)
    assert setup.show(90, track=2, settings=PATIENT) == (0, 190)
    assert setup.show(60, track=1) == (0, 150)
    assert setup.show(60, track=2) == (0, 190)
    assert setup.show(60, track=3) == (None, 60)


def test_nobody_in_particular_gets_only_its_own(setup):
    setup.permit()
    assert setup.show(50, track=0, settings=PATIENT) == (0, 150)
    assert setup.show(60, track=0) == (None, 60)


def test_faces_that_are_gone_are_forgotten(setup):
    setup.permit(100)
    for track in range(1, 30):
        setup.show(50, track=track, settings=PATIENT)
        setup.now_ns += 100_000_000
    assert len(setup.deadline._tracks) <= 4


def test_the_last_enhanced_patch_follows_the_landmarks(setup):
    """A dot that sat on the nose when it was enhanced sits on the nose now."""
    patch = plain(20)
    x, y = np.round(LANDMARKS[2]).astype(int)
    patch[y - 2 : y + 3, x - 2 : x + 3, :3] = 150
    out = np.zeros_like(patch)
    setup.permit()
    setup.deadline.enhance(1, patch, LANDMARKS, out)
    turn = 1.1 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    affine = np.column_stack([turn, [9.0, -13.0]])
    current = plain(30)
    current[..., 3] = np.arange(SIZE)
    setup.deadline.settings = HASTY
    assert setup.deadline.enhance(1, current, moved(affine, LANDMARKS), out) == 0
    weight = np.clip(out[..., 0].astype(float) - 130, 0, None)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    np.testing.assert_allclose(centre, moved(affine, [[x, y]])[0], atol=0.2)
    np.testing.assert_array_equal(out[..., 3], current[..., 3])
    assert (out[40, 40, :3] == 120).all()
    # Beyond the old patch there is only the plain one.
    assert (out[-1, 0, :3] == 30).all()


def test_where_the_persona_did_not_show_the_plain_patch_does(setup):
    patch = plain(50)
    patch[:, : SIZE // 2, 3] = 0
    out = np.zeros_like(patch)
    setup.permit()
    setup.deadline.enhance(1, patch, LANDMARKS, out)
    setup.deadline.settings = HASTY
    setup.deadline.enhance(1, plain(60), LANDMARKS, out)
    assert (out[:, : SIZE // 2, 0] == 60).all()
    assert (out[:, SIZE // 2 :, 0] == 150).all()


def test_what_the_network_raises_reaches_the_caller_and_it_goes_on(setup):
    setup.enhancer.error = RuntimeError('out of order')
    setup.permit()
    with pytest.raises(RuntimeError, match='out of order'):
        setup.show(50, settings=PATIENT)
    setup.enhancer.error = None
    setup.permit()
    assert setup.show(60, settings=PATIENT) == (0, 160)


def test_wrong_arrays_and_landmarks_do_not_reach_the_thread(setup):
    out = np.zeros((SIZE, SIZE, 4), np.uint8)
    with pytest.raises(ValueError, match='patch must be'):
        setup.deadline.enhance(1, np.zeros((9, 9, 4), np.uint8), LANDMARKS, out)
    with pytest.raises(ValueError, match='in one place'):
        setup.deadline.enhance(1, plain(1), np.ones((5, 2)), out)
    with pytest.raises(ValueError, match='not finite'):
        setup.deadline.enhance(1, plain(1), LANDMARKS * np.nan, out)
    setup.permit()
    setup.show(50, settings=PATIENT)
    assert setup.enhancer.seen == [50]


def test_closing_waits_for_the_network_and_can_be_done_twice():
    setup = Setup()
    setup.show(50)
    setup.begun()
    setup.permit()
    setup.deadline.close()
    setup.deadline.close()
    assert setup.enhancer.seen == [50]


def test_with_a_network_each_patch_gets_what_the_enhancer_makes_of_it(tmp_path, porcelain):
    write_tiny('codeformer_256', tmp_path / 'tiny.onnx')
    enhancer = Enhancer(OrtEngine(tmp_path / 'tiny.onnx'), catalogue().family('codeformer_256'))
    swapper, landmarks = WarpSwapper(porcelain, 128), whole_face(128).landmarks
    patch, out, expected = np.zeros((3, 128, 128, 4), np.uint8)
    swapper.swap(patch, Face((0, 0, 128, 128), 1.0, landmarks.astype(np.float32)), patch)
    enhancer.enhance(patch, landmarks, expected)
    with contextlib.closing(DeadlineEnhancer(enhancer, 128, PATIENT)) as deadline:
        assert deadline.enhance(7, patch, landmarks, out) == 0
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize('wrong', [{'budget_s': -1}, {'max_age_s': 100}, {'max_age_s': float('nan')}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match='must be 0 to 60'):
        DeadlineSettings(**wrong)
