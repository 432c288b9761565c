"""What ONNX Runtime says, in words for the person whose file it is."""

from __future__ import annotations

import re
from pathlib import Path

from facefusion_ros.engines.engine import DeviceMemoryError, EngineError

LONGEST_REASON = 300
OUT_OF_MEMORY = re.compile(r'[Ff]ailed to allocate memory|out of memory|bad_alloc|ALLOC_FAILED')
WRONG_OUTPUT = (
    re.compile(
        r"for (?P<name>output '[^']+').*has shape \{(?P<given>[\d,]*)\}.*shape for this run is \{(?P<made>[\d,]*)\}",
        re.DOTALL,
    ),
    # ONNX Runtime 1.23, which does not say of which output.
    re.compile(
        r'(?P<name>OrtValue) shape verification failed.*shape:\{(?P<given>[\d,]*)\}.*shape:\{(?P<made>[\d,]*)\}',
        re.DOTALL,
    ),
)


def _short(reason: str) -> str:
    """One line of what ONNX Runtime says, without its codes."""
    line = ' '.join(reason.split())
    line = re.sub(r'^\[ONNXRuntimeError\] : \d+ : \w+ : ', '', line)
    return line[:LONGEST_REASON].rstrip(' .')


def refusal(path: Path, reason: str, version: str) -> EngineError:
    """Return what to tell a person when ONNX Runtime does not load a file, by what it said."""
    if OUT_OF_MEMORY.search(reason):
        return DeviceMemoryError(f'{path} does not fit into memory: close other networks, or use a smaller one')
    if 'INVALID_PROTOBUF' in reason or 'No graph was found' in reason:
        return EngineError(f'{path} is no ONNX file, or is cut off: download or export it again')
    for pattern in (r'No Op registered for (\S+)', r'error: (\S+?)\(-?\d+\) is not a registered'):
        if found := re.search(pattern, reason):
            return EngineError(
                f'{path} needs the operator {found[1]}, which onnxruntime {version} does not have: '
                'export it with standard operators, or install an onnxruntime that has it'
            )
    if found := re.search(r'Could not find an implementation for (\w+)', reason):
        return EngineError(
            f'{path} needs {found[1]} for a type of number that these providers do not have: '
            'export it as float32, or choose another provider'
        )
    if 'IR version' in reason or 'stamped with official' in reason:
        return EngineError(
            f'{path} is of a later ONNX than onnxruntime {version} knows: '
            'install a newer onnxruntime, or export with an older opset'
        )
    # The last is of ONNX Runtime 1.23; the graph itself could be read.
    if any(words in reason for words in ('xternal data', 'External initializer', 'cannot get file size')):
        found = re.search(r'"([^"]+)"|\[([^\[\]]+)\]$', reason.strip())
        which = f' {Path(found[1] or found[2]).name}' if found else ''
        return EngineError(f'{path} keeps its weights in another file{which}, which is not there: put it beside')
    if 'CPU EP has been explicitly disabled' in reason or 'fallback to CPU EP' in reason:
        return EngineError(f'{path} would run in part on the CPU: put cpu at the end of the providers to allow it')
    return EngineError(f'{path} cannot be loaded ({_short(reason)}): export it again, or choose another provider')


def failure(path: Path, reason: str) -> EngineError:
    """Return what to tell a person when a run fails, by what ONNX Runtime said."""
    if OUT_OF_MEMORY.search(reason):
        return DeviceMemoryError(f'{path}: memory ran out in a run: close other networks, or use smaller pictures')
    for pattern in WRONG_OUTPUT:
        if found := pattern.search(reason):
            made, given = (found[key].replace(',', 'x') for key in ('made', 'given'))
            name = found['name'].replace("'", '').replace('OrtValue', 'an output')
            return EngineError(f'{path}: {name} comes out as {made}, its array is {given}: give an array of that shape')
    return EngineError(f'{path}: the run failed ({_short(reason)}): check the shapes of its inputs')
