"""Raw pictures of cameras, in whatever layout they come, to BGR."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PACKED: Final = {
    'rgb': cv2.COLOR_RGB2BGR,
    'bgra': cv2.COLOR_BGRA2BGR,
    'rgba': cv2.COLOR_RGBA2BGR,
    'grey': cv2.COLOR_GRAY2BGR,
    'yuyv': cv2.COLOR_YUV2BGR_YUYV,
    'uyvy': cv2.COLOR_YUV2BGR_UYVY,
    'bayer_rggb': cv2.COLOR_BayerRGGB2BGR,
    'bayer_bggr': cv2.COLOR_BayerBGGR2BGR,
    'bayer_gbrg': cv2.COLOR_BayerGBRG2BGR,
    'bayer_grbg': cv2.COLOR_BayerGRBG2BGR,
}
_SEMIPLANAR: Final = {'nv12': cv2.COLOR_YUV2BGR_NV12, 'nv21': cv2.COLOR_YUV2BGR_NV21, 'i420': cv2.COLOR_YUV2BGR_NV12}
_YCBCR: Final = frozenset({'yuyv', 'uyvy', *_SEMIPLANAR})

LAYOUTS: Final = frozenset({'bgr', *_PACKED, *_SEMIPLANAR})
"""Layouts that can be converted; ``grey`` and ``bayer_*`` also of 16 bits."""


class LayoutUnknown(FacefusionError):
    """A raw picture that cannot be made BGR."""


@dataclass(frozen=True, slots=True)
class Colours:
    """What Y'CbCr means: by default that of ITU-R BT.601 with luma from 16 to 235, as most cameras give it."""

    red: float = 0.299
    blue: float = 0.114
    """Weights of red and of blue in luma."""
    full_range: bool = False
    """Whether luma and chroma go from 0 to 255, as in JPEG."""


BT601: Final = Colours()
_HEADROOM: Final = 0.75


class ToBgr:
    """Converts pictures, one after the other, and keeps what memory that takes."""

    def __init__(self) -> None:
        self._scratch: dict[str, NDArray[np.uint8]] = {}

    def __call__(
        self,
        layout: str,
        planes: Sequence[NDArray[Any]],
        out: NDArray[np.uint8],
        colours: Colours = BT601,
    ) -> None:
        """Write the picture to out, (height, width, 3) uint8; it is scaled where out has another size.

        Planes of a picture of height x width pixels, each of which may have padding at the end of its rows:

        - ``bgr``, ``rgb``: one of (height, width, 3); ``bgra``, ``rgba``: (height, width, 4), the last passed over;
        - ``grey``, ``bayer_rggb`` and so on by the first two pixels of the first two rows: (height, width), of which
          16 bits are taken to be of full scale;
        - ``yuyv``, ``uyvy``: (height, width, 2), width even;
        - ``nv12``, ``nv21``: luma (height, width) and chroma (height / 2, width / 2, 2), both sides even; ``i420``:
          luma and two planes of (height / 2, width / 2), U first.

        OpenCV converts Y'CbCr of BT.601 (imgproc, color conversions); others cost a pass for the range and one for the
        matrix. Raises LayoutUnknown for other layouts and for sides that the layout does not have.
        """
        height, width = planes[0].shape[:2]
        if layout not in LAYOUTS:
            raise LayoutUnknown(f'pixels cannot be {layout}: use one of {", ".join(sorted(LAYOUTS))}')
        if not divides(layout, width, height):
            raise LayoutUnknown(f'a picture of {layout} shares colour among pixels and cannot be {width} x {height}')
        if out.shape[:2] != (height, width):
            whole = self._kept('picture', (height, width, 3))
            self(layout, planes, whole, colours)
            interpolation = cv2.INTER_AREA if out.shape[0] < height else cv2.INTER_LINEAR
            cv2.resize(whole, (out.shape[1], out.shape[0]), dst=out, interpolation=interpolation)
        elif layout == 'bgr':
            np.copyto(out, planes[0])
        elif layout in _YCBCR:
            self._from_ycbcr(layout, planes, out, colours)
        else:
            pixels = planes[0]
            if pixels.dtype == np.uint16:
                pixels = cv2.convertScaleAbs(pixels, dst=self._kept('grey', (height, width)), alpha=1 / 256)
            cv2.cvtColor(pixels, _PACKED[layout], dst=out)

    def _from_ycbcr(
        self, layout: str, planes: Sequence[NDArray[Any]], out: NDArray[np.uint8], colours: Colours
    ) -> None:
        if colours != BT601:
            tables = _tables(layout, colours)
            planes = [
                cv2.LUT(plane, table, dst=self._kept(f'plane {number}', plane.shape))
                for number, (plane, table) in enumerate(zip(planes, tables, strict=False))
            ]
        if layout == 'i420':
            planes = [planes[0], cv2.merge(list(planes[1:]), dst=self._kept('chroma', (*planes[1].shape, 2)))]
        if layout in _SEMIPLANAR:
            cv2.cvtColorTwoPlane(planes[0], planes[1], _SEMIPLANAR[layout], dst=out)
        else:
            cv2.cvtColor(planes[0], _PACKED[layout], dst=out)
        matrix = _from_bt601(colours.red, colours.blue)
        if matrix is not None:
            cv2.transform(out, matrix, dst=out)

    def _kept(self, what: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        kept = self._scratch.get(what)
        if kept is None or kept.shape != shape:
            kept = self._scratch[what] = np.empty(shape, np.uint8)
        return kept


def divides(layout: str, width: int, height: int) -> bool:
    """Whether the layout has pictures of this size: those that share colour among pixels need even sides."""
    if layout in _SEMIPLANAR:
        return not (width % 2 or height % 2)
    return not (layout in _YCBCR and width % 2)


@functools.cache
def _tables(layout: str, colours: Colours) -> tuple[NDArray[np.uint8], ...]:
    """(1, 256, channels) tables, one a plane: to the limited range, which OpenCV takes all for.

    With less contrast about the middle grey where the weights are not OpenCV's: it would cut saturated colours off.
    """
    contrast = 1.0 if _from_bt601(colours.red, colours.blue) is None else _HEADROOM
    luma, chroma = (219.0 / 255.0, 224.0 / 255.0) if colours.full_range else (1.0, 1.0)
    light = _table(contrast * luma, 127.5 if colours.full_range else 125.5, 125.5)
    colour = _table(contrast * chroma, 128.0, 128.0)
    packed = {'yuyv': (light, colour), 'uyvy': (colour, light)}.get(layout)
    return (np.dstack(packed),) if packed else (light, colour, colour)


@functools.cache
def _from_bt601(red: float, blue: float) -> NDArray[np.float32] | None:
    """(3, 4) from BGR that was made with the weights of BT.601 and the contrast of _HEADROOM to BGR by the right ones.

    None where those are right.
    """
    if (red, blue) == (BT601.red, BT601.blue):
        return None
    right = _from_weights(red, blue) @ np.linalg.inv(_from_weights(BT601.red, BT601.blue))
    matrix = right[::-1, ::-1] / _HEADROOM
    return np.column_stack((matrix, 127.5 * (1.0 - matrix.sum(axis=1)))).astype(np.float32)


def _from_weights(red: float, blue: float) -> NDArray[np.float64]:
    """(3, 3) from Y'CbCr, all of the same range, to R'G'B'; ITU-R BT.709, section 3, for any weights."""
    green = 1.0 - red - blue
    to_red, to_blue = 2.0 * (1.0 - red), 2.0 * (1.0 - blue)
    return np.array(
        [[1.0, 0.0, to_red], [1.0, -to_blue * blue / green, -to_red * red / green], [1.0, to_blue, 0.0]], np.float64
    )


def _table(factor: float, fixed: float, at: float) -> NDArray[np.uint8]:
    """(1, 256) bytes: those of 0 to 255 scaled by factor, such that ``fixed`` becomes ``at``."""
    scaled: NDArray[np.uint8] = np.clip(np.rint((np.arange(256) - fixed) * factor + at), 0, 255).astype(np.uint8)[None]
    return scaled
