"""The camera's exposure: watches frames and ambient light, and sets exposure time, gain and white balance."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import Illuminance

from facefusion_ros import msg
from facefusion_ros.cameras.exposure import AutoExposure, Delays, ExposureSettings, Limits, Setting
from facefusion_ros.cameras.imx219 import PIXEL_RATE_HZ, Imx219
from facefusion_ros.cameras.mains import Mains
from facefusion_ros.cameras.metering import Level, luminance, measure, stride_of, thin, weights
from facefusion_ros.cameras.reconnect import Backoff
from facefusion_ros.cameras.v4l2_controls import GAIN_CODES, V4l2ExposureControl
from facefusion_ros.cameras.v4l2_device import V4l2Device
from facefusion_ros.cameras.white_balance import WhiteBalance
from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.pool import FrameReader
from facefusion_ros.ros import qos
from facefusion_ros.ros.messages import from_face, from_frame_ref, from_time
from facefusion_ros.ros.parameters import Parameter, ParameterError
from facefusion_ros.ros.run import run
from facefusion_ros.ros.simulation import ADDRESS
from facefusion_ros.ros.stage import ERROR, OK, WARN, Health, StageNode
from facefusion_ros.sensors.bus import Bus, KernelOwnsChip

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.cameras.controls import ExposureControl
    from facefusion_ros.frames.frame import FrameInfo, FrameRef

DEFAULT = ExposureSettings()
FACES_LAST_NS = 1_000_000_000
BALANCE_EVERY = 5
"""Frames from one look at the colours to the next, so that the camera has done what it was told."""


class CameraControl(StageNode):
    """Takes ``frame``, ``faces``, ``illuminance`` and ``colour_temperature``; sets the camera's controls.

    It publishes nothing: what a frame was taken with travels with the frame, from the camera. A camera that cannot be
    controlled is tried again, with growing pauses, while frames come.
    """

    NAME = 'camera_control'
    TABLE = (
        Parameter(
            'access',
            'v4l2',
            'How the camera is controlled: v4l2, by its device node; i2c, a bare IMX219 that no kernel driver owns',
            choices=('v4l2', 'i2c'),
            fixed=True,
        ),
        Parameter(
            'device', '/dev/video0', "Device node with the camera's controls; /dev/v4l-subdevN of a sensor", fixed=True
        ),
        Parameter('bus', '/dev/i2c-10', 'I2C bus of a bare sensor: a number or a device node', fixed=True),
        ADDRESS,
        Parameter(
            'pixel_rate_hz', PIXEL_RATE_HZ, 'Pixels per second that a bare sensor reads', 'Hz', 1e6, 2e9, fixed=True
        ),
        Parameter(
            'gain_code',
            'linear',
            "What the V4L2 gain control's value means: proportional to the gain, or the code of a sensor",
            choices=tuple(GAIN_CODES),
            fixed=True,
        ),
        Parameter(
            'unity_gain',
            0.0,
            'Value of the V4L2 gain control at gain 1, where it is proportional; 0 leaves the gain alone',
            '',
            0.0,
            65536.0,
            fixed=True,
        ),
        Parameter(
            'exposure_delay_frames',
            DEFAULT.delays.exposure_frames,
            'Frames from setting the exposure time to the first that has it',
            'frames',
            0,
            8,
            fixed=True,
        ),
        Parameter(
            'gain_delay_frames',
            DEFAULT.delays.gain_frames,
            'Frames from setting the gain to the first that has it',
            'frames',
            0,
            8,
            fixed=True,
        ),
        Parameter('min_exposure_s', DEFAULT.limits.min_exposure_s, 'Shortest exposure time', 's', 1e-6, 1.0),
        Parameter(
            'max_exposure_s', DEFAULT.limits.max_exposure_s, 'Longest exposure time; motion blurs more', 's', 1e-6, 1.0
        ),
        Parameter('max_gain', DEFAULT.limits.max_gain, 'Greatest gain; noise grows with it', '', 1.0, 256.0),
        Parameter('target', DEFAULT.target, 'Mean brightness to aim at, linear, as a part of white', '', 0.02, 0.6),
        Parameter(
            'speed',
            DEFAULT.speed,
            'Part of an error mended with each frame, where light does not tell why',
            '',
            0.01,
            1.0,
        ),
        Parameter(
            'metering',
            'face',
            'What counts most: faces (the middle where there are none), the middle, or all alike',
            choices=('face', 'centre', 'average'),
        ),
        Parameter(
            'mains',
            'auto',
            'Mains that lamps flicker with, Hz: exposure times are whole periods of it; auto finds it by the pictures',
            choices=('auto', 'off', '50', '60'),
        ),
        Parameter('use_illuminance', True, 'Whether the light sensor has a say'),
        Parameter(
            'white_balance',
            'camera',
            "Who balances white: the camera itself, or this node by the scene, with a colour sensor's word",
            choices=('camera', 'scene'),
            fixed=True,
        ),
    )

    def configure(self) -> None:
        """Begin anew; raises ParameterError."""
        _check(self.values)
        self._control = self._make_control()
        self._ready = False
        self._mains = Mains()
        self._auto = AutoExposure(self._settings(self.values))
        self._balance: WhiteBalance | None = None
        self._level: Level | None = None
        self.frames = 0
        self._gone = 0
        self._number, self._sequence = 0, -1
        self._faces: tuple[int, list[tuple[float, float, float, float]]] = (0, [])
        self._failures = 0
        self._trouble = ''

    def activate(self) -> None:
        """Take over the camera's exposure, and take frames."""
        self._reader = self.while_active.enter_context(FrameReader())
        self._backoff, self._again_s = Backoff(), 0.0
        self.while_active.callback(self._let_go)
        self._take_over()
        self.take(Illuminance, 'illuminance', self._on_light, qos.SAMPLES)
        self.take(msg.ColourTemperature, 'colour_temperature', self._on_colour, qos.SAMPLES)
        self.take(msg.FaceArray, 'faces', self._on_faces, qos.NEWEST)
        self.take(msg.FrameRef, 'frame', self._on_frame, qos.NEWEST)

    def change(self, values: Mapping[str, Any]) -> None:
        """Take new settings."""
        _check(values)
        if self.configured:
            self._auto.settings = self._settings(values)

    def health(self) -> Health:
        """Say what the camera is set to and how bright its pictures are."""
        values: dict[str, object] = {'frames': self.frames, 'gone': self._gone, 'failures': self._failures}
        wanted = self._auto.wanted
        if wanted is not None and self._level is not None:
            values['exposure ms'] = f'{wanted.exposure_s * 1e3:.3f}'
            values['gain'] = f'{wanted.gain:.2f}'
            values['brightness'] = f'{self._level.brightness:.3f}'
            values['clipped'] = f'{self._level.clipped:.1%}'
        values['mains Hz'] = f'{self._auto.settings.mains_hz:g}'
        kappa = self._auto.log2_kappa
        if kappa is not None:
            values['log2 brightness per lux s'] = f'{kappa:.2f}'
        values['light not seen by the camera'] = self._auto.contradictions
        if self._balance is not None and self._balance.kelvin is not None:
            values['white balance K'] = f'{self._balance.kelvin:.0f}'
        if self._trouble:
            return Health(ERROR, self._trouble, values)
        if wanted is not None and not self._auto.reaches:
            dark = self._level is not None and self._level.brightness < self._auto.settings.target
            which = 'dark: allow a longer max_exposure_s or more max_gain' if dark else 'bright: shade the lens'
            return Health(WARN, f'exposure and gain are at their limits and the picture is too {which}', values)
        return Health(OK, values=values)

    # The camera

    def _make_control(self) -> ExposureControl:
        values = self.values
        if values['access'] == 'i2c':
            bus: str = values['bus']
            opened = Bus(int(bus) if bus.isdigit() else bus)
            return Imx219(opened, values['address'], pixel_rate_hz=values['pixel_rate_hz'])
        if not values['device'].startswith('/dev/'):
            message = (
                f'device must be a device node such as /dev/video0 and not {values["device"]!r}: '
                'the simulated camera, files and streams expose by themselves'
            )
            raise ParameterError(message)
        device = V4l2Device(values['device'])
        return V4l2ExposureControl(device, gain_code=values['gain_code'], unity_gain=values['unity_gain'])

    def _take_over(self) -> None:
        try:
            self._control.open()
            self._control.take_over()
        except FacefusionError as error:
            self._fail(error)
            return
        self._ready, self._trouble = True, ''
        self._auto = AutoExposure(self._settings(self.values))
        limits = self._control.kelvin_limits
        if self.values['white_balance'] == 'scene' and limits is not None and self._balance is None:
            self._balance = WhiteBalance(limits)

    def _fail(self, error: FacefusionError) -> None:
        """Say what is wrong, let go of the camera and try again later."""
        self._failures += 1
        self._trouble = str(error)
        if isinstance(error, KernelOwnsChip):
            self._trouble = (
                f'a kernel driver owns the camera at {self.values["address"] or 0x10:#04x} on {self.values["bus"]}: '
                'set access:=v4l2 and device:=/dev/v4l-subdevN'
            )
        self.get_logger().error(self._trouble, throttle_duration_sec=10.0)
        self._let_go()
        self._again_s = time.monotonic() + self._backoff.next_s()

    def _let_go(self) -> None:
        self._ready = False
        self._control.close()

    def _settings(self, values: Mapping[str, Any]) -> ExposureSettings:
        limits = Limits(values['min_exposure_s'], values['max_exposure_s'], 1.0, values['max_gain'])
        if self._ready:
            limits = limits.within(self._control.limits)
        mains: str = values['mains']
        return ExposureSettings(
            target=values['target'],
            speed=values['speed'],
            limits=limits,
            mains_hz=self._mains.hz if mains == 'auto' else float(mains) if mains != 'off' else 0.0,
            delays=Delays(values['exposure_delay_frames'], values['gain_delay_frames']),
        )

    # What comes in

    def _on_light(self, message: Illuminance) -> None:
        if self.values['use_illuminance']:
            self._auto.observe_light(from_time(message.header.stamp), message.illuminance)

    def _on_colour(self, message: msg.ColourTemperature) -> None:
        if self._balance is not None:
            self._balance.observe_light(from_time(message.header.stamp), message.kelvin, message.variance)

    def _on_faces(self, message: msg.FaceArray) -> None:
        self._faces = (from_time(message.header.stamp), [from_face(face).box for face in message.faces])

    def _on_frame(self, message: msg.FrameRef) -> None:
        ref = from_frame_ref(message)
        try:
            with self._reader.lease(ref) as lease:
                few = thin(lease.pixels, ref.encoding)
        except FacefusionError:
            self._gone += 1
            return
        self._count(ref.info)
        if not self._ready:
            if time.monotonic() >= self._again_s:
                self._take_over()
            if not self._ready:
                return
        try:
            self._control.apply(self._expose(ref, few))
            self._balance_white(ref.info.stamp_ns, few)
        except FacefusionError as error:
            self._fail(error)
            return
        self._backoff.reset()
        self.frames += 1

    def _count(self, info: FrameInfo) -> None:
        """Count the sensor's frames: those that came, those that the camera dropped, and those that never got here."""
        missing = info.journal[0].dropped if info.journal else 0
        self._number += max(info.sequence - self._sequence, 1) + missing
        self._sequence = info.sequence

    def _expose(self, ref: FrameRef, few: NDArray[np.uint8]) -> Setting:
        info, values = ref.info, self.values
        faces = self._faces[1] if abs(info.stamp_ns - self._faces[0]) < FACES_LAST_NS else []
        weight = weights(few.shape[:2], values['metering'], faces, stride_of(ref.width))
        self._level = measure(few, weight, values['target'])
        taken = self._taken(info)
        presumed = taken or self._auto.wanted
        if values['mains'] == 'auto' and presumed is not None:
            before_hz = self._mains.hz
            self._mains.observe(info.stamp_ns, luminance(few), presumed.ev)
            if self._mains.hz != before_hz:
                self.get_logger().info(f'lamps flicker with mains of {self._mains.hz:g} Hz')
                self._auto.settings = self._settings(values)
        return self._auto.observe_frame(info.stamp_ns, self._number, self._level, taken)

    def _taken(self, info: FrameInfo) -> Setting | None:
        """Return what a frame was taken with, if the camera tells; a gain that nobody sets does not matter."""
        limits = self._auto.settings.limits
        gain = info.gain if math.isfinite(info.gain) else 1.0 if limits.max_gain == limits.min_gain else 0.0
        return Setting(info.exposure_s, gain) if info.exposure_s > 0.0 and gain > 0.0 else None

    def _balance_white(self, stamp_ns: int, few: NDArray[np.uint8]) -> None:
        if self._balance is None or few.ndim == 2 or self.frames % BALANCE_EVERY:
            return
        kelvin = self._balance.observe_frame(stamp_ns, few)
        if kelvin is not None:
            self._control.balance(kelvin)


def _check(values: Mapping[str, Any]) -> None:
    if values['min_exposure_s'] > values['max_exposure_s']:
        message = f'min_exposure_s must not be above max_exposure_s, which is {values["max_exposure_s"]:g}'
        raise ParameterError(message)


def main() -> int:
    """Run the node alone."""
    return run(CameraControl)
