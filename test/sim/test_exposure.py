import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sim.exposure import Sensor, srgb_decode, srgb_encode

SENSOR = Sensor()


def white(lux):
    exposure_s, gain = SENSOR.follow(lux)
    return np.array([SENSOR.white(*v) for v in zip(lux, exposure_s, gain, strict=True)])


def test_constant_light_is_exposed_exactly():
    np.testing.assert_allclose(white(np.full(60, 300.0)), 1.0, rtol=1e-6)
    brighter = Sensor(compensation_ev=1.0).follow(np.full(60, 300.0))
    assert SENSOR.white(300.0, brighter[0][0], brighter[1][0]) == pytest.approx(2.0)


@pytest.mark.parametrize(('before', 'after'), [(400.0, 100.0), (100.0, 400.0)])
def test_exposure_follows_a_step_with_a_lag_and_settles(before, after):
    lux = np.full(300, before)
    lux[100:200] = after
    ev = np.log2(white(lux))
    step = np.log2(after / before)
    assert abs(ev[99]) < 1e-3
    # Nothing is known of the step in its first frames.
    np.testing.assert_allclose(ev[100:102], step, atol=1e-3)
    assert abs(ev[104]) > 0.3
    assert abs(ev[112]) < 0.1
    assert abs(ev[130]) < 1e-3
    # No hunting: the error shrinks without changing its sign.
    assert (np.diff(np.abs(ev[101:130])) <= 1e-9).all()
    assert (np.sign(step) * ev[100:130] > -1e-6).all()


def test_a_saturated_picture_takes_longer():
    lux = np.full(400, 20.0)
    lux[100:300] = 2000.0
    ev = np.log2(white(lux))
    assert ev[112] > 1.0
    assert abs(ev[150]) < 0.01


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 100_000.0), min_size=1, max_size=50))
def test_exposure_stays_within_its_limits_and_longer_exposure_comes_before_gain(lux):
    exposure_s, gain = SENSOR.follow(np.array(lux))
    assert (exposure_s >= SENSOR.min_exposure_s * (1 - 1e-9)).all()
    assert (exposure_s <= SENSOR.max_exposure_s).all()
    assert (gain >= 1.0).all()
    assert (gain <= SENSOR.max_gain).all()
    assert (exposure_s[gain > 1.0] == SENSOR.max_exposure_s).all()


def test_exposure_is_periodic():
    lux = 200.0 + 150.0 * np.sin(np.arange(200) / 200.0 * 2 * np.pi)
    rolled = SENSOR.follow(np.roll(lux, 37))
    for a, b in zip(SENSOR.follow(lux), rolled, strict=True):
        np.testing.assert_allclose(np.roll(a, 37), b, rtol=1e-6)


def test_noise_falls_with_the_light_collected():
    noise = [SENSOR.noise(lux, 0.01) for lux in (1.0, 10.0, 100.0, 1000.0)]
    assert noise == sorted(noise, reverse=True)
    # Where photons are many, noise falls with the root of their number.
    assert SENSOR.noise(400.0, 0.01) / SENSOR.noise(1600.0, 0.01) == pytest.approx(2.0, rel=0.02)


def test_srgb_is_inverted():
    codes = np.arange(256) / 255.0
    np.testing.assert_allclose(srgb_encode(srgb_decode(codes)), codes, atol=1e-6)
    assert srgb_encode(np.array([0.18]))[0] == pytest.approx(0.4614, abs=1e-3)


def test_limits_that_cannot_be():
    with pytest.raises(ValueError, match='max_exposure_s'):
        Sensor(min_exposure_s=0.1, max_exposure_s=0.01)
    with pytest.raises(ValueError, match='max_gain'):
        Sensor(max_gain=0.5)
    with pytest.raises(ValueError, match='iso'):
        Sensor(iso=0.0)
