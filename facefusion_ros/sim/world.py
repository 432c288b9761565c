"""A world with known truth: how a camera moves in front of a face, in what light, and what it sees."""

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
from facefusion_ros.sim.gyro import Gyro, Imu
from facefusion_ros.sim.light import Light  # noqa: TC001 - the reader of world files looks it up
from facefusion_ros.sim.scene import Canvas, MovingFace, Scene, paint, paint_apart
from facefusion_ros.sim.trajectory import GRAVITY_M_S2, Motion, Trajectory
from facefusion_ros.sim.view import View
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
_NEAREST_M = 0.01
_LEAST_COSINE = 0.2
"""Between the axis of a face and the direction it is seen from."""
_OUTLINE = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False)])


@dataclass(frozen=True, slots=True)
class Camera:
    """Size, rate and field of view of the camera, and its sensor."""

    width: int
    height: int
    rate_hz: float
    hfov_deg: float
    """Horizontal field of view."""
    sensor: Sensor = field(default_factory=Sensor)
    readout_s: float = 0.0
    """Time from the exposure of the first row to that of the last; negative where the last row comes first."""
    distortion: tuple[float, ...] = ()
    """k1, k2, p1, p2, and k3 if wanted (plumb_bob): what the lens does to the picture of a pinhole of that hfov_deg."""

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 16384 and 1 <= self.height <= 16384):
            raise ValueError('width and height must be between 1 and 16384')
        if not 0.1 <= self.rate_hz <= 1000.0:
            raise ValueError('rate_hz must be between 0.1 and 1000')
        if not 1.0 <= self.hfov_deg <= 150.0:
            raise ValueError('hfov_deg must be between 1 and 150')
        if abs(self.readout_s) > min(0.1, 1.0 / self.rate_hz):
            raise ValueError('readout_s must be between -0.1 and 0.1, and not longer than a frame (1 / rate_hz)')
        if len(self.distortion) not in {0, 4, 5}:
            raise ValueError('distortion must be k1, k2, p1, p2, or these and k3; leave it out for a straight lens')

    @property
    def intrinsics(self) -> Intrinsics:
        """Square pixels, the principal point in the middle of the picture."""
        f = self.width / 2.0 / math.tan(math.radians(self.hfov_deg) / 2.0)
        cx, cy = (self.width - 1) / 2.0, (self.height - 1) / 2.0
        return Intrinsics(self.width, self.height, f, f, cx, cy, self.distortion)

    @property
    def rate(self) -> Fraction:
        """Exact frames per second, so that the frame grid never drifts."""
        return Fraction(self.rate_hz).limit_denominator(1001)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """All there is to know of one frame."""

    index: int
    """Number of the frame on the grid, counted from the epoch."""
    time_s: float
    """World time of the middle of the exposure, of the middle row where the shutter rolls."""
    landmarks: NDArray[np.float32]
    """(5, 2) left eye, right eye, nose, left and right mouth corner as seen in the image, pixels; may lie outside."""
    box: tuple[float, float, float, float]
    """Left, top, width, height of the face, pixels; may reach beyond the frame."""
    image_from_plane: Floats
    """(3, 3) homography: (x, y, 1) on the plane of the face in metres (see ``scene.Canvas``) to pixels.

    Without the bending of the lens, and as of the middle row: where either matters, ask ``World.see_face``."""
    lux: float
    warmth: float
    exposure_s: float
    gain: float
    rotation: Floats
    """(3, 3) R_world_from_optical."""
    angular_velocity: Floats
    """(3,) of the camera, in the optical frame, rad/s."""
    position: Floats
    """(3,) of the camera in the world, metres."""


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
    face: MovingFace | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit together."""
        if not 0.1 <= self.period_s <= 3600.0:
            raise ValueError('period_s must be between 0.1 and 3600')
        if self.seed < 0:
            raise ValueError('seed must be a whole number of at least 0')
        if (self._period * self.camera.rate).denominator != 1:
            raise ValueError('period_s x camera.rate_hz must be a whole number of frames')
        self.light.check_period(self.period_s)
        times = np.arange(self.frames) / float(self.camera.rate)
        if not self.scene.rides:
            self._check_wall(times)
        if self.face is not None:
            self._check_face(self.face, times)

    def _check_wall(self, times: Floats) -> None:
        rays = self.trajectory.rotation(times) @ self.view.border_rays().T
        if (rays[:, 2] / np.linalg.norm(rays, axis=1)).min() < _LEAST_DEPTH:
            raise ValueError(
                'the motion turns the camera so far that it looks past the wall; lessen motion or hfov_deg'
            )
        if self.trajectory.position(times)[:, 2].max() > self.scene.distance_m - _NEAREST_M:
            raise ValueError('the motion moves the camera into the wall; lessen motion or raise scene.distance_m')

    def _check_face(self, face: MovingFace, times: Floats) -> None:
        turns, moves = self._face_trajectory.rotation(times), self._face_trajectory.position(times)
        centre = moves + np.array((*self.scene.face_at_m, face.distance_m))
        towards, axis = centre, turns[:, :, 2]
        if not face.rides:
            towards = np.einsum('nji,nj->ni', self.trajectory.rotation(times), centre - self.trajectory.position(times))
            axis = np.einsum('nji,nj->ni', self.trajectory.rotation(times), axis)
            if not self.scene.rides and centre[:, 2].max() > self.scene.distance_m:
                raise ValueError('the face is behind the wall; lessen face.distance_m or face.motion')
        if towards[:, 2].min() < _NEAREST_M:
            raise ValueError('the face is too near the camera; lessen motion or raise face.distance_m')
        if ((towards * axis).sum(axis=1) / np.linalg.norm(towards, axis=1)).min() < _LEAST_COSINE:
            raise ValueError('the face turns away from the camera; lessen face.motion or motion')

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
    def _face_trajectory(self) -> Trajectory:
        return Trajectory(self.face.motion if self.face else Motion(), self.period_s, self.seed, stream=6)

    @cached_property
    def view(self) -> View:
        """How the camera sees planes."""
        return View(self.camera.intrinsics, self.camera.readout_s)

    @cached_property
    def gyro(self) -> Gyro:
        """The gyroscope with all that ``imu`` says is wrong with it."""
        return Gyro(self.imu, self.trajectory, self.seed)

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
        if self.trajectory.translates:
            force = force + self.trajectory.acceleration(t_s) @ self.rotation(t_s) @ self.optical_from_imu
        return force

    def lux(self, t_s: float) -> float:
        """Illuminance at world time t_s, on the face and on the light sensor."""
        return float(self.light.at(np.asarray(t_s), self.period_s)[0])

    # Pictures

    @cached_property
    def canvas(self) -> Canvas:
        """The painted wall, made on first use (about half a second); raises SceneError without its photograph."""
        return self._canvases[0]

    @property
    def head(self) -> Canvas | None:
        """The cut-out head in front of the wall, where there is one; raises SceneError as ``canvas`` does."""
        return self._canvases[1]

    @cached_property
    def _canvases(self) -> tuple[Canvas, Canvas | None]:
        if self.face is None:
            return self._resolved(paint(self.scene, self.seed), self.scene.distance_m), None
        wall, head = paint_apart(self.scene, self.seed)
        return self._resolved(wall, self.scene.distance_m), self._resolved(head, self.face.distance_m)

    def _resolved(self, canvas: Canvas, distance_m: float) -> Canvas:
        canvas_px_per_px = distance_m / self.camera.intrinsics.fx / canvas.plane_from_canvas[0, 0]
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

    def wall_pose(self, t_s: Floats) -> tuple[Floats, Floats]:
        """Pose of the wall, as ``View`` takes it: times (...) to two arrays (..., 3, 3)."""
        offset = np.zeros((*t_s.shape, 3, 3))
        offset[..., 0, 0] = offset[..., 1, 1] = 1.0
        offset[..., 2, 2] = self.scene.distance_m
        if self.scene.rides:
            return np.broadcast_to(np.eye(3), offset.shape), offset
        offset[..., 2] -= self.trajectory.position(t_s)
        return self.trajectory.rotation(t_s), offset

    def face_pose(self, t_s: Floats) -> tuple[Floats, Floats]:
        """Pose of the plane with the face on it, as ``View`` takes it; the wall's where the face hangs on the wall."""
        if self.face is None:
            return self.wall_pose(t_s)
        offset = self._face_trajectory.rotation(t_s)
        pivot = np.array((*self.scene.face_at_m, 0.0))
        place = self._face_trajectory.position(t_s) + pivot + (0.0, 0.0, self.face.distance_m)
        offset[..., 2] = place - offset @ pivot
        if self.face.rides:
            return np.broadcast_to(np.eye(3), offset.shape), offset
        offset[..., 2] -= self.trajectory.position(t_s)
        return self.trajectory.rotation(t_s), offset

    def see_face(self, points_m: Floats, t_s: float) -> Floats:
        """(n, 2) pixels where points (n, 2) of the face's plane are seen in a picture taken at any world time; exact.

        With lens, parallax and rolling shutter, in which each point has the time of the row that shows it.
        """
        return self.view.see(self.face_pose, points_m, t_s)

    def landmarks_at(self, t_s: float) -> Floats:
        """(5, 2) where the face's landmarks are in a picture taken at any world time, frame or not, pixels."""
        return self.see_face((self.head or self.canvas).landmarks_m, t_s)

    def truth(self, index: int) -> Truth:
        """Tell what is true of a frame; raises SceneError where the scene's photograph cannot be had."""
        t = self.frame_time_s(index)
        corners = self.see_face((self.head or self.canvas).face_corners_m, t)
        low, high = corners.min(axis=0), corners.max(axis=0)
        lux, warmth = self.light.at(np.asarray(t), self.period_s)
        exposure_s, gain = self._exposures
        return Truth(
            index=index,
            time_s=t,
            landmarks=self.landmarks_at(t).astype(np.float32),
            box=(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])),
            image_from_plane=self.view.homography(self.face_pose, t),
            lux=float(lux),
            warmth=float(warmth),
            exposure_s=float(exposure_s[index % self.frames]),
            gain=float(gain[index % self.frames]),
            rotation=self.rotation(t),
            angular_velocity=self.angular_velocity_optical(t),
            position=self.trajectory.position(t),
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
        whole = (0, 0, camera.width, camera.height)
        self.view.draw(self.canvas, self.wall_pose, truth.time_s, whole, outside=cv2.BORDER_REFLECT_101, out=out)
        if self.head is not None:
            self._lay(self.head, truth.time_s, out)
        self._add_noise(out, index % self.frames, camera.sensor.noise(truth.lux, truth.exposure_s))
        white = camera.sensor.white(truth.lux, truth.exposure_s, truth.gain)
        tint = white * np.array([1.0 - truth.warmth, 1.0, 1.0 + truth.warmth])
        table = np.rint(255.0 * srgb_encode(self._linear[:, None] * tint)).astype(np.uint8)
        cv2.LUT(out, table.reshape(1, 256, 3), dst=out)
        return truth

    def _lay(self, head: Canvas, t_s: float, out: NDArray[np.uint8]) -> None:
        """Lay the head over the wall."""
        height, width = head.pixels.shape[:2]
        half = np.array([width, height]) / 2.0
        outline = (half - 0.5 + _OUTLINE * half) @ head.plane_from_canvas[:2, :2].T + head.plane_from_canvas[:2, 2]
        seen = self.see_face(outline, t_s)
        left, top = np.maximum(np.floor(seen.min(axis=0)) - 2.0, 0.0).astype(int)
        right, bottom = np.minimum(np.ceil(seen.max(axis=0)) + 3.0, out.shape[1::-1]).astype(int)
        if left >= right or top >= bottom:
            return
        box = (int(left), int(top), int(right), int(bottom))
        drawn = self.view.draw(head, self.face_pose, t_s, box, outside=cv2.BORDER_CONSTANT)
        behind = out[top:bottom, left:right]
        cover = cv2.cvtColor(255 - drawn[:, :, 3], cv2.COLOR_GRAY2BGR)
        cv2.add(cv2.multiply(behind, cover, scale=1.0 / 255.0), drawn[:, :, :3], dst=behind)

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
