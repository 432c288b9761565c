"""A topic with pictures as a camera, so that any camera driver of ROS will do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from facefusion_ros.cameras.bgr import ToBgr
from facefusion_ros.cameras.calibration import at_size
from facefusion_ros.cameras.source import Capture, PictureFormat, SourceLost, distinct
from facefusion_ros.ros import qos
from facefusion_ros.ros.image import ImageError, from_camera_info, from_compressed, from_image, image_into
from facefusion_ros.ros.messages import from_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from rclpy.node import Node
    from rclpy.subscription import Subscription

    from facefusion_ros.frames.intrinsics import Intrinsics

PREFIX: Final = 'topic:'

_KINDS: Final[dict[str, type]] = {'sensor_msgs/msg/Image': Image, 'sensor_msgs/msg/CompressedImage': CompressedImage}
_PATIENCE_S: Final = 1.0
_PERIODS: Final = 10
_LONGEST_S: Final = 10.0
_UNKNOWN_RATE_HZ: Final = 30.0


class TopicCamera:
    """A camera whose pictures another node publishes.

    The newest message is delivered, with its stamp and its frame id; a message without a stamp gets the time at which
    it arrived. The calibration is that of ``camera_info`` beside the topic, as image_transport names it. The camera is
    lost when no message has come for ten times as long as usual, within one and ten seconds, or when size or
    calibration change.
    """

    def __init__(
        self, node: Node, topic: str, *, clock: Callable[[], int], intrinsics: Intrinsics | None = None
    ) -> None:
        """Subscribe to nothing yet; ``clock`` in nanoseconds, ``intrinsics`` take the place of ``camera_info``.

        The node has to be spun by another thread than the one that captures.
        """
        self._node = node
        self._topic: str = node.resolve_topic_name(topic)
        self._clock = clock
        self._given = intrinsics
        self._change = threading.Condition()
        self._closed = threading.Event()
        self._subscriptions: list[Subscription] = []
        self._kind: type = Image
        self._newest: tuple[Any, int] | None = None
        self._passed_over = 0
        self._before_ns = 0
        self._period_s = 0.0
        self._told: Intrinsics | None = None
        self._used: Intrinsics | None = None
        self._heard_info = False
        self._to_bgr = ToBgr()
        self._last_stamp_ns = -1

    def open(self) -> PictureFormat:
        """Subscribe and wait a moment for two pictures, which tell the rate, and for the calibration.

        Raises SourceLost, with the reason, where none comes.
        """
        self.close()
        self._begin()
        self._subscribe()
        with self._change:
            self._change.wait_for(lambda: self._closed.is_set() or self._newest is not None, _PATIENCE_S)
            if self._closed.is_set() or self._newest is None:
                raise self._lost('closed' if self._closed.is_set() else self._missing())
            message = self._newest[0]
            self._change.wait_for(lambda: self._closed.is_set() or self._period_s > 0, _PATIENCE_S)
            if self._node.count_publishers(self._info_topic()):
                self._change.wait_for(lambda: self._closed.is_set() or self._heard_info, _PATIENCE_S)
            else:
                self._told = None
            self._used, self._passed_over = self._told, 0
            intrinsics, period_s = self._given or self._used, self._period_s
        try:
            height, width = (from_image if self._kind is Image else from_compressed)(message).shape[:2]
        except ImageError as error:
            raise self._lost(str(error)) from error
        rate_hz = round(1.0 / period_s, 1) if period_s > 0 else _UNKNOWN_RATE_HZ
        return PictureFormat(width, height, rate_hz, intrinsics and at_size(intrinsics, width, height))

    def capture(self, out: NDArray[np.uint8]) -> Capture:
        """Write the newest picture not yet taken to out, (height, width, 3) BGR; see Source.capture."""
        with self._change:
            silence_s = min(max(_PERIODS * self._period_s, _PATIENCE_S), _LONGEST_S)
            self._change.wait_for(lambda: self._closed.is_set() or self._newest is not None, silence_s)
            if self._closed.is_set():
                raise self._lost('closed')
            if self._newest is None:
                raise self._lost(self._missing())
            if self._told != self._used and self._given is None:
                raise self._lost('its camera_info has changed: opening it again')
            (message, stamp_ns), self._newest = self._newest, None
            dropped, self._passed_over = self._passed_over, 0
        try:
            self._read(message, out)
        except ImageError as error:
            raise self._lost(str(error)) from error
        self._last_stamp_ns = stamp_ns = distinct(stamp_ns, self._last_stamp_ns)
        return Capture(stamp_ns, dropped=dropped, frame_id=message.header.frame_id)

    def close(self) -> None:
        """Unsubscribe; a waiting ``capture`` raises SourceLost at once."""
        with self._change:
            self._closed.set()
            self._change.notify_all()
            subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            self._node.destroy_subscription(subscription)

    def _read(self, message: Any, out: NDArray[np.uint8]) -> None:  # noqa: ANN401 - Image or CompressedImage
        picture = None if self._kind is Image else from_compressed(message)
        size = (message.height, message.width) if picture is None else picture.shape[:2]
        if size != out.shape[:2]:
            new, old = (f'{width} x {height}' for height, width in (size, out.shape[:2]))
            raise self._lost(f'its pictures are {new} now, no longer {old}: opening it again')
        if picture is None:
            image_into(message, out, self._to_bgr)
        else:
            np.copyto(out, picture)

    # -- the graph

    def _begin(self) -> None:
        with self._change:
            self._closed.clear()
            self._newest, self._period_s, self._before_ns, self._last_stamp_ns = None, 0.0, 0, -1
            self._heard_info = self._told is not None  # which may be published less often than is waited for

    def _subscribe(self) -> None:
        self._kind = self._found_kind()
        heard = [
            self._node.create_subscription(self._kind, self._topic, self._take, qos.NEWEST),
            self._node.create_subscription(CameraInfo, self._info_topic(), self._take_info, qos.NEWEST),
        ]
        with self._change:
            self._subscriptions = heard

    def _found_kind(self) -> type:
        """Return the type of message that others publish; raises SourceLost."""
        own = (self._node.get_name(), self._node.get_namespace())
        everyone = self._node.get_publishers_info_by_topic(self._topic)
        others = sorted({each.topic_type for each in everyone if (each.node_name, each.node_namespace) != own})
        for name, kind in _KINDS.items():
            if name in others:
                return kind
        if others:
            raise self._lost(f'it is of type {", ".join(others)}: use a topic of {" or ".join(_KINDS)}')
        if everyone:
            raise self._lost("it is this camera's own: name the topic of another camera")
        raise self._lost('nobody publishes it: start the driver of the camera, or mend the name')

    def _missing(self) -> str:
        try:
            self._found_kind()
        except SourceLost as loss:
            return str(loss).removeprefix(f'{PREFIX}{self._topic}: ')
        return 'no picture comes: look at the node that publishes it'

    def _info_topic(self) -> str:
        # image_transport puts camera_info beside the raw picture, whose name a compressed one goes on from.
        raw = self._topic.rsplit('/', 1)[0] if self._kind is CompressedImage else self._topic
        return f'{raw.rsplit("/", 1)[0]}/camera_info'

    def _lost(self, why: str) -> SourceLost:
        return SourceLost(f'{PREFIX}{self._topic}: {why}')

    # -- messages

    def _take(self, message: Any) -> None:  # noqa: ANN401 - Image or CompressedImage
        arrived_ns = self._clock()
        stamp_ns = from_time(message.header.stamp) or arrived_ns
        with self._change:
            step_s = (stamp_ns - self._before_ns) / 1e9
            if self._before_ns and step_s > 0:
                self._period_s += (step_s - self._period_s) * (0.1 if self._period_s else 1.0)
            self._before_ns = stamp_ns
            self._passed_over += self._newest is not None
            self._newest = message, stamp_ns
            self._change.notify_all()

    def _take_info(self, message: CameraInfo) -> None:
        try:
            told = from_camera_info(message)
        except ImageError as error:  # the picture can be shown all the same
            self._node.get_logger().warning(f'{self._info_topic()}: {error}', throttle_duration_sec=60.0)
            told = None
        with self._change:
            self._told, self._heard_info = told, True
            self._change.notify_all()
