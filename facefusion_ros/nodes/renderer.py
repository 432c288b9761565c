"""The renderer: shows the output and says how long each frame took from capture to display."""

from __future__ import annotations

import math
import time
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import Illuminance, Imu

from facefusion_ros import msg
from facefusion_ros.displays.open import ACCEPTED, open_sink
from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.frame import Frame
from facefusion_ros.ros import qos
from facefusion_ros.ros.messages import angular_velocity, to_timing, with_stage
from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.ros.passage import FrameStage
from facefusion_ros.ros.run import run
from facefusion_ros.ros.stage import ERROR, OK, Health

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.frames.frame import FrameInfo, FrameRef

WINDOW = 300
"""Frames over which the live numbers are computed."""
NUMBERS_EVERY = 7
"""Frames from one update of the live numbers to the next; no multiple of the detector's interval, or they would only
ever show frames on which it searched."""


class Renderer(FrameStage):
    """Takes ``output/frame``, publishes ``timing``."""

    NAME = 'renderer'
    TABLE = (
        Parameter(
            'display',
            'none',
            f'Where the output is shown: {ACCEPTED}',
            fixed=True,
        ),
        Parameter('persona', '', 'Who is shown, for the caption where two pictures are compared', fixed=True),
        Parameter('rate_hz', 30.0, 'Nominal frame rate of a video file', 'Hz', 1.0, 240.0, fixed=True),
    )

    def configure(self) -> None:
        """Open the display."""
        super().configure()
        # The display tells by threads of its own; what is known of frames belongs to this node's.
        self._told: SimpleQueue[tuple[FrameInfo, int | None]] = SimpleQueue()
        self._waiting: dict[int, tuple[FrameRef, int, int]] = {}
        """By the identity of a frame's info: the frame, when its work began, how many were passed over before."""
        self._shown = self._left_out = self._passed_over = 0
        heed = self.create_guard_condition(self._on_told)
        self.while_configured.callback(self.destroy_guard_condition, heed)

        def tell(info: FrameInfo, time_ns: int | None) -> None:
            self._told.put((info, time_ns))
            heed.trigger()

        self._sink = open_sink(self.values['display'], self.values['rate_hz'], self.values['persona'], tell)
        self.while_configured.callback(self._sink.close)
        self._latencies_ms: deque[float] = deque(maxlen=WINDOW)
        self._shown_ns: deque[int] = deque(maxlen=WINDOW)
        self._dropped = 0
        self._faces = 0
        self._lux = self._rotation_rad_s = math.nan
        self._original: NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
        self._timing = self.advertise(msg.FrameTiming, 'timing')

    def activate(self) -> None:
        """Take output frames."""
        super().activate()
        self.take(msg.FrameRef, 'output/frame', self._on_frame, qos.NEWEST)
        if self._sink.shows_numbers:
            self.take(msg.Provenance, 'provenance', self._on_provenance, qos.NEWEST)
            self.take(Illuminance, 'illuminance', self._on_illuminance, qos.NEWEST)
            self.take(Imu, 'imu/data_raw', self._on_imu, qos.NEWEST)

    def health(self) -> Health:
        """Say how the display is and what the latency was of late."""
        numbers = self._numbers() if self._latencies_ms else {}
        counts = self.passage.values()
        if self._sink.tells_when:
            counts |= {'frames': self._shown, 'dropped': self.passage.dropped + self._left_out}
        values = {**counts, **{key: f'{value:.1f}' for key, value in numbers.items()}}
        failed = self._sink.failed
        return Health(ERROR if failed else OK, failed or 'running', values)

    def _on_provenance(self, message: msg.Provenance) -> None:
        self._faces = len(message.face_ids)

    def _on_illuminance(self, message: Illuminance) -> None:
        self._lux = message.illuminance

    def _on_imu(self, message: Imu) -> None:
        self._rotation_rad_s = math.hypot(*(angular_velocity(message) or (math.nan,)))

    def _on_frame(self, message: msg.FrameRef) -> None:
        with self.visit(message) as visit:
            ref = visit.ref
            if self._sink.tells_when:
                self._waiting[id(ref.info)] = ref, visit.begin_ns, visit.dropped
            try:
                self._show(ref)
            except FacefusionError:
                self._waiting.pop(id(ref.info), None)
                raise
            done = self.leave(visit)
            if not self._sink.tells_when:
                self._tell(done.info)

    def _on_told(self) -> None:
        """Take what the display tells of frames: when they could be seen, or that they never were."""
        while not self._told.empty():
            info, time_ns = self._told.get()
            waiting = self._waiting.pop(id(info), None)
            if waiting is None:
                continue
            ref, begin_ns, dropped = waiting
            if time_ns is None:
                self._left_out += 1
                self._passed_over += dropped + 1
                continue
            self._shown += 1
            seen_ns = self.now_ns() - (time.monotonic_ns() - time_ns)
            dropped += self._passed_over
            self._passed_over = 0
            self._tell(with_stage(ref, self.NAME, begin_ns, seen_ns, dropped).info)

    def _tell(self, info: FrameInfo) -> None:
        self._timing.publish(to_timing(info))
        self._count(info)

    def _count(self, info: FrameInfo) -> None:
        shown_ns = info.stamp_ns + info.journal[-1].end_ns
        self._latencies_ms.append(info.journal[-1].end_ns / 1e6)
        self._shown_ns.append(shown_ns)
        self._dropped += sum(entry.dropped for entry in info.journal)
        if self._sink.shows_numbers and self.passage.frames % NUMBERS_EVERY == 0:
            stages = {f'stage.{entry.stage}_ms': (entry.end_ns - entry.begin_ns) / 1e6 for entry in info.journal}
            counts = {'faces': self._faces, 'dropped': self._dropped}
            readings = {'lux': self._lux, 'gyro_rad_s': self._rotation_rad_s}
            self._sink.update({**self._numbers(), **stages, **counts, **readings})

    def _show(self, ref: FrameRef) -> None:
        with self.reader.lease(ref) as lease:
            frame = Frame(lease.pixels, ref.info, ref.encoding)
            if not self._sink.compares:
                self._sink.show(frame, None)
                return
            if self._original.shape != lease.pixels.shape:
                self._original = np.empty(lease.pixels.shape, np.uint8)
            lease.original(self._original)
            self._sink.show(frame, Frame(self._original, ref.info, ref.encoding))

    def _numbers(self) -> dict[str, float]:
        p50, p95 = np.percentile(self._latencies_ms, (50, 95))
        span_s = (self._shown_ns[-1] - self._shown_ns[0]) / 1e9
        fps = (len(self._shown_ns) - 1) / span_s if span_s > 0 else 0.0
        return {
            'fps': fps,
            'latency_ms': self._latencies_ms[-1],
            'latency_p50_ms': float(p50),
            'latency_p95_ms': float(p95),
        }


def main() -> int:
    """Run the node alone."""
    return run(Renderer)
