"""A world with known truth: how a camera turns in front of a face, in what light, and what it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_ros.frames.intrinsics import Intrinsics
from facefusion_ros.sim.exposure import Sensor, srgb_decode, srgb_encode
from facefusion_ros.sim.light import Light  # noqa: TC001 - the reader of world files looks it up
from facefusion_ros.sim.scene import Canvas, Scene, paint
from facefusion_ros.sim.trajectory import GRAVITY_M_S2, OPTICAL_FROM_IMU, Motion, Trajectory, rotation_from_rpy
from facefusion_ros.sim.worldfile import WorldError, find_world, read_section, read_yaml

if TYPE_CHECKING:
    import os

Floats = NDArray[np.float64]

_NOISE_TILE = 512
_NOISE_SHIFTS = 64
_NOISE_STEP = 32.0
"""One standard deviation of the noise in the stored tile."""
_LEAST_DEPTH = 0.05
"""Least cosine between a ray of the picture and the wall's normal; beyond it the ray would miss the wall."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Size, rate and field of view of the camera, and its sensor."""

    width: int
    height: int
    rate_hz: float
    hfov_deg: float
    """Horizontal field of view."""
    sensor: Sensor = field(default_factory=Sensor)

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 16384 and 1 <= self.height <= 16384):
            raise ValueError('width and height must be between 1 and 16384')
        if not 0.1 <= self.rate_hz <= 1000.0:
            raise ValueError('rate_hz must be between 0.1 and 1000')
        if not 1.0 <= self.hfov_deg <= 150.0:
            raise ValueError('hfov_deg must be between 1 and 150')

    @property
    def intrinsics(self) -> Intrinsics:
        """Square pixels, the principal point in the middle of the picture."""
        f = self.width / 2.0 / math.tan(math.radians(self.hfov_deg) / 2.0)
        return Intrinsics(self.width, self.height, f, f, (self.width - 1) / 2.0, (self.height - 1) / 2.0)

    @property
    def rate(self) -> Fraction:
        """Exact frames per second, so that the frame grid never drifts."""
        return Fraction(self.rate_hz).limit_denominator(1001)


@dataclass(frozen=True, slots=True)
class Imu:
    """How the IMU is mounted."""

    rpy_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Fixed-axis roll, pitch, yaw of the IMU in the camera's body frame (x forward, y left, z up)."""

    @property
    def optical_from_imu(self) -> Floats:
        """(3, 3) R_optical_imu: a vector's coordinates in the IMU's body frame to optical coordinates."""
        return OPTICAL_FROM_IMU @ rotation_from_rpy(*(math.radians(a) for a in self.rpy_deg))


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """All there is to know of one frame."""

    index: int
    """Number of the frame on the grid, counted from the epoch."""
    time_s: float
    """World time of the middle of the exposure."""
    landmarks: NDArray[np.float32]
    """(5, 2) left eye, right eye, nose, left and right mouth corner as seen in the image, pixels; may lie outside."""
    box: tuple[float, float, float, float]
    """Left, top, width, height of the face, pixels; may reach beyond the frame."""
    image_from_plane: Floats
    """(3, 3) homography: (x, y, 1) on the scene's plane in metres (see ``scene.Canvas``) to pixels."""
    lux: float
    warmth: float
    exposure_s: float
    gain: float
    rotation: Floats
    """(3, 3) R_world_from_optical."""
    angular_velocity: Floats
    """(3,) of the camera, in the optical frame, rad/s."""


@dataclass(frozen=True)
class World:
    """A periodic world; all of it is a pure function of world time or of the number of a frame.

    Processes which share nothing but the clock see the same world at the same time. Rendering is byte-identical for
    the same world and frame number on one machine.
    """

    period_s: float
    seed: int
    camera: Camera
    light: Light
    scene: Scene
    motion: Motion = field(default_factory=Motion)
    imu: Imu = field(default_factory=Imu)

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit together."""
        if not 0.1 <= self.period_s <= 3600.0:
            raise ValueError('period_s must be between 0.1 and 3600')
        if self.seed < 0:
            raise ValueError('seed must be a whole number of at least 0')
        if (self._period * self.camera.rate).denominator != 1:
            raise ValueError('period_s x camera.rate_hz must be a whole number of frames')
        self.light.check_period(self.period_s)
        k = self.camera.intrinsics.matrix
        x, y = self.camera.width - 0.5, self.camera.height - 0.5
        corners = np.linalg.inv(k) @ np.array([[-0.5, x, -0.5, x], [-0.5, -0.5, y, y], [1.0, 1.0, 1.0, 1.0]])
        rays = self.trajectory.rotation(np.arange(self.frames) / float(self.camera.rate)) @ corners
        if (rays[:, 2] / np.linalg.norm(rays, axis=1)).min() < _LEAST_DEPTH:
            raise ValueError(
                'the motion turns the camera so far that it looks past the wall; lessen motion or hfov_deg'
            )

    def sized(self, width: int, height: int) -> World:
        """Make the same world with a picture of another size, of the same horizontal field of view.

        Raises WorldError where that size is not possible.
        """
        try:
            return replace(self, camera=replace(self.camera, width=width, height=height))
        except ValueError as error:
            raise WorldError(f'{width} x {height}: {error}') from None

    # Time

    @property
    def _period(self) -> Fraction:
        return Fraction(self.period_s).limit_denominator(1_000_000)

    @property
    def frames(self) -> int:
        """Frames in one period."""
        return int(self._period * self.camera.rate)

    def time_s(self, clock_ns: int, epoch_ns: int = 0) -> float:
        """World time, 0 to below period_s, where the clock shows clock_ns."""
        period_ns = self._period * 1_000_000_000
        return float((clock_ns - epoch_ns) % period_ns) / 1e9

    def frame_stamp_ns(self, index: int, epoch_ns: int = 0) -> int:
        """Time of the clock at the middle of the exposure of a frame, rounded up to whole nanoseconds."""
        rate = self.camera.rate
        return epoch_ns - (-index * 1_000_000_000 * rate.denominator) // rate.numerator

    def frame_index(self, clock_ns: int, epoch_ns: int = 0) -> int:
        """Count the frames from the epoch to the newest one at that time of the clock."""
        rate = self.camera.rate
        return (clock_ns - epoch_ns) * rate.numerator // (1_000_000_000 * rate.denominator)

    def frame_time_s(self, index: int) -> float:
        """World time of the middle of the exposure of a frame."""
        return float(index % self.frames / self.camera.rate)

    # Motion and light

    @cached_property
    def trajectory(self) -> Trajectory:
        """Motion of the camera, over arrays of world time."""
        return Trajectory(self.motion, self.period_s, self.seed)

    @cached_property
    def optical_from_imu(self) -> Floats:
        """(3, 3) R_optical_imu."""
        return self.imu.optical_from_imu

    def rotation(self, t_s: float) -> Floats:
        """(3, 3) R_world_from_optical at world time t_s."""
        return self.trajectory.rotation(t_s)

    def angular_velocity_optical(self, t_s: float) -> Floats:
        """(3,) rad/s of the camera in the optical frame."""
        return self.trajectory.angular_velocity(t_s)

    def angular_velocity_imu(self, t_s: float) -> Floats:
        """(3,) rad/s in the IMU's body frame: what an ideal gyroscope reads."""
        velocity: Floats = self.angular_velocity_optical(t_s) @ self.optical_from_imu
        return velocity

    def specific_force_imu(self, t_s: float) -> Floats:
        """(3,) m/s^2 in the IMU's body frame: what an ideal accelerometer reads, +9.80665 along up at rest."""
        # Up is -y of the world; the row of a rotation picks a world axis in optical coordinates.
        force: Floats = -GRAVITY_M_S2 * self.rotation(t_s)[1] @ self.optical_from_imu
        return force

    def lux(self, t_s: float) -> float:
        """Illuminance at world time t_s, on the face and on the light sensor."""
        return float(self.light.at(np.asarray(t_s), self.period_s)[0])

    # Pictures

    @cached_property
    def canvas(self) -> Canvas:
        """The painted scene, made on first use (about half a second); raises SceneError without its photograph."""
        canvas = paint(self.scene, self.seed)
        canvas_px_per_px = self.scene.distance_m / self.camera.intrinsics.fx / canvas.plane_from_canvas[0, 0]
        # Bilinear sampling needs a canvas not much finer than the picture.
        return canvas.shrunk(canvas_px_per_px) if canvas_px_per_px > 1.5 else canvas

    @cached_property
    def _exposures(self) -> tuple[Floats, Floats]:
        """Exposure in s and gain of the frames of a period."""
        times = np.arange(self.frames) / float(self.camera.rate)
        return self.camera.sensor.follow(self.light.at(times, self.period_s)[0])

    @cached_property
    def _noise(self) -> NDArray[np.uint8]:
        side = _NOISE_TILE + _NOISE_SHIFTS
        noise = np.random.default_rng([self.seed, 3]).standard_normal((side, side, 3), dtype=np.float32)
        tile: NDArray[np.uint8] = np.clip(np.rint(128.0 + _NOISE_STEP * noise), 0, 255).astype(np.uint8)
        return tile

    @cached_property
    def _linear(self) -> Floats:
        """(256,) linear value of the canvas's 8-bit values."""
        return srgb_decode(np.arange(256) / 255.0)

    def truth(self, index: int) -> Truth:
        """Tell what is true of a frame; raises SceneError where the scene's photograph cannot be had."""
        t = self.frame_time_s(index)
        rotation = self.rotation(t)
        # A point of the plane is (x, y, distance) in the world, whose origin the camera never leaves.
        image_from_plane = self.camera.intrinsics.matrix @ rotation.T @ np.diag((1.0, 1.0, self.scene.distance_m))
        corners = _project(image_from_plane, self.canvas.face_corners_m)
        low, high = corners.min(axis=0), corners.max(axis=0)
        lux, warmth = self.light.at(np.asarray(t), self.period_s)
        exposure_s, gain = self._exposures
        return Truth(
            index=index,
            time_s=t,
            landmarks=_project(image_from_plane, self.canvas.landmarks_m).astype(np.float32),
            box=(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])),
            image_from_plane=image_from_plane,
            lux=float(lux),
            warmth=float(warmth),
            exposure_s=float(exposure_s[index % self.frames]),
            gain=float(gain[index % self.frames]),
            rotation=rotation,
            angular_velocity=self.angular_velocity_optical(t),
        )

    def render(self, index: int, out: NDArray[np.uint8]) -> Truth:
        """Take the picture of that number into out, (height, width, 3) contiguous BGR.

        Photons first, with their noise, on the sRGB-coded scene; then exposure, gain and clipping in linear light and
        sRGB coding again, all in one table.
        """
        camera = self.camera
        if out.shape != (camera.height, camera.width, 3) or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f'out must be contiguous uint8 ({camera.height}, {camera.width}, 3)')
        truth = self.truth(index)
        canvas = self.canvas
        canvas_from_image = np.linalg.inv(truth.image_from_plane @ canvas.plane_from_canvas)
        cv2.warpPerspective(
            canvas.pixels,
            canvas_from_image,
            (camera.width, camera.height),
            dst=out,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        self._add_noise(out, index % self.frames, camera.sensor.noise(truth.lux, truth.exposure_s))
        white = camera.sensor.white(truth.lux, truth.exposure_s, truth.gain)
        tint = white * np.array([1.0 - truth.warmth, 1.0, 1.0 + truth.warmth])
        table = np.rint(255.0 * srgb_encode(self._linear[:, None] * tint)).astype(np.uint8)
        cv2.LUT(out, table.reshape(1, 256, 3), dst=out)
        return truth

    def _add_noise(self, out: NDArray[np.uint8], index: int, deviation: float) -> None:
        """Add noise of that standard deviation, in 8-bit steps, from the tile at a shift drawn per frame and block."""
        scale = deviation / _NOISE_STEP
        shifts = np.random.default_rng([self.seed, 4, index])
        for y in range(0, out.shape[0], _NOISE_TILE):
            for x in range(0, out.shape[1], _NOISE_TILE):
                block = out[y : y + _NOISE_TILE, x : x + _NOISE_TILE]
                dy, dx = shifts.integers(0, _NOISE_SHIFTS, 2)
                tile = self._noise[dy : dy + block.shape[0], dx : dx + block.shape[1]]
                cv2.addWeighted(block, 1.0, tile, scale, -128.0 * scale, dst=block)


def load_world(name_or_path: str | os.PathLike[str]) -> World:
    """Read a world from a YAML file, or one of ``world_names()`` by its name; raises WorldError.

    Nothing is painted or imported for it before the first picture is asked for.
    """
    file = find_world(name_or_path)
    world = read_section(World, read_yaml(file), file)
    if world.scene.image:
        # A picture is named relative to its world file.
        image = str(Path(file).resolve().parent / world.scene.image)
        world = replace(world, scene=replace(world.scene, image=image))
    return world


def _project(homography: Floats, points: Floats) -> Floats:
    """(n, 2) points mapped by a (3, 3) homography."""
    mapped = points @ homography[:, :2].T + homography[:, 2]
    projected: Floats = mapped[:, :2] / mapped[:, 2:]
    return projected
