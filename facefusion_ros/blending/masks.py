"""How much of the persona shows at each pixel of a patch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@lru_cache(maxsize=8)
def feather(size: int, fraction: float) -> NDArray[np.uint8]:
    """Soft rim of a patch: (size, size), 0 on the outermost pixels, 255 further in than fraction * size pixels.

    Read-only, since it is kept for the next patch of the size.
    """
    ramp = np.minimum(np.arange(size), np.arange(size)[::-1]) / max(fraction * size, 1.0)
    ramp = np.clip(ramp, 0.0, 1.0)
    ramp = ramp * ramp * (3.0 - 2.0 * ramp)  # no kink where the rim begins and ends
    mask: NDArray[np.uint8] = np.rint(255.0 * np.outer(ramp, ramp)).astype(np.uint8)
    mask.setflags(write=False)
    return mask


def clear_rim(alpha: NDArray[np.uint8]) -> None:
    """Set the outermost pixels of alpha, (height, width), to 0: interpolation then ends inside the patch."""
    alpha[0] = alpha[-1] = 0
    alpha[:, 0] = alpha[:, -1] = 0
