"""How patches are blended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facefusion_ros.errors import FacefusionError

Rotation = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

IDENTITY_MOUNTING: Rotation = ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0))
"""IMU body (REP-103: x forward, y left, z up) to optical frame (x right, y down, z into the picture)."""


class BlendSettingError(FacefusionError):
    """A setting lies outside its range; the text names it and the range."""


@dataclass(frozen=True, slots=True)
class BlendSettings:
    """Settings of the blender; raises BlendSettingError where one lies outside its range."""

    feather: float = 0.12
    """Width of the soft rim along the patch's edge, fraction of the patch's size, 0 to 0.5."""
    colour_strength: float = 1.0
    """How far brightness and shading follow the original face, 0 (persona as painted) to 1 (wholly)."""
    chroma_strength: float = 0.7
    """How far the persona takes the light's tint, as far as the original face shows it, 0 to 1."""
    colour_time_constant_s: float = 0.4
    """Time constant of the colour filter, seconds; 0 follows every frame at once."""
    light_step_ratio: float = 1.3
    """Change of the illuminance within 0.3 s, as a ratio above 1, that opens the colour filter."""
    gyro_prediction: bool = True
    """Whether the gyro moves a face that was measured in an older frame."""
    r_optical_imu: Rotation = IDENTITY_MOUNTING
    """Rotation that takes a vector of the IMU frame to the optical frame, row by row."""

    def __post_init__(self) -> None:
        _within('feather', self.feather, 0.0, 0.5)
        _within('colour_strength', self.colour_strength, 0.0, 1.0)
        _within('chroma_strength', self.chroma_strength, 0.0, 1.0)
        _within('colour_time_constant_s', self.colour_time_constant_s, 0.0, 60.0)
        _within('light_step_ratio', self.light_step_ratio, 1.05, 100.0)
        rotation = np.asarray(self.r_optical_imu, np.float64)
        proper = rotation.shape == (3, 3) and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        if not (proper and np.linalg.det(rotation) > 0.0):
            raise BlendSettingError('r_optical_imu is not a rotation: give three orthonormal right-handed rows')


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise BlendSettingError(f'{name} is {value}: give a number from {least} to {most}')
