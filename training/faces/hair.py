"""Hair as ribbons: rooted in the scalp or the jaw, combed, pulled down by their weight and held off the head."""

# mypy: disable-error-code="untyped-decorator,no-any-unimported,no-any-return"
from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from training.faces.light import unit
from training.faces.mesh import step
from training.faces.parts import Part, head
from training.faces.raster import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import Beard, Hair, Hat

    Floats = NDArray[np.float32]

# Where the hair of the head begins on the unfolded head: distance around from the midline, height.
_HAIRLINE = np.array(
    [
        (0, 73),
        (18, 74),
        (36, 71),
        (50, 62),
        (62, 46),
        (73, 34),
        (81, 24),
        (87, 8),
        (90, -14),
        (101, -16),
        (104, 4),
        (109, 20),
        (119, 16),
        (127, -14),
        (138, -58),
        (160, -76),
        (220, -80),
    ],
    np.float64,
)


class Comb(NamedTuple):
    """How a style grows.

    flow: which way hair is combed, of CROWN to OUT. strands and joints: how many, and of how many pieces each. lift:
    how steeply it leaves the skin. weight: how soon it hangs. wander: how far strands differ. width: of a strand, mm.
    sides: length at the sides over that above them; full: height on the unfolded head where it is whole, mm.
    """

    flow: int
    strands: int
    joints: int
    lift: float
    weight: float
    wander: float
    width: float
    sides: float = 1.0
    full: float = 62.0


CROWN, BACK, PARTED, FORWARD, OUT, TIED = range(6)
COMBS = {
    'cropped': Comb(CROWN, 700, 2, 0.25, 0.0, 0.25, 3.2, sides=0.3),
    'short': Comb(PARTED, 800, 3, 0.18, 0.18, 0.25, 4.2, sides=0.3),
    'side': Comb(PARTED, 800, 5, 0.22, 0.25, 0.12, 4.4, sides=0.3),
    'back': Comb(BACK, 800, 5, 0.25, 0.12, 0.10, 4.4, sides=0.3),
    'fringe': Comb(FORWARD, 850, 5, 0.20, 0.39, 0.15, 4.6),
    'bob': Comb(PARTED, 800, 6, 0.22, 0.63, 0.08, 5.5),
    'long': Comb(PARTED, 800, 8, 0.22, 0.63, 0.08, 6.0),
    'tied': Comb(TIED, 700, 6, 0.10, 0.0, 0.05, 5.0),
    'curly': Comb(PARTED, 850, 6, 0.5, 0.42, 0.5, 5.0),
    'afro': Comb(OUT, 1100, 3, 1.6, 0.012, 0.4, 6.5),
    'spiky': Comb(BACK, 700, 3, 1.1, 0.011, 0.3, 4.2, sides=0.12, full=98.0),
}
STYLES = ('bald', *COMBS)
_TAIL = (0.0, 45.0, -125.0)
"""Where tied hair meets, mm."""


def _hairline(around: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Return the height of the hairline at distances around from the midline, and how far it goes back with age."""
    s = np.abs(around)
    line = np.interp(s, _HAIRLINE[:, 0], _HAIRLINE[:, 1])
    recedes = np.exp(-0.5 * ((s - 34) / 22) ** 2) + 0.5 * np.exp(-0.5 * (s / 20) ** 2)
    return line.astype(np.float32), recedes.astype(np.float32)


@cache
def _head_hairline() -> tuple[Floats, Floats, Floats]:
    """Return for the head's vertices the height of the hairline, how far it recedes, and their own height; (V,)."""
    h = head()
    height = np.where(h.part == Part.SKIN, h.plane[:, 1], -1e3)
    return *_hairline(h.plane[:, 0]), height.astype(np.float32)


def scalp(hair: Hair, hat: Hat | None) -> Floats:
    """Return (V,) how densely hair grows on each vertex of the head, 0 to 1."""
    h = head()
    if hair.style == 'bald' or (hat is not None and hat.style == 'scarf'):
        return np.zeros(len(h.position), np.float32)
    line, recedes, height = _head_hairline()
    return np.asarray(step(height - line - np.float32(hair.hairline) * recedes, -2.0, 7.0), np.float32)


@cache
def _roots(*, jaw: bool) -> tuple[NDArray[np.int32], Floats, Floats]:
    """Return corners (n, 3), weights (n, 3) and unfolded places (n, 2) of points spread evenly over scalp or jaw."""
    h = head()
    rng = np.random.default_rng(3)
    t = h.triangles[h.part_of_triangle == Part.SKIN]
    mid = h.plane[t].mean(1)
    use = (
        (mid[:, 1] < 0) & (mid[:, 1] > -130) & (np.abs(mid[:, 0]) < 100)
        if jaw
        else mid[:, 1] > np.minimum(_hairline(mid[:, 0])[0] - 3, 115)
    )
    t = t[use]
    a, b, c = (h.position[t[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    # Stratified along the triangles' running area, so that few points already cover everything evenly.
    n = 6000
    order = np.argsort(h.plane[t].mean(1) @ [1.0, 0.37])
    t, area = t[order], area[order]
    edge = np.cumsum(area) / area.sum()
    pick = np.searchsorted(edge, (np.arange(n) + rng.random(n)) / n)
    pick = np.minimum(pick, len(t) - 1)
    w = rng.dirichlet((1, 1, 1), n)
    shuffle = rng.permutation(n)
    corners, weights = t[pick][shuffle], w[shuffle]
    return (
        corners.astype(np.int32),
        weights.astype(np.float32),
        (h.plane[corners] * weights[..., None]).sum(1).astype(np.float32),
    )


@cache
def _root_hairline() -> tuple[Floats, Floats]:
    """Return the height of the hairline at the roots, and how far it recedes there."""
    return _hairline(_roots(jaw=False)[2][:, 0].astype(np.float64))


@compiled
def _combed(flow: int, part: float, x: float, y: float, z: float, chance: float) -> tuple[float, float, float]:
    """Return which way hair rooted at (x, y, z) is combed, along the skin or not; of any length."""
    hanging = z < (-40.0 if flow == PARTED else -10.0)
    if flow == CROWN:
        return x, y - 100.0, z + 35.0
    if flow == BACK:
        return 0.15 * x, (25.0 - 0.2 * abs(x)) if y >= 20 else -30.0, -90.0
    if flow in (PARTED, FORWARD) and hanging:
        return 0.3 * x, -60.0, -10.0
    if flow == PARTED:
        return 60.0 if x > part else -60.0, -25.0, (-45.0 if z > 30 else -12.0) * (0.6 + 0.8 * chance)
    if flow == FORWARD:
        return 0.35 * x, -20.0, 70.0
    if flow == TIED:
        return _TAIL[0] - x, _TAIL[1] - y, _TAIL[2] - z
    return 0.0, 0.0, 0.0


@compiled
def _grow(
    root: Floats,
    up: Floats,
    comb: Comb,
    lift: float,
    part: float,
    curl: float,
    length: Floats,
    chance: Floats,
    hull: Floats,
    out: Floats,
) -> None:
    """Write strands (n, joints + 1, 3) that grow from root (n, 3) on skin that faces up (n, 3).

    chance: (n, 6) 0 to 1. hull: (k, 7) ellipsoids that hair lies on: centre, radii, how far it may stay off; mm.
    """
    for s in range(len(root)):
        x, y, z = root[s, 0], root[s, 1], root[s, 2]
        nx, ny, nz = up[s, 0], up[s, 1], up[s, 2]
        dx, dy, dz = _combed(comb.flow, part, x, y, z, chance[s, 3])
        along = dx * nx + dy * ny + dz * nz
        dx, dy, dz = unit(dx - along * nx, dy - along * ny, dz - along * nz)
        dx, dy, dz = unit(
            dx + lift * nx + comb.wander * (chance[s, 0] - 0.5),
            dy + lift * ny + comb.wander * (chance[s, 1] - 0.5),
            dz + lift * nz + comb.wander * (chance[s, 2] - 0.5),
        )
        out[s, 0, 0], out[s, 0, 1], out[s, 0, 2] = x, y, z
        piece = length[s] / comb.joints
        for k in range(comb.joints):
            t = (k + 1.0) / comb.joints
            turn = 6.28 * chance[s, 4] + length[s] * t * 0.22
            dx += 0.6 * curl * math.cos(turn)
            dy += 0.4 * curl * math.sin(turn * 1.3 + chance[s, 0] * 6.0) - comb.weight * (0.4 + t) * piece / 16.0
            dz += 0.6 * curl * math.sin(turn)
            dx, dy, dz = unit(dx, dy, dz)
            x, y, z = x + dx * piece, y + dy * piece, z + dz * piece
            for e in range(len(hull)):
                off = hull[e, 6] * (0.35 + 0.65 * chance[s, 3]) * min(1.0, 0.4 + t)
                rx, ry, rz = hull[e, 3] + off, hull[e, 4] + off, hull[e, 5] + off
                ax, ay, az = (x - hull[e, 0]) / rx, (y - hull[e, 1]) / ry, (z - hull[e, 2]) / rz
                q = ax * ax + ay * ay + az * az
                if q < 1.0:
                    q = 1.0 / math.sqrt(q + 1e-6)
                    bx, by, bz = hull[e, 0] + ax * q * rx, hull[e, 1] + ay * q * ry, hull[e, 2] + az * q * rz
                    dx, dy, dz = dx + 0.6 * (bx - x) / piece, dy + 0.6 * (by - y) / piece, dz + 0.6 * (bz - z) / piece
                    x, y, z = bx, by, bz
            out[s, k + 1, 0], out[s, k + 1, 1], out[s, k + 1, 2] = x, y, z


@compiled
def ribbons(
    strands: Floats,
    width: float,
    eye: Floats,
    tint: Floats,
    position: Floats,
    tangent: Floats,
    paint: Floats,
    triangles: NDArray[np.int32],
) -> None:
    """Turn strands (n, k, 3) before the camera into ribbons facing eye: 2 k vertices and 2 (k - 1) triangles each."""
    n, k = strands.shape[0], strands.shape[1]
    for s in range(n):
        for q in range(k):
            a, b = max(q - 1, 0), min(q + 1, k - 1)
            tx, ty, tz = (
                strands[s, b, 0] - strands[s, a, 0],
                strands[s, b, 1] - strands[s, a, 1],
                strands[s, b, 2] - strands[s, a, 2],
            )
            one = 1.0 / math.sqrt(tx * tx + ty * ty + tz * tz + 1e-9)
            tx, ty, tz = tx * one, ty * one, tz * one
            vx, vy, vz = eye[0] - strands[s, q, 0], eye[1] - strands[s, q, 1], eye[2] - strands[s, q, 2]
            sx, sy, sz = ty * vz - tz * vy, tz * vx - tx * vz, tx * vy - ty * vx
            one = 0.5 * width * (1.0 - 0.75 * (q / (k - 1.0)) ** 2) / math.sqrt(sx * sx + sy * sy + sz * sz + 1e-9)
            sx, sy, sz = sx * one, sy * one, sz * one
            for e in range(2):
                v = (s * k + q) * 2 + e
                sign = 1.0 if e else -1.0
                position[v, 0], position[v, 1], position[v, 2] = (
                    strands[s, q, 0] + sign * sx,
                    strands[s, q, 1] + sign * sy,
                    strands[s, q, 2] + sign * sz,
                )
                tangent[v, 0], tangent[v, 1], tangent[v, 2] = tx, ty, tz
                for c in range(3):
                    paint[v, c] = tint[s, c] * (0.72 + 0.4 * q / (k - 1.0))
            if q < k - 1:
                v = (s * k + q) * 2
                t = (s * (k - 1) + q) * 2
                triangles[t, 0], triangles[t, 1], triangles[t, 2] = v, v + 1, v + 2
                triangles[t + 1, 0], triangles[t + 1, 1], triangles[t + 1, 2] = v + 1, v + 3, v + 2


@dataclass(frozen=True)
class Strands:
    """points (n, joints, 3) relative to the head; tint (n, 3); width, mm."""

    points: Floats
    tint: Floats
    width: float


def _tint(colour: tuple[float, float, float], grey: float, chance: Floats) -> Floats:
    own = np.array(colour, np.float32)
    white = np.clip(grey * 1.6 - 0.6 * chance[:, 4:5], 0, 1)
    return ((own + white * (0.42 - own)) * (0.75 + 0.5 * chance[:, 5:6])).astype(np.float32)


def grow_hair(hair: Hair, hat: Hat | None, position: Floats, normal: Floats, density: float) -> Strands | None:
    """Return the hair of a head whose vertices lie at position, normal (V, 3); density: of the strands, 1 as usual."""
    if hair.style not in COMBS or (hat is not None and hat.style == 'scarf'):
        return None
    comb = COMBS[hair.style]
    corners, weights, place = _roots(jaw=False)
    line, recedes = _root_hairline()
    gap = place[:, 1] - line - np.float32(hair.hairline) * recedes
    use = gap > 1.0 + 2.0 * np.abs(np.sin(place[:, 0] * 0.31 + hair.seed))
    if hat is not None:
        use &= place[:, 1] < 38 + hat.low + 0.28 * np.abs(place[:, 0]) * -1
    use = np.flatnonzero(use)[: int(comb.strands * density)]
    if len(use) == 0:
        return None
    corners, weights = corners[use], weights[use]
    root = np.einsum('nc,ncd->nd', weights, position[corners]).astype(np.float32)
    up = np.einsum('nc,ncd->nd', weights, normal[corners]).astype(np.float32)
    chance = np.random.default_rng(hair.seed).random((len(use), 6), np.float32)
    above = step(place[use, 1].astype(np.float64), comb.full - 43.0, comb.full)
    length = hair.length * (0.65 + 0.55 * chance[:, 0]) * (comb.sides + (1 - comb.sides) * above)
    if hair.style == 'fringe':
        length = np.where(root[:, 2] > 20, np.minimum(length, 62 + 12 * chance[:, 1]), length)
    tall = 4.0 + 18.0 * hair.volume
    higher = 0.5 * (position[head_top(), 1] - 116)
    # Skull, jaw and neck, shoulders.
    hull = np.array(
        [
            (0.0, 34.0 + higher, 0.0, 72.0, 80.0 + higher, 96.0, 0.5 * tall),
            (0.0, -40.0, 10.0, 63.0, 78.0, 82.0, 0.35 * tall),
            (0.0, -150.0, -18.0, 56.0, 90.0, 48.0, 5.0),
            (0.0, -245.0, -18.0, 190.0, 70.0, 70.0, 6.0),
        ],
        np.float32,
    )
    hull[:, 3] *= np.clip(np.abs(position[head_side(), 0]) / 74.0, 0.8, 1.25)
    out = np.empty((len(use), comb.joints + 1, 3), np.float32)
    lift = comb.lift * (0.4 + 1.2 * hair.volume)
    _grow(root, up, comb, lift, hair.part, hair.curl, length.astype(np.float32), chance, hull, out)
    return Strands(out, _tint(hair.colour, hair.grey, chance), comb.width * density**-0.6)


def grow_beard(beard: Beard, mask: Floats, grey: float, position: Floats, normal: Floats) -> Strands | None:
    """Return the strands of a beard that grows where mask (V,) is above a half."""
    corners, weights, place = _roots(jaw=True)
    use = np.flatnonzero((mask[corners] * weights).sum(1) > 0.45)[:700]
    if len(use) == 0 or beard.length < 2.0:
        return None
    corners, weights = corners[use], weights[use]
    root = np.einsum('nc,ncd->nd', weights, position[corners]).astype(np.float32)
    up = np.einsum('nc,ncd->nd', weights, normal[corners]).astype(np.float32)
    chance = np.random.default_rng(beard.seed).random((len(use), 6), np.float32)
    direction = np.stack([0.25 * np.sign(root[:, 0]), -0.9 + 0 * root[:, 0], 0.1 + 0 * root[:, 0]], 1).astype(
        np.float32
    )
    direction += 0.35 * up + 0.5 * (chance[:, :3] - 0.5)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    # Kept short over the mouth.
    long = beard.length * (0.6 + 0.7 * chance[:, 3:4]) * np.where(place[use, 1:] > -62, 0.4, 1.0)
    down = np.array([0, -0.3, 0], np.float32)
    points = np.stack([root, root + direction * long * 0.5, root + (direction + down) * long], 1)
    return Strands(points.astype(np.float32), _tint(beard.colour, grey, chance), 2.6)


@cache
def head_top() -> int:
    """Return the vertex of the crown."""
    h = head()
    return int(np.argmax(h.position[: h.skin_count, 1]))


@cache
def head_side() -> int:
    """Return the vertex where the head is widest."""
    h = head()
    return int(np.argmax(h.position[: h.skin_count, 0] * (h.plane[: h.skin_count, 1] > 0)))
