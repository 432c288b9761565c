import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.faces.face import Face
from facefusion_ros.faces.head import UPRIGHT, box_around, distinct, overlap

boxes = st.tuples(st.floats(-100, 100), st.floats(-100, 100), st.floats(1, 100), st.floats(1, 100))


@given(boxes, boxes)
def test_overlap_is_symmetric_and_a_share(a, b):
    assert overlap(a, b) == pytest.approx(overlap(b, a))
    assert 0.0 <= overlap(a, b) <= 1.0 + 1e-9
    assert overlap(a, a) == pytest.approx(1.0)


@given(st.lists(st.tuples(boxes, st.floats(0, 1)), max_size=12))
def test_distinct_faces_do_not_overlap_and_leave_none_out(found):
    faces = [Face(box, score, np.zeros((5, 2), np.float32)) for box, score in found]
    kept = distinct(faces)
    assert all(overlap(a.box, b.box) < 0.3 for i, a in enumerate(kept) for b in kept[:i])
    for face in faces:
        assert any(other is face or overlap(face.box, other.box) >= 0.3 for other in kept)
    areas = [face.box[2] * face.box[3] for face in kept]
    assert areas == sorted(areas, reverse=True)


@given(st.floats(-1.5, 1.5), st.floats(5, 500), st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)))
def test_the_box_goes_with_the_landmarks(roll, eyes_px, place):
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    landmarks = UPRIGHT @ turn * eyes_px + place
    left, top, width, height = box_around(landmarks)
    assert (width, height) == pytest.approx((2.1 * eyes_px, 2.85 * eyes_px))
    # All of them inside, whatever the roll, as long as the head is not on its side.
    inside = (landmarks >= (left, top)) & (landmarks <= (left + width, top + height))
    assert inside.all() or abs(roll) > 0.9


def test_places_that_are_no_face_are_refused():
    with pytest.raises(ValueError, match='one place'):
        box_around(np.zeros((5, 2)))
