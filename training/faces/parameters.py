"""What a picture of a face is made from: plain values, equal if and only if the pictures are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.faces.expression import Expression


Colour = tuple[float, float, float]
"""Linear RGB, 0 to 1."""


@dataclass(frozen=True)
class Skin:
    """tone: place on the Monk scale, 0 (lightest) to 9. The others from 0, none, to 1, as strong as people have it."""

    tone: float = 3.0
    warmth: float = 0.5
    redness: float = 0.4
    uneven: float = 0.3
    freckles: float = 0.0
    age: float = 0.2
    oil: float = 0.4
    circles: float = 0.3
    lip_tint: Colour = (0.5, 0.2, 0.2)
    lip_strength: float = 0.0
    shade: float = 0.0
    """Make-up on the upper lids."""
    stubble: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Brows:
    """style: number of a drawing of a brow; density 0 to 1."""

    style: int = 0
    density: float = 0.8
    colour: Colour = (0.05, 0.035, 0.025)


@dataclass(frozen=True)
class Eyes:
    """iris: colour; pupil: its radius, mm; red: how bloodshot, 0 to 1."""

    iris: Colour = (0.12, 0.06, 0.03)
    pupil: float = 2.0
    red: float = 0.2
    lashes: float = 0.5


@dataclass(frozen=True)
class Beard:
    """style: none, full, goatee, moustache, chin strap; length of the hair in mm."""

    style: str = 'none'
    length: float = 4.0
    density: float = 0.8
    colour: Colour = (0.05, 0.035, 0.025)
    seed: int = 0


@dataclass(frozen=True)
class Identity:
    """Whose face it is.

    traits: in the order of `head.trait_names`; persona: name in `personas`, '' for a human; brightness: of a persona's
    colours, 1 as they are.
    """

    traits: tuple[float, ...]
    skin: Skin = field(default_factory=Skin)
    brows: Brows = field(default_factory=Brows)
    eyes: Eyes = field(default_factory=Eyes)
    beard: Beard = field(default_factory=Beard)
    persona: str = ''
    brightness: float = 1.0


@dataclass(frozen=True)
class Hair:
    """style: bald, or a name in `hair.STYLES`; lengths in mm; curl, grey and volume 0 to 1; hairline: mm it recedes."""

    style: str = 'short'
    length: float = 40.0
    volume: float = 0.3
    curl: float = 0.1
    hairline: float = 0.0
    part: float = 0.0
    colour: Colour = (0.05, 0.035, 0.025)
    grey: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Glasses:
    """Frames: half width, half height and roundness (2 ellipse, more boxy) of a lens, thickness, mm; tint 0 to 1."""

    half_width: float = 24.0
    half_height: float = 18.0
    power: float = 3.0
    thickness: float = 2.0
    colour: Colour = (0.02, 0.02, 0.02)
    tint: float = 0.05
    slip: float = 0.0


@dataclass(frozen=True)
class Hat:
    """style: cap, beanie, brim or scarf."""

    style: str = 'cap'
    colour: Colour = (0.1, 0.1, 0.3)
    low: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Wear:
    """What comes with a head but is not its face."""

    hair: Hair = field(default_factory=Hair)
    glasses: Glasses | None = None
    hat: Hat | None = None
    cloth: Colour = (0.2, 0.2, 0.25)
    cloth_two: Colour = (0.5, 0.5, 0.5)
    collar: str = 'round'
    pattern: str = 'plain'
    seed: int = 0


@dataclass(frozen=True)
class Pose:
    """Degrees: yaw to the right of the picture, pitch up, roll clockwise; the same of the body below the neck."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    body_yaw: float = 0.0
    body_roll: float = 0.0


@dataclass(frozen=True)
class Camera:
    """Where the camera stands.

    distance to the middle of the face, mm; span: height of the picture there, mm; x and y of that middle, as
    fractions of the picture's side.
    """

    distance: float = 900.0
    span: float = 300.0
    x: float = 0.5
    y: float = 0.5


@dataclass(frozen=True)
class Lamp:
    """A distant lamp; direction towards it (x right, y up, z towards the camera), colour, softness of its shadow."""

    direction: tuple[float, float, float]
    colour: Colour
    softness: float = 0.3


@dataclass(frozen=True)
class Light:
    """What lights a face.

    ambient: nine spherical harmonics of the light around, each RGB (Ramamoorthi and Hanrahan, "An efficient
    representation for irradiance environment maps", 2001; their order and axes, z towards the camera).
    """

    ambient: tuple[Colour, ...]
    lamps: tuple[Lamp, ...] = ()


@dataclass(frozen=True)
class Background:
    """seed draws it, of this kind: plain, gradient, noise, shapes, clutter, room, people."""

    kind: str = 'gradient'
    seed: int = 0
    brightness: float = 0.3


@dataclass(frozen=True)
class Occluder:
    """Something before a face.

    kind: a name in `occluders.KINDS`; x, y and z in mm relative to the middle of the mouth, turned with the camera
    or, where it is worn, with the head; angle in degrees; size about 1.
    """

    kind: str
    x: float = 0.0
    y: float = 0.0
    z: float = 30.0
    angle: float = 0.0
    size: float = 1.0
    colour: Colour = (0.5, 0.4, 0.3)
    seed: int = 0


@dataclass(frozen=True)
class Sensor:
    """What the camera does to the light.

    exposure: factor; cast: gains of R, G, B; blur: sigma, and motion: length and degrees, as fractions of the
    picture's side; noise: sigma at white, shot and read, 0 to 1; quality: of JPEG, 0 for none; resolution:
    fraction of the picture's side actually sampled; skew: of the rolling shutter, shift from the first to the last
    row as a fraction of the side; contrast: of the tone curve.
    """

    exposure: float = 1.0
    cast: Colour = (1.0, 1.0, 1.0)
    blur: float = 0.0
    motion: float = 0.0
    motion_angle: float = 0.0
    shot_noise: float = 0.0
    read_noise: float = 0.0
    quality: int = 0
    resolution: float = 1.0
    skew: float = 0.0
    contrast: float = 0.0
    saturation: float = 1.0
    sharpen: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class FaceParameters:
    """One face and its picture."""

    identity: Identity
    wear: Wear
    expression: Expression
    pose: Pose
    camera: Camera
    light: Light
    background: Background
    occluders: tuple[Occluder, ...]
    sensor: Sensor
