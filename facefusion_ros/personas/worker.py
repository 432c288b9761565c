"""A thread for what a network takes its time for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Job = TypeVar('Job')


class Worker(Generic[Job]):
    """Does one job at a time in a thread of its own, and keeps what a job raises for whoever asks.

    What is shared with that thread is touched under ``changed``, a condition that the caller notifies when there is
    something to do, and that is notified when a job is over; the job itself is done without it.
    """

    def __init__(
        self, name: str, take: Callable[[], Job | None], do: Callable[[Job], None], done: Callable[[Job], None]
    ) -> None:
        """Start the thread. ``take`` returns the next job, ``done`` takes in its result: both while it is locked.

        ``done`` is not called for a job that raises.
        """
        self.changed = threading.Condition()
        self._take, self._do, self._done = take, do, done
        self.working = False
        """Whether a job is being done; read while it is locked."""
        self._error: Exception | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def wait(self, over: Callable[[], bool], timeout_s: float) -> Exception | None:
        """Wait until ``over``, or a job has raised, or that time has passed; return once what a job has raised.

        ``changed`` is held by the caller, and let go of while waiting.
        """
        if timeout_s > 0:
            self.changed.wait_for(lambda: self._error is not None or over(), timeout_s)
        error, self._error = self._error, None
        return error

    def close(self) -> None:
        """End the thread, when it has done what it is at; may be called twice."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self.changed:
                job = None
                while not self._closed and (job := self._take()) is None:
                    self.changed.wait()
                if self._closed or job is None:
                    return
                self.working = True
            error: Exception | None = None
            try:
                self._do(job)
            except Exception as raised:  # noqa: BLE001 - whatever it is, it belongs to the caller, who gets it
                error = raised
            with self.changed:
                self.working = False
                if error is None:
                    self._done(job)
                else:
                    self._error = error
                self.changed.notify_all()
