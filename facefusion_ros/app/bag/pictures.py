"""The camera's pictures in a bag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from facefusion_ros.app.bag.errors import BagError
from facefusion_ros.ros.image import from_compressed, from_image
from facefusion_ros.ros.messages import from_time

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.app.bag.reader import BagReader, Message

RAW, JPEG = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'


def camera_topic(reader: BagReader, topic: str | None = None) -> str:
    """Return the topic of the camera's pictures: the one named, else the first Image, else CompressedImage.

    Pictures that this package made (``output/...``) are no camera's. Raises BagError naming what there is.
    """
    pictures = sorted(name for name, kind in reader.topics.items() if kind in {RAW, JPEG})
    if topic is not None:
        if topic not in pictures:
            raise BagError(f'the bag has no pictures on {topic}; it has {", ".join(pictures) or "none at all"}')
        return topic
    cameras = [name for name in pictures if '/output/' not in f'/{name}']
    if not cameras:
        raise BagError(
            f'the bag has no camera pictures (sensor_msgs/Image or CompressedImage); it has {sorted(reader.topics)}'
        )
    return min(cameras, key=lambda name: (name.endswith('/compressed'), name))


def picture_of(message: Message) -> tuple[NDArray[np.uint8], int]:
    """Decode a picture: (height, width, 3) BGR uint8, and its stamp in nanoseconds.

    Raises ImageError where it cannot be decoded.
    """
    kind, decode = (Image, from_image) if message.type_name == RAW else (CompressedImage, from_compressed)
    picture = deserialize_message(message.cdr, kind)
    return decode(picture), from_time(picture.header.stamp)
