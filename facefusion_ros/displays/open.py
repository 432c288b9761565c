"""Opening a display by the text a person writes for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facefusion_ros.displays.connectors import Wanted
from facefusion_ros.displays.drm import DrmScreen
from facefusion_ros.displays.file import VideoFile
from facefusion_ros.displays.none import NoDisplay
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.displays.web import WebPage
from facefusion_ros.displays.window import Window, parse_size

if TYPE_CHECKING:
    from facefusion_ros.displays.sink import Sink, Told
    from facefusion_ros.frames.frame import FrameInfo

ACCEPTED = (
    'drm, drm:CONNECTOR, drm:CONNECTOR@WIDTHxHEIGHT@HZ (a screen without a desktop), window, window:WIDTHxHEIGHT, '
    'file:PATH.mp4, compare:PATH.mp4 (camera beside result), web:PORT, web:ADDRESS:PORT, none'
)
"""What ``open_sink`` understands, for help texts and parameter descriptions."""


def _nobody(info: FrameInfo, time_ns: int | None) -> None:
    """Tell nobody."""


def open_sink(text: str, rate_hz: float = 30.0, persona: str = '', told: Told = _nobody) -> Sink:
    """Open the display that the text names: one of ``ACCEPTED``.

    A screen is named by one text, as the kernel's command line has it (video=HDMI-A-1:1920x1080@60), so that one launch
    argument says all of where the picture goes, whatever the kind of display.

    ``rate_hz`` is the nominal rate of the frames; ``persona`` is written above the result where two pictures are
    compared; ``told`` hears when frames came on displays that tell (``Sink.tells_when``). Raises DisplayError where the
    text is another, or the display cannot be opened.
    """
    kind, colon, rest = text.strip().partition(':')
    if kind in {'file', 'compare'} and rest:
        result = f'facefusion_ros: {persona}' if persona else 'facefusion_ros'
        return VideoFile(rest, rate_hz, compare=kind == 'compare', captions=('camera', result))
    if kind == 'web':
        host, _, port = rest.rpartition(':')
        if port.isascii() and port.isdigit():
            return WebPage(host or '127.0.0.1', int(port))
    if kind == 'drm' and bool(rest) == bool(colon):
        return DrmScreen(Wanted.parse(rest), told)
    if kind == 'window' and bool(rest) == bool(colon):
        return Window(parse_size(rest), told, f'facefusion_ros: {persona}' if persona else 'facefusion_ros')
    if text.strip() == 'none':
        return NoDisplay()
    raise DisplayError(f'no display {text!r}; use one of: {ACCEPTED}')
