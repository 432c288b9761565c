"""Restoring a whole frame by a network of the Real-ESRGAN kind.

What that costs, of the published architectures, per pixel that goes in, counting a multiplication and an addition as
two operations (xinntao/BasicSR: basicsr/archs/rrdbnet_arch.py; xinntao/Real-ESRGAN: realesrgan/archs/srvgg_arch.py):
RealESRGAN_x4plus 35.9 MFLOP, RealESRGAN_x2plus 9.0, realesr-general-x4v3 2.4, realesr-animevideov3 1.2. A frame of
640x360 that goes in as it is takes RealESRGAN_x4plus 8.3 TFLOP, reduced to 160x90 first 0.52 TFLOP. A Jetson AGX Orin
64GB has 42.6 TFLOP/s in FP16 (16 multiprocessors of 1024 multiplications with addition at 1.3 GHz). With half of that,
which few networks reach, the reduced frame takes RealESRGAN_x4plus 24 ms and realesr-general-x4v3 1.6 ms, and the whole
one 390 and 26 ms: computed, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.errors import require
from facefusion_ros.faces.tensors import PictureTensor, allocate, arrange
from facefusion_ros.models.entry import Role
from facefusion_ros.personas.enhancer import read_plane
from facefusion_ros.personas.tiles import tile_shares, tile_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.models.entry import Family


@dataclass(frozen=True, slots=True)
class BackgroundSettings:
    """How a frame is restored, and how long it waits for that."""

    budget_s: float = 0.02
    """Time for which a frame waits for its own restoration, which is not shown on another one: the camera has moved.
    So a network that takes longer than this shows nothing, ever, and one that takes about as long makes the picture
    flicker; and every frame is that much later. Above 0, and less than the time between two frames."""
    strength: float = 0.8
    """How much of the network's picture shows: 0, none, to 1."""
    reduction: int = 0
    """The frame goes in with width and height divided by this; 0: by the network's scale, so that its picture is as
    large as the frame. That takes the least time, averages noise away, and leaves it to the network to invent whatever
    is finer than so many pixels: good for a noisy, dim or blurred picture. 1 keeps what is fine in a sharp one and
    takes 16 times as long with a network of scale 4. Divides the scale; read when the network is loaded."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                'budget_s must be more than 0, or no frame is ever restored in time, and at most 60': (
                    0 < self.budget_s <= 60
                ),
                'strength must be 0 to 1': 0 <= self.strength <= 1,
                'reduction must be 0 to 8': 0 <= self.reduction <= 8,
            },
        )


@dataclass(frozen=True, slots=True)
class Reduction:
    """How frames of one size go into a network of one family, and come out."""

    scale: int
    """How often the network's picture is as wide and high as what goes in."""
    divisor: int
    """By what the frame's width and height are divided first."""
    size: tuple[int, int]
    """Width and height of what goes in, pixels: all of the frame, and of incomplete pixels the rest made up."""


def reduction_of(family: Family, frame_size: tuple[int, int], settings: BackgroundSettings) -> Reduction:
    """Return how frames of a width and height go into a network of a family.

    Raises EngineError where the family restores no frames or cannot be fed as the settings say.
    """
    if family.role is not Role.BACKGROUND or family.range is None:
        raise EngineError(f'{family.name} is no family of backgrounds: choose one, such as real_esrgan_x4')
    # The form of the output, such as 1x3xh*4xw*4, tells the scale.
    scale = int(str(family.outputs[0].shape[-1]).partition('*')[2] or 1)
    divisor = settings.reduction or scale
    if scale % divisor:
        fitting = ', '.join(str(n) for n in range(1, scale + 1) if not scale % n)
        raise EngineError(f'a reduction by {divisor} does not suit {family.name}: choose from {fitting}')
    width, height = (-(-side // divisor) for side in frame_size)
    return Reduction(scale, divisor, (width, height))


def input_size(family: Family, frame_size: tuple[int, int], settings: BackgroundSettings) -> tuple[int, int]:
    """Return width and height for a network whose file leaves them open: it then takes all of a frame at once.

    Raises EngineError as ``reduction_of`` does.
    """
    width, height = reduction_of(family, frame_size, settings).size
    return width + -width % family.multiple, height + -height % family.multiple


@dataclass(frozen=True, slots=True, eq=False)
class _Tile:
    """A part of the picture that goes into the network at once."""

    source: NDArray[np.uint8]
    """View of what goes in, (h, w, 3)."""
    place: NDArray[np.uint8]
    """View of the restored frame."""
    share: NDArray[np.float32] | None
    """How much of this tile shows over those before it, (h, w) of ``place``; None for all of it."""
    rest: NDArray[np.float32] | None
    """One less that."""


class BackgroundEnhancer:
    """Restores frames of one size, in steps that different threads may take in turn. Owns the engine.

    Nothing is allocated after the first frame.
    """

    def __init__(
        self,
        engine: Engine,
        family: Family,
        frame_size: tuple[int, int],
        settings: BackgroundSettings | None = None,
    ) -> None:
        """Fit the buffers to frames of a width and height, pixels, and to the network.

        Where the file fixes the size of the network's input, frames go in in overlapping tiles of it, else all at once.
        Raises EngineError where the engine runs no network of this family, or the reduction does not suit it.
        """
        self.settings = settings or BackgroundSettings()
        """May be replaced between two frames, but for the reduction."""
        self.frame_size = frame_size
        reduction = reduction_of(family, frame_size, self.settings)
        self._divisor, scale = reduction.divisor, reduction.scale
        if len(engine.inputs) != 1 or family.range is None:
            there = ', '.join(f'{spec.name} {spec.shape}' for spec in engine.inputs)
            raise EngineError(f'the inputs {there} are not those of {family.name}: set the right family for this file')
        self._engine, self._range = engine, family.range
        self._tensor = PictureTensor(
            engine.inputs[0], family.preprocessing, input_size(family, frame_size, self.settings), family.multiple
        )
        width, height = self._tensor.size
        specs = arrange(engine, [(3, height * scale, width * scale)])
        if specs is None:
            there = ', '.join(str(spec.shape) for spec in engine.outputs)
            raise EngineError(
                f'the outputs {there} hold no picture of {width * scale}x{height * scale}: set the right family'
            )
        self._inputs = {self._tensor.name: self._tensor.array}
        self._outputs = {specs[0].name: allocate(specs[0], (3, height * scale, width * scale))}
        self._planes: NDArray[Any] = self._outputs[specs[0].name].reshape(3, height * scale, width * scale)
        self._plane = np.zeros((height * scale, width * scale), np.float32)
        self._large = np.zeros((height * scale, width * scale, 3), np.uint8)
        self._channels = (2, 1, 0) if family.preprocessing.colour == 'rgb' else (0, 1, 2)
        self._tile = np.zeros((height * self._divisor, width * self._divisor, 3), np.uint8)
        if scale == self._divisor:
            self._tile = self._large

        (right, bottom), (frame_width, frame_height) = reduction.size, frame_size
        self._small = np.zeros((max(bottom, height), max(right, width), 3), np.uint8)
        self._beyond = (
            (self._small[:bottom, right:], self._small[:bottom, right - 1 : right]),
            (self._small[bottom:], self._small[bottom - 1 : bottom]),
        )
        self._cells = [
            (rows, columns, self._small[to_rows, to_columns])
            for rows, to_rows in _cells(frame_height, self._divisor)
            for columns, to_columns in _cells(frame_width, self._divisor)
        ]
        self._restored = np.zeros((bottom * self._divisor, right * self._divisor, 3), np.uint8)
        self._frame = self._restored[:frame_height, :frame_width]
        self._tiles = self._cover(reduction.size)

    def enhance(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Write a restored frame to ``out``: the three steps in one.

        ``pixels`` and ``out``: (H, W, 3) BGR of the frame's size, may be the same. Raises ValueError where they are
        not, EngineError where the network fails or its picture is not finite.
        """
        self.take(pixels)
        self.restore()
        self.show(pixels, out)

    def take(self, pixels: NDArray[np.uint8]) -> None:
        """Take what the network needs of a frame, (H, W, 3) BGR; the pixels are not needed afterwards.

        Raises ValueError where they are no frame of this size.
        """
        self._require(pixels=pixels)
        for rows, columns, cells in self._cells:
            cv2.resize(pixels[rows, columns], cells.shape[1::-1], dst=cells, interpolation=cv2.INTER_AREA)
        for beyond, edge in self._beyond:
            beyond[...] = edge

    def restore(self) -> None:
        """Run the network on the frame that was taken. Raises EngineError where it fails or is not finite."""
        for tile in self._tiles:
            self._tensor.fill(tile.source)
            self._engine.run(self._inputs, self._outputs)
            for plane, channel, mean, std in zip(
                self._planes, self._channels, self._range.mean, self._range.std, strict=True
            ):
                read_plane(plane, mean, std, self._plane, self._large[..., channel])
            if self._tile is not self._large:
                cv2.resize(self._large, self._tile.shape[1::-1], dst=self._tile, interpolation=cv2.INTER_AREA)
            height, width = tile.place.shape[:2]
            made = self._tile[:height, :width]
            if tile.share is None or tile.rest is None:
                tile.place[...] = made
            else:
                cv2.blendLinear(tile.place, made, tile.rest, tile.share, dst=tile.place)

    def show(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Write the frame that was taken to ``out`` as it was restored, with as much of the network as is set.

        ``pixels`` and ``out``: (H, W, 3) BGR, may be the same. Raises ValueError where they are no frames of this size.
        """
        self._require(pixels=pixels, out=out)
        strength = self.settings.strength
        cv2.addWeighted(pixels, 1 - strength, self._frame, strength, 0, dst=out)

    def close(self) -> None:
        """Release the network; may be called twice."""
        self._engine.close()

    def _require(self, **arrays: NDArray[np.uint8]) -> None:
        for name, array in arrays.items():
            if array.shape != self._frame.shape or array.dtype != np.uint8:
                raise ValueError(f'{name} must be uint8 {self._frame.shape}, not {array.dtype} {array.shape}')

    def _cover(self, size: tuple[int, int]) -> list[_Tile]:
        """Cover what goes in, of a width and height, with tiles."""
        times = self._divisor
        width, height = self._tensor.size
        left, top = tile_starts(size[0], width), tile_starts(size[1], height)
        columns, rows = tile_shares(left, width, size[0], times), tile_shares(top, height, size[1], times)
        shown = np.zeros(self._restored.shape[:2], np.float32)
        tiles = []
        for y, row in zip(top, rows, strict=True):
            for x, column in zip(left, columns, strict=True):
                part = slice(y * times, (y + height) * times), slice(x * times, (x + width) * times)
                wanted = np.outer(row[part[0]], column[part[1]])
                shown[part] += wanted
                share = rest = None
                if len(rows) * len(columns) > 1:
                    # Those before cover less than all of the place so far: of what is shown then, this is the part.
                    share = np.divide(wanted, shown[part], out=np.zeros_like(wanted), where=shown[part] > 0)
                    rest = 1 - share
                tiles.append(_Tile(self._small[y : y + height, x : x + width], self._restored[part], share, rest))
        return tiles


def _cells(length: int, divisor: int) -> list[tuple[slice, slice]]:
    """Return which pixels of a frame become which of what goes in: all that fill theirs, and those that do not."""
    full = length // divisor
    cells = [(slice(0, full * divisor), slice(0, full)), (slice(full * divisor, length), slice(full, full + 1))]
    return [cells[0]] * (full > 0) + [cells[1]] * (length % divisor > 0)
