"""The camera model: a pinhole behind a lens that distorts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.errors import require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_COEFFICIENTS = {0, 4, 5, 8}
_STEPS = 8
_CLOSE = 1e-5


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Focal lengths and principal point in pixels, for a picture of width x height pixels, and the lens's distortion.

    The centre of the top left pixel is (0, 0).
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    """k1, k2, p1, p2, then k3 (``plumb_bob`` of sensor_msgs/CameraInfo), then k4, k5, k6 (``rational_polynomial``);
    empty where there is none. OpenCV's order, "Camera Calibration and 3D Reconstruction"."""

    def __post_init__(self) -> None:
        """Raise SettingError where the distortion is of no known model."""
        known = len(self.distortion) in _COEFFICIENTS and bool(np.isfinite(self.distortion).all())
        require(self, {'distortion must be 0, 4, 5 or 8 finite numbers': known})

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) K: pixel = K @ ray in the optical frame, after division by z; without distortion."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def distorts(self) -> bool:
        """Whether there is any distortion."""
        return any(self.distortion)

    def scaled(self, width: int, height: int) -> Intrinsics:
        """Return the same lens on a picture scaled to width x height pixels."""
        x, y = width / self.width, height / self.height
        # The picture's corner is at (-0.5, -0.5): scaling is about that point.
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * x,
            fy=self.fy * y,
            cx=(self.cx + 0.5) * x - 0.5,
            cy=(self.cy + 0.5) * y - 0.5,
        )

    def pixels(self, rays: ArrayLike) -> NDArray[np.float64]:
        """(n, 2) pixels in which rays (n, 3) of the optical frame end; NaN for those that do not go forward."""
        along = np.asarray(rays, np.float64)
        depth = np.where(along[:, 2] > 0.0, along[:, 2], np.nan)
        flat = along[:, :2] / depth[:, None]
        if self.distorts:
            flat = _distorted(flat, self._eight())
        pixels: NDArray[np.float64] = flat * (self.fx, self.fy) + (self.cx, self.cy)
        return pixels

    def rays(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """(n, 3) rays of the optical frame, z = 1, that end in pixels (n, 2); by Newton's method where a lens distorts.

        Beyond the angle at which a lens's polynomial turns back, which is outside of any picture it was fitted to,
        there is no such ray and what is returned is not one.
        """
        seen = (np.asarray(pixels, np.float64) - (self.cx, self.cy)) / (self.fx, self.fy)
        flat = seen
        if self.distorts:
            eight = self._eight()
            for _ in range(_STEPS):
                rest = seen - _distorted(flat, eight)
                xx, xy, yy = _slopes(flat, eight)
                determinant = xx * yy - xy * xy
                step = np.empty_like(flat)
                step[:, 0] = (yy * rest[:, 0] - xy * rest[:, 1]) / determinant
                step[:, 1] = (xx * rest[:, 1] - xy * rest[:, 0]) / determinant
                flat = flat + step
                # What is left after a step is of the order of its square.
                if not np.abs(rest).max(initial=0.0) > _CLOSE:
                    break
        rays = np.ones((len(flat), 3))
        rays[:, :2] = flat
        return rays

    def _eight(self) -> tuple[float, ...]:
        return self.distortion + (0.0,) * (8 - len(self.distortion))


def _distorted(flat: NDArray[np.float64], eight: tuple[float, ...]) -> NDArray[np.float64]:
    """Where points (n, 2) of the plane z = 1 seem to be."""
    k1, k2, p1, p2, k3, k4, k5, k6 = eight
    x, y = flat[:, 0], flat[:, 1]
    xx, xy, yy = x * x, x * y, y * y
    r2 = xx + yy
    radial = (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    bent = np.empty_like(flat)
    bent[:, 0] = x * radial + 2.0 * p1 * xy + p2 * (r2 + 2.0 * xx)
    bent[:, 1] = y * radial + p1 * (r2 + 2.0 * yy) + 2.0 * p2 * xy
    return bent


def _slopes(
    flat: NDArray[np.float64], eight: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """dx/dx, dx/dy = dy/dx and dy/dy of that map."""
    k1, k2, p1, p2, k3, k4, k5, k6 = eight
    x, y = flat[:, 0], flat[:, 1]
    r2 = x * x + y * y
    below = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / below
    slope = 2.0 * (k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3) - radial * (k4 + r2 * (2.0 * k5 + r2 * 3.0 * k6))) / below
    return (
        radial + x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x,
        x * y * slope + 2.0 * p1 * x + 2.0 * p2 * y,
        radial + y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x,
    )
