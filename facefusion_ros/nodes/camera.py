"""The camera: captures into the frame pool and says where each frame lies."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from facefusion_ros import msg
from facefusion_ros.cameras.calibration import read_calibration
from facefusion_ros.cameras.choose import choose_source
from facefusion_ros.cameras.decode import AUTO, DECODERS
from facefusion_ros.cameras.reconnect import Backoff
from facefusion_ros.cameras.source import SourceEnded, SourceLost
from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.frame import Encoding, FrameInfo
from facefusion_ros.frames.layout import frame_bytes
from facefusion_ros.frames.pool import FramePool, PoolExhausted
from facefusion_ros.ros.image import to_camera_info, to_compressed, to_image
from facefusion_ros.ros.messages import to_frame_ref, with_stage
from facefusion_ros.ros.parameters import Parameter, ParameterError
from facefusion_ros.ros.run import run
from facefusion_ros.ros.simulation import SIM, WORLD, WORLD_EPOCH
from facefusion_ros.ros.stage import ERROR, OK, WARN, Health, LazyPublisher, StageNode
from facefusion_ros.ros.topic_camera import PREFIX as TOPIC
from facefusion_ros.ros.topic_camera import TopicCamera
from facefusion_ros.sim.camera import SimulatedCamera
from facefusion_ros.sim.world import load_world

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.cameras.source import PictureFormat, Source

JOIN_S = 3.0


class Camera(StageNode):
    """Publishes ``frame``, ``camera_info`` and, while somebody subscribes, ``image_raw`` and ``image_raw/compressed``.

    A camera that disappears is opened again, with growing pauses; that is the driver's work, not the lifecycle's.
    """

    NAME = 'camera'
    TABLE = (
        Parameter(
            'source',
            SIM,
            "Where frames come from: 'sim', /dev/videoN, csi://0, gst: and a GStreamer pipeline, topic: and the name "
            "of a topic with pictures, a video file, or a stream's URL",
            fixed=True,
        ),
        Parameter('frame_id', 'camera_optical_frame', 'Optical frame of the camera; a topic names its own', fixed=True),
        Parameter('calibration', '', "Path of the camera's calibration YAML; empty for the source's own", fixed=True),
        Parameter('loop', False, 'Whether a video file starts again at its end', fixed=True),
        Parameter(
            'pixel_format',
            '',
            'What a camera at /dev/videoN delivers: NV12, YUYV, MJPG ...; empty for the best that it has',
            fixed=True,
        ),
        Parameter(
            'width',
            0,
            "Width of the pictures; 0 for the source's own, then height is 0 too",
            'pixels',
            0,
            16384,
            fixed=True,
        ),
        Parameter('height', 0, 'Height of the pictures', 'pixels', 0, 16384, fixed=True),
        Parameter(
            'rate_hz',
            0.0,
            'Rate that is asked of a camera at /dev/videoN or csi://N; 0 for its own',
            'Hz',
            0.0,
            1000.0,
            fixed=True,
        ),
        Parameter(
            'decoder',
            AUTO,
            "What decodes a video file or a stream's URL; software where it is not there",
            choices=DECODERS,
            fixed=True,
        ),
        Parameter('pool_slots', 8, 'Frames that the pool holds', 'frames', 3, 64, fixed=True),
        WORLD,
        WORLD_EPOCH,
    )

    def configure(self) -> None:
        """Find the source; it is opened when the node becomes active."""
        path: str = self.values['calibration']
        self._calibration = read_calibration(Path(path)) if path else None
        self._source = self._make_source()
        self._frames = self.advertise(msg.FrameRef, 'frame')
        self._camera_info = self.advertise(CameraInfo, 'camera_info')
        self._image = LazyPublisher(self.advertise(Image, 'image_raw'))
        self._compressed = LazyPublisher(self.advertise(CompressedImage, 'image_raw/compressed'))
        self._sequence = 0
        self._unable = 0
        self._passed_over = 0
        self._losses = 0
        self._damaged = 0
        self._health = Health()

    def activate(self) -> None:
        """Start to capture; a topic may come later, and is not heard before the node is spun."""
        form = None if isinstance(self._source, TopicCamera) else self._source.open()
        self.while_active.callback(self._source.close)
        self._pool = self._make_pool(form) if form else None
        self._stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(form,), name='capture', daemon=True)
        self.while_active.callback(self._end, thread)
        thread.start()

    def health(self) -> Health:
        """Say whether the camera delivers."""
        values = {
            'frames': self._sequence,
            'no slot free': self._unable,
            'losses': self._losses,
            'damaged': self._damaged,
        }
        return Health(self._health.level, self._health.message, {**values, **self._health.values})

    def _make_source(self) -> Source:
        source: str = self.values['source']
        if source == SIM:
            world = load_world(self.values['world'])
            return SimulatedCamera(world, clock=self.now_ns, epoch_ns=int(self.values['world_epoch_ns']))
        if source.startswith(TOPIC):
            topic = source.removeprefix(TOPIC).strip()
            return TopicCamera(self, topic, clock=self.now_ns, intrinsics=self._calibration)
        width, height = self.values['width'], self.values['height']
        if (width == 0) != (height == 0):
            raise ParameterError(
                f'width and height go together, not {width} and {height}: set both, or leave both at 0'
            )
        return choose_source(
            source,
            clock=self.now_ns,
            loop=self.values['loop'],
            size=(width, height) if width else None,
            rate_hz=self.values['rate_hz'] or None,
            pixel_format=self.values['pixel_format'],
            intrinsics=self._calibration,
            decoder=self.values['decoder'],
        )

    def _make_pool(self, form: PictureFormat) -> FramePool:
        slot_bytes = frame_bytes(Encoding.BGR8, form.width, form.height)
        return FramePool.create(self.pool_name('frames'), slots=self.values['pool_slots'], slot_bytes=slot_bytes)

    def _end(self, thread: threading.Thread) -> None:
        self._stop.set()
        self._source.close()
        thread.join(JOIN_S)
        if self._pool is not None:
            self._pool.close()

    def _run(self, form: PictureFormat | None) -> None:
        # A topic costs nothing to look for, and opening it waits by itself.
        backoff = Backoff(longest_s=0.25) if isinstance(self._source, TopicCamera) else Backoff()
        form = form or self._reopen(backoff)
        while form and not self._stop.is_set():
            try:
                delivers = f'{form.width}x{form.height} at {form.rate_hz:g} Hz'
                self._health = Health(OK, f'{delivers}, {form.decoder}' if form.decoder else delivers)
                self.get_logger().info(self._health.message)
                self._capture_all(form, backoff)
            except SourceEnded as end:
                self._health = Health(WARN, str(end))
                self.get_logger().info(str(end))
                return
            except SourceLost as loss:
                if self._stop.is_set():
                    return
                self._losses += 1
                self._health = Health(ERROR, str(loss))
                self.get_logger().error(str(loss))
            except FacefusionError as error:
                self._health = Health(ERROR, str(error))
                self.get_logger().error(str(error))
            form = self._reopen(backoff) or form

    def _reopen(self, backoff: Backoff) -> PictureFormat | None:
        """Try until the camera is back; None once stopped."""
        self._source.close()
        while not self._stop.wait(backoff.next_s()):
            try:
                form = self._source.open()
                if self._pool is None:
                    self._pool = self._make_pool(form)
                elif frame_bytes(Encoding.BGR8, form.width, form.height) > self._pool.slot_bytes:
                    self._pool.close()
                    self._pool = self._make_pool(form)
            except FacefusionError as error:
                self._health = Health(ERROR, str(error))
                continue
            return form
        return None

    def _capture_all(self, form: PictureFormat, backoff: Backoff) -> None:
        picture = np.empty((form.height, form.width, 3), np.uint8)
        while self._pool is not None and not self._stop.is_set():
            try:
                self._capture(self._pool, form, picture)
            except PoolExhausted as error:
                self._unable += 1
                self.get_logger().warning(str(error), throttle_duration_sec=5.0)
                self._passed_over += 1 + self._source.capture(picture).dropped
            backoff.reset()

    def _capture(self, pool: FramePool, form: PictureFormat, picture: NDArray[np.uint8]) -> None:
        with pool.writing() as slot:
            pixels = slot.picture(form.width, form.height, Encoding.BGR8)
            capture = self._source.capture(pixels)
            begin_ns = capture.stamp_ns
            frame_id = capture.frame_id or self.values['frame_id']
            info = FrameInfo(begin_ns, frame_id, self._sequence, exposure_s=capture.exposure_s, gain=capture.gain)
            wanted = self._image.wanted or self._compressed.wanted
            if wanted:  # once published, the slot is the blender's to change
                np.copyto(picture, pixels)
            ref = slot.publish(info)
        dropped, self._passed_over = self._passed_over + capture.dropped, 0
        self._damaged += capture.damaged
        self._frames.publish(to_frame_ref(with_stage(ref, self.NAME, begin_ns, self.now_ns(), dropped)))
        self._sequence += 1
        self._camera_info.publish(to_camera_info(form.intrinsics, form.width, form.height, info))
        if wanted:
            self._image.publish(lambda: to_image(picture, info))
            self._compressed.publish(lambda: to_compressed(picture, info))


def main() -> int:
    """Run the node alone."""
    return run(Camera)
