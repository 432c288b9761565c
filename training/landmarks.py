"""68 landmarks of a face in a crop around it, whether each is seen, and whether there is a face at all."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from facefusion_ros.engines.quantisation import KEEPS_FLOAT
from training.clutter import clutter
from training.convolutions import Residual, conv
from training.export import export
from training.loop import channels_first, run_options, settings_of, train
from training.scenes import crop
from training.sprites import SpriteStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.loop import Batch

SIZE = 128
POINTS = 68
CELLS = SIZE // 4
REACH = 1.1
"""Points may lie outside the crop by a twentieth of it."""
_LEAST = 0.01
"""Error, in crops, from which on the loss grows less than in proportion (Feng et al., "Wing loss", 2018)."""


class Landmarks(nn.Module):
    """(N, 3, 128, 128) RGB 0..1 to (N, 68, 3): x and y in 0..1 of the crop, logit of being seen; and (N, 1), of a face.

    The place is the mean over a map of chances (Sun et al., "Integral human pose regression", 2018).
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(conv(3, w // 2 * 1, 3, 2), conv(w // 2, w, 3, 2), Residual(w))
        self.block_8 = nn.Sequential(conv(w, 2 * w, 3, 2), Residual(2 * w))
        self.block_16 = nn.Sequential(conv(2 * w, 4 * w, 3, 2), Residual(4 * w))
        self.block_32 = nn.Sequential(conv(4 * w, 4 * w, 3, 2), Residual(4 * w))
        self.down_32, self.down_16 = conv(4 * w, 4 * w, 1), conv(4 * w, 2 * w, 1)
        self.down_8, self.side = conv(2 * w, 2 * w, 1), conv(w, 2 * w, 1)
        self.join_16, self.join_8 = conv(4 * w, 4 * w), conv(2 * w, 2 * w)
        self.map = nn.Sequential(conv(2 * w, 2 * w), nn.Conv2d(2 * w, POINTS, 1))
        self.seen = nn.Linear(4 * w, POINTS + 1)
        place = ((torch.arange(CELLS) + 0.5) / CELLS - 0.5) * REACH + 0.5
        y, x = torch.meshgrid(place, place, indexing='ij')
        self.grid: torch.Tensor
        self.register_buffer('grid', torch.stack([x.flatten(), y.flatten()], 1))
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Find the points."""
        x4 = self.stem(x)
        x8 = self.block_8(x4)
        x16 = self.block_16(x8)
        x32 = self.block_32(x16)

        def twice(x: torch.Tensor) -> torch.Tensor:
            return functional.interpolate(x, scale_factor=2.0, mode='nearest')

        x16 = self.join_16(x16 + twice(self.down_32(x32)))
        x8 = self.join_8(x8 + twice(self.down_16(x16)))
        maps = self.map(self.side(x4) + twice(self.down_8(x8)))
        chances = (maps.float() * self.sharpness).reshape(-1, POINTS, CELLS * CELLS).softmax(2)
        points = chances @ self.grid
        told = self.seen(x32.mean((2, 3))).float()
        return torch.cat([points, told[:, :POINTS, None]], 2), told[:, POINTS:]


def loss_of(output: tuple[torch.Tensor, torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
    """Compare with the truth.

    ``batch``: pictures, (N, 68, 3) points in crops and 1 where seen, and (N,) 1 where there is a face.
    """
    found, face = output
    _, truth, there = batch
    apart = (found[..., :2] - truth[..., :2]).norm(dim=-1)
    bent = _LEAST * torch.log1p(apart / _LEAST)
    # What is hidden must be guessed; that counts less.
    weight = there[:, None] * torch.where(truth[..., 2] > 0, 1.0, 0.4)
    count = weight.sum().clamp(min=1.0)
    seen = functional.binary_cross_entropy_with_logits(found[..., 2], truth[..., 2], reduction='none')
    return {
        'points': 50 * (weight * bent).sum() / count,
        'seen': 0.1 * (there[:, None] * seen).mean(),
        'face': 1.0 * functional.binary_cross_entropy_with_logits(face[:, 0], there),
    }


_FINE = ('stem/stem.0/stem.0.0', 'stem/stem.1/stem.1.0', 'stem/stem.2/first/first.0', 'stem/stem.2/second/second.0')
TOLD = {KEEPS_FLOAT: ' '.join(f'/{name}/Conv' for name in (*_FINE, 'block_8/block_8.0/block_8.0.0'))}
"""In eight bits what the first five convolutions see, the finest of a crop, is too coarse to place a point by."""

GROUNDS = 200
_HARD = 2 / 3


@cache
def _grounds(seed: int) -> list[NDArray[np.float32]]:
    return [clutter(np.random.default_rng([seed, 1 << 20, number]), 256, 256) for number in range(GROUNDS)]


@cache
def _mined(file: Path) -> NDArray[np.uint8]:
    return np.load(file, mmap_mode='r')  # type: ignore[no-any-return]


def batch(index: int, *, heads: Path, count: int, seed: int, mined: Sequence[Path] = ()) -> Batch:
    """Draw the batch of that number: (count, 3, 128, 128) uint8, (count, 68, 3) points, (count,) whether a face.

    With ``mined`` two of three crops without a face are of those that a detector took for one.
    """
    pictures = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    points, there = np.zeros((count, POINTS, 3), np.float32), np.zeros(count, np.float32)
    # A new set of backgrounds every 500 batches.
    grounds = _grounds(seed + index // 500)
    for number in range(count):
        rng = np.random.default_rng([seed, index, number])
        pictures[number], points[number], there[number] = crop(rng, SpriteStore.of(heads), grounds, SIZE)
        if mined and not there[number] and rng.random() < _HARD:
            taken = _mined(mined[int(rng.integers(len(mined)))])
            pictures[number] = taken[int(rng.integers(len(taken)))][:, :: 1 if rng.random() < 0.5 else -1]
    return channels_first(pictures), torch.from_numpy(points), torch.from_numpy(there)


def main() -> None:
    """Train the landmarks' network."""
    parser = run_options('landmarks', 'heads', 'sprites', steps=12_000, count=64)
    parser.add_argument(
        '--mined', type=Path, nargs='+', default=(), help='files of training.mined: what a finder takes for faces'
    )
    options = parser.parse_args()
    make = partial(batch, heads=options.heads, count=options.batch, seed=options.seed, mined=options.mined)
    net = train(Landmarks(), make, loss_of, settings_of(options, rate=1.5e-3))
    example = (torch.zeros(1, 3, SIZE, SIZE),)
    export(net, example, options.out / 'face_landmarks.onnx', ['picture'], ['points', 'face'], TOLD)


if __name__ == '__main__':
    main()
