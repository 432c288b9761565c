"""The scene's light on the persona: gains that make a patch as bright, as shaded and partly as tinted as the face.

The original face is in the same frame, pixel for pixel, so the two are compared in pairs. Everything is a gain: a lamp
multiplies what a surface sends back, and with the power law by which pictures are coded a gain of light is a gain of
pixel values. Coefficients are kept as logarithms, in which filtering treats darker and brighter alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.paste import Layer, Region, compose, scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.blending.settings import BlendSettings

SAMPLES = 32
"""Face and persona are compared as pictures of this size."""
FIELD = 12
"""Size of the field of gains; it is smooth, so few nodes hold it."""
LEAST_SAMPLES = 24
FLOOR = 1.0
"""Added to pixel values before a ratio is taken: in the dark the last digit is noise."""
MAX_LOG_GAIN = math.log(8.0)
MAX_LOG_SHADING = math.log(1.8)
_RIDGE = np.array([0.004, 0.08, 0.07, 0.07, 0.07])
"""Doubt about each term of the shading, against its mean square over a face (some 0.06): least about light from a side,
more about light from above, since hair and beards are dark above and below whatever the light is."""
_LUMA = np.array([0.114, 0.587, 0.299])  # ITU-R BT.601, in BGR order
_SKIN = np.array([0.92, 0.98, 1.06])
"""Tint taken for a face in white light, BGR over luma: half way from grey to fair skin. What a face's tint has beyond
it counts as the light's, so that a pale persona is a little warmer beside warm skin, and not grey."""

FORGET_NS = 2_000_000_000
MAX_TRACKS = 64
OPEN_NS = 1_000_000_000
OPEN_TIME_CONSTANT_S = 0.02
PICTURE_JUMP = math.log(1.06)
"""Change of a face's brightness that is no noise: the mean over a face is steady to a few thousandths."""


def _shading_basis(size: int) -> NDArray[np.float64]:
    """(size * size, 5): slopes and curvatures over a patch, each free of a mean."""
    axis = (2.0 * np.arange(size) + 1.0) / size - 1.0
    x, y = np.tile(axis, size), np.repeat(axis, size)
    terms = np.stack([x, y, x * x, x * y, y * y], axis=1)
    centred: NDArray[np.float64] = terms - terms.mean(axis=0)
    return centred


_SAMPLE_BASIS = _shading_basis(SAMPLES)
_SAMPLE_AXES = _SAMPLE_BASIS[:, 0], _SAMPLE_BASIS[:, 1]
_FIELD_BASIS = _shading_basis(FIELD)


def sample_face(
    pixels: NDArray[np.uint8],
    region: Region,
    image_from_patch: NDArray[np.float64],
    size: int,
    out: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Look at the frame through a (size, size) patch: writes out, (SAMPLES, SAMPLES, 3) BGR, and says which are seen.

    Only pixels of the region are read; returns (SAMPLES, SAMPLES), False where the patch lies outside it.
    """
    left, top, width, height = region
    view = pixels[top : top + height, left : left + width]
    region_from_sample = compose(image_from_patch, scaling(SAMPLES, size))
    region_from_sample[:, 2] -= (left, top)
    # Average before sampling: single pixels of a large face would bring its grain along.
    pitch = float(np.linalg.norm(region_from_sample[:, :2], ord=2))
    reduced = (max(1, round(width / pitch)), max(1, round(height / pitch)))
    if pitch >= 2.0:
        view = cv2.resize(view, reduced, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        fx, fy = reduced[0] / width, reduced[1] / height
        shrink = np.array([[fx, 0.0, 0.5 * fx - 0.5], [0.0, fy, 0.5 * fy - 0.5]])
        region_from_sample = compose(shrink, region_from_sample)
        height, width = view.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(view, region_from_sample, (SAMPLES, SAMPLES), out, flags, cv2.BORDER_REPLICATE)
    axis = np.arange(SAMPLES, dtype=np.float64)
    x = region_from_sample[0, 0] * axis + region_from_sample[0, 1] * axis[:, None] + region_from_sample[0, 2]
    y = region_from_sample[1, 0] * axis + region_from_sample[1, 1] * axis[:, None] + region_from_sample[1, 2]
    seen: NDArray[np.bool_] = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return seen


def measure(
    face: NDArray[np.uint8], seen: NDArray[np.bool_], layer: Layer, settings: BlendSettings
) -> NDArray[np.float64] | None:
    """Coefficients that bring the persona into the face's light: (8,), logarithms; None where too little is seen.

    face is (SAMPLES, SAMPLES, 3) BGR as by sample_face. The coefficients are the gains of blue, green and red, then
    the shading's slopes and curvatures. Eyes, mouth, hair and glints differ between face and persona and say nothing
    of the light, so the shading is fitted robustly (iteratively reweighted least squares with Cauchy's weights).
    """
    shape = (SAMPLES, SAMPLES)
    alpha = np.asarray(cv2.resize(layer.alpha, shape, interpolation=cv2.INTER_AREA), np.float64).reshape(-1) / 255.0
    used = (alpha >= 0.5) & seen.reshape(-1)
    if int(used.sum()) < LEAST_SAMPLES:
        return None
    coverage = alpha[used]
    weights = (alpha * _central(alpha))[used]
    persona = cv2.resize(layer.colour, shape, interpolation=cv2.INTER_AREA).reshape(-1, 3)[used] / coverage[:, None]
    original = face.reshape(-1, 3)[used].astype(np.float64)
    persona_luma, original_luma = persona @ _LUMA + FLOOR, original @ _LUMA + FLOOR
    ratio = np.log(original_luma / persona_luma)
    shading, weights = _robust_shading(ratio, _SAMPLE_BASIS[used], weights)
    shading *= settings.colour_strength
    lit = np.exp(np.clip(_SAMPLE_BASIS[used] @ shading, -MAX_LOG_SHADING, MAX_LOG_SHADING))
    weights /= weights.sum()
    persona_mean, original_mean = (weights * lit) @ persona + FLOOR, weights @ original + FLOOR
    persona_level, original_level = float(persona_mean @ _LUMA), float(original_mean @ _LUMA)
    light_tint = original_mean / original_level / _SKIN
    tint = light_tint**settings.chroma_strength
    tint *= persona_level / float(persona_mean * tint @ _LUMA)  # the brightness is the gain's alone
    gain = settings.colour_strength * math.log(original_level / persona_level)
    gains = np.clip(gain + np.log(tint), -MAX_LOG_GAIN, MAX_LOG_GAIN)
    return np.concatenate((gains, shading))


def _central(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bell over the middle of a mask, (SAMPLES * SAMPLES,): hair, hats and hands come from the rim."""
    mass = alpha / alpha.sum()
    x, y = _SAMPLE_AXES
    dx, dy = x - mass @ x, y - mass @ y
    bell: NDArray[np.float64] = np.exp(-0.5 * (dx * dx / (mass @ (dx * dx)) + dy * dy / (mass @ (dy * dy))))
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
    for _ in range(4):
        spread = 1.4826 * float(np.median(np.abs(rest))) + 0.02
        weights = trust / (1.0 + (rest / spread) ** 2)
        weighted = terms * weights[:, None]
        coefficients = np.linalg.solve(weighted.T @ terms + ridge * weights.sum(), weighted.T @ ratio)
        rest = ratio - terms @ coefficients
    return coefficients[1:], weights


def gain_field(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """(FIELD, FIELD, 3) gains per channel BGR over the patch, for the (8,) coefficients of measure."""
    shading = np.clip(_FIELD_BASIS @ coefficients[3:], -MAX_LOG_SHADING, MAX_LOG_SHADING)
    field: NDArray[np.float64] = np.exp(shading[:, None] + coefficients[:3]).reshape(FIELD, FIELD, 3)
    return field


@dataclass(slots=True)
class _Track:
    coefficients: NDArray[np.float64]
    stamp_ns: int
    open_until_ns: int


class LightFilter:
    """Smooths the coefficients of each face over time, and opens where the light changes in a step."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}

    def __len__(self) -> int:
        return len(self._tracks)

    def follow(
        self,
        track_id: int,
        stamp_ns: int,
        measured: NDArray[np.float64] | None,
        light_step_ns: int | None,
        settings: BlendSettings,
    ) -> NDArray[np.float64]:
        """Coefficients to use at the stamp: measured ones, (8,), smoothed with those of the face's earlier frames.

        light_step_ns is when the light sensor last saw a step, None for never. Faces without a track id (0) are not
        smoothed. Where nothing could be measured the last known hold.
        """
        track = self._tracks.get(track_id)
        if track is not None and not 0 <= stamp_ns - track.stamp_ns <= FORGET_NS:
            del self._tracks[track_id]
            track = None
        if measured is None:
            return np.zeros(8) if track is None else track.coefficients
        if track is None or track_id == 0:
            if track_id != 0:
                self._tracks[track_id] = _Track(measured, stamp_ns, stamp_ns)
                self._bound(stamp_ns)
            return measured
        jump = abs(float(_LUMA @ (measured - track.coefficients)[:3])) > PICTURE_JUMP
        if jump:
            track.open_until_ns = stamp_ns + OPEN_NS
        elif light_step_ns is not None and light_step_ns <= stamp_ns:
            track.open_until_ns = max(track.open_until_ns, light_step_ns + OPEN_NS)
        time_constant_s = settings.colour_time_constant_s
        if stamp_ns < track.open_until_ns:
            time_constant_s = min(time_constant_s, OPEN_TIME_CONSTANT_S)
        elapsed_s = (stamp_ns - track.stamp_ns) * 1e-9
        share = 1.0 if time_constant_s == 0.0 else 1.0 - math.exp(-elapsed_s / time_constant_s)
        track.coefficients = track.coefficients + share * (measured - track.coefficients)
        track.stamp_ns = stamp_ns
        return track.coefficients

    def _bound(self, stamp_ns: int) -> None:
        """Forget faces that are gone; the oldest first where there are too many."""
        gone = [name for name, track in self._tracks.items() if abs(stamp_ns - track.stamp_ns) > FORGET_NS]
        for name in gone:
            del self._tracks[name]
        while len(self._tracks) > MAX_TRACKS:
            del self._tracks[min(self._tracks, key=lambda name: self._tracks[name].stamp_ns)]
