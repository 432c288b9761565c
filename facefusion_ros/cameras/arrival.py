"""When the pictures of a stream were taken, as near as their arrival tells."""

from __future__ import annotations

from typing import Final

_NS: Final = 1_000_000_000
_WINDOW_NS: Final = 5 * _NS
_LONGEST_DELAY_NS: Final = 10 * _NS


class Arrivals:
    """Lays the sender's time stamps of a live stream on the clock by which its packets arrive.

    The sender stamps pictures evenly, the network delays each by another time. What of late came soonest after its
    stamp was delayed least; the others were taken as much before or after it as the sender says. So a picture that was
    held up, by the network or because the stream was still being opened, is as old as it is. What even the soonest took
    on its way the stream does not tell.

    The soonest of 5 to 10 s counts: long enough for one that nothing held up, and short enough to follow a sender whose
    clock goes otherwise than ours, by a millisecond where that is by 100 ppm.
    """

    def __init__(self) -> None:
        self._before_ns = 0
        self._soonest_ns: int | None = None
        """Least time from stamp to arrival in this window."""
        self._soonest_before_ns = 0
        """As much in the window before."""
        self._window_end_ns = 0

    def heed(self, arrived_ns: int, sent_ns: int) -> None:
        """Take the arrival of a packet, and the sender's stamp of it; both in nanoseconds, of a clock each."""
        apart_ns = arrived_ns - sent_ns
        soonest_ns, before_ns = self._soonest_ns, self._before_ns
        self._before_ns = sent_ns
        # Pictures that others are made of are sent before those; a second back is a stream that counts anew.
        if soonest_ns is None or sent_ns < before_ns - _NS or apart_ns > soonest_ns + _LONGEST_DELAY_NS:
            self._soonest_ns = self._soonest_before_ns = apart_ns
            self._window_end_ns = arrived_ns + _WINDOW_NS
        elif arrived_ns >= self._window_end_ns:
            self._soonest_before_ns, self._soonest_ns = soonest_ns, apart_ns
            self._window_end_ns = arrived_ns + _WINDOW_NS
        else:
            self._soonest_ns = min(soonest_ns, apart_ns)

    def taken_ns(self, sent_ns: int | None) -> int | None:
        """Return when the picture of this stamp was taken, by the clock of the arrivals; None where nobody knows."""
        if sent_ns is None or self._soonest_ns is None:
            return None
        return sent_ns + min(self._soonest_ns, self._soonest_before_ns)
