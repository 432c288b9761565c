from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.displays import open as display_open
from facefusion_ros.displays.connectors import Wanted
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
    with pytest.raises(
        DisplayError, match=r'drm, .*window, .*file:PATH\.mp4, compare:PATH\.mp4 .*, web:PORT, web:ADDRESS:PORT, none'
    ):
        open_sink(text)


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [('drm', ''), ('drm:HDMI-A-1', 'HDMI-A-1'), ('drm:@640x480@60', '@640x480@60'), ('window:300x200', '300x200')],
)
def test_screens_and_windows_are_told_what_is_wanted(text: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display_open, 'DrmScreen', lambda wanted, told: (wanted, told))
    monkeypatch.setattr(display_open, 'Window', lambda size, told, title: (size, told, title))
    told = list[object]().append
    expected = (Wanted.parse(wanted), told) if text.startswith('drm') else ((300, 200), told, 'facefusion_ros: ivan')
    assert open_sink(text, persona='ivan', told=told) == expected  # type: ignore[comparison-overlap,arg-type]


@pytest.mark.parametrize('text', ['drm:', 'drm:card 0', 'window:', 'window:0x0', 'window:800'])
def test_screens_and_windows_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(DisplayError):
        open_sink(text)


WORDS = {'none', 'drm', 'window'}


@given(
    st.text(st.characters(codec='utf-8'), max_size=20).filter(
        lambda text: ':' not in text and text.strip() not in WORDS
    )
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(DisplayError):
        open_sink(text)
