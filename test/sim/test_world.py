import hashlib
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sim.trajectory import GRAVITY_M_S2, OPTICAL_FROM_IMU, rotation_from_rpy
from facefusion_ros.sim.world import Imu, load_world
from facefusion_ros.sim.worldfile import WorldError


def take(world, index):
    out = np.empty((world.camera.height, world.camera.width, 3), np.uint8)
    return out, world.render(index, out)


# Time


def test_world_time_is_the_clock_modulo_the_period(head):
    assert head.time_s(20_000_000_000) == 0.0
    assert head.time_s(21_500_000_000, epoch_ns=1_000_000_000) == 0.5
    assert head.time_s(0, epoch_ns=1) == pytest.approx(head.period_s, abs=1e-8)


@given(st.integers(0, 10**11), st.integers(0, 2 * 10**18))
def test_the_frame_grid_never_drifts(index, epoch_ns):
    world = load_world('still')
    stamp = world.frame_stamp_ns(index, epoch_ns)
    assert world.frame_index(stamp, epoch_ns) == index
    assert world.frame_index(stamp - 1, epoch_ns) == index - 1
    # The stamp's world time is the frame's, to the nanosecond by which it is rounded.
    apart = abs(world.time_s(stamp, epoch_ns) - world.frame_time_s(index))
    assert min(apart, world.period_s - apart) < 2e-9


# Motion


def test_the_imu_reads_what_the_optical_frame_turns(head):
    t = 3.21
    np.testing.assert_allclose(OPTICAL_FROM_IMU @ head.angular_velocity_imu(t), head.angular_velocity_optical(t))
    turned = replace(head, imu=Imu((10.0, -20.0, 30.0)))
    mounting = rotation_from_rpy(*np.radians([10.0, -20.0, 30.0]))
    np.testing.assert_allclose(mounting @ turned.angular_velocity_imu(t), head.angular_velocity_imu(t), atol=1e-12)
    np.testing.assert_allclose(mounting @ turned.specific_force_imu(t), head.specific_force_imu(t), atol=1e-12)


def test_gravity(head, still):
    np.testing.assert_allclose(still.specific_force_imu(1.0), [0.0, 0.0, GRAVITY_M_S2], atol=1e-12)
    force = head.specific_force_imu(4.0)
    assert np.linalg.norm(force) == pytest.approx(GRAVITY_M_S2)
    # Turned back to the world, the force points up, which is -y there.
    world_force = head.rotation(4.0) @ OPTICAL_FROM_IMU @ force
    np.testing.assert_allclose(world_force, [0.0, -GRAVITY_M_S2, 0.0], atol=1e-12)


# Pictures


def test_landmarks_are_the_plane_seen_through_the_camera(head):
    k = head.camera.intrinsics
    for index in range(0, head.frames, 23):
        truth = head.truth(index)
        points = np.column_stack([head.canvas.landmarks_m, np.full(5, head.scene.distance_m)])
        x, y, z = truth.rotation.T @ points.T
        expected = np.column_stack([k.fx * x / z + k.cx, k.fy * y / z + k.cy])
        np.testing.assert_allclose(truth.landmarks, expected, atol=1e-3)
        left, top, width, height = truth.box
        assert (truth.landmarks > (left, top)).all()
        assert (truth.landmarks < (left + width, top + height)).all()


def test_pixels_lie_where_the_truth_says(head):
    """Two frames, each mapped back to the wall by its own homography, show the same face."""
    still_light = replace(head, light=replace(head.light, lamps=(), tunnels=(), drift=()))
    faces = []
    scale = 1200.0  # pixels per metre
    view = np.array([[scale, 0.0, 100.0], [0.0, scale, 100.0], [0.0, 0.0, 1.0]])
    for index in (0, 85, 160, 290, 520):
        pixels, truth = take(still_light, index)
        flat = cv2.warpPerspective(pixels, view @ np.linalg.inv(truth.image_from_plane), (200, 200))
        faces.append(cv2.cvtColor(flat, cv2.COLOR_BGR2GRAY).astype(np.float64))
    for face in faces[1:]:
        (dx, dy), _ = cv2.phaseCorrelate(faces[0], face, cv2.createHanningWindow((200, 200), cv2.CV_64F))
        assert abs(dx) < 0.15
        assert abs(dy) < 0.15


def test_neighbouring_frames_turn_by_the_angular_velocity(head):
    """The truth's velocity at mid-interval carries the landmarks' rays from one frame to the next."""
    k_inv = np.linalg.inv(head.camera.intrinsics.matrix)
    for index in range(0, head.frames, 31):
        a, b = head.truth(index), head.truth(index + 1)
        rays = np.column_stack([a.landmarks, np.ones(5)]) @ k_inv.T
        mid = head.trajectory.angular_velocity(a.time_s + 1.0 / 60.0)
        turned = rays @ cv2.Rodrigues(mid / 30.0)[0]  # R^T applied to each ray
        landmarks = (turned / turned[:, 2:]) @ head.camera.intrinsics.matrix.T
        assert np.abs(landmarks[:, :2] - b.landmarks).max() < 2.0


def test_the_same_frame_is_the_same_bytes(head):
    first, truth = take(head, 77)
    again, _ = take(load_world('head'), 77)
    np.testing.assert_array_equal(first, again)
    later, later_truth = take(head, 77 + 5 * head.frames)
    np.testing.assert_array_equal(first, later)
    np.testing.assert_array_equal(truth.landmarks, later_truth.landmarks)
    assert (first != take(head, 78)[0]).any()


def test_another_process_sees_the_same_bytes(head):
    code = (
        'import hashlib, numpy as np; from facefusion_ros.sim.world import load_world; w = load_world("head");'
        'out = np.empty((480, 640, 3), np.uint8); w.render(123, out); print(hashlib.sha256(out).hexdigest())'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(take(head, 123)[0]).hexdigest()


def test_motion_and_light_are_continuous_at_the_wrap(head):
    last, first, second = head.truth(head.frames - 1), head.truth(head.frames), head.truth(head.frames + 1)
    assert first.time_s == 0.0
    assert np.abs(first.landmarks - last.landmarks).max() < 2.0 * np.abs(second.landmarks - first.landmarks).max() + 1
    assert first.exposure_s * first.gain == pytest.approx(last.exposure_s * last.gain, rel=0.05)


def test_the_picture_brightens_and_darkens_with_the_exposure(head):
    def brightness(t_s):
        return take(head, round(t_s * 30))[0].mean()

    usual = brightness(11.5)
    assert brightness(12.25) < 0.6 * usual  # into the tunnel
    assert brightness(13.5) > 0.75 * usual  # settled, at the limit of gain
    assert brightness(15.7) > 1.2 * usual  # out of it
    assert brightness(16.5) == pytest.approx(usual, rel=0.15)


def test_noise_has_the_strength_the_sensor_states(still):
    darker = replace(still, light=replace(still.light, lux=30.0))
    for world in (still, darker):
        truth = world.truth(0)
        frames = np.array([take(world, i)[0] for i in range(24)], np.float32)
        # Grey background, where coding and decoding leave the noise's size as it is.
        patch = frames[:, 100:200, 430:560]
        assert 100 < patch.mean() < 220
        white = world.camera.sensor.white(truth.lux, truth.exposure_s, truth.gain)
        assert white == pytest.approx(1.0, abs=0.02)
        expected = world.camera.sensor.noise(truth.lux, truth.exposure_s)
        measured = np.sqrt(patch.var(axis=0).mean())
        assert measured == pytest.approx(np.hypot(expected, 12**-0.5), rel=0.1)


def test_noise_covers_every_part_of_a_large_picture(still):
    large = still.sized(1300, 1100)
    a, b = take(large, 0)[0], take(large, 1)[0]
    changed = (a != b).any(axis=2)
    for y in range(0, 1100, 100):
        for x in range(0, 1300, 100):
            assert changed[y : y + 100, x : x + 100].mean() > 0.2


def test_warm_light_is_warm(still):
    cold = take(still, 0)[0].astype(int)
    warm = take(replace(still, light=replace(still.light, warmth=0.2)), 0)[0].astype(int)
    assert (warm[..., 2] - cold[..., 2]).mean() > 3
    assert (warm[..., 0] - cold[..., 0]).mean() < -3


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 70), st.integers(1, 50))
def test_tiny_pictures(width, height):
    try:
        world = load_world('head').sized(width, height)
    except WorldError:
        # A field of view so tall that it sees past the wall.
        assert height > width
        return
    pixels, truth = take(world, 3)
    assert pixels.shape == (height, width, 3)
    assert pixels.max() > 0
    assert np.isfinite(truth.landmarks).all()


def test_one_pixel_and_8k(still):
    assert take(still.sized(1, 1), 0)[0].shape == (1, 1, 3)
    pixels, truth = take(still.sized(7680, 4320), 0)
    np.testing.assert_allclose(
        np.diff(truth.landmarks, axis=0), 12 * np.diff(still.truth(0).landmarks, axis=0), atol=0.01
    )
    assert 60 < pixels[::8, ::8].mean() < 200


def test_sizes_that_cannot_be(still):
    with pytest.raises(WorldError, match='0 x 5'):
        still.sized(0, 5)
    with pytest.raises(WorldError, match='past the wall'):
        still.sized(10, 1000)


@pytest.mark.parametrize('wrong', [(480, 641, 3), (480, 640), (480, 640, 4)])
def test_a_buffer_that_does_not_fit(head, wrong):
    with pytest.raises(ValueError, match='480, 640, 3'):
        head.render(0, np.empty(wrong, np.uint8))


def test_the_face_is_as_large_as_promised_and_in_view(head):
    for index in range(head.frames):
        truth = head.truth(index)
        assert 60.0 < np.linalg.norm(truth.landmarks[1] - truth.landmarks[0]) < 80.0
        left, top, width, height = truth.box
        assert left >= 0
        assert top >= 0
        assert left + width < 640
        assert top + height < 480


def test_leaving_shows_the_face_wholly_partly_and_not():
    world = load_world('leaving')
    seen = set()
    for index in range(world.frames):
        left, top, width, height = world.truth(index).box
        across = min(left + width, 640) - max(left, 0)
        down = min(top + height, 480) - max(top, 0)
        share = max(across, 0) * max(down, 0) / (width * height)
        seen.add('out' if share == 0 else 'in' if share > 0.999 else 'partly')
    assert seen == {'out', 'in', 'partly'}


def test_dark_is_dark():
    world = load_world('dark')
    truth = world.truth(round(7.0 * 30))
    assert truth.gain == world.camera.sensor.max_gain
    assert truth.exposure_s == world.camera.sensor.max_exposure_s
    assert take(world, round(7.0 * 30))[0].mean() < take(world, round(17.0 * 30))[0].mean()


@pytest.mark.parametrize('name', ['head', 'still', 'shake', 'dark'])
def test_a_detector_finds_the_face(name):
    """OpenCV's own cascade, at half size, finds the face at its true place in at least 95 % of the frames."""
    world = load_world(name)
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + 'haarcascade_frontalface_default.xml')
    indices = range(0, world.frames, 10)
    found = 0
    for index in indices:
        pixels, truth = take(world, index)
        grey = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), (320, 240), interpolation=cv2.INTER_AREA)
        centre = np.array(truth.box[:2]) + np.array(truth.box[2:]) / 2.0
        boxes = np.array(cascade.detectMultiScale(grey, 1.1, 4, minSize=(50, 50))).reshape(-1, 4) * 2.0
        found += any(np.linalg.norm(b[:2] + b[2:] / 2.0 - centre) < 0.3 * truth.box[2] for b in boxes)
    assert found >= 0.95 * len(indices)


def test_sensors_need_no_picture():
    """Motion and light come without scikit-image, which the photograph needs."""
    code = (
        'import sys; from facefusion_ros.sim.world import load_world; w = load_world("head");'
        'w.lux(1.0); w.angular_velocity_imu(1.0); w.specific_force_imu(1.0); assert "skimage" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
