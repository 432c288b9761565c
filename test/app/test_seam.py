from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facefusion_ros.app.bench.seam import FAR_PX, NEAR_PX, SECTORS, rings, seam, skin

SKIN = (120, 150, 190)


@pytest.fixture
def disc():
    """A round mask in a picture of skin."""
    alpha = np.zeros((200, 240), np.uint8)
    cv2.circle(alpha, (120, 100), 50, 255, -1)
    return alpha


def plain(colour=SKIN):
    return np.full((200, 240, 3), colour, np.uint8)


def everywhere(alpha):
    return np.ones(alpha.shape, np.bool_)


def test_the_rings_lie_beside_the_edge(disc):
    where = rings(disc, everywhere(disc))
    assert where.used.all()
    y, x = np.mgrid[where.window]
    away = np.hypot(x - 120, y - 100) - 50
    assert away[where.outer < SECTORS].min() > NEAR_PX - 1.5
    assert away[where.outer < SECTORS].max() < FAR_PX + 1.5
    assert away[where.inner < SECTORS].min() > -FAR_PX - 1.5
    assert away[where.inner < SECTORS].max() < -NEAR_PX + 1.5


def test_nothing_changed_is_no_seam(disc):
    picture = np.random.default_rng(1).integers(0, 256, (200, 240, 3), np.uint8)
    found = seam(picture, picture.copy(), rings(disc, everywhere(disc)))
    assert not found.delta_e.any()
    assert not found.delta_l.any()


def test_a_gradient_that_was_there_is_no_seam_and_a_step_is(disc):
    where = rings(disc, everywhere(disc))
    before = plain()
    before[:, :, :] = np.clip(before + np.linspace(-40, 40, 240)[None, :, None], 0, 255).astype(np.uint8)
    after = before.copy()
    after[disc > 0] = np.clip(after[disc > 0].astype(int) + 12, 0, 255)
    found = seam(before, after, where)
    assert found.delta_l == pytest.approx(np.full(SECTORS, 4.6), abs=0.8)
    assert np.median(found.delta_e) > 2
    assert seam(before, before, where).delta_e.max() == 0


def test_sectors_without_skin_are_left_out(disc):
    is_skin = everywhere(disc)
    is_skin[:, :120] = False
    where = rings(disc, is_skin)
    assert where.used.sum() == SECTORS // 2
    assert rings(disc, np.zeros_like(is_skin)) is None
    assert rings(np.zeros_like(disc), is_skin) is None


def test_skin_is_told_from_hair_and_cloth():
    picture = np.ascontiguousarray(astronaut()[..., ::-1])
    landmarks = np.array([(203, 101), (246, 103), (225, 127), (204, 140), (244, 141)], np.float64)
    is_skin = skin(picture, landmarks)
    assert is_skin[112:125, 195:210].mean() > 0.8  # a cheek
    assert is_skin[155:165, 215:235].mean() > 0.8  # the chin
    assert not is_skin[20:60, 180:280].any()  # hair
    assert not is_skin[300:].any()  # the suit
    assert not is_skin[:, 300:].any()  # the wall
