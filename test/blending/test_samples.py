from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending.paste import Layer, scaling
from facefusion_ros.blending.samples import SAMPLES, pair_of


@pytest.mark.parametrize('width_px', [40.0, 170.0, 600.0])
def test_the_frame_is_looked_at_through_the_patch(place, make_patch, width_px, look):
    """A picture that is a plane of brightness gives the plane back, whatever the face's size and turn."""
    x, y = np.meshgrid(np.arange(1000), np.arange(900))
    frame = np.dstack([np.rint(x * 0.2), np.rint(y * 0.2), np.full_like(x, 77)]).astype(np.uint8)
    to = place(256, 480.0, 420.0, width_px, 20.0)
    face, seen = look(frame, make_patch(256, image_from_patch=to))
    centres = (np.arange(SAMPLES) + 0.5) * 256 / SAMPLES - 0.5
    u, v = np.meshgrid(centres, centres)
    at = to @ np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    assert seen.all()
    assert np.abs(face[..., 0].ravel() - 0.2 * at[0]).max() < 1.6
    assert np.abs(face[..., 1].ravel() - 0.2 * at[1]).max() < 1.6
    assert (face[..., 2] == 77).all()


def test_what_lies_outside_the_picture_is_not_seen(place, make_patch, look):
    frame = np.full((200, 200, 3), 90, np.uint8)
    face, seen = look(frame, make_patch(128, image_from_patch=place(128, 0.0, 100.0, 100.0)))
    half = SAMPLES // 2
    assert not seen[:, : half - 1].any()
    assert seen[:, half + 1 :].all()
    assert (face[seen] == 90).all()


@given(st.integers(8, 400), st.integers(30, 255))
def test_a_pair_has_the_persona_as_painted_whatever_its_layer_s_size_and_alpha(size, alpha):
    painted = np.array([60.0, 120.0, 200.0])
    colour = np.full((size, size, 3), np.rint(painted * alpha / 255.0)).astype(np.uint8)
    layer = Layer(colour, np.full((size, size), alpha, np.uint8), scaling(size, 400))
    face = np.full((SAMPLES, SAMPLES, 3), 90, np.uint8)
    pair = pair_of(face, np.ones((SAMPLES, SAMPLES), bool), layer)
    for each in (pair, pair.reduced(16)):
        assert np.abs(each.persona - painted).max() < 0.6 * 255.0 / alpha
        assert np.allclose(each.alpha, alpha / 255.0, atol=1e-6)
        assert each.used.all() == (alpha >= 128)
        assert each.pitch_px * len(each.alpha) == pytest.approx(size)
