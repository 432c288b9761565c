"""Faces that a detector proposes and a network of landmarks looks at closely."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.errors import require
from facefusion_ros.faces.head import box_around, distinct, overlap
from facefusion_ros.faces.landmarks import five

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.faces.face import Face
    from facefusion_ros.faces.landmarks import LandmarkNetwork

# A proposal that overlaps a face by more than this (intersection over union) is that face: it needs no second look.
_SEEN = 0.5

_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class TwoStageSettings:
    """What counts as a face; what counts as a proposal is the detector's."""

    most_proposals: int = 12
    """Proposals that are looked at in one picture, the best first."""
    looks: int = 2
    """Crops of a new face: the second one is aligned by what was seen in the first."""
    first_chance: float = 0.2
    """Least chance of a face in any crop but the last."""
    evidence: float = 1.0
    """Least sum of the log odds of the detector's score and of the mean over all crops of those of a face in it."""
    kept_chance: float = 0.9
    """Least chance of a face where one is known to be."""
    sure_score: float = 0.8
    """A face with this score is there, as far as one picture tells; 0.5 is that of the least evidence."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                'most_proposals must be 1 or more': self.most_proposals >= 1,
                'looks must be 1 or more': self.looks >= 1,
                **{
                    f'{name} must be 0 to 1': 0 <= getattr(self, name) <= 1
                    for name in ('first_chance', 'kept_chance', 'sure_score')
                },
                'evidence must be a number': math.isfinite(self.evidence),
            },
        )


class TwoStageDetector:
    """Finds faces in single pictures by a detector, and looks at each with a network of landmarks; see ``Detector``.

    Where the network tells whether there is a face at all (``LandmarkNetwork.judges``), it decides what is one, and the
    detector only proposes; else it gives the detector's finds its landmarks. Used by one thread.
    """

    def __init__(
        self, detector: Detector, landmarks: LandmarkNetwork, settings: TwoStageSettings | None = None
    ) -> None:
        """Take both; where the network judges, the detector should propose what it is not sure of."""
        self.settings = settings or TwoStageSettings()
        self._detector, self._landmarks = detector, landmarks

    @property
    def sure_score(self) -> float:
        """See ``Detector``."""
        return self.settings.sure_score if self._landmarks.judges else self._detector.sure_score

    @property
    def again_is_cheap(self) -> bool:
        """See ``Detector``."""
        return self._landmarks.judges or self._detector.again_is_cheap

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Find the faces of a (H, W, 3) BGR picture, largest first. Raises as the detector does."""
        proposed = self._detector.detect(pixels)
        if not self._landmarks.judges:
            return tuple(self._landmarks.refine(pixels, face) for face in proposed)
        settings = self.settings
        found: list[Face] = []
        for face in sorted(proposed, key=lambda face: -face.score)[: settings.most_proposals]:
            if all(overlap(face.box, other.box) < _SEEN for other in found):
                seen = self._look(pixels, face, [*[settings.first_chance] * (settings.looks - 1), 0.0])
                if seen is None:
                    continue
                # Two witnesses who do not know of each other: their odds multiply. Looks of one network do know.
                evidence = _log_odds(face.score) + _log_odds(seen.score) - settings.evidence
                if evidence >= 0:
                    found.append(replace(seen, score=_chance(evidence)))
        return distinct(found)

    def again(self, pixels: NDArray[np.uint8], face: Face) -> Face | None:
        """Look for a face where one is expected: by its landmarks, else as the detector does."""
        if self._landmarks.judges:
            seen = self._look(pixels, face, [self.settings.kept_chance])
            return None if seen is None else replace(seen, score=face.score)
        seen = self._detector.again(pixels, face)
        return None if seen is None else self._landmarks.refine(pixels, seen)

    def _look(self, pixels: NDArray[np.uint8], face: Face, least: Sequence[float]) -> Face | None:
        """Look as often as there are least chances; return the face as seen last, and the chance by all looks."""
        odds = 0.0
        for least_chance in least:
            try:
                points, chance = self._landmarks.points(pixels, face)
                landmarks = five(points).astype(np.float32)
                face = replace(face, box=box_around(landmarks), landmarks=landmarks)
            except ValueError:  # landmarks that are those of no face
                return None
            if chance < least_chance:
                return None
            odds += _log_odds(chance) / len(least)
        return replace(face, score=_chance(odds))


def _chance(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds))


def _log_odds(chance: float) -> float:
    chance = min(max(chance, _TINY), 1.0 - _TINY)
    return math.log(chance / (1.0 - chance))
