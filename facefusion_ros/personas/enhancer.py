"""Restoring a persona's patch by a network: CodeFormer, GFPGAN, GPEN, RestoreFormer++."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.errors import require
from facefusion_ros.faces.alignment import invert, similarity
from facefusion_ros.faces.feed import Feed
from facefusion_ros.faces.tensors import PictureTensor, allocate, arrange
from facefusion_ros.models.entry import Role
from facefusion_ros.models.families import catalogue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine, TensorSpec
    from facefusion_ros.models.entry import Family

# The rim of the network's picture, as fractions of it: not used, and where its use fades in.
_RIM, _FADE = 0.02, 0.06
# A warp looks at four pixels: where one of its result covers more than this many of its source, their mean comes first.
_SHRINK = 1.5


@dataclass(frozen=True, slots=True)
class EnhancerSettings:
    """How much is restored."""

    strength: float = 0.8
    """How much of the network's picture shows in the patch: 0, none, to 1."""
    fidelity: float = 0.5
    """CodeFormer's weight: 0 invents the most detail, 1 stays closest to what is there. Others have none."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                'strength must be 0 to 1': 0 <= self.strength <= 1,
                'fidelity must be 0 to 1': 0 <= self.fidelity <= 1,
            },
        )


class Enhancer:
    """Restores patches. Used by one thread; the engine stays the caller's."""

    def __init__(self, engine: Engine, family: Family, settings: EnhancerSettings | None = None) -> None:
        """Fit the buffers to the network. Raises EngineError where the engine runs no network of this family."""
        self.settings = settings or EnhancerSettings()
        """May be replaced between two patches."""
        if family.role is not Role.ENHANCER or family.template is None or family.range is None:
            raise EngineError(f'{family.name} is no family of enhancers: choose one, such as codeformer')
        self._engine = engine
        picture, self._weight_name, self._weight = _inputs(engine, family)
        size = family.size or (family.sizes[0], family.sizes[0])
        self._tensor = PictureTensor(picture, family.preprocessing, size)
        width, height = self._tensor.size
        specs = arrange(engine, [(3, height, width)])
        if specs is None:
            there = ', '.join(str(spec.shape) for spec in engine.outputs)
            raise EngineError(f'the outputs {there} hold no picture of {width}x{height}: set the right family')
        self._feed = Feed(engine, self._tensor, {self._weight_name: self._weight} if self._weight_name else {})
        self._outputs = {specs[0].name: allocate(specs[0], (3, height, width))}
        self._planes: NDArray[Any] = self._outputs[specs[0].name].reshape(3, height, width)
        self._range = family.range
        self._channels = (2, 1, 0) if family.preprocessing.colour == 'rgb' else (0, 1, 2)

        template = catalogue().templates[family.template]
        # Centres of pixels are at whole numbers: hence the halves.
        self._template = (np.array(template.points) + 0.5) * (np.array([width, height]) / template.size) - 0.5

        self._crop = np.zeros((height, width, 4), np.uint8)
        self._plane = np.zeros((height, width), np.float32)
        self._restored = np.zeros((height, width, 4), np.uint8)
        """BGR, and beside it how much each pixel counts."""
        x, y = (np.minimum(np.arange(n), np.arange(n)[::-1]) / n for n in (width, height))
        self._restored[..., 3] = np.rint(255 * np.clip((np.minimum(x, y[:, None]) - _RIM) / _FADE, 0, 1))
        self._fit(0)

    def enhance(self, patch: NDArray[np.uint8], landmarks: NDArray[np.floating], out: NDArray[np.uint8]) -> None:
        """Write the restored patch to ``out``; its alpha is the patch's.

        ``patch`` and ``out``: (S, S, 4) BGRA, C-contiguous, may be the same; ``landmarks``: (5, 2) of the patch,
        pixels. What lies outside the network's picture stays as it is. Allocates where S is another than before.
        Raises ValueError where the arrays are not as described or the landmarks are not five finite points that a
        similarity can reach, EngineError where the network fails or its picture is not finite.
        """
        for name, array in (('patch', patch), ('out', out)):
            square = array.ndim == 3 and array.shape == (array.shape[0], array.shape[0], 4) == patch.shape
            if not square or array.dtype != np.uint8 or not array.flags.c_contiguous:
                raise ValueError(f'{name} must be C-contiguous uint8 (S, S, 4), not {array.shape} of {array.dtype}')
        crop_from_patch = similarity(landmarks, self._template)
        if patch.shape[0] != self._size:
            self._fit(patch.shape[0])
        self._weight[...] = self.settings.fidelity
        self._feed.fill(patch, invert(crop_from_patch))
        self._feed.run(self._outputs)
        for plane, channel, mean, std in zip(
            self._planes, self._channels, self._range.mean, self._range.std, strict=True
        ):
            read_plane(plane, mean, std, self._plane, self._restored[..., channel])
        _warp(self._restored, crop_from_patch, self._smaller_restored, self._back)
        np.multiply(self._back[..., 3], np.float32(self.settings.strength / 255), out=self._share)
        np.subtract(np.float32(1), self._share, out=self._rest)
        self._back[..., 3] = patch[..., 3]
        cv2.blendLinear(patch, self._back, self._rest, self._share, dst=out)

    def _fit(self, size: int) -> None:
        """Make the buffers for patches of this size."""
        self._size = size
        height, width = self._restored.shape[:2]
        self._back = np.zeros((size, size, 4), np.uint8)
        self._share, self._rest = np.zeros((2, size, size), np.float32)
        # An aligned patch and the network's picture show about the same: their sizes tell the scale.
        side = max(height, width)
        self._smaller_patch = np.zeros((height, width, 4), np.uint8) if size > _SHRINK * side else None
        self._smaller_restored = np.zeros((size, size, 4), np.uint8) if side > _SHRINK * size else None


def read_plane(
    values: NDArray[np.floating], mean: float, std: float, scratch: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """Write one channel of a network's picture as 0..255: value * std + mean is 0..1, clipped. All are (h, w).

    Raises EngineError where a value is not finite.
    """
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise EngineError('the enhanced picture is not finite: run this network with higher precision')
    np.multiply(values, np.float32(255 * std), out=scratch, dtype=np.float32, casting='same_kind')
    np.add(scratch, np.float32(255 * mean), out=scratch)
    np.clip(scratch, 0.0, 255.0, out=scratch)
    np.rint(scratch, out=scratch)
    np.copyto(out, scratch, casting='unsafe')


def _warp(
    source: NDArray[np.uint8],
    source_from_out: NDArray[np.float64],
    smaller: NDArray[np.uint8] | None,
    out: NDArray[np.uint8],
) -> None:
    """Write what the map points at in the source, shrunk first to ``smaller`` if given; beyond, its edge goes on."""
    affine = source_from_out
    if smaller is not None:
        cv2.resize(source, smaller.shape[1::-1], dst=smaller, interpolation=cv2.INTER_AREA)
        ratio = np.array(smaller.shape[1::-1]) / source.shape[1::-1]
        affine = affine * ratio[:, None]
        affine[:, 2] += ratio / 2 - 0.5
        source = smaller
    cv2.warpAffine(
        source,
        affine,
        out.shape[1::-1],
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _inputs(engine: Engine, family: Family) -> tuple[TensorSpec, str, NDArray[np.generic]]:
    """Return the picture input, and name and array of the weight; the name is empty where there is none."""
    pictures = [spec for spec in engine.inputs if len(spec.shape) == 4]
    others = [spec for spec in engine.inputs if len(spec.shape) != 4]
    wanted = sum(form.role == 'weight' for form in family.inputs)
    if len(pictures) != 1 or len(others) != wanted or any(n not in (1, None) for spec in others for n in spec.shape):
        there = ', '.join(f'{spec.name} {spec.shape}' for spec in engine.inputs)
        raise EngineError(f'the inputs {there} are not those of {family.name}: set the right family for this file')
    if not others:
        return pictures[0], '', np.zeros(1, np.float32)
    return pictures[0], others[0].name, np.zeros((1,) * len(others[0].shape), others[0].dtype)
