from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.blending.alignment import IDENTITY_MOUNTING, Alignment, AlignmentSettings
from facefusion_ros.blending.blender import Blender
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.frames.intrinsics import Intrinsics

CAMERA = Intrinsics(640, 480, 500.0, 500.0, 319.5, 239.5)
T0 = 1_700_000_000_000_000_000
MS = 1_000_000
AS_PAINTED = BlendSettings(colour_strength=0.0, chroma_strength=0.0)


@pytest.fixture
def blender():
    return Blender(BlendSettings())


def changed_pixels(before, after):
    return (before != after).any(axis=2)


def test_the_persona_covers_the_face_and_nothing_else(blender, make_patch, portrait):
    frame = portrait.copy()
    (placed,) = blender.plan([make_patch()], T0, 512, 512)
    blender.apply(frame, [placed])
    left, top, width, height = placed.region
    changed = changed_pixels(portrait, frame)
    assert changed[90:160, 190:260].mean() > 0.95
    changed[top : top + height, left : left + width] = False
    assert not changed.any()


@settings(max_examples=60)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.floats(-150, 250),
    st.floats(-150, 250),
    st.floats(1, 400),
    st.floats(-180, 180),
)
def test_faces_anywhere_in_pictures_of_any_size(make_patch, place, width, height, x, y, face_px, turn_deg):
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    before = frame.copy()
    blender = Blender(BlendSettings())
    placements = blender.plan([make_patch(64, image_from_patch=place(64, x, y, face_px, turn_deg))], T0, width, height)
    blender.apply(frame, placements)
    changed = changed_pixels(before, frame)
    for placement in placements:
        left, top, w, h = placement.region
        assert 0 <= left < left + w <= width
        assert 0 <= top < top + h <= height
        changed[top : top + h, left : left + w] = False
    assert not changed.any()


def test_a_face_outside_gets_no_placement(blender, make_patch, place):
    outside = make_patch(64, image_from_patch=place(64, -200.0, 50.0, 100.0))
    broken = make_patch(64, image_from_patch=np.full((2, 3), math.nan))
    partly = make_patch(64, image_from_patch=place(64, 0.0, 50.0, 100.0))
    placements = blender.plan([outside, broken, partly], T0, 640, 480)
    assert [placed.patch for placed in placements] == [partly]


def test_a_frame_of_one_pixel(blender, make_patch, place):
    frame = np.full((1, 1, 3), 9, np.uint8)
    blender.apply(frame, blender.plan([make_patch(64, image_from_patch=place(64, 0.0, 0.0, 50.0))], T0, 1, 1))
    assert frame.shape == (1, 1, 3)


def test_only_the_region_of_an_8k_frame_changes(blender, make_patch, place):
    frame = np.full((4320, 7680, 3), 100, np.uint8)
    frame[::7, ::5] = 31
    before = frame.copy()
    (placed,) = blender.plan([make_patch(256, image_from_patch=place(256, 7000.0, 4000.0, 900.0))], T0, 7680, 4320)
    blender.apply(frame, [placed])
    left, top, width, height = placed.region
    assert not np.array_equal(frame, before)
    frame[top : top + height, left : left + width] = before[top : top + height, left : left + width]
    assert np.array_equal(frame, before)
    assert blender.scratch_bytes < 20 * width * height


def test_scratch_stops_growing_at_the_largest_region(blender, make_patch, place, portrait):
    frame = portrait.copy()
    held = []
    for _ in range(3):
        for k in range(40):
            moved = make_patch(256, image_from_patch=place(256, 20.0 * k, 10.0 * k, 400.0 - 9 * k, 5.0 * k))
            blender.apply(frame, blender.plan([moved], T0 + k, 512, 512))
        held.append(blender.scratch_bytes)
    assert held[0] == held[1] == held[2]
    assert held[0] < 20 * 256 * 256 + 7 * 512 * 512 + 10_000


def test_a_part_of_a_larger_picture_is_worked_on_in_place(blender, make_patch, portrait):
    canvas = np.zeros((600, 700, 3), np.uint8)
    inset = canvas[40:552, 100:612]
    inset[:] = portrait
    whole = portrait.copy()
    placements = blender.plan([make_patch(track_id=0)], T0, 512, 512)
    blender.apply(inset, placements)
    blender.apply(whole, placements)
    assert np.array_equal(inset, whole)
    assert not canvas[:40].any()


def test_patches_are_only_read(blender, make_patch, portrait):
    """They lie in shared memory which this process may not write."""
    patch = make_patch()
    before = patch.pixels.copy()
    patch.pixels.setflags(write=False)
    frame = portrait.copy()
    blender.apply(frame, blender.plan([patch], T0, 512, 512))
    assert np.array_equal(patch.pixels, before)
    assert not np.array_equal(frame, portrait)


def test_frames_that_cannot_be_worked_on_are_refused(blender, make_patch, portrait):
    placements = blender.plan([make_patch()], T0, 512, 512)
    read_only = portrait.copy()
    read_only.setflags(write=False)
    for wrong in (
        read_only,
        portrait[:, ::-1].copy()[:, ::-1],
        np.zeros((512, 512, 4), np.uint8),
        np.zeros((512, 512), np.uint8),
        np.zeros((512, 512, 3), np.float32),
        np.zeros((100, 100, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match='frame'):
            blender.apply(wrong, placements)


def test_the_same_frames_give_the_same_bytes(make_patch, portrait):
    results = []
    for _ in range(2):
        blender = Blender(BlendSettings(), Alignment(camera=CAMERA))
        for k in range(5):
            frame = cv2.convertScaleAbs(portrait, alpha=0.5 + 0.1 * k)
            blender.apply(frame, blender.plan([make_patch()], T0 + k * 33 * MS, 512, 512))
        results.append(frame)
    assert np.array_equal(*results)


def test_overlapping_faces_are_measured_before_either_is_covered(make_patch, portrait):
    """A red persona first, over the same face: the second must not take its light from the first."""
    red = make_patch(64, track_id=1)
    red.pixels[..., :3] = (0, 0, 255)
    second = make_patch(track_id=2)
    alone, after_red = portrait.copy(), portrait.copy()
    for frame, patches in ((alone, [second]), (after_red, [red, second])):
        blender = Blender(BlendSettings())
        blender.apply(frame, blender.plan(patches, T0, 512, 512))
    opaque = np.s_[100:150, 200:250]
    assert np.array_equal(alone[opaque], after_red[opaque])


def brightness(frame):
    return float(frame[125:135, 215:235].mean())


@pytest.mark.parametrize('sensor', [True, False])
def test_after_a_lamp_goes_out_the_persona_follows_within_a_few_frames(make_patch, portrait, sensor):
    """The camera's exposure leaves 5 per cent of it."""
    blender = Blender(BlendSettings(colour_time_constant_s=1.0, grain_strength=0.0))
    course = []
    for k in range(20):
        stamp_ns = T0 + k * 33 * MS
        if sensor:
            blender.observe_light(stamp_ns - 5 * MS, 400.0 if k < 8 else 60.0)
        frame = cv2.convertScaleAbs(portrait, alpha=0.8 if k < 8 else 0.76)
        blender.apply(frame, blender.plan([make_patch()], stamp_ns, 512, 512))
        course.append(brightness(frame))
    assert course[10] == pytest.approx(course[7] * 0.76 / 0.8, rel=0.01)


def test_a_washed_out_face_is_as_white_as_the_light_says(make_patch, portrait):
    """Sixty-four times the light before the camera has closed: the persona's eyes fade as the face's have."""
    eyes = {}
    for sensor in (True, False):
        blender = Blender(BlendSettings(grain_strength=0.0))
        for k in range(12):
            stamp_ns = T0 + k * 33 * MS
            bright = k >= 10
            if sensor:
                blender.observe_light(stamp_ns - 5 * MS, 6400.0 if bright else 100.0)
            frame = np.full_like(portrait, 255) if bright else portrait.copy()
            blender.apply(frame, blender.plan([make_patch()], stamp_ns, 512, 512), 0.01, 1.0)
        eyes[sensor] = float(frame[100:112, 195:205].min())
    assert eyes[True] > 120
    assert eyes[True] > 1.2 * eyes[False]


def test_the_light_sensor_s_fault_is_told_and_goes_away(make_patch, portrait):
    blender = Blender(BlendSettings())
    told = []
    for k in range(60):
        stamp_ns = T0 + k * 66 * MS
        blender.observe_light(stamp_ns - 5 * MS, 0.0 if 20 <= k < 40 else 300.0)
        frame = portrait.copy()
        blender.apply(frame, blender.plan([make_patch()], stamp_ns, 512, 512), 0.01, 1.0)
        told.append(blender.light_fault)
    assert not any(told[:20])
    assert 'covered' in told[35]
    assert told[59] == ''


def test_readings_of_colour_that_say_nothing_are_passed_over(make_patch, portrait):
    results = []
    for readings in ((), ((math.nan, 1.0), (100.0, 1.0), (4000.0, math.nan), (4000.0, 4e6), (4000.0, -1.0))):
        blender = Blender(BlendSettings())
        for k in range(3):
            for kelvin, variance in readings:
                blender.observe_colour(T0 + k * 33 * MS, kelvin, variance)
            frame = portrait.copy()
            blender.apply(frame, blender.plan([make_patch()], T0 + k * 33 * MS, 512, 512))
        results.append(frame)
    assert np.array_equal(*results)


def test_settings_can_be_changed_while_running(blender, make_patch, portrait):
    dark = cv2.convertScaleAbs(portrait, alpha=0.3)
    lit, plain = dark.copy(), dark.copy()
    patch = make_patch(track_id=0)
    blender.apply(lit, blender.plan([patch], T0, 512, 512))
    blender.settings = AS_PAINTED
    blender.apply(plain, blender.plan([patch], T0, 512, 512))
    assert brightness(plain) > 2 * brightness(lit)


def camera_turn(t):
    """Angular velocity of a shaken camera, rad/s in the IMU frame."""
    return np.array([0.6 * math.sin(11 * t), 0.9 * math.sin(8 * t + 1), 1.1 * math.cos(6 * t)])


def truth(begin_s, end_s, points):
    """Where the pixels of a still world are found after the turn: fine integration, direct projection."""
    turn = np.eye(3)
    dt = (end_s - begin_s) / 5000
    for k in range(5000):
        optical = np.array(IDENTITY_MOUNTING) @ camera_turn(begin_s + (k + 0.5) * dt)
        turn = turn @ cv2.Rodrigues(optical * dt)[0]
    rays = np.linalg.inv(CAMERA.matrix) @ np.column_stack([points, np.ones(len(points))]).T
    seen = CAMERA.matrix @ turn.T @ rays
    return (seen[:2] / seen[2]).T


def errors_px(make_patch, place, **choice):
    """Error of the landmarks after the gaps from 20 to 100 ms, (k, 5), pixels."""
    blender = Blender(BlendSettings(), Alignment(AlignmentSettings(**choice), CAMERA))
    for ms in range(0, 1100, 5):
        blender.alignment.observe_rotation(T0 + ms * MS, camera_turn(ms * 1e-3))
    size = 256
    start = place(size, 350.0, 210.0, 150.0)
    landmarks = np.array([(78.0, 100), (178, 100), (128, 140), (90, 180), (166, 180)])
    errors = []
    for begin_ms in range(100, 900, 130):
        for gap_ms in (20, 33, 66, 100):
            # Each a face of its own: one that were always measured in the same place would ride along.
            patch = make_patch(size, image_from_patch=start, measured_ns=T0 + begin_ms * MS, track_id=0)
            (placed,) = blender.plan([patch], T0 + (begin_ms + gap_ms) * MS, 640, 480)
            found = cv2.transform(landmarks[None], placed.image_from_patch)[0]
            at_start = cv2.transform(landmarks[None], start)[0]
            wanted = truth(begin_ms * 1e-3, (begin_ms + gap_ms) * 1e-3, at_start)
            errors.append(np.linalg.norm(found - wanted, axis=1))
    return np.array(errors)


def test_the_gyro_carries_the_landmarks_along(make_patch, place):
    on = errors_px(make_patch, place)
    off = errors_px(make_patch, place, gyro=False)
    assert off.max() > 20
    assert on.max() < 0.5
    assert off.mean() > 5 * on.mean()


def test_a_face_measured_in_this_very_frame_stays(make_patch):
    blender = Blender(BlendSettings(), Alignment(camera=CAMERA))
    for ms in range(0, 200, 5):
        blender.alignment.observe_rotation(T0 + ms * MS, (0, 0, 1.0))
    for measured_ns in (T0 + 100 * MS, T0 + 150 * MS, 0):
        patch = make_patch(measured_ns=measured_ns)
        (placed,) = blender.plan([patch], T0 + 100 * MS, 640, 480)
        assert np.array_equal(placed.image_from_patch, patch.image_from_patch)


@pytest.mark.parametrize('lacking', ['readings', 'intrinsics', 'cover', 'sense'])
def test_without_trustworthy_readings_a_face_stays_where_it_was(make_patch, lacking):
    blender = Blender(BlendSettings(), Alignment(camera=None if lacking == 'intrinsics' else CAMERA))
    for ms in range(0, 0 if lacking == 'readings' else 200, 5):
        blender.alignment.observe_rotation(T0 + ms * MS, (0, 0, 30.0 if lacking == 'sense' else 1.0))
    patch = make_patch(measured_ns=T0 + 100 * MS)
    (placed,) = blender.plan([patch], T0 + (250 if lacking == 'cover' else 150) * MS, 640, 480)
    assert np.array_equal(placed.image_from_patch, patch.image_from_patch)
