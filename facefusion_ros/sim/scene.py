"""What the simulated camera looks at: a photograph of a face on a painted brick wall, framed or cut out before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_ros.errors import FacefusionError
from facefusion_ros.sim.trajectory import Motion

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

PHOTO_SIZE = 1024
"""The photograph's longer side on the canvas, pixels."""
CANVAS_WIDTH, CANVAS_HEIGHT = 3072, 2304

# Measured by hand on enlarged crops of skimage.data.astronaut(), 512 x 512, to about a pixel.
_ASTRONAUT_LANDMARKS = ((203.1, 100.5), (246.2, 102.7), (224.3, 126.0), (202.2, 138.8), (244.2, 140.2))
_ASTRONAUT_BOX = (180.0, 78.0, 91.0, 101.0)

_BRICK_M, _COURSE_M, _JOINT_M = 0.215, 0.075, 0.010
"""A brick with its joint is 225 mm x 75 mm in the United Kingdom (BS 4729)."""
_FRAME_M = 0.026
_HEAD = np.array([1.75, 2.25])
"""Half axes of a cut-out head, in halves of the face box: hair and chin are inside, shoulders are not."""
_HEAD_EDGE_PX = 6.0
_WALL_BGR = (142.0, 140.0, 128.0)
_FRAME_BGR = (38.0, 52.0, 74.0)


class SceneError(FacefusionError):
    """The picture of the scene cannot be had."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A wall across the optical axis of the camera at rest, with the face where the axis meets it."""

    distance_m: float
    width_m: float
    """Width of the photograph."""
    image: str = ''
    """File of another photograph; empty for the astronaut of scikit-image."""
    landmarks: tuple[tuple[float, float], ...] = ()
    """Left eye, right eye, nose, left and right mouth corner as seen in the photograph (x, y), pixels."""
    face_box: tuple[float, float, float, float] | None = None
    """Left, top, width, height, pixels of the photograph."""
    face_at_m: tuple[float, float] = (0.0, 0.0)
    """Middle of the face box right of and below the axis."""
    rides: bool = False
    """Whether the wall is carried by what carries the camera, like the inside of a vehicle."""

    def __post_init__(self) -> None:
        if not (0.01 <= self.distance_m <= 1000.0 and 0.01 <= self.width_m <= 1000.0):
            raise ValueError('distance_m and width_m must be between 0.01 and 1000')
        if self.image and (len(self.landmarks) != 5 or self.face_box is None):
            raise ValueError(
                'image needs landmarks (five points x, y) and face_box (left, top, width, height) beside it'
            )
        if not self.image and (self.landmarks or self.face_box is not None):
            raise ValueError('landmarks and face_box belong to an image of your own; name it as image')


@dataclass(frozen=True, slots=True)
class MovingFace:
    """A head of its own, cut out of the photograph, in front of the wall instead of on it."""

    distance_m: float
    """From the camera at rest; ``Scene.face_at_m`` is right of and below its axis."""
    rides: bool = False
    """Whether it is carried by what carries the camera: then distance and motion are as seen from the camera."""
    motion: Motion = field(default_factory=Motion)
    """It turns about the middle of the face box, or about what ``lever_m`` tells."""

    def __post_init__(self) -> None:
        if not 0.05 <= self.distance_m <= 1000.0:
            raise ValueError('distance_m must be between 0.05 and 1000')


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """The painted plane. Plane coordinates are metres right of and below the point where the axis at rest meets it."""

    pixels: Pixels
    """(height, width, 3) BGR, or 4 with alpha, sRGB-coded; 255 is white in full light."""
    plane_from_canvas: Floats
    """(3, 3) pixels of the canvas to metres on the plane."""
    landmarks_m: Floats
    """(5, 2) landmarks of the face on the plane, metres."""
    face_corners_m: Floats
    """(4, 2) corners of the face box on the plane, metres."""

    def shrunk(self, factor: float) -> Canvas:
        """Make the same plane with fewer pixels, 1 / factor along each side, averaged."""
        height, width = self.pixels.shape[:2]
        size = (max(1, round(width / factor)), max(1, round(height / factor)))
        sx, sy = width / size[0], height / size[1]
        # Pixel areas are scaled, and pixel centres are whole numbers.
        full_from_small = np.array([[sx, 0.0, (sx - 1.0) / 2.0], [0.0, sy, (sy - 1.0) / 2.0], [0.0, 0.0, 1.0]])
        pixels = np.asarray(cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return Canvas(pixels, self.plane_from_canvas @ full_from_small, self.landmarks_m, self.face_corners_m)


@dataclass(frozen=True, slots=True, eq=False)
class _Photo:
    """The photograph at the size it has on the canvas, and where the canvas has it."""

    pixels: Pixels
    landmarks: Floats
    corners: Floats
    left: int
    top: int
    origin: Floats
    """(2,) pixel of the canvas that is the plane's origin."""
    px_per_m: float

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]

    def on_plane(self, pixels: Pixels, left: int, top: int) -> Canvas:
        """Make a canvas of pixels whose top left one is at that place."""
        m = 1.0 / self.px_per_m
        x, y = self.origin[0] - left, self.origin[1] - top
        plane_from_canvas = np.array([[m, 0.0, -x * m], [0.0, m, -y * m], [0.0, 0.0, 1.0]])
        to_plane = (np.array([self.left, self.top]) - self.origin) * m
        return Canvas(pixels, plane_from_canvas, self.landmarks * m + to_plane, self.corners * m + to_plane)


def paint(scene: Scene, seed: int) -> Canvas:
    """Paint the wall with the framed photograph; raises SceneError where that cannot be had."""
    photo = _placed(scene)
    left, top, size = photo.left, photo.top, photo.size
    rng = np.random.default_rng([seed, 2])
    wall = _brick_wall(photo.px_per_m, rng)
    _hang(wall, left, top, size, photo.px_per_m, rng)
    canvas = np.asarray(cv2.convertScaleAbs(wall), dtype=np.uint8)
    # A photograph taller or wider than the canvas allows loses its margins.
    y, x = max(top, 0), max(left, 0)
    inside = photo.pixels[y - top : CANVAS_HEIGHT - top, x - left : CANVAS_WIDTH - left]
    canvas[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return photo.on_plane(canvas, 0, 0)


def paint_apart(scene: Scene, seed: int) -> tuple[Canvas, Canvas]:
    """Paint the bare wall, and a head cut out of the photograph; raises SceneError where that cannot be had.

    The head's pixels are (height, width, 4) BGRA, the colours multiplied by alpha.
    """
    photo = _placed(scene)
    wall = np.asarray(cv2.convertScaleAbs(_brick_wall(photo.px_per_m, np.random.default_rng([seed, 2]))), np.uint8)
    middle, half = photo.corners.mean(axis=0), (photo.corners.max(axis=0) - photo.corners.min(axis=0)) / 2.0
    reach = half * _HEAD
    low = np.maximum(np.floor(middle - reach) - 2.0, 0.0).astype(int)
    high = np.minimum(np.ceil(middle + reach) + 3.0, photo.size).astype(int)
    x, y = (np.arange(a, b) for a, b in zip(low, high, strict=True))
    across, down = (x - middle[0]) / reach[0], (y - middle[1]) / reach[1]
    # 1 inside of an ellipse, 0 outside, with an edge of a few pixels.
    beyond = (np.hypot(across[None, :], down[:, None]) - 1.0) * reach.min()
    alpha = np.clip(0.5 - beyond / _HEAD_EDGE_PX, 0.0, 1.0)
    for axis, (a, b) in enumerate(zip(low, high, strict=True)):
        # Where the photograph ends, the head does; bilinear sampling needs a border of nothing.
        edge = np.minimum(np.arange(a, b) - a, b - 1 - np.arange(a, b)).clip(0, 1)
        alpha *= edge[None, :] if axis == 0 else edge[:, None]
    cut = photo.pixels[low[1] : high[1], low[0] : high[0]]
    head = np.rint(np.dstack((cut * alpha[:, :, None], 255.0 * alpha))).astype(np.uint8)
    left, top = photo.left + int(low[0]), photo.top + int(low[1])
    return photo.on_plane(wall, 0, 0), photo.on_plane(np.ascontiguousarray(head), left, top)


def _placed(scene: Scene) -> _Photo:
    photo, landmarks, box = _photo(scene)
    scale = PHOTO_SIZE / max(photo.shape[:2])
    size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
    # A resized picture keeps its outer edges, not its pixel centres.
    canvas_from_photo = np.array([[size[0] / photo.shape[1], 0.0], [0.0, size[1] / photo.shape[0]]])
    interpolation = cv2.INTER_CUBIC if scale >= 1.0 else cv2.INTER_AREA
    photo = np.asarray(cv2.resize(photo, size, interpolation=interpolation), dtype=np.uint8)
    px_per_m = size[0] / scene.width_m
    corners = np.array([(box[0] + i * box[2], box[1] + j * box[3]) for j, i in ((0, 0), (0, 1), (1, 1), (1, 0))])
    landmarks = (landmarks + 0.5) @ canvas_from_photo - 0.5
    corners = (corners + 0.5) @ canvas_from_photo - 0.5
    face = corners.mean(axis=0)
    left, top = round(CANVAS_WIDTH / 2 - face[0]), round(CANVAS_HEIGHT / 2 - face[1])
    origin = face + np.array([left, top]) - np.array(scene.face_at_m) * px_per_m
    return _Photo(photo, landmarks, corners, left, top, origin, px_per_m)


def _photo(scene: Scene) -> tuple[Pixels, Floats, tuple[float, float, float, float]]:
    if scene.image:
        if not Path(scene.image).is_file():
            raise SceneError(f'{scene.image}: no such picture; mend scene.image in the world file')
        own = cv2.imread(scene.image, cv2.IMREAD_COLOR)
        if own is None:
            raise SceneError(f'{scene.image}: not a picture that OpenCV can read; name a PNG or JPEG file')
        if scene.face_box is None:
            raise SceneError(f'{scene.image}: scene.face_box is missing in the world file')
        return np.asarray(own, dtype=np.uint8), np.array(scene.landmarks), scene.face_box
    try:
        # Imported here because only the demo needs it, and it is slow to import.
        from skimage import data  # noqa: PLC0415 - see above
    except ImportError:
        raise SceneError(
            'the simulated face is a photograph that comes with scikit-image, which is not installed; '
            "install the demo extra: pip install 'facefusion-ros[demo]'"
        ) from None
    photo: Pixels = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    return photo, np.array(_ASTRONAUT_LANDMARKS), _ASTRONAUT_BOX


def _clouds(rng: np.random.Generator, coarsest_px: int, octaves: int) -> NDArray[np.float32]:
    """Noise, (CANVAS_HEIGHT, CANVAS_WIDTH), about -1 to 1; every octave half as large and half as strong."""
    total = np.zeros((CANVAS_HEIGHT, CANVAS_WIDTH), np.float32)
    for octave in range(octaves):
        cell = max(1, coarsest_px >> octave)
        shape = (CANVAS_HEIGHT // cell + 2, CANVAS_WIDTH // cell + 2)
        grid = rng.standard_normal(shape, dtype=np.float32) * 0.4 * 0.5**octave
        cv2.add(total, cv2.resize(grid, (CANVAS_WIDTH, CANVAS_HEIGHT), interpolation=cv2.INTER_CUBIC), dst=total)
    return total


def _brick_wall(px_per_m: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(CANVAS_HEIGHT, CANVAS_WIDTH, 3) BGR float32: painted bricks in stretcher bond."""
    course, brick, joint = _COURSE_M * px_per_m, (_BRICK_M + _JOINT_M) * px_per_m, _JOINT_M * px_per_m
    y = np.arange(CANVAS_HEIGHT, dtype=np.float32)
    x = np.arange(CANVAS_WIDTH, dtype=np.float32)
    row = (y / course).astype(np.intp)
    above = np.minimum(y - row * course, (row + 1) * course - y).astype(np.float32)
    relief = np.empty((CANVAS_HEIGHT, CANVAS_WIDTH), np.float32)
    tone = np.empty_like(relief)
    tones = rng.normal(0.0, 7.0, (row[-1] + 1, int(CANVAS_WIDTH / brick) + 2)).astype(np.float32)
    for parity in (0.0, 0.5):
        shifted = x / brick + parity
        column = shifted.astype(np.intp)
        beside = np.minimum(shifted - column, column + 1 - shifted) * brick
        rows = row % 2 == (1 if parity else 0)
        # Distance from the nearest joint's middle, pixels.
        relief[rows] = np.minimum(above[rows, None], beside[None, :])
        tone[rows] = tones[row[rows, None], column[None, :]]
    rough = _clouds(rng, 40, 5)
    relief += rough * joint * 0.16
    # 0 in the joint, 1 on the brick's face, with a rounded edge between.
    relief = np.clip((relief - 0.35 * joint) / (0.5 * joint), 0.0, 1.0)
    relief = np.asarray(cv2.GaussianBlur(relief, (0, 0), max(0.3, 0.06 * joint)), dtype=np.float32)
    # Light comes from above: edges that face up are bright, edges that face down are in shade.
    slope = np.zeros_like(relief)
    slope[1:] = relief[1:] - relief[:-1]
    tone = (
        (tone + rough * 5.0 + _clouds(rng, 512, 3) * 9.0) * relief + (relief - 1.0) * 26.0 + slope * 0.9 * joint * 8.0
    )
    # Pits and crumbs, of the size of features that a tracker takes.
    grit = _clouds(rng, max(2, round(0.008 * px_per_m)), 2)
    tone += 16.0 * np.clip(np.abs(grit) - 0.45, 0.0, 1.0) * np.sign(grit)
    wall: NDArray[np.float32] = tone[:, :, None] + np.array(_WALL_BGR, np.float32)
    return wall


def _hang(
    wall: NDArray[np.float32],
    left: int,
    top: int,
    size: tuple[int, int],
    px_per_m: float,
    rng: np.random.Generator,
) -> None:
    """Hang an empty frame, with its shadow, around the place of the photograph."""
    border = max(1, round(_FRAME_M * px_per_m))
    outer = (left - border, top - border, left + size[0] + border, top + size[1] + border)
    shadow = np.zeros(wall.shape[:2], np.float32)
    cv2.rectangle(shadow, (outer[0], outer[1] + border // 2), (outer[2], outer[3] + border), (1.0,), cv2.FILLED)
    # A soft shadow needs no more than an eighth of the resolution.
    small = cv2.resize(shadow, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(0.3, border / 14.0))
    shadow = np.asarray(cv2.resize(small, (wall.shape[1], wall.shape[0])), dtype=np.float32)
    wall *= (1.0 - 0.5 * shadow)[:, :, None]

    # Grain runs along each of the four laths, which meet in mitres.
    grain = rng.standard_normal((border, 4096), dtype=np.float32)
    grain = np.asarray(cv2.blur(grain, (241, 1)), dtype=np.float32) * 60.0
    across = np.linspace(0.0, 1.0, border, dtype=np.float32)[:, None]
    profile = 26.0 * np.sin(np.pi * across) - 10.0 + 26.0 * (across > 0.82)
    lath = grain + profile
    for side, light in enumerate((6.0, -8.0, -16.0, 2.0)):  # top, right, bottom, left, lit from above left
        length = (size[0] if side % 2 == 0 else size[1]) + 2 * border
        piece = np.zeros((border, length), np.float32)
        repeats = -(-length // lath.shape[1])
        piece[:] = np.tile(lath, (1, repeats))[:, :length] + light
        mitre = np.minimum(np.arange(length), np.arange(length)[::-1])[None, :] >= np.arange(border)[:, None]
        # Row 0 is the outer edge; np.rot90 turns the lath into its place.
        piece, mitre = np.rot90(piece, -side), np.rot90(mitre, -side)
        x = outer[0] if side != 1 else outer[2] - border
        y = outer[1] if side != 2 else outer[3] - border
        x0, y0 = max(x, 0), max(y, 0)
        target = wall[y0 : max(y + piece.shape[0], 0), x0 : max(x + piece.shape[1], 0)]
        if target.size:
            part = slice(y0 - y, y0 - y + target.shape[0]), slice(x0 - x, x0 - x + target.shape[1])
            colour = piece[part][:, :, None] * np.array((0.75, 0.9, 1.0), np.float32) + np.array(_FRAME_BGR, np.float32)
            np.copyto(target, colour, where=mitre[part][:, :, None])
