"""Cameras of the Linux kernel: USB cameras, image sensors behind an ISP, grabbers.

Source: Linux, Documentation/userspace-api/media/v4l.
"""

from __future__ import annotations

import errno
import math
import threading
import time
from typing import TYPE_CHECKING, Final

from facefusion_ros.cameras import v4l2_uapi as uapi
from facefusion_ros.cameras.calibration import at_size
from facefusion_ros.cameras.controls import ControlError, Readback
from facefusion_ros.cameras.source import Capture, PictureFormat, SourceLost, distinct
from facefusion_ros.cameras.v4l2_controls import V4l2ExposureControl
from facefusion_ros.cameras.v4l2_device import DeviceError, V4l2Device, abilities, capture_nodes
from facefusion_ros.cameras.v4l2_modes import Modes, Wanted, canonical
from facefusion_ros.cameras.v4l2_pixels import PixelReader, Spoilt
from facefusion_ros.cameras.v4l2_stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.cameras.v4l2_device import Kernel
    from facefusion_ros.cameras.v4l2_modes import Mode
    from facefusion_ros.cameras.v4l2_stream import Filled
    from facefusion_ros.frames.intrinsics import Intrinsics

_NS: Final = 1_000_000_000
_FRESH_NS: Final = 2 * _NS
_MOST_MISSED: Final = 10_000
_SLACK_FRAMES: Final = 1


class V4l2Source:
    """A camera at /dev/videoN, whose pictures are converted from the kernel's memory straight to where they belong.

    Stamps: the middle of the exposure. The kernel tells when a picture's exposure began or when the last of it was
    read; half of the exposure time is added or taken off, where the camera's controls tell that. How long the rows of a
    rolling shutter take to be read the kernel does not tell: where the stamp is that of the end, it is late by half of
    that time, which the calibration of the offset between camera and gyro finds.

    Where several pictures wait the newest is delivered; those passed over, lost by the driver or spoilt are counted.
    Exposure and gain are the camera's own controls', some frames after a change of them: after how many frames a camera
    heeds them is not known.
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Callable[[], int],
        pixel_format: str = '',
        size: tuple[int, int] | None = None,
        rate_hz: float | None = None,
        intrinsics: Intrinsics | None = None,
        timeout_s: float = 5.0,
        monotonic: Callable[[], int] = time.monotonic_ns,
        kernel: Kernel | None = None,
        devices: Path | None = None,
    ) -> None:
        """Open nothing yet; raises SourceLost for a pixel format that cannot be read.

        ``path``: the device. ``clock``: nanoseconds. ``pixel_format``: one of PIXEL_FORMATS; '' for the best that the
        device has at this ``size`` (width and height) and ``rate_hz``, None for the device's own. ``intrinsics``: the
        calibration, of any size of the same shape. ``timeout_s``: how long the camera may be silent. ``monotonic``,
        ``kernel`` and ``devices`` take the place of CLOCK_MONOTONIC, the kernel and /dev.
        """
        self._clock = clock
        self._monotonic = monotonic
        self._wanted = Wanted(canonical(pixel_format), size, rate_hz)
        self._intrinsics = intrinsics
        self._timeout_s = timeout_s
        self._kernel = kernel
        self._device = V4l2Device(path, kernel, devices)
        self._control = V4l2ExposureControl(self._device)
        self._closed = threading.Event()
        self._closed.set()
        self._using = threading.Lock()
        self._stream: Stream | None = None
        self._last_stamp_ns = -1

    def open(self) -> PictureFormat:
        """Start the camera; raises SourceLost with the cure, CalibrationError for another picture shape."""
        self.close()
        self._closed.clear()
        with self._using:
            try:
                return self._start()
            except DeviceError as error:
                self._let_go()
                raise SourceLost(str(error)) from error
            except BaseException:
                self._let_go()
                raise

    def capture(self, out: NDArray[np.uint8]) -> Capture:
        """Write the newest picture to out, (height, width, 3) BGR; see Source.capture."""
        with self._using:
            stream = self._stream
            if stream is None:
                raise self._lost('closed')
            if out.shape != (self._mode.height, self._mode.width, 3):
                raise ValueError(f'pictures of {self._mode.height} x {self._mode.width} x 3 do not fit {out.shape}')
            try:
                return self._take(stream, out)
            except DeviceError as error:
                raise SourceLost(str(error)) from error

    def close(self) -> None:
        """Let go; a waiting ``capture`` raises SourceLost at once."""
        self._closed.set()
        stream = self._stream
        if stream is not None:
            stream.wake()
        with self._using:
            self._let_go()

    # -- opening

    def _start(self) -> PictureFormat:
        self._device.open()
        kind = self._buffer_type()
        modes = Modes(self._device, kind)
        self._take_signal()
        self._mode: Mode = modes.set(self._wanted)
        self._modes = modes
        self._reader = PixelReader(self._mode)
        self._find_controls()
        self._sequence: int | None = None
        self._number = 0
        self._last_stamp_ns = -1
        width, height = self._mode.size
        form = PictureFormat(
            width, height, self._mode.rate_hz, self._intrinsics and at_size(self._intrinsics, width, height)
        )
        self._device.has(
            uapi.VIDIOC_SUBSCRIBE_EVENT,
            uapi.EventSubscription(type=uapi.EVENT_SOURCE_CHANGE),
        )
        self._stream = Stream(self._device, kind, len(self._mode.strides))
        if self._closed.is_set():
            raise self._lost('closed while it was being opened')
        return form

    def _buffer_type(self) -> int:
        capability = uapi.Capability()
        self._device.ioctl(uapi.VIDIOC_QUERYCAP, capability, 'capabilities')
        can = abilities(capability)
        card = capability.card.decode('utf-8', 'replace')
        if can & uapi.CAP_STREAMING and can & uapi.CAP_VIDEO_CAPTURE_MPLANE:
            return uapi.BUF_TYPE_VIDEO_CAPTURE_MPLANE
        if can & uapi.CAP_STREAMING and can & uapi.CAP_VIDEO_CAPTURE:
            return uapi.BUF_TYPE_VIDEO_CAPTURE
        kind = 'gives the metadata of a camera and no pictures' if can & uapi.CAP_META_CAPTURE else 'is no camera'
        there = ', '.join(f'{node} ({name})' for node, name in capture_nodes(self._kernel))
        raise self._lost(f'this node ({card}) {kind}: ' + (f'use {there}' if there else 'plug a camera in'))

    def _take_signal(self) -> None:
        """Set a grabber to the timings of what is plugged into it."""
        timings = uapi.DvTimings()
        try:
            there = self._device.has(
                uapi.VIDIOC_QUERY_DV_TIMINGS, timings, lacking=(errno.ENOTTY, errno.ENODATA, errno.EINVAL)
            )
        except DeviceError as error:
            if error.errno in (errno.ENOLINK, errno.ENOLCK, errno.ERANGE):
                raise self._lost(
                    'no picture comes in that it can take: plug in what it films and switch it on'
                ) from error
            raise
        if there:
            self._device.ioctl(uapi.VIDIOC_S_DV_TIMINGS, timings, 'timings')

    def _find_controls(self) -> None:
        self._readback: Readback | None = None
        try:
            self._control.find()
        except ControlError:
            return
        self._readback = Readback(slack_frames=_SLACK_FRAMES)

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._device.close()

    def _lost(self, why: str) -> SourceLost:
        return SourceLost(f'{self._device.path}: {why}')

    # -- pictures

    def _take(self, stream: Stream, out: NDArray[np.uint8]) -> Capture:
        passed = 0
        while True:
            taken = stream.newest(self._timeout_s)
            if taken is None or self._closed.is_set():
                raise self._lost('closed')
            filled, more = taken
            passed += more
            try:
                self._reader.read(filled.planes, out)
                break
            except Spoilt:
                passed += 1
                stream.give_back(filled)
                self._look_at_size()
        stream.give_back(filled)
        dropped = self._dropped(filled.sequence, passed)
        exposure_s, gain = self._settings(dropped)
        return Capture(self._stamp_ns(filled, exposure_s), exposure_s, gain, dropped)

    def _look_at_size(self) -> None:
        size = self._modes.size()
        if size != self._mode.size:
            raise self._lost('it delivers {}x{} now: opening it anew'.format(*size))

    def _dropped(self, sequence: int, passed: int) -> int:
        """Return how many are missing, by the driver's numbers where it counts."""
        before, self._sequence = self._sequence, sequence
        missed = (sequence - before - 1) & 0xFFFFFFFF if before is not None else 0
        return max(passed, missed) if missed < _MOST_MISSED else passed

    def _settings(self, dropped: int) -> tuple[float, float]:
        self._number += 1 + dropped
        if self._readback is not None:
            try:
                return self._readback.of_frame(self._number, self._control.read())
            except ControlError:
                self._readback = None
        return math.nan, math.nan

    def _stamp_ns(self, filled: Filled, exposure_s: float) -> int:
        before_ns = self._monotonic()
        now_ns = self._clock()
        monotonic_ns = (before_ns + self._monotonic()) // 2
        age_ns = monotonic_ns - filled.stamp_ns
        if filled.stamp_ns < 0 or age_ns > _FRESH_NS:  # by no clock that is known
            age_ns = 0
        half_ns = round(0.5e9 * exposure_s) if exposure_s > 0.0 else 0
        stamp_ns = now_ns - max(0, age_ns) + (half_ns if filled.begun else -half_ns)
        self._last_stamp_ns = stamp_ns = distinct(stamp_ns, self._last_stamp_ns)
        return stamp_ns
