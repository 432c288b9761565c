"""How fast networks run here, beside a straightforward ONNX Runtime loop on the same files in the same run.

The loop has a session with defaults, numpy arrays in and new numpy arrays out. The two take turns of a block of runs;
before each turn the machine is let come to rest, since the loop's idle threads go on turning for a while and would take
time from the other's runs. Starts and peak memory are those of processes of their own: from before the interpreter
starts until the network is loaded and until the first result is there.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from facefusion_ros.app.bench.architectures import ARCHITECTURES, write
from facefusion_ros.app.bench.networks import NETWORKS, write_network
from facefusion_ros.app.summary import percentiles
from facefusion_ros.engines.ort import ERRORS_ONLY, OrtEngine, OrtSettings
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import TensorSpec

    Arrays = dict[str, NDArray[np.generic]]

BLOCK = 10
"""Runs of one way before it is the other's turn."""
WARM_RUNS = 5
SLOW_S, LONGEST_S, LEAST_FRAMES = 0.1, 60.0, 4
"""A network of which a run takes longer than ``SLOW_S`` is run for a minute."""
STARTS = 3
PARTS = 5
"""Of the runs over which memory is watched."""
RESTING = 0.1
"""Share of a core below which this process is at rest."""
LOOK_S, LONGEST_REST_S = 0.02, 2.0


def inference(
    frames: int = 150, networks: Sequence[Path] | None = None, runs: int = 1000, *, full: bool = False
) -> dict[str, Any]:
    """Run each network ``frames`` times each way; times in milliseconds.

    ``networks`` are the user's files, with fixed shapes but for the batch; without any, a small random network of each
    role is made. ``full`` adds the large networks of ``architectures``, which are written to the user's cache once.
    Memory is watched over ``runs`` further runs of the engine. A slow network is run less, see ``LONGEST_S``. Raises
    FacefusionError where a file does not run.
    """
    result: dict[str, Any] = {
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}',
        'onnxruntime': onnxruntime.__version__,
        'networks': {},
    }
    with TemporaryDirectory() as folder:
        cache = Path(folder) / 'cache'
        files = list(networks or ())
        files += [write(name, _drawn_folder()) for name in ARCHITECTURES if full]
        for file in files or [write_network(role, Path(folder)) for role in NETWORKS]:
            result['networks'][file.stem] = _measure(file, cache, frames, runs)
    return result


def _drawn_folder() -> Path:
    """Where large networks are kept from one benchmark to the next."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'facefusion_ros' / 'architectures'


def _measure(file: Path, cache: Path, frames: int, runs: int) -> dict[str, Any]:
    row = _beside_a_loop(file, cache, frames, runs)
    # What this process held is given back, so that the others have the machine's memory.
    gc.collect()
    for way, start in _starts(file, cache).items():
        row[way] |= start
    return row


def _beside_a_loop(file: Path, cache: Path, frames: int, runs: int) -> dict[str, Any]:
    engine = OrtEngine(file, OrtSettings(cache=cache))
    inputs = {spec.name: _noise(spec, file) for spec in engine.inputs}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(os.fspath(file), options)
    names = [spec.name for spec in engine.outputs]
    wanted: Arrays = dict(zip(names, session.run(None, inputs), strict=True))
    outputs = {name: np.empty_like(array) for name, array in wanted.items()}

    def engine_run() -> None:
        engine.run(inputs, outputs)

    def loop_run() -> None:
        session.run(None, inputs)

    most = _most(engine_run)
    times = _in_turns({'engine': engine_run, 'loop': loop_run}, min(frames, most))
    row: dict[str, Any] = {
        'inputs': {name: list(array.shape) for name, array in inputs.items()},
        'frames': len(times['engine'][0]),
    }
    for way, (walls_ms, cpu_ms) in times.items():
        row[way] = {
            **percentiles(walls_ms),
            'throughput_hz': round(1e3 / float(np.mean(walls_ms)), 2),
            'cpu_ms': round(cpu_ms / len(walls_ms), 3),
        }
    row['ratio_p50'] = round(row['loop']['p50'] / row['engine']['p50'], 3)
    row['largest_difference'] = max(_difference(outputs[name], wanted[name]) for name in names)
    row['steady'] = steady(engine_run, min(runs, most))
    engine.close()
    return row


def _most(run: Callable[[], None]) -> int:
    """How often a network is run at most, by how long its second run takes."""
    run()
    begin = time.perf_counter()
    run()
    each_s = time.perf_counter() - begin
    return max(LEAST_FRAMES, int(LONGEST_S / each_s)) if each_s > SLOW_S else sys.maxsize


def _noise(spec: TensorSpec, file: Path) -> NDArray[np.generic]:
    """Values from 0 to 1, or zeros where the type is none of a picture's; a batch left open is 1."""
    shape = [1 if axis == 0 and size is None else size for axis, size in enumerate(spec.shape)]
    known = [size for size in shape if size is not None]
    if len(known) < len(shape):
        raise FacefusionError(f'{file} leaves the shape of {spec.name} open: export it with fixed dimensions')
    if spec.dtype.kind != 'f':
        return np.zeros(known, spec.dtype)
    return np.random.default_rng(0).random(known).astype(spec.dtype)


def _in_turns(ways: dict[str, Callable[[], None]], frames: int) -> dict[str, tuple[list[float], float]]:
    """Return the wall times of each way's runs and its processor time, idle threads that go on turning included."""
    times: dict[str, tuple[list[float], float]] = {way: ([], 0.0) for way in ways}
    block = min(BLOCK, -(-frames // 2))
    for run in ways.values():
        for _ in range(min(WARM_RUNS, block)):
            run()
    for turn in range(-(-frames // block)):
        # Who is first changes, so that neither always finds the other's data in the caches.
        for way, run in sorted(ways.items(), reverse=bool(turn % 2)):
            _rest()
            walls_ms, cpu_ms = times[way]
            begin_cpu = time.process_time()
            for _ in range(block):
                begin = time.perf_counter()
                run()
                walls_ms.append((time.perf_counter() - begin) * 1e3)
            _rest()
            times[way] = walls_ms, cpu_ms + (time.process_time() - begin_cpu) * 1e3
    return times


def _rest() -> None:
    """Wait until no thread of this process is turning."""
    end = time.monotonic() + LONGEST_REST_S
    while time.monotonic() < end:
        begin = time.process_time()
        time.sleep(LOOK_S)
        if time.process_time() - begin < RESTING * LOOK_S:
            return


def _starts(file: Path, cache: Path) -> dict[str, dict[str, Any]]:
    """Start processes that run the network, with the optimised graph at hand, in turn; return medians for each way."""
    told: dict[str, list[dict[str, float]]] = {'engine': [], 'loop': []}
    for _ in range(STARTS):
        for way, rows in told.items():
            rows.append(_start(way, file, cache))
    return {
        way: {key: round(float(np.median([row[key] for row in rows])), 3) for key in rows[0]}
        for way, rows in told.items()
    }


def _start(way: str, file: Path, cache: Path) -> dict[str, float]:
    """Seconds from a process's start until the network is loaded and until the first result, and its memory."""
    begin = time.monotonic()
    command = [sys.executable, '-m', 'facefusion_ros.app.bench.first_result', way, os.fspath(file), os.fspath(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FacefusionError(f'a process that runs {file} ended with {done.returncode}: {done.stderr.strip()[-300:]}')
    told = json.loads(done.stdout)
    return {
        'loaded_s': told['loaded_s'] - begin,
        'start_s': told['first_s'] - begin,
        'peak_rss_mb': told['peak_rss_mb'],
    }


def steady(run: Callable[[], None], runs: int) -> dict[str, int]:
    """Return what memory grows by over runs with the same arrays, and the most that is held for a moment, in bytes.

    ``resident_growth`` is what the operating system sees of the whole process: ``PARTS`` times the median growth of so
    many parts of the runs, since what leaks grows in each, and what other threads take for once in few. ``traced`` is
    numpy's and Python's own.
    """
    gc.collect()
    resident = [_resident_bytes()]
    for size in _parts(runs):
        for _ in range(size):
            run()
        resident.append(_resident_bytes())
    growth = PARTS * int(np.median(np.diff(resident)))
    tracemalloc.start()
    try:
        run()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(runs):
            run()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return {'runs': runs, 'resident_growth': growth, 'traced_growth': after - before, 'traced_peak': peak - before}


def _parts(runs: int) -> list[int]:
    """Return ``runs`` in ``PARTS`` parts that differ by one at most."""
    return [(runs + part) // PARTS for part in range(PARTS)]


def _resident_bytes() -> int:
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def _difference(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0.0))
