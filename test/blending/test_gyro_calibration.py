from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from facefusion_ros.blending.alignment import IDENTITY_MOUNTING
from facefusion_ros.blending.gyro_calibration import Calibration, TooLittleMotionError, Turns, calibrate
from facefusion_ros.blending.motion import Rotations
from facefusion_ros.blending.self_calibration import SelfCalibration

T0 = 1_700_000_000_000_000_000
BIAS = (0.02, -0.015, 0.01)
UNKNOWN = Calibration(0.0, np.array(IDENTITY_MOUNTING), np.zeros(3))


def motion(scene, *, noise_rad=1e-4, span_s=10.0, outliers=0.0):
    times = np.arange(0.2, 0.2 + span_s, 1 / 30)
    stamps = T0 + np.round(times * 1e9).astype(np.int64)
    rotations = scene.rotation(times)
    changes = np.swapaxes(rotations[:-1], 1, 2) @ rotations[1:]
    vectors = np.array([cv2.Rodrigues(change)[0][:, 0] for change in changes])
    vectors += scene.rng.normal(0, noise_rad, vectors.shape)
    wrong = scene.rng.uniform(size=len(vectors)) < outliers
    vectors[wrong] = scene.rng.normal(0, 0.02, (wrong.sum(), 3))
    return Turns(stamps[:-1], stamps[1:], vectors)


def off_rad(rotation, truth):
    return np.linalg.norm(cv2.Rodrigues(rotation @ truth.T)[0])


@pytest.mark.parametrize('peak_deg_s', [20.0, 60.0])
@pytest.mark.parametrize('outliers', [0.0, 0.1])
def test_ten_seconds_of_motion_tell_all(shaken_camera, peak_deg_s, outliers):
    errors = []
    for seed in range(2):
        scene = shaken_camera(seed, peak_deg_s=peak_deg_s)
        offset_s = float(scene.rng.uniform(-0.04, 0.04))
        stamps, rates, mounting = scene.gyro(10.7, offset_s=offset_s, bias=BIAS, tilt=scene.rng.normal(0, 0.8, 3))
        found = calibrate(motion(scene, outliers=outliers), stamps, rates)
        errors.append((found.time_offset_s - offset_s) / found.time_offset_sigma_s)
        assert abs(found.time_offset_s - offset_s) < 0.3e-3
        assert off_rad(found.r_optical_imu, mounting) < math.radians(0.5)
        assert np.abs(found.gyro_bias - BIAS).max() < math.radians(0.05)
        assert found.scale == pytest.approx(1.0, abs=0.02)
    assert np.abs(errors).max() < 4  # the sigmas are what they claim


def test_a_vehicle_s_inside_and_too_few_turns_are_refused(shaken_camera):
    scene = shaken_camera(0)
    stamps, rates, _ = scene.gyro(10.7)
    turns = motion(scene)
    cabin = Turns(turns.begin_ns, turns.end_ns, scene.rng.normal(0, 1e-4, turns.vectors.shape))
    with pytest.raises(TooLittleMotionError, match='does not show what the gyro feels'):
        calibrate(cabin, stamps, rates)
    with pytest.raises(TooLittleMotionError, match='only 0 pairs'):
        calibrate(turns, stamps[:0], rates[:0])
    with pytest.raises(TooLittleMotionError, match='pairs of frames'):
        calibrate(motion(scene, span_s=0.8), stamps, rates)


def run(calibration, turns, stamps, rates):
    rotations, heard = Rotations(), 0
    for begin_ns, end_ns, vector in zip(turns.begin_ns, turns.end_ns, turns.vectors, strict=True):
        while heard < len(stamps) and stamps[heard] <= end_ns + 20_000_000:
            rotations.observe(int(stamps[heard]), rates[heard])
            heard += 1
        calibration.add(int(begin_ns), int(end_ns), vector, rotations)
    return calibration.calibration


def test_what_was_learned_is_kept_at_rest_and_inside_a_vehicle(shaken_camera):
    scene = shaken_camera(1)
    stamps, rates, mounting = scene.gyro(24.0, offset_s=0.012, bias=BIAS, tilt=(0.1, -0.2, 0.1))
    turns = motion(scene, span_s=22.0)
    vectors = turns.vectors.copy()
    vectors[300:] = scene.rng.normal(0, 1e-4, vectors[300:].shape)  # the picture shows nothing any more
    calibration = SelfCalibration(UNKNOWN)
    found = run(calibration, Turns(turns.begin_ns, turns.end_ns, vectors), stamps, rates)
    assert abs(found.time_offset_s - 0.012) < 0.3e-3
    assert off_rad(found.r_optical_imu, mounting) < math.radians(0.5)
    assert np.abs(found.gyro_bias - BIAS).max() < math.radians(0.1)
    assert found.scale < 0.3  # and this is told


def test_at_rest_only_the_bias_is_learned(shaken_camera):
    scene = shaken_camera(2, peak_deg_s=1e-6)
    stamps, rates, _ = scene.gyro(6.0, offset_s=0.012, bias=BIAS)
    found = run(SelfCalibration(UNKNOWN), motion(scene, span_s=5.0, noise_rad=3e-5), stamps, rates)
    assert np.abs(found.gyro_bias - BIAS).max() < math.radians(0.1)
    assert math.isinf(found.time_offset_sigma_s)
    assert math.isinf(found.rotation_sigma_rad)
    assert found.time_offset_s == 0.0
