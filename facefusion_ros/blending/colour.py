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
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.rim import follow_skin
from facefusion_ros.blending.samples import FLOOR, LUMA, SAMPLES, pair_of
from facefusion_ros.blending.transfer import bounded, monge_kantorovich

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.blending.paste import Layer
    from facefusion_ros.blending.settings import BlendSettings

CONTRAST = 3 * SAMPLES * SAMPLES
"""Where in the coefficients the map of contrast begins."""
COARSE = 16
"""So many suffice for the light as a whole."""
LEAST_SAMPLES = 12
CLIPPED, CRUSHED = 249, 3
"""Values from which on, and up to which, a pixel says no more how much light there was."""
MAX_LOG_GAIN = math.log(16.0)
MAX_LOG_SHADING = math.log(1.8)
LEAST_STRETCH, MOST_STRETCH = 0.5, 1.35
GAMMA = 2.2
"""Pixel values are about this root of light."""
_RIDGE = np.array([0.004, 0.08, 0.07, 0.07, 0.07])
"""Doubt about each term of the shading, against its mean square over a face (some 0.06): least about light from a side,
more about light from above, since hair and beards are dark above and below whatever the light is."""
_DOUBT = 0.08
"""Spread of colours, over the face's level, that tells little of the light: the faces' own features."""
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


_SAMPLE_BASIS = _shading_basis(SAMPLES).astype(np.float32)
_COARSE_BASIS = _shading_basis(COARSE)
_COARSE_AXES = tuple(_COARSE_BASIS[:, k].reshape(COARSE, COARSE) for k in (0, 1))


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


def measure(
    face: NDArray[np.uint8], seen: NDArray[np.bool_], layer: Layer, settings: BlendSettings, reflectance: float = 1.0
) -> Measured | None:
    """Find what brings the persona into the face's light; None where too little of the face is seen.

    face is (SAMPLES, SAMPLES, 3) BGR as by sample_face; reflectance is that of the persona's skin over that of the
    face's: by so much less or more light it sends back, the persona is to be darker or brighter than the face. Eyes,
    mouth, hair and glints differ between face and persona and say nothing of the light, so the shading is fitted
    robustly (iteratively reweighted least squares with Cauchy's weights), and the weights it comes to serve for the
    rest.
    """
    brighter = reflectance ** (1.0 / GAMMA)
    whole = pair_of(face, seen, layer, brighter)
    # The light as a whole is as well seen in a smaller picture.
    pair = whole.reduced(COARSE)
    used = pair.used
    if int(used.sum()) < LEAST_SAMPLES:
        return None
    original, persona = pair.original[used].astype(np.float64), pair.persona[used].astype(np.float64)
    clear = (original.max(axis=1) < CLIPPED * brighter) & (original @ LUMA > CRUSHED * brighter)
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
    level_gain = strength * math.log(original_level / persona_level)
    gains = np.clip(level_gain + np.log(tint), -MAX_LOG_GAIN, MAX_LOG_GAIN)
    log_shading = np.clip(_SAMPLE_BASIS @ shading.astype(np.float32), -MAX_LOG_SHADING, MAX_LOG_SHADING)
    log_gains = cv2.merge([log_shading.reshape(SAMPLES, SAMPLES) + gain for gain in gains.astype(np.float32)])

    pivot = np.array(cv2.sumElems(whole.premultiplied)[:3]) / cv2.sumElems(whole.alpha)[0]
    contrast = np.zeros((3, 3))
    if settings.contrast_strength * strength:
        matched = persona * shade[:, None] * np.exp(gains)
        own, wanted = (_spread(colours, weights) / original_level**2 for colours in (matched, original))
        stretch = bounded(monge_kantorovich(own, wanted, _DOUBT), LEAST_STRETCH, MOST_STRETCH)
        # Found for the persona in the scene's light, applied to it as painted: the tint is taken out again.
        contrast = settings.contrast_strength * strength * (stretch - np.eye(3)) * tint / tint[:, None]
    if settings.seam_strength * strength:
        log_gains += settings.seam_strength * strength * follow_skin(whole, log_gains, contrast, pivot, original_mean)
    return Measured(
        np.concatenate((log_gains.reshape(-1), contrast.reshape(-1).astype(np.float32))),
        share,
        math.log(original_level / brighter),
        math.log(float(mean @ LUMA)),
        pivot,
    )


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


def gain_field(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make (SAMPLES, SAMPLES, 3) gains per channel BGR over the patch, for the coefficients of measure."""
    logarithms = coefficients[:CONTRAST].reshape(SAMPLES, SAMPLES, 3)
    return cv2.exp(logarithms)  # type: ignore[return-value]


def contrast_map(coefficients: NDArray[np.float32]) -> NDArray[np.float64]:
    """(3, 3) map of differences from the mean colour, BGR, for the coefficients of measure."""
    stretch: NDArray[np.float64] = np.eye(3) + coefficients[CONTRAST:].reshape(3, 3)
    return stretch
