"""A face in a picture, and the persona's crop that goes in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face; coordinates are pixels of the full frame, the centre of the top left pixel is (0, 0)."""

    box: tuple[float, float, float, float]
    """Left, top, width, height; may reach beyond the frame."""
    score: float
    """Confidence, 0 to 1."""
    landmarks: NDArray[np.float32]
    """(5, 2): left eye, right eye, nose, left and right mouth corner as seen in the image (x, y)."""
    track_id: int = 0
    """Stable while the face stays in view; 0 where faces are not tracked."""
    measured_ns: int = 0
    """Stamp of the frame in which the face was last measured in pixels; older than the frame where the face coasts."""


@dataclass(frozen=True, slots=True, eq=False)
class FacePatch:
    """A persona's aligned crop for one face."""

    face: Face
    pixels: NDArray[np.uint8]
    """(size, size, 4) BGRA; alpha is the persona's own mask (0 keeps the scene, 255 shows the persona)."""
    image_from_patch: NDArray[np.float64]
    """(2, 3) affine map from patch pixels to pixels of the frame."""
    persona: str = ''
    """Name of who is shown."""
    persona_digest: str = ''
    """SHA-256 of what makes the likeness, hexadecimal."""
    reflectance: float = 1.0
    """Light that the persona's skin sends back over that of people's skin: shown so much brighter than the face."""
