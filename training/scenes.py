"""Scenes with heads in them, for the detector, and crops around them, for the landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.faces.alignment import compose, similarity
from training.clutter import clutter, fractal, spoil
from training.sprites import SIDE, Sprite, SpriteStore, five

if TYPE_CHECKING:
    from numpy.typing import NDArray

cv2.setNumThreads(1)

SMALLEST, LARGEST = 10.0, 230.0
"""Width of the faces in a scene, pixels."""
ASKED = 12.0
"""Smaller ones need not be found, and are no mistakes either."""
FOREHEAD = 0.25
"""By how much of the height from brows to chin a face reaches beyond its brows."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A head in a scene."""

    box: NDArray[np.float64]
    """(4,) left, top, right, bottom."""
    points: NDArray[np.float64]
    """(68, 2)"""


def face_box(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Left, top, right, bottom of a face: its landmarks, and a forehead along its own axis."""
    brows, chin = points[17:27].mean(axis=0), points[8]
    top = points[17:27] + FOREHEAD * (brows - chin)
    every = np.concatenate([points, top])
    return np.concatenate([every.min(axis=0), every.max(axis=0)])


def turned_scaled(
    scale: float, turn: float, origin: NDArray[np.floating], place: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(2, 3) map that scales, turns (radians, from x to y) and takes a point to another."""
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([linear, (place - linear @ origin)[:, None]], axis=1)


def put(picture: NDArray[np.float32], sprite: Sprite, matrix: NDArray[np.float64], soften: float = 0.0) -> None:
    """Lay a head over a (H, W, 3) picture; ``matrix``: (2, 3) from the sprite's pixels to the picture's."""
    height, width = picture.shape[:2]
    rgba = sprite.rgba
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.6:  # a warp looks at four pixels only
        side = SIDE // min(int(np.ceil(0.7 / scale)), 12)
        shrink = SIDE / side
        rgba = np.asarray(cv2.resize(rgba, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        matrix = matrix.copy()
        matrix[:, 2] += matrix[:, :2].sum(axis=1) * (shrink / 2 - 0.5)
        matrix[:, :2] *= shrink
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (rgba.shape[0] - 1) @ matrix[:, :2].T + matrix[:, 2]
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, (width, height))
    if x1 <= x0 or y1 <= y0:
        return
    shifted = matrix.copy()
    shifted[:, 2] -= (x0, y0)
    warped = cv2.warpAffine(rgba, shifted, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR).astype(np.float32)
    alpha = warped[..., 3] / 255
    if soften:
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), soften), np.float32)
    part = picture[y0:y1, x0:x1]
    part += alpha[..., None] * (warped[..., :3] - part)


def somebody(rng: np.random.Generator, store: SpriteStore) -> Sprite:
    """Pick a head and change its looks by chance.

    Drawn skin is smoother, and drawn light simpler, than what cameras see: a network that relies on either finds drawn
    faces only (Tobin et al., "Domain randomization", 2017).
    """
    sprite = store[int(rng.integers(len(store)))]
    if rng.random() < 0.5:
        sprite = sprite.mirrored()
    colour = np.array(sprite.rgba[..., :3], np.float32)
    if rng.random() < 0.4:  # complexion
        grey = cv2.transform(colour, np.full((1, 3), 1 / 3, np.float32))
        keep = float(rng.uniform(0.3, 1.6))
        cv2.addWeighted(colour, keep, cv2.merge([grey] * 3), 1 - keep, 0, dst=colour)
    if rng.random() < 0.5:  # depth of folds, edges and pores
        side = int(rng.integers(3, 40))
        depth = float(np.exp(rng.uniform(-0.8, 0.8)))
        cv2.addWeighted(colour, depth, cv2.blur(colour, (side, side)), 1 - depth, 0, dst=colour)
    if rng.random() < 0.6:  # light from a side, on uneven skin
        field = _SLOPES[0] * rng.normal(0, 0.35) + _SLOPES[1] * rng.normal(0, 0.35)
        uneven = _blotches()[int(rng.integers(_BLOTCHES))]
        field += uneven * np.float32(rng.uniform(0, 0.12) if rng.random() < 0.5 else 0)
        cv2.multiply(colour, cv2.merge([cv2.exp(field.astype(np.float32))] * 3), dst=colour)
    values = np.arange(256) / 255
    curves = np.power(values, np.exp(rng.normal(0, 0.2)))[:, None] * np.exp(rng.normal(0, 0.08, 3))
    table = np.clip(np.rint(255 * curves), 0, 255).astype(np.uint8)[None]
    toned = cv2.LUT(np.clip(colour, 0, 255).astype(np.uint8), table)
    changed = Sprite(np.dstack([toned, sprite.rgba[..., 3]]), sprite.points, sprite.seen)
    return framed(rng, changed) if rng.random() < 0.2 else changed


def framed(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    """Cut a head out as a picture of it is cut: on a screen, a poster, a pass."""
    box = face_box(sprite.points)
    extent = box[2:] - box[:2]
    low = np.clip(box[:2] - extent * rng.uniform(-0.12, 0.25, 2), 0, SIDE - 1).astype(int)
    high = np.clip(box[2:] + extent * rng.uniform(-0.12, 0.25, 2), 1, SIDE).astype(int)
    inside = (slice(low[1], high[1]), slice(low[0], high[0]))
    rgba = np.zeros_like(sprite.rgba)
    cover = sprite.rgba[inside][..., 3:].astype(np.float32) / 255
    behind = np.full(3, rng.uniform(0, 255), np.float32) + rng.normal(0, 20, 3).astype(np.float32)
    shown = behind + cover * (sprite.rgba[inside][..., :3] - behind)
    rgba[inside] = np.dstack([np.clip(shown, 0, 255), np.full(cover.shape, 255, np.float32)]).astype(np.uint8)
    return Sprite(rgba, sprite.points, sprite.seen)


_BLOTCHES = 24
_SLOPES = np.meshgrid(np.linspace(-1, 1, SIDE, dtype=np.float32), np.linspace(-1, 1, SIDE, dtype=np.float32))


@cache
def _blotches() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [fractal(rng, SIDE, SIDE, int(rng.integers(3, 40)), rng.uniform(0.5, 0.95)) for _ in range(_BLOTCHES)]


def stretched(
    rng: np.random.Generator, matrix: NDArray[np.float64], middle: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Make a map wider or taller, and a little slanted, about a point of its source: faces differ more than drawn."""
    wide = np.exp(rng.normal(0, 0.07))
    change = np.array([[wide, rng.normal(0, 0.05)], [0.0, 1 / wide]])
    return compose(matrix, np.column_stack([change, middle - change @ middle]))


def scene(
    rng: np.random.Generator, store: SpriteStore, width: int, height: int
) -> tuple[NDArray[np.float32], list[Placed]]:
    """Draw a scene, (height, width, 3) RGB 0..255 before any camera saw it, and say where its faces are."""
    picture = clutter(rng, width, height)
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.6 else 0):
        (_put_torn if rng.random() < 0.6 else _put_blank)(rng, picture, store)
    placed: list[Placed] = []
    wanted = int(rng.choice([0, 1, 2, 3, 4, 6, 8], p=[0.2, 0.27, 0.2, 0.12, 0.09, 0.07, 0.05]))
    largest = LARGEST if wanted < 3 else LARGEST / 2
    for _ in range(wanted):
        sprite = somebody(rng, store)
        own = face_box(sprite.points)
        across = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(min(largest, 0.95 * height)))))
        scale = across / (own[2] - own[0])
        turn = rng.normal(0, 0.25) if rng.random() < 0.7 else rng.uniform(-0.9, 0.9)
        reach = (0.15 if rng.random() < 0.2 else 0.4) * across  # some are cut by the picture's edge
        place = np.array([rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)])
        matrix = stretched(rng, turned_scaled(scale, turn, (own[:2] + own[2:]) / 2, place), (own[:2] + own[2:]) / 2)
        points = sprite.points @ matrix[:, :2].T + matrix[:, 2]
        box = face_box(points)
        if any(_covers(box, other.box) for other in placed):
            continue
        put(picture, sprite, matrix, rng.uniform(0.4, 1.2) if rng.random() < 0.6 else 0.0)
        if rng.random() < 0.12:
            _hide(rng, picture, box)
        placed.append(Placed(box, points))
    return picture, placed


def mirrored_faces(faces: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """(F, 15) faces as they are in the mirrored picture of that width; left stays what is left in the picture.

    Each is left, top, right, bottom, 0 where there is none, and five landmarks, counted from the edges of pixels.
    """
    turned = np.array(faces)
    turned[:, [0, 2]] = width - faces[:, [2, 0]]
    points = faces[:, 5:].reshape(-1, 5, 2)[:, [1, 0, 2, 4, 3]]
    points[..., 0] = width - points[..., 0]
    turned[:, 5:] = points.reshape(-1, 10)
    turned[faces[:, 4] == 0] = 0
    return turned


def crop(
    rng: np.random.Generator, store: SpriteStore, grounds: list[NDArray[np.float32]], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
    """Draw a (side, side, 3) crop as the tracker makes it; its (68, 3) points in 0..1 and seen, and 1 for a face.

    One of three has no face in it, or one far from where it should be.
    """
    picture = _ground(rng, grounds, side)
    if rng.random() < 1 / 3:
        kind = rng.random()
        if kind < 0.15:
            _put_astray(rng, picture, store)
        elif kind < 0.6:
            (_put_torn if rng.random() < 0.5 else _put_blank)(rng, picture, store)
        return _taken(rng, picture), np.zeros((68, 3), np.float32), 0.0
    sprite = somebody(rng, store)
    matrix = stretched(rng, crop_from(sprite.points, side, rng), five(sprite.points).mean(axis=0))
    put(picture, sprite, matrix, rng.uniform(0.4, 1.2) if rng.random() < 0.5 else 0.0)
    points = sprite.points @ matrix[:, :2].T + matrix[:, 2]
    if rng.random() < 0.15:
        _hide(rng, picture, face_box(points))
    target = np.concatenate([(points + 0.5) / side, sprite.seen[:, None]], axis=1)
    for _ in range(_TRIES):  # what nobody can make out must not be called a face
        taken = _taken(rng, picture)
        if _readable(taken):
            break
    return taken, target.astype(np.float32), 1.0


_TRIES = 4
_READABLE = 7.0
"""Least deviation of grey values within the middle of a crop of a face, once noise is blurred away."""


def _readable(taken: NDArray[np.uint8]) -> bool:
    quarter = taken.shape[0] // 4
    grey = cv2.cvtColor(taken[quarter:-quarter, quarter:-quarter], cv2.COLOR_RGB2GRAY)
    return float(cv2.GaussianBlur(grey, (0, 0), 2.5).std()) > _READABLE


def _taken(rng: np.random.Generator, picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Spoil a crop as a camera does; often one for which the face is small, so that the crop enlarges it."""
    if rng.random() < 0.65:
        return spoil(rng, picture)
    side = picture.shape[0]
    seen = round(side * float(np.exp(rng.uniform(np.log(0.18), np.log(0.8)))))
    small = np.asarray(cv2.resize(picture, (seen, seen), interpolation=cv2.INTER_AREA), np.float32)
    how = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(spoil(rng, small), (side, side), interpolation=how), np.uint8)


TEMPLATE = np.array([[48.5, 53.0], [79.5, 53.0], [64.0, 71.5], [50.5, 86.0], [77.5, 86.0]]) / 128
"""(5, 2) left eye, right eye, nose, mouth corners in the crop of the landmarks' network, in crops."""


def crop_from(points: NDArray[np.floating], side: int, rng: np.random.Generator | None = None) -> NDArray[np.float64]:
    """(2, 3) map from pixels of the picture to those of a crop in which the five landmarks lie as in ``TEMPLATE``.

    With ``rng`` they are as inexact as a detector, or the motion since the last frame, makes them.
    """
    marks = five(points)
    if rng is not None:
        reach = float(np.linalg.norm(marks - marks.mean(axis=0), axis=1).mean())
        marks = marks + rng.normal(0, 0.12 * reach, (5, 2)) + rng.normal(0, 0.12 * reach, 2)
    matrix = similarity(marks, TEMPLATE * side - 0.5)
    return matrix if rng is None else loosened(rng, matrix, side, 0.1, 0.15)


def loosened(
    rng: np.random.Generator, matrix: NDArray[np.float64], side: int, growth: float, turn: float
) -> NDArray[np.float64]:
    """Scale and turn a map's crop about its middle by chance: standard deviations, of the logarithm and in radians."""
    middle = np.full(2, (side - 1) / 2)
    return compose(turned_scaled(float(np.exp(rng.normal(0, growth))), rng.normal(0, turn), middle, middle), matrix)


def _ground(rng: np.random.Generator, grounds: list[NDArray[np.float32]], side: int) -> NDArray[np.float32]:
    ground = grounds[int(rng.integers(len(grounds)))]
    part = int(rng.uniform(0.4 * side, min(ground.shape[:2])))
    y, x = (int(rng.integers(0, n - part + 1)) for n in ground.shape[:2])
    how = cv2.INTER_AREA if part > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(ground[y : y + part, x : x + part], (side, side), interpolation=how), np.float32)


def _covers(box: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    common = np.prod(np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None))
    return bool(common > 0.15 * min(np.prod(box[2:] - box[:2]), np.prod(other[2:] - other[:2])))


def _put_astray(rng: np.random.Generator, picture: NDArray[np.float32], store: SpriteStore) -> None:
    """Put a face beside where the crop's should be, or far too large or small for it."""
    sprite, side = somebody(rng, store), picture.shape[0]
    matrix = crop_from(sprite.points, side)
    if rng.random() < 0.5:
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.9) * side
        matrix[:, 2] += away * np.array([np.cos(angle), np.sin(angle)])
    else:
        growth = float(rng.choice([-1, 1]) * rng.uniform(0.9, 1.5))
        matrix = compose(turned_scaled(np.exp(growth), 0.0, *[np.full(2, side / 2)] * 2), matrix)
    put(picture, sprite, matrix)


def torn(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    """Put the parts of a head in the wrong order: skin and hair are no face.

    The cuts go through the middle of the face: a part that shows all of it would be one.
    """
    part = SIDE // 4
    right, down = np.rint(SIDE / 2 - five(sprite.points).mean(axis=0)).astype(int)
    whole = np.roll(sprite.rgba, (down, right), (0, 1))
    rgba = whole.copy()
    order = rng.permutation(16) if rng.random() < 0.6 else rng.integers(0, 16, 16)
    for to, of in enumerate(order):
        (a, b), (c, d) = (np.array(divmod(int(n), 4)) * part for n in (to, of))
        rgba[a : a + part, b : b + part] = whole[c : c + part, d : d + part]
    return Sprite(rgba, sprite.points, sprite.seen)


def _put_torn(rng: np.random.Generator, picture: NDArray[np.float32], store: SpriteStore) -> None:
    sprite = torn(rng, store[int(rng.integers(len(store)))])
    height, width = picture.shape[:2]
    across = rng.uniform(20, 0.6 * height)
    place = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    put(picture, sprite, turned_scaled(across / SIDE, rng.normal(0, 0.6), np.array([SIDE / 2] * 2), place))


def _put_blank(rng: np.random.Generator, picture: NDArray[np.float32], store: SpriteStore) -> None:
    """Put a head without a face, as from behind: its outline and colours make no face."""
    sprite = store[int(rng.integers(len(store)))]
    box = face_box(sprite.points)
    sigma = float((box[2] - box[0]) * rng.uniform(0.15, 0.35))
    cover = sprite.rgba[..., 3:].astype(np.float32) / 255
    # Blurred at a quarter of the size, which shows no difference at such a width.
    small = cv2.resize(np.dstack([cover * sprite.rgba[..., :3], cover]), None, fx=0.25, fy=0.25)
    blurred = cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / 4), (SIDE, SIDE))
    colour = blurred[..., :3] / np.maximum(blurred[..., 3:], 1e-2)
    if rng.random() < 0.5:
        texture = _blotches()[int(rng.integers(_BLOTCHES))] * np.float32(rng.uniform(0.05, 0.4))
        colour = colour * (1 + texture[..., None])
    rgba = np.dstack([np.clip(colour, 0, 255).astype(np.uint8), sprite.rgba[..., 3]])
    height, width = picture.shape[:2]
    across = float(np.exp(rng.uniform(np.log(12), np.log(0.7 * height))))
    place = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    matrix = turned_scaled(across / (box[2] - box[0]), rng.normal(0, 0.3), (box[:2] + box[2:]) / 2, place)
    put(picture, Sprite(rgba, sprite.points, sprite.seen), stretched(rng, matrix, (box[:2] + box[2:]) / 2))


def _hide(rng: np.random.Generator, picture: NDArray[np.float32], box: NDArray[np.float64]) -> None:
    """Cover part of a face by something of one colour."""
    extent = box[2:] - box[:2]
    side = float(extent.max())
    colour = tuple(float(value) for value in rng.uniform(0, 255, 3))
    start = box[:2] + rng.uniform(-0.1, 1.1, 2) * extent
    if rng.random() < 0.5:
        shape = (start + rng.normal(0, 0.22 * side, (5, 2))).astype(np.int32)
        cv2.fillPoly(picture, [shape], colour, cv2.LINE_AA)
    else:
        end = start + rng.normal(0, side, 2)
        ends = [(int(x), int(y)) for x, y in (start, end)]
        cv2.line(picture, ends[0], ends[1], colour, max(1, int(side * rng.uniform(0.03, 0.2))), cv2.LINE_AA)
