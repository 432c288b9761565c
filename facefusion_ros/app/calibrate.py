"""Calibrates the gyro to the camera from a bag: time offset, rotation and bias, with how well each is known."""

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
from facefusion_ros.blending.gyro_calibration import Calibration, TooLittleMotionError, Turns, calibrate
from facefusion_ros.blending.pictures import Pictures
from facefusion_ros.blending.visual_turn import VisualTurn, turn_of
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
    turns: list[tuple[int, int, np.ndarray]] = field(default_factory=list)
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
        turn = None if matches is None else turn_of(matches, self.camera)
        if turn is not None:
            self.turns.append((self.last_ns, stamp_ns, turn))
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


def _calibration(bag: Path, seen: _Seen) -> Calibration:
    turns = Turns(
        np.array([begin for begin, _, _ in seen.turns], np.int64),
        np.array([end for _, end, _ in seen.turns], np.int64),
        np.array([turn for _, _, turn in seen.turns], np.float64).reshape(-1, 3),
    )
    try:
        found = calibrate(turns, np.array(seen.stamps_ns, np.int64), np.array(seen.rates).reshape(-1, 3))
    except TooLittleMotionError as error:
        raise FacefusionError(f'{bag}: {error}') from None
    if not found.time_offset_sigma_s <= MOST_OFFSET_SIGMA_S:
        raise FacefusionError(
            f'{bag}: the motion is too little: it tells the time offset to {1e3 * found.time_offset_sigma_s:.1f} ms '
            'only; record 10 s in which the camera is shaken at 20 degrees per second or more'
        )
    return found


def _figures(found: Calibration, seen: _Seen) -> dict[str, Any]:
    nominal = np.array(IDENTITY_MOUNTING)
    vectors = np.array([turn for _, _, turn in seen.turns])
    spans_s = np.array([1e-9 * (end - begin) for begin, end, _ in seen.turns])
    return {
        'time_offset_s': found.time_offset_s,
        'time_offset_sigma_s': found.time_offset_sigma_s,
        'r_optical_imu': found.r_optical_imu.ravel().tolist(),
        'rotation_sigma_deg': math.degrees(found.rotation_sigma_rad),
        'from_rep103_deg': math.degrees(float(np.linalg.norm(cv2.Rodrigues(found.r_optical_imu @ nominal.T)[0]))),
        'gyro_bias_rad_s': found.gyro_bias.tolist(),
        'gyro_bias_sigma_rad_s': found.gyro_bias_sigma_rad_s,
        'scale': found.scale,
        'noise_px': found.noise_rad * seen.camera.fx,
        'frames': seen.frames,
        'frames_unreadable': seen.unreadable,
        'turns': len(seen.turns),
        'readings': len(seen.stamps_ns),
        'rate_rms_deg_s': math.degrees(float(np.sqrt(((vectors / spans_s[:, None]) ** 2).sum(axis=1).mean()))),
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


def parameters(figures: dict[str, Any]) -> str:
    """Return YAML for the blender's parameters; a rotation that the motion does not tell is left out, and why."""
    values = [f'    imu_time_offset_s: {figures["time_offset_s"]:.6f}']
    values.append(f'    imu_bias: [{", ".join(f"{value:.6f}" for value in figures["gyro_bias_rad_s"])}]')
    if math.radians(figures['rotation_sigma_deg']) <= MOST_ROTATION_SIGMA_RAD:
        numbers = ', '.join(f'{value:.6f}' for value in figures['r_optical_imu'])
        values.append(f'    imu_rotation: [{numbers}]')
    else:
        values.append('    # imu_rotation is not told by a turn about one axis: turn the camera about others, too')
    return '\n'.join(['/**/blender:', '  ros__parameters:', *values, ''])
