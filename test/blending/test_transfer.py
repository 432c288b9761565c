from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending.transfer import bounded, monge_kantorovich

seeds = st.integers(0, 2**32 - 1)


def covariance(seed, size=3):
    rng = np.random.default_rng(seed)
    root = rng.normal(0, 1, (size, size)) * rng.uniform(0.05, 3, size)
    return root @ root.T


@given(seeds, seeds)
def test_it_takes_one_covariance_to_the_other_symmetrically(first, second):
    own, wanted = covariance(first), covariance(second)
    stretch = monge_kantorovich(own, wanted, 0.01)
    ridge = 1e-4 * np.eye(3)
    assert np.allclose(stretch, stretch.T)
    assert np.allclose(stretch @ (own + ridge) @ stretch.T, wanted + ridge, atol=1e-4 * np.trace(wanted))
    assert np.linalg.eigvalsh(stretch).min() > 0


@given(seeds)
def test_equal_colours_are_left_alone(seed):
    own = covariance(seed)
    assert np.allclose(monge_kantorovich(own, own, 0.1), np.eye(3), atol=1e-6)


def test_it_moves_colours_less_than_whitening_and_colouring_does():
    own, wanted = covariance(1), covariance(2)
    colours = np.random.default_rng(3).multivariate_normal(np.zeros(3), own, 20_000)
    plain = np.linalg.cholesky(wanted) @ np.linalg.inv(np.linalg.cholesky(own))
    costs = [
        np.square(colours @ (stretch - np.eye(3)).T).sum() for stretch in (monge_kantorovich(own, wanted, 1e-3), plain)
    ]
    assert costs[0] < costs[1]


def test_little_variation_tells_little():
    own, wanted = 1e-6 * np.eye(3), 1e-4 * np.eye(3)
    assert np.abs(monge_kantorovich(own, wanted, 0.1) - np.eye(3)).max() < 0.01
    assert monge_kantorovich(own, wanted, 1e-5)[0, 0] == pytest.approx(10, rel=0.01)


@given(seeds)
def test_bounds_hold_along_every_axis(seed):
    values = np.linalg.eigvalsh(bounded(covariance(seed), 0.5, 1.4))
    assert 0.5 - 1e-9 <= values.min() <= values.max() <= 1.4 + 1e-9
