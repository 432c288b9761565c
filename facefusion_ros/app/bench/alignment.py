"""How well a persona stays on a face while the camera moves, against the truth of a simulated world.

Everything is computed in the world's own time; only the milliseconds depend on the machine.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facefusion_ros.blending.alignment import Alignment, AlignmentSettings
from facefusion_ros.faces.alignment import apply
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.finder import FaceFinder
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.sim.scene import MovingFace
from facefusion_ros.sim.trajectory import Motion
from facefusion_ros.sim.world import load_world

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from facefusion_ros.sim.gyro import Imu
    from facefusion_ros.sim.world import Truth, World

    Floats = NDArray[np.float64]

LATENCY_MS = 66.0
CALIBRATION_S = 10.0
"""How long the alignment learns before it is measured, and what the time offset is judged after."""
EPOCH_NS = 1_700_000_000_000_000_000
_READ_BEFORE_S = 0.2
_SETTLED_S = 1.0
_FAST_S = 0.5
_HARM_PX = 0.1
"""A frame is harmed where the patch is farther off by more than this than if it had been left where it was."""
_RIDING = ('none', 'gyro', 'gyro_flow', 'live')
_NOWHERE = np.full((5, 2), np.nan)


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to keep a patch in place."""

    settings: AlignmentSettings | None
    """None leaves it where it was measured."""
    at_once: bool = False
    """Whether a frame is shown as soon as it is there: then no reading of the gyro is known that was taken after the
    exposure of its last row. Else it is shown when the latency has passed."""


def modes(world: World) -> dict[str, Mode]:
    """Return the ways that are compared; they are told what one is told of the world's camera and IMU.

    ``gyro`` believes the gyro as it is mounted. ``flow`` is for comparison what pictures alone can do.
    """
    mounting = tuple(tuple(float(value) for value in row) for row in world.imu.optical_from_imu_told)
    told = AlignmentSettings(r_optical_imu=mounting, readout_s=world.camera.readout_s)  # type: ignore[arg-type] # 3 x 3
    return {
        'none': Mode(None),
        'gyro': Mode(replace(told, flow=False, gate=False, calibrate=False)),
        'flow': Mode(replace(told, gyro=False)),
        'gyro_flow': Mode(told),
        'live': Mode(told, at_once=True),
    }


def alignment(
    world: str = 'turning', latency_ms: float = LATENCY_MS, seconds: float = 10.0, calibration_s: float = CALIBRATION_S
) -> dict[str, Any]:
    """Measure all modes on the world, its variant with a face that rides along, and its variant in which nothing moves.

    :param world: a name, or a file.
    :param latency_ms: from the frame in which a face was measured to that on which the patch is shown; rounded to
        whole frames.
    :param seconds: measured, after calibration_s in which the alignment learns from nothing.

    What cannot be measured is None; ``reasons`` says why.
    """
    cv2.setNumThreads(1)
    given = load_world(world)
    rate_hz = float(given.camera.rate)
    delay = max(1, round(latency_ms * 1e-3 * rate_hz))
    learning, measured = (max(1, round(span_s * rate_hz)) for span_s in (calibration_s, seconds))
    bench = Comparison(given, tuple(modes(given)), delay)
    beginning = bench.run(0, learning)
    learned = _learned(bench.lanes['gyro_flow'].alignment, given.imu)
    figures = bench.run(learning, measured)
    series = bench.series()
    reasons: dict[str, str] = {}
    if not figures['none']['frames']:
        reasons['px_mean'] = 'no frames in which all landmarks are in the picture, then and now'
    if learned['time_offset_error_ms'] is None:
        reasons['time_offset_error_ms'] = 'nothing was learned of it, which is right where nothing moves'
    still = _still(given, delay, measured)
    lag_ms = _lag_ms(given, measured)
    if lag_ms is None:
        reasons['lag_ms'] = 'the detector finds no face, or it does not move'
    if still['still_jitter_px'] is None:
        reasons['still_jitter_px'] = 'the detector finds no face while nothing moves'
    riding: dict[str, Any] | None = None
    try:
        variant = riding_variant(given)
    except ValueError as error:
        reasons['comoving_px_p95'] = f'no face can ride along: {error}'
    else:
        if variant == given:
            riding = {name: figures[name] for name in _RIDING}
        else:
            bench = Comparison(variant, _RIDING, delay)
            bench.run(0, learning)
            riding = bench.run(learning, measured)
    return {
        'world': str(world),
        'latency_ms': 1e3 * delay / rate_hz,
        'focal_px': given.camera.intrinsics.fx,
        'peak_deg_s': _peak_deg_s(given),
        'calibration_s': learning / rate_hz,
        'seconds': measured / rate_hz,
        **{name: {**of, 'while_learning_px_p95': beginning[name]['px_p95']} for name, of in figures.items()},
        **still,
        'lag_ms': lag_ms,
        'comoving_px_p95': riding['gyro_flow']['px_p95'] if riding else None,
        'comoving': riding,
        **learned,
        'reasons': reasons,
        'series': series,
    }


def table(figures: dict[str, Any]) -> str:
    """Give the most important figures as a person reads them."""
    lines = [f'{"":12}{"px mean":>9}{"px p95":>9}{"riding p95":>12}{"harmed":>9}{"ms":>7}']
    for name in (*_RIDING, 'flow'):
        row, riding = figures[name], (figures['comoving'] or {}).get(name, {})
        lines.append(
            f'{name:12}{_text(row["px_mean"]):>9}{_text(row["px_p95"]):>9}{_text(riding.get("px_p95")):>12}'
            f'{_text(row["harmed"]):>9}{_text(row["ms_mean"]):>7}'
        )
    for name, unit in (('still_jitter_px', 'px RMS'), ('lag_ms', 'ms'), ('time_offset_error_ms', 'ms')):
        lines.append(f'{name}: {_text(figures[name])} {unit}')
    lines += [f'{name}: {why}' for name, why in figures['reasons'].items()]
    return '\n'.join(lines)


@dataclass
class Lane:
    """A mode at work."""

    mode: Mode
    world: World
    delay: int
    """Frames from measuring a face to showing its patch."""
    alignment: Alignment
    read_to: int
    """Number of the next reading of the gyro."""
    indices: list[int] = field(default_factory=list)
    """Numbers of the frames that count: those with all landmarks in the picture, when measured and when shown."""
    errors: list[float] = field(default_factory=list)
    """Pixels, mean over the landmarks, of each of these."""
    raw: list[float] = field(default_factory=list)
    """The same where the landmarks are left as they were measured."""
    costs_ms: list[float] = field(default_factory=list)
    """Processor time of each frame."""
    unmoved: int = 0
    """Frames on which nothing was known of the motion."""

    @classmethod
    def begin(cls, mode: Mode, world: World, delay: int) -> Lane:
        """Start before the first frame, with nothing learned."""
        alignment = Alignment(mode.settings or AlignmentSettings(gyro=False, flow=False), world.camera.intrinsics)
        return cls(mode, world, delay, alignment, -math.ceil(_READ_BEFORE_S * world.imu.rate_hz))

    def observe(self, pixels: NDArray[np.uint8], index: int, faces: Sequence[Face]) -> None:
        """Give the gyro's readings up to when the frame is shown, and the frame."""
        world = self.world
        rate_hz = float(world.camera.rate)
        waits_s = self.delay / rate_hz
        if self.mode.at_once:
            waits_s = 0.5 * (world.truth(index).exposure_s + abs(world.camera.readout_s))
        end = max(self.read_to, math.floor((index / rate_hz + waits_s) * world.imu.rate_hz) + 1)
        for stamp_ns, rate in zip(*world.gyro.read(self.read_to, end), strict=True):
            self.alignment.observe_rotation(EPOCH_NS + int(stamp_ns), rate)
        self.read_to = end
        self.alignment.observe_frame(pixels, world.frame_stamp_ns(index, EPOCH_NS), faces)

    def show(self, pixels: NDArray[np.uint8], index: int, stamp_ns: int, known: Face | None) -> NDArray[Any]:
        """Show a frame to the mode, which knows a face; return the (5, 2) landmarks it has for this frame."""
        if self.mode.settings is None:
            return _NOWHERE if known is None else known.landmarks
        spent_s = time.thread_time()
        self.observe(pixels, index, () if known is None else (known,))
        kept: NDArray[Any] = _NOWHERE
        if known is not None:
            moved = self.alignment.motion(known, stamp_ns)
            self.unmoved += moved is None
            kept = known.landmarks if moved is None else apply(moved, known.landmarks)
        self.costs_ms.append(1e3 * (time.thread_time() - spent_s))
        return kept

    def figures(self) -> dict[str, Any]:
        """Summarise."""
        harmed = np.array(self.errors) > np.array(self.raw) + _HARM_PX
        return {
            'px_mean': float(np.mean(self.errors)) if self.errors else None,
            'px_p95': float(np.quantile(self.errors, 0.95)) if self.errors else None,
            'px_max': max(self.errors, default=None),
            'as_measured_px_p95': float(np.quantile(self.raw, 0.95)) if self.raw else None,
            'harmed': float(harmed.mean()) if self.errors else None,
            'frames': len(self.errors),
            'unmoved': self.unmoved,
            'ms_mean': float(np.mean(self.costs_ms)) if self.costs_ms else None,
            'ms_p95': float(np.quantile(self.costs_ms, 0.95)) if self.costs_ms else None,
        }


class Comparison:
    """A world whose every frame is shown to several modes, each on its lane.

    :param names: of ``modes``.
    :param delay: frames from measuring a face to showing its patch.
    """

    def __init__(self, world: World, names: Collection[str], delay: int) -> None:
        self._world = world
        self._delay = delay
        self.lanes = {name: Lane.begin(mode, world, delay) for name, mode in modes(world).items() if name in names}
        self._faces: dict[int, Face] = {}

    def run(self, first: int, count: int) -> dict[str, Any]:
        """Show frames; return the figures of all modes over these."""
        for lane in self.lanes.values():
            lane.indices, lane.errors, lane.raw, lane.costs_ms, lane.unmoved = [], [], [], [], 0
        for index, pixels, truth in _frames(self._world, first, count):
            now = _face(truth, self._world.frame_stamp_ns(index, EPOCH_NS))
            self._faces[index] = now
            known = self._faces.pop(index - self._delay, None)
            for lane in self.lanes.values():
                kept = lane.show(pixels, index, now.measured_ns, known)
                if known is None or not (self._sees(now) and self._sees(known)):
                    continue
                lane.indices.append(index)
                lane.errors.append(_apart(kept, now))
                lane.raw.append(_apart(known.landmarks, now))
        return {name: lane.figures() for name, lane in self.lanes.items()}

    def series(self) -> dict[str, dict[str, list[float]]]:
        """Return the errors of each mode over the frames of the last run: seconds of the world, and pixels."""
        rate_hz = float(self._world.camera.rate)
        return {
            name: {
                'time_s': [round(index / rate_hz, 4) for index in lane.indices],
                'px': [round(error, 4) for error in lane.errors],
            }
            for name, lane in self.lanes.items()
        }

    def _sees(self, face: Face) -> bool:
        camera = self._world.camera
        return bool(((face.landmarks >= 0.0) & (face.landmarks <= (camera.width - 1, camera.height - 1))).all())


def _learned(alignment: Alignment, imu: Imu) -> dict[str, Any]:
    """Say how far from the truth the alignment is in what it has learned."""
    estimate = alignment.estimate
    turned = estimate.r_optical_imu.T @ imu.optical_from_imu
    known = math.isfinite(estimate.time_offset_sigma_s)
    return {
        'time_offset_error_ms': abs(1e3 * estimate.time_offset_s - imu.delay_ms) if known else None,
        'time_offset_sigma_ms': _finite(1e3 * estimate.time_offset_sigma_s),
        'rotation_error_deg': math.degrees(math.acos(min(1.0, 0.5 * (float(np.trace(turned)) - 1.0)))),
        'rotation_sigma_deg': _finite(math.degrees(estimate.rotation_sigma_rad)),
        'bias_error_deg_s': math.degrees(float(np.abs(estimate.gyro_bias - np.radians(imu.bias_dps)).max())),
        'bias_sigma_deg_s': _finite(math.degrees(estimate.gyro_bias_sigma_rad_s)),
        'background_coupling': estimate.background_coupling,
        'couplings': {str(track): float(value) for track, value in estimate.couplings.items()},
    }


def still_variant(world: World) -> World:
    """Make the same world in which neither camera nor face moves."""
    face = None if world.face is None else replace(world.face, motion=Motion())
    return replace(world, motion=Motion(), face=face)


def riding_variant(world: World) -> World:
    """Make the same world with the face carried along by what carries the camera; raises ValueError where it cannot."""
    if world.face is not None:
        return replace(world, face=replace(world.face, rides=True))
    if world.scene.rides:
        return world
    # The wall steps back, or the head would stick in it.
    distance_m = world.scene.distance_m
    scene = replace(world.scene, distance_m=4.0 * distance_m)
    return replace(world, scene=scene, face=MovingFace(distance_m, rides=True))


def _still(given: World, delay: int, count: int) -> dict[str, Any]:
    """Find the face of a still world as the detector node does, and move it to the newest frame: how much it shakes."""
    world = still_variant(given)
    rate_hz = float(world.camera.rate)
    lane = Lane.begin(modes(world)['live'], world, delay)
    known: dict[int, Face] = {}
    found, moved = [], []
    for index, pixels, face, truth in _found(world, count):
        older = known.pop(index - delay, None)
        place = lane.show(pixels, index, truth.measured_ns, older)
        if face is not None:
            known[index] = face
        if index >= round(_SETTLED_S * rate_hz) and face is not None and older is not None:
            found.append(face.landmarks.astype(np.float64))
            moved.append(place.astype(np.float64))
    return {
        'still_jitter_px': _jitter(found),
        'still_jitter_live_px': _jitter(moved),
        'still_jitter_fast_px': _jitter(found, round(_FAST_S * rate_hz)),
    }


def _lag_ms(world: World, count: int) -> float | None:
    """How late the landmarks are that the detector node finds while camera and face move, by the truth's speed."""
    times_s, found, true = [], [], []
    for index, _, face, truth in _found(world, count):
        if face is not None and index >= round(_SETTLED_S * float(world.camera.rate)):
            times_s.append(1e-9 * (truth.measured_ns - EPOCH_NS))
            found.append(face.landmarks.mean(axis=0).astype(np.float64))
            true.append(truth.landmarks.mean(axis=0).astype(np.float64))
    if len(times_s) <= 2:
        return None
    speeds = np.gradient(np.array(true), np.array(times_s), axis=0)
    power = float((speeds**2).sum())
    behind = np.array(true) - np.array(found)
    return 1e3 * float(((behind - behind.mean(axis=0)) * speeds).sum()) / power if power > 0.0 else None


def _found(world: World, count: int) -> Iterator[tuple[int, NDArray[np.uint8], Face | None, Face]]:
    """Frames after those in which what finds the face settles: number, pixels, the face as found and as it is."""
    with closing(load_detector()) as detector:
        finder = FaceFinder(detector=detector)
        for index, pixels, truth in _frames(world, 0, count + round(_SETTLED_S * float(world.camera.rate))):
            now = _face(truth, world.frame_stamp_ns(index, EPOCH_NS))
            faces = [f for f in finder.find(pixels, now.measured_ns) if _apart(f.landmarks, now) < 0.5 * now.box[2]]
            yield index, pixels, faces[0] if faces else None, now


def _frames(world: World, first: int, count: int) -> Iterator[tuple[int, NDArray[np.uint8], Truth]]:
    pixels = np.empty((world.camera.height, world.camera.width, 3), np.uint8)
    for index in range(first, first + count):
        yield index, pixels, world.render(index, pixels)


def _face(truth: Truth, stamp_ns: int) -> Face:
    return Face(truth.box, 1.0, truth.landmarks, 1, stamp_ns)


def _apart(landmarks: NDArray[Any], face: Face) -> float:
    return float(np.linalg.norm(landmarks - face.landmarks.astype(np.float64), axis=1).mean())


def _jitter(places: list[Floats], window: int = 0) -> float | None:
    """Root mean square of the distance of landmarks (5, 2) from their mean, pixels.

    The mean over all time, so that slow wandering counts too; or over the last so many frames.
    """
    if len(places) <= max(1, window):
        return None
    all_of = np.array(places)
    if window:
        sums = np.cumsum(all_of, axis=0)
        off = all_of[window:] - (sums[window:] - sums[:-window]) / window
    else:
        off = all_of - all_of.mean(axis=0)
    return float(np.sqrt((off**2).sum(axis=2).mean()))


def _peak_deg_s(world: World) -> float:
    times = np.arange(0.0, world.period_s, 0.002)
    return float(np.degrees(np.linalg.norm(world.trajectory.angular_velocity(times), axis=1).max()))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
