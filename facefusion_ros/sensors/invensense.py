"""What the motion chips of InvenSense have in common, from the MPU-6050 to the ICM-20948.

Sources: those of the chips, which agree in all that is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from facefusion_ros.sensors.motion import MotionChip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

GYRO_COUNTS_PER_DPS = {250: 131.0, 500: 65.5, 1000: 32.8, 2000: 16.4}
"""By the range, degrees/s; the place in the table is the code of the range."""
ACCEL_COUNTS_PER_G = {2: 16384, 4: 8192, 8: 4096, 16: 2048}
"""By the range, g."""
FIFO_ENABLE = 0x40
RUNNING = 0x01
"""Of the power register: awake, with the gyroscope's clock."""

_DEVICE_RESET = 0x80
_RESET_S = 0.1


def rates_hz(fastest_hz: float) -> list[float]:
    """Return the rates there are: the fastest one divided by a whole number up to 256."""
    return [fastest_hz / divider for divider in range(1, 257)]


def code_of(choice: int, table: Iterable[int]) -> int:
    """Return the place of a range in its table."""
    return list(table).index(choice)


class InvenSenseChip(MotionChip):
    """A chip whose FIFO holds frames of accelerometer and gyroscope, the high byte first."""

    ADDRESS = 0x68
    FRAME_BYTES = 12
    POWER: ClassVar[int]
    """Power register."""
    ASLEEP: ClassVar[int]
    """What it holds after a reset."""
    FIFO_COUNT: ClassVar[int]

    def _wake(self) -> None:
        self._write(self.POWER, _DEVICE_RESET)
        self._sleep(_RESET_S)
        self._write(self.POWER, RUNNING)

    def _waiting(self) -> int:
        return int.from_bytes(self._read(self.FIFO_COUNT, 2), 'big')

    def _counts(self, data: bytes) -> NDArray[np.int16]:
        return np.frombuffer(data, '>i2').astype(np.int16).reshape(-1, 6)[:, [3, 4, 5, 0, 1, 2]]

    def _sleep_now(self) -> None:
        self._write(self.POWER, self.ASLEEP)
