"""Average proportions of the human head, millimetres, and how far people differ from them.

Coordinates of the head, used by every module here: x to the right as seen in the picture, y up, z towards the viewer;
the origin lies midway between the pupils in x and y, and at the tragi of the ears in z.
Lengths follow the adult averages of Farkas, "Anthropometry of the Head and Face" (1994) and of Farkas, Katic and
Forrest, "International anthropometric study of facial morphology" (J. Craniofac. Surg. 16(4), 2005), halfway between
women and men: n-gn 116, n-sn 51, sn-sto 21, zy-zy 133, go-go 101, en-en 33, ex-ex 90, al-al 34, ch-ch 52, eu-eu 148,
g-op 192.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

EYE_X = 31.0
EYE_Z = 76.0
EYE_RADIUS = 12.0
IRIS_RADIUS = 5.9
INNER_CANTHUS = (17.5, -1.6)
OUTER_CANTHUS = (44.2, 0.6)
MOUTH_Y = -67.5
MOUTH_X = 25.5
CHIN_Y = -110.0
NOSE_TIP = (0.0, -36.5, 118.5)
NOSE_BASE_Y = -45.5
EAR = (70.0, -14.0, -8.0)
JAW_HINGE = (-14.0, 8.0)
"""y and z of the axis about which the jaw turns."""

# The head without its features, row by row from the crown to the shoulders:
# height of the row on the midline, then the row's y and z at the front, its half width and the z and y there, z and y
# at the back, and how angular the front half of its cross-section is (2 is an ellipse).
ROWS = np.array(
    [
        (116, 116.0, 0.5, 0.5, 0, 116, -1, 116, 2.0),
        (114, 114.0, 24.0, 19.5, 0, 114, -25, 114, 2.0),
        (108.5, 108.5, 46.0, 37.0, -2, 108.5, -48, 108, 2.0),
        (97, 97.0, 67.0, 52.0, -6, 97, -71, 96, 2.05),
        (80, 80.0, 84.0, 64.5, -10, 80, -87, 79, 2.1),
        (60, 60.0, 94.0, 71.5, -12, 60, -95, 57, 2.15),
        (40, 40.0, 98.0, 74.0, -12, 39, -96, 35, 2.2),
        (24, 24.0, 98.5, 72.5, -11, 22, -95, 15, 2.15),
        (10, 10.0, 95.5, 70.5, -8, 8, -92, -2, 2.1),
        (0, 0.0, 93.0, 69.0, -4, -2, -88, -14, 2.05),
        (-12, -12.0, 91.5, 68.0, 0, -13, -83, -26, 2.0),
        (-25, -25.0, 92.0, 66.5, 3, -24, -77, -38, 2.0),
        (-38, -38.0, 94.0, 64.5, 5, -35, -71, -50, 1.98),
        (-50, -50.0, 97.0, 62.0, 7, -45, -66, -60, 1.95),
        (-60, -60.0, 98.5, 59.5, 8, -53, -63, -70, 1.9),
        (-70, -70.0, 97.5, 57.0, 9, -60, -61, -79, 1.85),
        (-80, -80.0, 94.5, 54.5, 9, -67, -60, -87, 1.8),
        (-89, -89.0, 94.0, 52.0, 9, -74, -59, -95, 1.8),
        (-97, -97.0, 94.5, 49.5, 9, -80, -58, -101, 1.8),
        (-104, -104.0, 91.5, 47.5, 10, -85, -57, -107, 1.8),
        (-109, -109.0, 84.0, 46.0, 10, -89, -57, -111, 1.8),
        (-113, -111.0, 75.0, 44.5, 8, -94, -56, -115, 1.85),
        (-118, -111.0, 61.0, 44.0, 3, -99, -55, -120, 1.9),
        (-124, -112.0, 47.0, 44.0, -3, -106, -55, -126, 2.0),
        (-132, -118.0, 35.0, 44.0, -8, -115, -56, -134, 2.0),
        (-145, -134.0, 29.0, 45.5, -11, -131, -57, -148, 2.0),
        (-165, -156.0, 26.0, 50.0, -13, -156, -60, -168, 2.0),
        (-190, -183.0, 30.0, 66.0, -15, -172, -65, -192, 2.0),
        (-215, -206.0, 40.0, 100.0, -16, -188, -72, -215, 2.0),
    ],
    np.float64,
)
TOP, BOTTOM = 116.0, -215.0

# The lips by distance from the midline as a fraction of half the mouth's width: upper border, line, lower border.
LIP_TOP = ((0.0, -60.6), (0.1, -60.0), (0.22, -59.3), (0.42, -60.6), (0.68, -63.2), (0.88, -66.0), (1.0, -67.7))
LIP_LINE = ((0.0, -67.5), (0.15, -67.1), (0.35, -66.8), (0.6, -67.4), (0.85, -67.6), (1.0, -67.7))
LIP_BOTTOM = ((0.0, -76.6), (0.2, -76.5), (0.42, -75.5), (0.68, -72.4), (0.88, -69.2), (1.0, -67.7))

# The free edges of the lids by place between the canthi, -1 at the inner one: height above the line between them.
LID_UPPER = (
    (-1.0, 0.0),
    (-0.9, 1.7),
    (-0.7, 3.7),
    (-0.4, 5.1),
    (-0.05, 5.5),
    (0.3, 5.1),
    (0.65, 3.6),
    (0.88, 1.7),
    (1.0, 0.0),
)
LID_LOWER = (
    (-1.0, 0.0),
    (-0.9, -0.9),
    (-0.7, -2.1),
    (-0.3, -3.9),
    (0.1, -4.7),
    (0.5, -4.3),
    (0.8, -2.5),
    (0.93, -1.1),
    (1.0, 0.0),
)


def spline(knots: tuple[tuple[float, ...], ...], at: Array) -> Array:
    """Return the smooth curve through (x, y) knots at the places asked for; flat beyond its ends."""
    x, y = np.asarray(knots, np.float64).T
    return smooth_columns(x, y[:, None], np.clip(at, x[0], x[-1]))[..., 0]


def smooth_columns(x: Array, y: Array, at: Array) -> Array:
    """Return y (n, c), known at rising x (n,), at other places (...,) as (..., c): a cubic Hermite spline."""
    step = np.diff(x)[:, None]
    slope = np.diff(y, axis=0) / step
    inner = (slope[:-1] * step[1:] + slope[1:] * step[:-1]) / (step[1:] + step[:-1])
    tangent = np.concatenate([slope[:1], inner, slope[-1:]])
    k = np.clip(np.searchsorted(x, at, side='right') - 1, 0, len(x) - 2)
    h = (x[k + 1] - x[k])[..., None]
    t = (at - x[k])[..., None] / h
    return np.asarray(
        y[k] * (1 + 2 * t) * (1 - t) ** 2
        + tangent[k] * h * t * (1 - t) ** 2
        + y[k + 1] * t**2 * (3 - 2 * t)
        + tangent[k + 1] * h * t**2 * (t - 1)
    )
