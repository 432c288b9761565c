"""Raw pictures of cameras, in whatever layout they come, to BGR."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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

        OpenCV converts Y'CbCr of BT.601 (imgproc, color conversions); others cost a pass for the range, one for the
        matrix, or both. Raises LayoutUnknown for other layouts and for sides that the layout does not have.
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
        fit = _fit(layout, colours)
        if fit.codes:
            planes = [
                cv2.convertScaleAbs(plane, dst=self._kept(f'plane {number}', plane.shape), alpha=factor, beta=offset)
                for number, (plane, (factor, offset)) in enumerate(zip(planes, fit.codes, strict=False))
            ]
        if layout == 'i420':
            planes = [planes[0], cv2.merge(list(planes[1:]), dst=self._kept('chroma', (*planes[1].shape, 2)))]
        if layout in _SEMIPLANAR:
            cv2.cvtColorTwoPlane(planes[0], planes[1], _SEMIPLANAR[layout], dst=out)
        else:
            cv2.cvtColor(planes[0], _PACKED[layout], dst=out)
        if fit.matrix is not None:
            cv2.transform(out, fit.matrix, dst=out)

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


class _Fit(NamedTuple):
    """What makes other Y'CbCr fit for OpenCV, which takes all for BT.601 of the limited range."""

    codes: tuple[tuple[float, float], ...] = ()
    """Factor and offset of the bytes of each plane, before; none where they are right."""
    matrix: NDArray[np.float32] | None = None
    """(3, 4) from the BGR that comes of it to the right one, after."""


@functools.cache
def _fit(layout: str, colours: Colours) -> _Fit:
    if colours == BT601:
        return _Fit()
    if colours == Colours(full_range=True) and layout in _SEMIPLANAR:
        light, colour = 219.0 / 255.0, 224.0 / 255.0
        return _Fit(((light, 16.0), *[(colour, 128.0 - 128.0 * colour)] * 2))
    # One factor for luma and chroma, which lie side by side in packed layouts; small enough that OpenCV cuts no
    # saturated colour off.
    factor = _HEADROOM * (219.0 / 255.0 if colours.full_range else 1.0)
    offset = 128.0 * (1.0 - factor)
    to_bgr, black = _to_bgr(colours)
    opencv_to_bgr, opencv_black = _to_bgr(BT601)
    matrix = to_bgr @ np.linalg.inv(opencv_to_bgr) / factor
    added = to_bgr @ ((opencv_black - offset) / factor - black)
    return _Fit(((factor, offset),) * 3, np.column_stack((matrix, added)).astype(np.float32))


def _to_bgr(colours: Colours) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 3) and (3,): BGR is the former times the bytes of Y'CbCr less the latter; ITU-R BT.709, section 3."""
    green = 1.0 - colours.red - colours.blue
    to_red, to_blue = 2.0 * (1.0 - colours.red), 2.0 * (1.0 - colours.blue)
    weights = [
        [1.0, to_blue, 0.0],
        [1.0, -to_blue * colours.blue / green, -to_red * colours.red / green],
        [1.0, 0.0, to_red],
    ]
    if colours.full_range:
        return np.array(weights), np.array([0.0, 128.0, 128.0])
    return np.array(weights) * [255.0 / 219.0, 255.0 / 224.0, 255.0 / 224.0], np.array([16.0, 128.0, 128.0])
