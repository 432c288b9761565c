"""The engine that a network gets: the first of a chain that can be had, and the next when it runs out of memory."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from facefusion_ros.engines.engine import DeviceMemoryError, Engine, EngineError, TensorSpec
from facefusion_ros.engines.ort import OrtEngine, OrtSettings

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engines may run a network, best first, and how each of them runs it."""

    chain: tuple[str, ...] = ('onnxruntime',)
    """Of ``tensorrt`` (the native engine) and ``onnxruntime``."""
    onnxruntime: OrtSettings = field(default_factory=OrtSettings)
    tensorrt: object = None
    """Settings of the native TensorRT engine; None for its defaults."""

    def __post_init__(self) -> None:
        if not self.chain:
            raise EngineError('no engine is given: name at least onnxruntime')
        for name in self.chain:
            if name not in ENGINES:
                raise EngineError(f'there is no engine {name!r}: choose from {", ".join(ENGINES)}')


def load_engine(path: str | os.PathLike[str], settings: EngineSettings | None = None, sha256: str = '') -> Engine:
    """Load a network into the first engine of the chain that can be had.

    It is run once on zeros, unless the file leaves the shape of an input open. An engine that cannot be had is passed
    over with one line in the log. When device memory runs out later, the engine returned changes to the next of the
    chain by itself, repeats the run there and says so in one line. ``sha256`` is the file's digest where the caller has
    it already. Raises EngineError where no engine is left.
    """
    return _Chain(Path(path), settings or EngineSettings(), sha256)


class _Chain:
    """See ``load_engine``; an ``Engine``."""

    def __init__(self, path: Path, settings: EngineSettings, sha256: str) -> None:
        self._path = path
        self._settings = settings
        self._sha256 = sha256
        self._left = list(settings.chain)
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
        name = self._settings.chain[-len(self._left) - 1]
        self.close()
        self._refuse(name, error)
        self._engine = self._next()

    def _next(self) -> Engine:
        """Load the next engine that can be had and run it once."""
        while self._left:
            name = self._left.pop(0)
            try:
                engine = ENGINES[name](self._path, self._settings, self._sha256)
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
        reasons = (f'{name}: {reason}' for name, reason in zip(self._settings.chain, self._refused, strict=True))
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


def _onnxruntime(path: Path, settings: EngineSettings, sha256: str) -> Engine:
    return OrtEngine(path, settings.onnxruntime, sha256)


def _tensorrt(path: Path, settings: EngineSettings, _sha256: str) -> Engine:
    try:
        # Loaded only where it is asked for: it looks for a GPU and its driver.
        module = import_module('facefusion_ros.engines.tensorrt')
    except ImportError as error:
        raise EngineError(f'the TensorRT engine cannot be loaded ({error}): install TensorRT') from error
    engine: Engine = module.TensorRtEngine(path, settings.tensorrt)
    return engine


ENGINES: Mapping[str, Callable[[Path, EngineSettings, str], Engine]] = {
    'tensorrt': _tensorrt,
    'onnxruntime': _onnxruntime,
}
"""What loads each engine, by the name settings use."""
