"""The persona swapper: shows a persona's face with the expression, pose and light of the face it is given."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training.clutter import spoil_detail, spoil_light
from training.export import export
from training.loop import channels_first, run_options, settings_of, train
from training.pairs import CROP, LIGHT, PERSONAS, PairStore, crop_map, cropped
from training.redraw import Redraw

if TYPE_CHECKING:
    from pathlib import Path

    from training.loop import Batch

_REACH = 0.35
"""Of an eye or the mouth, in distances of the eyes: there errors count more, since there people look."""
_UNSURE = 0.2
"""Of the mask: below it there is nothing to show, and above what is left of 1 everything."""


class Swapper(nn.Module):
    """(N, 3, 256, 256) RGB 0..1 and (N, P) weights of the personas to the persona's picture and where it is shown.

    The picture is (N, 3, 256, 256) RGB 0..1, the mask (N, 1, 256, 256) 0..1.
    """

    inputs = 2

    def __init__(self, personas: int = len(PERSONAS)) -> None:
        super().__init__()
        self.redraw = Redraw(personas, 4)

    def forward(self, x: torch.Tensor, persona: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Swap."""
        out = self.redraw(x, persona).sigmoid()
        mask = out[:, 3:]
        if not self.training:  # where it is not sure, the picture stays as it is, to the bit
            mask = ((mask - _UNSURE) / (1 - 2 * _UNSURE)).clamp(0, 1)
        return out[:, :3], mask


def structure(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) to (N, C, H/4-1, W/4-1) similarity of structure (Wang et al., 2004) in ``windows``."""
    # As the hourglass gives them, pooling takes ten times longer.
    first, second = first.contiguous(), second.contiguous()
    mean_a, mean_b = windows(first), windows(second)
    var_a, var_b = windows(first * first) - mean_a.square(), windows(second * second) - mean_b.square()
    both = windows(first * second) - mean_a * mean_b
    light = (2 * mean_a * mean_b + 0.01**2) / (mean_a.square() + mean_b.square() + 0.01**2)
    return light * (2 * both + 0.03**2) / (var_a + var_b + 0.03**2)


def windows(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) to (N, C, H/4-1, W/4-1) means over windows of 8, every 4 pixels."""
    return functional.avg_pool2d(x, 8, 4)


def slopes(x: torch.Tensor) -> torch.Tensor:
    """(N, 2C, H-1, W-1) differences of neighbours, across and down."""
    return torch.cat([x[..., :-1, 1:] - x[..., :-1, :-1], x[..., 1:, :-1] - x[..., :-1, :-1]], 1)


def level_of(picture: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) and (N, 1, H, W) to the (N, 1, 1, 1) weighted means over all colours."""
    return (picture * weight).mean(1, keepdim=True).sum((2, 3), keepdim=True) / (weight.sum((2, 3), keepdim=True) + 1)


def loss_of(output: tuple[torch.Tensor, torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
    """Compare with the truth.

    ``batch``: pictures, personas, and the truth (N, 5, 256, 256): RGB, mask, and weight of a place.
    """
    picture, mask = output
    truth, shown, weight = batch[2][:, :3], batch[2][:, 3:4], batch[2][:, 4:]
    level, wanted = level_of(picture, shown), level_of(truth, shown)
    # How bright a face is says little of how bright the light is. The blender matches levels; a network that is blamed
    # for what it cannot know learns nothing else.
    picture = picture * ((wanted + 0.02) / (level + 0.02))
    weight = (0.05 + shown) * (1 + 2 * weight)
    weight = weight / weight.mean((1, 2, 3), keepdim=True)
    return {
        'level': 0.5 * (level - wanted).abs().mean(),
        'colour': 2 * (weight * (picture - truth).abs()).mean(),
        'slopes': 2 * (weight[..., 1:, 1:] * (slopes(picture) - slopes(truth)).abs()).mean(),
        'structure': 0.3 * (windows(weight) * (1 - structure(picture, truth))).mean(),
        'mask': (mask - shown).abs().mean() + functional.mse_loss(mask, shown),
    }


def batch(index: int, *, pairs: Path, count: int, seed: int) -> Batch:
    """Draw the batch of that number: pictures (count, 3, 256, 256) uint8, personas, and (count, 5, 256, 256) uint8."""
    store = PairStore.of(pairs)
    pictures = np.zeros((count, CROP, CROP, 3), np.uint8)
    truths = np.zeros((count, CROP, CROP, 5), np.uint8)
    personas = np.zeros((count, len(PERSONAS)), np.float32)
    y, x = np.mgrid[0:CROP, 0:CROP].astype(np.float32)
    for number in range(count):
        rng = np.random.default_rng([seed, index, number])
        pair = store[int(rng.integers(len(store)))]
        which = int(rng.integers(len(PERSONAS)))
        personas[number, which] = 1.0
        matrix = crop_map(pair.five, rng)
        marks = pair.five @ matrix[:, :2].T + matrix[:, 2]
        both = np.concatenate([cropped(pair.face, matrix), cropped(pair.personas[which], matrix)], axis=1)
        # The light and what a camera makes of it is of both; blur, noise and coding are to be left behind.
        both = np.clip(spoil_light(rng, both[..., ::-1] * pair.white_balance, LIGHT), 0, 255)
        face, persona = both[:, :CROP], both[:, CROP:]
        place = np.zeros((CROP, CROP), np.float32)
        reach = _REACH * float(np.linalg.norm(marks[1] - marks[0]))
        for centre in (marks[0], marks[1], marks[3:].mean(axis=0)):
            place = np.maximum(place, np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * reach**2)))
        pictures[number] = spoil_detail(rng, np.ascontiguousarray(face))
        truth = np.dstack([persona, cropped(pair.masks[which], matrix), 255 * place])
        truths[number] = np.clip(np.rint(truth), 0, 255).astype(np.uint8)
        # Personas are not symmetric (a mended crack), so nothing is mirrored.
    return (
        channels_first(pictures),
        torch.from_numpy(personas),
        channels_first(truths),
    )


def main() -> None:
    """Train the persona swapper."""
    options = run_options('swapper', 'pairs', 'pairs', steps=16_000, count=4).parse_args()
    make = partial(batch, pairs=options.pairs, count=options.batch, seed=options.seed)
    net = train(Swapper(), make, loss_of, settings_of(options, rate=4e-4))
    example = (torch.zeros(1, 3, CROP, CROP), torch.zeros(1, len(PERSONAS)))
    told = {'personas': ','.join(PERSONAS)}
    export(net, example, options.out / 'persona_swapper.onnx', ['picture', 'persona'], ['swapped', 'mask'], told)


if __name__ == '__main__':
    main()
