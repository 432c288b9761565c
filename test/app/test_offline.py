"""The stages in one thread, on the world with known truth and on pictures at the limits."""

import numpy as np
import pytest

from facefusion_ros.app.offline import OfflinePipeline
from facefusion_ros.personas.patches import PatchMaker
from facefusion_ros.sim.world import load_world


@pytest.fixture
def pipeline():
    return OfflinePipeline(PatchMaker())


def outside(shape, regions):
    kept = np.ones(shape[:2], bool)
    for x, y, w, h in regions:
        kept[y : y + h, x : x + w] = False
    return kept


def test_finds_and_replaces_the_face_in_the_default_world(pipeline):
    world = load_world('head')
    picture = np.empty((world.camera.height, world.camera.width, 3), np.uint8)
    indices = range(0, world.frames, 2)
    replaced = 0
    for index in indices:
        truth = world.render(index, picture)
        before = picture.copy()
        outcome = pipeline.process(picture, world.frame_stamp_ns(index))
        untouched = outside(picture.shape, outcome.regions)
        assert np.array_equal(picture[untouched], before[untouched])
        if outcome.regions:
            error_px = np.linalg.norm(outcome.faces[0].landmarks - truth.landmarks, axis=1).mean()
            eye_distance_px = np.linalg.norm(truth.landmarks[1] - truth.landmarks[0])
            replaced += error_px < 0.12 * eye_distance_px and not np.array_equal(picture, before)
    assert replaced >= 0.95 * len(indices)


def test_a_face_that_leaves_is_let_go_and_found_again(pipeline):
    world = load_world('leaving')
    picture = np.empty((world.camera.height, world.camera.width, 3), np.uint8)
    coasting_frames = round(0.5 * world.camera.rate_hz) + 1  # as long as a lost face is kept
    wholly_inside: list[bool] = []
    frames_outside = long_outside = 0
    for index in range(150, 420):  # it is outside from 246 to 290
        truth = world.render(index, picture)
        left, top, width, height = truth.box
        right, bottom = left + width, top + height
        found = bool(pipeline.process(picture, world.frame_stamp_ns(index)).regions)
        if left >= 0 and top >= 0 and right <= world.camera.width and bottom <= world.camera.height:
            wholly_inside.append(found)
        is_outside = right < 0 or bottom < 0 or left > world.camera.width or top > world.camera.height
        frames_outside = frames_outside + 1 if is_outside else 0
        if frames_outside > coasting_frames:
            long_outside += 1
            assert not found
    assert np.mean(wholly_inside) >= 0.9
    assert long_outside


@pytest.mark.parametrize(('width', 'height'), [(1, 1), (1, 480), (2, 3), (7680, 4320)])
def test_pictures_of_any_size_go_through(pipeline, width, height):
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    before = picture.copy()
    outcome = pipeline.process(picture, 0)
    untouched = outside(picture.shape, outcome.regions)
    assert np.array_equal(picture[untouched], before[untouched])
