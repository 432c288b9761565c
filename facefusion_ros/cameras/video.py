"""Video files and network streams, through FFmpeg (PyAV)."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import av.error
from av.codec.hwaccel import HWAccel

from facefusion_ros.cameras.calibration import at_size
from facefusion_ros.cameras.decode import AUTO, accelerator, decoded, described
from facefusion_ros.cameras.live import NewestPicture
from facefusion_ros.cameras.pace import Pace
from facefusion_ros.cameras.reformat import Reformat
from facefusion_ros.cameras.source import Capture, PictureFormat, SourceEnded, SourceLost, distinct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from facefusion_ros.frames.intrinsics import Intrinsics

STREAM_SCHEMES: Final = frozenset({'rtsp', 'rtspu', 'rtsps', 'rtmp', 'http', 'https', 'tcp', 'udp', 'rtp', 'srt'})

_NS: Final = 1_000_000_000
_UNKNOWN_RATE_HZ: Final = 30.0
_OVER_UDP: Final = 'rtspu://'
# FFmpeg would look at 5 s of a stream before it shows the first picture, and take RTSP's packets as UDP drops them.
_LIVE_OPTIONS: Final = {'analyzeduration': '1000000', 'rtsp_transport': 'tcp'}


class VideoSource:
    """A camera that FFmpeg can read.

    A text with :// is a network stream, which is live: a thread decodes it, the newest picture is delivered and older
    ones are passed over. Anything else is a file, of which every picture is delivered.

    Stamps: a file's pictures get the clock's time at which they are due, from the first one on; where the reader falls
    behind by more than a picture the file is played later, not faster. Network pictures get the sender's stamps, laid
    on the clock by when they arrive (Arrivals); how long before that the exposure was the stream does not tell.

    RTSP comes over TCP, and over UDP where the scheme is ``rtspu``. FFmpeg gives its H.264 and H.265 only when the next
    picture begins, which is a picture's time later than GStreamer does.

    Pictures are scaled to the size the source was opened with, also where the stream changes its size on the way.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], int],
        realtime: bool = True,
        loop: bool = False,
        size: tuple[int, int] | None = None,
        intrinsics: Intrinsics | None = None,
        decoder: str = AUTO,
        options: Mapping[str, str] | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        """Open nothing yet.

        ``clock``: nanoseconds. ``realtime``: pace a file by its time stamps; otherwise as fast as it is read. ``loop``:
        start a file again at its end. ``size``: width and height to deliver, made by scaling. ``intrinsics``: the
        calibration, of any size of the same shape. ``decoder``: one of DECODERS; software takes the place of a device
        that is not there. ``options``: FFmpeg's options for the format and protocol. ``timeout_s``: how long a stream
        may be silent.
        """
        self._url = url
        self._clock = clock
        self._realtime = realtime
        self._loop = loop
        self._size = size
        self._intrinsics = intrinsics
        self._decoder = decoder
        self._options = dict(options or {})
        self._timeout_s = timeout_s
        self._is_live = '://' in url
        self._name = re.sub(r'//[^/@]*@', '//', url)  # without the password
        self._closed = threading.Event()
        self._closed.set()
        self._using = threading.Lock()
        self._format = PictureFormat(0, 0, 0.0)
        self._reformat = Reformat()
        self._newest: NewestPicture | None = None
        self._container: InputContainer | None = None
        self._pictures: Iterator[VideoFrame] = iter(())
        self._pace = Pace(clock, _UNKNOWN_RATE_HZ)
        self._decodes = ''
        self._damaged = 0
        self._last_stamp_ns = -1

    def open(self) -> PictureFormat:
        """Connect; raises SourceLost with the cure where that fails, CalibrationError for another picture shape."""
        self.close()
        self._closed.clear()
        container, stream = self._connect()
        try:
            self._format = self._format_of(stream)
        except BaseException:
            container.close()
            raise
        self._last_stamp_ns, self._damaged = -1, 0
        if self._is_live:
            self._newest = NewestPicture(container, stream, self._clock)
        else:
            self._pace = Pace(self._clock, self._format.rate_hz)
            self._container, self._pictures = container, self._packets(container, stream)
        return self._format

    def capture(self, out: NDArray[np.uint8]) -> Capture:
        """Write the next picture to out, (height, width, 3) BGR; see Source.capture."""
        if out.shape != (self._format.height, self._format.width, 3):
            raise ValueError(f'pictures of {self._format.height} x {self._format.width} x 3 do not fit {out.shape}')
        if self._newest is not None:
            picture, stamp_ns, dropped, damaged = self._take(self._newest)
        else:
            picture, stamp_ns = self._next_of_file()
            dropped, damaged, self._damaged = 0, self._damaged, 0
        self._reformat(picture, out)
        self._last_stamp_ns = stamp_ns = distinct(stamp_ns, self._last_stamp_ns)
        return Capture(stamp_ns, dropped=dropped, damaged=damaged)

    def close(self) -> None:
        """Let go; a waiting ``capture`` raises SourceLost at once."""
        self._closed.set()
        newest, self._newest = self._newest, None
        if newest is not None:
            newest.stop(timeout_s=1.0)
        with self._using:
            container, self._container = self._container, None
            if container is not None:
                container.close()

    # -- opening

    def _format_of(self, stream: VideoStream) -> PictureFormat:
        width, height = self._size or (stream.codec_context.width, stream.codec_context.height)
        if width < 1 or height < 1:
            raise self._lost('no picture in it can be decoded: look at it with ffprobe')
        if self._closed.is_set():
            raise self._lost('closed while it was being opened')
        rate_hz = float(stream.average_rate or stream.guessed_rate or _UNKNOWN_RATE_HZ)
        intrinsics = self._intrinsics and at_size(self._intrinsics, width, height)
        return PictureFormat(width, height, rate_hz, intrinsics, self._decodes)

    def _connect(self) -> tuple[InputContainer, VideoStream]:
        url, options = self._url, dict(_LIVE_OPTIONS) if self._is_live else {}
        if url.startswith(_OVER_UDP):
            url = url.replace(_OVER_UDP, 'rtsp://', 1)
            options['rtsp_transport'] = 'udp'
        options.update(self._options)
        device, why = accelerator(self._decoder)
        try:
            if not self._is_live and not stat.S_ISREG(Path(self._url).stat().st_mode):
                raise self._lost('not a file: give the path of a video')
            container = av.open(
                url,
                options=options,
                timeout=self._timeout_s if self._is_live else None,
                hwaccel=HWAccel(device) if device else None,
            )
        except (av.error.FFmpegError, OSError) as error:
            raise self._lost(self._cure(error)) from error
        # FFmpeg shows any text file as the screen of a terminal.
        if not container.streams.video or container.format.name == 'tty':
            container.close()
            raise self._lost('there is no video in it, or what says so is missing: look at it with ffprobe')
        stream = container.streams.video[0]
        self._decodes = described(stream, device, why)
        if self._is_live:
            stream.codec_context.flags |= av.codec.context.Flags.low_delay
        return container, stream

    def _lost(self, why: str) -> SourceLost:
        return SourceLost(f'{self._name}: {why}')

    def _cure(self, error: av.error.FFmpegError | OSError) -> str:
        number = error.errno
        if number == errno.ENOENT:
            return 'there is no such file: give the path of a video'
        if number in {errno.EACCES, errno.EPERM}:
            return 'not allowed to read it: make it readable for this user'
        if number == errno.ECONNREFUSED:
            return 'nobody answers there: start the stream, or mend host and port'
        if isinstance(error, av.error.ExitError) or number in {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}:
            return f'no answer within {self._timeout_s:g} s: look at the address and the network'
        if isinstance(error, av.error.HTTPUnauthorizedError):
            return 'the camera wants its user and password: give them as scheme://user:password@host/'
        if isinstance(error, av.error.HTTPForbiddenError):
            return 'this user may not see it: give another as scheme://user:password@host/'
        if isinstance(error, av.error.HTTPNotFoundError):
            return 'there is no such stream: mend what follows the host in the URL'
        if isinstance(error, av.error.InvalidDataError):
            return 'this is not a video, or it is damaged: look at it with ffprobe'
        reason = os.strerror(number) if number and 0 < number < 200 else error.strerror or type(error).__name__
        return f'cannot be read ({reason}): look at it with ffprobe'

    # -- live

    def _take(self, newest: NewestPicture) -> tuple[VideoFrame, int, int, int]:
        taken = newest.take(self._timeout_s)
        if taken is not None:
            return taken
        if self._closed.is_set():
            raise self._lost('closed')
        if newest.error is not None:
            raise self._lost(self._cure(newest.error)) from newest.error
        if newest.ended:
            raise self._lost('the stream has ended: start it again')
        raise self._lost(f'no picture for {self._timeout_s:g} s: look at the camera and the network')

    # -- files

    def _next_of_file(self) -> tuple[VideoFrame, int]:
        with self._using:
            picture = self._read()
        stamp_ns = None
        if picture.pts is not None and picture.time_base is not None:
            stamp_ns = int(picture.pts * picture.time_base * _NS)
        due_ns = self._pace.due_ns(stamp_ns)
        if not self._realtime:
            return picture, due_ns
        came_ns = self._pace.wait(due_ns, self._closed)
        if came_ns is None:
            raise self._lost('closed')
        return picture, came_ns

    def _read(self) -> VideoFrame:
        """Decode the next picture; a film that loops is opened anew at its end, since not every format can go back."""
        picture = self._decode_one()
        if picture is None and not self._pace.begun:
            raise self._lost('no picture in it can be decoded: look at it with ffprobe')
        if picture is None and not self._loop:
            raise SourceEnded(f'{self._name}: the video is over; let it loop to go on')
        if picture is None and self._container is not None:
            self._container.close()
            self._container, stream = self._connect()
            self._pictures = self._packets(self._container, stream)
            self._pace.cut()
            picture = self._decode_one()
        if picture is None:
            raise self._lost('no picture in it can be decoded any more: look at it with ffprobe')
        return picture

    def _decode_one(self) -> VideoFrame | None:
        if self._container is None:
            raise self._lost('closed')
        try:
            return next(self._pictures, None)
        except av.error.FFmpegError as error:
            raise self._lost(self._cure(error)) from error

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        for packet in container.demux(stream):
            pictures, damaged = decoded(packet)
            self._damaged += damaged
            yield from pictures
