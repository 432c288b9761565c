"""Things before a face: hands, microphones, cups, telephones, medical masks, scarves."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from training.faces.landmarks import Anchors, bind
from training.faces.parts import grid_triangles
from training.faces.shading import Material
from training.faces.wear import Piece, joined, piece, tube

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import Occluder

    Floats = NDArray[np.float32]
    Points = NDArray[np.float64]

WORN = ('mask', 'scarf')
"""Kinds that turn with the head."""
KINDS = ('hand', 'microphone', 'cup', 'phone', 'bar', *WORN)
_MASK_ROWS, _MASK_COLUMNS = 11, 25


@cache
def _mask_anchors() -> Anchors:
    t = np.linspace(0, 1, _MASK_ROWS)[:, None]
    u = np.linspace(-1, 1, _MASK_COLUMNS)[None]
    half = 74 - 26 * np.abs(2 * t - 1) ** 1.6 * 0.9
    s = u * half
    v = -18 - 100 * t + 9 * np.abs(u) ** 1.5 * (1 - 2 * t) * -1.0 + 0 * u
    return bind(np.stack([s, v], -1).reshape(-1, 2))


def worn(o: Occluder, position: Floats) -> Piece:
    """Return what is worn by the head whose vertices lie at position (V, 3), in the head's frame."""
    rng = np.random.default_rng(o.seed)
    if o.kind == 'scarf':
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        rings = []
        top = -78 + o.y
        for k in range(4):
            y = top - 26 * k + 5 * np.sin(3 * turn + k) + rng.normal(0, 1.5, 40)
            path = np.stack(
                [(66 + 5 * k) * np.sin(turn), y - 10 * np.cos(turn) * (k < 3), 8 + (84 - 4 * k) * np.cos(turn)], 1
            )
            rings.append(tube(path, 19.0, 8, closed=True))
        return joined(rings, np.array(o.colour), 1.0, Material.CLOTH)
    q = _mask_anchors().on(position).reshape(_MASK_ROWS, _MASK_COLUMNS, 3).astype(np.float64)
    lift = q.copy()
    # The cloth spans what it covers: it lies on the highest of its neighbourhood.
    z = q[..., 2]
    wide = z.copy()
    for dy in (-2, -1, 0, 1, 2):
        for dx in (-3, -1, 0, 1, 3):
            wide = np.maximum(wide, np.roll(np.roll(z, dy, 0), dx, 1) - 3.2 * np.hypot(dx * 1.1, dy))
    for _ in range(2):
        wide[1:-1, 1:-1] = (
            wide[1:-1, 1:-1] * 2 + wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
        ) / 6
    lift[..., 2] = np.maximum(wide, z) + 3.0
    lift[..., 0] *= 1.04
    lift[:, 1:-1, 2] += 1.2 * np.sin(np.arange(_MASK_ROWS) * 2.6)[:, None] * (rng.random() < 0.6)
    uv = np.stack(np.meshgrid(np.arange(_MASK_COLUMNS) * 5.0, np.arange(_MASK_ROWS) * 9.0), -1)
    colour = np.tile(np.array(o.colour), (_MASK_ROWS, _MASK_COLUMNS, 1))
    colour[[0, -1]] *= 0.8
    return piece(
        lift.reshape(-1, 3),
        grid_triangles(_MASK_ROWS, _MASK_COLUMNS),
        uv.reshape(-1, 2),
        colour.reshape(-1, 3),
        0.3,
        Material.CLOTH,
    )


def held(o: Occluder) -> Piece:
    """Return what is held before the mouth, around the origin: x right, y up, z to the camera, mm."""
    rng = np.random.default_rng(o.seed)
    colour = np.array(o.colour)
    if o.kind == 'hand':
        made = _hand(rng)
        material = Material.SKIN
    elif o.kind == 'microphone':
        made = [
            _ball(np.zeros(3), (24.0, 24.0, 24.0)),
            _rod(np.array([0, -15.0, 5]), np.array([0.0, -190, 40]), 13.0, 9.0),
        ]
        p = joined(made, colour, 0.35, Material.GLOSS)
        ball = len(made[0][0])
        grille = 0.10 + 0.14 * (rng.random(ball) < 0.5)
        p.paint[:ball] = grille[:, None]
        return _placed(p, o)
    elif o.kind == 'cup':
        y = np.array([-48.0, -46, -20, 10, 40, 42, 42, 38])
        r = np.array([2.0, 29, 31, 34, 38, 38, 36, 34])
        made = [_turned(y, r)]
        material = Material.GLOSS
    elif o.kind == 'phone':
        c, s = (
            np.cos(np.linspace(0, 2 * np.pi, 32, endpoint=False)),
            np.sin(np.linspace(0, 2 * np.pi, 32, endpoint=False)),
        )
        x = 37 * np.sign(c) * np.abs(c) ** 0.3
        y = 76 * np.sign(s) * np.abs(s) ** 0.3
        rings = [
            np.stack([x * k, y * k, np.full(32, z)], 1) for k, z in ((0.02, 4.5), (0.92, 4.5), (1.0, 0.0), (0.92, -4.5))
        ]
        made = [(np.concatenate(rings), grid_triangles(4, 32, closed=True))]
        material = Material.GLOSS
    else:
        made = [_rod(np.array([-160.0, 0, 0]), np.array([160.0, 20, 10]), rng.uniform(4, 16), rng.uniform(4, 16))]
        material = Material.CLOTH
    p = joined(made, colour, 0.25 if material == Material.GLOSS else 0.2, material)
    p.plane[:, 0] += 500.0  # away from what is painted on faces
    return _placed(p, o)


def _placed(p: Piece, o: Occluder) -> Piece:
    a = np.radians(o.angle)
    about = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]]) * o.size
    moved = p.position @ about.T + np.array([o.x, o.y, o.z])
    return p.at(lambda _: moved.astype(np.float32))


def _ball(centre: Points, radii: tuple[float, float, float]) -> tuple[Points, NDArray[np.int32]]:
    u, v = np.meshgrid(np.linspace(0, np.pi, 11), np.linspace(0, 2 * np.pi, 18, endpoint=False), indexing='ij')
    d = np.stack([np.sin(u) * np.cos(v), np.cos(u), np.sin(u) * np.sin(v)], -1).reshape(-1, 3)
    return centre + d * np.array(radii), grid_triangles(11, 18, closed=True)


def _turned(y: Points, r: Points) -> tuple[Points, NDArray[np.int32]]:
    a = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    p = np.stack([r[:, None] * np.cos(a), y[:, None] + 0 * a, r[:, None] * np.sin(a)], -1).reshape(-1, 3)
    return p, grid_triangles(len(y), 24, closed=True)


def _rod(start: Points, end: Points, thick: float, thin: float) -> tuple[Points, NDArray[np.int32]]:
    t = np.array([0.0, 0.02, 0.3, 0.7, 0.98, 1.0])
    radius = (thick + (thin - thick) * t) * np.array([0.4, 1, 1, 1, 1, 0.4])
    p, triangles = tube(start + t[:, None] * (end - start), 1.0, 12)
    centre = np.repeat(start + t[:, None] * (end - start), 12, 0)
    return centre + (p - centre) * np.repeat(radius, 12)[:, None], triangles


def _hand(rng: np.random.Generator) -> list[tuple[Points, NDArray[np.int32]]]:
    """Return a hand from its back, fingers up: palm, four fingers and a thumb, more or less bent and spread."""
    spread, bend = rng.uniform(0, 9), rng.uniform(0, 45)
    out = [
        _ball(np.array([0.0, -32.0, 0]), (41.0, 48.0, 15.0)),
        _rod(np.array([0, -70.0, 0]), np.array([5.0, -220, -20]), 27.0, 32.0),
    ]
    for k, (length, x) in enumerate(((70, -29), (80, -10), (74, 10), (56, 28))):
        way = np.radians((k - 1.5) * spread + rng.normal(0, 2))
        p, lean = np.array([x, 4.0 - 3 * abs(k - 1.3), 2.0]), np.radians(bend * rng.uniform(0.3, 1.0) * 0.4)
        for joint, part in enumerate((0.45, 0.3, 0.25)):
            d = np.array([np.sin(way) * np.cos(lean), np.cos(way) * np.cos(lean), np.sin(lean) * -1])
            q = p + d * length * part
            out.append(_rod(p - 2 * d, q + 2 * d, 9.2 - joint * 0.9, 8.4 - joint * 0.9))
            p, lean = q, lean + np.radians(bend * rng.uniform(0.5, 1.0))
    d = np.array([-0.75, 0.62, -0.1])
    out += [
        _rod(np.array([-24.0, -52, 2]), np.array([-24.0, -52, 2]) + 40 * d, 12.0, 10.5),
        _rod(
            np.array([-24.0, -52, 2]) + 38 * d,
            np.array([-24.0, -52, 2]) + 38 * d + np.array([-14.0, 26, -2]),
            10.5,
            8.5,
        ),
    ]
    mirror = rng.random() < 0.5
    if mirror:
        out = [(p * [-1, 1, 1], t) for p, t in out]
    return out
