import pytest

from facefusion_ros.sensors.light_range import variance_of


def test_the_variance_counts_rounding_shot_noise_and_tolerance():
    assert variance_of(0.0, 0.0, 0.5, 0.1) == pytest.approx(0.25 / 12.0)
    assert variance_of(500.0, 1000.0, 0.5, 0.0) == pytest.approx(0.25 * 1000.0, rel=1e-3)
    assert variance_of(500.0, 1000.0, 0.5, 0.1) == pytest.approx(250.0 + 2500.0 / 3.0, rel=1e-3)
