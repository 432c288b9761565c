"""Emulated Sony IMX219: the registers of its exposure and gain, and the frames that they come to bear on.

Source: Linux, drivers/media/i2c/imx219.c, for registers, units and the identity; libcamera's delays for this sensor
(exposure 2 frames, gain 1). Written apart from the driver: they share no constant.
"""

from __future__ import annotations

import errno
import os
import time
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE = 0x1000
_MODE, _ANALOG, _DIGITAL, _EXPOSURE, _FRAME_LINES, _LINE_PIXELS = 0x0100, 0x0157, 0x0158, 0x015A, 0x0160, 0x0162
_DELAYS = {_EXPOSURE: 2, _ANALOG: 1, _DIGITAL: 1}
_WIDTHS = {_EXPOSURE: 2, _ANALOG: 1, _DIGITAL: 2}


class EmulatedImx219:
    """IMX219 as the bus sees it, and what its pictures are taken with.

    Frame 0 begins when it is made. It runs, as somebody has set it up to; after losing power it stands by.

    :param frame_lines: lines of a frame with blanking; 1763 are 30 frames a second.
    :param pixel_rate_hz: of two lanes.
    """

    def __init__(
        self,
        *,
        address: int = 0x10,
        clock: Callable[[], int] = time.time_ns,
        frame_lines: int = 1763,
        line_pixels: int = 3448,
        pixel_rate_hz: float = 182_400_000.0,
        boot_s: float = 0.0,
    ) -> None:
        self.address = address
        self._clock = clock
        self._line_s = line_pixels / pixel_rate_hz
        self._frame_ns = round(frame_lines * self._line_s * 1e9)
        self._start_ns = clock()
        self._boot_ns = round(boot_s * 1e9)
        self._deaf_until_ns = 0
        self._set_up = {_FRAME_LINES: frame_lines, _LINE_PIXELS: line_pixels}
        self._history: dict[int, list[tuple[int, int]]] = {register: [] for register in _DELAYS}
        self._reset()
        self._registers[_MODE] = 1

    def power_cycle(self) -> None:
        """Lose power for a moment: registers as after switching on, no pictures, and deaf for a while."""
        self._deaf_until_ns = self._clock() + self._boot_ns
        self._reset()

    def write(self, data: bytes) -> None:
        """Take a write: two bytes of register number, then what goes there and on."""
        self._hear()
        if len(data) < 2:
            return
        self._pointer = int.from_bytes(data[:2], 'big')
        for value in data[2:]:
            if 2 <= self._pointer < _SIZE:
                self._registers[self._pointer] = value
            self._pointer += 1
        if len(data) > 2:
            self._take_note()

    def read(self, length: int) -> bytes:
        """Give bytes from the register that was last named."""
        self._hear()
        answer = bytes(self._registers[(self._pointer + index) % _SIZE] for index in range(length))
        self._pointer += length
        return answer

    # What the pictures are like

    @property
    def frame_ns(self) -> int:
        """From one frame to the next."""
        return self._frame_ns

    @property
    def streams(self) -> bool:
        """Whether it takes pictures."""
        return self._registers[_MODE] == 1

    def frame(self, clock_ns: int) -> int:
        """Return the number of the frame that is being taken at that time of the clock."""
        return (clock_ns - self._start_ns) // self._frame_ns

    def begins_ns(self, frame: int) -> int:
        """Return when a frame begins, of the clock; it is read out when the next begins."""
        return self._start_ns + frame * self._frame_ns

    def taken(self, frame: int) -> tuple[float, float]:
        """Return exposure time, s, and gain of a frame."""
        lines, analog, digital = (self._at(register, frame) for register in (_EXPOSURE, _ANALOG, _DIGITAL))
        return lines * self._line_s, 256.0 / (256 - analog) * digital / 256.0

    def _at(self, register: int, frame: int) -> int:
        history = self._history[register]
        return history[max(bisect_right(history, (frame, 1 << 16)) - 1, 0)][1]

    def _reset(self) -> None:
        self._registers = bytearray(_SIZE)
        self._pointer = 0
        for register, value in ((0x0000, 0x0219), (_DIGITAL, 0x0100), (_EXPOSURE, 0x03E8), *self._set_up.items()):
            self._registers[register : register + 2] = value.to_bytes(2, 'big')
        self._take_note()

    def _hear(self) -> None:
        if self._clock() < self._deaf_until_ns:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))

    def _take_note(self) -> None:
        """Remember from which frame on what stands in the registers counts."""
        now = self.frame(self._clock())
        for register, delay in _DELAYS.items():
            value = int.from_bytes(self._registers[register : register + _WIDTHS[register]], 'big')
            history = self._history[register]
            if not history or history[-1][1] != value:
                history.append((now + delay if history else 0, value))
            del history[:-64]
