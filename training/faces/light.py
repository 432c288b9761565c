"""Shadows, light and shading of a drawn head: compiled code that works on what the z-buffer kept."""

# mypy: disable-error-code="untyped-decorator,no-any-unimported"
from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


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


@numba.njit(cache=True, fastmath=True, nogil=True)
def _sample(tile: Floats, x: float, y: float) -> float:
    """Read a repeating tile between its pixels."""
    n = tile.shape[0]
    fx, fy = math.floor(x), math.floor(y)
    dx, dy = x - fx, y - fy
    x0, y0 = int(fx) & (n - 1), int(fy) & (n - 1)
    x1, y1 = (x0 + 1) & (n - 1), (y0 + 1) & (n - 1)
    return (tile[y0, x0] * (1 - dx) + tile[y0, x1] * dx) * (1 - dy) + (tile[y1, x0] * (1 - dx) + tile[y1, x1] * dx) * dy


@numba.njit(cache=True, fastmath=True, nogil=True)
def _read(picture: Floats, x: float, y: float) -> float:
    """Read a picture between its pixels, 0 outside."""
    h, w = picture.shape
    if x < 0 or y < 0 or x >= w - 1 or y >= h - 1:
        return 0.0
    x0, y0 = int(x), int(y)
    dx, dy = x - x0, y - y0
    return (picture[y0, x0] * (1 - dx) + picture[y0, x0 + 1] * dx) * (1 - dy) + (
        picture[y0 + 1, x0] * (1 - dx) + picture[y0 + 1, x0 + 1] * dx
    ) * dy


@numba.njit(cache=True, fastmath=True, nogil=True, inline='always')
def _lobe(cosine: float, power: float) -> float:
    """Return about cosine ** power: Schlick, "A fast alternative to Phong's specular model" (Graphics Gems IV), twice squared."""
    n = 0.25 * power
    t = cosine / (n - n * cosine + cosine)
    t *= t
    return t * t


@numba.njit(cache=True, fastmath=True, nogil=True)
def hidden_light(depth: Floats, radius: float, out: Floats) -> None:
    """Write to out (h, w) how much of the light around reaches each pixel of depth (2h, 2w), 0 to 1.

    radius: pixels of depth, of 14 mm. Depth in mm; what lies nearer beside a pixel shades it.
    """
    h, w = out.shape
    dx = np.array([1.0, 0.5, -0.5, -1.0, -0.5, 0.5, 0.87, 0.0, -0.87, -0.87, 0.0, 0.87])
    dy = np.array([0.0, 0.87, 0.87, 0.0, -0.87, -0.87, 0.5, 1.0, 0.5, -0.5, -1.0, -0.5])
    for y in range(h):
        for x in range(w):
            z = depth[2 * y, 2 * x]
            if z > 1e8:
                out[y, x] = 1.0
                continue
            shade = 0.0
            for k in range(12):
                r = radius * (0.35 if k % 2 else 1.0) * (1.0 if k < 6 else 1.9)
                yy, xx = int(2 * y + dy[k] * r), int(2 * x + dx[k] * r)
                if yy < 0 or xx < 0 or yy >= depth.shape[0] or xx >= depth.shape[1]:
                    continue
                d = z - depth[yy, xx]
                reach = 14.0 * r / radius
                if d > 0.12 * reach:
                    shade += min((d - 0.12 * reach) / reach, 1.0) / (1.0 + max(0.0, d - 2 * reach) * 0.04)
            out[y, x] = math.exp(-2.2 * shade / 12.0)


@numba.njit(cache=True, fastmath=True, nogil=True)
def shade(
    depth: Floats,
    front: NDArray[np.int32],
    corner: Floats,
    triangles: NDArray[np.int32],
    material: NDArray[np.int8],
    position: Floats,
    normal: Floats,
    plane: Floats,
    paint: Floats,
    wet: Floats,
    hair: Floats,
    around: Floats,
    ambient: Floats,
    lamp_to: Floats,
    lamp_colour: Floats,
    lamp_soft: Floats,
    shadow: Floats,
    shadow_frame: Floats,
    shadow_scale: float,
    tiles: Floats,
    brow: Floats,
    wrinkles: Floats,
    ornaments: Floats,
    values: Floats,
    image: Floats,
    albedo: Floats,
    facing: Floats,
    marks: Floats,
) -> None:
    """Shade every pixel that a triangle won.

    Per vertex: corner (V, 3) in the picture, position and normal (V, 3) before the camera (hair: its tangent), plane
    (V, 2), paint (V, 3), wet (V,), hair (V,) how far hair covers the skin. shadow: (lamps, M, M) nearest depth towards
    each lamp, read through shadow_frame (lamps, 3, 3), rows right, up, towards. values: see `rendering`.
    Writes image, albedo, facing (H, W, 3) and marks (H, W, 2): how much is brow, how much belongs to a swapped face.
    """
    rows, columns = depth.shape
    m = shadow.shape[1]
    fine, uneven, freckles, stubble, oil, scatter, dark, off_x, off_y = values[:9]
    brow_density, brow_r, brow_g, brow_b = values[9:13]
    hair_r, hair_g, hair_b = values[13:16]
    iris_r, iris_g, iris_b, pupil, bloodshot, gloss = values[16:22]
    seam, metal_r, metal_g, metal_b = values[27:31]
    pixel_mm, shine_power = values[24:26]
    lamps = lamp_to.shape[0]
    for y in range(rows):
        for x in range(columns):
            t = front[y, x]
            if t < 0:
                continue
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            x0, y0, x1, y1, x2, y2 = corner[i, 0], corner[i, 1], corner[j, 0], corner[j, 1], corner[k, 0], corner[k, 1]
            one = 1.0 / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
            a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) * one
            b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) * one
            c = 1.0 - a - b
            px = a * position[i, 0] + b * position[j, 0] + c * position[k, 0]
            py = a * position[i, 1] + b * position[j, 1] + c * position[k, 1]
            pz = a * position[i, 2] + b * position[j, 2] + c * position[k, 2]
            nx = a * normal[i, 0] + b * normal[j, 0] + c * normal[k, 0]
            ny = a * normal[i, 1] + b * normal[j, 1] + c * normal[k, 1]
            nz = a * normal[i, 2] + b * normal[j, 2] + c * normal[k, 2]
            u = a * plane[i, 0] + b * plane[j, 0] + c * plane[k, 0]
            v = a * plane[i, 1] + b * plane[j, 1] + c * plane[k, 1]
            red = a * paint[i, 0] + b * paint[j, 0] + c * paint[k, 0]
            green = a * paint[i, 1] + b * paint[j, 1] + c * paint[k, 1]
            blue = a * paint[i, 2] + b * paint[j, 2] + c * paint[k, 2]
            damp = a * wet[i] + b * wet[j] + c * wet[k]
            hairy = a * hair[i] + b * hair[j] + c * hair[k]
            kind = material[t]
            one = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * one, ny * one, nz * one
            # Direction to the camera; the camera sits at (0, 0, values[26]).
            ex, ey, ez = -px, -py, values[26] - pz
            one = 1.0 / math.sqrt(ex * ex + ey * ey + ez * ez)
            ex, ey, ez = ex * one, ey * one, ez * one
            light_in = around[min(y // 2, around.shape[0] - 1), min(x // 2, around.shape[1] - 1)]
            wrap_r, wrap_g, wrap_b = 0.0, 0.0, 0.0
            polish, sharp = 0.0, 20.0
            strand = False
            if kind == SKIN:
                if nx * ex + ny * ey + nz * ez < 0:
                    nx, ny, nz = -nx, -ny, -nz
                tile_u, tile_v = u + off_x, v + off_y
                blotch = _sample(tiles[1], tile_u * 1.3, tile_v * 1.3)
                coarse = _sample(tiles[0], tile_u * 0.9, tile_v * 0.9)
                shift = 1.0 + uneven * (0.05 * coarse + 0.045 * blotch)
                red, green, blue = red * (0.5 + 0.5 * shift), green * shift, blue * shift
                if pixel_mm < 2.2:
                    pore = _sample(tiles[2], tile_u * 4.0, tile_v * 4.0) * min(1.0, 1.2 / pixel_mm) * fine
                    red, green, blue = red * (1 + 0.035 * pore), green * (1 + 0.045 * pore), blue * (1 + 0.045 * pore)
                    bump_x = _sample(tiles[2], tile_u * 4.0 + 0.7, tile_v * 4.0) - _sample(
                        tiles[2], tile_u * 4.0 - 0.7, tile_v * 4.0
                    )
                    nx += 0.05 * fine * bump_x * min(1.0, 1.0 / pixel_mm)
                if freckles > 0:
                    dot = _sample(tiles[3], tile_u * 1.9, tile_v * 1.9) * freckles
                    dot *= math.exp(-0.5 * ((abs(u) / 55) ** 2 + ((v + 20) / 30) ** 2))
                    red, green, blue = red * (1 - 0.35 * dot), green * (1 - 0.55 * dot), blue * (1 - 0.65 * dot)
                # Folds of the skin: dark inside, and they bend the surface.
                wx, wy = u + 128.0, 100.0 - v
                if 1.0 < wx < 254.0 and 1.0 < wy < 254.0 and abs(u) < 100:
                    crease = _read(wrinkles, wx, wy)
                    if crease > 0.004:
                        ny -= 0.55 * (_read(wrinkles, wx, wy + 1.5) - _read(wrinkles, wx, wy - 1.5))
                        nx += 0.55 * (_read(wrinkles, wx + 1.5, wy) - _read(wrinkles, wx - 1.5, wy))
                        light_in *= 1.0 - 0.35 * min(crease, 1.0)
                        red, green, blue = (
                            red * (1 - 0.12 * crease),
                            green * (1 - 0.24 * crease),
                            blue * (1 - 0.26 * crease),
                        )
                on = _read(brow, (abs(u) - 4.0) * 5.0, (36.0 - v) * 5.0) * brow_density
                if on > 0.01 and abs(u) < 66:
                    red, green, blue = (
                        red + on * (brow_r - red),
                        green + on * (brow_g - green),
                        blue + on * (brow_b - blue),
                    )
                    marks[y, x, 0] = on
                polish = (0.25 + 0.75 * oil) * (1 - 0.45 * dark) * (1 - 0.7 * on) * (1 - 0.8 * hairy)
                if hairy > 0.003:
                    grain = _sample(tiles[2], tile_u * 3.0, tile_v * 1.1)
                    cover = min(max(hairy * 1.5 - 0.25 + 0.22 * grain, 0.0), 1.0) if hairy < 0.95 else 1.0
                    tone = max(0.45, 1.0 + 0.16 * grain)
                    red, green, blue = (
                        red + cover * (hair_r * tone - red),
                        green + cover * (hair_g * tone - green),
                        blue + cover * (hair_b * tone - blue),
                    )
                wrap_r, wrap_g, wrap_b = 0.42 * scatter, 0.20 * scatter, 0.13 * scatter
                sharp = shine_power
                side = min(1.0, max(0.0, (68.0 - abs(u)) / 14.0))
                marks[y, x, 1] = side * min(1.0, max(0.0, (44.0 - v) / 12.0)) * min(1.0, max(0.0, (v + 113.0) / 6.0))
                if seam > 0:
                    gold = _read(ornaments[0], 256.0 + 2 * u, 200.0 - 2 * v)
                    groove = _read(ornaments[1], 256.0 + 2 * u, 200.0 - 2 * v)
                    red, green, blue = (
                        red + gold * (metal_r - red),
                        green + gold * (metal_g - green),
                        blue + gold * (metal_b - blue),
                    )
                    light_in *= 1 - 0.65 * groove
                    polish *= 1 + 2.0 * gold
            elif kind == EYE:
                # u, v: place on the ball about the direction of gaze, in radii of the ball.
                r = math.sqrt(u * u + v * v) * 12.0
                if r < 5.9:
                    streak = (
                        1.0
                        + 0.22 * math.sin(math.atan2(v, u) * 23.0) * math.sin(r * 2.2)
                        + 0.12 * math.sin(math.atan2(v, u) * 41.0 + r)
                    )
                    edge = min(1.0, max(0.0, (5.9 - r) / 1.1))
                    inner = min(1.0, max(0.0, (r - pupil) / 0.4))
                    warm = max(0.0, 1.0 - (r - pupil) / 1.8)
                    g = (0.25 + 0.75 * edge) * inner * streak
                    red, green, blue = (
                        (iris_r * (1 + 0.4 * warm)) * g + 0.004,
                        (iris_g * (1 + 0.15 * warm)) * g + 0.004,
                        iris_b * g + 0.004,
                    )
                    if r > 5.3:
                        w = (r - 5.3) / 0.6
                        red, green, blue = (
                            red * (1 - 0.4 * w) + 0.10 * w,
                            green * (1 - 0.4 * w) + 0.09 * w,
                            blue * (1 - 0.4 * w) + 0.09 * w,
                        )
                else:
                    w = min(1.0, (r - 5.9) / 1.0)
                    corner_red = bloodshot * min(1.0, max(0.0, (r - 7.5) / 4.0))
                    red = 0.07 + (0.34 - 0.07) * w
                    green = (0.06 + (0.31 - 0.06) * w) * (1 - 0.25 * corner_red)
                    blue = (0.06 + (0.285 - 0.06) * w) * (1 - 0.22 * corner_red)
                light_in = light_in * damp
                polish, sharp = 0.5, 800.0
                marks[y, x, 1] = 1.0
            elif kind == HAIR:
                strand = True
                polish, sharp = 0.35, 16.0
            elif kind == CLOTH:
                weave = _sample(tiles[2], u * 2.0, v * 2.0)
                drape = _sample(tiles[0], u * 0.55, v * 0.35)
                red, green, blue = red * (1 + 0.06 * weave), green * (1 + 0.06 * weave), blue * (1 + 0.06 * weave)
                nx += 0.22 * drape * damp
                ny += 0.10 * (_sample(tiles[0], u * 0.55 + 9.0, v * 0.35) * damp)
                if nx * ex + ny * ey + nz * ez < 0:
                    nx, ny, nz = -nx, -ny, -nz
                wrap_r = wrap_g = wrap_b = 0.1
            else:
                if nx * ex + ny * ey + nz * ez < 0:
                    nx, ny, nz = -nx, -ny, -nz
                if kind >= TEETH:
                    marks[y, x, 1] = 1.0
                if kind == TEETH:
                    tooth = u / (8.2 - 0.06 * abs(u))
                    gap = abs(tooth - math.floor(tooth) - 0.0)
                    gap = min(gap, 1 - gap)
                    line = math.exp(-((gap * 7.5 / 0.55) ** 2)) * 0.55
                    gum = min(1.0, max(0.0, (0.26 + 0.35 * gap * gap - v) / 0.06))
                    side = 1.0 - min(0.75, (abs(u) / 26.0) ** 2)
                    red, green, blue = red * (1 - line) * side, green * (1 - line) * side, blue * (1 - line) * side
                    red, green, blue = (
                        red + gum * (0.42 * side - red),
                        green + gum * (0.17 * side - green),
                        blue + gum * (0.16 * side - blue),
                    )
                    light_in *= 0.8
                    polish, sharp = 0.35, 60.0
                elif kind == MOUTH:
                    light_in *= 0.5
                    polish, sharp = 0.1, 30.0
                else:
                    polish, sharp = damp, 60.0
            one = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * one, ny * one, nz * one
            if strand:
                # The light around hair comes from where it faces: away from the tangent, towards the camera.
                along = nx * ex + ny * ey + nz * ez
                sx, sy, sz = ex - along * nx, ey - along * ny, ez - along * nz
                one = 1.0 / math.sqrt(sx * sx + sy * sy + sz * sz + 1e-6)
                sx, sy, sz = sx * one * 0.7, sy * one * 0.7 + 0.25, sz * one * 0.7
            else:
                sx, sy, sz = nx, ny, nz
            # Irradiance of the ambient light, Ramamoorthi and Hanrahan (2001), their constants folded into the terms.
            q1, q2, q3 = sx * sy, sy * sz, 3 * sz * sz - 1
            q4, q5 = sx * sz, sx * sx - sy * sy
            lr = (
                ambient[0, 0]
                + ambient[1, 0] * sy
                + ambient[2, 0] * sz
                + ambient[3, 0] * sx
                + ambient[4, 0] * q1
                + ambient[5, 0] * q2
                + ambient[6, 0] * q3
                + ambient[7, 0] * q4
                + ambient[8, 0] * q5
            )
            lg = (
                ambient[0, 1]
                + ambient[1, 1] * sy
                + ambient[2, 1] * sz
                + ambient[3, 1] * sx
                + ambient[4, 1] * q1
                + ambient[5, 1] * q2
                + ambient[6, 1] * q3
                + ambient[7, 1] * q4
                + ambient[8, 1] * q5
            )
            lb = (
                ambient[0, 2]
                + ambient[1, 2] * sy
                + ambient[2, 2] * sz
                + ambient[3, 2] * sx
                + ambient[4, 2] * q1
                + ambient[5, 2] * q2
                + ambient[6, 2] * q3
                + ambient[7, 2] * q4
                + ambient[8, 2] * q5
            )
            sky = (lr + lg + lb) * 0.333 * light_in
            # Light that comes out of a shaded fold has been through skin and is redder.
            bleed = light_in if kind != SKIN else math.sqrt(light_in)
            lr, lg, lb = max(lr, 0.0) * bleed, max(lg, 0.0) * light_in, max(lb, 0.0) * light_in
            sr, sg, sb = 0.0, 0.0, 0.0
            for q in range(lamps):
                tx, ty, tz = lamp_to[q, 0], lamp_to[q, 1], lamp_to[q, 2]
                d = nx * tx + ny * ty + nz * tz
                # Shadow: compare with what the lamp sees first, softened over its neighbourhood.
                # The point is lifted off the surface, or it would lie in its own shadow.
                ox, oy, oz = px, py, pz
                if not strand:
                    ox, oy, oz = px + 3.0 * nx, py + 3.0 * ny, pz + 3.0 * nz
                fx = (
                    shadow_frame[q, 0, 0] * ox + shadow_frame[q, 0, 1] * oy + shadow_frame[q, 0, 2] * oz
                ) * shadow_scale + m * 0.5
                fy = (
                    m * 0.5
                    - (shadow_frame[q, 1, 0] * ox + shadow_frame[q, 1, 1] * oy + shadow_frame[q, 1, 2] * oz)
                    * shadow_scale
                )
                near = -(tx * ox + ty * oy + tz * oz)
                seen = 1.0
                if 2 < fx < m - 3 and 2 < fy < m - 3:
                    bias = 1.5 + 2.5 * lamp_soft[q] + (6.0 if strand else 0.0)
                    soft = 1.0 / (1.5 + 5.0 * lamp_soft[q])
                    sx0, sy0 = int(fx), int(fy)
                    wx1, wy1 = fx - sx0, fy - sy0
                    g00 = min(1.0, max(0.0, 1.0 - (near - shadow[q, sy0, sx0] - bias) * soft))
                    g01 = min(1.0, max(0.0, 1.0 - (near - shadow[q, sy0, sx0 + 1] - bias) * soft))
                    g10 = min(1.0, max(0.0, 1.0 - (near - shadow[q, sy0 + 1, sx0] - bias) * soft))
                    g11 = min(1.0, max(0.0, 1.0 - (near - shadow[q, sy0 + 1, sx0 + 1] - bias) * soft))
                    seen = (g00 * (1 - wx1) + g01 * wx1) * (1 - wy1) + (g10 * (1 - wx1) + g11 * wx1) * wy1
                hx, hy, hz = tx + ex, ty + ey, tz + ez
                one = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
                hx, hy, hz = hx * one, hy * one, hz * one
                if strand:
                    lit = math.sqrt(max(0.0, 1 - d * d))
                    lit = lit * seen * (0.35 + 0.65 * light_in)
                    lr, lg, lb = (
                        lr + lamp_colour[q, 0] * lit * 0.75,
                        lg + lamp_colour[q, 1] * lit * 0.75,
                        lb + lamp_colour[q, 2] * lit * 0.75,
                    )
                    th = nx * hx + ny * hy + nz * hz
                    glint = max(0.0, 1 - th * th) ** 14 * seen * light_in
                    sr, sg, sb = (
                        sr + lamp_colour[q, 0] * glint * 0.05,
                        sg + lamp_colour[q, 1] * glint * 0.05,
                        sb + lamp_colour[q, 2] * glint * 0.05,
                    )
                    glint = max(0.0, 1 - (th - 0.2) ** 2) ** 10 * seen * light_in * 0.8
                    sr, sg, sb = (
                        sr + lamp_colour[q, 0] * glint * red,
                        sg + lamp_colour[q, 1] * glint * green,
                        sb + lamp_colour[q, 2] * glint * blue,
                    )
                    continue
                soft_seen = seen * (0.55 + 0.45 * light_in)
                lr += (
                    lamp_colour[q, 0]
                    * max(0.0, (d + wrap_r) / (1 + wrap_r))
                    * (soft_seen + 0.12 * scatter * (1 - soft_seen) * (1 - dark))
                )
                lg += lamp_colour[q, 1] * max(0.0, (d + wrap_g) / (1 + wrap_g)) * soft_seen
                lb += lamp_colour[q, 2] * max(0.0, (d + wrap_b) / (1 + wrap_b)) * soft_seen
                if d > 0 and polish > 0:
                    nh = max(0.0, nx * hx + ny * hy + nz * hz)
                    eh = max(0.0, ex * hx + ey * hy + ez * hz)
                    fresnel = 0.035 + 0.965 * (1 - eh) ** 5
                    if kind == SKIN:
                        glint = polish * (
                            1.5 * _lobe(nh, sharp * 0.45)
                            + (0.9 + 2.5 * damp) * gloss * _lobe(nh, sharp * (2.0 + 3.0 * damp)) * (1 + damp)
                        )
                        glint *= fresnel * 3.2 * d
                    elif kind == EYE:
                        glint = 3.5 * _lobe(nh, sharp) * min(1.0, light_in * 1.5)
                    else:
                        glint = polish * _lobe(nh, sharp) * (sharp + 8) * 0.04 * fresnel * 4.0
                    sr, sg, sb = (
                        sr + lamp_colour[q, 0] * glint * seen,
                        sg + lamp_colour[q, 1] * glint * seen,
                        sb + lamp_colour[q, 2] * glint * seen,
                    )
            # The surroundings mirrored at a grazing angle.
            if not strand and kind != CLOTH:
                ne = max(0.0, nx * ex + ny * ey + nz * ez)
                graze = (0.02 + 0.16 * (1 - ne) ** 4) * polish * sky
                if kind == EYE:
                    ry = 2 * ne * ny - ey
                    graze += 0.05 * sky * min(1.0, max(0.0, ry * 4 - 0.4))
                sr, sg, sb = sr + graze, sg + graze, sb + graze
            image[y, x, 0], image[y, x, 1], image[y, x, 2] = red * lr + sr, green * lg + sg, blue * lb + sb
            albedo[y, x, 0], albedo[y, x, 1], albedo[y, x, 2] = red, green, blue
            if strand:
                facing[y, x, 0], facing[y, x, 1], facing[y, x, 2] = sx, sy, sz
            else:
                facing[y, x, 0], facing[y, x, 1], facing[y, x, 2] = nx, ny, nz
