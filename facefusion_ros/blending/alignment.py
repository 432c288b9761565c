"""Where a face went between two frames: predicted from the gyro, finished by the picture.

Three things move a face in the picture: the camera turns, which the gyro feels at once; the camera shifts or the face
moves, which only pictures show; and a vehicle that carries both, which the gyro feels and the face does not show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facefusion_ros.blending import motion
from facefusion_ros.blending.coupling import Coupling
from facefusion_ros.blending.gyro_calibration import Calibration
from facefusion_ros.blending.pictures import Pictures
from facefusion_ros.blending.residual import Reference
from facefusion_ros.blending.self_calibration import SelfCalibration
from facefusion_ros.blending.tracks import MAX_TRACKS
from facefusion_ros.blending.visual_turn import VisualTurn, row_turns, turn_of
from facefusion_ros.errors import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from facefusion_ros.blending.visual_turn import Matches
    from facefusion_ros.faces.face import Face
    from facefusion_ros.frames.intrinsics import Intrinsics

Rotation = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

IDENTITY_MOUNTING: Rotation = ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0))
"""IMU body (REP-103: x forward, y left, z up) to optical frame (x right, y down, z into the picture)."""

Readings = tuple[NDArray[np.int64], NDArray[np.float64]]

MARGIN_NS = 100_000_000
FORGOTTEN_NS = 1_000_000_000
"""After this a face is taken for one that was never seen."""
ALIKE_PX = 1.5
"""Predictions that are no further apart are not both tried."""
STILL = np.eye(2, 3)
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


@dataclass(slots=True, eq=False)
class _Known:
    """One face: where it was measured last, and what was learned of it."""

    centre: NDArray[np.float64]
    measured_ns: int
    coupling: Coupling
    reference: Reference | None = None
    reference_ns: int = 0


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
        self._pictures = Pictures()
        self._visual_turn = VisualTurn()
        self._seen_ns = 0
        self._passed_over = False
        self._known: dict[int, _Known] = {}
        self._start_settings = self.settings
        self._start = _given(self.settings)
        self._self_calibration = SelfCalibration(self._start)

    def observe_rotation(self, stamp_ns: int, angular_velocity: ArrayLike) -> None:
        """Take a reading of the gyro, (3,) rad/s in the IMU frame, stamped in the middle of its integration."""
        self._rotations.observe(stamp_ns, angular_velocity)

    def observe_frame(self, pixels: NDArray[np.uint8], stamp_ns: int, faces: Sequence[Face] = ()) -> None:
        """Look at a frame, once and in the order of the stamps: (height, width, 3) BGR or (height, width) grey, uint8.

        ``faces`` are the newest known, each with the ``measured_ns`` of the frame it was measured in: this one, or an
        earlier one where finding them takes time. What is needed of the pixels is kept in a smaller picture; they
        may change afterwards.
        """
        if stamp_ns <= self._seen_ns:
            self._known.clear()
            self._visual_turn.reset()
        picture = self._pictures.keep(pixels, stamp_ns)
        before_ns, self._seen_ns = self._seen_ns, stamp_ns
        settings, camera = self.settings, self._camera()
        if settings.gyro and settings.calibrate and camera is not None and self._rotations.begun:
            matches = self._visual_turn.advance(picture, faces, camera)
            self._calibration()  # starts anew where the settings changed
            self._passed_over = self._self_calibration.settled and not self._passed_over
            if matches is not None and not self._passed_over:
                turn = self._turn(matches, camera, before_ns, stamp_ns)
                if turn is not None:
                    self._self_calibration.add(before_ns, stamp_ns, turn, self._rotations)
        for face in faces:
            self._learn(face)

    def motion(self, face: Face, stamp_ns: int) -> NDArray[np.float64] | None:
        """(2, 3) affine map from pixels of the frame in which a face was measured to pixels of the frame of that stamp.

        It holds on and about the face's landmarks. Both frames were given to ``observe_frame``, else the picture can
        finish nothing; None where nothing is known of the motion: the face is best left where it is.
        """
        settings, since_ns = self.settings, face.measured_ns
        if not (settings.gyro or settings.flow) or not 0 < since_ns < stamp_ns:
            return None
        known = self._learn(face)
        turned = self._turn_about(face, stamp_ns)
        predictions = _predictions(turned, face, known, 1e-9 * (stamp_ns - since_ns), gate=settings.gate)
        if settings.flow:
            finished = self._finish(face, known, stamp_ns, predictions)
            if finished is not None:
                return finished
        return None if turned is None else predictions[0]

    @property
    def estimate(self) -> Estimate:
        """What is known by now of gyro and camera, and of how much of the camera's rotation is to be seen."""
        calibration = self._calibration()
        return Estimate(
            time_offset_s=calibration.time_offset_s,
            time_offset_sigma_s=calibration.time_offset_sigma_s,
            r_optical_imu=calibration.r_optical_imu,
            rotation_sigma_rad=calibration.rotation_sigma_rad,
            gyro_bias=calibration.gyro_bias,
            gyro_bias_sigma_rad_s=calibration.gyro_bias_sigma_rad_s,
            background_coupling=calibration.scale,
            couplings=MappingProxyType({track_id: known.coupling.share for track_id, known in self._known.items()}),
        )

    def _calibration(self) -> Calibration:
        given = self.settings
        if not _same(given, self._start_settings):
            self._start_settings = given
            self._start = _given(given)
            self._self_calibration = SelfCalibration(self._start)
        return self._self_calibration.calibration if given.calibrate else self._start

    def _camera(self) -> Intrinsics | None:
        """Return the camera model of frames of the size that is seen."""
        camera, size = self.camera, self._pictures.frame_size
        return camera if camera is None or size in {(0, 0), (camera.width, camera.height)} else camera.scaled(*size)

    def _readings(self, begin_ns: int, end_ns: int) -> Readings:
        """Stamps (n,) of the camera's clock, and rates (n, 3) rad/s in the optical frame, around those two times."""
        calibration = self._calibration()
        offset_ns = round(calibration.time_offset_s * 1e9)
        stamps_ns, rates = self._rotations.snapshot(begin_ns + offset_ns - MARGIN_NS, end_ns + offset_ns + MARGIN_NS)
        return stamps_ns - offset_ns, (rates - calibration.gyro_bias) @ calibration.r_optical_imu.T

    def _turned(self, points: NDArray[np.float64], since_ns: int, stamp_ns: int) -> NDArray[np.float64] | None:
        """Where the camera's rotation took points (n, 2); None where it is not known."""
        camera = self._camera()
        if camera is None or not self.settings.gyro:
            return None
        shutter = motion.Shutter(camera.height, self.settings.readout_s)
        readings = self._readings(since_ns, stamp_ns)
        return motion.displaced(points, since_ns, stamp_ns, readings, camera, shutter)

    def _turn_about(self, face: Face, stamp_ns: int) -> NDArray[np.float64] | None:
        """(2, 3) affine map by which the camera's rotation took what is on and about a face; None where unknown."""
        low, high = face.landmarks.min(axis=0).astype(np.float64), face.landmarks.max(axis=0).astype(np.float64)
        middle, reach = 0.5 * (low + high), max(0.75 * float((high - low).max()), 1.0)
        moved = self._turned(middle + reach * _NINE, face.measured_ns, stamp_ns)
        if moved is None:
            return None
        # The least squares of a square grid of nine: its axes have a square sum of six.
        affine = np.empty((2, 3))
        affine[:, :2] = moved.T @ _NINE / (6.0 * reach)
        affine[:, 2] = moved.sum(axis=0) / 9.0 - affine[:, :2] @ middle
        return affine

    def _turn(self, matches: Matches, camera: Intrinsics, before_ns: int, stamp_ns: int) -> NDArray[np.float64] | None:
        """(3,) by how much the camera turned between two frames, rad, optical frame; None where they do not tell."""
        readings = self._readings(before_ns, stamp_ns) if self.settings.readout_s else None
        if readings is None or len(readings[0]) == 0:
            return turn_of(matches, camera)
        shutter = motion.Shutter(camera.height, self.settings.readout_s)
        return turn_of(matches, camera, row_turns(matches, before_ns, stamp_ns, motion.GyroAngle(*readings), shutter))

    def _learn(self, face: Face) -> _Known | None:
        """Take note of where a face was measured; returns what is known of it, None for one without a track."""
        if face.track_id == 0 or face.measured_ns <= 0:
            return None
        known = self._known.get(face.track_id)
        if known is None or not -FORGOTTEN_NS < face.measured_ns - known.measured_ns < FORGOTTEN_NS:
            for track_id, other in list(self._known.items()):
                if face.measured_ns - other.measured_ns > FORGOTTEN_NS or len(self._known) >= MAX_TRACKS:
                    del self._known[track_id]
            known = self._known[face.track_id] = _Known(_centre(face), face.measured_ns, Coupling(_width(face)))
        elif face.measured_ns > known.measured_ns:
            centre = _centre(face)
            moved = self._turned(known.centre[None], known.measured_ns, face.measured_ns)
            turned_px = np.zeros(2) if moved is None else moved[0] - known.centre
            dt_s = 1e-9 * (face.measured_ns - known.measured_ns)
            known.coupling.observe(centre - known.centre, turned_px, dt_s, _width(face))
            known.centre, known.measured_ns = centre, face.measured_ns
        return known

    def _finish(
        self, face: Face, known: _Known | None, stamp_ns: int, predictions: Sequence[NDArray[np.float64]]
    ) -> NDArray[np.float64] | None:
        """Find the face in the picture; None where the picture does not tell."""
        pictures = self._pictures
        earlier, later = pictures.at(face.measured_ns), pictures.at(stamp_ns)
        if earlier is None or later is None:
            return None
        if known is not None and known.reference is not None and known.reference_ns == face.measured_ns:
            reference = known.reference
        else:
            try:
                reference = Reference(earlier, pictures.reduce(face.landmarks.astype(np.float64)))
            except ValueError:
                return None
            if known is not None:
                known.reference, known.reference_ns = reference, face.measured_ns
        finished = reference.find(later, [pictures.reduced_map(prediction) for prediction in predictions])
        return None if finished is None else pictures.restored_map(finished.motion)


def _given(settings: AlignmentSettings) -> Calibration:
    """Return what the settings say of gyro and camera."""
    return Calibration(
        settings.time_offset_s,
        np.asarray(settings.r_optical_imu, np.float64),
        np.asarray(settings.gyro_bias, np.float64),
    )


def _same(settings: AlignmentSettings, other: AlignmentSettings) -> bool:
    """Whether both start from the same calibration."""
    return (settings.r_optical_imu, settings.time_offset_s, settings.gyro_bias, settings.readout_s) == (
        other.r_optical_imu,
        other.time_offset_s,
        other.gyro_bias,
        other.readout_s,
    )


def _predictions(
    turned: NDArray[np.float64] | None, face: Face, known: _Known | None, dt_s: float, *, gate: bool
) -> list[NDArray[np.float64]]:
    """Affine maps (2, 3) by which a face may have moved, the likeliest first."""
    predictions = [] if turned is None else [turned]
    if gate and known is not None:
        whole = STILL if turned is None else turned
        centre = _centre(face)
        turned_px = whole[:, :2] @ centre + whole[:, 2] - centre
        went_px = known.coupling.predict_px(turned_px, dt_s)
        gated = STILL + min(known.coupling.share, 1.0) * (whole - STILL)
        gated[:, 2] = centre + went_px - gated[:, :2] @ centre
        if not predictions or float(np.abs(went_px - turned_px).max()) > ALIKE_PX:
            predictions.insert(0, gated)
        else:
            predictions[0] = gated
    if not predictions or turned is not None:
        predictions.append(STILL)
    return predictions


def _centre(face: Face) -> NDArray[np.float64]:
    """(2,) middle of a face's landmarks, pixels."""
    centre: NDArray[np.float64] = face.landmarks.sum(axis=0, dtype=np.float64) / len(face.landmarks)
    return centre


def _width(face: Face) -> float:
    """Width of a face, pixels, by its landmarks: they are 0.6 of it apart at most."""
    return max(1.6 * float(np.ptp(face.landmarks, axis=0).max()), 1.0)
