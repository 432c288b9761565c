"""The relief of a calm human face, sculpted in millimetres.

Coordinates: x to the right and y down as seen in the picture, z towards the viewer; the origin lies midway between
the pupils. Proportions follow the adult averages of Farkas, "Anthropometry of the Head and Face" (1994): 63 mm between
the pupils, 30 mm from canthus to canthus, chin 112 mm below the eyes. The face is symmetric, so that functions here
work on the half with x >= 0 only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    Plane = NDArray[np.floating[Any]]
    Points = Sequence[tuple[float, float]]

EYE_X = 31.5
IRIS_RADIUS = 6.1
NOSE_TIP_Y = 37.0
MOUTH_X = 25.5
MOUTH_Y = 67.6
CHIN_Y = 112.0

# Free edges of the eyelids: x from the middle of the eye, y; the inner corner has the negative x.
UPPER_LID: Points = (
    (-15.0, 2.2),
    (-13.6, 0.6),
    (-10.5, -2.4),
    (-6.0, -4.5),
    (-1.0, -5.2),
    (4.0, -5.0),
    (8.5, -4.1),
    (12.5, -2.6),
    (16.0, -0.9),
)
LOWER_LID: Points = (
    (-15.0, 2.2),
    (-12.5, 3.2),
    (-8.0, 4.5),
    (-2.0, 5.5),
    (4.0, 5.3),
    (9.5, 3.5),
    (13.5, 1.1),
    (16.0, -0.9),
)
BROW: Points = ((12.5, -16.5), (20.0, -19.6), (30.0, -22.3), (40.0, -23.0), (47.0, -20.6), (53.0, -16.4))

# Nose by distance below the eyes: how far its ridge stands out, and half the breadth of the ridge.
NOSE_PROFILE: Points = (
    (-28.0, 0.0),
    (-16.0, 1.0),
    (-5.0, 3.8),
    (8.0, 7.8),
    (22.0, 12.8),
    (31.0, 15.6),
    (37.0, 15.8),
    (41.0, 13.6),
    (45.0, 8.6),
    (49.0, 2.8),
    (54.0, 0.0),
)
NOSE_BREADTH: Points = ((-26.0, 8.0), (-10.0, 5.6), (6.0, 4.9), (20.0, 5.3), (31.0, 5.8), (42.0, 6.6), (54.0, 7.0))

# Lips by distance from the midline.
UPPER_LIP: Points = ((0.0, 62.3), (2.5, 61.4), (4.8, 60.9), (8.0, 61.5), (14.0, 63.7), (20.0, 66.2), (26.5, 67.6))
MOUTH_LINE: Points = ((0.0, 68.6), (3.5, 68.0), (8.0, 67.9), (14.0, 68.6), (20.0, 68.3), (26.5, 67.2))
LOWER_LIP: Points = ((0.0, 77.6), (5.0, 77.5), (10.0, 76.8), (15.0, 75.0), (20.0, 71.9), (24.0, 68.9), (26.5, 67.4))

# Outline of the face around OUTLINE_CENTRE_Y: angle from straight up, degrees; distance, mm.
OUTLINE_CENTRE_Y = 20.0
OUTLINE: Points = (
    (-20.0, 100.0),
    (0.0, 102.0),
    (20.0, 100.0),
    (40.0, 93.0),
    (60.0, 81.5),
    (80.0, 72.5),
    (100.0, 69.0),
    (118.0, 71.0),
    (134.0, 77.5),
    (150.0, 86.5),
    (165.0, 93.0),
    (180.0, 94.5),
    (195.0, 93.0),
)


@dataclass(frozen=True)
class Half:
    """Positions of pixels of the right half of a picture, millimetres; they broadcast to (height, width)."""

    x: Plane
    """(1, width)."""
    y: Plane
    """(height, 1)."""


def curve(points: Points, at: Plane) -> Plane:
    """Smooth curve through points (Catmull-Rom tangents); constant beyond its ends."""
    px, py = np.asarray(points, np.float32).T
    slope = np.gradient(py, px)
    flat = np.clip(at, px[0], px[-1])
    i = np.clip(np.searchsorted(px, flat) - 1, 0, len(px) - 2)
    width = (px[1:] - px[:-1])[i]
    t = (flat - px[i]) / width
    rise = py[i] * (1 + 2 * t) * (1 - t) ** 2 + py[i + 1] * t * t * (3 - 2 * t)
    lean = width * t * (1 - t) * (slope[i] * (1 - t) - slope[i + 1] * t)
    return np.asarray(rise + lean)


def ramp(value: Plane, low: float, high: float) -> Plane:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def mound(half: Half, x: float, y: float, wide: float, high: float, tilt_deg: float = 0.0) -> Plane:
    """Gaussian mound of height 1 and its twin on the other half; a positive tilt lowers the end away from the nose."""
    c, s = float(np.cos(np.radians(tilt_deg))), float(np.sin(np.radians(tilt_deg)))
    total: Plane = np.zeros((), np.float32)
    for side in (1, -1) if 0 < x < 2 * wide else (1,):  # a twin farther away does not reach across the midline
        dx, dy = side * half.x - x, half.y - y
        total = total + np.exp(-0.5 * (((c * dx + s * dy) / wide) ** 2 + ((c * dy - s * dx) / high) ** 2))
    return total


def outline_ratio(half: Half) -> Plane:
    """Distance from the middle of the face, as a fraction of the distance to its outline."""
    dy = half.y - OUTLINE_CENTRE_Y
    angle = np.degrees(np.arctan2(half.x, -dy)).astype(np.float32)
    return np.asarray(np.hypot(half.x, dy) / curve(OUTLINE, angle))


def lid_edges(half: Half) -> tuple[Plane, Plane]:
    """Return y of the upper and the lower lid's free edge at every pixel."""
    u = half.x - EYE_X
    return curve(UPPER_LID, u), curve(LOWER_LID, u)


def eye_opening(half: Half) -> Plane:
    """Signed distance into the opening between the lids, measured vertically, mm; negative outside."""
    upper, lower = lid_edges(half)
    inside = np.minimum(half.y - upper, lower - half.y)
    u = half.x - EYE_X
    beyond = np.minimum(u - UPPER_LID[0][0], UPPER_LID[-1][0] - u)
    return np.asarray(np.minimum(inside, beyond))


def skull(half: Half) -> Plane:
    """Vault of the face without its features."""
    rho = np.minimum(outline_ratio(half), 0.995)
    vault = 58.0 * (1 - rho**2.5) ** 0.52
    forehead = 1.5 * mound(half, 20.0, -42.0, 18.0, 13.0)
    temple = 4.0 * mound(half, 64.0, -18.0, 9.0, 20.0)
    return np.asarray(vault + forehead - temple)


def brow_ridge(half: Half) -> Plane:
    """Rim of the orbit under the eyebrow."""
    line = curve(BROW, half.x) + 3.0
    along = ramp(half.x, 2.0, 16.0) * ramp(-half.x, -62.0, -46.0)
    ridge = np.exp(-0.5 * ((half.y - line) / 5.5) ** 2) * along
    return np.asarray(3.0 * ridge + 1.6 * mound(half, 0.0, -17.0, 9.0, 7.0))


def eye_socket(half: Half) -> Plane:
    """Hollow in which the eye lies, deepest beside the bridge of the nose."""
    hollow = 6.0 * mound(half, EYE_X, -1.0, 17.0, 10.0, 4.0)
    corner = 5.5 * mound(half, 15.5, -4.0, 5.5, 8.5)
    under_brow = 2.2 * mound(half, 30.0, -11.0, 13.0, 4.0, 2.0)
    return np.asarray(-(hollow + corner + under_brow))


def eyelids(half: Half) -> Plane:
    """Lids drawn over the eyeball: swelling, crease above, tear trough below."""
    upper, lower = lid_edges(half)
    u = half.x - EYE_X
    across = ramp(u, -19.0, -9.0) * ramp(-u, -20.0, -9.0)
    ball = 5.6 * np.exp(-0.5 * ((u / 11.5) ** 2 + ((half.y - 0.4) / 8.4) ** 2))
    crease = np.exp(-0.5 * ((half.y - (upper - 3.6 + 0.03 * u)) / 0.75) ** 2) * across
    fold = np.exp(-0.5 * ((half.y - (upper - 5.6)) / 1.5) ** 2) * across
    rim = np.exp(-0.5 * ((half.y - (lower + 0.9)) / 0.8) ** 2) * across
    trough = mound(half, 24.0, 12.5, 10.0, 2.6, 14.0)
    return np.asarray(ball - 0.95 * crease + 0.5 * fold + 0.35 * rim - 0.8 * trough)


def nose(half: Half) -> Plane:
    """Bridge, tip, wings and base of the nose."""
    x, y = half.x, half.y
    height, breadth = curve(NOSE_PROFILE, y), curve(NOSE_BREADTH, y)
    crest = height * np.exp(-0.5 * np.abs(x / breadth) ** 2.0)
    flank = 0.34 * height * np.exp(-0.5 * (x / (2.0 * breadth)) ** 2)
    tip = 4.6 * mound(half, 0.0, 37.5, 5.2, 4.6)
    wing = 5.6 * np.exp(-((((x - 11.2) / 5.0) ** 2 + ((half.y - 41.6) / 4.8) ** 2) ** 1.2))
    groove = 1.9 * mound(half, 16.6, 40.5, 1.4, 4.0, -16.0) + 0.8 * mound(half, 8.6, 36.0, 1.8, 3.2, -40.0)
    nostril = 3.2 * mound(half, 5.8, 45.2, 2.8, 1.2, -16.0)
    columella = 2.8 * mound(half, 0.0, 45.2, 2.3, 3.0)
    return np.asarray(0.85 * crest + flank + tip + wing - groove - nostril + columella)


def cheek(half: Half) -> Plane:
    """Cheekbone, soft cheek, hollow below, and the fold beside the mouth."""
    bone = 4.0 * mound(half, 46.0, 20.0, 14.0, 9.0, -14.0)
    apple = 3.6 * mound(half, 33.0, 34.0, 13.0, 12.0)
    hollow = 3.2 * mound(half, 47.0, 58.0, 11.0, 16.0, 18.0)
    fold_x = 20.0 + 0.36 * (half.y - 44.0)
    fold = np.exp(-0.5 * ((half.x - fold_x) / 2.6) ** 2) * ramp(half.y, 38.0, 50.0) * ramp(-half.y, -70.0, -56.0)
    return np.asarray(bone + apple - hollow - 0.55 * fold)


def lips(half: Half) -> Plane:
    """Muzzle, philtrum, both lips and the corners of the mouth."""
    x, y = half.x, half.y
    top, line, bottom = (curve(c, x) for c in (UPPER_LIP, MOUTH_LINE, LOWER_LIP))
    taper = np.sqrt(np.clip(1 - (x / 26.5) ** 2, 0, 1))
    up = np.clip((y - top) / np.maximum(line - top, 0.4), -1, 1)
    low = np.clip((y - line) / np.maximum(bottom - line, 0.4), 0, 2)
    upper = np.where(y <= line, np.clip(up, 0, 1) ** 0.8 * np.sqrt(np.clip(1.0 - np.clip(up, 0, 1) ** 5, 0, 1)), 0)
    lower = np.where(y > line, np.sqrt(np.clip(1 - (2 * np.clip(low, 0, 1) - 1) ** 2, 0, 1)) ** 0.9, 0)
    tubercle = 0.7 * mound(half, 0.0, 66.6, 3.0, 1.6) + 0.5 * mound(half, 7.0, 72.5, 5.0, 3.0)
    muzzle = 4.6 * mound(half, 0.0, 66.0, 21.0, 13.0)
    philtrum = 1.0 * mound(half, 3.6, 56.5, 1.5, 5.0) - 1.0 * mound(half, 0.0, 56.0, 1.9, 4.6)
    border = 0.55 * np.exp(-0.5 * ((y - top + 0.5) / 0.7) ** 2) * taper
    parting = 1.6 * np.exp(-0.5 * ((y - line) / 0.75) ** 2) * ramp(-x, -28.0, -24.0)
    corner = 1.6 * mound(half, MOUTH_X + 1.5, MOUTH_Y, 3.4, 3.4)
    return np.asarray(
        muzzle + philtrum + border + taper * (2.5 * upper + 3.2 * lower) + tubercle - parting - corner, np.float32
    )


def chin(half: Half) -> Plane:
    """Fold below the lower lip, ball of the chin, line of the jaw."""
    fold = 3.6 * mound(half, 0.0, 84.5, 14.0, 4.4)
    ball = 5.4 * mound(half, 0.0, 98.5, 13.0, 8.5)
    jowl = 1.2 * mound(half, 24.0, 88.0, 9.0, 9.0)
    return np.asarray(ball - fold - jowl)


def relief(half: Half) -> Plane:
    """Height of the whole face towards the viewer, mm, without the eyeballs."""
    parts = (skull, brow_ridge, eye_socket, eyelids, nose, cheek, lips, chin)
    return np.asarray(sum(part(half) for part in parts), np.float32)
