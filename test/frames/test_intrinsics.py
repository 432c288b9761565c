from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.errors import SettingError
from facefusion_ros.frames.intrinsics import Intrinsics

PINHOLE = Intrinsics(640, 480, 500.0, 510.0, 322.0, 236.0)
LENSES = {
    'none': (),
    'four': (-0.25, 0.06, 1e-3, -2e-3),
    'plumb_bob': (-0.31, 0.11, 1e-3, -8e-4, -0.02),
    'rational': (0.5, 0.1, 6e-4, -3e-4, 0.01, 0.85, 0.2, 0.03),
}


def lens(name):
    return Intrinsics(640, 480, 500.0, 510.0, 322.0, 236.0, LENSES[name])


@pytest.mark.parametrize('name', LENSES)
def test_rays_end_where_opencv_projects_them(name):
    rays = np.column_stack([np.random.default_rng(1).uniform(-0.6, 0.6, (50, 2)), np.ones(50)])
    expected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), PINHOLE.matrix, np.array(LENSES[name]))
    assert np.allclose(lens(name).pixels(3.0 * rays), expected[:, 0], atol=1e-9)


@pytest.mark.parametrize('name', LENSES)
@given(st.floats(0, 639), st.floats(0, 479))
def test_every_pixel_has_the_ray_that_ends_there(name, x, y):
    rays = lens(name).rays([(x, y)])
    assert rays[0, 2] == 1.0
    assert np.allclose(lens(name).pixels(rays), [(x, y)], atol=1e-6)


def test_a_ray_that_goes_backward_ends_nowhere():
    assert np.isnan(PINHOLE.pixels([(0.1, 0.1, -1.0), (0.0, 0.0, 0.0)])).all()
    assert np.allclose(PINHOLE.pixels([(0.0, 0.0, 2.0)]), [(322.0, 236.0)])


def test_the_lens_is_the_same_on_a_picture_of_half_the_size():
    camera = lens('plumb_bob')
    half = camera.scaled(320, 240)
    points = np.array([(0.0, 0.0), (100.0, 400.0), (639.0, 479.0)])
    assert np.allclose(half.rays((points + 0.5) / 2 - 0.5), camera.rays(points))


@pytest.mark.parametrize('numbers', [(0.1,), (0.1,) * 12, (0.1, 0.2, float('nan'), 0.1)])
def test_distortion_of_no_known_model_is_refused(numbers):
    with pytest.raises(SettingError, match='distortion must be'):
        Intrinsics(640, 480, 500.0, 510.0, 322.0, 236.0, numbers)
