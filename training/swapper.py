"""The persona swapper: shows a persona's face with the expression, pose and light of the face it is given.

What is smooth is drawn by the network; what is fine (a mended crack, seams, brows, irises) is painted on: the network
says where on the unfolded head each place lies, and a picture of the paint is read there, which no hourglass of this
size would draw as sharp (Thies et al., "Deferred neural rendering", 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from facefusion_ros.engines.quantisation import KEEPS_FLOAT
from training.clutter import fractal, spoil_detail, spoil_light
from training.export import export
from training.fringe import fringe
from training.loop import channels_first, run_options, settings_of, train
from training.paint import BOX_MM, REACH, drawn, irises
from training.pairs import CROP, LIGHT, PERSONAS, PairStore, crop_map, cropped
from training.redraw import Redraw

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.loop import Batch

_NEAR_EYES, _LOOKED_AT = 0.35, 5.0
"""Reach of an eye or the mouth, in distances of the eyes, and how many times more errors count there: there people
look, and a tooth is small."""
_UNSURE = 0.2
"""Of the mask: below it there is nothing to show, and above what is left of 1 everything."""
OPSET = 16
"""The first with GridSample."""
FLAT = (1.04, 127.3, 119.6)
"""mm per pixel of the crop, and the column and row of the unfolded head's middle: the best for all faces."""
_STEP_MM = 20.0
"""By which a value of 1 of the network moves a place."""
_FRINGES, _UNEVEN, _SPARED = 0.45, 0.6, 0.8
"""How often a fringe is drawn, skin is uneven, and a covered mouth gives way to another face: hands cover more drawn
mouths than living ones, and a network that expects them takes a smile's folds for fingers."""
_NOWHERE = 1e3
"""A place on which nothing is painted."""
_DIM = 5.0
"""No gleam at first: that of a logit of -5."""


KEPT_FLOAT = ' '.join(
    [
        '/stem/stem.0/Conv',
        *(f'/down_{at}/down_{at}.0/down_{at}.0.0/Conv' for at in (4, 8)),
        *(f'/down_{at}/down_{at}.1/{part}/Conv' for at in (4, 8) for part in ('first/first.0', 'second')),
        *(f'/middle/middle.0/{part}/Conv' for part in ('first/first.0', 'second')),
        *(
            f'/up_{at}/{part}/Conv'
            for at in (8, 4, 2)
            for part in ('narrow', 'refined/first/first.0', 'refined/second')
        ),
    ]
)
"""Convolutions that stay float in eight bits: with them in eight bits the paint lies beside its place."""


class Parts(NamedTuple):
    """What a face is put together from, (N, …, 256, 256)."""

    colour: torch.Tensor
    """3, 0..1: without paint and iris."""
    mask: torch.Tensor
    """1, 0..1."""
    eye: torch.Tensor
    """1, 0..1: how much of a place is an eye."""
    gleam: torch.Tensor
    """1, 0..1: added."""
    gold: torch.Tensor
    """3, 0..1: what gold would look like there."""
    brow: torch.Tensor
    """3, 0..1: what a brow would look like there."""
    light: torch.Tensor
    """3, 0..2: times the iris."""
    skin_mm: torch.Tensor
    """2: place on the unfolded head, right and up."""
    gaze: torch.Tensor
    """2: place on an eye about where it looks, right and up, in radii of the ball."""
    groove: torch.Tensor
    """(N, 1, 1, 1) how much light a groove takes."""


class Swapper(nn.Module):
    """(N, 3, 256, 256) RGB 0..1 and (N, P) weights of the personas to the persona's picture and where it is shown.

    The picture is (N, 3, 256, 256) RGB 0..1, the mask (N, 1, 256, 256) 0..1. In training ``Parts`` come instead.
    """

    inputs = 2

    def __init__(self, personas: int = len(PERSONAS)) -> None:
        super().__init__()
        self.redraw = Redraw(personas, 6, coarse=13)
        self.groove = nn.Linear(personas, 1, bias=False)
        nn.init.constant_(self.groove.weight, 0.3)
        colours, disc = irises()
        self.drawn: torch.Tensor
        self.irises: torch.Tensor
        self.disc: torch.Tensor
        self.flat: torch.Tensor
        self.register_buffer('drawn', torch.from_numpy(drawn())[None])
        self.register_buffer('irises', torch.from_numpy(colours).flatten(1))
        self.register_buffer('disc', torch.from_numpy(disc)[None, None])
        quarter = (torch.arange(CROP // 4) + 0.5) * 4 - 0.5
        y, x = torch.meshgrid(quarter, quarter, indexing='ij')
        scale, column, row = FLAT
        self.register_buffer('flat', torch.stack([(x - column) * scale, (row - y) * scale])[None])

    def forward(self, x: torch.Tensor, persona: torch.Tensor) -> Parts | tuple[torch.Tensor, torch.Tensor]:
        """Swap."""
        parts = self.parts(x, persona)
        if self.training:
            return parts
        # Where it is not sure, the picture stays as it is, to the bit.
        mask = ((parts.mask - _UNSURE) / (1 - 2 * _UNSURE)).clamp(0, 1)
        return self.composed(parts, persona, parts.skin_mm, parts.gaze, parts.eye), mask

    def parts(self, x: torch.Tensor, persona: torch.Tensor) -> Parts:
        """Draw what is smooth and say where the rest belongs."""
        fine, fields = self.redraw.both(x, persona)
        assert fields is not None  # noqa: S101 - it was asked for
        fine, fields = fine.float(), fields.float()
        skin = self.flat + _STEP_MM * fields[:, 9:11]
        low = torch.cat([fields[:, :9].sigmoid(), skin, fields[:, 11:]], 1)
        low = functional.interpolate(low, scale_factor=4.0, mode='bilinear', align_corners=False)
        colour, mask, eye, gleam = fine[:, :3].sigmoid(), fine[:, 3:4], fine[:, 4:5], fine[:, 5:] - _DIM
        return Parts(
            colour,
            mask.sigmoid(),
            eye.sigmoid(),
            gleam.sigmoid(),
            low[:, :3],
            low[:, 3:6],
            2 * low[:, 6:9],
            low[:, 9:11],
            low[:, 11:],
            self.groove(persona)[:, :, None, None],
        )

    def composed(
        self, parts: Parts, persona: torch.Tensor, skin_mm: torch.Tensor, gaze: torch.Tensor, eye: torch.Tensor
    ) -> torch.Tensor:
        """Put a face together, (N, 3, 256, 256), with paint and irises where these places say."""
        left, bottom, right, top = BOX_MM
        across = (skin_mm[:, :1] - (left + right) / 2) * (2 / (right - left))
        down = ((bottom + top) / 2 - skin_mm[:, 1:]) * (2 / (top - bottom))
        paint = _read(self.drawn.expand(len(persona), -1, -1, -1), torch.cat([across, down], 1))
        iris = (persona @ self.irises).view(len(persona), 3, *self.disc.shape[2:])
        iris = torch.cat([iris, self.disc.expand(len(persona), -1, -1, -1)], 1)
        seen = _read(iris, torch.cat([gaze[:, :1], -gaze[:, 1:]], 1) / REACH)
        out = parts.colour * (1 - parts.groove * paint[:, 1:2])
        out = out + paint[:, 2:] * (parts.brow - out)
        out = out + paint[:, :1] * (parts.gold - out)
        out = out + eye * seen[:, 3:] * (seen[:, :3] * parts.light - out)
        return (out + parts.gleam).clamp(0, 1)

    def painted_truly(self, parts: Parts, persona: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """Put a face together, (N, 3, 256, 256), with paint and irises where they truly are: ``Pair.unfolded``."""
        at, skin, eye = place[:, :2], place[:, 2:3], place[:, 3:]
        skin_mm, gaze = (torch.where(there > 0, at, _NOWHERE) for there in (skin, eye))
        return self.composed(parts, persona, skin_mm, gaze, eye)


def _read(picture: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) read at (N, 2, H, W), -1 to 1 from edge to edge, 0 outside."""
    return functional.grid_sample(picture, at.permute(0, 2, 3, 1), padding_mode='zeros', align_corners=False)


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


def steepness(slopes: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) to (N, C, about H/3, W/3) mean size of slopes in windows of 7, every 3 pixels."""
    return functional.avg_pool2d(slopes.contiguous().abs(), 7, 3)


def level_of(picture: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) and (N, 1, H, W) to the (N, 1, 1, 1) weighted means over all colours."""
    return (picture * weight).mean(1, keepdim=True).sum((2, 3), keepdim=True) / (weight.sum((2, 3), keepdim=True) + 1)


def loss_of(net: Swapper, parts: Parts, batch: Batch) -> dict[str, torch.Tensor]:
    """Compare with the truth.

    ``batch``: pictures, personas, the truth (N, 5, 256, 256): RGB, mask, and weight of a place, and (N, 4, 256, 256):
    place on the unfolded head or eye, and how much of it is skin and eye. The paint is laid on where it truly is: a
    line a pixel beside its place would teach the network to leave it out.
    """
    truth, shown, weight = batch[2][:, :3], batch[2][:, 3:4], batch[2][:, 4:]
    place, skin, eye = batch[3][:, :2], batch[3][:, 2:3], batch[3][:, 3:]
    picture = net.painted_truly(parts, batch[1], batch[3])
    level, wanted = level_of(picture, shown), level_of(truth, shown)
    # How bright a face is says little of how bright the light is. The blender matches levels; a network that is blamed
    # for what it cannot know learns nothing else.
    picture = picture * ((wanted + 0.02) / (level + 0.02))
    # A hole far from any edge counts for more.
    far = -functional.max_pool2d(functional.max_pool2d(-shown, 4), 5, 1, 2)
    kept = 1 + 8 * functional.interpolate(far, scale_factor=4.0, mode='nearest')
    weight = (0.05 + shown) * (1 + _LOOKED_AT * weight)
    weight = weight / weight.mean((1, 2, 3), keepdim=True)
    left, bottom, right, top = BOX_MM
    within = (place[:, :1] > left) & (place[:, :1] < right) & (place[:, 1:] > bottom) & (place[:, 1:] < top)
    skin, eye_alone = skin * within, (eye > 0.5).float()
    ours, theirs = slopes(picture), slopes(truth)
    steeper = steepness(ours) - steepness(theirs)
    apart_mm, apart = (parts.skin_mm - place).abs(), (parts.gaze - place).abs()
    return {
        'level': 0.5 * (level - wanted).abs().mean(),
        'colour': 2 * (weight * (picture - truth).abs()).mean(),
        'slopes': 2 * (weight[..., 1:, 1:] * (ours - theirs).abs()).mean(),
        # Wherever it is not sure of an edge, the least error is a soft one; as steep as true ones it has to be.
        'sharp': 6 * (functional.avg_pool2d(weight[..., 1:, 1:].contiguous(), 7, 3) * steeper.abs()).mean(),
        'structure': 0.3 * (windows(weight) * (1 - structure(picture, truth))).mean(),
        'mask': (kept * ((parts.mask - shown).abs() + (parts.mask - shown).square())).mean(),
        'place': 0.015 * (skin * apart_mm).sum() / (skin.sum() + 1),
        'gaze': 0.2 * (eye_alone * apart).sum() / (eye_alone.sum() + 1),
        'eye': ((1 + 10 * eye) * (parts.eye - eye).abs()).mean(),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A face, and what is to be drawn of it."""

    picture: NDArray[np.uint8]
    """(CROP, CROP, 3) RGB."""
    persona: NDArray[np.float32]
    """(P,) weights."""
    truth: NDArray[np.uint8]
    """(CROP, CROP, 5) RGB, mask, and how near a place is to an eye or the mouth."""
    place: NDArray[np.float32]
    """(CROP, CROP, 4) of ``Pair.unfolded``."""


def example(rng: np.random.Generator, store: PairStore) -> Example:
    """Draw an example from any of the pairs."""
    pair = store[int(rng.integers(len(store)))]
    if pair.covered and rng.random() < _SPARED:
        pair = store[int(rng.integers(len(store)))]
    which = int(rng.integers(len(PERSONAS)))
    matrix = crop_map(pair.five, rng)
    marks = pair.five @ matrix[:, :2].T + matrix[:, 2]
    both = np.concatenate([cropped(pair.face, matrix), cropped(pair.personas[which], matrix)], axis=1)
    # The light and what a camera makes of it is of both; blur, noise and coding are to be left behind.
    both = np.clip(spoil_light(rng, both[..., ::-1] * pair.white_balance, LIGHT), 0, 255)
    face, persona = both[:, :CROP], both[:, CROP:]
    face, shown = _uneven(rng, face), cropped(pair.masks[which], matrix)
    if rng.random() < _FRINGES:
        hair, cover = fringe(rng, marks[:2], face)
        face, persona = (picture + cover[..., None] * (hair - picture) for picture in (face, persona))
        shown = shown * (1 - cover)
    near = np.zeros((CROP, CROP), np.float32)
    reach = _NEAR_EYES * float(np.linalg.norm(marks[1] - marks[0]))
    y, x = np.mgrid[0:CROP, 0:CROP].astype(np.float32)
    for centre in (marks[0], marks[1], marks[3:].mean(axis=0)):
        near = np.maximum(near, np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * reach**2)))
    # Personas are not symmetric (a mended crack), so nothing is mirrored.
    truth = np.clip(np.rint(np.dstack([persona, shown, 255 * near])), 0, 255).astype(np.uint8)
    picture = spoil_detail(rng, np.ascontiguousarray(face))
    return Example(picture, np.eye(len(PERSONAS), dtype=np.float32)[which], truth, pair.unfolded(which, matrix))


def batch(index: int, *, pairs: Path, count: int, seed: int) -> Batch:
    """Draw the batch of that number, as ``loss_of`` takes it; pictures and truth uint8, places float32."""
    store = PairStore.of(pairs)
    drawn_ones = [example(np.random.default_rng([seed, index, number]), store) for number in range(count)]
    return (
        channels_first(np.stack([one.picture for one in drawn_ones])),
        torch.from_numpy(np.stack([one.persona for one in drawn_ones])),
        channels_first(np.stack([one.truth for one in drawn_ones])),
        torch.from_numpy(np.stack([one.place for one in drawn_ones])).permute(0, 3, 1, 2),
    )


def _uneven(rng: np.random.Generator, face: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make skin, cloth and hair of a (S, S, 3) picture less even, and folds deeper or flatter, than drawn ones are."""
    if rng.random() < _UNEVEN:
        noise = fractal(rng, CROP, CROP, int(rng.integers(3, 40)), rng.uniform(0.5, 0.95))
        face = face * np.exp(noise * np.float32(rng.uniform(0, 0.08)))[..., None]
    if rng.random() < _UNEVEN:
        side, depth = int(rng.integers(3, 24)), float(np.exp(rng.uniform(-0.5, 0.5)))
        face = np.asarray(cv2.addWeighted(face, depth, cv2.blur(face, (side, side)), 1 - depth, 0), np.float32)
    if rng.random() < _UNEVEN:
        face = face * np.exp(-_creases(rng))[..., None]
    return np.clip(face, 0, 255)


def _creases(rng: np.random.Generator) -> NDArray[np.float32]:
    """(CROP, CROP) logarithm of the light that some folds take: dark lines, skin that rises beside them, and bulges."""
    taken = np.zeros((CROP, CROP), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        along = np.linspace(0, 1, 16)[:, None]
        start, middle, end = rng.uniform(0.2, 0.85, (3, 2)) * CROP
        line = (1 - along) ** 2 * start + 2 * along * (1 - along) * middle + along**2 * end
        drawn_line = np.zeros((CROP, CROP), np.float32)
        cv2.polylines(drawn_line, [np.rint(line).astype(np.int32)], isClosed=False, color=1.0, thickness=2)
        reach = float(rng.uniform(0.8, 3.0))
        narrow, broad = (cv2.GaussianBlur(drawn_line, (0, 0), sigma) for sigma in (reach, 4 * reach))
        shift = np.array([[1, 0, rng.normal(0, 3 * reach)], [0, 1, rng.normal(0, 3 * reach)]])
        broad = cv2.warpAffine(broad, shift, (CROP, CROP))
        fold = narrow / max(float(narrow.max()), 1e-6) - rng.uniform(0, 0.6) * broad / max(float(broad.max()), 1e-6)
        taken += np.float32(rng.uniform(0.05, 0.5)) * fold
        bulge = np.zeros((CROP, CROP), np.float32)
        centre, axes = rng.uniform(0.2, 0.85, 2) * CROP, rng.uniform(0.03, 0.14, 2) * CROP
        turn = float(rng.uniform(0, 180))
        cv2.ellipse(bulge, (int(centre[0]), int(centre[1])), (int(axes[0]), int(axes[1])), turn, 0, 360, 1.0, -1)
        taken += np.float32(rng.normal(0, 0.15)) * cv2.GaussianBlur(bulge, (0, 0), reach)
    return taken


def main() -> None:
    """Train the persona swapper."""
    options = run_options('swapper', 'pairs', 'pairs', steps=16_000, count=4).parse_args()
    make = partial(batch, pairs=options.pairs, count=options.batch, seed=options.seed)
    swapper = Swapper()
    net = train(swapper, make, partial(loss_of, swapper), settings_of(options, rate=4e-4))
    example = (torch.zeros(1, 3, CROP, CROP), torch.zeros(1, len(PERSONAS)))
    told = {'personas': ','.join(PERSONAS), KEEPS_FLOAT: KEPT_FLOAT}
    file = options.out / 'persona_swapper.onnx'
    export(net, example, file, ['picture', 'persona'], ['swapped', 'mask'], told, OPSET)


if __name__ == '__main__':
    main()
