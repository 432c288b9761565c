"""Light: what reaches a point of a drawn head from around and from lamps; compiled code."""

# mypy: disable-error-code="untyped-decorator,no-any-unimported,no-any-return"
from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from training.faces.raster import FAR, compiled, lamp_corners, rasterise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import Light

    Floats = NDArray[np.float32]
    Triple = tuple[float, float, float]

SHADOW_SIDE = 128
SHADOW_SCALE = SHADOW_SIDE / 380.0
"""Pixels of a shadow map per mm."""
_REACH = 14.0
"""How far the nearer of two rings around a pixel looks for what hides light, mm."""
_AROUND_X = np.array([1.0, 0.5, -0.5, -1.0, -0.5, 0.5, 0.87, 0.0, -0.87, -0.87, 0.0, 0.87])
_AROUND_Y = np.array([0.0, 0.87, 0.87, 0.0, -0.87, -0.87, 0.5, 1.0, 0.5, -0.5, -1.0, -0.5])


class Lighting(NamedTuple):
    """ambient: (9, 3) spherical harmonics. Of the lamps: to (n, 3) unit directions, colour (n, 3), softness (n,),
    shadow (n, M, M) depth of what each sees first, frame (n, 3, 3) the axes it sees along: right, up, towards it.
    """  # noqa: D205 - one sentence

    ambient: Floats
    to: Floats
    colour: Floats
    softness: Floats
    shadow: Floats
    frame: Floats


def lighting(light: Light, vertex: Floats, triangles: NDArray[np.int32], one_sided: int) -> Lighting:
    """Return light with the shadows that surfaces cast in it.

    vertex: (V, 3 or more), position first; triangles, one_sided: as of `raster.rasterise`.
    """
    lamps = light.lamps
    n = len(lamps)
    to = np.array([lamp.direction for lamp in lamps], np.float32).reshape(-1, 3)
    to /= np.linalg.norm(to, axis=1, keepdims=True) + 1e-9
    shadow = np.full((n, SHADOW_SIDE, SHADOW_SIDE), FAR, np.float32)
    frame = np.empty((n, 3, 3), np.float32)
    unused = np.empty((SHADOW_SIDE, SHADOW_SIDE), np.int32)
    for k, way in enumerate(to):
        right = np.cross([0.02, 1.0, 0.03], way)
        right /= np.linalg.norm(right) + 1e-9
        frame[k] = right, np.cross(way, right), way
        corner = lamp_corners(vertex, frame[k], SHADOW_SCALE, SHADOW_SIDE / 2)
        rasterise(corner, triangles, one_sided, shadow[k], unused)
    return Lighting(
        ambient=np.array(light.ambient, np.float32),
        to=to,
        colour=np.array([lamp.colour for lamp in lamps], np.float32).reshape(-1, 3),
        softness=np.array([lamp.softness for lamp in lamps], np.float32),
        shadow=shadow,
        frame=frame,
    )


@compiled
def hidden_light(depth: Floats, radius: float, out: Floats) -> None:
    """Write to out (h, w) how much of the light around reaches each pixel of depth (2h, 2w), 0 to 1.

    radius: pixels of depth in _REACH mm. Depth in mm; what lies nearer beside a pixel shades it.
    """
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            z = depth[2 * y, 2 * x]
            if z > 1e8:
                out[y, x] = 1.0
                continue
            hidden = 0.0
            for k in range(12):
                r = radius * (0.35 if k % 2 else 1.0) * (1.0 if k < 6 else 1.9)
                yy, xx = int(2 * y + _AROUND_Y[k] * r), int(2 * x + _AROUND_X[k] * r)
                if yy < 0 or xx < 0 or yy >= depth.shape[0] or xx >= depth.shape[1]:
                    continue
                d = z - depth[yy, xx]
                reach = _REACH * r / radius
                if d > 0.12 * reach:
                    # What is far in front, a hand before a wall, hides less than a fold.
                    hidden += min((d - 0.12 * reach) / reach, 1.0) / (1.0 + max(0.0, d - 2 * reach) * 0.04)
            out[y, x] = math.exp(-2.2 * hidden / 12.0)


@compiled
def irradiance(sh: Floats, x: float, y: float, z: float) -> Triple:
    """Return the light around that falls on a surface facing (x, y, z), RGB.

    The nine terms of Ramamoorthi and Hanrahan, "An efficient representation for irradiance environment maps" (2001);
    their constants are part of the coefficients.
    """
    xy, yz, zz, xz, xxyy = x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y
    r = sh[0, 0] + sh[1, 0] * y + sh[2, 0] * z + sh[3, 0] * x
    r += sh[4, 0] * xy + sh[5, 0] * yz + sh[6, 0] * zz + sh[7, 0] * xz + sh[8, 0] * xxyy
    g = sh[0, 1] + sh[1, 1] * y + sh[2, 1] * z + sh[3, 1] * x
    g += sh[4, 1] * xy + sh[5, 1] * yz + sh[6, 1] * zz + sh[7, 1] * xz + sh[8, 1] * xxyy
    b = sh[0, 2] + sh[1, 2] * y + sh[2, 2] * z + sh[3, 2] * x
    b += sh[4, 2] * xy + sh[5, 2] * yz + sh[6, 2] * zz + sh[7, 2] * xz + sh[8, 2] * xxyy
    return max(r, 0.0), max(g, 0.0), max(b, 0.0)


@compiled
def lamp_seen(light: Lighting, lamp: int, x: float, y: float, z: float, bias: float) -> float:
    """Return how much of a lamp a point sees, 0 to 1: a shadow map read between its pixels, soft at its edges.

    bias: mm by which the point may lie behind what the lamp sees first.
    """
    f = light.frame
    side = light.shadow.shape[1]
    column = (f[lamp, 0, 0] * x + f[lamp, 0, 1] * y + f[lamp, 0, 2] * z) * SHADOW_SCALE + side * 0.5
    row = side * 0.5 - (f[lamp, 1, 0] * x + f[lamp, 1, 1] * y + f[lamp, 1, 2] * z) * SHADOW_SCALE
    if not (1 < column < side - 2 and 1 < row < side - 2):
        return 1.0
    behind = -(f[lamp, 2, 0] * x + f[lamp, 2, 1] * y + f[lamp, 2, 2] * z) - bias - 2.5 * light.softness[lamp]
    soft = 1.0 / (1.5 + 5.0 * light.softness[lamp])
    c, r = int(column), int(row)
    dc, dr = column - c, row - r
    m = light.shadow
    nw = min(1.0, max(0.0, 1.0 - (behind - m[lamp, r, c]) * soft))
    ne = min(1.0, max(0.0, 1.0 - (behind - m[lamp, r, c + 1]) * soft))
    sw = min(1.0, max(0.0, 1.0 - (behind - m[lamp, r + 1, c]) * soft))
    se = min(1.0, max(0.0, 1.0 - (behind - m[lamp, r + 1, c + 1]) * soft))
    return (nw * (1 - dc) + ne * dc) * (1 - dr) + (sw * (1 - dc) + se * dc) * dr


@compiled
def lobe(cosine: float, power: float) -> float:
    """Return about cosine ** power: Schlick, "A fast alternative to Phong's specular model" (Graphics Gems IV).

    The fourth power of his curve for a quarter of the power, whose tails are shorter.
    """
    n = 0.25 * power
    t = cosine / (n - n * cosine + cosine)
    t *= t
    return t * t


@compiled
def unit(x: float, y: float, z: float) -> Triple:
    """Return a vector at length 1."""
    one = 1.0 / math.sqrt(x * x + y * y + z * z + 1e-12)
    return x * one, y * one, z * one
