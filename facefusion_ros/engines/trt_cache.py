"""Engines that TensorRT has built, kept between starts.

TensorRT's documentation ("Engine Compatibility") ties an engine to the exact version and to the model of the GPU, so
both are in the key, with all that went into the build. An engine lies in the folder as
``<name>-<model>-<variant>.plan`` beside a readable ``.json``; one that does not fit, or whose bytes are not those that
were written, is not used.

An engine is a program: keep the folder where only those write who may also run programs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything an engine depends on; the names are those of the sidecar and of messages."""

    model: str
    """SHA-256 of the ONNX file."""
    tensorrt: str
    """All of the version."""
    gpu: str
    compute_capability: str
    multiprocessors: int
    machine: str
    precision: str
    """What the file was made for: ``fp32``, ``fp16``, ``int8``."""
    typing: str
    """``strong``, ``weak`` or ``auto``, as asked."""
    shapes: str
    """Of all inputs, such as ``input 1x3x128x128``."""
    workspace_bytes: int
    optimisation_level: int

    @property
    def stem(self) -> str:
        """Name of the files without the model's; another GPU's or version's engine is replaced, not joined."""
        variant = hashlib.sha256(f'{self.precision} {self.typing} {self.shapes}'.encode()).hexdigest()[:8]
        return f'{self.model[:16]}-{variant}'


def atomic_write(path: Path, content: bytes) -> None:
    """Put content in place at once or not at all, power cuts included. Raises OSError."""
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class EngineCache:
    """A folder of engines and of what their building taught. May be used by several processes at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str, key: EngineKey) -> bytes | None:
        """Give the engine for a key; None where there is none to be trusted, with a line in the log that says why."""
        plan = self._plan(name, key)
        try:
            content = plan.read_bytes()
            sidecar = json.loads(plan.with_suffix('.json').read_text())
        except FileNotFoundError as error:
            if plan.exists():
                _log.warning('engine %s has lost %s: building it anew', plan, Path(error.filename).name)
            return None
        except (OSError, ValueError) as error:
            _log.warning('engine %s cannot be read (%s): building it anew', plan, error)
            return None
        reason = _difference(key, sidecar, content)
        if reason:
            _log.warning('engine %s does not fit: %s; building it anew', plan, reason)
            return None
        return content

    def keep(self, name: str, key: EngineKey, content: bytes, notes: dict[str, object]) -> None:
        """Store an engine and how it came to be; a full disk costs a line in the log, and the next start a build."""
        plan = self._plan(name, key)
        sidecar = {**asdict(key), **notes, 'bytes': len(content), 'sha256': hashlib.sha256(content).hexdigest()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Between the two the digest does not fit, so that a stop there costs a build.
            atomic_write(plan, content)
            atomic_write(plan.with_suffix('.json'), (json.dumps(sidecar, indent=2) + '\n').encode())
        except OSError as error:
            _log.warning('engine %s cannot be kept (%s): the next start builds it again', plan, error.strerror)

    def timing(self, key: EngineKey) -> bytes:
        """Give what earlier builds on this GPU with this TensorRT measured; empty where there is nothing."""
        try:
            return self._timing(key).read_bytes()
        except OSError:
            return b''

    def keep_timing(self, key: EngineKey, content: bytes) -> None:
        """Store measurements for builds to come."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self._timing(key), content)
        except OSError as error:
            _log.warning('timing cache %s cannot be kept: %s', self._timing(key), error.strerror)

    def _plan(self, name: str, key: EngineKey) -> Path:
        return self._folder / f'{name}-{key.stem}.plan'

    def _timing(self, key: EngineKey) -> Path:
        gpu = hashlib.sha256(f'{key.gpu} {key.compute_capability} {key.multiprocessors}'.encode()).hexdigest()[:8]
        return self._folder / f'timing-{key.tensorrt}-{gpu}.cache'


def _difference(key: EngineKey, sidecar: object, content: bytes) -> str:
    """Say which field of the sidecar is not as wanted; empty where all are."""
    if not isinstance(sidecar, dict):
        return 'its sidecar holds no fields'
    for field in fields(key):
        wanted, found = getattr(key, field.name), sidecar.get(field.name)
        if wanted != found:
            return f'{field.name} is {found}, and here it is {wanted}'
    if hashlib.sha256(content).hexdigest() != sidecar.get('sha256'):
        return 'sha256 is not that of its bytes, so it is damaged'
    return ''
