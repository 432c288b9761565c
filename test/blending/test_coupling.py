from __future__ import annotations

import math

import numpy as np
import pytest

from facefusion_ros.blending.coupling import Coupling

DT_S = 1 / 30
WIDTH_PX = 200.0


def shaken(k):
    """How far the gyro says that a face goes from frame k to the next, pixels."""
    return np.array([14 * math.sin(0.9 * k), 9 * math.cos(0.6 * k + 1)])


def follow(share, *, own=lambda _: np.zeros(2), frames=60, noise_px=0.4, turned=shaken):
    rng = np.random.default_rng(1)
    coupling = Coupling(WIDTH_PX)
    for k in range(frames):
        went = share * turned(k) + own(k) + rng.normal(0, noise_px, 2)
        coupling.observe(went, turned(k), DT_S, WIDTH_PX)
    return coupling


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0, 1.2])
def test_the_share_is_found_within_half_a_second(share):
    assert follow(share, frames=15).share == pytest.approx(share, abs=0.07)


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_the_usual_shares_are_not_blurred_by_noise(share):
    coupling = follow(share, frames=90)
    assert coupling.share == pytest.approx(share, abs=0.01)
    assert np.allclose(coupling.predict_px(np.array([30.0, 20.0]), 0.066), share * np.array([30.0, 20.0]), atol=0.5)


def test_a_vehicle_that_turns_steadily_takes_its_passenger_along():
    coupling = follow(0.0, frames=30, turned=lambda _: np.array([14.0, 0.0]))
    assert np.abs(coupling.predict_px(np.array([28.0, 0.0]), 2 * DT_S)).max() < 1.5


def test_a_face_that_walks_besides_is_told_from_the_camera():
    coupling = follow(1.0, own=lambda _: np.array([5.0, 0.0]), frames=45)
    assert coupling.share == pytest.approx(1.0, abs=0.1)
    ahead = coupling.predict_px(np.zeros(2), DT_S)
    assert 3.0 < ahead[0] < 6.0
    assert abs(ahead[1]) < 1.0


def test_one_odd_measurement_does_not_count_much():
    coupling = follow(1.0)
    coupling.observe(np.array([300.0, -200.0]), shaken(60), DT_S, WIDTH_PX)
    assert coupling.share == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize('dt_s', [0.0, -1.0, 5.0])
def test_what_was_not_measured_one_after_the_other_is_passed_over(dt_s):
    coupling = follow(1.0)
    before = coupling.share
    coupling.observe(np.array([500.0, 0.0]), np.zeros(2), dt_s, WIDTH_PX)
    assert coupling.share == before
