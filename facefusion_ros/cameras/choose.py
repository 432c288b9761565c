"""From the camera's ``source`` parameter to a source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from facefusion_ros.cameras.decode import AUTO
from facefusion_ros.cameras.gstreamer import CSI, PREFIX, GstSource
from facefusion_ros.cameras.v4l2 import V4l2Source
from facefusion_ros.cameras.video import STREAM_SCHEMES, VideoSource
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from facefusion_ros.cameras.source import Source
    from facefusion_ros.frames.intrinsics import Intrinsics


class UnknownSource(FacefusionError):
    """The text names no source."""


def choose_source(
    text: str,
    *,
    clock: Callable[[], int],
    realtime: bool = True,
    loop: bool = False,
    size: tuple[int, int] | None = None,
    rate_hz: float | None = None,
    pixel_format: str = '',
    decoder: str = AUTO,
    intrinsics: Intrinsics | None = None,
    options: Mapping[str, str] | None = None,
) -> Source:
    """Make the source that the text names.

    /dev/videoN, csi://0, ``gst:`` and a GStreamer pipeline or an RTSP URL, the URL of a stream, or the path of a video
    file. Nothing is opened yet; the other arguments are those of V4l2Source, GstSource and VideoSource. Simulated
    sources are made by the camera node, since this room does not know the simulated world. Raises UnknownSource, and
    SourceLost for a pixel format that cannot be read.
    """
    text = text.strip()
    scheme, separator, _ = text.partition('://')
    schemes = ', '.join(sorted({'csi', *STREAM_SCHEMES}))
    accepted = (
        'use /dev/videoN, gst: and a GStreamer pipeline, topic: and the name of a topic, the path of a video file, '
        f'or a URL of {schemes}'
    )
    if not text:
        raise UnknownSource(f'no camera source is given: {accepted}')
    if text.startswith((PREFIX, CSI)):
        return GstSource(
            text, clock=clock, realtime=realtime, loop=loop, size=size, rate_hz=rate_hz, intrinsics=intrinsics
        )
    if separator and scheme not in STREAM_SCHEMES:
        raise UnknownSource(f'a camera source cannot begin with {scheme}://: {accepted}')
    if re.fullmatch(r'\d+', text):
        raise UnknownSource(f'a camera source cannot be a mere number: use /dev/video{text}')
    if text.startswith('/dev/'):
        return V4l2Source(
            text, clock=clock, pixel_format=pixel_format, size=size, rate_hz=rate_hz, intrinsics=intrinsics
        )
    return VideoSource(
        text if separator else str(Path(text).expanduser()),
        clock=clock,
        realtime=realtime,
        loop=loop,
        size=size,
        intrinsics=intrinsics,
        decoder=decoder,
        options=options,
    )
