"""How two precisions of a network are compared, by what the network is for: the figures, and the most they may be.

The inputs are fixed: faces drawn from a seed, unit vectors where an identity is wanted, one persona of those there are,
0.5 for a single number.

- A picture: the skin in it (``parity.difference``).
- A vector: the cosine of the angle to fp32's; two pictures of one person are about 0.6 apart, two people about 1.
- Landmarks: the 95th percentile of how far they move, in sides of the crop, and how sure of a face the network is.
- A mask: the share of pixels that change sides (of classes: that change their class).
- A detector: the largest difference of a score, which is 0 to 1, and by how much boxes and points differ (root mean
  square over all anchors), in units of their own spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facefusion_ros.engines.colour import ciede2000, lab
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.parity import PictureCode, Yardstick, difference, drawn_faces
from facefusion_ros.engines.regions import masks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from facefusion_ros.engines.engine import Engine, TensorSpec
    from facefusion_ros.engines.parity import DrawnFace, Floats
    from facefusion_ros.models.entry import ModelEntry, Preprocessing

    Outputs = Mapping[str, Floats]
    """By the family's role."""
    Compare = Callable[[Outputs, Outputs, DrawnFace], Mapping[str, Any]]

SKIN = {'skin_shift_lab': 0.6, 'skin_mean_de2000': 1.0, 'skin_p95_de2000': 1.8}
EYES_AND_LIPS = {'eyes_and_lips_p95_de2000': 1.8}
VECTOR = {'cosine_distance': 0.02}
LANDMARKS = {'p95_distance_of_crop': 0.01}
FACE = {'face_difference': 0.1}
MASK = {'changed_share_of_pixels': 0.01}
DETECTOR = {'score_difference': 0.1, 'box_difference_of_spread': 0.1}

_FACES = 5
_MOST_PIXELS = 20_000
"""Of skin in one picture that are compared, spread over it."""
_HEATMAP = 64
"""Places of 2DFAN4 are in cells of its heatmaps, this many to a side of the crop."""
_CLASS_AFTER = 6
"""Numbers of an anchor whose score is the product of objectness and class, the last two of them."""


def yardstick(entry: ModelEntry, template: ArrayLike | None = None, seed: int = 0) -> Yardstick:
    """Return what measures two precisions of a network of the store.

    ``template``: (5, 2) landmarks of the network's crop, pixels, where eyes and lips are to be compared too.
    """
    decoder = entry.family.decoder
    if decoder == 'picture':
        return _skin(entry, template, seed)
    if decoder == 'vector':
        return Yardstick(VECTOR, _over_faces(entry, _angle, seed))
    if decoder in {'fan', 'pfld'}:
        return Yardstick(LANDMARKS, _over_faces(entry, _distance, seed))
    if decoder == 'seen':
        return Yardstick({**LANDMARKS, **FACE}, _over_faces(entry, _distance, seed))
    if decoder in {'mask', 'classes'}:
        return Yardstick(MASK, _over_faces(entry, _changed, seed))
    return Yardstick(DETECTOR, _over_faces(entry, _detections, seed, share=0.5))


def picture_code(entry: ModelEntry) -> PictureCode:
    """Say how a network of the store codes the picture that it takes and the one that it makes."""
    fed, meaning = entry.family.preprocessing, entry.family.range
    if meaning is None or 'picture' not in entry.inputs or 'picture' not in entry.outputs:
        raise EngineError(f'{entry.name} of family {entry.family.name} makes no picture')
    # A picture that comes out is value * std + mean.
    black, white = ([(end - m) / s for m, s in zip(meaning.mean, meaning.std, strict=True)] for end in (0, 1))
    input_black, input_white = _ends(fed)
    return PictureCode(
        entry.inputs['picture'],
        entry.outputs['picture'],
        (black[0], black[1], black[2]),
        (white[0], white[1], white[2]),
        fed.colour == 'bgr',
        input_black,
        input_white,
        fed.layout == 'nhwc',
    )


def _ends(fed: Preprocessing) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Values of black and of white in a picture that goes in."""
    low, high = ([(end * fed.scale - m) / s for m, s in zip(fed.mean, fed.std, strict=True)] for end in (0, 255))
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _input_code(fed: Preprocessing) -> PictureCode:
    black, white = _ends(fed)
    return PictureCode('', '', black, white, fed.colour == 'bgr', nhwc=fed.layout == 'nhwc')


@dataclass(frozen=True, slots=True)
class _Bench:
    """A network of which two precisions get the same inputs."""

    entry: ModelEntry
    engines: tuple[Engine, Engine]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture that goes in, pixels."""
        spec = self._input('picture')
        if spec is None:
            return 8, 8
        sides = spec.shape[1:3] if self.entry.family.preprocessing.layout == 'nhwc' else spec.shape[2:]
        if len(spec.shape) != 4 or None in sides:
            raise EngineError(
                f'input {spec.name} of {self.entry.name} is no picture of a fixed size: add the file again'
            )
        return sides[1] or 1, sides[0] or 1

    def _input(self, role: str) -> TensorSpec | None:
        name = self.entry.inputs.get(role)
        return next((spec for spec in self.engines[0].inputs if spec.name == name), None)

    def inputs(self, face: DrawnFace, seed: list[int]) -> dict[str, NDArray[np.generic]]:
        """Return what goes in with a face."""
        rng = np.random.default_rng(seed)
        family = self.entry.family
        values: dict[str, NDArray[np.generic]] = {}
        roles = {name: role for role, name in self.entry.inputs.items()}
        for spec in self.engines[0].inputs:
            shape = tuple(size or 1 for size in spec.shape)
            if roles.get(spec.name) == 'picture':
                made = _input_code(family.preprocessing).encode(face.rgb)
            elif roles.get(spec.name) == 'source' and family.source and family.source.kind == 'picture':
                source = drawn_faces(shape[-1], shape[-2], 1, seed=seed[0] + 1)[0]
                made = _input_code(family.source.preprocessing).encode(source.rgb)
            elif roles.get(spec.name) == 'persona':
                made = np.eye(shape[1], dtype=np.float32)[[rng.integers(shape[1])]]
            elif np.prod(shape) > 1:
                made = rng.standard_normal(shape).astype(np.float32)
                made /= np.linalg.norm(made)
            else:
                made = np.full(shape, 0.5, np.float32)
            values[spec.name] = made.astype(spec.dtype)
        return values

    def outputs(self, engine: Engine, inputs: Mapping[str, NDArray[np.generic]]) -> Outputs:
        """Run one of the two."""
        found = {}
        for role, name in self.entry.outputs.items():
            shapes = [spec for each in self.engines for spec in each.outputs if spec.name == name]
            # Of a file that leaves it open, the converted one knows more.
            spec = min(shapes, key=lambda spec: spec.shape.count(None), default=None)
            if spec is None or None in spec.shape[1:]:
                raise EngineError(
                    f'the size of output {name} of {self.entry.name} is not known, so precisions cannot be compared: '
                    'export the file with fixed sizes'
                )
            own = next((each.dtype for each in engine.outputs if each.name == name), spec.dtype)
            found[role] = (name, np.zeros(tuple(size or 1 for size in spec.shape), own))
        engine.run(inputs, dict(found.values()))
        return {role: array.astype(np.float32) for role, (_, array) in found.items()}


def _over_faces(
    entry: ModelEntry, compare: Compare, seed: int, share: float = 1.0
) -> Callable[[Engine, Engine], dict[str, float]]:
    """Take the worst of a figure over the faces, each of which fills this share of the picture's sides."""

    def measure(reference: Engine, reduced: Engine) -> dict[str, float]:
        bench = _Bench(entry, (reference, reduced))
        worst: dict[str, float] = {}
        for face, pair in _pairs(bench, seed, share):
            for name, value in compare(*pair, face).items():
                # This keeps NaN.
                worst[name] = float(np.maximum(worst.get(name, 0.0), value))
        return worst

    return measure


def _pairs(bench: _Bench, seed: int, share: float) -> list[tuple[DrawnFace, tuple[Outputs, Outputs]]]:
    width, height = bench.size
    drawn = drawn_faces(max(8, round(width * share)), max(8, round(height * share)), _FACES, seed)
    pairs = []
    for number, face in enumerate(drawn):
        placed = _placed(face, width, height)
        inputs = bench.inputs(placed, [seed, number, 1])
        first, second = (bench.outputs(engine, inputs) for engine in bench.engines)
        if not all(np.isfinite(values).all() for found in (first, second) for values in found.values()):
            first = second = {role: np.full_like(values, np.nan) for role, values in first.items()}
        pairs.append((placed, (first, second)))
    return pairs


def _placed(face: DrawnFace, width: int, height: int) -> DrawnFace:
    """Put a face in the middle of a picture; its border goes on."""
    rows, columns = height - face.skin.shape[0], width - face.skin.shape[1]
    if not rows and not columns:
        return face
    around = [(rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)]
    rgb = np.pad(face.rgb, [(0, 0), (0, 0), *around], mode='edge')
    return type(face)(rgb, np.pad(face.skin, around))


# Pictures


def _skin(entry: ModelEntry, template: ArrayLike | None, seed: int) -> Yardstick:
    code = picture_code(entry)

    def measure(reference: Engine, reduced: Engine) -> dict[str, float]:
        skins: list[Sequence[Floats]] = []
        kept: list[NDArray[np.float64]] = []
        for face, pair in _pairs(_Bench(entry, (reference, reduced)), seed, 1.0):
            before, after = (code.decode(outputs['picture'])[0] for outputs in pair)
            skin = np.flatnonzero(_scaled(face.skin, before.shape[1:]))
            skin = skin[:: -(-skin.size // _MOST_PIXELS)]
            skins.append((before.reshape(3, -1)[:, skin], after.reshape(3, -1)[:, skin]))
            if template is not None:
                shown = np.maximum(*masks(template, before.shape[2], before.shape[1])) > 0.5
                kept.append(ciede2000(lab(before[:, shown].T), lab(after[:, shown].T)))
        if not all(np.isfinite(values).all() for pair in skins for values in pair):
            return {'skin_shift_lab': np.nan}
        before, after = (np.concatenate(side, axis=1)[:, None] for side in zip(*skins, strict=True))
        found = difference(before, after, np.ones(before.shape[1:], np.bool_))
        figures = {
            'skin_shift_lab': max(found.shift_lab, key=abs),
            'skin_mean_de2000': found.mean_de2000,
            'skin_p95_de2000': found.p95_de2000,
        }
        for colour, steps in zip(('red', 'green', 'blue'), found.shift_rgb, strict=True):
            figures[f'skin_shift_of_{colour}_in_255ths'] = steps
        if kept:
            figures['eyes_and_lips_p95_de2000'] = float(np.percentile(np.concatenate(kept), 95))
        return figures

    return Yardstick(SKIN if template is None else {**SKIN, **EYES_AND_LIPS}, measure)


def _scaled(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    rows = np.arange(shape[0]) * mask.shape[0] // shape[0]
    columns = np.arange(shape[1]) * mask.shape[1] // shape[1]
    return mask[np.ix_(rows, columns)]


# Others


def _angle(before: Outputs, after: Outputs, face: DrawnFace) -> dict[str, float]:
    del face
    one, other = (found['vector'].ravel().astype(np.float64) for found in (before, after))
    length = np.linalg.norm(one) * np.linalg.norm(other)
    return {'cosine_distance': float(1.0 - one @ other / length) if length else np.nan}


def _distance(before: Outputs, after: Outputs, face: DrawnFace) -> dict[str, float]:
    del face
    apart = np.linalg.norm(_points(before) - _points(after), axis=1)
    figures = {'p95_distance_of_crop': float(np.percentile(apart, 95))}
    if 'face' in before:
        one, other = (0.5 + 0.5 * np.tanh(0.5 * found['face'].astype(np.float64)) for found in (before, after))
        figures['face_difference'] = float(np.abs(one - other).max())
    return figures


def _points(found: Outputs) -> NDArray[np.float64]:
    """(N, 2) landmarks in sides of the crop."""
    if 'points' not in found:
        heatmaps = found['heatmaps'].reshape(-1, *found['heatmaps'].shape[-2:])
        if np.isnan(heatmaps).any():
            return np.full((len(heatmaps), 2), np.nan)
        y, x = np.divmod(heatmaps.reshape(len(heatmaps), -1).argmax(axis=1), heatmaps.shape[2])
        return np.stack([x, y], axis=1) / _HEATMAP
    points = found['points'].astype(np.float64)
    if 'face' in found:
        return points[0, :, :2]
    return points[0, :, :2] / _HEATMAP if points.ndim == 3 else points.reshape(-1, 2)


def _changed(before: Outputs, after: Outputs, face: DrawnFace) -> dict[str, float]:
    del face
    one, other = (_sides(found) for found in (before, after))
    return {'changed_share_of_pixels': np.nan if one is None or other is None else float((one != other).mean())}


def _sides(found: Outputs) -> NDArray[np.generic] | None:
    if any(np.isnan(values).any() for values in found.values()):
        return None
    return found['classes'].argmax(axis=1) if 'classes' in found else found['mask'] >= 0.5


def _detections(before: Outputs, after: Outputs, face: DrawnFace) -> dict[str, float]:
    del face
    one, other = _scores(before), _scores(after)
    figures = {'score_difference': float(np.abs(one - other).max()), 'box_difference_of_spread': 0.0}
    for (role, first), second in zip(before.items(), after.values(), strict=True):
        if role.startswith(('score', 'class', 'object')):
            continue
        for a, b in _quantities(role, first, second):
            spread = float(a.std())
            apart = float(np.sqrt(np.mean((a - b) ** 2)))
            share = apart / spread if spread else apart
            figures['box_difference_of_spread'] = float(np.maximum(figures['box_difference_of_spread'], share))
    return figures


def _quantities(role: str, first: Floats, second: Floats) -> list[tuple[Floats, Floats]]:
    """Take apart what an output holds beside scores: each has a spread of its own."""
    if role == 'rows':  # (1, 5 or 20, cells): centre, size, score, and five of x, y, visibility
        return [
            (first[:, part], second[:, part])
            for part in (slice(0, 2), slice(2, 4), slice(5, None))
            if first[:, part].size
        ]
    if role.startswith('head'):  # (1, 18 or 45, h, w): see ``_anchors``
        a, b = (_anchors(values) for values in (first, second))
        parts = [slice(0, 2), slice(2, 4), *([slice(5, None)] if a.shape[1] > _CLASS_AFTER else [])]
        return [(a[:, part], b[:, part]) for part in parts]
    return [(first, second)]


def _anchors(head: Floats) -> Floats:
    """(3, 6 or 15, cells): x, y, log width, log height, objectness and class; or score and five of x, y."""
    return head.reshape(3, head.shape[1] // 3, -1)


def _scores(found: Outputs) -> NDArray[np.float64]:
    """All scores of a detector, 0 to 1, in the order of its outputs."""
    parts = []
    for role, values in found.items():
        kind, _, stride = role.partition('_')
        if kind == 'rows':
            parts.append(values[:, 4])
        elif kind == 'scores':
            parts.append(values[..., -1])
        elif kind == 'score':
            parts.append(values)
        elif kind == 'class':
            # As OpenCV scores them (face_detect.cpp): the root of the product.
            parts.append(np.sqrt(np.maximum(values * found[f'object_{stride}'], 0.0)))
        elif kind == 'head':
            logits = _anchors(values).astype(np.float64)
            last = _CLASS_AFTER if logits.shape[1] == _CLASS_AFTER else 5
            parts.append(np.prod(0.5 + 0.5 * np.tanh(0.5 * logits[:, 4:last]), axis=1))
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])
