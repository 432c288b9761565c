"""ams TCS34725 (and TCS34727), a colour sensor behind an infrared filter.

Sources: TAOS/ams, TCS3472 datasheet (TAOS135, August 2012), "Register Descriptions"; ams Designer's Notebook DN40
(rev. 1.0), "Lux and CCT Calculations using ams Color Sensors", whose constants for this chip are also in Adafruit's
driver. DN40 sections 3.5 and 3.7 for saturation, with 25 % taken off for ripple below 150 ms.
"""

from __future__ import annotations

import struct

from facefusion_ros.sensors.light_range import Range, variance_of
from facefusion_ros.sensors.photometer import Light, Photometer

_ENABLE, _TIME, _CONTROL, _IDENTITY, _STATUS, _DATA = 0x00, 0x01, 0x0F, 0x12, 0x13, 0x14
_POWER_ON, _MEASURE = 0x01, 0x02
_VALID = 0x01
_GAINS = {1: 0, 4: 1, 16: 2, 60: 3}

STEP_MS = 2.4
_COUNTS_PER_STEP = 1024
_WITHOUT_RIPPLE_MS = 150.0
_RIPPLE = 0.75
DEVICE_FACTOR = 310.0
_LUX_OF = (0.136, 1.0, -0.444)
"""Of red, green and blue without infrared."""
_CCT_SLOPE_K, _CCT_OFFSET_K = 3810.0, 1391.0
_CCT_LIMITS_K = (1500.0, 15_000.0)
_ENOUGH_COUNTS = 50
TOLERANCE = 0.2
"""Of the irradiance responsivities of the clear channel: 11.0 to 16.6 counts per µW/cm² around 13.8 at 465 nm, and as
much in part at 525 and 615 nm ("Optical Characteristics"). The formula's own error depends on the lamp."""
_COLOUR_TOLERANCES = (0.15, 0.158)
"""Of the blue channel against the clear one at 465 nm (65 to 88 %), and of the red one at 615 nm (80 to 110 %): half of
what lies between the limits in "Optical Characteristics", in part of their middle. The TCS3400 that came after it has
70 to 91 % and 80 to 110 % (ams TCS3400 datasheet, "Color ADC Count Value Ratio"), and so 0.13 and 0.16."""


def full_count(steps: int) -> int:
    """Return the count that is saturated after an integration of so many steps of 2.4 ms."""
    full = min(65_535, _COUNTS_PER_STEP * steps)
    return int(full * _RIPPLE) if steps * STEP_MS < _WITHOUT_RIPPLE_MS else full


def _range(gain: int, steps: int, low: float, high: float) -> Range:
    """Return a range of whole multiples of 50 ms where possible: no lamp on 50 or 60 Hz mains flickers then."""
    milliseconds = steps * STEP_MS
    return Range(
        sensitivity=milliseconds * gain / DEVICE_FACTOR,
        integration_s=milliseconds * 1e-3,
        low=low,
        high=high,
        full_count=full_count(steps),
        before=((_ENABLE, _POWER_ON), (_TIME, 256 - steps), (_CONTROL, _GAINS[gain])),
        begin=((_ENABLE, _POWER_ON | _MEASURE),),
    )


class Tcs34725(Photometer):
    """TCS34725: illuminance and correlated colour temperature."""

    NAME = 'TCS34725'
    ADDRESS = 0x29
    RANGES = (
        _range(60, 63, low=0.0, high=50_000.0),
        _range(16, 42, low=2_000.0, high=27_000.0),
        _range(4, 21, low=1_000.0, high=13_000.0),
        _range(1, 21, low=1_500.0, high=float('inf')),
        _range(1, 10, low=float('inf'), high=float('inf')),
    )
    FIRST_RANGE = 2
    COMMAND = 0xA0
    WIDTH = 1
    IDENTITY = ((_IDENTITY, (0x44, 0x4D)),)
    RESET = ((_TIME, 0xFF),)
    READY = (_STATUS, _VALID, _VALID)
    DATA = ((_DATA, 8),)
    SLEEP = ((_ENABLE, 0),)
    WAKE_S = 0.0024

    def _greatest(self, data: bytes) -> int:
        greatest: int = max(struct.unpack('<4H', data))
        return greatest

    def _light(self, data: bytes, used: Range) -> Light:
        clear, red, green, blue = struct.unpack('<4H', data)
        return light_of(clear, red, green, blue, used.sensitivity)


def light_of(clear: float, red: float, green: float, blue: float, sensitivity: float) -> Light:
    """Return the light for the counts of the channels.

    :param sensitivity: milliseconds x gain / 310.
    """
    infrared = max(0.0, (red + green + blue - clear) / 2.0)
    lux = sum(part * (colour - infrared) for part, colour in zip(_LUX_OF, (red, green, blue), strict=True))
    lux = max(0.0, lux / sensitivity)
    shot_counts = sum(part**2 * colour for part, colour in zip(_LUX_OF, (red, green, blue), strict=True))
    variance = variance_of(lux, shot_counts, 1.0 / sensitivity, TOLERANCE)
    if clear < _ENOUGH_COUNTS or red <= infrared or blue <= infrared:
        return Light(lux, variance)
    blue_of_red = (blue - infrared) / (red - infrared)
    cct_k = _CCT_SLOPE_K * blue_of_red + _CCT_OFFSET_K
    if not _CCT_LIMITS_K[0] <= cct_k <= _CCT_LIMITS_K[1]:
        return Light(lux, variance)
    return Light(lux, variance, cct_k, (_CCT_SLOPE_K * blue_of_red) ** 2 * _ratio_variance(clear, red, green, blue))


def _ratio_variance(clear: float, red: float, green: float, blue: float) -> float:
    """Return the relative variance of blue to red without infrared.

    Of each count as much as it is itself, as if it were as many electrons, and rounding; and the tolerances of the
    part's colour filters, taken as evenly distributed. The formula's own error depends on the lamp and is not in it.
    """
    infrared = max(0.0, (red + green + blue - clear) / 2.0)
    inside = 0.5 if infrared else 0.0  # how much of each count goes into the infrared
    of_red, of_blue = 1.0 / (red - infrared), 1.0 / (blue - infrared)
    # How the logarithm of the ratio changes with red, green, blue and clear.
    shared = inside * (of_red - of_blue)
    changes = (shared - of_red, shared, shared + of_blue, -shared)
    counts = sum(
        change**2 * (count + 1.0 / 12.0) for change, count in zip(changes, (red, green, blue, clear), strict=True)
    )
    return counts + sum(tolerance**2 for tolerance in _COLOUR_TOLERANCES) / 3.0
