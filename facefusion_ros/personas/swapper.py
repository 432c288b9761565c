"""Putting a persona into a face's pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from facefusion_ros.faces.alignment import apply, invert, whole_face
from facefusion_ros.personas.warp import fit_warp, with_chin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facefusion_ros.faces.face import Face
    from facefusion_ros.personas.persona import Persona, Shown
    from facefusion_ros.personas.warp import Warp

BORDER_PX = 2
"""Width of the frame at a patch's edge that is always transparent."""
_FADE = 0.04
"""Width of the fade inside it, as a fraction of the patch."""


class Swapper(Protocol):
    """Makes the persona's patch for a face."""

    @property
    def persona(self) -> Shown:
        """Who is shown."""

    @property
    def size(self) -> int:
        """Width and height of the patches, pixels."""

    def swap(self, frame_pixels: NDArray[np.uint8], face: Face, out: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Write the persona in the pose of ``face`` to ``out`` and return image_from_patch.

        ``frame_pixels``: (height, width, 3) BGR, the picture the face was found in. ``out``: (size, size, 4) BGRA,
        C-contiguous; its alpha is 0 on the two outermost rows of pixels on every side. Returns the (2, 3) affine map
        from patch pixels to pixels of the frame. Raises ValueError where the landmarks are not five finite points
        that a similarity can reach, or ``out`` is not as described. Not to be called from two threads at once.
        """


class WarpSwapper:
    """Swapper that bends one picture of the persona until its landmarks lie on those of the face."""

    def __init__(self, persona: Persona, size: int = 256) -> None:
        self._persona = persona
        self._size = size
        self._template = whole_face(size)
        eyes_px = float(np.hypot(*(self._template.landmarks[1] - self._template.landmarks[0])))
        self._reach = 0.5 * eyes_px

        # The persona is shrunk once to the scale of the patch, so that sampling does not skip its pixels.
        full = persona.pixels.shape[0]
        persona_eyes_px = float(np.hypot(*(persona.landmarks[1] - persona.landmarks[0])))
        width = min(full, max(1, round(full * eyes_px / persona_eyes_px)))
        self._source = cv2.resize(persona.pixels, (width, width), interpolation=cv2.INTER_AREA)
        self._landmarks = with_chin((persona.landmarks.astype(np.float64) + 0.5) * (width / full) - 0.5)
        self._scale = persona_eyes_px * width / full / eyes_px

        # A Gaussian is a function of x times one of y, and so is every term of the affine part: the map of every pixel
        # is one product of a (size, 8) and an (8, size) matrix.
        self._axis = np.arange(size, dtype=np.float64)
        self._columns = np.ones((size, 8), np.float32)
        self._columns[:, 7] = self._axis
        self._rows = np.empty((2, 8, size), np.float32)
        self._map = np.empty((2, size, size), np.float32)

        edge = np.minimum(self._axis, self._axis[::-1])
        fade = np.clip((np.minimum(edge[:, None], edge) - (BORDER_PX - 1)) / (_FADE * size), 0, 1)
        self._fade = np.asarray(np.round(255 * fade), np.uint8)

    @property
    def persona(self) -> Persona:
        """Who is shown."""
        return self._persona

    @property
    def size(self) -> int:
        """Width and height of the patches, pixels."""
        return self._size

    def swap(
        self,
        frame_pixels: NDArray[np.uint8],  # noqa: ARG002 - a network looks at the picture, a warp does not
        face: Face,
        out: NDArray[np.uint8],
    ) -> NDArray[np.float64]:
        """Write the persona in the pose of ``face`` to ``out`` and return image_from_patch; see Swapper."""
        if out.shape != (self._size, self._size, 4) or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f'out must be C-contiguous uint8 ({self._size}, {self._size}, 4), not {out.shape}')
        image_from_patch = self._template.image_from_patch(face.landmarks)
        landmarks = apply(invert(image_from_patch), face.landmarks)
        self._trace(fit_warp(with_chin(landmarks), self._landmarks, self._scale, self._reach, self._size - 1))
        cv2.remap(self._source, self._map[0], self._map[1], cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_CONSTANT)
        alpha = out[..., 3]
        np.minimum(alpha, self._fade, out=alpha)
        return image_from_patch

    def _trace(self, warp: Warp) -> None:
        """Write where each pixel of the patch lies in the persona to the preallocated map."""
        self._columns[:, :6] = warp.bells(self._axis, 1).T
        bells = warp.bells(self._axis, 0)
        for d in range(2):
            np.multiply(bells, warp.weights[:, d, None], out=self._rows[d, :6])
            self._rows[d, 6] = warp.affine[d, 0] * self._axis + warp.affine[d, 2]
            self._rows[d, 7] = warp.affine[d, 1]
            # Not matmul: for so little work a BLAS would wait for its threads, tens of ms on a busy machine.
            np.einsum('yk,kx->yx', self._columns, self._rows[d], out=self._map[d])
