"""Expressions: movements of the face's muscles, the jaw, the lids and the eyes."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Expression:
    """What the face does. Muscles from 0 at rest to 1 at full contraction; left is the side with x > 0 in the picture.

    jaw, jaw_side: opening and sideways turn of the jaw, degrees.
    closed_left, closed_right: lids from 0 open to 1 shut; negative is wide open.
    gaze_yaw, gaze_pitch: where the eyes look relative to the head, degrees right of the picture and up.
    """

    jaw: float = 0.0
    jaw_side: float = 0.0
    smile_left: float = 0.0
    smile_right: float = 0.0
    frown: float = 0.0
    pucker: float = 0.0
    upper_raise: float = 0.0
    lower_drop: float = 0.0
    press: float = 0.0
    brow_inner: float = 0.0
    brow_left: float = 0.0
    brow_right: float = 0.0
    brow_knit: float = 0.0
    nose_wrinkle: float = 0.0
    cheek_puff: float = 0.0
    squint: float = 0.0
    closed_left: float = 0.0
    closed_right: float = 0.0
    gaze_yaw: float = 0.0
    gaze_pitch: float = 0.0


MUSCLES = (
    'smile_left',
    'smile_right',
    'frown',
    'pucker',
    'upper_raise',
    'lower_drop',
    'press',
    'brow_inner',
    'brow_left',
    'brow_right',
    'brow_knit',
    'nose_wrinkle',
    'cheek_puff',
    'squint',
)
"""The fields of Expression that move vertices in proportion, in the order of `muscle_fields`."""


def muscle_fields(p: Points, part: NDArray[np.int32], upper: Points, lip_ring: NDArray[np.int32]) -> dict[str, Points]:
    """Return by muscle how the vertices of the average head move at full contraction, (n, 3) mm."""
    x, y, z = p.T
    ax, side = np.abs(x), np.sign(x)
    soft = ((part == Part.SKIN) | (part == Part.MOUTH_LINING)) * step(z, 0.0, 40.0)
    zero = np.zeros_like(x)

    def move(dx: Array | float = 0.0, dy: Array | float = 0.0, dz: Array | float = 0.0) -> Points:
        return np.asarray(np.stack([zero + dx, zero + dy, zero + dz], 1) * soft[:, None])

    def at(cx: float, cy: float, wx: float, wy: float) -> Array:
        return bump(x, y, cx, cy, wx, wy)

    on_lips = (lip_ring >= 0) & (lip_ring <= 3)
    lip_core = np.where(on_lips, np.choose(np.clip(lip_ring, 0, 3), (1.0, 1.0, 0.8, 0.55)), 0.45)
    wide = np.clip(ax / average.MOUTH_X, 0, 1.25)
    corner = np.exp(-0.5 * (((ax - 26) / 9) ** 2 + ((y + 67) / 10) ** 2))
    # Along the lips the pull fades towards the middle, sooner on the lower one: it hangs between the corners.
    corner = np.where(on_lips, np.minimum(wide, 1) ** np.where(upper > 0.4, 2.0, 2.4), corner)
    fields: dict[str, Points] = {}
    for name, s in (('smile_left', 1), ('smile_right', -1)):
        half = step(s * x, -9.0, 11.0)
        lips = np.exp(-0.5 * ((y + 68) / 9) ** 2) * np.exp(-0.5 * (x / 34) ** 2)
        sideways = 8.5 * np.tanh(ax / 22) / np.tanh(26 / 22) * lips
        up = (
            8.0 * corner
            - 0.4 * at(0, -74, 10, 5)
            + 0.8 * at(0, -61, 12, 4)
            + 2.8 * at(38, -46, 13, 12)
            + 1.0 * at(33, -22, 14, 8)
        )
        up = up + 1.5 * at(15, -41, 8, 6) * 0.6
        fore = 3.4 * at(38, -37, 11, 10) - 4.6 * corner * at(26, -68, 14, 12) - 1.8 * at(0, -68, 18, 9)
        fore = fore - 1.6 * np.exp(-0.5 * ((ax - (20.0 + 0.55 * (-44.0 - y))) / 3.2) ** 2) * step(y, -78, -62) * step(
            y, -38, -48
        )
        thin = -0.19 * (y + 67.5) * np.exp(-0.5 * ((y + 68) / 7) ** 2) * (ax < 27)
        squint = 1.0 * at(33, -9, 13, 4)
        fields[name] = move(side * (sideways + 1.6 * at(14, -42, 8, 7)), up + thin + squint, fore) * half[:, None]
    fields['frown'] = move(dx=0.8 * side * corner, dy=-4.6 * corner + 0.8 * at(0, -72, 10, 6), dz=-0.8 * corner)
    fields['pucker'] = move(
        dx=-0.34 * x * np.exp(-0.5 * ((y + 68) / 11) ** 2) * np.exp(-0.5 * (x / 26) ** 2),
        dy=0.10 * (y + 67.5) * at(0, -68, 14, 9),
        dz=6.0 * at(0, -68, 13, 9) - 0.5 * at(30, -66, 9, 12),
    )
    over = np.maximum(upper, step(y, -67, -63)) * (y > -68.5)
    fields['upper_raise'] = move(
        dy=4.2 * over * np.exp(-((np.abs(x) / 21) ** 3.0)) * np.exp(-0.5 * ((y + 63) / 8) ** 2) * lip_core * 1.4
        + 1.0 * at(14, -44, 8, 7),
        dz=-0.6 * over * at(0, -64, 16, 6),
    )
    under = (1 - upper) * (y < -66.5)
    fields['lower_drop'] = move(
        dy=-4.5 * under * np.exp(-((np.abs(x) / 21) ** 3.0)) * np.exp(-0.5 * ((y + 72) / 9) ** 2) * lip_core * 1.4,
        dz=-0.8 * under * at(0, -72, 15, 7),
    )
    fields['press'] = move(dy=-0.42 * (y + 67.5) * at(0, -68, 24, 7), dz=-1.7 * at(0, -68, 22, 7))
    fields['brow_inner'] = move(dy=4.6 * at(13, 18, 9, 10) - 0.8 * at(44, 18, 9, 8), dz=0.5 * at(10, 27, 9, 6))
    for name, s in (('brow_left', 1), ('brow_right', -1)):
        fields[name] = move(
            dy=(6.0 * at(36, 20, 17, 10) + 2.0 * at(15, 18, 10, 9) + 1.4 * at(32, 9.5, 13, 3.5))
            * step(s * x, -6.0, 8.0)
        )
    fields['brow_knit'] = move(
        dx=-2.8 * side * at(13, 17, 9, 8),
        dy=-3.6 * at(15, 17, 12, 8) - 1.6 * at(38, 19, 12, 7),
        dz=0.9 * at(8, 16, 4, 8) - 0.9 * at(0, 16, 2.5, 8),
    )
    fields['nose_wrinkle'] = move(
        dy=2.4 * at(13, -36, 7, 12) - 1.5 * at(10, 14, 9, 8) + 2.0 * over * at(9, -61, 10, 6),
        dx=0.8 * side * at(15, -40, 6, 6),
    )
    fields['cheek_puff'] = move(
        dx=3.5 * side * at(44, -62, 15, 14), dz=4.0 * at(34, -64, 13, 13) + 1.0 * at(0, -68, 20, 10)
    )
    fields['squint'] = move(dy=1.8 * at(33, -9, 14, 4.5) - 1.2 * at(34, 11, 13, 5), dz=1.6 * at(33, -14, 13, 6))
    return fields


def jaw_weights(p: Points, part: NDArray[np.int32], upper: Points, lip_ring: NDArray[np.int32], row: Points) -> Array:
    """Return (n,) how far each vertex follows the jaw, 0 to 1."""
    _, y, z = p.T
    behind = step(z, 2.0, 48.0)  # the cheeks follow less towards the hinge
    below = step(y, -60.0, -84.0)
    lips = (lip_ring >= 0) & (lip_ring <= 5)
    near = np.choose(np.clip(lip_ring, 0, 7), (1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.6, 0.3))
    split = np.where(upper > 0.5, 0.0, np.where(upper < 0.5, 1.0, 0.42))
    wide = np.clip(np.abs(p[:, 0]) / average.MOUTH_X, 0, 1)
    split = split + (0.42 - split) * wide**4
    ringed = lip_ring >= 0
    weight = np.where(ringed, below + (split - below) * near, below)
    weight = np.where(lips, split, weight)
    weight = weight * behind * step(row, -150.0, -116.0)
    weight = np.where((part == Part.TEETH_LOWER) | (part == Part.TONGUE), 1.0, weight)
    return np.asarray(
        np.where(
            (part == Part.SKIN) | (part == Part.MOUTH_LINING) | (part == Part.TEETH_LOWER) | (part == Part.TONGUE),
            weight,
            0.0,
        )
    )
