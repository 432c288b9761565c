"""The three android personas that the package shows: faces of glazed ceramic, as identities of the generator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.faces.head import trait_names
from training.faces.parameters import Beard, Brows, Eyes, FaceParameters, Identity, Skin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import Colour

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Ceramic:
    """What a persona's face is made of; colours in linear RGB, and its traits in standard deviations."""

    body: Colour
    blush: Colour
    lips: Colour
    brows: Colour
    iris: Colour
    glaze: float
    translucency: float
    traits: dict[str, float]


_BRIGHT = 1.5
"""Light times exposure from which on a white surface loses its shape."""
METAL: Colour = (0.86, 0.50, 0.13)
"""Of the mended cracks."""
PERSONAS = {
    'porcelain': Ceramic(
        body=(0.70, 0.62, 0.565),
        blush=(0.72, 0.36, 0.32),
        lips=(0.42, 0.050, 0.065),
        brows=(0.055, 0.032, 0.026),
        iris=(0.07, 0.22, 0.36),
        glaze=1.0,
        translucency=1.0,
        traits={
            'eye_size': 1.0,
            'jaw_width': -0.8,
            'chin_width': -0.8,
            'lower_lip': 0.6,
            'upper_lip': 0.5,
            'nose_width': -1.0,
            'cheek_bone': 0.6,
            'brow_arch': 0.8,
            'brow_ridge': -1.0,
            'neck_width': -0.8,
            'lower_height': -0.4,
            'eye_tilt': 0.5,
        },
    ),
    'obsidian': Ceramic(
        body=(0.050, 0.048, 0.056),
        blush=(0.09, 0.05, 0.05),
        lips=(0.20, 0.026, 0.030),
        brows=(0.005, 0.0045, 0.005),
        iris=(0.62, 0.34, 0.08),
        glaze=1.6,
        translucency=0.2,
        traits={
            'jaw_width': 0.7,
            'jaw_angle': 0.8,
            'chin_width': 0.6,
            'brow_ridge': 0.8,
            'nose_projection': 0.4,
            'lower_height': 0.5,
            'cheek_bone': 0.8,
            'upper_lip': 0.5,
            'lower_lip': 0.4,
            'brow_height': -0.4,
            'neck_width': 0.8,
        },
    ),
    'jade': Ceramic(
        body=(0.27, 0.47, 0.36),
        blush=(0.36, 0.44, 0.30),
        lips=(0.030, 0.170, 0.110),
        brows=(0.010, 0.035, 0.025),
        iris=(0.50, 0.40, 0.14),
        glaze=1.15,
        translucency=1.2,
        traits={
            'face_width': 0.5,
            'cheek_fat': 0.6,
            'eye_tilt': 0.8,
            'eye_hood': 0.6,
            'bridge_height': -0.4,
            'nose_width': 0.3,
            'upper_lip': 0.8,
            'lower_lip': 0.7,
            'mouth_width': -0.4,
            'brow_ridge': -0.6,
            'chin_width': -0.3,
        },
    ),
}

# A crack mended with gold, and the seams of the shell, on the unfolded face: x, y in mm.
_CRACK = (
    (20, 62),
    (24, 52),
    (31.5, 44),
    (34, 36.5),
    (43, 32),
    (50.5, 30),
    (54.5, 19),
    (52.5, 9),
    (56, -1),
    (51, -11.5),
    (46.5, -17),
    (47.5, -25),
    (43, -31),
)
_TWIGS = (
    ((34, 36.5), (27, 31), (24.5, 27.5)),
    ((50.5, 30), (60, 33), (64, 40)),
    ((51, -11.5), (58, -17), (60, -26)),
    ((46.5, -17), (38.5, -20), (34.5, -25.5)),
)
_SEAM = ((66, 14), (67, -10), (64, -36), (57, -62), (44, -84), (27, -99))


def persona(name: str) -> Identity:
    """Return a persona as an identity; KeyError where there is none of this name."""
    c = PERSONAS[name]
    return Identity(
        traits=tuple(c.traits.get(t, 0.0) for t in trait_names()),
        skin=Skin(age=0.0, uneven=0.0, redness=0.5, oil=1.0, circles=0.0, seed=0, lip_strength=1.0),
        brows=Brows(density=1.0, colour=c.brows),
        eyes=Eyes(iris=c.iris, pupil=2.0, red=0.0, lashes=1.0),
        beard=Beard(),
        persona=name,
    )


def as_persona(parameters: FaceParameters, name: str, likeness: float = 0.4) -> FaceParameters:
    """Return the same picture with a persona's face.

    likeness: 1 has the persona's own proportions, 0 those of the face it replaces; pose, expression, light and all
    that is not face stay. Where the picture is exposed for a dark face, the persona is darker than it is: porcelain
    would be nothing but white.
    """
    identity = persona(name)
    light = parameters.light.ambient[0][1] + 0.6 * sum(lamp.colour[1] for lamp in parameters.light.lamps)
    brightness = min(1.0, _BRIGHT / max(1e-6, light * parameters.sensor.exposure))
    own = np.array(parameters.identity.traits)
    mixed = likeness * np.array(identity.traits) + (1 - likeness) * own
    identity = replace(identity, traits=tuple(float(t) for t in mixed), brightness=brightness)
    return replace(parameters, identity=identity)


def swapped(parameters: FaceParameters, identity: Identity) -> FaceParameters:
    """Return the same picture with another's face: hair, clothes, pose, expression, light, camera and sensor stay."""
    return replace(parameters, identity=identity)


@cache
def ornaments(name: str) -> Floats:
    """Return (2, 512, 512) drawings of gold and of grooves on the unfolded face, 0 to 1; blank where the name is ''.

    2 pixels a mm, the middle in column 256, y = 100 in the first row.
    """
    out = np.zeros((2, 512, 512), np.float32)
    if not name:
        return out

    def stroke(layer: int, line: tuple[tuple[float, float], ...], width: int) -> None:
        canvas = np.zeros((512, 512), np.uint8)
        points = np.array([((256 + 2 * x) * 16, (200 - 2 * y) * 16) for x, y in line]).astype(np.int32)
        cv2.polylines(canvas, [points], isClosed=False, color=255, thickness=width, lineType=cv2.LINE_AA, shift=4)
        out[layer] = np.maximum(out[layer], cv2.GaussianBlur(canvas, (0, 0), 0.6) / np.float32(255))

    stroke(0, _CRACK, 3)
    for twig in _TWIGS:
        stroke(0, twig, 2)
    for side in (-1, 1):
        stroke(1, tuple((side * x, y) for x, y in _SEAM), 2)
    return out
