"""The average head as one mesh: skin with holes for eyes and mouth, sculpted once, in millimetres.

Every face is this mesh with its vertices moved: the triangles, the landmarks and what belongs to which region are the
same for all. Coordinates as in `proportions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.faces import proportions as average
from training.faces.proportions import smooth_columns, spline

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]
    Points = NDArray[np.float64]

AROUND_EYE = 36
AROUND_MOUTH = 48
EYE_RINGS = 7
MOUTH_RINGS = 8
CREASE_RING = 4
"""Of an eye's rings: 0 and 1 are the inner and outer edges of the lids' margins, this one is the fold above it."""
INNER_LIP_RING, BORDER_RING = 1, 3
"""Of the mouth's rings: where the lips touch, and where their red ends."""
_FOLDED = 0.35
"""How far up behind the lips, as a share of their height, the lining of the mouth begins."""
_LID_STEP = (0.0, 0.0, 2.4, 5.0, 7.8, 11.5, 16.0)
_LID_SIDE = (0.0, 0.0, 0.9, 2.0, 3.6, 5.8, 8.4)


@dataclass(frozen=True)
class HeadMesh:
    """The skin of the average head and what is known of each vertex.

    position: (V, 3), the neutral face, mouth closed; the lids are not yet laid over the eyeballs.
    plane: (V, 2), unfolded coordinates: distance around the head from the midline, row height; millimetres.
    triangles: (T, 3) int32, seen from outside counter-clockwise in x right, y up.
    eye_ring, mouth_ring: (V,) int32, -1 off the rings.
    eye_place: (V,), for the rings of an eye the place between the canthi, -1 at the inner one.
    upper: (V,), 1 above and 0 below the lip line or the lid line, in between at the corners.
    mirror: (V,) int32, the vertex's image on the other side.
    """

    position: Points
    plane: Points
    triangles: NDArray[np.int32]
    eye_ring: NDArray[np.int32]
    eye_place: Points
    mouth_ring: NDArray[np.int32]
    upper: Points
    mirror: NDArray[np.int32]


def bump(x: Array, y: Array, centre_x: float, centre_y: float, width: float, height: float) -> Array:
    """Return a bell of height 1 with these standard deviations, mirrored at x = 0 where it stands off the midline."""
    return np.asarray(np.exp(-0.5 * (((np.abs(x) - centre_x) / width) ** 2 + ((y - centre_y) / height) ** 2)))


def step(value: Array, start: Array | float, end: Array | float) -> Array:
    """Return 0 before start, 1 after end (which may come first), smooth in between."""
    t = np.clip((value - start) / (end - start), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t))


def soft_max(a: Array, b: Array, radius: float) -> Array:
    """Return the larger of two heights with the crease between them rounded over about this radius."""
    h = np.clip(0.5 + 0.5 * (a - b) / radius, 0.0, 1.0)
    return np.asarray(b + (a - b) * h + radius * h * (1 - h))


def bare_head(plane: Points) -> Points:
    """Return the (n, 3) surface of the head without features at unfolded coordinates (n, 2)."""
    turn = np.clip(plane[:, 0] / 70.0, -np.pi, np.pi)
    row = smooth_columns(-average.ROWS[:, 0], average.ROWS[:, 1:], -plane[:, 1])
    y_front, z_front, width, z_side, y_side, z_back, y_back, power = row.T
    sine, cosine = np.sin(turn), np.cos(turn)
    front = cosine >= 0
    depth = np.maximum(1 - np.abs(sine) ** power, 0) ** (1 / power)
    z = np.where(front, z_side + (z_front - z_side) * depth, z_side - (z_back - z_side) * cosine)
    y = np.where(front, y_front + (y_side - y_front) * sine**2, y_side + (y_back - y_side) * cosine**2)
    return np.stack([width * sine, y, z], 1)


def unfold(xy: Points) -> Points:
    """Return the unfolded coordinates of points of the face given by x and y of the head; at most 60 mm off."""
    plane = xy.astype(np.float64).copy()
    for _ in range(20):
        plane += 0.8 * (xy - bare_head(plane)[:, :2]) * np.array([1.15, 1.0])
    return np.asarray(plane)


def _nose(x: Array, y: Array, z: Array) -> Array:
    """Raise the nose from a face of height z."""
    ridge_y = (14.0, 6.0, 0.0, -8.0, -18.0, -28.0, -36.0, -41.0, -45.0, -49.0)
    ridge_z = (95.0, 94.0, 95.5, 99.5, 106.5, 112.0, 115.5, 111.0, 104.0, 94.0)
    half = (7.0, 5.2, 4.6, 4.8, 5.8, 6.6, 7.0, 5.0, 4.0, 4.0)
    at = -np.clip(y, -49.0, 14.0)
    ridge = smooth_columns(-np.array(ridge_y), np.stack([ridge_z, half], 1), at)
    flank = np.maximum(np.abs(x) - 0.35 * ridge[..., 1], 0) / ridge[..., 1]
    bridge = ridge[..., 0] - 3.3 * flank**1.55 - 1.2 * flank
    bridge = np.where((y < -50) | (y > 16) | (np.abs(x) > 22), -1e3, bridge)

    def ellipsoid(cx: float, cy: float, cz: float, rx: float, ry: float, rz: float) -> Array:
        d = 1 - ((np.abs(x) - cx) / rx) ** 2 - ((y - cy) / ry) ** 2
        return np.where(d > 0, cz + rz * np.sqrt(np.maximum(d, 0)), cz - 40 * np.sqrt(np.maximum(-d, 0)))

    nose = soft_max(bridge, ellipsoid(0.0, -36.3, 108.3, 9.0, 8.8, 10.0), 3.0)
    nose = soft_max(nose, ellipsoid(3.0, -37.0, 107.5, 7.5, 7.5, 9.5), 2.0)
    nose = soft_max(nose, ellipsoid(10.8, -39.6, 97.5, 6.4, 6.6, 11.0), 2.6)
    nose = soft_max(nose, ellipsoid(0.0, -42.6, 103.0, 3.0, 5.2, 8.0), 1.8)
    return soft_max(nose, z, 4.0)


def _features(p: Points) -> Points:
    """Sculpt brows, sockets, nose, cheeks and chin into a bare head."""
    x, y, z = p.T
    front = step(z, 5.0, 45.0)
    d = 3.0 * bump(x, y, 22, 20, 13, 6) + 1.6 * bump(x, y, 0, 24, 9, 7) + 1.6 * bump(x, y, 44, 17, 9, 8)
    d -= 2.8 * bump(x, y, 28, 9, 13, 6.0) + 5.5 * bump(x, y, 16.5, 1, 5.5, 8) + 1.6 * bump(x, y, 28, -13, 13, 5.5)
    d -= 1.5 * bump(x, y, 50, 3, 7, 10)
    d += 4.5 * bump(x, y, 43, -24, 14, 12) + 1.8 * bump(x, y, 27, -30, 11, 12)
    d -= 2.0 * bump(x, y, 46, -60, 12, 15) + 2.2 * bump(x, y, 62, 22, 9, 18)
    d += 3.6 * bump(x, y, 0, -64, 21, 15) - 2.6 * bump(x, y, 0, -84.5, 14, 4.2)
    d += 3.6 * bump(x, y, 0, -99, 13, 8) + 1.0 * bump(x, y, 10, -101, 7, 7)
    d -= 0.9 * bump(x, y, 0, -54, 2.4, 5) - 0.7 * bump(x, y, 5.0, -54, 2.0, 6)
    d -= (
        1.5
        * np.exp(-0.5 * ((np.abs(x) - (19.0 + 0.42 * (-46.0 - y))) / 3.0) ** 2)
        * step(y, -70, -58)
        * step(y, -36, -44)
    )
    q = p.copy()
    q[:, 2] = z + d * front
    near = (np.abs(x) < 40) & (y < 30) & (y > -62) & (z > 40)
    q[near, 2] = _nose(x[near], y[near], q[near, 2])
    # Nostrils: the floor of the nose is drawn in and up.
    hole = bump(x, y, 6.4, -44.4, 2.8, 1.6) * front
    q[:, 2] -= 2.5 * hole
    q[:, 1] += 1.2 * hole
    return np.asarray(q)


def lid_line(place: Array) -> Points:
    """Return (n, 2) the straight line between the canthi of the right half, by place from -1, inner, to 1."""
    inner, outer = np.array(average.INNER_CANTHUS), np.array(average.OUTER_CANTHUS)
    return np.asarray(inner + (outer - inner) * (np.asarray(place)[:, None] + 1) / 2)


def _eye_rings() -> tuple[Points, Points, Points, Points]:
    """Return xy (rings, around, 2), place and upper (around,) and outward (around, 2) for the eye with x > 0."""
    angle = 2 * np.pi * np.arange(AROUND_EYE) / AROUND_EYE
    place = -np.cos(angle)
    upper = np.where(np.sin(angle) > 1e-9, 1.0, 0.0)
    upper[[0, AROUND_EYE // 2]] = 0.5
    height = np.where(upper > 0.5, spline(average.LID_UPPER, place), spline(average.LID_LOWER, place))
    height[upper == 0.5] = 0.0
    margin = lid_line(place) + np.stack([0 * height, height], 1)
    outward = np.stack([place, np.sin(angle)], 1)
    rings = []
    for up, side in zip(_LID_STEP, _LID_SIDE, strict=True):
        inner = np.where(place < 0, 0.75, 1.0)
        down = np.where(outward[:, 1] < 0, 0.85, 1.0)
        rings.append(margin + outward * np.stack([side * inner, up * down], 1))
    return np.array(rings), place, upper, outward


def _mouth_rings() -> tuple[Points, Points, Points, Points]:
    """Return xy where the rings lie and xy on the unfolded plane (rings, around, 2), place and upper (around,)."""
    angle = 2 * np.pi * np.arange(AROUND_MOUTH) / AROUND_MOUTH
    place = -np.cos(angle)
    upper = np.where(np.sin(angle) > 1e-9, 1.0, 0.0)
    upper[[0, AROUND_MOUTH // 2]] = 0.5
    a = np.abs(place)
    top, line, bottom = (spline(c, a) for c in (average.LIP_TOP, average.LIP_LINE, average.LIP_BOTTOM))
    border = np.where(upper > 0.5, top, np.where(upper < 0.5, bottom, line))
    sign = np.where(upper > 0.5, 1.0, np.where(upper < 0.5, -1.0, 0.0))
    bow = np.abs(np.sin(angle))
    rings, flat = [], []
    # fraction from line to border, width of the ring, distance beyond the border, half opening on the plane
    for part, wide, beyond, opening in (
        (_FOLDED, 0.84, 0.0, 2.6),
        (0.0, 0.9, 0.0, 4.2),
        (0.5, 0.96, 0.0, 3.2),
        (1.0, 1.0, 0.0, 2.0),
        (1.0, 1.03, 1.3, 1.6),
        (1.0, 1.1, 3.6, 1.0),
        (1.0, 1.22, 7.0, 0.4),
        (1.0, 1.4, 11.0, 0.0),
    ):
        y = line + (border - line) * part + sign * beyond * bow
        xy = np.stack([place * wide * average.MOUTH_X, y], 1)
        rings.append(xy)
        # The innermost ring is folded back behind the lips; on the plane it lies within the next.
        flat_y = (line if part == _FOLDED else y) + sign * opening * bow
        flat.append(np.stack([xy[:, 0], flat_y], 1))
    return np.array(rings), np.array(flat), place, upper


def _grid() -> Points:
    """Return unfolded points (n, 2) of the half s >= 0, denser where the face is finer."""
    rows = np.concatenate(
        [
            np.array([116.0, 114.5, 112.0, 108.0, 102.0]),
            np.arange(94.0, 40.0, -7.5),
            np.arange(38.0, -54.0, -3.0),
            np.arange(-54.0, -118.0, -3.4),
            np.array([-118.0, -123.0, -129.0, -137.0, -147.0, -158.0, -170.0, -184.0, -199.0, -215.0]),
        ]
    )
    points = []
    for k, v in enumerate(rows):
        fine = 38 >= v >= -118
        s = [0.0]
        while s[-1] < 220:
            d = 3.0 if (fine and s[-1] < 26) else 3.8 if (fine and s[-1] < 60) else 6.0 if s[-1] < 118 else 12.0
            d = d if fine else max(d, 7.0)
            if v > 100:
                d *= 1.0 + (v - 100) / 4.0
            s.append(s[-1] + d)
        s_row = np.array(s) * (220.0 / s[-1])
        if k % 2:
            s_row[1:-1] += 0.25 * np.diff(s_row)[1:]
        points.append(np.stack([s_row, np.full(len(s_row), v)], 1))
    nose_s, nose_v = np.meshgrid(np.arange(0.0, 20.1, 1.7), np.arange(-26.0, -52.0, -1.5))
    nose_s[1::2, 1:] -= 0.85
    points.append(np.stack([nose_s.ravel(), nose_v.ravel()], 1))
    return np.concatenate(points)


def _inside(polygon: Points, points: Points) -> NDArray[np.bool_]:
    contour = polygon.astype(np.float32)[:, None]
    return np.array([cv2.pointPolygonTest(contour, (float(x), float(y)), measureDist=False) > 0 for x, y in points])


def _delaunay(points: Points) -> NDArray[np.int32]:
    low, high = points.min(0), points.max(0)
    span = cv2.Subdiv2D((int(low[0]) - 5, int(low[1]) - 5, int(high[0] - low[0]) + 10, int(high[1] - low[1]) + 10))
    number = {}
    for k, (x, y) in enumerate(points.astype(np.float32)):
        number[(float(x), float(y))] = k
        span.insert((float(x), float(y)))
    triangles = []
    for x0, y0, x1, y1, x2, y2 in span.getTriangleList():
        corners = [number.get((float(x), float(y))) for x, y in ((x0, y0), (x1, y1), (x2, y2))]
        if None not in corners:
            triangles.append(corners)
    t = np.array(triangles, np.int32)
    a, b, c = points[t[:, 0]], points[t[:, 1]], points[t[:, 2]]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    t[area < 0] = t[area < 0][:, ::-1]
    return np.asarray(t[np.abs(area) > 1e-3])


@cache
def head_mesh() -> HeadMesh:
    """Return the average head; made once."""
    eye_xy, eye_place, eye_upper, _ = _eye_rings()
    mouth_xy, mouth_flat, _, mouth_upper = _mouth_rings()
    half = AROUND_MOUTH // 4
    right = np.r_[
        half : 3 * half + 1
    ]  # of the mouth's rings, from the middle above over the corner to the middle below
    eye_flat = unfold(eye_xy.reshape(-1, 2)).reshape(eye_xy.shape)
    # On the plane the margins of the lids lie apart, the inner one nearer to the middle of the eye.
    middle = eye_flat[1].mean(0)
    eye_flat[0] = middle + (eye_flat[1] - middle) * 0.9
    m_flat = unfold(mouth_flat[:, right].reshape(-1, 2)).reshape(MOUTH_RINGS, len(right), 2)
    m_flat[:, [0, -1], 0] = 0.0

    grid = _grid()
    keep = ~_inside(
        eye_flat[-1] + 1.5 * (eye_flat[-1] - middle) / np.linalg.norm(eye_flat[-1] - middle, axis=1)[:, None], grid
    )
    outer = np.concatenate([m_flat[-1], m_flat[-1][::-1] * [-1, 1]])
    lip_middle = np.array([0.0, average.MOUTH_Y])
    keep &= ~_inside(lip_middle + (outer - lip_middle) * 1.06, grid)
    nose_patch = (grid[:, 0] < 20.3) & (grid[:, 1] < -25.9) & (grid[:, 1] > -51.9)
    patch = np.zeros(len(grid), bool)
    patch[-13 * 18 :] = True
    keep &= ~nose_patch | patch
    grid = grid[keep]

    plane = np.concatenate([grid, eye_flat.reshape(-1, 2), m_flat.reshape(-1, 2)])
    n_grid, n_eye, n_mouth = len(grid), eye_flat.size // 2, m_flat.size // 2
    position = _features(bare_head(plane))
    eye_ring, mouth_ring = np.full((2, len(plane)), -1, np.int32)
    place, upper = np.zeros(len(plane)), np.zeros(len(plane))
    eye, mouth = slice(n_grid, n_grid + n_eye), slice(n_grid + n_eye, n_grid + n_eye + n_mouth)
    eye_ring[eye] = np.repeat(np.arange(EYE_RINGS), AROUND_EYE)
    place[eye] = np.tile(eye_place, EYE_RINGS)
    upper[eye] = np.tile(eye_upper, EYE_RINGS)
    mouth_ring[mouth] = np.repeat(np.arange(MOUTH_RINGS), len(right))
    upper[mouth] = np.tile(mouth_upper[right], MOUTH_RINGS)
    off = (eye_ring < 0) & (mouth_ring < 0)
    upper[off] = step(plane[off, 1], average.MOUTH_Y - 6, average.MOUTH_Y + 6)

    position[eye, :2] = eye_xy.reshape(-1, 2)
    lips = mouth_xy[:, right].reshape(-1, 2)
    position[mouth, :2] = lips
    position[mouth, 2] += _lip_relief(lips, mouth_ring[mouth])

    triangles = _delaunay(plane)
    hole = (eye_ring[triangles] == 0).all(1) | (mouth_ring[triangles] == 0).all(1)
    return _mirrored(position, plane, triangles[~hole], eye_ring, place, mouth_ring, upper)


def _lip_relief(xy: Points, ring: NDArray[np.int32]) -> Array:
    """Return how far the lips stand out from the face."""
    full = np.sqrt(np.clip(1 - (xy[:, 0] / (average.MOUTH_X * 1.02)) ** 2, 0, 1))
    height = np.choose(ring, (-6.5, -0.4, 3.0, 1.3, 0.8, 0.2, 0.0, 0.0))
    upper = xy[:, 1] > average.MOUTH_Y
    return np.asarray(
        height * np.where(ring < 2, 1.0, full) - 2.0 * (1 - full) * (ring < 4) + 0.5 * full * upper * (ring == 2)
    )


def _mirrored(
    position: Points,
    plane: Points,
    triangles: NDArray[np.int32],
    eye_ring: NDArray[np.int32],
    place: Points,
    mouth_ring: NDArray[np.int32],
    upper: Points,
) -> HeadMesh:
    """Put the other half beside this one; vertices on the midline, and on the seam behind, are shared."""
    n = len(plane)
    shared = (plane[:, 0] < 1e-6) | (plane[:, 0] > 219.9)
    position[plane[:, 0] < 1e-6, 0] = 0.0
    position[plane[:, 0] > 219.9, 0] = 0.0
    other = np.flatnonzero(~shared)
    image = np.arange(n)
    image[other] = n + np.arange(len(other))
    flip = np.array([-1.0, 1.0, 1.0])
    mirror = np.concatenate([image, other]).astype(np.int32)
    return HeadMesh(
        position=np.concatenate([position, position[other] * flip]),
        plane=np.concatenate([plane, plane[other] * flip[:2]]),
        triangles=np.concatenate([triangles, image[triangles][:, ::-1]]).astype(np.int32),
        eye_ring=np.concatenate([eye_ring, eye_ring[other]]),
        eye_place=np.concatenate([place, place[other]]),
        mouth_ring=np.concatenate([mouth_ring, mouth_ring[other]]),
        upper=np.concatenate([upper, upper[other]]),
        mirror=mirror,
    )
