import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.frames.frame import Encoding
from facefusion_ros.frames.layout import LayoutError, frame_bytes, nv12_planes, picture_shape, region_planes

ENCODINGS = st.sampled_from(list(Encoding))


@st.composite
def pictures(draw, largest=40):
    encoding = draw(ENCODINGS)
    width, height = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    if encoding is Encoding.NV12:
        width, height = width * 2, height * 2
    return encoding, width, height


@st.composite
def regions(draw, width, height):
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y))


@pytest.mark.parametrize(('width', 'height'), [(1, 1), (2, 2), (641, 481), (1920, 1080), (7680, 4320)])
def test_bytes_are_those_of_the_array(width, height):
    for encoding in Encoding:
        if encoding is Encoding.NV12 and (width % 2 or height % 2):
            continue
        assert frame_bytes(encoding, width, height) == np.empty(picture_shape(encoding, width, height), np.uint8).nbytes


@pytest.mark.parametrize('size', [(3, 2), (2, 3), (1, 1)])
def test_nv12_of_odd_size_is_refused_with_the_cure(size):
    with pytest.raises(LayoutError, match='even width and height'):
        frame_bytes(Encoding.NV12, *size)


@given(ENCODINGS, st.integers(-3, 3), st.integers(-3, 0))
def test_an_empty_picture_is_refused(encoding, width, height):
    with pytest.raises(LayoutError, match='at least 1'):
        picture_shape(encoding, width, height)


@given(pictures())
def test_nv12_planes_cover_the_picture_as_views(picture):
    _, width, height = picture
    pixels = np.zeros(picture_shape(Encoding.NV12, width * 2, height * 2), np.uint8)
    luma, chroma = nv12_planes(pixels)
    assert luma.shape == (height * 2, width * 2)
    assert chroma.shape == (height, width, 2)
    luma[...], chroma[..., 0], chroma[..., 1] = 1, 2, 3
    assert (pixels[: height * 2] == 1).all()
    assert (pixels[height * 2 :, 0::2] == 2).all()
    assert (pixels[height * 2 :, 1::2] == 3).all()


@given(st.data())
def test_a_region_covers_all_its_pixels_and_little_else(data):
    encoding, width, height = data.draw(pictures())
    x, y, w, h = data.draw(regions(width, height))
    pixels = np.zeros(picture_shape(encoding, width, height), np.uint8)
    planes = region_planes(pixels, encoding, (x, y, w, h))
    for plane in planes:
        assert np.shares_memory(plane, pixels)
        plane[...] = 1
    if encoding is not Encoding.NV12:
        assert (pixels[y : y + h, x : x + w] == 1).all()
        assert pixels.sum() == planes[0].size
        return
    luma, chroma = nv12_planes(pixels)
    whole = np.zeros((height, width), bool)
    whole[y : y + h, x : x + w] = True
    blocks = whole.reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3))
    assert np.array_equal(chroma[..., 0], blocks)
    assert np.array_equal(chroma[..., 1], blocks)
    assert np.array_equal(luma, blocks.repeat(2, 0).repeat(2, 1))
