import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.cameras.metering import LINEAR, luminance, measure, stride_of, thin, weights
from facefusion_ros.frames.frame import Encoding

TARGET = 0.18


def coded(linear):
    """8-bit sRGB."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.rint(255.0 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)).astype(
        np.uint8
    )


@pytest.mark.parametrize(
    ('shape', 'encoding', 'channels'),
    [
        ((480, 640, 3), Encoding.BGR8, 3),
        ((480, 640, 4), Encoding.BGRA8, 3),
        ((480, 640), Encoding.MONO8, 0),
        ((720, 640), Encoding.NV12, 0),
    ],
)
def test_a_thin_copy_is_small_and_a_copy(shape, encoding, channels):
    pixels = np.full(shape, 126, np.uint8)
    few = thin(pixels, encoding)
    assert few.shape == ((80, 107, 3) if channels else (80, 107))
    pixels[:] = 0
    assert few.min() > 100
    # 126 of 16 to 235 is the middle; NV12 is in video range.
    assert few.flat[0] == (128 if encoding is Encoding.NV12 else 126)


def test_small_pictures_are_taken_whole():
    assert stride_of(50) == 1
    assert thin(np.zeros((4, 6, 3), np.uint8), Encoding.BGR8).shape == (4, 6, 3)


def test_colours_weigh_as_the_eye_weighs_them():
    few = np.zeros((1, 4, 3), np.uint8)
    few[0, 0, 0], few[0, 1, 1], few[0, 2, 2], few[0, 3] = 255, 255, 255, 255
    np.testing.assert_allclose(luminance(few)[0], [0.0722, 0.7152, 0.2126, 1.0], atol=1e-5)
    assert LINEAR[188] == pytest.approx(0.5, abs=0.005)


@settings(max_examples=60, deadline=None)
@given(ev=st.floats(-4.0, 0.0), spread=st.floats(0.1, 1.2), seed=st.integers(0, 99))
def test_the_level_tells_by_how_much_the_exposure_is_off(ev, spread, seed):
    """Also where highlights would clip on the way up: the change it asks for makes the picture as bright as wanted."""
    scene = np.exp2(np.random.default_rng(seed).normal(-2.5, spread, (40, 60)))
    few = coded(scene * 2.0**ev)
    weight = weights(few.shape, 'average')
    factor = TARGET / measure(few, weight, TARGET).brightness
    assert np.minimum(scene * 2.0**ev * factor, 1.0).mean() == pytest.approx(TARGET, rel=0.06)


def test_white_and_black_say_so():
    weight = weights((20, 20), 'average')
    white = measure(np.full((20, 20), 255, np.uint8), weight, TARGET)
    assert (white.white, white.black) == (True, False)
    assert (white.brightness, white.clipped) == pytest.approx((1.0, 1.0))
    black = measure(np.zeros((20, 20), np.uint8), weight, TARGET)
    assert (black.white, black.black) == (False, True)
    assert 0.0 < black.brightness < 0.002
    grey = measure(np.full((20, 20), 118, np.uint8), weight, TARGET)
    assert (grey.white, grey.black, grey.clipped) == (False, False, 0.0)
    assert grey.brightness == pytest.approx(0.18, rel=0.02)


def test_a_window_in_a_dark_room_is_not_a_white_picture():
    few = np.full((20, 20), 60, np.uint8)
    few[:4] = 255
    assert not measure(few, weights((20, 20), 'average'), TARGET).white


@pytest.mark.parametrize('metering', ['average', 'centre', 'face'])
@pytest.mark.parametrize(
    'faces', [(), [(100.0, 80.0, 60.0, 60.0)], [(-50.0, -50.0, 80.0, 80.0), (600.0, 400.0, 500.0, 500.0)]]
)
def test_weights_add_up_to_one(metering, faces):
    weight = weights((80, 107), metering, faces, 6)
    assert weight.shape == (80, 107)
    assert weight.sum() == pytest.approx(1.0, rel=1e-4)
    assert weight.min() >= 0.0


def test_the_middle_and_faces_count_most():
    centre = weights((80, 107), 'centre')
    assert centre[40, 53] > 5.0 * centre[0, 0]
    face = weights((80, 107), 'face', [(60.0, 30.0, 120.0, 120.0)], 6)
    assert face[5:25, 10:30].sum() > 0.7
    # A face that is not in the picture is none.
    np.testing.assert_array_equal(weights((80, 107), 'face', [(9000.0, 0.0, 50.0, 50.0)], 6), centre)


def test_a_face_against_the_light_is_what_is_measured():
    few = np.full((80, 107), 235, np.uint8)
    few[20:60, 30:70] = 60
    weight = weights(few.shape, 'face', [(30.0, 20.0, 40.0, 40.0)])
    assert (
        measure(few, weight, TARGET).brightness < 0.4 * measure(few, weights(few.shape, 'average'), TARGET).brightness
    )
