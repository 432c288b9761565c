"""The engine that a network gets: the first of a chain that can be had, and the next when it runs out of memory."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from facefusion_ros.engines.cuda import DevicePool, open_cuda
from facefusion_ros.engines.device import GpuFrames, device_of
from facefusion_ros.engines.engine import DeviceMemoryError, Engine, EngineError, TensorSpec
from facefusion_ros.engines.frame_map import FrameMap
from facefusion_ros.engines.kernels.launch import FaceKernels
from facefusion_ros.engines.ort import OrtEngine, OrtSettings
from facefusion_ros.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.engines.cuda import Cuda
    from facefusion_ros.engines.device import DeviceEngine
    from facefusion_ros.engines.trt import TensorRtSettings
    from facefusion_ros.engines.trt_build import Progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engines may run a network, best first, and how each of them runs it."""

    chain: tuple[str, ...] = ('onnxruntime',)
    """Of ``tensorrt`` (the native engine) and ``onnxruntime``."""
    onnxruntime: OrtSettings = field(default_factory=OrtSettings)
    tensorrt: TensorRtSettings | None = None
    """None for its defaults."""
    device: int = 0
    """The GPU of the native engine."""
    pool_bytes: int = 1 << 29
    """Device memory that the native engines of this process share, weights aside; the first to be loaded takes it."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                'chain must name at least one engine, such as onnxruntime': bool(self.chain),
                f'chain must be of {", ".join(ENGINES)}': all(name in ENGINES for name in self.chain),
            },
        )


def load_engine(
    path: str | os.PathLike[str],
    settings: EngineSettings | None = None,
    sha256: str = '',
    progress: Progress | None = None,
) -> Engine:
    """Load a network into the first engine of the chain that can be had.

    It is run once on zeros, unless the file leaves the shape of an input open. An engine that cannot be had is passed
    over with one line in the log. When device memory runs out later, the engine returned changes to the next of the
    chain by itself, repeats the run there and says so in one line. ``sha256`` is the file's digest where the caller has
    it already, ``progress`` is told of a build that takes minutes. Raises EngineError where no engine is left.
    """
    return _Chain(_Network(Path(path), settings or EngineSettings(), sha256, progress))


@dataclass(frozen=True, slots=True)
class _Network:
    """What is asked to be loaded."""

    path: Path
    settings: EngineSettings
    sha256: str
    progress: Progress | None


class _Chain:
    """See ``load_engine``; an ``Engine``."""

    def __init__(self, network: _Network) -> None:
        self._network = network
        self._path = network.path
        self._names = network.settings.chain
        self._left = list(self._names)
        self._refused: list[str] = []
        self._engine: Engine | None = self._next()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs in the file's order."""
        return self._loaded().inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs in the file's order."""
        return self._loaded().outputs

    @property
    def provider(self) -> str:
        """What runs it now."""
        return self._loaded().provider

    @property
    def device(self) -> DeviceEngine | None:
        """The GPU's part of what runs it now."""
        return device_of(self._loaded())

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Run once; see ``Engine``. Raises EngineError."""
        try:
            self._loaded().run(inputs, outputs)
        except DeviceMemoryError as error:
            self._fall_back(error)
            self.run(inputs, outputs)

    def warm_up(self) -> None:
        """Run once on zeros. Raises EngineError."""
        try:
            self._loaded().warm_up()
        except DeviceMemoryError as error:
            self._fall_back(error)

    def close(self) -> None:
        """Release the network; may be called twice."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise EngineError(f'{self._path} is closed: load it again')
        return self._engine

    def _fall_back(self, error: DeviceMemoryError) -> None:
        if not self._left:
            raise error
        name = self._names[-len(self._left) - 1]
        self.close()
        self._refuse(name, error)
        self._engine = self._next()

    def _next(self) -> Engine:
        """Load the next engine that can be had and run it once."""
        while self._left:
            name = self._left.pop(0)
            try:
                engine = ENGINES[name](self._network)
                with _closed_on_error(engine):
                    if _shapes_are_known(engine):
                        engine.warm_up()
            except EngineError as error:
                self._refuse(name, error)
            else:
                _log.info('%s runs on %s', self._path.name, engine.provider)
                return engine
        if len(self._refused) == 1:
            raise EngineError(self._refused[0])
        reasons = (f'{name}: {reason}' for name, reason in zip(self._names, self._refused, strict=True))
        raise EngineError(f'no engine runs {self._path}: {"; ".join(reasons)}')

    def _refuse(self, name: str, error: EngineError) -> None:
        self._refused.append(str(error))
        if self._left:
            _log.warning('%s: going on with %s in place of %s (%s)', self._path.name, self._left[0], name, error)


@contextmanager
def _closed_on_error(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.close()
        raise


def _shapes_are_known(engine: Engine) -> bool:
    return all(size is not None for spec in engine.inputs for size in spec.shape)


def _onnxruntime(network: _Network) -> Engine:
    return OrtEngine(network.path, network.settings.onnxruntime, network.sha256)


@dataclass(frozen=True, slots=True)
class _Gpu:
    cuda: Cuda
    pool: DevicePool
    map: FrameMap
    kernels: FaceKernels | None
    """None where they cannot be compiled: frames are cropped by the CPU."""


_gpus: dict[int, _Gpu] = {}
"""Opened by the first network on each device; kept for as long as the process lives, as its context is."""
_gpus_lock = Lock()


def frame_maps() -> tuple[FrameMap, ...]:
    """Give the maps of the GPUs whose networks take frames, for a FrameReader to tell of its pools.

    Of the networks that this process has loaded so far: load them before the reader is made.
    """
    with _gpus_lock:
        return tuple(gpu.map for gpu in _gpus.values() if gpu.kernels is not None)


def _tensorrt(network: _Network) -> Engine:
    settings = network.settings
    with _gpus_lock:
        if settings.device not in _gpus:
            _gpus[settings.device] = _open(settings)
        gpu = _gpus[settings.device]
        from facefusion_ros.engines.trt import TensorRtEngine  # noqa: PLC0415  not needed elsewhere

        return TensorRtEngine(
            network.path,
            gpu.cuda,
            gpu.pool,
            settings.tensorrt,
            sha256=network.sha256,
            progress=network.progress,
            frames=GpuFrames(gpu.map, gpu.kernels) if gpu.kernels else None,
        )


def _open(settings: EngineSettings) -> _Gpu:
    cuda = open_cuda(settings.device)
    from facefusion_ros.engines.trt_build import missing  # noqa: PLC0415  not needed elsewhere

    if lack := missing():
        cuda.close()
        raise EngineError(lack)
    try:
        return _Gpu(cuda, DevicePool(cuda, settings.pool_bytes), FrameMap(cuda), _kernels(cuda, settings))
    except EngineError:
        cuda.close()
        raise


def _kernels(cuda: Cuda, settings: EngineSettings) -> FaceKernels | None:
    kept = settings.tensorrt.cache if settings.tensorrt else None
    home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    try:
        with cuda.current():
            return FaceKernels(cuda, kept or home / 'facefusion_ros')
    except (EngineError, OSError) as error:
        _log.warning('the CPU crops the frames for the networks: %s', error)
        return None


ENGINES: Mapping[str, Callable[[_Network], Engine]] = {'tensorrt': _tensorrt, 'onnxruntime': _onnxruntime}
"""What loads each engine, by the name settings use."""
