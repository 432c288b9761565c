"""What lies behind a face: plain walls, gradients, noise, shapes, clutter, rooms, people; drawn from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.faces.parameters import Background

    Floats = NDArray[np.float32]

KINDS = ('plain', 'gradient', 'noise', 'shapes', 'clutter', 'room', 'people')


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a linear RGB colour; greys and muted colours are the commonest, as in rooms."""
    value = rng.uniform(0.02, 1.0) ** 1.5
    strength = rng.beta(1.2, 3.0)
    hue = rng.random(3)
    hue /= hue.max()
    return np.asarray(value * (1 - strength + strength * hue))


def _fractal(rng: np.random.Generator, height: int, width: int, first: int, octaves: int) -> Floats:
    out = np.zeros((height, width), np.float32)
    weight = 1.0
    for k in range(octaves):
        n = first * 2**k
        grid = rng.standard_normal((n + 2, n + 2), np.float32)
        out += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight *= 0.55
    return out


def draw(background: Background, width: int, height: int) -> Floats:
    """Return a linear RGB picture (height, width, 3), mean about the brightness asked for."""
    rng = np.random.default_rng(background.seed)
    kind = background.kind
    base, other = _colour(rng), _colour(rng)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width, y / height
    if kind == 'plain':
        out = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        t = np.clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), 0, 1)[..., None]
        out = (base * (1 - t) + other * t).astype(np.float32)
    if kind == 'noise':
        n = _fractal(rng, height, width, int(rng.integers(2, 6)), int(rng.integers(2, 6)))[..., None]
        out = out + (0.4 * n * (_colour(rng) - base * 0.5)).astype(np.float32)
    if kind in ('shapes', 'clutter', 'room'):
        out = np.ascontiguousarray(out)
        if kind == 'room':
            _room(rng, out)
        for _ in range(
            {'shapes': int(rng.integers(2, 9)), 'clutter': int(rng.integers(10, 40)), 'room': int(rng.integers(1, 6))}[
                kind
            ]
        ):
            _thing(rng, out)
    if kind == 'people':
        out = np.ascontiguousarray(out)
        for _ in range(int(rng.integers(1, 6))):
            _bystander(rng, out)
    if kind != 'plain':
        sigma = rng.choice([0.0, 0.006, 0.015, 0.03]) * width
        if sigma > 0.4:
            out = np.asarray(cv2.GaussianBlur(out, (0, 0), float(sigma)), np.float32)
    out = np.maximum(out, 0.003)
    gain = background.brightness / max(0.02, float(out.mean()))
    return np.asarray(out * min(gain, 6.0), np.float32)


def _thing(rng: np.random.Generator, out: Floats) -> None:
    """Draw one thing: box, disc, line, bars, blob, text."""
    h, w = out.shape[:2]
    c = tuple(float(v) for v in _colour(rng))
    x, y = int(rng.uniform(-0.1, 1.1) * w), int(rng.uniform(-0.1, 1.1) * h)
    size = float(np.exp(rng.uniform(np.log(0.04), np.log(0.6)))) * w
    kind = rng.integers(7)
    if kind == 0:
        box = cv2.boxPoints(((x, y), (size, size * rng.uniform(0.2, 2.0)), rng.choice([0.0, rng.uniform(0, 90)])))
        cv2.fillPoly(out, [np.int32(box)], c, cv2.LINE_AA)
    elif kind == 1:
        axes = (int(size / 2) + 1, int(size / 2 * rng.uniform(0.3, 1)) + 1)
        cv2.ellipse(
            out,
            (x, y),
            axes,
            rng.uniform(0, 180),
            0,
            360,
            c,
            -1 if rng.random() < 0.7 else max(1, int(size / 12)),
            cv2.LINE_AA,
        )
    elif kind == 2:
        cv2.line(out, (x, y), (int(rng.uniform(0, w)), int(rng.uniform(0, h))), c, max(1, int(size / 14)), cv2.LINE_AA)
    elif kind == 3:
        gap = max(3, int(size / 5))
        for k in range(int(rng.integers(3, 9))):
            cv2.rectangle(out, (x + k * gap, y), (x + k * gap + gap // 2, y + int(size)), c, -1)
    elif kind == 4:
        a = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 12))))
        r = size / 2 * rng.uniform(0.5, 1.0, len(a))
        cv2.fillPoly(out, [np.int32(np.stack([x + r * np.cos(a), y + r * np.sin(a)], 1))], c, cv2.LINE_AA)
    elif kind == 5:
        word = ''.join(rng.choice(list('ABCDEFGHIKLMNOPRSTUVWXYZ0123456789'), int(rng.integers(1, 8))))
        cv2.putText(out, word, (x, y), int(rng.integers(0, 8)), size / 60 + 0.2, c, max(1, int(size / 25)), cv2.LINE_AA)
    else:
        for _ in range(int(rng.integers(3, 14))):
            p = (int(x + rng.normal() * size / 2), int(y + rng.normal() * size / 2))
            cv2.circle(
                out,
                p,
                max(1, int(size * rng.uniform(0.02, 0.12))),
                tuple(v * rng.uniform(0.5, 1.5) for v in c),
                -1,
                cv2.LINE_AA,
            )


def _bystander(rng: np.random.Generator, out: Floats) -> None:
    """Draw somebody without a face: turned away, or too far off; a body, a neck, a head of hair."""
    h, w = out.shape[:2]
    size = float(np.exp(rng.uniform(np.log(0.08), np.log(0.5)))) * h
    x, y = rng.uniform(-0.1, 1.1) * w, rng.uniform(0.1, 0.9) * h
    cloth, hair = (tuple(float(v) for v in _colour(rng)) for _ in range(2))
    skin = tuple(float(v) for v in np.array([0.5, 0.3, 0.2]) * rng.uniform(0.15, 1.3))

    def oval(dx: float, dy: float, half_width: float, half_height: float, colour: tuple[float, ...]) -> None:
        centre = int(x + dx * size), int(y + dy * size)
        cv2.ellipse(
            out, centre, (int(half_width * size) + 1, int(half_height * size) + 1), 0, 0, 360, colour, -1, cv2.LINE_AA
        )

    oval(0, 2.2, 0.95, 1.5, cloth)
    for side in (-1, 1):
        oval(0.85 * side, 2.6, 0.22, 1.3, cloth)
        oval(0.9 * side, 3.9, 0.2, 0.3, skin)
    oval(0, 0.6, 0.2, 0.4, skin)
    oval(0, 0, 0.38, 0.5, skin)
    oval(rng.uniform(-0.1, 0.1), rng.uniform(-0.2, 0.02), 0.42, 0.5, tuple(0.3 * v for v in hair))


def _room(rng: np.random.Generator, out: Floats) -> None:
    """Draw a wall, a floor or table, and perhaps a window, a door or shelves."""
    h, w = out.shape[:2]
    line = int(h * rng.uniform(0.45, 1.0))
    out[line:] *= rng.uniform(0.3, 1.2)
    if rng.random() < 0.6:
        x, y, s = int(rng.uniform(-0.2, 0.8) * w), int(rng.uniform(-0.2, 0.4) * h), rng.uniform(0.2, 0.6)
        bright = tuple(float(v) for v in rng.uniform(0.7, 2.0) * np.array([0.9, 0.95, 1.0]))
        cv2.rectangle(out, (x, y), (x + int(s * w), y + int(s * h * 1.2)), bright, -1)
        for k in range(1, int(rng.integers(1, 4))):
            cv2.line(
                out,
                (x + int(k * s * w / 3), y),
                (x + int(k * s * w / 3), y + int(s * h * 1.2)),
                tuple(float(v) for v in _colour(rng)),
                max(1, w // 60),
            )
    if rng.random() < 0.4:
        for k in range(int(rng.integers(1, 4))):
            yy = int(h * (0.1 + 0.2 * k))
            cv2.rectangle(
                out,
                (0, yy),
                (int(w * rng.uniform(0.3, 1)), yy + max(1, h // 40)),
                tuple(float(v) for v in _colour(rng)),
                -1,
            )
