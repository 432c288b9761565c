"""A small part of CUDA, by way of cuda.bindings (cuda-python) or of PyCUDA: memory, streams, events, graphs, kernels.

Both work in the device's primary context, which TensorRT and ONNX Runtime use too, and make it current only for as long
as they are asked to (``current``); nothing happens at import. Addresses, streams, events, graphs and kernels are plain
integers, the driver's own handles.

What has been checked: both back ends against a driver's library that keeps device memory in the host's. Neither has run
on a GPU.
"""

from __future__ import annotations

import ctypes
import mmap
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from facefusion_ros.engines.engine import DeviceMemoryError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

_DRIVER = 'libcuda.so.1'
_PORTABLE, _MAPPED, _READ_ONLY = 1, 2, 8
"""CU_MEMHOSTREGISTER_PORTABLE, _DEVICEMAP and _READ_ONLY in cuda.h; CU_MEMHOSTALLOC_DEVICEMAP is 2 as well."""
_HOST_POINTERS, _HOST_REGISTER, _READ_ONLY_REGISTER = 91, 99, 113
"""CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, _HOST_REGISTER_SUPPORTED and
_READ_ONLY_HOST_REGISTER_SUPPORTED in cuda.h; the last is of CUDA 11.1, and PyCUDA names none of them."""
_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: nobody's work on the legacy stream holds ours up."""
_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile does not spoil a capture."""
BINDINGS = ('cuda.bindings', 'pycuda')
"""Python's ways to CUDA, in order of preference."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU."""

    name: str
    compute_capability: tuple[int, int]
    total_bytes: int
    multiprocessors: int
    integrated: bool
    """It shares the host's memory, as on a Jetson: mapped pages spare the copies."""
    host_register: bool = False
    """It takes memory that is there already (``Cuda.map_host``)."""
    read_only_register: bool = False
    """It takes such memory as something that it only reads."""
    host_pointers: bool = False
    """It can use the host's own addresses of such memory."""


@dataclass(frozen=True, slots=True)
class MappedHost:
    """Memory of the host that the device sees; made by ``Cuda.map_host``, which keeps it until it is unmapped."""

    pages: NDArray[np.uint8]
    address: int
    """Where the device sees the first byte."""
    read_only: bool
    """The device cannot change it."""

    def __contains__(self, array: NDArray[np.generic]) -> bool:
        """Whether an array lies in this memory, all of it."""
        offset = array.ctypes.data - self.pages.ctypes.data
        reach = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
        first = offset + sum(step for step in reach if step < 0)
        last = offset + sum(step for step in reach if step > 0) + array.itemsize
        return bool(first >= 0 and last <= self.pages.nbytes)


class Cuda(Protocol):
    """CUDA on one device. All but ``current`` and ``close`` are called within ``current``.

    Every method raises EngineError where the driver refuses, and DeviceMemoryError where memory ran out.
    """

    @property
    def binding(self) -> str:
        """What is used, such as ``PyCUDA 2026.1``."""

    @property
    def device(self) -> Device:
        """The GPU."""

    def current(self) -> AbstractContextManager[None]:
        """Make the primary context current on this thread; may be nested."""

    def free_bytes(self) -> int:
        """Device memory that nobody uses now."""

    def allocate(self, size: int) -> int:
        """Reserve device memory; size in bytes, gives its address."""

    def free(self, address: int) -> None:
        """Give memory of ``allocate`` back."""

    def pinned(self, size: int, *, mapped: bool = False) -> NDArray[np.uint8]:
        """Reserve host memory, (size,), that is copied asynchronously, and that the device sees where it is mapped."""

    def free_pinned(self, pinned: NDArray[np.uint8]) -> None:
        """Give memory of ``pinned`` back; no view of it may be used any more."""

    def address_of(self, pinned: NDArray[np.uint8]) -> int:
        """Where the device sees mapped memory of ``pinned``."""

    def map_host(self, pages: NDArray[np.uint8], *, read_only: bool = True) -> MappedHost:
        """Pin memory that is there already, such as a frame pool's, and let the device see it.

        ``pages``: (n,), whole pages of memory, which must stay until ``unmap_host``. ``read_only``: the device is kept
        from changing them where it can be. On a device that is not ``integrated`` the memory is pinned all the same,
        and so copied asynchronously without a stop in between.

        cuMemHostRegister with PORTABLE and DEVICEMAP, then cuMemHostGetDevicePointer (CUDA Driver API, Memory
        Management), which is asked for the address even where the host's would do. A Tegra takes registered memory
        only where it is I/O coherent, from Xavier on (compute capability 7.2; CUDA for Tegra, "I/O Coherency":
        HOST_REGISTER_SUPPORTED is 1 on a Xavier NX and 0 on a Nano, open-mpi/ompi#9851; a TX2 refuses,
        inducer/pycuda#229). There the CPU caches such memory and the GPU does not (CUDA for Tegra, "Memory Selection").

        Raises EngineError where the device or the driver refuses: copy through ``pinned`` memory then.
        """

    def unmap_host(self, mapped: MappedHost) -> None:
        """Undo ``map_host``, when nothing under way uses the memory any more; ``close`` does it for what is left."""

    def stream(self) -> int:
        """Make a stream that does not wait for the legacy stream."""

    def drop_stream(self, stream: int) -> None:
        """End a stream, after what it still has to do."""

    def copy_in(self, address: int, host: NDArray[np.generic], stream: int) -> None:
        """Copy C-contiguous host memory to the device, later, in the stream's order."""

    def copy_out(self, host: NDArray[np.generic], address: int, stream: int) -> None:
        """Copy from the device to C-contiguous host memory, later, in the stream's order."""

    def zero(self, address: int, size: int, stream: int) -> None:
        """Fill size bytes with zeros, in the stream's order."""

    def synchronize(self, stream: int) -> None:
        """Wait until the stream has done everything; errors of what it did are raised here."""

    def event(self) -> int:
        """Make an event that keeps a time."""

    def drop_event(self, event: int) -> None:
        """Undo ``event``."""

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream has done what it has to do so far."""

    def elapsed_ms(self, start: int, end: int) -> float:
        """Time between two events; waits for the second."""

    def begin_capture(self, stream: int) -> None:
        """From here on note down what the stream is given, instead of doing it."""

    def end_capture(self, stream: int) -> int:
        """Give what was noted down as a graph, ready to launch."""

    def launch_graph(self, graph: int, stream: int) -> None:
        """Do all that the graph holds, in the stream's order."""

    def drop_graph(self, graph: int) -> None:
        """Undo ``end_capture``."""

    def kernels(self, cubin: bytes, names: tuple[str, ...]) -> dict[str, int]:
        """Load compiled kernels by name; they stay until ``close``."""

    def launch(
        self, kernel: int, grid: tuple[int, int], block: tuple[int, int], argument: np.void, stream: int
    ) -> None:
        """Run a kernel that takes one structure by value, in the stream's order."""

    def close(self) -> None:
        """Release the context; everything else must have been given back. May be called twice."""


def missing(driver: str = _DRIVER) -> str:
    """Say in one line why CUDA cannot be used here, and what to do; empty where it can.

    Asks the driver itself, and so is safe where a CUDA library would crash without one: ask before any of them.
    """
    try:
        library = ctypes.CDLL(driver)
    except OSError:
        return f'no NVIDIA driver: {driver} is not on this machine; install one, or use another engine'
    try:
        refused = library.cuInit(0)
    except AttributeError:
        return f'{driver} is no NVIDIA driver: it has no cuInit; install one, or use another engine'
    if refused:
        return (
            f'the NVIDIA driver does not start ({_error_name(library, refused)}): is there a GPU, and is it passed to '
            'this container? nvidia-smi tells more; or use another engine'
        )
    count = ctypes.c_int(0)
    if library.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return 'the NVIDIA driver sees no GPU: is it passed to this container? or use another engine'
    if not any(map(_installed, BINDINGS)):
        return 'neither cuda.bindings nor PyCUDA is installed: pip install cuda-bindings'
    return ''


def open_cuda(device: int = 0, binding: str = '') -> Cuda:
    """Open CUDA on a device by one of BINDINGS, by default the first that is installed; raises EngineError."""
    lack = missing()
    if lack:
        raise EngineError(lack)
    if binding not in {'', *BINDINGS}:
        raise EngineError(f'there is no CUDA binding {binding!r}: use one of {", ".join(BINDINGS)}')
    chosen = binding or next(filter(_installed, BINDINGS))
    if not _installed(chosen):
        raise EngineError(f'{chosen} is not installed: pip install {chosen.replace(".", "-")}')
    return _CudaBindings(device) if chosen == BINDINGS[0] else _PyCuda(device)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _error_name(library: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    library.cuGetErrorName(code, ctypes.byref(text))
    return (text.value or b'an unknown error').decode()


def _register_flags(device: Device, pages: NDArray[np.uint8], *, read_only: bool) -> int:
    """Say how to register the pages; raises EngineError where that is of no use."""
    if not device.host_register:
        major, minor = device.compute_capability
        raise EngineError(
            f'{device.name} (compute capability {major}.{minor}) cannot map memory that is there already: '
            'copy through pinned memory'
        )
    at, size = pages.ctypes.data, pages.nbytes
    if pages.ndim != 1 or not pages.flags.c_contiguous or not size or at % mmap.PAGESIZE or size % mmap.PAGESIZE:
        raise EngineError(
            f'only whole pages of {mmap.PAGESIZE} bytes are mapped into the GPU, and not {size} bytes at {at:#x}: '
            'copy through pinned memory'
        )
    return _PORTABLE | _MAPPED | (_READ_ONLY if read_only and device.read_only_register else 0)


def _refused(deed: str, name: str) -> EngineError:
    if 'OUT_OF_MEMORY' in name or 'out of memory' in name:
        return DeviceMemoryError(f'the GPU has no memory left to {deed} ({name}): close what else uses it')
    return EngineError(f'the GPU driver refuses to {deed}: {name}')


class _CudaBindings:
    """CUDA by way of NVIDIA's cuda-python; implements ``Cuda``."""

    def __init__(self, device: int = 0) -> None:
        self._cu: Any = import_module('cuda.bindings.driver')
        self.binding = f'cuda.bindings {import_module("cuda.bindings").__version__}'
        self._call('start', self._cu.cuInit(0))
        self._device = self._call(f'open GPU {device}', self._cu.cuDeviceGet(device))
        attribute = self._cu.CUdevice_attribute

        def ask(name: str) -> int:
            what = getattr(attribute, f'CU_DEVICE_ATTRIBUTE_{name}')
            return int(self._call('describe itself', self._cu.cuDeviceGetAttribute(what, self._device)))

        def can(what: int) -> bool:
            # A driver that does not know the question cannot do the thing either.
            refused, value = self._cu.cuDeviceGetAttribute(attribute(what), self._device)
            return not int(refused) and bool(value)

        name = self._call('describe itself', self._cu.cuDeviceGetName(128, self._device))
        self.device = Device(
            name.rstrip(b'\0').decode(),
            (ask('COMPUTE_CAPABILITY_MAJOR'), ask('COMPUTE_CAPABILITY_MINOR')),
            int(self._call('describe itself', self._cu.cuDeviceTotalMem(self._device))),
            ask('MULTIPROCESSOR_COUNT'),
            bool(ask('INTEGRATED')),
            can(_HOST_REGISTER),
            can(_READ_ONLY_REGISTER),
            can(_HOST_POINTERS),
        )
        self._mapped: dict[int, MappedHost] = {}
        self._context: Any = self._call('open its context', self._cu.cuDevicePrimaryCtxRetain(self._device))
        self._modules: list[Any] = []

    def _call(self, deed: str, result: tuple[Any, ...]) -> Any:  # noqa: ANN401 (cuda.bindings is untyped)
        """Take what a function of the driver gave: its value, or raise."""
        code, *values = result
        if int(code):
            raise _refused(deed, getattr(code, 'name', str(code)))
        return values[0] if values else None

    @contextmanager
    def current(self) -> Iterator[None]:
        if self._context is None:
            raise EngineError('CUDA was closed: open it again')
        self._call('make its context current', self._cu.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            self._cu.cuCtxPopCurrent()

    def free_bytes(self) -> int:
        code, free, _ = self._cu.cuMemGetInfo()
        return int(self._call('count its memory', (code, free)))

    def allocate(self, size: int) -> int:
        return int(self._call(f'reserve {size} bytes', self._cu.cuMemAlloc(size)))

    def free(self, address: int) -> None:
        self._call('free memory', self._cu.cuMemFree(address))

    def pinned(self, size: int, *, mapped: bool = False) -> NDArray[np.uint8]:
        flags = _MAPPED if mapped else 0
        address = int(self._call(f'pin {size} bytes of the host', self._cu.cuMemHostAlloc(size, flags)))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_pinned(self, pinned: NDArray[np.uint8]) -> None:
        self._call('free pinned memory', self._cu.cuMemFreeHost(pinned.ctypes.data))

    def address_of(self, pinned: NDArray[np.uint8]) -> int:
        return int(self._call('map pinned memory', self._cu.cuMemHostGetDevicePointer(pinned.ctypes.data, 0)))

    def map_host(self, pages: NDArray[np.uint8], *, read_only: bool = True) -> MappedHost:
        flags = _register_flags(self.device, pages, read_only=read_only)
        self._call('map pages of the host', self._cu.cuMemHostRegister(pages.ctypes.data, pages.nbytes, flags))
        try:
            address = self.address_of(pages)
        except EngineError:
            self._cu.cuMemHostUnregister(pages.ctypes.data)
            raise
        mapped = MappedHost(pages, address, bool(flags & _READ_ONLY))
        self._mapped[pages.ctypes.data] = mapped
        return mapped

    def unmap_host(self, mapped: MappedHost) -> None:
        del self._mapped[mapped.pages.ctypes.data]
        self._call('unmap pages of the host', self._cu.cuMemHostUnregister(mapped.pages.ctypes.data))

    def stream(self) -> int:
        return int(self._call('make a stream', self._cu.cuStreamCreate(_NON_BLOCKING)))

    def drop_stream(self, stream: int) -> None:
        self._call('end a stream', self._cu.cuStreamDestroy(stream))

    def copy_in(self, address: int, host: NDArray[np.generic], stream: int) -> None:
        self._call('copy in', self._cu.cuMemcpyHtoDAsync(address, host.ctypes.data, host.nbytes, stream))

    def copy_out(self, host: NDArray[np.generic], address: int, stream: int) -> None:
        self._call('copy out', self._cu.cuMemcpyDtoHAsync(host.ctypes.data, address, host.nbytes, stream))

    def zero(self, address: int, size: int, stream: int) -> None:
        self._call('zero memory', self._cu.cuMemsetD8Async(address, 0, size, stream))

    def synchronize(self, stream: int) -> None:
        self._call('finish its work', self._cu.cuStreamSynchronize(stream))

    def event(self) -> int:
        return int(self._call('make an event', self._cu.cuEventCreate(0)))

    def drop_event(self, event: int) -> None:
        self._call('drop an event', self._cu.cuEventDestroy(event))

    def record(self, event: int, stream: int) -> None:
        self._call('record an event', self._cu.cuEventRecord(event, stream))

    def elapsed_ms(self, start: int, end: int) -> float:
        self._call('finish its work', self._cu.cuEventSynchronize(end))
        return float(self._call('tell a time', self._cu.cuEventElapsedTime(start, end)))

    def begin_capture(self, stream: int) -> None:
        mode = self._cu.CUstreamCaptureMode(_THREAD_LOCAL)
        self._call('capture a graph', self._cu.cuStreamBeginCapture(stream, mode))

    def end_capture(self, stream: int) -> int:
        graph = self._call('capture a graph', self._cu.cuStreamEndCapture(stream))
        try:
            return int(self._call('prepare a graph', self._cu.cuGraphInstantiate(graph, 0)))
        finally:
            self._cu.cuGraphDestroy(graph)

    def launch_graph(self, graph: int, stream: int) -> None:
        self._call('launch a graph', self._cu.cuGraphLaunch(graph, stream))

    def drop_graph(self, graph: int) -> None:
        self._call('drop a graph', self._cu.cuGraphExecDestroy(graph))

    def kernels(self, cubin: bytes, names: tuple[str, ...]) -> dict[str, int]:
        module = self._call('load kernels', self._cu.cuModuleLoadData(cubin))
        self._modules.append(module)
        return {
            name: int(self._call(f'find kernel {name}', self._cu.cuModuleGetFunction(module, name.encode())))
            for name in names
        }

    def launch(
        self, kernel: int, grid: tuple[int, int], block: tuple[int, int], argument: np.void, stream: int
    ) -> None:
        structure = ctypes.create_string_buffer(argument.tobytes(), argument.nbytes)
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(structure))
        launched = self._cu.cuLaunchKernel(kernel, *grid, 1, *block, 1, 0, stream, ctypes.addressof(arguments), 0)
        self._call('launch a kernel', launched)

    def close(self) -> None:
        if self._context is None:
            return
        with self.current():
            for mapped in list(self._mapped.values()):
                with suppress(EngineError):
                    self.unmap_host(mapped)
            for module in self._modules:
                self._cu.cuModuleUnload(module)
        self._modules.clear()
        self._context = None
        self._cu.cuDevicePrimaryCtxRelease(self._device)


class _PyCuda:
    """CUDA by way of PyCUDA; implements ``Cuda``.

    PyCUDA's objects free themselves, so they are kept here by their handles. It has no stream capture, and
    its register_host_memory crashes on an array that is a view (2026.1): for these the driver is asked directly.
    """

    def __init__(self, device: int = 0) -> None:
        self._cu: Any = import_module('pycuda.driver')
        self.binding = f'PyCUDA {import_module("pycuda").VERSION_TEXT}'
        self._library = ctypes.CDLL(_DRIVER)
        self._kept: dict[int, Any] = {}
        self._modules: list[Any] = []
        with self._deed(f'open GPU {device}'):
            self._cu.init()
            opened = self._cu.Device(device)
            attribute = self._cu.device_attribute
            self.device = Device(
                opened.name(),
                opened.compute_capability(),
                opened.total_memory(),
                opened.get_attribute(attribute.MULTIPROCESSOR_COUNT),
                bool(opened.get_attribute(attribute.INTEGRATED)),
                self._can(_HOST_REGISTER, device),
                self._can(_READ_ONLY_REGISTER, device),
                self._can(_HOST_POINTERS, device),
            )
            self._context: Any = opened.retain_primary_context()
        self._mapped: dict[int, MappedHost] = {}

    def _can(self, attribute: int, ordinal: int) -> bool:
        value, device = ctypes.c_int(0), ctypes.c_int(0)
        self._call('describe itself', self._library.cuDeviceGet, ctypes.byref(device), ordinal)
        # A driver that does not know the question cannot do the thing either.
        refused = self._library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        return not refused and bool(value.value)

    @contextmanager
    def _deed(self, deed: str) -> Iterator[None]:
        try:
            yield
        except self._cu.Error as error:
            raise _refused(deed, str(error)) from error

    def _call(self, deed: str, function: Callable[..., int], *arguments: object) -> None:
        refused = function(*arguments)
        if refused:
            raise _refused(deed, _error_name(self._library, refused))

    @contextmanager
    def current(self) -> Iterator[None]:
        if self._context is None:
            raise EngineError('CUDA was closed: open it again')
        with self._deed('make its context current'):
            self._context.push()
        try:
            yield
        finally:
            self._cu.Context.pop()

    def free_bytes(self) -> int:
        with self._deed('count its memory'):
            return int(self._cu.mem_get_info()[0])

    def allocate(self, size: int) -> int:
        with self._deed(f'reserve {size} bytes'):
            allocation = self._cu.mem_alloc(size)
        self._kept[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        with self._deed('free memory'):
            self._kept.pop(address).free()

    def pinned(self, size: int, *, mapped: bool = False) -> NDArray[np.uint8]:
        with self._deed(f'pin {size} bytes of the host'):
            pinned: NDArray[np.uint8] = self._cu.pagelocked_empty(size, np.uint8, mem_flags=_MAPPED if mapped else 0)
        self._kept[pinned.ctypes.data] = pinned.base
        return pinned

    def free_pinned(self, pinned: NDArray[np.uint8]) -> None:
        with self._deed('free pinned memory'):
            self._kept.pop(pinned.ctypes.data).free()

    def address_of(self, pinned: NDArray[np.uint8]) -> int:
        with self._deed('map pinned memory'):
            return int(self._kept[pinned.ctypes.data].get_device_pointer())

    def map_host(self, pages: NDArray[np.uint8], *, read_only: bool = True) -> MappedHost:
        flags = _register_flags(self.device, pages, read_only=read_only)
        at, device = ctypes.c_void_p(pages.ctypes.data), ctypes.c_uint64()
        register, pointer = self._library.cuMemHostRegister_v2, self._library.cuMemHostGetDevicePointer_v2
        self._call('map pages of the host', register, at, ctypes.c_size_t(pages.nbytes), flags)
        try:
            self._call('map pages of the host', pointer, ctypes.byref(device), at, 0)
        except EngineError:
            self._library.cuMemHostUnregister(at)
            raise
        mapped = MappedHost(pages, device.value, bool(flags & _READ_ONLY))
        self._mapped[pages.ctypes.data] = mapped
        return mapped

    def unmap_host(self, mapped: MappedHost) -> None:
        del self._mapped[mapped.pages.ctypes.data]
        at = ctypes.c_void_p(mapped.pages.ctypes.data)
        self._call('unmap pages of the host', self._library.cuMemHostUnregister, at)

    def stream(self) -> int:
        with self._deed('make a stream'):
            stream = self._cu.Stream(_NON_BLOCKING)
        self._kept[stream.handle] = stream
        return int(stream.handle)

    def drop_stream(self, stream: int) -> None:
        with self._deed('end a stream'):
            del self._kept[stream]

    def copy_in(self, address: int, host: NDArray[np.generic], stream: int) -> None:
        with self._deed('copy in'):
            self._cu.memcpy_htod_async(address, host, self._kept[stream])

    def copy_out(self, host: NDArray[np.generic], address: int, stream: int) -> None:
        with self._deed('copy out'):
            self._cu.memcpy_dtoh_async(host, address, self._kept[stream])

    def zero(self, address: int, size: int, stream: int) -> None:
        with self._deed('zero memory'):
            self._cu.memset_d8_async(address, 0, size, self._kept[stream])

    def synchronize(self, stream: int) -> None:
        with self._deed('finish its work'):
            self._kept[stream].synchronize()

    def event(self) -> int:
        with self._deed('make an event'):
            event = self._cu.Event()
        self._kept[id(event)] = event
        return id(event)

    def drop_event(self, event: int) -> None:
        del self._kept[event]

    def record(self, event: int, stream: int) -> None:
        with self._deed('record an event'):
            self._kept[event].record(self._kept[stream])

    def elapsed_ms(self, start: int, end: int) -> float:
        with self._deed('tell a time'):
            self._kept[end].synchronize()
            return float(self._kept[end].time_since(self._kept[start]))

    def begin_capture(self, stream: int) -> None:
        begin = self._library.cuStreamBeginCapture_v2
        self._call('capture a graph', begin, ctypes.c_void_p(stream), _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        end = self._library.cuStreamEndCapture
        self._call('capture a graph', end, ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            instantiate = self._library.cuGraphInstantiateWithFlags
            self._call('prepare a graph', instantiate, ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
        finally:
            self._library.cuGraphDestroy(graph)
        return int(ready.value or 0)

    def launch_graph(self, graph: int, stream: int) -> None:
        launch = self._library.cuGraphLaunch
        self._call('launch a graph', launch, ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def drop_graph(self, graph: int) -> None:
        self._call('drop a graph', self._library.cuGraphExecDestroy, ctypes.c_void_p(graph))

    def kernels(self, cubin: bytes, names: tuple[str, ...]) -> dict[str, int]:
        with self._deed('load kernels'):
            module = self._cu.module_from_buffer(cubin)
            found = {name: module.get_function(name) for name in names}
        self._modules.append(module)
        self._kept.update((id(function), function) for function in found.values())
        return {name: id(function) for name, function in found.items()}

    def launch(
        self, kernel: int, grid: tuple[int, int], block: tuple[int, int], argument: np.void, stream: int
    ) -> None:
        with self._deed('launch a kernel'):
            self._kept[kernel](argument, grid=grid, block=(*block, 1), stream=self._kept[stream])

    def close(self) -> None:
        if self._context is None:
            return
        with self.current():
            for mapped in list(self._mapped.values()):
                with suppress(EngineError):
                    self.unmap_host(mapped)
            # PyCUDA frees a thing when it is dropped, for which its context must still be there.
            self._kept.clear()
            self._modules.clear()
        context, self._context = self._context, None
        context.detach()


_ALIGNMENT = 256
"""What cuMemAlloc aligns to, and what TensorRT wants of a tensor's address."""


class DevicePool:
    """Device memory of a fixed size, taken once and lent in pieces, so that a program's use of it cannot grow.

    May be used by several threads at once.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda = cuda
        self.size = _aligned(size)
        with cuda.current():
            self._start = cuda.allocate(self.size)
        self._lent: dict[int, int] = {}
        self._lock = Lock()

    @property
    def free_bytes(self) -> int:
        """What is not lent, in one piece or in several."""
        with self._lock:
            return self._free_bytes()

    def take(self, size: int, purpose: str) -> int:
        """Lend size bytes and give their address, a multiple of 256.

        Raises DeviceMemoryError with the purpose where they are not free, EngineError where the pool is closed.
        """
        wanted = _aligned(max(size, 1))
        with self._lock:
            if not self._start:
                raise EngineError(f'{purpose} takes device memory of a pool that is closed: open another')
            at = self._start
            for address in sorted(self._lent):
                if address - at >= wanted:
                    break
                at = address + self._lent[address]
            if at + wanted > self._start + self.size:
                raise DeviceMemoryError(
                    f'{purpose} takes {-(-wanted >> 10)} KiB of device memory, and of the pool of '
                    f'{self.size >> 10} KiB {self._free_bytes() >> 10} are free: make the pool larger'
                )
            self._lent[at] = wanted
            return at

    def give_back(self, address: int) -> None:
        """Return a piece."""
        with self._lock:
            del self._lent[address]

    def close(self) -> None:
        """Free the pool; may be called twice. Raises EngineError where a piece is lent, which stays usable."""
        with self._lock:
            if self._lent:
                raise EngineError(f'the pool has lent {len(self._lent)} pieces: close the networks that use it first')
            if self._start:
                with self._cuda.current():
                    self._cuda.free(self._start)
                self._start = self.size = 0

    def _free_bytes(self) -> int:
        return self.size - sum(self._lent.values())


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
