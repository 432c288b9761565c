"""Where a face went between two frames: predicted from the gyro, finished by the picture.

Three things move a face in the picture: the camera turns, which the gyro feels at once; the camera shifts or the face
moves, which only pictures show; and a vehicle that carries both, which the gyro feels and the face does not show.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.blending import motion
from facefusion_ros.errors import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from facefusion_ros.faces.face import Face
    from facefusion_ros.frames.intrinsics import Intrinsics

Rotation = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

IDENTITY_MOUNTING: Rotation = ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0))
"""IMU body (REP-103: x forward, y left, z up) to optical frame (x right, y down, z into the picture)."""

_NINE = np.array([(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)])


@dataclass(frozen=True, slots=True)
class AlignmentSettings:
    """How faces are kept in place; what is known of gyro and camera is where self-calibration starts from."""

    gyro: bool = True
    """Whether the gyro predicts where a face went."""
    flow: bool = True
    """Whether the picture finishes what was predicted."""
    gate: bool = True
    """Whether the gyro is believed only as far as the face follows it; else wholly."""
    calibrate: bool = True
    """Whether time offset, rotation and bias are estimated while running."""
    r_optical_imu: Rotation = IDENTITY_MOUNTING
    """Rotation that takes a vector of the IMU frame to the optical frame, row by row."""
    time_offset_s: float = 0.0
    """What the gyro's clock shows when the camera's shows 0: stamp of a gyro reading = stamp of a frame taken at the
    same moment + time_offset_s (Kalibr's ``timeshift_cam_imu``, t_imu = t_cam + shift)."""
    gyro_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What the gyro reads at rest, rad/s in the IMU frame."""
    readout_s: float = 0.0
    """Time from the exposure of the first row to that of the last, of a rolling shutter; negative where the last row
    comes first. A frame's stamp is that of its middle row; a driver that stamps another row shifts time_offset_s."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        rotation = np.asarray(self.r_optical_imu, np.float64)
        proper = rotation.shape == (3, 3) and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        bias = np.asarray(self.gyro_bias, np.float64)
        require(
            self,
            {
                'r_optical_imu must be a rotation, three orthonormal right-handed rows': bool(
                    proper and np.linalg.det(rotation) > 0
                ),
                'time_offset_s must be -0.2 to 0.2': -0.2 <= self.time_offset_s <= 0.2,
                'gyro_bias must be three numbers of -0.5 to 0.5': bias.shape == (3,) and bool(np.all(abs(bias) <= 0.5)),
                'readout_s must be -0.1 to 0.1': -0.1 <= self.readout_s <= 0.1,
            },
        )


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What is known by now; each sigma is one standard deviation, infinite where nothing was learned yet."""

    time_offset_s: float
    time_offset_sigma_s: float
    r_optical_imu: NDArray[np.float64]
    """(3, 3) rotation of a vector from the IMU frame to the optical frame."""
    rotation_sigma_rad: float
    """Of the rotation about its worst known axis."""
    gyro_bias: NDArray[np.float64]
    """(3,) rad/s in the IMU frame."""
    gyro_bias_sigma_rad_s: float
    """Of the worst known axis."""
    background_coupling: float = 1.0
    """How much of the camera's rotation the picture around the faces shows; 0 for the inside of a vehicle."""
    couplings: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """How much of it each face shows, by track id; 0 for a face that rides along with the camera."""


class Alignment:
    """Follows faces from the frame they were measured in to any later one, and calibrates gyro to camera meanwhile.

    ``observe_rotation`` may be called by any one thread; everything else belongs to the thread that sees the frames.
    ``settings`` and ``camera`` may be replaced at any time. Without a camera model the gyro is not used; without a gyro
    the picture alone is; without either a face stays where it was measured.
    """

    def __init__(self, settings: AlignmentSettings | None = None, camera: Intrinsics | None = None) -> None:
        self.settings = settings or AlignmentSettings()
        self.camera = camera
        self._rotations = motion.Rotations()
        self._size = (0, 0)

    def observe_rotation(self, stamp_ns: int, angular_velocity: ArrayLike) -> None:
        """Take a reading of the gyro, (3,) rad/s in the IMU frame, stamped in the middle of its integration."""
        self._rotations.observe(stamp_ns, angular_velocity)

    def observe_frame(self, pixels: NDArray[np.uint8], stamp_ns: int, faces: Sequence[Face] = ()) -> None:
        """Look at a frame, once and in the order of the stamps: (height, width, 3) BGR or (height, width) grey, uint8.

        ``faces`` are those known to be in this frame, with ``measured_ns`` equal to the stamp where they were measured
        in it. What is needed of the pixels is kept in a smaller picture; they may change afterwards.
        """
        self._size = (pixels.shape[1], pixels.shape[0])

    def motion(self, face: Face, stamp_ns: int) -> NDArray[np.float64] | None:
        """(2, 3) affine map from pixels of the frame in which a face was measured to pixels of the frame of that stamp.

        It holds on and about the face's landmarks. Both frames were given to ``observe_frame``, else the picture can
        finish nothing; None where nothing is known of the motion: the face is best left where it is.
        """
        settings, camera, since_ns = self.settings, self.camera, face.measured_ns
        if not settings.gyro or camera is None or not 0 < since_ns < stamp_ns:
            return None
        width, height = self._size if self._size[0] else (camera.width, camera.height)
        offset_ns = round(settings.time_offset_s * 1e9)
        margin_ns = offset_ns + motion.MAX_GAP_NS
        stamps_ns, rates = self._rotations.snapshot(since_ns - margin_ns, stamp_ns + margin_ns)
        optical_rates = (rates - np.asarray(settings.gyro_bias)) @ np.asarray(settings.r_optical_imu).T
        points = _about(face)
        moved = motion.displaced(
            points,
            since_ns,
            stamp_ns,
            (stamps_ns - offset_ns, optical_rates),
            camera.scaled(width, height),
            motion.Shutter(height, settings.readout_s),
        )
        return None if moved is None else motion.affine_between(points, moved)

    def steady(self, faces: Sequence[Face], stamp_ns: int) -> tuple[Face, ...]:
        """Return the faces of the frame of that stamp with landmarks freed of their jitter, in the same order.

        The smoothing takes place in a picture that the camera's rotation does not move, so that it need not choose
        between a face that shakes and one that lags. Call it once per frame, after ``observe_frame``.
        """
        return tuple(replace(face) for face in faces)

    @property
    def estimate(self) -> Estimate:
        """What is known by now of gyro and camera, and of how much of the camera's rotation is to be seen."""
        settings = self.settings
        return Estimate(
            time_offset_s=settings.time_offset_s,
            time_offset_sigma_s=np.inf,
            r_optical_imu=np.asarray(settings.r_optical_imu, np.float64),
            rotation_sigma_rad=np.inf,
            gyro_bias=np.asarray(settings.gyro_bias, np.float64),
            gyro_bias_sigma_rad_s=np.inf,
        )


def _about(face: Face) -> NDArray[np.float64]:
    """(9, 2) points on and about a face, pixels."""
    low, high = face.landmarks.min(axis=0).astype(np.float64), face.landmarks.max(axis=0).astype(np.float64)
    middle, reach = 0.5 * (low + high), 0.75 * float((high - low).max())
    points: NDArray[np.float64] = middle + reach * _NINE
    return points
