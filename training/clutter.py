"""What is behind and beside faces, much of it drawn to be taken for one; and what a camera does to a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = NDArray[np.float32]
    Colour = tuple[float, float, float]


def clutter(rng: np.random.Generator, width: int, height: int) -> Picture:
    """(height, width, 3) RGB 0..255 with no face in it."""
    picture = _ground(rng, width, height)
    if rng.random() < 0.5:
        _leaves(rng, picture)
    few = rng.random() < 0.25
    for _ in range(int(rng.integers(0, 4 if few else 18))):
        draw = _KINDS[int(rng.choice(len(_KINDS), p=_WEIGHTS))]
        draw(rng, picture)
        if rng.random() < 0.03:
            picture = _blurred(picture, rng.uniform(0.6, 5))
    if rng.random() < 0.25:
        picture = _blurred(picture, rng.uniform(0.6, 4))
    return picture


def spoil(rng: np.random.Generator, picture: Picture) -> NDArray[np.uint8]:
    """Light, blur, noise and compression, as of a cheap camera; RGB uint8."""
    return spoil_detail(rng, spoil_light(rng, picture), grey=True)


def spoil_light(rng: np.random.Generator, picture: Picture, strength: float = 1.0) -> Picture:
    """Tint, contrast and exposure: what changes a value whatever its neighbours are; may leave 0..255."""
    if rng.random() < 0.5:
        picture = picture * np.exp(rng.normal(0, 0.12 * strength, 3)).astype(np.float32)
    if rng.random() < 0.7:
        gamma = np.float32(np.exp(rng.normal(0, 0.3 * strength)))
        picture = 255 * np.power(np.clip(picture, 0, 255) / 255, gamma)
    if rng.random() < 0.6:
        contrast = np.float32(np.exp(rng.normal(-0.1 * strength, 0.35 * strength)))
        picture = (picture - 128) * contrast + np.float32(128 + rng.normal(0, 25 * strength))
    if rng.random() < 0.2 * strength:  # far too dark or bright
        picture = picture * np.float32(2.0 ** rng.uniform(-2.5, 1.0))
    return picture


def spoil_detail(rng: np.random.Generator, picture: Picture, *, grey: bool = False) -> NDArray[np.uint8]:
    """Blur, sharpening, fewer pixels, noise and compression; RGB uint8, with ``grey`` sometimes without colour."""
    kind = rng.random()
    height, width = picture.shape[:2]
    if kind < 0.3:
        picture = _blurred(picture, rng.uniform(0.3, 1.8))
    elif kind < 0.38:
        picture = _shaken(rng, picture, 9)
    elif kind < 0.52:
        share = rng.uniform(0.25, 0.9)
        small = cv2.resize(
            picture, (max(8, int(width * share)), max(8, int(height * share))), interpolation=cv2.INTER_AREA
        )
        how = cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(small, (width, height), interpolation=how), np.float32)
    elif kind < 0.62:
        picture = picture + (picture - _blurred(picture, 1.2)) * np.float32(rng.uniform(0.3, 1.5))
    if rng.random() < 0.6:
        grain = rng.standard_normal(picture.shape, dtype=np.float32)
        picture = picture + grain * np.float32(rng.uniform(1, 14))
    if grey and rng.random() < 0.2:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    result = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        _, coded = cv2.imencode('.jpg', result, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 92))])
        result = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return result


def degraded(rng: np.random.Generator, picture: Picture) -> NDArray[np.uint8]:
    """Blur, shrink, add noise and code a (S, S, 3) RGB 0..255 picture, each by chance, as blind restoration expects.

    The order is that of Wang et al., "GFP-GAN", 2021: blur, fewer pixels, noise, JPEG, back to size.
    """
    side = picture.shape[0]
    out = picture
    if rng.random() < 0.85:
        out = _shaken(rng, out, 15) if rng.random() < 0.25 else _blurred(out, rng.uniform(0.2, 3.5))
    less = float(np.exp(rng.uniform(0, np.log(6.0)))) if rng.random() < 0.85 else 1.0
    small = max(32, round(side / less))
    out = np.asarray(cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA), np.float32)
    if rng.random() < 0.7:
        out = out + rng.standard_normal(out.shape, dtype=np.float32) * np.float32(rng.uniform(0, 12))
    coded = np.clip(np.rint(out), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, data = cv2.imencode('.jpg', coded, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])
        coded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.resize(coded, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def _blurred(picture: Picture, sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def _shaken(rng: np.random.Generator, picture: Picture, most_px: int) -> Picture:
    """Blur along a line, as a moving camera does."""
    length = int(rng.integers(3, most_px))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1.0
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1.0)
    turned = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return np.asarray(cv2.filter2D(picture, -1, turned / np.float32(max(float(turned.sum()), 1e-6))), np.float32)


def fractal(rng: np.random.Generator, width: int, height: int, cells: int, roughness: float) -> NDArray[np.float32]:
    """(height, width) noise of mean 0 and deviation 1: octaves of smooth noise, each rougher one weaker."""
    total = np.zeros((height, width), np.float32)
    stretch = rng.choice([1.0, 1.0, 2.0, 4.0], 2)
    weight = 1.0
    while cells < max(width, height):
        grid = rng.standard_normal((int(cells / stretch[0]) + 2, int(cells / stretch[1]) + 2), dtype=np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight *= roughness
        cells *= 2
        if weight < 0.05:
            break
    return np.asarray((total - total.mean()) / max(float(total.std()), 1e-6), np.float32)


def _ground(rng: np.random.Generator, width: int, height: int) -> Picture:
    first, second = (np.array(_colour(rng), np.float32) for _ in '12')
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(0, 1, width)[None] * np.cos(angle) + np.linspace(0, 1, height)[:, None] * np.sin(angle)
    ramp = ((ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)).astype(np.float32)
    picture: Picture = first + (second - first) * ramp[..., None]
    for _ in range(int(rng.integers(0, 3))):
        noise = fractal(rng, width // 2, height // 2, int(rng.integers(2, 8)), rng.uniform(0.3, 0.95))
        noise = np.asarray(cv2.resize(noise, (width, height)), np.float32)
        share = np.clip(noise * rng.uniform(0.3, 2) + rng.uniform(-1, 1), 0, 1).astype(np.float32)
        picture += share[..., None] * (np.array(_colour(rng), np.float32) - picture)
    return picture


_LEAF_PX = (5.0, 120.0)


def _leaves(rng: np.random.Generator, picture: Picture) -> None:
    """Cover the picture with things that hide each other, many small and few large, as photographs are.

    Such "dead leaves" have the edges and the scales of natural pictures: Lee, Mumford and Huang, "Occlusion models for
    natural images", 2001; as training data: Baradad et al., "Learning to see by looking at noise", 2021.
    """
    height, width = picture.shape[:2]
    cloth = fractal(rng, width, height, int(rng.integers(3, 24)), rng.uniform(0.5, 0.95))
    palette = [np.array(_colour(rng), np.float32) for _ in range(int(rng.integers(3, 10)))]
    least, most = _LEAF_PX[0] * rng.uniform(1, 4), _LEAF_PX[1]
    mask = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(20, 130))):
        # Areas fall with the third power of the size, so that all scales cover alike.
        share = rng.random()
        reach = (least**-2 + share * (most**-2 - least**-2)) ** -0.5
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        x0, y0 = max(0, int(x - reach)), max(0, int(y - reach))
        x1, y1 = min(width, int(x + reach) + 1), min(height, int(y + reach) + 1)
        if x1 - x0 < 3 or y1 - y0 < 3:
            continue
        part, inside = picture[y0:y1, x0:x1], mask[y0:y1, x0:x1]
        inside[:] = 0
        _leaf(rng, inside, (x - x0, y - y0), reach)
        across, down = rng.normal(0, 0.35, 2) / reach
        shade = 1 + across * (np.arange(x0, x1) - x) + (down * (np.arange(y0, y1) - y))[:, None]
        if rng.random() < 0.6:
            dy, dx = int(rng.integers(0, height - (y1 - y0) + 1)), int(rng.integers(0, width - (x1 - x0) + 1))
            shade = shade + rng.uniform(0.05, 0.5) * cloth[dy : dy + y1 - y0, dx : dx + x1 - x0]
        colour = palette[int(rng.integers(len(palette)))] * np.float32(rng.uniform(0.6, 1.3))
        value = np.clip(colour * shade.astype(np.float32)[..., None], 0, 255)
        part += (inside.astype(np.float32) / 255)[..., None] * (value - part)


def _leaf(rng: np.random.Generator, mask: NDArray[np.uint8], centre: tuple[float, float], reach: float) -> None:
    """Draw 255 where one thing is: round, angular or wavy."""
    turn = rng.uniform(0, 2 * np.pi)
    kind = rng.random()
    narrow = rng.uniform(0.25, 1.0)
    if kind < 0.35:
        axes = (max(1, int(reach)), max(1, int(reach * narrow)))
        middle = (int(centre[0]), int(centre[1]))
        cv2.ellipse(mask, middle, axes, float(np.degrees(turn)), 0, 360, 255, -1, cv2.LINE_AA)
        return
    if kind < 0.7:
        count = int(rng.integers(3, 7))
        angles, radii = np.sort(rng.uniform(0, 2 * np.pi, count)), rng.uniform(0.5, 1.0, count)
    else:
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        radii = 0.7 + 0.3 * np.sin(int(rng.integers(2, 7)) * angles + turn) * rng.uniform(0.2, 1)
    shape = reach * radii[:, None] * np.stack([np.cos(angles), narrow * np.sin(angles)], 1)
    rotate = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    cv2.fillPoly(mask, [(shape @ rotate + centre).astype(np.int32)], 255, cv2.LINE_AA)


def _colour(rng: np.random.Generator) -> Colour:
    kind = rng.random()
    if kind < 0.35:
        values = _skin(rng)
    elif kind < 0.7:
        values = np.clip(rng.uniform(0, 255) + rng.normal(0, 12, 3), 0, 255)
    else:
        values = rng.uniform(0, 255, 3)
    return float(values[0]), float(values[1]), float(values[2])


def _skin(rng: np.random.Generator) -> NDArray[np.float64]:
    dark = rng.beta(1.1, 1.3)
    return np.clip(
        (np.array([250, 212, 186]) * (1 - dark) + np.array([70, 45, 35]) * dark) * rng.uniform(0.75, 1.12), 0, 255
    )


def _place(rng: np.random.Generator, picture: Picture) -> tuple[int, int]:
    height, width = picture.shape[:2]
    return int(rng.integers(0, width)), int(rng.integers(0, height))


def _size(rng: np.random.Generator, picture: Picture, low: float = 4, share: float = 0.4) -> int:
    return int(np.exp(rng.uniform(np.log(low), np.log(share * picture.shape[1]))))


def _fill(rng: np.random.Generator) -> int:
    return -1 if rng.random() < 0.7 else int(rng.integers(1, 7))


def _box(rng: np.random.Generator, picture: Picture) -> None:
    (x, y), side = _place(rng, picture), _size(rng, picture)
    cv2.rectangle(picture, (x, y), (x + side, y + int(side * rng.uniform(0.3, 2.5))), _colour(rng), _fill(rng))


def _ellipse(rng: np.random.Generator, picture: Picture) -> None:
    side = _size(rng, picture)
    axes = (side // 2 + 1, int(side * rng.uniform(0.2, 0.8)) + 1)
    turn = float(rng.uniform(0, 180))
    cv2.ellipse(picture, _place(rng, picture), axes, turn, 0, 360, _colour(rng), _fill(rng), cv2.LINE_AA)


def _line(rng: np.random.Generator, picture: Picture) -> None:
    cv2.line(picture, _place(rng, picture), _place(rng, picture), _colour(rng), int(rng.integers(1, 9)), cv2.LINE_AA)


def _polygon(rng: np.random.Generator, picture: Picture) -> None:
    centre, side = np.array(_place(rng, picture)), _size(rng, picture)
    shape = centre + rng.normal(0, 0.6 * side, (int(rng.integers(3, 9)), 2))
    cv2.fillPoly(picture, [shape.astype(np.int32)], _colour(rng), cv2.LINE_AA)


def _stripes(rng: np.random.Generator, picture: Picture) -> None:
    (x, y), side, step, colour = _place(rng, picture), _size(rng, picture), int(rng.integers(3, 20)), _colour(rng)
    dots = rng.random() < 0.5
    for along in range(0, side, step):
        if dots:
            cv2.circle(picture, (x + along, y), max(1, step // 3), colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, (x, y + along), (x + side, y + along + step // 2), colour, -1)


def _text(rng: np.random.Generator, picture: Picture) -> None:
    (x, y), side = _place(rng, picture), _size(rng, picture, 6, 0.15)
    text = ''.join(chr(int(code)) for code in rng.integers(33, 120, int(rng.integers(1, 12))))
    thick = max(1, int(side * rng.uniform(0.04, 0.2)))
    cv2.putText(picture, text, (x - 40, y), int(rng.integers(0, 8)), side / 25, _colour(rng), thick, cv2.LINE_AA)


def _blobs(rng: np.random.Generator, picture: Picture, centre: tuple[int, int], reach: float, count: int) -> None:
    for _ in range(count):
        x, y = (int(value + rng.normal(0, 0.4 * reach)) for value in centre)
        axes = (int(reach * rng.uniform(0.05, 0.4)) + 1, int(reach * rng.uniform(0.05, 0.25)) + 1)
        cv2.ellipse(picture, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, _colour(rng), -1, cv2.LINE_AA)


def _disc(rng: np.random.Generator, picture: Picture) -> None:
    """Coins, badges, wheels, clocks: a rim with something inside."""
    centre, reach = _place(rng, picture), _size(rng, picture, 5, 0.2)
    cv2.circle(picture, centre, reach, _colour(rng), -1, cv2.LINE_AA)
    rim = max(1, reach // 8)
    cv2.circle(picture, centre, int(reach * rng.uniform(0.6, 1)), _colour(rng), rim, cv2.LINE_AA)
    _blobs(rng, picture, centre, reach, int(rng.integers(0, 7)))


def _skin_like(rng: np.random.Generator, picture: Picture) -> None:
    """Elbows, knees, fists and backs of heads: skin with a shape in it that is no face."""
    (x, y), reach = _place(rng, picture), _size(rng, picture, 6, 0.2)
    colour = _skin(rng)
    axes = (reach, int(reach * rng.uniform(0.6, 2.2)))
    turn = float(rng.uniform(0, 180))
    cv2.ellipse(picture, (x, y), axes, turn, 0, 360, tuple(colour.tolist()), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 6))):
        darker = tuple((colour * rng.uniform(0.1, 0.95)).tolist())
        dx, dy = (int(value) for value in rng.normal(0, 0.5 * reach, 2))
        small = (max(1, int(reach * rng.uniform(0.05, 0.4))), max(1, int(reach * rng.uniform(0.04, 0.2))))
        cv2.ellipse(picture, (x + dx, y + dy), small, float(rng.uniform(0, 180)), 0, 360, darker, -1, cv2.LINE_AA)


def _hand(rng: np.random.Generator, picture: Picture) -> None:
    """Draw a palm and fingers, or a bundle of limbs."""
    (x, y), reach = _place(rng, picture), _size(rng, picture, 6, 0.15)
    colour = tuple(_skin(rng).tolist())
    facing = rng.uniform(0, 2 * np.pi)
    cv2.ellipse(picture, (x, y), (reach, int(0.8 * reach)), np.degrees(facing), 0, 360, colour, -1, cv2.LINE_AA)
    for spread in np.linspace(-0.9, 0.9, int(rng.integers(3, 6))):
        angle, length = facing + spread * rng.uniform(0.5, 1.2), reach * rng.uniform(1.2, 2.4)
        tip = (int(x + length * np.cos(angle)), int(y + length * np.sin(angle)))
        shade = tuple((np.array(colour) * rng.uniform(0.8, 1.05)).tolist())
        cv2.line(picture, (x, y), tip, shade, max(1, int(0.3 * reach)), cv2.LINE_AA)


def _symmetric(rng: np.random.Generator, picture: Picture) -> None:
    """Shirts, cars, shelves: pairs of things left and right of a middle."""
    (x, y), reach = _place(rng, picture), _size(rng, picture, 6, 0.2)
    for _ in range(int(rng.integers(2, 8))):
        dx, dy = abs(rng.normal(0, 0.5 * reach)), rng.normal(0, 0.6 * reach)
        axes = (int(reach * rng.uniform(0.08, 0.5)) + 1, int(reach * rng.uniform(0.08, 0.4)) + 1)
        colour, turn = _colour(rng), float(rng.uniform(0, 180))
        for side in (-1, 1):
            place = (int(x + side * dx), int(y + dy))
            cv2.ellipse(picture, place, axes, side * turn, 0, 360, colour, -1, cv2.LINE_AA)


def _texture(rng: np.random.Generator, picture: Picture) -> None:
    """Draw a patch of noise: foliage, fur, gravel, cloth."""
    height, width = picture.shape[:2]
    (x, y), reach = _place(rng, picture), _size(rng, picture, 8, 0.5)
    x0, y0, x1, y1 = max(0, x - reach), max(0, y - reach), min(width, x + reach), min(height, y + reach)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    part = picture[y0:y1, x0:x1]
    noise = fractal(rng, x1 - x0, y1 - y0, int(rng.integers(4, 24)), rng.uniform(0.4, 0.95))
    value = np.array(_colour(rng), np.float32) * (1 + np.float32(rng.uniform(0.1, 0.6)) * noise[..., None])
    mask = np.zeros(part.shape[:2], np.float32)
    axes = (reach, int(reach * rng.uniform(0.5, 1.2)))
    cv2.ellipse(mask, (x - x0, y - y0), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    part += mask[..., None] * (np.clip(value, 0, 255) - part)


_DRAWN: tuple[tuple[Callable[[np.random.Generator, Picture], None], float], ...] = (
    (_box, 3.0),
    (_ellipse, 3.0),
    (_line, 2.0),
    (_polygon, 3.0),
    (_stripes, 1.5),
    (_text, 1.5),
    (_disc, 1.5),
    (_skin_like, 2.0),
    (_hand, 1.2),
    (_symmetric, 1.5),
    (_texture, 2.0),
)
_KINDS = tuple(kind for kind, _ in _DRAWN)
_WEIGHTS = np.array([weight for _, weight in _DRAWN]) / sum(weight for _, weight in _DRAWN)
