"""The gate that a network of reduced precision passes on the machine where it will run, or is not used.

Measured on faces drawn from a seed, against the same network at float32: by how much the mean colour of skin moves,
with its sign, and how far single pixels of skin lie from where they were, by CIEDE2000. A ratio of signal to noise
would rank a network that shifts a whole cheek by one step above one that adds some grain; a person does not.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.colour import ciede2000, lab
from facefusion_ros.engines.engine import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine

    Floats = NDArray[np.float32]

_SKIN_TONES = ('f6ede4', 'f3e7db', 'f7ead0', 'eadaba', 'd7bd96', 'a07e56', '825c43', '604134', '3a312a', '292420')
"""The ten tones of the Monk Skin Tone scale, sRGB (skintone.google, CC BY 4.0)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most that a reduced precision may differ from float32."""

    shift_lab: float = 0.6
    """Of the mean colour of skin, along L*, a* or b*."""
    mean_de2000: float = 1.0
    p95_de2000: float = 1.8


@dataclass(frozen=True, slots=True)
class Difference:
    """How the skin in one picture differs from that in another."""

    shift_rgb: tuple[float, float, float]
    """Mean of second minus first, steps of 255; red, green, blue."""
    shift_lab: tuple[float, float, float]
    """Mean of second minus first; L*, a*, b*."""
    mean_de2000: float
    p95_de2000: float


@dataclass(frozen=True, slots=True)
class Parity:
    """What the gate found; stored beside the engine."""

    key: str
    """What was compared: digest of the model, precision, engine and device, as the caller names them."""
    provider: str
    """What ran the network of reduced precision."""
    difference: Difference | None
    """None where a result was not finite."""
    limits: Limits

    @property
    def passed(self) -> bool:
        """Whether the reduced precision may be used."""
        found = self.difference
        return (
            found is not None
            and max(map(abs, found.shift_lab)) <= self.limits.shift_lab
            and found.mean_de2000 <= self.limits.mean_de2000
            and found.p95_de2000 <= self.limits.p95_de2000
        )

    def line(self) -> str:
        """One line for a person."""
        if self.difference is None:
            return f'{self.key}: results are not finite on {self.provider}'
        return (
            f'{self.key}: skin differs by {self.difference.mean_de2000:.2f} (mean) and '
            f'{self.difference.p95_de2000:.2f} (95th percentile) dE2000 on {self.provider}, '
            f'its mean by {max(self.difference.shift_lab, key=abs):+.2f} in Lab; allowed are '
            f'{self.limits.mean_de2000:g}, {self.limits.p95_de2000:g} and {self.limits.shift_lab:g}'
        )


@dataclass(frozen=True, slots=True)
class PictureCode:
    """How a network's tensors code a picture."""

    input: str
    """Tensor that takes the picture, (1, 3, height, width) float32."""
    output: str
    """Tensor that is the picture, of the same layout."""
    black: float = 0.0
    """Value of sRGB-coded 0 in both."""
    white: float = 1.0
    bgr: bool = False
    """Order of the channels."""
    input_black: float | None = None
    """Where the input is coded in another way than the output."""
    input_white: float | None = None

    def encode(self, rgb: Floats) -> Floats:
        """Turn (1, 3, height, width) of 0 to 1 into the network's input."""
        black = self.black if self.input_black is None else self.input_black
        white = self.white if self.input_white is None else self.input_white
        return np.ascontiguousarray((rgb[:, ::-1] if self.bgr else rgb) * (white - black) + black, np.float32)

    def decode(self, tensor: Floats) -> Floats:
        """(1, 3, height, width) of 0 to 1 from the network's output."""
        unit = (tensor - self.black) / (self.white - self.black)
        return np.asarray(unit[:, ::-1] if self.bgr else unit, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnFace:
    """A face made of gradients, ellipses and grain."""

    rgb: Floats
    """(1, 3, height, width), 0 to 1, sRGB-coded."""
    skin: NDArray[np.bool_]
    """(height, width): where there is skin and nothing else."""


def drawn_faces(width: int, height: int, count: int = 5, seed: int = 0) -> tuple[DrawnFace, ...]:
    """Draw faces of skin tones from light to dark under light from the side; the same on every machine."""
    return tuple(_draw(width, height, k * (len(_SKIN_TONES) - 1) // max(1, count - 1), [seed, k]) for k in range(count))


def _draw(width: int, height: int, tone: int, seed: list[int]) -> DrawnFace:
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, (np.arange(height) + 0.5) / height * 2 - 1)

    def inside(cx: float, cy: float, rx: float, ry: float) -> NDArray[np.float64]:
        """1 inside the ellipse, 0 outside, soft between."""
        distance = np.hypot((x - cx) / rx, (y - cy) / ry)
        soft: NDArray[np.float64] = np.clip((1.0 - distance) / 0.12 + 0.5, 0.0, 1.0)
        return soft

    skin = np.frombuffer(bytes.fromhex(_SKIN_TONES[tone]), np.uint8) / 255.0
    angle = rng.uniform(0.0, 2.0 * np.pi)
    shade = 0.86 + 0.14 * (np.cos(angle) * x + np.sin(angle) * y) - 0.1 * (x * x + y * y)
    picture = skin[:, None, None] * shade
    face = inside(0.0, 0.0, 0.72, 0.92)
    picture = picture * face + rng.uniform(0.1, 0.7, 3)[:, None, None] * (0.8 + 0.2 * y) * (1.0 - face)
    bare = face == 1.0
    parts = [(0.0, 0.48, 0.27, 0.09, (0.62, 0.24, 0.26))]
    parts += [(side * 0.31, -0.16, 0.17, 0.08, (0.92, 0.91, 0.89)) for side in (-1, 1)]
    parts += [(side * 0.31, -0.16, 0.07, 0.075, tuple(rng.uniform(0.05, 0.4, 3))) for side in (-1, 1)]
    parts += [(side * 0.31, -0.34, 0.2, 0.035, (0.12, 0.09, 0.08)) for side in (-1, 1)]
    for cx, cy, rx, ry, colour in parts:
        part = inside(cx, cy, rx, ry)
        picture = picture * (1.0 - part) + np.array(colour)[:, None, None] * part
        bare &= part == 0.0
    picture += rng.normal(0.0, 0.008, picture.shape)
    return DrawnFace(np.clip(picture, 0.0, 1.0).astype(np.float32)[None], bare)


def difference(first: Floats, second: Floats, skin: NDArray[np.bool_]) -> Difference:
    """Compare two RGB pictures (3, height, width) of 0 to 1 where skin, (height, width), is true."""
    return _difference(first[:, skin].T, second[:, skin].T)


def _difference(first: Floats, second: Floats) -> Difference:
    """Compare two lists (n, 3) of colours."""
    before, after = lab(first), lab(second)
    apart = ciede2000(before, after)
    steps = 255.0 * (np.clip(second, 0.0, 1.0) - np.clip(first, 0.0, 1.0)).mean(axis=0, dtype=np.float64)
    shift = (after - before).mean(axis=0)
    return Difference(
        (float(steps[0]), float(steps[1]), float(steps[2])),
        (float(shift[0]), float(shift[1]), float(shift[2])),
        float(apart.mean()),
        float(np.percentile(apart, 95)),
    )


def measure(
    reference: Engine, reduced: Engine, code: PictureCode, *, key: str, limits: Limits | None = None, seed: int = 0
) -> Parity:
    """Run both networks on the drawn faces and compare what comes out.

    Inputs other than the picture are drawn from the seed: unit vectors where there are 32 numbers or more, 0.5
    elsewhere. Raises EngineError.
    """
    shapes = [tuple(spec.shape for spec in engine.inputs) for engine in (reference, reduced)]
    if shapes[0] != shapes[1]:
        raise EngineError(f'{key}: inputs of the two precisions differ, {shapes[0]} and {shapes[1]}; build both again')
    shape = next((spec.shape for spec in reference.inputs if spec.name == code.input), None)
    if shape is None or len(shape) != 4:
        raise EngineError(f'{key}: the network has no picture input {code.input}')
    height, width = shape[2] or 256, shape[3] or 256
    befores, afters = [], []
    finite = True
    for number, face in enumerate(drawn_faces(width, height, seed=seed)):
        results = []
        for engine in (reference, reduced):
            inputs = _inputs(engine, code, face, [seed, number, 1])
            out = np.zeros(_output_shape(engine, code, width, height), _dtype(engine, code.output))
            engine.run(inputs, {code.output: out})
            results.append(code.decode(out.astype(np.float32))[0])
        finite = finite and all(bool(np.isfinite(result).all()) for result in results)
        skin = _scaled(face.skin, results[0].shape[1:])
        befores.append(results[0][:, skin].T)
        afters.append(results[1][:, skin].T)
    found = _difference(np.concatenate(befores), np.concatenate(afters)) if finite else None
    return Parity(key, reduced.provider, found, limits or Limits())


def _inputs(engine: Engine, code: PictureCode, face: DrawnFace, seed: list[int]) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(seed)
    inputs: dict[str, NDArray[np.generic]] = {}
    for spec in engine.inputs:
        if spec.name == code.input:
            inputs[spec.name] = code.encode(face.rgb).astype(spec.dtype)
            continue
        shape = tuple(1 if size is None else size for size in spec.shape)
        values = np.full(shape, 0.5)
        if values.size >= 32:
            values = rng.standard_normal(shape)
            values /= np.linalg.norm(values)
        inputs[spec.name] = values.astype(spec.dtype)
    return inputs


def _dtype(engine: Engine, name: str) -> np.dtype[np.generic]:
    for spec in engine.outputs:
        if spec.name == name:
            return spec.dtype
    raise EngineError(f'the network has no output {name}; it has {", ".join(spec.name for spec in engine.outputs)}')


def _output_shape(engine: Engine, code: PictureCode, width: int, height: int) -> tuple[int, ...]:
    _dtype(engine, code.output)
    shape = next(spec.shape for spec in engine.outputs if spec.name == code.output)
    free = (1, 3, height, width)
    return tuple(free[axis] if size is None else size for axis, size in enumerate(shape))


def _scaled(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    rows = np.arange(shape[0]) * mask.shape[0] // shape[0]
    columns = np.arange(shape[1]) * mask.shape[1] // shape[1]
    return mask[np.ix_(rows, columns)]


def save(parity: Parity, file: Path) -> None:
    """Write the result as JSON, whole or not at all."""
    partial = file.with_name(f'.{file.name}.partial')
    partial.write_text(json.dumps({**asdict(parity), 'passed': parity.passed}, indent=2) + '\n')
    partial.replace(file)


def load(file: Path) -> Parity | None:
    """Read a result; None where there is none that can be read."""
    try:
        stored = json.loads(file.read_text())
        found = stored['difference']
        if found is not None:
            red, green, blue = map(float, found['shift_rgb'])
            lightness, a, b = map(float, found['shift_lab'])
            found = Difference(
                (red, green, blue), (lightness, a, b), float(found['mean_de2000']), float(found['p95_de2000'])
            )
        return Parity(str(stored['key']), str(stored['provider']), found, Limits(**stored['limits']))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def gate(
    reduced: Engine,
    reference: Callable[[], Engine],
    code: PictureCode,
    *,
    key: str,
    file: Path,
    warn: Callable[[str], None],
    limits: Limits | None = None,
) -> Engine:
    """Return the network of reduced precision where it passes, else the reference, with one line to ``warn``.

    A result stored in file under the same key, provider and limits is believed, and the reference is then not even
    loaded. The engine that is not returned is closed. Raises EngineError.
    """
    allowed = limits or Limits()
    known = load(file)
    if known is not None and (known.key, known.provider, known.limits) == (key, reduced.provider, allowed):
        if known.passed:
            return reduced
        whole = reference()
    else:
        whole = reference()
        known = measure(whole, reduced, code, key=key, limits=allowed)
        save(known, file)
        if known.passed:
            whole.close()
            return reduced
    reduced.close()
    warn(f'{known.line()}: fp32 is used instead')
    return whole
