"""Records the topics of a pipeline to a bag."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from facefusion_ros.app.bag.errors import BagError
from facefusion_ros.app.bag.writer import BagWriter, OfferedQos

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from rclpy.node import Node
    from rclpy.subscription import Subscription

LOOK_EVERY_S = 0.25
RAW_PICTURES = 'sensor_msgs/msg/Image'
DEPTH = 30


class Recorder:
    """Subscribes to topics as they appear and writes what arrives, as it arrives.

    Without ``topics`` it takes all in the node's namespace, and ``/diagnostics``, but no raw pictures: they fill disks.
    A disk that is full stops the recording and not what is recorded: ``failed`` then says why.
    """

    def __init__(
        self,
        node: Node,
        path: Path,
        topics: Collection[str] = (),
        listen: Callable[[str, str, bytes], None] | None = None,
    ) -> None:
        """Open the bag; ``listen`` is given topic, type name and bytes of every message too. Raises BagError."""
        self.bag = BagWriter(path)
        self.received = 0
        self._node = node
        self._topics = {node.resolve_topic_name(topic) for topic in topics}
        self._listen = listen
        self._subscriptions: dict[str, Subscription] = {}
        self._unknown: set[str] = set()
        self._look()
        self._timer = node.create_timer(LOOK_EVERY_S, self._look)

    @property
    def failed(self) -> str | None:
        """Why nothing is recorded any more; None while all is well."""
        return self.bag.failed

    @property
    def topics(self) -> list[str]:
        """What is being recorded."""
        return sorted(self._subscriptions)

    def close(self) -> None:
        """Finish the bag."""
        self._timer.cancel()
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        try:
            self.bag.close()
        except BagError as error:
            self._node.get_logger().error(str(error))

    def _look(self) -> None:
        for topic, types in self._node.get_topic_names_and_types():
            if topic not in self._subscriptions and topic not in self._unknown and self._is_wanted(topic, types[0]):
                self._subscribe(topic, types[0])

    def _is_wanted(self, topic: str, type_name: str) -> bool:
        if self._topics:
            return topic in self._topics
        ours = topic.startswith(self._node.get_namespace().rstrip('/') + '/') or topic == '/diagnostics'
        return ours and type_name != RAW_PICTURES

    def _subscribe(self, topic: str, type_name: str) -> None:
        package, _, name = type_name.split('/')
        try:
            kind = getattr(importlib.import_module(f'{package}.msg'), name)
        except (ImportError, AttributeError):
            self._unknown.add(topic)
            self._node.get_logger().warning(f'not recording {topic}: its type {type_name} is not installed')
            return
        offers = [info.qos_profile for info in self._node.get_publishers_info_by_topic(topic)]
        if not offers:
            return
        reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
        latched = all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        if reliable and not latched:
            self.bag.add_topic(topic, type_name)
        else:
            reliability = 'reliable' if reliable else 'best_effort'
            durability = 'transient_local' if latched else 'volatile'
            self.bag.add_topic(topic, type_name, OfferedQos(reliability, durability, DEPTH))
        self._subscriptions[topic] = self._node.create_subscription(
            kind, topic, lambda cdr: self._on_message(topic, type_name, cdr), profile, raw=True
        )

    def _on_message(self, topic: str, type_name: str, cdr: bytes) -> None:
        self.received += 1
        try:
            self.bag.write(topic, type_name, cdr, time.time_ns(), sequence=self.received)
        except BagError as error:
            self._node.get_logger().error(str(error))
        if self._listen is not None:
            self._listen(topic, type_name, cdr)
