from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending.grain import Grain, middle, roughen, texture
from facefusion_ros.blending.paste import Scratch, Warped

SEED = 3


def picture(portrait, blur_px=0.0, deviation=0.0):
    face = portrait[60:188, 160:288]
    face = cv2.resize(face, (256, 256), interpolation=cv2.INTER_CUBIC)
    face = cv2.GaussianBlur(face, (0, 0), 1.5 + blur_px) if blur_px else cv2.GaussianBlur(face, (0, 0), 1.5)
    noise = np.random.default_rng(SEED).normal(0, deviation, face.shape) if deviation else 0.0
    return np.clip(np.rint(face + noise), 0, 255).astype(np.uint8)


def shown(colour, alpha=255):
    return Warped(colour.copy(), np.full_like(colour, alpha))


@pytest.mark.parametrize('deviation', [2.0, 4.0, 8.0, 12.0])
def test_noise_is_measured(portrait, deviation):
    found = texture(picture(portrait, deviation=deviation))
    assert found.grain == pytest.approx(np.full(3, deviation), rel=0.2)


def test_blur_is_measured_and_noise_hides_it(portrait):
    blurs = [texture(picture(portrait, blur_px)).blur_px for blur_px in (0.0, 0.8, 1.6)]
    assert blurs[0] < blurs[1] < blurs[2]
    assert np.isnan(texture(picture(portrait, 3.0, 25.0)).blur_px)
    assert np.isnan(texture(np.full((64, 64, 3), 90, np.uint8)).blur_px)
    assert texture(np.zeros((9, 50, 3), np.uint8)) is None


@pytest.mark.parametrize('deviation', [3.0, 9.0])
def test_a_clean_persona_gets_the_picture_s_grain(portrait, deviation):
    warped = shown(picture(portrait))
    scene = texture(picture(portrait, deviation=deviation))
    Grain().match(warped, scene, 1, 0, 1.0, Scratch())
    assert texture(warped.colour).grain.mean() == pytest.approx(deviation, rel=0.2)


def test_a_grainy_persona_gets_no_more_grain_than_it_has(portrait):
    warped = shown(picture(portrait, deviation=5.0))
    Grain().match(warped, texture(picture(portrait)), 1, 0, 1.0, Scratch())
    assert texture(warped.colour).grain.mean() < 5.5


def test_a_crisp_persona_in_a_soft_picture_is_softened(portrait):
    warped = shown(picture(portrait))
    soft = texture(picture(portrait, 1.8))
    crisp = texture(middle(warped.colour)).blur_px
    Grain().match(warped, soft, 1, 0, 1.0, Scratch())
    assert texture(middle(warped.colour)).blur_px > crisp + 0.25


def test_noise_is_the_same_for_the_same_seed_and_different_for_another():
    made = []
    for seed in (1, 1, 2):
        warped = shown(np.full((90, 120, 3), 100, np.uint8))
        roughen(warped, 6.0, seed, Scratch())
        made.append(warped.colour.astype(int))
    assert np.array_equal(made[0], made[1])
    assert abs(np.corrcoef(made[0].ravel() - 100, made[2].ravel() - 100)[0, 1]) < 0.05


@given(st.integers(0, 2**63), st.floats(0.6, 14.0))
def test_noise_has_its_deviation_and_no_mean(seed, deviation):
    warped = shown(np.full((100, 100, 3), 128, np.uint8))
    roughen(warped, deviation, seed, Scratch())
    assert warped.colour.mean() == pytest.approx(128.0, abs=0.25)
    assert warped.colour.std() == pytest.approx(deviation, rel=0.1, abs=0.2)


def test_a_large_face_is_covered_too_and_the_rim_less():
    warped = shown(np.full((700, 1100, 3), 128, np.uint8))
    warped.alphas[:, 800:] = 64
    warped.colour[:, 800:] = 32
    roughen(warped, 8.0, 5, Scratch())
    assert warped.colour[600:, 700:800].std() == pytest.approx(8.0, rel=0.1)
    assert warped.colour[:, 900:].std() == pytest.approx(2.0, rel=0.15)


def test_grain_changes_slowly_and_memory_is_bounded(portrait):
    grain = Grain()
    face = texture(picture(portrait, deviation=8.0))
    for track in range(1, 300):
        assert grain.looks(track)
        grain.match(shown(picture(portrait)[:64, :64]), face, track, 0, 1.0, Scratch())
    assert len(grain._lacks) <= 64
