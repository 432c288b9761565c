"""The motion chips there are drivers for, by the names a person gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facefusion_ros.sensors.bmi088 import Bmi088
from facefusion_ros.sensors.bmi160 import Bmi160
from facefusion_ros.sensors.bmi270 import FIRMWARE, Bmi270
from facefusion_ros.sensors.icm20948 import Icm20948
from facefusion_ros.sensors.lsm6dso import Lsm6dso
from facefusion_ros.sensors.mpu6050 import Mpu6050, Mpu6500, Mpu9250

if TYPE_CHECKING:
    from facefusion_ros.sensors.bus import Bus
    from facefusion_ros.sensors.motion import MotionChip
    from facefusion_ros.sensors.motion_plan import MotionSettings

MOTION_CHIPS: dict[str, type[MotionChip]] = {
    'mpu6050': Mpu6050,
    'mpu6500': Mpu6500,
    'mpu9250': Mpu9250,
    'icm20948': Icm20948,
    'lsm6dso': Lsm6dso,
    'bmi088': Bmi088,
    'bmi160': Bmi160,
    'bmi270': Bmi270,
}


def make_motion_chip(
    chip: str, bus: Bus, address: int, settings: MotionSettings, firmware: str = FIRMWARE
) -> MotionChip:
    """Make the driver of a chip by its name; ``firmware`` is the path of the program a BMI270 needs."""
    if chip == 'bmi270':
        return Bmi270(bus, address, settings, firmware=firmware)
    return MOTION_CHIPS[chip](bus, address, settings)
