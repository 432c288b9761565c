"""What each precision costs and what it does to a face: fp32, fp16, int8, and int8 with eyes and lips kept."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import onnxruntime

from facefusion_ros.app.bench.restorer import CODE, SIZE, STEP_PX, Restorer
from facefusion_ros.app.summary import percentiles
from facefusion_ros.engines.colour import ciede2000, lab
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.engines.parity import difference, drawn_faces
from facefusion_ros.engines.precision import to_fp16
from facefusion_ros.engines.quantisation import to_int8
from facefusion_ros.engines.reduced import IntegerKernels, Precision
from facefusion_ros.engines.region_engine import RegionEngine
from facefusion_ros.engines.regions import crop_shape, masks, plan
from facefusion_ros.engines.statistics import give_statistics, take_statistics
from facefusion_ros.faces.alignment import whole_face
from facefusion_ros.sim.world import load_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]

HALO_PX = 24
"""The small restorer's halo: with 24 pixels its crops return what the whole patch returns to 0.01 dE2000."""
WANTED_P95_DE2000 = 1.8
WANTED_SHARE = 0.5
_TESTED_FRAMES, _CALIBRATION_FRAMES = (20, 150, 310, 430), (70, 230, 390, 550)
_TEMPLATE = whole_face(SIZE)
_FORMS = {'int8_for_tensorrt': 'int8 with float results and biases, as TensorRT wants it; computed here in float32'}


def precision(frames: int = 30) -> dict[str, Any]:
    """Compare the precisions on a small restorer over faces of the simulated world; ``frames`` runs are timed of each.

    Differences are CIEDE2000 from fp32: on skin, and the mean in the regions of eyes and lips.
    """
    restorer = Restorer()
    pictures = [_patch(*seen) for seen in _photographs()]
    with tempfile.TemporaryDirectory() as folder:
        runs = _runs(restorer, Path(folder))
        outputs = {name: [_run(network, picture) for picture, _, _ in pictures] for name, network in runs.items()}
        latencies = _latencies({name: runs[name] for name in runs if name not in _FORMS}, pictures[0][0], frames)
    whole = outputs[Precision.FP32.value]
    result: dict[str, Any] = {
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}',
        'runtime': f'ONNX Runtime {onnxruntime.__version__}, CPU, which computes fp16 in float32',
        'network': f'CodeFormer-shaped, {SIZE} x {SIZE}, weights from a seed, last layer fitted to return its input',
        'rms_from_input': round(float(np.mean([_rms(y, x) for y, (x, _, _) in zip(whole, pictures, strict=True)])), 2),
        'pictures': len(pictures),
        'frames': frames,
    }
    fastest = np.median(latencies[Precision.FP32.value])
    for name, found in outputs.items():
        result[name] = {}
        if name in latencies:
            result[name]['latency_ms'] = percentiles(latencies[name])
            result[name]['latency_ratio'] = round(float(np.median(latencies[name]) / fastest), 3)
        if name != Precision.FP32.value:
            result[name] |= _differences(whole, found, pictures)
    kept, plain = result[Precision.INT8_KEEP_REGIONS.value], result[Precision.INT8.value]
    result['wanted'] = {
        f'regions_at_most_{WANTED_SHARE}_of_int8': all(
            kept[f'{part}_de2000'] <= WANTED_SHARE * plain[f'{part}_de2000'] for part in ('eyes', 'lips')
        ),
        f'skin_p95_de2000_at_most_{WANTED_P95_DE2000}': kept['skin_p95_de2000'] <= WANTED_P95_DE2000,
    }
    return result


def _photographs() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Pictures and the landmarks in them: the astronaut as she is, and as the simulated camera sees her."""
    world = load_world('head')
    canvas = world.canvas
    pixels_from_plane = np.linalg.inv(canvas.plane_from_canvas)
    yield (
        canvas.pixels,
        (canvas.landmarks_m @ pixels_from_plane[:2, :2].T + pixels_from_plane[:2, 2]).astype(np.float32),
    )
    world = world.sized(1280, 720)
    for index in _TESTED_FRAMES:
        picture = np.empty((720, 1280, 3), np.uint8)
        yield picture, world.render(index, picture).landmarks


def _patch(picture: NDArray[np.uint8], landmarks: ArrayLike) -> tuple[Floats, NDArray[np.bool_], NDArray[np.float64]]:
    """Return the face as the network's input, where its skin is, and its landmarks in the patch."""
    patch_from_picture = cv2.invertAffineTransform(_TEMPLATE.image_from_patch(landmarks))
    pixels = np.asarray(cv2.warpAffine(picture, patch_from_picture, (SIZE, SIZE), flags=cv2.INTER_LINEAR), np.uint8)
    rgb = np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)[None], np.float32) / np.float32(255.0)
    points = np.asarray(landmarks, np.float64) @ patch_from_picture[:, :2].T + patch_from_picture[:, 2]
    return CODE.encode(rgb), _skin(pixels), points


def _skin(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find skin by its chroma (Chai and Ngan, IEEE Transactions on Circuits and Systems for Video Technology 9, 1999).

    Only in the oval of the face, and neither in eyes nor lips.
    """
    chroma = cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb)[..., 1:]
    skin = ((chroma >= (133, 77)) & (chroma <= (173, 127))).all(axis=-1)
    y, x = np.ogrid[:SIZE, :SIZE]
    oval = ((x - SIZE / 2) / (0.33 * SIZE)) ** 2 + ((y - SIZE / 2) / (0.42 * SIZE)) ** 2 < 1.0
    eyes, lips = masks(_TEMPLATE.landmarks, SIZE, SIZE)
    return np.asarray(skin & oval & (eyes == 0.0) & (lips == 0.0), np.bool_)


def _calibration() -> Iterator[dict[str, Floats]]:
    """Faces of other frames than those tested, and drawn ones."""
    world = load_world('head').sized(1280, 720)
    for index in _CALIBRATION_FRAMES:
        picture = np.empty((720, 1280, 3), np.uint8)
        truth = world.render(index, picture)
        yield {CODE.input: _patch(picture, truth.landmarks)[0]}
    for face in drawn_faces(SIZE, SIZE, seed=2):
        yield {CODE.input: CODE.encode(face.rgb)}


def _runs(restorer: Restorer, folder: Path) -> dict[str, Callable[[Floats, Floats], None]]:
    """Networks by the name of their precision."""

    def engine(name: str, model: onnx.ModelProto) -> OrtEngine:
        file = folder / f'{name}.onnx'
        onnx.save(model, file)
        return OrtEngine(file)

    def alone(name: str, model: onnx.ModelProto) -> Callable[[Floats, Floats], None]:
        loaded = engine(name, model)
        return lambda picture, out: loaded.run({CODE.input: picture}, {CODE.output: out})

    model = restorer.model()
    samples = list(_calibration())
    runs = {
        Precision.FP32.value: alone('fp32', model),
        Precision.FP16.value: alone('fp16', to_fp16(model)[0]),
        Precision.INT8.value: alone('int8', to_int8(model, samples, kernels=IntegerKernels.ONNXRUNTIME)[0]),
        'int8_for_tensorrt': alone('int8_for_tensorrt', to_int8(model, samples)[0]),
    }
    windows = plan(_TEMPLATE.landmarks, SIZE, SIZE, halo_px=HALO_PX, multiple_px=STEP_PX)
    shape = crop_shape(windows)
    giving = to_int8(give_statistics(model), samples, kernels=IntegerKernels.ONNXRUNTIME)[0]
    taking = to_fp16(take_statistics(restorer.model(shape[3], shape[2], shape[0])))[0]
    composed = RegionEngine(
        engine('whole', giving), engine('detail', taking), windows, picture_in=CODE.input, picture_out=CODE.output
    )
    runs[Precision.INT8_KEEP_REGIONS.value] = lambda picture, out: composed.run(
        {CODE.input: picture}, {CODE.output: out}
    )
    return runs


def _run(network: Callable[[Floats, Floats], None], picture: Floats) -> Floats:
    out = np.empty_like(picture)
    network(picture, out)
    return out


def _latencies(
    runs: dict[str, Callable[[Floats, Floats], None]], picture: Floats, frames: int
) -> dict[str, list[float]]:
    """Time the networks in turn, so that what else the machine does falls on all of them; milliseconds."""
    outs = {name: np.empty_like(picture) for name in runs}
    for name, network in runs.items():
        network(picture, outs[name])
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(frames):
        for name, network in runs.items():
            begin = time.perf_counter()
            network(picture, outs[name])
            times[name].append((time.perf_counter() - begin) * 1e3)
    return times


def _differences(
    before: list[Floats], after: list[Floats], pictures: list[tuple[Floats, NDArray[np.bool_], NDArray[np.float64]]]
) -> dict[str, Any]:
    skins, regions = [], {'eyes': list[float](), 'lips': list[float]()}
    for first, second, (_, skin, landmarks) in zip(before, after, pictures, strict=True):
        one, other = CODE.decode(first)[0], CODE.decode(second)[0]
        skins.append((one[:, skin], other[:, skin]))
        apart = ciede2000(lab(one.transpose(1, 2, 0)), lab(other.transpose(1, 2, 0)))
        for found, mask in zip(regions.values(), masks(landmarks, SIZE, SIZE), strict=True):
            found.append(float(apart[mask == 1.0].mean()))
    one, other = (np.concatenate(side, axis=1)[:, None] for side in zip(*skins, strict=True))
    on_skin = difference(one, other, np.ones(one.shape[1:], np.bool_))
    return {
        'skin_mean_de2000': round(on_skin.mean_de2000, 3),
        'skin_p95_de2000': round(on_skin.p95_de2000, 3),
        'skin_shift_lab': [round(value, 3) for value in on_skin.shift_lab],
        **{f'{part}_de2000': round(float(np.mean(found)), 3) for part, found in regions.items()},
    }


def _rms(first: Floats, second: Floats) -> float:
    """Root mean square of a difference, steps of 255."""
    return float(255.0 * np.sqrt(np.mean((CODE.decode(first) - CODE.decode(second)) ** 2)))
