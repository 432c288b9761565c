"""What an engine on a GPU offers besides ``Engine``, so that its inputs can be filled there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.engines.cuda import Cuda, DevicePool
    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.engines.frame_map import FrameMap
    from facefusion_ros.engines.kernels.launch import FaceKernels


@dataclass(frozen=True, slots=True)
class GpuFrames:
    """How a GPU comes by frames and what it makes of them; shared by all networks on it."""

    map: FrameMap
    kernels: FaceKernels


@dataclass(frozen=True, slots=True)
class DeviceTensor:
    """An input of a network where the GPU has it."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class DeviceEngine(Protocol):
    """The part of an engine that lives on a GPU. Used by the engine's one thread; gone when that is closed."""

    @property
    def cuda(self) -> Cuda:
        """The GPU."""

    @property
    def pool(self) -> DevicePool:
        """Where its memory comes from."""

    @property
    def frames(self) -> GpuFrames:
        """How it comes by frames."""

    @property
    def stream(self) -> int:
        """The stream it runs on: work given to it before a run is done before the run."""

    def device_input(self, name: str) -> DeviceTensor:
        """Say where an input lies. Raises EngineError where there is none of that name."""

    def run_device(
        self,
        filled: Collection[str],
        inputs: Mapping[str, NDArray[np.generic]],
        outputs: Mapping[str, NDArray[np.generic]],
    ) -> None:
        """Run once, as ``Engine.run``, on inputs of which those in ``filled`` are on the device already.

        Nothing given to the stream is under way any more when it returns, or raises EngineError.
        """

    def at_close(self, release: Callable[[], None]) -> None:
        """Have ``release`` called when the engine is closed, when its stream is done and its memory still there."""


def device_of(engine: Engine) -> DeviceEngine | None:
    """Give the GPU's part of an engine that has one now; what a chain runs may be another at the next call."""
    device: DeviceEngine | None = getattr(engine, 'device', None)
    return device
