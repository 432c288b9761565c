"""How a process is asked to end."""

from __future__ import annotations

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue

ASKING = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Notes SIGINT and SIGTERM from the moment it is made, main thread only.

    Ctrl-C under a launcher signals a process more than once, and a handler may be interrupted by the next. An Event's
    lock would then be taken twice by one thread, which waits for ever; SimpleQueue.put may be entered again (Python
    Library Reference, "queue").
    """

    def __init__(self) -> None:
        self.asked = False
        self._told: SimpleQueue[None] = SimpleQueue()
        for number in ASKING:
            signal.signal(number, self.ask)

    def ask(self, *_: object) -> None:
        """Ask for the end, from a handler or from any thread."""
        self.asked = True
        self._told.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the end is asked for, but no longer than that; returns whether it is."""
        if not self.asked:
            with suppress(Empty):
                self._told.get(timeout=timeout_s)
        return self.asked

    @staticmethod
    def close() -> None:
        """Pass over whatever comes from now on: the interpreter, ending, would let one more kill the process."""
        for number in ASKING:
            signal.signal(number, signal.SIG_IGN)
