"""The simulated camera: a world's pictures, taken when they are due."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from facefusion_ros.cameras.source import Capture, PictureFormat, SourceLost

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.sim.world import Truth, World


class SimulatedCamera:
    """A ``cameras.source.Source`` that renders a world at the ticks of a clock.

    Ticks lie at epoch_ns + k / rate; all cameras of a world with one clock and epoch take the same pictures. Where
    the reader is late, the ticks it missed are skipped.
    """

    def __init__(
        self,
        world: World,
        *,
        clock: Callable[[], int] = time.time_ns,
        epoch_ns: int = 0,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """Wait(seconds) passes the time until a tick, and may return early; by default it ends early on ``close``."""
        self.world = world
        self._clock = clock
        self._epoch_ns = epoch_ns
        self._closed = threading.Event()
        self._closed.set()
        self._wait = wait or self._closed.wait
        self._last: int | None = None

    def open(self) -> PictureFormat:
        """Start; the next tick is the first picture. Paints the scene, so raises SceneError where that cannot be."""
        self.world.truth(0)
        self._last = None
        self._closed.clear()
        camera = self.world.camera
        return PictureFormat(camera.width, camera.height, camera.rate_hz, camera.intrinsics)

    def capture(self, out: NDArray[np.uint8]) -> Capture:
        """Wait for the next tick, or take the newest missed one, and render it; raises SourceLost once closed."""
        index, missed = self._next_tick()
        truth = self.world.render(index, out)
        return Capture(self.world.frame_stamp_ns(index, self._epoch_ns), truth.exposure_s, truth.gain, missed)

    def close(self) -> None:
        """Stop; a waiting ``capture`` raises SourceLost."""
        self._closed.set()

    def truth(self, stamp_ns: int) -> Truth:
        """Tell what is true of the picture with that stamp."""
        return self.world.truth(self.world.frame_index(stamp_ns, self._epoch_ns))

    def _next_tick(self) -> tuple[int, int]:
        """Return the index to render and how many before it were missed."""
        while not self._closed.is_set():
            now_ns = self._clock()
            newest = self.world.frame_index(now_ns, self._epoch_ns)
            if self._last is None or newest < self._last:
                # At the start, and where the clock was set back.
                self._last = newest
            if newest > self._last:
                missed = newest - self._last - 1
                self._last = newest
                return newest, missed
            self._wait((self.world.frame_stamp_ns(newest + 1, self._epoch_ns) - now_ns) * 1e-9)
        raise SourceLost('the simulated camera is closed; open it to take pictures')
