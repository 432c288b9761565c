"""Registration of a face two frames late, before a shaken camera whose gyro is not calibrated to it."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facefusion_ros.blending.alignment import IDENTITY_MOUNTING, Alignment, AlignmentSettings
from facefusion_ros.errors import SettingError
from facefusion_ros.faces.face import Face

T0 = 1_700_000_000_000_000_000
OFFSET_S, BIAS, TILT = 0.008, (0.017, -0.01, 0.012), (0.03, -0.03, 0.02)
UNKNOWN = {'offset_s': OFFSET_S, 'bias': BIAS, 'tilt': TILT}
GYRO_ONLY = AlignmentSettings(flow=False)
UNGATED = AlignmentSettings(flow=False, gate=False)
LATE = 2  # frames, at 30 per second


class Run:
    """Errors, pixels, frame by frame: without anything, and of each of the alignments by name."""

    def __init__(self, scene, end_s, settings, *, noise_px=0.5, begin_s=0.2, gyro=UNKNOWN):
        stamps_ns, rates, self.mounting = scene.gyro(
            end_s + 0.3, **(gyro or {'offset_s': OFFSET_S, 'bias': BIAS, 'tilt': TILT})
        )
        self.alignments = {
            name: Alignment(replace(each, readout_s=scene.readout_s), scene.camera) for name, each in settings.items()
        }
        self.none, self.errors = [], {name: [] for name in settings}
        faces, heard = [], 0
        for k in range(int((end_s - begin_s) * 30)):
            t = begin_s + k / 30
            now_ns = T0 + round(t * 1e9)
            picture, truth = scene.picture(t), scene.landmarks(t)
            faces.append((scene.seen_face(t, noise_px), truth))
            arrived = int(np.searchsorted(stamps_ns, now_ns + 15_000_000))
            face, before = faces[max(0, len(faces) - 1 - LATE)]
            self.none.append(np.linalg.norm(before - truth, axis=1).mean())
            for name, alignment in self.alignments.items():
                for i in range(heard, arrived):
                    alignment.observe_rotation(int(stamps_ns[i]), rates[i])
                alignment.observe_frame(picture, now_ns, [face])
                motion = alignment.motion(face, now_ns)
                found = before if motion is None else before @ motion[:, :2].T + motion[:, 2]
                self.errors[name].append(np.linalg.norm(found - truth, axis=1).mean())
            heard = arrived

    def p95(self, name, after_s=0.0):
        return np.percentile(self.errors[name][int(30 * after_s) :], 95)

    def turned_wrong_rad(self, estimate):
        return np.linalg.norm(cv2.Rodrigues(estimate.r_optical_imu @ self.mounting.T)[0])


def test_a_turning_camera_is_calibrated_and_its_face_kept_within_half_a_pixel(shaken_camera):
    run = Run(shaken_camera(1), 5.0, {'gyro': GYRO_ONLY, 'gyro_flow': AlignmentSettings()})
    assert np.percentile(run.none, 95) > 25
    assert run.p95('gyro', after_s=2.5) < 0.5
    assert run.p95('gyro_flow') < 0.5  # from the first frame on
    for alignment in run.alignments.values():
        estimate = alignment.estimate
        assert abs(estimate.time_offset_s - OFFSET_S) < 0.3e-3
        assert abs(estimate.time_offset_s - OFFSET_S) < 5 * estimate.time_offset_sigma_s < 1e-3
        assert run.turned_wrong_rad(estimate) < math.radians(0.5)
        assert np.abs(estimate.gyro_bias - BIAS).max() < math.radians(0.05)
        assert estimate.background_coupling == pytest.approx(1.0, abs=0.03)
        assert estimate.couplings[1] == pytest.approx(1.0, abs=0.05)


def test_parallax_and_a_moving_face_are_finished_by_the_picture(shaken_camera):
    scene = shaken_camera(2, lever_m=0.1, face_m_s=0.3)
    settings = {'gyro_flow': AlignmentSettings(), 'gyro': UNGATED}
    run = Run(scene, 3.0, settings)
    assert run.p95('gyro_flow') < 1.0
    assert run.p95('gyro') > 10  # the gyro alone loses the face


@pytest.mark.parametrize('drift_deg_s', [0.0, 30.0])
def test_a_face_that_rides_along_is_left_where_it_is(shaken_camera, drift_deg_s):
    scene = shaken_camera(3, riding=True, peak_deg_s=60.0 if not drift_deg_s else 10.0, drift_deg_s=drift_deg_s)
    run = Run(scene, 2.5, {'gyro_flow': AlignmentSettings(), 'gyro': GYRO_ONLY, 'ungated': UNGATED})
    assert run.p95('ungated') > 15
    assert run.p95('gyro_flow') < 0.3
    assert run.p95('gyro', after_s=0.5) < 1.0
    assert run.alignments['gyro'].estimate.couplings[1] < 0.1


def test_rows_of_a_rolling_shutter(shaken_camera):
    run = Run(shaken_camera(5, readout_s=0.02), 3.5, {'gyro': UNGATED, 'gyro_flow': AlignmentSettings()})
    assert run.p95('gyro', after_s=2.0) < 0.7
    assert run.p95('gyro_flow', after_s=2.0) < 0.5


def test_never_worse_than_without_a_gyro_where_the_gyro_is_wrong(shaken_camera):
    """A gyro whose axes are quite others, and which may not be calibrated: the picture decides."""
    scene = shaken_camera(7, peak_deg_s=40.0)
    wrong = AlignmentSettings(calibrate=False)
    run = Run(scene, 2.0, {'wrong': wrong}, gyro={'tilt': (0.0, 0.0, 2.5)})
    assert np.mean(np.array(run.errors['wrong']) > np.array(run.none) + 0.3) < 0.02


def test_any_mounting_is_found(shaken_camera):
    run = Run(shaken_camera(8), 3.2, {'gyro': UNGATED}, gyro={'tilt': (1.0, 2.0, -0.5), 'offset_s': -0.02})
    assert run.p95('gyro', after_s=2.5) < 0.7
    assert run.turned_wrong_rad(run.alignments['gyro'].estimate) < math.radians(0.5)


def still_alignment(scene, frames, **choice):
    alignment = Alignment(AlignmentSettings(**choice), scene.camera)
    for k in range(frames):
        alignment.observe_frame(scene.picture(k / 30), T0 + round(k / 30 * 1e9))
    return alignment


def test_where_nothing_is_known_a_face_stays(shaken_camera):
    scene = shaken_camera(0)
    face = scene.seen_face(0.1)
    assert Alignment().motion(face, face.measured_ns + 33_000_000) is None  # nothing was ever seen
    alignment = still_alignment(scene, 5, flow=False)
    assert alignment.motion(face, face.measured_ns + 33_000_000) is None  # no gyro
    assert alignment.motion(face, face.measured_ns) is None
    assert alignment.motion(replace(face, measured_ns=0), face.measured_ns) is None
    off = still_alignment(scene, 5, gyro=False, flow=False)
    assert off.motion(face, T0 + round(4 / 30 * 1e9)) is None


def test_frames_of_another_size_and_a_clock_set_back_begin_anew(shaken_camera):
    scene = shaken_camera(0)
    alignment = still_alignment(scene, 3)
    face = scene.seen_face(2 / 30)
    alignment.observe_frame(np.zeros((240, 320, 3), np.uint8), T0 + 10**9)
    alignment.observe_frame(scene.picture(0.0), T0 - 10**10, [face])
    alignment.observe_frame(scene.picture(1 / 30), T0 - 10**10 + 33_000_000)
    assert alignment.motion(replace(face, measured_ns=T0 - 10**10), T0 - 10**10 + 33_000_000) is not None


def test_a_face_without_texture_or_sense_is_no_harm(shaken_camera):
    scene = shaken_camera(0)
    alignment = Alignment(camera=scene.camera)
    for k in range(3):
        alignment.observe_frame(np.full((480, 640), 90, np.uint8), T0 + k * 33_000_000)
    now_ns = T0 + 2 * 33_000_000
    for landmarks in (scene.landmarks(0), np.zeros((5, 2)), np.full((5, 2), 1e5)):
        face = Face((0.0, 0.0, 9.0, 9.0), 1.0, landmarks.astype(np.float32), 1, T0)
        assert alignment.motion(face, now_ns) is None


@pytest.mark.parametrize(
    'wrong',
    [
        {'r_optical_imu': ((1, 0, 0), (0, 1, 0), (0, 0, 2))},
        {'r_optical_imu': ((1, 0, 0), (0, 1, 0), (0, 0, -1))},
        {'r_optical_imu': ((1, 0, 0), (0, 1, 0))},
        {'time_offset_s': 0.3},
        {'time_offset_s': math.nan},
        {'gyro_bias': (0.0, 0.0)},
        {'gyro_bias': (0.0, 0.0, 1.0)},
        {'readout_s': 0.2},
    ],
)
def test_a_setting_outside_its_range_is_refused_by_name_in_one_line(wrong):
    with pytest.raises(SettingError, match=f'^{next(iter(wrong))} must ') as refusal:
        AlignmentSettings(**wrong)
    assert '\n' not in str(refusal.value)


def test_settings_can_be_changed_while_running(shaken_camera):
    scene = shaken_camera(0)
    alignment = still_alignment(scene, 3)
    assert alignment.estimate.time_offset_s == 0.0
    alignment.settings = AlignmentSettings(time_offset_s=0.01)
    assert alignment.estimate.time_offset_s == 0.01
    assert math.isinf(alignment.estimate.time_offset_sigma_s)
    assert np.array_equal(alignment.estimate.r_optical_imu, IDENTITY_MOUNTING)
