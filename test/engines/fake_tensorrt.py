"""TensorRT and CUDA without a GPU, with the rules that matter to the caller.

A stream's work is done when somebody waits for it and no sooner, a capture does nothing, memory that was given back is
filled with rubbish, TensorRT's objects want a current context, an engine computes what ONNX's own reference evaluator
does. ``tensorrt(eleven=...)`` gives a module as of 10 or of 11; test_trt_contract.py holds its names against the real
ones.
"""

from __future__ import annotations

import ctypes
import enum
import json
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import google.protobuf.message
import numpy as np
import onnx
import onnx.checker
import pytest
from onnx.reference import ReferenceEvaluator

from facefusion_ros.engines.cuda import Device, MappedHost
from facefusion_ros.engines.device import GpuFrames
from facefusion_ros.engines.engine import DeviceMemoryError, EngineError
from facefusion_ros.engines.frame_map import FrameMap
from facefusion_ros.engines.kernels import launch, nvcc

RUBBISH = 0xA5
SEEN_AT = 1 << 48
"""How much further the device sees mapped memory than the host."""


class FakeCuda:
    """``Cuda`` on the host's memory."""

    binding = 'fake'

    def __init__(self, *, integrated: bool = False, host_register: bool = True, name: str = 'Fake Orin') -> None:
        self.device = Device(name, (8, 7), 1 << 30, 16, integrated=integrated, host_register=host_register)
        self.library: ctypes.CDLL | None = None
        """The kernels, built for the CPU."""
        self.mapped: dict[int, MappedHost] = {}
        self.copied_bytes = 0
        self.depth = 0
        self.memory: dict[int, np.ndarray] = {}
        self.host: dict[int, np.ndarray] = {}
        self.queues: dict[int, list] = {}
        self.capturing: set[int] = set()
        self.graphs: dict[int, list] = {}
        self.allocations = 0
        self.copies = 0
        self.launched = 0
        self.room = 1 << 28
        self._next = 1

    def handle(self) -> int:
        self._next += 1
        return self._next

    @contextmanager
    def current(self):
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def need_context(self) -> None:
        if not self.depth:
            raise EngineError('no context is current')

    def free_bytes(self) -> int:
        return self.room - sum(map(len, self.memory.values()))

    def _new(self, size: int) -> np.ndarray:
        self.need_context()
        self.allocations += 1
        room = np.full(size + 256, RUBBISH, np.uint8)
        start = -room.ctypes.data % 256
        return room[start : start + size]

    def allocate(self, size: int) -> int:
        if size > self.free_bytes():
            raise DeviceMemoryError('the GPU has no memory left')
        block = self._new(size)
        self.memory[block.ctypes.data] = block
        return block.ctypes.data

    def free(self, address: int) -> None:
        self.need_context()
        self.memory.pop(address)[:] = RUBBISH

    def pinned(self, size: int, *, mapped: bool = False) -> np.ndarray:
        assert mapped in (False, self.device.integrated)
        block = self._new(size)
        self.host[block.ctypes.data] = block
        return block

    def free_pinned(self, pinned: np.ndarray) -> None:
        self.need_context()
        self.host.pop(pinned.ctypes.data)[:] = RUBBISH

    def address_of(self, pinned: np.ndarray) -> int:
        assert self.device.integrated
        return pinned.ctypes.data

    def map_host(self, pages: np.ndarray, *, read_only: bool = True) -> MappedHost:
        self.need_context()
        if not self.device.host_register:
            raise EngineError('Fake Nano cannot map memory that is there already: copy through pinned memory')
        assert pages.ctypes.data not in self.mapped
        mapped = MappedHost(pages, pages.ctypes.data + SEEN_AT, read_only)
        self.mapped[pages.ctypes.data] = mapped
        return mapped

    def unmap_host(self, mapped: MappedHost) -> None:
        self.need_context()
        assert not any(self.queues.values()), 'work was under way'
        del self.mapped[mapped.pages.ctypes.data]

    def kernels(self, cubin: bytes, names: tuple[str, ...]) -> dict[str, str]:
        self.need_context()
        assert isinstance(cubin, bytes)
        return {name: name for name in names}

    def launch(
        self, kernel: str, grid: tuple[int, int], block: tuple[int, int], argument: np.void, stream: int
    ) -> None:
        task = argument.copy()
        assert grid[0] * block[0] >= task['width']
        assert grid[1] * block[1] >= task['height']
        for name in ('pixels', 'output'):
            task[name] = self.seen(int(task[name]))
        raw = ctypes.create_string_buffer(task.tobytes(), task.nbytes)
        self.enqueue(stream, lambda: getattr(self.library, f'run_{kernel}')(raw))

    def seen(self, address: int) -> int:
        """Where the host has what the device sees there."""
        for start, mapped in self.mapped.items():
            if start + SEEN_AT <= address < start + SEEN_AT + mapped.pages.nbytes:
                assert self.device.integrated, 'mapped memory is read over the bus'
                return address - SEEN_AT
        blocks = {**self.memory, **(self.host if self.device.integrated else {})}
        assert any(start <= address < start + len(block) for start, block in blocks.items()), 'the device sees it not'
        return address

    def stream(self) -> int:
        made = self.handle()
        self.queues[made] = []
        return made

    def drop_stream(self, stream: int) -> None:
        self.need_context()
        assert not self.queues[stream], 'work was under way'
        del self.queues[stream]

    def enqueue(self, stream: int, work) -> None:
        self.need_context()
        self.queues[stream].append(work)

    def copy_in(self, address: int, host: np.ndarray, stream: int) -> None:
        self._copy(address, host.ctypes.data, host, stream)

    def copy_out(self, host: np.ndarray, address: int, stream: int) -> None:
        self._copy(host.ctypes.data, address, host, stream)

    def _copy(self, to: int, source: int, host: np.ndarray, stream: int) -> None:
        pinned = any(
            start <= host.ctypes.data and host.ctypes.data + host.nbytes <= start + size
            for start, size in [
                *((start, len(block)) for start, block in self.host.items()),
                *((start, each.pages.nbytes) for start, each in self.mapped.items()),
            ]
        )
        assert pinned, 'only pinned memory is copied asynchronously'

        def work() -> None:
            self.copies += 1
            self.copied_bytes += host.nbytes
            ctypes.memmove(to, source, host.nbytes)

        self.enqueue(stream, work)

    def synchronize(self, stream: int) -> None:
        self.need_context()
        assert stream not in self.capturing
        for work in self.queues[stream]:
            work()
        self.queues[stream].clear()

    def begin_capture(self, stream: int) -> None:
        self.need_context()
        assert not self.queues[stream]
        self.capturing.add(stream)

    def end_capture(self, stream: int) -> int:
        self.capturing.remove(stream)
        graph = self.handle()
        self.graphs[graph] = list(self.queues[stream])
        self.queues[stream].clear()
        if any(work is None for work in self.graphs[graph]):
            del self.graphs[graph]
            raise EngineError('the capture was broken')
        return graph

    def launch_graph(self, graph: int, stream: int) -> None:
        self.need_context()
        self.launched += 1
        self.queues[stream].extend(self.graphs[graph])

    def drop_graph(self, graph: int) -> None:
        del self.graphs[graph]

    def left(self) -> int:
        """What nobody gave back."""
        return len(self.memory) + len(self.host) + len(self.queues) + len(self.graphs) + len(self.mapped)


def kernels_on_cpu(folder: Path) -> ctypes.CDLL:
    """Build the kernels as a library for this CPU."""
    compiler = shutil.which('g++')
    if compiler is None:
        pytest.skip('g++ is not on this machine')
    library = folder / 'kernels.so'
    flags = ['-std=c++17', '-O2', '-ffp-contract=off', '-shared', '-fPIC', '-x', 'c++', f'-I{nvcc.SOURCES}']
    source = Path(__file__).with_name('kernels_on_cpu.cpp')
    done = subprocess.run([compiler, *flags, str(source), '-o', str(library)], text=True, capture_output=True)
    assert not done.returncode, done.stderr
    return ctypes.CDLL(str(library))


def gpu_frames(cuda: FakeCuda, folder: Path, monkeypatch: pytest.MonkeyPatch) -> GpuFrames:
    """Give it a way to frames; the kernels are those of ``cuda.library``."""
    cubin = folder / 'kernels.cubin'
    cubin.write_bytes(b'')
    monkeypatch.setattr(launch, 'compile_kernels', lambda *_: cubin)
    with cuda.current():
        return GpuFrames(FrameMap(cuda), launch.FaceKernels(cuda, folder))


class Refusals:
    """What goes wrong on purpose, by what it is called; a test sets them."""

    def __init__(self) -> None:
        self.strong = ''
        self.build = ''
        self.deserialize = ''
        self.execute = ''
        self.capture = False
        self.builds = 0
        self.flags: set[str] = set()
        self.timing_taken = b''
        self.dtypes: dict[str, object] = {}


def tensorrt(cuda: FakeCuda, refusals: Refusals, *, eleven: bool, version: str = '') -> ModuleType:
    """Make a module that looks and behaves like TensorRT 10, or 11."""
    trt = ModuleType('tensorrt')
    trt.__version__ = version or ('11.4.0.106' if eleven else '10.3.0')

    creation = {'STRONGLY_TYPED': 0} if eleven else {'EXPLICIT_BATCH': 0, 'STRONGLY_TYPED': 1}
    trt.NetworkDefinitionCreationFlag = enum.IntEnum('NetworkDefinitionCreationFlag', creation)
    flags = {'TF32': 4} if eleven else {'FP16': 0, 'INT8': 1, 'TF32': 7}
    trt.BuilderFlag = enum.IntEnum('BuilderFlag', flags)
    trt.MemoryPoolType = enum.Enum('MemoryPoolType', ['WORKSPACE'])
    trt.TensorIOMode = enum.Enum('TensorIOMode', ['NONE', 'INPUT', 'OUTPUT'])
    trt.ExecutionContextAllocationStrategy = enum.Enum('ExecutionContextAllocationStrategy', ['STATIC', 'USER_MANAGED'])
    trt.DataType = enum.Enum('DataType', ['FLOAT', 'HALF', 'INT64', 'BF16'])
    kinds = {'FLOAT': np.float32, 'HALF': np.float16, 'INT64': np.int64}

    def nptype(kind: enum.Enum) -> type:
        if kind.name not in kinds:
            raise TypeError('Could not resolve TensorRT datatype to an equivalent numpy datatype.')
        return kinds[kind.name]

    trt.nptype = nptype

    class ILogger:
        Severity = enum.Enum('Severity', ['INTERNAL_ERROR', 'ERROR', 'WARNING', 'INFO', 'VERBOSE'])

    class IProgressMonitor:
        pass

    class ParserError:
        def __init__(self, text: str) -> None:
            self._text = text

        def desc(self) -> str:
            return self._text

        def node_name(self) -> str:
            return ''

        def node_operator(self) -> str:
            return ''

    class ITensor:
        def __init__(self, name: str, shape: tuple[int, ...]) -> None:
            self.name = name
            self.shape = shape

    class INetworkDefinition:
        def __init__(self, strong: bool) -> None:
            self.strong = strong
            self.model = b''
            self._inputs: list[ITensor] = []

        @property
        def num_inputs(self) -> int:
            return len(self._inputs)

        def get_input(self, index: int) -> ITensor:
            return self._inputs[index]

    class OnnxParser:
        def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
            self._network, self._logger = network, logger
            self._errors: list[str] = []

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> ParserError:
            return ParserError(self._errors[index])

        def parse_from_file(self, path: str) -> bool:
            try:
                model = onnx.load(path)
                onnx.checker.check_model(model)
            except (google.protobuf.message.DecodeError, onnx.checker.ValidationError) as error:
                self._errors.append(f'Failed to parse: {type(error).__name__}')
                return False
            if refusals.strong and self._network.strong:
                self._errors.append(refusals.strong)
                return False
            self._network.model = model.SerializeToString()
            for each in model.graph.input:
                self._network._inputs.append(ITensor(each.name, shape_of(each)))
            return True

    class ITimingCache:
        def __init__(self, content: bytes) -> None:
            self._content = content

        def serialize(self) -> memoryview:
            return memoryview(self._content)

    class IOptimizationProfile:
        def __init__(self) -> None:
            self.shapes: dict[str, tuple[int, ...]] = {}

        def set_shape(self, name: str, least: tuple, best: tuple, most: tuple) -> None:
            assert least == best == most
            self.shapes[name] = best

    class IBuilderConfig:
        progress_monitor = None
        builder_optimization_level = 3

        def __init__(self) -> None:
            self.profile = IOptimizationProfile()
            self._timing = ITimingCache(b'')

        def set_memory_pool_limit(self, pool: enum.Enum, pool_size: int) -> None:
            assert pool is trt.MemoryPoolType.WORKSPACE
            assert pool_size > 0

        def set_flag(self, flag: enum.IntEnum) -> None:
            refusals.flags.add(flag.name)

        def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
            self.profile = profile
            return 0

        def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
            return None if serialized_timing_cache == b'damaged' else ITimingCache(serialized_timing_cache)

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            assert ignore_mismatch is False
            self._timing = cache
            return not bytes(cache.serialize()).startswith(b'foreign')

        def get_timing_cache(self) -> ITimingCache:
            return self._timing

    class Builder:
        def __init__(self, logger: ILogger) -> None:
            cuda.need_context()
            self._logger = logger

        def create_network(self, flags: int = 0) -> INetworkDefinition:
            return INetworkDefinition(bool(flags >> int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) & 1))

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> memoryview | None:
            refusals.builds += 1
            refusals.timing_taken = bytes(config._timing.serialize())
            monitor = config.progress_monitor
            if monitor:
                monitor.phase_start('Tactics', None, 3)
                for step in range(3):
                    if not monitor.step_complete('Tactics', step):
                        return None
                monitor.phase_finish('Tactics')
            if refusals.build:
                self._logger.log(ILogger.Severity.ERROR, refusals.build)
                return None
            config._timing = ITimingCache(b'measured')
            head = {'version': trt.__version__, 'shapes': config.profile.shapes}
            return memoryview(json.dumps(head).encode() + b'\0' + network.model)

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            cuda.need_context()
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            head, _, model = bytes(serialized_engine).partition(b'\0')
            if refusals.deserialize or json.loads(head)['version'] != trt.__version__:
                text = (
                    refusals.deserialize or 'Serialization assertion failed: stdVersionRead == kSERIALIZATION_VERSION'
                )
                self._logger.log(ILogger.Severity.ERROR, text)
                return None
            return ICudaEngine(onnx.load_from_string(model), json.loads(head)['shapes'], self._logger)

    class ICudaEngine:
        device_memory_size_v2 = 5000

        def __init__(self, model: onnx.ModelProto, shapes: dict, logger: ILogger) -> None:
            self.model, self.profile, self._logger = model, shapes, logger
            self.values = [*model.graph.input, *model.graph.output]
            self.inputs = [each.name for each in model.graph.input]

        @property
        def num_io_tensors(self) -> int:
            return len(self.values)

        def get_tensor_name(self, index: int) -> str:
            return self.values[index].name

        def get_tensor_mode(self, name: str) -> enum.Enum:
            return trt.TensorIOMode.INPUT if name in self.inputs else trt.TensorIOMode.OUTPUT

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return next(shape_of(each) for each in self.values if each.name == name)

        def get_tensor_dtype(self, name: str) -> enum.Enum:
            if name in refusals.dtypes:
                return refusals.dtypes[name]
            element = next(each.type.tensor_type.elem_type for each in self.values if each.name == name)
            dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
            return next(trt.DataType[kind] for kind, known in kinds.items() if np.dtype(known) == dtype)

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
            assert profile_index == 0
            return [tuple(self.profile[name])] * 3

        def create_execution_context(self, strategy: enum.Enum) -> IExecutionContext:
            cuda.need_context()
            assert strategy is trt.ExecutionContextAllocationStrategy.USER_MANAGED
            return IExecutionContext(self)

    class IExecutionContext:
        def __init__(self, engine: ICudaEngine) -> None:
            self._engine = engine
            self._shapes = {each.name: shape_of(each) for each in engine.values}
            self._addresses: dict[str, int] = {}
            self._scratch = 0
            self._ran = False

        def set_device_memory(self, memory: int, size: int) -> None:
            assert memory % 256 == 0
            assert size >= self._engine.device_memory_size_v2
            self._scratch = memory

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            self._shapes[name] = tuple(shape)
            return True

        def infer_shapes(self) -> list[str]:
            missing = [name for name in self._engine.inputs if -1 in self._shapes[name]]
            if not missing:
                model = onnx.ModelProto()
                model.CopyFrom(self._engine.model)
                for each in model.graph.input:
                    for place, size in zip(each.type.tensor_type.shape.dim, self._shapes[each.name], strict=True):
                        place.dim_value = size
                for each in model.graph.output:
                    each.type.tensor_type.ClearField('shape')
                for each in onnx.shape_inference.infer_shapes(model).graph.output:
                    self._shapes[each.name] = shape_of(each)
            return missing

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return self._shapes[name]

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._addresses[name] = memory
            return memory % 256 == 0

        def execute_async_v3(self, stream_handle: int) -> bool:
            assert self._scratch
            if refusals.execute or (stream_handle in cuda.capturing and (refusals.capture or not self._ran)):
                text = refusals.execute or 'operation not permitted when stream is capturing'
                self._engine._logger.log(ILogger.Severity.ERROR, text)
                return False
            self._ran = True
            cuda.enqueue(stream_handle, self._compute)
            return True

        def _compute(self) -> None:
            def at(name: str) -> np.ndarray:
                dtype = np.dtype(nptype(self._engine.get_tensor_dtype(name)))
                size = int(np.prod(self._shapes[name])) * dtype.itemsize
                raw = (ctypes.c_uint8 * size).from_address(self._addresses[name])
                return np.frombuffer(raw, dtype).reshape(self._shapes[name])

            # Layers hand their values on through the scratch, over whatever was there.
            ctypes.memset(self._scratch, RUBBISH, self._engine.device_memory_size_v2)
            results = ReferenceEvaluator(self._engine.model).run(None, {name: at(name) for name in self._engine.inputs})
            for each, value in zip(self._engine.model.graph.output, results, strict=True):
                at(each.name)[...] = value

    for made in [v for v in locals().values() if isinstance(v, type)]:
        setattr(trt, made.__name__, made)
    return trt


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    dimensions = value.type.tensor_type.shape.dim
    return tuple(each.dim_value if each.HasField('dim_value') else -1 for each in dimensions)
