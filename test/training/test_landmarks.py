from dataclasses import replace

import cv2
import numpy as np
import pytest

from training.faces import Region
from training.faces.expression import Expression
from training.faces.parameters import Occluder
from training.faces.rendering import render

FLIPPED = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1)]
FLIPPED += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1)]
FLIPPED += [64, 63, 62, 61, 60, 67, 66, 65]


def extent(mask):
    """Return the left and right ends of what is true, pixels."""
    columns = np.flatnonzero(mask.any(0))
    return columns.min(), columns.max()


def test_eyes_lie_where_eyes_are_drawn(plain):
    drawn = render(
        replace(plain, identity=replace(plain.identity, eyes=replace(plain.identity.eyes, lashes=-0.66))), 512
    )
    left = drawn.region == Region.EYE
    left[:, 256:] = False
    first, last = extent(left)
    points = drawn.landmarks
    assert points[36, 0] == pytest.approx(first, abs=3)
    assert points[39, 0] == pytest.approx(last, abs=3)
    rows = np.flatnonzero(left.any(1))
    assert points[[37, 38], 1].min() == pytest.approx(rows.min(), abs=4)
    assert points[[40, 41], 1].max() == pytest.approx(rows.max(), abs=4)


@pytest.mark.parametrize('jaw', [0.0, 12.0, 22.0])
def test_lips_lie_where_lips_are_drawn(plain, jaw):
    drawn = render(replace(plain, expression=Expression(jaw=jaw)), 512)
    lips = drawn.region == Region.LIPS
    first, last = extent(lips)
    rows = np.flatnonzero(lips.any(1))
    points = drawn.landmarks
    assert points[48, 0] == pytest.approx(first, abs=4)
    assert points[54, 0] == pytest.approx(last, abs=4)
    assert points[48:60, 1].min() == pytest.approx(rows.min(), abs=3)
    assert points[48:60, 1].max() == pytest.approx(rows.max(), abs=3 + 0.1 * jaw)
    mouth = np.flatnonzero((drawn.region == Region.MOUTH)[:, 256])
    if jaw:
        assert points[62, 1] == pytest.approx(mouth.min(), abs=3)
        assert points[66, 1] == pytest.approx(mouth.max(), abs=3)


def test_brows_and_nose_lie_where_they_are_drawn(drawn_plain):
    for k in (18, 19, 20, 23, 24, 25):
        x, y = drawn_plain.landmarks[k].round().astype(int)
        assert (drawn_plain.region[y - 3 : y + 4, x - 2 : x + 3] == Region.BROW).any(), k
    for k in range(28, 31):
        x, y = drawn_plain.landmarks[k].round().astype(int)
        assert drawn_plain.region[y, x] == Region.NOSE


def test_the_points_of_the_lips_lie_on_their_rim_and_are_spread_as_in_the_scheme(plain):
    drawn = render(plain, 512)
    lips = (drawn.region == Region.LIPS).astype(np.uint8)
    rim = cv2.distanceTransform(lips, cv2.DIST_L2, 3) + cv2.distanceTransform(1 - lips, cv2.DIST_L2, 3)
    points = drawn.landmarks
    for x, y in points[48:60].round().astype(int):
        assert rim[y, x] < 5
    half = (points[54, 0] - points[48, 0]) / 2
    across = (points[48:60, 0] - points[51, 0]) / half
    # Places along the lips of the mean of the 300-W annotations (Sagonas et al., 2013).
    expected = [-1, -0.63, -0.26, 0, 0.26, 0.63, 1, 0.64, 0.28, 0, -0.28, -0.64]
    assert across == pytest.approx(expected, abs=0.06)


def test_the_points_under_the_nose_lie_at_its_lower_edge(drawn_plain):
    nose = drawn_plain.region == Region.NOSE
    points = drawn_plain.landmarks
    for k in range(31, 36):
        column = np.flatnonzero(nose[:, round(float(points[k, 0]))])
        assert abs(column.max() - points[k, 1]) < 4, k
    first, last = extent(nose)
    assert abs(points[31, 0] - first) < 7
    assert abs(points[35, 0] - last) < 7


@pytest.mark.parametrize('yaw', [-45, -30, 30, 45])
def test_the_far_cheek_is_where_the_face_ends(turned, yaw):
    drawn = turned(yaw=yaw)
    far = range(1, 5) if yaw < 0 else range(12, 16)
    for k in far:
        x, y = drawn.landmarks[k]
        row = np.flatnonzero(drawn.alpha[round(float(y))] > 0.5)
        edge = row.min() if yaw < 0 else row.max()
        assert abs(edge - x) < 6, k


@pytest.mark.parametrize('roll', [-150.0, -40.0, 25.0, 90.0])
def test_points_turn_with_the_picture(turned, roll):
    upright, rolled = turned().landmarks, turned(roll=roll).landmarks
    a = np.radians(roll)
    middle = np.array([127.5, 127.5])
    expected = (upright - middle) @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) + middle
    assert np.abs(rolled - expected).max() < 1.0


def test_the_mean_shape_is_that_of_people(drawn_plain):
    eyes = drawn_plain.five[:2]
    apart = np.linalg.norm(eyes[1] - eyes[0])
    nose, left, right = (drawn_plain.five[2:] - eyes.mean(0)) / apart
    # The five points of Deng et al., "ArcFace" (2019), and the mean of the 300-W annotations lie around these.
    assert nose[1] == pytest.approx(0.57, abs=0.05)
    assert (left[1] + right[1]) / 2 == pytest.approx(1.11, abs=0.06)
    assert right[0] - left[0] == pytest.approx(0.83, abs=0.06)


def test_covered_points_are_not_seen(plain, drawn):
    covered = render(replace(plain, occluders=(Occluder('mask'),)), 256)
    assert not covered.visible[48:68].any()
    assert covered.visible[36:48].all()
    assert covered.visible[17:27].all()
    for picture in drawn:
        at = np.clip(picture.landmarks.round().astype(int), 0, 127)
        # Well inside what covers them: at its edge a point may be seen beside it.
        inner = cv2.erode((picture.region == Region.OCCLUDER).astype(np.uint8), np.ones((5, 5), np.uint8))
        hidden = inner[at[:, 1], at[:, 0]] > 0
        assert not (hidden & picture.visible)[17:].any()


def test_a_turned_head_hides_its_far_eye(turned):
    drawn = turned(yaw=68)
    assert not drawn.visible[42:48].all()
    assert drawn.visible[[36, 37, 38, 40, 41]].all()


def test_the_mirror_image_has_mirrored_points(turned):
    one, other = turned(yaw=25, pitch=8, roll=10), turned(yaw=-25, pitch=8, roll=-10)
    mirrored = other.landmarks[FLIPPED] * [-1, 1] + [255, 0]
    assert np.abs(one.landmarks - mirrored).max() < 0.7
