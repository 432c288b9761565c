"""Vishay VEML6040, a colour sensor without gain.

Sources: Vishay, VEML6040 datasheet (document 84276, rev. 1.6), "Slave Address and Function Description" and "G Channel
Resolution and Maximum Detection Range"; the application note "Designing the VEML6040 RGBW Color Sensor Into
Applications" (document 84331, 14-Feb-2019), which gives the colour temperature for a chip in the open.
"""

from __future__ import annotations

import struct

from facefusion_ros.sensors.light_range import Range, variance_of
from facefusion_ros.sensors.photometer import Light, Photometer

_CONFIGURATION, _RED, _GREEN, _BLUE, _WHITE = 0x00, 0x08, 0x09, 0x0A, 0x0B
_SHUT_DOWN = 0x0001
_FULL_COUNT = 0xFF00
"""So that an answer of which only the low byte came counts as full."""
LUX_PER_COUNT_40_MS = 0.25168
_CCT_OFFSET, _CCT_FACTOR_K, _CCT_POWER = 0.5, 4278.6, -1.2455
_CCT_LIMITS_K = (1500.0, 15_000.0)
_ENOUGH_COUNTS = 50
TOLERANCE = 0.2
"""Not in the datasheet; taken as of its like."""


def _range(doublings: int, low: float, high: float) -> Range:
    """Return the range of 40 ms, doubled so many times."""
    configuration = doublings << 4
    return Range(
        sensitivity=2**doublings / LUX_PER_COUNT_40_MS,
        integration_s=0.04 * 2**doublings,
        low=low,
        high=high,
        full_count=_FULL_COUNT,
        before=((_CONFIGURATION, configuration | _SHUT_DOWN),),
        begin=((_CONFIGURATION, configuration),),
    )


class Veml6040(Photometer):
    """VEML6040: illuminance by its green channel, and correlated colour temperature, up to 16 klx.

    It has no identity, and no flag tells the end of a measurement.
    """

    NAME = 'VEML6040'
    ADDRESS = 0x10
    RANGES = (
        _range(2, low=0.0, high=1_200.0),
        _range(0, low=120.0, high=float('inf')),
        _range(1, low=float('inf'), high=float('inf')),
    )
    DATA = ((_RED, 2), (_GREEN, 2), (_BLUE, 2), (_WHITE, 2))
    SLEEP = ((_CONFIGURATION, _SHUT_DOWN),)
    WAKE_S = 0.004
    SLOWEST = 1.2

    def _greatest(self, data: bytes) -> int:
        greatest: int = max(struct.unpack('<4H', data))
        return greatest

    def _light(self, data: bytes, used: Range) -> Light:
        red, green, blue, _ = struct.unpack('<4H', data)
        return light_of(red, green, blue, used.sensitivity)


def light_of(red: float, green: float, blue: float, sensitivity: float) -> Light:
    """Return the light for the counts of the channels.

    :param sensitivity: green counts per lux.
    """
    lux = green / sensitivity
    variance = variance_of(lux, green, 1.0 / sensitivity, TOLERANCE)
    if green < _ENOUGH_COUNTS:
        return Light(lux, variance)
    index = (red - blue) / green + _CCT_OFFSET
    if index <= 0.0:
        return Light(lux, variance)
    cct_k = _CCT_FACTOR_K * index**_CCT_POWER
    return Light(lux, variance, cct_k if _CCT_LIMITS_K[0] <= cct_k <= _CCT_LIMITS_K[1] else None)
