"""Runs a bag through the pipeline, picture by picture, without ROS's timing: the same bag gives the same result."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Illuminance, Imu

from facefusion_ros import msg
from facefusion_ros.app.bag.pictures import camera_topic, picture_of
from facefusion_ros.app.bag.reader import BagReader
from facefusion_ros.app.contact_sheet import contact_sheet, write_png
from facefusion_ros.app.offline import OfflinePipeline
from facefusion_ros.app.stills import to_json
from facefusion_ros.app.summary import percentiles
from facefusion_ros.displays.file import VideoFile
from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.frame import Frame, FrameInfo
from facefusion_ros.personas.patches import PatchMaker
from facefusion_ros.ros.image import from_camera_info
from facefusion_ros.ros.messages import angular_velocity, from_time

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from facefusion_ros.app.bag.reader import Message
    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.personas.patches import PatchSettings

SHEET_PAIRS = 12


@dataclass
class _Run:
    """One replay in progress."""

    pipeline: OfflinePipeline
    film: VideoFile
    frames_folder: Path | None
    outputs: Any = field(default_factory=hashlib.sha256)
    detections: list[dict[str, Any]] = field(default_factory=list)
    durations_ms: list[float] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    kept: list[tuple[NDArray[np.uint8], NDArray[np.uint8], str]] = field(default_factory=list)
    faces_swapped: int = 0
    keep_every: int = 1
    unreadable: int = 0

    def take(self, picture: NDArray[np.uint8], stamp_ns: int) -> None:
        """Put one picture through."""
        result = picture.copy()
        begin = time.perf_counter()
        outcome = self.pipeline.process(result, stamp_ns)
        self.durations_ms.append((time.perf_counter() - begin) * 1e3)
        self.outputs.update(result)
        self.detections.append({'stamp_ns': stamp_ns, 'faces': [to_json(face) for face in outcome.faces]})
        self.faces_swapped += len(outcome.regions)
        number = len(self.stamps_ns)
        self.stamps_ns.append(stamp_ns)
        info = FrameInfo(stamp_ns, '', number)
        self.film.show(Frame(result, info), Frame(picture, info))
        if self.frames_folder is not None:
            write_png(self.frames_folder / f'{number:06d}.png', result)
        if number % self.keep_every == 0:
            self.kept.append((picture.copy(), result, f'{(stamp_ns - self.stamps_ns[0]) / 1e9:.1f} s'))
        if len(self.kept) == 4 * SHEET_PAIRS:  # bounded, whatever the bag's length
            del self.kept[1::2]
            self.keep_every *= 2

    def pairs(self) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8], str]]:
        """Return what goes on the contact sheet, spread over the bag."""
        chosen = np.linspace(0, len(self.kept) - 1, min(SHEET_PAIRS, len(self.kept))).round().astype(int)
        return [self.kept[i] for i in chosen]


def replay(
    bag: Path,
    out: Path,
    settings: PatchSettings,
    topic: str | None = None,
    detector: Detector | None = None,
    *,
    write_frames: bool = False,
) -> int:
    """Replay a bag; leaves replay.mp4, detections.json, contact_sheet.png and summary.json in the folder ``out``.

    ``detector`` takes the place of the usual one. A bag that is cut off is replayed as far as it can be read, the rest
    is reported and makes the exit code 1.
    """
    with closing(PatchMaker(settings)) as maker:
        return _replay(bag, out, OfflinePipeline(maker, detector), topic, settings, write_frames=write_frames)


def _replay(
    bag: Path,
    out: Path,
    pipeline: OfflinePipeline,
    topic: str | None,
    settings: PatchSettings,
    *,
    write_frames: bool,
) -> int:
    reader = BagReader(bag)
    camera = camera_topic(reader, topic)
    out.mkdir(parents=True, exist_ok=True)
    frames_folder = out / 'frames' if write_frames else None
    if frames_folder is not None:
        frames_folder.mkdir(exist_ok=True)
    film = VideoFile(out / 'replay.mp4', 30.0, compare=True, patient=True)
    run = _Run(pipeline, film, frames_folder)
    namespace = camera.removesuffix('/compressed').rpartition('/')[0]
    for message in reader:
        if message.topic == camera:
            _take_picture(run, message)
        elif message.topic.startswith(namespace):
            _take_reading(run.pipeline, message, namespace)
    film.close()
    if not run.stamps_ns:
        text = f'{bag} has no readable picture on {camera}'
        raise FacefusionError(text)
    detections = json.dumps(run.detections, indent=1) + '\n'
    (out / 'detections.json').write_text(detections)
    write_png(out / 'contact_sheet.png', contact_sheet(run.pairs()))
    summary = {
        'bag': str(bag),
        'topic': camera,
        'persona': ','.join(settings.personas),
        'frames_in': len(run.stamps_ns) + run.unreadable,
        'frames_out': len(run.stamps_ns),
        'frames_dropped': run.unreadable,
        'faces_swapped': run.faces_swapped,
        'output_digest': run.outputs.hexdigest(),
        'detections_digest': hashlib.sha256(detections.encode()).hexdigest(),
        'frame_ms': percentiles(run.durations_ms),
        'damage': reader.damage,
    }
    (out / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    print(json.dumps(summary, indent=2))
    if reader.damage or film.failed:
        raise FacefusionError(reader.damage or str(film.failed))
    return 0


def _take_picture(run: _Run, message: Message) -> None:
    try:
        picture, stamp_ns = picture_of(message)
    except FacefusionError:
        run.unreadable += 1
        return
    run.take(picture, stamp_ns)


def _take_reading(pipeline: OfflinePipeline, message: Message, namespace: str) -> None:
    name = message.topic.removeprefix(f'{namespace}/')
    if name == 'illuminance':
        light = deserialize_message(message.cdr, Illuminance)
        pipeline.blender.observe_light(from_time(light.header.stamp), light.illuminance)
    elif name == 'colour_temperature':
        colour = deserialize_message(message.cdr, msg.ColourTemperature)
        pipeline.blender.observe_colour(from_time(colour.header.stamp), colour.kelvin, colour.variance)
    elif name == 'imu/data_raw':
        imu = deserialize_message(message.cdr, Imu)
        rate = angular_velocity(imu)
        if rate is not None:
            pipeline.blender.alignment.observe_rotation(from_time(imu.header.stamp), rate)
    elif name == 'camera_info':
        pipeline.blender.alignment.camera = from_camera_info(deserialize_message(message.cdr, CameraInfo))
