"""What finds faces, by the names of its networks in the store."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from facefusion_ros.engines.stored import load_stored
from facefusion_ros.faces.landmarks import LandmarkNetwork
from facefusion_ros.faces.network import NetworkDetector, NetworkSettings, usual_score
from facefusion_ros.faces.two_stage import TwoStageDetector
from facefusion_ros.models.entry import Role
from facefusion_ros.models.store import DEFAULT, NONE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.engines.chain import EngineSettings
    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.engines.stored import StoredNetwork
    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.faces.face import Face


class StoredDetector:
    """A detector together with the networks that it runs; see ``Detector``."""

    def __init__(self, detector: Detector, engines: dict[str, Engine], running: ExitStack) -> None:
        self._detector, self._engines, self._running = detector, engines, running

    @property
    def providers(self) -> dict[str, str]:
        """What runs each network, by the network's name."""
        return {name: engine.provider for name, engine in self._engines.items()}

    @property
    def sure_score(self) -> float:
        """See ``Detector``."""
        return self._detector.sure_score

    @property
    def again_is_cheap(self) -> bool:
        """See ``Detector``."""
        return self._detector.again_is_cheap

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """See ``Detector``; raises EngineError where a network fails."""
        return self._detector.detect(pixels)

    def again(self, pixels: NDArray[np.uint8], face: Face) -> Face | None:
        """See ``Detector``; raises EngineError where a network fails."""
        return self._detector.again(pixels, face)

    def close(self) -> None:
        """Let the networks go; may be called twice."""
        self._running.close()


def load_detector(
    name: str = '',
    landmarks: str = '',
    settings: EngineSettings | None = None,
    *,
    precision: str = 'fp32',
    landmarks_precision: str = 'fp32',
    accept_noncommercial: bool = False,
) -> StoredDetector:
    """Load what finds faces.

    ``name``: a detector of the store; where it is empty or ``default``, the one that ships with the package.
    ``landmarks``: a network of landmarks, ``default`` for the one that ships, ``none`` for none; where it is empty,
    that goes with the detector that ships, and a detector of the user's has the landmarks that it finds itself.

    Raises ModelError and EngineError as ``load_stored`` does.
    """
    with ExitStack() as loading:
        engines: dict[str, Engine] = {}

        def load(name: str, role: Role, precision: str) -> StoredNetwork:
            network = load_stored(name, role, settings, accept_noncommercial=accept_noncommercial, precision=precision)
            loading.callback(network.engine.close)
            engines[network.entry.name] = network.engine
            return network

        name = name or DEFAULT
        second = landmarks or (DEFAULT if name == DEFAULT else NONE)
        closer = None
        if second != NONE:
            network = load(second, Role.LANDMARKS, landmarks_precision)
            closer = LandmarkNetwork(network.engine, network.entry.family)
        network = load(name, Role.DETECTOR, precision)
        family = network.entry.family
        least = usual_score(family) ** 2 if closer and closer.judges else usual_score(family)
        detector: Detector = NetworkDetector(network.engine, family, NetworkSettings(least), network.entry.size)
        if closer is not None:
            detector = TwoStageDetector(detector, closer)
        return StoredDetector(detector, engines, loading.pop_all())
