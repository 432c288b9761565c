"""Whether a light sensor can be believed: its readings against the camera's own picture.

A surface's value in the picture is kappa x illuminance x exposure time x gain (exposure equation, ISO 2720 and
ISO 12232), with one kappa as long as camera, face and the light's direction stay the same. A sensor that is dead,
covered or saturated changes kappa at once; a lamp or a tunnel does not.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facefusion_ros.blending.tracks import MAX_TRACKS

if TYPE_CHECKING:
    from collections.abc import Iterable

WRONG_EV = 1.0
HOLD_NS = 600_000_000
"""A disagreement that lasts is a fault: lamps and tunnels that sensor and camera see at different times are over."""
CLOCK_BACK_NS = 100_000_000
SILENT_NS = 700_000_000
SILENT_PERIODS = 4.0
NEAR_NS = 500_000_000
KEPT = 64
DARK_LUX = 0.05
"""Below this no camera shows a face; sensors that read it beside a good picture are dead or covered."""
_LEARNING_NS = 5_000_000_000
_RELEARN_NS = 10_000_000_000
_FOLLOWING_EV, _CHANGED_EV = 0.8, 1.5
"""A sensor whose readings keep to the picture's within the first while the light changes by the second works again."""
_MOST_SHOWN_EV = 20.0
"""A face brighter than the readings say by more, as by an exposure that no camera has, is given no illuminance."""


@dataclass(frozen=True, slots=True)
class Brightness:
    """How bright a face is in the picture."""

    track_id: int
    ev: float
    """Binary logarithm of its mean linear value, 1 saturating."""
    clear: float
    """Share of it that is neither clipped nor crushed."""


@dataclass(slots=True)
class _Kappa:
    ev: float
    stamp_ns: int
    seen: int = 1


class LightCheck:
    """Compares lux x exposure x gain with the faces' brightness; one thread at a time but for ``observe``."""

    def __init__(self) -> None:
        self._readings: deque[tuple[int, float]] = deque(maxlen=KEPT)
        self._period_ns = 0.0
        self._kappas: dict[int, _Kappa] = {}
        self._latest_ns = 0
        self._wrong_since_ns: int | None = None
        self._right_since_ns: int | None = None
        self._most_lux = 0.0
        self._window: tuple[int, float, float, float, float] | None = None
        self.fault = ''
        """What is wrong with the light sensor, one line for people; empty while it is believed or there is none."""

    def observe(self, stamp_ns: int, lux: float) -> None:
        """Take a reading; what is no number or below 0 is passed over."""
        if not math.isfinite(lux) or lux < 0.0:
            return
        readings = self._readings
        if readings and stamp_ns <= readings[-1][0]:
            if readings[-1][0] - stamp_ns < CLOCK_BACK_NS:
                return
            readings.clear()
        if readings:
            between_ns = float(stamp_ns - readings[-1][0])
            self._period_ns += (between_ns - self._period_ns) * (0.2 if self._period_ns else 1.0)
        readings.append((stamp_ns, lux))
        self._most_lux = max(self._most_lux, lux)

    def lux(self, stamp_ns: int) -> float:
        """Illuminance at about that time, of a sensor that is believed; NaN where there is none."""
        reading = self._near(stamp_ns)
        return math.nan if self.fault or reading is None else reading

    def judge(self, stamp_ns: int, exposure_ev: float, faces: Iterable[Brightness]) -> None:
        """Compare with a frame's faces; exposure_ev is the binary logarithm of exposure time (s) x gain, or NaN."""
        if stamp_ns < self._latest_ns - CLOCK_BACK_NS:
            self._restart()
        self._latest_ns = stamp_ns
        if not self._readings:
            return
        silent_ns = stamp_ns - self._readings[-1][0]
        if silent_ns > max(SILENT_NS, SILENT_PERIODS * self._period_ns):
            self.fault = f'the light sensor has said nothing for {silent_ns * 1e-9:.1f} s; the picture alone is used'
            self._wrong_since_ns = self._right_since_ns = None
            return
        lux = self._near(stamp_ns)
        if lux is None or not math.isfinite(exposure_ev):
            if self.fault and lux is not None:
                self.fault = ''
            return
        light_ev = math.log2(max(lux, DARK_LUX)) + exposure_ev
        votes = sorted(
            vote for vote in (self._vote(face, lux, light_ev, stamp_ns) for face in faces) if vote is not None
        )
        if votes:
            self._decide(stamp_ns, lux, votes[len(votes) // 2], light_ev - exposure_ev)

    def _vote(self, face: Brightness, lux: float, light_ev: float, stamp_ns: int) -> float | None:
        """EV by which a face is brighter than the readings say; None where it does not tell."""
        kappa = self._kappas.get(face.track_id)
        clear = face.clear >= 0.2
        if lux <= DARK_LUX and clear and face.ev > -5.0:
            return math.inf
        if kappa is None:
            if not clear or face.track_id == 0:
                return None
            known = [(each.stamp_ns, each.ev) for each in self._kappas.values()]
            # While the sensor is doubted a new face cannot tell its kappa; that of the one before serves.
            doubted = bool(self.fault) or self._wrong_since_ns is not None
            if doubted and not known:
                return None
            kappa = _Kappa(max(known)[1] if doubted else face.ev - light_ev, stamp_ns)
            self._kappas[face.track_id] = kappa
            while len(self._kappas) > MAX_TRACKS:
                del self._kappas[min(self._kappas, key=lambda name: self._kappas[name].stamp_ns)]
        vote = face.ev - light_ev - kappa.ev
        if not clear:
            # A clipped face is at least as bright as it looks, a crushed one at most.
            bright = face.ev > -2.5
            return vote if (vote > WRONG_EV) == bright and abs(vote) > WRONG_EV else None
        if abs(vote) < WRONG_EV and not self.fault:
            kappa.seen += 1
            passed = max(0, stamp_ns - kappa.stamp_ns) / _LEARNING_NS
            kappa.ev += min(1.0, max(passed, 1.0 / kappa.seen)) * vote
        kappa.stamp_ns = stamp_ns
        return vote

    def _decide(self, stamp_ns: int, lux: float, vote: float, lux_ev: float) -> None:
        if abs(vote) > WRONG_EV:
            self._right_since_ns = None
            self._wrong_since_ns = stamp_ns if self._wrong_since_ns is None else self._wrong_since_ns
            if stamp_ns - self._wrong_since_ns >= HOLD_NS:
                self.fault = self._reason(lux, vote)
        else:
            self._wrong_since_ns = None
            self._right_since_ns = stamp_ns if self._right_since_ns is None else self._right_since_ns
            if self.fault and stamp_ns - self._right_since_ns >= HOLD_NS:
                self.fault, self._window = '', None
        if self.fault and math.isfinite(vote):
            self._forgive(stamp_ns, vote, lux_ev)

    def _forgive(self, stamp_ns: int, vote: float, lux_ev: float) -> None:
        """Believe a sensor that follows the light again, though by another kappa: the light comes from elsewhere."""
        since, least, most, dark, bright = self._window or (stamp_ns, vote, vote, lux_ev, lux_ev)
        least, most, dark, bright = min(least, vote), max(most, vote), min(dark, lux_ev), max(bright, lux_ev)
        if most - least > _FOLLOWING_EV:
            self._window = None
            return
        self._window = since, least, most, dark, bright
        if stamp_ns - since >= _RELEARN_NS and bright - dark >= _CHANGED_EV:
            self._restart()

    def _restart(self) -> None:
        self._kappas.clear()
        self._wrong_since_ns = self._right_since_ns = self._window = None
        self.fault = ''

    def _reason(self, lux: float, vote: float) -> str:
        recent = {reading for _, reading in list(self._readings)[-4:]}
        frozen = len(recent) == 1 and len(self._readings) >= 4
        if lux <= DARK_LUX:
            what = 'dead or covered'
        elif vote > 0.0 and frozen and lux >= 0.999 * self._most_lux:
            what = 'saturated or frozen'
        elif vote > 0.0:
            what = 'frozen or covered' if frozen else 'covered or turned away'
        else:
            what = 'frozen or in a light that the face is not in'
        shown = f'about {lux * 2.0**vote:.3g} lx' if vote <= _MOST_SHOWN_EV else 'a well lit face'
        return f'the light sensor reads {lux:.3g} lx where the picture shows {shown}: {what}; not used'

    def _near(self, stamp_ns: int) -> float | None:
        readings = list(self._readings)
        if not readings:
            return None
        at_ns, lux = min(readings, key=lambda reading: abs(reading[0] - stamp_ns))
        return lux if abs(at_ns - stamp_ns) <= max(NEAR_NS, SILENT_PERIODS * self._period_ns) else None
