"""The newest picture of a stream that cannot be told to wait."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import av.error

from facefusion_ros.cameras.arrival import Arrivals
from facefusion_ros.cameras.decode import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_NS: Final = 1_000_000_000
_AT_ONCE_NS: Final = 4_000_000
_QUIET_S: Final = 0.2
_CATCH_UP_NS: Final = 2 * _NS
# libavformat, rtpdec_h264.c and rtpdec_hevc.c: its RTP gives pieces of pictures, which a parser joins.
_JOINED: Final = {'h264', 'hevc'}


class NewestPicture:
    """Decodes an open stream in a thread of its own and keeps the latest picture only.

    Owns the container: the thread closes it at its end.

    What had come while the stream was opened is passed over: pictures are given from when two after each other had to
    be waited for, or none comes for a fifth of a second; or after 2 s of a stream that always has one.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, clock: Callable[[], int]) -> None:
        self._container = container
        self._stream = stream
        self._clock = clock
        self._arrivals = Arrivals()
        self._waited = 0
        self._caught_up = False
        self._change = threading.Condition()
        self._waiting: tuple[VideoFrame, int] | None = None
        self._passed_over = 0
        self._damaged = 0
        self._stop = False
        self._ended = False
        self._error: av.error.FFmpegError | None = None
        self._thread = threading.Thread(target=self._decode, name='newest picture', daemon=True)
        self._thread.start()

    def take(self, timeout_s: float) -> tuple[VideoFrame, int, int, int] | None:
        """Wait for a picture not yet taken: it, its stamp (ns), how many were passed over, how many damaged before it.

        None where none came in time or none will come; ``error`` may say why.
        """
        end_s = time.monotonic() + timeout_s
        with self._change:
            while not self._is_ready() and (left_s := end_s - time.monotonic()) > 0.0:
                if not self._change.wait(min(left_s, _QUIET_S)):
                    self._caught_up = True
            if self._waiting is None or self._stop:
                return None
            (picture, stamp_ns), self._waiting = self._waiting, None
            passed_over, self._passed_over = self._passed_over, 0
            damaged, self._damaged = self._damaged, 0
        return picture, stamp_ns, passed_over, damaged

    @property
    def ended(self) -> bool:
        """Whether the stream is over."""
        return self._ended

    @property
    def error(self) -> av.error.FFmpegError | None:
        """What ended the stream, if it was an error."""
        return self._error

    def stop(self, timeout_s: float) -> None:
        """End the thread; one that hangs in a dead stream is left behind and ends with the stream's own time limit."""
        with self._change:
            self._stop = True
            self._change.notify_all()
        self.join(timeout_s)

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the stream's end."""
        self._thread.join(timeout_s)

    def _is_ready(self) -> bool:
        return (self._waiting is not None and self._caught_up) or self._ended or self._stop

    def _decode(self) -> None:
        # Where a parser joins pictures, one is given when the next begins; so what is given has begun when that before
        # it was given.
        joined = self._container.format.name == 'rtsp' and self._stream.codec_context.name in _JOINED
        try:
            packets = self._container.demux(self._stream)
            begun_ns = asked_ns = time.monotonic_ns()
            before_ns = self._clock()
            while not self._stop and (packet := next(packets, None)) is not None:
                came_ns, arrived_ns = time.monotonic_ns(), self._clock()
                self._waited = self._waited + 1 if came_ns - asked_ns > _AT_ONCE_NS else 0
                if self._waited > 1 or came_ns - begun_ns > _CATCH_UP_NS:
                    self._caught_up = True
                self._keep(packet, before_ns if joined else arrived_ns)
                asked_ns, before_ns = time.monotonic_ns(), arrived_ns
        except av.error.FFmpegError as error:
            self._error = error
        finally:
            self._container.close()
            with self._change:
                self._ended = True
                self._change.notify_all()

    def _keep(self, packet: Packet[VideoStream], arrived_ns: int) -> None:
        sent_ns = _sent_ns(packet)
        if sent_ns is not None:
            self._arrivals.heed(arrived_ns, sent_ns)
        pictures, damaged = decoded(packet)
        with self._change:
            self._damaged += damaged
            for picture in pictures:
                self._passed_over += self._waiting is not None
                taken_ns = self._arrivals.taken_ns(_sent_ns(picture))
                self._waiting = picture, arrived_ns if taken_ns is None else taken_ns
                self._change.notify_all()


def _sent_ns(of: Packet[VideoStream] | VideoFrame) -> int | None:
    """Return the sender's stamp, where there is one."""
    return None if of.pts is None or of.time_base is None else int(of.pts * of.time_base * _NS)
