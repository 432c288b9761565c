"""Built-in personas: android faces of glazed ceramic, painted from geometry alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.personas import anatomy
from facefusion_ros.personas.anatomy import CHIN_Y, EYE_X, MOUTH_X, MOUTH_Y, NOSE_TIP_Y, curve, mound, ramp
from facefusion_ros.personas.canvas import blur, finished, half_grid, lay, mirrored, pixel, strokes, whole
from facefusion_ros.personas.eyes import paint_hair, set_eyes
from facefusion_ros.personas.light import illuminate, srgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.personas.anatomy import Half, Plane, Points
    from facefusion_ros.personas.canvas import Line

    Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Ceramic:
    """What a face is made of; colours in linear light, RGB, 0 to 1."""

    title: str
    body: Colour
    blush: Colour
    lips: Colour
    hair: Colour
    iris_inner: Colour
    iris_outer: Colour
    metal: Colour = (0.86, 0.56, 0.17)
    """Of the mended cracks and the rivets."""
    glaze: float = 1.0
    """Strength of the mirror-like reflection."""
    translucency: float = 1.0
    """How far light creeps under the surface, warming its shadows."""
    reflectance: float = 1.0
    """Of the glazed face over people's skin. 1: it is shown as bright as the face whose place it takes, which hides the
    seam; what is far darker than any skin is not."""


CERAMICS = {
    'porcelain': Ceramic(
        title='Porcelain android',
        body=(0.82, 0.735, 0.675),
        blush=(0.86, 0.45, 0.40),
        lips=(0.58, 0.16, 0.17),
        hair=(0.16, 0.105, 0.085),
        iris_inner=(0.34, 0.50, 0.52),
        iris_outer=(0.05, 0.15, 0.21),
    ),
    'obsidian': Ceramic(
        title='Obsidian android',
        body=(0.060, 0.058, 0.066),
        blush=(0.10, 0.055, 0.055),
        lips=(0.11, 0.030, 0.036),
        hair=(0.012, 0.011, 0.012),
        iris_inner=(0.80, 0.48, 0.12),
        iris_outer=(0.24, 0.09, 0.02),
        glaze=1.5,
        reflectance=0.25,
        translucency=0.2,
    ),
    'jade': Ceramic(
        title='Jade android',
        body=(0.33, 0.56, 0.43),
        blush=(0.42, 0.50, 0.34),
        lips=(0.13, 0.34, 0.25),
        hair=(0.045, 0.085, 0.065),
        iris_inner=(0.62, 0.52, 0.20),
        iris_outer=(0.15, 0.12, 0.03),
        translucency=1.3,
    ),
}

# Cracks mended with gold (kintsugi) on one side of the face: a trunk and its twigs.
_CRACK: Points = (
    (20, -62),
    (24, -52),
    (31.5, -44),
    (34, -36.5),
    (43, -32),
    (50.5, -30),
    (54.5, -19),
    (52.5, -9),
    (56, 1),
    (51, 11.5),
    (46.5, 17),
    (47.5, 25),
    (43, 31),
)
_TWIGS: tuple[Points, ...] = (
    ((34, -36.5), (27, -31), (24.5, -27.5)),
    ((50.5, -30), (60, -33), (64, -40)),
    ((51, 11.5), (58, 17), (60, 26)),
    ((46.5, 17), (38.5, 20), (34.5, 25.5)),
)

# Upper limit of the mask by distance from the midline: over the brows, below the hair.
_MASK_TOP: Points = ((0, -35), (20, -34), (38, -30), (52, -22), (62, -9), (70, 8))
# Where the mask ends towards the sides by height, as a fraction of the outline: inside the hair, over the chin.
_MASK_SIDE: Points = ((-30, 0.90), (15, 0.92), (45, 0.96), (70, 0.985), (105, 0.995))


def paint(ceramic: Ceramic) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a face as (512, 512, 4) BGRA uint8 and its (5, 2) float32 landmarks, pixels."""
    half = half_grid()
    groove = blur(strokes(mirrored(_seams()), 2), 0.3)
    metal = np.maximum(strokes([_line(_CRACK)], 4), strokes([_line(twig) for twig in _TWIGS], 2))
    lighting = illuminate(whole(anatomy.relief(half)) - 0.55 * groove + 0.45 * blur(metal, 0.4), ceramic.translucency)

    canvas = whole(_body_colours(half, ceramic))
    lay(canvas, 0.75 * groove, tuple(0.13 * c for c in ceramic.body))
    canvas *= lighting.diffuse
    canvas += (ceramic.glaze * (0.7 * lighting.mirrored + 0.1 * lighting.rim))[..., None]
    shine = 0.35 + 1.05 * lighting.diffuse[..., 1] + 1.5 * lighting.mirrored
    lay(canvas, metal, np.asarray(ceramic.metal, np.float32) * shine[..., None])
    set_eyes(canvas, ceramic.iris_inner, ceramic.iris_outer)
    paint_hair(canvas, ceramic.hair)

    pixels = np.empty((canvas.shape[0] // 2, canvas.shape[1] // 2, 4), np.uint8)
    pixels[..., :3] = srgb(finished(canvas))[..., ::-1]
    pixels[..., 3] = np.round(255 * finished(whole(_mask(half))))
    return pixels, _landmarks()


def _landmarks() -> NDArray[np.float32]:
    points = ((-EYE_X, 0), (EYE_X, 0), (0, NOSE_TIP_Y), (-MOUTH_X, MOUTH_Y), (MOUTH_X, MOUTH_Y))
    return np.array([pixel(x, y) for x, y in points], np.float32)


def _mask(half: Half) -> Plane:
    """Soft mask from the brows to the chin, within the outline of the face."""
    inside = ramp(curve(_MASK_SIDE, half.y) - anatomy.outline_ratio(half), 0.0, 0.10)
    return inside * ramp(half.y - curve(_MASK_TOP, half.x), -13.0, 0.0)


def _body_colours(half: Half, ceramic: Ceramic) -> Plane:
    """Colour of the ceramic: body, blush, eye shadow, nostrils, lips; the right half."""
    top, line, bottom = (curve(c, half.x) for c in (anatomy.UPPER_LIP, anatomy.MOUTH_LINE, anatomy.LOWER_LIP))
    colour = np.empty((*np.broadcast_shapes(half.x.shape, half.y.shape), 3), np.float32)
    colour[:] = ceramic.body
    rosy = 0.34 * mound(half, 42.0, 30.0, 15.0, 12.0, -18.0) + 0.22 * mound(half, 0.0, NOSE_TIP_Y + 1, 9.0, 6.0)
    rosy += 0.16 * mound(half, 0.0, CHIN_Y - 10, 12.0, 7.0) + 0.12 * mound(half, 38.0, -14.0, 14.0, 6.0)
    lay(colour, rosy, ceramic.blush)
    lay(colour, 0.30 * mound(half, EYE_X + 1.5, -7.5, 12.0, 3.4, 2.0), ceramic.lips)
    lay(colour, 0.10 * mound(half, EYE_X - 1.5, 8.0, 13.0, 3.0, 3.0), ceramic.lips)
    lay(colour, 0.85 * np.clip(mound(half, 5.9, 44.6, 2.3, 1.0, -16.0), 0, 1), tuple(0.25 * c for c in ceramic.lips))
    on_lips = ramp(half.y - top, -0.55, 0.55) * ramp(bottom - half.y, -0.8, 0.8) * ramp(-half.x, -26.5, -23.5)
    lay(colour, 0.80 * on_lips, ceramic.lips)
    parting = np.exp(-0.5 * ((half.y - line) / 1.6) ** 2) * on_lips
    lay(colour, 0.45 * parting, tuple(0.35 * c for c in ceramic.lips))
    return colour


def _seams() -> list[Line]:
    """Joints between the ceramic shells of the right half: the face plate, and the jaw that is hinged to it."""
    angle = np.linspace(56, 128, 60, dtype=np.float32)
    r = 0.80 * curve(anatomy.OUTLINE, angle)
    plate = r * np.sin(np.radians(angle)), anatomy.OUTLINE_CENTRE_Y - r * np.cos(np.radians(angle))
    t = np.linspace(0, 1, 40, dtype=np.float32)
    jaw = plate[0][-1] - 31.5 * t**1.15, plate[1][-1] + 42 * t - 9 * t * t
    return [plate, jaw]


def _line(points: Points) -> Line:
    x, y = np.asarray(points, np.float32).T
    return x, y
