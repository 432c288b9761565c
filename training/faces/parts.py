"""What a head has besides its skin: ears, teeth, tongue, and the linings behind lids and lips; average shapes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from training.faces import proportions as average
from training.faces.mesh import head_mesh

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]


class Part(IntEnum):
    """What a vertex of the head belongs to."""

    SKIN = 0
    EAR = 1
    TEETH_UPPER = 2
    TEETH_LOWER = 3
    TONGUE = 4
    MOUTH_LINING = 5
    EYE_LINING = 6


@dataclass(frozen=True)
class Head:
    """All of the average head but the eyeballs.

    position (V, 3), plane (V, 2), part (V,), triangles (T, 3), part_of_triangle (T,); the skin's vertices come first.
    lining_from: (n, 2) int32, which skin vertex each vertex of a lining hangs on, and how deep (0 to 2) it lies.
    """

    position: Points
    plane: Points
    part: NDArray[np.int32]
    triangles: NDArray[np.int32]
    part_of_triangle: NDArray[np.int32]
    skin_count: int
    lining_start: int
    lining_from: NDArray[np.int32]


@cache
def grid_triangles(rows: int, columns: int, *, closed: bool = False) -> NDArray[np.int32]:
    """Return the triangles of a grid of vertices, row by row; closed joins the last column to the first."""
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing='ij')
    a, b = r * columns + c, r * columns + (c + 1) % columns
    d, e = a + columns, b + columns
    return np.concatenate([np.stack([a, d, b], -1), np.stack([b, d, e], -1)]).reshape(-1, 3).astype(np.int32)


def _ear() -> tuple[Points, Points, NDArray[np.int32]]:
    """Return the ear with x > 0: positions, (ring, angle) as plane coordinates, triangles."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)  # 0 points back, a quarter turn up
    # Outline: a broad top, a narrow lobe.
    back = 17.5 * np.cos(angle) * np.where(np.sin(angle) > 0, 1.0, 1.0 - 0.34 * np.abs(np.sin(angle)) ** 1.5)
    back = np.where(np.cos(angle) < 0, back * 0.62, back)
    up = np.where(np.sin(angle) > 0, 29.0, 31.0) * np.sin(angle)
    forward = np.clip(-np.cos(angle), 0, 1)
    rings, planes = [], []
    for scale, height in (
        (0.02, -5.0),
        (0.3, -4.5),
        (0.5, 2.0),
        (0.66, 2.6),
        (0.8, 0.3),
        (0.92, 3.6),
        (1.0, 2.8),
        (0.97, -1.0),
        (0.72, -9.0),
    ):
        h = height - forward * np.where(scale > 0.45, 4.0 + 3.5 * scale, 0.0)
        h = h + np.where(np.sin(angle) < -0.7, -0.6 * (height - 1.0), 0.0) * (0.4 < scale < 0.98)
        rings.append(np.stack([scale * back, scale * up, h], 1))
        planes.append(np.stack([np.full(24, scale if height > -8 else 1.2), angle], 1))
    local = np.concatenate(rings)
    flare, tilt = np.radians(27), np.radians(12)
    b_axis = np.array([np.sin(flare), 0, -np.cos(flare)])
    n_axis = np.array([np.cos(flare), 0, np.sin(flare)])
    u_axis = np.array([0.08, np.cos(tilt), -np.sin(tilt)])
    position = np.array(average.EAR) + local[:, :1] * b_axis + local[:, 1:2] * u_axis + local[:, 2:] * n_axis
    return position, np.concatenate(planes), grid_triangles(len(rings), 24, closed=True)


def _teeth(top: float, bottom: float, front: float, width: float) -> tuple[Points, Points, NDArray[np.int32]]:
    x = np.linspace(-width, width, 25)
    y = np.linspace(top, bottom, 4)
    yy, xx = np.meshgrid(y, x, indexing='ij')
    z = front - xx**2 / 24.0 - 0.06 * (yy - (top + bottom) / 2) ** 2
    plane = np.stack([xx, (yy - top) / (bottom - top)], -1).reshape(-1, 2)
    return np.stack([xx, yy, z], -1).reshape(-1, 3), plane, grid_triangles(4, 25)


def _tongue() -> tuple[Points, Points, NDArray[np.int32]]:
    u, v = np.meshgrid(np.linspace(0, np.pi, 7), np.linspace(0, 2 * np.pi, 13), indexing='ij')
    p = np.stack([17 * np.sin(u) * np.cos(v), -78 + 6.0 * np.sin(u) * np.sin(v), 68 + 20 * np.cos(u)], -1).reshape(
        -1, 3
    )
    return p, p[:, :2] * 0, grid_triangles(7, 13)


@cache
def head() -> Head:
    """Return the average head; made once."""
    mesh = head_mesh()
    position, plane = [mesh.position], [mesh.plane]
    part, triangles, part_of = (
        [np.full(len(mesh.position), Part.SKIN)],
        [mesh.triangles],
        [np.full(len(mesh.triangles), Part.SKIN)],
    )

    def add(p: Points, uv: Points, t: NDArray[np.int32], kind: Part) -> None:
        triangles.append(t + sum(map(len, position)))
        position.append(p)
        plane.append(uv)
        part.append(np.full(len(p), kind))
        part_of.append(np.full(len(t), kind))

    p, uv, t = _ear()
    add(p, uv, t, Part.EAR)
    add(p * [-1, 1, 1], uv, t[:, ::-1], Part.EAR)
    add(*_teeth(-58.5, -68.9, 94.6, 24.0), Part.TEETH_UPPER)
    add(*_teeth(-79.0, -69.6, 92.6, 22.0), Part.TEETH_LOWER)
    add(*_tongue(), Part.TONGUE)
    start = sum(map(len, position))
    lining = []
    for ring, kind in (
        (mouth_ring(0), Part.MOUTH_LINING),
        (eye_ring(0, 1), Part.EYE_LINING),
        (eye_ring(0, -1), Part.EYE_LINING),
    ):
        n = len(ring)
        lining += [np.stack([ring, np.full(n, depth)], 1) for depth in range(3)]
        add(np.tile(mesh.position[ring], (3, 1)), np.zeros((3 * n, 2)), grid_triangles(3, n, closed=True), kind)
    return Head(
        position=np.concatenate(position),
        plane=np.concatenate(plane),
        part=np.concatenate(part).astype(np.int32),
        triangles=np.concatenate(triangles).astype(np.int32),
        part_of_triangle=np.concatenate(part_of).astype(np.int32),
        skin_count=len(mesh.position),
        lining_start=start,
        lining_from=np.concatenate(lining).astype(np.int32),
    )


def mouth_ring(ring: int) -> NDArray[np.int64]:
    """Return the skin vertices of a ring of the mouth: from the corner with x < 0 over the upper lip and back below."""
    mesh = head_mesh()
    right = np.flatnonzero((mesh.mouth_ring == ring) & (mesh.position[:, 0] >= 0))  # top middle, corner, bottom middle
    left = mesh.mirror[right]
    n = len(right) // 2
    return np.concatenate([left[n:0:-1], right, left[-2:n:-1]]).astype(np.int64)


def eye_ring(ring: int, side: int) -> NDArray[np.int64]:
    """Return the skin vertices of a ring of the eye at this side (1: x > 0): inner canthus, upper lid, outer, lower."""
    mesh = head_mesh()
    right = np.flatnonzero((mesh.eye_ring == ring) & (mesh.position[:, 0] > 0))
    return (right if side > 0 else mesh.mirror[right]).astype(np.int64)
