"""Who a swapper's network shows, and how the network is told."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.faces.aligned import image_from_crop
from facefusion_ros.faces.crop import crop
from facefusion_ros.faces.tensors import allocate, fits
from facefusion_ros.models.entry import ModelError
from facefusion_ros.personas.persona import PersonaError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.models.entry import Family, Source

LENGTH = 512
"""Numbers in an identity."""


@dataclass(frozen=True)
class Likeness:
    """Who a network shows, where that is no picture to be warped: an identity, or a network trained for one face."""

    name: str
    title: str
    consent: str
    """Who agreed to be shown, to what, and when."""
    digest: str
    """SHA-256, hexadecimal: of the identity (``digest_of``), or of the file trained for this face."""
    reflectance: float = 1.0
    """Light that its skin sends back over that of people's skin: shown so much brighter than the face."""

    def __post_init__(self) -> None:
        if not self.consent.strip():
            raise PersonaError(
                f'{self.name} has no consent: write who agreed to be shown, to what and when, '
                'or that no person is depicted'
            )


def digest_of(identity: NDArray[np.floating]) -> str:
    """SHA-256 over the 512 numbers of an identity as little-endian float32, hexadecimal."""
    return hashlib.sha256(identity.astype('<f4').tobytes()).hexdigest()


def source_vector(
    identity: NDArray[np.floating],
    family: Family,
    projection: NDArray[np.generic] | None = None,
    converter: Engine | None = None,
) -> NDArray[np.float32]:
    """(512,) float32: an identity as this family of swappers is given it.

    ``identity``: (512,), of any length above 0. ``projection``: the (512, 512) weight of the swapper's file, for
    families that have one. ``converter``: the network that ``family.source.converter`` names, for those that have one.
    Raises ModelError where the family takes no vector or what it needs is not given, PersonaError where the identity
    is no direction of 512 numbers, EngineError where the converter fails or gives no direction.
    """
    source = _source(family, 'vector')
    if identity.shape != (LENGTH,):
        raise PersonaError(f'an identity is {LENGTH} numbers, not {identity.shape}: make it again from pictures')
    try:
        vector = _unit(identity)
    except ValueError as error:
        raise PersonaError(f'the identity {error}: make it again from pictures') from None
    if source.converter is not None:
        if converter is None:
            raise ModelError(f'{family.name} needs its converter of identities: add {source.converter} to the store')
        vector = _converted(vector, converter)
    if source.projection:
        if projection is None or projection.shape != (LENGTH, LENGTH):
            raise ModelError(f'{family.name} needs the {LENGTH}x{LENGTH} projection of its file: add the file again')
        # InsightFace, model_zoo/inswapper.py: a row vector times the matrix, then length 1.
        vector = vector @ projection.astype(np.float64)
    try:
        return (_unit(vector) if source.unit else _finite(vector)).astype(np.float32)
    except ValueError as error:
        raise EngineError(f'what {family.name} would be given as identity {error}: use another file') from None


def source_picture(pixels: NDArray[np.uint8], landmarks: ArrayLike, family: Family) -> NDArray[np.uint8]:
    """(size, size, 3) BGR: a face as this family of swappers is given it.

    ``pixels``: (H, W, 3) BGR; ``landmarks``: (5, 2) of the face in it. Raises ModelError where the family takes no
    picture, ValueError where the landmarks are not five finite points that a similarity can reach.
    """
    source = _source(family, 'picture')
    out = np.zeros((source.size, source.size, 3), np.uint8)
    crop(pixels, image_from_crop(source.template, source.size, landmarks), out)
    return out


def _source(family: Family, kind: str) -> Source:
    if family.source is None or family.source.kind != kind:
        takes = 'no source' if family.source is None else f'a {family.source.kind}'
        raise ModelError(f'{family.name} takes {takes} to say who is shown, not a {kind}')
    return family.source


def _converted(vector: NDArray[np.float64], converter: Engine) -> NDArray[np.float64]:
    inputs, outputs = converter.inputs, converter.outputs
    if len(inputs) != 1 or not fits(inputs[0], (LENGTH,)) or not outputs or not fits(outputs[0], (LENGTH,)):
        raise EngineError(f'the converter of identities must turn {LENGTH} numbers into {LENGTH}: use a crossface file')
    given, found = allocate(inputs[0], (LENGTH,)), allocate(outputs[0], (LENGTH,))
    given[...] = vector
    converter.run({inputs[0].name: given}, {outputs[0].name: found})
    return found.reshape(LENGTH).astype(np.float64)


def _finite(vector: NDArray[np.floating]) -> NDArray[np.float64]:
    if not np.isfinite(vector).all():
        raise ValueError('is not finite')
    return vector.astype(np.float64)


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale to length 1; raises ValueError saying what is wrong."""
    finite = _finite(vector)
    length = float(np.linalg.norm(finite))
    if length < 1e-6:
        raise ValueError('is zero')
    scaled: NDArray[np.float64] = finite / length
    return scaled
