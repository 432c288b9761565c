"""Raw pictures to BGR, held against the standards' own formulae in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.cameras.bgr import BT601, LAYOUTS, Colours, LayoutUnknown, ToBgr, divides

BT709 = Colours(0.2126, 0.0722)
COLOURS = (BT601, BT709, Colours(full_range=True), Colours(0.2126, 0.0722, full_range=True), Colours(0.2627, 0.0593))
# Blocks of 2 x 2 pixels of one colour each, so that nothing is lost by sharing colour.
BLOCKS = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))


def blocks(drawn):
    rows, columns, seed = drawn
    return np.random.default_rng(seed).integers(20, 236, (rows, columns, 3)).repeat(2, 0).repeat(2, 1).astype(np.uint8)


def ycbcr(bgr, colours):
    """ITU-R BT.709 section 3: luma and colour differences, quantized for 8 bits; (height, width, 3)."""
    blue, green, red = (bgr[..., channel] / 255 for channel in range(3))
    luma = colours.red * red + (1 - colours.red - colours.blue) * green + colours.blue * blue
    cb, cr = (blue - luma) / (2 - 2 * colours.blue), (red - luma) / (2 - 2 * colours.red)
    scaled = (255 * luma, 255 * cb + 128, 255 * cr + 128)
    if not colours.full_range:
        scaled = (16 + 219 * luma, 224 * cb + 128, 224 * cr + 128)
    return np.clip(np.rint(np.dstack(scaled)), 0, 255).astype(np.uint8)


def planes_of(layout, bgr, colours=BT601):
    y, u, v = (ycbcr(bgr, colours)[..., channel] for channel in range(3))
    few = slice(None, None, 2)
    width = y.shape[1]
    if layout in {'nv12', 'nv21'}:
        order = (u, v) if layout == 'nv12' else (v, u)
        return [y, np.dstack([plane[few, few] for plane in order])]
    if layout == 'i420':
        return [y, u[few, few], v[few, few]]
    chroma = np.where(np.arange(width) % 2, v, u)
    return {
        'bgr': [bgr],
        'rgb': [bgr[..., ::-1].copy()],
        'bgra': [np.dstack([bgr, y])],
        'rgba': [np.dstack([bgr[..., ::-1], y])],
        'grey': [bgr[..., 1].copy()],
        'yuyv': [np.dstack([y, chroma])],
        'uyvy': [np.dstack([chroma, y])],
    }[layout]


def padded(plane):
    """The same plane with bytes behind every row that are not its own."""
    wide = np.full((plane.shape[0], plane.shape[1] + 6, *plane.shape[2:]), 99, plane.dtype)
    wide[:, : plane.shape[1]] = plane
    return wide[:, : plane.shape[1]]


@pytest.mark.parametrize('layout', ['bgr', 'rgb', 'bgra', 'rgba', 'grey'])
@given(drawn=BLOCKS)
def test_rgb_and_grey_are_as_they_were(layout, drawn):
    bgr = blocks(drawn)
    out = np.zeros_like(bgr)
    ToBgr()(layout, [padded(plane) for plane in planes_of(layout, bgr)], out)
    np.testing.assert_array_equal(out, bgr if layout != 'grey' else np.repeat(bgr[..., 1:2], 3, 2))


@pytest.mark.parametrize('colours', COLOURS)
@pytest.mark.parametrize('layout', ['nv12', 'nv21', 'i420', 'yuyv', 'uyvy'])
@given(drawn=BLOCKS)
def test_ycbcr_of_every_kind_comes_back(layout, colours, drawn):
    bgr = blocks(drawn)
    slot = np.full((bgr.shape[0], bgr.shape[1] + 3, 3), 7, np.uint8)
    ToBgr()(layout, [padded(plane) for plane in planes_of(layout, bgr, colours)], slot[:, :-3], colours)
    assert np.abs(slot[:, :-3].astype(int) - bgr).max() <= 5
    assert (slot[:, -3:] == 7).all()


@pytest.mark.parametrize(
    ('layout', 'at'),
    [
        ('bayer_rggb', {'red': (0, 0), 'blue': (1, 1)}),
        ('bayer_bggr', {'blue': (0, 0), 'red': (1, 1)}),
        ('bayer_grbg', {'red': (0, 1), 'blue': (1, 0)}),
        ('bayer_gbrg', {'blue': (0, 1), 'red': (1, 0)}),
    ],
)
@pytest.mark.parametrize('scale', [1, 256])
def test_a_bayer_pattern_is_named_by_its_first_pixels(layout, at, scale):
    mosaic = np.full((8, 8), 100 * scale, np.uint8 if scale == 1 else np.uint16)
    for colour, (row, column) in at.items():
        mosaic[row::2, column::2] = {'red': 200, 'blue': 40}[colour] * scale
    out = np.zeros((8, 8, 3), np.uint8)
    ToBgr()(layout, [mosaic], out)
    assert out[3:5, 3:5].reshape(-1, 3).tolist() == [[40, 100, 200]] * 4


def test_sixteen_bits_are_scaled_to_eight():
    out = np.zeros((1, 3, 3), np.uint8)
    ToBgr()('grey', [np.array([[0, 256 * 77, 65535]], np.uint16)], out)
    assert out[0, :, 0].tolist() == [0, 77, 255]


@pytest.mark.parametrize('layout', ['bgr', 'nv12', 'i420', 'yuyv', 'grey'])
def test_another_size_is_made_by_scaling_and_then_the_first_again(layout):
    bgr = np.full((12, 16, 3), 150, np.uint8)
    to_bgr = ToBgr()
    for size in ((12, 16), (6, 8), (30, 20), (12, 16)):
        out = np.zeros((*size, 3), np.uint8)
        to_bgr(layout, planes_of(layout, bgr), out)
        assert np.abs(out.astype(int) - 150).max() <= 2


@pytest.mark.parametrize('layout', sorted(LAYOUTS))
def test_sizes_that_a_layout_has_not_are_refused(layout):
    shared = {'nv12': 'both', 'nv21': 'both', 'i420': 'both', 'yuyv': 'width', 'uyvy': 'width'}.get(layout)
    assert divides(layout, 6, 4)
    assert divides(layout, 6, 5) == (shared != 'both')
    assert divides(layout, 5, 4) == (shared is None)
    if shared:
        with pytest.raises(LayoutUnknown, match=f'{layout} shares colour among pixels and cannot be 5 x 4'):
            ToBgr()(layout, [np.zeros((4, 5), np.uint8)] * 3, np.zeros((4, 5, 3), np.uint8))


def test_an_unknown_layout_is_named_with_those_that_are_known():
    with pytest.raises(LayoutUnknown, match=r'cannot be y444: use one of bayer_bggr, .*yuyv'):
        ToBgr()('y444', [np.zeros((2, 2), np.uint8)], np.zeros((2, 2, 3), np.uint8))
