from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending import colour
from facefusion_ros.blending.colour import contrast_map, gain_field, measure, sample_face
from facefusion_ros.blending.masks import feather
from facefusion_ros.blending.paste import Scratch, contrast, prepare, region_of, tint
from facefusion_ros.blending.settings import BlendSettings

LUMA = np.array([0.114, 0.587, 0.299])
SIZE = 128
SKIN = np.s_[66:88, 40:88]
"""Cheeks and mouth of a patch of that size."""


def ready(patch, size=SIZE):
    return prepare(patch.pixels, feather(patch.pixels.shape[0], 0.1), size, Scratch())


def under_lamp(picture, gain, tint_bgr=(1.0, 1.0, 1.0), slope=0.0):
    """Multiply what the scene sends back (linear light), as a lamp of that brightness, colour and side would."""
    across = np.exp(slope * np.linspace(-1, 1, picture.shape[1]))[None, :, None]
    linear = (picture / 255.0) ** 2.2 * gain * np.array(tint_bgr) * across
    return np.rint(255 * np.clip(linear, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def look(frame, patch):
    size = patch.pixels.shape[0]
    face = np.empty((colour.SAMPLES, colour.SAMPLES, 3), np.uint8)
    left, top, width, height = region_of(patch.image_from_patch, size, frame.shape[1], frame.shape[0])
    view = frame[top : top + height, left : left + width]
    return face, sample_face(view, (left, top), patch.image_from_patch, size, face)


def apply(measured, layer, scratch):
    contrast(layer, contrast_map(measured.coefficients), measured.persona_mean, scratch)
    tint(layer, gain_field(measured.coefficients), scratch)


def lit(frame, patch, settings=BlendSettings()):  # noqa: B008 - frozen
    """The persona's layer after measuring and tinting: straight colours (n, 3) where it is opaque, and where."""
    scratch = Scratch()
    layer = prepare(patch.pixels, feather(patch.pixels.shape[0], 0.1), SIZE, scratch)
    apply(measure(*look(frame, patch), layer, settings), layer, scratch)
    return layer.colour.copy(), layer.alpha == 255


@pytest.mark.parametrize('width_px', [40.0, 170.0, 600.0])
def test_the_frame_is_looked_at_through_the_patch(place, make_patch, width_px):
    """A picture that is a plane of brightness gives the plane back, whatever the face's size and turn."""
    x, y = np.meshgrid(np.arange(1000), np.arange(900))
    frame = np.dstack([np.rint(x * 0.2), np.rint(y * 0.2), np.full_like(x, 77)]).astype(np.uint8)
    to = place(256, 480.0, 420.0, width_px, 20.0)
    face, seen = look(frame, make_patch(256, image_from_patch=to))
    centres = (np.arange(colour.SAMPLES) + 0.5) * 256 / colour.SAMPLES - 0.5
    u, v = np.meshgrid(centres, centres)
    at = to @ np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    assert seen.all()
    assert np.abs(face[..., 0].ravel() - 0.2 * at[0]).max() < 1.6
    assert np.abs(face[..., 1].ravel() - 0.2 * at[1]).max() < 1.6
    assert (face[..., 2] == 77).all()


def test_what_lies_outside_the_picture_is_not_seen(place, make_patch):
    frame = np.full((200, 200, 3), 90, np.uint8)
    face, seen = look(frame, make_patch(128, image_from_patch=place(128, 0.0, 100.0, 100.0)))
    half = colour.SAMPLES // 2
    assert not seen[:, : half - 1].any()
    assert seen[:, half + 1 :].all()
    assert (face[seen] == 90).all()


@pytest.mark.parametrize('gain', [0.0625, 0.25, 0.5, 1.0, 1.4])
def test_brightness_follows_the_scene(portrait, make_patch, gain):
    """Measured on the cheeks and the chin, where hair does not disturb the comparison."""
    patch = make_patch()
    frame = under_lamp(portrait, gain)
    result, opaque = lit(frame, patch)
    skin = np.zeros(opaque.shape, bool)
    skin[SKIN] = True
    face, _ = look(frame, patch)
    wanted = np.median(face[34:44, 20:44].reshape(-1, 3) @ LUMA)
    assert np.median(result[skin & opaque] @ LUMA) == pytest.approx(wanted, rel=0.12, abs=2)


@given(st.floats(0.25, 2.0))
def test_gain_of_the_scene_is_gain_of_the_result(make_patch_once, gain):
    """Under pure gains of pixel values, 0.25 to 2, the persona is as bright as the face it stands for."""
    patch, even = make_patch_once
    frame = np.clip(even * gain, 0, 255).astype(np.uint8)
    face, seen = look(frame, patch)
    layer = ready(patch)
    apply(measure(face, seen, layer, BlendSettings()), layer, Scratch())
    assert layer.colour[layer.alpha == 255].mean(axis=0) @ LUMA == pytest.approx((even[0, 0] * gain) @ LUMA, rel=0.06)


@pytest.fixture(scope='module')
def make_patch_once(make_patch):
    return make_patch(), np.full((300, 400, 3), (75.0, 92.0, 112.0))


def test_strength_0_leaves_the_persona_as_painted(portrait, make_patch):
    neutral = BlendSettings(colour_strength=0.0, chroma_strength=0.0)
    measured = measure(*look(under_lamp(portrait, 0.1), make_patch()), ready(make_patch()), neutral)
    assert np.allclose(measured.coefficients, 0.0, atol=1e-6)


def test_the_persona_is_lit_from_the_side_the_face_is_lit_from(portrait, make_patch):
    patch = make_patch()
    sides = []
    for slope in (-2.0, 2.0):
        result, opaque = lit(under_lamp(portrait, 0.4, slope=slope), patch)
        left, right = result[:, :50][opaque[:, :50]], result[:, 78:][opaque[:, 78:]]
        sides.append(np.log((right @ LUMA).mean() / (left @ LUMA).mean()))
    assert sides[1] - sides[0] > 0.25


def test_a_lamp_s_tint_is_taken_on_partly(portrait, make_patch):
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


def test_hair_and_glints_do_not_pass_for_light(make_patch):
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
    inner = np.s_[34:44, 20:44]
    assert np.abs(np.log(a[inner] / b[inner])).max() < 0.12


@pytest.mark.parametrize('level', [0, 255])
def test_black_and_white_pictures_give_finite_gains(make_patch, level):
    measured = measure(
        *look(np.full((300, 400, 3), level, np.uint8), make_patch()), ready(make_patch()), BlendSettings()
    )
    assert measured.clear == 0.0
    assert np.isfinite(measured.coefficients).all()
    assert (gain_field(measured.coefficients) > 0).all()
    assert (gain_field(measured.coefficients) < 50).all()


def test_nothing_is_measured_where_too_little_is_seen(make_patch, portrait):
    face, seen = look(portrait, make_patch())
    assert measure(face, np.zeros_like(seen), ready(make_patch()), BlendSettings()) is None
    assert measure(face, seen, ready(make_patch(alpha=0)), BlendSettings()) is None


def ring_and_middle(result, opaque):
    """Mean colours of the persona near its rim, at the cheeks' outside, and of its middle."""
    inside = cv2.distanceTransform(opaque.astype(np.uint8), cv2.DIST_L2, 5)
    below = np.zeros_like(opaque)
    below[70:] = True
    return result[(inside > 1) & (inside < 7) & below].mean(axis=0), result[60:80, 54:74].reshape(-1, 3).mean(axis=0)


def test_the_rim_meets_the_skin_and_the_middle_stays_the_persona(make_patch):
    """Porcelain beside a redder skin: at the rim its colour is the skin's, in the middle it is paler than that."""
    skin = np.array([95.0, 120.0, 165.0])
    frame = np.full((300, 400, 3), skin).astype(np.uint8)
    rim, middle = ring_and_middle(*lit(frame, make_patch()))
    assert np.abs(rim - skin).max() < 5
    assert middle[2] / middle[0] < 0.9 * skin[2] / skin[0]
    bare, _ = ring_and_middle(*lit(frame, make_patch(), BlendSettings(seam_strength=0.0)))
    assert np.abs(bare - skin).max() > 2 * np.abs(rim - skin).max()


def test_a_persona_of_another_hue_keeps_it_to_the_edge(make_patch):
    jade = make_patch()
    jade.pixels[..., :3] = (140, 180, 100)
    skin = np.array([95.0, 120.0, 165.0])
    rim, _ = ring_and_middle(*lit(np.full((300, 400, 3), skin).astype(np.uint8), jade))
    assert rim[1] > rim[2] * 1.05
    assert rim @ LUMA == pytest.approx(skin @ LUMA, rel=0.06)


def test_hair_beside_the_rim_is_not_painted_onto_it(make_patch):
    frame = np.full((300, 400, 3), (100, 122, 150), np.uint8)
    frame[:, :195] = (30, 45, 60)
    plain, covered = (lit(picture, make_patch())[0] for picture in (np.full_like(frame, (100, 122, 150)), frame))
    hidden = np.s_[40:90, 26:36]  # of the patch, where hair lies over the face
    assert (covered[hidden] @ LUMA).mean() > 0.7 * (plain[hidden] @ LUMA).mean()


@pytest.mark.parametrize('level', [1.0, 0.4])
def test_haze_takes_contrast_from_the_persona(portrait, make_patch, level):
    """A veil over the picture: the face's colours vary less, and so do the persona's."""
    veiled = cv2.convertScaleAbs(portrait, alpha=0.35 * level, beta=150 * level)
    clear = cv2.convertScaleAbs(portrait, alpha=level)
    spread = []
    for frame in (clear, veiled):
        measured = measure(*look(frame, make_patch()), ready(make_patch()), BlendSettings())
        spread.append(float(np.trace(contrast_map(measured.coefficients))))
    assert spread[1] < spread[0] - 0.1


def test_how_much_is_clipped_is_told(portrait, make_patch):
    shares = [
        measure(*look(under_lamp(portrait, gain), make_patch()), ready(make_patch()), BlendSettings()).clear
        for gain in (1.0, 3.0, 30.0)
    ]
    assert shares[0] > 0.8
    assert shares[0] > shares[1] > shares[2]
    assert shares[2] < 0.1
