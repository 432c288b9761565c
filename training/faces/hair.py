"""Hair as ribbons: rooted in the scalp or the jaw, combed, pulled down by their weight and held off the head."""

# mypy: disable-error-code="untyped-decorator,no-any-unimported"
from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numba
import numpy as np

from training.faces.mesh import step
from training.faces.parts import Part, head

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import Hair, Hat

    Floats = NDArray[np.float32]

STYLES = ('bald', 'cropped', 'short', 'side', 'back', 'fringe', 'bob', 'long', 'tied', 'curly', 'afro', 'spiky')
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


@dataclass(frozen=True)
class Comb:
    """How a style grows. flow: 0 radially from the crown, 1 back, 2 away from the part, 3 forward, 4 outwards."""

    flow: int
    strands: int
    joints: int
    lift: float
    weight: float
    width: float
    wander: float
    stiff: float


COMBS = {
    'cropped': Comb(0, 700, 2, 0.25, 0.0, 3.2, 0.25, 0.9),
    'short': Comb(2, 800, 3, 0.18, 0.30, 4.2, 0.25, 0.8),
    'side': Comb(2, 800, 5, 0.22, 0.40, 4.4, 0.12, 0.75),
    'back': Comb(1, 800, 5, 0.25, 0.20, 4.4, 0.10, 0.8),
    'fringe': Comb(3, 850, 5, 0.20, 0.60, 4.6, 0.15, 0.7),
    'bob': Comb(2, 800, 6, 0.22, 0.9, 5.5, 0.08, 0.6),
    'long': Comb(2, 800, 8, 0.22, 0.9, 6.0, 0.08, 0.6),
    'tied': Comb(1, 700, 6, 0.10, 0.0, 5.0, 0.05, 0.9),
    'curly': Comb(2, 850, 6, 0.5, 0.6, 5.0, 0.5, 0.6),
    'afro': Comb(4, 1100, 3, 1.6, 0.02, 6.5, 0.4, 0.8),
    'spiky': Comb(1, 700, 3, 1.1, 0.02, 4.2, 0.3, 0.9),
}


def hairline(around: NDArray[np.float64], recede: float) -> NDArray[np.float64]:
    """Return the height of the hairline at distances around from the midline; recede: mm it has gone back in front."""
    s = np.abs(around)
    line = np.interp(s, _HAIRLINE[:, 0], _HAIRLINE[:, 1])
    return np.asarray(line + recede * np.exp(-0.5 * ((s - 34) / 22) ** 2) + 0.5 * recede * np.exp(-0.5 * (s / 20) ** 2))


def scalp(hair: Hair, hat: Hat | None) -> Floats:
    """Return (V,) how densely hair grows on each vertex of the head, 0 to 1."""
    h = head()
    if hair.style == 'bald' or (hat is not None and hat.style == 'scarf'):
        return np.zeros(len(h.position), np.float32)
    gap = h.plane[:, 1] - hairline(h.plane[:, 0], hair.hairline)
    on = step(gap, -2.0, 7.0) * (h.part == Part.SKIN)
    return np.asarray(on, np.float32)


@cache
def _roots(jaw: bool) -> tuple[NDArray[np.int32], Floats, Floats]:  # noqa: FBT001 - cached by position
    """Return corners (n, 3), weights (n, 3) and unfolded places (n, 2) of points spread evenly over scalp or jaw."""
    h = head()
    rng = np.random.default_rng(3)
    t = h.triangles[h.part_of_triangle == Part.SKIN]
    mid = h.plane[t].mean(1)
    use = (
        (mid[:, 1] < 0) & (mid[:, 1] > -130) & (np.abs(mid[:, 0]) < 100)
        if jaw
        else mid[:, 1] > np.minimum(hairline(mid[:, 0], 0.0) - 3, 115)
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


@numba.njit(cache=True, fastmath=True, nogil=True)
def _grow(
    root: Floats,
    up: Floats,
    flow: int,
    part: float,
    length: Floats,
    joints: int,
    lift: float,
    weight: float,
    wander: float,
    stiff: float,
    curl: float,
    chance: Floats,
    skull: Floats,
    tail: Floats,
    out: Floats,
) -> None:
    """Write strands (n, joints + 1, 3). skull (k, 7): ellipsoids, centre, radii, and how far hair stays off."""
    n = root.shape[0]
    for s in range(n):
        x, y, z = root[s, 0], root[s, 1], root[s, 2]
        nx, ny, nz = up[s, 0], up[s, 1], up[s, 2]
        if flow == 0:
            dx, dy, dz = x, y - 100.0, z + 35.0
        elif flow == 1:
            dx, dy, dz = 0.15 * x, 25.0 - 0.2 * abs(x), -90.0
            if y < 20:
                dy = -30.0
        elif flow == 2:
            dx, dy, dz = (60.0 if x > part else -60.0), -25.0, (-45.0 if z > 30 else -12.0) * (0.6 + 0.8 * chance[s, 3])
            if z < -40:
                dx, dy, dz = 0.3 * x, -60.0, -10.0
        elif flow == 3:
            dx, dy, dz = 0.35 * x, -20.0, 70.0
            if z < -10:
                dx, dy, dz = 0.3 * x, -60.0, -10.0
        else:
            dx, dy, dz = nx, ny, nz
        if tail[3] > 0:
            dx, dy, dz = tail[0] - x, tail[1] - y, tail[2] - z
        dot = dx * nx + dy * ny + dz * nz
        dx, dy, dz = dx - dot * nx, dy - dot * ny, dz - dot * nz
        one = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz + 1e-6)
        dx, dy, dz = dx * one + lift * nx, dy * one + lift * ny, dz * one + lift * nz
        dx += wander * (chance[s, 0] - 0.5)
        dy += wander * (chance[s, 1] - 0.5)
        dz += wander * (chance[s, 2] - 0.5)
        one = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz + 1e-6)
        dx, dy, dz = dx * one, dy * one, dz * one
        out[s, 0, 0], out[s, 0, 1], out[s, 0, 2] = x, y, z
        seg = length[s] / joints
        phase = 6.28 * chance[s, 4]
        for k in range(joints):
            t = (k + 1.0) / joints
            pull = weight * (0.4 + t) * (1.0 - 0.5 * stiff) * seg / 16.0
            dy -= pull
            if curl > 0:
                turn = phase + length[s] * t * 0.22
                dx += curl * math.cos(turn) * 0.6
                dz += curl * math.sin(turn) * 0.6
                dy += curl * math.sin(turn * 1.3 + chance[s, 0] * 6.0) * 0.4
            one = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz + 1e-6)
            dx, dy, dz = dx * one, dy * one, dz * one
            x, y, z = x + dx * seg, y + dy * seg, z + dz * seg
            for e in range(skull.shape[0]):
                off = skull[e, 6] * (0.35 + 0.65 * chance[s, 3]) * min(1.0, 0.4 + t)
                rx, ry, rz = skull[e, 3] + off, skull[e, 4] + off, skull[e, 5] + off
                ax, ay, az = (x - skull[e, 0]) / rx, (y - skull[e, 1]) / ry, (z - skull[e, 2]) / rz
                q = ax * ax + ay * ay + az * az
                if q < 1.0:
                    q = 1.0 / math.sqrt(q + 1e-6)
                    bx, by, bz = skull[e, 0] + ax * q * rx, skull[e, 1] + ay * q * ry, skull[e, 2] + az * q * rz
                    dx, dy, dz = dx + 0.6 * (bx - x) / seg, dy + 0.6 * (by - y) / seg, dz + 0.6 * (bz - z) / seg
                    x, y, z = bx, by, bz
            out[s, k + 1, 0], out[s, k + 1, 1], out[s, k + 1, 2] = x, y, z


@numba.njit(cache=True, fastmath=True, nogil=True)
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
    corners, weights, place = _roots(False)
    gap = place[:, 1] - hairline(place[:, 0].astype(np.float64), hair.hairline)
    use = gap > 1.0 + 2.0 * np.abs(np.sin(place[:, 0] * 0.31 + hair.seed))
    if hat is not None:
        use &= place[:, 1] < 38 + hat.low + 0.28 * np.abs(place[:, 0]) * -1
    use = np.flatnonzero(use)[: int(comb.strands * density)]
    if len(use) == 0:
        return None
    corners, weights = corners[use], weights[use]
    root = np.einsum('nc,ncd->nd', weights, position[corners])
    up = np.einsum('nc,ncd->nd', weights, normal[corners])
    rng = np.random.default_rng(hair.seed)
    chance = rng.random((len(use), 6), np.float32)
    tall = 4.0 + 18.0 * hair.volume
    crown = position[head_top()]
    length = hair.length * (0.65 + 0.55 * chance[:, 0])
    high = step(place[use, 1].astype(np.float64), *((55.0, 98.0) if hair.style == 'spiky' else (20.0, 62.0)))
    sides = (
        1.0
        if hair.style in ('long', 'bob', 'curly', 'afro', 'tied', 'fringe')
        else (0.12 + 0.88 * high if hair.style == 'spiky' else 0.3 + 0.7 * high)
    )
    length = (length * sides).astype(np.float32)
    if hair.style == 'fringe':
        length = np.where((root[:, 2] > 20), np.minimum(length, 62 + 12 * chance[:, 1]), length).astype(np.float32)
    skull = np.array(
        [
            (0.0, 34.0 + (crown[1] - 116) * 0.5, 0.0, 72.0, 80.0 + (crown[1] - 116) * 0.5, 96.0, 0.5 * tall),
            (0.0, -40.0, 10.0, 63.0, 78.0, 82.0, 0.35 * tall),
            (0.0, -150.0, -18.0, 56.0, 90.0, 48.0, 5.0),
            (0.0, -245.0, -18.0, 190.0, 70.0, 70.0, 6.0),
        ],
        np.float32,
    )
    skull[:, 3] *= np.clip(np.abs(position[head_side(), 0]) / 74.0, 0.8, 1.25)
    tail = np.array([0.0, 45.0, -125.0, 1.0 if hair.style == 'tied' else 0.0], np.float32)
    out = np.empty((len(use), comb.joints + 1, 3), np.float32)
    lift = comb.lift * (0.4 + 1.2 * hair.volume)
    _grow(root.astype(np.float32), up.astype(np.float32), comb.flow, hair.part, length, comb.joints, lift, comb.weight, comb.wander, comb.stiff,
          hair.curl, chance, skull, tail, out)  # fmt: skip
    return Strands(out, _tint(hair.colour, hair.grey, chance), comb.width * density**-0.6)


def grow_beard(
    mask: Floats,
    length: float,
    colour: tuple[float, float, float],
    grey: float,
    seed: int,
    position: Floats,
    normal: Floats,
) -> Strands | None:
    """Return the strands of a beard that grows where mask (V,) is above a half."""
    corners, weights, place = _roots(True)
    use = np.flatnonzero((mask[corners] * weights).sum(1) > 0.45)[:700]
    if len(use) == 0 or length < 2.0:
        return None
    corners, weights = corners[use], weights[use]
    root = np.einsum('nc,ncd->nd', weights, position[corners]).astype(np.float32)
    up = np.einsum('nc,ncd->nd', weights, normal[corners]).astype(np.float32)
    chance = np.random.default_rng(seed).random((len(use), 6), np.float32)
    direction = np.stack([0.25 * np.sign(root[:, 0]), -0.9 + 0 * root[:, 0], 0.1 + 0 * root[:, 0]], 1).astype(
        np.float32
    )
    direction += 0.35 * up + 0.5 * (chance[:, :3] - 0.5)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    # Kept short over the mouth.
    long = length * (0.6 + 0.7 * chance[:, 3:4]) * np.where(place[use, 1:] > -62, 0.4, 1.0)
    down = np.array([0, -0.3, 0], np.float32)
    points = np.stack([root, root + direction * long * 0.5, root + (direction + down) * long], 1)
    return Strands(points.astype(np.float32), _tint(colour, grey, chance), 2.6)


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
