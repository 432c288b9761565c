"""The parameters by which a node is told how to blend, and how to keep in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facefusion_ros.blending.alignment import AlignmentSettings
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.ros.parameters import Parameter, ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLEND, _ALIGN = BlendSettings(), AlignmentSettings()

BLENDING = (
    Parameter('feather', _BLEND.feather, "Width of the soft rim, as a fraction of the patch's size", '', 0.0, 0.5),
    Parameter('colour_strength', _BLEND.colour_strength, 'How far brightness follows the scene', '', 0.0, 1.0),
    Parameter('chroma_strength', _BLEND.chroma_strength, "How far colour follows the scene's tint", '', 0.0, 1.0),
    Parameter('contrast_strength', _BLEND.contrast_strength, "How far contrast follows the face's", '', 0.0, 1.0),
    Parameter(
        'seam_strength',
        _BLEND.seam_strength,
        'How far the rim takes on the colours of the skin beside it',
        '',
        0.0,
        1.0,
    ),
    Parameter(
        'grain_strength',
        _BLEND.grain_strength,
        "How far the picture's grain and softness are taken on",
        '',
        0.0,
        1.0,
    ),
    Parameter(
        'colour_time_constant_s',
        _BLEND.colour_time_constant_s,
        'Time constant of the colour filter',
        's',
        0.0,
        60.0,
    ),
    Parameter(
        'light_step_ratio',
        _BLEND.light_step_ratio,
        'Change of light that opens the colour filter',
        '',
        1.05,
        100.0,
    ),
)
"""Masks, light and grain; named as the settings are."""

ALIGNMENT = (
    Parameter('gyro_prediction', _ALIGN.gyro, 'Whether the gyro moves faces measured in an older frame'),
    Parameter(
        'imu_rotation',
        [float(value) for value in np.asarray(_ALIGN.r_optical_imu).ravel()],
        'Rotation that takes a vector of the IMU frame to the optical frame, 9 numbers row by row',
    ),
    Parameter(
        'imu_time_offset_s',
        _ALIGN.time_offset_s,
        'Stamp of a gyro reading minus that of a frame of the same moment; as `facefusion-ros calibrate` finds it',
        's',
        -0.2,
        0.2,
    ),
    Parameter('imu_bias', list(_ALIGN.gyro_bias), 'What the gyro reads at rest, 3 numbers', 'rad/s'),
    Parameter(
        'imu_calibration',
        _ALIGN.calibrate,
        'Whether time offset, rotation and bias of the gyro are estimated while running, from those given',
    ),
    Parameter(
        'readout_s',
        _ALIGN.readout_s,
        "From the exposure of a picture's first row to that of the last, as `facefusion-ros calibrate` finds it",
        's',
        -0.1,
        0.1,
    ),
    Parameter('flow_correction', _ALIGN.flow, 'Whether the picture finishes what the gyro predicts'),
    Parameter(
        'coupling_gate',
        _ALIGN.gate,
        'Whether the gyro is believed only as far as a face follows it; one that rides along does not',
    ),
)
"""Where faces measured in an older frame went since."""


def blend_settings(values: Mapping[str, Any]) -> BlendSettings:
    """Read the rows of ``BLENDING``; raises SettingError where one is out of range."""
    return BlendSettings(**{row.name: values[row.name] for row in BLENDING})


def alignment_settings(values: Mapping[str, Any]) -> AlignmentSettings:
    """Read the rows of ``ALIGNMENT``; raises ParameterError or SettingError where one will not do."""
    rotation = np.asarray(values['imu_rotation'], np.float64)
    if rotation.size != 9:
        message = f'parameter imu_rotation has {rotation.size} numbers: give the 9 of a 3x3 rotation, row by row'
        raise ParameterError(message)
    rows = tuple((float(a), float(b), float(c)) for a, b, c in rotation.reshape(3, 3))
    bias = values['imu_bias']
    if len(bias) != 3:
        message = f'parameter imu_bias has {len(bias)} numbers: give 3, rad/s about x, y and z'
        raise ParameterError(message)
    return AlignmentSettings(
        gyro=values['gyro_prediction'],
        flow=values['flow_correction'],
        gate=values['coupling_gate'],
        calibrate=values['imu_calibration'],
        r_optical_imu=(rows[0], rows[1], rows[2]),
        time_offset_s=values['imu_time_offset_s'],
        gyro_bias=(float(bias[0]), float(bias[1]), float(bias[2])),
        readout_s=values['readout_s'],
    )
