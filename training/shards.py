"""Things drawn once and kept on disk: shards of some hundred, drawn by as many processes as there are cores."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def keep(folder: Path, shard: int, **arrays: NDArray[np.generic]) -> None:
    """Write a shard's arrays, each under its name; the last appears last and whole: where it is, all are."""
    *names, last = arrays
    for name in names:
        np.save(kept(folder, shard, name), arrays[name])
    partial = folder / f'.{shard:05d}.npy'
    np.save(partial, arrays[last])
    partial.replace(kept(folder, shard, last))


def kept(folder: Path, shard: int, name: str) -> Path:
    """Return the file of a shard's array of that name."""
    return folder / f'{shard:05d}.{name}.npy'


def opened(folder: Path, name: str) -> list[NDArray[np.generic]]:
    """Open the arrays of that name of all shards, in order, without reading them."""
    return [np.load(file, mmap_mode='r') for file in sorted(folder.glob(f'*.{name}.npy'))]


def draw_all(draw_shard: Callable[[Path, int, int], int], size: int, what: str, count: int) -> None:
    """Draw shards of ``size`` things into the folder that the command line names; what is there stays.

    ``draw_shard(folder, shard, seed)`` draws one and returns its number; ``count`` is the usual number of things.
    """
    parser = argparse.ArgumentParser(description=f'Draw {what} into a folder; what is there stays.')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--count', type=int, default=count)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--processes', type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    shards = -(-options.count // size)
    with ProcessPoolExecutor(options.processes) as pool:
        for shard in pool.map(draw_shard, [options.out] * shards, range(shards), [options.seed] * shards):
            print(f'{(shard + 1) * size} of {shards * size} {what}', flush=True)
