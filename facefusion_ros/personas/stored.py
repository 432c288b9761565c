"""A swapper's network of the user's store, and whom it is told to show."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.stored import load_stored
from facefusion_ros.models.entry import ModelError, Role
from facefusion_ros.models.families import plain
from facefusion_ros.models.graph import read_weight
from facefusion_ros.models.store import open_store
from facefusion_ros.personas.identities import is_identity, on_grey
from facefusion_ros.personas.network import NetworkSwapper
from facefusion_ros.personas.persona import PersonaError, persona_names
from facefusion_ros.personas.source import Likeness, digest_of, source_picture, source_vector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from facefusion_ros.engines.chain import EngineSettings
    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.personas.identities import Identities
    from facefusion_ros.personas.persona import Sheet


class StoredSwapper:
    """A network that redraws faces, loaded once, however many personas it shows one after the other."""

    def __init__(
        self,
        name: str,
        settings: Callable[[Role], EngineSettings],
        *,
        precision: str = 'fp32',
        pixel_boost: int = 1,
        accept_noncommercial: bool = False,
    ) -> None:
        """Load the swapper of that name. Raises ModelError and EngineError as ``load_stored`` does."""
        self._settings, self._accept_noncommercial = settings, accept_noncommercial
        self._pixel_boost = pixel_boost
        network = load_stored(
            name,
            Role.SWAPPER,
            settings(Role.SWAPPER),
            accept_noncommercial=accept_noncommercial,
            precision=precision,
            batch=pixel_boost**2,
        )
        self.engine, self.entry = network.engine, network.entry
        self._trained_for: str | None = None
        with ExitStack() as loading:
            loading.callback(self.engine.close)
            self._projection: NDArray[np.generic] | None = None
            if self.entry.weight:
                self._projection = read_weight(open_store().path(self.entry), self.entry.weight)
            loading.pop_all()

    @property
    def size(self) -> int:
        """Width and height of the patches, pixels, where file or family say it; else those that are usual."""
        return (self.entry.size or self.entry.family.size or (256, 256))[0] * self._pixel_boost

    def swappers(self, sheets: Sequence[Sheet], identities: Identities) -> tuple[NetworkSwapper, ...]:
        """Return a swapper for each persona, all on the one engine; the personas' sources are read now.

        Raises PersonaError where the network cannot show one of them, ModelError where the store lacks the network
        that converts identities for this family, EngineError where a network fails; and what ``identities`` raises.
        """
        if self.entry.family.source is None and not self.entry.personas:
            self._require_one(sheets)
        with ExitStack() as running:
            converter = self._converter(running)
            return tuple(
                NetworkSwapper(self.engine, self.entry, *self._told(sheet, identities, converter), self._pixel_boost)
                for sheet in sheets
            )

    def close(self) -> None:
        """Release the network."""
        self.engine.close()

    def _require_one(self, sheets: Sequence[Sheet]) -> None:
        """Whom the weights show is the persona: nobody else's consent and name may be put to it."""
        whom = f'{self.entry.name} shows whom it was trained for'
        if len(sheets) != 1:
            raise PersonaError(f'{whom}: name one persona, not {len(sheets)}')
        name = sheets[0].name
        if name in persona_names():
            raise PersonaError(
                f'{whom}, not {name}: give a folder whose persona.yaml has title and consent of that person'
            )
        if self._trained_for not in {None, name}:
            raise PersonaError(f'{whom}, {self._trained_for}: to show {name}, start again with another model')
        self._trained_for = name

    def _told(
        self, sheet: Sheet, identities: Identities, converter: Engine | None
    ) -> tuple[Likeness, NDArray[np.generic] | None]:
        """Return what is said of a persona, and what the network is told."""
        family = self.entry.family
        source: NDArray[np.generic] | None = None
        digest = self.entry.sha256
        if self.entry.personas:
            source = self._weights(sheet.name)
            digest = hashlib.sha256(f'{digest} {sheet.name}'.encode()).hexdigest()
        elif family.source is not None and family.source.kind == 'picture':
            pixels, landmarks = _picture(sheet, identities, self.entry.name)
            source = source_picture(pixels, landmarks, family)
            digest = hashlib.sha256(source.tobytes()).hexdigest()
        elif family.source is not None:
            if sheet.source:
                identity = identities.of_files(sheet.source)
            elif sheet.portrait is not None:
                identity = identities.of_portrait(sheet.portrait)
            else:
                raise _nothing_to_go_by(sheet, self.entry.name)
            source = source_vector(identity, family, self._projection, converter)
            digest = digest_of(identity)
        return Likeness(sheet.name, sheet.title, sheet.consent, digest, sheet.reflectance), source

    def _weights(self, name: str) -> NDArray[np.float32]:
        """Return how much of each of the network's personas is shown: all of one."""
        personas = self.entry.personas
        if name not in personas:
            raise PersonaError(f'{self.entry.name} shows {", ".join(personas)}, not {name}: name one of them')
        weights = np.zeros(len(personas), np.float32)
        weights[personas.index(name)] = 1.0
        return weights

    def _converter(self, running: ExitStack) -> Engine | None:
        """Load the network that converts identities for this family, if it takes one; it is closed with ``running``."""
        source = self.entry.family.source
        if source is None or source.converter is None:
            return None
        for name, entry in open_store().entries().items():
            called = name, plain(Path(entry.file).name)
            if entry.family.role is Role.IDENTITY and any(each.startswith(source.converter) for each in called):
                engine = load_stored(
                    name,
                    Role.IDENTITY,
                    self._settings(Role.IDENTITY),
                    accept_noncommercial=self._accept_noncommercial,
                ).engine
                return running.enter_context(closing(engine))
        raise ModelError(
            f'{self.entry.name} needs the network {source.converter}, which turns identities into its own: '
            f'add it with `facefusion-ros models add {source.converter}.onnx`'
        )


def _picture(sheet: Sheet, identities: Identities, model: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a picture of a persona, (H, W, 3) BGR, and the (5, 2) landmarks of its face."""
    file = next((file for file in sheet.source if not is_identity(file)), None)
    if file is not None:
        pixels, face = identities.face(file)
        return pixels, face.landmarks
    if sheet.portrait is not None:
        return on_grey(sheet.portrait), sheet.portrait.landmarks
    if sheet.source:
        raise PersonaError(
            f'{model} is shown a picture of the persona, and {sheet.name} has none: add one to its source'
        )
    raise _nothing_to_go_by(sheet, model)


def _nothing_to_go_by(sheet: Sheet, model: str) -> PersonaError:
    return PersonaError(
        f'{sheet.name} has neither source nor image for {model} to go by: add a source to its persona.yaml'
    )
