"""What every chip offers, and the readings that chips give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Clock = Callable[[], int]
    """Gives the time in nanoseconds."""
    Sleep = Callable[[float], object]
    """Waits for a number of seconds."""

Reading_co = TypeVar('Reading_co', covariant=True)


@dataclass(frozen=True, slots=True)
class LightReading:
    """Illuminance at one time."""

    stamp_ns: int
    """Middle of the integration, nanoseconds of the clock the chip was given."""
    lux: float
    variance: float
    """Variance of ``lux``, lux²."""
    cct_k: float | None = None
    """Correlated colour temperature of the light, kelvin; None where the chip sees no colours or too little light."""
    cct_variance: float = 0.0
    """Variance of ``cct_k``, K²; 0 where unknown."""


@dataclass(frozen=True, slots=True)
class ImuSample:
    """Angular velocity and specific force in the chip's own axes at one time."""

    stamp_ns: int
    """When the motion was as measured (filter delay subtracted), nanoseconds of the clock the chip was given."""
    angular_velocity: NDArray[np.float64]
    """(3,) rad/s."""
    specific_force: NDArray[np.float64]
    """(3,) m/s²; at rest it points up with 9.81."""
    angular_velocity_variance: float
    """Of each axis, (rad/s)²."""
    specific_force_variance: float
    """Of each axis, (m/s²)²; -1 where the chip has no accelerometer."""
    clipped: bool = False
    """True where an axis is at the end of its range, so that the motion may have been greater."""


class Chip(Protocol[Reading_co]):
    """A sensor chip, used by one thread."""

    @property
    def period_s(self) -> float:
        """Seconds from one ``read`` to the next; may change with the chip's range."""

    def start(self) -> None:
        """Find the chip and set it up from whatever state it is in; raises SensorError. May be called again."""

    def read(self) -> Sequence[Reading_co]:
        """Return what was measured since the last call, oldest first, perhaps nothing; raises SensorError.

        After an error whose remedy is not a restart, the next call is allowed and sorts itself out.
        """

    def close(self) -> None:
        """Put the chip to sleep if it still answers, and let go of the bus. ``start`` may follow."""
