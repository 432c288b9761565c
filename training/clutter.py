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


def grain(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """(height, width) of mean 0 and deviation 1: noise alike in all directions, hairs along one, or what repeats."""
    kind = rng.random()
    if kind < 0.4:
        return fractal(rng, width, height, int(rng.integers(3, 24)), rng.uniform(0.4, 0.95))
    field = _hairs(rng, width, height) if kind < 0.65 else _repeated(rng, width, height)
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), np.float32)


def _hairs(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Fur, grass, wood: noise drawn out along a direction that changes slowly."""
    side = max(width, height)
    noise = fractal(rng, side, side, int(rng.integers(12, 48)), rng.uniform(0.7, 0.98))
    turn, long = rng.uniform(0, np.pi), rng.uniform(2, 8)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = _bent(rng, width, height) * np.float32(rng.uniform(0, 0.15) * side)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along, across = (cos * x + sin * y) / np.float32(long), cos * y - sin * x + bend
    return np.asarray(cv2.remap(noise, along, across, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


def _repeated(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Stripes, bars, meshes, bricks, scales, feathers: waves, bent, soft or sharp."""
    period = float(np.exp(rng.uniform(np.log(3), np.log(max(8, 0.4 * max(width, height))))))
    turn, skew = rng.uniform(0, np.pi), rng.uniform(0.3, 1.0) * np.pi / 2
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = _bent(rng, width, height) * np.float32(rng.uniform(0, 2.5) if rng.random() < 0.7 else 0)
    wave = np.float32(2 * np.pi / period)
    first = wave * (np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y) + bend
    field = np.sin(first)
    kind = rng.random()
    if kind < 0.6:
        stretch, angle = wave * np.float32(np.exp(rng.normal(0, 0.5))), turn + skew
        second = stretch * (np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y) + bend
        if kind < 0.25:  # every other row is shifted by half
            second += np.pi * np.floor(first / (2 * np.pi))
        crossed = np.sin(second)
        field = field * crossed if kind > 0.4 else np.maximum(field, crossed)
    return np.asarray(np.tanh(field * np.float32(np.exp(rng.uniform(-0.7, 1.8)))), np.float32)


def _bent(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Draw what changes slowly, deviation about 1."""
    grid = rng.standard_normal((int(rng.integers(3, 7)),) * 2, dtype=np.float32)
    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


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
    if rng.random() < 0.2:
        picture *= 1 + np.float32(rng.uniform(0.1, 0.6)) * grain(rng, width, height)[..., None]
        np.clip(picture, 0, 255, out=picture)
    return picture


_LEAF_PX = (5.0, 120.0)


def _leaves(rng: np.random.Generator, picture: Picture) -> None:
    """Cover the picture with things that hide each other, many small and few large, as photographs are.

    Such "dead leaves" have the edges and the scales of natural pictures: Lee, Mumford and Huang, "Occlusion models for
    natural images", 2001; as training data: Baradad et al., "Learning to see by looking at noise", 2021.
    """
    height, width = picture.shape[:2]
    cloth = grain(rng, width, height)
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
        across, down = (rng.normal(0, 0.35, 2) / reach).astype(np.float32)
        shade = across * (np.arange(x0, x1, dtype=np.float32) - np.float32(x))
        shade = shade + (1 + down * (np.arange(y0, y1, dtype=np.float32) - np.float32(y)))[:, None]
        if rng.random() < 0.6:
            dy, dx = int(rng.integers(0, height - (y1 - y0) + 1)), int(rng.integers(0, width - (x1 - x0) + 1))
            shade += np.float32(rng.uniform(0.05, 0.5)) * cloth[dy : dy + y1 - y0, dx : dx + x1 - x0]
        colour = palette[int(rng.integers(len(palette)))] * np.float32(rng.uniform(0.6, 1.3))
        value = np.clip(cv2.merge([shade * c for c in colour]), 0, 255)
        value -= part
        cover = inside.astype(np.float32) / 255
        part += cv2.multiply(value, cv2.merge([cover] * 3))


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
    """Draw a patch of foliage, fur, gravel, cloth, bars, scales."""
    height, width = picture.shape[:2]
    (x, y), reach = _place(rng, picture), _size(rng, picture, 8, 0.5)
    x0, y0, x1, y1 = max(0, x - reach), max(0, y - reach), min(width, x + reach), min(height, y + reach)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    part = picture[y0:y1, x0:x1]
    noise = grain(rng, x1 - x0, y1 - y0)
    value = np.array(_colour(rng), np.float32) * (1 + np.float32(rng.uniform(0.1, 0.6)) * noise[..., None])
    mask = np.zeros(part.shape[:2], np.float32)
    axes = (reach, int(reach * rng.uniform(0.5, 1.2)))
    cv2.ellipse(mask, (x - x0, y - y0), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    part += mask[..., None] * (np.clip(value, 0, 255) - part)


def _rings(rng: np.random.Generator, picture: Picture) -> None:
    """Wheels, lamps, flowers, dials, eyes: rings about a middle, often with spokes."""
    (x, y), reach = _place(rng, picture), _size(rng, picture, 6, 0.25)
    half = np.linspace(-1, 1, 2 * reach + 1, dtype=np.float32)
    turn, narrow = rng.uniform(0, np.pi), np.float32(rng.uniform(1, 2.5) if rng.random() < 0.4 else 1)
    across, down = np.meshgrid(half, half)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = cos * across + sin * down, (cos * down - sin * across) * narrow
    away = np.sqrt(u * u + v * v)
    count = int(rng.integers(3, 10))
    colours = np.array([_colour(rng) for _ in range(count)], np.float32)
    steps = np.clip(away, 0, 1) * (count - 1)
    ring = colours[np.rint(steps).astype(int)] if rng.random() < 0.6 else _between(colours, steps)
    if rng.random() < 0.5:
        spokes = np.sin(np.arctan2(v, u) * int(rng.integers(2, 13))) > rng.uniform(-0.7, 0.7)
        within = spokes & (away > rng.uniform(0.1, 0.5)) & (away < rng.uniform(0.6, 1.0))
        ring = np.where(within[..., None], np.array(_colour(rng), np.float32), ring)
    _lay(picture, ring, np.clip((1 - away) * reach, 0, 1), (x - reach, y - reach))


def _between(colours: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    low = np.minimum(steps.astype(int), len(colours) - 2)
    return np.asarray(colours[low] + (steps - low)[..., None] * (colours[low + 1] - colours[low]), np.float32)


_BEAST_PX = 96


def _beast(rng: np.random.Generator, picture: Picture) -> None:
    """Draw the head of an animal: ears, fur, a muzzle, and eyes where no person's are."""
    side, middle = _BEAST_PX, _BEAST_PX / 2
    head, reach = np.zeros((side, side, 4), np.float32), 0.30 * side
    fur = np.array(_colour(rng)) if rng.random() < 0.4 else _skin(rng) * rng.uniform(0.2, 1.0)
    other = np.clip(fur * rng.uniform(0.3, 2.5), 0, 255) if rng.random() < 0.6 else np.array(_colour(rng))

    def oval(x: float, y: float, wide: float, high: float, colour: NDArray[np.float64], turn: float = 0.0) -> None:
        centre = (int(16 * (middle + x * reach)), int(16 * (middle + y * reach)))
        axes = (int(16 * wide * reach), int(16 * high * reach))
        value = (*(float(c) for c in colour), 1.0)
        cv2.ellipse(head, centre, axes, turn, 0, 360, value, -1, cv2.LINE_AA, 4)

    ear = (rng.uniform(0.6, 1.1), rng.uniform(-0.9, 0.2), rng.uniform(0.15, 0.4), rng.uniform(0.3, 0.8))
    tilt, ear_colour = rng.uniform(-50, 50), (fur if rng.random() < 0.5 else other) * rng.uniform(0.6, 1.1)
    for mirror in (-1, 1):
        oval(mirror * ear[0], *ear[1:], ear_colour, mirror * tilt)
    oval(0, 0, rng.uniform(0.75, 1.1), rng.uniform(0.8, 1.3), fur)
    if rng.random() < 0.5:  # a blaze, or dark cheeks
        oval(0, rng.uniform(-0.5, 0), rng.uniform(0.1, 0.3), rng.uniform(0.4, 0.9), other)
    if rng.random() < 0.4:
        for mirror in (-1, 1):
            oval(mirror * rng.uniform(0.35, 0.5), -0.25, rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.4), other)
    low = rng.uniform(0.2, 0.6)
    oval(0, low, rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6), other if rng.random() < 0.5 else fur * 0.9)
    dark = np.full(3, rng.uniform(0, 60))
    oval(0, low - rng.uniform(0, 0.25), rng.uniform(0.1, 0.28), rng.uniform(0.08, 0.2), dark)
    if rng.random() < 0.6:
        oval(0, low + rng.uniform(0.15, 0.35), rng.uniform(0.1, 0.4), rng.uniform(0.02, 0.12), dark * 1.3)
    apart, up, size = rng.uniform(0.25, 0.6), rng.uniform(-0.4, 0.0), rng.uniform(0.05, 0.2)
    iris = np.array(_colour(rng)) if rng.random() < 0.4 else dark
    for mirror in (-1, 1):
        oval(mirror * apart, up, size, size * rng.uniform(0.6, 1.1), iris)
        oval(mirror * apart, up, 0.5 * size, 0.5 * size, dark)
    head[..., :3] *= 1 + np.float32(rng.uniform(0.05, 0.35)) * grain(rng, side, side)[..., None]
    x, y = _place(rng, picture)
    scale = _size(rng, picture, 6, 0.25) / reach
    turned = np.asarray(cv2.getRotationMatrix2D((middle, middle), float(rng.normal(0, 20)), scale), np.float64)
    turned[0, 1] += rng.normal(0, 0.1) * scale
    half = int(middle * scale * 1.4) + 1
    turned[:, 2] += half - middle
    if scale < 0.7:
        head = np.asarray(cv2.GaussianBlur(head, (0, 0), 0.4 / scale), np.float32)
    warped = np.asarray(cv2.warpAffine(head, turned, (2 * half + 1,) * 2), np.float32)
    cover = warped[..., 3]
    _lay(picture, np.clip(warped[..., :3] / np.maximum(cover, 1e-3)[..., None], 0, 255), cover, (x - half, y - half))


def _lay(picture: Picture, colour: NDArray[np.float32], cover: NDArray[np.float32], at: tuple[int, int]) -> None:
    """Lay a (h, w, 3) piece over a picture, its top left corner at a place that may be outside."""
    height, width = picture.shape[:2]
    x0, y0 = max(0, at[0]), max(0, at[1])
    x1, y1 = min(width, at[0] + cover.shape[1]), min(height, at[1] + cover.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    part, inside = picture[y0:y1, x0:x1], (slice(y0 - at[1], y1 - at[1]), slice(x0 - at[0], x1 - at[0]))
    part += cover[inside][..., None] * (colour[inside] - part)


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
    (_texture, 2.5),
    (_rings, 1.5),
    (_beast, 1.5),
)
_KINDS = tuple(kind for kind, _ in _DRAWN)
_WEIGHTS = np.array([weight for _, weight in _DRAWN]) / sum(weight for _, weight in _DRAWN)
