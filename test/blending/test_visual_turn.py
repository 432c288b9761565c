from __future__ import annotations

import cv2
import numpy as np
import pytest

from facefusion_ros.blending.pictures import KEPT, Pictures
from facefusion_ros.blending.visual_turn import VisualTurn, fit_turn, turn_of


def turns_of(scene, frames=12, *, hide=True):
    pictures, visual, errors, last = Pictures(), VisualTurn(), [], None
    for k in range(frames):
        t = 0.5 + k / 30
        faces = [scene.seen_face(t)] if hide else []
        matches = visual.advance(pictures.keep(scene.picture(t), k), faces, scene.camera)
        turn = None if matches is None else turn_of(matches, scene.camera)
        rotation = scene.rotation(t)
        if last is not None:
            assert turn is not None
            errors.append(turn - cv2.Rodrigues(last.T @ rotation)[0][:, 0])
        last = rotation
    return np.array(errors)


@pytest.mark.parametrize('size', [(640, 480), (1280, 720)])
def test_the_picture_tells_how_the_camera_turned(shaken_camera, size):
    errors = turns_of(shaken_camera(4, size=size))
    assert np.abs(errors).max() < 3e-4  # a quarter of a pixel


def test_a_face_that_moves_otherwise_does_not_mislead(shaken_camera):
    assert np.abs(turns_of(shaken_camera(6, riding=True))).max() < 3e-4


def test_a_picture_without_texture_tells_nothing(shaken_camera):
    camera, visual = shaken_camera(0).camera, VisualTurn()
    for _ in range(3):
        assert visual.advance(np.full((480, 640), 80, np.uint8), [], camera) is None


@pytest.mark.parametrize('size', [(1, 1), (5, 3), (30, 20)])
def test_tiny_pictures_are_no_harm(shaken_camera, size):
    camera, visual = shaken_camera(0).camera.scaled(*size), VisualTurn()
    rng = np.random.default_rng(0)
    for _ in range(3):
        visual.advance(rng.integers(0, 255, size[::-1], np.uint8), [], camera)


def test_a_turn_is_found_among_many_that_move_otherwise():
    rng = np.random.default_rng(3)
    before = np.column_stack([rng.uniform(-0.4, 0.4, (40, 2)), np.ones(40)])
    vector = np.array([0.01, -0.03, 0.02])
    after = before @ cv2.Rodrigues(vector)[0]  # R^T from the left
    after /= after[:, 2:]
    after[:16, :2] += (0.05, 0.02)  # something else goes by
    assert np.allclose(fit_turn(before, after, 800.0), vector, atol=2e-4)
    scattered = after + np.column_stack([rng.normal(0, 0.05, (40, 2)), np.zeros(40)])
    assert fit_turn(before, scattered, 800.0) is None or not np.allclose(fit_turn(before, scattered, 800.0), vector)


def test_the_latest_pictures_are_kept_by_their_stamps():
    pictures = Pictures()
    for k in range(KEPT + 5):
        pictures.keep(np.full((48, 64, 3), k, np.uint8), 100 + k)
    assert len(pictures) == KEPT
    assert pictures.at(104) is None
    for k in range(5, KEPT + 5):
        assert (pictures.at(100 + k) == k).all()
    pictures.keep(np.zeros((48, 64), np.uint8), 50)  # the clock was set back
    assert len(pictures) == 1
    pictures.keep(np.zeros((40, 64), np.uint8), 51)  # another camera
    assert len(pictures) == 1
    assert pictures.at(50) is None


@pytest.mark.parametrize(('size', 'factor'), [((640, 480), 1), ((1280, 720), 2), ((1920, 1080), 3), ((641, 7), 2)])
def test_places_in_reduced_pictures(size, factor):
    pictures = Pictures()
    width, height = size
    reduced = pictures.keep(np.zeros((height, width, 3), np.uint8), 1)
    assert pictures.factor == factor
    assert reduced.shape == (max(1, height // factor), width // factor)
    affine = np.array([[1.1, -0.2, 30.0], [0.1, 0.9, -7.0]])
    points = np.array([(0.0, 0.0), (100.0, 50.0), (333.0, 5.0)])
    moved = points @ affine[:, :2].T + affine[:, 2]
    small = pictures.reduced_map(affine)
    assert np.allclose(pictures.reduce(points) @ small[:, :2].T + small[:, 2], pictures.reduce(moved))
    assert np.allclose(pictures.restored_map(small), affine)
