"""A face and the persona that covers it, side by side as pictures of a few dozen samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_ros.blending.paste import Layer, largest_scale, scaling
from facefusion_ros.faces.alignment import compose

SAMPLES = 96
"""Face and persona are compared as pictures of this size; the field of gains has as many nodes."""
LUMA = np.array([0.114, 0.587, 0.299])  # ITU-R BT.601, in BGR order
FLOOR = 1.0
"""Added to pixel values before a ratio is taken: in the dark the last digit is noise."""

_ALL_SEEN = np.ones((SAMPLES, SAMPLES), np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Face and persona as pictures of n x n samples."""

    original: NDArray[np.float32]
    """(n, n, 3) BGR, as bright as the face would be if its skin were the persona's."""
    premultiplied: NDArray[np.float32]
    """(n, n, 3) BGR of the persona as painted, times alpha."""
    alpha: NDArray[np.float32]
    """(n, n), 0 to 1."""
    used: NDArray[np.bool_]
    """(n, n), where the persona shows and the face is seen."""
    pitch_px: float
    """Pixels of the layer, which are about those of the frame, from one sample to the next."""

    @property
    def persona(self) -> NDArray[np.float32]:
        """(n, n, 3) BGR as painted."""
        alpha = np.clip(self.alpha, 0.1, 1.0)
        return cv2.divide(self.premultiplied, cv2.merge((alpha, alpha, alpha)))  # type: ignore[return-value]

    def reduced(self, size: int) -> Pair:
        """Make pictures of fewer samples."""
        alpha = reduced(self.alpha, size)
        used = reduced(self.used.astype(np.float32), size) >= 0.5
        pitch_px = self.pitch_px * self.alpha.shape[0] / size
        return Pair(reduced(self.original, size), reduced(self.premultiplied, size), alpha, used, pitch_px)


def pair_of(face: NDArray[np.uint8], seen: NDArray[np.bool_], layer: Layer, brighter: float = 1.0) -> Pair:
    """Put a face, as by sample_face, its values so many times larger, beside the layer that is to cover it."""
    alpha = _sampled(layer.alpha).astype(np.float32) * np.float32(1.0 / 255.0)
    premultiplied = _sampled(layer.colour).astype(np.float32)
    pitch_px = layer.alpha.shape[0] / SAMPLES
    original = face.astype(np.float32)
    if brighter != 1.0:
        original *= np.float32(brighter)
    return Pair(original, premultiplied, alpha, (alpha >= 0.5) & seen, pitch_px)


def sample_face(
    view: NDArray[np.uint8],
    corner: tuple[int, int],
    image_from_patch: NDArray[np.float64],
    size: int,
    out: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Look at the frame through a (size, size) patch: writes out, (SAMPLES, SAMPLES, 3) BGR, and says which are seen.

    view, (height, width, 3), is the frame's part that is looked at, and corner, left and top, its place in it. Returns
    (SAMPLES, SAMPLES), False where the patch lies outside of the view.
    """
    height, width = view.shape[:2]
    region_from_sample = compose(image_from_patch, scaling(SAMPLES, size))
    region_from_sample[:, 2] -= corner
    # Average before sampling: single pixels of a large face would bring its grain along. By a whole number, which is
    # quick; what is left over at the right and at the bottom is less than a sample.
    factor = int(largest_scale(region_from_sample))
    if factor >= 2 and min(height, width) >= factor:
        height, width = height // factor, width // factor
        whole = view[: height * factor, : width * factor]
        view = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        region_from_sample = compose(scaling(factor, 1), region_from_sample)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(view, region_from_sample, (SAMPLES, SAMPLES), out, flags, cv2.BORDER_REPLICATE)
    corners = region_from_sample @ np.array(
        [[0, SAMPLES - 1, SAMPLES - 1, 0], [0, 0, SAMPLES - 1, SAMPLES - 1], [1] * 4]
    )
    if (corners > -0.5).all() and (corners < np.array([[width - 0.5], [height - 0.5]])).all():
        return _ALL_SEEN
    axis = np.arange(SAMPLES, dtype=np.float64)
    x = region_from_sample[0, 0] * axis + region_from_sample[0, 1] * axis[:, None] + region_from_sample[0, 2]
    y = region_from_sample[1, 0] * axis + region_from_sample[1, 1] * axis[:, None] + region_from_sample[1, 2]
    seen: NDArray[np.bool_] = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return seen


_Picture = TypeVar('_Picture', NDArray[np.uint8], NDArray[np.float32])


def reduced(picture: _Picture, size: int) -> _Picture:
    """Average a square picture down to (size, size)."""
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _sampled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a picture of ``SAMPLES`` of a layer: first halved, which is far cheaper than an odd ratio."""
    size = picture.shape[0]
    if size % 2 == 0 and size >= 2 * SAMPLES:
        size //= 2
        picture = reduced(picture, size)
    how = cv2.INTER_AREA if size >= 2 * SAMPLES else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (SAMPLES, SAMPLES), interpolation=how), np.uint8)
