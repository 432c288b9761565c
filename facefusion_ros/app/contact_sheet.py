"""A grid of before and after pictures, for a person to judge a run at a glance."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

_PAPER = (24, 22, 20)
_INK = (228, 225, 222)
_FAINT = (150, 146, 142)
_SEAM_PX = 2
_GAP_PX = 28
_MARGIN_PX = 40
_CAPTION_PX = 34
_HEAD_PX = 92


def contact_sheet(
    pairs: Sequence[tuple[Picture, Picture, str]],
    columns: int = 2,
    *,
    title: str = 'facefusion_ros',
    subtitle: str = 'left: camera   right: result',
    picture_width_px: int = 420,
) -> Picture:
    """Arrange (before, after, caption) row by row under a title; returns (height, width, 3) BGR uint8.

    Pictures are BGR uint8 of any size; each is fitted into the first one's shape at ``picture_width_px`` without
    distortion, before left, after right. Captions are ASCII (OpenCV's own strokes); what does not fit is cut.
    Raises ValueError where there is no pair or no column.
    """
    if not pairs or columns < 1:
        raise ValueError('a contact sheet needs at least one pair and one column')
    height, width = pairs[0][0].shape[:2]
    picture_height_px = max(1, min(2 * picture_width_px, round(picture_width_px * height / width)))
    columns = min(columns, len(pairs))
    cell_width = 2 * picture_width_px + _SEAM_PX
    cell_height = picture_height_px + _CAPTION_PX
    rows = math.ceil(len(pairs) / columns)
    sheet = np.empty(
        (
            _HEAD_PX + rows * cell_height + (rows - 1) * _GAP_PX + _MARGIN_PX,
            2 * _MARGIN_PX + columns * cell_width + (columns - 1) * _GAP_PX,
            3,
        ),
        np.uint8,
    )
    sheet[:] = _PAPER
    inner_width = sheet.shape[1] - 2 * _MARGIN_PX
    title_width = _write(sheet, title, (_MARGIN_PX, 56), 0.95, _INK, inner_width)
    _write(sheet, subtitle, (_MARGIN_PX + title_width + 24, 56), 0.5, _FAINT, inner_width - title_width - 24)
    for number, (before, after, caption) in enumerate(pairs):
        row, column = divmod(number, columns)
        left = _MARGIN_PX + column * (cell_width + _GAP_PX)
        top = _HEAD_PX + row * (cell_height + _GAP_PX)
        for picture, x in ((before, left), (after, left + picture_width_px + _SEAM_PX)):
            _place(sheet[top : top + picture_height_px, x : x + picture_width_px], picture)
        _write(sheet, caption, (left, top + picture_height_px + 24), 0.5, _FAINT, cell_width)
    return sheet


def write_png(path: Path | str, picture: Picture) -> None:
    """Write a BGR picture as PNG; raises FacefusionError where the file cannot be written."""
    _, png = cv2.imencode('.png', picture)
    try:
        Path(path).write_bytes(png.tobytes())
    except OSError as error:
        raise FacefusionError(f'cannot write the picture {path}: {error.strerror}; check the folder') from error


def _place(cell: Picture, picture: Picture) -> None:
    """Fit a picture into the middle of a cell."""
    height, width = cell.shape[:2]
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = max(1, min(width, round(picture.shape[1] * scale))), max(1, min(height, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    cell[y : y + size[1], x : x + size[0]] = small


def _write(
    sheet: Picture, text: str, foot: tuple[int, int], size: float, ink: tuple[int, int, int], room_px: int
) -> int:
    """Write a line of text with its base line at ``foot``, cut to the room; returns its width in pixels."""

    def width(line: str) -> int:
        return int(cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0])

    while text and width(text) > room_px:
        text = text[:-1]
    cv2.putText(sheet, text, foot, cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)
    return width(text)
