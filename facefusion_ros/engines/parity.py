"""The gate that a network of reduced precision passes on the machine where it will run, or is not used.

Measured on faces drawn from a seed, against the same network at float32. What is measured is a yardstick of what the
network is for (see ``yardsticks``); for networks that make pictures it is by how much the mean colour of skin moves,
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
from facefusion_ros.engines.trt_cache import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine

    Floats = NDArray[np.float32]

_SKIN_TONES = ('f6ede4', 'f3e7db', 'f7ead0', 'eadaba', 'd7bd96', 'a07e56', '825c43', '604134', '3a312a', '292420')
"""The ten tones of the Monk Skin Tone scale, sRGB (skintone.google, CC BY 4.0)."""


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
class Yardstick:
    """How two precisions of a network are compared."""

    limits: Mapping[str, float]
    """Most that a figure may be, its sign aside; figures without a limit are there to be read."""
    measure: Callable[[Engine, Engine], Mapping[str, float]]
    """(float32, reduced) to figures by name; one that is not finite says that results are not. Raises EngineError."""


@dataclass(frozen=True, slots=True)
class Parity:
    """What the gate found; stored beside the artefact."""

    what: str
    """What was compared, in words: ``codeformer int8``."""
    key: str
    """Everything it holds for: digests of the files, the engine's version, the machine, as the caller names them."""
    provider: str
    """What ran the network of reduced precision."""
    measured: Mapping[str, float] | None
    """None where a result was not finite."""
    limits: Mapping[str, float]

    @property
    def passed(self) -> bool:
        """Whether the reduced precision may be used."""
        found = self.measured
        return found is not None and all(abs(found[name]) <= limit for name, limit in self.limits.items())

    def line(self) -> str:
        """One line for a person."""
        if self.measured is None:
            return f'{self.what}: results are not finite on {self.provider}'
        figures = (
            f'{name.replace("_", " ")} {self.measured[name]:.3g} (at most {limit:g})'
            for name, limit in self.limits.items()
        )
        return f'{self.what} differs from fp32 on {self.provider}: {", ".join(figures)}'


@dataclass(frozen=True, slots=True)
class PictureCode:
    """How a network's tensors code a picture."""

    input: str
    """Tensor that takes the picture, (1, 3, height, width) floating point."""
    output: str
    """Tensor that is the picture, of the same layout."""
    black: float | tuple[float, float, float] = 0.0
    """Value of sRGB-coded 0 in both; three are those of the channels in the network's order."""
    white: float | tuple[float, float, float] = 1.0
    bgr: bool = False
    """Order of the channels."""
    input_black: float | tuple[float, float, float] | None = None
    """Where the input is coded in another way than the output."""
    input_white: float | tuple[float, float, float] | None = None
    nhwc: bool = False
    """Whether the tensors are (1, height, width, 3)."""

    def encode(self, rgb: Floats) -> Floats:
        """Turn (1, 3, height, width) of 0 to 1 into the network's input."""
        black = _column(self.black if self.input_black is None else self.input_black)
        white = _column(self.white if self.input_white is None else self.input_white)
        coded = (rgb[:, ::-1] if self.bgr else rgb) * (white - black) + black
        return np.ascontiguousarray(coded.transpose(0, 2, 3, 1) if self.nhwc else coded, np.float32)

    def decode(self, tensor: Floats) -> Floats:
        """(1, 3, height, width) of 0 to 1 from the network's output."""
        black, white = _column(self.black), _column(self.white)
        unit = ((tensor.transpose(0, 3, 1, 2) if self.nhwc else tensor) - black) / (white - black)
        return np.asarray(unit[:, ::-1] if self.bgr else unit, np.float32)


def _column(value: float | tuple[float, float, float]) -> Floats:
    return np.asarray(value, np.float32).reshape(-1, 1, 1)


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


def measure(reference: Engine, reduced: Engine, yardstick: Yardstick, *, what: str, key: str) -> Parity:
    """Compare two precisions of a network. Raises EngineError."""
    shapes = [tuple((spec.name, spec.shape) for spec in engine.inputs) for engine in (reference, reduced)]
    if shapes[0] != shapes[1]:
        raise EngineError(f'{what}: inputs of the two precisions differ, {shapes[0]} and {shapes[1]}; build it again')
    found = yardstick.measure(reference, reduced)
    finite = all(np.isfinite(value) for value in found.values())
    return Parity(what, key, reduced.provider, dict(found) if finite else None, dict(yardstick.limits))


def save(parity: Parity, file: Path) -> None:
    """Write the result as JSON, whole or not at all. Raises OSError."""
    atomic_write(file, (json.dumps({**asdict(parity), 'passed': parity.passed}, indent=2) + '\n').encode())


def load(file: Path) -> Parity | None:
    """Read a result; None where there is none that can be read."""
    try:
        stored = json.loads(file.read_text())
        limits = {str(name): float(limit) for name, limit in stored['limits'].items()}
        found = stored['measured']
        if found is not None:
            found = {str(name): float(value) for name, value in found.items()}
            if not limits.keys() <= found.keys():
                return None
        return Parity(str(stored['what']), str(stored['key']), str(stored['provider']), found, limits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class Gated:
    """What came through the gate."""

    engine: Engine
    """That of reduced precision where it passed, else the reference."""
    parity: Parity


def gate(
    reduced: Engine,
    reference: Callable[[], Engine],
    yardstick: Yardstick,
    *,
    what: str,
    key: str,
    file: Path,
    warn: Callable[[str], None],
) -> Gated:
    """Return the network of reduced precision where it passes, else the reference, with one line to ``warn``.

    A result stored in file under the same key, provider and limits is believed, and the reference is then not even
    loaded. A result that cannot be stored costs a line and the next start a measurement. The engine that is not
    returned is closed. Raises EngineError.
    """
    whole = None
    try:
        known = load(file)
        if known is None or (known.key, known.provider, known.limits) != (key, reduced.provider, yardstick.limits):
            whole = reference()
            known = measure(whole, reduced, yardstick, what=what, key=key)
            _keep(known, file, warn)
        if known.passed:
            if whole is not None:
                whole.close()
            return Gated(reduced, known)
        whole = whole or reference()
    except BaseException:
        reduced.close()
        if whole is not None:
            whole.close()
        raise
    reduced.close()
    warn(f'{known.line()}: fp32 is used instead')
    return Gated(whole, known)


def _keep(parity: Parity, file: Path, warn: Callable[[str], None]) -> None:
    try:
        save(parity, file)
    except OSError as error:
        warn(f'{file} cannot be written ({error.strerror}): {parity.what} is compared with fp32 at each start')
