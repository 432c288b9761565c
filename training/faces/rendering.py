"""From parameters to a picture and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.faces import background, hair, landmarks, occluders, sensor, skin, wear
from training.faces import proportions as average
from training.faces.head import body_share, pose_face, turn
from training.faces.light import Material, hidden_light, shade
from training.faces.mesh import bump
from training.faces.parameters import Sensor
from training.faces.parts import Part, eye_ring, grid_triangles, head, mouth_ring
from training.faces.personas import METAL, PERSONAS, ornaments
from training.faces.raster import FAR, lamp_corners, moved, projected, rasterise, vertex_normals

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.faces.head import Posed
    from training.faces.parameters import Camera, FaceParameters

    Floats = NDArray[np.float32]


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


FACE_REGIONS = (Region.SKIN, Region.BROW, Region.EYE, Region.NOSE, Region.LIPS, Region.MOUTH, Region.BEARD)
"""What a face consists of; glasses, hair and occluders before it are not of it."""
_IS_FACE = np.isin(np.arange(len(Region)), FACE_REGIONS).astype(np.float32)
MIDDLE = np.array([0.0, -30.0, 60.0], np.float32)
"""The middle of the face, at which the camera's span is measured."""
NECK_PIVOT = np.array([0.0, -95.0, -15.0], np.float32)
SHADOW_SIDE = 128
SHADOW_SCALE = SHADOW_SIDE / 380.0
_BALL_ROWS, _BALL_COLUMNS = 12, 24


@dataclass(frozen=True)
class Rendered:
    """A picture of a face and the truth about it. S is the picture's side, pixels; x to the right, y down.

    image: (S, S, 3) uint8, BGR, as the sensor gives it. linear: (S, S, 3) float32, the light that fell on the sensor,
    RGB.
    landmarks: (68, 2) float32, iBUG-68, in pixels, whole numbers in the middle of a pixel; visible: (68,) bool, whether
    the point itself is seen, neither turned away nor covered nor outside.
    five: (5, 2) float32, middles of the eyes, tip of the nose, corners of the mouth.
    alpha: (S, S) float32, how much of a pixel is person or what is before it; 0 is background.
    face: (S, S) float32, how much of a pixel is face (see FACE_REGIONS), in front of everything else.
    mask: (S, S) float32, how much of a pixel a swapper changes: the face from above the brows to the chin, with a soft
    edge, less what is before it. region: (S, S) uint8, of `Region`.
    depth: (S, S) float32, mm from the camera, inf in the background. albedo: (S, S, 3) float32, linear RGB.
    normal: (S, S, 3) float32, x right, y up, z towards the camera. shaded: (S, S, 3) float32, linear RGB of the person
    alone, 0 in the background.
    """

    image: NDArray[np.uint8]
    linear: Floats
    sensor: Sensor
    landmarks: Floats
    visible: NDArray[np.bool_]
    five: Floats
    alpha: Floats
    face: Floats
    mask: Floats
    region: NDArray[np.uint8]
    depth: Floats
    albedo: Floats
    normal: Floats
    shaded: Floats

    @property
    def light(self) -> Floats:
        """Return (S, S, 3) float32, linear RGB: what the person's surface would send back were it white, gleam included."""
        return np.asarray(self.shaded / np.maximum(self.albedo, 1e-3), np.float32)

    @property
    def clean(self) -> NDArray[np.uint8]:
        """Return the picture without blur, noise, skew and compression; its exposure and colours are the same."""
        s = self.sensor
        return sensor.develop(
            self.linear, Sensor(exposure=s.exposure, cast=s.cast, contrast=s.contrast, saturation=s.saturation)
        )


@cache
def _head_regions() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return region and material of the head's triangles."""
    h = head()
    t = h.triangles
    p, v = h.position[t].mean(1), h.plane[t].mean(1)
    region = np.full(len(t), Region.SKIN, np.int8)
    x, y = p[:, 0], p[:, 1]
    skin_part = h.part_of_triangle == Part.SKIN
    nose = (
        (np.abs(x) < np.interp(-y, [-8, 10, 30, 41, 47, 49], [7, 8, 13, 17.5, 15, 8]))
        & (y < 8)
        & (y > -48)
        & (p[:, 2] > 60)
    )
    region[nose] = Region.NOSE
    region[skin_part & ((v[:, 1] < -113) | ((np.abs(v[:, 0]) > 102) & (v[:, 1] < 60)))] = Region.NECK
    lip = skin.tints()['lip'][t].min(1) > 0.6
    region[lip & skin_part] = Region.LIPS
    material = np.full(len(t), Material.SKIN, np.int8)
    for part, r, m in (
        (Part.EAR, Region.EAR, Material.SKIN),
        (Part.TEETH_UPPER, Region.MOUTH, Material.TEETH),
        (Part.TEETH_LOWER, Region.MOUTH, Material.TEETH),
        (Part.TONGUE, Region.MOUTH, Material.GLOSS),
        (Part.MOUTH_LINING, Region.MOUTH, Material.MOUTH),
        (Part.EYE_LINING, Region.EYE, Material.MOUTH),
    ):
        region[h.part_of_triangle == part] = r
        material[h.part_of_triangle == part] = m
    return region, material


@cache
def skin_triangles() -> int:
    """Return how many of the head's triangles, the first ones, are skin and show only their outside."""
    return int((head().part_of_triangle == Part.SKIN).sum())


class _Scene:
    """Surfaces gathered for one picture."""

    def __init__(self) -> None:
        self.count = 0
        self.position: list[Floats] = []
        self.normal: list[Floats] = []
        self.plane: list[Floats] = []
        self.paint: list[Floats] = []
        self.wet: list[Floats] = []
        self.hair: list[Floats] = []
        self.triangles: list[NDArray[np.int32]] = []
        self.material: list[NDArray[np.int8]] = []
        self.region: list[NDArray[np.int8]] = []

    def add(
        self,
        position: Floats,
        triangles: NDArray[np.int32],
        region: int | NDArray[np.int8],
        material: int | NDArray[np.int8],
        paint: Floats,
        *,
        normal: Floats | None = None,
        plane: Floats | None = None,
        wet: Floats | None = None,
        hair: Floats | None = None,
    ) -> None:
        n = len(position)
        self.position.append(position)
        self.normal.append(vertex_normals(position, triangles) if normal is None else normal)
        self.plane.append(np.zeros((n, 2), np.float32) if plane is None else plane)
        self.paint.append(paint)
        self.wet.append(np.zeros(n, np.float32) if wet is None else wet)
        self.hair.append(np.zeros(n, np.float32) if hair is None else hair)
        self.triangles.append(triangles + np.int32(self.count))
        self.material.append(
            np.broadcast_to(np.int8(material) if isinstance(material, int) else material, (len(triangles),))
        )
        self.region.append(np.broadcast_to(np.int8(region) if isinstance(region, int) else region, (len(triangles),)))
        self.count += n


def _project(position: Floats, camera: Camera, side: float) -> Floats:
    """Return x, y in a picture of this side and depth of points before the camera; (0, 0, 0) is the face's middle."""
    return projected(position, camera.distance, side / camera.span, camera.x * side - 0.5, camera.y * side - 0.5)


def _eyeball(
    centre: Floats, radius: float, gaze: Floats, lashes: float
) -> tuple[Floats, NDArray[np.int32], Floats, Floats, Floats]:
    """Return position, triangles, normals, place about the gaze, and how open to light each point is."""
    u, v = np.meshgrid(
        np.linspace(0, 0.56 * np.pi, _BALL_ROWS),
        np.linspace(0, 2 * np.pi, _BALL_COLUMNS, endpoint=False),
        indexing='ij',
    )
    d = np.stack([np.sin(u) * np.cos(v), np.sin(u) * np.sin(v), np.cos(u)], -1).reshape(-1, 3).astype(np.float32)
    local = d @ gaze  # columns: right, up, ahead
    # The cornea stands out a little over the iris.
    out = np.clip((local[:, 2] - 0.86) / 0.14, 0, 1)
    p = centre + d * (radius + 0.9 * out[:, None] ** 0.7)
    far = np.where(local[:, 2] > 0, np.hypot(local[:, 0], local[:, 1]), 1.0)[:, None]
    place = np.where(local[:, 2:] > 0, local[:, :2], local[:, :2] / np.maximum(far, 1e-3))
    open_ = (
        1.0
        - 0.45 * bump(d[:, 0], d[:, 1] - 0.62, 0, 0, 1.2, 0.3) * (0.6 + 0.8 * lashes)
        - 0.35 * np.clip(np.abs(d[:, 0]) - 0.55, 0, 1)
    )
    return (
        p.astype(np.float32),
        grid_triangles(_BALL_ROWS, _BALL_COLUMNS, closed=True),
        d,
        place.astype(np.float32),
        np.clip(open_, 0.2, 1).astype(np.float32),
    )


def render(
    parameters: FaceParameters, size: int = 128, *, supersample: int = 2, backdrop: Floats | None = None
) -> Rendered:
    """Draw a face.

    size: side of the picture, pixels. supersample: how many times finer it is drawn. backdrop: linear RGB (size, size,
    3) to lie behind instead of the background.
    """
    p = parameters
    h = head()
    posed = pose_face(p.identity.traits, p.expression)
    scene, picture = _assemble(p, posed, size)
    position = np.concatenate(scene.position)
    triangles = np.concatenate(scene.triangles)
    region = np.concatenate(scene.region)
    material = np.ascontiguousarray(np.concatenate(scene.material))
    fine = size * supersample
    corner = _project(position, p.camera, fine)
    depth = np.full((fine, fine), FAR, np.float32)
    front = np.full((fine, fine), -1, np.int32)
    rasterise(corner, triangles, skin_triangles(), depth, front)
    pixel_mm = p.camera.span / fine
    around = np.empty((fine // 2, fine // 2), np.float32)
    hidden_light(depth, max(2.0, 14.0 / pixel_mm), around)
    around = cv2.blur(around, (3, 3))

    lamps = p.light.lamps
    to = np.array([lamp.direction for lamp in lamps], np.float32).reshape(-1, 3)
    to /= np.linalg.norm(to, axis=1, keepdims=True) + 1e-9
    shadow, frame = _shadows(position, triangles, to)
    image, albedo, facing = (np.zeros((fine, fine, 3), np.float32) for _ in range(3))
    marks = np.zeros((fine, fine, 2), np.float32)
    s, ceramic = p.identity.skin, PERSONAS.get(p.identity.persona)
    rng = np.random.default_rng(s.seed)
    smile = max(0.0, p.expression.smile_left, p.expression.smile_right)
    raised = max(0.0, p.expression.brow_left, p.expression.brow_right)
    old = max(0.0, s.age - 0.25)
    fold = np.array(
        [
            old**1.3 * 0.5 + 0.3 * raised * old,
            old**1.2 * 0.7 + 0.20 * smile * s.age,
            0.05 + 0.5 * s.age**1.5 + 0.22 * smile * (0.4 + s.age),
        ],
        np.float32,
    )
    values = np.array(
        [
            *((0.0, 0.0, 0.0, 0.0) if ceramic else (0.5 + s.age, 0.4 + 1.2 * s.uneven, s.freckles, 0.0)),
            1.6 * ceramic.glaze if ceramic else s.oil, ceramic.translucency if ceramic else 1.0, s.tone / 9, rng.uniform(0, 256), rng.uniform(0, 256),
            p.identity.brows.density, *p.identity.brows.colour, *(c + 0.7 * p.wear.hair.grey * (0.42 - c) for c in p.wear.hair.colour), *p.identity.eyes.iris, p.identity.eyes.pupil,
            p.identity.eyes.red, 2.5 if ceramic else 0.6,
            0.0, 0.0, pixel_mm, 60.0 if ceramic else 22.0, p.camera.distance, 1.0 if ceramic else 0.0, *METAL,
        ],
        np.float32,
    )  # fmt: skip
    shade(
        depth, front, corner, triangles, material, position, np.concatenate(scene.normal), np.concatenate(scene.plane), np.concatenate(scene.paint),
        np.concatenate(scene.wet), np.concatenate(scene.hair), around, np.array(p.light.ambient, np.float32), to,
        np.array([lamp.colour for lamp in lamps], np.float32).reshape(-1, 3), np.array([lamp.softness for lamp in lamps], np.float32),
        shadow, frame, SHADOW_SCALE, skin.noise_tiles(), skin.brow_drawings()[p.identity.brows.style % skin.BROW_STYLES], (fold[:, None, None] * skin.wrinkle_drawings()).sum(0), ornaments(p.identity.persona),
        values, image, albedo, facing, marks,
    )  # fmt: skip
    seen = front >= 0
    what = np.where(seen, region[front], np.int8(Region.BACKGROUND)).astype(np.uint8)
    what[(marks[..., 0] > 0.35) & (what == Region.SKIN)] = Region.BROW
    if scene_glass := getattr(scene, 'glass', None):
        _look_through(scene_glass, p, fine, depth, image)

    points, point_depth = landmarks.landmarks(picture, p.pose.roll)
    visible = _visible(points, point_depth, depth, size, supersample)
    is_face = _IS_FACE[what]
    alpha = seen.astype(np.float32)
    if supersample > 1:
        image, albedo, facing, alpha, face, mask = (
            cv2.resize(a, (size, size), interpolation=cv2.INTER_AREA)
            for a in (image, albedo, facing, alpha, is_face, marks[..., 1])
        )
        o = supersample // 2
        region_map, depth_map = what[o::supersample, o::supersample], depth[o::supersample, o::supersample]
    else:
        face, mask, region_map, depth_map = is_face, np.ascontiguousarray(marks[..., 1]), what, depth
    behind = background.draw(p.background, size, size) if backdrop is None else backdrop
    linear = image + behind * (1 - alpha[..., None])
    return Rendered(
        image=sensor.develop(linear, p.sensor),
        linear=linear,
        sensor=p.sensor,
        landmarks=points,
        visible=visible,
        five=landmarks.five(points),
        alpha=alpha,
        face=face,
        mask=mask,
        region=np.ascontiguousarray(region_map),
        depth=np.where(depth_map > 1e8, np.float32(np.inf), depth_map).astype(np.float32),
        albedo=albedo,
        normal=facing,
        shaded=image,
    )


def _assemble(p: FaceParameters, posed: Posed, size: int) -> tuple[_Scene, Floats]:
    """Return the surfaces before the camera, and the head's vertices in the picture."""
    h = head()
    scene = _Scene()
    region, material = _head_regions()
    head_turn = turn(p.pose.yaw, p.pose.pitch, p.pose.roll)
    body_turn = turn(p.pose.body_yaw, 0.0, p.pose.body_roll)
    origin = (head_turn @ (MIDDLE - NECK_PIVOT)).astype(np.float32)

    def before(points: Floats) -> Floats:
        return moved(points, NECK_PIVOT, head_turn, origin)

    def body(points: Floats) -> Floats:
        return moved(points, NECK_PIVOT, body_turn, origin)

    share = body_share()[:, None]
    flat = before(posed.position)
    flat = flat + share * (body(posed.position) - flat)
    own_normal = vertex_normals(posed.position, h.triangles)
    colour, wet = skin.paint(p.identity)
    beard = p.identity.beard
    cover = hair.scalp(p.wear.hair, p.wear.hat)
    mask = skin.beard_mask(beard)
    covered = np.maximum(cover, mask * beard.density * 0.9)
    stubble = np.maximum(skin.tints()['beard'] * p.identity.skin.stubble * 0.5, 0)
    colour = colour + stubble[:, None] * (np.array(beard.colour, np.float32) * 0.6 + 0.02 - colour) * np.array(
        [0.75, 0.65, 0.6], np.float32
    )
    scene.add(
        flat,
        h.triangles,
        region,
        material,
        colour.astype(np.float32),
        plane=h.plane.astype(np.float32),
        wet=wet,
        hair=covered,
    )
    for centre, radius, side in zip(posed.eye_centre, posed.eye_radius, (-1, 1), strict=True):
        gaze = turn(p.expression.gaze_yaw - 1.5 * side, p.expression.gaze_pitch, 0.0)
        q, t, d, place, open_ = _eyeball(centre, float(radius), gaze, p.identity.eyes.lashes)
        scene.add(
            before(q),
            t,
            int(Region.EYE),
            int(Material.EYE),
            np.ones_like(q),
            normal=moved(d, np.zeros(3, np.float32), head_turn, np.zeros(3, np.float32)),
            plane=place,
            wet=open_,
        )
    _add_lashes(scene, p, posed, before)
    neck = float(np.abs(posed.position[: h.skin_count, 0][np.abs(h.plane[: h.skin_count, 1] + 170) < 1]).max())
    c = wear.clothes(p.wear, neck)
    _add_piece(scene, c, body(c.position), Region.CLOTH)
    if p.wear.hat is not None:
        crown = posed.position[hair.head_top()]
        worn = wear.headgear(p.wear.hat, float(abs(posed.position[hair.head_side(), 0])), float(crown[1]), 99.0)
        _add_piece(scene, worn, before(worn.position), Region.HAT)
    mouth = before(posed.position[mouth_ring(1)]).mean(0)
    for o in p.occluders:
        if o.kind in occluders.WORN:
            thing = occluders.worn(o, posed.position)
            _add_piece(scene, thing, before(thing.position), Region.OCCLUDER)
        else:
            thing = occluders.held(o)
            _add_piece(scene, thing, thing.position + mouth, Region.OCCLUDER)
    eye = np.array([0.0, 0.0, p.camera.distance], np.float32)
    dense = float(np.clip(size / 200.0, 0.6, 2.0))
    for strands, r in (
        (hair.grow_hair(p.wear.hair, p.wear.hat, posed.position, own_normal, dense), Region.HAIR),
        (
            hair.grow_beard(mask, beard.length, beard.colour, p.wear.hair.grey, beard.seed, posed.position, own_normal)
            if beard.style != 'none'
            else None,
            Region.BEARD,
        ),
    ):
        if strands is not None:
            _add_strands(scene, strands, before, eye, r)
    if p.wear.glasses is not None:
        ridge = posed.position[landmarks.inner_anchors().corners[10, 0]]
        frame, glass = wear.spectacles(p.wear.glasses, ridge, posed.eye_centre, 70.0)
        _add_piece(scene, frame, before(frame.position), Region.GLASSES)
        scene.glass = (before(glass.position), glass.triangles)  # type: ignore[attr-defined]
    return scene, _project(flat, p.camera, size)


def _add_lashes(scene: _Scene, p: FaceParameters, posed: Posed, before: Callable[[Floats], Floats]) -> None:
    """Give the upper lids their lashes: a fringe of thin triangles, longer towards the temple."""
    spread = np.linspace(-1, 1, 31)
    for side in (-1, 1):
        ring = eye_ring(1, side)
        lid = posed.position[ring[: len(ring) // 2 + 1]]
        at = np.linspace(0.8, len(lid) - 1.1, 31)
        k = np.clip(at.astype(int), 0, len(lid) - 2)
        foot = lid[k] + (at - k)[:, None] * (lid[k + 1] - lid[k])
        long = (3.0 + 4.5 * p.identity.eyes.lashes) * (0.75 + 0.35 * spread) * np.where(np.arange(31) % 2, 1.0, 0.75)
        away = np.stack([side * (0.15 + 0.45 * spread), 0.30 + 0 * spread, 0.75 + 0 * spread], 1)
        tip = foot + away * long[:, None] + np.array([0, 0.9, 0.0])
        along = (lid[k + 1] - lid[k]) / (np.linalg.norm(lid[k + 1] - lid[k], axis=1, keepdims=True) + 1e-6) * 0.45
        points = np.stack([foot - along, foot + along, tip], 1).reshape(-1, 3).astype(np.float32)
        way = np.repeat((tip - foot) / long[:, None], 3, 0).astype(np.float32)
        dark = np.full((len(points), 3), 0.012, np.float32)
        scene.add(
            before(points),
            np.arange(93, dtype=np.int32).reshape(-1, 3),
            int(Region.EYE),
            int(Material.HAIR),
            dark,
            normal=way,
        )


def _add_piece(scene: _Scene, piece: wear.Piece, position: Floats, region: Region) -> None:
    scene.add(position, piece.triangles, int(region), piece.material, piece.paint, plane=piece.plane, wet=piece.wet)


def _add_strands(
    scene: _Scene, strands: hair.Strands, before: Callable[[Floats], Floats], eye: Floats, region: Region
) -> None:
    n, k = strands.points.shape[:2]
    points = before(strands.points.reshape(-1, 3)).reshape(n, k, 3)
    position, tangent, paint = (np.empty((n * k * 2, 3), np.float32) for _ in range(3))
    triangles = np.empty((n * (k - 1) * 2, 3), np.int32)
    hair.ribbons(points, strands.width, eye, strands.tint, position, tangent, paint, triangles)
    scene.add(position, triangles, int(region), int(Material.HAIR), paint, normal=tangent)


def _shadows(position: Floats, triangles: NDArray[np.int32], to: Floats) -> tuple[Floats, Floats]:
    """Return what each lamp sees first (n, M, M), and the axes (n, 3, 3) it sees along."""
    n = len(to)
    out = np.full((n, SHADOW_SIDE, SHADOW_SIDE), FAR, np.float32)
    frame = np.empty((n, 3, 3), np.float32)
    unused = np.empty((SHADOW_SIDE, SHADOW_SIDE), np.int32)
    for k, way in enumerate(to):
        right = np.cross([0.02, 1.0, 0.03], way)
        right /= np.linalg.norm(right) + 1e-9
        frame[k] = right, np.cross(way, right), way
        rasterise(
            lamp_corners(position, frame[k], SHADOW_SCALE, SHADOW_SIDE / 2), triangles, skin_triangles(), out[k], unused
        )
    return out, frame


def _look_through(
    glass: tuple[Floats, NDArray[np.int32]], p: FaceParameters, fine: int, depth: Floats, image: Floats
) -> None:
    """Tint what lies behind the panes, and mirror the brightest lamp in them."""
    assert p.wear.glasses is not None
    near = np.full((fine, fine), FAR, np.float32)
    which = np.full((fine, fine), -1, np.int32)
    rasterise(_project(glass[0], p.camera, fine), glass[1], 0, near, which)
    on = (which >= 0) & (near < depth)
    tint = p.wear.glasses.tint
    rows = np.flatnonzero(on.any(1))
    if len(rows) == 0:
        return
    top, bottom = rows[0], rows[-1]
    fade = np.clip((np.arange(fine) - top) / max(1, bottom - top), 0, 1)[:, None, None]
    sky = np.array(p.light.ambient[0], np.float32) * 0.5
    mirrored = sky * (0.02 + 0.05 * (1 - fade))
    image[on] = (image * (1 - tint * (1 - 0.3 * fade)) + mirrored)[on]


def _visible(points: Floats, point_depth: Floats, depth: Floats, size: int, supersample: int) -> NDArray[np.bool_]:
    """Return whether points are seen: inside the picture, and nothing more than 9 mm before them."""
    inside = ((points > -0.5) & (points < size - 0.5)).all(1)
    at = np.clip(((points + 0.5) * supersample).astype(int), 0, depth.shape[0] - 1)
    x, y = at.T
    nearest = np.full(len(points), -np.inf, np.float32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            z = depth[np.clip(y + dy, 0, depth.shape[0] - 1), np.clip(x + dx, 0, depth.shape[0] - 1)]
            nearest = np.maximum(nearest, z)
    return np.asarray(inside & (point_depth < nearest + 9.0))


del average
