"""A network's picture input, filled by the GPU from a part of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.kernels import crop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facefusion_ros.engines.device import DeviceEngine
    from facefusion_ros.engines.kernels.launch import Number


class DeviceInput:
    """Writes crops straight into the input's memory on the engine's stream: the CPU never touches them.

    Where the GPU shares the host's memory and the frame's pool is mapped, the kernel reads the frame in its place.
    Elsewhere the rows that the crop needs are copied first: from the pool's own pages where these are pinned, else by
    way of pinned memory, and then without the columns beside the crop. Device and pinned memory for these is kept for
    as long as the engine lives, and grows with the largest crop so far.

    What has been checked: behaviour on a driver without a GPU, with the kernels built for the CPU. It has not run on a
    GPU.
    """

    def __init__(self, engine: DeviceEngine, name: str, normalisation: crop.Normalisation, *, planar: bool) -> None:
        """Fit it to the input of that name, of n pictures, NCHW if ``planar`` else NHWC.

        Raises EngineError where it has no three channels or is not of float32 or float16.
        """
        self._engine = engine
        self._tensor = engine.device_input(name)
        self._name = name
        self._normalisation = normalisation
        self._planar = planar
        shape, kind = self._tensor.shape, self._tensor.dtype.name
        if len(shape) != 4 or shape[1 if planar else 3] != 3 or kind not in ('float32', 'float16'):
            raise EngineError(f'input {name} of {shape}, {kind}, is no picture that the GPU can fill')
        self._number: Number = 'float32' if kind == 'float32' else 'float16'
        self._height, self._width = shape[2:] if planar else shape[1:3]
        self._picture_bytes = int(np.prod(shape[1:])) * self._tensor.dtype.itemsize
        self._rows = self._rows_bytes = 0
        self._staging: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._staged = False
        engine.at_close(self._release)

    def fill(self, pixels: NDArray[np.uint8], sampling: crop.Sampling, place: int = 0) -> None:
        """Give the GPU a part of a frame, (h, w, 3) BGR or (h, w, 4) BGRA, for the picture at this place of n.

        ``pixels`` must stay as they are until ``run``. Raises EngineError where the GPU refuses, and DeviceMemoryError.
        """
        engine = self._engine
        try:
            with engine.cuda.current():
                source = self._seen(pixels)
                address = self._tensor.address + place * self._picture_bytes
                output = crop.Output(address, self._width, self._height, self._planar)
                task = crop.task(source, output, sampling, self._normalisation)
                engine.frames.kernels.crop(task, self._number, engine.stream)
        except EngineError:
            with engine.cuda.current():
                engine.cuda.synchronize(engine.stream)
            raise

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Run the network on what was filled and on its other inputs; see ``DeviceEngine.run_device``."""
        self._staged = False
        self._engine.run_device((self._name,), inputs, outputs)

    def _seen(self, pixels: NDArray[np.uint8]) -> crop.Bgr:
        """Say where the GPU sees the pixels, from where it is in the stream now."""
        height, width, step = pixels.shape
        pitch = pixels.strides[0]
        cuda, stream = self._engine.cuda, self._engine.stream
        mapped = None
        if pixels.strides[1:] == (step, 1) and pitch >= width * step:
            mapped = self._engine.frames.map.find(pixels)
        if mapped is not None and cuda.device.integrated:
            return crop.Bgr(mapped, width, height, pitch, step)
        if mapped is not None:
            size = (height - 1) * pitch + width * step
            rows: NDArray[np.uint8] = np.lib.stride_tricks.as_strided(pixels, (size,), (1,), writeable=False)
        else:
            pitch = width * step
            rows = self._stage(pixels)
            if cuda.device.integrated:
                return crop.Bgr(cuda.address_of(self._staging), width, height, pitch, step)
        self._make_room(rows.nbytes)
        cuda.copy_in(self._rows, rows, stream)
        return crop.Bgr(self._rows, width, height, pitch, step)

    def _stage(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Copy the pixels close together into pinned memory."""
        cuda = self._engine.cuda
        if self._staged:
            # The picture before still lies there.
            cuda.synchronize(self._engine.stream)
        if self._staging.nbytes < pixels.size:
            self._unpin()
            self._staging = cuda.pinned(pixels.size, mapped=cuda.device.integrated)
        rows = self._staging[: pixels.size]
        np.copyto(rows.reshape(pixels.shape), pixels)
        self._staged = True
        return rows

    def _make_room(self, size: int) -> None:
        if size <= self._rows_bytes:
            return
        engine = self._engine
        engine.cuda.synchronize(engine.stream)
        self._give_back()
        self._rows = engine.pool.take(size, f'a part of a frame for {self._name}')
        self._rows_bytes = size

    def _give_back(self) -> None:
        if self._rows:
            self._engine.pool.give_back(self._rows)
        self._rows = self._rows_bytes = 0

    def _unpin(self) -> None:
        if self._staging.size:
            self._engine.cuda.free_pinned(self._staging)
        self._staging = np.zeros(0, np.uint8)

    def _release(self) -> None:
        self._give_back()
        self._unpin()
