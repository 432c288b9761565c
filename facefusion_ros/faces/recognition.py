"""Who a face is, as a vector: of one picture, of several, and kept in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.alignment import ARCFACE_112, invert, similarity
from facefusion_ros.faces.feed import Feed
from facefusion_ros.faces.tensors import PictureTensor, allocate, arrange

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.faces.face import Face
    from facefusion_ros.models.entry import Family

LENGTH = 512
"""Numbers in an embedding."""


class IdentityError(FacefusionError):
    """Pictures or a file from which no identity can be taken."""


class Recogniser:
    """Tells faces apart (Deng et al., "ArcFace", CVPR 2019). Used by one thread; the engine stays the caller's."""

    def __init__(self, engine: Engine, family: Family) -> None:
        """Fit the buffers to the network. Raises EngineError where it gives no embedding of 512 numbers."""
        tensor = PictureTensor(engine.inputs[0], family.preprocessing, family.size or (112, 112))
        width, height = tensor.size
        self._feed = Feed(engine, tensor)
        # Pixel centres are at whole numbers, hence the halves.
        self._template = (np.array(ARCFACE_112) + 0.5) * (width / 112, height / 112) - 0.5
        specs = arrange(engine, [(LENGTH,)])
        if specs is None:
            there = ', '.join(str(spec.shape) for spec in engine.outputs)
            raise EngineError(f'the outputs {there} hold no embedding of {LENGTH} numbers: set the right family')
        self._outputs = {specs[0].name: allocate(specs[0], (LENGTH,))}
        self._view = self._outputs[specs[0].name].reshape(LENGTH)

    def embedding(self, pixels: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        """(512,) float32 of length 1: who a face of a (H, W, 3) BGR picture is.

        The product of two embeddings is the cosine of their angle: above about 0.4 for one person. Raises ValueError
        where the face's landmarks are not five finite points that a similarity can reach, EngineError where the
        network fails or gives no direction.
        """
        # Fitted in the crop's pixels as in training (InsightFace, face_align.py); the other way about, scales differ.
        self._feed.fill(pixels, invert(similarity(face.landmarks, self._template)))
        self._feed.run(self._outputs)
        try:
            return _unit(self._view)
        except ValueError as error:
            raise EngineError(f'the embedding {error}: run this network with higher precision') from None


def mean_identity(embeddings: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """(512,) float32 of length 1: the mean direction of embeddings, each of which counts equally.

    Raises IdentityError where there are none, or they cancel each other.
    """
    if not embeddings:
        raise IdentityError('an identity needs at least one picture')
    try:
        return _unit(np.mean([_unit(each) for each in embeddings], axis=0))
    except ValueError as error:
        raise IdentityError(f'the mean of the embeddings {error}: use pictures of one person') from None


def largest_face(pixels: NDArray[np.uint8], detector: Detector, name: object) -> Face:
    """Return the largest face of a (H, W, 3) BGR picture. Raises IdentityError, with its name, where there is none."""
    face = next(iter(detector.detect(pixels)), None)
    if face is None:
        raise IdentityError(f'no face in {name}: use a picture that shows it from the front')
    return face


def save_identity(path: Path, embedding: NDArray[np.floating]) -> None:
    """Write an identity as a .npy file of (512,) float32. Raises IdentityError where that fails."""
    try:
        with path.open('wb') as file:
            np.save(file, _unit(embedding), allow_pickle=False)
    except OSError as error:
        raise IdentityError(f'cannot write the identity {path}: {error.strerror}') from None


def load_identity(path: Path) -> NDArray[np.float32]:
    """Read a .npy file of 512 numbers and return them as (512,) float32 of length 1. Raises IdentityError."""
    try:
        with path.open('rb') as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise IdentityError(f'cannot read the identity {path}: {error.strerror}') from None
    except ValueError:
        raise IdentityError(f'{path} is no .npy file of numbers: make one from pictures') from None
    if values.size != LENGTH or values.dtype.kind != 'f':
        raise IdentityError(
            f'{path} holds {values.shape} of {values.dtype}: an identity is {LENGTH} floating point numbers'
        )
    try:
        return _unit(values)
    except ValueError as error:
        raise IdentityError(f'the identity in {path} {error}: make it again from pictures') from None


def _unit(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Scale to length 1; raises ValueError saying what is wrong."""
    vector = values.astype(np.float64).ravel()
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length):
        raise ValueError('is not finite')
    if length < 1e-6:
        raise ValueError('is zero')
    return (vector / length).astype(np.float32)
