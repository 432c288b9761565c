"""What every engine offers, whatever runs the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


class EngineError(FacefusionError):
    """A network cannot be loaded or run; the text says what to do."""


class DeviceMemoryError(EngineError):
    """The device's memory does not hold the network or its run; another engine may still have room."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a network."""

    name: str
    shape: tuple[int | None, ...]
    """None where a dimension is left open by the file."""
    dtype: np.dtype[np.generic]


class Engine(Protocol):
    """A loaded network, ready to run. Used by one thread; holds its memory until it is closed."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs in the file's order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs in the file's order."""

    @property
    def provider(self) -> str:
        """What really runs it, such as ``CPUExecutionProvider`` or ``TensorRT 10.13``."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Run once. All arrays are the caller's, C-contiguous, of the specified dtype and a shape that fits.

        Every input must be there; outputs left out are not copied. Allocates nothing after the first run with the same
        arrays. Raises EngineError.
        """

    def warm_up(self) -> None:
        """Run once on zeros, so that the first real run costs no more than the others."""

    def close(self) -> None:
        """Release the network; may be called twice."""
