"""From a frame and its faces to patches: who is shown on which face, drawn, masked and enhanced."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from facefusion_ros.engines.chain import EngineSettings
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.stored import load_stored
from facefusion_ros.errors import SettingError, require
from facefusion_ros.faces.alignment import apply, invert
from facefusion_ros.faces.segmentation import Segmenter, combine
from facefusion_ros.models.entry import Role
from facefusion_ros.models.store import DEFAULT, NONE
from facefusion_ros.personas.cast import Cast, Selection
from facefusion_ros.personas.deadline import DeadlineEnhancer, DeadlineSettings
from facefusion_ros.personas.enhancer import Enhancer, EnhancerSettings
from facefusion_ros.personas.identities import Identities
from facefusion_ros.personas.network import MOST_BOOST
from facefusion_ros.personas.persona import load_persona, read_sheet
from facefusion_ros.personas.stored import StoredSwapper
from facefusion_ros.personas.swapper import WarpSwapper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.engines.stored import StoredNetwork
    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.faces.face import Face
    from facefusion_ros.personas.persona import Shown
    from facefusion_ros.personas.swapper import Swapper

MOST_FACES = 1024
NETWORKS = ('model', 'recogniser', 'enhancer', 'occlusion', 'regions')
"""The settings that name networks."""


@dataclass(frozen=True, slots=True)
class PatchSettings:
    """Who is shown on which face, and how. Networks are named as in the user's store; an empty name is none."""

    personas: tuple[str, ...] = ('porcelain',)
    """Built-in names, or folders of personas."""
    selection: Selection = 'many'
    """Which faces are replaced; see ``Cast``."""
    max_faces: int = 4
    """Faces that are replaced in one picture."""
    references: tuple[str, ...] = ()
    """For ``identity``: the people to be recognised, each an identity (.npy) or a picture. As many as there are
    personas, in their order, or any number with one persona."""
    threshold: float = 0.4
    """Least cosine between a face and the one that it is recognised as."""
    patch_size: int = 256
    """Width and height of the patches where there is no swapper, pixels; a network has its own."""
    model: str = ''
    """Swapper. ``none``: personas are warped. Empty: the one that ships redraws those that it knows, others are
    warped."""
    pixel_boost: int = 1
    """How many times finer than its own pixels a small swapper redraws; see ``NetworkSwapper``."""
    recogniser: str = ''
    """Needed for ``identity``, and for personas with pictures as source whose swapper takes an identity."""
    enhancer: str = ''
    enhancement: EnhancerSettings = field(default_factory=EnhancerSettings)
    deadline: DeadlineSettings | None = None
    """None enhances each patch, however long that takes: for stills and films. Else the enhancer has a thread of its
    own, and never holds up the picture."""
    occlusion: str = ''
    """Mask of what hides a face, such as XSeg."""
    regions: str = ''
    """Mask of the face's regions, such as BiSeNet."""
    engines: EngineSettings | Mapping[Role, EngineSettings] = field(default_factory=EngineSettings)
    """One for all networks, or by what they are for; those not named have the defaults."""
    precision: Mapping[str, str] = field(default_factory=dict)
    """By the setting that names the network (model, recogniser, enhancer, occlusion, regions); else fp32."""
    accept_noncommercial: bool = False

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range, or does not go with the others."""
        by_identity = self.selection == 'identity'
        require(
            self,
            {
                'personas must name at least one': bool(self.personas) and all(self.personas),
                f'selection must be {", ".join(get_args(Selection))}': self.selection in get_args(Selection),
                f'max_faces must be 0 to {MOST_FACES}': 0 <= self.max_faces <= MOST_FACES,
                'threshold must be -1 to 1': -1 <= self.threshold <= 1,
                f'pixel_boost must be 1 to {MOST_BOOST}': 1 <= self.pixel_boost <= MOST_BOOST,
                f'precision must be of {", ".join(NETWORKS)}': set(self.precision) <= set(NETWORKS),
                'patch_size must be 16 to 4096': 16 <= self.patch_size <= 4096,
                'references must name at least one file where faces are selected by identity': bool(self.references)
                or not by_identity,
                'references must be as many as there are personas, or there must be one persona': len(self.personas)
                in {1, len(self.references)}
                or not by_identity,
                'recogniser must be named where faces are selected by identity': bool(self.recogniser)
                or not by_identity,
            },
        )

    def engine(self, role: Role) -> EngineSettings:
        """Return the settings for networks of a role."""
        if isinstance(self.engines, EngineSettings):
            return self.engines
        return self.engines.get(role) or EngineSettings()


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A persona, ready to be shown."""

    swapper: Swapper
    number: int
    """No two figures of a maker have the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A face, and who takes its place."""

    face: Face
    figure: Figure

    @property
    def shown(self) -> Shown:
        """Who is shown."""
        return self.figure.swapper.persona


class PatchMaker:
    """Makes patches; holds the networks that takes. Used by one thread, which also is the one that changes settings."""

    def __init__(self, settings: PatchSettings | None = None, detector: Detector | None = None) -> None:
        """Load personas and networks. ``detector`` finds the faces in pictures of personas and references.

        Raises PersonaError, IdentityError and PictureError for personas and references, ModelError where the store
        lacks a network or may not use it, EngineError where one does not run.
        """
        self._settings = settings = settings or PatchSettings()
        self._numbers = count()
        self._networks: dict[str, Engine | None] = {}
        with ExitStack() as loading:
            self._identities = Identities(
                settings.recogniser,
                settings.engine(Role.RECOGNITION),
                detector,
                precision=settings.precision.get('recogniser', 'fp32'),
                accept_noncommercial=settings.accept_noncommercial,
            )
            loading.callback(self._identities.close)
            self._network: StoredSwapper | None = None
            if settings.model != NONE:
                self._network = StoredSwapper(
                    settings.model or DEFAULT,
                    settings.engine,
                    precision=settings.precision.get('model', 'fp32'),
                    pixel_boost=settings.pixel_boost,
                    accept_noncommercial=settings.accept_noncommercial,
                )
                loading.callback(self._network.close)
                self._networks[self._network.entry.name] = self._network.engine
            self._figures = self._figures_of(settings.personas)
            size = self._figures[0].swapper.size
            self._patch, self._mask = np.zeros((size, size, 4), np.uint8), np.zeros((size, size), np.uint8)

            references = None
            if settings.selection == 'identity':
                references = np.array([self._identities.of_files([Path(file)]) for file in settings.references])
                self._recogniser = self._identities.recogniser('selection by identity')
                self._networks[settings.recogniser] = self._identities.network
            self._cast = Cast(
                settings.selection,
                len(settings.personas),
                max_faces=settings.max_faces,
                references=references,
                threshold=settings.threshold,
            )

            masks = [
                self._load(mask, Role.MASK, loading) for mask in ('occlusion', 'regions') if getattr(settings, mask)
            ]
            self._segmenters = tuple(Segmenter(mask.engine, mask.entry.family) for mask in masks)
            self._enhancer: Enhancer | None = None
            self._deadline: DeadlineEnhancer | None = None
            if settings.enhancer:
                network = self._load('enhancer', Role.ENHANCER, loading)
                self._enhancer = Enhancer(network.engine, network.entry.family, settings.enhancement)
                if settings.deadline is not None:
                    self._deadline = DeadlineEnhancer(self._enhancer, size, settings.deadline)
                    loading.callback(self._deadline.close)
            self._loaded = loading.pop_all()
        self.enhancer_failure = ''
        """What went wrong when a patch was enhanced last, beside a deadline: such a patch is shown as it is."""

    @property
    def size(self) -> int:
        """Width and height of the patches, pixels."""
        return int(self._mask.shape[0])

    @property
    def shown(self) -> tuple[Shown, ...]:
        """Who may be shown, in the order of the personas."""
        return tuple(figure.swapper.persona for figure in self._figures)

    @property
    def providers(self) -> dict[str, str]:
        """What runs each network that is loaded, by the network's name."""
        return {name: engine.provider for name, engine in self._networks.items() if engine is not None}

    @property
    def settings(self) -> PatchSettings:
        """How patches are made.

        Personas, max_faces, threshold, enhancement and deadline may be replaced between two pictures; SettingError says
        which others were. No network is loaded again but those that new personas need for a moment. Where one of the
        personas is refused, as at the start, nothing changes.
        """
        return self._settings

    @settings.setter
    def settings(self, settings: PatchSettings) -> None:
        self._change(settings, anew=settings.personas != self._settings.personas)

    def show(self, personas: Sequence[str]) -> None:
        """Show others in place of those shown until now, read anew where they are the same; see ``settings``."""
        self._change(replace(self._settings, personas=tuple(personas)), anew=True)

    def assign(self, frame_pixels: NDArray[np.uint8], faces: Sequence[Face]) -> tuple[Part, ...]:
        """Say who takes the place of which face of the next picture, in the faces' order.

        ``frame_pixels``: (H, W, 3) BGR; ``faces``: largest first. Raises EngineError where the recogniser fails; the
        next call then turns to other faces.
        """
        embed = None
        if self._settings.selection == 'identity':
            embed = lambda face: self._recogniser.embedding(frame_pixels, face)  # noqa: E731 - made for this call
        return tuple(Part(face, self._figures[persona]) for face, persona in self._cast.choose(faces, embed))

    def make(self, frame_pixels: NDArray[np.uint8], part: Part, out: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Write a part's patch to ``out`` and return image_from_patch, the (2, 3) map from its pixels to the frame's.

        ``frame_pixels``: (H, W, 3) BGR, the picture the face was found in; ``out``: (size, size, 4) BGRA, C-contiguous.
        Its alpha is the smallest of the swapper's own and the masks'. Raises ValueError where no pose explains the
        face's landmarks, EngineError where a network fails; then ``out`` means nothing. An enhancer that works beside
        a deadline does not raise that: see ``enhancer_failure``.
        """
        patch = out if self._deadline is None else self._patch
        face = part.face
        image_from_patch = part.figure.swapper.swap(frame_pixels, face, patch)
        for segmenter in self._segmenters:
            segmenter.mask(frame_pixels, image_from_patch, self._mask)
            combine((self._mask,), patch[..., 3])
        if self._enhancer is not None:
            landmarks = apply(invert(image_from_patch), face.landmarks)
            if self._deadline is None:
                self._enhancer.enhance(patch, landmarks, out)
            else:
                self._enhance(self._deadline, part, landmarks, out)
        return image_from_patch

    def reset(self) -> None:
        """Forget all faces, as where the ids of their tracks begin anew."""
        self._cast.reset()
        self._figures = tuple(Figure(figure.swapper, next(self._numbers)) for figure in self._figures)

    def close(self) -> None:
        """Let the networks go; may be called twice."""
        self._loaded.close()

    def _enhance(
        self, deadline: DeadlineEnhancer, part: Part, landmarks: NDArray[np.float64], out: NDArray[np.uint8]
    ) -> None:
        track_id = part.face.track_id
        # Another persona on the same face is another track: the enhanced patches of the one before must not be shown.
        key = (part.figure.number << 32) + track_id if track_id else 0
        try:
            age_ns = deadline.enhance(key, self._patch, landmarks, out)
        except EngineError as error:
            self.enhancer_failure = str(error)
            out[...] = self._patch
        else:
            if age_ns is not None:
                self.enhancer_failure = ''

    def _change(self, settings: PatchSettings, *, anew: bool) -> None:
        before = self._settings
        same = replace(
            settings,
            personas=before.personas,
            max_faces=before.max_faces,
            threshold=before.threshold,
            enhancement=before.enhancement,
            deadline=before.deadline if settings.deadline and before.deadline else settings.deadline,
        )
        for name in PatchSettings.__dataclass_fields__:
            if getattr(same, name) != getattr(before, name):
                raise SettingError(f'{name} cannot be changed without loading networks: make a new PatchMaker')
        if anew:
            self._figures = self._figures_of(settings.personas)
            self._cast.personas = len(settings.personas)
        self._cast.max_faces, self._cast.threshold = settings.max_faces, settings.threshold
        if self._enhancer is not None:
            self._enhancer.settings = settings.enhancement
        if self._deadline is not None and settings.deadline is not None:
            self._deadline.settings = settings.deadline
        self._settings = settings

    def _figures_of(self, personas: Sequence[str]) -> tuple[Figure, ...]:
        network = self._network
        if network is None:
            redrawn: Sequence[str] = ()
        elif self._settings.model:
            redrawn = personas
        else:
            redrawn = [name for name in personas if name in network.entry.personas]
        swappers: dict[str, Swapper] = {
            name: WarpSwapper(load_persona(name), network.size if network else self._settings.patch_size)
            for name in personas
            if name not in redrawn
        }
        if network is not None:
            try:
                made = network.swappers([read_sheet(name) for name in redrawn], self._identities)
            finally:
                if self._settings.selection != 'identity':
                    self._identities.close()
            swappers |= dict(zip(redrawn, made, strict=True))
        return tuple(Figure(swappers[name], next(self._numbers)) for name in personas)

    def _load(self, setting: str, role: Role, loading: ExitStack) -> StoredNetwork:
        settings = self._settings
        name: str = getattr(settings, setting)
        network = load_stored(
            name,
            role,
            settings.engine(role),
            accept_noncommercial=settings.accept_noncommercial,
            precision=settings.precision.get(setting, 'fp32'),
        )
        loading.enter_context(closing(network.engine))
        self._networks[name] = network.engine
        return network
