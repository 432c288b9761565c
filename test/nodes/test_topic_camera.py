"""Another node's pictures as the camera, over DDS."""

import itertools
import sys
import threading
from array import array

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from facefusion_ros import msg
from facefusion_ros.frames.frame import FrameInfo
from facefusion_ros.frames.intrinsics import Intrinsics
from facefusion_ros.frames.pool import FrameReader
from facefusion_ros.nodes.camera import Camera
from facefusion_ros.ros import qos
from facefusion_ros.ros.image import to_camera_info, to_image
from facefusion_ros.ros.messages import from_frame_ref, to_time

EPOCH_NS = 1_700_000_000_000_000_000
PERIOD_NS = 20_000_000
LENS = Intrinsics(64, 48, 60.0, 61.0, 31.5, 23.5)
PICTURE = np.zeros((48, 64, 3), np.uint8)
PICTURE[:, :32], PICTURE[:, 32:] = (200, 60, 30), (40, 190, 60)


def picture(number, pixels=PICTURE):
    return to_image(pixels, FrameInfo(EPOCH_NS + number * PERIOD_NS, 'driver_optical', number))


def jpeg(number):
    header = Header(stamp=to_time(EPOCH_NS + number * PERIOD_NS), frame_id='driver_optical')
    coded = cv2.imencode('.jpg', PICTURE)[1].tobytes()
    return CompressedImage(header=header, format='bgr8; jpeg compressed bgr8', data=array('B', coded))


def nv12(number):
    """The left colour of PICTURE everywhere: Y 74, U 194, V 105 by ITU-R BT.601."""
    message = picture(number)
    rows = np.full((72, 64), 74, np.uint8)
    rows[48:, 0::2], rows[48:, 1::2] = 194, 105
    message.encoding, message.step, message.data = 'nv12', 64, array('B', rows.tobytes())
    return message


class Driver:
    """A camera driver: publishes pictures at 50 Hz from a thread of its own until it dies."""

    def __init__(self, node, kind, topic, make, reliability=ReliabilityPolicy.RELIABLE, *, info=True, begin=0):
        self._node = node
        self._make = make
        profile = QoSProfile(depth=2, reliability=reliability)
        self._pictures = node.create_publisher(kind, topic, profile)
        self._infos = node.create_publisher(CameraInfo, 'eye/camera_info', qos.PUBLISH) if info else None
        self.number = begin
        self._dead = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._dead.wait(PERIOD_NS / 1e9):
            self._pictures.publish(self._make(self.number))
            if self._infos is not None:
                about = FrameInfo(EPOCH_NS + self.number * PERIOD_NS, 'driver_optical', self.number)
                self._infos.publish(to_camera_info(LENS, 64, 48, about))
            self.number += 1

    def die(self):
        if not self._dead.is_set():
            self._dead.set()
            self._thread.join()
            for publisher in filter(None, (self._pictures, self._infos)):
                self._node.destroy_publisher(publisher)


@pytest.fixture
def drive(listener):
    """Start camera drivers: ``drive(Image, 'eye/image_raw', picture)``."""
    drivers = []

    def begin(*arguments, **options):
        drivers.append(Driver(listener.node, *arguments, **options))
        return drivers[-1]

    yield begin
    for driver in drivers:
        driver.die()


def shown(frames):
    """The pixels of one of the newest frames, and what it says of itself."""
    with FrameReader() as reader:
        ref = from_frame_ref(frames.more(1)[0])
        with reader.lease(ref) as lease:
            return lease.pixels.copy(), ref.info


@pytest.mark.parametrize('reliability', [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
def test_pictures_stamps_frame_and_lens_are_the_drivers(listener, start, drive, namespace, reliability):
    frames, infos = listener.hear(msg.FrameRef, 'frame'), listener.hear(CameraInfo, 'camera_info')
    drive(Image, 'eye/image_raw', picture, reliability)
    camera = start(Camera, source=f'topic:{namespace}/eye/image_raw', frame_id='not_this')
    assert camera.started
    pixels, info = shown(frames)
    np.testing.assert_array_equal(pixels, PICTURE)
    assert info.frame_id == 'driver_optical'
    stamps = [from_frame_ref(message).info.stamp_ns for message in frames.wait(5)]
    assert all((stamp - EPOCH_NS) % PERIOD_NS == 0 for stamp in stamps)
    assert stamps == sorted(set(stamps))
    described = infos.wait(1)[0]
    np.testing.assert_allclose(described.k.reshape(3, 3), LENS.matrix)
    assert described.header.frame_id == 'driver_optical'


@pytest.mark.parametrize(
    ('kind', 'topic', 'make', 'off'),
    [(CompressedImage, 'eye/image_raw/compressed', jpeg, 12), (Image, 'eye/image_raw', nv12, 3)],
)
def test_other_encodings_and_compressed_pictures_do_too(listener, start, drive, kind, topic, make, off):
    """The topic is given without a namespace, and camera_info lies beside the raw picture."""
    frames, infos = listener.hear(msg.FrameRef, 'frame'), listener.hear(CameraInfo, 'camera_info')
    drive(kind, topic, make)
    start(Camera, source=f'topic:{topic}')
    pixels, info = shown(frames)
    assert np.abs(pixels[:, :28].astype(int) - PICTURE[:, :28]).max() <= off
    assert info.frame_id == 'driver_optical'
    np.testing.assert_allclose(infos.wait(1)[0].k.reshape(3, 3), LENS.matrix)


def test_a_topic_is_waited_for_lost_and_found_again(listener, start, drive):
    """First nobody, then a driver, then silence, then a driver with larger pictures."""
    frames, diagnostics = listener.hear(msg.FrameRef, 'frame'), listener.diagnostics('camera')
    camera = start(Camera, source='topic:eye/image_raw')
    assert camera.started
    status = diagnostics.until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert 'eye/image_raw: nobody publishes it: start the driver' in status.message
    first = drive(Image, 'eye/image_raw', picture)
    before = len(frames.wait(3))
    diagnostics.until(lambda status: status.level == DiagnosticStatus.OK and status.message.startswith('64x48'))
    heard = len(diagnostics.messages)
    first.die()
    status = diagnostics.until(lambda status: status.level == DiagnosticStatus.ERROR, since=heard)
    assert 'nobody publishes it' in status.message
    larger = np.full((96, 128, 3), 99, np.uint8)
    drive(Image, 'eye/image_raw', lambda number: picture(number, larger), info=False, begin=first.number)
    ref = from_frame_ref(frames.until(lambda ref: ref.width == 128))
    assert (ref.width, ref.height) == (128, 96)
    refs = [from_frame_ref(message).info for message in frames.messages]
    assert [info.sequence for info in refs] == list(range(len(refs)))
    assert before <= len(refs)
    assert all(one.stamp_ns < other.stamp_ns for one, other in itertools.pairwise(refs))


def test_a_change_of_size_on_the_way_is_followed(listener, start, drive):
    frames = listener.hear(msg.FrameRef, 'frame')
    sizes = {'now': PICTURE}
    drive(Image, 'eye/image_raw', lambda number: picture(number, sizes['now']), info=False)
    start(Camera, source='topic:eye/image_raw')
    frames.until(lambda ref: ref.width == 64)
    sizes['now'] = np.full((20, 30, 3), 7, np.uint8)
    frames.until(lambda ref: (ref.width, ref.height) == (30, 20))
    sizes['now'] = np.full((100, 200, 3), 7, np.uint8)
    frames.until(lambda ref: (ref.width, ref.height) == (200, 100))


def test_a_calibration_that_comes_late_is_taken(listener, start, drive):
    infos = listener.hear(CameraInfo, 'camera_info')
    drive(Image, 'eye/image_raw', picture, info=False)
    start(Camera, source='topic:eye/image_raw')
    assert infos.wait(1)[0].k[0] == 0.0
    publisher = listener.speak(CameraInfo, 'eye/camera_info')
    stop = threading.Event()

    def repeat():
        while not stop.wait(0.05):
            publisher.publish(to_camera_info(LENS, 64, 48, FrameInfo(EPOCH_NS, 'driver_optical', 0)))

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        described = infos.until(lambda info: info.k[0] != 0.0)
    finally:
        stop.set()
        thread.join()
    np.testing.assert_allclose(described.k.reshape(3, 3), LENS.matrix)


@pytest.mark.parametrize(
    ('kind', 'make', 'said'),
    [
        (
            String,
            lambda _: String(data='smile'),
            'it is of type std_msgs/msg/String: use a topic of sensor_msgs/msg/Image',
        ),
        (
            CompressedImage,
            lambda number: CompressedImage(header=picture(number).header, format='16UC1; compressedDepth png'),
            'compressedDepth is a picture of distances',
        ),
    ],
)
def test_what_is_no_camera_is_said(listener, start, drive, kind, make, said):
    diagnostics = listener.diagnostics('camera')
    drive(kind, 'eye/image_raw', make, info=False)
    start(Camera, source='topic:eye/image_raw')
    status = diagnostics.until(lambda status: said in status.message)
    assert status.level == DiagnosticStatus.ERROR


def test_its_own_pictures_are_no_camera(listener, start):
    diagnostics = listener.diagnostics('camera')
    start(Camera, source='topic:image_raw')
    assert diagnostics.until(lambda status: "it is this camera's own" in status.message).level == DiagnosticStatus.ERROR


def test_an_unknown_encoding_is_named(listener, start, drive, monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)

    def depth(number):
        message = picture(number)
        message.encoding = '32FC1'
        return message

    diagnostics = listener.diagnostics('camera')
    drive(Image, 'eye/image_raw', depth, info=False)
    start(Camera, source='topic:eye/image_raw')
    diagnostics.until(lambda status: "image encoding '32FC1' is not one of" in status.message)
