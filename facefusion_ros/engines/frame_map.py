"""The memory of frame pools, as a GPU sees it."""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING

from facefusion_ros.engines.engine import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.engines.cuda import Cuda, MappedHost

_log = logging.getLogger(__name__)


class FrameMap:
    """Maps each pool's memory into the GPU's space when a reader opens it, until the reader lets go.

    Follows any number of ``frames.pool.FrameReader`` (see its ``followers``). Each reader maps the pool's file for
    itself, and so is mapped for itself. May be used by several threads at once.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._lock = Lock()
        self._maps: dict[int, MappedHost] = {}

    def attached(self, pool: str, pixels: NDArray[np.uint8]) -> None:
        """Map the slots of a pool, (n,) whole pages. Where that is refused, its frames are copied to the GPU."""
        with self._lock, self._cuda.current():
            try:
                self._maps[pixels.ctypes.data] = self._cuda.map_host(pixels)
            except EngineError as error:
                _log.warning('frames of pool %s are copied to the GPU: %s', pool, error)

    def letting_go(self, pixels: NDArray[np.uint8]) -> None:
        """Undo ``attached``; no work that uses the frames may be under way."""
        with self._lock:
            mapped = self._maps.pop(pixels.ctypes.data, None)
            if mapped is not None:
                self._unmap(mapped)

    def find(self, pixels: NDArray[np.uint8]) -> int | None:
        """Say where the GPU sees the first pixel of a part of a frame; None where it does not see all of it."""
        with self._lock:
            for mapped in self._maps.values():
                if pixels in mapped:
                    return mapped.address + pixels.ctypes.data - mapped.pages.ctypes.data
        return None

    def close(self) -> None:
        """Unmap what is left; may be called twice."""
        with self._lock:
            for mapped in self._maps.values():
                self._unmap(mapped)
            self._maps.clear()

    def _unmap(self, mapped: MappedHost) -> None:
        try:
            with self._cuda.current():
                self._cuda.unmap_host(mapped)
        except EngineError as error:
            _log.warning('a frame pool stays mapped into the GPU: %s', error)
