"""How much evidence makes a face: what is found and what is wrongly found, by the least evidence that is asked for.

On drawn scenes that no training saw, and on photographs without a person: those that come with scikit-image, or a
folder of others. The photographs by which the detector is judged (facefusion_ros/app/bench/photographs.py) have no part
in it.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.faces.landmarks import LandmarkNetwork
from facefusion_ros.faces.network import NetworkDetector, NetworkSettings, usual_score
from facefusion_ros.faces.two_stage import TwoStageDetector, TwoStageSettings
from facefusion_ros.models.families import catalogue
from training.clutter import spoil
from training.scenes import ASKED, scene
from training.sprites import SpriteStore, five

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LEAST, MOST, STEP = 0.0, 8.0, 0.5
SEED = 1 << 30
SIZE = (416, 256)
"""Width and height of the scenes, those of the detector's input, pixels."""
NEAR = 0.5
"""A face is found where the mean of its landmarks is this close to the truth, in distances of eyes or eyes to mouth."""
OTHERS = ('coffee', 'chelsea', 'rocket', 'coins', 'brick', 'grass', 'gravel', 'page', 'text', 'clock', 'moon', 'horse')
"""Photographs and drawings of scikit-image without a person's face."""


def others(folder: Path | None = None) -> Iterator[NDArray[np.uint8]]:
    """Read the (H, W, 3) BGR pictures of a folder, or scikit-image's, each whole and in quarters."""
    if folder is not None:
        yield from (np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR), np.uint8) for file in sorted(folder.iterdir()))
        return
    from skimage import data  # noqa: PLC0415 - not needed elsewhere

    for name in OTHERS:
        picture = np.asarray(getattr(data, name)())
        picture = 255 * picture.astype(np.uint8) if picture.dtype == bool else picture
        colour = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture[..., 2::-1]
        height, width = (side // 2 for side in colour.shape[:2])
        yield np.ascontiguousarray(colour)
        for top in (0, height):
            for left in (0, width):
                yield np.ascontiguousarray(colour[top : top + height, left : left + width])


def scenes(heads: Path, count: int) -> Iterator[tuple[NDArray[np.uint8], list[NDArray[np.float64]], int]]:
    """Draw (H, W, 3) BGR scenes, the (5, 2) landmarks of their faces, and how many of these, the first, are asked."""
    for number in range(count):
        rng = np.random.default_rng([SEED, number])
        picture, placed = scene(rng, SpriteStore.of(heads), *SIZE)
        placed.sort(key=lambda face: face.box[0] - face.box[2])
        asked = sum(face.box[2] - face.box[0] >= ASKED for face in placed)
        yield np.ascontiguousarray(spoil(rng, picture)[..., ::-1]), [five(face.points) for face in placed], asked


def measure(detector: TwoStageDetector, heads: Path, count: int, folder: Path | None = None) -> list[dict[str, float]]:
    """Return recall and false finds in drawn scenes, and false finds in other pictures, for each least evidence."""
    right: list[float] = []
    wrong: list[float] = []
    elsewhere: list[float] = []
    asked_for = pictures = 0
    for picture, truths, asked in scenes(heads, count):
        asked_for += asked
        best = [-math.inf] * len(truths)
        for found, evidence in _finds(detector, picture):
            at = next((i for i, truth in enumerate(truths) if _near(found, truth)), None)
            if at is None:
                wrong.append(evidence)
            else:
                best[at] = max(best[at], evidence)
        right += best[:asked]
    for picture in others(folder):
        pictures += 1
        elsewhere += [evidence for _, evidence in _finds(detector, picture)]
    return [
        {
            'evidence': float(least),
            'recall': round(sum(e >= least for e in right) / max(asked_for, 1), 4),
            'false_per_scene': round(sum(e >= least for e in wrong) / count, 4),
            'false_per_other_picture': round(sum(e >= least for e in elsewhere) / pictures, 4),
        }
        for least in np.arange(LEAST, MOST + STEP, STEP)
    ]


def _finds(detector: TwoStageDetector, picture: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.float32], float]]:
    for face in detector.detect(picture):
        score = min(face.score, 1 - 1e-12)
        yield face.landmarks, math.log(score / (1 - score)) + detector.settings.evidence


def _near(found: NDArray[np.float32], truth: NDArray[np.float64]) -> bool:
    eyes = np.linalg.norm(truth[1] - truth[0])
    high = np.linalg.norm(truth[3:].mean(axis=0) - truth[:2].mean(axis=0))
    return bool(np.linalg.norm(found.mean(axis=0) - truth.mean(axis=0)) < NEAR * max(eyes, high))


def main() -> None:
    """Say what is found, rightly and wrongly, by the least evidence that is asked for."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--heads', type=Path, required=True, help='folder of training.sprites')
    parser.add_argument('--detector', type=Path, required=True)
    parser.add_argument('--landmarks', type=Path, required=True)
    parser.add_argument('--scenes', type=int, default=300)
    parser.add_argument('--others', type=Path, help='folder of pictures without a person, instead of scikit-image')
    options = parser.parse_args()
    cv2.setNumThreads(1)
    first, second = (catalogue().family(name) for name in ('yolov4_tiny_points', 'landmarks_68'))
    detector = TwoStageDetector(
        NetworkDetector(OrtEngine(options.detector), first, NetworkSettings(usual_score(first) ** 2)),
        LandmarkNetwork(OrtEngine(options.landmarks), second),
        TwoStageSettings(evidence=LEAST),
    )
    for row in measure(detector, options.heads, options.scenes, options.others):
        print(json.dumps(row), flush=True)


if __name__ == '__main__':
    main()
