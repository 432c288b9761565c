"""How well a persona sits in the light of a simulated world, with a light sensor and without, beside two known ways.

The seam's colour difference is that of ``seam``. The face's landmarks are the world's truth: what is measured is light.
"""

from __future__ import annotations

import math
import os
import platform
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from facefusion_ros.app.bench.seam import rings, seam, skin
from facefusion_ros.app.summary import percentiles
from facefusion_ros.blending.blender import Blender
from facefusion_ros.blending.masks import feather
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.faces.face import Face, FacePatch
from facefusion_ros.personas.persona import load_persona
from facefusion_ros.personas.swapper import WarpSwapper
from facefusion_ros.sim.world import load_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from facefusion_ros.app.bench.seam import Seam
    from facefusion_ros.sim.world import Truth, World

    Pixels = NDArray[np.uint8]

PATCH_SIZE = 256
TIMED_PX = 256
TIMED_FRAMES = 40
EPOCH_NS = 1_700_000_000_000_000_000
LUX_PERIOD_S, LUX_LATE_S = 0.1, 0.01
"""The light sensor integrates for so long, without a pause, and its reading comes so much later."""
PIPELINE_S = 0.033
"""After the exposure a frame is blended; what the light sensor said until then is known."""
STEP_EV, STEP_FRAMES, WATCHED_FRAMES = 0.5, 3, 60
"""A step is such a change of the light within so many frames; its effects are watched for so many."""
SETTLED = 2.0
"""CIEDE2000 below which a frame counts as settled."""


def light(world: str = 'head', persona: str = 'porcelain', frames: int = 0) -> dict[str, Any]:
    """Play a world, by name or file, for one period or the frames given; times are of one thread's work, in ms.

    Raises WorldError, PersonaError.
    """
    cv2.setNumThreads(1)
    scene = _Scene(load_world(world), persona)
    ways: dict[str, _Way] = {
        'lux': _Ours(lux=True),
        'no_lux': _Ours(lux=False),
        'seamless_clone': _SeamlessClone(),
        'reinhard': _Reinhard(),
    }
    scores = {name: _Score() for name in ways}
    counted = frames or scene.world.frames
    skinless = 0
    lux: list[float] = []
    for index in range(counted):
        shot = scene.shot(index)
        where = rings(shot.alpha, shot.skin)
        skinless += where is None
        lux.append(round(shot.truth.lux, 3))
        for name, way in ways.items():
            after = way.paint(shot, shot.picture.copy())
            if where is not None:
                scores[name].add(index, seam(shot.picture, after, where))
    steps = _steps(scene.world, counted)
    times = _times(scene, persona, min(TIMED_FRAMES, counted))
    told = {name: score.told(steps) for name, score in scores.items()}
    return {
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}',
        'world': world,
        'persona': persona,
        'reflectance': scene.reflectance,
        'frames': counted,
        'frames_without_skin_at_the_seam': skinless,
        'light_steps': len(steps),
        **told.pop('lux'),
        'ms': times['lux'],
        **{name: {**values, 'ms': times[name]} for name, values in told.items()},
        'ms_of': f'colour match and blend of one face, {TIMED_PX} px, processor time of one thread',
        'series': {
            'time_s': [round(index / float(scene.world.camera.rate), 4) for index in range(counted)],
            'lux': lux,
            'delta_e_worst': {name: score.worst(counted) for name, score in scores.items()},
        },
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """One frame, and what is to be put on it."""

    picture: Pixels
    patch: FacePatch
    truth: Truth
    stamp_ns: int
    lux: tuple[tuple[int, float], ...]
    """Readings that have come since the frame before: stamp and lx."""
    alpha: Pixels
    """(height, width), how far the persona shows."""
    skin: NDArray[np.bool_]


class _Scene:
    """Frames of a world with the persona's patches for them."""

    def __init__(self, world: World, persona: str) -> None:
        self.world = world
        self._swapper = WarpSwapper(load_persona(persona), PATCH_SIZE)
        self.reflectance = self._swapper.persona.reflectance
        canvas = world.head or world.canvas
        canvas_from_plane = np.linalg.inv(canvas.plane_from_canvas)
        points = np.column_stack((canvas.landmarks_m, np.ones(5))) @ canvas_from_plane.T
        self._landmarks = points[:, :2] / points[:, 2:]
        self._skin = np.where(skin(canvas.pixels[..., :3], self._landmarks), 255, 0).astype(np.uint8)

    def shot(self, index: int) -> _Shot:
        """Take a frame."""
        camera = self.world.camera
        picture = np.empty((camera.height, camera.width, 3), np.uint8)
        truth = self.world.render(index, picture)
        stamp_ns = self.world.frame_stamp_ns(index, EPOCH_NS)
        face = Face(truth.box, 1.0, truth.landmarks, 1, stamp_ns)
        pixels = np.empty((PATCH_SIZE, PATCH_SIZE, 4), np.uint8)
        image_from_patch = self._swapper.swap(picture, face, pixels)
        patch = FacePatch(face, pixels, image_from_patch, reflectance=self.reflectance)
        size = (camera.width, camera.height)
        mask = cv2.multiply(pixels[..., 3].copy(), feather(PATCH_SIZE, BlendSettings().feather), scale=1.0 / 255.0)
        alpha = cv2.warpAffine(mask, patch.image_from_patch, size)
        # Over a face, the five points tell the map from the photograph well enough.
        known = np.column_stack((self._landmarks, np.ones(5)))
        image_from_canvas = np.linalg.lstsq(known, truth.landmarks.astype(np.float64), rcond=None)[0].T
        is_skin = cv2.warpAffine(self._skin, image_from_canvas, size) > 128
        lux = tuple(self._readings(index))
        return _Shot(picture, patch, truth, stamp_ns, lux, np.asarray(alpha, np.uint8), is_skin)

    def _readings(self, index: int) -> Iterator[tuple[int, float]]:
        rate = float(self.world.camera.rate)
        until, since = (index / rate + PIPELINE_S - LUX_LATE_S - back / rate for back in (0.0, 1.0))
        for number in range(math.floor(since / LUX_PERIOD_S), math.floor(until / LUX_PERIOD_S)):
            times = np.asarray((number + (np.arange(10) + 0.5) / 10.0) * LUX_PERIOD_S, np.float64)
            lux = float(self.world.light.at(times, self.world.period_s)[0].mean())
            yield EPOCH_NS + round((number + 0.5) * LUX_PERIOD_S * 1e9), lux


class _Way(Protocol):
    """A way to put a persona onto a face."""

    def paint(self, shot: _Shot, after: Pixels) -> Pixels:
        """Return the frame with the persona; after is a copy of it to work on."""


class _Ours:
    def __init__(self, *, lux: bool) -> None:
        self._lux = lux
        self._blender = Blender(BlendSettings())

    def paint(self, shot: _Shot, after: Pixels) -> Pixels:
        if self._lux:
            for stamp_ns, lux in shot.lux:
                self._blender.observe_light(stamp_ns, lux)
        height, width = after.shape[:2]
        placements = self._blender.plan([shot.patch], shot.stamp_ns, width, height)
        self._blender.apply(after, placements, shot.truth.exposure_s, shot.truth.gain)
        return after


class _SeamlessClone:
    """Poisson blending (Perez, Gangnet and Blake, SIGGRAPH 2003) as OpenCV has it."""

    def paint(self, shot: _Shot, after: Pixels) -> Pixels:
        cut = _cut(shot)
        if cut is None:
            return after
        (left, top, _, _), colour, alpha = cut
        mask = np.where(alpha >= 128, 255, 0).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        if w == 0:
            return after
        middle = (left + x + w // 2, top + y + h // 2)
        try:
            return np.asarray(cv2.seamlessClone(colour, after, mask, middle, cv2.NORMAL_CLONE), np.uint8)
        except cv2.error:  # a mask that touches the picture's border is more than it can do
            return after


class _Reinhard:
    """Transfer of means and deviations in L*a*b* (Reinhard et al., "Color transfer between images", 2001)."""

    def paint(self, shot: _Shot, after: Pixels) -> Pixels:
        cut = _cut(shot)
        if cut is None:
            return after
        (left, top, width, height), colour, alpha = cut
        view = after[top : top + height, left : left + width]
        mask = np.where(alpha >= 128, 255, 0).astype(np.uint8)
        persona = cv2.cvtColor(colour.astype(np.float32) / 255.0, cv2.COLOR_BGR2Lab)
        original = cv2.cvtColor(view.astype(np.float32) / 255.0, cv2.COLOR_BGR2Lab)
        own, wanted = (cv2.meanStdDev(picture, mask=mask) for picture in (persona, original))
        scale = (wanted[1] / np.maximum(own[1], 1e-3)).reshape(3)
        moved = (persona - own[0].reshape(3)) * scale + wanted[0].reshape(3)
        matched = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_Lab2BGR)
        share = (alpha.astype(np.float32) / 255.0)[..., None]
        blended = np.clip(matched, 0.0, 1.0) * 255.0 * share + view * (1.0 - share)
        view[:] = np.rint(blended).astype(np.uint8)
        return after


def _cut(shot: _Shot) -> tuple[tuple[int, int, int, int], Pixels, Pixels] | None:
    """Region of the picture where the persona shows, and there its colours and alpha; None where it does not."""
    left, top, width, height = cv2.boundingRect(shot.alpha)
    if width < 3 or height < 3:
        return None
    to_region = shot.patch.image_from_patch.copy()
    to_region[:, 2] -= (left, top)
    colour = cv2.warpAffine(shot.patch.pixels, to_region, (width, height))[..., :3]
    return (left, top, width, height), colour.copy(), shot.alpha[top : top + height, left : left + width]


@dataclass(slots=True)
class _Score:
    seams: dict[int, Seam] = field(default_factory=dict)

    def add(self, index: int, found: Seam) -> None:
        self.seams[index] = found

    def worst(self, frames: int) -> list[float | None]:
        """Return the colour difference in the worst sector of each frame; None where no skin is at the seam."""
        found = (self.seams.get(index) for index in range(frames))
        return [None if each is None else round(float(each.delta_e.max()), 3) for each in found]

    def told(self, steps: list[int]) -> dict[str, Any]:
        """Return the figures: of all sectors of all frames, and of the worst sectors of the frames after each step."""
        if not self.seams:
            return dict.fromkeys(
                ('delta_e_median', 'delta_e_p95', 'delta_l_abs_p95', 'delta_e_worst', 'step_worst', 'settle_frames')
            )
        delta_e = np.concatenate([found.delta_e for found in self.seams.values()])
        delta_l = np.abs(np.concatenate([found.delta_l for found in self.seams.values()]))
        worst = {index: float(found.delta_e.max()) for index, found in self.seams.items()}
        after = [
            (index - begin, worst[index])
            for number, begin in enumerate(steps)
            for index in range(begin, min([begin + WATCHED_FRAMES, *steps[number + 1 : number + 2]]))
            if index in worst
        ]
        return {
            'delta_e_median': round(float(np.median(delta_e)), 3),
            'delta_e_p95': round(float(np.percentile(delta_e, 95)), 3),
            'delta_l_abs_p95': round(float(np.percentile(delta_l, 95)), 3),
            'delta_e_worst': round(max(worst.values()), 3),
            'step_worst': round(max(value for _, value in after), 3) if after else None,
            'settle_frames': max((away + 1 for away, value in after if value > SETTLED), default=0) if after else None,
        }


def _steps(world: World, frames: int) -> list[int]:
    """Frames at which the light begins to change in a step."""
    times = np.arange(-STEP_FRAMES, frames) / float(world.camera.rate)
    ev = np.log2(world.light.at(times, world.period_s)[0])
    moving = np.abs(ev[STEP_FRAMES:] - ev[:-STEP_FRAMES]) > STEP_EV
    begins = [index for index in range(frames) if moving[index] and (index == 0 or not moving[index - 1])]
    return [max(0, index - STEP_FRAMES + 1) for index in begins]


def _times(played: _Scene, persona: str, frames: int) -> dict[str, dict[str, float]]:
    """Time each way on the same frames, in turns, of a picture so large that the patch is ``TIMED_PX`` across."""
    shot = played.shot(0)
    across = PATCH_SIZE * float(np.sqrt(abs(np.linalg.det(shot.patch.image_from_patch[:, :2]))))
    factor = TIMED_PX / across
    camera = played.world.camera
    sized = played.world.sized(max(64, round(camera.width * factor)), max(64, round(camera.height * factor)))
    scene = _Scene(sized, persona)
    ways: dict[str, _Way] = {
        'lux': _Ours(lux=True),
        'no_lux': _Ours(lux=False),
        'seamless_clone': _SeamlessClone(),
        'reinhard': _Reinhard(),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(frames):
        shot = scene.shot(index)
        for name, way in ways.items():
            after = shot.picture.copy()
            begin = time.thread_time()
            way.paint(shot, after)
            spent[name].append((time.thread_time() - begin) * 1e3)
    return {name: percentiles(values[frames // 8 :]) for name, values in spent.items()}
