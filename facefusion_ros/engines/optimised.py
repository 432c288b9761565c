"""Graphs that ONNX Runtime has optimised once, kept between starts.

A graph lies in the folder as ``<name>-<file digest>-<providers and shapes>.onnx`` with a readable sidecar ``.json``
that says what it was made from. A graph whose sidecar disagrees with what is wanted, or whose bytes are not those that
were written, is made anew; one line of the log says why.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
PART_KEPT_S = 3600.0
"""A part this old was left by a process that died."""


def digest(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    total = hashlib.sha256()
    with file.open('rb', buffering=0) as stream:
        chunk = bytearray(CHUNK_BYTES)
        while size := stream.readinto(chunk):
            total.update(memoryview(chunk)[:size])
    return total.hexdigest()


def instructions() -> str:
    """Digest of what this processor can do: an optimised graph may hold layouts for wider vectors than another has."""
    name = platform.processor()
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            field, _, value = line.partition(':')
            if field.strip() in {'flags', 'Features'}:
                name = ' '.join(sorted(value.split()))
                break
    except OSError:
        pass
    return f'{platform.machine()}-{hashlib.sha256(name.encode()).hexdigest()[:12]}'


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything an optimised graph depends on."""

    model: str
    """SHA-256 of the user's file."""
    shapes: str
    """Dimensions that were fixed, as text."""
    providers: str
    onnxruntime: str
    processor: str

    def stem(self, name: str) -> str:
        """Name without suffix; a newer onnxruntime or another processor replaces the file rather than adding one."""
        variant = hashlib.sha256(f'{self.providers} {self.shapes}'.encode()).hexdigest()[:8]
        return f'{name}-{self.model[:16]}-{variant}'


class OptimisedGraphs:
    """A folder of optimised graphs. May be used by several processes at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str, recipe: Recipe) -> Path | None:
        """Return the file for a recipe, or None where there is none that can be trusted."""
        graph = self._folder / f'{recipe.stem(name)}.onnx'
        try:
            sidecar = json.loads(graph.with_suffix('.json').read_text())
            written = {key: sidecar[key] for key in asdict(recipe)}
            changed = [key for key, value in asdict(recipe).items() if written[key] != value]
            if changed:
                was, now = written[changed[0]], getattr(recipe, changed[0])
                _log.warning(
                    'optimised graph %s is stale: %s was %s, is %s; making it anew', graph, changed[0], was, now
                )
                return None
            whole = digest(graph) == sidecar['sha256']
        except FileNotFoundError:
            if graph.exists() or graph.with_suffix('.json').exists():
                _log.warning('optimised graph %s is incomplete; making it anew', graph)
            return None
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            _log.warning('optimised graph %s is damaged; making it anew', graph)
            return None
        return graph

    def part(self, name: str, recipe: Recipe) -> Path:
        """Return a path of this process's own to write the graph to, before ``keep``. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob('.*.part'):
            if time.time() - left.stat().st_mtime > PART_KEPT_S:
                left.unlink(missing_ok=True)
        return self._folder / f'.{recipe.stem(name)}.{os.getpid()}.part'

    def keep(self, part: Path, name: str, recipe: Recipe) -> None:
        """Put a part that is complete in its place, at once or not at all. Raises OSError."""
        graph = self._folder / f'{recipe.stem(name)}.onnx'
        sidecar = part.with_suffix('.json.part')
        try:
            sidecar.write_text(json.dumps({**asdict(recipe), 'sha256': digest(part)}, indent=2) + '\n')
            with (self._folder / '.lock').open('w') as lock:
                # Two processes that optimise one file make different bytes; the pair must be of one of them.
                # A stop between the two replacements leaves a digest that does not fit, which costs a rebuild.
                fcntl.flock(lock, fcntl.LOCK_EX)
                part.replace(graph)
                sidecar.replace(graph.with_suffix('.json'))
        finally:
            sidecar.unlink(missing_ok=True)
