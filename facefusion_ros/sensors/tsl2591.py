"""ams TSL2591, an illuminance sensor with one diode for all light and one for infrared.

Sources: ams, TSL2591 datasheet (DS000338), "Register Description" for registers, gains and times; lux as in Linux
drivers/iio/light/tsl2591.c and Adafruit's Arduino driver: (C0 - C1)(1 - C1/C0) per CPL = time x gain / 408. The older
formula of two lines, still in Adafruit's CircuitPython driver, gives 3 % more or less in daylight and 28 % under an
incandescent lamp.
"""

from __future__ import annotations

from facefusion_ros.sensors.light_range import Range, variance_of
from facefusion_ros.sensors.photometer import Light, Photometer

_ENABLE, _CONTROL, _IDENTITY, _STATUS, _DATA = 0x00, 0x01, 0x12, 0x13, 0x14
_POWER_ON, _MEASURE = 0x01, 0x02
_VALID = 0x01
_GAINS = {1: 0, 25: 1, 428: 2, 9876: 3}

FULL_COUNT = 36_863
"""Of 100 ms; longer integrations go to 65535."""
LUX_MS = 408.0
TOLERANCE = 0.2
"""Not in the datasheet; about what the formulae for different lamps differ by."""


def _range(gain: int, low: float, high: float, milliseconds: int = 100) -> Range:
    return Range(
        sensitivity=milliseconds * gain / LUX_MS,
        integration_s=milliseconds * 1e-3,
        low=low,
        high=high,
        full_count=FULL_COUNT if milliseconds == 100 else 0xFFFF,
        before=((_ENABLE, _POWER_ON), (_CONTROL, _GAINS[gain] << 4 | milliseconds // 100 - 1)),
        begin=((_ENABLE, _POWER_ON | _MEASURE),),
    )


class Tsl2591(Photometer):
    """TSL2591, measuring 100 ms at a time."""

    NAME = 'TSL2591'
    ADDRESS = 0x29
    RANGES = (
        _range(428, low=0.0, high=30_000.0),
        _range(25, low=1_000.0, high=30_000.0),
        _range(1, low=600.0, high=float('inf')),
        _range(1, low=float('inf'), high=float('inf'), milliseconds=200),
    )
    COMMAND = 0xA0
    WIDTH = 1
    IDENTITY = ((_IDENTITY, (0x50,)),)
    READY = (_STATUS, _VALID, _VALID)
    DATA = ((_DATA, 4),)
    SLEEP = ((_ENABLE, 0),)

    def _greatest(self, data: bytes) -> int:
        return max(_counts(data))

    def _light(self, data: bytes, used: Range) -> Light:
        return light_of(*_counts(data), used.sensitivity)


def light_of(everything: int, infrared: int, sensitivity: float) -> Light:
    """Return the light for the counts of both diodes.

    :param sensitivity: milliseconds x gain / 408.
    """
    visible = max(0, everything - infrared)
    lux = visible**2 / everything / sensitivity if everything else 0.0
    return Light(lux, variance_of(lux, everything, 1.0 / sensitivity, TOLERANCE))


def _counts(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:2], 'little'), int.from_bytes(data[2:], 'little')
