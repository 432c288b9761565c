from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.faces.alignment import similarity
from training import sprites
from training.clutter import clutter, degraded, spoil
from training.scenes import TEMPLATE, crop, crop_from, face_box, mirrored_faces, put, scene, torn, turned_scaled
from training.sprites import FLIPPED, SIDE, Sprite, SpriteStore, draw_shard, five


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    """Four real heads."""
    folder = tmp_path_factory.mktemp('heads')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sprites, 'SHARD', 4)
        draw_shard(folder, 0, 3)
        before = (folder / '00000.rgba.npy').stat().st_mtime_ns
        draw_shard(folder, 0, 3)
        assert (folder / '00000.rgba.npy').stat().st_mtime_ns == before
    return SpriteStore(folder)


def test_heads_are_kept_with_their_landmarks(store):
    assert len(store) == 4
    head = store[2]
    assert head.rgba.shape == (SIDE, SIDE, 4)
    box = face_box(head.points)
    inside = head.rgba[int(box[1]) : int(box[3]), int(box[0]) : int(box[2]), 3]
    assert inside.mean() > 150
    assert head.rgba[[0, -1], :, 3].max() == 0


def test_a_mirrored_head_is_the_same_seen_from_the_other_side(store):
    head = store[1]
    twice = head.mirrored().mirrored()
    assert np.array_equal(twice.rgba, head.rgba)
    np.testing.assert_allclose(twice.points, head.points, atol=1e-4)
    mirrored = head.mirrored()
    assert five(mirrored.points)[0, 0] < five(mirrored.points)[1, 0]
    for k in (0, 30, 36, 48, 54):
        x, y = np.rint(head.points[FLIPPED[k]]).astype(int)
        u, v = np.rint(mirrored.points[k]).astype(int)
        assert (u, v) == pytest.approx((SIDE - 1 - x, y), abs=1)


def test_an_empty_folder_is_told_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r'python -m training\.sprites'):
        SpriteStore(tmp_path)


@given(st.floats(0.08, 1.6), st.floats(-1.0, 1.0), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_a_head_lies_where_its_landmarks_say(scale, turn, dx, dy):
    """Whatever the size: a disc around a landmark is found around the mapped landmark."""
    rgba = np.zeros((SIDE, SIDE, 4), np.uint8)
    mark = np.array([SIDE / 2 + 11.0, SIDE / 2 - 7.0])
    rgba[..., 3] = 0
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    disc = (x - mark[0]) ** 2 + (y - mark[1]) ** 2 < 30.0**2
    rgba[disc] = 255
    points = np.repeat(mark[None], 68, 0)
    matrix = turned_scaled(scale, turn, mark, np.array([200.0 + 100 * dx, 150.0 + 100 * dy]))
    picture = np.zeros((300, 400, 3), np.float32)
    put(picture, Sprite(rgba, points, np.ones(68, bool)), matrix)
    weight = picture[..., 0]
    rows, columns = np.mgrid[0:300, 0:400]
    found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    np.testing.assert_allclose(found, matrix[:, :2] @ mark + matrix[:, 2], atol=0.25)


def test_scenes_are_drawn_by_their_seed_and_their_faces_are_in_them(store):
    seen = 0
    for seed in range(12):
        picture, placed = scene(np.random.default_rng(seed), store, 288, 192)
        again, same = scene(np.random.default_rng(seed), store, 288, 192)
        assert picture.shape == (192, 288, 3)
        assert np.array_equal(picture, again)
        assert len(same) == len(placed)
        for face in placed:
            seen += 1
            middle = (face.box[:2] + face.box[2:]) / 2
            assert (middle > 0).all()
            assert (middle < (288, 192)).all()
            assert (face.box[:2] <= face.points.min(axis=0) + 1e-6).all()
            assert (face.box[2:] >= face.points.max(axis=0) - 1e-6).all()
    assert seen > 6


def test_mirrored_faces_are_those_of_the_mirrored_picture():
    faces = np.zeros((3, 15), np.float32)
    faces[0] = (10, 20, 50, 80, 1, 20, 40, 40, 41, 31, 55, 22, 66, 39, 67)
    turned = mirrored_faces(faces, 100)
    np.testing.assert_array_equal(turned[0], (50, 20, 90, 80, 1, 60, 41, 80, 40, 69, 55, 61, 67, 78, 66))
    assert not turned[1:].any()
    np.testing.assert_array_equal(mirrored_faces(turned, 100), faces)


def test_crops_put_the_landmarks_where_the_template_has_them(store):
    for number in range(4):
        points = store[number].points
        matrix = crop_from(points, 128)
        mapped = five(points) @ matrix[:, :2].T + matrix[:, 2]
        # No other similarity comes closer.
        best = similarity(five(points), TEMPLATE * 128 - 0.5)
        np.testing.assert_allclose(matrix, best, atol=1e-9)
        assert np.abs(mapped.mean(axis=0) - (TEMPLATE * 128 - 0.5).mean(axis=0)).max() < 1e-6


def test_crops_hold_a_face_or_say_that_they_do_not(store):
    grounds = [clutter(np.random.default_rng(k), 160, 160) for k in range(3)]
    faces = 0
    for seed in range(40):
        picture, points, there = crop(np.random.default_rng(seed), store, grounds, 128)
        assert picture.shape == (128, 128, 3)
        assert picture.dtype == np.uint8
        if there:
            faces += 1
            assert np.abs(five(points[:, :2]) - TEMPLATE).mean() < 0.2
        else:
            assert not points.any()
    assert 18 < faces < 36


def test_a_torn_head_shows_no_whole_face():
    """Whatever lies around the middle of the landmarks ends up in pieces."""
    middle = np.array([SIDE / 2 + 13.0, SIDE / 2 - 21.0])
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    disc = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < 30.0**2
    head = Sprite(np.repeat(disc[..., None] * np.uint8(255), 4, 2), np.repeat(middle[None], 68, 0), np.ones(68, bool))
    whole = 0
    for seed in range(40):
        _, _, told, _ = cv2.connectedComponentsWithStats(torn(np.random.default_rng(seed), head).rgba[..., 3])
        whole += told[1:, cv2.CC_STAT_AREA].max(initial=0) > 0.8 * disc.sum()
    assert whole < 3


def test_clutter_is_drawn_by_its_seed_and_has_detail_of_all_sizes():
    strength = []
    for seed in range(16):
        picture = clutter(np.random.default_rng(seed), 160, 120)
        assert picture.shape == (120, 160, 3)
        assert np.array_equal(picture, clutter(np.random.default_rng(seed), 160, 120))
        grey = np.clip(picture, 0, 255).mean(axis=2)
        levels = [grey, *(cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (1, 2, 4, 8))]
        strength.append([float((a - b).std()) for a, b in pairwise(levels)])
    assert np.mean(strength, axis=0).min() > 1.0


def test_a_camera_spoils_pictures_but_leaves_them_pictures():
    picture = clutter(np.random.default_rng(1), 64, 48)
    for seed in range(60):
        spoiled = spoil(np.random.default_rng(seed), picture)
        assert spoiled.shape == (48, 64, 3)
        assert spoiled.dtype == np.uint8


def test_degraded_pictures_keep_their_size_and_lose_detail():
    sharp = np.repeat(np.random.default_rng(0).uniform(0, 255, (64, 64, 1)), 3, 2).astype(np.float32)
    detail = [
        float(cv2.Laplacian(degraded(np.random.default_rng(seed), sharp).astype(np.float32), -1).std())
        for seed in range(40)
    ]
    assert np.median(detail) < 0.3 * float(cv2.Laplacian(sharp, -1).std())
