"""Which device decodes a video, and what comes out of its packets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import av.error
from av.codec import Codec
from av.codec.hwaccel import HWAccel

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

AUTO, SOFTWARE = 'auto', 'software'
_DEVICES: Final = ('cuda', 'vaapi')
DECODERS: Final = (AUTO, SOFTWARE, *_DEVICES)
"""``cuda`` is NVDEC of an NVIDIA card, ``vaapi`` the decoder of Intel's and AMD's. A Jetson's is GStreamer's to use."""


def accelerator(decoder: str) -> tuple[str | None, str]:
    """Return the device that decodes, None for software; and why it is not the one that was asked for.

    ``auto`` is the first device that there is. What it cannot decode it leaves to software, by itself. Which devices
    FFmpeg knows is decided when it is built; PyAV's wheels from PyPI know ``cuda`` and not ``vaapi``.
    """
    if decoder == SOFTWARE:
        return None, ''
    wanted = _DEVICES if decoder == AUTO else (decoder,)
    problems = {name: _problem(name) for name in wanted}
    found = next((name for name, problem in problems.items() if not problem), None)
    return found, '' if decoder == AUTO else problems[decoder]


def _problem(device: str) -> str:
    try:
        HWAccel(device).create(Codec('h264', 'r'))
    except NotImplementedError:
        return f'this FFmpeg knows no {device}'
    except (av.error.FFmpegError, OSError, RuntimeError, ValueError):
        return f'there is no {device} device here, or it is not allowed to be used'
    return ''


def described(stream: VideoStream, device: str | None, why: str) -> str:
    """Say what decodes the stream, for people: ``h264 by cuda``."""
    codec = stream.codec_context.name
    if device is not None and stream.codec_context.is_hwaccel:
        return f'{codec} by {device}'
    why = why or (f'not one for {device}' if device else '')
    return f'{codec} in software ({why})' if why else f'{codec} in software'


def decoded(packet: Packet[VideoStream]) -> tuple[list[VideoFrame], int]:
    """Return the pictures that come out of a packet, and how much damage shows: by the container, and by the decoder.

    What a decoder patches up may be shown by both, one after the other.
    """
    try:
        pictures = packet.decode()
    except av.error.InvalidDataError:  # the next ones may be sound
        return [], 1
    return pictures, max(int(packet.is_corrupt), sum(picture.is_corrupt for picture in pictures))
