"""Automatic exposure: how long and with how much gain to take the next pictures.

Every frame is divided by the exposure and gain it was really taken with. What is left is the scene's brightness, which
does not depend on the settings; so however late those take effect, the loop has no delay that it could swing with. That
brightness is smoothed and the settings follow from it.

A light sensor says why brightness changes. Brightness is illuminance times a constant of the camera and of what it
looks at, which is learned from the frames; when the illuminance changes and the picture does not deny it, the settings
change with it at once, also where the picture is all white and could not tell how much too bright it is. A reading of
light is as old as the sensor's integration, so the frames that are newer than it are smoothed anew whenever the next
one comes.

Sources: libcamera, src/ipa/rpi/controller/rpi/agc_channel.cpp and lux.cpp (BSD-2-Clause), for the division by what the
frame was exposed with, the order of exposure and gain, whole flicker periods and usual speeds; ISO 2720 for brightness
in proportion to illuminance x exposure time x gain.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facefusion_ros.cameras.metering import Level

HOLD_EV = 0.03
"""Changes smaller than this are not worth one: nobody sees 2 %, and a light sensor's last digit is as much."""
GROSS_EV = 1.0
"""An error beyond this is mended at once; only what is left of it is mended smoothly."""
NEAR_EV = 0.26
"""A smaller error is mended at the square root of the speed, as in libcamera: nobody sees the haste."""
START_FRAMES = 10
"""So many frames are not smoothed at the start."""
STEP_EV = 0.5
"""A change between two readings of light from which on neither tells the light of the time between them."""
JUDGED_NS = 400_000_000
"""So long after a step of light the picture must show it: longer than a light sensor integrates."""
AMBIGUOUS_EV = 0.1
"""Where what was written changed by more, it is not certain which of it a frame was taken with."""
FLOOR_LUX = 0.5
"""Added to every reading, so that the last digit of a light sensor in the dark is no change."""
STALE_NS = 3_000_000_000
_LIGHTS, _FRAMES = 64, 32


@dataclass(frozen=True, slots=True)
class Setting:
    """How a picture is taken."""

    exposure_s: float
    gain: float
    """Linear factor, 1 is base gain."""

    @property
    def ev(self) -> float:
        """Exposure time times gain, as a power of two of 1 s."""
        return math.log2(self.exposure_s * self.gain)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a camera can do, or may."""

    min_exposure_s: float = 0.0001
    max_exposure_s: float = 0.02
    min_gain: float = 1.0
    max_gain: float = 8.0
    exposure_step_s: float = 0.0
    """Exposure times are whole multiples of it; 0 where they are not."""

    def within(self, other: Limits) -> Limits:
        """Return what both allow; where they have nothing in common, what of the other is nearest to this."""

        def both(low: float, high: float, other_low: float, other_high: float) -> tuple[float, float]:
            low = min(max(low, other_low), other_high)
            return low, max(min(high, other_high), low)

        exposure = both(self.min_exposure_s, self.max_exposure_s, other.min_exposure_s, other.max_exposure_s)
        gain = both(self.min_gain, self.max_gain, other.min_gain, other.max_gain)
        return Limits(*exposure, *gain, max(self.exposure_step_s, other.exposure_step_s))


@dataclass(frozen=True, slots=True)
class Delays:
    """After how many frames what is written takes effect: written while frame n is exposed, in frame n + delay.

    The defaults are the IMX219's (libcamera, cam_helper_imx219.cpp and imx219.c of its sensor database).
    """

    exposure_frames: int = 2
    gain_frames: int = 1


@dataclass(frozen=True, slots=True)
class ExposureSettings:
    """What a person may set."""

    target: float = 0.18
    """Linear brightness that is aimed at, as a part of white."""
    speed: float = 0.2
    """Part of an error that is mended with each frame, where no change of light explains it."""
    limits: Limits = field(default_factory=Limits)
    mains_hz: float = 0.0
    """Lamps flicker at twice this; exposure times are whole periods of that where they can. 0: no matter."""
    delays: Delays = field(default_factory=Delays)


def divide(ev: float, limits: Limits, mains_hz: float = 0.0) -> Setting:
    """Divide an exposure (log2 of s) into time and gain, within limits: time first, in whole periods of flicker.

    Light that is too bright for a whole period at the least gain flickers; a lamp is hardly ever so bright.
    """
    total_s = 2.0**ev
    exposure_s = min(max(total_s / limits.min_gain, limits.min_exposure_s), limits.max_exposure_s)
    step_s = limits.exposure_step_s
    periods = math.floor(exposure_s * 2.0 * mains_hz * (1.0 + 1e-9))
    if periods:
        exposure_s = periods / (2.0 * mains_hz)
    if step_s:
        steps = exposure_s / step_s
        exposure_s = (round(steps) if periods else math.floor(steps * (1.0 + 1e-9))) * step_s
        while exposure_s > limits.max_exposure_s * (1.0 + 1e-9):
            exposure_s -= step_s
    exposure_s = min(max(exposure_s, limits.min_exposure_s), limits.max_exposure_s)
    return Setting(exposure_s, min(max(total_s / exposure_s, limits.min_gain), limits.max_gain))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a frame says of the scene's brightness, log2 of linear brightness per second of exposure at gain 1."""

    stamp_ns: int
    scene_ev: float
    at_least: bool
    at_most: bool

    def off(self, ev: float) -> float:
        """Return how far a brightness is from what was seen, EV; 0 for one that white, or black, may be."""
        if (self.at_least and ev >= self.scene_ev) or (self.at_most and ev <= self.scene_ev):
            return 0.0
        return abs(ev - self.scene_ev)


class AutoExposure:
    """Chooses exposure time and gain, frame by frame."""

    def __init__(self, settings: ExposureSettings | None = None) -> None:
        self.settings = settings or ExposureSettings()
        self.contradictions = 0
        """Changes of light that the picture did not show: the light sensor was covered, or is in other light."""
        self._light: deque[tuple[int, float]] = deque(maxlen=_LIGHTS)
        self._pending: deque[_Seen] = deque()
        self._start = START_FRAMES
        self._base_ev: float | None = None
        """Brightness by the frames that the light sensor has caught up with, less log2 lux where there is light."""
        self._lit = False
        self._doubt: tuple[int, float] | None = None
        """A reading that tells a step; believed as soon as a frame shows it too."""
        self._doubted_ns = 0
        """When the first of such readings was."""
        self._wanted: Setting | None = None
        self._wanted_ev = 0.0
        self._written: deque[tuple[int, Setting]] = deque(maxlen=_FRAMES)
        """Setting and the first frame that has it."""

    @property
    def log2_kappa(self) -> float | None:
        """Log2 of linear brightness per lux, second of exposure and gain; None before light and frames agree on it."""
        return self._base_ev if self._lit else None

    @property
    def wanted(self) -> Setting | None:
        """What is aimed at; None before the first frame."""
        return self._wanted

    @property
    def reaches(self) -> bool:
        """Whether the limits allow what the scene needs."""
        limits = self.settings.limits
        lowest = math.log2(limits.min_exposure_s * limits.min_gain)
        highest = math.log2(limits.max_exposure_s * limits.max_gain)
        return lowest - HOLD_EV <= self._wanted_ev <= highest + HOLD_EV

    def observe_light(self, stamp_ns: int, lux: float) -> None:
        """Take a reading of the light sensor; what is no number is passed over."""
        if not (math.isfinite(lux) and lux >= 0.0):
            return
        light_ev = math.log2(lux + FLOOR_LUX)
        if self._light and stamp_ns <= self._light[-1][0]:  # the clock was set back
            self._go_dark()
            self._light.clear()
        if self._lit and abs(light_ev - self._light[-1][1]) > STEP_EV:
            self._doubt = (stamp_ns, light_ev)
            self._doubted_ns = self._doubted_ns or stamp_ns
            self._judge()
        else:
            self._accept((stamp_ns, light_ev))

    def observe_frame(self, stamp_ns: int, sequence: int, level: Level, taken: Setting | None = None) -> Setting:
        """Take what a frame shows; returns what to write to the camera now.

        Exposure and gain that are to meet in one frame are returned at different times where their delays differ.

        :param sequence: number of the frame, with gaps where frames were passed over.
        :param taken: what the frame was taken with; None to go by what was returned before and the delays.
        """
        if self._written and sequence < self._written[-1][0] - _FRAMES:  # the camera counts anew
            self._written.clear()
        taken = taken or self._presumed(sequence)
        if taken is not None:
            seen = _Seen(stamp_ns, math.log2(level.brightness) - taken.ev, level.white, level.black)
            self._want(math.log2(self.settings.target) - self._brightness(seen))
            self._start = max(self._start - 1, 0)
        elif self._wanted is None:  # of a camera that does not say how it takes pictures, begin in the middle
            limits = self.settings.limits
            middle = math.log2(limits.min_exposure_s * limits.min_gain * limits.max_exposure_s * limits.max_gain) / 2.0
            self._want(middle)
        return self._write(sequence, taken)

    def _brightness(self, seen: _Seen) -> float:
        """Return the scene's brightness now, log2, given one more frame."""
        lit = bool(self._light) and abs(seen.stamp_ns - self._light[-1][0]) < STALE_NS
        if self._pending and seen.stamp_ns < self._pending[-1].stamp_ns:
            self._pending.clear()
        if not lit:
            self._go_dark()
            self._base_ev = self._towards(self._base_ev, seen)
            return self._base_ev
        if self._base_ev is None or not self._lit:
            self._base_ev = (seen.scene_ev if self._base_ev is None else self._base_ev) - self._light[-1][1]
            self._lit = True
        self._pending.append(seen)
        self._judge()
        self._catch_up()
        ev = self._base_ev + self._light[-1][1]
        for frame in self._pending:
            ev = self._towards(ev, frame)
        return ev

    def _go_dark(self) -> None:
        """Go on without the light sensor, from the brightness that it last stood for."""
        if self._lit and self._base_ev is not None:
            self._base_ev += self._light[-1][1]
            for frame in self._pending:
                self._base_ev = self._towards(self._base_ev, frame)
        self._lit = False
        self._pending.clear()
        self._doubt, self._doubted_ns = None, 0

    def _accept(self, reading: tuple[int, float]) -> None:
        self._light.append(reading)
        self._doubt, self._doubted_ns = None, 0
        self._catch_up()

    def _judge(self) -> None:
        """Believe a step of light once the newest frame does not deny it; in the end, take it to be elsewhere."""
        if self._doubt is None or self._base_ev is None:
            return
        stamp_ns, light_ev = self._doubt
        if not self._pending or self._pending[-1].stamp_ns < stamp_ns:
            return
        before_ev, frame = self._light[-1][1], self._pending[-1]
        if frame.off(self._base_ev + light_ev) <= frame.off(self._base_ev + before_ev):
            self._accept(self._doubt)
        elif frame.stamp_ns - self._doubted_ns > JUDGED_NS:
            self.contradictions += 1
            self._base_ev += before_ev - light_ev
            self._accept(self._doubt)

    def _catch_up(self) -> None:
        """Learn from the frames whose light is known by now."""
        while self._pending and (self._pending[0].stamp_ns <= self._light[-1][0] or len(self._pending) > _FRAMES):
            frame = self._pending.popleft()
            light_ev = self._light_at(frame.stamp_ns)
            if light_ev is not None and self._base_ev is not None:
                self._base_ev = self._towards(self._base_ev + light_ev, frame) - light_ev

    def _light_at(self, stamp_ns: int) -> float | None:
        """Return log2 lux between two readings; None where they differ by a step, which may be anywhere in between."""
        after_ns, after_ev = self._light[-1]
        for before_ns, before_ev in reversed(self._light):
            if before_ns <= stamp_ns:
                if abs(after_ev - before_ev) > STEP_EV:
                    return None
                part = (stamp_ns - before_ns) / max(after_ns - before_ns, 1)
                return before_ev + min(part, 1.0) * (after_ev - before_ev)
            after_ns, after_ev = before_ns, before_ev
        return after_ev

    def _towards(self, ev: float | None, seen: _Seen) -> float:
        """Return the brightness after one more frame."""
        if ev is None:
            return seen.scene_ev
        error_ev = seen.scene_ev - ev
        if seen.at_least or seen.at_most:  # what white or black excludes is certain; beyond it they say nothing
            return ev + (max(error_ev, 0.0) if seen.at_least else min(error_ev, 0.0))
        speed = 1.0 if self._start else self.settings.speed
        if abs(error_ev) < NEAR_EV:
            speed = math.sqrt(speed)
        part_ev = max(speed * abs(error_ev), abs(error_ev) - GROSS_EV)
        return ev + math.copysign(part_ev, error_ev)

    def _want(self, ev: float) -> None:
        settings = self.settings
        if self._wanted is None or abs(ev - self._wanted_ev) >= HOLD_EV:
            self._wanted_ev = ev
        self._wanted = divide(self._wanted_ev, settings.limits, settings.mains_hz)

    def _in_force(self, sequence: int) -> Setting | None:
        """Return what is to be in force at a frame, by what was written and the delays; None for one before that."""
        return next((setting for first, setting in reversed(self._written) if first <= sequence), None)

    def _presumed(self, sequence: int) -> Setting | None:
        """Return what a frame must have been taken with, also where the delays are one frame more or less."""
        near = [self._in_force(each) for each in (sequence - 1, sequence, sequence + 1)]
        certain = [each for each in near if each is not None]
        if (
            len(certain) < len(near)
            or max(each.ev for each in certain) - min(each.ev for each in certain) > AMBIGUOUS_EV
        ):
            return None
        return certain[1]

    def _write(self, sequence: int, taken: Setting | None) -> Setting:
        assert self._wanted is not None  # noqa: S101 - for the type checker
        delays = self.settings.delays
        # The next frame is being exposed already.
        exposure_from, gain_from = sequence + 1 + delays.exposure_frames, sequence + 1 + delays.gain_frames
        first = max(exposure_from, gain_from)
        while self._written and self._written[-1][0] >= first:
            self._written.pop()
        self._written.append((first, self._wanted))
        ahead = self._in_force(exposure_from) or taken or self._wanted
        behind = self._in_force(gain_from) or taken or self._wanted
        return replace(ahead, gain=behind.gain)
