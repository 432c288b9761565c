import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.faces.alignment import apply
from facefusion_ros.faces.crop import crop

# Brightness that grows evenly to the right and down: wherever a crop looks, its value says where.
Y, X = np.mgrid[:240, :320]
RAMP = np.stack([X * 0.7, Y * 0.9, (X + Y) * 0.4], axis=-1).round().astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.2, 6.0),
    st.floats(-180, 180),
    st.floats(0.3, 0.7),
    st.floats(0.3, 0.7),
)
def test_every_pixel_comes_from_where_the_map_says(scale, turn_deg, x, y):
    side = 24
    cos, sin = scale * np.cos(np.radians(turn_deg)), scale * np.sin(np.radians(turn_deg))
    linear = np.array([[cos, -sin], [sin, cos]])
    centre = np.array([x * 320, y * 240])
    image_from_patch = np.column_stack([linear, centre - linear @ np.full(2, (side - 1) / 2)])
    out = np.zeros((side, side, 3), np.uint8)
    crop(RAMP, image_from_patch, out)
    places = apply(image_from_patch, np.stack(np.meshgrid(range(side), range(side)), axis=-1).reshape(-1, 2))
    # Near the frame's edge a shrunken pixel is the mean of what is inside.
    inside = ((places > 2 * scale) & (places < np.array([319, 239]) - 2 * scale)).all(axis=1)
    column, row = places[inside].T
    expected = np.stack([column * 0.7, row * 0.9, (column + row) * 0.4], axis=-1)
    assert np.abs(out.reshape(-1, 3)[inside] - expected).max(initial=0) < 1.6


def test_beyond_the_frame_its_edge_goes_on():
    out = np.zeros((8, 8, 3), np.uint8)
    crop(np.full((20, 20, 3), 77, np.uint8), np.array([[1.0, 0.0, 500.0], [0.0, 1.0, -900.0]]), out)
    assert (out == 77).all()


def test_a_part_of_a_picture_is_a_picture():
    whole, part = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3), np.uint8)
    crop(RAMP, np.array([[1.5, 0.2, 100.0], [-0.2, 1.5, 90.0]]), whole)
    crop(RAMP[40:200, 60:260], np.array([[1.5, 0.2, 40.0], [-0.2, 1.5, 50.0]]), part)
    np.testing.assert_allclose(part, whole, atol=1)
