"""How different two colours look: CIE Lab and CIEDE2000."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_XYZ_FROM_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to XYZ under D65 (IEC 61966-2-1)."""
_D65 = _XYZ_FROM_RGB.sum(axis=1)
_DARK = (6.0 / 29.0) ** 3
_C7 = 25.0**7


def lab(rgb: ArrayLike) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) of sRGB-coded colours (..., 3), 0 to 1 in the order red, green, blue; values beyond are cut."""
    coded = np.clip(np.asarray(rgb, np.float64), 0.0, 1.0)
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ_FROM_RGB.T / _D65
    f = np.where(xyz > _DARK, np.cbrt(xyz), xyz * (29.0 / 6.0) ** 2 / 3.0 + 4.0 / 29.0)
    return np.stack(
        [116.0 * f[..., 1] - 16.0, 500.0 * (f[..., 0] - f[..., 1]), 200.0 * (f[..., 1] - f[..., 2])], axis=-1
    )


def ciede2000(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """CIEDE2000 difference of two arrays (..., 3) of L*a*b* colours; kL = kC = kH = 1.

    Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and
    mathematical observations", Color Research and Application 30(1), 2005.
    """
    l1, a1, b1 = np.moveaxis(np.asarray(first, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(second, np.float64), -1, 0)
    mean7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2.0) ** 7
    g = 0.5 * (1.0 - np.sqrt(mean7 / (mean7 + _C7)))
    a1, a2 = (1.0 + g) * a1, (1.0 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360.0, np.degrees(np.arctan2(b2, a2)) % 360.0
    grey = c1 * c2 == 0.0
    turn = h2 - h1
    turn = np.where(grey, 0.0, turn - 360.0 * np.rint(turn / 360.0))
    # The mean of two hues lies on the shorter arc between them.
    apart = np.abs(h1 - h2) > 180.0
    hue = (h1 + h2) / 2.0 + np.where(apart, np.where(h1 + h2 < 360.0, 180.0, -180.0), 0.0)
    hue = np.where(grey, h1 + h2, hue)
    lightness, chroma = (l1 + l2) / 2.0, (c1 + c2) / 2.0
    t = (
        1.0
        - 0.17 * np.cos(np.radians(hue - 30.0))
        + 0.24 * np.cos(np.radians(2.0 * hue))
        + 0.32 * np.cos(np.radians(3.0 * hue + 6.0))
        - 0.20 * np.cos(np.radians(4.0 * hue - 63.0))
    )
    from_middle = (lightness - 50.0) ** 2
    s_l = 1.0 + 0.015 * from_middle / np.sqrt(20.0 + from_middle)
    s_c, s_h = 1.0 + 0.045 * chroma, 1.0 + 0.015 * chroma * t
    chroma7 = chroma**7
    r_t = -2.0 * np.sqrt(chroma7 / (chroma7 + _C7)) * np.sin(np.radians(60.0 * np.exp(-(((hue - 275.0) / 25.0) ** 2))))
    d_l = (l2 - l1) / s_l
    d_c = (c2 - c1) / s_c
    d_h = 2.0 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2.0)) / s_h
    difference: NDArray[np.float64] = np.sqrt(np.maximum(d_l**2 + d_c**2 + d_h**2 + r_t * d_c * d_h, 0.0))
    return difference
