"""What every detector offers, whatever finds the faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facefusion_ros.faces.face import Face


class Detector(Protocol):
    """Finds faces in single pictures. Used by one thread."""

    @property
    def sure_score(self) -> float:
        """A find with this score may be believed at once; one below should be found in two pictures."""

    @property
    def again_is_cheap(self) -> bool:
        """Whether ``again`` costs a fraction of ``detect``."""

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Find the faces of a (H, W, 3) BGR picture, largest first."""

    def again(self, pixels: NDArray[np.uint8], face: Face) -> Face | None:
        """Look for a face where one is expected: at about this place and size."""
