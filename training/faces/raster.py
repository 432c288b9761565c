"""Triangles to pixels: a z-buffer in compiled code. Pictures have y down; depth grows away from the viewer."""

# mypy: disable-error-code="untyped-decorator,no-any-unimported,no-any-return"
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FAR = np.float32(1e9)
_EDGE = np.float32(-1e-5)
"""A pixel this far outside a triangle still counts as in it, lest rounding leaves gaps."""
compiled = numba.njit(cache=True, fastmath=True, nogil=True, error_model='numpy')
"""What pixels and triangles are looped over in."""


@compiled
def rasterise(
    corner: Floats, triangles: NDArray[np.int32], one_sided: int, depth: Floats, front: NDArray[np.int32]
) -> None:
    """Draw triangles (T, 3) of corners (V, 3: x, y in pixels, depth) where they are nearer than what is there.

    depth (H, W) keeps the nearest depth, front (H, W) the number of the triangle.
    The first one_sided triangles are drawn only where they turn their front, counter-clockwise with y up, this way.
    Pixel centres lie at whole coordinates.
    """
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = corner[i, 0], corner[i, 1]
        x1, y1 = corner[j, 0], corner[j, 1]
        x2, y2 = corner[k, 0], corner[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-7 or (area > 0 and t < one_sided):
            continue
        left = max(0, math.ceil(min(x0, x1, x2)))
        right = min(width - 1, math.floor(max(x0, x1, x2)))
        if left > right:
            continue
        top = max(0, math.ceil(min(y0, y1, y2)))
        bottom = min(height - 1, math.floor(max(y0, y1, y2)))
        if top > bottom:
            continue
        one = np.float32(1.0) / area
        z0, z1, z2 = corner[i, 2], corner[j, 2], corner[k, 2]
        a_x, a_y = (y1 - y2) * one, (x2 - x1) * one
        b_x, b_y = (y2 - y0) * one, (x0 - x2) * one
        for y in range(top, bottom + 1):
            from_x, from_y = np.float32(left) - x2, np.float32(y) - y2
            a = from_x * a_x + from_y * a_y
            b = from_x * b_x + from_y * b_y
            for x in range(left, right + 1):
                c = np.float32(1.0) - a - b
                if a >= _EDGE and b >= _EDGE and c >= _EDGE:
                    z = a * z0 + b * z1 + c * z2
                    if z < depth[y, x]:
                        depth[y, x] = z
                        front[y, x] = t
                a += a_x
                b += b_x


@compiled
def moved(points: Floats, pivot: Floats, rotation: Floats, shift: Floats) -> Floats:
    """Return (n, 3) points turned about pivot (3,) by rotation (3, 3) and laid at -shift (3,).

    Not numpy's product: its threads cost more than the sum is worth, and processes draw side by side.
    """
    out = np.empty_like(points)
    for k in range(len(points)):
        x, y, z = points[k, 0] - pivot[0], points[k, 1] - pivot[1], points[k, 2] - pivot[2]
        for c in range(3):
            out[k, c] = rotation[c, 0] * x + rotation[c, 1] * y + rotation[c, 2] * z - shift[c]
    return out


@compiled
def blended(rest: Floats, fields: Floats, weights: Floats) -> Floats:
    """Return rest (n,) plus the fields (k, n) times their weights (k,)."""
    out = rest.copy()
    for k in range(len(weights)):
        if weights[k] != 0:
            for i in range(len(rest)):
                out[i] += weights[k] * fields[k, i]
    return out


@compiled
def lamp_corners(position: Floats, frame: Floats, scale: float, middle: float) -> Floats:
    """Return (n, 3) points as a lamp sees them along frame (3, 3): right, up and towards it.

    position: (n, 3 or more).
    """
    out = np.empty((len(position), 3), np.float32)
    for k in range(len(position)):
        x, y, z = position[k, 0], position[k, 1], position[k, 2]
        out[k, 0] = middle + scale * (frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z)
        out[k, 1] = middle - scale * (frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z)
        out[k, 2] = -(frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z)
    return out


@compiled
def projected(position: Floats, distance: float, scale: float, x0: float, y0: float) -> Floats:
    """Return (n, 3) x, y and depth of points seen from distance before their origin.

    position: (n, 3 or more); scale: pixels per mm at the origin.
    """
    out = np.empty((len(position), 3), np.float32)
    for k in range(len(position)):
        depth = distance - position[k, 2]
        s = scale * distance / max(depth, np.float32(20.0))
        out[k, 0] = x0 + position[k, 0] * s
        out[k, 1] = y0 - position[k, 1] * s
        out[k, 2] = depth
    return out


@compiled
def vertex_normals(position: Floats, triangles: NDArray[np.int32]) -> Floats:
    """Return the (V, 3) unit normals: the mean over the triangles at each vertex, weighted by their area."""
    normal = np.zeros_like(position)
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax = position[j, 0] - position[i, 0]
        ay = position[j, 1] - position[i, 1]
        az = position[j, 2] - position[i, 2]
        bx = position[k, 0] - position[i, 0]
        by = position[k, 1] - position[i, 1]
        bz = position[k, 2] - position[i, 2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            normal[v, 0] += nx
            normal[v, 1] += ny
            normal[v, 2] += nz
    for v in range(len(normal)):
        length = math.sqrt(normal[v, 0] ** 2 + normal[v, 1] ** 2 + normal[v, 2] ** 2) + 1e-12
        normal[v, 0] /= length
        normal[v, 1] /= length
        normal[v, 2] /= length
    return normal
