"""Drawing faces by chance: who, how lit, how posed, how photographed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from training.faces import background as backgrounds
from training.faces.expression import Expression
from training.faces.head import trait_names
from training.faces.identity import CHILD_MINUS_ADULT, LOPSIDED, MALE_MINUS_FEMALE, MEAN
from training.faces.occluders import WORN
from training.faces.parameters import (
    Background,
    Beard,
    Brows,
    Camera,
    Eyes,
    FaceParameters,
    Glasses,
    Hair,
    Hat,
    Identity,
    Lamp,
    Light,
    Occluder,
    Pose,
    Sensor,
    Skin,
    Wear,
)
from training.faces.skin import BROW_STYLES, tone_colour

if TYPE_CHECKING:
    from training.faces.parameters import Colour

    Rng = np.random.Generator


@dataclass(frozen=True)
class Settings:
    """How far chance goes. Angles are degrees.

    yaw, pitch, roll: standard deviations; the largest are 70, 40 and roll_limit. span: least and largest height of the
    picture at the face, mm; a face is about 190 mm from hairline to chin. shift: largest distance of the face from the
    middle, fraction of the side. occluders: chance of at least one. sensor: how bad pictures may get, 0 to 1.
    """

    yaw: float = 26.0
    pitch: float = 12.0
    roll: float = 10.0
    roll_limit: float = 180.0
    span: tuple[float, float] = (230.0, 380.0)
    shift: float = 0.06
    occluders: float = 0.15
    sensor: float = 1.0
    expression: float = 1.0
    children: float = 0.08


def _seed(rng: Rng) -> int:
    return int(rng.integers(1 << 31))


def _near(rng: Rng, colour: tuple[float, ...], spread: float) -> Colour:
    value = np.exp(rng.normal(0, spread))
    r, g, b = (float(c * value * np.exp(rng.normal(0, 0.2 * spread))) for c in colour)
    return min(r, 1.0), min(g, 1.0), min(b, 1.0)


def _any_colour(rng: Rng) -> Colour:
    value = rng.uniform(0.02, 0.8) ** 1.4
    strength = rng.beta(1.0, 2.2)
    hue = rng.random(3)
    hue = hue / hue.max()
    r, g, b = (float(v) for v in value * (1 - strength + strength * hue))
    return r, g, b


def sample(rng: Rng, settings: Settings | None = None) -> FaceParameters:
    """Draw one face and its picture."""
    s = settings or Settings()
    identity, wear = person(rng, s)
    pose = sample_pose(rng, s)
    light = sample_light(rng)
    sensor = sample_sensor(rng, s)
    # A camera sets its exposure by what it sees, though not all the way.
    bright = float(np.mean(tone_colour(identity.skin.tone))) * (
        light.ambient[0][1] + 0.5 * sum(lamp.colour[1] for lamp in light.lamps)
    )
    sensor = replace(sensor, exposure=sensor.exposure * (0.46 / bright) ** 0.58)
    return FaceParameters(
        identity=identity,
        wear=wear,
        expression=sample_expression(rng, s),
        pose=pose,
        camera=sample_camera(rng, s),
        light=light,
        background=Background(
            str(rng.choice(backgrounds.KINDS)), _seed(rng), float(rng.uniform(0.03, 0.6)) / sensor.exposure**0.85
        ),
        occluders=sample_occluders(rng, s, identity.skin.tone),
        sensor=sensor,
    )


def sample_identity(rng: Rng, settings: Settings | None = None) -> Identity:
    """Draw a face for whatever head."""
    return person(rng, settings or Settings())[0]


def person(rng: Rng, s: Settings) -> tuple[Identity, Wear]:
    """Draw a face and what goes with it: hair of its colour, clothes, glasses."""
    male = bool(rng.random() < 0.5)
    child = bool(rng.random() < s.children)
    age = 0.0 if child else float(rng.beta(1.2, 1.8))
    names = trait_names()
    traits = rng.normal(0, 0.85, len(names))
    sign = 0.5 if male else -0.5
    strength = 0.3 if child else rng.uniform(0.5, 1.3)
    for k, name in enumerate(names):
        traits[k] += MEAN.get(name, 0.0) + sign * strength * MALE_MINUS_FEMALE.get(name, 0.0)
        if child:
            traits[k] += rng.uniform(0.5, 1.0) * CHILD_MINUS_ADULT.get(name, 0.0)
        if name in LOPSIDED:
            traits[k] *= 0.8
    traits = np.clip(traits, -3.2, 3.2)
    tone = float(np.clip(rng.uniform(-0.5, 9.5), 0, 9))
    dark = tone / 9
    hair_colour = _hair_colour(rng, dark)
    grey = float(np.clip((age - 0.55) * 2.2 + rng.normal(0, 0.15), 0, 1)) if age > 0.4 else 0.0
    made_up = not male and not child and rng.random() < 0.5
    skin = Skin(
        tone=tone,
        warmth=float(rng.random()),
        redness=float(rng.beta(2, 2)),
        uneven=float(rng.beta(1.5, 2.5)),
        freckles=float(rng.random() if rng.random() < 0.18 * (1 - dark) else 0),
        age=age,
        oil=float(rng.beta(1.5, 2)),
        circles=float(rng.beta(1.5, 2.5)),
        lip_tint=_near(rng, (0.34, 0.075, 0.08), 0.45),
        lip_strength=float(rng.uniform(0.1, 0.65)) if made_up else 0.0,
        shade=float(rng.uniform(0.1, 0.8)) if made_up and rng.random() < 0.6 else 0.0,
        stubble=float(rng.beta(1, 1.6)) if male and not child else 0.0,
        seed=_seed(rng),
    )
    iris = _iris(rng, dark)
    brow_colour = hair_colour if rng.random() < 0.6 else (0.05, 0.035, 0.025)
    r, g, b = (0.65 * c for c in brow_colour)
    beard = Beard()
    if male and not child and rng.random() < 0.42:
        style = str(rng.choice(['full', 'full', 'goatee', 'moustache', 'strap', 'muzzle']))
        beard = Beard(
            style,
            float(np.exp(rng.uniform(np.log(1.0), np.log(20)))),
            float(rng.uniform(0.5, 1.0)),
            (r, g, b),
            _seed(rng),
        )
    identity = Identity(
        tuple(float(t) for t in traits),
        skin,
        Brows(int(rng.integers(BROW_STYLES)), float(rng.uniform(0.45, 0.95)), (r, g, b)),
        Eyes(
            iris,
            float(rng.uniform(1.4, 3.2)),
            float(rng.beta(1, 4)),
            float(rng.uniform(0.5, 1)) if not male or child else float(rng.uniform(0.2, 0.6)),
        ),
        beard,
    )
    hair = _hair(rng, male=male, age=age, colour=hair_colour, grey=grey, dark=dark)
    glasses = None
    if rng.random() < (0.08 if child else 0.22):
        sun = rng.random() < 0.22
        glasses = Glasses(
            half_width=float(rng.uniform(20, 28)),
            half_height=float(rng.uniform(13, 22)),
            power=float(rng.uniform(2.0, 4.5)),
            thickness=float(rng.choice([1.0, 1.6, 2.4, 4.0])),
            colour=_near(rng, (0.015, 0.012, 0.01), 0.5) if rng.random() < 0.6 else _any_colour(rng),
            tint=float(rng.uniform(0.5, 0.97)) if sun else float(rng.uniform(0, 0.1)),
            slip=float(rng.uniform(-1, 6)),
        )
    hat = None
    if rng.random() < 0.11:
        style = str(
            rng.choice(
                ['cap', 'cap', 'beanie', 'beanie', 'brim', 'scarf'] if not male else ['cap', 'cap', 'beanie', 'brim']
            )
        )
        hat = Hat(style, _any_colour(rng), float(rng.normal(-4, 7)), _seed(rng))
    wear = Wear(
        hair=hair,
        glasses=glasses,
        hat=hat,
        cloth=_any_colour(rng),
        cloth_two=_any_colour(rng),
        collar=str(rng.choice(['round', 'v', 'high', 'shirt'])),
        pattern=str(rng.choice(['plain', 'plain', 'edge', 'stripes', 'lapel'])),
        seed=_seed(rng),
    )
    return identity, wear


def _hair_colour(rng: Rng, dark: float) -> Colour:
    r = rng.random()
    black = 0.35 + 0.6 * dark
    if r < black:
        return _near(rng, (0.018, 0.014, 0.012), 0.4)
    if r < black + 0.55 * (1 - black):
        return _near(rng, (0.075, 0.042, 0.024), 0.5)
    if r < black + 0.85 * (1 - black):
        return _near(rng, (0.34, 0.22, 0.11), 0.35)
    if r < black + 0.98 * (1 - black):
        return _near(rng, (0.24, 0.075, 0.03), 0.3)
    return _any_colour(rng)


def _iris(rng: Rng, dark: float) -> Colour:
    r = rng.random()
    if r < 0.45 + 0.6 * dark:
        return _near(rng, (0.06, 0.028, 0.012), 0.45)
    if r < 0.7 + 0.3 * dark:
        return _near(rng, (0.16, 0.10, 0.035), 0.35)
    if r < 0.88:
        return _near(rng, (0.13, 0.20, 0.27), 0.3)
    return _near(rng, (0.12, 0.15, 0.08), 0.3)


_LENGTHS = {
    'bald': (1, 2),
    'cropped': (4, 12),
    'short': (22, 48),
    'side': (45, 90),
    'back': (60, 110),
    'fringe': (55, 95),
    'bob': (130, 200),
    'long': (220, 400),
    'tied': (120, 190),
    'curly': (45, 190),
    'afro': (30, 85),
    'spiky': (22, 45),
}
"""Of each style of hair, mm."""


def _hair(rng: Rng, *, male: bool, age: float, colour: Colour, grey: float, dark: float) -> Hair:
    if male:
        styles = [
            'bald',
            'cropped',
            'cropped',
            'short',
            'short',
            'short',
            'side',
            'side',
            'back',
            'fringe',
            'spiky',
            'curly',
            'long',
        ]
    else:
        styles = ['bob', 'bob', 'long', 'long', 'long', 'tied', 'tied', 'fringe', 'curly', 'short', 'side']
    if dark > 0.6:
        styles += ['afro', 'afro', 'cropped', 'cropped', 'curly']
    style = str(rng.choice(styles))
    low, high = _LENGTHS[style]
    curly = {'curly': rng.uniform(0.5, 1.1), 'afro': rng.uniform(0.6, 1.2)}.get(style, float(rng.beta(1, 5)) * 0.5)
    return Hair(
        style=style,
        length=float(rng.uniform(low, high)),
        volume=float(rng.beta(1.5, 2.5)),
        curl=float(curly),
        hairline=float(rng.uniform(0, 1) ** 2 * 26 * age * (1.0 if male else 0.3) + rng.normal(0, 2.5)),
        part=float(rng.choice([0, rng.uniform(-40, 40)])),
        colour=colour,
        grey=grey,
        seed=_seed(rng),
    )


def sample_pose(rng: Rng, s: Settings) -> Pose:
    """Draw a pose; the body follows the head a little."""
    yaw = float(np.clip(rng.normal(0, s.yaw) if rng.random() < 0.85 else rng.uniform(-70, 70) * s.yaw / 26.0, -70, 70))
    pitch = float(np.clip(rng.normal(0, s.pitch), -40, 40))
    roll = float(np.clip(rng.normal(0, s.roll), -s.roll_limit, s.roll_limit))
    return Pose(yaw, pitch, roll, yaw * float(rng.uniform(-0.1, 0.6)), roll * float(rng.uniform(0, 0.9)))


def sample_camera(rng: Rng, s: Settings) -> Camera:
    """Draw a distance, a zoom and a place in the picture."""
    low, high = s.span
    span = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    distance = float(np.exp(rng.uniform(np.log(420), np.log(3000))))
    return Camera(distance, span, 0.5 + float(rng.uniform(-1, 1)) * s.shift, 0.5 + float(rng.uniform(-1, 1)) * s.shift)


def sample_expression(rng: Rng, s: Settings) -> Expression:
    """Draw an expression: often calm, often a smile, sometimes speech, shouting, or a grimace."""
    k = s.expression
    e = Expression()
    mood = rng.choice(['calm', 'smile', 'grin', 'speech', 'wide', 'grimace'], p=[0.25, 0.18, 0.29, 0.16, 0.05, 0.07])
    u = rng.uniform
    if mood == 'smile':
        v = float(u(0.2, 0.9))
        e = replace(e, smile_left=v + rng.normal(0, 0.07), smile_right=v + rng.normal(0, 0.07), squint=float(u(0, 0.7)))
    elif mood == 'grin':
        v = float(u(0.5, 1.15))
        e = replace(
            e,
            smile_left=v,
            smile_right=v + rng.normal(0, 0.06),
            upper_raise=float(u(0.25, 0.9)),
            lower_drop=float(u(0.1, 0.8)),
            jaw=float(u(0, 6) if rng.random() < 0.85 else u(6, 16)),
            squint=float(u(0, 1)),
        )
    elif mood == 'speech':
        e = replace(
            e,
            jaw=float(abs(rng.normal(0, 5))),
            pucker=float(max(0, rng.normal(0.1, 0.4))),
            upper_raise=float(u(0, 0.5)),
            lower_drop=float(u(0, 0.7)),
            smile_left=float(u(-0.1, 0.35)),
            smile_right=float(u(-0.1, 0.35)),
        )
    elif mood == 'wide':
        e = replace(
            e,
            jaw=float(u(12, 27)),
            lower_drop=float(u(0, 0.6)),
            upper_raise=float(u(0, 0.6)),
            smile_left=float(u(0, 0.8)),
            smile_right=float(u(0, 0.8)),
        )
    elif mood == 'grimace':
        e = replace(
            e,
            frown=float(u(0, 1)),
            press=float(u(0, 1)),
            brow_knit=float(u(0, 1)),
            nose_wrinkle=float(u(0, 1) ** 2),
            cheek_puff=float(u(0, 1) ** 4),
            smile_left=float(u(0, 1) ** 3),
        )
    else:
        e = replace(
            e,
            frown=float(max(0, rng.normal(0, 0.25))),
            press=float(max(0, rng.normal(0, 0.25))),
            jaw=float(max(0, rng.normal(0, 1.2))),
            smile_left=float(u(-0.05, 0.15)),
            smile_right=float(u(-0.05, 0.15)),
        )
    raised = float(rng.normal(0, 0.3))
    closed = 1.0 if rng.random() < 0.05 else float(np.clip(rng.normal(0.11, 0.13), -0.2, 0.8))
    wink = rng.random() < 0.02
    e = replace(
        e,
        jaw_side=float(rng.normal(0, 1.0)),
        brow_inner=float(max(0, rng.normal(0, 0.3))),
        brow_left=raised + float(rng.normal(0, 0.1)),
        brow_right=raised + float(rng.normal(0, 0.1)),
        brow_knit=e.brow_knit + float(max(0, rng.normal(-0.05, 0.25))),
        closed_left=closed + float(rng.normal(0, 0.03)),
        closed_right=1.0 if wink else closed + float(rng.normal(0, 0.03)),
        gaze_yaw=float(np.clip(rng.normal(0, 11), -35, 35)),
        gaze_pitch=float(np.clip(rng.normal(-1, 7), -25, 20)),
    )
    if k == 1.0:
        return e
    return replace(e, **{name: getattr(e, name) * k for name in e.__dataclass_fields__})


def sample_occluders(rng: Rng, s: Settings, tone: float) -> tuple[Occluder, ...]:
    """Draw what is before the face: mostly nothing."""
    out: list[Occluder] = []
    while rng.random() < s.occluders * (1.0 if not out else 0.5) and len(out) < 3:
        kind = str(rng.choice(['hand', 'hand', 'hand', 'microphone', 'cup', 'phone', 'bar', 'mask', 'mask', 'scarf']))
        u = rng.uniform
        if kind in WORN:
            colour = (
                [(0.25, 0.45, 0.6), (0.75, 0.78, 0.8), (0.02, 0.02, 0.025), _any_colour(rng)][int(rng.integers(4))]
                if kind == 'mask'
                else _any_colour(rng)
            )
            out.append(Occluder(kind, y=float(u(-30, 12)), colour=colour, seed=_seed(rng)))
            continue
        colour = _any_colour(rng)
        x, y, z = float(rng.normal(0, 45)), float(rng.normal(0, 45)), float(u(42, 85))
        if kind == 'hand':
            r, g, b = (float(c) for c in tone_colour(float(np.clip(tone + rng.normal(0, 0.6), 0, 9))))
            colour, y = (r, g, b), y - 10
        elif kind == 'microphone':
            colour, x, y, z = (0.03, 0.03, 0.03), float(rng.normal(0, 25)), float(u(-55, 0)), float(u(38, 70))
        elif kind == 'phone':
            colour, x = (0.02, 0.02, 0.025) if rng.random() < 0.7 else colour, float(rng.choice([-1, 1]) * u(30, 80))
        out.append(
            Occluder(
                kind,
                x,
                y,
                z,
                float(rng.normal(0, 35) if kind == 'hand' else rng.normal(0, 20)),
                float(u(0.85, 1.15)),
                colour,
                _seed(rng),
            )
        )
    return tuple(out)


def sample_light(rng: Rng) -> Light:
    """Draw light around and up to three lamps; together about as bright as a well exposed picture."""
    u = rng.uniform
    warm = np.exp(rng.normal(0, 0.10, 3) * [1, 0.35, 1])
    total = u(0.55, 1.15)
    share = rng.beta(2, 2)
    base = total * share * warm
    sh = np.zeros((9, 3))
    sh[0] = base
    way = rng.normal(0, 1, 3) * [1, 0.8, 0.8] + [0, 0.7, 0.3]
    way = way / np.linalg.norm(way) * u(0.1, 0.75)
    sh[1:4] = way[[1, 2, 0], None] * base * np.exp(rng.normal(0, 0.12, (1, 3)))
    sh[4:9] = rng.normal(0, 0.07, (5, 1)) * base
    lamps = []
    for k in range(int(rng.choice([0, 1, 2, 3], p=[0.08, 0.52, 0.3, 0.1]))):
        d = np.array(
            [rng.normal(0, 1.0), rng.normal(0.45, 0.55), abs(rng.normal(0.5, 0.7)) if k == 0 else rng.normal(0.1, 0.8)]
        )
        d = d / (np.linalg.norm(d) + 1e-6)
        power = 1.25 * total * (1 - share) * (1.0 if k == 0 else u(0.2, 0.8))
        c = power * np.exp(rng.normal(0, 0.12, 3) * [1, 0.3, 1]) * warm
        lamps.append(
            Lamp((float(d[0]), float(d[1]), float(d[2])), (float(c[0]), float(c[1]), float(c[2])), float(u(0.05, 1.0)))
        )
    return Light(tuple((float(r), float(g), float(b)) for r, g, b in sh), tuple(lamps))


def sample_sensor(rng: Rng, s: Settings) -> Sensor:
    """Draw what the camera does; half the pictures are good ones."""
    u = rng.uniform
    bad = s.sensor * (0.25 if rng.random() < 0.5 else 1.0)
    cast = np.exp(rng.normal(0, 0.10, 3) * bad)
    return Sensor(
        exposure=float(np.exp(rng.normal(0.05, 0.4 * s.sensor))),
        cast=(float(cast[0]), 1.0, float(cast[2])),
        blur=float(abs(rng.normal(0, 0.006)) * bad),
        motion=float(u(0, 0.05)) if rng.random() < 0.12 * bad else 0.0,
        motion_angle=float(u(0, 180)),
        shot_noise=float(u(0, 0.07) * bad),
        read_noise=float(u(0, 0.02) * bad),
        quality=int(u(30, 95)) if rng.random() < 0.7 else 0,
        resolution=float(u(0.25, 0.9)) if rng.random() < 0.2 * bad else 1.0,
        skew=float(rng.normal(0, 0.03)) if rng.random() < 0.08 * bad else 0.0,
        contrast=float(rng.normal(0.28, 0.18)),
        saturation=float(np.clip(rng.normal(0.97, 0.18), 0.0, 1.6)) if rng.random() > 0.04 else 0.0,
        sharpen=float(u(0, 0.8)) if rng.random() < 0.2 else 0.0,
        seed=_seed(rng),
    )
