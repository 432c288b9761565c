"""Sony IMX219 over I2C, where no kernel driver drives it.

Source: Linux, drivers/media/i2c/imx219.c (GPL-2.0, facts only), for registers, units and limits; libcamera,
src/ipa/libipa/camera_sensor_helper.cpp and cam_helper_imx219.cpp, for the gain code and the delays (exposure 2 frames,
gain 1). The sensor has no white balance; that is its image processor's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from facefusion_ros.cameras.controls import ControlError
from facefusion_ros.cameras.exposure import Limits, Setting

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESS = 0x10
PIXEL_RATE_HZ = 182_400_000.0
"""With two lanes, as on the boards of the Raspberry Pi."""
_IDENTITY, _IMX219 = 0x0000, 0x0219
_MODE, _STREAMS = 0x0100, 1
_ANALOG_GAIN, _EXPOSURE, _FRAME_LINES, _LINE_PIXELS = 0x0157, 0x015A, 0x0160, 0x0162
_MOST_ANALOG = 232
_CODES = 256
_DIGITAL_UNITY, _MOST_DIGITAL = 0x0100, 0x0FFF
_LEAST_LINES, _LINES_LEFT = 4, 4
_LOOK_EVERY = 30


class RegisterBus(Protocol):
    """An I2C bus, as ``sensors.bus.Bus`` is; its errors are FacefusionErrors and go through."""

    @property
    def path(self) -> str:
        """Its device node."""

    def open(self) -> None:
        """Open it."""

    def close(self) -> None:
        """Close it."""

    def claim(self, address: int) -> None:
        """Make sure that no kernel driver talks to the chip at this address."""

    def write(self, address: int, data: Sequence[int] | bytes) -> None:
        """Write bytes."""

    def read_surely(self, address: int, *questions: tuple[bytes, int]) -> bytes:
        """Write and read until two answers agree."""


def gain_codes(gain: float) -> tuple[int, int]:
    """Return analog code and digital gain (Q8.8) that multiply to a gain as nearly as they can, analog first."""
    analog = min(max(int(_CODES - _CODES / max(gain, 1.0) + 1e-9), 0), _MOST_ANALOG)
    digital = round(gain * (_CODES - analog) / _CODES * _DIGITAL_UNITY)
    return analog, min(max(digital, _DIGITAL_UNITY), _MOST_DIGITAL)


def gain_of(analog: int, digital: int) -> float:
    """Return the gain of an analog code and a digital gain."""
    return _CODES / (_CODES - analog) * digital / _DIGITAL_UNITY


class Imx219:
    """Exposure and gain of an IMX219 that somebody else has set up and started.

    :param address: 0 for the usual one.
    """

    kelvin_limits = None

    def __init__(self, bus: RegisterBus, address: int = 0, *, pixel_rate_hz: float = PIXEL_RATE_HZ) -> None:
        self._bus = bus
        self._address = address or ADDRESS
        self._pixel_rate_hz = pixel_rate_hz
        self._lines = _LEAST_LINES
        self._line_s = 0.0
        self._written: bytes | None = None
        self._applied = 0

    @property
    def limits(self) -> Limits:
        """What the sensor can do at the frame rate it runs at."""
        most = gain_of(_MOST_ANALOG, _MOST_DIGITAL)
        return Limits(_LEAST_LINES * self._line_s, self._lines * self._line_s, 1.0, most, self._line_s)

    def open(self) -> None:
        """Find the sensor and its frame rate; raises ControlError, and what the bus raises."""
        self._bus.open()
        self._bus.claim(self._address)
        found = self._read(_IDENTITY, 2)
        if found != _IMX219:
            raise ControlError(
                f'the chip at {self._where} is no IMX219: it calls itself {found:#06x}; check bus and address'
            )
        if self._read(_MODE, 1) != _STREAMS:
            raise ControlError(f'the IMX219 at {self._where} takes no pictures: start its stream, then this')
        frame_lines, line_pixels = self._read(_FRAME_LINES, 2), self._read(_LINE_PIXELS, 2)
        if frame_lines <= _LINES_LEFT + _LEAST_LINES or not line_pixels:
            raise ControlError(f'the IMX219 at {self._where} is not set up: it has {frame_lines} lines a frame')
        self._lines, self._line_s = frame_lines - _LINES_LEFT, line_pixels / self._pixel_rate_hz
        self._written = None

    def take_over(self) -> None:
        """Do nothing: a bare sensor has nothing automatic."""

    def read(self) -> Setting:
        """Return what stands in the registers."""
        content = self._content()
        lines, analog, digital = int.from_bytes(content[4:], 'big'), content[1], int.from_bytes(content[2:4], 'big')
        return Setting(lines * self._line_s, gain_of(analog, digital))

    def apply(self, setting: Setting) -> None:
        """Write exposure and gain in one transfer where they change, and see that they are there, and stay.

        :raises ControlError: the registers do not hold what was written, or the sensor stands by, as after a loss of
            power.
        """
        lines = min(max(round(setting.exposure_s / self._line_s), _LEAST_LINES), self._lines)
        analog, digital = gain_codes(setting.gain)
        wanted = bytes((analog, *digital.to_bytes(2, 'big'), *lines.to_bytes(2, 'big')))
        self._applied += 1
        if wanted == self._written and self._applied % _LOOK_EVERY:
            return
        before, self._written = self._written, None
        if wanted != before:
            # Analog gain, digital gain and exposure lie side by side, and the sensor counts on by itself.
            self._bus.write(self._address, _ANALOG_GAIN.to_bytes(2, 'big') + wanted)
        self._verify(wanted)
        self._written = wanted

    def balance(self, kelvin: float) -> None:
        """Raise ControlError: the sensor cannot."""
        raise ControlError(f'the IMX219 cannot balance white for {kelvin:.0f} K: its image processor does that')

    def close(self) -> None:
        """Leave the sensor as it is and close the bus."""
        self._bus.close()

    def _verify(self, expected: bytes) -> None:
        content = self._content()
        if content != bytes((_STREAMS,)) + expected:
            raise ControlError(
                f'the IMX219 at {self._where} does not hold what was written '
                f'({content.hex()}, not 01{expected.hex()}): check its supply, and whether another program controls it'
            )

    def _content(self) -> bytes:
        """Read whether it streams (1 byte), analog gain (1), digital gain (2) and exposure (2)."""
        questions = ((_MODE.to_bytes(2, 'big'), 1), (_ANALOG_GAIN.to_bytes(2, 'big'), 5))
        return self._bus.read_surely(self._address, *questions)

    @property
    def _where(self) -> str:
        return f'{self._address:#04x} on {self._bus.path}'

    def _read(self, register: int, length: int) -> int:
        return int.from_bytes(self._bus.read_surely(self._address, (register.to_bytes(2, 'big'), length)), 'big')
