import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sim.trajectory import (
    OPTICAL_FROM_IMU,
    Motion,
    Saccade,
    Tone,
    Trajectory,
    Vibration,
    rotation_from_angles,
    rotation_from_rpy,
)
from facefusion_ros.sim.world import load_world
from facefusion_ros.sim.worldfile import world_names


def exponential(w):
    """Rotation vectors (n, 3) to matrices, by Rodrigues."""
    angle = np.linalg.norm(w, axis=1)[:, None, None]
    x, y, z = w.T
    o = np.zeros_like(x)
    k = np.array([[o, -z, y], [z, o, -x], [-y, x, o]]).transpose(2, 0, 1)
    return np.eye(3) + np.sinc(angle / np.pi) * k + 0.5 * np.sinc(angle / 2.0 / np.pi) ** 2 * (k @ k)


def greatest_drift_rad(trajectory, period_s, steps):
    """Integrate the angular velocity over a period; the greatest angle to the true rotation on the way."""
    h = period_s / steps
    turns = exponential(trajectory.angular_velocity((np.arange(steps) + 0.5) * h) * h)
    rotation = trajectory.rotation(0.0)
    worst = 0.0
    for step, true in zip(turns, trajectory.rotation((np.arange(steps) + 1) * h), strict=True):
        rotation = rotation @ step
        difference = rotation.T @ true - np.eye(3)
        worst = max(worst, float(np.abs(difference).max()))
    return worst


@pytest.mark.parametrize('name', ['head', 'shake', 'leaving'])
def test_integrated_angular_velocity_is_the_rotation(name):
    world = load_world(name)
    assert greatest_drift_rad(world.trajectory, world.period_s, 20000) < 1e-4


tones = st.lists(st.builds(Tone, st.floats(-20, 20), st.integers(1, 10), st.floats(0, 360)), max_size=3).map(tuple)


@settings(max_examples=20, deadline=None)
@given(tones, tones, tones, st.integers(0, 5))
def test_any_motion_is_consistent_and_periodic(yaw, pitch, roll, seed):
    saccades = (Saccade(1.0, 0.3, 0.2, 10.0, -5.0), Saccade(4.0, 0.25, 0.5, -7.0, 3.0))
    trajectory = Trajectory(Motion(yaw, pitch, roll, saccades, Vibration(0.05, 5.0, 20.0)), 5.0, seed)
    assert greatest_drift_rad(trajectory, 5.0, 8000) < 1e-4
    before, after = trajectory.rotation(5.0 - 1e-9), trajectory.rotation(0.0)
    np.testing.assert_allclose(before, after, atol=1e-6)
    np.testing.assert_allclose(trajectory.rotation(1.3), trajectory.rotation(6.3), atol=1e-9)
    np.testing.assert_allclose(trajectory.angular_velocity(5.0 - 1e-9), trajectory.angular_velocity(0.0), atol=1e-5)


@pytest.mark.parametrize('name', world_names())
def test_worlds_are_continuous_everywhere(name):
    world = load_world(name)
    t = np.linspace(0.0, world.period_s, 20001)
    rates = world.trajectory.angular_velocity(t)
    jumps = np.abs(np.diff(world.trajectory.angles(t), axis=0)).max()
    assert jumps <= np.abs(world.trajectory.rates(t)).max() * (t[1] - t[0]) * 1.01 + 1e-12
    # Between two samples 1 ms apart not even a saccade gains half its speed.
    assert np.abs(np.diff(rates, axis=0)).max() < 0.2


def test_shake_peaks_at_about_60_degrees_per_second():
    peaks = np.degrees(np.abs(load_world('shake').trajectory.angular_velocity(np.arange(0.0, 20.0, 0.001)))).max(axis=0)
    assert 55.0 < peaks.max() < 70.0


def test_signs_of_the_angles():
    # Yaw turns the view to the right (+x), pitch up (-y); roll leaves it and turns the picture's right downwards.
    view = np.array([0.0, 0.0, 1.0])
    assert (rotation_from_angles(np.array([0.1, 0.0, 0.0])) @ view)[0] > 0.09
    assert (rotation_from_angles(np.array([0.0, 0.1, 0.0])) @ view)[1] < -0.09
    assert (rotation_from_angles(np.array([0.0, 0.0, 0.1])) @ np.array([1.0, 0.0, 0.0]))[1] > 0.09


@given(st.tuples(*[st.floats(-3, 3)] * 3))
def test_rotations_are_rotations(angles):
    for r in (rotation_from_angles(np.array(angles)), rotation_from_rpy(*angles)):
        np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-12)
        assert math.isclose(np.linalg.det(r), 1.0, abs_tol=1e-12)


def test_body_axes_in_the_optical_frame():
    np.testing.assert_array_equal(OPTICAL_FROM_IMU @ [1, 0, 0], [0, 0, 1])  # forward
    np.testing.assert_array_equal(OPTICAL_FROM_IMU @ [0, 1, 0], [-1, 0, 0])  # left
    np.testing.assert_array_equal(OPTICAL_FROM_IMU @ [0, 0, 1], [0, -1, 0])  # up


def test_vibration_has_its_strength_and_follows_the_seed():
    motion = Motion(vibration=Vibration(0.1, 5.0, 25.0))
    t = np.arange(0.0, 10.0, 0.001)
    angles = Trajectory(motion, 10.0, 1).angles(t)
    np.testing.assert_allclose(np.degrees(np.sqrt((angles**2).mean(axis=0))), 0.1, rtol=0.01)
    np.testing.assert_array_equal(angles, Trajectory(motion, 10.0, 1).angles(t))
    assert np.abs(angles - Trajectory(motion, 10.0, 2).angles(t)).max() > 1e-4


def test_motion_that_does_not_fit_the_period():
    with pytest.raises(ValueError, match='saccade at 9'):
        Trajectory(Motion(saccades=(Saccade(9.0, 0.5, 0.5, 5.0),)), 10.0, 0)
    with pytest.raises(ValueError, match='vibration'):
        Trajectory(Motion(vibration=Vibration(0.1, 10.01, 10.02)), 1.0, 0)
