"""The newest picture of a stream that cannot be told to wait."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import av.error

from facefusion_ros.cameras.decode import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


class NewestPicture:
    """Decodes an open stream in a thread of its own and keeps the latest picture only.

    Owns the container: the thread closes it at its end.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, clock: Callable[[], int]) -> None:
        self._container = container
        self._stream = stream
        self._clock = clock
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
        with self._change:
            self._change.wait_for(lambda: self._waiting is not None or self._ended or self._stop, timeout_s)
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

    def _decode(self) -> None:
        try:
            for packet in self._container.demux(self._stream):
                arrived_ns = self._clock()
                if self._stop:
                    break
                self._keep(packet, arrived_ns)
        except av.error.FFmpegError as error:
            self._error = error
        finally:
            self._container.close()
            with self._change:
                self._ended = True
                self._change.notify_all()

    def _keep(self, packet: Packet[VideoStream], stamp_ns: int) -> None:
        pictures, damaged = decoded(packet)
        with self._change:
            self._damaged += damaged
            for picture in pictures:
                self._passed_over += self._waiting is not None
                self._waiting = (picture, stamp_ns)
                self._change.notify_all()
