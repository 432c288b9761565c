"""Which machine this is, as far as it decides what a network returns."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from facefusion_ros.engines.optimised import instructions

_GPUS = Path('/proc/driver/nvidia/gpus')
_BOARD = Path('/proc/device-tree/model')
"""Such as ``NVIDIA Jetson AGX Orin Developer Kit``."""
_RUNTIMES = ('onnxruntime', 'onnxruntime-gpu', 'onnxruntime-directml', 'onnxruntime-openvino', 'tensorrt')


@lru_cache(maxsize=1)
def this_machine() -> str:
    """Processor and its instructions, GPUs or board, and the versions of what runs networks, in words."""
    found = [instructions()]
    with suppress(OSError):
        found.append(_BOARD.read_text().rstrip('\0\n'))
    for information in sorted(_GPUS.glob('*/information')):
        lines = information.read_text().splitlines()
        found += [line.partition(':')[2].strip() for line in lines if line.startswith('Model:')]
    for name in _RUNTIMES:
        with suppress(PackageNotFoundError):
            found.append(f'{name} {version(name)}')
    return ', '.join(found)
