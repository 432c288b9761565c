"""A process that loads one network, runs it, and prints when its first result was there and what memory it took.

Run as ``python -m facefusion_ros.app.bench.first_result WAY NETWORK CACHE``; WAY is ``engine`` or ``loop``. It imports
no more than such a program needs.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS_S = 0.5
"""After which memory has its full size; a run that takes longer is done twice."""


def main() -> None:
    """Print ``loaded_s`` and ``first_s`` (the machine's monotonic clock) and ``peak_rss_mb`` as JSON."""
    way, network, cache = sys.argv[1:]
    run = _engine(network, Path(cache)) if way == 'engine' else _loop(network)
    loaded_s = time.monotonic()
    run()
    first_s = time.monotonic()
    while time.monotonic() < first_s + RUNS_S:
        run()
    # The high-water mark of this program alone; getrusage's may be that of the process which started it.
    peak = re.search(r'VmHWM:\s*(\d+) kB', Path('/proc/self/status').read_text())
    peak_mb = round(int(peak[1]) / 1024, 1) if peak else None
    print(json.dumps({'loaded_s': loaded_s, 'first_s': first_s, 'peak_rss_mb': peak_mb}))


def _engine(network: str, cache: Path) -> Callable[[], None]:
    from facefusion_ros.engines.ort import OrtEngine, OrtSettings  # noqa: PLC0415  the time of imports counts

    return OrtEngine(network, OrtSettings(cache=cache)).warm_up


def _loop(network: str) -> Callable[[], None]:
    import onnxruntime  # noqa: PLC0415  the time of imports counts

    session = onnxruntime.InferenceSession(network)
    feeds = {
        each.name: np.zeros([size if isinstance(size, int) else 1 for size in each.shape], _dtype(each.type))
        for each in session.get_inputs()
    }

    def run() -> None:
        session.run(None, feeds)

    return run


def _dtype(kind: str) -> np.dtype[np.generic]:
    """Read ``tensor(float)`` and the like."""
    name = kind.removeprefix('tensor(').removesuffix(')')
    return np.dtype({'float': 'float32', 'double': 'float64'}.get(name, name))


if __name__ == '__main__':
    main()
