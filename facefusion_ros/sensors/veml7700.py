"""Vishay VEML7700 (and VEML6030, its sibling), an illuminance sensor.

Sources: Vishay, VEML7700 datasheet (document 84286), "Slave Address and Function Description" for the registers; the
application note "Designing the VEML7700 Into an Application" (document 84323), "Resolution and Maximum Detection
Range" for the scale and "Calculating the Lux Level" for the polynomial. Older revisions of the note give 0.0036 lux
per count for the most sensitive setting, as Linux drivers/iio/light/veml6030.c still does; newer ones 0.0042.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from facefusion_ros.sensors.bus import Saturated
from facefusion_ros.sensors.light_range import Range, variance_of
from facefusion_ros.sensors.photometer import Light, Photometer

if TYPE_CHECKING:
    from facefusion_ros.sensors.bus import Bus
    from facefusion_ros.sensors.chip import Clock

_CONFIGURATION, _POWER_SAVING, _AMBIENT = 0x00, 0x03, 0x04
_SHUT_DOWN = 0x0001
_FULL_COUNT = 0xFF00
"""So that an answer of which only the low byte came counts as full."""
_GAIN_BITS = {2.0: 0b01, 1.0: 0b00, 0.25: 0b11, 0.125: 0b10}
_TIME_BITS = {25: 0b1100, 50: 0b1000, 100: 0b0000, 200: 0b0001, 400: 0b0010, 800: 0b0011}

LUX_PER_COUNT = 0.0042
"""At gain 2 and 800 ms, before the correction."""
CORRECTION = (1.0023, 8.1488e-5, -9.3924e-9, 6.0135e-13)
"""Coefficients of x, x², x³ and x⁴, with x the lux of a linear sensor."""
MOST_LINEAR_LUX = 23_000.0
"""The polynomial gives 120 klx here, the most it was made for, and runs away beyond."""
TOLERANCE = 0.1


def _range(gain: float, milliseconds: int, low: float, high: float) -> Range:
    configuration = _GAIN_BITS[gain] << 11 | _TIME_BITS[milliseconds] << 6
    return Range(
        sensitivity=gain / 2.0 * milliseconds / 800.0 / LUX_PER_COUNT,
        integration_s=milliseconds * 1e-3,
        low=low,
        high=high,
        full_count=_FULL_COUNT,
        before=((_POWER_SAVING, 0), (_CONFIGURATION, configuration | _SHUT_DOWN)),
        begin=((_CONFIGURATION, configuration),),
    )


def corrected(linear_lux: float) -> float:
    """Return the illuminance for what a linear sensor would show, both lux."""
    total = 0.0
    for coefficient in reversed(CORRECTION):
        total = (total + coefficient) * linear_lux
    return total


class Veml7700(Photometer):
    """VEML7700: no flag tells the end of a measurement, so each is given the time of the slowest chip.

    :param lux_per_count: see LUX_PER_COUNT.
    """

    NAME = 'VEML7700'
    ADDRESS = 0x10
    RANGES = (
        _range(2.0, 400, low=0.0, high=800.0),
        _range(2.0, 100, low=60.0, high=50_000.0),
        _range(0.125, 50, low=600.0, high=float('inf')),
        _range(0.125, 25, low=float('inf'), high=float('inf')),
    )
    RESET = ((_CONFIGURATION, _SHUT_DOWN),)
    DATA = ((_AMBIENT, 2),)
    SLEEP = ((_CONFIGURATION, _SHUT_DOWN),)
    WAKE_S = 0.004
    SLOWEST = 1.2

    def __init__(
        self,
        bus: Bus,
        address: int = 0,
        *,
        clock: Clock = time.time_ns,
        lux_per_count: float = LUX_PER_COUNT,
    ) -> None:
        super().__init__(bus, address, clock=clock)
        self._relative = lux_per_count / LUX_PER_COUNT

    def _greatest(self, data: bytes) -> int:
        return int.from_bytes(data, 'little')

    def _light(self, data: bytes, used: Range) -> Light:
        count, lux_per_count = self._greatest(data), self._relative / used.sensitivity
        if count * lux_per_count > MOST_LINEAR_LUX:
            raise Saturated(
                f'beyond the {corrected(MOST_LINEAR_LUX):.0f} lux that the VEML7700 at {self._where} can tell: '
                'shade the light sensor or put a diffuser over it'
            )
        return light_of(count, lux_per_count)


def light_of(count: int, lux_per_count: float) -> Light:
    """Return the light for a count, with the correction; ``count`` x ``lux_per_count`` up to MOST_LINEAR_LUX."""
    linear_lux = count * lux_per_count
    lux = corrected(linear_lux)
    slope = max(1.0, lux / linear_lux) if linear_lux else 1.0
    return Light(lux, variance_of(lux, count, lux_per_count * slope, TOLERANCE))
