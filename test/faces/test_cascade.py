import tracemalloc

import cv2
import numpy as np
import pytest
import skimage.data

from facefusion_ros.faces import cascade
from facefusion_ros.faces.cascade import (
    STILL,
    STREAM,
    CascadeDetector,
    CascadeMissingError,
    CascadeSettings,
)
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.head import box_around


@pytest.fixture(scope='module')
def still():
    return CascadeDetector(STILL)


@pytest.fixture(scope='module')
def stream():
    return CascadeDetector(STREAM)


def error(face, truth):
    """Mean distance of the landmarks from the truth in eye distances."""
    return np.hypot(*(face.landmarks - truth).T).mean() / np.hypot(*(truth[1] - truth[0]))


def check(face, truth):
    assert error(face, truth) < 0.15
    assert 0.4 <= face.score <= 1.0
    assert face.landmarks.shape == (5, 2)
    assert face.landmarks.dtype == np.float32
    assert (face.track_id, face.measured_ns) == (0, 0)
    left, top, width, height = face.box
    assert (face.landmarks > [left, top]).all()
    assert (face.landmarks < [left + width, top + height]).all()


@pytest.mark.parametrize('eye_distance', [14, 20, 35, 70, 110])
def test_a_face_of_any_size_is_found_in_a_still(still, portrait, eye_distance):
    pixels, truth = portrait.picture(eye_distance)
    (face,) = still.detect(pixels)
    check(face, truth)


@pytest.mark.parametrize('eye_distance', [40, 70, 110])
def test_a_face_is_found_in_a_stream(stream, portrait, eye_distance):
    pixels, truth = portrait.picture(eye_distance, noise=3.0)
    (face,) = stream.detect(pixels)
    check(face, truth)


@pytest.mark.parametrize('roll_deg', [-30, -25, -20, -10, 10, 20, 25, 30])
def test_a_rolled_face_is_found_in_a_still(still, portrait, roll_deg):
    pixels, truth = portrait.picture(50, roll_deg=roll_deg)
    (face,) = still.detect(pixels)
    check(face, truth)


@pytest.mark.parametrize('gain', [0.25, 0.5, 1.3])
def test_light_and_noise_do_not_hide_a_face(stream, portrait, gain):
    pixels, truth = portrait.picture(70, gain=gain, noise=4.0)
    (face,) = stream.detect(pixels)
    check(face, truth)


def test_upside_down_there_is_no_face(still, portrait):
    assert still.detect(portrait.picture(roll_deg=180)[0]) == ()


def test_two_faces_come_largest_first(still, portrait):
    pixels = np.full((480, 640, 3), 120, np.uint8)
    small, large = portrait.paste(pixels, 20, 100, 1.0), portrait.paste(pixels, 300, 80, 1.8)
    faces = still.detect(pixels)
    assert len(faces) == 2
    check(faces[0], large)
    check(faces[1], small)


@pytest.mark.parametrize('detector', [STILL, STREAM], ids=['still', 'stream'])
@pytest.mark.parametrize(
    'name', ['brick', 'camera', 'cell', 'chelsea', 'coffee', 'coins', 'grass', 'gravel', 'hubble_deep_field', 'rocket']
)
def test_where_nobody_looks_at_the_camera_there_is_no_face(detector, name):
    pixels = getattr(skimage.data, name)()
    pixels = np.dstack([pixels] * 3) if pixels.ndim == 2 else pixels[..., ::-1]
    assert CascadeDetector(detector).detect(np.ascontiguousarray(pixels)) == ()


@pytest.mark.parametrize('settings', [STILL, STREAM], ids=['still', 'stream'])
@pytest.mark.parametrize('shape', [(1, 1), (1, 700), (700, 1), (19, 19), (20, 20), (21, 64)])
def test_a_tiny_picture_has_no_face(settings, shape):
    assert CascadeDetector(settings).detect(np.full((*shape, 3), 128, np.uint8)) == ()


@pytest.mark.parametrize('level', [0, 255])
def test_a_blank_picture_has_no_face(still, level):
    assert still.detect(np.full((480, 640, 3), level, np.uint8)) == ()


@pytest.mark.parametrize(
    'pixels',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_pixels_are_refused(still, pixels):
    with pytest.raises(ValueError, match='need a picture'):
        still.detect(pixels)


def test_an_8k_still_takes_no_copies_of_its_size(still, portrait):
    pixels = np.full((4320, 7680, 3), 90, np.uint8)
    truth = portrait.paste(pixels, 3000, 500, 12.0)
    tracemalloc.start()
    try:
        (face,) = still.detect(pixels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    check(face, truth)
    assert peak < pixels.nbytes / 4


def test_pictures_of_changing_size_do_not_disturb_each_other(still, portrait):
    pixels, _ = portrait.picture()
    small = cv2.resize(pixels, (320, 240), interpolation=cv2.INTER_AREA)
    first = still.detect(pixels)[0]
    still.detect(small)
    np.testing.assert_array_equal(still.detect(pixels)[0].landmarks, first.landmarks)


def test_a_part_of_a_picture_is_a_picture(still, portrait):
    pixels, truth = portrait.picture(size=(800, 600))
    (face,) = still.detect(pixels[60:540, 80:720])
    check(face, truth - [80, 60])


@pytest.mark.parametrize('roll_deg', [-40, -15, 0, 15, 40])
def test_a_known_face_is_found_again(stream, portrait, roll_deg):
    pixels, truth = portrait.picture(70, roll_deg=roll_deg)
    before = Face(box_around(truth), 0.9, (truth * 1.02 + 5).astype(np.float32))
    face = stream.again(pixels, before)
    assert face is not None
    check(face, truth)


def test_a_face_that_has_gone_is_not_found_again(stream, portrait):
    truth = portrait.picture()[1]
    gone = Face(box_around(truth), 0.9, truth.astype(np.float32))
    assert stream.again(np.full((480, 640, 3), 100, np.uint8), gone) is None
    away = Face(box_around(truth + 9000), 0.9, (truth + 9000).astype(np.float32))
    assert stream.again(portrait.picture()[0], away) is None


def test_without_cascades_there_is_a_cure(monkeypatch):
    monkeypatch.setattr(cascade, 'CASCADE_FOLDERS', ('/nowhere',))
    with pytest.raises(CascadeMissingError, match='install'):
        CascadeDetector()


@pytest.mark.parametrize(
    'change',
    [
        {'longest_side_px': 10},
        {'smallest_face': 1.5},
        {'size_step': 1.0},
        {'min_neighbours': 0},
        {'min_score': -1.0},
        {'rolls_deg': (200.0,)},
    ],
)
def test_cascade_settings_out_of_range_say_so(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        CascadeSettings(**change)
