"""Reading a chip for months: a thread of its own, at absolute deadlines, that outlives every failure."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from facefusion_ros.sensors.bus import Remedy, SensorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from facefusion_ros.sensors.chip import Chip

Reading = TypeVar('Reading')

_log = logging.getLogger(__name__)

_DOUBTS_BEFORE_RESTART = 3
_FIRST_PAUSE_S = 0.0125
_LONGEST_PAUSE_S = 0.2


class State(Enum):
    """How a sensor is."""

    OK = 'ok'
    RECOVERING = 'recovering'
    FAILED = 'failed'
    """A person has to mend something; the sensor is still tried now and then."""


@dataclass(frozen=True, slots=True)
class Health:
    """State of a sensor and, where it is not OK, the reason in one line."""

    state: State
    reason: str = ''


@dataclass(frozen=True, slots=True)
class Counters:
    """What happened since the loop was made."""

    readings: int
    errors: Mapping[str, int]
    """Number of errors by the name of their class."""
    recoveries: int
    """How often readings came again after an error."""


class SamplingLoop(Generic[Reading]):
    """Starts a chip, reads it, and starts it again when it fails.

    One state machine for all chips: a chip that runs is read every ``chip.period_s``; an error's remedy says whether
    it is simply read again or started again, at once, then after pauses that double up to 0.2 s until a reading comes;
    so it is back within a second of the end of whatever it was.

    :param chip: the chip; from ``start`` to ``stop`` only the loop's thread touches it.
    :param deliver: called in the loop's thread with the readings of one read, oldest first, never with none.
    """

    def __init__(self, chip: Chip[Reading], deliver: Callable[[Sequence[Reading]], object]) -> None:
        self._chip = chip
        self._deliver = deliver
        self._started = False
        self._doubts = 0
        self._pause_s = _FIRST_PAUSE_S
        self._health = Health(State.RECOVERING, 'no reading yet')
        self._readings = 0
        self._recoveries = 0
        self._errors: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def health(self) -> Health:
        """State of the sensor now."""
        return self._health

    @property
    def counters(self) -> Counters:
        """Snapshot of what was counted."""
        with self._lock:
            return Counters(self._readings, MappingProxyType(dict(self._errors)), self._recoveries)

    def start(self) -> None:
        """Start the thread."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name=f'sampling {type(self._chip).__name__}', daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Stop the thread and close the chip; False where the bus holds the thread for longer than the timeout."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def step(self) -> float:
        """Start the chip or read it once; returns the seconds to wait before the next step."""
        try:
            if not self._started:
                self._chip.start()
                self._started = True
                self._doubts = 0
                return self._chip.period_s
            readings = self._chip.read()
        except SensorError as error:
            return self._failed(error, str(error), error.remedy)
        except Exception as error:  # noqa: BLE001 - a mistake in one driver must not silence a sensor for good
            _log.exception('%s raised', type(self._chip).__name__)
            return self._failed(error, f'mistake in the driver, please report it: {error!r}', Remedy.BACK_OFF)
        if readings:
            self._received(readings)
        return self._chip.period_s

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                pause_s = self.step()
                # A deadline that has passed is not made up for: the next read comes at once, and only one.
                due = max(due + pause_s, time.monotonic())
        finally:
            self._started = False
            self._chip.close()

    def _received(self, readings: Sequence[Reading]) -> None:
        with self._lock:
            if self._health.state is not State.OK and self._errors:
                self._recoveries += 1
            self._readings += len(readings)
            self._health = Health(State.OK)
        self._doubts = 0
        self._pause_s = _FIRST_PAUSE_S
        try:
            self._deliver(readings)
        except Exception:  # noqa: BLE001 - nor may a mistake of whoever takes the readings
            _log.exception('readings of %s were not taken', type(self._chip).__name__)
            with self._lock:
                self._errors['NotDelivered'] += 1

    def _failed(self, error: Exception, reason: str, remedy: Remedy) -> float:
        with self._lock:
            self._errors[type(error).__name__] += 1
            self._health = Health(State.FAILED if remedy is Remedy.FATAL else State.RECOVERING, reason)
        if self._started:
            self._doubts += 1
            if remedy is Remedy.RETRY_NOW or (remedy is Remedy.BACK_OFF and self._doubts < _DOUBTS_BEFORE_RESTART):
                return self._chip.period_s
            self._started = False
        if remedy is Remedy.FATAL:
            return _LONGEST_PAUSE_S
        pause_s = self._pause_s
        self._pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)
        return pause_s
