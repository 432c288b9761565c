from __future__ import annotations

import math
import threading

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.blending import motion
from facefusion_ros.blending.alignment import IDENTITY_MOUNTING
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
    total = motion.CAPACITY * 3 + 77
    for k in range(total):
        ring.observe(T0 + k, (k * 1e-4, 0, 0))
    stamps, rates = ring.snapshot()
    assert np.array_equal(stamps, T0 + np.arange(total - motion.CAPACITY, total))
    assert np.allclose(rates[:, 0], np.arange(total - motion.CAPACITY, total) * 1e-4)


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


def test_only_the_readings_that_are_asked_for_are_copied():
    ring = motion.Rotations()
    for t in range(0, 100, 10):
        ring.observe(T0 + t * MS, (0, 0, 0))
    stamps, rates = ring.snapshot(T0 + 31 * MS, T0 + 58 * MS)
    assert list((stamps - T0) // MS) == [30, 40, 50, 60]
    assert rates.shape == (4, 3)
    assert list((ring.snapshot(T0 - 5 * MS, T0 + 5 * MS)[0] - T0) // MS) == [0, 10]
    assert list((ring.snapshot(T0 + 95 * MS)[0] - T0) // MS) == [90]


@pytest.mark.slow
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


@given(st.integers(-60, 260), st.lists(st.floats(-0.03, 0.03), min_size=1, max_size=4))
def test_angles_within_a_read_out_agree_with_the_turn(about_ms, delays_s):
    stamps = T0 + np.arange(0, 201, 5) * MS
    rates = rates_over(stamps, swinging)
    turns = motion.GyroAngle(stamps, rates).turns(T0 + about_ms * MS, np.array(delays_s))
    fine = np.linspace(0, 1, 4001)
    for turn, delay_s in zip(turns, delays_s, strict=True):
        times = about_ms * 1e-3 + fine * delay_s
        known = (stamps - T0) * 1e-9
        course = np.stack([np.interp(times, known, rates[:, axis]) for axis in range(3)], axis=1)
        steps = 0.5 * (course[1:] + course[:-1]) * delay_s / 4000
        assert np.allclose(turn, cv2.Rodrigues(steps.sum(axis=0))[0], atol=2e-6)


def test_the_integral_is_exact_for_rates_that_change_linearly_and_stay_outside():
    stamps = T0 + np.array([0, 10, 25, 30]) * MS
    gyro = motion.GyroAngle(stamps, np.array([[0.0, 1, 2], [1.0, 1, 0], [2.5, 1, 1], [3.0, 1, 1]]))
    angles, rates = gyro.at(np.array([-0.01, 0.004, 0.010, 0.0275, 0.04]))
    assert np.allclose(rates[:, 0], [0.0, 0.4, 1.0, 2.75, 3.0])
    assert np.allclose(angles[:, 0], [0.0, *[50 * t * t for t in (0.004, 0.010, 0.0275)], 50 * 0.03**2 + 0.03])
    assert np.allclose(angles[:, 1], [-0.01, 0.004, 0.010, 0.0275, 0.04])


def steady_readings(rate, until_ms=100):
    stamps = T0 + np.arange(0, until_ms + 1, 5) * MS
    return stamps, np.array([rate] * len(stamps), float)


def went(points, readings, end_ms, camera=CAMERA, readout_s=0.0, begin_ms=0):
    shutter = motion.Shutter(camera.height, readout_s)
    begin_ns, end_ns = T0 + begin_ms * MS, T0 + end_ms * MS
    return motion.displaced(np.array(points, float), begin_ns, end_ns, readings, camera, shutter)


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
    readings = steady_readings(np.array(IDENTITY_MOUNTING) @ imu_rate)
    shift = went([point], readings, 100)[0] - point
    assert shift @ direction > 4.5
    assert abs(shift @ (direction[1], direction[0])) < 1.5


LENS = Intrinsics(640, 480, 500.0, 510.0, 322.0, 236.0, (-0.28, 0.09, 1e-3, -5e-4, 0.0))


@pytest.mark.parametrize('camera', [CAMERA, LENS])
@settings(max_examples=50)
@given(rate=st.tuples(*[st.floats(-2, 2)] * 3), x=st.floats(50, 590), y=st.floats(50, 430))
def test_points_of_a_still_world_are_found_again(camera, rate, x, y):
    """A point seen by a camera that then stands differently: projected directly, with OpenCV."""
    turn = cv2.Rodrigues(np.array(rate) * 0.1)[0]  # optical frame after, in the optical frame before
    coefficients = np.array(camera.distortion)
    ray = cv2.undistortPointsIter(np.array([[(x, y)]]), camera.matrix, coefficients, None, None, (3, 100, 1e-12))[0, 0]
    after = turn.T @ (2.7 * ray[0], 2.7 * ray[1], 2.7)
    expected = cv2.projectPoints(after[None], np.zeros(3), np.zeros(3), camera.matrix, coefficients)[0][0]
    assert np.allclose(went([(x, y)], steady_readings(rate), 100, camera), expected, atol=1e-4)


@pytest.mark.parametrize('readout_s', [0.02, -0.02])
def test_rows_of_a_rolling_shutter_are_seen_at_their_own_time(readout_s):
    """Fixed directions seen by a swinging camera, found by searching for the row in which each is exposed."""
    stamps = T0 + np.arange(0, 500, 2) * MS
    readings = stamps, rates_over(stamps, swinging)

    def seen(direction, stamp_s):
        row = 236.0
        for _ in range(20):
            at_s = stamp_s + (row - 239.5) / 479 * readout_s
            turn = motion.turn_between(*readings, T0 + 50 * MS, T0 + round(at_s * 1e9))
            pixel = CAMERA.pixels((turn.T @ direction)[None])[0]
            row = pixel[1]
        return pixel

    directions = CAMERA.rays(np.array([(150.0, 60.0), (320.0, 240.0), (500.0, 420.0)]))
    before, after = (np.array([seen(d, t) for d in directions]) for t in (0.1, 0.166))
    found = went(before, readings, 166, readout_s=readout_s, begin_ms=100)
    assert np.abs(found - after).max() < 0.05
    assert np.abs(went(before, readings, 166, begin_ms=100) - after).max() > 1.0  # the rows' times matter


def test_a_turn_out_of_sight_is_refused():
    assert went([(320, 240)], steady_readings((0, 6.0, 0)), 100) is None
