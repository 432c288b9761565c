"""The kernels on a device: compiled, loaded and launched. See ``crop.task`` and ``blend.task`` for what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from facefusion_ros.engines.kernels.nvcc import compile_kernels

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from facefusion_ros.engines.cuda import Cuda

Number = Literal['float32', 'float16']
_BLOCK = (32, 8)
"""A warp along a row, so that neighbours read neighbours."""
_NAMES = ('crop_float32', 'crop_float16', 'blend_float32', 'blend_float16')


class FaceKernels:
    """All kernels, ready to launch; used within ``Cuda.current``, as it is made. Never met a GPU so far."""

    def __init__(self, cuda: Cuda, folder: Path) -> None:
        cubin = compile_kernels(cuda.device.compute_capability, folder)
        self._cuda = cuda
        self._kernels = cuda.kernels(cubin.read_bytes(), _NAMES)

    def crop(self, task: np.void, number: Number, stream: int) -> None:
        """Crop, in the stream's order, into planes of the given kind of number; raises EngineError."""
        self._launch(f'crop_{number}', task, stream)

    def blend(self, task: np.void, number: Number, stream: int) -> None:
        """Blend, in the stream's order, a patch whose planes are of the given kind of number; raises EngineError."""
        self._launch(f'blend_{number}', task, stream)

    def _launch(self, name: str, task: np.void, stream: int) -> None:
        width, height = int(task['width']), int(task['height'])
        grid = (-(-width // _BLOCK[0]), -(-height // _BLOCK[1]))
        self._cuda.launch(self._kernels[name], grid, _BLOCK, task, stream)
