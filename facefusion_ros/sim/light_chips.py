"""The light sensors there are emulations of, by the names a person gives, and the colour temperature they see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros.sim.bh1750 import EmulatedBh1750
from facefusion_ros.sim.opt3001 import EmulatedOpt3001
from facefusion_ros.sim.taos import EmulatedTcs34725, EmulatedTsl2591
from facefusion_ros.sim.vishay import EmulatedVeml6040, EmulatedVeml7700

if TYPE_CHECKING:
    from collections.abc import Callable

    from facefusion_ros.sim.light_chip import EmulatedLightChip

EMULATED_LIGHT_CHIPS: dict[str, type[EmulatedLightChip]] = {
    'bh1750': EmulatedBh1750,
    'veml7700': EmulatedVeml7700,
    'tsl2591': EmulatedTsl2591,
    'opt3001': EmulatedOpt3001,
    'tcs34725': EmulatedTcs34725,
    'veml6040': EmulatedVeml6040,
}
_COLOUR_CHIPS = (EmulatedTcs34725, EmulatedVeml6040)

# Linear sRGB to XYZ, IEC 61966-2-1.
_X = (0.4124, 0.3576, 0.1805)
_Y = (0.2126, 0.7152, 0.0722)
_Z = (0.0193, 0.1192, 0.9505)


def emulate_light_chip(
    chip: str,
    lux: Callable[[float], float],
    cct_k: Callable[[float], float],
    address: int = 0,
    **options: Any,  # noqa: ANN401 - as the chips take
) -> EmulatedLightChip:
    """Make the emulation of a chip by its name; lux and kelvin are functions of seconds of its clock.

    :param address: 0 for the chip's usual one.
    """
    kind = EMULATED_LIGHT_CHIPS[chip]
    if address:
        options['address'] = address
    return kind(lux, cct_k, **options) if issubclass(kind, _COLOUR_CHIPS) else kind(lux, **options)


def colour_temperature(warmth: float) -> float:
    """Return the correlated colour temperature, kelvin, of light with this warmth (see ``sim.light``) on D65.

    Source of the formula: C. S. McCamy, Correlated color temperature as an explicit function of chromaticity
    coordinates, Color Research & Application 17 (1992).
    """
    light = (1.0 + warmth, 1.0, 1.0 - warmth)
    x, y, z = (sum(part * colour for part, colour in zip(row, light, strict=True)) for row in (_X, _Y, _Z))
    n = (x / (x + y + z) - 0.3320) / (0.1858 - y / (x + y + z))
    return 449.0 * n**3 + 3525.0 * n**2 + 6823.3 * n + 5520.33
