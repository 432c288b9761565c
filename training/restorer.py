"""The restorer: gives back to a face what blur, noise, coding, few pixels and a swapper took from it."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from facefusion_ros.engines.quantisation import KEEPS_FLOAT
from training.clutter import degraded, spoil_light
from training.export import export
from training.loop import channels_first, run_options, settings_of, train
from training.pairs import CROP, PERSONAS, PairStore, crop_map, cropped
from training.redraw import Redraw
from training.swapper import Swapper, example, slopes, steepness, structure, windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.loop import Batch

_REDRAWN = 0.6
"""How often it is given what the swapper made of a face."""
_LOOKED_AT = 5.0
"""How many times more errors of eyes and mouth count there."""


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
    """Compare with the truth; ``batch``: pictures, fidelities (N, 1), truth (N, 4, 256, 256): RGB, and what counts.

    A faithful picture has the least squared error. A sharp one has slopes as large as the truth's, which the least
    squared error never gives where it is not sure.
    """
    fidelity, truth, weight = batch[1].view(-1, 1, 1, 1), batch[2][:, :3], batch[2][:, 3:].contiguous()
    weight = weight / weight.mean((1, 2, 3), keepdim=True)
    apart = output - truth
    ours, theirs = slopes(output), slopes(truth)
    steeper = steepness(ours) - steepness(theirs)
    return {
        'square': 40 * (weight * apart.square()).mean(),
        'colour': 2 * (weight * apart.abs()).mean(),
        'slopes': 2 * (weight[..., 1:, 1:] * (ours - theirs).abs()).mean(),
        'sharp': 8 * ((1 - fidelity) * functional.avg_pool2d(weight[..., 1:, 1:], 7, 3) * steeper.abs()).mean(),
        'structure': 0.2 * ((1.5 - fidelity) * windows(weight) * (1 - structure(output, truth))).mean(),
    }


def batch(index: int, *, pairs: Path, swapper: Path, count: int, seed: int) -> Batch:
    """Draw the batch of that number, as ``loss_of`` takes it; pictures and truth uint8."""
    store, net = PairStore.of(pairs), redrawing(swapper)
    pictures = np.zeros((count, CROP, CROP, 3), np.uint8)
    truths = np.zeros((count, CROP, CROP, 4), np.uint8)
    fidelities = np.zeros((count, 1), np.float32)
    for number in range(count):
        rng = np.random.default_rng([seed, index, number, 1])
        draw = partial(redrawn, net=net) if rng.random() < _REDRAWN else spoilt
        pictures[number], truths[number] = draw(rng, store)
        fidelities[number] = rng.random()
    return (
        channels_first(pictures),
        torch.from_numpy(fidelities),
        channels_first(truths),
    )


def spoilt(rng: np.random.Generator, store: PairStore) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a face or a persona as a poor camera shows it, (CROP, CROP, 3) RGB, and what ``loss_of`` compares it with."""
    pair = store[int(rng.integers(len(store)))]
    which = int(rng.integers(-2, len(PERSONAS)))
    source = pair.personas[which] if which >= 0 else pair.face
    truth = spoil_light(rng, cropped(source, crop_map(pair.five, rng))[..., ::-1])
    if rng.random() < 0.5:
        truth = truth[:, ::-1]
    truth = np.ascontiguousarray(np.clip(truth, 0, 255))
    everywhere = np.full((CROP, CROP, 1), 255.0)
    return degraded(rng, truth), np.rint(np.dstack([truth, everywhere])).astype(np.uint8)


@torch.inference_mode()
def redrawn(rng: np.random.Generator, store: PairStore, net: Swapper) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw what the swapper makes of a face, (CROP, CROP, 3) RGB, and what ``loss_of`` compares it with.

    The paint is where it truly is, as while the swapper learns: beside it, it would be taught to be blurred. What
    differs in colour as a whole the blender decides.
    """
    one = example(rng, store)
    persona, place = torch.from_numpy(one.persona)[None], torch.from_numpy(one.place).permute(2, 0, 1)[None]
    given = channels_first(one.picture[None]).float() / 255
    drawn = net.painted_truly(net.parts(given, persona), persona, place)[0].permute(1, 2, 0).numpy()
    truth, shown, near = one.truth[..., :3] / 255.0, one.truth[..., 3], one.truth[..., 4] / 255.0
    if shown.any():
        ours, theirs = (np.average(each.reshape(-1, 3), axis=0, weights=shown.ravel()) for each in (drawn, truth))
        truth = truth * ((ours + 0.02) / (theirs + 0.02))
    counts = (0.02 + shown / 255.0) * (1 + _LOOKED_AT * near) / (1 + _LOOKED_AT)
    wanted = np.clip(np.rint(255 * np.dstack([truth, counts])), 0, 255)
    return np.rint(255 * drawn).astype(np.uint8), wanted.astype(np.uint8)


@cache
def redrawing(file: Path) -> Swapper:
    """Load the average of a swapper's run, once in each process."""
    net = Swapper().eval()
    net.load_state_dict(torch.load(file, weights_only=True)['average'])
    return net


def main() -> None:
    """Train the restorer."""
    parser = run_options('restorer', 'pairs', 'pairs', steps=12_000, count=4)
    parser.add_argument(
        '--swapper', type=Path, required=True, help='checkpoint.pt of the swapper whose results it restores'
    )
    options = parser.parse_args()
    make = partial(batch, pairs=options.pairs, swapper=options.swapper, count=options.batch, seed=options.seed)
    net = train(Restorer(), make, loss_of, settings_of(options, rate=4e-4))
    example = (torch.zeros(1, 3, CROP, CROP), torch.zeros(1, 1))
    # Eight bits for the picture itself would round what is to be given back.
    told = {KEEPS_FLOAT: '/redraw/stem/stem.0/Conv'}
    export(net, example, options.out / 'face_restorer.onnx', ['picture', 'fidelity'], ['restored'], told)


if __name__ == '__main__':
    main()
