"""Watches a pipeline for a while: records its topics, shows the progress, and leaves a summary and a contact sheet."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage

from facefusion_ros import msg
from facefusion_ros.app.bag.reader import BagReader
from facefusion_ros.app.contact_sheet import contact_sheet, write_png
from facefusion_ros.app.recorder import Recorder
from facefusion_ros.app.summary import Shown, Tally, percentiles, table
from facefusion_ros.errors import FacefusionError
from facefusion_ros.ros.image import from_compressed
from facefusion_ros.ros.messages import from_time, from_timing
from facefusion_ros.ros.parameters import Parameter, declare
from facefusion_ros.ros.signals import Ending

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from facefusion_ros.app.bag.reader import Message
    from facefusion_ros.app.contact_sheet import Picture

PATIENCE_S = 30.0
"""How long to wait for a frame, the first or the next."""
PROGRESS_S = 2.0
SETTLED_S = 1.5
"""By then every node has reported its process."""
SHUTDOWN_S = 3.0
SHEET_PAIRS = 12
BAR = 24
BEFORE, AFTER = 'image_raw/compressed', 'output/image_raw/compressed'

TABLE = (
    Parameter('out', 'out', 'Folder for demo.mcap, contact_sheet.png and summary.json', fixed=True),
    Parameter('duration_s', 20.0, 'How long to watch, from the first frame shown', 's', 0.5, 86400.0, fixed=True),
)


class Processes:
    """CPU and memory of the processes that report on ``/diagnostics``."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._cpu_s = 0.0
        self._since = time.monotonic()
        self.rss_mb_start = 0.0

    def learn(self, pid: str) -> None:
        """Take note of a process by the number it reports."""
        if pid.isdigit() and int(pid) not in self._processes:
            try:
                self._processes[int(pid)] = psutil.Process(int(pid))
            except psutil.Error:
                return

    def start(self) -> None:
        """Begin to count."""
        self.rss_mb_start, self._cpu_s, self._since = self.rss_mb(), self._used_s(), time.monotonic()

    def rss_mb(self) -> float:
        """Memory of all of them, megabytes."""
        return sum(process.memory_info().rss for process in self._alive()) / 1e6

    def cpu_percent(self) -> float:
        """CPU time since the start, percent of one core."""
        return 100.0 * (self._used_s() - self._cpu_s) / max(time.monotonic() - self._since, 1e-3)

    def _used_s(self) -> float:
        return float(sum(sum(process.cpu_times()[:2]) for process in self._alive()))

    def _alive(self) -> list[psutil.Process]:
        return [process for process in self._processes.values() if process.is_running()]


class Witness(Node):  # type: ignore[misc]
    """Records everything of the namespace it is in and counts what it hears."""

    def __init__(self) -> None:
        super().__init__('witness')
        values = declare(self, TABLE, lambda _: None)
        self.out = Path(values['out'])
        self.duration_s: float = values['duration_s']
        self.tally = Tally()
        self.processes = Processes()
        self.done = False
        self.failure: str | None = None
        self._begun_s: float | None = None
        self._created_s = psutil.Process().create_time()
        self._whole = False  # DDS matches topic after topic: counts compare only once the last of them is heard
        self.first_output_s = 0.0
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f'cannot make the folder {self.out}: {error.strerror}; name another with out:='
            raise FacefusionError(message) from error
        self._topics = {
            self.resolve_topic_name(topic): listen
            for topic, listen in (
                ('frame', self._on_frame),
                ('timing', self._on_timing),
                ('provenance', self._on_provenance),
                ('/diagnostics', self._on_diagnostics),
            )
        }
        self.recorder = Recorder(self, self.out / 'demo.mcap', listen=self._listen)
        self._patience = self.create_timer(PATIENCE_S, self._give_up)
        self._progress = self.create_timer(PROGRESS_S, self._show_progress)

    def _listen(self, topic: str, _type_name: str, cdr: bytes) -> None:
        listen = self._topics.get(topic)
        if listen is not None:
            listen(cdr)

    def _on_frame(self, cdr: bytes) -> None:
        if self._whole:
            self.tally.captured(deserialize_message(cdr, msg.FrameRef).sequence)

    def _on_timing(self, cdr: bytes) -> None:
        timing = deserialize_message(cdr, msg.FrameTiming)
        journal = from_timing(timing)
        shown_ns = from_time(timing.header.stamp) + journal[-1].end_ns
        now_s = time.monotonic()
        self.first_output_s = self.first_output_s or shown_ns / 1e9 - self._created_s
        if not self._whole:
            return
        if self._begun_s is None:
            self._begun_s = now_s
        self._patience.reset()
        self.tally.shown.append(Shown(timing.sequence, shown_ns, journal))
        if now_s - self._begun_s >= self.duration_s:
            self.done = True

    def _on_provenance(self, cdr: bytes) -> None:
        self._whole = True
        record = deserialize_message(cdr, msg.Provenance)
        self.tally.faces[record.sequence] = len(record.face_ids)

    def _on_diagnostics(self, cdr: bytes) -> None:
        for status in deserialize_message(cdr, DiagnosticArray).status:
            self.processes.learn(status.hardware_id)

    def _give_up(self) -> None:
        self.failure = f'no frame was shown for {PATIENCE_S:.0f} s; the lines of the other nodes above say why'
        self.done = True

    def _show_progress(self) -> None:
        if self._begun_s is None:
            print('waiting for the first frame ...', flush=True)
            return
        elapsed_s = min(time.monotonic() - self._begun_s, self.duration_s)
        if elapsed_s > SETTLED_S and not self.processes.rss_mb_start:
            self.processes.start()
        filled = round(BAR * elapsed_s / self.duration_s)
        recent = self.tally.shown[-60:]
        span_s = (recent[-1].shown_ns - recent[0].shown_ns) / 1e9
        fps = (len(recent) - 1) / span_s if span_s > 0 else 0.0
        p50 = percentiles([frame.latency_ms for frame in recent])['p50']
        bar = f'[{"#" * filled}{"." * (BAR - filled)}] {elapsed_s:4.1f} of {self.duration_s:.0f} s'
        print(f'{bar}   {fps:4.1f} frames/s   latency {p50:5.1f} ms   faces {self.tally.faces_swapped}', flush=True)

    def end_pipeline(self, executor: SingleThreadedExecutor) -> None:
        """Shut the lifecycle nodes of the namespace down, which ends their processes.

        That works under every launch tool; an action on a process's exit in XML is known only since Jazzy.
        """
        inside = self.get_namespace().rstrip('/') + '/'
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVE_SHUTDOWN))
        waiting = []
        for name, types in self.get_service_names_and_types():
            if name.startswith(inside) and 'lifecycle_msgs/srv/ChangeState' in types:
                waiting.append(self.create_client(ChangeState, name).call_async(request))
        until_s = time.monotonic() + SHUTDOWN_S
        while not all(answer.done() for answer in waiting) and time.monotonic() < until_s:
            executor.spin_once(timeout_sec=0.1)

    def finish(self) -> dict[str, Any]:
        """Close the bag, write summary.json and contact_sheet.png, and return the summary."""
        if not self.processes.rss_mb_start:
            self.processes.start()
        self._progress.cancel()
        self.recorder.close()
        summary = {
            **self.tally.summary(),
            'first_output_s': round(self.first_output_s, 3),
            'rss_mb_start': round(self.processes.rss_mb_start, 1),
            'rss_mb_end': round(self.processes.rss_mb(), 1),
            'cpu_percent': round(self.processes.cpu_percent(), 1),
            'messages': self.recorder.bag.message_count,
        }
        (self.out / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
        bag = self.out / 'demo.mcap'
        before, after = (self.resolve_topic_name(topic) for topic in (BEFORE, AFTER))
        pairs = paired_pictures(bag, before, after, SHEET_PAIRS)
        if pairs:
            write_png(self.out / 'contact_sheet.png', contact_sheet(pairs))
        return summary


def paired_pictures(bag: Path, before: str, after: str, most: int) -> list[tuple[Picture, Picture, str]]:
    """Return pictures of two topics with the same stamp, spread over the bag, with the time as the caption."""
    stamps: dict[str, set[int]] = {before: set(), after: set()}
    for stamp, message in _pictures(bag, stamps):
        stamps[message.topic].add(stamp)
    both = sorted(stamps[before] & stamps[after])
    if not both:
        return []
    chosen = {both[round(i * (len(both) - 1) / max(most - 1, 1))] for i in range(most)}
    pictures: dict[str, dict[int, Picture]] = {before: {}, after: {}}
    for stamp, message in _pictures(bag, pictures):
        if stamp in chosen:
            pictures[message.topic][stamp] = from_compressed(deserialize_message(message.cdr, CompressedImage))
    return [
        (pictures[before][stamp], pictures[after][stamp], f'{(stamp - both[0]) / 1e9:.1f} s')
        for stamp in sorted(chosen)
    ]


def _pictures(bag: Path, topics: Collection[str]) -> Iterator[tuple[int, Message]]:
    """Yield stamp and message of every picture on the topics."""
    for message in BagReader(bag):
        if message.topic in topics:
            yield from_time(deserialize_message(message.cdr, CompressedImage).header.stamp), message


def main() -> int:
    """Run until the time is over or a signal comes."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        witness = Witness()
    except FacefusionError as error:
        print(f'facefusion_ros: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    ending = Ending()
    executor = SingleThreadedExecutor()
    executor.add_node(witness)
    try:
        while not (witness.done or ending.asked):
            executor.spin_once(timeout_sec=0.2)
    except ExternalShutdownException:
        pass
    code = _conclude(witness)
    if not ending.asked:  # else all of the launch is being stopped
        witness.end_pipeline(executor)
    witness.destroy_node()
    rclpy.try_shutdown()
    return code


def _conclude(witness: Witness) -> int:
    try:
        summary = witness.finish()
    except (FacefusionError, OSError) as error:
        print(f'facefusion_ros: {error}', file=sys.stderr)
        return 1
    if witness.failure or not summary['frames_out']:
        print(f'facefusion_ros: {witness.failure or "stopped before the first frame"}', file=sys.stderr)
        return 1
    print(f'\n{table(summary)}\n\nresults are in {witness.out}', flush=True)
    return 0
