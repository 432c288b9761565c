"""Clothes, glasses and hats: surfaces around a head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from training.faces.landmarks import bind
from training.faces.mesh import step
from training.faces.parts import Part, grid_triangles, head
from training.faces.shading import Material

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.faces.landmarks import Anchors
    from training.faces.parameters import Glasses, Hat, Wear

    Floats = NDArray[np.float32]


_DRAPE = ((62, 58, -122), (72, 70, -134), (90, 82, -150), (132, 98, -180), (190, 110, -232))
"""Half width, half depth and y of a headscarf over the shoulders, mm."""
_FRONT, _EAR_X = 99.0, 70.0
"""z of the forehead and x of the ears of the average head."""


@dataclass(frozen=True)
class Piece:
    """A surface: position (n, 3), triangles, plane (n, 2), paint (n, 3), wet (n,), what it is made of."""

    position: Floats
    triangles: NDArray[np.int32]
    plane: Floats
    paint: Floats
    wet: Floats
    material: Material

    def at(self, placed: Callable[[Floats], Floats]) -> Piece:
        """Return the piece moved."""
        return replace(self, position=placed(self.position))


def piece(
    p: NDArray[np.float64],
    t: NDArray[np.int32],
    uv: NDArray[np.float64],
    colour: NDArray[np.float64],
    wet: float,
    material: Material,
) -> Piece:
    """Return a piece; colour (3,) or (n, 3)."""
    n = len(p)
    return Piece(
        p.astype(np.float32),
        t,
        uv.astype(np.float32),
        np.broadcast_to(colour, (n, 3)).astype(np.float32),
        np.full(n, wet, np.float32),
        material,
    )


def clothes(wear: Wear, neck: float) -> Piece:
    """Return the shoulders in what they wear; neck: half the width of the neck, mm."""
    rng = np.random.default_rng(wear.seed)
    deep = {'round': 20.0, 'v': 62.0, 'high': -18.0, 'shirt': 34.0}.get(wear.collar, 20.0)
    rows, columns = 15, 40
    turn = np.linspace(-np.pi, np.pi, columns)
    t = np.linspace(0, 1, rows)[:, None]
    front = np.clip(np.cos(turn), 0, 1)
    narrow = 2.0 if wear.collar != 'v' else 7.0
    shoulder = rng.uniform(185, 225)
    half_x = neck + 8 + (0 if wear.collar == 'high' else 13) + (shoulder - neck - 20) * t**0.8
    half_z = neck + 2 + (95 - neck) * t**0.9
    x = half_x * np.sin(turn)
    z = -22 + half_z * np.cos(turn) * 0.95 + 8 * t
    drop = 22 * t + 85 * t**2.6 + 160 * np.clip(t - 0.86, 0, 1) * 3
    y = -152 - drop + 0 * turn - (deep * front**narrow) * (1 - t) ** 2 + (12 if wear.collar == 'high' else 0) * (1 - t)
    p = np.stack([x + 0 * t, y, z + 0 * t], -1)
    uv = np.stack([np.broadcast_to(turn * 90, (rows, columns)), np.broadcast_to(t * 170, (rows, columns))], -1)
    one, two = np.array(wear.cloth), np.array(wear.cloth_two)
    if wear.pattern == 'stripes':
        mix = ((uv[..., 1] % 24) < 10)[..., None]
    elif wear.pattern == 'lapel':
        mix = ((np.abs(turn) < 0.42 * t[:, :1] * 1.0 + 0.12) & (t < 0.9))[..., None]
    else:
        mix = (t < (0.09 if wear.pattern == 'edge' else -1))[..., None] & np.ones((rows, columns, 1), bool)
    colour = np.where(mix, two, one)
    colour = colour * rng.uniform(0.93, 1.07, (rows, columns, 1))
    return piece(
        p.reshape(-1, 3), grid_triangles(rows, columns), uv.reshape(-1, 2), colour.reshape(-1, 3), 1.0, Material.CLOTH
    )


def tube(
    path: NDArray[np.float64], radius: float, around: int = 6, *, closed: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return a tube along path (n, 3): positions and triangles."""
    step = np.gradient(path, axis=0) if not closed else np.roll(path, -1, 0) - np.roll(path, 1, 0)
    step /= np.linalg.norm(step, axis=1, keepdims=True) + 1e-9
    side = np.cross(step, [0.12, 0.31, 0.94])
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    up = np.cross(step, side)
    a = np.linspace(0, 2 * np.pi, around, endpoint=False)
    p = path[:, None] + radius * (np.cos(a)[None, :, None] * side[:, None] + np.sin(a)[None, :, None] * up[:, None])
    t = grid_triangles(len(path), around, closed=True)
    if closed:
        last = (len(path) - 1) * around
        r = np.arange(around)
        n = (r + 1) % around
        t = np.concatenate([t, np.stack([last + r, r, last + n], 1), np.stack([last + n, r, n], 1)]).astype(np.int32)
    return p.reshape(-1, 3), t


def spectacles(g: Glasses, nose: Floats, eyes: Floats) -> tuple[Piece, Piece]:
    """Return the frame, and the glass that tints what is behind it, for a nose ridge at nose (3,) and eyes (2, 3)."""
    gap = max(8.0, abs(float(eyes[1, 0] - eyes[0, 0])) / 2 - g.half_width + 1.0)
    y0 = float(nose[1]) - 4.0 - g.slip
    z0 = float(max(nose[2] + 1.0, eyes[:, 2].max() + 14.5)) + 0.4 * g.slip
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    lx = np.sign(c) * np.abs(c) ** (2 / g.power) * g.half_width
    ly = np.sign(s) * np.abs(s) ** (2 / g.power) * g.half_height * (1 - 0.1 * (s < 0))
    points: list[NDArray[np.float64]] = []
    panes: list[NDArray[np.float64]] = []
    triangles, pane_triangles = [], []

    def add(pt: tuple[NDArray[np.float64], NDArray[np.int32]]) -> None:
        triangles.append(pt[1] + sum(len(p) for p in points))
        points.append(pt[0])

    def curve(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return z0 - 0.0042 * x**2

    for side in (-1, 1):
        cx = side * (gap + g.half_width)
        rim = np.stack([cx + lx, y0 + ly, curve(cx + lx)], 1)
        add(tube(rim, g.thickness / 2, closed=True))
        hinge = side * (gap + 2 * g.half_width)
        arm = np.array(
            [
                [hinge, y0 + 4, curve(np.array(hinge))],
                [side * (_EAR_X + 1), y0 + 5, 40],
                [side * (_EAR_X + 3), y0 + 3, -2],
                [side * (_EAR_X + 2), y0 - 22, -14],
            ]
        )
        add(tube(arm, g.thickness / 2))
        pane = np.concatenate([rim, [[cx, y0, curve(np.array(cx)) + 0.8]]])
        n = len(rim)
        r = np.arange(n)
        pane_triangles.append(np.stack([r, (r + 1) % n, np.full(n, n)], 1) + sum(len(p) for p in panes))
        panes.append(pane)
    bx = np.linspace(-gap, gap, 7)
    add(tube(np.stack([bx, y0 + 3.0 + 2.0 * np.cos(bx / gap * np.pi / 2), curve(bx) + 1.5], 1), g.thickness / 2))
    p = np.concatenate(points)
    glass = np.concatenate(panes)
    frame = piece(p, np.concatenate(triangles).astype(np.int32), p[:, :2], np.array(g.colour), 0.6, Material.GLOSS)
    return frame, piece(
        glass, np.concatenate(pane_triangles).astype(np.int32), glass[:, :2], np.array(g.colour), 0.6, Material.GLOSS
    )


def joined(
    made: list[tuple[NDArray[np.float64], NDArray[np.int32]]],
    colour: NDArray[np.float64],
    wet: float,
    material: Material,
) -> Piece:
    """Return several surfaces as one piece."""
    start = np.cumsum([0, *(len(p) for p, _ in made)])
    p = np.concatenate([q for q, _ in made])
    t = np.concatenate([t + s for (_, t), s in zip(made, start[:-1], strict=True)]).astype(np.int32)
    return piece(p, t, p[:, :2], colour, wet, material)


def headgear(hat: Hat, width: float, crown: float) -> Piece:
    """Return a cap, a beanie or a hat with a brim for a head of this half width, with its crown at this y, mm."""
    rng = np.random.default_rng(hat.seed)
    rows, columns = 12, 36
    turn = np.linspace(-np.pi, np.pi, columns)
    t = np.linspace(0, 1, rows)[:, None]
    thick = {'cap': 7.0, 'beanie': 9.0, 'brim': 8.0}[hat.style]
    rim = 50 + hat.low + (np.cos(turn) - 1) * (16 if hat.style == 'beanie' else 12)
    top = crown + {'cap': 12.0, 'beanie': rng.uniform(8, 34), 'brim': 22.0}[hat.style]
    bow = np.cos(t * np.pi / 2) ** (0.55 if hat.style != 'beanie' else 0.62)
    x = (width + thick) * bow * np.sin(turn)
    z = -2 + (_FRONT + thick - 2) * bow * np.cos(turn)
    y = rim + (top - rim) * np.sin(t * np.pi / 2)
    made = [(np.stack([x, y, z], -1).reshape(-1, 3), grid_triangles(rows, columns))]
    if hat.style == 'beanie':
        fold = np.stack([(width + thick + 3) * np.sin(turn), rim - 2, -2 + (_FRONT + thick + 1) * np.cos(turn)], 1)
        upper = fold + np.array([0.0, 26.0, 0.0])
        upper[:, [0, 2]] *= 0.985
        made.append((np.concatenate([fold, upper]), grid_triangles(2, columns)))
    else:
        reach = 66.0 if hat.style == 'cap' else 58.0
        around = np.linspace(-1.15, 1.15, 21) if hat.style == 'cap' else turn
        rise = np.interp(around, turn, rim)
        far = np.cos(around / 1.15 * np.pi / 2) ** 0.6 if hat.style == 'cap' else np.ones_like(around)
        rings = []
        for k in (0.0, 0.5, 1.0):
            out = 1 + k * far * reach / 95
            drop = -k * 8 - (14 * k * np.sin(around) ** 2 if hat.style == 'cap' else 0)
            rings.append(
                np.stack(
                    [
                        (width + thick) * np.sin(around) * (1 + (out - 1) * 0.75),
                        rise + drop,
                        -2 + (_FRONT + thick - 2) * np.cos(around) * out,
                    ],
                    1,
                )
            )
        made.append((np.concatenate(rings), grid_triangles(3, len(around))))
    p = joined(made, np.array(hat.colour), 0.5, Material.CLOTH)
    p.plane[: rows * columns] = np.stack(
        [np.broadcast_to(turn * 80, (rows, columns)), np.broadcast_to(t * 90, (rows, columns))], -1
    ).reshape(-1, 2)
    if hat.style == 'beanie':
        p.paint[: rows * columns] *= np.tile(0.75 + 0.25 * (np.arange(columns) % 2), rows)[:, None]
    return p


@cache
def _scarf_mesh() -> tuple[NDArray[np.int32], NDArray[np.float64], Anchors]:
    """Return the skin's triangles under a headscarf, how far it stands off each vertex, mm, and its rim."""
    h = head()
    t = h.triangles[h.part_of_triangle == Part.SKIN]
    s, v = np.abs(h.plane[:, 0]), h.plane[:, 1]
    inside = (s / 80) ** 2 + ((v + 22) / np.where(v > -22, 84, 92)) ** 2
    mid_s, mid_v = s[t].mean(1), v[t].mean(1)
    covered = (mid_s / 80) ** 2 + ((mid_v + 22) / np.where(mid_v > -22, 84, 92)) ** 2 > 0.9
    covered &= (mid_v < 116) & (mid_v > -165)
    off = 4.0 + 6.0 * step(inside, 1.0, 1.6) + 17.0 * np.exp(-0.5 * (((s - 112) / 13) ** 2 + ((v + 14) / 34) ** 2))
    off += 14.0 * step(v, -100, -150) + 8.0 * np.exp(-0.5 * (((s - 150) / 40) ** 2 + ((v + 40) / 50) ** 2))
    a = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    rim = np.stack([80 * np.sin(a), -22 + np.where(np.cos(a) > 0, 84, 92) * np.cos(a)], 1)
    return t[covered], off, bind(rim)


def headscarf(hat: Hat, position: Floats, normal: Floats) -> Piece:
    """Return a scarf around the head whose vertices lie at position, normal (V, 3); it leaves the face free."""
    rng = np.random.default_rng(hat.seed)
    t, off, rim = _scarf_mesh()
    used, corner = np.unique(t, return_inverse=True)
    shell = position[used] + off[used, None] * normal[used]
    fold = tube(rim.on(position) + np.array([0.0, 0.0, 2.5]), 5.5, 7, closed=True)
    turn = np.linspace(-np.pi, np.pi, 44)
    drape = [
        np.stack([r * np.sin(turn), y + 6 * np.sin(turn * 4 + k + rng.uniform(0, 3)), -8 + d * np.cos(turn)], 1)
        for k, (r, d, y) in enumerate(
            ((62, 58, -122), (72, 70, -134), (90, 82, -150), (132, 98, -180), (190, 110, -232))
        )
    ]
    made = [
        (shell.astype(np.float64), corner.reshape(-1, 3).astype(np.int32)),
        fold,
        (np.concatenate(drape), grid_triangles(5, 44)),
    ]
    return joined(made, np.array(hat.colour), 0.9, Material.CLOTH)
