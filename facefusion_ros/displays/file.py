"""A film of what was shown: H.264 in MP4."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from facefusion_ros.displays.letterbox import picture_size
from facefusion_ros.displays.scaling import bgr_of, nv12_of, scale_into
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.frames.frame import Encoding
from facefusion_ros.frames.layout import nv12_planes, region_planes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facefusion_ros.frames.frame import Frame

WAITING_FRAMES = 8
"""Frames that may wait for the encoder; the next one is dropped and counted."""
WIDEST_PX = 4096
"""Wider films are scaled down: most hardware decoders end there."""
LONGEST_GAP_NS = 10_000_000_000
"""A longer step between two stamps, or one backwards, is a clock being set, not time that passed in the film."""

_BACKGROUND = (22, 20, 18)
_DIVIDER = (64, 60, 56)
_INK = (214, 210, 206)
_DIVIDER_PX = 2
_CURES = {
    errno.ENOSPC: 'free some space or record to another disk',
    errno.EDQUOT: 'free some space or record to another disk',
    errno.EFBIG: "raise the limit on this process's file size or split the recording",
}


class FilmTime:
    """Stamps of frames to ticks of 1/90000 s, always rising, so that dropped frames do not speed the film up."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = round(1e9 / rate_hz)
        self._last_ns: int | None = None
        self._film_ns = 0
        self._tick = -1

    def tick(self, stamp_ns: int) -> int:
        """Where in the film the frame of this stamp belongs; the first is 0."""
        if self._last_ns is not None:
            step_ns = stamp_ns - self._last_ns
            self._film_ns += step_ns if 0 < step_ns <= LONGEST_GAP_NS else self._period_ns
        self._last_ns = stamp_ns
        self._tick = max(self._tick + 1, self._film_ns * 9 // 100_000)
        return self._tick


class Canvas:
    """Where the pictures stand in the film: one alone, or two side by side under a strip with captions.

    It is BGR, or NV12 where the first picture is: the encoder takes that as it is. H.264 in 4:2:0 wants even sizes: an
    odd picture gets one more dark column or row, none of its pixels is lost.
    """

    def __init__(
        self, width_px: int, height_px: int, captions: tuple[str, str] | None, encoding: Encoding = Encoding.BGR8
    ) -> None:
        """Lay out a film of pictures of this size; two with captions where these are given."""
        halves = 2 if captions else 1
        scale = min(1.0, (WIDEST_PX - (halves - 1) * _DIVIDER_PX) / (halves * width_px))
        self.encoding = Encoding.NV12 if encoding is Encoding.NV12 else Encoding.BGR8
        step = 2 if self.encoding is Encoding.NV12 else 1
        self._width, self._height = (max(step, int(side * scale) // step * step) for side in (width_px, height_px))
        self._strip = min(44, max(22, self._height // 18)) // 2 * 2 if captions else 0
        film_width = halves * self._width + (halves - 1) * _DIVIDER_PX
        self.width, self.height = film_width + film_width % 2, self._strip + self._height
        self.height += self.height % 2
        self._captions = captions

    def blank(self) -> NDArray[np.uint8]:
        """All that never changes: (height, width, 3) of BGR, (height * 3 / 2, width) of NV12."""
        film = np.empty((self.height, self.width, 3), np.uint8)
        film[0] = _BACKGROUND
        film[1:] = film[0]
        if self._captions:
            film[:, self._width : self._width + _DIVIDER_PX] = _DIVIDER
            for text, left in zip(self._captions, (0, self._width + _DIVIDER_PX), strict=True):
                self._write(film[: self._strip, left : left + self._width], text)
        if self.encoding is Encoding.BGR8:
            return film
        nv12 = np.empty((self.height * 3 // 2, self.width), np.uint8)
        for plane, drawn in zip(nv12_planes(nv12), nv12_of(film), strict=True):
            np.copyto(plane, drawn)
        return nv12

    def _write(self, strip: NDArray[np.uint8], text: str) -> None:
        size = self._strip / 48.0
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        margin = self._strip // 3
        if width + 2 * margin > strip.shape[1]:  # a caption cut in two says less than none
            return
        foot = (self._strip + height) // 2
        # OpenCV draws into contiguous arrays only where it is to draw in place.
        ink = np.ascontiguousarray(strip)
        cv2.putText(ink, text, (margin, foot), cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
        strip[:] = ink

    def place(self, film: NDArray[np.uint8], frame: Frame, *, left: bool) -> None:
        """Write a picture of any size and encoding into its half of the film, scaled where it does not fit."""
        x = 0 if left else self._width + _DIVIDER_PX
        half = region_planes(film, self.encoding, (x, self._strip, self._width, self._height))
        for picture, view in zip(self._planes(frame), half, strict=True):
            scale_into(picture, view)

    def _planes(self, frame: Frame) -> tuple[NDArray[np.uint8], ...]:
        if frame.encoding is Encoding.NV12 and self.encoding is Encoding.NV12:
            return nv12_planes(frame.pixels)
        bgr = bgr_of(frame.pixels, frame.encoding)
        if self.encoding is Encoding.BGR8:
            return (bgr,)
        scaled = np.empty((self._height, self._width, 3), np.uint8)  # of even sides
        scale_into(bgr, scaled)
        return nv12_of(scaled)


class FragmentFile:
    """A file that only ever grows by whole fragments of a fragmented MP4 (ISO/IEC 14496-12, boxes moof and mdat).

    So a process that is killed, or a disk that fills up, leaves a film that plays to its last whole fragment.
    It has no ``seek``, by which the muxer knows that what is written is written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open('wb', buffering=0)
        self._waiting = bytearray()
        self._box_end = 0
        self._broken = False

    def write(self, piece: bytes) -> int:
        """Take the muxer's next bytes; raises OSError where a fragment cannot be written."""
        if self._broken:  # the muxer's farewell on closing; there is nothing left to say
            return len(piece)
        self._waiting += piece
        whole = 0
        while self._box_end + 8 <= len(self._waiting):
            head = self._waiting[self._box_end : self._box_end + 16]
            size, kind = int.from_bytes(head[:4], 'big'), head[4:8]
            if size == 1:  # a 64-bit size follows the name
                if len(head) < 16:
                    break
                size = int.from_bytes(head[8:16], 'big')
            if self._box_end + size > len(self._waiting):
                break
            self._box_end += max(size, 8)  # no box is shorter than its head
            if kind != b'moof':  # useless without the mdat that follows
                whole = self._box_end
        if whole:
            self._append(memoryview(self._waiting)[:whole].tobytes())
            del self._waiting[:whole]
            self._box_end -= whole
        return len(piece)

    def _append(self, fragment: bytes) -> None:
        begin = self._file.tell()
        rest = memoryview(fragment)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._broken = True
            with contextlib.suppress(OSError):  # where it cannot be cut, players skip the broken end
                self._file.truncate(begin)
            raise

    def close(self) -> None:
        """Close; an unfinished fragment is left out."""
        self._file.close()


class VideoFile:
    """Writes every frame shown to an H.264 film, in a thread of its own.

    The frames' stamps are the film's time base, so its rate varies with theirs. ``show`` costs one copy of the frame;
    when the encoder is ``WAITING_FRAMES`` behind, frames are dropped and counted. A frame of another size than the
    first is scaled to it, one of another encoding converted. The file grows by about a second at a time and is playable
    at every moment.
    """

    tells_when = False

    def __init__(
        self,
        path: Path | str,
        rate_hz: float,
        *,
        compare: bool = False,
        patient: bool = False,
        captions: tuple[str, str] = ('camera', 'facefusion_ros'),
    ) -> None:
        """Open the file.

        ``rate_hz`` is the nominal rate of the frames. With ``compare`` the camera's picture is shown left of the
        result, with ``captions`` above the two. With ``patient``, ``show`` waits for the encoder instead of dropping:
        for work that is not live. Raises DisplayError where the file cannot be written.
        """
        self.path = Path(path)
        self._rate_hz = rate_hz
        self._patient = patient
        self._captions = captions if compare else None
        self._time = FilmTime(rate_hz)
        self._canvas: Canvas | None = None
        self._encoder: threading.Thread | None = None
        self._blanks: list[NDArray[np.uint8]] = []
        self._free: queue.SimpleQueue[NDArray[np.uint8]] = queue.SimpleQueue()
        self._films: queue.SimpleQueue[tuple[NDArray[np.uint8], int] | None] = queue.SimpleQueue()
        self._failed: str | None = None
        self._dropped = 0
        self._written = 0
        self._closed = False
        try:
            self._file = FragmentFile(self.path)
        except OSError as error:
            raise DisplayError(
                f'cannot write the film {self.path}: {error.strerror}; name a file in a folder that exists'
            ) from error

    @property
    def failed(self) -> str | None:
        """Why the recording has stopped; None while it goes on."""
        return self._failed

    @property
    def compares(self) -> bool:
        """Whether the camera's picture is shown beside the result."""
        return self._captions is not None

    @property
    def shows_numbers(self) -> bool:
        """A film shows pictures only."""
        return False

    @property
    def dropped(self) -> int:
        """Frames left out because the encoder was behind."""
        return self._dropped

    @property
    def written(self) -> int:
        """Frames handed to the file so far."""
        return self._written

    def show(self, frame: Frame, original: Frame | None) -> None:
        """Add a frame to the film; returns after one copy."""
        if self._failed or self._closed:
            return
        if self._canvas is None:
            self._canvas = Canvas(*picture_size(frame), self._captions, frame.encoding)
            self._blanks = [self._canvas.blank()] * WAITING_FRAMES
            self._encoder = threading.Thread(target=self._encode, args=(self._canvas,), name='film', daemon=True)
            self._encoder.start()
        film = self._film()
        if film is None:
            self._dropped += 1
            return
        if self._captions:
            # Where the camera's picture is missing the result stands twice, not the picture of another instant.
            self._canvas.place(film, original or frame, left=True)
        self._canvas.place(film, frame, left=not self._captions)
        self._films.put((film, self._time.tick(frame.info.stamp_ns)))

    def update(self, numbers: Mapping[str, float | int | str]) -> None:
        """Do nothing: a film shows no numbers."""

    def close(self) -> None:
        """Wait until every frame is in the file, and close it."""
        if self._closed:
            return
        self._closed = True
        if self._encoder:
            self._films.put(None)
            self._encoder.join()
        self._file.close()

    def _film(self) -> NDArray[np.uint8] | None:
        """Take a free film canvas; a new one only where the encoder has never been that far behind before."""
        with contextlib.suppress(queue.Empty):
            return self._free.get_nowait()
        if self._blanks:
            return np.copy(self._blanks.pop())
        while self._patient and not self._failed:
            with contextlib.suppress(queue.Empty):
                return self._free.get(timeout=0.1)  # a failed encoder gives nothing back
        return None

    def _encode(self, canvas: Canvas) -> None:
        # Recording must not slow the pipeline; on Linux the niceness is the thread's own, and its children's.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        try:
            self._encode_all(canvas)
        except (OSError, av.FFmpegError) as error:
            reason = error.strerror or str(error)
            cure = _CURES.get(error.errno or 0, 'check the disk')
            self._failed = f'recording {self.path} stopped: {reason}; {cure} (what was written stays readable)'

    def _encode_all(self, canvas: Canvas) -> None:
        time_base = Fraction(1, 90_000)
        container = av.open(
            self._file,
            'w',
            format='mp4',
            container_options={
                'movflags': 'frag_keyframe+empty_moov+default_base_moof',
                'frag_duration': '1000000',  # microseconds
            },
        )
        with container:
            stream = container.add_stream('libx264', rate=max(1, round(self._rate_hz)))
            nv12 = canvas.encoding is Encoding.NV12
            stream.width, stream.height = canvas.width, canvas.height
            stream.pix_fmt = 'nv12' if nv12 else 'yuv420p'
            stream.time_base = time_base
            codec = stream.codec_context
            codec.time_base = time_base
            codec.gop_size = max(1, round(self._rate_hz))
            codec.max_b_frames = 0  # they would shift the film's begin, which a fragmented file cannot say
            codec.thread_count = 2
            # What cvtColor makes: ITU-R BT.601 in limited range (1 and 6 in ITU-T H.273).
            codec.color_range, codec.colorspace = 1, 6
            codec.options = {'preset': 'veryfast', 'crf': '20'}
            yuv = np.empty((canvas.height * 3 // 2, canvas.width), np.uint8)
            while waiting := self._films.get():
                film, tick = waiting
                if not nv12:
                    cv2.cvtColor(film, cv2.COLOR_BGR2YUV_I420, dst=yuv)
                picture = av.VideoFrame.from_ndarray(film if nv12 else yuv, format=stream.pix_fmt)
                self._free.put(film)
                picture.pts, picture.time_base = tick, time_base
                container.mux(stream.encode(picture))
                self._written += 1
            container.mux(stream.encode())
