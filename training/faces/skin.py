"""The colours of skin, and what is painted on it: lips, blush, brows, freckles, wrinkles, stubble."""

# mypy: disable-error-code="untyped-decorator,no-any-unimported,no-any-return"
from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.faces.mesh import bump, head_mesh, step
from training.faces.parts import Part, head
from training.faces.personas import PERSONAS
from training.faces.raster import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import Beard, Identity

    Floats = NDArray[np.float32]

# The ten tones of the Monk skin tone scale (Monk, 2019), sRGB, drawn a little towards red as skin is by daylight.
_TONES = np.array(
    [
        (240, 214, 198),
        (234, 203, 184),
        (232, 198, 168),
        (218, 181, 147),
        (203, 160, 122),
        (172, 127, 95),
        (145, 103, 76),
        (118, 82, 62),
        (94, 65, 50),
        (72, 51, 41),
    ],
    np.float64,
)
_LIP = np.array(
    [
        (196, 122, 115),
        (190, 112, 104),
        (184, 106, 96),
        (172, 98, 88),
        (158, 88, 76),
        (130, 76, 68),
        (116, 72, 64),
        (100, 62, 57),
        (86, 54, 50),
        (72, 46, 43),
    ],
    np.float64,
)
BROW_LINE = ((10.8, 14.6), (22.5, 19.2), (36.0, 22.2), (50.0, 20.8), (63.5, 13.4))
"""Middle line of a brow on the unfolded face, the half with x > 0."""
BROW_STYLES = 12
BROW_BOX = (4.0, 4.0, 70.0, 36.0)
"""Left, bottom, right, top of the drawings of brows on the unfolded face, mm."""
BROW_SCALE = 5
"""Pixels per mm of the drawings."""
TILE = 256


def linear(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sRGB of 0 to 255 as linear light, 0 to 1 (IEC 61966-2-1)."""
    c = srgb / 255.0
    return np.asarray(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4))


def tone_colour(tone: float) -> NDArray[np.float64]:
    """Return the linear RGB of skin at a place on the Monk scale."""
    lin = linear(_TONES) * 0.82
    return np.array([np.interp(tone, range(10), lin[:, c]) for c in range(3)])


def lip_colour(tone: float) -> NDArray[np.float64]:
    """Return the linear RGB of bare lips at a place on the Monk scale."""
    lin = linear(_LIP) * 0.8
    return np.array([np.interp(tone, range(10), lin[:, c]) for c in range(3)])


@cache
def tints() -> dict[str, Floats]:
    """Return what is tinted where, by name (V,), 0 to 1."""
    h, mesh = head(), head_mesh()
    x, y, z = h.position.T
    front = step(z, 10, 50)
    skin = h.part == Part.SKIN
    lip = np.zeros(len(x))
    ring = np.full(len(x), -1)
    ring[: h.skin_count] = mesh.mouth_ring
    lip[(ring >= 0) & (ring <= 4)] = np.array([1.0, 1.0, 1.0, 0.7, 0.12])[ring[(ring >= 0) & (ring <= 4)]]
    eye_ring = np.full(len(x), -1)
    eye_ring[: h.skin_count] = mesh.eye_ring
    upper = np.zeros(len(x))
    upper[: h.skin_count] = mesh.upper
    v = h.plane[:, 1]
    beard = step(v, -52, -60) * step(v, -132, -116) * front
    around = np.abs(h.plane[:, 0])
    side = step(around, 62, 80) * step(v, 4, -26) * step(around, 102, 90)
    cheek = step(-60 + 0.9 * np.clip(around - 34, 0, 40) + 6, v - 8, v + 10)
    moustache = bump(x, y, 0, -53.5, 30, 1e3) * step(y, -49.5, -53) * step(y, -68, -60) * step(np.abs(x), 31, 25)
    full = np.maximum(np.maximum(beard * cheek, side * step(v, -132, -112)), moustache)
    off_lips = 1 - bump(x, y, 0, -68, 21, 6.5) * (y > -78)
    return {
        name: np.asarray(value * np.ones(len(x)), np.float32)
        for name, value in {
            'lip': lip * skin,
            'cheek': bump(x, y, 44, -32, 15, 13) * front,
            'nose': bump(x, y, 0, -37, 13, 9) * front,
            'chin': bump(x, y, 0, -101, 14, 9) * front,
            'forehead': bump(x, y, 0, 50, 45, 22) * front,
            'circles': bump(x, y, 27, -11, 11, 4.5) * front + 0.6 * bump(x, y, 15.5, 1, 5, 6) * front,
            'lid': ((eye_ring >= 1) & (eye_ring <= 4) & (upper > 0.4)) * 1.0,
            'margin': ((eye_ring >= 0) & (eye_ring <= 1)) * 1.0,
            'lash': ((eye_ring == 1) + 0.5 * (eye_ring == 0)) * np.maximum(upper, 0.25),
            'crease': (eye_ring == 4) * (upper > 0.6) * 1.0,
            'ear': (h.part == Part.EAR) * 1.0,
            'concha': (h.part == Part.EAR) * step(h.plane[:, 0], 0.6, 0.2),
            'nostril': bump(x, y, 6.3, -45.6, 3.0, 1.7) * front * (z < 112) * (skin),
            'corner': bump(x, y, 25.5, -67.8, 2.2, 1.8) * front * skin,
            'line': (ring == 0) * 1.0,
            'beard': full * off_lips * skin,
            'goatee': np.maximum(beard * step(np.abs(x), 27, 20) * off_lips, moustache) * skin,
            'moustache': moustache * skin,
            'strap': np.maximum(full * step(v, -92, -101), side) * skin,
            'muzzle': np.maximum(beard * cheek, moustache) * skin,
        }.items()
    }


@cache
def noise_tiles() -> Floats:
    """Return (4, TILE, TILE) patterns that repeat, mean 0 and deviation 1: coarse, blotchy, fine, and sparse dots."""
    rng = np.random.default_rng(7)
    tiles = []
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(TILE), np.fft.fftfreq(TILE)))
    f[0, 0] = 1.0
    for band in (f**-1.6 * (f < 0.06), f**-1.0 * (f < 0.2), np.exp(-(((f - 0.22) / 0.1) ** 2))):
        t = np.real(np.fft.ifft2(band * np.exp(2j * np.pi * rng.random((TILE, TILE)))))
        tiles.append((t - t.mean()) / t.std())
    dots = np.zeros((TILE, TILE))
    for x, y, r in zip(
        rng.integers(6, TILE - 6, 420), rng.integers(6, TILE - 6, 420), rng.exponential(0.9, 420) + 0.7, strict=True
    ):
        cv2.circle(dots, (int(x) * 16, int(y) * 16), int(r * 16), float(rng.uniform(0.4, 1.0)), -1, cv2.LINE_AA, 4)
    tiles.append(cv2.GaussianBlur(dots, (0, 0), 0.7))
    return np.asarray(tiles, np.float32)


@cache
def brow_drawings() -> Floats:
    """Return (BROW_STYLES, rows, columns) drawings of the right brow, hair by hair, 0 to 1, top row first."""
    left, bottom, right, top = BROW_BOX
    size = (int((top - bottom) * BROW_SCALE), int((right - left) * BROW_SCALE))
    out = []
    for style in range(BROW_STYLES):
        rng = np.random.default_rng(100 + style)
        canvas = np.zeros(size, np.float32)
        thick = np.interp(style % 4, [0, 3], [3.2, 7.0]) * rng.uniform(0.9, 1.1)
        hairs = int(np.interp(style // 4, [0, 2], [220, 520]))
        knots = np.array(BROW_LINE) + np.concatenate([rng.normal(0, 0.5, (5, 2))])
        t = rng.random(hairs) ** 0.9
        for s in t:
            x = np.interp(s * 4, range(5), knots[:, 0])
            y = np.interp(s * 4, range(5), knots[:, 1])
            width = thick * (0.75 + 0.5 * np.sin(np.pi * min(1, s * 1.15 + 0.15))) * np.clip((1.06 - s) * 2.4, 0.12, 1)
            y += rng.uniform(-0.5, 0.5) * width
            angle = np.interp(s, [0, 0.12, 0.45, 1], [88, 55, 22, -28]) + rng.normal(0, 9)
            length = rng.uniform(3.5, 7.0) * np.interp(s, [0, 0.3, 1], [0.7, 1, 0.75])
            ex, ey = x + length * np.cos(np.radians(angle)), y + length * np.sin(np.radians(angle)) * 0.55
            a = np.array([(x - left) * BROW_SCALE, (top - y) * BROW_SCALE])
            b = np.array([(ex - left) * BROW_SCALE, (top - ey) * BROW_SCALE])
            stroke = np.zeros(size, np.uint8)
            cv2.line(stroke, tuple(int(c * 16) for c in a), tuple(int(c * 16) for c in b), 255, 1, cv2.LINE_AA, 4)
            canvas += stroke / 255.0 * rng.uniform(0.3, 0.75)
        canvas = 1 - np.exp(-1.15 * canvas)
        out.append(
            np.clip(0.75 * cv2.GaussianBlur(canvas, (0, 0), 0.7) + 0.45 * cv2.GaussianBlur(canvas, (0, 0), 2.5), 0, 1)
        )
    return np.asarray(out, np.float32)


@cache
def painted_brow() -> Floats:
    """Return a brow as one stroke of a brush, drawn as `brow_drawings` are: broad inside, thin outside, arched."""
    left, bottom, right, top = BROW_BOX
    canvas = np.zeros((int((top - bottom) * BROW_SCALE), int((right - left) * BROW_SCALE)), np.uint8)
    for along in np.linspace(0, 1, 200):
        x, y = (float(np.interp(4 * along, range(5), knots)) for knots in np.array(BROW_LINE).T)
        reach = np.interp(along, [0, 0.12, 0.5, 1], [1.7, 2.5, 2.2, 0.5])
        middle = (int((x - left) * BROW_SCALE * 16), int((top - y - 1.5 * np.sin(np.pi * along)) * BROW_SCALE * 16))
        cv2.circle(canvas, middle, int(reach * BROW_SCALE * 16), 255, -1, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), 2.5) / np.float32(255), np.float32)


@cache
def wrinkle_drawings() -> Floats:
    """Return (3, 256, 256) folds on the unfolded face, 1 mm a pixel, the middle at 128, y = 100 in the first row.

    Forehead; crow's feet and below the eyes; from nose to mouth and beside the mouth. 0 to 1.
    """
    rng = np.random.default_rng(5)
    scale = 4
    layers = []
    groups: list[list[list[tuple[float, float]]]] = [[], [], []]
    for v in (34, 41, 49, 57):
        w = rng.uniform(28, 42)
        groups[0].append([(x, v + 2.5 * np.cos(x / 14.0) + 0.4 * rng.normal()) for x in np.linspace(-w, w, 25)])
    for s in (-1, 1):
        for k in range(5):
            a = np.radians(-35 + 17 * k)
            groups[1].append(
                [(s * (49 + r * np.cos(a)), 1 + r * np.sin(a) * 1.1 - 0.02 * r * r) for r in np.linspace(0, 15, 9)]
            )
        groups[1].append(
            [(s * (17 + 1.0 * t), -8 - 5.5 * np.sin(t / 24 * np.pi * 0.8)) for t in np.linspace(0, 24, 13)]
        )
        groups[1].append([(s * 4.5, y + 20) for y in np.linspace(-4, 7, 6)])
        groups[2].append([(s * (18.5 + 0.5 * t + 0.004 * t * t), -38.0 - t) for t in np.linspace(0, 29, 15)])
        groups[2].append([(s * (29.5 + 1.2 * np.sin(t / 5)), -73 - t) for t in np.linspace(0, 17, 9)])
    for lines in groups:
        canvas = np.zeros((256 * scale, 256 * scale), np.uint8)
        for line in lines:
            pts = np.array([[(128 + x) * scale * 16, (100 - y) * scale * 16] for x, y in line]).astype(np.int32)
            cv2.polylines(canvas, [pts], isClosed=False, color=255, thickness=3, lineType=cv2.LINE_AA, shift=4)
        soft = cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), 3.0) + 0.8 * cv2.GaussianBlur(
            canvas.astype(np.float32) / 255, (0, 0), 9.0
        )
        small = cv2.resize(soft, (256, 256), interpolation=cv2.INTER_AREA)
        layers.append(small / small.max())
    return np.asarray(layers, np.float32)


def beard_mask(beard: Beard) -> Floats:
    """Return (V,) where a beard of this style grows, 0 to 1."""
    t = tints()
    name = {'full': 'beard', 'goatee': 'goatee', 'moustache': 'moustache', 'strap': 'strap', 'muzzle': 'muzzle'}
    return t[name[beard.style]] if beard.style in name else np.zeros_like(t['lip'])


@compiled
def _laid(base: Floats, tints: Floats, target: Floats, share: Floats) -> Floats:
    """Return (V, 3): colours base (V, 3), each tint (n, V) drawing them by its share towards its target (n, 3)."""
    out = base.copy()
    for k in range(len(tints)):
        for v in range(len(out)):
            amount = tints[k, v]
            if amount > 0:
                for c in range(3):
                    out[v, c] += amount * share[k, c] * (target[k, c] - out[v, c])
    for v in range(len(out)):
        for c in range(3):
            out[v, c] = min(max(out[v, c], np.float32(0.002)), np.float32(1.0))
    return out


_PAINTED = (
    'cheek',
    'nose',
    'chin',
    'ear',
    'forehead',
    'circles',
    'margin',
    'lid',
    'lip',
    'nostril',
    'corner',
    'line',
    'concha',
    'crease',
    'lash',
    'beard',
)
"""The tints of `paint`, the lowest first."""


@cache
def _painted_tints() -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return the tints of _PAINTED (n, V), colours (V, 3) of what is not skin, and which vertices (V,) are skin."""
    t, h = tints(), head()
    stack = np.stack([t[name] for name in _PAINTED])
    colour = np.zeros((len(h.part), 3), np.float32)
    for part, value in (
        (Part.TEETH_UPPER, (0.78, 0.72, 0.60)),
        (Part.TEETH_LOWER, (0.72, 0.66, 0.55)),
        (Part.TONGUE, (0.42, 0.14, 0.13)),
        (Part.MOUTH_LINING, (0.10, 0.022, 0.02)),
        (Part.EYE_LINING, (0.45, 0.18, 0.15)),
    ):
        colour[h.part == part] = value
    colour[h.lining_start :] *= np.array([1.0, 0.45, 0.1], np.float32)[h.lining_from[:, 1]][:, None]
    own = h.part <= Part.EAR
    stack[:, ~own] = 0
    return stack, colour, own


def paint(identity: Identity) -> tuple[Floats, Floats]:
    """Return the (V, 3) linear colour of every vertex of the head, and (V,) how wet it is."""
    skin, ceramic = identity.skin, PERSONAS.get(identity.persona)
    dark = skin.tone / 9
    base = tone_colour(skin.tone) * [1 + 0.06 * (skin.warmth - 0.5), 1.0, 1 - 0.22 * (skin.warmth - 0.5)]
    lips = lip_colour(skin.tone) * (1 - skin.lip_strength) + np.array(skin.lip_tint) * skin.lip_strength
    blush, rosy = np.array([0.06, 0.34, 0.32]) * skin.redness * (0.75 - 0.4 * dark), np.zeros(3)
    if ceramic:
        base, lips, rosy = (identity.brightness * np.array(c) for c in (ceramic.body, ceramic.lips, ceramic.blush))
        blush = np.ones(3)
    stubble = 0.6 * np.array(identity.beard.colour) + 0.02
    black = np.zeros(3)
    ringed = np.array([0.26, 0.38, 0.30])
    layers = {
        'cheek': (rosy, blush * (0.34 if ceramic else 1.0)),
        'nose': (rosy, blush * (0.22 if ceramic else 0.9)),
        'chin': (rosy, blush * (0.16 if ceramic else 0.5)),
        'ear': (rosy, blush * (0.0 if ceramic else 0.9)),
        'forehead': (rosy, blush * (0.0 if ceramic else 0.15)),
        'circles': (black, ringed * skin.circles),
        'margin': (black, ringed * 0.25 * (1 - dark)),
        'lid': (black, np.array([0.6, 0.8, 0.7]) * (0.12 + 0.5 * skin.shade)),
        'lip': (lips, np.full(3, 0.7 + 0.25 * skin.lip_strength)),
        'nostril': (black, np.full(3, 0.85)),
        'corner': (black, np.full(3, 0.35)),
        'line': (black, np.full(3, 0.5)),
        'concha': (black, np.full(3, 0.5)),
        'crease': (black, np.full(3, 0.28)),
        'lash': (black, np.full(3, 0.45 + 0.45 * identity.eyes.lashes)),
        'beard': (stubble, np.array([0.75, 0.65, 0.6]) * 0.5 * skin.stubble),
    }
    stack, other, own = _painted_tints()
    target, share = (np.array([layers[name][k] for name in _PAINTED], np.float32) for k in (0, 1))
    colour = _laid(np.where(own[:, None], base.astype(np.float32), other), stack, target, share)
    return colour, np.float32(0.35 * (1 + skin.lip_strength)) * tints()['lip'] + _damp()


@cache
def _damp() -> Floats:
    """Return (V,) how wet everything but the lips is."""
    return np.asarray(0.8 * tints()['margin'] + 0.9 * (head().part >= Part.TEETH_UPPER), np.float32)
