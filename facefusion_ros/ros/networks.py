"""The parameters by which a node is given a network of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros.engines.chain import EngineSettings
from facefusion_ros.engines.ort import OrtSettings, cores
from facefusion_ros.engines.reduced import Precision
from facefusion_ros.errors import SettingError
from facefusion_ros.ros.parameters import Parameter, ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

PRECISIONS = tuple(precision.value for precision in Precision)

RUNTIME = (
    Parameter('engine', 'onnxruntime', 'Engines for the networks, best first: tensorrt,onnxruntime', fixed=True),
    Parameter(
        'providers', 'cpu', "ONNX Runtime's providers, best first: tensorrt,cuda,directml,openvino,cpu", fixed=True
    ),
    Parameter(
        'threads',
        0,
        'Threads of each network on the CPU; 0: half of the cores, since stages work side by side',
        '',
        0,
        256,
        fixed=True,
    ),
    Parameter(
        'accept_noncommercial', False, 'Whether models may be used whose licence forbids commercial use', fixed=True
    ),
)
"""What runs all networks of a node."""


def network(name: str, what: str, usual: str = 'none') -> tuple[Parameter, Parameter]:
    """Return the rows of one network: its name in the store, empty for what is ``usual``, and its precision."""
    prefix = name.removesuffix('model')
    return (
        Parameter(name, '', f'Network of the store that {what}; empty for {usual}', fixed=True),
        Parameter(f'{prefix}precision', 'fp32', f'Precision of {name}', choices=PRECISIONS, fixed=True),
    )


def engine_settings(values: Mapping[str, Any]) -> EngineSettings:
    """Read the rows of ``RUNTIME``; raises ParameterError where an engine is not known."""
    engines, providers = (tuple(name.strip() for name in values[row].split(',')) for row in ('engine', 'providers'))
    try:
        settings = OrtSettings(providers=providers, threads=values['threads'] or max(1, cores() // 2))
        return EngineSettings(chain=engines, onnxruntime=settings)
    except SettingError as error:
        message = f'parameter engine or providers: {error}'
        raise ParameterError(message) from error
