"""Frames with headers, as the FIFOs of the BMI160 and the BMI270 hold them.

Source: Bosch BST-BMI160-DS000 (rev. 0.9), "FIFO", and BST-BMI270-DS000 (rev. 1.3), "FIFO".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_BYTES = 13
GYRO_ACCEL_AND_HEADER = 0xD0
FLUSH = 0xB0
SOFT_RESET = 0xB6

_GYRO_AND_ACCEL = 0x8C
_SKIPPED = 0x40
_SETTINGS_CHANGED = 0x48
_TAGS = 0x03
"""Bits of a header in which the interrupt pins are shown."""


class Skipped(Exception):
    """The FIFO ran over and says how many frames it left out."""


class NoFrame(Exception):
    """What lies in the FIFO is no frame."""


def counts_in(data: bytes, changed_bytes: int) -> NDArray[np.int16]:
    """Return the samples in whole frames, (n, 6), gyroscope before accelerometer; raises Skipped or NoFrame.

    :param changed_bytes: length of what follows the header of a frame that tells of changed settings.
    """
    frames = []
    place = 0
    while place < len(data):
        header = data[place] & ~_TAGS & 0xFF
        if header == _SETTINGS_CHANGED:
            place += 1 + changed_bytes
            continue
        if header == _SKIPPED:
            raise Skipped
        if header != _GYRO_AND_ACCEL or place + FRAME_BYTES > len(data):
            raise NoFrame
        frames.append(data[place + 1 : place + FRAME_BYTES])
        place += FRAME_BYTES
    return np.frombuffer(b''.join(frames), '<i2').astype(np.int16).reshape(-1, 6)
