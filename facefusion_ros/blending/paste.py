"""Putting a patch onto its region of the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.masks import clear_rim
from facefusion_ros.faces.alignment import compose

if TYPE_CHECKING:
    from numpy.typing import NDArray

Region = tuple[int, int, int, int]
"""Left, top, width, height; whole pixels of the frame."""

_LIMIT_PX = 1e6
_MIP_STEP_PX = 8
_WINDOW_STEPS = 16
_NEAR_ENOUGH = 0.75
"""Down to this scale the warp's own interpolation takes in every pixel with weight enough."""


class Scratch:
    """Working memory by name, reused; each piece only grows, to the largest size asked for."""

    def __init__(self) -> None:
        self._pieces: dict[str, NDArray[np.uint8]] = {}

    def take(self, name: str, *shape: int) -> NDArray[np.uint8]:
        """Uint8 array of the shape with undefined content; valid until the name is taken again."""
        length = math.prod(shape)
        piece = self._pieces.get(name)
        if piece is None or piece.size < length:
            piece = self._pieces[name] = np.empty(length, np.uint8)
        return piece[:length].reshape(shape)

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return sum(piece.nbytes for piece in self._pieces.values())


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A patch made ready for warping; both arrays live in scratch memory."""

    colour: NDArray[np.uint8]
    """(n, n, 3) BGR, premultiplied with alpha."""
    alpha: NDArray[np.uint8]
    """(n, n), 0 on the outermost pixels."""
    patch_from_layer: NDArray[np.float64]
    """(2, 3) affine map from the layer's pixels to the patch's."""


def scaling(new_size: int, size: int) -> NDArray[np.float64]:
    """(2, 3) affine map from pixels of a square of new_size pixels to those of the same square with size pixels."""
    factor = size / new_size
    return np.array([[factor, 0.0, 0.5 * factor - 0.5], [0.0, factor, 0.5 * factor - 0.5]])


def largest_scale(affine: NDArray[np.float64]) -> float:
    """Factor by which an affine map (2, 3) lengthens most: the larger singular value of its linear part."""
    (a, b), (c, d) = affine[:, :2].tolist()
    return 0.5 * (math.hypot(a + d, b - c) + math.hypot(a - d, b + c))


def region_of(image_from_patch: NDArray[np.float64], size: int, width: int, height: int) -> Region | None:
    """Pixels of a width x height picture which a (size, size) patch can change; None where there are none."""
    if not np.isfinite(image_from_patch).all():
        return None
    corners = image_from_patch @ np.array([[0, size - 1, size - 1, 0], [0, 0, size - 1, size - 1], [1, 1, 1, 1]])
    # Further out, the sums inside a warp would lose their precision.
    if np.abs(corners).max() > _LIMIT_PX or abs(np.linalg.det(image_from_patch[:, :2])) < 1e-9:
        return None
    left, top = np.maximum(np.floor(corners.min(axis=1)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=1)).astype(int) + 1, (width, height))
    if left >= right or top >= bottom:
        return None
    return int(left), int(top), int(right - left), int(bottom - top)


def layer_size(image_from_patch: NDArray[np.float64], size: int) -> int:
    """Size to which a (size, size) patch is reduced so that the warp that follows leaves no pixel of it out.

    Steps of a few pixels, so that the memory is the same while a face comes slowly nearer.
    """
    scale = largest_scale(image_from_patch)
    wanted = math.ceil(size * scale / _MIP_STEP_PX) * _MIP_STEP_PX
    return min(size, max(wanted, _MIP_STEP_PX))


Window = tuple[int, int, int]
"""Left, top and side of a square of a patch, pixels."""


def window_of(pixels: NDArray[np.uint8], last: Window | None = None) -> Window | None:
    """Square of a patch, (s, s, 4) BGRA, outside which nothing shows; None where nothing shows at all.

    In coarse steps; the last one is kept while it fits, so that it is the same for most frames.
    """
    size = pixels.shape[0]
    left, top, width, height = cv2.boundingRect(cv2.extractChannel(pixels, 3))
    if width == 0:
        return None
    if last is not None:
        x, y, side = last
        inside = x <= left and y <= top and left + width <= x + side and top + height <= y + side
        if inside and x + side <= size and y + side <= size and side <= 1.3 * max(width, height):
            return last
    step = max(1, size // _WINDOW_STEPS)
    side = min(size, -(-(max(width, height) + 4) // step) * step + step)
    x, y = (
        min(max(round((begin + 0.5 * length - 0.5 * side) / step) * step, 0), size - side)
        for begin, length in ((left, width), (top, height))
    )
    return x, y, side


def prepare(pixels: NDArray[np.uint8], mask: NDArray[np.uint8], size: int, scratch: Scratch) -> Layer:
    """Premultiply a patch, (s, s, 4) BGRA, with its alpha times the mask, (s, s), and reduce it to about (size, size).

    Premultiplied colours can be averaged: what the patch holds where it does not show (alpha 0) stays unseen.
    """
    full = pixels.shape[0]
    alpha, colour = scratch.take('alpha', full, full), scratch.take('colour', full, full, 3)
    alphas = scratch.take('alphas', full, full, 3)
    cv2.extractChannel(pixels, 3, alpha)
    cv2.multiply(alpha, mask, dst=alpha, scale=1.0 / 255.0)
    cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR, dst=alphas)
    cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR, dst=colour)
    cv2.multiply(colour, alphas, dst=colour, scale=1.0 / 255.0)
    at, turn = full, ''
    while at * _NEAR_ENOUGH > size:
        # Halving is far cheaper than an odd ratio, so it goes first.
        at = at // 2 if at % 2 == 0 and at // 2 >= size else size
        # There and back between two pieces of memory.
        turn = 'reduced ' if turn == '' else ''
        colour = _reduced(colour, scratch.take(f'{turn}colour', at, at, 3))
        alpha = _reduced(alpha, scratch.take(f'{turn}alpha', at, at))
    clear_rim(alpha)
    return Layer(colour, alpha, scaling(at, full))


def _reduced(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
    cv2.resize(source, target.shape[:2], dst=target, interpolation=cv2.INTER_AREA)
    return target


def contrast(layer: Layer, stretch: NDArray[np.float64], mean: NDArray[np.float64], scratch: Scratch) -> None:
    """Map the differences of a layer's colours from the mean, (3,) BGR, by a (3, 3) matrix."""
    size = layer.colour.shape[0]
    alphas, shift = scratch.take('layer alphas', size, size, 3), scratch.take('shift', size, size, 3)
    offset = mean - stretch @ mean
    # What is added before must not overflow, nor what is added after: so darkening goes first, brightening last.
    first = float(offset.mean()) < 0.0
    constant = np.asarray(np.linalg.solve(stretch, offset) if first else offset, np.float64)
    cv2.cvtColor(layer.alpha, cv2.COLOR_GRAY2BGR, dst=alphas)
    if first:
        _shift(layer.colour, alphas, constant, shift)
    cv2.transform(layer.colour, stretch, dst=layer.colour)
    if not first:
        _shift(layer.colour, alphas, constant, shift)


def _shift(
    colour: NDArray[np.uint8], alphas: NDArray[np.uint8], constant: NDArray[np.float64], part: NDArray[np.uint8]
) -> None:
    """Add a constant (3,), premultiplied as the colour is; part is of the colour's shape, to work in."""
    share = np.append(constant / 255.0, 0.0)  # OpenCV's scalars have four numbers
    if (constant > 0.0).any():
        cv2.multiply(alphas, np.maximum(share, 0.0), dst=part)
        cv2.add(colour, part, dst=colour)
    if (constant < 0.0).any():
        cv2.multiply(alphas, np.maximum(-share, 0.0), dst=part)
        cv2.subtract(colour, part, dst=colour)


def tint(layer: Layer, gains: NDArray[np.float32], scratch: Scratch) -> None:
    """Multiply a layer's colours with a smooth field of gains, (m, m, 3) per channel BGR, spread over the patch."""
    # Room above for the overshoot of the cubic; the field's steps of 1/255 are finer than those of the result.
    top = float(gains.max()) * 1.1
    field = cv2.convertScaleAbs(gains, alpha=255.0 / top)
    size = layer.colour.shape[0]
    spread = scratch.take('gains', size, size, 3)
    cv2.resize(field, (size, size), dst=spread, interpolation=cv2.INTER_CUBIC)
    cv2.multiply(layer.colour, spread, dst=layer.colour, scale=top / 255.0)


@dataclass(frozen=True, slots=True, eq=False)
class Warped:
    """A layer in its place on the frame; both arrays live in scratch memory."""

    colour: NDArray[np.uint8]
    """(height, width, 3) of the region, BGR, premultiplied."""
    alphas: NDArray[np.uint8]
    """(height, width, 3), alpha three times over."""


def warp(layer: Layer, region: Region, image_from_patch: NDArray[np.float64], scratch: Scratch) -> Warped:
    """Bring a layer to its region of the frame."""
    left, top, width, height = region
    region_from_layer = compose(image_from_patch, layer.patch_from_layer)
    region_from_layer[:, 2] -= (left, top)
    size = layer.alpha.shape[0]
    # Four channels at once: one and three take nearly twice as long.
    whole, warped = scratch.take('layer', size, size, 4), scratch.take('warped', height, width, 4)
    cv2.cvtColor(layer.colour, cv2.COLOR_BGR2BGRA, dst=whole)
    cv2.insertChannel(layer.alpha, whole, 3)
    cv2.warpAffine(whole, region_from_layer, (width, height), dst=warped, borderMode=cv2.BORDER_CONSTANT)
    colour, alpha = scratch.take('warped colour', height, width, 3), scratch.take('warped alpha', height, width)
    alphas = scratch.take('warped alphas', height, width, 3)
    cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR, dst=colour)
    cv2.extractChannel(warped, 3, alpha)
    cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR, dst=alphas)
    return Warped(colour, alphas)


def paste(pixels: NDArray[np.uint8], region: Region, warped: Warped) -> None:
    """Blend what was warped into the region of the frame, (height, width, 3) BGR, in place; uses it up.

    result = premultiplied colour + frame * (255 - alpha) / 255. Exact at both ends: alpha 0 keeps the frame's pixel as
    it is, alpha 255 gives the layer's.
    """
    left, top, width, height = region
    view = pixels[top : top + height, left : left + width]
    colour, alphas = warped.colour, warped.alphas
    # A tint may have raised a colour above its alpha; no colour may show where alpha is 0, nor may the sum overflow.
    cv2.min(colour, alphas, dst=colour)
    cv2.bitwise_not(alphas, dst=alphas)
    cv2.multiply(view, alphas, dst=view, scale=1.0 / 255.0)
    cv2.add(view, colour, dst=view)
