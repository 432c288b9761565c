import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facefusion_ros.faces.alignment import ARCFACE_112, apply, invert, similarity, whole_face

coordinates = st.floats(-8000.0, 8000.0, allow_nan=False)
point_sets = st.integers(2, 12).flatmap(lambda n: arrays(np.float64, (n, 2), elements=coordinates))
similarities = st.builds(
    lambda scale, angle, x, y: np.array(
        [[scale * np.cos(angle), -scale * np.sin(angle), x], [scale * np.sin(angle), scale * np.cos(angle), y]]
    ),
    st.floats(0.05, 20.0),
    st.floats(-np.pi, np.pi),
    coordinates,
    coordinates,
)


def spread(points):
    return np.linalg.norm(points - points.mean(axis=0), axis=1).max()


@given(point_sets, similarities)
def test_a_similarity_is_recovered(points, affine):
    assume(spread(points) > 1.0)
    np.testing.assert_allclose(
        apply(similarity(points, apply(affine, points)), points), apply(affine, points), atol=1e-6
    )


@given(similarities, arrays(np.float64, (7, 2), elements=coordinates))
def test_there_and_back(affine, points):
    np.testing.assert_allclose(apply(invert(affine), apply(affine, points)), points, atol=1e-5)


@given(
    arrays(np.float64, (5, 2), elements=st.floats(-100, 100)),
    arrays(np.float64, (5, 2), elements=st.floats(-100, 100)),
    st.tuples(*[st.floats(-1e-2, 1e-2)] * 4),
)
def test_no_neighbouring_similarity_fits_better(src, dst, nudge):
    assume(spread(src) > 1.0)
    try:
        best = similarity(src, dst)
    except ValueError:
        assume(False)
    a, b, x, y = nudge
    other = best + np.array([[a, -b, x], [b, a, y]])
    error = [((apply(affine, src) - dst) ** 2).sum() for affine in (best, other)]
    assert error[0] <= error[1] + 1e-6


def test_the_fit_has_no_reflection():
    src = np.array(ARCFACE_112)
    mirrored = src * [-1.0, 1.0]
    assert np.linalg.det(similarity(src, mirrored)[:, :2]) > 0


@pytest.mark.parametrize(
    ('src', 'dst', 'reason'),
    [
        (np.zeros((5, 2)), np.array(ARCFACE_112), 'source points'),
        (np.full((5, 2), 7999.9), np.array(ARCFACE_112), 'source points'),
        (np.array(ARCFACE_112), np.full((5, 2), 3.0), 'target points'),
        (np.array(ARCFACE_112), np.full((5, 2), np.nan), 'finite'),
        (np.full((5, 2), np.inf), np.array(ARCFACE_112), 'finite'),
        (np.array([[0.0, 0.0]]), np.array([[0.0, 0.0]]), 'N >= 2'),
        (np.zeros((5, 2)), np.zeros((4, 2)), 'shapes'),
        (np.zeros((5, 3)), np.zeros((5, 3)), 'shapes'),
        (np.zeros(10), np.zeros(10), 'shapes'),
        # A square against its mirror image: every rotation is as wrong as every other.
        ([[1, 1], [-1, 1], [-1, -1], [1, -1]], [[-1, 1], [1, 1], [1, -1], [-1, -1]], 'mirrored'),
    ],
)
def test_what_has_no_similarity_says_why(src, dst, reason):
    with pytest.raises(ValueError, match=reason):
        similarity(src, dst)


@pytest.mark.parametrize('linear', [np.zeros((2, 2)), np.ones((2, 2)), np.full((2, 2), np.nan)])
def test_a_flat_map_has_no_inverse(linear):
    with pytest.raises(ValueError, match='inverse'):
        invert(np.column_stack([linear, [1.0, 2.0]]))


@given(st.integers(1, 1024), st.integers(1, 1024))
def test_templates_of_all_sizes_are_one_template(small, large):
    # Corners of the patch, half a pixel outside the outermost centres, must meet.
    a, b = whole_face(small), whole_face(large)
    scale = large / small
    np.testing.assert_allclose((a.landmarks + 0.5) * scale, b.landmarks + 0.5, atol=1e-6)


def test_the_patch_holds_the_whole_face():
    template = whole_face(256)
    left, right = template.landmarks[:2]
    eyes = (left + right) / 2
    distance = np.linalg.norm(right - left)
    # Face heights after Farkas, Anthropometry of the Head and Face (1994): trichion about 1.1, gnathion about 1.8 eye
    # distances from the eyes; half the width between the cheekbones about 1.05.
    assert eyes[1] - 1.1 * distance > 0
    assert eyes[1] + 1.8 * distance < 255
    assert eyes[0] - 1.05 * distance > 0
    assert eyes[0] + 1.05 * distance < 255


def test_a_template_on_its_own_landmarks_is_the_identity():
    template = whole_face(64)
    np.testing.assert_allclose(template.image_from_patch(template.landmarks), [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_a_template_is_not_for_writing():
    with pytest.raises(ValueError, match='read-only'):
        whole_face(64).landmarks[0] = 0.0


def test_a_template_has_a_size():
    with pytest.raises(ValueError, match='at least 1'):
        whole_face(0)
