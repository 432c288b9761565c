"""The face detector: YOLOv4-tiny's two heads, narrower, with five landmarks beside each box."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training.clutter import spoil
from training.convolutions import CrossStage, conv
from training.export import export
from training.loop import channels_first, run_options, settings_of, train
from training.scenes import ASKED, mirrored_faces, scene
from training.sprites import SpriteStore, five

if TYPE_CHECKING:
    from pathlib import Path

    from training.loop import Batch

WIDTH, HEIGHT = 416, 256
ANCHORS = ((32, ((72.0, 90.0), (125.0, 155.0), (210.0, 250.0))), (16, ((12.0, 15.0), (22.0, 28.0), (40.0, 50.0))))
"""Stride of each head and width and height of its anchors, pixels."""
STRETCH = 1.05
VALUES = 15
"""Per anchor: x, y, log width, log height, score, and x, y of five landmarks in anchors from the cell's middle."""
_UNSURE = 0.5
"""A cell that is not the face's own but whose box overlaps it this much is neither right nor wrong."""


class Detector(nn.Module):
    """(N, 3, H, W) RGB 0..1 to two heads, (N, 45, H/32, W/32) and (N, 45, H/16, W/16)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(conv(3, w, 3, 2), conv(w, 2 * w, 3, 2))
        self.block_4, self.block_8, self.block_16 = CrossStage(2 * w), CrossStage(4 * w), CrossStage(8 * w)
        self.top = nn.Sequential(conv(16 * w, 16 * w), conv(16 * w, 8 * w, 1))
        self.far = nn.Sequential(conv(8 * w, 16 * w), nn.Conv2d(16 * w, 3 * VALUES, 1))
        self.down = conv(8 * w, 4 * w, 1)
        self.near = nn.Sequential(conv(12 * w, 8 * w), nn.Conv2d(8 * w, 3 * VALUES, 1))
        for head in (self.far, self.near):
            last: nn.Conv2d = head[1]
            bias = torch.zeros(3, VALUES)
            bias[:, 4] = -6.0  # almost no place holds a face
            last.bias = nn.Parameter(bias.flatten())

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Look for faces."""
        x = self.block_4(self.stem(x))[1]
        x = self.block_8(functional.max_pool2d(x, 2))[1]
        fine, x = self.block_16(functional.max_pool2d(x, 2))
        top = self.top(functional.max_pool2d(x, 2))
        near = torch.cat([functional.interpolate(self.down(top), scale_factor=2.0, mode='nearest'), fine], 1)
        return self.far(top), self.near(near)


def decode(head: torch.Tensor, stride: int, anchors: tuple[tuple[float, float], ...]) -> torch.Tensor:
    """(N, 45, h, w) to (N, 3, h, w, 15): left, top, right, bottom, score's logit, landmarks; pixels."""
    count, _, rows, columns = head.shape
    values = head.float().view(count, 3, VALUES, rows, columns).permute(0, 1, 3, 4, 2)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    cell = torch.stack([x, y], -1).to(head.device)
    size = torch.tensor(anchors, device=head.device).view(1, 3, 1, 1, 2)
    centre = (values[..., :2].sigmoid() * STRETCH - (STRETCH - 1) / 2 + cell) * stride
    extent = values[..., 2:4].clamp(max=4.0).exp() * size
    points = values[..., 5:].reshape(*values.shape[:-1], 5, 2) * size.unsqueeze(-2) + ((cell + 0.5) * stride).unsqueeze(
        -2
    )
    return torch.cat([centre - extent / 2, centre + extent / 2, values[..., 4:5], points.flatten(-2)], -1)


def loss_of(heads: tuple[torch.Tensor, torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
    """Compare with the truth.

    ``batch``: pictures, and (N, F, 15) faces as ``decode`` gives them, with a 1 for the score of those that are there,
    and 0.5 for those that nobody is asked to find.
    """
    faces = batch[1]
    parts = {'score': torch.zeros(()), 'box': torch.zeros(()), 'points': torch.zeros(())}
    found = 0.0
    for head, (stride, anchors) in zip(heads, ANCHORS, strict=True):
        score, box, points, count = _head_loss(head, stride, anchors, faces)
        parts['score'] = parts['score'] + score
        parts['box'] = parts['box'] + box
        parts['points'] = parts['points'] + points
        found += count
    scale = 1.0 / max(found, 1.0)
    return {'score': parts['score'] * scale, 'box': 2 * parts['box'] * scale, 'points': 4 * parts['points'] * scale}


def _head_loss(
    head: torch.Tensor, stride: int, anchors: tuple[tuple[float, float], ...], faces: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    decoded = decode(head, stride, anchors)
    rows, columns = decoded.shape[2:4]
    logits = decoded[..., 4]
    target, weight = torch.zeros_like(logits), torch.ones_like(logits)
    with torch.no_grad():
        overlap = iou(decoded[..., None, :4], faces[:, None, None, None, :, :4])
        there = (faces[..., 4] > 0)[:, None, None, None]
        weight[((overlap > _UNSURE) & there).any(-1)] = 0.0
        unasked = (faces[..., 4] > 0) & (faces[..., 4] < 1)
        inside = (overlap > 0.1) & unasked[:, None, None, None]
        weight[inside.any(-1)] = 0.0
    n, f = torch.nonzero(faces[..., 4] == 1.0, as_tuple=True)
    truth = faces[n, f]
    centre, extent = (truth[:, :2] + truth[:, 2:4]) / 2, truth[:, 2:4] - truth[:, :2]
    boxes, points = logits.new_zeros(()), logits.new_zeros(())
    count = 0.0
    sizes = torch.tensor(anchors, device=head.device)
    nearest = _best_anchor(extent)
    for a in range(3):
        ratio = torch.maximum(extent / sizes[a], sizes[a] / extent).amax(-1)
        index = a + 3 * next(i for i, (s, _) in enumerate(ANCHORS) if s == stride)
        chosen = (ratio < 1.5) | (nearest == index)
        if not chosen.any():
            continue
        x = (centre[chosen, 0] / stride).long().clamp(0, columns - 1)
        y = (centre[chosen, 1] / stride).long().clamp(0, rows - 1)
        here = decoded[n[chosen], a, y, x]
        target[n[chosen], a, y, x] = 1.0
        weight[n[chosen], a, y, x] = 1.0
        boxes = boxes + (1 - complete_iou(here[:, :4], truth[chosen, :4])).sum()
        eyes = (truth[chosen, 7:9] - truth[chosen, 5:7]).norm(dim=-1).clamp(min=4.0)
        apart = (here[:, 5:] - truth[chosen, 5:]).abs() / eyes[:, None]
        points = (
            points
            + functional.smooth_l1_loss(apart, torch.zeros_like(apart), beta=0.05, reduction='none').mean(-1).sum()
        )
        count += float(chosen.sum())
    chance = logits.sigmoid()
    apart = torch.where(target > 0, 1 - chance, chance)
    cross = functional.binary_cross_entropy_with_logits(logits, target, reduction='none')
    score = (weight * apart.square() * cross).sum()  # focal loss (Lin et al., 2017)
    return score, boxes, points, count


def _best_anchor(extent: torch.Tensor) -> torch.Tensor:
    sizes = torch.tensor([anchor for _, anchors in ANCHORS for anchor in anchors], device=extent.device)
    ratio = torch.maximum(extent[:, None] / sizes, sizes / extent[:, None].clamp(min=1e-3)).amax(-1)
    return ratio.argmin(-1) if len(extent) else extent.new_zeros(0, dtype=torch.long)


def iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Overlap of boxes (..., 4) left, top, right, bottom."""
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:4], second[..., 2:4])
    common = (high - low).clamp(min=0).prod(-1)
    areas = [(box[..., 2:4] - box[..., :2]).clamp(min=0).prod(-1) for box in (first, second)]
    return common / (areas[0] + areas[1] - common).clamp(min=1e-6)


def complete_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Overlap less the distance of the centres and the difference in shape (Zheng et al., 2020)."""
    over = iou(first, second)
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    centres = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    distance = centres.square().sum(-1) / hull.square().sum(-1).clamp(min=1e-6)
    angles = [
        torch.atan2(box[..., 2] - box[..., 0], (box[..., 3] - box[..., 1]).clamp(min=1e-3)) for box in (first, second)
    ]
    shape = 4 / torch.pi**2 * (angles[0] - angles[1]).square()
    with torch.no_grad():
        share = shape / (1 - over + shape).clamp(min=1e-6)
    return over - distance - share * shape


MOST_FACES = 8


def batch(index: int, *, heads: Path, count: int, seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Batch:
    """Draw the batch of that number: (count, 3, H, W) uint8 pictures and their (count, 8, 15) faces.

    Drawing costs more than what a camera does to a picture, so each scene is seen twice, the second time mirrored.
    """
    width, height = size
    pictures = np.zeros((count, height, width, 3), np.uint8)
    faces = np.zeros((count, MOST_FACES, VALUES), np.float32)
    for number in range(0, count, 2):
        rng = np.random.default_rng([seed, index, number])
        picture, placed = scene(rng, SpriteStore.of(heads), width, height)
        for place, face in zip(faces[number], placed, strict=False):
            asked = face.box[2] - face.box[0] >= ASKED
            # From centres to edges of pixels, as decoders count.
            place[:] = (*(face.box + 0.5), 1.0 if asked else 0.5, *(five(face.points) + 0.5).ravel())
        pictures[number] = spoil(rng, picture)
        if number + 1 < count:
            pictures[number + 1] = spoil(rng, np.ascontiguousarray(picture[:, ::-1]))
            faces[number + 1] = mirrored_faces(faces[number], width)
    return channels_first(pictures), torch.from_numpy(faces)


def main() -> None:
    """Train the detector."""
    parser = run_options('detector', 'heads', 'sprites', steps=12_000, count=16)
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(WIDTH, HEIGHT),
        help='of the scenes: on a CPU begin small, the faces are as large',
    )
    options = parser.parse_args()
    size = (options.size[0], options.size[1])
    make = partial(batch, heads=options.heads, count=options.batch, seed=options.seed, size=size)
    net = train(Detector(), make, loss_of, settings_of(options, rate=2e-3))
    example = (torch.zeros(1, 3, HEIGHT, WIDTH),)
    export(net, example, options.out / 'face_detector.onnx', ['picture'], ['head_32', 'head_16'])


if __name__ == '__main__':
    main()
