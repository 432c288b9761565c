"""Hair before a face, drawn over a crop: a network that has seen little of it paints faces on fringes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_HAIR = np.array([[24, 17, 14], [58, 40, 28], [112, 78, 48], [176, 138, 88], [205, 180, 140], [120, 50, 26], [150] * 3])
"""RGB from black over brown and blond to red and grey."""

_UNLIKE = 0.45
"""Least difference of the logarithm of a value from the skin's: hair that looks like skin teaches to leave skin out."""


def fringe(rng: np.random.Generator, eyes: NDArray[np.floating], face: Floats) -> tuple[Floats, Floats]:
    """Draw a fringe, locks beside the face, or both, of a colour that is not the skin's.

    eyes: (2, 2) left and right in a crop (side, side, 3), RGB 0 to 255, whose light the hair's follows. Returns
    (side, side, 3) RGB 0 to 255 and (side, side) how much of a place is hair, 0 to 1.
    """
    side, level = face.shape[0], float(face.mean())
    middle = np.asarray(eyes, np.float64).mean(axis=0)
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    right, down = ((x - middle[0]) / apart).astype(np.float32), ((y - middle[1]) / apart).astype(np.float32)
    # Strands: noise drawn out along them, fanned out from a parting.
    parting, fan, slant = rng.normal(0, 0.6), rng.normal(0, 0.25), rng.normal(0, 0.35)
    lean = right + ((right - np.float32(parting)) * np.float32(fan) + np.float32(slant)) * down
    fine, coarse = (rng.standard_normal((24, 512), dtype=np.float32) for _ in '12')
    coarse = np.asarray(cv2.GaussianBlur(coarse, (0, 0), 6, sigmaY=3) * 8, np.float32)
    across, along = (lean + 3) * np.float32(512 / 6), np.clip((down + 3) * np.float32(4), 0, 22)
    strands = cv2.remap(fine, across * np.float32(rng.uniform(0.6, 1)), along, cv2.INTER_LINEAR)
    locks = cv2.remap(coarse, across, along, cv2.INTER_LINEAR)

    kind = rng.random()
    inside = np.full((side, side), -9.0, np.float32)
    if kind < 0.8:  # over the forehead, how far down is up to the lock
        low = rng.uniform(0.2, 1.1) + rng.normal(0, 0.12) * (right - parting) + 0.25 * rng.random() * right**2
        inside = -low - down + rng.uniform(0.05, 0.25) * locks + 0.05 * strands
    if kind > 0.7:  # beside the face
        wide = rng.uniform(0.85, 1.25) + rng.normal(0, 0.12) * down
        which = rng.choice([-1.0, 0.0, 1.0])
        inside = np.maximum(inside, (np.abs(right) if which == 0 else which * right) - wide + 0.08 * locks)
    cover = np.clip(inside / np.float32(rng.uniform(0.02, 0.12)), 0, 1)
    if rng.random() < 0.4:  # thin enough to see through
        cover = cover * np.clip(rng.uniform(0.5, 1.0) + 0.4 * strands, 0, 1)

    tones = _HAIR * rng.uniform(0.7, 1.3)
    x0, y0 = (int(np.clip(value, 0, side - 1)) for value in middle)
    skin = np.median(face[y0 : y0 + 1 + int(0.8 * apart), max(0, x0 - 8) : x0 + 9].reshape(-1, 3), axis=0)
    unlike = np.abs(np.log((tones * (level / 110) + 5) / (skin + 5))).max(axis=1) > _UNLIKE
    first = rng.choice(tones[unlike] if unlike.any() else _HAIR[:1])
    shade = 1 + rng.uniform(0.1, 0.4) * locks + rng.uniform(0.05, 0.3) * strands
    gleam = rng.uniform(0, 0.5) * np.exp(-(((down - rng.uniform(-2, 0)) / rng.uniform(0.2, 0.6)) ** 2))
    light = level / 110 * (1 + rng.normal(0, 0.2) * right)
    colour = np.asarray(first, np.float32) * (light * (shade + gleam))[..., None]
    return np.clip(colour, 0, 255).astype(np.float32), cover.astype(np.float32)
