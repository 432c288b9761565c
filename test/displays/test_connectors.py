from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.displays.connectors import Connector, Mode, Wanted, choose_connector, choose_mode
from facefusion_ros.displays.sink import DisplayError

MODES = (
    Mode(1920, 1080, 60.0),
    Mode(1920, 1080, 59.94),
    Mode(1920, 1080, 60.0, interlaced=True),
    Mode(1920, 1080, 50.0),
    Mode(1280, 720, 60.0, preferred=True),
    Mode(1280, 720, 120.0),
    Mode(640, 480, 59.94),
)
HDMI = Connector(1, 'HDMI-A-1', connected=True, modes=MODES)
DP = Connector(2, 'DP-1', connected=False)
SECOND = Connector(3, 'HDMI-A-2', connected=True, modes=MODES[:1])


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [
        ('', Wanted()),
        ('HDMI-A-1', Wanted('HDMI-A-1')),
        ('eDP-1@1280x720', Wanted('eDP-1', 1280, 720)),
        ('HDMI-A-1@1920x1080@59.94', Wanted('HDMI-A-1', 1920, 1080, 59.94)),
        ('@640x480@60', Wanted('', 640, 480, 60.0)),
    ],
)
def test_texts(text: str, wanted: Wanted) -> None:
    assert Wanted.parse(text) == wanted


@pytest.mark.parametrize('text', ['@', 'HDMI-A-1@', 'HDMI-A-1@60', '1920x1080', 'HDMI-A-1@1920x1080@', 'a b', 'x@0x0x'])
def test_other_texts_are_refused_with_examples(text: str) -> None:
    with pytest.raises(DisplayError, match=r'HDMI-A-1@1920x1080@60'):
        Wanted.parse(text)


@given(st.sampled_from(MODES))
def test_a_mode_as_it_is_written_is_found(mode: Mode) -> None:
    if not mode.interlaced:
        assert choose_mode(HDMI, Wanted.parse(f'@{mode}')) == mode


@pytest.mark.parametrize(
    ('text', 'mode'),
    [
        ('', MODES[4]),
        ('@1920x1080', MODES[0]),
        ('@1920x1080@60', MODES[0]),
        ('@1920x1080@59.9', MODES[1]),
        ('@640x480@60', MODES[6]),
        ('@1280x720', MODES[4]),
    ],
)
def test_the_nearest_mode_is_taken_and_the_preferred_where_any_will_do(text: str, mode: Mode) -> None:
    assert choose_mode(HDMI, Wanted.parse(text)) is mode


@pytest.mark.parametrize('text', ['@800x600', '@1920x1080@75', '@640x480@50'])
def test_a_mode_that_is_not_there_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(
        DisplayError, match=rf'HDMI-A-1 has no mode {text[1:]}: there are 1920x1080@60, 1920x1080@59.94'
    ):
        choose_mode(HDMI, Wanted.parse(text))


def test_the_connector_asked_for_or_the_first_with_a_screen() -> None:
    assert choose_connector([DP, HDMI, SECOND], Wanted()) is HDMI
    assert choose_connector([DP, HDMI, SECOND], Wanted('hdmi-a-2')) is SECOND


@pytest.mark.parametrize(
    ('connectors', 'name', 'text'),
    [
        ([], '', 'no connectors: use another display'),
        ([DP, HDMI], 'DP-2', r'no connector DP-2: there are DP-1 \(nothing plugged in\), HDMI-A-1 \(1280x720@60\)'),
        ([DP, HDMI], 'DP-1', 'nothing is plugged into DP-1: plug the screen in or choose another; there are DP-1'),
        ([DP], '', r'nothing is plugged into any connector; there are DP-1 \(nothing plugged in\)'),
    ],
)
def test_a_connector_that_cannot_be_used_is_told(connectors: list[Connector], name: str, text: str) -> None:
    with pytest.raises(DisplayError, match=text):
        choose_connector(connectors, Wanted(name))
