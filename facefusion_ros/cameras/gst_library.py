"""GStreamer's own libraries, called where they are: the few functions that a camera needs.

Structures are those of the public headers of GStreamer 1.x (gstminiobject.h, gstbuffer.h, gstmessage.h, gstmemory.h,
gstmeta.h, video-format.h, video-info.h, video-frame.h), whose binary interface stays the same throughout 1.x. Calls let
other threads of Python run meanwhile.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_uint, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from facefusion_ros.cameras.bgr import BT601, Colours
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIBRARIES: Final = ('glib-2.0', 'gobject-2.0', 'gstreamer-1.0', 'gstapp-1.0', 'gstvideo-1.0')
_STATE_NULL, _STATE_PAUSED, _STATE_PLAYING = 1, 3, 4
_CHANGE_FAILURE, _CHANGE_NO_PREROLL = 0, 3
_MESSAGE_ERROR: Final = 1 << 1
_FORMAT_TIME: Final = 3
_MAP_READ: Final = 1
_NONE: Final = 2**64 - 1
_RANGE_0_255: Final = 1
# Weights of red and blue by GstVideoColorMatrix (video-color.h): FCC, BT.709, BT.601, SMPTE 240M, BT.2020.
_WEIGHTS: Final = {2: (0.30, 0.11), 3: (0.2126, 0.0722), 4: (0.299, 0.114), 5: (0.212, 0.087), 6: (0.2627, 0.0593)}


class _MiniObject(Structure):
    _fields_ = (
        ('type', c_size_t),
        ('refcount', c_int),
        ('lockstate', c_int),
        ('flags', c_uint),
        ('copy', c_void_p),
        ('dispose', c_void_p),
        ('free', c_void_p),
        ('priv_uint', c_uint),
        ('priv_pointer', c_void_p),
    )


class _Buffer(Structure):
    _fields_ = (
        ('mini_object', _MiniObject),
        ('pool', c_void_p),
        ('pts', c_uint64),
        ('dts', c_uint64),
        ('duration', c_uint64),
        ('offset', c_uint64),
        ('offset_end', c_uint64),
    )


class _Message(Structure):
    _fields_ = (('mini_object', _MiniObject), ('type', c_int), ('timestamp', c_uint64), ('src', c_void_p))


class _ReferenceTimestamp(Structure):
    _fields_ = (
        ('flags', c_int),
        ('info', c_void_p),
        ('reference', c_void_p),
        ('timestamp', c_uint64),
        ('duration', c_uint64),
    )


class _MapInfo(Structure):
    _fields_ = (
        ('memory', c_void_p),
        ('flags', c_int),
        ('data', c_void_p),
        ('size', c_size_t),
        ('maxsize', c_size_t),
        ('user_data', c_void_p * 4),
        ('reserved', c_void_p * 4),
    )


class _FormatInfo(Structure):
    _fields_ = (('format', c_int), ('name', c_char_p))


class _VideoInfo(Structure):
    _fields_ = (
        ('finfo', POINTER(_FormatInfo)),
        ('interlace_mode', c_int),
        ('flags', c_int),
        ('width', c_int),
        ('height', c_int),
        ('size', c_size_t),
        ('views', c_int),
        ('chroma_site', c_int),
        ('range', c_int),
        ('matrix', c_int),
        ('transfer', c_int),
        ('primaries', c_int),
        ('par_n', c_int),
        ('par_d', c_int),
        ('fps_n', c_int),
        ('fps_d', c_int),
        ('offset', c_size_t * 4),
        ('stride', c_int * 4),
        ('reserved', c_void_p * 4),
    )


class _VideoFrame(Structure):
    _fields_ = (
        ('info', _VideoInfo),
        ('flags', c_int),
        ('buffer', c_void_p),
        ('meta', c_void_p),
        ('id', c_int),
        ('data', c_void_p * 4),
        ('map', _MapInfo * 4),
        ('reserved', c_void_p * 4),
    )


class _Error(Structure):
    _fields_ = (('domain', c_uint32), ('code', c_int), ('message', c_char_p))


_FUNCTIONS: Final[dict[str, tuple[Any, ...]]] = {
    # name: result, arguments
    'g_error_free': (None, POINTER(_Error)),
    'g_free': (None, c_void_p),
    'g_quark_to_string': (c_char_p, c_uint32),
    'gst_init_check': (c_int, c_void_p, c_void_p, POINTER(POINTER(_Error))),
    'gst_parse_launch': (c_void_p, c_char_p, POINTER(POINTER(_Error))),
    'gst_element_factory_find': (c_void_p, c_char_p),
    'gst_bin_get_by_name': (c_void_p, c_void_p, c_char_p),
    'gst_object_get_name': (c_void_p, c_void_p),
    'gst_object_unref': (None, c_void_p),
    'gst_mini_object_unref': (None, c_void_p),
    'gst_util_set_object_arg': (None, c_void_p, c_char_p, c_char_p),
    'gst_system_clock_obtain': (c_void_p,),
    'gst_clock_get_time': (c_uint64, c_void_p),
    'gst_pipeline_use_clock': (None, c_void_p, c_void_p),
    'gst_element_get_base_time': (c_uint64, c_void_p),
    'gst_element_set_state': (c_int, c_void_p, c_int),
    'gst_element_get_bus': (c_void_p, c_void_p),
    'gst_bus_timed_pop_filtered': (POINTER(_Message), c_void_p, c_uint64, c_int),
    'gst_message_parse_error': (None, POINTER(_Message), POINTER(POINTER(_Error)), POINTER(c_void_p)),
    'gst_app_sink_try_pull_sample': (c_void_p, c_void_p, c_uint64),
    'gst_app_sink_is_eos': (c_int, c_void_p),
    'gst_sample_get_buffer': (POINTER(_Buffer), c_void_p),
    'gst_sample_get_caps': (c_void_p, c_void_p),
    'gst_sample_get_segment': (c_void_p, c_void_p),
    'gst_segment_to_running_time': (c_uint64, c_void_p, c_int, c_uint64),
    'gst_caps_from_string': (c_void_p, c_char_p),
    'gst_buffer_get_reference_timestamp_meta': (POINTER(_ReferenceTimestamp), POINTER(_Buffer), c_void_p),
    'gst_video_info_from_caps': (c_int, POINTER(_VideoInfo), c_void_p),
    'gst_video_frame_map': (c_int, POINTER(_VideoFrame), POINTER(_VideoInfo), POINTER(_Buffer), c_int),
    'gst_video_frame_unmap': (None, POINTER(_VideoFrame)),
}


class GstMissing(FacefusionError):
    """GStreamer is not installed."""


class GstFailure(FacefusionError):
    """What GStreamer says went wrong."""

    def __init__(self, message: str, *, element: str = '', domain: str = '', code: int = 0, detail: str = '') -> None:
        super().__init__(message)
        self.element = element
        """Name of the element that failed; empty where the whole pipeline did."""
        self.domain = domain
        """Which list the code is of, such as ``gst-resource-error-quark`` (gsterror.h)."""
        self.code = code
        self.detail = detail
        """What the element tells developers, one line."""


class Gst:
    """The functions, by their names in C."""

    def __init__(self) -> None:
        """Load and start GStreamer; raises GstMissing."""
        try:
            libraries = [ctypes.CDLL(f'lib{name}.so.0') for name in _LIBRARIES]
        except OSError as error:
            raise GstMissing(
                'GStreamer is not installed: apt install gstreamer1.0-plugins-base gstreamer1.0-plugins-good'
            ) from error
        self._functions: dict[str, Any] = {}
        for name, (result, *arguments) in _FUNCTIONS.items():
            function: Any = next(getattr(library, name) for library in libraries if hasattr(library, name))
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function
        problem = POINTER(_Error)()
        if not self.gst_init_check(None, None, byref(problem)):
            raise GstMissing(f'GStreamer cannot be started: {self.taken_error(problem)}')
        self.clock_ids = [
            (self.gst_caps_from_string(f'timestamp/x-{name}'.encode()), epoch_ns) for name, epoch_ns in _REFERENCES
        ]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the C function returns
        return self._functions[name]

    def has_element(self, name: str) -> bool:
        """Whether a plugin offers the element."""
        factory = self.gst_element_factory_find(name.encode())
        if factory:
            self.gst_object_unref(factory)
        return bool(factory)

    def taken_error(self, problem: Any, *, element: str = '', detail: str = '') -> GstFailure:  # noqa: ANN401 - GError**
        """Make an exception of a GError, which is freed."""
        said = problem.contents
        domain = (self.g_quark_to_string(said.domain) or b'').decode()
        text = (said.message or b'it does not say why').decode(errors='replace').strip().rstrip('.')
        failure = GstFailure(' '.join(text.split()), element=element, domain=domain, code=said.code, detail=detail)
        self.g_error_free(problem)
        return failure

    def taken_text(self, pointer: int | None) -> str:
        """Read a string that GLib allocated, which is freed."""
        if not pointer:
            return ''
        text = ctypes.string_at(pointer).decode(errors='replace')
        self.g_free(pointer)
        return text


_NTP_EPOCH_NS: Final = 2_208_988_800 * 1_000_000_000  # RFC 5905: from 1900 on
_REFERENCES: Final = (('unix', 0), ('ntp', _NTP_EPOCH_NS))


@functools.cache
def gst() -> Gst:
    """Return GStreamer, started once for the process; raises GstMissing."""
    return Gst()


@dataclass(frozen=True, slots=True)
class RawFormat:
    """How the pixels of a sample lie."""

    name: str
    """As GStreamer names it: NV12, BGRx (video-format.h)."""
    width: int
    height: int
    rate_hz: float
    """0 where it varies."""
    colours: Colours
    """What its Y'CbCr means, where it is that."""


class Sample:
    """A picture as a pipeline delivers it. To be closed; nothing it gave may be used after that."""

    def __init__(self, pointer: int) -> None:
        self._gst = gst()
        self._pointer = pointer
        self._frame: _VideoFrame | None = None
        self._buffer = self._gst.gst_sample_get_buffer(pointer)
        info = _VideoInfo()
        if not self._buffer or not self._gst.gst_video_info_from_caps(
            byref(info), self._gst.gst_sample_get_caps(pointer)
        ):
            self._gst.gst_mini_object_unref(pointer)
            raise GstFailure('the pipeline delivers no pictures: end it with video')
        self._info = info
        name = info.finfo.contents.name.decode()
        rate_hz = info.fps_n / info.fps_d if info.fps_d else 0.0
        red, blue = _WEIGHTS.get(info.matrix, (BT601.red, BT601.blue))
        colours = Colours(red, blue, full_range=info.range == _RANGE_0_255)
        self.format = RawFormat(name, info.width, info.height, rate_hz, colours)

    @property
    def running_ns(self) -> int | None:
        """Time of the pipeline at which the picture was taken, or is due; None where nobody stamped it."""
        segment = self._gst.gst_sample_get_segment(self._pointer)
        pts = self._buffer.contents.pts
        if pts == _NONE or not segment:
            return None
        running = int(self._gst.gst_segment_to_running_time(segment, _FORMAT_TIME, pts))
        return None if running == _NONE else running

    @property
    def number(self) -> int | None:
        """Number of the picture, where its source counts."""
        offset = int(self._buffer.contents.offset)
        return None if offset == _NONE else offset

    @property
    def taken_at_ns(self) -> int | None:
        """Time of day at which the sender says that the picture was taken, nanoseconds since 1970; None mostly."""
        for reference, epoch_ns in self._gst.clock_ids:
            meta = self._gst.gst_buffer_get_reference_timestamp_meta(self._buffer, reference)
            if meta:
                return int(meta.contents.timestamp) - epoch_ns
        return None

    def plane(self, index: int, height: int, width: int, depth: int) -> NDArray[np.uint8]:
        """Look at a plane of (height, width, depth) bytes, (height, width) where depth is 1, where it lies."""
        if self._frame is None:
            frame = _VideoFrame()
            if not self._gst.gst_video_frame_map(byref(frame), byref(self._info), self._buffer, _MAP_READ):
                raise GstFailure('a picture cannot be read: let the pipeline end in system memory')
            self._frame = frame
        stride = self._frame.info.stride[index]
        memory = (c_uint8 * (stride * (height - 1) + width * depth)).from_address(self._frame.data[index])
        plane: NDArray[np.uint8] = np.ndarray((height, width, depth), np.uint8, memory, strides=(stride, depth, 1))
        return plane if depth > 1 else plane[..., 0]

    def close(self) -> None:
        """Let go of the picture."""
        frame, self._frame = self._frame, None
        if frame is not None:
            self._gst.gst_video_frame_unmap(byref(frame))
        pointer, self._pointer = self._pointer, 0
        if pointer:
            self._gst.gst_mini_object_unref(pointer)


class Pipeline:
    """A pipeline with an appsink, for one thread at a time."""

    def __init__(self, text: str, sink: str) -> None:
        """Build the pipeline, which ``text`` describes and whose appsink is named ``sink``; raises GstFailure."""
        self._gst = gst()
        problem = POINTER(_Error)()
        self._pipeline = self._gst.gst_parse_launch(text.encode(), byref(problem))
        if problem:
            failure = self._gst.taken_error(problem)
            if self._pipeline:
                self._gst.gst_object_unref(self._pipeline)
            raise failure
        # Nobody can take this clock away, as the one of a sound card; it is CLOCK_MONOTONIC.
        self._clock = self._gst.gst_system_clock_obtain()
        self._gst.gst_pipeline_use_clock(self._pipeline, self._clock)
        self._bus = self._gst.gst_element_get_bus(self._pipeline)
        self._sink = self._gst.gst_bin_get_by_name(self._pipeline, sink.encode())

    def pause(self) -> bool:
        """Get ready; returns whether the pipeline is live, that is, cannot wait. Raises GstFailure."""
        return self._change(_STATE_PAUSED) == _CHANGE_NO_PREROLL

    def play(self) -> None:
        """Start; raises GstFailure."""
        self._change(_STATE_PLAYING)

    def set(self, name: str, value: str) -> None:
        """Set a property of the sink."""
        self._gst.gst_util_set_object_arg(self._sink, name.encode(), value.encode())

    def pull(self, timeout_ns: int) -> Sample | None:
        """Wait for a picture; None where none came, or none will. Raises GstFailure."""
        pointer = self._gst.gst_app_sink_try_pull_sample(self._sink, timeout_ns)
        failure = self._failure()
        if failure is None:
            return Sample(pointer) if pointer else None
        if pointer:
            self._gst.gst_mini_object_unref(pointer)
        raise failure

    @property
    def ended(self) -> bool:
        """Whether all pictures have been pulled."""
        return bool(self._gst.gst_app_sink_is_eos(self._sink))

    def since_ns(self, running_ns: int) -> int:
        """Nanoseconds since a running time; below 0 where it is still to come."""
        base = self._gst.gst_element_get_base_time(self._pipeline)
        return int(self._gst.gst_clock_get_time(self._clock)) - int(base) - running_ns

    def close(self) -> None:
        """End all its threads and let go; nothing may be called after that."""
        self._gst.gst_element_set_state(self._pipeline, _STATE_NULL)
        for each in (self._sink, self._bus, self._clock, self._pipeline):
            self._gst.gst_object_unref(each)

    def _change(self, state: int) -> int:
        change = int(self._gst.gst_element_set_state(self._pipeline, state))
        if change == _CHANGE_FAILURE:
            raise self._failure() or GstFailure('the pipeline cannot be started')
        return change

    def _failure(self) -> GstFailure | None:
        """Take the error that waits on the bus, if any; everything else that waits there is passed over."""
        message = self._gst.gst_bus_timed_pop_filtered(self._bus, 0, _MESSAGE_ERROR)
        if not message:
            return None
        problem, debug = POINTER(_Error)(), c_void_p()
        self._gst.gst_message_parse_error(message, byref(problem), byref(debug))
        source = message.contents.src
        element = self._gst.taken_text(self._gst.gst_object_get_name(source)) if source else ''
        # The first line is a place in GStreamer's source, what was found follows.
        lines = self._gst.taken_text(debug.value).splitlines()[1:]
        failure = self._gst.taken_error(problem, element=element, detail=' '.join(' '.join(lines).split()))
        self._gst.gst_mini_object_unref(message)
        return failure
