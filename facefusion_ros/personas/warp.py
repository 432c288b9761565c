"""A smooth map of the plane through landmarks that never folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRETCH = 1.7
"""Largest stretch of the affine part relative to the expected scale; the largest squeeze is its inverse."""
BEND = 0.85
"""Bound of the bending's gradient relative to the affine part; below 1 the map cannot fold."""

_RIDGE = 1e-3  # lets landmarks coincide; moves them by less than a thousandth of the bending
_PROBES = 33

# Below the eyes, in distances between them (Farkas, "Anthropometry of the Head and Face", 1994).
_MOUTH_DROP, _CHIN_DROP = 1.09, 1.78
_SMILE_SHARE = 0.8


@dataclass(frozen=True, eq=False)
class Warp:
    """Affine map plus a sum of Gaussians (radial basis interpolation).

    Arad, Dyn, Reisfeld and Yeshurun, "Image warping by radial basis functions", CVGIP 56(2), 1994.
    """

    affine: NDArray[np.float64]
    """(2, 3)."""
    centres: NDArray[np.float64]
    """(M, 2)."""
    weights: NDArray[np.float64]
    """(M, 2): displacement that each Gaussian adds at its centre."""
    reach: float
    """Standard deviation of the Gaussians."""

    def bells(self, axis: NDArray[np.float64], dimension: int) -> NDArray[np.float64]:
        """(M, N) factor of every Gaussian that depends on x (dimension 0) or on y (dimension 1)."""
        bells: NDArray[np.float64] = np.exp(-0.5 * ((axis - self.centres[:, dimension, None]) / self.reach) ** 2)
        return bells

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) points taken through the map."""
        bells = self.bells(points[:, 0], 0) * self.bells(points[:, 1], 1)
        mapped: NDArray[np.float64] = points @ self.affine[:, :2].T + self.affine[:, 2] + bells.T @ self.weights
        return mapped


def with_chin(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6, 2) the five landmarks of a face and the place where its chin should be.

    A smile lifts the corners of the mouth by up to a fifth of their distance from the eyes, but not the chin: where
    they are nearer to the eyes than the eyes' own distance lets expect, most of the difference is taken for a smile.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    apart, drop = float(np.hypot(*(landmarks[1] - landmarks[0]))), float(np.hypot(*(mouth - eyes)))
    lift = min(_MOUTH_DROP * apart / drop, 1.5) - 1 if drop > 0 else 0.0
    chin = eyes + (mouth - eyes) * (_CHIN_DROP / _MOUTH_DROP) * (1 + _SMILE_SHARE * max(lift, 0.0))
    return np.vstack([landmarks, chin])


def fit_warp(src: NDArray[np.float64], dst: NDArray[np.float64], scale: float, reach: float, extent: float) -> Warp:
    """Warp that takes the (M, 2) landmarks ``src`` to ``dst``, as far as it can without folding.

    ``scale``: expected size of dst relative to src; ``reach``: how far a landmark pulls; ``extent``: the warp is
    one-to-one on the square from 0 to extent. The affine part is the least-squares fit with its stretch bounded; the
    Gaussians take up the rest, scaled down where their gradient, seen through the inverse of the affine part, would
    exceed a bound below 1 (the identity plus a contraction is one-to-one).
    """
    linear = _linear_part(src - src.mean(axis=0), dst - dst.mean(axis=0), scale, reach)
    affine = np.column_stack([linear, dst.mean(axis=0) - linear @ src.mean(axis=0)])
    apart = ((src[:, None] - src) / reach) ** 2
    kernel = np.exp(-0.5 * apart.sum(axis=2)) + _RIDGE * np.eye(len(src))
    weights = np.linalg.solve(kernel, dst - src @ linear.T - affine[:, 2])
    warp = Warp(affine, src, weights, reach)
    steepest = _steepest_bend(warp, extent)
    if steepest <= BEND:
        return warp
    return Warp(affine, src, weights * (BEND / steepest), reach)


def _linear_part(src: NDArray[np.float64], dst: NDArray[np.float64], scale: float, reach: float) -> NDArray[np.float64]:
    """(2, 2) fit of centred points; a light pull towards ``scale`` decides where they lie on a line."""
    pull = 0.01 * reach * reach * np.eye(2)
    fit = np.linalg.solve(src.T @ src + pull, src.T @ dst + scale * pull).T
    u, stretch, vt = np.linalg.svd(fit)
    if np.linalg.det(u @ vt) < 0:
        u[:, 1] = -u[:, 1]  # never mirrored
    bounded: NDArray[np.float64] = (u * np.clip(stretch, scale / STRETCH, scale * STRETCH)) @ vt
    return bounded


def _steepest_bend(warp: Warp, extent: float) -> float:
    """Largest gradient (Frobenius norm) of the bending, seen through the inverse of the affine part."""
    axis = np.linspace(0, extent, _PROBES)
    bx, by = warp.bells(axis, 0), warp.bells(axis, 1)
    slope = 1 / (warp.reach * warp.reach)
    dx, dy = (slope * (warp.centres[:, d, None] - axis) * b for d, b in ((0, bx), (1, by)))
    through = np.linalg.solve(warp.affine[:, :2], warp.weights.T)  # (2, M)
    along_x = (through[:, None] * by.T) @ dx  # (2, y, x)
    along_y = (through[:, None] * dy.T) @ bx
    return float(np.sqrt((along_x**2 + along_y**2).sum(axis=0).max()))
