"""Connectors of a graphics card, the modes of what is plugged in, and which of them a text asks for.

Sources: Linux, include/uapi/drm/drm_mode.h for codes and flags; drivers/gpu/drm/drm_connector.c for the names that the
kernel gives in /sys/class/drm and on its command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facefusion_ros.displays.sink import DisplayError

if TYPE_CHECKING:
    from collections.abc import Sequence

TYPE_NAMES = (
    'Unknown',
    'VGA',
    'DVI-I',
    'DVI-D',
    'DVI-A',
    'Composite',
    'SVIDEO',
    'LVDS',
    'Component',
    'DIN',
    'DP',
    'HDMI-A',
    'HDMI-B',
    'TV',
    'eDP',
    'Virtual',
    'DSI',
    'DPI',
    'Writeback',
    'SPI',
    'USB',
)
"""By DRM_MODE_CONNECTOR_*."""

NEAR_HZ = 0.6
"""A mode of 59.94 Hz is what a person means by 60."""

_WANTED = re.compile(r'(?P<connector>[A-Za-z][\w-]*)?(?:@(?P<width>\d+)x(?P<height>\d+)(?:@(?P<hz>\d+(?:\.\d+)?))?)?')


@dataclass(frozen=True, slots=True)
class Mode:
    """A resolution with its timing."""

    width_px: int
    height_px: int
    refresh_hz: float
    preferred: bool = False
    interlaced: bool = False
    timing: bytes = b''
    """The kernel's own ``struct drm_mode_modeinfo``, to be handed back."""

    def __str__(self) -> str:
        """Write it as it is asked for."""
        return f'{self.width_px}x{self.height_px}@{round(self.refresh_hz, 2):g}' + ' interlaced' * self.interlaced


@dataclass(frozen=True, slots=True)
class Connector:
    """A socket of the card."""

    id: int
    name: str
    """As the kernel names it: HDMI-A-1."""
    connected: bool
    modes: tuple[Mode, ...] = ()
    encoders: tuple[int, ...] = ()
    encoder: int = 0
    """The one in use; 0 for none."""

    def __str__(self) -> str:
        if not self.connected:
            return f'{self.name} (nothing plugged in)'
        best = next((mode for mode in self.modes if mode.preferred), self.modes[0] if self.modes else None)
        return f'{self.name} ({best})' if best else f'{self.name} (no modes)'


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for; what is empty or 0 may be any."""

    connector: str = ''
    width_px: int = 0
    height_px: int = 0
    refresh_hz: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Read CONNECTOR@WIDTHxHEIGHT@HZ, each part optional; raises DisplayError."""
        found = _WANTED.fullmatch(text)
        if found is None:
            raise DisplayError(
                f'no display drm:{text}: write drm, drm:HDMI-A-1, drm:@1280x720 or drm:HDMI-A-1@1920x1080@60'
            )
        width, height, rate = (found[name] or '0' for name in ('width', 'height', 'hz'))
        return cls(found['connector'] or '', int(width), int(height), float(rate))


def choose_connector(connectors: Sequence[Connector], wanted: Wanted) -> Connector:
    """Return the connector asked for, or the first with something plugged in; raises DisplayError."""
    among = [each for each in connectors if wanted.connector.lower() in {'', each.name.lower()}]
    listed = ', '.join(map(str, connectors))
    if not connectors:
        raise DisplayError('the graphics card has no connectors: use another display, such as web:8080')
    if not among:
        raise DisplayError(f'no connector {wanted.connector}: there are {listed}')
    found = next((each for each in among if each.connected and each.modes), None)
    if found is None:
        where = f'{among[0].name}: plug the screen in or choose another' if wanted.connector else 'any connector'
        raise DisplayError(f'nothing is plugged into {where}; there are {listed}')
    return found


def choose_mode(connector: Connector, wanted: Wanted) -> Mode:
    """Return the mode asked for, or the one that the screen prefers; raises DisplayError with those that there are."""
    among = [mode for mode in connector.modes if not mode.interlaced]
    if wanted.width_px:
        among = [mode for mode in among if (mode.width_px, mode.height_px) == (wanted.width_px, wanted.height_px)]
    if wanted.refresh_hz:
        among = [mode for mode in among if abs(mode.refresh_hz - wanted.refresh_hz) <= NEAR_HZ]
        among.sort(key=lambda mode: abs(mode.refresh_hz - wanted.refresh_hz))
    elif wanted.width_px:
        among.sort(key=lambda mode: -mode.refresh_hz)
    if not among:
        rate = f'@{wanted.refresh_hz:g}' if wanted.refresh_hz else ''
        there = ', '.join(dict.fromkeys(str(mode) for mode in connector.modes if not mode.interlaced))
        raise DisplayError(
            f'{connector.name} has no mode {wanted.width_px}x{wanted.height_px}{rate}: there are {there or "none"}'
        )
    return among[0] if wanted.refresh_hz else next((mode for mode in among if mode.preferred), among[0])
