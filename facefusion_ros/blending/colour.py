"""The scene's light on the persona: what makes a patch as bright, shaded, contrasty and partly as tinted as the face.

The original face is in the same frame, pixel for pixel, so the two are compared in pairs, as pictures of a few dozen
pixels. Almost everything is a gain: a lamp multiplies what a surface sends back, and with the power law by which
pictures are coded a gain of light is a gain of pixel values. Gains are kept as logarithms, in which filtering treats
darker and brighter alike. What is measured, in this order:

1. how bright and how tinted the face is as a whole, and from which side it is lit (robustly: hair, glasses and glints
   say nothing of the light);
2. how much its colours vary, by the linear Monge-Kantorovich map, for harsh and for hazy light;
3. along the mask's rim, what is left of the difference: there the persona meets the skin, and takes on its colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_ros.blending.paste import Layer, largest_scale, scaling
from facefusion_ros.blending.transfer import bounded, monge_kantorovich
from facefusion_ros.faces.alignment import compose

if TYPE_CHECKING:
    from facefusion_ros.blending.settings import BlendSettings

SAMPLES = 64
"""Face and persona are compared as pictures of this size; the field of gains has as many nodes."""
CONTRAST = 3 * SAMPLES * SAMPLES
"""Where in the coefficients the map of contrast begins."""
COARSE = 16
"""So many suffice for the light as a whole."""
LEAST_SAMPLES = 12
FLOOR = 1.0
"""Added to pixel values before a ratio is taken: in the dark the last digit is noise."""
CLIPPED, CRUSHED = 249, 3
"""Values from which on, and up to which, a pixel says no more how much light there was."""
_WHITE, _BEYOND_WHITE = 253.0, math.log(1.12)
MAX_LOG_GAIN = math.log(16.0)
MAX_LOG_SHADING = math.log(1.8)
MAX_LOG_RIM = math.log(2.5)
LEAST_STRETCH, MOST_STRETCH = 0.5, 1.35
GAMMA = 2.2
"""Pixel values are about this root of light."""
_RIDGE = np.array([0.004, 0.08, 0.07, 0.07, 0.07])
"""Doubt about each term of the shading, against its mean square over a face (some 0.06): least about light from a side,
more about light from above, since hair and beards are dark above and below whatever the light is."""
_DOUBT = 0.08
"""Spread of colours, over the face's level, that tells little of the light: the faces' own features."""
_SKIN_LEVEL, _SKIN_TINT = 0.5, 0.16
"""Differences from the face's mean, logarithms of level and of tint, beyond which it is rather hair than skin."""
_RIM_BEGIN, _RIM_END = 0.22, 0.62
"""The rim: from the edge inwards as far as it is followed wholly, and as far as at all; fractions of the way to the
middle."""
_RIM_BLUR, _BRIDGE, _BRIDGE_SHARE = 0.33, 3.0, 0.1
_MEAN_BLUR = 0.8
"""Standard deviations, in samples, of what is followed and of what bridges the gaps, and the weight of the latter."""
_OWN_CHROMA = 0.12
"""Difference of a tint along the rim, as a logarithm, beyond which it is the persona's own: jade meets skin as jade."""
LUMA = np.array([0.114, 0.587, 0.299])  # ITU-R BT.601, in BGR order
_SKIN = np.array([0.92, 0.98, 1.06])
"""Tint taken for a face in white light, BGR over luma: half way from grey to fair skin. What a face's tint has beyond
it counts as the light's, so that a pale persona is a little warmer beside warm skin, and not grey."""


def _shading_basis(size: int) -> NDArray[np.float64]:
    """(size * size, 5): slopes and curvatures over a patch, each free of a mean."""
    axis = (2.0 * np.arange(size) + 1.0) / size - 1.0
    x, y = np.tile(axis, size), np.repeat(axis, size)
    terms = np.stack([x, y, x * x, x * y, y * y], axis=1)
    centred: NDArray[np.float64] = terms - terms.mean(axis=0)
    return centred


_ALL_SEEN = np.ones((SAMPLES, SAMPLES), np.bool_)
_SAMPLE_BASIS = _shading_basis(SAMPLES).astype(np.float32)
_COARSE_BASIS = _shading_basis(COARSE)
_COARSE_AXES = tuple(_COARSE_BASIS[:, k].reshape(COARSE, COARSE) for k in (0, 1))


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


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What one frame tells of the light on one face."""

    coefficients: NDArray[np.float32]
    """(CONTRAST + 9,): logarithms of the gains, (SAMPLES, SAMPLES, 3) BGR, and the map of contrast less the identity,
    (3, 3)."""
    clear: float
    """Share of the face that is neither clipped nor crushed, 0 to 1."""
    face_level: float
    """Logarithm of the face's mean pixel value, BT.601 luma plus ``FLOOR``."""
    persona_level: float
    """The same of the persona as it was painted."""
    persona_mean: NDArray[np.float64]
    """(3,) mean colour of the persona as it was painted, BGR."""


def measure(face: NDArray[np.uint8], seen: NDArray[np.bool_], layer: Layer, settings: BlendSettings) -> Measured | None:
    """Find what brings the persona into the face's light; None where too little of the face is seen.

    face is (SAMPLES, SAMPLES, 3) BGR as by sample_face. Eyes, mouth, hair and glints differ between face and persona
    and say nothing of the light, so the shading is fitted robustly (iteratively reweighted least squares with Cauchy's
    weights), and the weights it comes to serve for the rest.
    """
    alpha = _sampled(layer.alpha).astype(np.float32) * np.float32(1.0 / 255.0)
    premultiplied = _sampled(layer.colour).astype(np.float32)
    whole = _Pair(face.astype(np.float32), premultiplied, alpha, (alpha >= 0.5) & seen)
    # The light as a whole is as well seen in a smaller picture.
    pair = whole.reduced()
    used = pair.used
    if int(used.sum()) < LEAST_SAMPLES:
        return None
    original, persona = pair.original[used].astype(np.float64), pair.persona[used].astype(np.float64)
    clear = (original.max(axis=1) < CLIPPED) & (original @ LUMA > CRUSHED)
    trust = (pair.alpha * _central(pair.alpha))[used].astype(np.float64)
    share = float(trust @ clear / trust.sum())
    # What is clipped still counts a little, for where there is nothing else.
    trust *= np.where(clear, 1.0, 0.02)

    strength = settings.colour_strength
    ratio = np.log((original @ LUMA + FLOOR) / (persona @ LUMA + FLOOR))
    shading, weights = _robust_shading(ratio, _COARSE_BASIS[used.reshape(-1)], trust)
    shading *= strength
    weights /= weights.sum()
    shade = np.exp(np.clip(_COARSE_BASIS[used.reshape(-1)] @ shading, -MAX_LOG_SHADING, MAX_LOG_SHADING))
    lit = (weights * shade) @ persona + FLOOR
    mean, original_mean = weights @ persona + FLOOR, weights @ original + FLOOR
    persona_level, original_level = float(lit @ LUMA), float(original_mean @ LUMA)
    light_tint = original_mean / original_level / _SKIN
    tint = light_tint**settings.chroma_strength
    tint *= persona_level / float(lit * tint @ LUMA)  # the brightness is the gain's alone
    gain = strength * math.log(original_level / persona_level)
    gains = np.clip(gain + np.log(tint), -MAX_LOG_GAIN, MAX_LOG_GAIN)
    log_shading = np.clip(_SAMPLE_BASIS @ shading.astype(np.float32), -MAX_LOG_SHADING, MAX_LOG_SHADING)
    log_gains = log_shading.reshape(SAMPLES, SAMPLES, 1) + gains.astype(np.float32)

    pivot = np.array(cv2.sumElems(premultiplied)[:3]) / cv2.sumElems(alpha)[0]
    contrast = np.zeros((3, 3))
    if settings.contrast_strength * strength:
        matched = persona * shade[:, None] * np.exp(gains)
        own, wanted = (_spread(colours, weights) / original_level**2 for colours in (matched, original))
        stretch = bounded(monge_kantorovich(own, wanted, _DOUBT), LEAST_STRETCH, MOST_STRETCH)
        # Found for the persona in the scene's light, applied to it as painted: the tint is taken out again.
        contrast = settings.contrast_strength * strength * (stretch - np.eye(3)) * tint / tint[:, None]
    if settings.seam_strength * strength:
        log_gains += settings.seam_strength * strength * _rim(whole, log_gains, contrast, pivot, original_mean)
    return Measured(
        np.concatenate((log_gains.reshape(-1), contrast.reshape(-1).astype(np.float32))),
        share,
        math.log(original_level),
        math.log(float(mean @ LUMA)),
        pivot,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Face and persona side by side, as pictures of n x n samples."""

    original: NDArray[np.float32]
    """(n, n, 3) BGR."""
    premultiplied: NDArray[np.float32]
    """(n, n, 3) BGR."""
    alpha: NDArray[np.float32]
    """(n, n), 0 to 1."""
    used: NDArray[np.bool_]
    """(n, n), where the persona shows and the face is seen."""

    @property
    def persona(self) -> NDArray[np.float32]:
        """(n, n, 3) BGR as painted."""
        colour: NDArray[np.float32] = self.premultiplied / np.maximum(self.alpha, np.float32(0.1))[..., None]
        return colour

    def reduced(self) -> _Pair:
        """Make pictures of ``COARSE`` samples."""
        alpha = _reduced(self.alpha, COARSE)
        seen = _reduced(self.used.astype(np.float32), COARSE) >= 0.5
        return _Pair(_reduced(self.original, COARSE), _reduced(self.premultiplied, COARSE), alpha, seen)


_Picture = TypeVar('_Picture', NDArray[np.uint8], NDArray[np.float32])


def _reduced(picture: _Picture, size: int) -> _Picture:
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _sampled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a picture of ``SAMPLES`` of a layer: first halved, which is far cheaper than an odd ratio."""
    size = picture.shape[0]
    if size % 2 == 0 and size >= 2 * SAMPLES:
        size //= 2
        picture = _reduced(picture, size)
    how = cv2.INTER_AREA if size >= 2 * SAMPLES else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (SAMPLES, SAMPLES), interpolation=how), np.uint8)


def _central(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bell over the middle of a mask, (COARSE, COARSE): hair, hats and hands come from the rim."""
    mass = alpha / alpha.sum()
    x, y = _COARSE_AXES
    dx, dy = x - float((mass * x).sum()), y - float((mass * y).sum())
    spread = float((mass * dx * dx).sum()), float((mass * dy * dy).sum())
    bell: NDArray[np.float32] = np.exp(-0.5 * (dx * dx / spread[0] + dy * dy / spread[1]))
    return bell


def _robust_shading(
    ratio: NDArray[np.float64], basis: NDArray[np.float64], trust: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit ratio, (n,), by a constant and the basis, (n, k): the (k,) coefficients and the weights (n,) it came to.

    trust, (n,), are the weights to begin with.
    """
    terms = np.column_stack((np.ones(len(ratio)), basis))
    ridge = np.diag(np.concatenate(([0.0], _RIDGE)))
    order = np.argsort(ratio)
    summed = np.cumsum(trust[order])
    rest = ratio - ratio[order[np.searchsorted(summed, 0.5 * summed[-1])]]
    weights = trust
    coefficients = np.zeros(terms.shape[1])
    for _ in range(3):
        spread = 1.4826 * float(np.median(np.abs(rest))) + 0.02
        weights = trust / (1.0 + (rest / spread) ** 2)
        weighted = terms * weights[:, None]
        coefficients = np.linalg.solve(weighted.T @ terms + ridge * weights.sum(), weighted.T @ ratio)
        rest = ratio - terms @ coefficients
    return coefficients[1:], weights


def _spread(colours: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) covariance of colours (n, 3) with weights (n,) that add up to 1."""
    away = colours - weights @ colours
    covariance: NDArray[np.float64] = (away * weights[:, None]).T @ away
    return covariance


def _rim(
    pair: _Pair,
    log_gains: NDArray[np.float32],
    contrast: NDArray[np.float64],
    pivot: NDArray[np.float64],
    mean: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Find what is left of the difference along the mask's rim: logarithms (SAMPLES, SAMPLES, 3), 0 in the middle.

    log_gains (SAMPLES, SAMPLES, 3) and contrast (3, 3) about pivot (3,) are what was found so far, mean (3,) is the
    face's. Where the face is hidden by something unlike it, what is beside bridges the gap (normalised convolution:
    Knutsson and Westin, CVPR 1993). Where the persona's tint is another altogether it stays: no light explains it.
    """
    depth = cv2.distanceTransform((pair.alpha >= 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    inward = np.clip((depth / max(float(depth.max()), 1.0) - _RIM_BEGIN) / (_RIM_END - _RIM_BEGIN), 0.0, 1.0)
    rim = 1.0 - inward * inward * (3.0 - 2.0 * inward)
    persona = pair.persona
    if contrast.any():
        stretch = np.column_stack((np.eye(3) + contrast, -contrast @ pivot))
        persona = np.clip(cv2.transform(persona, stretch), 0.0, 255.0)
    persona = np.minimum(persona * np.exp(log_gains), np.float32(255.0))
    # What is white was brighter still: the persona shall be white there too, and not only nearly.
    white = (np.minimum.reduce(cv2.split(pair.original)) >= _WHITE)[..., None]
    log_original = np.log(pair.original + np.float32(FLOOR)) + np.where(
        white, np.float32(_BEYOND_WHITE), np.float32(0.0)
    )
    rest = log_original - np.log(persona + np.float32(FLOOR))
    away = log_original - np.log(mean).astype(np.float32)
    level = away @ LUMA.astype(np.float32)
    tint = np.square(np.maximum.reduce([np.abs(channel - level) for channel in cv2.split(away)]))
    weights = np.square(1.0 / (1.0 + np.square(level / _SKIN_LEVEL) + tint / _SKIN_TINT**2))
    # Twice squared: what is wide enough to leave nothing beside it must not be followed either.
    weights = np.where(pair.used, np.square(weights), np.float32(0.0))
    weighed = cv2.merge([*cv2.split(rest * weights[..., None]), weights])
    wide = cv2.GaussianBlur(weighed, (0, 0), _BRIDGE)
    cv2.scaleAdd(wide, _BRIDGE_SHARE, cv2.GaussianBlur(weighed, (0, 0), _RIM_BLUR), dst=wide)
    bridged = wide[..., :3] / (wide[..., 3:] + np.float32(0.01))
    along = (weights * rim).astype(np.float32)
    foreign = _tint(np.array(cv2.sumElems(bridged * along[..., None])[:3])) / max(cv2.sumElems(along)[0], 1e-6)
    tinted = 1.0 / (1.0 + (float(np.abs(foreign).max()) / _OWN_CHROMA) ** 6)
    found = _less_tint(bridged, tinted)
    # Where both are uneven a mean of logarithms is not the logarithm of a mean, which is what one sees.
    weights = weights[..., None]
    means = [
        cv2.GaussianBlur(picture * weights, (0, 0), _MEAN_BLUR) + np.float32(0.5)
        for picture in (pair.original, np.minimum(persona * np.exp(found), np.float32(255.0)))
    ]
    found += _less_tint(np.log(means[0] / means[1]), tinted)
    kept: NDArray[np.float32] = np.clip(found, -MAX_LOG_RIM, MAX_LOG_RIM) * rim[..., None]
    return kept


def _tint(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out the level, (3,)."""
    tint: NDArray[np.float64] = logarithms - logarithms @ LUMA
    return tint


def _less_tint(logarithms: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Keep the level and a share of the tint of (..., 3) logarithms."""
    keep = share * np.eye(3) + (1.0 - share) * np.outer(np.ones(3), LUMA)
    kept: NDArray[np.float32] = cv2.transform(logarithms, keep)  # type: ignore[assignment]
    return kept


def gain_field(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make (SAMPLES, SAMPLES, 3) gains per channel BGR over the patch, for the coefficients of measure."""
    field: NDArray[np.float32] = np.exp(coefficients[:CONTRAST]).reshape(SAMPLES, SAMPLES, 3)
    return field


def contrast_map(coefficients: NDArray[np.float32]) -> NDArray[np.float64]:
    """(3, 3) map of differences from the mean colour, BGR, for the coefficients of measure."""
    stretch: NDArray[np.float64] = np.eye(3) + coefficients[CONTRAST:].reshape(3, 3)
    return stretch
