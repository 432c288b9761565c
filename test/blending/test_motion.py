from __future__ import annotations

import math
import threading

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.blending import motion
from facefusion_ros.blending.settings import IDENTITY_MOUNTING
from facefusion_ros.frames.intrinsics import Intrinsics

CAMERA = Intrinsics(640, 480, 500.0, 510.0, 322.0, 236.0)
T0 = 1_700_000_000_000_000_000
MS = 1_000_000


def rates_over(times_ns, rate_of_s):
    return np.array([rate_of_s((t - T0) * 1e-9) for t in times_ns])


def true_turn(rate_of_s, begin_s, end_s, steps=20_000):
    """Fine Euler integration, with OpenCV's Rodrigues: independent of what is tested."""
    turn = np.eye(3)
    dt = (end_s - begin_s) / steps
    for k in range(steps):
        turn = turn @ cv2.Rodrigues(np.array(rate_of_s(begin_s + (k + 0.5) * dt)) * dt)[0]
    return turn


def angle_between(a, b):
    return np.linalg.norm(cv2.Rodrigues(a.T @ b)[0])


def swinging(t):
    return (1.2 * math.sin(9 * t), -0.8 * math.cos(13 * t + 1), 0.5 * math.sin(7 * t + 2))


def test_turn_of_a_swinging_camera_between_two_stamps_off_the_samples():
    stamps = T0 + np.arange(0, 300, 5) * MS
    turn = motion.turn_between(stamps, rates_over(stamps, swinging), T0 + 52 * MS + 1234, T0 + 171 * MS + 987)
    assert angle_between(turn, true_turn(swinging, 0.052001234, 0.171000987)) < 1e-4


@given(st.integers(0, 200), st.integers(0, 120), st.integers(0, 120))
def test_turns_follow_one_another(begin_ms, first_ms, second_ms):
    stamps = T0 + np.arange(0, 500, 5) * MS
    rates = rates_over(stamps, swinging)
    a, b, c = (T0 + t * MS for t in (begin_ms, begin_ms + first_ms, begin_ms + first_ms + second_ms))
    whole = motion.turn_between(stamps, rates, a, c)
    parts = motion.turn_between(stamps, rates, a, b) @ motion.turn_between(stamps, rates, b, c)
    assert angle_between(whole, parts) < 1e-3


def test_no_time_is_no_turn():
    stamps = T0 + np.arange(0, 100, 5) * MS
    assert np.allclose(motion.turn_between(stamps, rates_over(stamps, swinging), T0 + MS, T0 + MS), np.eye(3))


@pytest.mark.parametrize(
    ('begin_ms', 'end_ms', 'known'),
    [
        (0, 100, True),
        (-29, 129, True),
        (-31, 50, False),
        (50, 131, False),
        (100, 50, False),
        (-600, -500, False),
        (500, 520, False),
    ],
)
def test_at_most_30_ms_beyond_the_readings_are_guessed(begin_ms, end_ms, known):
    stamps = T0 + np.arange(0, 101, 5) * MS
    turn = motion.turn_between(stamps, np.full((len(stamps), 3), 0.1), T0 + begin_ms * MS, T0 + end_ms * MS)
    assert (turn is not None) is known
    if known:
        expected = cv2.Rodrigues(np.full(3, 0.1 * (end_ms - begin_ms) * 1e-3))[0]
        assert angle_between(turn, expected) < 1e-6


def test_a_gap_in_the_readings_is_not_bridged():
    stamps = T0 + np.array([0, 10, 20, 150, 160, 170]) * MS
    rates = np.full((6, 3), 0.1)
    assert motion.turn_between(stamps, rates, T0 + 10 * MS, T0 + 160 * MS) is None
    assert motion.turn_between(stamps, rates, T0 + 60 * MS, T0 + 90 * MS) is None
    assert motion.turn_between(stamps, rates, T0 + 151 * MS, T0 + 169 * MS) is not None


def test_no_readings_no_turn():
    assert motion.turn_between(*motion.Rotations().snapshot(), T0, T0 + MS) is None


def test_the_ring_keeps_the_latest_in_order_and_does_not_grow():
    ring = motion.Rotations()
    total = motion.CAPACITY * 2 + 77
    for k in range(total):
        ring.observe(T0 + k, (k * 1e-3, 0, 0))
    stamps, rates = ring.snapshot()
    assert np.array_equal(stamps, T0 + np.arange(total - motion.CAPACITY, total))
    assert np.allclose(rates[:, 0], np.arange(total - motion.CAPACITY, total) * 1e-3)


@pytest.mark.parametrize('rate', [(math.nan, 0, 0), (0, math.inf, 0), (0, 0, 40.0), (0, 0), 1.0, ((0, 0, 0),)])
def test_impossible_readings_are_passed_over(rate):
    ring = motion.Rotations()
    ring.observe(T0, rate)
    assert len(ring.snapshot()[0]) == 0


def test_late_comers_are_passed_over_and_a_clock_set_back_begins_anew():
    ring = motion.Rotations()
    for t in (0, 10, 5, 10, 20):
        ring.observe(T0 + t * MS, (0, 0, 0))
    assert list(ring.snapshot()[0] - T0) == [0, 10 * MS, 20 * MS]
    ring.observe(T0 - 3600_000 * MS, (0, 0, 0))
    assert list(ring.snapshot()[0]) == [T0 - 3600_000 * MS]


def test_readings_while_another_thread_looks():
    ring = motion.Rotations()
    stop = threading.Event()

    def write():
        k = 0
        while not stop.is_set():
            k += 1
            ring.observe(T0 + k, (k % 1000 * 1e-3, 0, 0))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            stamps, rates = ring.snapshot()
            assert (np.diff(stamps) == 1).all()
            assert np.allclose(rates[:, 0], (stamps - T0) % 1000 * 1e-3)
    finally:
        stop.set()
        writer.join()


# Turning left (about z up) moves the picture to the right; nose up (about -y) moves it down; rolling clockwise as the
# camera sees it (about x forward) turns it counter-clockwise.
@pytest.mark.parametrize(
    ('imu_rate', 'point', 'direction'),
    [
        ((0, 0, 0.5), (322, 236), (1, 0)),
        ((0, -0.5, 0), (322, 236), (0, 1)),
        ((0.5, 0, 0), (422, 236), (0, -1)),
    ],
)
def test_signs(imu_rate, point, direction):
    stamps = T0 + np.arange(0, 101, 5) * MS
    optical = np.array([imu_rate] * len(stamps), float) @ np.array(IDENTITY_MOUNTING).T
    turn = motion.turn_between(stamps, optical, T0, T0 + 100 * MS)
    moved = motion.picture_motion(turn, CAMERA, 640, 480) @ (*point, 1.0)
    shift = moved[:2] / moved[2] - point
    assert shift @ direction > 4.5
    assert abs(shift @ (direction[1], direction[0])) < 1.5


@settings(max_examples=50)
@given(st.tuples(*[st.floats(-0.2, 0.2)] * 3), st.floats(50, 590), st.floats(50, 430))
def test_points_of_a_still_world_are_found_again(vector, x, y):
    """A point on a ray, seen by a camera that then stands differently: projected directly, with OpenCV's Rodrigues."""
    turn = cv2.Rodrigues(np.array(vector))[0]  # optical frame after, in the optical frame before
    world = 2.7 * np.linalg.inv(CAMERA.matrix) @ (x, y, 1.0)
    projected = CAMERA.matrix @ (np.linalg.inv(turn) @ world)
    expected = projected[:2] / projected[2]
    homography = motion.picture_motion(turn, CAMERA, 640, 480)
    affine = motion.local_affine(homography, (x, y))
    assert np.allclose(affine @ (x, y, 1.0), expected, atol=1e-6)
    step = np.array([1e-3, -2e-3])
    near = homography @ (x + step[0], y + step[1], 1.0)
    assert np.allclose(affine[:, :2] @ step, near[:2] / near[2] - expected, atol=1e-6)


def test_the_lens_is_the_same_on_a_picture_of_half_the_size():
    turn = cv2.Rodrigues(np.array([0.02, 0.05, -0.03]))[0]
    full = motion.picture_motion(turn, CAMERA, 640, 480) @ (200.0, 100.0, 1.0)
    half = motion.picture_motion(turn, CAMERA, 320, 240) @ ((200.0 + 0.5) / 2 - 0.5, (100.0 + 0.5) / 2 - 0.5, 1.0)
    assert np.allclose((full[:2] / full[2] + 0.5) / 2 - 0.5, half[:2] / half[2])


def test_a_turn_out_of_sight_is_refused():
    assert motion.picture_motion(cv2.Rodrigues(np.array([0, 0.6, 0]))[0], CAMERA, 640, 480) is None
    assert motion.local_affine(np.diag([1.0, 1.0, -1.0]), (0, 0)) is None
