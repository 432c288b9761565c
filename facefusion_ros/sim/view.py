"""How a moving camera sees a moving plane: through a lens that bends, and row after row where the shutter rolls."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from facefusion_ros.frames.intrinsics import Intrinsics
    from facefusion_ros.sim.scene import Canvas

    Pose = Callable[['Floats'], tuple['Floats', 'Floats']]
    """Of a plane: times (...) in s to two arrays (..., 3, 3). The second takes (x, y, 1) on the plane in metres to a
    vector from the camera; the transpose of the first takes that to the optical frame."""

Floats = NDArray[np.float64]

_PASSES = 20
_SETTLED_PX = 1e-9
_RADII = 33


class View:
    """A camera that is exposed row by row; ``readout_s`` is the time from the first row to the last, 0 for all at once.

    A picture's time is that of its middle row.
    """

    def __init__(self, intrinsics: Intrinsics, readout_s: float) -> None:
        """Raise ValueError where the lens's polynomial folds the picture."""
        self.intrinsics = intrinsics
        self._row_s = readout_s / max(1, intrinsics.height - 1)
        self._middle = (intrinsics.height - 1) / 2.0
        self.plain = not readout_s and not intrinsics.distorts
        """Whether a homography tells all."""
        if intrinsics.distorts:
            # From the middle outwards, what is farther off the axis must be seen farther out.
            rays = intrinsics.rays(self._border())[:, None, :2] * np.linspace(0.0, 1.0, _RADII)[:, None]
            seen = intrinsics.pixels(np.dstack((rays, np.ones(rays.shape[:2]))).reshape(-1, 3))
            steps = np.diff(seen.reshape(*rays.shape[:2], 2), axis=1)
            if not (np.einsum('brc,bc->br', steps, steps[:, 0]) > 0.0).all():
                raise ValueError('distortion is so strong that it folds the picture; lessen it or hfov_deg')

    def time_of(self, t_s: float, rows: Floats | float) -> Floats:
        """When the rows of the picture of that time are exposed, s."""
        times: Floats = t_s + (np.asarray(rows, np.float64) - self._middle) * self._row_s
        return times

    def border_rays(self) -> Floats:
        """(n, 3) rays of the optical frame to the picture's border."""
        return self.intrinsics.rays(self._border())

    def see(self, pose: Pose, points: Floats, t_s: float) -> Floats:
        """(n, 2) pixels at which the points (n, 2) of a plane, in metres, are seen in the picture of time t_s.

        A point is seen by the row that is exposed while the point's image lies on it.
        """
        if self.plain:
            return project(self.homography(pose, t_s), points)
        flat = np.column_stack((points, np.ones(len(points))))
        rows = np.full(len(points), self._middle)
        for _ in range(_PASSES):
            rotation, offset = pose(self.time_of(t_s, rows))
            rays = np.einsum('nji,njk,nk->ni', rotation, offset, flat)
            seen = self.intrinsics.pixels(rays)
            change = np.abs(seen[:, 1] - rows)
            rows = seen[:, 1]
            if not self._row_s or not np.nanmax(change, initial=0.0) > _SETTLED_PX:
                break
        return seen

    def homography(self, pose: Pose, t_s: float) -> Floats:
        """(3, 3) points of the plane (x, y, 1) to pixels, as the lens's middle and the middle row have it."""
        rotation, offset = pose(np.asarray(t_s))
        image_from_plane: Floats = self.intrinsics.matrix @ rotation.T @ offset
        return image_from_plane

    def draw(
        self,
        canvas: Canvas,
        pose: Pose,
        t_s: float,
        box: tuple[int, int, int, int],
        *,
        outside: int,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Draw a canvas into out, which has the size of the box (left, top, right, bottom) of the picture.

        outside: what OpenCV's borderMode shows beyond the canvas.
        """
        left, top, right, bottom = box
        if self.plain:
            canvas_from_image = np.linalg.inv(self.homography(pose, t_s) @ canvas.plane_from_canvas)
            if left or top:
                canvas_from_image = canvas_from_image @ np.array([[1.0, 0.0, left], [0.0, 1.0, top], [0.0, 0.0, 1.0]])
            return cv2.warpPerspective(  # type: ignore[return-value] # what it is given is uint8
                canvas.pixels,
                canvas_from_image,
                (right - left, bottom - top),
                dst=out,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=outside,
            )
        x, y = self._maps(canvas, pose, t_s, box)
        return cv2.remap(canvas.pixels, x, y, cv2.INTER_LINEAR, dst=out, borderMode=outside)  # type: ignore[return-value]

    def _maps(
        self, canvas: Canvas, pose: Pose, t_s: float, box: tuple[int, int, int, int]
    ) -> list[NDArray[np.float32]]:
        """Where on the canvas the pixels of the box look, x and y; each row at its own time."""
        left, top, right, bottom = box
        rotation, offset = pose(self.time_of(t_s, np.arange(top, bottom, dtype=np.float64)))
        ray_from_plane = np.swapaxes(rotation, -1, -2) @ offset
        canvas_from_ray = np.linalg.inv(ray_from_plane @ canvas.plane_from_canvas)
        # float32 holds a thousandth of a pixel of any canvas.
        rows = canvas_from_ray.astype(np.float32)[:, :, :, None]
        x, y = (flat[top:bottom, left:right] for flat in self._rays)
        w = rows[:, 2, 0] * x + rows[:, 2, 1] * y + rows[:, 2, 2]
        return [(rows[:, i, 0] * x + rows[:, i, 1] * y + rows[:, i, 2]) / w for i in (0, 1)]

    @cached_property
    def _rays(self) -> NDArray[np.float32]:
        """(2, height, width) x and y of each pixel's ray."""
        rows, columns = np.indices((self.intrinsics.height, self.intrinsics.width), np.float64)
        rays = self.intrinsics.rays(np.column_stack((columns.ravel(), rows.ravel())))
        flat: NDArray[np.float32] = rays[:, :2].T.astype(np.float32).reshape(2, *rows.shape)
        return flat

    def _border(self) -> Floats:
        x, y = self.intrinsics.width - 0.5, self.intrinsics.height - 0.5
        along = np.linspace(0.0, 1.0, 9)
        corners = np.array([(-0.5, -0.5), (x, -0.5), (x, y), (-0.5, y), (-0.5, -0.5)])
        border: Floats = np.concatenate([a + along[:, None] * (b - a) for a, b in pairwise(corners)])
        return border


def project(homography: Floats, points: Floats) -> Floats:
    """(n, 2) points mapped by a (3, 3) homography."""
    mapped = points @ homography[:, :2].T + homography[:, 2]
    projected: Floats = mapped[:, :2] / mapped[:, 2:]
    return projected
