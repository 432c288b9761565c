"""The 68 points of the iBUG scheme on the mesh, and the contour of the face as the camera sees it.

Sagonas et al., "300 Faces in-the-Wild Challenge" (2013): 0-16 the edge of the face from ear to ear over the chin,
17-26 brows, 27-35 nose, 36-47 eyes, 48-67 lips; "left" is the left of the picture. Where the edge of the face is what
the camera happens to see, its points are taken where the surface turns away.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from training.faces.mesh import unfold
from training.faces.parts import Part, eye_ring, head, mouth_ring
from training.faces.skin import BROW_LINE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

CONTOUR_STEPS = 21
# Where the edge of the face lies on the unfolded head seen from the front, from the ear (16) to the chin (8), and
# which way the edge is looked for: degrees from straight out to straight down.
_EDGE = (
    (104.0, -4.0, 0),
    (104.0, -22.0, 0),
    (104.0, -40.0, 4),
    (102.0, -58.0, 10),
    (94.0, -77.0, 22),
    (69.0, -92.0, 42),
    (43.0, -102.0, 60),
    (21.0, -107.5, 78),
    (0.0, -109.5, 90),
)
# The nose from between the eyes to its tip, then its base from the middle to the side: x, y of the average head.
_NOSE = ((0.0, 2.0), (0.0, -10.5), (0.0, -23.0), (0.0, -35.5))
_BASE = ((0.0, -47.6), (6.8, -46.7), (13.4, -44.6))


@dataclass(frozen=True)
class Anchors:
    """Points bound to the mesh: corners (n, 3) and weights (n, 3) of the triangle each lies in."""

    corners: NDArray[np.int32]
    weights: Floats

    def on(self, position: Floats) -> Floats:
        """Return the points (n, 3) on a head whose vertices lie at position (V, 3)."""
        return np.asarray(np.einsum('nc,ncd->nd', self.weights, position[self.corners]))


def bind(plane: NDArray[np.float64]) -> Anchors:
    """Return the anchors of places (n, 2) on the unfolded head; those in a hole go to the nearest triangle."""
    h = head()
    t = h.triangles[h.part_of_triangle == Part.SKIN]
    t = t[np.ptp(h.plane[t][..., 0], axis=1) < 100]  # not those that close the seam behind
    a, b, c = (h.plane[t[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    corners, weights = [], []
    for p in plane:
        w0 = ((b[:, 0] - p[0]) * (c[:, 1] - p[1]) - (c[:, 0] - p[0]) * (b[:, 1] - p[1])) / area
        w1 = ((c[:, 0] - p[0]) * (a[:, 1] - p[1]) - (a[:, 0] - p[0]) * (c[:, 1] - p[1])) / area
        w = np.stack([w0, w1, 1 - w0 - w1], 1)
        best = int(np.argmax(w.min(1)))
        corners.append(t[best])
        near = np.clip(w[best], 0, 1)
        weights.append(near / near.sum())
    return Anchors(np.array(corners, np.int32), np.array(weights, np.float32))


def _vertices(index: NDArray[np.int64]) -> Anchors:
    weights = np.zeros((len(index), 3), np.float32)
    weights[:, 0] = 1
    return Anchors(np.repeat(index[:, None], 3, 1).astype(np.int32), weights)


@cache
def inner_anchors() -> Anchors:
    """Return the anchors of points 17 to 67."""
    brow = np.array(BROW_LINE) + np.array([0.0, 0.9])
    brows = np.concatenate([brow[::-1] * [-1, 1], brow])
    base = np.array(_BASE)
    nose = np.concatenate([np.array(_NOSE), base[:0:-1] * [-1, 1], base])
    front = unfold(nose)
    surface = bind(np.concatenate([brows, front]))
    lids = []
    for side in (-1, 1):
        ring = eye_ring(1, side)
        n = len(ring)
        order = [0, 7, n // 2 - 7, n // 2, n // 2 + 7, n - 7]
        loop = ring[order]  # inner, upper inner, upper outer, outer, lower outer, lower inner
        lids.append(loop[[3, 2, 1, 0, 5, 4]] if side < 0 else loop)
    border, inner = mouth_ring(3), mouth_ring(1)
    outer_lip = border[[0, 7, 10, 12, 14, 17, 24, 31, 34, 36, 38, 41]]
    inner_lip = inner[[0, 10, 12, 14, 24, 34, 36, 38]]
    rest = _vertices(np.concatenate([*lids, outer_lip, inner_lip]))
    return Anchors(np.concatenate([surface.corners, rest.corners]), np.concatenate([surface.weights, rest.weights]))


@cache
def edge_anchors() -> tuple[Anchors, Floats]:
    """Return anchors of the places where an edge may lie, 17 * CONTOUR_STEPS, and (17, 3) the way out of the face."""
    places, ways = [], []
    for s, v, angle in _EDGE:
        a = np.radians(angle)
        inward = np.linspace(0.0, 72.0 if angle < 30 else 45.0, CONTOUR_STEPS - 4)[::-1]
        beyond = np.linspace(1.0, 4.0, 4) * (1.5 if angle < 30 else 2.2)
        along = np.concatenate([-inward, beyond])
        places.append(np.stack([s + along * np.cos(a), v - along * np.sin(a) * np.where(along > 0, 1.0, 0.8)], 1))
        ways.append((np.cos(a) * np.sin(s / 70), -np.sin(a), np.cos(a) * np.cos(s / 70)))
    right, way = np.array(places), np.array(ways)  # ear to chin
    both = np.concatenate([right * [-1, 1], right[-2::-1]])
    return bind(both.reshape(-1, 2)), np.concatenate([way * [-1, 1, 1], way[-2::-1]]).astype(np.float32)


def landmarks(picture: Floats, turned: Floats) -> tuple[Floats, Floats]:
    """Return the 68 points (68, 2) in the picture and their depth (68,).

    picture: (V, 3) x, y and depth of the head's vertices; turned: (3, 3) rotation of the head.
    """
    inner = inner_anchors().on(picture)
    anchors, way = edge_anchors()
    edge = anchors.on(picture).reshape(17, CONTOUR_STEPS, 3)
    out = way @ turned.T
    reach = edge[..., 0] * out[:, :1] - edge[..., 1] * out[:, 1:2]
    best = edge[np.arange(17), np.argmax(reach, 1)]
    points = np.concatenate([best, inner])
    return points[:, :2].astype(np.float32), points[:, 2].astype(np.float32)


def five(points: Floats) -> Floats:
    """Return (5, 2): middles of the eyes, tip of the nose, corners of the mouth, left to right."""
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
