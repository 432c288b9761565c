from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.app.contact_sheet import contact_sheet, write_png
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from pathlib import Path


def plain(level: int, width: int = 320, height: int = 240) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_every_picture_is_there_in_order() -> None:
    pairs = [(plain(60 + 20 * n), plain(70 + 20 * n), f't = {n} s') for n in range(5)]
    sheet = contact_sheet(pairs, columns=2, picture_width_px=100)
    found = []
    for row in range(3):
        for column in range(2):
            y = 92 + row * (75 + 34 + 28) + 40
            x = 40 + column * (202 + 28) + 50
            found.append((int(sheet[y, x, 0]), int(sheet[y, x + 102, 0])))
    assert found[:5] == [(60 + 20 * n, 70 + 20 * n) for n in range(5)]
    assert found[5] == (24, 24)  # the place of a sixth stays paper


def test_captions_and_title_are_written() -> None:
    with_text = contact_sheet([(plain(50), plain(50), 'a caption')], title='a title')
    without = contact_sheet([(plain(50), plain(50), '')], title='', subtitle='')
    assert with_text.shape == without.shape
    different = np.abs(with_text.astype(int) - without).max(axis=2) > 60
    assert different[:80].any()
    assert different[-80:].any()
    assert not different[100:-80].any()


def test_text_that_does_not_fit_is_cut() -> None:
    sheet = contact_sheet([(plain(0), plain(0), 'x' * 500)], title='y' * 500)
    assert np.array_equal(np.unique(sheet[:, -36:].reshape(-1, 3), axis=0), [[24, 22, 20]])


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(1, 64),
)
@settings(max_examples=30)
def test_any_sizes(sizes: list[tuple[int, int]], columns: int, width: int) -> None:
    pairs = [(plain(200, *size), plain(100, *size), '') for size in sizes]
    sheet = contact_sheet(pairs, columns, picture_width_px=width)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3
    assert (sheet == 200).any()
    assert (sheet == 100).any()


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(ValueError, match='at least one pair'):
        contact_sheet([])


def test_png_is_what_was_written(tmp_path: Path) -> None:
    sheet = contact_sheet([(plain(50), plain(90), 'one')])
    write_png(tmp_path / 'sheet.png', sheet)
    assert np.array_equal(cv2.imread(str(tmp_path / 'sheet.png')), sheet)
    with pytest.raises(FacefusionError, match=r'No such file or directory'):
        write_png(tmp_path / 'missing' / 'sheet.png', sheet)
    with pytest.raises(FacefusionError, match=r'No space left on device'):
        write_png('/dev/full', sheet)
