"""A network's picture input and its outputs, as arrays that are made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.kernels.crop import Normalisation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine, TensorSpec
    from facefusion_ros.models.entry import Preprocessing


class PictureTensor:
    """The picture input of a network, of one picture or several, filled from BGR pixels without allocating."""

    def __init__(
        self,
        spec: TensorSpec,
        preprocessing: Preprocessing,
        size: tuple[int, int],
        multiple: int = 1,
        count: int = 1,
    ) -> None:
        """Allocate for ``count`` pictures. ``size`` (width, height) is used where the file leaves it open.

        Raises EngineError where the input is no picture of three channels or is for another number of them, its sides
        are no multiples of ``multiple``, or it is not of float32 or float16.
        """
        self.name = spec.name
        self.planar = preprocessing.layout == 'nchw'
        """One channel after the other, rather than all of a pixel together."""
        if len(spec.shape) != 4 or spec.shape[1 if self.planar else 3] not in (3, None):
            raise EngineError(
                f'input {spec.name} has shape {spec.shape}, which is no picture in {preprocessing.layout}: '
                'set the right family for this file'
            )
        if spec.shape[0] not in (count, None):
            raise EngineError(f'input {spec.name} takes {spec.shape[0]} pictures at once: export the file for {count}')
        if spec.dtype not in (np.float32, np.float16):
            raise EngineError(f'input {spec.name} is of {spec.dtype}: export the file with float32 or float16 inputs')
        height, width = spec.shape[2:] if self.planar else spec.shape[1:3]
        self.size = (width or size[0], height or size[1])
        """Width and height, pixels."""
        if min(self.size) < 1 or self.size[0] % multiple or self.size[1] % multiple:
            raise EngineError(
                f'input {spec.name} of {self.size[0]}x{self.size[1]} pixels: sides must be multiples of {multiple}'
            )
        shape = (count, 3, *self.size[::-1]) if self.planar else (count, *self.size[::-1], 3)
        self.array: NDArray[np.floating] = np.zeros(shape, spec.dtype)
        """What is given to the engine."""
        swap = preprocessing.colour == 'rgb'
        self._channels = (2, 1, 0) if swap else (0, 1, 2)
        mean, std = np.array(preprocessing.mean, np.float64), np.array(preprocessing.std, np.float64)
        self._gain = (preprocessing.scale / std).astype(np.float32)
        self._offset = (-mean / std).astype(np.float32)

    @property
    def normalisation(self) -> Normalisation:
        """What ``fill`` does to the pixels."""
        gain, offset = self._gain.tolist(), self._offset.tolist()
        return Normalisation(tuple(gain), tuple(offset), blue_first=self._channels == (0, 1, 2))

    def fill(self, pixels: NDArray[np.uint8], place: int = 0) -> None:
        """Take a (height, width, 3) BGR picture of the tensor's size, as the one at this place of ``count``."""
        for i, channel in enumerate(self._channels):
            plane = self.array[place, i] if self.planar else self.array[place, ..., i]
            np.multiply(pixels[..., channel], self._gain[i], out=plane, dtype=np.float32, casting='same_kind')
            if self._offset[i]:
                np.add(plane, self._offset[i], out=plane, dtype=np.float32, casting='same_kind')


def fits(spec: TensorSpec, shape: Sequence[int], count: int = 1) -> bool:
    """Whether a tensor can be of this shape, ``count`` times: a leading dimension, which for one may be missing."""
    rank = len(spec.shape) - len(shape)
    return (
        rank in ((0, 1) if count == 1 else (1,))
        and all(n in (count, None) for n in spec.shape[:rank])
        and all(n in (m, None) for n, m in zip(spec.shape[rank:], shape, strict=True))
    )


def arrange(engine: Engine, shapes: Sequence[Sequence[int]]) -> tuple[TensorSpec, ...] | None:
    """Return the outputs that have these shapes, in this order; None where one is not there.

    Outputs are told apart by shape; of those with one shape, and where the file leaves shapes open, by their order.
    """
    rest, found = list(engine.outputs), []
    for shape in shapes:
        spec = next((spec for spec in rest if fits(spec, shape)), None)
        if spec is None:
            return None
        rest.remove(spec)
        found.append(spec)
    return tuple(found)


def allocate(spec: TensorSpec, shape: Sequence[int], count: int = 1) -> NDArray[np.generic]:
    """Make an array for a tensor of this shape, ``count`` times, which ``fits``."""
    return np.zeros((*(count,) * (len(spec.shape) - len(shape)), *shape), spec.dtype)
