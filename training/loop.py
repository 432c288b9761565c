"""One way to train: seeded, resumable, with curves on disk."""

from __future__ import annotations

import argparse
import json
import math
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

Batch = tuple[torch.Tensor, ...]
MakeBatch = 'Callable[[int], Batch]'


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How long and how fast is learned."""

    folder: Path
    """Checkpoint, curves and the exported network go here; a run that is there is taken up again."""
    steps: int
    rate: float
    """Highest learning rate; it rises over ``warm_up`` steps and falls to nothing as a cosine."""
    warm_up: int = 200
    weight_decay: float = 1e-3
    averaging: float = 0.998
    """Share of the old weights that the exported average keeps at each step."""
    seed: int = 0
    workers: int = 1
    """Processes that draw batches."""
    save_every: int = 200
    start: tuple[Path, ...] = ()
    """Checkpoints of other runs, the mean of whose averages of weights a new run begins with."""
    half: bool = False
    """Whether the forward pass is in bfloat16; it pays on GPUs, and on CPUs with matrix instructions for it."""


def run_options(what: str, data: str, drawn_by: str, steps: int, count: int) -> argparse.ArgumentParser:
    """Make the command line that all trainings share: of what, from ``--data`` that a module of training/ drew."""
    parser = argparse.ArgumentParser(description=f'Train the {what}, or go on with it, and export it.')
    parser.add_argument(f'--{data}', type=Path, required=True, help=f'folder of training.{drawn_by}')
    parser.add_argument('--out', type=Path, default=Path('training/runs') / what)
    parser.add_argument('--steps', type=int, default=steps)
    parser.add_argument('--batch', type=int, default=count, help='examples in a step')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument(
        '--start',
        type=Path,
        nargs='+',
        default=(),
        help='checkpoint.pt of another run, to go on from with a new schedule; of several, their mean '
        '(with --steps 0 it is the result)',
    )
    parser.add_argument('--rate', type=float, help='highest learning rate; less than usual after --start')
    parser.add_argument('--half', action='store_true', help='bfloat16, 1.5 times faster where the CPU has it')
    return parser


def settings_of(options: argparse.Namespace, rate: float) -> RunSettings:
    """Return the settings that the command line asks for, at a highest learning rate."""
    return RunSettings(
        options.out,
        options.steps,
        rate=options.rate or rate,
        seed=options.seed,
        workers=options.workers,
        start=tuple(options.start),
        half=options.half,
    )


def channels_first(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """(N, H, W, C) pictures as a network takes them, (N, C, H, W)."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


class _Batches(IterableDataset[Batch]):
    """Batches by number: the n-th is the same however often and wherever it is drawn."""

    def __init__(self, make: Callable[[int], Batch], first: int, last: int) -> None:
        self._make, self._first, self._last = make, first, last

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in range(self._first + number, self._last, step):
            yield self._make(index)


def train(
    net: nn.Module,
    make: Callable[[int], Batch],
    loss_of: Callable[[Any, Batch], dict[str, torch.Tensor]],
    settings: RunSettings,
) -> nn.Module:
    """Train and return the average of the weights.

    ``make(index)`` draws the batch of that number; uint8 becomes 0 to 1. Its first parts are the network's inputs, as
    many as ``net.inputs`` says, else one. ``loss_of(output, batch)`` names the parts of the loss, which are summed.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    net = net.to(device).to(memory_format=torch.channels_last)
    if settings.start:
        net.load_state_dict(_mean_weights(settings.start))
    average = deepcopy(net).eval()
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)
    done = _resume(settings.folder / 'checkpoint.pt', net, average, optimiser)
    loader = DataLoader(
        _Batches(make, done, settings.steps),
        batch_size=None,
        num_workers=settings.workers,
        prefetch_factor=4 if settings.workers else None,
    )
    sums: dict[str, float] = {}
    begun, waited, asked = time.monotonic(), 0.0, time.monotonic()
    with (settings.folder / 'curve.jsonl').open('a') as curve:
        for step, batch in enumerate(loader, done + 1):
            waited += time.monotonic() - asked
            for group in optimiser.param_groups:
                group['lr'] = settings.rate * _schedule(step, settings)
            parts = tuple(part.to(device) for part in batch)
            parts = tuple(part.float() / 255 if part.dtype == torch.uint8 else part for part in parts)
            inputs = parts[: getattr(net, 'inputs', 1)]
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.half):
                output = net(
                    *(part.contiguous(memory_format=torch.channels_last) if part.ndim == 4 else part for part in inputs)
                )
            losses = loss_of(output, parts)
            optimiser.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            _follow(average, net, min(settings.averaging, step / (step + 50)))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            if step % settings.save_every == 0 or step == settings.steps:
                span = (step - done) % settings.save_every or min(settings.save_every, step - done)
                row = {'step': step, 'seconds': round(time.monotonic() - begun, 1), 'waited': round(waited, 1)}
                row |= {name: round(value / span, 5) for name, value in sums.items()}
                sums.clear()
                curve.write(json.dumps(row) + '\n')
                curve.flush()
                print(json.dumps(row), flush=True)
                _save(settings.folder / 'checkpoint.pt', step, net, average, optimiser)
            asked = time.monotonic()
    return average.cpu()


def _schedule(step: int, settings: RunSettings) -> float:
    if step < settings.warm_up:
        return step / settings.warm_up
    through = (step - settings.warm_up) / max(settings.steps - settings.warm_up, 1)
    return 0.5 * (1 + math.cos(math.pi * min(through, 1.0))) + 1e-3


@torch.no_grad()
def _follow(average: nn.Module, net: nn.Module, share: float) -> None:
    for old, new in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new, 1 - share)
        else:
            old.copy_(new)


def _save(file: Path, step: int, net: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    partial = file.with_suffix('.partial')
    state = {
        'step': step,
        'net': net.state_dict(),
        'average': average.state_dict(),
        'optimiser': optimiser.state_dict(),
    }
    torch.save(state, partial)
    partial.replace(file)


def _mean_weights(checkpoints: tuple[Path, ...]) -> dict[str, torch.Tensor]:
    """Return the mean of runs that have a beginning in common (Wortsman et al., "Model soups", ICML 2022)."""
    first, *others = (torch.load(file, weights_only=True)['average'] for file in checkpoints)
    for name, value in first.items():
        for number, other in enumerate(others, 2):
            if value.dtype.is_floating_point:
                value.lerp_(other[name], 1 / number)
    return first  # type: ignore[no-any-return]


def _resume(file: Path, net: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Take up a run where it stopped; returns the steps done."""
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    net.load_state_dict(state['net'])
    average.load_state_dict(state['average'])
    optimiser.load_state_dict(state['optimiser'])
    return int(state['step'])
