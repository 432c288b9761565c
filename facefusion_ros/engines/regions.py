"""Eyes and lips at a higher precision than the rest of a patch.

The whole patch goes through one network, crops around eyes and lips through a second, and the second's result is
laid over the first's under soft masks. A crop holds more than what is used of it: the halo keeps its border, where a
convolution sees padding instead of the face, away from the mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]
    Network = Callable[[Floats, Floats], None]
    """Fills the second array from the first, both (N, channels, height, width)."""

# In eye distances; an eye is a good half of one wide (Farkas, "Anthropometry of the Head and Face", 1994: 31 of 63 mm).
_EYE = (0.42, 0.26)
_LIPS = (0.20, 0.30)
"""Beyond the corners of the mouth, and above and below their line."""
_SOFT = 0.35
"""Share of the radius, beyond it, in which a mask falls from 1 to 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A crop, and how much of it shows."""

    left: int
    top: int
    mask: Floats
    """(height, width) of the crop, 0 to 1."""

    @property
    def part(self) -> tuple[slice, slice, slice]:
        """Where it lies in a patch (channels, height, width)."""
        height, width = self.mask.shape
        return slice(None), slice(self.top, self.top + height), slice(self.left, self.left + width)


def masks(landmarks: ArrayLike, width: int, height: int) -> tuple[Floats, Floats]:
    """Soft masks (height, width), 0 to 1, of both eyes and of the lips, for (5, 2) landmarks of the patch.

    Raises ValueError where the eyes are in one place.
    """
    points = np.asarray(landmarks, np.float64)
    across = points[1] - points[0]
    distance = float(np.hypot(*across))
    if not distance > 0.0:
        raise ValueError('the eyes are in one place')
    axis = across / distance
    lips = (points[3] + points[4]) / 2.0
    reach = float(np.hypot(*(points[4] - points[3]))) / 2.0 + _LIPS[0] * distance
    eye = (_EYE[0] * distance, _EYE[1] * distance)
    eyes = np.maximum(*(_ellipse(points[k], axis, eye, width, height) for k in (0, 1)))
    return eyes, _ellipse(lips, axis, (reach, _LIPS[1] * distance), width, height)


def _ellipse(
    centre: NDArray[np.float64], axis: NDArray[np.float64], radii: tuple[float, float], width: int, height: int
) -> Floats:
    x, y = np.arange(width) - centre[0], np.arange(height)[:, None] - centre[1]
    radius = np.hypot((x * axis[0] + y * axis[1]) / radii[0], (y * axis[0] - x * axis[1]) / radii[1])
    ramp = np.clip((1.0 - radius) / _SOFT + 1.0, 0.0, 1.0)
    return np.asarray(ramp * ramp * (3.0 - 2.0 * ramp), np.float32)


def plan(
    landmarks: ArrayLike, width: int, height: int, *, halo_px: int = 32, multiple_px: int = 8
) -> tuple[Window, ...]:
    """Windows of one size around the eyes and around the lips, each with its soft mask.

    Where patches are aligned to a template its landmarks serve for all of them, and the plan is made once. The size
    and the place are multiples of multiple_px, the network's coarsest pixel, so that its grids coincide with those of
    the whole patch; width and height must be too. Raises ValueError.
    """
    if width % multiple_px or height % multiple_px:
        raise ValueError(f'a patch of {width} x {height} is not in steps of {multiple_px} pixels')
    shown = masks(landmarks, width, height)
    spans = []
    for mask in shown:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            raise ValueError('the landmarks are outside the patch')
        spans.append((_span(rows, height, halo_px, multiple_px), _span(columns, width, halo_px, multiple_px)))
    tall = max(rows[1] - rows[0] for rows, _ in spans)
    wide = max(columns[1] - columns[0] for _, columns in spans)
    windows = []
    for mask, (vertical, horizontal) in zip(shown, spans, strict=True):
        top, left = min(vertical[0], height - tall), min(horizontal[0], width - wide)
        windows.append(Window(left, top, np.ascontiguousarray(mask[top : top + tall, left : left + wide])))
    return tuple(windows)


def _span(used: NDArray[np.intp], size: int, halo_px: int, step_px: int) -> tuple[int, int]:
    first = max(0, int(used[0]) - halo_px) // step_px * step_px
    last = min(size, -(-(int(used[-1]) + 1 + halo_px) // step_px) * step_px)
    return first, last


def crop_shape(windows: Sequence[Window], channels: int = 3) -> tuple[int, int, int, int]:
    """Shape of the crops of all windows in one batch: (windows, channels, height, width)."""
    return (len(windows), channels, *windows[0].mask.shape)


def keep_regions(
    picture: Floats,
    out: Floats,
    windows: Sequence[Window],
    *,
    whole: Network,
    detail: Network,
    crops: Floats,
    details: Floats,
) -> None:
    """Fill out, (1, channels, height, width), with whole's result, and with detail's under the windows' masks.

    crops and details are scratch of ``crop_shape``; the windows go through detail in one batch. Where both networks
    return the same, so does this. Allocates nothing.
    """
    whole(picture, out)
    for crop, window in zip(crops, windows, strict=True):
        np.copyto(crop, picture[0][window.part])
    detail(crops, details)
    for piece, window in zip(details, windows, strict=True):
        place = out[0][window.part]
        np.subtract(piece, place, out=piece)
        np.multiply(piece, window.mask, out=piece)
        np.add(place, piece, out=place)
