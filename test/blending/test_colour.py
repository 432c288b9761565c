from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending.colour import contrast_map, gain_field, measure
from facefusion_ros.blending.samples import SAMPLES
from facefusion_ros.blending.settings import BlendSettings

LUMA = np.array([0.114, 0.587, 0.299])
SKIN = np.s_[66:88, 40:88]
"""Cheeks and mouth of a layer."""
CHEEKS = np.s_[SAMPLES * 34 // 64 : SAMPLES * 44 // 64, SAMPLES * 20 // 64 : SAMPLES * 44 // 64]
"""The same of samples."""


def under_lamp(picture, gain, tint_bgr=(1.0, 1.0, 1.0), slope=0.0):
    """Multiply what the scene sends back (linear light), as a lamp of that brightness, colour and side would."""
    across = np.exp(slope * np.linspace(-1, 1, picture.shape[1]))[None, :, None]
    linear = (picture / 255.0) ** 2.2 * gain * np.array(tint_bgr) * across
    return np.rint(255 * np.clip(linear, 0, 1) ** (1 / 2.2)).astype(np.uint8)


@pytest.mark.parametrize('gain', [0.0625, 0.25, 0.5, 1.0, 1.4])
def test_brightness_follows_the_scene(portrait, make_patch, gain, look, lit):
    """Measured on the cheeks and the chin, where hair does not disturb the comparison."""
    patch = make_patch()
    frame = under_lamp(portrait, gain)
    result, opaque = lit(frame, patch)
    skin = np.zeros(opaque.shape, bool)
    skin[SKIN] = True
    face, _ = look(frame, patch)
    wanted = np.median(face[CHEEKS].reshape(-1, 3) @ LUMA)
    assert np.median(result[skin & opaque] @ LUMA) == pytest.approx(wanted, rel=0.12, abs=2)


@given(gain=st.floats(0.25, 2.0))
def test_gain_of_the_scene_is_gain_of_the_result(make_patch, lit, gain):
    """Under pure gains of pixel values, 0.25 to 2, the persona is as bright as the face it stands for."""
    even = np.full((300, 400, 3), (75.0, 92.0, 112.0))
    result, opaque = lit(np.clip(even * gain, 0, 255).astype(np.uint8), make_patch())
    assert result[opaque].mean(axis=0) @ LUMA == pytest.approx((even[0, 0] * gain) @ LUMA, rel=0.06)


@pytest.mark.parametrize('reflectance', [0.25, 1.6])
@pytest.mark.parametrize('gain', [0.4, 1.0])
def test_what_sends_back_less_light_than_skin_is_darker_to_the_edge(make_patch, lit, reflectance, gain):
    """By the 2.2nd root of what it sends back, as pixel values go, and the light goes on being followed."""
    even = np.full((300, 400, 3), (75.0, 92.0, 112.0)) * gain
    patch = replace(make_patch(), reflectance=reflectance)
    result, opaque = lit(np.clip(even, 0, 255).astype(np.uint8), patch)
    wanted = (even[0, 0] @ LUMA) * reflectance ** (1 / 2.2)
    assert result[opaque].mean(axis=0) @ LUMA == pytest.approx(wanted, rel=0.06)
    inside = cv2.distanceTransform(opaque.astype(np.uint8), cv2.DIST_L2, 5)
    rim = result[(inside > 1) & (inside < 6)] @ LUMA
    assert np.median(rim) == pytest.approx(wanted, rel=0.05)


def test_how_bright_the_face_is_told_whatever_the_persona_reflects(portrait, make_patch, look, ready):
    patch = make_patch()
    told = [
        measure(*look(under_lamp(portrait, 1.0), patch), ready(patch), BlendSettings(), reflectance)
        for reflectance in (1.0, 0.25)
    ]
    assert told[1].face_level == pytest.approx(told[0].face_level, abs=0.05)
    assert told[1].clear == pytest.approx(told[0].clear, abs=0.01)


def test_strength_0_leaves_the_persona_as_painted(portrait, make_patch, look, ready):
    neutral = BlendSettings(colour_strength=0.0, chroma_strength=0.0)
    measured = measure(*look(under_lamp(portrait, 0.1), make_patch()), ready(make_patch()), neutral)
    assert np.allclose(measured.coefficients, 0.0, atol=1e-6)


def test_the_persona_is_lit_from_the_side_the_face_is_lit_from(portrait, make_patch, lit):
    patch = make_patch()
    sides = []
    for slope in (-2.0, 2.0):
        result, opaque = lit(under_lamp(portrait, 0.4, slope=slope), patch)
        left, right = result[:, :50][opaque[:, :50]], result[:, 78:][opaque[:, 78:]]
        sides.append(np.log((right @ LUMA).mean() / (left @ LUMA).mean()))
    assert sides[1] - sides[0] > 0.25


def test_a_lamp_s_tint_is_taken_on_partly(portrait, make_patch, lit):
    def red_over_blue(frame, **settings):
        result, opaque = lit(frame, make_patch(), BlendSettings(seam_strength=0.0, **settings))
        mean = result[opaque].mean(axis=0)
        return np.log(mean[2] / mean[0])

    white, warm = under_lamp(portrait, 0.5), under_lamp(portrait, 0.5, (0.4, 0.8, 1.2))
    lamp = np.log(1.2 / 0.4) / 2.2
    full = red_over_blue(warm, chroma_strength=1.0) - red_over_blue(white, chroma_strength=1.0)
    part = red_over_blue(warm, chroma_strength=0.5) - red_over_blue(white, chroma_strength=0.5)
    assert full == pytest.approx(lamp, rel=0.25)
    assert part == pytest.approx(0.5 * full, rel=0.1)
    assert red_over_blue(warm, chroma_strength=0.0) == pytest.approx(
        red_over_blue(white, chroma_strength=0.0), abs=0.02
    )


def test_hair_and_glints_do_not_pass_for_light(make_patch, look, ready):
    """A third of an even face is covered by something dark, a few pixels shine: the rest says what the light is."""
    patch = make_patch()
    plain = np.full((300, 400, 3), (110, 120, 130), np.uint8)
    disturbed = plain.copy()
    disturbed[:85] = 20
    disturbed[125:130, 200:210] = 255
    a, b = (
        gain_field(measure(*look(frame, patch), ready(patch), BlendSettings()).coefficients)
        for frame in (plain, disturbed)
    )
    assert np.abs(np.log(a[CHEEKS] / b[CHEEKS])).max() < 0.12


@pytest.mark.parametrize('gain', [6.0, 12.0, 30.0])
@pytest.mark.parametrize('tint', [(1.0, 1.0, 1.0), (1.1, 1.0, 0.9)])
def test_a_face_that_is_white_makes_the_persona_white(portrait, make_patch, look, lit, gain, tint):
    """It was brighter than white, nobody knows by how much, and of any colour: no tint may be left where it is."""
    patch = make_patch()
    patch.pixels[..., :3] = np.clip(patch.pixels[..., :3] * np.array(tint), 0, 255)
    frame = under_lamp(portrait, gain)
    result, opaque = lit(frame, patch)
    size = opaque.shape[0]
    white = cv2.resize(look(frame, patch)[0].min(axis=2), (size, size), interpolation=cv2.INTER_LINEAR)
    white = cv2.erode(white, np.ones((11, 11))) >= 254  # mere glints are not meant
    painted = cv2.resize(patch.pixels, (size, size), interpolation=cv2.INTER_AREA)[..., :3].min(axis=2)
    there = opaque & white & (painted > 100)  # eyes may stay dark
    assert there.sum() > 300
    assert np.mean(result[there].min(axis=1) >= 250) > 0.9


@pytest.mark.parametrize('level', [0, 255])
def test_black_and_white_pictures_give_finite_gains(make_patch, level, look, ready):
    measured = measure(
        *look(np.full((300, 400, 3), level, np.uint8), make_patch()), ready(make_patch()), BlendSettings()
    )
    assert measured.clear == 0.0
    assert np.isfinite(measured.coefficients).all()
    assert (gain_field(measured.coefficients) > 0).all()
    assert (gain_field(measured.coefficients) < 50).all()


def test_nothing_is_measured_where_too_little_is_seen(make_patch, portrait, look, ready):
    face, seen = look(portrait, make_patch())
    assert measure(face, np.zeros_like(seen), ready(make_patch()), BlendSettings()) is None
    assert measure(face, seen, ready(make_patch(alpha=0)), BlendSettings()) is None


@pytest.mark.parametrize('level', [1.0, 0.4])
def test_haze_takes_contrast_from_the_persona(portrait, make_patch, level, look, ready):
    """A veil over the picture: the face's colours vary less, and so do the persona's."""
    veiled = cv2.convertScaleAbs(portrait, alpha=0.35 * level, beta=150 * level)
    clear = cv2.convertScaleAbs(portrait, alpha=level)
    spread = []
    for frame in (clear, veiled):
        measured = measure(*look(frame, make_patch()), ready(make_patch()), BlendSettings())
        spread.append(float(np.trace(contrast_map(measured.coefficients))))
    assert spread[1] < spread[0] - 0.1


def test_how_much_is_clipped_is_told(portrait, make_patch, look, ready):
    shares = [
        measure(*look(under_lamp(portrait, gain), make_patch()), ready(make_patch()), BlendSettings()).clear
        for gain in (1.0, 3.0, 30.0)
    ]
    assert shares[0] > 0.8
    assert shares[0] > shares[1] > shares[2]
    assert shares[2] < 0.1
