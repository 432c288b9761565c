"""How many faces are drawn in a second.

python -m training.faces.speed --seconds 10 --processes 2
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time

import cv2
import numpy as np

from training.faces.rendering import render
from training.faces.sampling import sample


def _count(job: tuple[int, int, float, float]) -> tuple[int, float]:
    """Draw faces for some seconds; return how many, and the processor time that took."""
    seed, size, seconds, supersample = job
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        render(sample(rng), size, supersample=supersample)
    start, used, count = time.monotonic(), time.process_time(), 0
    while time.monotonic() - start < seconds:
        render(sample(rng), size, supersample=supersample)
        count += 1
    return count, time.process_time() - used


def measure(size: int, seconds: float, processes: int, supersample: float) -> dict[str, float]:
    """Return how fast faces of this size are drawn by several processes at once."""
    jobs = [(k, size, seconds, supersample) for k in range(processes)]
    context = multiprocessing.get_context('spawn')
    with context.Pool(processes) as pool:
        results = pool.map(_count, jobs)
    faces = sum(count for count, _ in results)
    used = sum(cpu for _, cpu in results)
    return {
        'size': size,
        'supersample': supersample,
        'processes': processes,
        'seconds': seconds,
        'faces_per_second': round(faces / seconds, 1),
        'processor_ms_per_face': round(1000 * used / max(1, faces), 2),
    }


def main() -> None:
    """Measure, and print it as JSON."""
    parser = argparse.ArgumentParser(description='Measure how many procedural faces are drawn in a second.')
    parser.add_argument('--size', type=int, default=128)
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--supersample', type=float, default=1.0)
    a = parser.parse_args()
    print(json.dumps(measure(a.size, a.seconds, a.processes, a.supersample)))


if __name__ == '__main__':
    main()
