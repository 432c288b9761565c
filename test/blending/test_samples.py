from __future__ import annotations

import numpy as np
import pytest

from facefusion_ros.blending.samples import SAMPLES


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
