"""The studio in which a relief is lit: a lamp at the upper left, a fill at the right, and the room around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.personas.anatomy import ramp
from facefusion_ros.personas.canvas import blur, normals, shifted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.personas.anatomy import Plane

    Direction = tuple[float, float, float]
    """Unit vector towards a light: x right, y down, z to the viewer."""

# Lamp at 38 degrees of elevation and 33 to the left; fill almost level, 49 to the right.
KEY: Direction = (-0.449, -0.556, 0.700)
FILL: Direction = (0.755, 0.050, 0.654)

# By colour (red, green, blue): strength of lamp, fill and room; how far lamplight creeps under the surface, mm.
_STRENGTHS = ((0.86, 0.130, 0.24), (0.81, 0.115, 0.19), (0.77, 0.110, 0.17))
_CREEP_MM = (2.6, 1.5, 1.0)


@dataclass(frozen=True)
class Lighting:
    """Light on every point of a relief."""

    diffuse: Plane
    """(height, width, 3), to be multiplied by the colour of the surface."""
    mirrored: Plane
    """(height, width) reflection of the lamps in a glaze."""
    rim: Plane
    """(height, width) reflection of the room at grazing angles (Schlick's approximation of Fresnel's law)."""


def illuminate(height: Plane, translucency: float) -> Lighting:
    """Light a relief in millimetres; translucency 1 is porcelain, 0 an opaque stone."""
    normal = normals(height)
    nx, ny, nz = normal
    open_to_room = _ambient_occlusion(height)
    key = np.clip((nx * KEY[0] + ny * KEY[1] + nz * KEY[2] + 0.2) / 1.2, 0, None) * _lamp_seen(height)
    fill = np.clip((nx * FILL[0] + ny * FILL[1] + nz * FILL[2] + 0.4) / 1.4, 0, None) * open_to_room
    room = (0.81 - 0.19 * ny) * open_to_room
    diffuse = np.empty((*height.shape, 3), np.float32)
    for c, ((lamp, side, around), creep) in enumerate(zip(_STRENGTHS, _CREEP_MM, strict=True)):
        diffuse[..., c] = lamp * blur(key, 0.3 + creep * translucency) + side * fill + around * room
    mirror = 0.26 * _softbox(normal, KEY, 0.17, 0.26, 0.15) + 0.16 * _softbox(normal, KEY, 0.3, 0.4, 0.4)
    mirror += 0.05 * _softbox(normal, FILL, 0.2, 0.7, 0.2)
    return Lighting(diffuse, mirror * open_to_room, (1 - nz) ** 5 * open_to_room)


def _lamp_seen(height: Plane) -> Plane:
    """How much of the lamp each point sees, 0 to 1: a march towards it over the reduced relief."""
    reduce, march_mm = 4, 1.1
    size = height.shape[1] // reduce, height.shape[0] // reduce
    low = np.asarray(cv2.resize(height, size, interpolation=cv2.INTER_AREA), np.float32)
    over = np.full_like(low, -1e3)
    for k in range(1, 36):
        far = k * march_mm
        np.maximum(over, shifted(low, -KEY[0] * far, -KEY[1] * far, reduce) - low - KEY[2] * far, out=over)
    seen = cv2.GaussianBlur(1 - ramp(over, -0.6, 2.2), (0, 0), 1.6)
    return np.asarray(cv2.resize(seen, (height.shape[1], height.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _ambient_occlusion(height: Plane) -> Plane:
    """Fraction of the room's light that reaches each point, by how far it lies below its surroundings."""
    near, far = blur(height, 1.6) - height, blur(height, 6.0) - height
    return np.clip(1 - 0.22 * np.clip(near, -0.3, 2.5) - 0.10 * np.clip(far, -1.5, 5.0), 0.25, 1.12)


def _softbox(normal: tuple[Plane, Plane, Plane], to: Direction, wide: float, high: float, edge: float) -> Plane:
    """Reflection of a rectangular lamp; half its width and height, and its soft edge, as tangents of angles."""
    nx, ny, nz = normal
    rx, ry, rz = 2 * nz * nx, 2 * nz * ny, 2 * nz * nz - 1
    right = np.array([to[2], 0, -to[0]]) / np.hypot(to[0], to[2])
    down = np.cross(to, right)
    ahead = rx * to[0] + ry * to[1] + rz * to[2]
    depth = np.maximum(ahead, 0.05)
    u = (rx * np.float32(right[0]) + rz * np.float32(right[2])) / depth
    v = (rx * np.float32(down[0]) + ry * np.float32(down[1]) + rz * np.float32(down[2])) / depth
    inside = (1 - ramp(np.abs(u), wide - edge, wide + edge)) * (1 - ramp(np.abs(v), high - edge, high + edge))
    return np.where(ahead > 0, inside, np.float32(0))


def srgb(linear: Plane) -> NDArray[np.uint8]:
    """Linear light to 8 bits: a soft shoulder above 0.6, then the curve of sRGB (IEC 61966-2-1)."""
    x = np.clip(linear, 0, None)
    x = np.where(x < 0.6, x, 1 - 0.4 * np.exp(-(x - 0.6) / 0.4))
    x = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * x), np.uint8)
