import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest

from facefusion_ros.faces.finder import FaceFinder, FinderSettings
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.sim.world import load_world

PERIOD_NS = 33_333_333


@functools.cache
def detector():
    """What finds the faces by default; it keeps nothing from one picture to the next."""
    return load_detector()


class Watch:
    """A finder and the time that passes from frame to frame."""

    def __init__(self, settings=None, start_ns=1_000_000_000):
        self.finder = FaceFinder(settings, detector())
        self.stamp_ns = start_ns

    def __call__(self, pixels):
        self.stamp_ns += PERIOD_NS
        return self.finder.find(pixels, self.stamp_ns)


def error(face, truth):
    """Mean distance of the landmarks from the truth in eye distances."""
    return np.hypot(*(face.landmarks - truth).T).mean() / np.hypot(*(truth[1] - truth[0]))


BLACK = np.zeros((480, 640, 3), np.uint8)


def test_the_default_world_is_seen_truly_and_calmly():
    world = load_world('head')
    finder = FaceFinder(detector=detector())
    pixels = np.empty((world.camera.height, world.camera.width, 3), np.uint8)
    errors, offsets, ids, frames = [], [], set(), 240
    for index in range(frames):
        truth = world.render(index, pixels).landmarks
        found = [face for face in finder.find(pixels, world.frame_stamp_ns(index)) if error(face, truth) < 0.3]
        if found:
            errors.append(error(found[0], truth))
            offsets.append(found[0].landmarks - truth)
            ids.add(found[0].track_id)
    jitter_px = np.sqrt((np.diff(offsets, axis=0) ** 2).sum(axis=2).mean())
    assert len(errors) >= 0.95 * frames
    assert np.mean(errors) <= 0.08
    assert jitter_px <= 0.6
    assert ids == {1}


def test_a_face_is_reported_in_its_first_frame_and_measured_in_each(portrait):
    watch = Watch()
    for step in range(20):
        pixels, truth = portrait.picture(centre=(300 + 3 * step, 240 - 2 * step), roll_deg=step / 2)
        (face,) = watch(pixels)
        assert error(face, truth) < 0.12
        assert (face.track_id, face.measured_ns) == (1, watch.stamp_ns)
        assert 0.4 <= face.score <= 1.0


def test_a_lamp_that_goes_off_does_not_lose_the_face(portrait):
    watch = Watch()
    for step in range(30):
        gain = 1.0 if (step // 6) % 2 == 0 else 0.3
        pixels, truth = portrait.picture(centre=(300 + 2 * step, 240), gain=gain, noise=3.0, seed=step)
        (face,) = watch(pixels)
        assert face.measured_ns == watch.stamp_ns
        assert error(face, truth) < 0.12


def test_two_faces_that_pass_each_other_keep_their_ids(portrait):
    watch = Watch()
    background = np.random.default_rng(0).integers(60, 120, (480, 640, 3), np.uint8)
    ids = []
    for step in range(70):
        pixels = background.copy()
        truths = portrait.paste(pixels, 20 + 6 * step, 10, 1.1), portrait.paste(pixels, 440 - 6 * step, 250, 1.1)
        faces = watch(pixels)
        near = [min(faces, key=lambda face, truth=truth: error(face, truth)) for truth in truths]
        assert all(error(face, truth) < 0.15 for face, truth in zip(near, truths, strict=True))
        ids.append(tuple(face.track_id for face in near))
    assert len(set(ids)) == 1
    assert set(ids[0]) == {1, 2}


def test_a_face_in_front_of_another_keeps_its_id(portrait):
    watch = Watch()
    background = np.random.default_rng(0).integers(60, 120, (480, 640, 3), np.uint8)
    front = set()
    for step in range(80):
        pixels = background.copy()
        portrait.paste(pixels, 180, 100, 1.2)
        truth = portrait.paste(pixels, 5 * step - 60, 80, 1.5)
        if truth[0, 0] > 10:
            faces = watch(pixels)
            front.update(face.track_id for face in faces if error(face, truth) < 0.2)
            assert len(faces) <= 2
    assert len(front) == 1
    # The one behind is seen again, at the next search of the whole picture.
    settings = FinderSettings()
    for _ in range(settings.detection_interval * settings.search_interval):
        faces = watch(pixels)
    assert len(faces) == 2


def test_a_face_partly_out_of_the_frame_stays_and_wholly_out_goes(portrait):
    watch = Watch()
    for x in range(320, 636, 4):
        pixels, truth = portrait.picture(centre=(x, 240))
        (face,) = watch(pixels)
        assert face.track_id == 1
        assert error(face, truth) < 0.15
    assert face.landmarks[1, 0] > 640
    assert face.box[0] + face.box[2] > 640
    gone_ns = watch.stamp_ns
    while faces := watch(np.full((480, 640, 3), (90, 80, 70), np.uint8)):
        assert faces[0].measured_ns <= gone_ns
        assert watch.stamp_ns - gone_ns <= 0.5e9
    assert watch.stamp_ns - gone_ns >= 0.4e9


def test_a_face_that_comes_back_within_the_coast_keeps_its_id(portrait):
    watch = Watch()
    pixels, truth = portrait.picture()
    for _ in range(6):
        watch(pixels)
    measured_ns = watch.stamp_ns
    for _ in range(9):
        (face,) = watch(BLACK)
        assert (face.track_id, face.measured_ns) == (1, measured_ns)
    for _ in range(6):
        (face,) = watch(pixels)
    assert (face.track_id, face.measured_ns) == (1, watch.stamp_ns)
    assert error(face, truth) < 0.12


def test_a_face_that_comes_back_later_is_a_new_one(portrait):
    watch = Watch()
    pixels, _ = portrait.picture()
    assert watch(pixels)[0].track_id == 1
    for _ in range(20):
        faces = watch(BLACK)
    assert faces == ()
    for _ in range(6):
        faces = watch(pixels)
    assert [face.track_id for face in faces] == [2]


def test_held_faces_stay_between_detections(portrait):
    watch = Watch(FinderSettings(tracking='hold', detection_interval=4))
    for step in range(17):
        pixels, truth = portrait.picture(centre=(280 + 4 * step, 240))
        (face,) = watch(pixels)
        if step % 4 == 0:
            assert face.measured_ns == watch.stamp_ns
            assert error(face, truth) < 0.12
            held = face
        else:
            assert face.measured_ns == held.measured_ns == watch.stamp_ns - step % 4 * PERIOD_NS
            np.testing.assert_array_equal(face.landmarks, held.landmarks)
        assert face.track_id == 1


@pytest.mark.parametrize('tracking', ['flow', 'hold'])
def test_the_same_pictures_give_the_same_faces(tracking):
    world = load_world('shake')
    pixels = np.empty((world.camera.height, world.camera.width, 3), np.uint8)
    watches = [Watch(FinderSettings(tracking=tracking)) for _ in range(2)]
    for index in range(40):
        world.render(index, pixels)
        first, second = (watch(pixels) for watch in watches)
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert (a.box, a.score, a.track_id, a.measured_ns) == (b.box, b.score, b.track_id, b.measured_ns)
            np.testing.assert_array_equal(a.landmarks, b.landmarks)


@pytest.mark.parametrize('shape', [(480, 640), (1, 1), (1, 640)])
def test_where_there_is_nothing_nothing_is_found(shape):
    watch = Watch()
    assert all(watch(np.zeros((*shape, 3), np.uint8)) == () for _ in range(8))


def test_an_8k_stream(portrait):
    watch = Watch()
    pixels = np.full((4320, 7680, 3), 90, np.uint8)
    truth = portrait.paste(pixels, 3000, 500, 16.0)
    for _ in range(3):
        (face,) = watch(pixels)
    assert error(face, truth) < 0.12


def test_a_picture_of_another_size_begins_anew(portrait):
    watch = Watch()
    assert [face.track_id for face in watch(portrait.picture()[0])] == [1]
    pixels, truth = portrait.picture(size=(800, 600))
    (face,) = watch(pixels)
    assert face.track_id == 2
    assert error(face, truth) < 0.12


def test_settings_change_at_run_time(portrait):
    watch = Watch()
    pixels, _ = portrait.picture()
    watch(pixels)
    watch.finder.settings = replace(watch.finder.settings, tracking='hold', detection_interval=3)
    measured = [watch(pixels)[0].measured_ns == watch.stamp_ns for _ in range(12)]
    assert 3 <= sum(measured) <= 5
    watch.finder.settings = replace(watch.finder.settings, flow_side_px=480, tracking='flow')
    for _ in range(6):
        (face,) = watch(pixels)
    assert (face.track_id, face.measured_ns) == (1, watch.stamp_ns)


@pytest.mark.parametrize('tracking', ['flow', 'hold'])
def test_a_slow_stream_keeps_its_face(portrait, tracking):
    finder = FaceFinder(FinderSettings(tracking=tracking), detector())
    pixels, _ = portrait.picture()
    for second in range(1, 14):
        (face,) = finder.find(pixels, second * 1_000_000_000)
        assert face.track_id == 1


class Tiring:
    """A detector that sees nothing any more once it is told so."""

    blind = False
    sure_score, again_is_cheap = 0.0, True

    def detect(self, pixels):
        return () if self.blind else detector().detect(pixels)

    def again(self, pixels, face):
        return None if self.blind else detector().again(pixels, face)


def test_a_face_the_detector_no_longer_sees_is_let_go(portrait):
    tiring = Tiring()
    finder = FaceFinder(FinderSettings(unseen_s=0.6), tiring)
    pixels = portrait.picture()[0]
    for step in range(1, 9):
        assert finder.find(pixels, step * PERIOD_NS)
    tiring.blind = True
    stamp_ns = detected_ns = 8 * PERIOD_NS
    while faces := finder.find(pixels, stamp_ns := stamp_ns + PERIOD_NS):
        # The flow follows what is there; it is a face no longer, as far as anybody can tell.
        assert faces[0].measured_ns == stamp_ns
        assert stamp_ns - detected_ns <= 0.7e9
    assert stamp_ns - detected_ns >= 0.4e9


@pytest.mark.parametrize('sure', [True, False])
def test_a_find_that_is_not_sure_must_be_made_twice(portrait, sure):
    asked = Tiring()
    asked.sure_score = 0.0 if sure else 1.1
    finder = FaceFinder(None, asked)
    pixels = portrait.picture()[0]
    assert len(finder.find(pixels, PERIOD_NS)) == sure
    assert len(finder.find(pixels, 2 * PERIOD_NS)) == 1


@pytest.mark.parametrize('cheap', [True, False])
def test_where_a_second_look_is_not_cheap_each_detection_searches(portrait, cheap):
    asked, searches = Tiring(), []
    asked.again_is_cheap = cheap
    asked.detect = lambda pixels: searches.append(1) or detector().detect(pixels)
    finder = FaceFinder(FinderSettings(detection_interval=2, search_interval=3), asked)
    pixels = portrait.picture()[0]
    for step in range(1, 25):
        finder.find(pixels, step * PERIOD_NS)
    assert len(searches) == (4 if cheap else 12)


def test_a_face_is_followed_and_seen_through_a_quarter_turn(portrait):
    watch = Watch(FinderSettings(unseen_s=0.6))
    for roll_deg in range(0, 92, 2):
        pixels, truth = portrait.picture(roll_deg=roll_deg)
        (face,) = watch(pixels)
    assert face.track_id == 1
    assert error(face, truth) < 0.15


def test_reset_forgets_faces_but_gives_no_id_twice(portrait):
    watch = Watch()
    pixels, _ = portrait.picture()
    assert watch(pixels)[0].track_id == 1
    watch.finder.reset()
    assert watch(BLACK) == ()
    watch.finder.reset()
    assert watch(pixels)[0].track_id == 2


def test_time_that_goes_back_begins_anew(portrait):
    finder = FaceFinder(detector=detector())
    pixels, _ = portrait.picture()
    assert finder.find(pixels, 2_000_000_000)[0].track_id == 1
    (face,) = finder.find(pixels, 1_000_000_000)
    assert (face.track_id, face.measured_ns) == (2, 1_000_000_000)


def test_no_more_faces_than_wanted(portrait):
    watch = Watch(FinderSettings(most_faces=1))
    pixels = np.full((480, 640, 3), 120, np.uint8)
    portrait.paste(pixels, 20, 100, 1.0)
    truth = portrait.paste(pixels, 300, 80, 1.8)
    for _ in range(6):
        (face,) = watch(pixels)
    assert error(face, truth) < 0.15


@pytest.mark.parametrize(
    'change',
    [
        {'tracking': 'guess'},
        {'detection_interval': 0},
        {'search_interval': 0},
        {'coast_s': -0.1},
        {'unseen_s': float('nan')},
        {'correction': 0.0},
        {'correction': 1.1},
        {'most_faces': 0},
        {'flow_side_px': 10},
    ],
)
def test_settings_out_of_range_say_so(change):
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=f'{name}.*{value!r}'):
        FinderSettings(**change)


def test_other_pixels_are_refused():
    for pixels in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16), np.zeros((0, 0, 3), np.uint8)):
        with pytest.raises(ValueError, match='need a picture'):
            FaceFinder(detector=detector()).find(pixels, 1)


def test_memory_stays(portrait):
    watch = Watch()
    pixels = [portrait.picture(centre=(320 + 2 * step, 240))[0] for step in range(5)] + [BLACK]
    for picture in itertools.chain(*[pixels] * 6):
        watch(picture)
        assert len(watch.finder._tracks) <= watch.finder.settings.most_faces
