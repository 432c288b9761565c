"""The execution providers of ONNX Runtime: short names, options, and the cure when one is not there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facefusion_ros.engines.engine import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CPU = 'CPUExecutionProvider'


@dataclass(frozen=True, slots=True)
class Provider:
    """What can run a graph, or a part of it, within ONNX Runtime."""

    name: str
    """As ONNX Runtime calls it."""
    cure: str
    """What to do when this build of onnxruntime lacks it or cannot load it."""
    cacheable: bool = False
    """Whether a graph optimised for it can be written to a file; those that compile nodes of their own cannot be."""


PROVIDERS = {
    'tensorrt': Provider(
        'TensorrtExecutionProvider',
        'pip install onnxruntime-gpu in place of onnxruntime (on a Jetson: the wheel for its JetPack), '
        'and have the TensorRT that it asks for on the library path',
    ),
    'cuda': Provider(
        'CUDAExecutionProvider',
        "pip install 'onnxruntime-gpu[cuda,cudnn]' in place of onnxruntime (on a Jetson: the wheel for its JetPack), "
        'and see that nvidia-smi lists the GPU',
        cacheable=True,
    ),
    'directml': Provider('DmlExecutionProvider', 'pip install onnxruntime-directml in place of onnxruntime (Windows)'),
    'openvino': Provider(
        'OpenVINOExecutionProvider', 'pip install onnxruntime-openvino in place of onnxruntime (x86-64)'
    ),
    'cpu': Provider(CPU, 'pip install onnxruntime', cacheable=True),
}
"""By the short names that settings use."""


def provider(name: str) -> Provider:
    """Return the provider of a short name, or of ONNX Runtime's own full name. Raises EngineError."""
    if name in PROVIDERS:
        return PROVIDERS[name]
    for each in PROVIDERS.values():
        if each.name == name:
            return each
    if name.endswith('ExecutionProvider'):
        return Provider(name, f'install a build of onnxruntime with {name}')
    raise EngineError(f'there is no provider {name!r}: choose from {", ".join(PROVIDERS)}')


def options(chosen: Provider, cache: Path | None, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return a provider's options: ours for steady latency, then the user's on top.

    Of the options for TensorRT (engine and timing cache), CUDA and OpenVINO none has run on this project's own
    machines yet. Names are those of ONNX Runtime's documentation of its execution providers
    (https://onnxruntime.ai/docs/execution-providers/).
    """
    ours: dict[str, str] = {}
    if chosen.name == 'TensorrtExecutionProvider' and cache is not None:
        ours = {
            'trt_engine_cache_enable': '1',
            'trt_engine_cache_path': str(cache / 'tensorrt'),
            'trt_timing_cache_enable': '1',
            'trt_timing_cache_path': str(cache / 'tensorrt'),
        }
    elif chosen.name == 'CUDAExecutionProvider':
        # The default search tries every algorithm at each start; the default arena doubles whenever it grows.
        ours = {'cudnn_conv_algo_search': 'HEURISTIC', 'arena_extend_strategy': 'kSameAsRequested'}
    elif chosen.name == 'OpenVINOExecutionProvider' and cache is not None:
        ours = {'cache_dir': str(cache / 'openvino')}
    return {**ours, **wanted}
