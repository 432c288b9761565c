"""Networks in TensorRT.

What has been checked: behaviour against a runtime without a GPU; that all that is used of TensorRT's module exists in
the bindings of 10.3, 10.7, 10.13, 10.16 and 11.4; and that TensorRT-RTX, its sibling for PCs, parses and builds what
goes in here. No engine has been run on a GPU.
"""

from __future__ import annotations

import logging
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.device import DeviceTensor
from facefusion_ros.engines.engine import EngineError, TensorSpec
from facefusion_ros.engines.optimised import digest
from facefusion_ros.engines.trt_build import BuildSettings, Progress, TensorRt, build, load_tensorrt, voice_of
from facefusion_ros.engines.trt_cache import EngineCache, EngineKey

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from facefusion_ros.engines.cuda import Cuda, DevicePool
    from facefusion_ros.engines.device import DeviceEngine, GpuFrames

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scratch:
    """Device memory for what layers hand to each other, shared by engines of which only one runs at a time."""

    address: int
    size: int


@dataclass(frozen=True, slots=True)
class TensorRtSettings:
    """How a network is loaded."""

    cache: Path | None = None
    """Folder of engines; None builds at every start."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of inputs that the file leaves open; an open batch is 1 where nothing is said."""
    build: BuildSettings = field(default_factory=BuildSettings)
    graph: bool = True
    """Replay a captured CUDA graph from the third run on: one launch rather than one per layer."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    spec: TensorSpec
    host: NDArray[np.uint8]
    view: NDArray[np.generic]
    device: int
    lent: bool
    """From the pool; else the device sees the host's pages, and nothing is copied."""


class TensorRtEngine:
    """A network in TensorRT; see ``Engine``.

    Shapes are fixed when it is loaded. Arrays are copied to and from pinned memory that lives as long as the engine; on
    a device that shares the host's memory that is all, elsewhere asynchronous copies take them further. Weights are
    held by TensorRT itself, everything else comes from the pool; nothing is allocated once it is loaded.

    Where it is given ``frames`` it is a ``DeviceEngine`` too.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        cuda: Cuda,
        pool: DevicePool,
        settings: TensorRtSettings | None = None,
        *,
        scratch: Scratch | None = None,
        sha256: str = '',
        progress: Progress | None = None,
        frames: GpuFrames | None = None,
    ) -> None:
        """Load a file, building its engine where none is kept; ``sha256`` is its digest where that is known.

        An open ``cuda`` shows that there is a driver, without which TensorRT would crash. Raises EngineError, and
        DeviceMemoryError where the device has no room.
        """
        self._path = Path(path)
        self._cuda = cuda
        self._pool = pool
        self._frames = frames
        self._settings = settings or TensorRtSettings()
        self._trt = load_tensorrt()
        self._voice = voice_of(self._trt)
        self._tensors: dict[str, _Tensor] = {}
        self._graphs: dict[tuple[str, ...], int] = {}
        self._ran: set[tuple[str, ...]] = set()
        self._capture = self._settings.graph
        self._own_scratch = 0
        self._stream = 0
        self._at_close: list[Callable[[], None]] = []
        self._context: TensorRt = None
        self._engine: TensorRt = None
        self._runtime: TensorRt = None
        try:
            with cuda.current():
                self._runtime = self._trt.Runtime(self._voice.logger)
                self._engine = self._load(sha256, progress)
                self._prepare(scratch)
        except BaseException:
            self.close()
            raise

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs in the file's order, with the shapes they were fixed to."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs in the file's order."""
        return self._outputs

    @property
    def provider(self) -> str:
        """TensorRT, with all of its version."""
        return f'TensorRT {self._trt.__version__}'

    @property
    def device(self) -> DeviceEngine | None:
        """Its part on the GPU, where inputs can be filled there; see ``device.device_of``."""
        return self if self._frames is not None and self._context is not None else None

    @property
    def cuda(self) -> Cuda:
        """The GPU."""
        return self._cuda

    @property
    def pool(self) -> DevicePool:
        """Where its memory comes from."""
        return self._pool

    @property
    def frames(self) -> GpuFrames:
        """How it comes by frames; raises EngineError where it was not told."""
        if self._frames is None:
            raise EngineError(f'{self._path} was loaded without a way to frames: fill its inputs on the host')
        return self._frames

    @property
    def stream(self) -> int:
        """The stream it runs on."""
        return self._stream

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Run once; see ``Engine``. Raises EngineError."""
        self._run((), inputs, outputs)

    def device_input(self, name: str) -> DeviceTensor:
        """Say where an input lies; see ``DeviceEngine``. Raises EngineError."""
        if name not in {spec.name for spec in self._inputs}:
            raise EngineError(f'{self._path} has no input {name}: it has {", ".join(s.name for s in self._inputs)}')
        tensor = self._tensors[name]
        return DeviceTensor(tensor.device, tensor.view.shape, tensor.spec.dtype)

    def run_device(
        self,
        filled: Collection[str],
        inputs: Mapping[str, NDArray[np.generic]],
        outputs: Mapping[str, NDArray[np.generic]],
    ) -> None:
        """Run on inputs of which some are on the device already; see ``DeviceEngine``. Raises EngineError."""
        try:
            self._run(filled, inputs, outputs)
        except EngineError:
            if self._stream:
                with self._cuda.current(), suppress(EngineError):
                    self._cuda.synchronize(self._stream)
            raise

    def at_close(self, release: Callable[[], None]) -> None:
        """Have ``release`` called by ``close``, with the GPU current."""
        self._at_close.append(release)

    def pinned(self, name: str) -> NDArray[np.generic]:
        """Give the engine's own array for an input or output: ``run`` does not copy it. Valid until ``close``."""
        return self._tensors[name].view

    def warm_up(self) -> None:
        """Run on zeros until nothing is left to be prepared."""
        if self._context is None:
            raise EngineError(f'{self._path} is closed: load it again')
        for spec in self._inputs:
            self._tensors[spec.name].host[:] = 0
        for _ in range(2):
            self._execute((), self._output_names)

    def close(self) -> None:
        """Release the network; may be called twice."""
        with self._cuda.current():
            if self._stream:
                # What a refused run has left under way still uses the memory that goes now.
                with suppress(EngineError):
                    self._cuda.synchronize(self._stream)
                self._cuda.drop_stream(self._stream)
            for release in self._at_close:
                release()
            for graph in self._graphs.values():
                self._cuda.drop_graph(graph)
            # In this order, as TensorRT wants it.
            self._context = None
            self._engine = None
            self._runtime = None
            for tensor in self._tensors.values():
                if tensor.lent:
                    self._pool.give_back(tensor.device)
                self._cuda.free_pinned(tensor.host)
        if self._own_scratch:
            self._pool.give_back(self._own_scratch)
        self._stream = self._own_scratch = 0
        self._at_close.clear()
        self._graphs.clear()
        self._tensors.clear()

    def _load(self, sha256: str, progress: Progress | None) -> TensorRt:
        """Take the kept engine where it fits and loads, else build one."""
        settings, device = self._settings.build, self._cuda.device
        try:
            model = sha256 or digest(self._path)
        except OSError as error:
            raise EngineError(f'{self._path} cannot be read: {error.strerror}') from error
        key = EngineKey(
            model=model,
            tensorrt=self._trt.__version__,
            gpu=device.name,
            compute_capability='.'.join(map(str, device.compute_capability)),
            multiprocessors=device.multiprocessors,
            machine=platform.machine(),
            precision=settings.precision,
            typing=settings.typing,
            shapes=', '.join(f'{name} {_text(shape)}' for name, shape in sorted(self._settings.shapes.items())),
            workspace_bytes=settings.workspace_bytes,
            optimisation_level=settings.optimisation_level,
        )
        cache = EngineCache(self._settings.cache) if self._settings.cache else None
        kept = cache.find(self._path.stem, key) if cache else None
        if kept is not None:
            engine = self._runtime.deserialize_cuda_engine(kept)
            if engine is not None:
                return engine
            refusal = self._voice.complaint(f'TensorRT refuses the kept engine of {self._path}')
            _log.warning('%s; building it anew', refusal)
        _log.info('building the TensorRT engine of %s; this takes minutes', self._path)
        timing = cache.timing(key) if cache else b''
        built = build(self._trt, self._path, self._settings.shapes, settings, timing, progress)
        engine = self._runtime.deserialize_cuda_engine(built.plan)
        if engine is None:
            raise self._voice.complaint(f'TensorRT does not load what it built of {self._path}')
        if cache:
            cache.keep_timing(key, built.timing)
            notes: dict[str, object] = {'built_with_typing': built.typing, 'build_s': round(built.seconds, 1)}
            cache.keep(self._path.stem, key, built.plan, notes)
        return engine

    def _prepare(self, scratch: Scratch | None) -> None:
        """Make the context, its memory and the buffers."""
        trt, engine = self._trt, self._engine
        names = tuple(engine.get_tensor_name(index) for index in range(engine.num_io_tensors))
        is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = engine.create_execution_context(strategy)
        if context is None:
            raise self._voice.complaint(f'TensorRT does not prepare {self._path} to run')
        need = int(engine.device_memory_size_v2)
        if scratch is None or scratch.size < need:
            self._own_scratch = self._pool.take(need, f'scratch of {self._path.name}')
            scratch = Scratch(self._own_scratch, need)
        context.set_device_memory(scratch.address, scratch.size)
        self._stream = self._cuda.stream()
        for name in names:
            if is_input[name] and -1 in tuple(engine.get_tensor_shape(name)):
                # The one profile of the engine has this shape as its least, best and most.
                shape = tuple(engine.get_tensor_profile_shape(name, 0)[1])
                if not context.set_input_shape(name, shape):
                    raise self._voice.complaint(f'{self._path} refuses the shape {_text(shape)} of {name}')
        open_inputs = context.infer_shapes()
        if open_inputs:
            raise EngineError(f'{self._path} leaves shapes open: {", ".join(open_inputs)}')
        for name in names:
            self._tensors[name] = tensor = self._tensor(name, tuple(context.get_tensor_shape(name)))
            if not context.set_tensor_address(name, tensor.device):
                raise self._voice.complaint(f'{self._path} refuses memory for {name}')
        specs = {name: self._tensors[name].spec for name in names}
        self._inputs = tuple(specs[name] for name in names if is_input[name])
        self._outputs = tuple(specs[name] for name in names if not is_input[name])
        self._output_names = tuple(spec.name for spec in self._outputs)
        self._context = context

    def _tensor(self, name: str, shape: tuple[int, ...]) -> _Tensor:
        if -1 in shape:
            raise EngineError(f'{self._path} gives {name} a shape that depends on values: run it with onnxruntime')
        kind = self._engine.get_tensor_dtype(name)
        try:
            dtype = np.dtype(self._trt.nptype(kind))
        except TypeError as error:
            raise EngineError(f'{self._path}: {name} is {kind}, which numpy has not: cast it in the file') from error
        size = max(int(np.prod(shape)) * dtype.itemsize, 1)
        mapped = self._cuda.device.integrated
        device = 0 if mapped else self._pool.take(size, f'{name} of {self._path.name}')
        try:
            host = self._cuda.pinned(size, mapped=mapped)
        except EngineError:
            if not mapped:
                self._pool.give_back(device)
            raise
        view = host[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)
        spec = TensorSpec(name, shape, dtype)
        return _Tensor(spec, host, view, self._cuda.address_of(host) if mapped else device, lent=not mapped)

    def _check(self, name: str, array: NDArray[np.generic]) -> None:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise EngineError(f'{self._path} has no tensor {name}: it has {", ".join(self._tensors)}')
        if array.dtype != tensor.spec.dtype or array.shape != tensor.view.shape:
            raise EngineError(
                f'{self._path}: {name} is {tensor.spec.dtype} of {_text(tensor.view.shape)}, and not {array.dtype} of '
                f'{_text(array.shape)}'
            )

    def _run(
        self,
        filled: Collection[str],
        inputs: Mapping[str, NDArray[np.generic]],
        outputs: Mapping[str, NDArray[np.generic]],
    ) -> None:
        if self._context is None:
            raise EngineError(f'{self._path} is closed: load it again')
        for spec in self._inputs:
            if spec.name not in inputs and spec.name not in filled:
                raise EngineError(f'{self._path} wants an input {spec.name}: give it')
        for name, array in (*inputs.items(), *outputs.items()):
            self._check(name, array)
        for name, array in inputs.items():
            if array is not self._tensors[name].view:
                np.copyto(self._tensors[name].view, array)
        self._execute(filled, tuple(outputs))
        for name, array in outputs.items():
            if array is not self._tensors[name].view:
                np.copyto(array, self._tensors[name].view)

    def _execute(self, filled: Collection[str], wanted: tuple[str, ...]) -> None:
        """Run on what is on the device, and lies in the other pinned inputs, until the wanted outputs lie in theirs."""
        with self._cuda.current():
            graph = self._graphs.get(wanted)
            if graph is None and self._capture and wanted in self._ran:
                graph = self._captured(wanted)
            for spec in self._inputs:
                tensor = self._tensors[spec.name]
                if tensor.lent and spec.name not in filled:
                    self._cuda.copy_in(tensor.device, tensor.host, self._stream)
            if graph is None:
                # TensorRT must have run once before a capture, to prepare what may not be prepared within one.
                self._enqueue(wanted)
                self._ran.add(wanted)
            else:
                self._cuda.launch_graph(graph, self._stream)
            self._cuda.synchronize(self._stream)

    def _enqueue(self, wanted: tuple[str, ...]) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise self._voice.complaint(f'TensorRT does not run {self._path}')
        for name in wanted:
            tensor = self._tensors[name]
            if tensor.lent:
                self._cuda.copy_out(tensor.host, tensor.device, self._stream)

    def _captured(self, wanted: tuple[str, ...]) -> int | None:
        """Capture a run; None, once and for all, where the network does not allow it."""
        refusal: EngineError | None = None
        graph: int | None = None
        # A capture begins with an empty stream.
        self._cuda.synchronize(self._stream)
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue(wanted)
        except EngineError as error:
            refusal = error
        try:
            # Ended in any case, or the stream would stay in it.
            graph = self._cuda.end_capture(self._stream)
        except EngineError as error:
            refusal = refusal or error
        if refusal or graph is None:
            if graph is not None:
                self._cuda.drop_graph(graph)
            self._capture = False
            _log.warning('%s runs without a CUDA graph: %s', self._path, refusal)
            return None
        self._graphs[wanted] = graph
        return graph


def _text(shape: tuple[int, ...]) -> str:
    return 'x'.join(map(str, shape)) or 'scalar'
