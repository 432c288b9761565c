"""The colour of every pixel that the z-buffer kept: what surfaces are made of, under `light`; compiled code."""

# mypy: disable-error-code="untyped-decorator,no-any-unimported,no-any-return"
from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from training.faces.light import Lighting, irradiance, lamp_seen, lobe, unit
from training.faces.raster import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Triple = tuple[float, float, float]


class Material(IntEnum):
    """How a triangle answers light."""

    SKIN = 0
    EYE = 1
    HAIR = 2
    CLOTH = 3
    GLOSS = 4
    TEETH = 5
    MOUTH = 6


SKIN, EYE, HAIR, CLOTH, GLOSS, TEETH, MOUTH = (int(m) for m in Material)
_IRIS = 5.9
"""Radius of an iris, mm, on a ball of 12 mm."""


POSITION, NORMAL, PLANE, PAINT, WET, COVER, COLUMNS = 0, 3, 6, 8, 11, 12, 13
"""Columns of a vertex: position and normal (of hair: which way it runs) before the camera, place on the unfolded head
(see each material), linear RGB, how wet, and how far hair covers it."""


class Surfaces(NamedTuple):
    """vertex: (V, COLUMNS); corner: (V, 3), x, y and depth of it in the picture; triangles: (T, 3); material: (T,)."""

    vertex: Floats
    corner: Floats
    triangles: NDArray[np.int32]
    material: NDArray[np.int8]


class Drawings(NamedTuple):
    """tiles: `skin.noise_tiles`; brow: one of `skin.brow_drawings`; folds: `skin.wrinkle_drawings`, summed as deep as
    they are; ornaments: `personas.ornaments`.
    """  # noqa: D205 - one sentence

    tiles: Floats
    brow: Floats
    folds: Floats
    ornaments: Floats


class Look(NamedTuple):
    """What all pixels share. camera: its distance, mm; pixel: mm; the rest describes skin, brows, hair and eyes."""

    camera: float
    pixel: float
    pores: float
    uneven: float
    freckles: float
    oil: float
    gloss: float
    shine: float
    translucency: float
    dark: float
    tile_x: float
    tile_y: float
    brow_density: float
    brow: Triple
    hair: Triple
    iris: Triple
    pupil: float
    bloodshot: float
    ceramic: float
    metal: Triple


class Canvas(NamedTuple):
    """What is read: depth, front (H, W) of `raster.rasterise`, around (H/2, W/2) of `light.hidden_light`. What is
    written: image, albedo, facing (H, W, 3), and marks (H, W, 3): how much is brow, how much a swapper changes, and
    how much of the skin hair covers (of a beard: less than 0).
    """  # noqa: D205 - one sentence

    depth: Floats
    front: NDArray[np.int32]
    around: Floats
    image: Floats
    albedo: Floats
    facing: Floats
    marks: Floats


@compiled
def _tile(tile: Floats, x: float, y: float) -> float:
    """Read a repeating tile between its pixels."""
    last = tile.shape[0] - 1
    fx, fy = math.floor(x), math.floor(y)
    dx, dy = x - fx, y - fy
    x0, y0 = int(fx) & last, int(fy) & last
    x1, y1 = (x0 + 1) & last, (y0 + 1) & last
    return (tile[y0, x0] * (1 - dx) + tile[y0, x1] * dx) * (1 - dy) + (tile[y1, x0] * (1 - dx) + tile[y1, x1] * dx) * dy


@compiled
def _read(picture: Floats, x: float, y: float) -> float:
    """Read a picture between its pixels, 0 outside."""
    h, w = picture.shape
    if x < 0 or y < 0 or x >= w - 1 or y >= h - 1:
        return 0.0
    c, r = int(x), int(y)
    dx, dy = x - c, y - r
    upper = picture[r, c] * (1 - dx) + picture[r, c + 1] * dx
    lower = picture[r + 1, c] * (1 - dx) + picture[r + 1, c + 1] * dx
    return upper * (1 - dy) + lower * dy


@compiled
def _mix(a: Triple, b: Triple, share: float) -> Triple:
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2])


@compiled
def _scaled(a: Triple, r: float, g: float, b: float) -> Triple:
    return a[0] * r, a[1] * g, a[2] * b


@compiled
def _clamped(value: float) -> float:
    return min(1.0, max(0.0, value))


@compiled
def iris_and_white(look: Look, u: float, v: float) -> Triple:
    """Return the colour of an eye at a place about the direction of gaze, in radii of the ball."""
    r = math.sqrt(u * u + v * v) * 12.0
    if r >= _IRIS:
        w = min(1.0, r - _IRIS)
        red = look.bloodshot * _clamped((r - 7.5) / 4.0)
        return 0.07 + 0.27 * w, (0.06 + 0.25 * w) * (1 - 0.25 * red), (0.06 + 0.225 * w) * (1 - 0.22 * red)
    turn = math.atan2(v, u)
    streak = 1.0 + 0.22 * math.sin(turn * 23.0) * math.sin(r * 2.2) + 0.12 * math.sin(turn * 41.0 + r)
    warm = max(0.0, 1.0 - (r - look.pupil) / 1.8)
    g = (0.25 + 0.75 * min(1.0, (_IRIS - r) / 1.1)) * _clamped((r - look.pupil) / 0.4) * streak
    c = (
        look.iris[0] * (1 + 0.4 * warm) * g + 0.004,
        look.iris[1] * (1 + 0.15 * warm) * g + 0.004,
        look.iris[2] * g + 0.004,
    )
    return _mix(c, (0.07, 0.06, 0.06), _clamped((r - 5.3) / 0.6))


@compiled
def _teeth(paint: Triple, u: float, v: float) -> Triple:
    """Return the colour of a row of teeth, u mm from the middle, v from 0 at the gum to 1 at the edge."""
    tooth = u / (8.2 - 0.06 * abs(u))
    gap = tooth - math.floor(tooth)
    gap = min(gap, 1 - gap)
    side = 1.0 - min(0.75, (u / 26.0) ** 2)
    lit = (1 - 0.55 * math.exp(-((gap * 13.6) ** 2))) * side
    gum = _clamped((0.26 + 0.35 * gap * gap - v) / 0.06)
    return _mix(_scaled(paint, lit, lit, lit), (0.42 * side, 0.17 * side, 0.16 * side), gum)


@compiled
def _shares(corner: Floats, i: int, j: int, k: int, x: int, y: int) -> Triple:
    """Return how much of a pixel's values comes from each of the three corners of its triangle."""
    x0, y0, x1, y1, x2, y2 = corner[i, 0], corner[i, 1], corner[j, 0], corner[j, 1], corner[k, 0], corner[k, 1]
    one = 1.0 / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
    a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) * one
    b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) * one
    return a, b, 1.0 - a - b


@compiled
def shade(canvas: Canvas, surfaces: Surfaces, light: Lighting, drawings: Drawings, look: Look) -> None:
    """Shade every pixel that a triangle won."""
    corner, vertex = surfaces.corner, surfaces.vertex
    tiles, folds = drawings.tiles, drawings.folds
    close = min(1.0, 1.2 / look.pixel)
    at = np.empty(COLUMNS, np.float64)
    half_rows, half_columns = canvas.around.shape
    for y in range(canvas.front.shape[0]):
        for x in range(canvas.front.shape[1]):
            t = canvas.front[y, x]
            if t < 0:
                continue
            i, j, k = surfaces.triangles[t, 0], surfaces.triangles[t, 1], surfaces.triangles[t, 2]
            a, b, c = _shares(corner, i, j, k, x, y)
            for column in range(COLUMNS):
                at[column] = a * vertex[i, column] + b * vertex[j, column] + c * vertex[k, column]
            px, py, pz = at[POSITION], at[POSITION + 1], at[POSITION + 2]
            nx, ny, nz = unit(at[NORMAL], at[NORMAL + 1], at[NORMAL + 2])
            u, v, damp, hairy = at[PLANE], at[PLANE + 1], at[WET], at[COVER]
            colour = at[PAINT], at[PAINT + 1], at[PAINT + 2]
            kind = surfaces.material[t]
            ex, ey, ez = unit(-px, -py, look.camera - pz)
            if kind != HAIR and kind != EYE and nx * ex + ny * ey + nz * ez < 0:
                nx, ny, nz = -nx, -ny, -nz
            open_ = canvas.around[min(y // 2, half_rows - 1), min(x // 2, half_columns - 1)]
            creep, polish, sharp = 0.0, 0.0, 20.0

            if kind == SKIN:
                tu, tv = u + look.tile_x, v + look.tile_y
                shift = 0.0
                if look.uneven > 0:
                    shift = look.uneven * (
                        0.05 * _tile(tiles[0], tu * 0.9, tv * 0.9) + 0.045 * _tile(tiles[1], tu * 1.3, tv * 1.3)
                    )
                if look.pores > 0 and look.pixel < 2.2:
                    pore = _tile(tiles[2], tu * 4.0, tv * 4.0)
                    shift += 0.045 * pore * close * look.pores
                    nx += 0.05 * look.pores * close * (_tile(tiles[2], tu * 4.0 + 1.4, tv * 4.0) - pore)
                colour = _scaled(colour, 1 + 0.5 * shift, 1 + shift, 1 + shift)
                if look.freckles > 0:
                    dot = _tile(tiles[3], tu * 1.9, tv * 1.9) * look.freckles
                    dot *= math.exp(-0.5 * ((u / 55) ** 2 + ((v + 20) / 30) ** 2))
                    colour = _scaled(colour, 1 - 0.35 * dot, 1 - 0.55 * dot, 1 - 0.65 * dot)
                on = 0.0
                if abs(u) < 100:
                    # Folds of the skin: dark inside, and they bend the surface.
                    fx, fy = u + 128.0, 100.0 - v
                    fold = _read(folds, fx, fy)
                    if fold > 0.004:
                        ny -= 0.55 * (_read(folds, fx, fy + 1.5) - _read(folds, fx, fy - 1.5))
                        nx += 0.55 * (_read(folds, fx + 1.5, fy) - _read(folds, fx - 1.5, fy))
                        open_ *= 1.0 - 0.35 * min(fold, 1.0)
                        colour = _scaled(colour, 1 - 0.12 * fold, 1 - 0.24 * fold, 1 - 0.26 * fold)
                    on = _read(drawings.brow, (abs(u) - 4.0) * 5.0, (36.0 - v) * 5.0) * look.brow_density
                    if on > 0.01:
                        colour = _mix(colour, look.brow, on)
                        canvas.marks[y, x, 0] = on
                    side = _clamped((68.0 - abs(u)) / 14.0)
                    canvas.marks[y, x, 1] = side * _clamped((44.0 - v) / 12.0) * _clamped((v + 113.0) / 6.0)
                polish = (0.25 + 0.75 * look.oil) * (1 - 0.45 * look.dark) * (1 - 0.7 * on) * (1 - 0.8 * hairy)
                if hairy > 0.003:
                    grain = _tile(tiles[2], tu * 3.0, tv * 1.1)
                    cover = 1.0 if hairy >= 0.95 else _clamped(hairy * 1.5 - 0.25 + 0.22 * grain)
                    tone = max(0.45, 1.0 + 0.16 * grain)
                    colour = _mix(colour, _scaled(look.hair, tone, tone, tone), cover)
                    canvas.marks[y, x, 2] = -cover if v < -12 and abs(u) < 101 else cover
                if look.ceramic > 0:
                    gold = _read(drawings.ornaments[0], 256.0 + 2 * u, 200.0 - 2 * v)
                    colour = _mix(colour, look.metal, gold)
                    open_ *= 1 - 0.65 * _read(drawings.ornaments[1], 256.0 + 2 * u, 200.0 - 2 * v)
                    polish *= 1 + 2.0 * gold
                creep, sharp = look.translucency, look.shine
            elif kind == EYE:
                colour = iris_and_white(look, u, v)
                open_ *= damp
                polish, sharp = 0.5, 800.0
                canvas.marks[y, x, 1] = 1.0
            elif kind == CLOTH:
                weave = 1 + 0.06 * _tile(tiles[2], u * 2.0, v * 2.0)
                colour = _scaled(colour, weave, weave, weave)
                nx += 0.22 * damp * _tile(tiles[0], u * 0.55, v * 0.35)
                ny += 0.10 * damp * _tile(tiles[0], u * 0.55 + 9.0, v * 0.35)
            elif kind == TEETH:
                colour = _teeth(colour, u, v)
                open_ *= 0.8
                polish, sharp = 0.35, 60.0
                canvas.marks[y, x, 1] = 1.0
            elif kind == MOUTH:
                open_ *= 0.5
                polish, sharp = 0.1, 30.0
                canvas.marks[y, x, 1] = 1.0
            elif kind == GLOSS:
                polish, sharp = damp, 60.0
            nx, ny, nz = unit(nx, ny, nz)
            sx, sy, sz = nx, ny, nz
            if kind == HAIR:
                # A strand faces away from the way it runs, towards the camera, and its upper side more than its lower.
                along = nx * ex + ny * ey + nz * ez
                sx, sy, sz = unit(ex - along * nx, ey - along * ny, ez - along * nz)
                sx, sy, sz = sx * 0.7, sy * 0.7 + 0.25, sz * 0.7
            lr, lg, lb = irradiance(light.ambient, sx, sy, sz)
            sky = (lr + lg + lb) * 0.333 * open_
            # Light that comes out of a shaded fold has been through skin and is redder.
            lr, lg, lb = lr * (math.sqrt(open_) if kind == SKIN else open_), lg * open_, lb * open_
            sr, sg, sb = 0.0, 0.0, 0.0
            for q in range(len(light.to)):
                tx, ty, tz = light.to[q, 0], light.to[q, 1], light.to[q, 2]
                cr, cg, cb = light.colour[q, 0], light.colour[q, 1], light.colour[q, 2]
                d = nx * tx + ny * ty + nz * tz
                hx, hy, hz = unit(tx + ex, ty + ey, tz + ez)
                if kind == HAIR:
                    # Kajiya and Kay, "Rendering fur with three dimensional textures" (1989).
                    seen = lamp_seen(light, q, px, py, pz, 7.5) * open_
                    lit = math.sqrt(max(0.0, 1 - d * d)) * (0.35 + 0.65 * seen) * seen * 0.75
                    lr, lg, lb = lr + cr * lit, lg + cg * lit, lb + cb * lit
                    th = nx * hx + ny * hy + nz * hz
                    white = 0.05 * max(0.0, 1 - th * th) ** 14 * seen
                    own = 0.8 * max(0.0, 1 - (th - 0.2) ** 2) ** 10 * seen
                    sr += cr * (white + own * colour[0])
                    sg += cg * (white + own * colour[1])
                    sb += cb * (white + own * colour[2])
                    continue
                # The point is lifted off the surface, or it would lie in its own shadow.
                seen = lamp_seen(light, q, px + 3 * nx, py + 3 * ny, pz + 3 * nz, 1.5)
                reached = seen * (0.55 + 0.45 * open_)
                # Light creeps under the skin beyond where it falls, red the furthest.
                lr += (
                    cr
                    * max(0.0, (d + 0.42 * creep) / (1 + 0.42 * creep))
                    * (reached + 0.12 * creep * (1 - reached) * (1 - look.dark))
                )
                lg += cg * max(0.0, (d + 0.20 * creep) / (1 + 0.20 * creep)) * reached
                lb += cb * max(0.0, (d + 0.13 * creep) / (1 + 0.13 * creep)) * reached
                if d > 0 and polish > 0 and seen > 0:
                    nh = max(0.0, nx * hx + ny * hy + nz * hz)
                    fresnel = 0.035 + 0.965 * (1 - max(0.0, ex * hx + ey * hy + ez * hz)) ** 5
                    if kind == SKIN:
                        wet = (0.9 + 2.5 * damp) * (1 + damp) * look.gloss
                        glint = 1.5 * lobe(nh, sharp * 0.45) + wet * lobe(nh, sharp * (2.0 + 3.0 * damp))
                        glint *= polish * fresnel * 3.2 * d
                    elif kind == EYE:
                        glint = 3.5 * lobe(nh, sharp) * min(1.0, open_ * 1.5)
                    else:
                        glint = polish * lobe(nh, sharp) * (sharp + 8) * 0.16 * fresnel
                    glint *= seen
                    sr, sg, sb = sr + cr * glint, sg + cg * glint, sb + cb * glint
            if kind != HAIR and kind != CLOTH:
                # The surroundings mirrored, most at a grazing angle; in an eye, what is above it.
                ne = max(0.0, nx * ex + ny * ey + nz * ez)
                graze = (0.02 + 0.16 * (1 - ne) ** 4) * polish * sky
                if kind == EYE:
                    graze += 0.05 * sky * _clamped(4 * (2 * ne * ny - ey) - 0.4)
                sr, sg, sb = sr + graze, sg + graze, sb + graze
            canvas.image[y, x, 0] = colour[0] * lr + sr
            canvas.image[y, x, 1] = colour[1] * lg + sg
            canvas.image[y, x, 2] = colour[2] * lb + sb
            canvas.albedo[y, x, 0], canvas.albedo[y, x, 1], canvas.albedo[y, x, 2] = colour
            canvas.facing[y, x, 0], canvas.facing[y, x, 1], canvas.facing[y, x, 2] = sx, sy, sz


@compiled
def unfolded(front: NDArray[np.int32], surfaces: Surfaces, skin: Floats, eyes: Floats) -> None:
    """Write where on the unfolded head each pixel of skin (H, W, 2) and of an eye (H, W, 2) lies; the others stay."""
    corner, vertex = surfaces.corner, surfaces.vertex
    for y in range(front.shape[0]):
        for x in range(front.shape[1]):
            t = front[y, x]
            if t < 0 or (surfaces.material[t] != SKIN and surfaces.material[t] != EYE):
                continue
            i, j, k = surfaces.triangles[t, 0], surfaces.triangles[t, 1], surfaces.triangles[t, 2]
            a, b, c = _shares(corner, i, j, k, x, y)
            to = skin if surfaces.material[t] == SKIN else eyes
            for q in range(2):
                of = PLANE + q
                to[y, x, q] = a * vertex[i, of] + b * vertex[j, of] + c * vertex[k, of]
