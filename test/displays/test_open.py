from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.displays.file import VideoFile
from facefusion_ros.displays.none import NoDisplay
from facefusion_ros.displays.open import open_sink
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.displays.web import WebPage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facefusion_ros.frames.frame import Frame


@pytest.mark.parametrize('text', ['file:{0}/a.mp4', 'compare:{0}/a:b.mp4', 'web:0', 'web:127.0.0.1:0', ' none '])
def test_what_is_accepted_opens_and_shows(text: str, tmp_path: Path, make_frame: Callable[..., Frame]) -> None:
    sink = open_sink(text.format(tmp_path), 30.0, 'porcelain')
    sink.show(make_frame(), make_frame())
    sink.update({'fps': 30.0})
    sink.close()
    sink.close()
    assert sink.failed is None
    assert sink.dropped == 0


def test_each_text_means_its_display(tmp_path: Path) -> None:
    kinds = {f'file:{tmp_path}/a.mp4': VideoFile, 'web:0': WebPage, 'none': NoDisplay}
    for text, kind in kinds.items():
        sink = open_sink(text)
        assert type(sink) is kind
        sink.close()


@pytest.mark.parametrize('text', ['', 'file', 'file:', 'compare:', 'web', 'web:', 'web:x', 'web:-1', 'none:1', 'hdmi'])
def test_errors_name_what_is_accepted(text: str) -> None:
    with pytest.raises(DisplayError, match=r'file:PATH\.mp4, compare:PATH\.mp4 .*, web:PORT, web:ADDRESS:PORT, none'):
        open_sink(text)


@pytest.mark.parametrize('text', ['drm', 'drm:card0', 'window'])
def test_displays_to_come_are_said_to_be_missing(text: str) -> None:
    with pytest.raises(DisplayError, match='not part of this version'):
        open_sink(text)


@given(
    st.text(st.characters(codec='utf-8'), max_size=20).filter(lambda text: ':' not in text and text.strip() != 'none')
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(DisplayError):
        open_sink(text)
