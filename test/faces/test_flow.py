import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.faces.alignment import apply
from facefusion_ros.faces.flow import Flow, alike


def moved(portrait, **motion):
    """Flow between a picture and another; the landmarks of both."""
    flow = Flow(320)
    before, start = portrait.picture(70)
    after, end = portrait.picture(**{'eye_distance': 70, **motion})
    flow.advance(before)
    flow.advance(after)
    return flow, start, end


@settings(max_examples=25, deadline=None)
@given(
    centre=st.tuples(st.floats(300, 340), st.floats(225, 255)),
    roll_deg=st.floats(-5, 5),
    eye_distance=st.floats(66, 74),
    gain=st.floats(0.5, 1.15),
)
def test_motion_is_measured_to_a_fraction_of_a_pixel(portrait, centre, roll_deg, eye_distance, gain):
    flow, start, end = moved(
        portrait, centre=centre, roll_deg=roll_deg, eye_distance=eye_distance, gain=gain, noise=2.0
    )
    (motion,) = flow.follow([start])
    np.testing.assert_allclose(apply(motion, start), end, atol=0.5)


def test_a_face_beyond_the_frame_is_not_followed(portrait):
    flow, start, _ = moved(portrait)
    assert flow.follow([start + 5000.0, start])[0] is None
    assert flow.follow([start + 5000.0, start])[1] is not None


def test_what_has_no_texture_is_not_followed(portrait):
    flow = Flow(320)
    _, start = portrait.picture()
    for _ in range(2):
        flow.advance(np.full((480, 640, 3), 60, np.uint8))
    assert flow.follow([start]) == [None]


def test_no_faces_no_motions():
    assert Flow(320).follow([]) == []


@pytest.mark.parametrize('shape', [(1, 1), (1, 300), (2, 2)])
def test_tiny_pictures(portrait, shape):
    flow = Flow(320)
    for _ in range(2):
        flow.advance(np.full((*shape, 3), 60, np.uint8))
    assert flow.follow([portrait.landmarks]) == [None]


def test_a_look_knows_the_face_from_the_wall(portrait):
    flow, start, end = moved(portrait, centre=(380, 200), roll_deg=10, gain=0.4)
    look = flow.look(end)
    flow.advance(portrait.picture(70)[0])
    assert alike(look, flow.look(start))
    assert not alike(look, flow.look(start + np.array((150.0, 100.0))))
    assert not alike(look, flow.look(start + 5000.0))
