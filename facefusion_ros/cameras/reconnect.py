"""How long to wait before trying again to reach a camera that has gone."""

from __future__ import annotations


class Backoff:
    """Delays that grow by a factor from one attempt to the next, up to a longest one; the same every time."""

    def __init__(self, *, first_s: float = 0.25, longest_s: float = 8.0, factor: float = 2.0) -> None:
        if not (0.0 < first_s <= longest_s and factor >= 1.0):
            raise ValueError(f'delays cannot grow from {first_s} s to {longest_s} s by a factor of {factor}')
        self._first_s = first_s
        self._longest_s = longest_s
        self._factor = factor
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        delay_s = self._next_s
        self._next_s = min(delay_s * self._factor, self._longest_s)
        return delay_s

    def reset(self) -> None:
        """Start from the first delay: the camera has delivered."""
        self._next_s = self._first_s
