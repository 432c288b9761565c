"""A smooth pulse over time: the shape of a saccade, of a lamp switched off and on, of a tunnel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pulse(t_s: NDArray[np.float64], begin_s: float, end_s: float, edge_s: float) -> NDArray[np.float64]:
    """0 before begin_s, 1 from begin_s + edge_s, 0 again from end_s + edge_s; same shape as t_s.

    The edges are the quintic 6u^5 - 15u^4 + 10u^3, whose first and second derivatives vanish at both ends.
    """
    return _rise((t_s - begin_s) / edge_s) - _rise((t_s - end_s) / edge_s)


def pulse_rate(t_s: NDArray[np.float64], begin_s: float, end_s: float, edge_s: float) -> NDArray[np.float64]:
    """Give the derivative of ``pulse`` by time, 1/s; at most 1.875 / edge_s."""
    return (_slope((t_s - begin_s) / edge_s) - _slope((t_s - end_s) / edge_s)) / edge_s


def _rise(u: NDArray[np.float64]) -> NDArray[np.float64]:
    u = np.minimum(np.maximum(u, 0.0), 1.0)
    return u * u * u * (u * (6.0 * u - 15.0) + 10.0)


def _slope(u: NDArray[np.float64]) -> NDArray[np.float64]:
    u = np.minimum(np.maximum(u, 0.0), 1.0)
    return 30.0 * u * u * (1.0 - u) * (1.0 - u)
