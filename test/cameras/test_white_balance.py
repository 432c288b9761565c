import numpy as np
import pytest

from facefusion_ros.cameras.white_balance import HOLD_MIRED, WhiteBalance, cast_mired

LIMITS = (2800.0, 6500.0)


def linear_rgb(kelvin):
    """Linear sRGB of a black body, green 1: Krystek's rational approximation of the locus (1985), in CIE 1960."""
    t = kelvin
    u = (0.860117757 + 1.54118254e-4 * t + 1.28641212e-7 * t * t) / (1 + 8.42420235e-4 * t + 7.08145163e-7 * t * t)
    v = (0.317398726 + 4.22806245e-5 * t + 4.20481691e-8 * t * t) / (1 - 2.89741816e-5 * t + 1.61456053e-7 * t * t)
    x, y = 3 * u / (2 * u - 8 * v + 4), 2 * v / (2 * u - 8 * v + 4)
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    matrix = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    rgb = matrix @ xyz
    return rgb / rgb[1]


def picture(light_k, set_k, seed=0, colour=0.15, cast=(1.0, 1.0, 1.0)):
    """A wall of greys with some colour in light of one temperature, taken with white balance for another."""
    rng = np.random.default_rng(seed)
    wall = 0.18 * np.exp2(rng.normal(0.0, 0.7, (60, 80, 1))) * np.exp2(rng.normal(0.0, colour, (60, 80, 3)))
    linear = np.clip(wall * linear_rgb(light_k) / linear_rgb(set_k) * np.array(cast), 0.0, 1.0)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.ascontiguousarray(np.rint(255.0 * coded)[..., ::-1].astype(np.uint8))


def watch(light_k, frames=200, sensor=None, limits=LIMITS, **scene):
    """A camera that shows a new setting two pictures later."""
    balance, settings = WhiteBalance(limits), [4600.0] * 3
    for frame in range(frames):
        stamp_ns = frame * 33_000_000
        if sensor:
            balance.observe_light(stamp_ns, *sensor)
        wanted = balance.observe_frame(stamp_ns, picture(light_k, settings[-3], frame, **scene))
        assert wanted is None or limits[0] - 1e-6 <= wanted <= limits[1] + 1e-6
        settings.append(wanted or settings[-1])
    return settings


@pytest.mark.parametrize('light_k', [3000.0, 4000.0, 5200.0, 6300.0])
def test_grey_becomes_grey(light_k):
    settings = watch(light_k)
    assert 1e6 / settings[-1] == pytest.approx(1e6 / light_k, abs=8.0)
    # It goes there and stays.
    assert np.ptp([1e6 / each for each in settings[-60:]]) <= HOLD_MIRED + 0.5


def test_a_colour_sensor_tells_at_once():
    settings = watch(3000.0, frames=1, sensor=(3000.0, 100.0**2))
    assert settings[-1] == pytest.approx(3000.0, rel=0.001)


def test_a_sensor_and_the_picture_are_weighed_by_what_they_are_worth():
    """A red wall in daylight: the picture alone takes the light for warm."""
    red = {'cast': (1.5, 1.0, 0.8)}
    alone, told = watch(5200.0, **red)[-1], watch(5200.0, sensor=(5200.0, 150.0**2), **red)[-1]
    unsure = watch(5200.0, sensor=(5200.0, 2000.0**2), **red)[-1]
    assert alone < unsure < told
    assert told == pytest.approx(5200.0, rel=0.06)
    assert alone < 4200.0


def test_a_sensors_noise_is_not_passed_on():
    balance, rng, told = WhiteBalance(LIMITS), np.random.default_rng(1), []
    for frame in range(200):
        balance.observe_light(frame, 5000.0 * (1.0 + rng.normal(0.0, 0.01)), 100.0**2)
        told.append(balance.observe_frame(frame, picture(5000.0, balance.kelvin or 5000.0, frame)))
    assert sum(each is not None for each in told) <= 3


def test_a_sensor_that_has_fallen_silent_is_not_believed():
    balance = WhiteBalance(LIMITS)
    balance.observe_light(0, 3000.0, 0.0)
    assert balance.observe_frame(10 * 10**9, picture(5000.0, 5000.0)) == pytest.approx(5500.0)


def test_the_controls_limits_hold():
    assert watch(2000.0)[-1] == pytest.approx(LIMITS[0])
    assert watch(9000.0)[-1] == pytest.approx(LIMITS[1])


@pytest.mark.parametrize('value', [0, 255])
def test_black_and_white_have_no_cast(value):
    assert cast_mired(np.full((20, 20, 3), value, np.uint8)) is None


def test_a_picture_that_says_nothing_changes_nothing():
    balance = WhiteBalance(LIMITS)
    assert balance.observe_frame(0, picture(5000.0, 5000.0)) is not None
    assert balance.observe_frame(1, np.zeros((20, 20, 3), np.uint8)) is None
    balance.observe_light(2, float('nan'), 0.0)
    assert balance.observe_frame(3, np.zeros((20, 20, 3), np.uint8)) is None
