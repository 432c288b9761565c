"""How much of the camera's own rotation a face shows, and how it moves besides.

The gyro feels how the camera turns in space. A face that stands in the same space moves through the picture by all of
it; one that rides in the same vehicle by nothing. Somebody who walks, or a camera that is shifted as it turns, adds a
motion of his own, which lasts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST = 1.5
"""Above 1 is the share of a camera in front of the axis it turns about, by which it is shifted as well."""
_START_SIGMA = 0.5
_DRIFT_PER_ROOT_S = 0.3
_LASTS_S = 0.7
_OWN_WIDTHS_S = 1.5
"""Standard deviation of a face's own speed: 0.25 m/s, in widths of a face (0.16 m) per second."""
_NOISE_WIDTHS = 0.003
"""Standard deviation of a face's place as it is measured."""
_LEAST_NOISE_PX = 0.2
_ODD = 4.0
"""Beyond so many standard deviations a measurement counts the less, the further."""
_LONGEST_S = 1.0
_DOUBT = 2.0
_LEAST_LIVELY = 0.02
_ADAPTED = 0.25
_EACH, _BOTH = np.arange(3), np.arange(2)


class Coupling:
    """Kalman filter (Kalman, J. Basic Eng. 82, 1960) of one face: share of the gyro's motion, and own velocity.

    The own velocity is one that is forgotten in 0.7 s (Ornstein and Uhlenbeck, Phys. Rev. 36, 1930), so that a motion
    which goes on with the camera's is put down to the share. How lively it is expected to be adapts to how well the
    filter predicts (Mehra, IEEE Trans. Automatic Control 17, 1972): a face that keeps still is given no speed made of
    noise.
    """

    def __init__(self, width_px: float, share: float = 1.0) -> None:
        own = _OWN_WIDTHS_S * width_px
        self._state = np.array([share, 0.0, 0.0])
        self._variance = np.diag([_START_SIGMA**2, own**2, own**2])
        self._lively = 1.0

    @property
    def share(self) -> float:
        """Of the camera's rotation, 0 (rides along) to 1 (stands in the world), up to 1.5."""
        share = float(self._state[0])
        usual = 1.0 if share > 0.5 else 0.0
        return usual + float(_beyond_doubt(np.array([share - usual]), float(self._variance[0, 0]))[0])

    def predict_px(self, turned_px: Floats, dt_s: float) -> Floats:
        """(2,) how far the face goes in the next dt_s, pixels, if the gyro says turned_px (2,)."""
        lasting = _LASTS_S * -math.expm1(-dt_s / _LASTS_S)
        own = _beyond_doubt(self._state[1:], float(self._variance[1, 1] + self._variance[2, 2]))
        went: Floats = self.share * turned_px + lasting * own
        return went

    def observe(self, went_px: Floats, turned_px: Floats, dt_s: float, width_px: float) -> None:
        """Take how far a face of that width went in dt_s, (2,) pixels, and how far the gyro says, (2,) pixels."""
        if not 0.0 < dt_s <= _LONGEST_S:
            return
        kept = math.exp(-dt_s / _LASTS_S)
        own = (self._lively * _OWN_WIDTHS_S * width_px) ** 2 * (1.0 - kept * kept)
        fade = np.array([1.0, kept, kept])
        state = self._state * fade
        variance = self._variance * (fade[:, None] * fade)
        variance[_EACH, _EACH] += (_DRIFT_PER_ROOT_S**2 * dt_s, own, own)
        design = np.array([[turned_px[0], dt_s, 0.0], [turned_px[1], 0.0, dt_s]])
        shared = design @ variance
        spread = shared @ design.T
        spread[_BOTH, _BOTH] += 2.0 * max(_NOISE_WIDTHS * width_px, _LEAST_NOISE_PX) ** 2
        rest = went_px - design @ state
        inverse = np.linalg.inv(spread)
        surprise = float(rest @ inverse @ rest)
        self._lively *= math.exp(_ADAPTED * min(max(0.5 * surprise - 1.0, -1.0), 4.0))
        self._lively = min(max(self._lively, _LEAST_LIVELY), 1.0)
        odd = surprise / _ODD**2
        if odd > 1.0:
            spread[_BOTH, _BOTH] *= odd
            inverse = np.linalg.inv(spread)
        gain = (inverse @ shared).T
        state += gain @ rest
        variance -= gain @ shared
        state[0] = min(max(float(state[0]), 0.0), MOST)
        self._state, self._variance = state, 0.5 * (variance + variance.T)


def _beyond_doubt(value: Floats, variance: float) -> Floats:
    """Draw a value (n,) to 0, not beyond, by what may be noise (James and Stein, Berkeley Symposium 1961)."""
    power = float(value @ value)
    drawn: Floats = value * max(0.0, 1.0 - _DOUBT**2 * variance / power) if power > 0.0 else value
    return drawn
