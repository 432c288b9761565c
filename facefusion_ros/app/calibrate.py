"""Calibrates gyro and camera from a bag: time offset, rotation, bias, read-out time, with how well each is known."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Imu

from facefusion_ros import msg
from facefusion_ros.app.bag.pictures import camera_topic, picture_of
from facefusion_ros.app.bag.reader import BagReader
from facefusion_ros.blending.alignment import IDENTITY_MOUNTING
from facefusion_ros.blending.gyro_calibration import TooLittleMotionError
from facefusion_ros.blending.pictures import Pictures
from facefusion_ros.blending.shutter_calibration import MOST_SIGMA_S, Pair, ShutterCalibration, calibrate_shutter
from facefusion_ros.blending.visual_turn import VisualTurn
from facefusion_ros.cameras.calibration import at_size, read_calibration
from facefusion_ros.errors import FacefusionError
from facefusion_ros.ros.image import from_camera_info
from facefusion_ros.ros.messages import angular_velocity, from_face, from_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facefusion_ros.app.bag.reader import Message
    from facefusion_ros.faces.face import Face
    from facefusion_ros.frames.intrinsics import Intrinsics

IMU = 'sensor_msgs/msg/Imu'
LONGEST_NS = 150_000_000
"""Frames further apart, where some were lost, say nothing of a turn."""
MOST_OFFSET_SIGMA_S = 1e-3
MOST_ROTATION_SIGMA_RAD = math.radians(2.0)


@dataclass
class _Seen:
    """What a bag shows, so far."""

    camera: Intrinsics
    pictures: Pictures = field(default_factory=Pictures)
    visual: VisualTurn = field(default_factory=VisualTurn)
    faces: Sequence[Face] = ()
    last_ns: int = 0
    frames: int = 0
    unreadable: int = 0
    pairs: list[Pair] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    rates: list[tuple[float, float, float]] = field(default_factory=list)

    def take_picture(self, message: Message) -> None:
        """Follow the background into the next picture."""
        try:
            picture, stamp_ns = picture_of(message)
        except FacefusionError:
            self.unreadable += 1
            return
        self.frames += 1
        height, width = picture.shape[:2]
        if (self.camera.width, self.camera.height) != (width, height):
            self.camera = at_size(self.camera, width, height)
        if not 0 < stamp_ns - self.last_ns <= LONGEST_NS:
            self.visual.reset()
        matches = self.visual.advance(self.pictures.keep(picture, stamp_ns), self.faces, self.camera)
        if matches is not None:
            self.pairs.append(Pair(self.last_ns, stamp_ns, matches))
        self.last_ns = stamp_ns

    def take_rate(self, message: Message) -> None:
        """Take a reading of the gyro."""
        imu = deserialize_message(message.cdr, Imu)
        rate, stamp_ns = angular_velocity(imu), from_time(imu.header.stamp)
        if rate is not None and (not self.stamps_ns or stamp_ns > self.stamps_ns[-1]):
            self.stamps_ns.append(stamp_ns)
            self.rates.append(rate)


def calibrate_bag(
    bag: Path, out: str, topic: str | None = None, imu_topic: str | None = None, intrinsics: Path | None = None
) -> int:
    """Print a table and parameters in YAML, or write JSON to ``out`` where that is not empty ('-': standard output).

    ``intrinsics`` is a calibration file that takes the place of the bag's camera_info. Raises FacefusionError where
    the bag lacks something, or its motion says too little.
    """
    reader = BagReader(bag)
    pictures = camera_topic(reader, topic)
    namespace = pictures.removesuffix('/compressed').rpartition('/')[0]
    rates = _imu_topic(reader, namespace, imu_topic)
    camera = read_calibration(intrinsics) if intrinsics else _camera_info(reader, namespace)
    seen = _Seen(camera)
    faces = f'{namespace}/faces'
    for message in reader:
        if message.topic == pictures:
            seen.take_picture(message)
        elif message.topic == rates:
            seen.take_rate(message)
        elif message.topic == faces:
            array = deserialize_message(message.cdr, msg.FaceArray)
            seen.faces = [from_face(face) for face in array.faces]
    found = _calibration(bag, seen)
    figures = _figures(found, seen)
    if out:
        text = json.dumps({'bag': str(bag), 'pictures': pictures, 'imu': rates, **figures}, indent=2) + '\n'
        sys.stdout.write(text) if out == '-' else Path(out).write_text(text)
    if out != '-':
        print(table(figures))
        print()
        print(parameters(figures), end='')
    if reader.damage:
        raise FacefusionError(reader.damage)
    return 0


def _imu_topic(reader: BagReader, namespace: str, topic: str | None) -> str:
    topics = sorted(name for name, kind in reader.topics.items() if kind == IMU)
    if topic is not None and topic not in topics:
        raise FacefusionError(f'the bag has no sensor_msgs/Imu on {topic}; it has {", ".join(topics) or "none at all"}')
    if not topics:
        raise FacefusionError('the bag has no sensor_msgs/Imu: record imu/data_raw together with the pictures')
    return topic or min(topics, key=lambda name: (name != f'{namespace}/imu/data_raw', 'raw' not in name, name))


def _camera_info(reader: BagReader, namespace: str) -> Intrinsics:
    for message in reader:
        if message.topic == f'{namespace}/camera_info':
            camera = from_camera_info(deserialize_message(message.cdr, CameraInfo))
            if camera is not None:
                return camera
    raise FacefusionError(
        f'the bag has no calibrated {namespace}/camera_info: name the file of a calibration with --intrinsics'
    )


def _calibration(bag: Path, seen: _Seen) -> ShutterCalibration:
    rates = np.array(seen.rates).reshape(-1, 3)
    try:
        found = calibrate_shutter(seen.pairs, seen.camera, np.array(seen.stamps_ns, np.int64), rates)
    except TooLittleMotionError as error:
        raise FacefusionError(f'{bag}: {error}') from None
    sigma_s = found.calibration.time_offset_sigma_s
    if not sigma_s <= MOST_OFFSET_SIGMA_S:
        raise FacefusionError(
            f'{bag}: the motion is too little: it tells the time offset to {1e3 * sigma_s:.1f} ms '
            'only; record 10 s in which the camera is shaken at 20 degrees per second or more'
        )
    return found


def _figures(shutter: ShutterCalibration, seen: _Seen) -> dict[str, Any]:
    nominal = np.array(IDENTITY_MOUNTING)
    found, turns = shutter.calibration, shutter.turns
    speeds = turns.vectors / (1e-9 * (turns.end_ns - turns.begin_ns))[:, None]
    return {
        'time_offset_s': found.time_offset_s,
        'time_offset_sigma_s': found.time_offset_sigma_s,
        'r_optical_imu': found.r_optical_imu.ravel().tolist(),
        'rotation_sigma_deg': math.degrees(found.rotation_sigma_rad),
        'from_rep103_deg': math.degrees(float(np.linalg.norm(cv2.Rodrigues(found.r_optical_imu @ nominal.T)[0]))),
        'gyro_bias_rad_s': found.gyro_bias.tolist(),
        'gyro_bias_sigma_rad_s': found.gyro_bias_sigma_rad_s,
        'readout_s': shutter.readout_s,
        'readout_sigma_s': shutter.readout_sigma_s if math.isfinite(shutter.readout_sigma_s) else None,
        'scale': found.scale,
        'noise_px': found.noise_rad * seen.camera.fx,
        'frames': seen.frames,
        'frames_unreadable': seen.unreadable,
        'turns': len(turns.vectors),
        'readings': len(seen.stamps_ns),
        'rate_rms_deg_s': math.degrees(float(np.sqrt((speeds**2).sum(axis=1).mean()))),
    }


def table(figures: dict[str, Any]) -> str:
    """Lay the numbers out for a person."""
    degrees = math.degrees
    bias = ' '.join(f'{degrees(value):+.3f}' for value in figures['gyro_bias_rad_s'])
    lost = f', {figures["frames_unreadable"]} unreadable' if figures['frames_unreadable'] else ''
    rows = [
        ('time offset', f'{1e3 * figures["time_offset_s"]:+.3f}', f'{1e3 * figures["time_offset_sigma_s"]:.3f}', 'ms'),
        (
            'rotation, off REP-103 axes',
            f'{figures["from_rep103_deg"]:.2f}',
            f'{figures["rotation_sigma_deg"]:.2f}',
            'deg',
        ),
        ('read-out of the rows', f'{1e3 * figures["readout_s"]:+.2f}', _milliseconds(figures['readout_sigma_s']), 'ms'),
        ('gyro bias', bias, f'{degrees(figures["gyro_bias_sigma_rad_s"]):.3f}', 'deg/s'),
    ]
    lines = [f'{"":<28}{"value":>24}{"sigma":>9}']
    lines += [f'{name:<28}{value:>24}{sigma:>9}  {unit}' for name, value, sigma, unit in rows]
    lines.append('')
    lines.append(
        f'{figures["frames"]} frames{lost}, {figures["turns"]} turns of {figures["rate_rms_deg_s"]:.1f} deg/s (RMS), '
        f'{figures["readings"]} readings'
    )
    lines.append(
        f'the picture shows {figures["scale"]:.3f} of what the gyro feels, to {figures["noise_px"]:.2f} px from frame '
        'to frame'
    )
    return '\n'.join(lines)


def _milliseconds(value_s: float | None) -> str:
    return '-' if value_s is None else f'{1e3 * value_s:.2f}'


def parameters(figures: dict[str, Any]) -> str:
    """Return YAML for the blender's parameters; what the motion does not tell is left out, and why."""
    values = [f'    imu_time_offset_s: {figures["time_offset_s"]:.6f}']
    values.append(f'    imu_bias: [{", ".join(f"{value:.6f}" for value in figures["gyro_bias_rad_s"])}]')
    if math.radians(figures['rotation_sigma_deg']) <= MOST_ROTATION_SIGMA_RAD:
        numbers = ', '.join(f'{value:.6f}' for value in figures['r_optical_imu'])
        values.append(f'    imu_rotation: [{numbers}]')
    else:
        values.append('    # imu_rotation is not told by a turn about one axis: turn the camera about others, too')
    sigma_s = figures['readout_sigma_s']
    if sigma_s is not None and sigma_s <= MOST_SIGMA_S:
        values.append(f'    readout_s: {figures["readout_s"]:.6f}')
    else:
        values.append('    # readout_s is not told by turns that do not change: shake the camera')
    return '\n'.join(['/**/blender:', '  ros__parameters:', *values, ''])
