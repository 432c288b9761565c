"""Graphs that ONNX Runtime has optimised once, kept between starts.

A graph lies in the folder as ``<name>-<file digest>-<providers and shapes>.onnx`` with a readable sidecar ``.json``
that says what it was made from. Its large weights lie beside it in a file of their own, which ONNX Runtime maps into
memory where it would read and copy those within the graph: half a gigabyte is there at once, and once for all
processes. A graph whose sidecar disagrees with what is wanted, or whose bytes are not those that were written, is made
anew; one line of the log says why.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 8 << 20
PART_KEPT_S = 3600.0
"""A part this old was left by a process that died."""
LARGE_BYTES = 1 << 16
"""Weights of this size lie beside the graph."""


def digest(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    total = hashlib.sha256()
    with file.open('rb', buffering=0) as stream:
        chunk = bytearray(CHUNK_BYTES)
        while size := stream.readinto(chunk):
            total.update(memoryview(chunk)[:size])
    return total.hexdigest()


def fingerprint(*files: Path) -> str:
    """Digest of the files' sizes and of the digests of their blocks, which all cores take at once. Raises OSError."""

    def block(stream: BinaryIO, at: int) -> bytes:
        return hashlib.sha256(os.pread(stream.fileno(), BLOCK_BYTES, at)).digest()

    total = hashlib.sha256()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for file in files:
            size = file.stat().st_size
            total.update(f'{size} '.encode())
            with file.open('rb', buffering=0) as stream:
                for each in pool.map(partial(block, stream), range(0, size, BLOCK_BYTES)):
                    total.update(each)
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


@dataclass(frozen=True, slots=True)
class Part:
    """Where one process writes an optimised graph."""

    graph: Path
    weights: Path
    """In the same folder, for weights from ``LARGE_BYTES`` on; need not be written. It keeps its name, which the graph
    holds."""


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
            beside = [self._folder / sidecar['weights']] if sidecar['weights'] else []
            whole = fingerprint(graph, *beside) == sidecar['sha256']
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

    @contextmanager
    def writing(self, name: str, recipe: Recipe) -> Iterator[Part]:
        """Give a part of this process's own to write; it is kept, at once or not at all, unless the block raises.

        Raises OSError.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_left()
        own = f'{recipe.stem(name)}.{os.getpid()}-{time.monotonic_ns():x}'
        part = Part(self._folder / f'.{own}.part', self._folder / f'{own}.weights')
        try:
            yield part
            self._keep(part, name, recipe)
        except BaseException:
            part.weights.unlink(missing_ok=True)
            raise
        finally:
            part.graph.unlink(missing_ok=True)

    def _keep(self, part: Part, name: str, recipe: Recipe) -> None:
        graph = self._folder / f'{recipe.stem(name)}.onnx'
        sidecar = part.graph.with_suffix('.json.part')
        beside = [part.weights] if part.weights.exists() else []
        told = {'weights': ''.join(each.name for each in beside), 'sha256': fingerprint(part.graph, *beside)}
        try:
            sidecar.write_text(json.dumps({**asdict(recipe), **told}, indent=2) + '\n')
            with (self._folder / '.lock').open('w') as lock:
                # Two processes that optimise one file make different bytes; the files must be of one of them.
                # A stop between the two replacements leaves a digest that does not fit, which costs a rebuild.
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = _weights(graph.with_suffix('.json'))
                part.graph.replace(graph)
                sidecar.replace(graph.with_suffix('.json'))
                if before:
                    # Who has them mapped keeps them.
                    (self._folder / before).unlink(missing_ok=True)
        finally:
            sidecar.unlink(missing_ok=True)

    def _remove_left(self) -> None:
        """Remove what processes that died have left."""
        named = {_weights(sidecar) for sidecar in self._folder.glob('*.json')}
        for left in (*self._folder.glob('.*.part'), *self._folder.glob('*.weights')):
            with suppress(FileNotFoundError):  # another process removes it too
                if left.name not in named and time.time() - left.stat().st_mtime > PART_KEPT_S:
                    left.unlink()


def _weights(sidecar: Path) -> str:
    """Name of the file that a sidecar says the weights are in; empty where it says none."""
    try:
        return str(json.loads(sidecar.read_text())['weights'])
    except (OSError, ValueError, KeyError, TypeError):
        return ''
