"""Whether an I2C bus is fast enough for what is asked of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

STANDARD_HZ = 100_000
"""Where nothing else is said, as on a Raspberry Pi."""
MOST = 0.7
"""Part of the bus' time that one chip may take: starts, stops and the kernel's pauses come on top."""

_SYSFS_ADAPTERS = Path('/sys/class/i2c-adapter')


def bus_clock_hz(path: str, sysfs: Path = _SYSFS_ADAPTERS) -> int:
    """Return the clock of a bus as the device tree gives it; 0 where it does not say.

    Source: Linux Documentation/devicetree/bindings/i2c/i2c.txt, clock-frequency, a big-endian word.
    """
    number = re.fullmatch(r'.*i2c-(\d+)', os.path.realpath(path))
    if number is None:
        return 0
    try:
        return int.from_bytes((sysfs / f'i2c-{number[1]}' / 'of_node' / 'clock-frequency').read_bytes()[:4], 'big')
    except OSError:
        return 0
