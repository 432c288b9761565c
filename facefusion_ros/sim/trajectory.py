"""How the simulated head turns: sums of sines, saccades and vibration, all periodic, all known exactly.

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
    """All that turns the camera; the parts add up."""

    yaw: tuple[Tone, ...] = ()
    """Positive turns the view to the right."""
    pitch: tuple[Tone, ...] = ()
    """Positive turns the view up."""
    roll: tuple[Tone, ...] = ()
    """Positive turns the camera clockwise, as seen from behind it."""
    saccades: tuple[Saccade, ...] = ()
    vibration: Vibration | None = None


class Trajectory:
    """Rotation and angular velocity of the camera as functions of world time; the camera does not translate."""

    def __init__(self, motion: Motion, period_s: float, seed: int) -> None:
        """Raise ValueError where the motion does not fit into the period."""
        for saccade in motion.saccades:
            if saccade.at_s + 2.0 * saccade.turn_s + saccade.hold_s > period_s:
                raise ValueError(f'motion: the saccade at {saccade.at_s} s is not over within period_s ({period_s} s)')
        self._period_s = period_s
        self._saccades = motion.saccades
        tones = [[*motion.yaw], [*motion.pitch], [*motion.roll]]
        if motion.vibration is not None:
            rng = np.random.default_rng([seed, 1])
            for axis in tones:
                axis.extend(_vibration_tones(motion.vibration, period_s, rng))
        count = max(1, *map(len, tones))
        # (3, count): axes without as many tones have some of amplitude 0.
        self._amplitude = np.zeros((3, count))
        self._omega = np.zeros((3, count))
        self._phase = np.zeros((3, count))
        for i, axis in enumerate(tones):
            for j, tone in enumerate(axis):
                self._amplitude[i, j] = math.radians(tone.amplitude_deg)
                self._omega[i, j] = 2.0 * math.pi * tone.cycles / period_s
                self._phase[i, j] = math.radians(tone.phase_deg)

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


def _vibration_tones(vibration: Vibration, period_s: float, rng: np.random.Generator) -> list[Tone]:
    cycles = np.arange(math.ceil(vibration.low_hz * period_s), math.floor(vibration.high_hz * period_s) + 1)
    if not len(cycles):
        raise ValueError('motion: vibration needs at least one multiple of 1/period_s between low_hz and high_hz')
    chosen = rng.choice(cycles, min(_VIBRATION_TONES, len(cycles)), replace=False)
    amplitude_deg = vibration.rms_deg * math.sqrt(2.0 / len(chosen))
    phases_deg = rng.uniform(0.0, 360.0, len(chosen))
    return [Tone(amplitude_deg, int(n), float(phase)) for n, phase in zip(chosen, phases_deg, strict=True)]
