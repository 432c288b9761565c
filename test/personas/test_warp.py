import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.faces.alignment import apply, invert, whole_face
from facefusion_ros.personas.warp import STRETCH, fit_warp, with_chin

SIZE = 128
TEMPLATE = whole_face(SIZE).landmarks
EYES = float(np.hypot(*(TEMPLATE[1] - TEMPLATE[0])))
coordinate = st.floats(-2 * SIZE, 3 * SIZE, allow_nan=False, width=32)
absurd = st.lists(st.tuples(coordinate, coordinate), min_size=5, max_size=5).map(np.array)
wobble = st.lists(st.tuples(*[st.floats(-0.1, 0.1)] * 2), min_size=5, max_size=5).map(np.array)


def fit(src, dst=TEMPLATE, scale=1.0):
    return fit_warp(with_chin(src), with_chin(dst), scale, 0.5 * EYES, SIZE - 1)


def cell_areas(warp) -> np.ndarray:
    """Signed areas of the corner triangles of every pixel: all positive means one-to-one between the pixels."""
    axis = np.arange(SIZE, dtype=float)
    x, y = np.meshgrid(axis, axis)
    p = warp.at(np.column_stack([x.ravel(), y.ravel()])).reshape(SIZE, SIZE, 2)
    right, down = np.diff(p, axis=1), np.diff(p, axis=0)
    areas = [
        r[..., 0] * d[..., 1] - r[..., 1] * d[..., 0]
        for r in (right[:-1], right[1:])
        for d in (down[:, :-1], down[:, 1:])
    ]
    return np.stack(areas)


@settings(deadline=None, max_examples=60)
@given(absurd, st.floats(0.3, 3))
def test_no_landmarks_fold_the_warp(landmarks, scale) -> None:
    areas = cell_areas(fit(landmarks, TEMPLATE * scale, scale))
    assert areas.min() > 0


@settings(deadline=None, max_examples=60)
@given(absurd)
def test_the_affine_part_keeps_within_its_stretch(landmarks) -> None:
    stretch = np.linalg.svd(fit(landmarks).affine[:, :2], compute_uv=False)
    assert stretch.max() <= STRETCH * 1.0001
    assert stretch.min() >= 0.9999 / STRETCH


@settings(deadline=None)
@given(wobble)
def test_landmarks_near_the_template_are_met(shift) -> None:
    src = TEMPLATE + shift * EYES
    warp = fit(src)
    assert np.abs(warp.at(src) - TEMPLATE).max() < 0.5


@settings(deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(0.8, 1.2), st.floats(-20, 20), st.floats(-20, 20))
def test_a_similar_face_needs_no_bending(angle, scale, dx, dy) -> None:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    to_face = np.array([[c, -s, dx], [s, c, dy]])
    warp = fit(apply(to_face, TEMPLATE))
    np.testing.assert_allclose(warp.affine[:, :2], invert(to_face)[:, :2], atol=0.02)
    assert np.abs(warp.weights).max() < 1.0


def test_coinciding_landmarks_give_the_expected_scale() -> None:
    warp = fit(np.full((5, 2), 40.0), dst=1.3 * TEMPLATE, scale=1.3)
    np.testing.assert_allclose(warp.affine[:, :2], 1.3 * np.eye(2), atol=1e-6)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    warp = fit((SIZE - 1) - TEMPLATE * (1, -1) - (0, SIZE - 1))
    assert np.linalg.det(warp.affine[:, :2]) > 0


def test_bells_are_the_map_in_separate_form() -> None:
    warp = fit(TEMPLATE + np.array([[3, 0], [-2, 1], [6, 2], [0, -3], [1, 4]]))
    axis = np.arange(SIZE, dtype=float)
    x, y = np.meshgrid(axis, axis)
    whole = warp.at(np.column_stack([x.ravel(), y.ravel()])).reshape(SIZE, SIZE, 2)
    for d in range(2):
        bend = (warp.bells(axis, 1).T * warp.weights[:, d]) @ warp.bells(axis, 0)
        straight = warp.affine[d, 0] * x + warp.affine[d, 1] * y + warp.affine[d, 2]
        assert whole[..., d] == pytest.approx(bend + straight)


def test_the_chin_lies_below_the_mouth() -> None:
    chin = with_chin(TEMPLATE)[5]
    assert chin == pytest.approx([TEMPLATE[3:, 0].mean(), TEMPLATE[0, 1] + 1.85 * EYES], abs=0.15 * EYES)


def test_a_smile_moves_the_chin_less_than_the_mouth() -> None:
    smiling = TEMPLATE.copy()
    smiling[3:] += [[-0.05 * EYES, -0.3 * EYES], [0.05 * EYES, -0.3 * EYES]]
    assert 0 <= (with_chin(TEMPLATE) - with_chin(smiling))[5, 1] < 0.2 * EYES


@given(st.floats(-3, 3), st.floats(0.1, 10), st.floats(-20, 20), st.floats(-20, 20), wobble)
def test_the_chin_turns_and_grows_with_the_face(angle, scale, dx, dy, shift) -> None:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    to_face = np.array([[c, -s, dx], [s, c, dy]])
    landmarks = TEMPLATE + shift * EYES
    np.testing.assert_allclose(with_chin(apply(to_face, landmarks)), apply(to_face, with_chin(landmarks)), atol=1e-6)
