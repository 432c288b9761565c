"""The light sensors there are drivers for, by the names a person gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facefusion_ros.sensors.bh1750 import Bh1750
from facefusion_ros.sensors.opt3001 import Opt3001
from facefusion_ros.sensors.tcs34725 import Tcs34725
from facefusion_ros.sensors.tsl2591 import Tsl2591
from facefusion_ros.sensors.veml6040 import Veml6040
from facefusion_ros.sensors.veml7700 import Veml7700

if TYPE_CHECKING:
    from facefusion_ros.sensors.photometer import Photometer

LIGHT_CHIPS: dict[str, type[Bh1750 | Photometer]] = {
    'bh1750': Bh1750,
    'veml7700': Veml7700,
    'tsl2591': Tsl2591,
    'opt3001': Opt3001,
    'tcs34725': Tcs34725,
    'veml6040': Veml6040,
}
COLOUR_CHIPS = ('tcs34725', 'veml6040')
"""Those that tell the colour temperature too."""
