import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.faces import proportions as average
from training.faces.expression import Expression
from training.faces.head import pose_face, trait_names, turn
from training.faces.mesh import head_mesh
from training.faces.parts import Part, eye_ring, head, mouth_ring


def test_the_average_face_has_the_published_proportions():
    p = pose_face((0.0,) * len(trait_names()), Expression()).position
    corners = p[mouth_ring(3)][[0, 24]]
    canthi = [p[eye_ring(1, side)][[0, 18]] for side in (-1, 1)]
    chin = p[: head().skin_count][np.abs(p[: head().skin_count, 0]) < 3]
    # Farkas (1994), means of women and men, mm: ch-ch 52, en-en 33, ex-ex 90, zy-zy 133.
    assert corners[1, 0] - corners[0, 0] == pytest.approx(52, abs=3)
    assert canthi[1][0, 0] - canthi[0][0, 0] == pytest.approx(33, abs=3)
    assert canthi[1][1, 0] - canthi[0][1, 0] == pytest.approx(90, abs=4)
    cheeks = p[: head().skin_count][np.abs(p[: head().skin_count, 1] + 25) < 4, 0]
    assert cheeks.max() - cheeks.min() == pytest.approx(133, abs=6)
    # n-gn 116, with the nasion 7 above the pupils: the chin's lowest point in front.
    front = chin[chin[:, 2] > 75]
    assert front[:, 1].min() == pytest.approx(-110, abs=4)


def test_the_skin_is_closed_but_for_eyes_mouth_and_neck():
    t = head_mesh().triangles
    edges = np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    _, counts = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    assert counts.max() == 2
    once = {tuple(sorted(e)) for e in edges.tolist()}
    open_edges = [e for e, c in zip(np.unique(np.sort(edges, axis=1), axis=0).tolist(), counts, strict=True) if c == 1]
    assert len(once) == len(counts)
    vertices = np.unique(open_edges)
    mesh = head_mesh()
    rims = (mesh.eye_ring[vertices] == 0) | (mesh.mouth_ring[vertices] == 0)
    low_or_top = (mesh.plane[vertices, 1] < -210) | (mesh.plane[vertices, 1] > 115)
    assert (rims | low_or_top).all()


def test_a_mirrored_vertex_lies_on_the_other_side():
    mesh = head_mesh()
    assert np.allclose(mesh.position[mesh.mirror] * [-1, 1, 1], mesh.position, atol=1e-9)


@pytest.mark.parametrize('side', [-1, 1])
@pytest.mark.parametrize('pitch', [-20.0, 0.0, 15.0])
def test_a_closed_eye_shows_no_gap_and_an_open_one_does(side, pitch):
    traits = (0.0,) * len(trait_names())

    def gap(closed: float) -> float:
        e = Expression(closed_left=closed, closed_right=closed, gaze_pitch=pitch)
        ring = pose_face(traits, e).position[eye_ring(1, side)]
        return float(ring[9, 1] - ring[27, 1])

    assert 7 < gap(0.0) < 12
    assert abs(gap(1.0)) < 0.6
    assert gap(0.5) < gap(0.0)


@given(st.lists(st.floats(-3, 3), min_size=len(trait_names()), max_size=len(trait_names())), st.floats(-0.2, 1))
@settings(max_examples=30, deadline=None)
def test_lids_stay_outside_the_eyeballs(traits, closed):
    posed = pose_face(tuple(traits), Expression(closed_left=closed, closed_right=closed))
    for side, centre, radius in zip((-1, 1), posed.eye_centre, posed.eye_radius, strict=True):
        for ring in (1, 2, 3):
            distance = np.linalg.norm(posed.position[eye_ring(ring, side)] - centre, axis=1)
            assert distance.min() > radius


@given(st.floats(0, 25))
@settings(max_examples=20, deadline=None)
def test_the_jaw_takes_the_chin_and_the_lower_teeth_but_not_the_upper(angle):
    traits = (0.0,) * len(trait_names())
    rest, moved = pose_face(traits, Expression()), pose_face(traits, Expression(jaw=angle))
    part = head().part
    upper = part == Part.TEETH_UPPER
    assert np.allclose(rest.position[upper], moved.position[upper])
    lower = part == Part.TEETH_LOWER
    before, after = rest.position[lower], moved.position[lower]
    # Rigid, and down by what a hinge of this angle gives.
    spread = [np.linalg.norm(p - p.mean(0), axis=1) for p in (before, after)]
    assert np.allclose(*spread, atol=0.02)
    arm = before.mean(0)[1:] - average.JAW_HINGE
    a = np.radians(angle)
    assert after.mean(0)[1] - average.JAW_HINGE[0] == pytest.approx(arm[0] * np.cos(a) - arm[1] * np.sin(a), abs=0.05)
    # The lips part as the teeth do, but a little more, for they lie farther from the hinge.
    gap = [p.position[mouth_ring(1)][12, 1] - p.position[mouth_ring(1)][36, 1] for p in (rest, moved)]
    assert gap[1] - gap[0] == pytest.approx(1.15 * (before[:, 1].mean() - after[:, 1].mean()), rel=0.1, abs=0.3)


def test_turning_to_the_right_takes_the_nose_to_the_right_and_up_takes_it_up():
    nose = np.array([0.0, 0.0, 1.0])
    assert (turn(30, 0, 0) @ nose)[0] == pytest.approx(0.5)
    assert (turn(0, 30, 0) @ nose)[1] == pytest.approx(0.5)
    assert (turn(0, 0, 90) @ np.array([0.0, 1.0, 0.0]))[0] == pytest.approx(1.0)
