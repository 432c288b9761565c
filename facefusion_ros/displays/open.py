"""Opening a display by the text a person writes for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facefusion_ros.displays.file import VideoFile
from facefusion_ros.displays.none import NoDisplay
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.displays.web import WebPage

if TYPE_CHECKING:
    from facefusion_ros.displays.sink import Sink

ACCEPTED = 'file:PATH.mp4, compare:PATH.mp4 (camera beside result), web:PORT, web:ADDRESS:PORT, none'
"""What ``open_sink`` understands, for help texts and parameter descriptions."""


def open_sink(text: str, rate_hz: float = 30.0, persona: str = '') -> Sink:
    """Open the display that the text names: one of ``ACCEPTED``.

    ``rate_hz`` is the nominal rate of the frames; ``persona`` is written above the result where two pictures are
    compared. Raises DisplayError where the text is another, or the display cannot be opened.
    """
    kind, _, rest = text.strip().partition(':')
    if kind in {'file', 'compare'} and rest:
        result = f'facefusion_ros: {persona}' if persona else 'facefusion_ros'
        return VideoFile(rest, rate_hz, compare=kind == 'compare', captions=('camera', result))
    if kind == 'web':
        host, _, port = rest.rpartition(':')
        if port.isascii() and port.isdigit():
            return WebPage(host or '127.0.0.1', int(port))
    if text.strip() == 'none':
        return NoDisplay()
    if kind in {'drm', 'window'}:
        raise DisplayError(f'the display {kind!r} is not part of this version; use one of: {ACCEPTED}')
    raise DisplayError(f'no display {text!r}; use one of: {ACCEPTED}')
