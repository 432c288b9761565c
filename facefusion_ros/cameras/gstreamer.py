"""Cameras behind a GStreamer pipeline: CSI cameras of a Jetson or a Raspberry Pi, and whatever a pipeline can read."""

from __future__ import annotations

import re
import threading
import time
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from facefusion_ros.cameras.bgr import LayoutUnknown, ToBgr, divides
from facefusion_ros.cameras.calibration import at_size
from facefusion_ros.cameras.gst_library import GstFailure, GstMissing, Pipeline, gst
from facefusion_ros.cameras.source import Capture, PictureFormat, SourceEnded, SourceLost, distinct

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.cameras.gst_library import Sample
    from facefusion_ros.frames.intrinsics import Intrinsics

PREFIX: Final = 'gst:'
CSI: Final = 'csi://'
_OVER_UDP: Final = 'rtspu://'
_REORDER_MS: Final = 20

_NS: Final = 1_000_000_000
_UNKNOWN_RATE_HZ: Final = 30.0
_CSI_SIZE: Final = (1280, 720)
_LOOK_NS: Final = 100_000_000
_OLDEST_NS: Final = 10 * _NS
_MEASURED: Final = 3
_PICTURES: Final = 'facefusion_pictures'
_LAYOUTS: Final = {
    'BGR': 'bgr',
    'BGRx': 'bgra',
    'BGRA': 'bgra',
    'RGB': 'rgb',
    'RGBx': 'rgba',
    'RGBA': 'rgba',
    'GRAY8': 'grey',
    'NV12': 'nv12',
    'NV21': 'nv21',
    'I420': 'i420',
    'YUY2': 'yuyv',
    'UYVY': 'uyvy',
}
"""What is taken as it comes, by GStreamer's names; ``videoconvert`` makes the rest one of these."""

# Debian's and Ubuntu's packages, by the names of elements; the first that fits.
_PACKAGES: Final = (
    (r'nvargus.*|nvvidconv|nvv4l2.*|nvjpeg.*|nvegl.*', 'nvidia-l4t-gstreamer (of a Jetson)'),
    (r'libcamera.*', 'gstreamer1.0-libcamera'),
    (r'av(dec|enc|demux|mux)_.*', 'gstreamer1.0-libav'),
    (r'x264enc|asfdemux', 'gstreamer1.0-plugins-ugly'),
    (
        r'(audio|video)(convert|rate|scale|testsrc|convertscale)|(uri)?decodebin3?|tcp.*|ogg.*|app.*',
        'gstreamer1.0-plugins-base',
    ),
    (
        r'v4l2.*|rt(s)?p(?!tmp).*|udp.*|jpeg.*|png.*|soup.*|multi(part|file).*|(matroska|qt|avi|flv)demux|vp[89].*|video.*',
        'gstreamer1.0-plugins-good',
    ),
    (
        r'h26[45].*|ts(demux|parse)|srt.*|rtmp.*|nv.*|va.*|bayer2rgb|openh264.*|kms.*|webrtc.*',
        'gstreamer1.0-plugins-bad',
    ),
)


class GstSource:
    """A camera that a GStreamer pipeline reads.

    A live pipeline is a camera: the newest picture is delivered, older ones are passed over. One that is not live is
    a film, played at its own pace; where the reader is late its pictures are passed over too.

    Stamps: GStreamer's own, which is the kernel's or the driver's where the source passes it on (v4l2src,
    nvarguscamerasrc), else that of arrival. A sender's time of day is preferred where the pipeline asks for it
    (``rtspsrc add-reference-timestamp-meta=true``) and it is not 10 s off. How long before that the exposure was
    GStreamer does not tell.

    Pictures are scaled to the size the source was opened with, also where the stream changes its size on the way. Which
    of them are damaged GStreamer's decoders do not tell.
    """

    def __init__(
        self,
        text: str,
        *,
        clock: Callable[[], int],
        realtime: bool = True,
        loop: bool = False,
        size: tuple[int, int] | None = None,
        rate_hz: float | None = None,
        intrinsics: Intrinsics | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        """Open nothing yet.

        ``text``: ``csi://0``, a camera on the board's ribbon cable; ``gst:`` and the URL of an RTSP stream; ``gst:``
        and a pipeline that ends before its sink. ``clock``: nanoseconds. ``realtime``: play a film at its pace;
        otherwise every picture as fast as it is read. ``loop``: start a film again at its end. ``size``: width and
        height to deliver; asked of a CSI camera, made by scaling otherwise. ``rate_hz``: asked of a CSI camera.
        ``intrinsics``: the calibration, of any size of the same shape. ``timeout_s``: how long a camera may be silent.
        """
        self._text = text.removeprefix(PREFIX).strip()
        self._clock = clock
        self._realtime = realtime
        self._loop = loop
        self._size = size
        self._rate_hz = rate_hz
        self._intrinsics = intrinsics
        self._timeout_s = timeout_s
        shown = re.sub(r'//[^/@\s]*@', '//', text)  # without the password
        self._name = shown if len(shown) <= 80 else f'{shown[:77]}...'
        self._closed = threading.Event()
        self._closed.set()
        self._using = threading.Lock()
        self._format = PictureFormat(0, 0, 0.0)
        self._to_bgr = ToBgr()
        self._pipeline: Pipeline | None = None
        self._live = False
        self._first: Sample | None = None
        self._before: tuple[int | None, int | None] = (None, None)
        self._measured_hz = 0.0
        self._last_stamp_ns = -1

    def open(self) -> PictureFormat:
        """Connect and wait for the first picture; raises SourceLost with the cure, CalibrationError."""
        self.close()
        self._closed.clear()
        self._before, self._measured_hz, self._last_stamp_ns = (None, None), 0.0, -1
        with self._using:
            try:
                sample = self._open()
                width, height = self._size or (sample.format.width, sample.format.height)
                intrinsics = self._intrinsics and at_size(self._intrinsics, width, height)
                if self._live and not sample.format.rate_hz:
                    self._measured_hz = self._measure_hz(sample.running_ns)
                rate_hz = sample.format.rate_hz or self._measured_hz or self._rate_hz or _UNKNOWN_RATE_HZ
                if self._live:
                    sample.close()  # newer ones come
                    self._first = None
            except BaseException:
                self._let_go()
                raise
        self._format = PictureFormat(width, height, rate_hz, intrinsics)
        return self._format

    def capture(self, out: NDArray[np.uint8]) -> Capture:
        """Write the next picture to out, (height, width, 3) BGR; see Source.capture."""
        if out.shape != (self._format.height, self._format.width, 3):
            raise ValueError(f'pictures of {self._format.height} x {self._format.width} x 3 do not fit {out.shape}')
        with self._using:
            try:
                sample, self._first = self._first or self._next(), None
                with closing(sample):
                    stamp_ns, dropped = self._stamp_ns(sample), self._passed_over(sample)
                    self._to_bgr(_LAYOUTS[sample.format.name], _planes(sample), out, sample.format.colours)
            except GstFailure as failure:
                raise self._lost(_cure(failure)) from failure
            except LayoutUnknown as error:
                raise self._lost(str(error)) from error
        self._last_stamp_ns = stamp_ns = distinct(stamp_ns, self._last_stamp_ns)
        return Capture(stamp_ns, dropped=dropped)

    def close(self) -> None:
        """Let go; a waiting ``capture`` raises SourceLost, within a tenth of a second."""
        self._closed.set()
        with self._using:
            self._let_go()

    # -- opening

    def _open(self) -> Sample:
        try:
            self._start()
            sample = self._first = self._next(self._timeout_s)
        except GstMissing as error:
            raise self._lost(str(error)) from error
        except GstFailure as failure:
            raise self._lost(_cure(failure)) from failure
        except SourceEnded as end:
            raise self._lost('there is no picture in it: look at it with gst-launch-1.0') from end
        if not divides(_LAYOUTS[sample.format.name], sample.format.width, sample.format.height):
            size = f'{sample.format.width} x {sample.format.height}'
            raise self._lost(f'{sample.format.name} of {size} is odd: end with `videoconvert ! video/x-raw,format=BGR`')
        return sample

    def _measure_hz(self, before_ns: int | None) -> float:
        """Tell the rate of a camera that does not by the pictures that follow the first; 0 where nobody stamps them."""
        steps_ns = []
        for _ in range(_MEASURED):
            with closing(self._next(self._timeout_s)) as sample:
                running_ns = sample.running_ns
            if before_ns is not None and running_ns is not None and running_ns > before_ns:
                steps_ns.append(running_ns - before_ns)
            before_ns = running_ns
        return round(_NS / min(steps_ns), 2) if steps_ns else 0.0

    def _start(self) -> None:
        sink = f'videoconvert ! video/x-raw,format={{{",".join(_LAYOUTS)}}} ! appsink name={_PICTURES} '
        sink += 'max-buffers=1 enable-last-sample=false wait-on-eos=false'
        self._pipeline = pipeline = Pipeline(f'{self._described()} ! {sink}', _PICTURES)
        self._live = pipeline.pause()
        pipeline.set('drop', str(self._live or self._realtime).lower())
        pipeline.set('sync', str(self._realtime and not self._live).lower())
        if self._closed.is_set():
            raise self._lost('closed')
        pipeline.play()

    def _described(self) -> str:
        if self._text.startswith(CSI):
            return csi_pipeline(self._text.removeprefix(CSI), self._size or _CSI_SIZE, self._rate_hz)
        if re.match(r'rtsp[su]?://', self._text):
            return rtsp_pipeline(self._text)
        return self._text.rstrip('! ')

    def _let_go(self) -> None:
        first, self._first = self._first, None
        if first is not None:
            first.close()
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()

    def _lost(self, why: str) -> SourceLost:
        return SourceLost(f'{self._name}: {why}')

    # -- pictures

    def _next(self, timeout_s: float | None = None) -> Sample:
        """Wait for a picture; a film may take its time, unless told otherwise, a camera may not."""
        if timeout_s is None and self._live:
            timeout_s = self._timeout_s
        begun_s = time.monotonic()
        while self._pipeline is not None and not self._closed.is_set():
            sample = self._pipeline.pull(_LOOK_NS)
            if sample is not None:
                return sample
            if self._closed.is_set():
                break
            if self._pipeline.ended:
                self._end()
            elif timeout_s is not None and time.monotonic() - begun_s > timeout_s:
                raise self._lost(f'no picture for {timeout_s:g} s: look at the camera and the network')
        raise self._lost('closed')

    def _end(self) -> None:
        """Begin a film that loops anew; everything else is over."""
        if self._live:
            raise self._lost('the stream has ended: start it again')
        if not self._loop or self._format.width == 0:
            raise SourceEnded(f'{self._name}: the video is over; let it loop to go on')
        self._let_go()
        self._before = (None, None)
        self._start()

    def _stamp_ns(self, sample: Sample) -> int:
        age_ns = 0
        if self._pipeline is not None and sample.running_ns is not None:
            age_ns = self._pipeline.since_ns(sample.running_ns)
        if self._live:
            taken_at_ns = sample.taken_at_ns
            told_ns = -1 if taken_at_ns is None else time.time_ns() - taken_at_ns
            age_ns = told_ns if 0 <= told_ns < _OLDEST_NS else age_ns
            age_ns = age_ns if 0 <= age_ns < _OLDEST_NS else 0
        return self._clock() - age_ns

    def _passed_over(self, sample: Sample) -> int:
        """Tell by the numbers of the pictures, or by their times, how many came between."""
        (number, running_ns), self._before = self._before, (sample.number, sample.running_ns)
        missing = 0.0
        if number is not None and sample.number is not None and sample.number > number:
            missing = sample.number - number - 1
        elif running_ns is not None and sample.running_ns is not None:
            missing = (sample.running_ns - running_ns) / _NS * (sample.format.rate_hz or self._measured_hz) - 1
        return max(round(missing), 0)


def _planes(sample: Sample) -> list[NDArray[np.uint8]]:
    layout, height, width = _LAYOUTS[sample.format.name], sample.format.height, sample.format.width
    if layout in {'nv12', 'nv21'}:
        return [sample.plane(0, height, width, 1), sample.plane(1, height // 2, width // 2, 2)]
    if layout == 'i420':
        halves = (sample.plane(index, height // 2, width // 2, 1) for index in (1, 2))
        return [sample.plane(0, height, width, 1), *halves]
    depth = {'bgr': 3, 'rgb': 3, 'bgra': 4, 'rgba': 4, 'grey': 1}.get(layout, 2)
    return [sample.plane(0, height, width, depth)]


def csi_pipeline(camera: str, size: tuple[int, int], rate_hz: float | None) -> str:
    """Describe how to read a CSI camera of this machine, by its number or, with libcamera, by its name.

    A Jetson's camera stack keeps pictures in the memory of its image processor (NVMM), whose converter also makes them
    RGB (NVIDIA, Jetson Linux Developer Guide, Accelerated GStreamer). Raises GstFailure where neither stack is there.
    """
    rate = Fraction(rate_hz or _UNKNOWN_RATE_HZ).limit_denominator(1001)
    wanted = f'width={size[0]},height={size[1]},framerate={rate.numerator}/{rate.denominator}'
    if gst().has_element('nvarguscamerasrc'):
        if not camera.isdigit():
            raise GstFailure(f'a CSI camera of a Jetson has a number, not {camera!r}: use csi://0')
        source = f'nvarguscamerasrc sensor-id={camera} ! video/x-raw(memory:NVMM),{wanted},format=NV12'
        return f'{source} ! nvvidconv ! video/x-raw,format=BGRx'
    if gst().has_element('libcamerasrc'):
        if camera.isdigit() and int(camera):
            raise GstFailure('libcamera knows cameras by name: use csi:// and a name that `cam --list` shows')
        name = '' if camera in {'', '0'} else f' camera-name="{camera}"'
        return f'libcamerasrc{name} ! video/x-raw,{wanted},format=NV12'
    raise GstFailure(
        'this machine has no CSI camera stack: it needs nvarguscamerasrc (nvidia-l4t-gstreamer, on a Jetson) '
        'or libcamerasrc (gstreamer1.0-libcamera, on a Raspberry Pi)'
    )


def rtsp_pipeline(url: str) -> str:
    """Describe how to read an RTSP stream, over UDP where it begins with ``rtspu://``; a Jetson decodes by its decoder.

    TCP keeps what it carries in order, so there is nothing to wait for; and the longer rtpjitterbuffer may wait, the
    further its stamps may be off. It may not drop what is late: a stream begins with a burst, and with a key picture.
    """
    if '"' in url or '\\' in url:
        raise GstFailure('a URL has neither quotes nor backslashes: write them as %22 and %5C')
    way = 'protocols=tcp latency=0'
    if url.startswith(_OVER_UDP):
        url = url.replace(_OVER_UDP, 'rtsp://', 1)
        way = f'protocols=udp latency={_REORDER_MS}'
    to_memory = ' ! nvvidconv ! video/x-raw,format=BGRx' if gst().has_element('nvvidconv') else ''
    return f'rtspsrc location="{url}" {way} ! application/x-rtp,media=video ! decodebin{to_memory}'


def _cure(failure: GstFailure) -> str:
    """Say what failed and what to do, one line."""
    said = ', '.join(part for part in (str(failure), failure.detail) if part)
    missing = re.search(r'no element "([^"]*)"', said)
    if missing:
        element = missing.group(1)
        package = next((package for pattern, package in _PACKAGES if re.fullmatch(pattern, element)), None)
        install = f'apt install {package}' if package else 'mend its name, or install the plugin that has it'
        return f'there is no GStreamer element {element!r}: {install}'
    if re.search(r'could not link \w+ to videoconvert', said):
        return f'{said}: end the pipeline with raw video, before any sink'
    if failure.domain == 'gst_parse_error':
        return f'{said}: mend the text of the pipeline'
    where = f'{failure.element}: ' if failure.element else ''
    return f'{where}{said}: {_remedy(failure, said)}' if failure.domain else f'{where}{said}'


def _remedy(failure: GstFailure, said: str) -> str:
    # Codes of gsterror.h.
    problem = (failure.domain.removeprefix('gst-').removesuffix('-error-quark'), failure.code)
    if 'Permission denied' in said:
        return 'run `sudo usermod -aG video $USER` and log in again'
    if problem == ('resource', 4) or 'resource busy' in said:
        return 'end the other program that uses it'
    if problem == ('resource', 3) and '404' in said:
        return 'mend what follows the host in the URL'
    if problem == ('resource', 15):
        return 'give user and password as scheme://user:password@host/'
    if problem in {('stream', 6), ('core', 12)} or 'plug-in' in said:
        return 'apt install gstreamer1.0-libav gstreamer1.0-plugins-good gstreamer1.0-plugins-bad'
    if 'not-negotiated' in said or 'not-linked' in said:
        return 'one element gives what the next does not take: put a converter between (on a Jetson nvvidconv)'
    if failure.element.startswith('nvargus'):
        return 'look at the cable, then run `sudo systemctl restart nvargus-daemon`'
    if problem[0] == 'resource':
        return 'look whether the camera is there, and at its address'
    return 'try the pipeline with gst-launch-1.0'
