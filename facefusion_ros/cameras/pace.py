"""When the pictures of a film are due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

_NS: Final = 1_000_000_000
_LONGEST_STEP_NS: Final = 10 * _NS
_LOOK_NS: Final = 50_000_000


class Pace:
    """Lays the time stamps of a film on a clock, from the moment of its first picture on.

    Where time stamps are missing, go backwards or leap by more than 10 s, the film's usual rate goes on. Where the
    reader falls behind by more than a picture, or the clock is set, the rest of the film is due later or earlier by as
    much.
    """

    def __init__(self, clock: Callable[[], int], rate_hz: float) -> None:
        self._clock = clock
        self._interval_ns = round(_NS / rate_hz)
        self._due_ns: int | None = None
        self._before_ns: int | None = None

    @property
    def begun(self) -> bool:
        """Whether there has been a picture."""
        return self._due_ns is not None

    def cut(self) -> None:
        """Expect time stamps to start anew."""
        self._before_ns = None

    def due_ns(self, stamp_ns: int | None) -> int:
        """Time of the clock at which the next picture is due, which the film stamps with stamp_ns."""
        before_ns, self._before_ns = self._before_ns, stamp_ns
        if self._due_ns is None:
            self._due_ns = self._clock()
            return self._due_ns
        step_ns = self._interval_ns
        if stamp_ns is not None and before_ns is not None and 0 < stamp_ns - before_ns <= _LONGEST_STEP_NS:
            step_ns = stamp_ns - before_ns
        self._due_ns += step_ns
        return self._due_ns

    def wait(self, until_ns: int, stop: threading.Event) -> int | None:
        """Wait until the picture just asked for is due; returns when it was, None where ``stop`` was set meanwhile."""
        longest_ns = until_ns - self._clock()
        while True:
            now_ns = self._clock()
            early_ns = until_ns - now_ns
            if not -self._interval_ns <= early_ns <= min(longest_ns, _LONGEST_STEP_NS):
                until_ns = self._due_ns = now_ns
            if stop.is_set():
                return None
            if until_ns <= now_ns:
                return until_ns
            stop.wait(min(early_ns, _LOOK_NS) / _NS)
