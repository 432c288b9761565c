"""How well a swapper keeps a face's expression and pose in photographs, persona by persona."""

from __future__ import annotations

import os
import platform
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from facefusion_ros.app.bench.photographs import variations as drawn
from facefusion_ros.app.offline import Replacement
from facefusion_ros.app.summary import percentiles
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.engines.stored import load_stored
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.head import box_around
from facefusion_ros.faces.landmarks import LandmarkNetwork
from facefusion_ros.models.entry import Role
from facefusion_ros.models.store import DEFAULT
from facefusion_ros.personas.patches import PatchMaker, PatchSettings
from facefusion_ros.personas.persona import persona_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.app.bench.photographs import Variation

GOAL = 0.08
"""Most that the result's landmarks may lie from the picture's in the mean, in distances of the eyes."""


def swap(
    personas: Sequence[str] = (),
    model: str = '',
    enhancer: str = '',
    variations: int = 200,
    *,
    accept_noncommercial: bool = False,
) -> dict[str, Any]:
    """Swap the face in variations of a portrait by each persona, and look for its 68 landmarks before and after.

    ``model`` and ``enhancer`` as in ``PatchSettings``; the face is told, not searched for. Raises as ``PatchMaker``.
    """
    names = tuple(personas) or persona_names()
    result: dict[str, Any] = {'machine': f'{platform.machine()}, {os.cpu_count()} CPUs', 'goal': GOAL, 'personas': {}}
    judge = load_stored(DEFAULT, Role.LANDMARKS)
    with closing(judge.engine):
        network = LandmarkNetwork(judge.engine, judge.entry.family)
        for name in names:
            settings = PatchSettings((name,), model=model, enhancer=enhancer, accept_noncommercial=accept_noncommercial)
            with closing(PatchMaker(settings)) as maker:
                rows = [_measured(variation, maker, network) for variation in drawn(variations)]
            apart, walls_ms = (np.array(column) for column in zip(*rows, strict=True))
            result['personas'][name] = {
                'pictures': len(rows),
                'landmarks_apart_mean': round(float(apart.mean()), 4),
                'landmarks_apart_p95': round(float(np.percentile(apart, 95)), 4),
                'meets_the_goal': bool(apart.mean() <= GOAL),
                'ms_per_face': percentiles(walls_ms.tolist()),
            }
    return result


def _measured(variation: Variation, maker: PatchMaker, network: LandmarkNetwork) -> tuple[float, float]:
    """Return how far landmarks move in the mean, in distances of the eyes, and how long swap and blend took, ms."""
    five = variation.landmarks
    face = Face(box_around(five), 1.0, np.asarray(five, np.float32), 1)
    before, _ = network.points(variation.picture, face)
    shown: NDArray[np.uint8] = variation.picture.copy()
    # Each picture is the first of a film of its own: nothing is remembered.
    replacement = Replacement(maker, BlendSettings())
    begin = time.perf_counter()
    replacement.replace(shown, [face], stamp_ns=1)
    wall_ms = (time.perf_counter() - begin) * 1e3
    after, _ = network.points(shown, face)
    eyes_px = float(np.linalg.norm(five[1] - five[0]))
    return float(np.linalg.norm(after - before, axis=1).mean()) / eyes_px, wall_ms
