from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.displays.letterbox import Painter, Region, fit
from facefusion_ros.frames.frame import Encoding, Frame

if TYPE_CHECKING:
    from collections.abc import Callable

sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)


@given(sizes, sizes)
def test_a_picture_is_as_large_as_fits_and_in_the_middle(size: tuple[int, int], screen: tuple[int, int]) -> None:
    left, top, width, height = fit(size, screen)
    assert 0 <= left <= screen[0] - width - left <= left + 1
    assert 0 <= top <= screen[1] - height - top <= top + 1
    assert width == screen[0] or height == screen[1]
    # Each side is within half a pixel of the picture's proportions, but never nothing.
    assert abs(width * size[1] - height * size[0]) <= max(size) or 1 in {width, height}


@given(sizes, st.integers(1, 4))
def test_a_screen_of_its_proportions_is_filled(size: tuple[int, int], factor: int) -> None:
    screen = size[0] * factor, size[1] * factor
    assert fit(size, screen) == Region(0, 0, *screen)


def colourful(width: int, height: int) -> np.ndarray:
    noise = np.random.default_rng(4).integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def in_encoding(frame: Frame, encoding: Encoding) -> Frame:
    """The same picture, as another camera would give it."""
    pixels = frame.pixels
    if encoding is Encoding.BGRA8:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2BGRA)
    elif encoding is Encoding.MONO8:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    elif encoding is Encoding.NV12:
        height, width = pixels.shape[:2]
        planes = cv2.cvtColor(pixels, cv2.COLOR_BGR2YUV_I420)
        chroma = planes[height:].reshape(2, -1).T.reshape(height // 2, width)
        pixels = np.concatenate([planes[:height], chroma])
    return replace(frame, pixels=pixels, encoding=encoding)


@pytest.mark.parametrize('encoding', Encoding)
@pytest.mark.parametrize('screen', [(96, 64), (96, 96), (200, 64), (40, 30), (192, 128)])
def test_every_encoding_comes_to_the_screen(
    encoding: Encoding, screen: tuple[int, int], make_frame: Callable[..., Frame]
) -> None:
    picture = colourful(96, 64)
    frame = in_encoding(replace(make_frame(), pixels=picture), encoding)
    target = np.full((screen[1], screen[0], 4), 77, np.uint8)
    place = Painter().paint(frame, target, None)
    shown = target[..., :3].astype(int)
    back = {Encoding.MONO8: cv2.COLOR_GRAY2BGR, Encoding.NV12: cv2.COLOR_YUV2BGR_NV12}
    wanted = cv2.cvtColor(frame.pixels, back[encoding]) if encoding in back else picture
    if (place.width, place.height) != (96, 64):
        small = place.width * 2 <= 96
        method = cv2.INTER_AREA if small else cv2.INTER_LINEAR
        wanted = cv2.resize(wanted, (place.width, place.height), interpolation=method)
    inside = shown[place.top : place.top + place.height, place.left : place.left + place.width]
    assert np.abs(inside - wanted).max() <= 1
    shown[place.top : place.top + place.height, place.left : place.left + place.width] = 0
    assert not shown.any()


def test_the_border_is_painted_when_the_place_changes_only(make_frame: Callable[..., Frame]) -> None:
    painter, target = Painter(), np.full((60, 100, 4), 9, np.uint8)
    place = painter.paint(make_frame(0, 50, 50), target, None)
    target[0, 0] = 5
    assert painter.paint(make_frame(1, 50, 50), target, place) == place
    assert target[0, 0, 0] == 5
    painter.paint(make_frame(1, 100, 50), target, place)
    assert not target[0, 0].any()


def test_rows_may_lie_further_apart_than_they_are_long(make_frame: Callable[..., Frame]) -> None:
    memory = np.full((48, 80, 4), 7, np.uint8)
    Painter().paint(make_frame(2), memory[:, :64], None)
    assert (memory[:, :64, :3] == 16).all()
    assert (memory[:, 64:] == 7).all()
