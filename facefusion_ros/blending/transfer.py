"""The least change of colour that makes one set of colours vary like another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def monge_kantorovich(
    covariance: NDArray[np.float64], wanted: NDArray[np.float64], doubt: float
) -> NDArray[np.float64]:
    """(k, k) symmetric linear map that takes a covariance (k, k) to the wanted one, moving colours as little as it can.

    T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2 (Pitie and Kokaram, "The linear Monge-Kantorovich linear colour mapping for
    example-based colour transfer", CVMP 2007). doubt, a standard deviation in the colours' unit and above 0, is added
    to both: directions in which both vary less than that are left alone, so that T is near the identity where there is
    little to go by.
    """
    ridge = doubt * doubt * np.eye(len(covariance))
    root, inverse_root = _roots(covariance + ridge)
    middle, _ = _roots(root @ (wanted + ridge) @ root)
    least = inverse_root @ middle @ inverse_root
    symmetric: NDArray[np.float64] = 0.5 * (least + least.T)
    return symmetric


def bounded(stretch: NDArray[np.float64], least: float, most: float) -> NDArray[np.float64]:
    """Symmetric map (k, k) whose stretching along each axis is kept within least and most."""
    values, axes = np.linalg.eigh(stretch)
    kept: NDArray[np.float64] = (axes * np.clip(values, least, most)) @ axes.T
    return kept


def _roots(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Square root of a symmetric positive matrix, and its inverse."""
    values, axes = np.linalg.eigh(matrix)
    roots = np.sqrt(np.maximum(values, 1e-12))
    return (axes * roots) @ axes.T, (axes / roots) @ axes.T
