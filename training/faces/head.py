"""A head with an identity and an expression: the average head's vertices moved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from training.faces import proportions as average
from training.faces.expression import MUSCLES, Expression, jaw_weights, muscle_fields
from training.faces.identity import trait_fields
from training.faces.mesh import head_mesh, step
from training.faces.parts import Part, head
from training.faces.proportions import spline
from training.faces.raster import blended

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_LID_SKIN = (0.15, 1.3, 1.3, 1.1, 0.2, -0.3, -0.6)
_LID_ROUND = (0.5, 1.5, 2.2, 2.2, 1.8, 2.5, 2.5)
_LID_BEHIND = (4.5, 2.6, 1.4, 0.6, 0.5, 0.0, 0.0)
_LID_FOLLOWS = (1.0, 1.0, 0.86, 0.6, 0.22, 0.0, 0.0)


@dataclass(frozen=True)
class Posed:
    """A head before it is turned, millimetres.

    position: (V, 3), of the vertices of `parts.head`; eye_centre: (2, 3) and eye_radius: (2,), of the eyeballs, the one
    with x < 0 first.
    """

    position: Floats
    eye_centre: Floats
    eye_radius: Floats


@dataclass(frozen=True)
class _Basis:
    traits: tuple[str, ...]
    fields: Floats  # (traits + muscles, V * 3 + 6)
    rest: Floats  # (V * 3 + 6,)
    jaw: Floats  # (V,)
    lids: tuple[NDArray[np.int64], NDArray[np.int64]]  # vertices of the rings of either eye
    lid_ring: NDArray[np.int32]
    lid_upper: Floats
    lid_height: Floats
    lid_meet: Floats


@cache
def _basis() -> _Basis:
    h, mesh = head(), head_mesh()
    n, skin = len(h.position), h.skin_count
    lining = h.lining_from[:, 0]
    upper, lip_ring, ring = np.zeros(n), np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    for whole, of_skin in ((upper, mesh.upper), (lip_ring, mesh.mouth_ring), (ring, mesh.eye_ring)):
        whole[:skin] = of_skin
        whole[h.lining_start :] = of_skin[lining]
    eyes = np.array([[-average.EYE_X, 0.0, average.EYE_Z], [average.EYE_X, 0.0, average.EYE_Z]])
    p = np.concatenate([h.position, eyes])
    part = np.concatenate([h.part, [Part.EYE_LINING] * 2]).astype(np.int32)
    traits = trait_fields(p, part, np.concatenate([h.plane, np.zeros((2, 2))]))
    for name in ('brow_ridge', 'socket', 'eye_bag', 'eye_hood', 'bridge_height'):
        traits[name][n:] = 0
    muscles = muscle_fields(h.position, h.part, upper, lip_ring)
    fields = [f.ravel() for f in traits.values()] + [np.append(muscles[m].ravel(), np.zeros(6)) for m in MUSCLES]
    right = np.flatnonzero((mesh.eye_ring >= 0) & (mesh.position[:, 0] > 0))
    place = mesh.eye_place[right]
    over = mesh.upper[right]
    high, low = spline(average.LID_UPPER, place), spline(average.LID_LOWER, place)
    return _Basis(
        traits=tuple(traits),
        fields=np.array(fields, np.float32),
        rest=p.ravel().astype(np.float32),
        jaw=jaw_weights(h.position, h.part, upper, lip_ring, h.plane[:, 1]).astype(np.float32),
        lids=(mesh.mirror[right].astype(np.int64), right.astype(np.int64)),
        lid_ring=mesh.eye_ring[right],
        lid_upper=over.astype(np.float32),
        lid_height=np.where(over > 0.5, high, low).astype(np.float32),
        lid_meet=(0.86 * low + 0.14 * high).astype(np.float32),
    )


def trait_names() -> tuple[str, ...]:
    """Return the names of the traits in the order in which an identity holds them."""
    return _basis().traits


def pose_face(traits: tuple[float, ...], expression: Expression) -> Posed:
    """Return the head with these traits, in standard deviations, and this expression; not turned."""
    b = _basis()
    weights = np.array([*traits, *(getattr(expression, m) for m in MUSCLES)], np.float32)
    flat = blended(b.rest, b.fields, weights)
    p = flat[:-6].reshape(-1, 3)
    eyes = flat[-6:].reshape(2, 3).copy()
    _open_jaw(p, b.jaw, expression)
    size = 1 + 0.02 * traits[b.traits.index('eye_size')]
    radius = np.full(2, average.EYE_RADIUS * size, np.float32)
    for k, closed in enumerate((expression.closed_right, expression.closed_left)):
        _move_lids(p, b, k, closed, expression, eyes[k], float(radius[k]))
    h = head()
    hang = p[h.lining_from[:, 0]]
    mouth = h.part[h.lining_start :] == Part.MOUTH_LINING
    depth = h.lining_from[:, 1:].astype(np.float32)
    n_mouth = int(mouth.sum())
    lining = p[h.lining_start :]
    middle = hang[:n_mouth].mean(0) - np.array([0, 0, 34], np.float32)
    m = depth[:n_mouth]
    lining[:n_mouth] = np.where(
        m == 0,
        hang[:n_mouth],
        np.where(m == 1, hang[:n_mouth] + (middle - hang[:n_mouth]) * np.array([-0.1, -0.3, 0.65], np.float32), middle),
    )
    count = (len(lining) - n_mouth) // 2
    for k, start in ((1, n_mouth), (0, n_mouth + count)):
        part = slice(start, start + count)
        d = depth[part.start : part.stop]
        to = eyes[k] + np.array([0, 0, 2], np.float32)
        lining[part] = (
            hang[part] + (to - hang[part]) * np.array([0.0, 0.45, 0.95], np.float32)[d.astype(int)[:, 0]][:, None]
        )
    return Posed(p, eyes, radius)


def _open_jaw(p: Floats, weight: Floats, e: Expression) -> None:
    """Turn what follows the jaw about its hinge; the hinge slides forward as the mouth opens wide."""
    if not e.jaw and not e.jaw_side:
        return
    follows = np.flatnonzero(weight > 0)
    w = weight[follows]
    angle = np.radians(e.jaw) * w
    q = p[follows]
    y, z = q[:, 1] - average.JAW_HINGE[0], q[:, 2] - average.JAW_HINGE[1]
    c, s = np.cos(angle), np.sin(angle)
    q[:, 1] = average.JAW_HINGE[0] + y * c - z * s
    q[:, 2] = average.JAW_HINGE[1] + z * c + y * s + 0.12 * e.jaw * w
    q[:, 0] += np.radians(e.jaw_side) * 80.0 * w
    # Cheeks are drawn in beside an open mouth.
    q[:, 0] *= 1 - 0.004 * e.jaw * w * (1 - w) * 4
    p[follows] = q


def _move_lids(p: Floats, b: _Basis, k: int, closed: float, e: Expression, centre: Floats, radius: float) -> None:
    v = b.lids[k]
    q = p[v]
    ring = b.lid_ring
    follow = np.array(_LID_FOLLOWS, np.float32)[ring]
    look = np.sin(np.radians(e.gaze_pitch)) * radius * 0.55
    shut = np.clip(closed, 0.0, 1.0)
    path = b.lid_height - b.lid_meet
    upper = b.lid_upper > 0.5
    travel = np.where(upper, path * (closed if closed < 0 else shut), path * shut) * np.where(upper, 1.0, 0.8)
    span = np.clip(b.lid_height / 6.0, -1, 1)
    travel -= np.where(upper, look * np.abs(span) * (1 - shut), 0.5 * look * np.abs(span) * (1 - shut))
    q[:, 1] -= travel * follow
    skin = np.array(_LID_SKIN, np.float32)[ring]
    blend = np.array(_LID_ROUND, np.float32)[ring]
    square = (radius + skin) ** 2 - (q[:, 0] - centre[0]) ** 2 - (q[:, 1] - centre[1]) ** 2
    ball = centre[2] + np.sign(square) * np.sqrt(np.abs(square))
    rest = q[:, 2] - np.array(_LID_BEHIND, np.float32)[ring]
    q[:, 2] = rest + 0.5 * (ball - rest + np.sqrt((ball - rest) ** 2 + blend**2))
    p[v] = q


def turn(yaw: float, pitch: float, roll: float) -> Floats:
    """Return the (3, 3) rotation of a head turned by degrees.

    yaw: to the right of the picture; pitch: up; roll: clockwise in the picture, after the others.
    """
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), np.sin(r), 0], [-np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y, np.float32)


@cache
def body_share() -> Floats:
    """Return (V,) how far each vertex follows the body rather than the head."""
    h = head()
    return np.where(h.part == Part.SKIN, step(h.plane[:, 1], -112.0, -195.0), 0.0).astype(np.float32)
