"""How the simulated head turns and moves: sums of sines, saccades and vibration, all periodic, all known exactly.

The world frame coincides with the camera's optical frame (x right, y down, z into the picture) while all angles are 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facefusion_ros.sim.pulse import pulse, pulse_rate

Floats = NDArray[np.float64]

GRAVITY_M_S2 = 9.80665
"""Standard gravity (CGPM 1901)."""

OPTICAL_FROM_IMU = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""(3, 3) rotation of a vector from a REP-103 body frame (x forward, y left, z up) into the optical frame."""

_VIBRATION_TONES = 9
"""Tones per axis; enough that the sum shows no beat a person would call regular."""

_DIFFERENCE_S = 1e-3


@dataclass(frozen=True, slots=True)
class Tone:
    """A sine: amplitude, whole cycles per period of the world, phase at world time 0."""

    amplitude_deg: float
    cycles: int
    phase_deg: float = 0.0

    def __post_init__(self) -> None:
        if self.cycles < 1:
            raise ValueError('cycles must be a whole number of 1 or more')


@dataclass(frozen=True, slots=True)
class Sway:
    """A sine of the place: amplitude, whole cycles per period of the world, phase at world time 0."""

    amplitude_m: float
    cycles: int
    phase_deg: float = 0.0

    def __post_init__(self) -> None:
        if self.cycles < 1:
            raise ValueError('cycles must be a whole number of 1 or more')


@dataclass(frozen=True, slots=True)
class Saccade:
    """A quick turn at ``at_s``, taking ``turn_s``, a rest of ``hold_s``, and the turn back."""

    at_s: float
    turn_s: float
    hold_s: float
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0

    def __post_init__(self) -> None:
        if self.turn_s <= 0.0 or self.hold_s < 0.0 or self.at_s < 0.0:
            raise ValueError('turn_s must be above 0, at_s and hold_s at least 0')


@dataclass(frozen=True, slots=True)
class Vibration:
    """Shaking of small amplitude: the root mean square per axis, spread over a band of frequencies."""

    rms_deg: float
    low_hz: float
    high_hz: float

    def __post_init__(self) -> None:
        if self.rms_deg < 0.0 or not 0.0 < self.low_hz < self.high_hz:
            raise ValueError('rms_deg must be at least 0 and low_hz between 0 and high_hz')


@dataclass(frozen=True, slots=True)
class Motion:
    """All that turns and moves the camera, or a face; the parts add up."""

    yaw: tuple[Tone, ...] = ()
    """Positive turns the view to the right."""
    pitch: tuple[Tone, ...] = ()
    """Positive turns the view up."""
    roll: tuple[Tone, ...] = ()
    """Positive turns the camera clockwise, as seen from behind it."""
    saccades: tuple[Saccade, ...] = ()
    vibration: Vibration | None = None
    right: tuple[Sway, ...] = ()
    """Along x of the world."""
    down: tuple[Sway, ...] = ()
    """Along y of the world."""
    forward: tuple[Sway, ...] = ()
    """Along z of the world, away from the camera at rest."""
    lever_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Right, down, forward: where it is from the point about which it turns; that point takes part in no turn."""


class Trajectory:
    """Rotation, angular velocity and place as functions of world time."""

    def __init__(self, motion: Motion, period_s: float, seed: int, stream: int = 1) -> None:
        """Raise ValueError where the motion does not fit into the period; stream parts the vibration of two things."""
        for saccade in motion.saccades:
            if saccade.at_s + 2.0 * saccade.turn_s + saccade.hold_s > period_s:
                raise ValueError(f'motion: the saccade at {saccade.at_s} s is not over within period_s ({period_s} s)')
        self._period_s = period_s
        self._saccades = motion.saccades
        tones = [[*motion.yaw], [*motion.pitch], [*motion.roll]]
        if motion.vibration is not None:
            rng = np.random.default_rng([seed, stream])
            for axis in tones:
                axis.extend(_vibration_tones(motion.vibration, period_s, rng))
        self._amplitude, self._omega, self._phase = _series(
            [[(math.radians(t.amplitude_deg), t.cycles, t.phase_deg) for t in axis] for axis in tones], period_s
        )
        self._sway = _series(
            [
                [(t.amplitude_m, t.cycles, t.phase_deg) for t in axis]
                for axis in (motion.right, motion.down, motion.forward)
            ],
            period_s,
        )
        self._lever = np.array(motion.lever_m)
        self.translates = bool(self._sway[0].any() or self._lever.any())
        """Whether the place ever changes."""

    def angles(self, t_s: Floats | float) -> Floats:
        """(..., 3) yaw, pitch, roll in rad at the times (...) in s."""
        t = np.mod(np.asarray(t_s, dtype=np.float64), self._period_s)
        angles: Floats = (self._amplitude * np.sin(self._omega * t[..., None, None] + self._phase)).sum(axis=-1)
        for s in self._saccades:
            height = np.radians(pulse(t, s.at_s, s.at_s + s.turn_s + s.hold_s, s.turn_s))
            angles[..., 0] += s.yaw_deg * height
            angles[..., 1] += s.pitch_deg * height
        return angles

    def rates(self, t_s: Floats | float) -> Floats:
        """(..., 3) derivatives of ``angles``, rad/s."""
        t = np.mod(np.asarray(t_s, dtype=np.float64), self._period_s)
        tones = self._amplitude * self._omega * np.cos(self._omega * t[..., None, None] + self._phase)
        rates: Floats = tones.sum(axis=-1)
        for s in self._saccades:
            slope = np.radians(pulse_rate(t, s.at_s, s.at_s + s.turn_s + s.hold_s, s.turn_s))
            rates[..., 0] += s.yaw_deg * slope
            rates[..., 1] += s.pitch_deg * slope
        return rates

    def rotation(self, t_s: Floats | float) -> Floats:
        """(..., 3, 3) R_world_from_optical = Ry(yaw) Rx(pitch) Rz(roll): a vector's optical to world coordinates."""
        return rotation_from_angles(self.angles(t_s))

    def position(self, t_s: Floats | float) -> Floats:
        """(..., 3) place in world coordinates, metres: right, down, forward of where it is while all angles are 0."""
        t = np.mod(np.asarray(t_s, dtype=np.float64), self._period_s)
        amplitude, omega, phase = self._sway
        swayed: Floats = (amplitude * np.sin(omega * t[..., None, None] + phase)).sum(axis=-1)
        if self._lever.any():
            swayed = swayed + (self.rotation(t) @ self._lever - self._lever)
        return swayed

    def acceleration(self, t_s: Floats | float) -> Floats:
        """(..., 3) second derivative of ``position``, m/s^2, by a difference of fourth order (error below 1e-4)."""
        h = _DIFFERENCE_S
        t = np.asarray(t_s, dtype=np.float64)
        outer = self.position(t + 2.0 * h) + self.position(t - 2.0 * h)
        inner = self.position(t + h) + self.position(t - h)
        acceleration: Floats = (16.0 * inner - outer - 30.0 * self.position(t)) / (12.0 * h * h)
        return acceleration

    def angular_velocity(self, t_s: Floats | float) -> Floats:
        """(..., 3) angular velocity of the camera in the optical frame, rad/s; exact.

        From R = Ry(yaw) Rx(pitch) Rz(roll): omega = Rz' (Rx' (yaw_rate e_y) + pitch_rate e_x) + roll_rate e_z.
        """
        angles, rates = self.angles(t_s), self.rates(t_s)
        sin, cos = np.sin(angles), np.cos(angles)
        x = rates[..., 1]
        y = rates[..., 0] * cos[..., 1]
        z = -rates[..., 0] * sin[..., 1] + rates[..., 2]
        return np.stack((cos[..., 2] * x + sin[..., 2] * y, cos[..., 2] * y - sin[..., 2] * x, z), axis=-1)


def rotation_from_angles(angles: Floats) -> Floats:
    """(..., 3, 3) Ry(yaw) Rx(pitch) Rz(roll) in optical axes, from (..., 3) yaw, pitch, roll in rad."""
    (sy, sp, sr), (cy, cp, cr) = np.moveaxis(np.sin(angles), -1, 0), np.moveaxis(np.cos(angles), -1, 0)
    rotation = np.empty((*np.shape(angles)[:-1], 3, 3))
    rotation[..., 0, 0] = cy * cr + sy * sp * sr
    rotation[..., 0, 1] = sy * sp * cr - cy * sr
    rotation[..., 0, 2] = sy * cp
    rotation[..., 1, 0] = cp * sr
    rotation[..., 1, 1] = cp * cr
    rotation[..., 1, 2] = -sp
    rotation[..., 2, 0] = cy * sp * sr - sy * cr
    rotation[..., 2, 1] = sy * sr + cy * sp * cr
    rotation[..., 2, 2] = cy * cp
    return rotation


def rotation_from_rpy(roll: float, pitch: float, yaw: float) -> Floats:
    """(3, 3) Rz(yaw) Ry(pitch) Rx(roll) from fixed-axis angles in rad, as in URDF and REP-103."""
    sr, sp, sy = math.sin(roll), math.sin(pitch), math.sin(yaw)
    cr, cp, cy = math.cos(roll), math.cos(pitch), math.cos(yaw)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def _series(axes: list[list[tuple[float, int, float]]], period_s: float) -> tuple[Floats, Floats, Floats]:
    """(3, n) amplitude, angular frequency in rad/s and phase in rad of (amplitude, cycles, phase in degrees)."""
    count = max(1, *map(len, axes))
    # Axes without as many tones have some of amplitude 0.
    amplitude, omega, phase = np.zeros((3, 3, count))
    for i, axis in enumerate(axes):
        for j, (height, cycles, phase_deg) in enumerate(axis):
            amplitude[i, j] = height
            omega[i, j] = 2.0 * math.pi * cycles / period_s
            phase[i, j] = math.radians(phase_deg)
    return amplitude, omega, phase


def _vibration_tones(vibration: Vibration, period_s: float, rng: np.random.Generator) -> list[Tone]:
    cycles = np.arange(math.ceil(vibration.low_hz * period_s), math.floor(vibration.high_hz * period_s) + 1)
    if not len(cycles):
        raise ValueError('motion: vibration needs at least one multiple of 1/period_s between low_hz and high_hz')
    chosen = rng.choice(cycles, min(_VIBRATION_TONES, len(cycles)), replace=False)
    amplitude_deg = vibration.rms_deg * math.sqrt(2.0 / len(chosen))
    phases_deg = rng.uniform(0.0, 360.0, len(chosen))
    return [Tone(amplitude_deg, int(n), float(phase)) for n, phase in zip(chosen, phases_deg, strict=True)]
