"""Who the people in pictures are."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.stored import load_stored
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.picture import read_picture
from facefusion_ros.faces.recognition import IdentityError, Recogniser, largest_face, load_identity, mean_identity
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.models.entry import Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from facefusion_ros.engines.chain import EngineSettings
    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.faces.stored import StoredDetector
    from facefusion_ros.personas.persona import Persona

_GREY = np.float32(128)


class Identities:
    """Takes identities from pictures and files. Used by one thread.

    The recogniser is loaded when it is first needed and can be let go. An identity is computed once and kept in memory,
    never on disk: it is the measure of a person, and lies where that person's consent is written or nowhere. Who wants
    a persona to be there at once makes a .npy file (``faces.recognition.save_identity``) its source.
    """

    def __init__(
        self,
        recogniser: str = '',
        settings: EngineSettings | None = None,
        detector: Detector | None = None,
        *,
        precision: str = 'fp32',
        accept_noncommercial: bool = False,
    ) -> None:
        """Take the recogniser's name in the store, and what finds faces in pictures, by default the usual detector."""
        self._name = recogniser
        self._settings = settings
        self._precision = precision
        self._accept_noncommercial = accept_noncommercial
        self._detector = detector
        self._usual: StoredDetector | None = None
        self._loaded: tuple[Engine, Recogniser] | None = None
        self._known: dict[bytes, NDArray[np.float32]] = {}

    @property
    def network(self) -> Engine | None:
        """What runs the recogniser, while it is loaded."""
        return self._loaded[0] if self._loaded else None

    def recogniser(self, purpose: str) -> Recogniser:
        """Return the recogniser, loaded if need be. ``purpose`` says what it is for where none was named.

        Raises IdentityError where none was named, ModelError where the store has none of that name or may not use it,
        EngineError where it does not run.
        """
        if self._loaded is None:
            if not self._name:
                raise IdentityError(
                    f'{purpose} takes a recogniser: name one of the store, such as arcface, as recogniser'
                )
            network = load_stored(
                self._name,
                Role.RECOGNITION,
                self._settings,
                accept_noncommercial=self._accept_noncommercial,
                precision=self._precision,
            )
            try:
                self._loaded = network.engine, Recogniser(network.engine, network.entry.family)
            except BaseException:
                network.engine.close()
                raise
        return self._loaded[1]

    def of_files(self, files: Sequence[Path]) -> NDArray[np.float32]:
        """(512,) float32 of length 1: the mean direction of identities (.npy) and of the largest faces of pictures.

        Raises IdentityError where there is no file, no face in a picture, or no recogniser for one, PictureError where
        a picture cannot be read; and what ``recogniser`` raises.
        """
        return mean_identity([load_identity(file) if is_identity(file) else self._of_picture(file) for file in files])

    def of_portrait(self, persona: Persona) -> NDArray[np.float32]:
        """(512,) float32 of length 1: of a persona's image, whose landmarks are known. Raises as ``of_files``."""
        key = bytes.fromhex(persona.digest)
        if key not in self._known:
            face = Face((0.0, 0.0, 0.0, 0.0), 1.0, persona.landmarks)
            self._known[key] = self.recogniser(f'to take the identity from the image of {persona.name}').embedding(
                on_grey(persona), face
            )
        return self._known[key]

    def face(self, file: Path) -> tuple[NDArray[np.uint8], Face]:
        """Return a picture, (H, W, 3) BGR, and its largest face. Raises PictureError and IdentityError."""
        pixels = read_picture(file)
        return pixels, self._largest(pixels, file)

    def close(self) -> None:
        """Let the networks go; what is needed later loads them again."""
        if self._loaded is not None:
            self._loaded[0].close()
            self._loaded = None
        if self._usual is not None:
            self._usual.close()
            self._usual = None

    def _of_picture(self, file: Path) -> NDArray[np.float32]:
        pixels = read_picture(file)
        key = hashlib.sha256(pixels.tobytes()).digest()
        if key not in self._known:
            recogniser = self.recogniser(f'to take an identity from the picture {file}')
            self._known[key] = recogniser.embedding(pixels, self._largest(pixels, file))
        return self._known[key]

    def _largest(self, pixels: NDArray[np.uint8], file: Path) -> Face:
        detector = self._detector or self._usual
        if detector is None:
            detector = self._usual = load_detector()
        return largest_face(pixels, detector, file)


def is_identity(file: Path) -> bool:
    """Whether a file is taken for an identity, by its name, and not for a picture."""
    return file.suffix.lower() == '.npy'


def on_grey(persona: Persona) -> NDArray[np.uint8]:
    """(512, 512, 3) BGR: a persona's image on grey, since the colours of what is transparent mean nothing."""
    share = persona.pixels[..., 3:] * np.float32(1 / 255)
    return np.asarray(np.rint(share * persona.pixels[..., :3] + (1 - share) * _GREY), np.uint8)
