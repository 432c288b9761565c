from __future__ import annotations

import numpy as np
import pytest

from facefusion_ros.blending.colour_temperature import white


@pytest.mark.parametrize(
    ('kelvin', 'red_over_blue'),
    # Of black bodies, in linear sRGB (Mitchell Charity, "What color is a blackbody?", 1931 2 degree observer).
    [(3000.0, 1.0 / 0.1483), (4000.0, 1.0 / 0.3684), (6500.0, 1.0 / 0.9760), (10_000.0, 0.5944)],
)
def test_it_is_that_of_a_black_body(kelvin, red_over_blue):
    blue, green, red = white(kelvin)
    assert green == 1.0
    assert red / blue == pytest.approx(red_over_blue, rel=0.06)


def test_hotter_is_bluer_all_the_way_and_without_a_jump():
    kelvins = np.arange(2300.0, 30_000.0, 20.0)
    ratio = np.array([np.log(white(kelvin)[2] / white(kelvin)[0]) for kelvin in kelvins])
    steps = np.diff(ratio)
    assert (steps <= 1e-9).all()
    assert steps.min() > -0.08
