"""Texas Instruments OPT3001, an illuminance sensor that sees as the eye does and ranges itself.

Source: TI, OPT3001 datasheet (SBOS681C), section 7.6 "Register Maps" for registers and result, 6.5 "Electrical
Characteristics" for times and tolerance.
"""

from __future__ import annotations

from facefusion_ros.sensors.light_range import Range, variance_of
from facefusion_ros.sensors.photometer import Light, Photometer

_RESULT, _CONFIGURATION, _MANUFACTURER, _DEVICE = 0x00, 0x01, 0x7E, 0x7F
_AUTOMATIC = 0xC
_SINGLE_SHOT = 0x0200
_MODE = 0x0600
_LATCH = 0x0010
_STAYS = 0xF81F
"""Without the mode, which goes to shut-down when a measurement ends, and the flags."""

_LUX_PER_COUNT = 0.01
_LARGEST_EXPONENT = 11
TOLERANCE = 0.1
"""1800 to 2200 lux are shown for 2000."""


def _range(number: int, low: float) -> Range:
    return Range(
        sensitivity=1.0 / _LUX_PER_COUNT,
        integration_s=0.1,
        low=low,
        high=float('inf'),
        full_count=0xFFF << min(number, _LARGEST_EXPONENT),
        begin=((_CONFIGURATION, number << 12 | _SINGLE_SHOT | _LATCH),),
    )


class Opt3001(Photometer):
    """OPT3001, measuring 100 ms at a time; counts are those of its most sensitive range."""

    NAME = 'OPT3001'
    ADDRESS = 0x44
    RANGES = (
        _range(_AUTOMATIC, low=0.0),
        # Never measured with, only to see that the result can change.
        *(_range(number, low=float('inf')) for number in range(_LARGEST_EXPONENT + 1)),
    )
    FIRST_RANGE = 0
    ORDER = 'big'
    IDENTITY = ((_MANUFACTURER, (0x5449,)), (_DEVICE, (0x3001,)))
    RESET = ((_CONFIGURATION, 0xC810),)
    CHECKED = ((_CONFIGURATION, _STAYS),)
    READY = (_CONFIGURATION, _MODE, 0)  # not the flag for it, which a failed read may have taken away
    DATA = ((_RESULT, 2),)
    SLEEP = ((_CONFIGURATION, 0xC810),)
    WAKE_S = 0.008
    """It looks for the range first."""
    ONE_SHOT = True

    def _greatest(self, data: bytes) -> int:
        mantissa, exponent = _parts(data)
        return mantissa << exponent

    def _other_range(self, data: bytes) -> int:
        _, exponent = _parts(data)
        return 1 + (exponent + 1 if exponent < _LARGEST_EXPONENT else exponent - 1)

    def _step(self, used: Range, count: int) -> float:
        return max(1.0, count / 2048.0) if used is self.RANGES[0] else float((used.full_count >> 12) + 1)

    def _light(self, data: bytes, used: Range) -> Light:  # noqa: ARG002 - the result tells its own range
        mantissa, exponent = _parts(data)
        lux_per_count = _LUX_PER_COUNT * (1 << exponent)
        lux = mantissa * lux_per_count
        return Light(lux, variance_of(lux, mantissa, lux_per_count, TOLERANCE))


def _parts(data: bytes) -> tuple[int, int]:
    result = int.from_bytes(data, 'big')
    return result & 0xFFF, result >> 12
