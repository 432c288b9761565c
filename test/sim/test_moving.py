"""A camera that moves, a face that moves or rides along, a shutter that rolls, a lens that bends: all known exactly."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.sim.scene import MovingFace
from facefusion_ros.sim.trajectory import GRAVITY_M_S2, Motion, Sway, Tone
from facefusion_ros.sim.world import load_world

BENT = (-0.3, 0.1, 0.002, -0.003, 0.02)


@pytest.fixture(scope='module')
def parallax():
    return load_world('parallax')


@pytest.fixture(scope='module')
def riding():
    return load_world('riding')


def camera_of(world, **changes):
    return replace(world, camera=replace(world.camera, **changes))


def take(world, index):
    out = np.empty((world.camera.height, world.camera.width, 3), np.uint8)
    return out, world.render(index, out)


def grid_m(world, count=90):
    """Points on the face, metres: inside of the cut-out head."""
    corners = (world.head or world.canvas).face_corners_m
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    x, y = np.meshgrid(np.linspace(left, right, count), np.linspace(top, bottom, count))
    return np.column_stack((x.ravel(), y.ravel()))


def flat_face(world, index, count=90):
    """Sample the picture wherever the truth says that the points of the face are."""
    pixels, truth = take(world, index)
    x, y = world.see_face(grid_m(world, count), truth.time_s).astype(np.float32).T.reshape(2, count, count)
    return cv2.cvtColor(cv2.remap(pixels, x, y, cv2.INTER_LINEAR), cv2.COLOR_BGR2GRAY).astype(np.float64)


@pytest.mark.parametrize(
    'change',
    [{}, {'readout_s': 0.03}, {'readout_s': -0.02, 'distortion': BENT}, {'distortion': BENT[:4]}],
    ids=['plain', 'rolling', 'rolling and bent', 'bent'],
)
@pytest.mark.parametrize('name', ['parallax', 'riding'])
def test_pixels_lie_where_the_truth_says(name, change, request):
    world = camera_of(request.getfixturevalue(name), **change)
    first, *others = (flat_face(world, index) for index in (0, 10, 20, 111, 231))
    window = cv2.createHanningWindow(first.shape, cv2.CV_64F)
    for face in others:
        (dx, dy), response = cv2.phaseCorrelate(first, face, window)
        assert response > 0.5
        assert np.hypot(dx, dy) < 0.15  # sampled points lie 2 pixels apart: 0.3 pixels


def test_a_face_before_the_wall_is_seen_from_where_the_camera_is(parallax):
    """Landmarks by the textbook's formula: K R^T (X - C)."""
    k = parallax.camera.intrinsics
    for index in range(0, parallax.frames, 17):
        truth = parallax.truth(index)
        turn = parallax._face_trajectory.rotation(truth.time_s)  # the face's own turn has no other witness
        place = parallax._face_trajectory.position(truth.time_s) + np.array([0.0, 0.0, 0.6])
        points = np.column_stack((parallax.head.landmarks_m, np.zeros(5))) @ turn.T + place
        centre = truth.rotation @ [0.0, 0.0, 0.1] - [0.0, 0.0, 0.1]
        np.testing.assert_allclose(truth.position, centre, atol=1e-12)
        x, y, z = truth.rotation.T @ (points - centre).T
        np.testing.assert_allclose(
            truth.landmarks, np.column_stack((k.fx * x / z + k.cx, k.fy * y / z + k.cy)), atol=1e-3
        )


def test_a_face_turns_about_its_middle(still):
    world = replace(
        still,
        scene=replace(still.scene, distance_m=2.0, face_at_m=(0.1, -0.05)),
        face=MovingFace(0.5, motion=Motion(yaw=(Tone(30.0, 1),), roll=(Tone(20.0, 1),))),
    )
    middle = np.array([(0.1, -0.05)])
    np.testing.assert_allclose(world.see_face(middle, 2.5), world.see_face(middle, 0.0), atol=1e-9)
    np.testing.assert_allclose(world.head.face_corners_m.mean(axis=0), middle[0], atol=1e-9)
    assert np.abs(world.landmarks_at(2.5) - world.landmarks_at(0.0)).max() > 3.0


def test_near_things_move_more_than_far_ones_when_the_camera_moves(still):
    world = replace(
        still,
        motion=Motion(right=(Sway(0.05, 1),)),
        scene=replace(still.scene, distance_m=2.0),
        face=MovingFace(0.5),
    )
    quarter = 2.5  # the sine is at its height
    f = world.camera.intrinsics.fx
    np.testing.assert_allclose(
        world.landmarks_at(quarter) - world.landmarks_at(0.0), [[-f * 0.05 / 0.5, 0.0]] * 5, atol=1e-9
    )
    wall = world.view.see(world.wall_pose, np.zeros((1, 2)), quarter) - world.view.see(
        world.wall_pose, np.zeros((1, 2)), 0.0
    )
    np.testing.assert_allclose(wall, [[-f * 0.05 / 2.0, 0.0]], atol=1e-9)


def test_a_face_that_rides_along_stays_in_the_picture_while_the_wall_passes(riding):
    stiff = replace(riding, face=MovingFace(0.6, rides=True))
    np.testing.assert_allclose(stiff.landmarks_at(3.3), stiff.landmarks_at(0.0), atol=1e-9)
    near, far = take(stiff, 10)[0].astype(int), take(stiff, 16)[0].astype(int)
    left, top, width, height = (int(value) for value in stiff.truth(0).box)
    face = np.abs(near - far)[top : top + height, left : left + width].mean()
    wall = np.abs(near - far)[:, :100].mean()
    assert face < 3.0 < 8.0 < wall


def test_inside_of_a_vehicle_all_of_the_picture_stays():
    turning = load_world('turning')
    inside = replace(turning, scene=replace(turning.scene, rides=True))
    near, far = take(inside, 10)[0].astype(int), take(inside, 16)[0].astype(int)
    assert np.abs(near - far).mean() < 3.0
    np.testing.assert_array_equal(inside.truth(10).landmarks, inside.truth(0).landmarks)
    np.testing.assert_array_equal(inside.angular_velocity_imu(1.0), turning.angular_velocity_imu(1.0))


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 10.0), st.floats(-0.03, 0.03), st.booleans())
def test_each_point_is_seen_by_the_row_that_is_exposed_then(t_s, readout_s, bent):
    """What a rolling shutter shows in a row is what a camera without one would show at that row's time."""
    whole = camera_of(load_world('parallax'), distortion=BENT if bent else ())
    rolling = camera_of(whole, readout_s=readout_s)
    points = np.array([(0.0, 0.0), (0.08, -0.1), (-0.08, 0.1)])
    seen = rolling.see_face(points, t_s)
    for point, pixel in zip(points, seen, strict=True):
        row_s = readout_s / (whole.camera.height - 1)
        then_s = t_s + (pixel[1] - (whole.camera.height - 1) / 2.0) * row_s
        np.testing.assert_allclose(whole.see_face(point[None], then_s)[0], pixel, atol=1e-6)


def test_rolling_skews_a_face_by_pixels(parallax):
    rolling = camera_of(parallax, readout_s=0.03)
    shear = [
        np.ptp((rolling.landmarks_at(t) - parallax.landmarks_at(t))[:, 0])
        for t in np.arange(0.0, parallax.period_s, 0.1)
    ]
    assert max(shear) > 2.0


def test_both_ways_to_draw_show_the_same(parallax, head):
    """A shutter that hardly rolls takes the way of maps; without, there are homographies."""
    for world in (parallax, head):
        plain, mapped = (take(w, 33)[0].astype(int) for w in (world, camera_of(world, readout_s=1e-12)))
        assert np.abs(plain - mapped).mean() < 0.1
        assert np.abs(plain - mapped).max() < 12


def test_landmarks_between_frames_belong_to_a_smooth_motion(parallax):
    world = camera_of(parallax, readout_s=0.02)
    t = np.arange(1.0, 1.5, 0.002)
    path = np.array([world.landmarks_at(s) for s in t])
    assert np.abs(np.diff(path, n=3, axis=0)).max() < 0.02
    np.testing.assert_allclose(world.landmarks_at(1.0), world.truth(30).landmarks, atol=1e-4)
    np.testing.assert_allclose(world.landmarks_at(11.0), world.landmarks_at(1.0), atol=1e-9)


def test_the_same_frame_is_the_same_bytes():
    a, b = (take(camera_of(load_world('parallax'), readout_s=0.02, distortion=BENT), 50)[0] for _ in range(2))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('where', [(0.5, 0.0), (-0.5, 0.3), (0.0, 0.6), (1.0, 0.8)])
def test_a_head_half_or_wholly_out_of_the_picture(parallax, where):
    world = replace(parallax, scene=replace(parallax.scene, face_at_m=where), motion=Motion())
    pixels, truth = take(world, 3)
    assert np.isfinite(truth.landmarks).all()
    assert pixels.min() < 130


def test_the_accelerometer_feels_the_lever_and_the_sway():
    swaying = Motion(
        yaw=(Tone(10.0, 5),), right=(Sway(0.02, 8),), forward=(Sway(0.01, 11, 30.0),), lever_m=(0.02, 0.0, 0.1)
    )
    world = replace(load_world('still'), motion=swaying)
    h = 1e-4
    t = np.arange(2.0, 2.6, h)
    place = world.trajectory.position(t)
    by_differences = (place[2:] - 2.0 * place[1:-1] + place[:-2]) / h**2
    for i in (5, 2500, 5900):
        force = world.optical_from_imu @ world.specific_force_imu(t[i])
        in_world = world.rotation(t[i]) @ force - [0.0, -GRAVITY_M_S2, 0.0]
        np.testing.assert_allclose(in_world, by_differences[i - 1], atol=2e-3)
    assert np.abs(by_differences).max() > 0.5
