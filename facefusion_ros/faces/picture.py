"""Pictures in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class PictureError(FacefusionError):
    """A file that cannot be read as a picture."""


def read_picture(path: Path | str) -> NDArray[np.uint8]:
    """Read a picture file as (height, width, 3) BGR uint8; raises PictureError where it cannot be read."""
    try:
        coded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise PictureError(f'cannot read {path}: {error.strerror or error}') from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said below, in one line
    picture = cv2.imdecode(coded, cv2.IMREAD_COLOR) if coded.size else None
    if picture is None:
        raise PictureError(f'cannot read {path}: not a picture that OpenCV knows (JPEG, PNG, WebP, TIFF, BMP ...)')
    return np.asarray(picture, np.uint8)
