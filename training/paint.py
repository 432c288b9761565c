"""What is painted on the personas, as a network lays it on a face: ornaments, brows and irises, unfolded."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from training.faces.personas import PERSONAS, ornaments, persona
from training.faces.shading import iris_and_white
from training.faces.skin import BROW_BOX, BROW_SCALE, painted_brow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import Colour

    Floats = NDArray[np.float32]

BOX_MM = (-72.0, -104.0, 72.0, 72.0)
"""Left, bottom, right, top of what is drawn of the unfolded face."""
PX_PER_MM = 1.5
REACH = 0.62
"""Half the side of an iris' drawing, in radii of the eyeball."""
IRIS_SIDE = 48
_DISC = (5.2 / 12, 5.9 / 12)
"""Radii from which on an iris fades, and where it ends, in those of the eyeball."""


class _Iris(NamedTuple):
    iris: Colour
    pupil: float
    bloodshot: float


@cache
def drawn() -> Floats:
    """Return (3, rows, columns) of ``BOX_MM``, top row first: how much is gold, groove and brow, 0 to 1."""
    left, bottom, right, top = BOX_MM
    columns, rows = round((right - left) * PX_PER_MM), round((top - bottom) * PX_PER_MM)
    u, v = np.meshgrid(
        left + (np.arange(columns, dtype=np.float32) + 0.5) / np.float32(PX_PER_MM),
        top - (np.arange(rows, dtype=np.float32) + 0.5) / np.float32(PX_PER_MM),
    )
    # As `faces.shading.shade` reads them.
    gold, groove = (cv2.remap(layer, 256 + 2 * u, 200 - 2 * v, cv2.INTER_LINEAR) for layer in ornaments('jade'))
    fine = cv2.GaussianBlur(painted_brow(), (0, 0), 0.4 * BROW_SCALE / PX_PER_MM)
    across, down = (np.abs(u) - BROW_BOX[0]) * BROW_SCALE, (BROW_BOX[3] - v) * BROW_SCALE
    brow = cv2.remap(fine, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR, borderValue=0.0)
    return np.asarray(np.stack([gold, groove, brow]), np.float32)


@cache
def irises(names: tuple[str, ...] = tuple(PERSONAS)) -> tuple[Floats, Floats]:
    """Return (P, 3, S, S) irises, sRGB 0 to 1, the brightest value 1, and (S, S) how much of a place is iris.

    Right and up of where the eye looks, ``REACH`` radii of the ball to each side, top row first.
    """
    at = (np.arange(IRIS_SIDE) + 0.5) / IRIS_SIDE * 2 * REACH - REACH
    colours = np.zeros((len(names), 3, IRIS_SIDE, IRIS_SIDE), np.float32)
    for number, name in enumerate(names):
        eyes = persona(name).eyes
        look = _Iris(eyes.iris, eyes.pupil, eyes.red)
        for row, up in enumerate(at[::-1]):
            for column, right in enumerate(at):
                # Beyond its rim an iris goes on, so that its edge is not mixed with the white.
                shrink = min(1.0, 0.98 * _DISC[0] / max(float(np.hypot(right, up)), 1e-6))
                colours[number, :, row, column] = iris_and_white(look, float(right * shrink), float(up * shrink))
    colours /= colours.max(axis=(1, 2, 3), keepdims=True)
    radius = np.hypot(at[None], at[:, None])
    disc = np.clip((_DISC[1] - radius) / (_DISC[1] - _DISC[0]), 0, 1)
    return np.power(colours, np.float32(1 / 2.2)), disc.astype(np.float32)
