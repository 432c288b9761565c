"""How well a swapper and a restorer do on pairs they have not seen: numbers that say what is wrong.

python -m training.pairs --out held_out --count 200 --seed 1000
python -m training.measure --pairs held_out --swapper FILE --restorer FILE --landmarks FILE
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnxruntime

from facefusion_ros.engines.colour import ciede2000, lab
from facefusion_ros.faces.alignment import apply, invert, similarity
from training.clutter import degraded, spoil_detail, spoil_light
from training.faces.landmarks import inner_anchors
from training.faces.parts import head
from training.pairs import CROP, LIGHT, PERSONAS, TEMPLATE, PairStore, crop_map, cropped
from training.scenes import TEMPLATE as LANDMARKS_TEMPLATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.float32]
    """(S, S, 3) RGB 0..1."""

LANDMARKS_SIDE = 128


class Network:
    """A network of this folder, from its file."""

    def __init__(self, file: Path) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(file), settings, providers=['CPUExecutionProvider'])
        self._names = [each.name for each in self._session.get_inputs()]

    def __call__(self, picture: Picture, *more: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run it on a picture and further inputs; returns the outputs without their batch."""
        fed = [np.ascontiguousarray(picture.transpose(2, 0, 1)), *more]
        outputs = self._session.run(None, {name: value[None] for name, value in zip(self._names, fed, strict=True)})
        return [np.asarray(output[0], np.float32) for output in outputs]


def unit(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Values 0..255 as 0..1."""
    return np.asarray(np.asarray(values, np.float32) / 255, np.float32)


def psnr(first: Picture, second: Picture, weight: NDArray[np.float32] | None = None) -> float:
    """Peak signal to noise ratio, dB, of pictures 0..1; over what ``weight`` (S, S) counts."""
    square = np.square(first - second).mean(axis=2)
    return float(-10 * np.log10(max(float(np.average(square, weights=weight)), 1e-10)))


def structure(first: Picture, second: Picture) -> NDArray[np.float32]:
    """(S, S) similarity of structure of the pictures' grey values (Wang et al., "SSIM", 2004; sigma 1.5)."""

    def mean(x: Picture) -> Picture:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5), np.float32)

    a, b = (np.asarray(x @ np.array([0.299, 0.587, 0.114], np.float32), np.float32) for x in (first, second))
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, both = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + 0.01**2) * (2 * both + 0.03**2)
    return np.asarray(top / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2)), np.float32)


class Face:
    """What the 68 landmarks in a crop say of a face."""

    def __init__(self, landmarks: Network, picture: Picture, five: NDArray[np.floating]) -> None:
        matrix = similarity(five, LANDMARKS_TEMPLATE * LANDMARKS_SIDE - 0.5)
        side = (LANDMARKS_SIDE, LANDMARKS_SIDE)
        seen = np.asarray(cv2.warpAffine(picture, matrix, side, flags=cv2.INTER_AREA), np.float32)
        found = landmarks(seen)[0][:, :2] * LANDMARKS_SIDE - 0.5
        self.points = apply(invert(matrix), found)
        """(68, 2) pixels of the crop."""

    @property
    def eyes_px(self) -> float:
        """Distance of the eyes."""
        return float(np.linalg.norm(self.points[36:42].mean(axis=0) - self.points[42:48].mean(axis=0)))

    @property
    def expression(self) -> NDArray[np.float64]:
        """Openings of the eyes and the mouth, the mouth's width and the brows' height, in distances of the eyes."""
        p = self.points

        def apart(a: int, b: int) -> float:
            return float(np.linalg.norm(p[a] - p[b])) / self.eyes_px

        return np.array(
            [
                (apart(37, 41) + apart(38, 40)) / 2,
                (apart(43, 47) + apart(44, 46)) / 2,
                apart(62, 66),
                apart(48, 54),
                apart(19, 37),
                apart(24, 44),
            ]
        )

    @property
    def turn(self) -> NDArray[np.float64]:
        """(3, 3) rotation of the average head that fits the points best, seen from far away."""
        model = inner_anchors().on(np.asarray(head().position, np.float32)).astype(np.float64) * (1, -1, -1)
        camera = np.array([[4000.0, 0, CROP / 2], [0, 4000.0, CROP / 2], [0, 0, 1]])
        _, turned, _ = cv2.solvePnP(model, self.points[17:].astype(np.float64), camera, None, flags=cv2.SOLVEPNP_SQPNP)
        return np.asarray(cv2.Rodrigues(turned)[0], np.float64)


def degrees_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Angle of the rotation from one attitude to another."""
    return float(np.degrees(np.arccos(np.clip((np.trace(first.T @ second) - 1) / 2, -1, 1))))


def light_of(picture: Picture, weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """(3,) level and slopes of the logarithm of the grey values over the weighted part of a crop."""
    y, x = np.mgrid[-1 : 1 : CROP * 1j, -1 : 1 : CROP * 1j]
    grey = np.log(np.maximum(picture.mean(axis=2), 1 / 255)).ravel()
    terms, root = np.stack([np.ones(x.size), x.ravel(), y.ravel()], 1), np.sqrt(weight.ravel())[:, None]
    return np.asarray(np.linalg.lstsq(terms * root, grey * root[:, 0], rcond=None)[0], np.float64)


def measure_swapper(
    store: PairStore, swapper: Network, landmarks: Network, restorer: Network | None = None, seed: int = 0
) -> dict[str, float]:
    """Swap every pair's face by every persona and compare with the truth; medians and means over all.

    With a restorer its picture of what was swapped is compared, too.
    """
    rows: list[dict[str, float]] = []
    for number in range(len(store)):
        rng = np.random.default_rng([seed, number])
        pair = store[number]
        matrix = crop_map(pair.five, rng, loose=0.02)
        pictures = [cropped(picture, matrix)[..., ::-1] for picture in (pair.face, *pair.personas)]
        lit = np.clip(spoil_light(rng, np.concatenate(pictures, axis=1) * pair.white_balance, LIGHT), 0, 255)
        face, *truths = (np.ascontiguousarray(part) for part in np.split(lit, 1 + len(PERSONAS), axis=1))
        given = unit(spoil_detail(rng, face))
        truths = [unit(truth) for truth in truths]
        before = Face(landmarks, given, TEMPLATE)
        for which, truth in enumerate(truths):
            shown = unit(cropped(pair.masks[which], matrix))
            if shown.mean() < 0.02:
                continue
            persona = np.eye(len(PERSONAS), dtype=np.float32)[which]
            swapped, mask = swapper(given, persona)
            swapped, mask = swapped.transpose(1, 2, 0), mask[0]
            # What is seen is the composite.
            result, goal = (given + m[..., None] * (p - given) for m, p in ((mask, swapped), (shown, truth)))
            after, wanted = Face(landmarks, result, TEMPLATE), Face(landmarks, goal, TEMPLATE)
            inside = shown > 0.9
            means = [lab(swapped[inside].mean(axis=0)), *(lab(other[inside].mean(axis=0)) for other in truths)]
            distances = [float(ciede2000(means[0], mean)) for mean in means[1:]]
            light = light_of(swapped, shown) - light_of(truth, shown)
            restored = {}
            if restorer is not None:
                picture = restorer(swapped, np.array([0.5], np.float32))[0].transpose(1, 2, 0)
                restored['restored_psnr_db'] = psnr(picture, truth, shown)
            rows.append(
                {
                    'psnr_db': psnr(swapped, truth, shown),
                    **restored,
                    'ssim': float(np.average(structure(swapped, truth), weights=shown)),
                    'landmarks_to_input': float(
                        np.linalg.norm(after.points - before.points, axis=1).mean() / before.eyes_px
                    ),
                    'landmarks_to_truth': float(
                        np.linalg.norm(after.points - wanted.points, axis=1).mean() / wanted.eyes_px
                    ),
                    'expression_error': float(np.abs(after.expression - wanted.expression).mean()),
                    'pose_error_deg': degrees_between(after.turn, wanted.turn),
                    'light_level_error': abs(float(light[0])),
                    'light_slope_error': float(np.hypot(*light[1:])),
                    'colour_delta_e': distances[which],
                    'looks_like_its_persona': float(int(np.argmin(distances)) == which),
                    'mask_iou': float(np.minimum(mask, shown).sum() / np.maximum(mask, shown).sum()),
                }
            )
    means_of = ('looks_like_its_persona', 'mask_iou')
    return {
        name: round(float((np.mean if name in means_of else np.median)([row[name] for row in rows])), 4)
        for name in rows[0]
    }


def measure_restorer(store: PairStore, restorer: Network, seed: int = 0) -> dict[str, Any]:
    """Restore every pair's face, degraded and enlarged by bicubic interpolation again, at three fidelities."""
    told: dict[str, dict[str, list[float]]] = {}
    for number in range(len(store)):
        rng = np.random.default_rng([seed, number, 1])
        pair = store[number]
        lit = np.clip(spoil_light(rng, cropped(pair.face, crop_map(pair.five, rng))[..., ::-1]), 0, 255)
        given, truth = unit(degraded(rng, lit)), unit(lit)
        results = {'bicubic': given}
        for fidelity in (0.0, 0.5, 1.0):
            restored = restorer(given, np.array([fidelity], np.float32))[0].transpose(1, 2, 0)
            results[f'fidelity {fidelity:g}'] = restored
        for name, result in results.items():
            row = told.setdefault(name, {'psnr_db': [], 'ssim': [], 'delta_e': []})
            row['psnr_db'].append(psnr(result, truth))
            row['ssim'].append(float(structure(result, truth).mean()))
            # Of colour, not of detail: as seen from further away.
            coarse = [lab(cv2.resize(part, (16, 16), interpolation=cv2.INTER_AREA)) for part in (result, truth)]
            row['delta_e'].append(float(np.median(ciede2000(coarse[0], coarse[1]))))
    return {
        name: {key: round(float(np.median(values)), 4) for key, values in row.items()} for name, row in told.items()
    }


def main() -> None:
    """Print what the networks reach, as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--pairs', type=Path, required=True, help='folder of training.pairs, drawn with another seed')
    parser.add_argument('--swapper', type=Path)
    parser.add_argument('--restorer', type=Path)
    parser.add_argument('--landmarks', type=Path, help="needed for the swapper's")
    options = parser.parse_args()
    store = PairStore.of(options.pairs)
    told: dict[str, Any] = {'pairs': len(store)}
    if options.swapper:
        if not options.landmarks:
            parser.error('--swapper needs --landmarks, the network that tells expression and pose')
        restorer = Network(options.restorer) if options.restorer else None
        told['swapper'] = measure_swapper(store, Network(options.swapper), Network(options.landmarks), restorer)
    if options.restorer:
        told['restorer'] = measure_restorer(store, Network(options.restorer))
    print(json.dumps(told, indent=2))


if __name__ == '__main__':
    main()
