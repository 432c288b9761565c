"""A restored frame if it is there in time, else the frame as it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from facefusion_ros.engines.stored import load_stored, precision_of
from facefusion_ros.models.entry import Role
from facefusion_ros.models.store import open_store
from facefusion_ros.personas.background import BackgroundEnhancer, BackgroundSettings, input_size
from facefusion_ros.personas.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facefusion_ros.engines.chain import EngineSettings

Size = tuple[int, int]


class FrameEnhancer(Protocol):
    """What ``BackgroundEnhancer`` does."""

    settings: BackgroundSettings
    frame_size: Size

    def take(self, pixels: NDArray[np.uint8]) -> None:
        """Take what is needed of a (H, W, 3) frame."""

    def restore(self) -> None:
        """Restore it."""

    def show(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Write it, restored, to ``out``."""

    def close(self) -> None:
        """Release the network."""


@dataclass(frozen=True, slots=True)
class BackgroundCounts:
    """What became of the frames so far."""

    enhanced: int = 0
    late: int = 0
    """Went by as they were, for the network took longer than the budget."""
    skipped: int = 0
    """Went by as they were, for the network was busy with an older frame, or being loaded."""
    network_s: float = 0.0
    """What the network took for the last frame it did, in time or not; 0 before the first."""


class BackgroundStage:
    """Restores frames in a thread of its own, one at a time.

    A frame is shown restored only if its own restoration is done within the budget. While the network is at an older
    frame, newer ones go by as they are; what is late is dropped. To be called from one thread.
    """

    def __init__(
        self,
        load: Callable[[Size], FrameEnhancer],
        settings: BackgroundSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the thread, in which alone networks are loaded and run.

        ``load`` is called with the width and height of the first frame, and again when they change; frames go by as
        they are until it returns, which may take minutes. ``clock`` gives seconds.
        """
        self.settings = settings or BackgroundSettings()
        """May be replaced between two frames, but for the reduction."""
        self._load, self._clock = load, clock
        self._enhanced = self._late = self._skipped = 0
        self._restored = False
        # The rest is shared with the worker, under its lock; while it works, the enhancer is the worker's alone.
        self._enhancer: FrameEnhancer | None = None
        self._asked: Size | None = None
        self._size: Size | None = None
        """Of the frames that the network was loaded for, whether or not that worked."""
        self._network_s = 0.0
        self._worker = Worker('background', self._take, self._run, lambda _: None)

    @property
    def counts(self) -> BackgroundCounts:
        """What became of the frames so far; to be read by the caller of ``restore``."""
        return BackgroundCounts(self._enhanced, self._late, self._skipped, self._network_s)

    def restore(self, pixels: NDArray[np.uint8]) -> bool:
        """Restore a frame, (H, W, 3) BGR uint8; return whether that was done in time, so that it can be shown.

        Raises ValueError where the pixels are something else, and once what loading or running the network raised since
        the last call. A network that could not be loaded is asked for again when the frames' size changes.
        """
        self._restored = False
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
            raise ValueError(f'pixels must be uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}')
        size = pixels.shape[1], pixels.shape[0]
        with self._worker.changed:
            error = self._worker.wait(lambda: True, 0.0)
            idle = self._idle()
            if idle and size != self._size:
                self._ask(size)
                idle = False
        if error is not None:
            raise error
        enhancer = self._enhancer
        if not idle or enhancer is None:
            self._skipped += 1
            return False
        enhancer.settings = self.settings
        enhancer.take(pixels)
        with self._worker.changed:
            self._ask(size)
            error = self._worker.wait(self._idle, self.settings.budget_s)
            late = not self._idle()
        if error is not None:
            raise error
        if late:
            self._late += 1
            return False
        self._enhanced += 1
        self._restored = True
        return True

    def show(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Write the frame to ``out`` as it was restored; after ``restore`` has returned True for it.

        ``pixels`` and ``out``: (H, W, 3) BGR uint8 of its size, may be the same. Raises ValueError where they are
        something else, or there is nothing to show.
        """
        if self._enhancer is None or not self._restored:
            raise ValueError('no frame was restored in time: show it as it is')
        self._enhancer.show(pixels, out)

    def close(self) -> None:
        """End the thread, when the network has done what it is at, and release it; may be called twice."""
        self._worker.close()
        enhancer, self._enhancer = self._enhancer, None
        if enhancer is not None:
            enhancer.close()

    def _idle(self) -> bool:
        return not self._worker.working and self._asked is None

    def _ask(self, size: Size) -> None:
        self._asked = size
        self._worker.changed.notify_all()

    def _take(self) -> Size | None:
        size, self._asked = self._asked, None
        return size

    def _run(self, size: Size) -> None:
        if size != self._size:
            self._change(size)
        elif self._enhancer is not None:
            begun = self._clock()
            self._enhancer.restore()
            self._network_s = self._clock() - begun

    def _change(self, size: Size) -> None:
        """Load the network for frames of another size."""
        enhancer, self._enhancer, self._size = self._enhancer, None, size
        if enhancer is not None:
            enhancer.close()
        self._enhancer = self._load(size)


def stored_background(
    name: str,
    engines: EngineSettings | None = None,
    settings: BackgroundSettings | None = None,
    *,
    accept_noncommercial: bool = False,
    precision: str = 'fp32',
) -> BackgroundStage:
    """Return a stage with the model of that name of the user's store, which is loaded for the first frame.

    A file that leaves the size of its input open is loaded for that of the frames; at a reduced precision it takes them
    in tiles. Raises ModelError where the store has no such model or may not use it, EngineError where it restores no
    frames, the reduction does not suit it, or there is no such precision.
    """
    settings = settings or BackgroundSettings()
    _, entry = open_store().resolve(name, accept_noncommercial=accept_noncommercial)
    # What is wrong with these is said here, and not in the thread.
    precision_of(precision)
    input_size(entry.family, (1, 1), settings)

    def load(frame_size: Size) -> BackgroundEnhancer:
        engine = load_stored(
            name,
            Role.BACKGROUND,
            engines,
            accept_noncommercial=accept_noncommercial,
            precision=precision,
            size=input_size(entry.family, frame_size, settings),
        ).engine
        try:
            return BackgroundEnhancer(engine, entry.family, frame_size, settings)
        except BaseException:
            engine.close()
            raise

    return BackgroundStage(load, settings)
