"""A network run by ONNX Runtime."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from facefusion_ros.engines.engine import EngineError, TensorSpec
from facefusion_ros.engines.open_shapes import dimensions, has_external_data, parse, shape_text
from facefusion_ros.engines.optimised import LARGE_BYTES, OptimisedGraphs, Part, Recipe, digest, instructions
from facefusion_ros.engines.providers import CPU, Provider, options, provider
from facefusion_ros.engines.refusal import failure, refusal
from facefusion_ros.errors import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, IOBinding, NodeArg, SessionOptions

_log = logging.getLogger(__name__)

DTYPES: dict[str, np.dtype[np.generic]] = {
    'tensor(float)': np.dtype(np.float32),
    'tensor(float16)': np.dtype(np.float16),
    'tensor(double)': np.dtype(np.float64),
    'tensor(uint8)': np.dtype(np.uint8),
    'tensor(int8)': np.dtype(np.int8),
    'tensor(uint16)': np.dtype(np.uint16),
    'tensor(int16)': np.dtype(np.int16),
    'tensor(uint32)': np.dtype(np.uint32),
    'tensor(int32)': np.dtype(np.int32),
    'tensor(uint64)': np.dtype(np.uint64),
    'tensor(int64)': np.dtype(np.int64),
    'tensor(bool)': np.dtype(np.bool_),
}
"""Element types of ONNX Runtime that numpy has too."""

ERRORS_ONLY, NOTHING_BUT_FATAL = 3, 4
"""Severities of ONNX Runtime's own log, which goes to the standard error stream."""

SPIN_DURATION_SINCE = (1, 26)
"""Since then the time of spinning can be set (https://github.com/microsoft/onnxruntime/pull/27916); before, it can
only be ended with each run."""

NVIDIA = {'TensorrtExecutionProvider', 'CUDAExecutionProvider'}

NO_SHAPES: Mapping[str, tuple[int, ...]] = MappingProxyType({})
NO_OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class OrtSettings:
    """How ONNX Runtime runs a network."""

    providers: tuple[str, ...] = ('cpu',)
    """Best first: ``tensorrt``, ``cuda``, ``directml``, ``openvino``, ``cpu``, or ONNX Runtime's full names.

    Without ``cpu`` and with ``missing='error'``, a graph of which a part would run on the CPU is refused.
    """
    provider_options: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: NO_OPTIONS)
    """By the names used in ``providers``; see ONNX Runtime's documentation of each provider."""
    missing: Literal['error', 'warn'] = 'error'
    """What becomes of a provider that is not in this build, does not load, or gets no part of the graph.

    ONNX Runtime tells the last since 1.24 (https://github.com/microsoft/onnxruntime/pull/26781); before, what loads is
    taken to be in use, and the log says that nobody checked.
    """
    threads: int = 0
    """That compute together in one run, the calling one included; 0: one for each core, and each kept on its core, so
    that none wakes up where another is at work. Threads of a given number go where the system puts them."""
    spin_us: int = 1000
    """How long an idle thread waits busily for more of the run, in microseconds; 0: it sleeps at once, which makes runs
    slower. ONNX Runtime's own default is tens of milliseconds, which burns a core between the pictures of a camera."""
    cache: Path | None = None
    """Folder of optimised graphs and of the providers' own caches; None: optimise at each start."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: NO_SHAPES)
    """Shapes for inputs that the file leaves open; what follows from them is fixed and optimised for."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                'providers must name at least one, such as cpu': bool(self.providers),
                'missing must be error or warn': self.missing in {'error', 'warn'},
                'threads must be 0 or more': self.threads >= 0,
                'spin_us must be 0 or more': self.spin_us >= 0,
            },
        )


class OrtEngine:
    """A network in ONNX Runtime; see ``Engine``.

    A run binds the caller's arrays by address and keeps that binding for as long as the same array objects come again,
    so that a caller who keeps its arrays has nothing allocated or copied on its behalf on the CPU (an array must not
    change its shape or memory in place). On a GPU the provider copies between these arrays and its own memory.

    Run on the CPU provider only, so far; the others are passed through and checked to be really in use.
    """

    def __init__(self, path: str | os.PathLike[str], settings: OrtSettings | None = None, sha256: str = '') -> None:
        """Load a file; ``sha256`` is its digest where the caller has it already. Raises EngineError."""
        self._settings = settings or OrtSettings()
        self._path = Path(path)
        self._ort = _onnxruntime()
        _readable(self._path)
        chain = _present(self._ort, self._settings)
        self._session = self._load(chain, sha256)
        self._provider = _really_used(self._session, chain, self._settings)
        self._inputs = _specs(self._path, self._session.get_inputs(), self._settings.shapes)
        self._outputs = _specs(self._path, self._session.get_outputs(), NO_SHAPES)
        self._run_options = self._ort.RunOptions()
        # What goes wrong in a run is raised; ONNX Runtime would print it as well.
        self._run_options.log_severity_level = NOTHING_BUT_FATAL
        # The default, said: to find it unsaid takes ONNX Runtime's Python layer an exception at each run, 25 us.
        self._run_options.add_run_config_entry('gpu_graph_id', '0')
        self._binding: IOBinding | None = None
        self._bound_inputs: dict[str, NDArray[np.generic]] = {}
        self._bound_outputs: dict[str, NDArray[np.generic]] = {}

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs in the file's order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs in the file's order."""
        return self._outputs

    @property
    def provider(self) -> str:
        """The first provider of the chain that runs a part of the graph, as ONNX Runtime calls it.

        Before ONNX Runtime 1.24 the first that loads; see ``OrtSettings.missing``.
        """
        return self._provider

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Run once; see ``Engine``. Raises EngineError, and DeviceMemoryError where memory ran out."""
        if not (_same(inputs, self._bound_inputs) and _same(outputs, self._bound_outputs)):
            self._bind(inputs, outputs)
        self._execute(self._binding)

    def warm_up(self) -> None:
        """Run once on zeros; an open first dimension counts as 1. Raises EngineError where another is open."""
        self._open()
        binding = self._session.io_binding()
        zeros = []
        for spec in self._inputs:
            shape = tuple(1 if axis == 0 and size is None else size for axis, size in enumerate(spec.shape))
            if None in shape:
                raise EngineError(
                    f'{self._path}: cannot warm up, the file leaves {spec.name} open as {shape_text(spec.shape)}: '
                    'give its shape in the settings'
                )
            array = np.zeros([size or 0 for size in shape], spec.dtype)
            zeros.append(array)
            binding.bind_input(spec.name, 'cpu', 0, spec.dtype, array.shape, array.ctypes.data)
        for spec in self._outputs:
            binding.bind_output(spec.name, 'cpu')
        self._execute(binding)

    def close(self) -> None:
        """Release the network; may be called twice."""
        self._binding = None
        self._session = None
        self._bound_inputs = {}
        self._bound_outputs = {}

    def _open(self) -> None:
        if self._session is None:
            raise EngineError(f'{self._path} is closed: load it again')

    def _load(self, chain: dict[str, Provider], sha256: str) -> InferenceSession:
        """Return a session, of the optimised graph where one is kept."""
        folder = self._settings.cache
        if folder is None or not all(each.cacheable for each in chain.values()):
            shapes = self._settings.shapes
            return self._create(chain, dimensions(self._path, parse(self._path), shapes) if shapes else {})
        recipe = Recipe(
            model=sha256 or digest(self._path),
            shapes=str(sorted((name, *shape) for name, shape in self._settings.shapes.items())),
            providers=' '.join(each.name for each in chain.values()),
            onnxruntime=self._ort.__version__,
            processor=instructions(),
        )
        graphs, name = OptimisedGraphs(folder), self._path.stem
        kept = graphs.find(name, recipe)
        if kept is not None:
            try:
                return self._create(chain, {}, kept=kept)
            except EngineError as error:
                _log.warning('%s; making it anew', error)
        graph = parse(self._path)
        sizes, external = dimensions(self._path, graph, self._settings.shapes), has_external_data(graph)
        del graph
        if external:
            # Its weights are not in the digest, and a copy of the graph elsewhere would not find them.
            return self._create(chain, sizes)
        try:
            with graphs.writing(name, recipe) as part:
                session = self._create(chain, sizes, save=part)
        except (OSError, EngineError) as error:
            session = self._create(chain, sizes)
            _log.warning(
                '%s cannot keep an optimised graph of %s (%s), so it is optimised at each start: '
                'make room there or choose another folder',
                folder,
                self._path.name,
                error,
            )
        return session

    def _create(
        self,
        chain: dict[str, Provider],
        sizes: Mapping[str, int],
        *,
        kept: Path | None = None,
        save: Part | None = None,
    ) -> InferenceSession:
        settings, file = self._settings, kept or self._path
        names = [each.name for each in chain.values()]
        session_options = _session_options(self._ort, settings, names)
        for name, size in sizes.items():
            session_options.add_free_dimension_override_by_name(name, size)
        if kept is not None:
            session_options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if save is not None:
            session_options.optimized_model_filepath = str(save.graph)
            beside = 'session.optimized_model_external_initializers_'
            session_options.add_session_config_entry(f'{beside}file_name', save.weights.name)
            session_options.add_session_config_entry(f'{beside}min_size_in_bytes', str(LARGE_BYTES))
        try:
            return self._ort.InferenceSession(
                os.fspath(file),
                session_options,
                providers=names,
                provider_options=[
                    options(each, settings.cache, settings.provider_options.get(short, {}))
                    for short, each in chain.items()
                ],
                # It would print to the standard output and carry on with the CPU.
                enable_fallback=0,
            )
        except Exception as error:  # ONNX Runtime's exceptions share no other base
            raise refusal(file, str(error), self._ort.__version__) from error

    def _execute(self, binding: IOBinding) -> None:
        try:
            self._session.run_with_iobinding(binding, self._run_options)
        except Exception as error:  # ONNX Runtime's exceptions share no other base
            raise failure(self._path, str(error)) from error

    def _bind(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, NDArray[np.generic]]) -> None:
        self._open()
        if missing := [spec.name for spec in self._inputs if spec.name not in inputs]:
            raise EngineError(f'{self._path}: input {missing[0]} is missing: give all of {_names(self._inputs)}')
        if not outputs:
            raise EngineError(
                f'{self._path}: no output is asked for: give an array for some of {_names(self._outputs)}'
            )
        binding = self._session.io_binding()
        for name, array in inputs.items():
            spec = self._checked('input', name, array, self._inputs)
            binding.bind_input(name, 'cpu', 0, spec.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            spec = self._checked('output', name, array, self._outputs)
            if not array.flags.writeable:
                raise EngineError(
                    f'{self._path}: the array for output {name} is read-only: give one that can be written'
                )
            for other, given in (*inputs.items(), *outputs.items()):
                if other != name and np.may_share_memory(array, given):
                    raise EngineError(f'{self._path}: {name} and {other} share memory: give each its own')
            binding.bind_output(name, 'cpu', 0, spec.dtype, array.shape, array.ctypes.data)
        self._binding = binding
        self._bound_inputs = dict(inputs)
        self._bound_outputs = dict(outputs)

    def _checked(self, kind: str, name: str, array: NDArray[np.generic], specs: tuple[TensorSpec, ...]) -> TensorSpec:
        spec = next((each for each in specs if each.name == name), None)
        if spec is None:
            raise EngineError(f'{self._path}: there is no {kind} {name}: the file has {_names(specs)}')
        if array.dtype != spec.dtype:
            raise EngineError(f'{self._path}: {kind} {name} is {array.dtype}: it must be {spec.dtype}')
        if len(array.shape) != len(spec.shape) or any(
            wanted not in {None, size} for size, wanted in zip(array.shape, spec.shape, strict=True)
        ):
            raise EngineError(
                f'{self._path}: {kind} {name} is {shape_text(array.shape)}: the shape must be {shape_text(spec.shape)}'
            )
        if not array.flags.c_contiguous:
            raise EngineError(f'{self._path}: {kind} {name} is not C-contiguous: give a contiguous array')
        return spec


def _same(given: Mapping[str, NDArray[np.generic]], bound: dict[str, NDArray[np.generic]]) -> bool:
    """Whether these are the very arrays that are bound; none is bound of a network that is closed."""
    if len(given) != len(bound) or not bound:
        return False
    for name, array in bound.items():  # noqa: SIM110  an all() would make a generator at each run
        if given.get(name) is not array:
            return False
    return True


def _onnxruntime() -> ModuleType:
    try:
        return import_module('onnxruntime')
    except ImportError as error:
        raise EngineError(
            f'onnxruntime cannot be imported ({error}): pip install onnxruntime, or onnxruntime-gpu for NVIDIA'
        ) from error


def _readable(path: Path) -> None:
    try:
        with path.open('rb') as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise EngineError(f'{path} cannot be read ({error.strerror}): give the path of an ONNX file') from error
    if empty:
        raise EngineError(f'{path} is empty: download or export it again')


def _present(ort: ModuleType, settings: OrtSettings) -> dict[str, Provider]:
    """Return the providers of the chain that this build has, by the names the settings use."""
    available = ort.get_available_providers()
    chain = {}
    for name in settings.providers:
        each = provider(name)
        if each.name in available:
            chain[name] = each
        else:
            _complain(f'provider {name} is not in this build of onnxruntime {ort.__version__}: {each.cure}', settings)
    if NVIDIA & {each.name for each in chain.values()} and hasattr(ort, 'preload_dlls'):  # since 1.21
        # What pip installs of NVIDIA's libraries is not on the library path. What it prints is no output of ours.
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()
    return chain or {'cpu': provider('cpu')}


def _complain(message: str, settings: OrtSettings) -> None:
    if settings.missing == 'error':
        raise EngineError(message)
    _log.warning('%s', message)


def _really_used(session: InferenceSession, chain: dict[str, Provider], settings: OrtSettings) -> str:
    """Return the provider that comes first among those that run a part of the graph, as far as that is told."""
    loaded = session.get_providers()
    nodes: dict[str, int] = {}
    if hasattr(session, 'get_provider_graph_assignment_info'):  # since 1.24
        for part in session.get_provider_graph_assignment_info():
            nodes[part.ep_name] = nodes.get(part.ep_name, 0) + len(part.get_nodes())
        _log.info('nodes by provider: %s', ', '.join(f'{name} {count}' for name, count in nodes.items()))
    elif len(loaded) > 1:
        _log.info('this onnxruntime does not tell which of %s runs the graph: use 1.24 or later', ' and '.join(loaded))
    for name, each in chain.items():
        if each.name not in loaded:
            _complain(f'provider {name} does not load (ONNX Runtime has printed why): {each.cure}', settings)
        elif nodes and each.name not in nodes and each.name != CPU:
            _complain(
                f'provider {name} runs no part of this graph, it all runs on {" and ".join(nodes)}: '
                f'leave {name} out, or export the graph with operators that it has',
                settings,
            )
    return next((name for name in loaded if name in nodes), str(loaded[0]))


def _session_options(ort: ModuleType, settings: OrtSettings, providers: list[str]) -> SessionOptions:
    made = ort.SessionOptions()
    made.log_severity_level = ERRORS_ONLY
    made.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    made.inter_op_num_threads = 1
    # ONNX Runtime counts and places threads by the machine, and knows nothing of cores that a process may not use.
    made.intra_op_num_threads = settings.threads or (cores() if _confined() else 0)
    # DirectML does without memory patterns:
    # https://onnxruntime.ai/docs/execution-providers/DirectML-ExecutionProvider.html
    made.enable_mem_pattern = 'DmlExecutionProvider' not in providers
    made.add_session_config_entry('session.intra_op.allow_spinning', '1' if settings.spin_us else '0')
    made.add_session_config_entry('session.intra_op.spin_duration_us', str(settings.spin_us))
    if _version(ort) < SPIN_DURATION_SINCE:
        made.add_session_config_entry('session.force_spinning_stop', '1')
    made.add_session_config_entry('session.record_ep_graph_assignment_info', '1')
    if CPU not in providers and settings.missing == 'error':
        made.add_session_config_entry('session.disable_cpu_ep_fallback', '1')
    return made


def _confined() -> bool:
    return hasattr(os, 'sched_getaffinity') and len(os.sched_getaffinity(0)) < (os.cpu_count() or 1)


def _version(ort: ModuleType) -> tuple[int, ...]:
    return tuple(int(part) for part in ort.__version__.split('.')[:2])


def cores() -> int:
    """Count the physical cores that this process may use: two threads gain nothing from one core's arithmetic."""
    usable = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else set(range(os.cpu_count() or 1))
    folders = (Path(f'/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list') for number in usable)
    return len({file.read_text() if file.exists() else str(file) for file in folders})


def _specs(path: Path, tensors: Sequence[NodeArg], wanted: Mapping[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    specs = []
    for each in tensors:
        if each.type not in DTYPES:
            raise EngineError(
                f'{path}: {each.name} is a {each.type}, which numpy has not: export it as float32 or float16'
            )
        # A dimension without a name stays open in the session, whatever shape is wanted.
        held = tuple(size if isinstance(size, int) else None for size in each.shape)
        shape: tuple[int | None, ...] = wanted.get(each.name, held)
        specs.append(TensorSpec(each.name, shape, DTYPES[each.type]))
    return tuple(specs)


def _names(specs: tuple[TensorSpec, ...]) -> str:
    return ', '.join(spec.name for spec in specs)
