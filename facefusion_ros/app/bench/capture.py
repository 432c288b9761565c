"""What it costs to make a camera's picture the frame that the pipeline uses, beside OpenCV and PyAV as they come."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from facefusion_ros.app.summary import percentiles
from facefusion_ros.cameras.bgr import BT601, Colours, ToBgr
from facefusion_ros.cameras.reformat import Reformat
from facefusion_ros.cameras.v4l2_modes import Mode
from facefusion_ros.cameras.v4l2_pixels import PixelReader
from facefusion_ros.sim.world import load_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    Way = Callable[[], object]
    """Puts the picture where it belongs."""

SIZES: Final = ((640, 480), (1280, 720), (1920, 1080))
_BT709: Final = Colours(0.2126, 0.0722)
_NOISE: Final = 3.0
"""Of the simulated sensor, standard deviation; without it a JPEG would be smaller than any camera's."""
_WARM: Final = 1


@dataclass(frozen=True, slots=True)
class Format:
    """What a camera delivers."""

    name: str
    fourcc: str
    """As V4L2 calls it; empty for what is not of a V4L2 device."""
    pixels: str
    """As FFmpeg calls it; empty for what it cannot make."""
    opencv: int | None
    """OpenCV's conversion; None where it has none."""
    colours: Colours = BT601


FORMATS: Final = (
    Format('NV12', 'NV12', 'nv12', cv2.COLOR_YUV2BGR_NV12),
    Format('NV12, BT.709', 'NV12', 'nv12', None, _BT709),
    Format('I420', 'YU12', 'yuv420p', cv2.COLOR_YUV2BGR_I420),
    Format('I420, BT.709', 'YU12', 'yuv420p', None, _BT709),
    Format('YUYV', 'YUYV', 'yuyv422', cv2.COLOR_YUV2BGR_YUYV),
    Format('YUYV, BT.709', 'YUYV', 'yuyv422', None, _BT709),
    Format('YUYV, full range', 'YUYV', 'yuyv422', None, Colours(full_range=True)),
    Format('UYVY', 'UYVY', 'uyvy422', cv2.COLOR_YUV2BGR_UYVY),
    Format('RGB', 'RGB3', 'rgb24', cv2.COLOR_RGB2BGR, Colours(full_range=True)),
    Format('BGR', 'BGR3', 'bgr24', None, Colours(full_range=True)),
    Format('GREY', 'GREY', 'gray', cv2.COLOR_GRAY2BGR, Colours(full_range=True)),
    Format('MJPEG', 'MJPG', 'yuvj422p', None, Colours(full_range=True)),
    Format('Bayer', '', '', cv2.COLOR_BayerRGGB2BGR),
    Format('Bayer, 16 bits', '', '', cv2.COLOR_BayerRGGB2BGR),
    Format('film, BT.601', '', 'yuv420p', None),
    Format('film, BT.709', '', 'yuv420p', None, _BT709),
    Format('film decoded to NV12, BT.709', '', 'nv12', None, _BT709),
)


def capture(frames: int = 60) -> dict[str, Any]:
    """Convert a picture of each format at three sizes into given memory, again and again, each way in turn.

    Milliseconds of the processor, of all threads, or FFmpeg's scaler would look cheap for having spread its work. The
    order changes from round to round: whoever comes second finds the camera's picture in the cache.
    ``error`` is how far a way's picture is on average from the one that the camera's was made of.
    """
    cv2.setNumThreads(1)
    result: dict[str, Any] = {
        'frames': frames,
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}',
        'versions': {'opencv': cv2.__version__, 'pyav': av.__version__},
    }
    for width, height in SIZES:
        scene = np.empty((height, width, 3), np.uint8)
        load_world('head').sized(width, height).render(0, scene)
        noise = np.random.default_rng(1).normal(0.0, _NOISE, scene.shape)
        scene = np.clip(scene + noise, 0, 255).astype(np.uint8)
        rows: dict[str, Any] = {}
        for form in FORMATS:
            wanted = scene
            if form.fourcc == 'GREY':
                wanted = np.repeat(cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY)[..., None], 3, 2)
            out = np.empty_like(scene)
            rows[form.name] = _measured(ways(form, scene, out), out, wanted, frames)
        result[f'{width}x{height}'] = rows
    return result


def ways(form: Format, scene: Picture, out: Picture) -> dict[str, Way]:
    """Make a picture of the format from (height, width, 3) BGR, and the ways to turn it into BGR in ``out``."""
    if form.name.startswith('Bayer'):
        return _of_mosaic(scene, np.uint16 if form.name.endswith('16 bits') else np.uint8, out)
    frame = _made(form, scene)
    if form.fourcc == 'MJPG':
        return _of_jpeg(form, frame, out)
    if form.pixels == 'bgr24':
        return {'ours': _reads(form, scene.reshape(-1), out), 'opencv': lambda: np.copyto(out, scene)}
    found: dict[str, Way] = {'pyav': lambda: np.copyto(out, frame.to_ndarray(format='bgr24'))}
    if not form.fourcc:
        reformat = Reformat()
        return {'ours': lambda: reformat(frame, out), **found}
    # FFmpeg's UYVY has no array in PyAV; it is YUYV with its bytes swapped.
    uyvy = form.pixels == 'uyvy422'
    buffer = frame.reformat(format='yuyv422').to_ndarray()[..., ::-1].copy() if uyvy else frame.to_ndarray()
    conversion = form.opencv
    if conversion is not None:
        found['opencv'] = lambda: cv2.cvtColor(buffer, conversion, dst=out)
    return {'ours': _reads(form, buffer.reshape(-1), out), **found}


def _made(form: Format, scene: Picture) -> av.VideoFrame:
    space = Colorspace.ITU709 if form.colours.red == _BT709.red else Colorspace.ITU601
    reach = ColorRange.JPEG if form.colours.full_range else ColorRange.MPEG
    frame = av.VideoFrame.from_ndarray(scene, format='bgr24').reformat(
        format=form.pixels, dst_colorspace=space, dst_color_range=reach
    )
    frame.colorspace, frame.color_range = space, reach
    return frame


def _reads(form: Format, buffer: Picture, out: Picture) -> Way:
    reader = PixelReader(Mode(form.fourcc, out.shape[1], out.shape[0], (0,), form.colours))
    return lambda: reader.read((buffer,), out)


def _of_jpeg(form: Format, frame: av.VideoFrame, out: Picture) -> dict[str, Way]:
    encoder = av.CodecContext.create('mjpeg', 'w')
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, form.pixels
    encoder.time_base = Fraction(1, 30)
    encoder.options = {'qmin': '3', 'qmax': '3'}
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    jpeg = np.frombuffer(bytes(packets[0]), np.uint8)
    decoder = av.CodecContext.create('mjpeg', 'r')
    decoder.thread_count = 1

    def by_pyav() -> None:
        [picture] = decoder.decode(av.Packet(jpeg))
        np.copyto(out, picture.to_ndarray(format='bgr24'))

    return {
        'ours': _reads(form, jpeg, out),
        'opencv': lambda: np.copyto(out, np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))),
        'pyav': by_pyav,
    }


def _of_mosaic(scene: Picture, depth: type[np.uint8 | np.uint16], out: Picture) -> dict[str, Way]:
    mosaic: NDArray[Any] = scene[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = scene[::2, ::2, 2], scene[1::2, 1::2, 0]
    if depth is np.uint16:
        mosaic = mosaic.astype(np.uint16) * 257
    to_bgr = ToBgr()

    def by_opencv() -> None:
        eight = mosaic if depth is np.uint8 else (mosaic >> 8).astype(np.uint8)
        cv2.cvtColor(eight, cv2.COLOR_BayerRGGB2BGR, dst=out)

    return {'ours': lambda: to_bgr('bayer_rggb', [mosaic], out), 'opencv': by_opencv}


def _measured(ways: dict[str, Way], out: Picture, wanted: Picture, frames: int) -> dict[str, Any]:
    cpu_ms: dict[str, list[float]] = {name: [] for name in ways}
    wall_ms: dict[str, list[float]] = {name: [] for name in ways}
    order = np.random.default_rng(2)
    for number in range(frames + _WARM):
        for name, way in [[*ways.items()][each] for each in order.permutation(len(ways))]:
            begun = time.process_time_ns(), time.perf_counter_ns()
            way()
            ended = time.process_time_ns(), time.perf_counter_ns()
            if number >= _WARM:
                cpu_ms[name].append((ended[0] - begun[0]) / 1e6)
                wall_ms[name].append((ended[1] - begun[1]) / 1e6)
    figures: dict[str, Any] = {}
    for name, way in ways.items():
        out[...] = 0
        way()
        figures[name] = {
            'cpu_ms': _two(cpu_ms[name]),
            'wall_ms': _two(wall_ms[name]),
            'error': round(float(np.abs(out.astype(np.int16) - wanted).mean()), 2),
        }
    return figures


def _two(values: list[float]) -> dict[str, float]:
    return {name: value for name, value in percentiles(values).items() if name != 'p99'}


def table(figures: dict[str, Any]) -> str:
    """Give processor times as a person reads them: p50 / p95 of each way, milliseconds."""
    names = ('ours', 'opencv', 'pyav')
    lines = []
    for size in (f'{width}x{height}' for width, height in SIZES):
        lines.append(f'{size:32}' + ''.join(f'{name:>16}' for name in names))
        for form, row in figures[size].items():
            cells = [
                f'{row[name]["cpu_ms"]["p50"]:.2f} / {row[name]["cpu_ms"]["p95"]:.2f}' if name in row else ''
                for name in names
            ]
            lines.append(f'{form:32}' + ''.join(f'{cell:>16}' for cell in cells))
    return '\n'.join(lines)
