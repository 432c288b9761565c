"""How visible the seam between a persona and the skin around it is.

Two rings follow the edge of the mask, one inside and one outside of it, on skin only; each is cut into sectors by the
angle about the middle of the mask. The colours' means of the two rings' sectors are compared, and so are those of the
picture as it was before: the gradient that the skin has by itself is no seam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.engines.colour import ciede2000, lab

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR_PX, FAR_PX = 6.0, 10.0
"""The rings lie this far from the edge."""
SECTORS = 12
LEAST_PX = 12
"""Of skin in each ring; a sector with less is left out."""
SKIN_CHROMA, SKIN_LIGHTNESS = 11.0, 18.0
"""What counts as skin: this close in a*b* and in L* to the median of the face between eyes and mouth."""
_LOCK = 0.17
"""Pieces narrower than this, in distances of the eyes, are taken for locks of hair."""


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """The pixels to compare, as numbers of sectors."""

    window: tuple[slice, slice]
    """Rows and columns of the frame in which they lie."""
    inner: NDArray[np.intp]
    """(h, w) of the window: number of the sector, ``SECTORS`` for pixels that do not count."""
    outer: NDArray[np.intp]
    used: NDArray[np.bool_]
    """(SECTORS,) which have skin enough on both sides."""


@dataclass(frozen=True, slots=True, eq=False)
class Seam:
    """The seam of one frame, beyond the gradient that was there before; one value for each sector used."""

    delta_e: NDArray[np.float64]
    """CIEDE2000 between the rings, less that of the original, never below 0."""
    delta_l: NDArray[np.float64]
    """L* of the inner ring less the outer's, less the same of the original."""


def skin(picture: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which pixels of a picture, (h, w, 3) BGR in even light, are skin like that around the nose.

    landmarks is (5, 2): left eye, right eye, nose, left and right mouth corner, pixels (x, y).
    """
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.5)
    colours = lab(smooth[..., ::-1] / 255.0)
    middle = np.zeros(picture.shape[:2], np.uint8)
    hull = cv2.convexHull(np.asarray(landmarks, np.float32)).astype(np.int32)
    cv2.fillConvexPoly(middle, hull, (1,))
    typical = np.median(colours[middle.astype(bool)], axis=0)
    away = colours - typical
    like = (np.hypot(away[..., 1], away[..., 2]) < SKIN_CHROMA) & (np.abs(away[..., 0]) < SKIN_LIGHTNESS)
    lock_px = max(1, round(_LOCK * float(np.hypot(*(landmarks[1] - landmarks[0])))))
    whole = cv2.morphologyEx(
        like.astype(np.uint8), cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (lock_px, lock_px))
    )
    # What hangs together with the middle of the face: walls and hair of a skin's colour lie elsewhere.
    _, pieces = cv2.connectedComponents(whole)
    own = np.bincount(pieces[middle.astype(bool) & (pieces > 0)], minlength=2)
    face: NDArray[np.bool_] = pieces == int(own.argmax()) if own.any() else whole.astype(bool)
    return face


def rings(alpha: NDArray[np.uint8], is_skin: NDArray[np.bool_]) -> Rings | None:
    """Lay the rings along the edge, alpha 50 %, of a mask (h, w) of the frame's size; None where they have no skin."""
    shown = alpha >= 128
    if not shown.any():
        return None
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    reach = int(FAR_PX) + 2
    window = tuple(
        slice(max(int(at[0]) - reach, 0), min(int(at[-1]) + reach + 1, side))
        for at, side in zip((rows, columns), shown.shape, strict=True)
    )
    shown, is_skin = shown[window], is_skin[window]
    inward, outward = (
        cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - 0.5
        for side in (shown, ~shown)
    )
    y, x = np.mgrid[: shown.shape[0], : shown.shape[1]]
    angle = np.arctan2(y - y[shown].mean(), x - x[shown].mean())
    sector = np.minimum(((angle + np.pi) * (SECTORS / (2 * np.pi))).astype(np.intp), SECTORS - 1)
    inner, outer = (
        np.where((away >= NEAR_PX) & (away <= FAR_PX) & is_skin, sector, SECTORS) for away in (inward, outward)
    )
    counts = [np.bincount(ring.ravel(), minlength=SECTORS + 1)[:SECTORS] for ring in (inner, outer)]
    used = np.minimum(*counts) >= LEAST_PX
    return Rings((window[0], window[1]), inner, outer, used) if used.any() else None


def seam(before: NDArray[np.uint8], after: NDArray[np.uint8], where: Rings) -> Seam:
    """Compare two pictures of one frame, (h, w, 3) BGR: as the camera gave it, and with the persona."""
    (delta_e, delta_l), (own_e, own_l) = (_across(picture[where.window], where) for picture in (after, before))
    return Seam(np.maximum(delta_e - own_e, 0.0), delta_l - own_l)


def _across(view: NDArray[np.uint8], where: Rings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    inner, outer = _means(view, where.inner)[where.used], _means(view, where.outer)[where.used]
    return ciede2000(inner, outer), inner[:, 0] - outer[:, 0]


def _means(view: NDArray[np.uint8], ring: NDArray[np.intp]) -> NDArray[np.float64]:
    """L*a*b* of the mean colour of each sector, (SECTORS, 3)."""
    labels = ring.ravel()
    counts = np.maximum(np.bincount(labels, minlength=SECTORS + 1)[:SECTORS], 1)
    sums = [
        np.bincount(labels, weights=view[..., c].ravel(), minlength=SECTORS + 1)[:SECTORS].astype(np.float64)
        for c in (2, 1, 0)
    ]
    return lab(np.stack(sums, axis=-1) / counts[:, None] / 255.0)
