from __future__ import annotations

import cv2
import numpy as np
import pytest

from facefusion_ros.blending.samples import LUMA
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.engines.colour import lab


def ring_and_middle(result, opaque):
    """Mean colours of the persona near its rim, at the cheeks' outside, and of its middle."""
    inside = cv2.distanceTransform(opaque.astype(np.uint8), cv2.DIST_L2, 5)
    below = np.zeros_like(opaque)
    below[70:] = True
    return result[(inside > 1) & (inside < 7) & below].mean(axis=0), result[60:80, 54:74].reshape(-1, 3).mean(axis=0)


def test_the_rim_meets_the_skin_and_the_middle_stays_the_persona(make_patch, lit):
    """Porcelain beside a redder skin: at the rim its colour is the skin's, in the middle it is paler than that."""
    skin = np.array([95.0, 120.0, 165.0])
    frame = np.full((300, 400, 3), skin).astype(np.uint8)
    rim, middle = ring_and_middle(*lit(frame, make_patch()))
    assert np.abs(rim - skin).max() < 5
    assert middle[2] / middle[0] < 0.9 * skin[2] / skin[0]
    bare, _ = ring_and_middle(*lit(frame, make_patch(), BlendSettings(seam_strength=0.0)))
    assert np.abs(bare - skin).max() > 2 * np.abs(rim - skin).max()


def test_a_persona_of_another_hue_keeps_it_to_the_edge_and_is_as_light_as_the_skin(make_patch, lit):
    jade = make_patch()
    jade.pixels[..., :3] = (140, 180, 100)
    skin = np.array([95.0, 120.0, 165.0])
    rim, _ = ring_and_middle(*lit(np.full((300, 400, 3), skin).astype(np.uint8), jade))
    assert rim[1] > rim[2] * 1.05
    lightness = [float(lab(colour[::-1] / 255.0)[0]) for colour in (rim, skin)]
    assert lightness[0] == pytest.approx(lightness[1], abs=0.8)


def test_hair_beside_the_rim_is_not_painted_onto_it(make_patch, lit):
    frame = np.full((300, 400, 3), (100, 122, 150), np.uint8)
    frame[:, :195] = (30, 45, 60)
    plain, covered = (lit(picture, make_patch())[0] for picture in (np.full_like(frame, (100, 122, 150)), frame))
    hidden = np.s_[40:90, 26:36]  # of the patch, where hair lies over the face
    assert (covered[hidden] @ LUMA).mean() > 0.7 * (plain[hidden] @ LUMA).mean()


def engraved(patch, level):
    """Draw a line that wide around a persona, 9 pixels of a layer inside its edge, that much darker or brighter."""
    size = patch.pixels.shape[0]
    axis = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(axis, axis)
    line = np.abs(np.hypot(x / 0.8, y) - 0.68) < 0.012
    patch.pixels[line, :3] = np.clip(level * patch.pixels[line, :3].astype(float), 0, 255)
    return line


@pytest.mark.parametrize('level', [0.6, 1.15])
def test_a_line_along_the_rim_stays_a_line_and_the_rim_meets_the_skin(make_patch, lit, level):
    patch, skin = make_patch(), np.array([95.0, 120.0, 165.0])
    line = cv2.resize(engraved(patch, level).astype(np.float32), (128, 128), interpolation=cv2.INTER_AREA)
    result, opaque = lit(np.full((300, 400, 3), skin).astype(np.uint8), patch)
    result = result @ LUMA
    away = cv2.GaussianBlur(line, (0, 0), 2.0)
    ring = opaque & (away > 0.03)
    y, x = np.mgrid[:128, :128] - 63.5
    sector = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * 8).astype(int)
    means = [result[ring & (sector == k)].mean() for k in range(8) if (ring & (sector == k)).sum() > 50]
    assert len(means) >= 4
    assert np.abs(np.array(means) / (skin @ LUMA) - 1.0).max() < 0.012
    drawn = np.median(result[opaque & (line > 0.6)]) / np.median(result[ring & (line == 0.0)])
    assert abs(np.log(drawn)) > 0.36 * abs(np.log(level))


def test_a_brow_painted_near_the_rim_is_as_dark_within_as_at_its_edge(make_patch, lit):
    """Wider than what is compared at small: nothing within it tells how bright the skin beside it is."""
    patch, skin = make_patch(), np.array([95.0, 120.0, 165.0])
    size = patch.pixels.shape[0]
    axis = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(axis, axis)
    brow = (np.abs(x) < 0.3) & (np.abs(y + 0.62) < 0.06)
    patch.pixels[brow, :3] = (40, 45, 60)
    result, _ = lit(np.full((300, 400, 3), skin).astype(np.uint8), patch)
    result = result @ LUMA
    shown = cv2.resize(brow.astype(np.float32), (128, 128), interpolation=cv2.INTER_AREA) > 0.99
    deep = cv2.distanceTransform(shown.astype(np.uint8), cv2.DIST_L2, 5)
    within, edge = result[deep > 2].mean(), result[shown & (deep <= 1)].mean()
    assert within < 1.1 * edge
    assert within < 0.5 * (skin @ LUMA)


def test_features_of_the_face_within_do_not_show_through(make_patch, lit):
    """A brow across the original face darkens what is around it at most a little, and draws no line."""
    plain = np.full((300, 400, 3), (95, 120, 165), np.uint8)
    browed = plain.copy()
    browed[92:95, 190:260] = (60, 75, 100)
    without, with_brow = (lit(frame, make_patch())[0] @ LUMA for frame in (plain, browed))
    change = np.log(with_brow + 1.0) - np.log(without + 1.0)
    within = np.s_[34:47, 46:82]
    assert np.abs(change[within]).max() < 0.03
    fine = change - cv2.GaussianBlur(change, (0, 0), 2.5)
    assert np.abs(fine[within]).max() < 0.02
