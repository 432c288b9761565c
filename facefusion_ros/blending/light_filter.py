"""The light on each face over time: what was measured, smoothed; and where the picture does not tell, what must be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.blending.colour import CONTRAST, GAMMA, MAX_LOG_GAIN
from facefusion_ros.blending.samples import LUMA
from facefusion_ros.blending.tracks import MAX_TRACKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.blending.colour import Measured

FORGET_NS = 2_000_000_000
OPEN_NS = 1_000_000_000
LONGEST_OPEN_NS = 4_000_000_000
OPEN_TIME_CONSTANT_S = 0.02
PICTURE_JUMP = math.log(1.06)
"""Change of a face's brightness that is no noise: the mean over a face is steady to a few thousandths."""
_LEVEL_NOISE, _FIELD_NOISE = 0.012, 0.06
"""Changes of the mean, and of single nodes, that are followed half; lesser ones are smoothed, larger ones are not."""
_SETTLED_EV, _SETTLED_FRAMES = 0.03, 5
"""A camera's exposure has settled when it changed by less than 2 % for five frames (libcamera's raspberrypi AGC calls
that locked)."""
_CLEAR, _BLIND = 0.15, 0.05
"""Share of a face's pixels that say how bright it is: above, they are believed; below, they are not."""
_MIDDLE = math.log(64.0)
_LEARNING = 0.05
"""Share by which the relation of the light to the face's level is corrected per frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """What is known of the light and of the camera at the time of a frame."""

    step_ns: int | None = None
    """When a sensor last saw the light change in a step."""
    exposure_ev: float = math.nan
    """Binary logarithm of exposure time (s) x gain; NaN where unknown."""
    lux_ev: float = math.nan
    """Binary logarithm of the illuminance (lx), of a sensor that is believed; NaN where unknown."""
    tint: NDArray[np.float64] | None = None
    """(3,) logarithms of blue, green and red of a white surface, in pixel values; None where unknown."""


NOTHING_KNOWN = Light()


@dataclass(slots=True)
class _Track:
    coefficients: NDArray[np.float32]
    stamp_ns: int
    opened_ns: int = 0
    open_until_ns: int = 0
    exposure_ev: float = math.nan
    quiet_frames: int = 0
    level_of_light: float = math.nan
    """Logarithm of the face's level less that of the light by lux, exposure and gain."""
    level_beyond_gain: float = 0.0
    """Mean of the coefficients less the logarithm of the face's level over the persona's, when last seen clearly."""
    tint: NDArray[np.float64] | None = None
    """The light's tint when the face's was last seen clearly."""


class LightFilter:
    """Smooths the coefficients of each face over time, opens where the light changes, and bridges what is not seen."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}

    def __len__(self) -> int:
        return len(self._tracks)

    def follow(
        self,
        track_id: int,
        stamp_ns: int,
        measured: Measured | None,
        light: Light,
        time_constant_s: float,
    ) -> NDArray[np.float32] | None:
        """Coefficients to use at the stamp, as those of ``Measured``; None where nothing is known of the face.

        Faces without a track id (0) are not smoothed. Where nothing could be measured the last known hold. A face that
        is all but wholly clipped or crushed is as bright as its light says, which lux x exposure x gain told so far.
        """
        track = self._tracks.get(track_id)
        if track is not None and not 0 <= stamp_ns - track.stamp_ns <= FORGET_NS:
            del self._tracks[track_id]
            track = None
        if measured is None:
            return None if track is None else track.coefficients
        if track is None:
            if track_id == 0:
                return measured.coefficients
            track = self._tracks[track_id] = _Track(measured.coefficients, stamp_ns, stamp_ns, stamp_ns)
            self._bound(stamp_ns)
        wanted = self._wanted(track, measured, light)
        innovation = wanted - track.coefficients
        change = _level(innovation)
        self._open(track, stamp_ns, abs(change), light)
        share = _share(
            innovation,
            change,
            (stamp_ns - track.stamp_ns) * 1e-9,
            time_constant_s,
            is_open=stamp_ns < track.open_until_ns,
        )
        track.coefficients = track.coefficients + np.float32(share) * innovation
        track.stamp_ns = stamp_ns
        return track.coefficients

    def _wanted(self, track: _Track, measured: Measured, light: Light) -> NDArray[np.float32]:
        """Correct what was measured by what the sensors say, the more the less of the face is clear; learn from it."""
        believed = min(max((measured.clear - _BLIND) / (_CLEAR - _BLIND), 0.0), 1.0)
        level_of_light = (light.lux_ev + light.exposure_ev) * math.log(2.0) / GAMMA
        if believed == 1.0:
            offset = measured.face_level - level_of_light
            if not math.isfinite(track.level_of_light):
                track.level_of_light = offset
            elif math.isfinite(offset) and track.stamp_ns >= track.open_until_ns:
                track.level_of_light += _LEARNING * (offset - track.level_of_light)
            track.tint = light.tint
            track.level_beyond_gain = _level(measured.coefficients) - (measured.face_level - measured.persona_level)
            return measured.coefficients
        predicted_level = track.level_of_light + level_of_light
        # The sensor may be late: what is clipped is at least as bright as it looks, what is crushed at most.
        bright = measured.face_level > _MIDDLE
        if not math.isfinite(predicted_level) or bright != (predicted_level > measured.face_level):
            return measured.coefficients
        # What the face's shading and tint were is kept; the brightness is the light's.
        held = track.coefficients.copy()
        gains = held[:CONTRAST].reshape(-1, 3)
        gain = min(max(predicted_level - measured.persona_level, -MAX_LOG_GAIN), MAX_LOG_GAIN)
        gains += np.float32(gain + track.level_beyond_gain - _level(held))
        if light.tint is not None and track.tint is not None:
            gains += (light.tint - track.tint).astype(np.float32)
            track.tint = light.tint
        wanted: NDArray[np.float32] = held + np.float32(believed) * (measured.coefficients - held)
        bound = np.maximum if bright else np.minimum
        bound(wanted[:CONTRAST], measured.coefficients[:CONTRAST], out=wanted[:CONTRAST])
        return wanted

    @staticmethod
    def _open(track: _Track, stamp_ns: int, jump: float, light: Light) -> None:
        """Keep the filter open from a step of the light until the camera's exposure has settled."""
        change_ev = abs(light.exposure_ev - track.exposure_ev)
        known = math.isfinite(change_ev)
        track.quiet_frames = track.quiet_frames + 1 if known and change_ev < _SETTLED_EV else 0
        track.exposure_ev = light.exposure_ev
        told = light.step_ns is not None and 0 <= stamp_ns - light.step_ns <= OPEN_NS
        if jump > PICTURE_JUMP or told:
            if stamp_ns >= track.open_until_ns:
                track.opened_ns = stamp_ns
            begun_ns = stamp_ns if jump > PICTURE_JUMP or light.step_ns is None else light.step_ns
            track.open_until_ns = max(track.open_until_ns, begun_ns + OPEN_NS)
        settling = known and track.quiet_frames < _SETTLED_FRAMES
        if settling and stamp_ns < track.open_until_ns and stamp_ns - track.opened_ns < LONGEST_OPEN_NS:
            track.open_until_ns = max(track.open_until_ns, stamp_ns + OPEN_NS // 10)

    def _bound(self, stamp_ns: int) -> None:
        """Forget faces that are gone; the oldest first where there are too many."""
        gone = [name for name, track in self._tracks.items() if abs(stamp_ns - track.stamp_ns) > FORGET_NS]
        for name in gone:
            del self._tracks[name]
        while len(self._tracks) > MAX_TRACKS:
            del self._tracks[min(self._tracks, key=lambda name: self._tracks[name].stamp_ns)]


def _level(coefficients: NDArray[np.float32]) -> float:
    """Mean logarithm of the gains, as luma."""
    return float(np.array(cv2.mean(coefficients[:CONTRAST].reshape(-1, 1, 3))[:3]) @ LUMA)


def _share(
    innovation: NDArray[np.float32], change: float, elapsed_s: float, time_constant_s: float, *, is_open: bool
) -> float:
    """Part of an innovation to follow: that of the time constant, and more where it is no noise."""
    if is_open:
        time_constant_s = min(time_constant_s, OPEN_TIME_CONSTANT_S)
    share = 1.0 if time_constant_s == 0.0 else 1.0 - math.exp(-elapsed_s / time_constant_s)
    gains = innovation[:CONTRAST]
    beyond = (change / _LEVEL_NOISE) ** 2 + float(gains @ gains) / len(gains) / _FIELD_NOISE**2
    return max(share, beyond / (1.0 + beyond))
