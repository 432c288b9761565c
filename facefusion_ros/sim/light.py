"""The light of the simulated world: daylight that drifts, lamps that are switched, tunnels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.sim.pulse import pulse

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Drift:
    """A slow sine of the daylight, relative to its mean."""

    fraction: float
    cycles: int
    phase_deg: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.fraction < 1.0 or self.cycles < 1:
            raise ValueError('fraction must be at least 0 and below 1, cycles a whole number of 1 or more')


@dataclass(frozen=True, slots=True)
class Lamp:
    """A lamp that is lit except between ``dark_from_s`` and ``dark_until_s``."""

    lux: float
    dark_from_s: float
    dark_until_s: float
    edge_s: float = 0.03
    """How long the change takes."""
    warmth: float = 0.0
    """See ``Light.warmth``."""

    def __post_init__(self) -> None:
        _check_light(self.lux, self.warmth)
        _check_span(self.dark_from_s, self.dark_until_s, self.edge_s)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Between ``enter_s`` and ``leave_s`` nothing but the tunnel's own light is left."""

    lux: float
    enter_s: float
    leave_s: float
    edge_s: float = 0.2
    warmth: float = 0.0

    def __post_init__(self) -> None:
        _check_light(self.lux, self.warmth)
        _check_span(self.enter_s, self.leave_s, self.edge_s)


@dataclass(frozen=True, slots=True)
class Light:
    """All light that falls on the face, as illuminance."""

    lux: float
    """Mean of the daylight."""
    warmth: float = 0.0
    """Red gained and blue lost against the light of the camera's white balance: 0.1 is red x 1.1 and blue x 0.9."""
    drift: tuple[Drift, ...] = ()
    lamps: tuple[Lamp, ...] = ()
    tunnels: tuple[Tunnel, ...] = ()

    def __post_init__(self) -> None:
        _check_light(self.lux, self.warmth)
        if sum(d.fraction for d in self.drift) >= 1.0:
            raise ValueError('the fractions of drift must add up to less than 1')

    def check_period(self, period_s: float) -> None:
        """Raise ValueError where an event is not over within the period."""
        ends = [lamp.dark_until_s + lamp.edge_s for lamp in self.lamps]
        ends += [tunnel.leave_s + tunnel.edge_s for tunnel in self.tunnels]
        if ends and max(ends) > period_s:
            raise ValueError(f'light: every lamp and tunnel must be over within period_s ({period_s} s)')

    def at(self, t_s: NDArray[np.float64], period_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Illuminance in lux and warmth (see above) at the times t_s, both of its shape."""
        t = np.mod(t_s, period_s)
        daylight = np.full(t.shape, self.lux)
        for d in self.drift:
            omega = 2.0 * math.pi * d.cycles / period_s
            daylight += self.lux * d.fraction * np.sin(omega * t + math.radians(d.phase_deg))
        lux = daylight
        warm_lux = daylight * self.warmth
        for lamp in self.lamps:
            lit = lamp.lux * (1.0 - pulse(t, lamp.dark_from_s, lamp.dark_until_s, lamp.edge_s))
            lux = lux + lit
            warm_lux = warm_lux + lit * lamp.warmth
        for tunnel in self.tunnels:
            inside = pulse(t, tunnel.enter_s, tunnel.leave_s, tunnel.edge_s)
            lux = lux + inside * (tunnel.lux - lux)
            warm_lux = warm_lux + inside * (tunnel.lux * tunnel.warmth - warm_lux)
        return lux, warm_lux / lux


def _check_light(lux: float, warmth: float) -> None:
    if not 0.001 <= lux <= 200_000.0:
        raise ValueError('lux must be between 0.001 and 200000')
    if not -0.5 <= warmth <= 0.5:
        raise ValueError('warmth must be between -0.5 and 0.5')


def _check_span(begin_s: float, end_s: float, edge_s: float) -> None:
    if not (begin_s >= 0.0 and edge_s > 0.0 and end_s >= begin_s + edge_s):
        raise ValueError('the times must be at least 0 and in order, and further apart than edge_s, which is above 0')
