"""The persona's rim: there it meets the skin, and takes on its colours.

In two steps, so that the persona's features stay its own. What differs at large, as cheeks and temples do, is followed
from the edge well into the face; what differs at small, as brows and wrinkles do, right at the edge alone, and as means
over a few pixels: a line that is engraved there stays one, and what is beside it is a little brighter instead. A face
that the camera shows as white is followed wherever it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.samples import FLOOR, LUMA, SAMPLES, reduced

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.blending.samples import Pair

    Floats = NDArray[np.float32]

MAX_LOG_RIM = np.log(2.5)
_WHITE, _BEYOND_WHITE = 253.0, np.float32(1.12)
_LEVEL, _SUM = LUMA[None], np.ones((1, 3))
_SKIN_LEVEL, _SKIN_TINT = 0.5, 0.16
"""Differences from the face's mean, logarithms of level and of tint, beyond which it is rather hair than skin."""
_PAINT = 1.6
"""As many times further from the persona's own mean is what is painted on it, such as brows and gold."""
_AT_LARGE = (0.22, 0.62)
"""From the edge inwards as far as it is followed wholly, and as far as at all; fractions of the way to the middle."""
_SEAM_PX, _AT_SMALL = 10.0, (0.15, 0.30)
"""What differs at small is followed wholly as far as people see a seam, and to twice as far at all; the least and the
most of the way to the middle that is."""
_BROAD, _WHOLLY = 3.0, (0.4, 0.8)
"""Standard deviation, in samples, of the surroundings of which so much must be white, or a place is but a glint."""
_LARGE = SAMPLES // 4
_LARGE_BLUR, _SMALL_BLUR = 1.0, 1.0
"""Standard deviations, in samples of the smaller and of the whole picture, of the means that are compared."""
_BRIDGE, _SURE = 3.0, 16.0
"""Standard deviation, in samples, of what counts as beside; paint is trusted by its likeness' square, so many times."""
_ROUNDS = 3
"""The means of what is uneven follow one by one: so often, and what is left is not seen."""
_LEAST = np.float32(0.5)
"""Added to means before their ratio is taken: where hardly any skin is seen there is nothing to follow."""
_OWN_CHROMA = 0.12
"""Difference of a tint along the rim, as a logarithm, beyond which it is the persona's own: jade meets skin as jade."""
_LIGHT = np.array([[0.0722, 0.7152, 0.2126]], np.float32)  # ITU-R BT.709, in BGR order


def follow_skin(
    pair: Pair, log_gains: Floats, contrast: NDArray[np.float64], pivot: NDArray[np.float64], mean: NDArray[np.float64]
) -> Floats:
    """Find what is left of the difference along the mask's rim: logarithms (SAMPLES, SAMPLES, 3), 0 in the middle.

    log_gains (SAMPLES, SAMPLES, 3) and contrast (3, 3) about pivot (3,) are what was found so far, mean (3,) is the
    face's. Where the face is hidden by something unlike it, what is beside bridges the gap (normalised convolution:
    Knutsson and Westin, CVPR 1993). Where the persona's tint is another altogether it stays: no light explains it.
    """
    depth: Floats = cv2.distanceTransform((pair.alpha >= 0.5).astype(np.uint8), cv2.DIST_L2, 3)  # type: ignore[assignment]
    deepest = max(float(depth.max()), 1.0)
    depth *= np.float32(1.0 / deepest)
    seam = min(max(_SEAM_PX / (deepest * pair.pitch_px), _AT_SMALL[0]), _AT_SMALL[1])
    at_large, at_small = _three(_fading(depth, *_AT_LARGE)), _three(_fading(depth, seam, 2.0 * seam))
    persona = pair.persona
    if contrast.any():
        stretch = np.column_stack((np.eye(3) + contrast, -contrast @ pivot))
        persona = np.clip(cv2.transform(persona, stretch), 0.0, 255.0)
    persona = _brightened(persona, log_gains)
    original = pair.original
    # What is white was brighter still: the persona shall be white there too, and not only nearly.
    white = cv2.inRange(original, (_WHITE,) * 3, (255.0,) * 3)
    if white.any():
        original = np.where(white[..., None] > 0, original * _BEYOND_WHITE, original)
        # However deep: there no light and no tint was seen that the persona could keep.
        broad = cv2.GaussianBlur(white.astype(np.float32) * np.float32(1.0 / 255.0), (0, 0), _BROAD)
        at_small = np.maximum(at_small, _three(1.0 - _fading(broad, *_WHOLLY)))
    like = _likeness(original, mean) * pair.used
    likeness = _three(like)
    own_mean = np.array(cv2.sumElems(persona * likeness)[:3]) / max(cv2.sumElems(like)[0], 1e-6)

    wanted, own = (
        cv2.GaussianBlur(reduced(picture, _LARGE), (0, 0), _LARGE_BLUR) + _LEAST
        for picture in (original * likeness, persona * likeness)
    )
    along = reduced(likeness * at_large, _LARGE)
    foreign = np.array(cv2.sumElems(cv2.log(wanted / own) * along)[:3]) / max(cv2.sumElems(along)[0], 1e-6)
    foreign -= foreign @ LUMA
    share = 1.0 / (1.0 + (float(np.abs(foreign).max()) / _OWN_CHROMA) ** 6)
    large = cv2.resize(_ratio(wanted, own, share), (SAMPLES, SAMPLES), interpolation=cv2.INTER_LINEAR) * at_large

    bare = _three(_likeness(persona, own_mean + FLOOR, _PAINT))
    likeness *= bare
    wanted = _mean(original * likeness)
    small = np.zeros_like(large)
    for _ in range(_ROUNDS):
        own = _mean(_brightened(persona, large + small) * likeness)
        small += _ratio(wanted, own, share) * at_small
    found: Floats = np.clip(large + _bridged(small, bare), -MAX_LOG_RIM, MAX_LOG_RIM)
    return found


def _bridged(found: Floats, bare: Floats) -> Floats:
    """Put what was found (n, n, 3) beside in the place of what was found on paint: where bare, 0 to 1, is low.

    A brow meets the skin as what it is, and not as bright as the skin.
    """
    trust = np.minimum(bare * bare * np.float32(_SURE), np.float32(1.0))
    trust += np.float32(1e-4)
    above, below = (cv2.GaussianBlur(picture, (0, 0), _BRIDGE) for picture in (found * trust, trust))
    beside: Floats = cv2.divide(above, below)
    bridged: Floats = beside + (found - beside) * trust
    return bridged


def _fading(depth: Floats, begin: float, end: float) -> Floats:
    """1 as deep as begin, 0 from end on."""
    inward = np.clip((depth - begin) * (1.0 / (end - begin)), 0.0, 1.0)
    share: Floats = 1.0 - inward * inward * (3.0 - 2.0 * inward)
    return share


def _likeness(original: Floats, mean: NDArray[np.float64], spread: float = 1.0) -> Floats:
    """(n, n): how much a picture (n, n, 3) looks like the skin whose mean, (3,), is given, 0 to 1.

    ``spread``: how many times further from the mean than skin of the usual unevenness it may be.
    """
    log_mean = np.log(mean)
    logarithms = cv2.log(original + np.float32(FLOOR))
    level = _LEVEL / (_SKIN_LEVEL * spread)
    tint = (np.eye(3) - _LEVEL) / (_SKIN_TINT * spread)
    away = cv2.transform(logarithms, np.column_stack((tint, -tint @ log_mean)))
    far: Floats = cv2.transform(away * away, _SUM)  # type: ignore[assignment]
    away = cv2.transform(logarithms, np.column_stack((level, -level @ log_mean)))
    far += away * away
    # Four times over: what is wide enough to leave nothing beside it must not be followed either.
    like: Floats = 1.0 / (1.0 + far)
    like *= like
    like *= like
    return like


def _brightened(colours: Floats, log_gains: Floats) -> Floats:
    return cv2.threshold(colours * cv2.exp(log_gains), 255.0, 0.0, cv2.THRESH_TRUNC)[1]  # type: ignore[return-value]


def _mean(colours: Floats) -> Floats:
    mean: Floats = cv2.GaussianBlur(colours, (5, 5), _SMALL_BLUR)  # type: ignore[assignment]
    mean += _LEAST
    return mean


def _ratio(wanted: Floats, own: Floats, share: float) -> Floats:
    """Logarithms (n, n, 3) of the gains that make own colours the wanted ones, of which a share of the tint is kept.

    Without the tint it is the lightness that is made the same; the square root of light is about a pixel's value.
    """
    ratio: Floats = cv2.log(wanted / own)  # type: ignore[assignment]
    if share > 0.99:
        return ratio
    light_wanted, light_own = (cv2.transform(colours * colours, _LIGHT) for colours in (wanted, own))
    lightness: Floats = cv2.log(cv2.divide(light_wanted, light_own))  # type: ignore[assignment]
    ratio *= np.float32(share)
    ratio += _three(np.float32(0.5 * (1.0 - share)) * lightness)
    return ratio


def _three(picture: Floats) -> Floats:
    """(n, n, 3), the picture three times over."""
    return cv2.merge((picture, picture, picture))  # type: ignore[return-value]
