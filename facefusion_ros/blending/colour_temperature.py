"""The tint of a light of a given colour temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_K, MOST_K = 1667.0, 25000.0

_BGR_FROM_XYZ = np.array(
    [[0.0556434, -0.2040259, 1.0572252], [-0.9692660, 1.8760108, 0.0415560], [3.2404542, -1.5371385, -0.4985314]]
)
"""XYZ to linear sRGB in the order blue, green, red (IEC 61966-2-1)."""


def white(kelvin: float) -> NDArray[np.float64]:
    """(3,) linear blue, green and red of a white surface in black-body light, green 1; kelvin is cut to 1667..25000.

    Chromaticity by the cubic splines of Kim et al., US patent 7024034 B2, 2006. The least value is 0.01: candlelight
    lies outside sRGB.
    """
    t = 1000.0 / min(max(kelvin, LEAST_K), MOST_K)
    if t >= 0.25:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if t > 1000.0 / 2222.0:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif t >= 0.25:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    linear = np.maximum(_BGR_FROM_XYZ @ np.array([x / y, 1.0, (1.0 - x - y) / y]), 0.01)
    return np.asarray(linear / linear[1])
