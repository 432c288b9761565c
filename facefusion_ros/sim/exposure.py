"""The simulated image sensor: how light becomes a number, how its automatic exposure follows, how it is noisy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPEED = 0.25
"""Share of the error in EV that is mended per frame. Real ones have about 0.2 (libcamera rpi AGC, default speed)."""
_DELAY_FRAMES = 1
"""Frames between measuring and exposing anew. With it the speed above is just free of overshoot."""
_OVEREXPOSURE_SEEN_EV = 1.5
"""A saturated picture does not tell how much too bright it is; a meter sees at most about this."""
_PASSES = 100


@dataclass(frozen=True, slots=True)
class Sensor:
    """Lens, sensitivity, noise, and the limits of automatic exposure."""

    f_number: float = 2.0
    iso: float = 400.0
    """Sensitivity at gain 1 (ISO 12232, saturation-based)."""
    min_exposure_s: float = 0.0001
    max_exposure_s: float = 0.016
    max_gain: float = 12.0
    compensation_ev: float = 0.0
    """0 shows the scene's picture as bright as it was photographed."""
    full_well_e: float = 9000.0
    """Electrons of a white pixel at gain 1."""
    read_noise_e: float = 3.0
    """Electrons, root mean square."""

    def __post_init__(self) -> None:
        if not (self.f_number > 0.0 and self.iso > 0.0 and self.full_well_e > 0.0 and self.read_noise_e >= 0.0):
            raise ValueError('f_number, iso and full_well_e must be above 0, read_noise_e at least 0')
        if not 0.0 < self.min_exposure_s <= self.max_exposure_s:
            raise ValueError('min_exposure_s must be above 0 and not above max_exposure_s')
        if self.max_gain < 1.0 or not -5.0 <= self.compensation_ev <= 5.0:
            raise ValueError('max_gain must be at least 1, compensation_ev between -5 and 5')

    def white(self, lux: float, exposure_s: float, gain: float) -> float:
        """Linear value (1 saturates) of a white, matt surface.

        ISO 12232: saturation at H = 78 / S lux s, H = 0.65 L t / N^2, and L = E / pi for a matt surface.
        """
        return lux * exposure_s * gain * self._white_per_lux_s

    @property
    def _white_per_lux_s(self) -> float:
        return 0.65 * self.iso / (78.0 * math.pi * self.f_number * self.f_number)

    def noise(self, lux: float, exposure_s: float) -> float:
        """Give the standard deviation of shot and read noise, in 8-bit steps of the sRGB-coded scene, before gain.

        It is that of an 18 % grey surface: sRGB coding, close to a square root, spreads shot noise nearly evenly.
        """
        white_e = self.full_well_e * self.white(lux, exposure_s, 1.0)
        noise_e = math.sqrt(0.18 * white_e + self.read_noise_e**2)
        slope = 1.055 / 2.4 * math.pow(0.18, 1.0 / 2.4 - 1.0)
        return 255.0 * slope * noise_e / white_e

    def follow(self, lux: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Automatic exposure over the frames of one period, whose light is ``lux`` (frames,), in steady state.

        Returns exposure in s and gain, both (frames,). Longer exposure comes first, gain where that is at its limit.
        """
        need_ev = (self.compensation_ev - np.log2(lux * self._white_per_lux_s)).tolist()
        low, high = math.log2(self.min_exposure_s), math.log2(self.max_exposure_s * self.max_gain)
        frames = len(need_ev)
        setting = [min(max(need, low), high) for need in need_ev]
        for _ in range(_PASSES):
            change = 0.0
            for n in range(frames):
                # Index -1 is the last frame of the period before.
                seen = (n - 1 - _DELAY_FRAMES) % frames
                error = max(need_ev[seen] - setting[seen], -_OVEREXPOSURE_SEEN_EV)
                new = min(max(setting[n - 1] + _SPEED * error, low), high)
                change = max(change, abs(new - setting[n]))
                setting[n] = new
            if change < 1e-9:
                break
        total = np.exp2(np.array(setting))
        exposure_s = np.minimum(total, self.max_exposure_s)
        return exposure_s, np.clip(total / exposure_s, 1.0, self.max_gain)


def srgb_encode(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """SRGB transfer function (IEC 61966-2-1) of linear values, clipped to 0..1."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055)


def srgb_decode(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of ``srgb_encode``."""
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
