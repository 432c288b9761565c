"""How long a picture takes from one process to another: by reference, and as a ``sensor_msgs/Image``.

Both ways run in turn, a second each, in the same two processes, over the same middleware: the reference as the
pipeline's stages take it, the image with rclpy's default quality of service (reliable, depth 10). A hop begins when the
camera's pixels are ready (in the pool's slot, or in an array that still has to be put into a message) and ends when the
other process has them as an array it can read. Both clocks are the machine's monotonic one.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from facefusion_ros import msg
from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.frame import Encoding, FrameInfo
from facefusion_ros.frames.layout import frame_bytes
from facefusion_ros.frames.pool import FramePool, FrameReader
from facefusion_ros.frames.segment import PoolError
from facefusion_ros.ros import qos
from facefusion_ros.ros.image import from_image, to_image
from facefusion_ros.ros.messages import from_frame_ref, from_time, to_frame_ref

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

WIDTH, HEIGHT, RATE_HZ = 1920, 1080, 30.0
MATCH_S = 20.0
GRACE_S = 1.0
BLOCK = 30
"""Pictures sent one way before it is the other's turn."""
SLOTS = 6
DEFAULT_DEPTH = 10


def transport(frames: int = 150) -> dict[str, Any]:
    """Send ``frames`` pictures each way at 30 Hz and return the hop times in milliseconds."""
    frames = -(-frames // BLOCK) * BLOCK
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ['ROS_DOMAIN_ID'] = str(100 + os.getpid() % 100)
    peer = context.Process(target=_receive, args=(theirs,), daemon=True)
    peer.start()
    cpu_ms = _send(frames)
    ours.send('done')
    if not ours.poll(MATCH_S):
        raise FacefusionError('the receiving process did not answer: run the benchmark again')
    hops: dict[str, list[float]] = ours.recv()
    peer.join()
    result: dict[str, Any] = {
        'picture': f'{WIDTH}x{HEIGHT} bgr8',
        'rate_hz': RATE_HZ,
        'frames': frames,
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}',
        'middleware': os.environ.get('RMW_IMPLEMENTATION', 'default'),
    }
    for way, values in hops.items():
        if not values:
            raise FacefusionError(f'no picture arrived by {way}: is another firewall or domain in the way?')
        p50, p99 = np.percentile(values, (50, 99))
        result[f'{way}_ms'] = {'p50': round(float(p50), 3), 'p99': round(float(p99), 3)}
        result[f'{way}_arrived'] = len(values)
        result[f'{way}_publisher_cpu_ms'] = round(cpu_ms[way], 3)
    result['ratio_p50'] = round(result['image_ms']['p50'] / result['frameref_ms']['p50'], 1)
    return result


def _send(frames: int) -> dict[str, float]:
    rclpy.init()
    node = rclpy.create_node('transport_sender')
    references = node.create_publisher(msg.FrameRef, 'frame', qos.PUBLISH)
    images = node.create_publisher(Image, 'image_raw', DEFAULT_DEPTH)
    deadline = time.monotonic() + MATCH_S
    while not (references.get_subscription_count() and images.get_subscription_count()):
        if time.monotonic() > deadline:
            raise FacefusionError(
                'the receiving process was not discovered: is ROS 2 allowed to use the loopback network?'
            )
        time.sleep(0.01)
    picture: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    cpu_s = {'frameref': 0.0, 'image': 0.0}
    with FramePool.create(
        f'bench/{os.getpid()}', slots=SLOTS, slot_bytes=frame_bytes(Encoding.BGR8, WIDTH, HEIGHT)
    ) as pool:
        start = time.monotonic() + 0.5
        for number in range(2 * frames):
            time.sleep(max(0.0, start + number / RATE_HZ - time.monotonic()))
            if (number // BLOCK) % 2:
                begin_s = time.thread_time()
                images.publish(to_image(picture, FrameInfo(time.monotonic_ns(), '', number)))
                cpu_s['image'] += time.thread_time() - begin_s
                continue
            with pool.writing() as slot:
                np.copyto(slot.picture(WIDTH, HEIGHT, Encoding.BGR8), picture)
                begin_s = time.thread_time()
                references.publish(to_frame_ref(slot.publish(FrameInfo(time.monotonic_ns(), '', number))))
                cpu_s['frameref'] += time.thread_time() - begin_s
        time.sleep(GRACE_S)
    node.destroy_node()
    rclpy.shutdown()
    return {way: seconds / frames * 1e3 for way, seconds in cpu_s.items()}


def _receive(pipe: Connection) -> None:
    rclpy.init()
    node = rclpy.create_node('transport_receiver')
    hops: dict[str, list[float]] = {'frameref': [], 'image': []}
    reader = FrameReader()

    def on_reference(message: msg.FrameRef) -> None:
        try:
            with reader.lease(from_frame_ref(message)) as lease:
                _touch(lease.pixels)
                hops['frameref'].append((time.monotonic_ns() - from_time(message.header.stamp)) / 1e6)
        except PoolError:
            return

    def on_image(message: Image) -> None:
        _touch(from_image(message))
        hops['image'].append((time.monotonic_ns() - from_time(message.header.stamp)) / 1e6)

    node.create_subscription(msg.FrameRef, 'frame', on_reference, qos.NEWEST)
    node.create_subscription(Image, 'image_raw', on_image, DEFAULT_DEPTH)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not pipe.poll():
        executor.spin_once(timeout_sec=0.5)
    pipe.send(hops)
    node.destroy_node()
    rclpy.shutdown()


def _touch(pixels: NDArray[np.uint8]) -> int:
    """Read the corners, so that the pixels are known to be there."""
    return int(pixels[0, 0, 0]) + int(pixels[-1, -1, -1])
