"""The motion chips there are emulations of, by the names a person gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros.sim.bmi088 import EmulatedBmi088
from facefusion_ros.sim.bmi160 import EmulatedBmi160, EmulatedBmi270
from facefusion_ros.sim.icm20948 import EmulatedIcm20948
from facefusion_ros.sim.lsm6dso import EmulatedLsm6dso
from facefusion_ros.sim.mpu6050 import EmulatedMpu6050, EmulatedMpu6500, EmulatedMpu9250

if TYPE_CHECKING:
    from facefusion_ros.sim.motion_chip import EmulatedMotionChip

EMULATED_MOTION_CHIPS: dict[str, type[EmulatedMotionChip]] = {
    'mpu6050': EmulatedMpu6050,
    'mpu6500': EmulatedMpu6500,
    'mpu9250': EmulatedMpu9250,
    'icm20948': EmulatedIcm20948,
    'lsm6dso': EmulatedLsm6dso,
    'bmi088': EmulatedBmi088,
    'bmi160': EmulatedBmi160,
    'bmi270': EmulatedBmi270,
}


def emulate_motion_chip(chip: str, *motion: Any, program: bytes = b'', **options: Any) -> EmulatedMotionChip:  # noqa: ANN401 - as the chips take
    """Make the emulation of a chip by its name; ``program`` is what a BMI270 takes for its program."""
    if chip == 'bmi270':
        options['program'] = program
    return EMULATED_MOTION_CHIPS[chip](*motion, **options)
