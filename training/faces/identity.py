"""How heads differ: movements of the average head's vertices, one per trait, a standard deviation each.

Spreads follow the standard deviations in Farkas (1994): about 5 mm in the width and 6 mm in the height of a face,
2.5 mm in the width and 3 mm in the length of a nose, 3.5 mm in the width of a mouth; see `proportions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.faces import proportions as average
from training.faces.mesh import bump, step
from training.faces.parts import Part

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]
    Points = NDArray[np.float64]


def trait_fields(p: Points, part: NDArray[np.int32], plane: Points) -> dict[str, Points]:
    """Return by trait how the vertices at p (n, 3) of the average head move, (n, 3) mm for one standard deviation."""
    x, y, z = p.T
    side = np.sign(x)
    ax = np.abs(x)
    front = step(z, 0.0, 40.0)
    on_skin = (part == Part.SKIN) | (part >= Part.MOUTH_LINING)
    zero = np.zeros_like(x)
    neck = step(plane[:, 1], -112, -150) * (part == Part.SKIN)
    skull = 1 - neck
    row = np.where(part == Part.SKIN, plane[:, 1], y)  # unlike y, tells the chin from the floor of the jaw

    def move(dx: Array | float = 0.0, dy: Array | float = 0.0, dz: Array | float = 0.0) -> Points:
        return np.stack([zero + dx, zero + dy, zero + dz], 1)

    def at(cx: float, cy: float, wx: float, wy: float) -> Array:
        return bump(x, y, cx, cy, wx, wy) * front

    def chin_part(y0: float, y1: float) -> Array:
        return step(row, y0, y1)

    jaw_side = step(y, -25, -70) * step(row, -150, -112) * on_skin
    eye = np.exp(-0.5 * (((ax - average.EYE_X) / 15) ** 2 + (y / 12) ** 2) ** 1.5) * front
    ear = (part == Part.EAR).astype(float)
    ear_x, ear_y, ear_z = average.EAR
    return {
        'face_width': move(dx=0.032 * x * skull),
        'cranium_width': move(dx=0.03 * x * step(y, 0, 50)),
        'cranium_length': move(dz=np.where(z < 10, 0.045 * (z - 10), 0.0) * skull),
        'cranium_height': move(dy=0.05 * np.maximum(y - 35, 0)),
        'forehead_slope': move(dz=-4.0 * step(y, 25, 90) * step(z, 0, 60)),
        'middle_height': move(dy=2.3 * np.clip(np.where(part == Part.EAR, 0.5, 1.0) * y / 45, -1, 0)),
        'lower_height': move(dy=3.4 * np.clip((y + 46) / 62, -1, 0) * (part != Part.EAR)),
        'eye_spacing': move(dx=1.1 * side * np.exp(-0.5 * (((ax - 31) / 17) ** 2 + (y / 16) ** 2)) * front),
        'eye_size': move(dx=0.055 * (x - side * average.EYE_X) * eye, dy=0.055 * y * eye),
        'eye_opening': move(dy=0.10 * y * eye * (ax > 17)),
        'eye_tilt': move(dy=0.055 * (ax - average.EYE_X) * eye),
        'eye_hood': move(dy=-1.5 * at(33, 11, 13, 4.5), dz=1.4 * at(33, 10.5, 13, 4.5)),
        'eye_bag': move(dz=1.0 * at(30, -10, 10, 3.5)),
        'socket': move(dz=-1.5 * (at(27, 9, 13, 7) + 0.7 * at(16.5, 1, 5, 8))),
        'brow_ridge': move(dz=1.5 * at(20, 19, 15, 6.5)),
        'brow_height': move(dy=1.7 * at(30, 19, 26, 8)),
        'brow_tilt': move(dy=0.045 * (ax - 30) * at(32, 20, 18, 7)),
        'brow_arch': move(dy=1.0 * at(38, 22, 9, 7) - 0.4 * at(15, 17, 8, 6)),
        'nose_width': move(dx=1.55 * np.tanh(x / 9) * at(0, -40, 18, 8.5)),
        'nose_length': move(dy=-2.2 * at(0, -41, 17, 11)),
        'nose_projection': move(dz=2.1 * at(0, -37, 8.5, 10)),
        'bridge_height': move(dz=1.7 * at(0, -4, 7, 14)),
        'bridge_width': move(dx=1.0 * np.tanh(x / 6) * at(0, -14, 10, 14)),
        'nose_hump': move(dz=1.2 * at(0, -15, 5, 7)),
        'tip_turn': move(dy=1.7 * at(0, -37, 8, 6)),
        'tip_width': move(dx=1.0 * np.tanh(x / 5) * at(0, -36, 8, 6.5)),
        'mouth_width': move(dx=2.6 * np.tanh(x / 18) * at(0, -68, 30, 14)),
        'mouth_height': move(dy=1.5 * at(0, -68, 26, 11)),
        'upper_lip': move(dy=1.15 * at(0, -60.3, 18, 2.8), dz=0.5 * at(0, -63.5, 17, 3.5)),
        'lower_lip': move(dy=-1.15 * at(0, -76.5, 17, 3.3), dz=0.6 * at(0, -72.5, 16, 4)),
        'lip_protrusion': move(dz=1.8 * at(0, -68, 22, 11)),
        'cupid_bow': move(dy=0.6 * at(6, -59.5, 3, 2.5) - 0.5 * at(0, -60.5, 2.4, 2.5)),
        'jaw_width': move(dx=0.06 * x * jaw_side),
        'jaw_angle': move(
            dx=2.0 * side * bump(x, y, 50, -72, 12, 14) * on_skin, dy=-2.0 * bump(x, y, 50, -80, 12, 14) * on_skin
        ),
        'chin_width': move(dx=2.4 * np.tanh(x / 16) * at(0, -103, 30, 12) * chin_part(-130, -112)),
        'chin_projection': move(dz=2.8 * at(0, -101, 22, 13)),
        'chin_height': move(dy=-2.2 * step(y, -84, -106) * step(z, 0, 60) * (1 - neck)),
        'cheek_bone': move(dx=1.3 * side * bump(x, y, 52, -22, 14, 11) * front, dz=1.6 * at(44, -23, 13, 10)),
        'cheek_fat': move(
            dx=2.6 * side * bump(x, y, 52, -60, 20, 20) * on_skin,
            dz=1.8 * at(36, -58, 14, 16),
            dy=-2.5 * bump(x, row, 0, -117, 45, 8) * on_skin * front,
        ),
        'neck_width': move(dx=0.07 * x * neck, dz=0.05 * z * neck),
        'ear_size': move(0.09 * (x - side * ear_x) * ear, 0.09 * (y - ear_y) * ear, 0.09 * (z - ear_z) * ear),
        'ear_flare': move(dx=side * ear * np.clip(0.16 * (ear_z + 10 - z), -1, 8)),
        'crooked_nose': move(dx=1.0 * at(0, -32, 9, 11)),
        'crooked_mouth': move(dy=0.9 * np.tanh(x / 18) * at(0, -68, 28, 11)),
        'crooked_eyes': move(dy=0.6 * side * eye),
        'crooked_jaw': move(dx=1.3 * step(y, -60, -100) * (part != Part.EAR) * skull),
    }


LOPSIDED = ('crooked_nose', 'crooked_mouth', 'crooked_eyes', 'crooked_jaw')
"""Traits that change sign in the mirror."""

MALE_MINUS_FEMALE = {
    'face_width': 1.0,
    'lower_height': 1.3,
    'middle_height': 1.1,
    'brow_ridge': 1.5,
    'brow_height': -1.2,
    'brow_arch': -1.0,
    'nose_width': 0.8,
    'nose_projection': 0.4,
    'nose_length': 0.4,
    'jaw_width': 1.1,
    'jaw_angle': 1.0,
    'chin_width': 1.1,
    'chin_height': 0.6,
    'upper_lip': -0.6,
    'lower_lip': -0.4,
    'eye_size': -0.4,
    'forehead_slope': 1.0,
    'neck_width': 1.8,
    'socket': 0.7,
    'cheek_fat': -0.5,
    'mouth_width': 0.6,
    'ear_size': 0.7,
}
"""How far the average man is from the average woman, in standard deviations."""
MEAN = {'middle_height': 0.4}
"""Where the average of women and men lies beside the sculpted head, in standard deviations."""
CHILD_MINUS_ADULT = {
    'lower_height': -2.4,
    'middle_height': -2.2,
    'nose_length': -1.4,
    'nose_projection': -2.2,
    'bridge_height': -2.0,
    'nose_width': -1.0,
    'eye_size': 2.0,
    'cheek_fat': 1.6,
    'jaw_width': -1.0,
    'jaw_angle': -1.5,
    'chin_projection': -1.2,
    'brow_ridge': -1.6,
    'neck_width': -3.0,
    'mouth_width': -1.2,
    'forehead_slope': -1.2,
    'cranium_height': 0.8,
    'chin_height': -1.0,
}
"""How far a child of six is from a grown-up once both are as large, in standard deviations."""
