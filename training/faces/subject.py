"""All surfaces of one picture: head, eyes, hair, clothes, and what is worn or held, before the camera."""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from training.faces import hair, landmarks, occluders, skin, wear
from training.faces.head import body_share, pose_face, turn
from training.faces.mesh import bump
from training.faces.parts import Part, eye_ring, grid_triangles, head, mouth_ring
from training.faces.raster import moved, projected, vertex_normals
from training.faces.shading import COLUMNS, COVER, NORMAL, PAINT, PLANE, POSITION, WET, Material, Surfaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.faces.head import Posed
    from training.faces.parameters import Camera, Eyes, FaceParameters

    Floats = NDArray[np.float32]
    Placed = Callable[[Floats], Floats]


class Region(IntEnum):
    """What a pixel shows."""

    BACKGROUND = 0
    SKIN = 1
    BROW = 2
    EYE = 3
    NOSE = 4
    LIPS = 5
    MOUTH = 6
    EAR = 7
    NECK = 8
    HAIR = 9
    BEARD = 10
    CLOTH = 11
    GLASSES = 12
    HAT = 13
    OCCLUDER = 14


MIDDLE = np.array([0.0, -30.0, 60.0], np.float32)
"""The middle of the face, at which the camera's span is measured."""
NECK_PIVOT = np.array([0.0, -95.0, -15.0], np.float32)
_NOWHERE = np.zeros(3, np.float32)
_BALL_ROWS, _BALL_COLUMNS = 12, 24
_LASHES = 31
_NOSE_SIDE = ((-8, 7), (10, 8), (30, 13), (41, 17.5), (47, 15), (49, 8))
"""Half the width of the nose by distance below the eyes, mm."""


class Subject:
    """Surfaces gathered for one picture."""

    def __init__(self, parameters: FaceParameters, size: int) -> None:
        """Gather everything; size, the picture's side in pixels, sets how many hairs are worth drawing."""
        self._vertex: list[Floats] = []
        self._triangles: list[NDArray[np.int32]] = []
        self._material: list[NDArray[np.int8]] = []
        self._region: list[NDArray[np.int8]] = []
        self._count = 0
        self.panes: wear.Piece | None = None
        """The glass of spectacles, before the camera."""
        self.head = _gather(self, parameters, size)
        """(V, 3) the head's vertices before the camera."""

        self.vertex = np.concatenate(self._vertex)
        self.triangles = np.concatenate(self._triangles)
        self.region = np.concatenate(self._region)

    def surfaces(self, camera: Camera, side: int) -> Surfaces:
        """Return the surfaces as a camera sees them in a picture of this side, pixels."""
        return Surfaces(
            vertex=self.vertex,
            corner=project(self.vertex, camera, side),
            triangles=self.triangles,
            material=np.concatenate(self._material),
        )

    def add(
        self,
        position: Floats,
        triangles: NDArray[np.int32],
        region: Region | NDArray[np.int8],
        material: Material | NDArray[np.int8],
        paint: Floats,
        *,
        normal: Floats | None = None,
        plane: Floats | None = None,
        wet: Floats | None = None,
        cover: Floats | None = None,
    ) -> None:
        """Add a surface of n vertices; cover: how far hair covers it."""
        n = len(position)
        vertex = np.empty((n, COLUMNS), np.float32)
        vertex[:, POSITION : POSITION + 3] = position
        vertex[:, NORMAL : NORMAL + 3] = vertex_normals(position, triangles) if normal is None else normal
        vertex[:, PLANE : PLANE + 2] = 0 if plane is None else plane
        vertex[:, PAINT : PAINT + 3] = paint
        vertex[:, WET] = 0 if wet is None else wet
        vertex[:, COVER] = 0 if cover is None else cover
        self._vertex.append(vertex)
        self._triangles.append(triangles + np.int32(self._count))
        self._material.append(np.broadcast_to(np.asarray(material, np.int8), len(triangles)))
        self._region.append(np.broadcast_to(np.asarray(region, np.int8), len(triangles)))
        self._count += n

    def add_piece(self, piece: wear.Piece, region: Region) -> None:
        """Add a piece that already stands before the camera."""
        self.add(piece.position, piece.triangles, region, piece.material, piece.paint, plane=piece.plane, wet=piece.wet)


def project(position: Floats, camera: Camera, side: float) -> Floats:
    """Return (n, 3) x, y in a picture of this side, and depth, of points before the camera."""
    x0, y0 = camera.x * side - 0.5, camera.y * side - 0.5
    return np.asarray(projected(position, camera.distance, side / camera.span, x0, y0))


@cache
def skin_triangles() -> int:
    """Return how many of the head's triangles, the first ones, are skin and show only their outside."""
    return int((head().part_of_triangle == Part.SKIN).sum())


@cache
def _head_triangles() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return region and material of the head's triangles."""
    h = head()
    t = h.triangles
    p, v = h.position[t].mean(1), h.plane[t].mean(1)
    region = np.full(len(t), Region.SKIN, np.int8)
    on_skin = h.part_of_triangle == Part.SKIN
    wide = np.interp(-p[:, 1], *np.array(_NOSE_SIDE).T)
    region[(np.abs(p[:, 0]) < wide) & (p[:, 1] < 8) & (p[:, 1] > -48) & (p[:, 2] > 60)] = Region.NOSE
    region[on_skin & ((v[:, 1] < -113) | ((np.abs(v[:, 0]) > 102) & (v[:, 1] < 60)))] = Region.NECK
    region[on_skin & (skin.tints()['lip'][t].min(1) > 0.6)] = Region.LIPS
    material = np.full(len(t), Material.SKIN, np.int8)
    for part, r, m in (
        (Part.EAR, Region.EAR, Material.SKIN),
        (Part.TEETH_UPPER, Region.MOUTH, Material.TEETH),
        (Part.TEETH_LOWER, Region.MOUTH, Material.TEETH),
        (Part.TONGUE, Region.MOUTH, Material.MOUTH),
        (Part.MOUTH_LINING, Region.MOUTH, Material.MOUTH),
        (Part.EYE_LINING, Region.EYE, Material.MOUTH),
    ):
        region[h.part_of_triangle == part] = r
        material[h.part_of_triangle == part] = m
    return region, material


def _gather(subject: Subject, p: FaceParameters, size: int) -> Floats:
    """Add everything; return the head's vertices before the camera."""
    h = head()
    posed = pose_face(p.identity.traits, p.expression)
    head_turn = turn(p.pose.yaw, p.pose.pitch, p.pose.roll)
    body_turn = turn(p.pose.body_yaw, 0.0, p.pose.body_roll)
    origin = (head_turn @ (MIDDLE - NECK_PIVOT)).astype(np.float32)

    def with_head(points: Floats) -> Floats:
        return np.asarray(moved(points, NECK_PIVOT, head_turn, origin))

    def with_body(points: Floats) -> Floats:
        return np.asarray(moved(points, NECK_PIVOT, body_turn, origin))

    before = with_head(posed.position)
    before += body_share()[:, None] * (with_body(posed.position) - before)
    region, material = _head_triangles()
    beard = skin.beard_mask(p.identity.beard)
    covered = np.maximum(hair.scalp(p.wear.hair, p.wear.hat), 0.9 * p.identity.beard.density * beard)
    colour, wet = skin.paint(p.identity)
    plane = h.plane.astype(np.float32)
    subject.add(before, h.triangles, region, material, colour, plane=plane, wet=wet, cover=covered)
    _add_eyes(subject, p, posed, with_head, head_turn)
    _add_lashes(subject, p.identity.eyes, posed, with_head)
    neck = np.abs(posed.position[_neck(), 0]).max()
    subject.add_piece(wear.clothes(p.wear, float(neck)).at(with_body), Region.CLOTH)
    _add_hair(subject, p, posed, with_head, beard, size)
    _add_worn(subject, p, posed, with_head)
    return before


@cache
def _ball() -> tuple[Floats, Floats, Floats]:
    """Return directions (n, 3) over the front of an eyeball, and how much lids and corners hide of each, (n,)."""
    u, v = np.meshgrid(
        np.linspace(0, 0.56 * np.pi, _BALL_ROWS),
        np.linspace(0, 2 * np.pi, _BALL_COLUMNS, endpoint=False),
        indexing='ij',
    )
    d = np.stack([np.sin(u) * np.cos(v), np.sin(u) * np.sin(v), np.cos(u)], -1).reshape(-1, 3)
    lid = 0.45 * bump(d[:, 0], d[:, 1] - 0.62, 0, 0, 1.2, 0.3)
    corner = 0.35 * np.clip(np.abs(d[:, 0]) - 0.55, 0, 1)
    return d.astype(np.float32), lid.astype(np.float32), corner.astype(np.float32)


@cache
def _neck() -> NDArray[np.int64]:
    """Return the vertices around the narrowest part of the neck."""
    h = head()
    return np.flatnonzero(np.abs(h.plane[: h.skin_count, 1] + 170) < 1)


def _add_eyes(subject: Subject, p: FaceParameters, posed: Posed, with_head: Placed, head_turn: Floats) -> None:
    """Add the eyeballs, each turned to where it looks; they converge a little."""
    d, hidden, corner = _ball()
    # The lids and their lashes keep light from the upper part and the corners of the white.
    open_ = np.clip(1.0 - (0.6 + 0.8 * p.identity.eyes.lashes) * hidden - corner, 0.2, 1)
    triangles = grid_triangles(_BALL_ROWS, _BALL_COLUMNS, closed=True)
    for centre, radius, side in zip(posed.eye_centre, posed.eye_radius, (-1, 1), strict=True):
        gaze = turn(p.expression.gaze_yaw - 1.5 * side, p.expression.gaze_pitch, 0.0)
        local = moved(d, _NOWHERE, np.ascontiguousarray(gaze.T), _NOWHERE)  # right, up, ahead
        # The cornea stands out a little over the iris.
        raised = 0.9 * np.clip((local[:, 2:] - 0.86) / 0.14, 0, 1) ** 0.7
        behind = local[:, 2:] <= 0
        flat = np.hypot(local[:, :1], local[:, 1:2])
        place = np.where(behind, local[:, :2] / np.maximum(flat, 1e-3), local[:, :2])
        subject.add(
            with_head((centre + d * (radius + raised)).astype(np.float32)),
            triangles,
            Region.EYE,
            Material.EYE,
            np.ones_like(d),
            normal=np.asarray(moved(d, _NOWHERE, head_turn, _NOWHERE)),
            plane=place.astype(np.float32),
            wet=open_,
        )


def _add_lashes(subject: Subject, eyes: Eyes, posed: Posed, with_head: Placed) -> None:
    """Give the upper lids their lashes: a fringe of thin triangles, longer towards the temple."""
    spread = np.linspace(-1, 1, _LASHES)
    for side in (-1, 1):
        ring = eye_ring(1, side)
        lid = posed.position[ring[: len(ring) // 2 + 1]]
        at = np.linspace(0.8, len(lid) - 1.1, _LASHES)
        k = at.astype(int)
        edge = lid[k + 1] - lid[k]
        foot = lid[k] + (at - k)[:, None] * edge
        length = (3.0 + 4.5 * eyes.lashes) * (0.75 + 0.35 * spread) * np.where(np.arange(_LASHES) % 2, 1.0, 0.75)
        away = np.stack([side * (0.15 + 0.45 * spread), np.full(_LASHES, 0.30), np.full(_LASHES, 0.75)], 1)
        tip = foot + away * length[:, None] + [0, 0.9, 0]
        across = 0.45 * edge / (np.linalg.norm(edge, axis=1, keepdims=True) + 1e-6)
        points = np.stack([foot - across, foot + across, tip], 1).reshape(-1, 3).astype(np.float32)
        way = np.repeat((tip - foot) / length[:, None], 3, 0).astype(np.float32)
        triangles = np.arange(3 * _LASHES, dtype=np.int32).reshape(-1, 3)
        dark = np.full((len(points), 3), 0.012, np.float32)
        subject.add(with_head(points), triangles, Region.EYE, Material.HAIR, dark, normal=way)


def _add_hair(subject: Subject, p: FaceParameters, posed: Posed, with_head: Placed, beard: Floats, size: int) -> None:
    """Add the strands of head and beard; fewer and broader ones in a small picture."""
    normal = vertex_normals(posed.position, head().triangles)
    density = float(np.clip(size / 200.0, 0.6, 2.0))
    eye = np.array([0.0, 0.0, p.camera.distance], np.float32)
    own = p.identity.beard
    for strands, region in (
        (hair.grow_hair(p.wear.hair, p.wear.hat, posed.position, normal, density), Region.HAIR),
        (hair.grow_beard(own, beard, p.wear.hair.grey, posed.position, normal), Region.BEARD),
    ):
        if strands is None:
            continue
        n, k = strands.points.shape[:2]
        points = with_head(strands.points.reshape(-1, 3)).reshape(n, k, 3)
        position, way, paint = (np.empty((n * k * 2, 3), np.float32) for _ in range(3))
        triangles = np.empty((n * (k - 1) * 2, 3), np.int32)
        hair.ribbons(points, strands.width, eye, strands.tint, position, way, paint, triangles)
        subject.add(position, triangles, region, Material.HAIR, paint, normal=way)


def _add_worn(subject: Subject, p: FaceParameters, posed: Posed, with_head: Placed) -> None:
    """Add hat, spectacles, and what is before the face."""
    if p.wear.hat is not None and p.wear.hat.style == 'scarf':
        normal = vertex_normals(posed.position, head().triangles)
        subject.add_piece(wear.headscarf(p.wear.hat, posed.position, normal).at(with_head), Region.HAT)
    elif p.wear.hat is not None:
        wide, crown = posed.position[hair.head_side(), 0], posed.position[hair.head_top(), 1]
        subject.add_piece(wear.headgear(p.wear.hat, abs(float(wide)), float(crown)).at(with_head), Region.HAT)
    if p.wear.glasses is not None:
        ridge = posed.position[landmarks.inner_anchors().corners[10, 0]]
        frame, panes = wear.spectacles(p.wear.glasses, ridge, posed.eye_centre)
        subject.add_piece(frame.at(with_head), Region.GLASSES)
        subject.panes = panes.at(with_head)
    mouth = with_head(posed.position[mouth_ring(1)]).mean(0)
    for o in p.occluders:
        if o.kind in occluders.WORN:
            subject.add_piece(occluders.worn(o, posed.position).at(with_head), Region.OCCLUDER)
        else:
            subject.add_piece(occluders.held(o).at(lambda points: points + mouth), Region.OCCLUDER)
