from dataclasses import replace

import cv2
import numpy as np
import pytest

from training.faces.background import KINDS, draw
from training.faces.parameters import Background, Sensor
from training.faces.sensor import develop


@pytest.fixture(scope='module')
def light():
    rng = np.random.default_rng(1)
    return cv2.resize(rng.random((12, 12, 3), np.float32), (96, 96), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def test_red_light_is_in_the_last_channel():
    red = np.zeros((8, 8, 3), np.float32)
    red[..., 0] = 0.5
    picture = develop(red, Sensor())
    assert picture[..., 2].min() > 100
    assert picture[..., :2].max() == 0


def test_more_light_is_brighter_and_never_turns_over():
    ramp = np.repeat(np.linspace(0, 4, 256, dtype=np.float32)[None, :, None], 3, 2).repeat(2, 0)
    values = develop(ramp, Sensor())[0, :, 0].astype(int)
    assert (np.diff(values) >= 0).all()
    assert values[0] == 0
    assert values[-1] > 240
    doubled = develop(ramp, Sensor(exposure=2.0))[0, :, 0].astype(int)
    assert (doubled >= values).all()


@pytest.mark.parametrize('change', [{'blur': 0.03}, {'motion': 0.1, 'motion_angle': 30.0}, {'resolution': 0.2}])
def test_blur_takes_detail(light, change):
    def detail(picture):
        return np.abs(cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F)).mean()

    assert detail(develop(light, Sensor(**change))) < 0.85 * detail(develop(light, Sensor()))


def test_noise_is_as_large_as_said_and_the_same_for_a_seed(light):
    clean = develop(light, Sensor()).astype(float)
    noisy = Sensor(read_noise=0.03, seed=5)
    assert np.array_equal(develop(light, noisy), develop(light, noisy))
    assert 2 < (develop(light, noisy) - clean).std() < 20
    assert not np.array_equal(develop(light, noisy), develop(light, replace(noisy, seed=6)))


def test_skew_shifts_rows_the_more_the_farther_from_the_middle():
    light = np.zeros((64, 64, 3), np.float32)
    light[:, 30:34] = 1
    picture = develop(light, Sensor(skew=0.25))[..., 0].astype(float)
    middle = (picture * np.arange(64)).sum(1) / picture.sum(1)
    assert middle[0] - middle[-1] == pytest.approx(0.25 * 63, abs=1.5)


@pytest.mark.parametrize('kind', KINDS)
def test_backgrounds_differ_by_seed_and_are_as_bright_as_said(kind):
    one, same, other = (draw(Background(kind, seed, 0.3), 80, 60) for seed in (1, 1, 2))
    assert one.shape == (60, 80, 3)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.mean() == pytest.approx(0.3, rel=0.05)
