"""What all stages of the hot path do with a frame: count it, journal it, and let it go where it cannot be used."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from facefusion_ros.engines.chain import frame_maps
from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.pool import FrameReader
from facefusion_ros.ros.messages import from_frame_ref, with_stage
from facefusion_ros.ros.stage import StageNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facefusion_ros import msg
    from facefusion_ros.frames.frame import FrameInfo, FrameRef

WARN_EVERY_S = 5.0


class Passage:
    """Counts the frames that go through a stage and those it passed over; written by the stage's own thread."""

    def __init__(self) -> None:
        self.frames = 0
        self.gone = 0
        self.busy_ns = 0
        self._dropped = 0
        self._lost = 0
        self._through = -1
        self._arrived: int | None = None
        self._passed_over = 0

    @property
    def dropped(self) -> int:
        """Frames that this stage passed over or lost, and no stage before it."""
        return self._dropped + self._lost

    def arrive(self, info: FrameInfo) -> int:
        """Take note of a frame; returns how many this stage passed over since the last that went through it.

        A gap in the numbers that the journal says was made by stages before is not this one's. The journal's first line
        is the camera's, who gives numbers only to pictures it takes.
        """
        if self._arrived is None or self._arrived >= info.sequence:  # the first one, also of a camera that starts anew
            self._arrived = info.sequence - 1
        self._through, self._arrived = self._arrived, info.sequence
        missing = info.sequence - self._through - 1
        self._passed_over = max(missing - sum(entry.dropped for entry in info.journal[1:]), 0)
        self._dropped += self._passed_over
        self._lost = 0
        self.frames += 1
        return self._passed_over

    def lose(self) -> None:
        """Take note that the frame that arrived last could not be used after all."""
        self.frames -= 1
        self.gone += 1
        self._dropped -= self._passed_over
        self._lost = self._passed_over + 1
        self._arrived = self._through

    def values(self) -> dict[str, object]:
        """Return the counts for diagnostics."""
        mean_ms = self.busy_ns / max(self.frames, 1) / 1e6
        return {'frames': self.frames, 'dropped': self.dropped, 'gone': self.gone, 'mean ms': f'{mean_ms:.2f}'}


class Visit:
    """A frame while a stage works on it."""

    def __init__(self, ref: FrameRef, begin_ns: int, dropped: int) -> None:
        self.ref = ref
        """Where the frame is; a stage that moves it says so here."""
        self.begin_ns = begin_ns
        self.dropped = dropped
        self.end_ns: int | None = None


class FrameStage(StageNode):
    """A stage of the hot path; every frame goes through it by ``visit`` and ``leave``."""

    def configure(self) -> None:
        """Begin to count anew."""
        self.passage = Passage()

    def activate(self) -> None:
        """Make ready to read frames; a GPU whose networks were loaded at ``configure`` reads them in their place."""
        self.reader = self.while_active.enter_context(FrameReader(frame_maps()))

    @contextmanager
    def visit(self, message: msg.FrameRef) -> Iterator[Visit]:
        """Work on a frame, which begins now.

        A frame that ``leave`` was not called for is counted as gone; so is one that a FacefusionError ends, of which
        one line is logged (the slot was written anew, a network failed).
        """
        begin_ns = self.now_ns()
        ref = from_frame_ref(message)
        visit = Visit(ref, begin_ns, self.passage.arrive(ref.info))
        try:
            yield visit
        except FacefusionError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=WARN_EVERY_S)
        if visit.end_ns is None:
            self.passage.lose()
        else:
            self.passage.busy_ns += visit.end_ns - visit.begin_ns

    def leave(self, visit: Visit) -> FrameRef:
        """End the work on a frame now: returns its reference with this stage in the journal, to be published."""
        visit.end_ns = self.now_ns()
        visit.ref = with_stage(visit.ref, self.NAME, visit.begin_ns, visit.end_ns, visit.dropped)
        return visit.ref
