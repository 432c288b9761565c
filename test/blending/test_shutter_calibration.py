"""The read-out time of a rolling shutter, from directions that a shaken camera sees each while its row is exposed."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facefusion_ros.blending.gyro_calibration import TooLittleMotionError
from facefusion_ros.blending.shutter_calibration import Pair, calibrate_shutter
from facefusion_ros.blending.visual_turn import Matches

T0 = 1_700_000_000_000_000_000
BIAS = (0.02, -0.015, 0.01)
OFFSET_S = 0.011
NOISE_PX = 0.15


def seen(scene, directions, t):
    """(n, 2) pixels of directions (n, 3) of the world in the frame of that time; rows are found by going back."""
    pixels = scene.camera.pixels(directions @ scene.rotation(t))
    for _ in range(4 if scene.readout_s else 0):
        turns = scene.rotation(t + scene.delay_s(pixels[:, 1]))
        pixels = scene.camera.pixels(np.einsum('nji,nj->ni', turns, directions))
    return pixels


def pairs_of(scene, span_s=4.0, outliers=0.1):
    camera, pairs = scene.camera, []
    for t in np.arange(0.2, 0.2 + span_s, 1 / 30):
        start = scene.rng.uniform((20, 20), (camera.width - 20, camera.height - 20), (24, 2))
        directions = camera.rays(start) @ scene.rotation(t).T
        both = [seen(scene, directions, at) + scene.rng.normal(0, NOISE_PX, (24, 2)) for at in (t, t + 1 / 30)]
        wrong = scene.rng.uniform(size=24) < outliers
        both[1][wrong] += scene.rng.normal(0, 5, (wrong.sum(), 2))
        pairs.append(Pair(*(T0 + round(at * 1e9) for at in (t, t + 1 / 30)), Matches(*both, 2.0)))
    return pairs


@pytest.mark.parametrize(
    ('readout_s', 'peak_deg_s', 'distortion'),
    [(0.02, 60.0, ()), (-0.03, 60.0, ()), (0.012, 25.0, ()), (0.02, 40.0, (-0.2, 0.06, 1e-3, -1e-3))],
)
def test_the_read_out_is_told_to_its_sigma(shaken_camera, readout_s, peak_deg_s, distortion):
    scene = shaken_camera(4, readout_s=readout_s, peak_deg_s=peak_deg_s, distortion=distortion)
    stamps, rates, mounting = scene.gyro(5.0, offset_s=OFFSET_S, bias=BIAS, tilt=(0.1, -0.2, 0.1))
    found = calibrate_shutter(pairs_of(scene), scene.camera, stamps, rates)
    assert abs(found.readout_s - readout_s) < 0.5e-3
    assert abs(found.readout_s - readout_s) < 4 * found.readout_sigma_s
    # And with it all else is as exact as with a global shutter.
    assert abs(found.calibration.time_offset_s - OFFSET_S) < 0.3e-3
    assert np.linalg.norm(cv2.Rodrigues(found.calibration.r_optical_imu @ mounting.T)[0]) < math.radians(0.5)
    assert np.abs(found.calibration.gyro_bias - BIAS).max() < math.radians(0.05)


def test_a_global_shutter_is_told_from_a_rolling_one(shaken_camera):
    scene = shaken_camera(4)
    stamps, rates, _ = scene.gyro(5.0, offset_s=OFFSET_S, bias=BIAS)
    found = calibrate_shutter(pairs_of(scene), scene.camera, stamps, rates)
    assert found.readout_s == 0.0
    assert found.readout_sigma_s < 0.2e-3


def test_what_hardly_moves_says_little_and_says_so(shaken_camera):
    """At 2 degrees per second the rows add a twentieth of a pixel."""
    scene = shaken_camera(4, readout_s=0.02, peak_deg_s=2.0)
    stamps, rates, _ = scene.gyro(5.0)
    found = calibrate_shutter(pairs_of(scene), scene.camera, stamps, rates)
    assert found.readout_sigma_s > 1e-3
    assert abs(found.readout_s - 0.02) < 4 * found.readout_sigma_s or found.readout_s == 0.0


def test_a_picture_that_shows_another_motion_is_refused(shaken_camera):
    scene = shaken_camera(4, readout_s=0.02)
    pairs = pairs_of(scene, span_s=2.0)
    others = [replace(pair, matches=pairs[-1 - index].matches) for index, pair in enumerate(pairs)]
    stamps, rates, _ = scene.gyro(5.0)
    with pytest.raises(TooLittleMotionError):
        calibrate_shutter(others, scene.camera, stamps, rates)
    with pytest.raises(TooLittleMotionError, match='only 0 pairs'):
        calibrate_shutter([], scene.camera, stamps, rates)
