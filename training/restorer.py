"""The restorer: gives back to a face what blur, noise, coding and few pixels took from it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from facefusion_ros.engines.quantisation import KEEPS_FLOAT
from training.clutter import degraded, spoil_light
from training.export import export
from training.loop import channels_first, run_options, settings_of, train
from training.pairs import CROP, PERSONAS, PairStore, crop_map, cropped
from training.redraw import Redraw
from training.swapper import slopes, steepness, structure

if TYPE_CHECKING:
    from pathlib import Path

    from training.loop import Batch


class Restorer(nn.Module):
    """(N, 3, 256, 256) RGB 0..1 and (N, 1) fidelity 0..1 to the restored picture, (N, 3, 256, 256) RGB 0..1.

    Fidelity 1 draws what is most likely right on the average, 0 draws edges and texture as sharp as faces have them,
    right or not; CodeFormer's w (Zhou et al., 2022) does the same between its two sources.
    """

    inputs = 2

    def __init__(self) -> None:
        super().__init__()
        self.redraw = Redraw(1, 3)

    def forward(self, x: torch.Tensor, fidelity: torch.Tensor) -> torch.Tensor:
        """Restore."""
        return (x + self.redraw(x, fidelity)).clamp(0, 1)


def loss_of(output: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
    """Compare with the truth; ``batch``: pictures, fidelities (N, 1), truth (N, 3, 256, 256).

    A faithful picture has the least squared error. A sharp one has slopes as large as the truth's, which the least
    squared error never gives where it is not sure.
    """
    fidelity, truth = batch[1].view(-1, 1, 1, 1), batch[2]
    apart = output - truth
    ours, theirs = slopes(output), slopes(truth)
    steeper = steepness(ours) - steepness(theirs)
    return {
        'square': 40 * apart.square().mean(),
        'colour': 2 * apart.abs().mean(),
        'slopes': (ours - theirs).abs().mean() * 2,
        'sharp': 8 * ((1 - fidelity) * steeper.abs()).mean(),
        'structure': 0.2 * ((1.5 - fidelity) * (1 - structure(output, truth))).mean(),
    }


def batch(index: int, *, pairs: Path, count: int, seed: int) -> Batch:
    """Draw the batch of that number: degraded (count, 3, 256, 256) uint8, fidelities (count, 1), truth uint8."""
    store = PairStore.of(pairs)
    pictures = np.zeros((count, CROP, CROP, 3), np.uint8)
    truths = np.zeros((count, CROP, CROP, 3), np.uint8)
    fidelities = np.zeros((count, 1), np.float32)
    for number in range(count):
        rng = np.random.default_rng([seed, index, number, 1])
        pair = store[int(rng.integers(len(store)))]
        # Personas are restored too.
        which = int(rng.integers(-2, len(PERSONAS)))
        source = pair.personas[which] if which >= 0 else pair.face
        truth = spoil_light(rng, cropped(source, crop_map(pair.five, rng))[..., ::-1])
        if rng.random() < 0.5:
            truth = truth[:, ::-1]
        truth = np.ascontiguousarray(np.clip(truth, 0, 255))
        truths[number] = np.rint(truth).astype(np.uint8)
        pictures[number] = degraded(rng, truth)
        fidelities[number] = rng.random()
    return (
        channels_first(pictures),
        torch.from_numpy(fidelities),
        channels_first(truths),
    )


def main() -> None:
    """Train the restorer."""
    options = run_options('restorer', 'pairs', 'pairs', steps=12_000, count=4).parse_args()
    make = partial(batch, pairs=options.pairs, count=options.batch, seed=options.seed)
    net = train(Restorer(), make, loss_of, settings_of(options, rate=4e-4))
    example = (torch.zeros(1, 3, CROP, CROP), torch.zeros(1, 1))
    # Eight bits for the picture itself would round what is to be given back.
    told = {KEEPS_FLOAT: '/redraw/stem/stem.0/Conv'}
    export(net, example, options.out / 'face_restorer.onnx', ['picture', 'fidelity'], ['restored'], told)


if __name__ == '__main__':
    main()
