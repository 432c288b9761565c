"""From parameters to a picture and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.faces import background, landmarks, sensor, skin
from training.faces.head import turn
from training.faces.light import hidden_light, lighting
from training.faces.parameters import Sensor
from training.faces.personas import METAL, PERSONAS, ornaments
from training.faces.raster import FAR, rasterise
from training.faces.shading import Canvas, Drawings, Look, shade, unfolded
from training.faces.subject import Region, Subject, project, skin_triangles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import FaceParameters

    Floats = NDArray[np.float32]

FACE_REGIONS = (Region.SKIN, Region.BROW, Region.EYE, Region.NOSE, Region.LIPS, Region.MOUTH, Region.BEARD)
"""What a face consists of; glasses, hair and occluders before it are not of it."""
_COVERS = np.isin(np.arange(len(Region)), (Region.HAIR, Region.HAT, Region.GLASSES, Region.OCCLUDER, Region.CLOTH))
_IS_FACE = np.isin(np.arange(len(Region)), FACE_REGIONS).astype(np.float32)


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
        """Return (S, S, 3) float32, linear RGB: what the person would send back were it white, gleam included."""
        return np.asarray(self.shaded / np.maximum(self.albedo, 1e-3), np.float32)

    @property
    def clean(self) -> NDArray[np.uint8]:
        """Return the picture without blur, noise, skew and compression; its exposure and colours are the same."""
        s = self.sensor
        return sensor.develop(
            self.linear, Sensor(exposure=s.exposure, cast=s.cast, contrast=s.contrast, saturation=s.saturation)
        )


def render(
    parameters: FaceParameters, size: int = 128, *, supersample: float = 2.0, backdrop: Floats | None = None
) -> Rendered:
    """Draw a face.

    size: side of the picture, pixels, even. supersample: how many times finer it is drawn; 1 is fast and has jagged
    edges. backdrop: linear RGB (size, size, 3) to lie behind instead of the background.
    """
    p = parameters
    subject = Subject(p, size)
    fine = 2 * round(size * supersample / 2)
    surfaces = subject.surfaces(p.camera, fine)
    depth = np.full((fine, fine), FAR, np.float32)
    front = np.full((fine, fine), -1, np.int32)
    rasterise(surfaces.corner, surfaces.triangles, skin_triangles(), depth, front)
    pixel = p.camera.span / fine
    around = np.empty((fine // 2, fine // 2), np.float32)
    hidden_light(depth, max(2.0, 14.0 / pixel), around)
    image, albedo, facing = (np.zeros((fine, fine, 3), np.float32) for _ in range(3))
    marks = np.zeros((fine, fine, 3), np.float32)
    light = lighting(p.light, subject.vertex, subject.triangles, skin_triangles())
    around = np.asarray(cv2.blur(around, (3, 3)), np.float32)
    canvas = Canvas(depth, front, around, image, albedo, facing, marks)
    shade(canvas, surfaces, light, _drawings(p), _look(p, pixel))
    seen = front >= 0
    region = np.where(seen, subject.region[front], np.int8(Region.BACKGROUND)).astype(np.uint8)
    region[(marks[..., 0] > 0.35) & (region == Region.SKIN)] = Region.BROW
    region[marks[..., 2] > 0.5] = Region.HAIR
    region[marks[..., 2] < -0.5] = Region.BEARD
    covering = _COVERS[region]
    if subject.panes is not None and p.wear.glasses is not None:
        near, which = np.full((fine, fine), FAR, np.float32), np.full((fine, fine), -1, np.int32)
        rasterise(project(subject.panes.position, p.camera, fine), subject.panes.triangles, 0, near, which)
        panes = (which >= 0) & (near < depth)
        covering |= panes & (p.wear.glasses.tint > 0.6)
        _look_through(panes, p.wear.glasses.tint, p.light.ambient[0], image)

    points, point_depth = landmarks.landmarks(
        project(subject.head, p.camera, size), turn(p.pose.yaw, p.pose.pitch, p.pose.roll)
    )
    visible = _visible(points, point_depth, np.where(covering, -FAR, depth), size)
    layers = [image, albedo, facing, seen.astype(np.float32), _IS_FACE[region], np.ascontiguousarray(marks[..., 1])]
    if fine != size:
        layers = [np.asarray(cv2.resize(a, (size, size), interpolation=cv2.INTER_AREA), np.float32) for a in layers]
        middle = ((np.arange(size) + 0.5) * fine / size).astype(int)
        region, depth = region[np.ix_(middle, middle)], depth[np.ix_(middle, middle)]
    shaded, albedo, normal, alpha, face, mask = layers
    behind = background.draw(p.background, size, size) if backdrop is None else backdrop
    linear = shaded + behind * (1 - alpha[..., None])
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
        region=np.ascontiguousarray(region),
        depth=np.where(depth > 1e8, np.float32(np.inf), depth).astype(np.float32),
        albedo=albedo,
        normal=normal,
        shaded=shaded,
    )


def unfold(parameters: FaceParameters, size: int) -> tuple[Floats, Floats]:
    """Return where on the unfolded head each pixel lies, (size, size, 2) float32 each, NaN where something else shows.

    Of the skin in mm, to the right and up, 0 between the eyes, as `personas.ornaments` is drawn; not of ears. Of the
    eyes about where they look, right and up, in radii of the ball.
    """
    subject = Subject(parameters, size)
    surfaces = subject.surfaces(parameters.camera, size)
    depth, front = np.full((size, size), FAR, np.float32), np.full((size, size), -1, np.int32)
    rasterise(surfaces.corner, surfaces.triangles, skin_triangles(), depth, front)
    skin_place, eye_place = (np.full((size, size, 2), np.nan, np.float32) for _ in range(2))
    unfolded(front, surfaces, skin_place, eye_place)
    skin_place[(front >= 0) & (subject.region[front] == Region.EAR)] = np.nan
    return skin_place, eye_place


def _drawings(p: FaceParameters) -> Drawings:
    """Return what is drawn on this face; its folds deepen with age, and with what the face does."""
    age = p.identity.skin.age
    smile = max(0.0, p.expression.smile_left, p.expression.smile_right)
    raised = max(0.0, p.expression.brow_left, p.expression.brow_right)
    old = max(0.0, age - 0.25)
    forehead = 0.5 * old**1.3 + 0.3 * raised * old
    eyes = 0.7 * old**1.2 + 0.20 * smile * age
    mouth = 0.05 + 0.5 * age**1.5 + 0.22 * smile * (0.4 + age)
    depth = np.array([forehead, eyes, mouth], np.float32)
    return Drawings(
        tiles=skin.noise_tiles(),
        brow=skin.painted_brow()
        if p.identity.persona
        else skin.brow_drawings()[p.identity.brows.style % skin.BROW_STYLES],
        folds=(depth[:, None, None] * skin.wrinkle_drawings()).sum(0),
        ornaments=ornaments(p.identity.persona),
    )


def _look(p: FaceParameters, pixel: float) -> Look:
    """Return what all pixels of this face share."""
    s, ceramic = p.identity.skin, PERSONAS.get(p.identity.persona)
    tile_x, tile_y = np.random.default_rng(s.seed).uniform(0, 256, 2)
    grey = 0.7 * p.wear.hair.grey
    r, g, b = (c + grey * (0.42 - c) for c in p.wear.hair.colour)
    return Look(
        camera=p.camera.distance,
        pixel=pixel,
        pores=0.0 if ceramic else 0.5 + s.age,
        uneven=0.0 if ceramic else 0.4 + 1.2 * s.uneven,
        freckles=0.0 if ceramic else float(s.freckles),
        oil=1.6 * ceramic.glaze if ceramic else s.oil,
        gloss=2.5 if ceramic else 0.6,
        shine=60.0 if ceramic else 22.0,
        translucency=ceramic.translucency if ceramic else 1.0,
        dark=s.tone / 9,
        tile_x=float(tile_x),
        tile_y=float(tile_y),
        brow_density=p.identity.brows.density,
        brow=p.identity.brows.colour,
        hair=(r, g, b),
        iris=p.identity.eyes.iris,
        pupil=p.identity.eyes.pupil,
        bloodshot=p.identity.eyes.red,
        ceramic=1.0 if ceramic else 0.0,
        metal=METAL,
    )


def _look_through(panes: NDArray[np.bool_], tint: float, sky: tuple[float, float, float], image: Floats) -> None:
    """Tint what lies behind panes (H, W), more at their top, and mirror a little of the sky in them."""
    rows = np.flatnonzero(panes.any(1))
    if len(rows) == 0:
        return
    down = np.clip((np.arange(len(panes)) - rows[0]) / max(1, rows[-1] - rows[0]), 0, 1)[:, None, None]
    mirrored = np.array(sky, np.float32) * (0.5 * (0.02 + 0.05 * (1 - down)))
    image[panes] = (image * (1 - tint * (1 - 0.3 * down)) + mirrored)[panes]


def _visible(points: Floats, point_depth: Floats, depth: Floats, size: int) -> NDArray[np.bool_]:
    """Return whether points are seen: inside the picture, and nothing more than 9 mm before them.

    depth: (H, W), -FAR where what lies close to a face covers it.
    """
    fine = depth.shape[0]
    inside = ((points > -0.5) & (points < size - 0.5)).all(1)
    x, y = np.clip(((points + 0.5) * fine / size).astype(int), 1, fine - 2).T
    # The furthest of the neighbours: a point on an edge is seen though a pixel beside it is covered.
    around = [depth[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return np.asarray(inside & (point_depth < np.max(around, 0) + 9.0))
