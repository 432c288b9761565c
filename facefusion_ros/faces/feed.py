"""A network's picture input, filled from a frame: by the GPU that runs the network, or by the CPU."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.device import device_of
from facefusion_ros.engines.device_input import DeviceInput
from facefusion_ros.engines.engine import DeviceMemoryError
from facefusion_ros.engines.kernels.crop import Sampling
from facefusion_ros.faces.crop import crop, view
from facefusion_ros.faces.letterbox import Letterbox

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facefusion_ros.engines.device import DeviceEngine
    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.faces.tensors import PictureTensor

_log = logging.getLogger(__name__)


class Feed:
    """Fills a ``PictureTensor`` or what the GPU has in its stead, and runs the network on it.

    Used by one thread; the engine stays the caller's. Where an engine has a ``DeviceEngine``, the crop, its colours and
    numbers are made on the GPU, which reads mapped frames in their place, and the tensor stays empty. Where the GPU has
    no room for a crop, crops are the CPU's from then on.

    Both ways sample alike: means over a grid where a pixel covers more than 1.5 of the frame's, bilinear in between.
    They differ in what the CPU rounds: values to whole ones, twice, and the places of a crop to 1/32 of a pixel, as
    OpenCV's warp does. That is up to 1.5 of 255 for a letterbox, and for a crop that and 1/64 of the largest steps
    between neighbours. Where a letterbox halves an odd size the CPU interpolates and leaves out pixels that count in
    the kernel's means, so that fine detail differs by more.
    """

    def __init__(
        self, engine: Engine, tensor: PictureTensor, others: Mapping[str, NDArray[np.generic]] | None = None
    ) -> None:
        """Fit it to the input that ``tensor`` is for.

        ``others``: the network's other inputs, by name; what is in these arrays is the caller's business.
        """
        self._engine, self._tensor = engine, tensor
        self._others = dict(others or {})
        self._inputs = {tensor.name: tensor.array, **self._others}
        self._crop = np.zeros((*tensor.size[::-1], 3), np.uint8)
        self._device: DeviceEngine | None = None
        self._on_device: DeviceInput | None = None
        self._filled: dict[int, tuple[NDArray[np.uint8], NDArray[np.float64] | Letterbox]] = {}

    @property
    def on_device(self) -> bool:
        """Whether a GPU fills the input now."""
        return self._input() is not None

    def fill(self, pixels: NDArray[np.uint8], how: NDArray[np.float64] | Letterbox, place: int = 0) -> None:
        """Take a part of a frame, which must stay as it is until ``run``, as the picture at this place.

        ``pixels``: (H, W, 3) BGR or (H, W, 4) BGRA. ``how``: image_from_crop, the (2, 3) similarity from pixels of the
        input to those of the frame (``crop.crop``), or a letterbox for the whole of a BGR frame. Raises EngineError
        where the GPU fails.
        """
        self._filled[place] = pixels, how
        device = self._input()
        if device is not None:
            try:
                self._fill_device(device, pixels, how, place)
            except DeviceMemoryError as error:
                _log.warning('the CPU crops the frames for input %s: %s', self._tensor.name, error)
                self._on_device = None
            else:
                return
            self._refill()
        else:
            self._fill_host(pixels, how, place)

    def run(self, outputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Run the network on what was filled since the last run; see ``Engine.run``. Raises EngineError."""
        try:
            device = self._input()
            if device is not None:
                try:
                    device.run(self._others, outputs)
                except DeviceMemoryError:
                    # The engine tells of it and changes to another one, or raises it again.
                    self._refill()
                else:
                    return
            self._engine.run(self._inputs, outputs)
        finally:
            self._filled.clear()

    def _input(self) -> DeviceInput | None:
        device = device_of(self._engine)
        if device is not self._device:
            self._device, self._on_device = device, None
            if device is not None:
                tensor = self._tensor
                self._on_device = DeviceInput(device, tensor.name, tensor.normalisation, planar=tensor.planar)
        return self._on_device

    def _fill_device(
        self,
        device: DeviceInput,
        pixels: NDArray[np.uint8],
        how: NDArray[np.float64] | Letterbox,
        place: int,
    ) -> None:
        if isinstance(how, Letterbox):
            device.fill(pixels, how.sampling(pixels.shape[0], pixels.shape[1]), place)
        else:
            seen = view(pixels, how, self._tensor.size)
            device.fill(seen.region, Sampling(seen.grid, seen.grid_from_patch), place)

    def _fill_host(self, pixels: NDArray[np.uint8], how: NDArray[np.float64] | Letterbox, place: int) -> None:
        if isinstance(how, Letterbox):
            how.draw(pixels)
            self._tensor.fill(how.picture, place)
        else:
            if pixels.shape[2] != self._crop.shape[2]:
                self._crop = np.zeros((*self._crop.shape[:2], pixels.shape[2]), np.uint8)
            crop(pixels, how, self._crop)
            self._tensor.fill(self._crop, place)

    def _refill(self) -> None:
        for place, (pixels, how) in self._filled.items():
            self._fill_host(pixels, how, place)
