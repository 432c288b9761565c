"""Glass eyes, lashes and brows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.personas import anatomy
from facefusion_ros.personas.anatomy import EYE_X, Half, curve, ramp
from facefusion_ros.personas.canvas import areas, blur, grid, lay, mirrored, strokes, window

if TYPE_CHECKING:
    from facefusion_ros.personas.anatomy import Plane, Points
    from facefusion_ros.personas.canvas import Line

    Colour = tuple[float, float, float]

# Steps of additive recurrences: multiples modulo 1 fill the interval evenly without a visible order.
_GOLDEN, _SILVER, _PLASTIC = 0.6180340, 0.4142136, 0.7548777


def set_eyes(canvas: Plane, iris_inner: Colour, iris_outer: Colour) -> None:
    """Put eyes behind the lids: lit from the upper left, shaded by the upper lid, mirroring the lamp."""
    for side in (-1, 1):
        rows, columns = window(side * EYE_X - 18, side * EYE_X + 18, -9, 9)
        x, y = grid(rows, columns)
        place = Half(side * x, y)
        opening, (upper, _) = anatomy.eye_opening(place), anatomy.lid_edges(place)
        u, v = place.x - EYE_X, y
        eye = _glass(u, v, iris_inner, iris_outer)
        eye *= (0.30 + 0.70 * ramp(v - upper, -0.2, 3.4))[..., None]
        eye += _reflections(side * u, v, opening)[..., None]
        lay(canvas[rows, columns], np.clip(opening / 0.3 + 0.5, 0, 1), eye)


def _glass(u: Plane, v: Plane, iris_inner: Colour, iris_outer: Colour) -> Plane:
    """White, iris and pupil; u away from the nose, v down, millimetres from the middle of the pupil."""
    t, angle = np.hypot(u, v) / anatomy.IRIS_RADIUS, np.arctan2(v, u)
    colour = np.empty((*t.shape, 3), np.float32)
    colour[:] = (0.64, 0.63, 0.63)
    colour *= (np.clip(1 - (u / 18.0) ** 2 - ((v - 0.5) / 13.0) ** 2, 0.1, 1) ** 0.7)[..., None]
    lay(colour, 0.55 * np.broadcast_to(np.clip((-u - 11.0) / 3.5, 0, 1), t.shape), (0.46, 0.22, 0.19))
    fibre = np.sin(angle * 37 + 2.2 * np.sin(angle * 5)) + np.sin(angle * 61 + 1.7 + 3 * np.sin(angle * 7))
    depth = ramp(t, 0.34, 1.0)[..., None]
    iris = np.asarray(iris_inner, np.float32) * (1 - depth) + np.asarray(iris_outer, np.float32) * depth
    iris *= (1 + 0.17 * fibre * ramp(t, 0.4, 0.6))[..., None]
    lay(iris, 0.8 * ramp(t, 0.84, 1.0), (0.010, 0.018, 0.022))
    lay(colour, 1 - ramp(t, 0.93, 1.06), iris)
    lay(colour, 1 - ramp(t, 0.40, 0.46), (0.006, 0.006, 0.008))
    return colour


def _reflections(right: Plane, v: Plane, opening: Plane) -> Plane:
    """Lamp in the cornea, its glow where the light leaves the iris again, and the wet edge of the lower lid."""
    lamp = (1 - ramp(np.abs(right + 1.9 + 0.12 * v), 0.75, 1.25)) * (1 - ramp(np.abs(v + 2.0), 0.95, 1.45))
    far = np.hypot(right - 2.3, v - 2.5)
    glow = (
        np.exp(-0.5 * (far / 1.5) ** 2) * (1 - ramp(np.hypot(right, v), 5.0, 6.0)) * ramp(np.hypot(right, v), 2.6, 3.4)
    )
    wet = np.exp(-0.5 * ((opening - 0.35) / 0.22) ** 2) * ramp(v, 1.0, 3.0)
    return np.asarray(0.95 * lamp + 0.14 * glow + 0.12 * wet, np.float32)


def paint_hair(canvas: Plane, colour: Colour) -> None:
    """Paint brows and lashes."""
    hairs = strokes(mirrored(_brow_hairs()), 1)
    lay(canvas, np.clip(0.85 * blur(hairs, 1.1) + 0.5 * hairs * blur(hairs, 0.8), 0, 0.9), colour)
    dark = tuple(0.22 * c for c in colour)
    lay(canvas, 0.92 * blur(areas(mirrored([_lid_liner()])), 0.2), dark)
    upper = strokes(mirrored(_lashes(anatomy.UPPER_LID, 39, -4.2)), 1)
    lower = strokes(mirrored(_lashes(anatomy.LOWER_LID, 21, 1.5)), 1)
    lay(canvas, np.clip(0.62 * upper + 0.30 * blur(upper, 0.2) + 0.35 * lower, 0, 1), dark)


def _scattered(n: int, step: float) -> Plane:
    return np.asarray(np.arange(1, n + 1) * step % 1, np.float32)


def _brow_hairs() -> list[Line]:
    """Hairs of the right eyebrow, upright near the nose and lying outwards at the temple."""
    n = 170
    along, across = _scattered(n, _GOLDEN), _scattered(n, _SILVER)
    x = 12.5 + 37.5 * along
    thick = 2.7 * np.sin(np.pi * np.clip(0.20 + 0.80 * along, 0, 1)) ** 0.7
    y = curve(anatomy.BROW, x) + thick * (1.3 * across - 0.30)
    lean = np.radians(66 - 46 * ramp(along, 0.0, 0.45) - 40 * along + 10 * (_scattered(n, _PLASTIC) - 0.5))
    length = 4.4 - 1.4 * along
    t = np.linspace(0, 1, 5, dtype=np.float32)[:, None]
    hx = x + length * (t * np.cos(lean) + 0.25 * t * t * np.sin(lean))
    hy = y - length * (t * np.sin(lean) - 0.28 * t * t)
    return list(zip(hx.T, hy.T, strict=True))


def _lashes(edge: Points, n: int, reach: float) -> list[Line]:
    """Eyelashes of a lid of the right eye, leaning together in tufts of three; a negative reach points upwards."""
    s = np.linspace(0.10, 0.99, n, dtype=np.float32) ** 0.9
    u = edge[0][0] + s * (edge[-1][0] - edge[0][0])
    tuft = np.float32(0.10) * (1 - np.arange(n) % 3)
    length = abs(reach) * (0.30 + 0.85 * s**1.3) * (0.80 + 0.35 * _scattered(n, _SILVER))
    t = np.linspace(0, 1, 6, dtype=np.float32)[:, None]
    x = EYE_X + u + length * (s - 0.34 + tuft) * (0.9 * t + 0.35 * t * t)
    y = curve(edge, u) + np.sign(reach) * length * (0.25 * t + 0.60 * t * t)
    return list(zip(x.T, y.T, strict=True))


def _lid_liner() -> Line:
    """Roots of the upper lashes as one dark shape, widening outwards and drawn out at the corner."""
    u = np.linspace(-14.0, 18.2, 48, dtype=np.float32)
    edge = curve((*anatomy.UPPER_LID[:-1], (16.0, -1.4), (18.5, -3.4)), u)
    wide = 1.25 * np.sin(np.pi * np.clip((u + 14) / 36, 0, 1)) ** 0.8 * ramp(-u, -18.4, -11.0)
    return np.concatenate([u, u[::-1]]) + EYE_X, np.concatenate([edge + 0.25, (edge - wide)[::-1]])
