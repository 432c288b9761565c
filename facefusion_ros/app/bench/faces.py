"""How well and how fast detectors find faces in photographs, side by side."""

from __future__ import annotations

import math
import os
import platform
import time
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from facefusion_ros.app.bench.photographs import GOALS, VARIATIONS, score_crops, score_variations
from facefusion_ros.app.stills import to_json
from facefusion_ros.app.summary import percentiles
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.picture import PictureError, read_picture
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.models.store import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.app.bench.photographs import Score
    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.faces.face import Face


def faces(
    models: Sequence[str] = (),
    landmarks: str = '',
    images: Path | None = None,
    variations: int = VARIATIONS,
    *,
    accept_noncommercial: bool = False,
) -> dict[str, Any]:
    """Measure the detector of the package, and detectors of the user's, each with these landmarks.

    On the photographs of ``photographs``, or on the pictures of a folder, of which nobody knows how many faces they
    show: there the finds are told. Raises FacefusionError where the folder has no picture.
    """
    result: dict[str, Any] = {'machine': f'{platform.machine()}, {os.cpu_count()} CPUs'}
    if images is None:
        result['goals'] = asdict(GOALS)
    result['detectors'] = {}
    with ExitStack() as running:
        detectors: dict[str, Detector] = {}
        for name in (DEFAULT, *models):
            given = '' if name == DEFAULT else landmarks
            loaded = load_detector(name, given, accept_noncommercial=accept_noncommercial)
            detectors[name] = running.enter_context(closing(loaded))
        for name, detector in detectors.items():
            timed = _Timed(detector)
            measured = _photographs(timed, variations) if images is None else _folder(timed, images)
            result['detectors'][name] = {**measured, 'ms_per_picture': percentiles(timed.durations_ms)}
    return result


class _Timed:
    """Finds faces, and how long that took."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.durations_ms: list[float] = []

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        begin = time.perf_counter()
        found = self._detector.detect(pixels)
        self.durations_ms.append((time.perf_counter() - begin) * 1e3)
        return found


def _photographs(find: _Timed, variations: int) -> dict[str, Any]:
    portrait = score_variations(find, variations)
    found, taken = score_crops(find)
    return {
        'portrait': _told(portrait),
        'small_faces_found_of_100': found,
        'other_pictures_taken_for_one_of_100': taken,
        'meets_the_goals': GOALS.met(portrait, found, taken),
    }


def _told(score: Score) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else round(value, 4) for name, value in asdict(score).items()}


def _folder(find: _Timed, folder: Path) -> dict[str, Any]:
    finds: dict[str, Any] = {}
    for file in sorted(file for file in folder.rglob('*') if file.is_file()):
        try:
            picture = read_picture(file)
        except PictureError:  # such as the list of whose pictures these are
            continue
        finds[str(file.relative_to(folder))] = [to_json(face) for face in find(picture)]
    if not finds:
        message = f'{folder} has no picture'
        raise FacefusionError(message)
    return {
        'pictures': len(finds),
        'pictures_with_a_face': sum(map(bool, finds.values())),
        'faces': sum(map(len, finds.values())),
        'finds': finds,
    }
