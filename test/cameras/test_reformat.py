"""Pictures as FFmpeg decodes them, of every kind of colours, against those that they were made of."""

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from facefusion_ros.cameras.reformat import Reformat

# Blocks of 24 x 24 pixels of one colour each, saturated ones among them.
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255), (20, 200, 240), (120, 90, 40), (128,) * 3]
BGR = np.array([COLOURS, COLOURS[::-1]], np.uint8).repeat(24, 0).repeat(24, 1)


def made(form, space, full):
    """A picture of this format and these colours, from one that is made by swscale."""
    frame = av.VideoFrame.from_ndarray(BGR, format='bgr24').reformat(
        format=form,
        dst_colorspace=space,
        dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        interpolation='AREA',
    )
    frame.colorspace = space
    frame.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    return frame


@pytest.mark.parametrize('smaller', [1, 2])
@pytest.mark.parametrize('full', [False, True])
@pytest.mark.parametrize('space', [Colorspace.ITU601, Colorspace.ITU709])
@pytest.mark.parametrize('form', ['nv12', 'yuv420p', 'yuv422p', 'yuv444p'])
def test_colours_are_those_that_the_picture_was_made_of(form, space, full, smaller):
    out = np.zeros_like(BGR[::smaller, ::smaller])
    Reformat()(made(form, space, full), out)
    middles = slice(12 // smaller, None, 24 // smaller)
    assert np.abs(out[middles, middles].astype(int) - BGR[12::24, 12::24]).max() <= 6


def test_odd_sizes_and_planes_that_are_not_dense():
    grey = av.VideoFrame.from_ndarray(np.full((47, 61, 3), 90, np.uint8), format='bgr24').reformat(format='yuv420p')
    out = np.zeros((47, 80, 3), np.uint8)
    Reformat()(grey, out[:, :61])
    assert np.abs(out[:, :61].astype(int) - 90).max() <= 2
    assert not out[:, 61:].any()
