"""Masks by networks: what hides a face, and where its regions are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.faces.feed import Feed
from facefusion_ros.faces.tensors import PictureTensor, allocate, arrange

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.models.entry import Family

# Softness of a mask's edge, as a fraction of the patch: 5 pixels of 256, as is usual for these networks.
_SIGMA = 5 / 256
# The blurred edge reaches outwards as far as inwards; what lies outside, below a half, is cut off.
_INNER_HALF = np.clip(2 * np.arange(256) - 255, 0, 255).astype(np.uint8)


def read_visible(values: NDArray[np.floating], scratch: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """Write a mask of 0..1 as 0..255; what is no number becomes 0. All are (h, w)."""
    np.fmax(values, 0.0, out=scratch, dtype=np.float32, casting='same_kind')
    np.fmin(scratch, 1.0, out=scratch)
    np.multiply(scratch, 255.0, out=scratch)
    np.rint(scratch, out=scratch)
    np.copyto(out, scratch, casting='unsafe')


def read_regions(
    scores: NDArray[np.floating], classes: Collection[int], scratch: NDArray[np.floating], out: NDArray[np.uint8]
) -> None:
    """Write 255 where the best of a pixel's classes is one of ``classes``, 0 elsewhere.

    ``scores``: (n, h, w); ``scratch``: (2, h, w) of the same dtype; ``out``: (h, w).
    """
    # Not argmax: it would go through memory against its order, and needs indices of eight bytes.
    scratch[...] = -np.inf
    for number, plane in enumerate(scores):
        best = scratch[int(number in classes)]
        np.maximum(best, plane, out=best)
    np.greater(scratch[1], scratch[0], out=out.view(np.bool_))
    np.multiply(out, np.uint8(255), out=out)


def combine(masks: Iterable[NDArray[np.uint8]], out: NDArray[np.uint8]) -> None:
    """Lower ``out``, (h, w), to the smallest of itself and the masks at each pixel.

    ``out`` begins as the first of them, such as the persona's own alpha; the others are box, occlusion and regions.
    """
    for mask in masks:
        np.minimum(out, mask, out=out)


class Segmenter:
    """Says which pixels of a patch belong to the face. Used by one thread; the engine stays the caller's."""

    def __init__(self, engine: Engine, family: Family, region: str = 'face') -> None:
        """Fit the buffers to the network.

        ``region``: which of the family's groups of classes is kept; of no account where the network itself gives a
        mask (XSeg). Raises EngineError where the engine runs no network of this family or it has no such region.
        """
        if family.decoder not in ('mask', 'classes'):
            raise EngineError(f'{family.name} gives no mask: choose a family of masks, such as xseg or bisenet')
        self._tensor = PictureTensor(engine.inputs[0], family.preprocessing, family.size or (256, 256))
        width, height = self._tensor.size
        self._classes: frozenset[int] | None = None
        shape: tuple[int, ...] = (height, width, 1)
        if family.decoder == 'classes':
            self._classes = _classes(family, region)
            channels = family.outputs[0].shape[1]
            shape = (channels if isinstance(channels, int) else 19, height, width)
        specs = arrange(engine, [shape])
        if specs is None:
            there = ', '.join(str(spec.shape) for spec in engine.outputs)
            raise EngineError(f'the outputs {there} hold no {family.name} mask of {shape}: set the right family')
        self._outputs = {specs[0].name: allocate(specs[0], shape)}
        values: NDArray[Any] = self._outputs[specs[0].name].reshape(shape)
        self._values = values if self._classes is not None else values[..., 0]
        self._scratch = (
            np.zeros((height, width), np.float32)
            if self._classes is None
            else np.zeros((2, height, width), specs[0].dtype)
        )
        self._feed = Feed(engine, self._tensor)
        self._mask = np.zeros((height, width), np.uint8)
        self._resized = self._soft = np.zeros((0, 0), np.uint8)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the network's input, pixels."""
        return self._tensor.size

    def mask(self, pixels: NDArray[np.uint8], image_from_patch: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
        """Write 255 where the face shows in a patch and 0 where it is hidden or another region, soft between.

        ``pixels``: (H, W, 3) BGR frame, as the camera saw it; ``image_from_patch``: (2, 3) similarity of the patch that
        is to be masked; ``out``: (h, w) uint8 of the patch's size, may be a channel of it. Allocates where ``out`` is
        of another size than before. Raises EngineError where the network fails.
        """
        height, width = out.shape
        if self._resized.shape != out.shape:
            self._resized, self._soft = np.zeros(out.shape, np.uint8), np.zeros(out.shape, np.uint8)
        share = np.array([width / self._tensor.size[0], height / self._tensor.size[1]])
        # Centres of pixels are at whole numbers: hence the halves.
        image_from_crop = image_from_patch.copy()
        image_from_crop[:, :2] *= share
        image_from_crop[:, 2] += image_from_patch[:, :2] @ (share / 2 - 0.5)
        self._feed.fill(pixels, image_from_crop)
        self._feed.run(self._outputs)
        if self._classes is None:
            read_visible(self._values, self._scratch, self._mask)
        else:
            read_regions(self._values, self._classes, self._scratch, self._mask)
        shrinks = width < self._mask.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        cv2.resize(self._mask, (width, height), dst=self._resized, interpolation=how)
        cv2.GaussianBlur(self._resized, (0, 0), _SIGMA * max(width, height), dst=self._soft)
        cv2.LUT(self._soft, _INNER_HALF, dst=self._resized)
        out[...] = self._resized


def _classes(family: Family, region: str) -> frozenset[int]:
    numbers = family.decode.get(region)
    if not isinstance(numbers, tuple):
        raise EngineError(f'{family.name} has no region {region!r}: choose one of {", ".join(family.decode)}')
    return frozenset(int(number) for number in numbers)
