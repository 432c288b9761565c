"""From an ONNX file to TensorRT's engine.

What a version can do is asked of its module, never read from its number. The file's own types are kept (a strongly
typed network), so that the precision is the file's; where a version cannot build it so but still has weakly typed
networks (10.x has them, 11.x has not), the builder may choose, which is logged and noted beside the engine.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from facefusion_ros.engines.cuda import missing as missing_cuda
from facefusion_ros.engines.engine import DeviceMemoryError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_log = logging.getLogger(__name__)

TensorRt = Any
"""TensorRT's module or something of it: untyped."""
Progress = Callable[[str, int, int], bool]
"""Called during a build with a phase, the steps done and their number; False gives the build up."""
Precision = Literal['fp32', 'fp16', 'int8']
Typing = Literal['auto', 'strong', 'weak']


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How an engine is built."""

    precision: Precision = 'fp32'
    """What the file was made for. The builder uses it for weakly typed networks only."""
    typing: Typing = 'auto'
    """``auto`` is strong, and weak where that fails and the version has it."""
    workspace_bytes: int = 1 << 30
    """Most memory that a layer may use; a Jetson takes it from all of its memory."""
    optimisation_level: int = 3
    """0 builds fastest, 5 searches longest."""


@dataclass(frozen=True, slots=True)
class Built:
    """An engine as bytes, what was measured on the way, and how it came to be."""

    plan: bytes
    timing: bytes
    typing: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Features:
    """What TensorRT offers here."""

    strong_typing: bool
    weak_typing: bool
    progress: bool

    @classmethod
    def of(cls, trt: TensorRt) -> Features:
        """Ask the module."""
        return cls(
            hasattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED'),
            hasattr(trt.BuilderFlag, 'FP16'),
            hasattr(trt, 'IProgressMonitor') and hasattr(trt.IBuilderConfig, 'progress_monitor'),
        )


def missing() -> str:
    """Say in one line why TensorRT cannot be used here, and what to do; empty where it can.

    The driver is asked first: without one TensorRT hands out objects that crash.
    """
    lack = missing_cuda()
    if lack:
        return lack
    try:
        load_tensorrt()
    except EngineError as error:
        return str(error)
    return ''


def load_tensorrt() -> TensorRt:
    """Import tensorrt; raises EngineError where it is missing or too old."""
    try:
        trt = import_module('tensorrt')
    except ImportError as error:
        if 'nvdla' in str(error):
            raise EngineError(
                f'TensorRT does not load ({error}): this container was made for an older JetPack; use the TensorRT of '
                'the host, or a container for this JetPack'
            ) from error
        if error.name == 'tensorrt':
            raise EngineError(
                'TensorRT is not installed: on a Jetson sudo apt install python3-libnvinfer, elsewhere pip install '
                'tensorrt; or use the onnxruntime engine'
            ) from error
        raise EngineError(f'TensorRT does not load ({error}): install its libraries of the same version') from error
    if not hasattr(trt.IExecutionContext, 'set_device_memory'):
        raise EngineError(f'TensorRT {trt.__version__} is too old, 10 is the oldest: use the onnxruntime engine')
    return trt


class Voice:
    """Where TensorRT's messages go: to the log, the last errors also into the text of exceptions."""

    def __init__(self, trt: TensorRt) -> None:
        self.errors: deque[str] = deque(maxlen=3)
        voice = self
        severity = trt.ILogger.Severity
        levels = {
            severity.INTERNAL_ERROR: logging.ERROR,
            severity.ERROR: logging.ERROR,
            severity.WARNING: logging.WARNING,
            severity.INFO: logging.DEBUG,
            severity.VERBOSE: logging.NOTSET,
        }

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: object, msg: str) -> None:
                level = levels.get(severity, logging.ERROR)
                if level >= logging.ERROR:
                    voice.errors.append(msg)
                if level > logging.NOTSET:
                    _log.log(level, 'TensorRT: %s', msg)

        self.logger = Logger()

    def complaint(self, what: str) -> EngineError:
        """Make an error out of what went wrong and what TensorRT said of it."""
        said = '; '.join(' '.join(each.split()) for each in self.errors) or 'it does not say why'
        self.errors.clear()
        if 'out of memory' in said.lower() or 'outofmemory' in said.lower():
            return DeviceMemoryError(f'{what}: the GPU has no memory left ({said[:300]})')
        return EngineError(f'{what}: {said[:400]}')


_voices: dict[TensorRt, Voice] = {}


def voice_of(trt: TensorRt) -> Voice:
    """Give the one voice of a TensorRT module; it must outlive all that TensorRT makes, so it is kept for good."""
    if trt not in _voices:
        _voices[trt] = Voice(trt)
    return _voices[trt]


def build(
    trt: TensorRt,
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    settings: BuildSettings,
    timing: bytes = b'',
    progress: Progress | None = None,
) -> Built:
    """Build an engine of fixed shapes; takes minutes. shapes gives those of inputs that the file leaves open.

    Called with CUDA's context current. Raises EngineError, and DeviceMemoryError where memory ran out.
    """
    features = Features.of(trt)
    ways = _ways(trt, features, settings.typing)
    started = time.monotonic()
    typing = ways[0]
    try:
        plan, measured = _build(trt, path, shapes, settings, typing, timing, progress)
    except _Unbuildable as error:
        if len(ways) == 1:
            raise
        _log.warning('%s; trying with weak typing, where TensorRT chooses the precision of each layer', error)
        typing = ways[1]
        plan, measured = _build(trt, path, shapes, settings, typing, timing, progress)
    return Built(plan, measured, typing, time.monotonic() - started)


class _Unbuildable(EngineError):
    """TensorRT refuses the file the way it was asked."""


def _ways(trt: TensorRt, features: Features, typing: Typing) -> tuple[str, ...]:
    possible = (('strong',) if features.strong_typing else ()) + (('weak',) if features.weak_typing else ())
    wanted = possible if typing == 'auto' else tuple(way for way in possible if way == typing)
    if not wanted:
        raise EngineError(
            f'TensorRT {trt.__version__} has no {typing} typing: use typing auto, and a file of the precision you want'
        )
    return wanted


def _build(
    trt: TensorRt,
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    settings: BuildSettings,
    typing: str,
    timing: bytes,
    progress: Progress | None,
) -> tuple[bytes, bytes]:
    voice = voice_of(trt)
    voice.errors.clear()
    builder = trt.Builder(voice.logger)
    # The enumerations were renumbered between versions: never a literal.
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if typing == 'strong' else 0
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, voice.logger)
    if not parser.parse_from_file(str(path)):
        # The parser's own words: what it logs is those, between a dump of the node.
        voice.errors.clear()
        for index in range(parser.num_errors):
            error = parser.get_error(index)
            where = f'{error.node_operator()} {error.node_name()}'.strip()
            voice.errors.append(f'{where}: {error.desc()}' if where else str(error.desc()))
        raise _unbuildable(voice, f'TensorRT {trt.__version__} does not take {path} ({typing} typing)')
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    config.builder_optimization_level = settings.optimisation_level
    if typing == 'weak' and settings.precision != 'fp32':
        config.set_flag(trt.BuilderFlag.FP16)
        if settings.precision == 'int8':
            config.set_flag(trt.BuilderFlag.INT8)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = fixed_shape(path, tensor.name, tuple(tensor.shape), shapes)
        if -1 in tuple(tensor.shape):
            profile.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    _set_timing(config, timing)
    monitor = _monitor(trt, progress) if progress and Features.of(trt).progress else None
    if monitor is not None:
        config.progress_monitor = monitor
    voice.errors.clear()
    serialized = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.stopped:
        raise EngineError(f'the build of {path} was given up: {monitor.stopped}')
    if serialized is None:
        raise _unbuildable(voice, f'TensorRT {trt.__version__} does not build {path} ({typing} typing)')
    measured = config.get_timing_cache()
    return bytes(serialized), bytes(measured.serialize()) if measured else b''


def _unbuildable(voice: Voice, what: str) -> EngineError:
    error = voice.complaint(what)
    return error if isinstance(error, DeviceMemoryError) else _Unbuildable(str(error))


def _set_timing(config: TensorRt, timing: bytes) -> None:
    """Start from earlier measurements; damaged or foreign ones are replaced."""
    cache = config.create_timing_cache(timing)
    if cache is None or not config.set_timing_cache(cache, False):  # noqa: FBT003 (TensorRT's ignore_mismatch)
        config.set_timing_cache(config.create_timing_cache(b''), False)  # noqa: FBT003 (TensorRT's ignore_mismatch)


def _monitor(trt: TensorRt, progress: Progress) -> TensorRt:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Called by TensorRT from threads of its own."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self.stopped = ''

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:  # noqa: ARG002 (TensorRT's)
            self._steps[phase_name] = num_steps

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if self.stopped:
                return False
            try:
                if progress(phase_name, step + 1, self._steps.get(phase_name, step + 1)):
                    return True
                self.stopped = 'it was asked to stop'
            except Exception as error:  # noqa: BLE001 (an exception must not pass through TensorRT's own code)
                self.stopped = f'its progress could not be told: {error}'
            return False

    return Monitor()


def fixed_shape(
    path: Path, name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """Give an input's shape: the file's, with what it leaves open (-1) as in shapes, and a batch of 1 by default."""
    wanted = shapes.get(name)
    if wanted is None:
        wanted = (1, *shape[1:]) if shape[:1] == (-1,) else shape
    fits = len(wanted) == len(shape) and all(here in (-1, there) for here, there in zip(shape, wanted, strict=True))
    if not fits or min(wanted, default=1) < 1:
        said = 'x'.join('?' if size == -1 else str(size) for size in shape)
        raise EngineError(f'{path} has input {name} of shape {said}: give a shape that fits it in the settings')
    return wanted
