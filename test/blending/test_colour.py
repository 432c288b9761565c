from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending import colour
from facefusion_ros.blending.colour import LightFilter, gain_field, measure, sample_face
from facefusion_ros.blending.masks import feather
from facefusion_ros.blending.paste import Scratch, prepare, region_of, tint
from facefusion_ros.blending.settings import BlendSettings

LUMA = np.array([0.114, 0.587, 0.299])
MS = 1_000_000
FRAME_NS = 33_333_333
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
    region = region_of(patch.image_from_patch, size, frame.shape[1], frame.shape[0])
    return face, sample_face(frame, region, patch.image_from_patch, size, face)


def lit(frame, patch, settings=BlendSettings()):  # noqa: B008 - frozen
    """The persona's layer after measuring and tinting: straight colours (n, 3) where it is opaque, and where."""
    scratch = Scratch()
    layer = prepare(patch.pixels, feather(patch.pixels.shape[0], 0.1), SIZE, scratch)
    coefficients = measure(*look(frame, patch), layer, settings)
    tint(layer, gain_field(coefficients), scratch)
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
    assert not seen[:, :15].any()
    assert seen[:, 17:].all()
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
    wanted = np.median(face[17:22, 10:22].reshape(-1, 3) @ LUMA)
    assert np.median(result[skin & opaque] @ LUMA) == pytest.approx(wanted, rel=0.12, abs=2)


@given(st.floats(0.25, 2.0))
def test_gain_of_the_scene_is_gain_of_the_result(make_patch_once, gain):
    """Under pure gains of pixel values, 0.25 to 2, the persona is as bright as the face it stands for."""
    patch, even = make_patch_once
    frame = np.clip(even * gain, 0, 255).astype(np.uint8)
    face, seen = look(frame, patch)
    layer = ready(patch)
    coefficients = measure(face, seen, layer, BlendSettings())
    scratch = Scratch()
    tint(layer, gain_field(coefficients), scratch)
    assert layer.colour[layer.alpha == 255].mean(axis=0) @ LUMA == pytest.approx((even[0, 0] * gain) @ LUMA, rel=0.06)


@pytest.fixture(scope='module')
def make_patch_once(make_patch):
    return make_patch(), np.full((300, 400, 3), (75.0, 92.0, 112.0))


def test_strength_0_leaves_the_persona_as_painted(portrait, make_patch):
    neutral = BlendSettings(colour_strength=0.0, chroma_strength=0.0)
    coefficients = measure(*look(under_lamp(portrait, 0.1), make_patch()), ready(make_patch()), neutral)
    assert np.allclose(coefficients, 0.0, atol=1e-9)


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
        result, opaque = lit(frame, make_patch(), BlendSettings(**settings))
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
    a, b = (measure(*look(frame, patch), ready(patch), BlendSettings()) for frame in (plain, disturbed))
    assert np.abs(a[:3] - b[:3]).max() < 0.1


@pytest.mark.parametrize('level', [0, 255])
def test_black_and_white_pictures_give_finite_gains(make_patch, level):
    coefficients = measure(
        *look(np.full((300, 400, 3), level, np.uint8), make_patch()), ready(make_patch()), BlendSettings()
    )
    assert np.isfinite(coefficients).all()
    assert (gain_field(coefficients) > 0).all()
    assert (gain_field(coefficients) < 20).all()


def test_nothing_is_measured_where_too_little_is_seen(make_patch, portrait):
    face, seen = look(portrait, make_patch())
    assert measure(face, np.zeros_like(seen), ready(make_patch()), BlendSettings()) is None
    assert measure(face, seen, ready(make_patch(alpha=0)), BlendSettings()) is None


def follow(light, level, frames, *, begin_ns=0, step_ns=None, track=1, settings=BlendSettings()):  # noqa: B008 - frozen
    """Coefficients of blue over some frames while the measured ones stand at level."""
    return [
        light.follow(track, begin_ns + k * FRAME_NS, np.full(8, level), step_ns, settings)[0] for k in range(frames)
    ]


def test_the_filter_converges_with_its_time_constant():
    light = LightFilter()
    follow(light, 0.0, 1)
    course = follow(light, 0.05, 120, begin_ns=FRAME_NS)
    assert np.all(np.diff(course) >= 0)
    assert course[11] == pytest.approx(0.05 * (1 - np.exp(-0.4 / 0.4)), abs=0.001)  # 12 frames are one time constant
    assert course[-1] == pytest.approx(0.05, abs=1e-4)


def test_noise_is_smoothed():
    rng = np.random.default_rng(1)
    light = LightFilter()
    noisy = rng.normal(0, 0.01, 300)
    course = [
        light.follow(1, k * FRAME_NS, np.full(8, level), None, BlendSettings())[0] for k, level in enumerate(noisy)
    ]
    assert np.std(course[50:]) < 0.4 * np.std(noisy)


def frames_until_settled(course, level):
    return int(np.argmax(np.abs(np.array(course) - level) < 0.05 * level))


def test_a_step_of_the_light_shortens_the_convergence():
    """The camera's exposure swallows most of the step: what is left would be taken for noise."""
    slow, fast = LightFilter(), LightFilter()
    follow(slow, 0.0, 10)
    follow(fast, 0.0, 10)
    begin_ns = 10 * FRAME_NS
    without = frames_until_settled(follow(slow, 0.05, 60, begin_ns=begin_ns), 0.05)
    told = frames_until_settled(follow(fast, 0.05, 60, begin_ns=begin_ns, step_ns=begin_ns - MS), 0.05)
    assert told <= 3
    assert without >= 8 * max(told, 1)


def test_an_old_or_a_coming_step_does_not_open_the_filter():
    for step_ns in (-5_000 * MS, 60_000 * MS):
        light = LightFilter()
        follow(light, 0.0, 1)
        assert follow(light, 0.05, 3, begin_ns=FRAME_NS, step_ns=step_ns)[-1] < 0.02


def test_a_jump_in_the_picture_alone_opens_the_filter():
    light = LightFilter()
    follow(light, 0.0, 10)
    assert frames_until_settled(follow(light, 0.2, 60, begin_ns=10 * FRAME_NS), 0.2) <= 3


def test_faces_keep_apart_and_unmeasured_frames_hold():
    light = LightFilter()
    follow(light, 0.1, 1, track=1)
    follow(light, -0.1, 1, track=2)
    assert light.follow(1, FRAME_NS, None, None, BlendSettings())[0] == pytest.approx(0.1)
    assert light.follow(2, FRAME_NS, None, None, BlendSettings())[0] == pytest.approx(-0.1)
    assert not light.follow(3, FRAME_NS, None, None, BlendSettings()).any()


def test_faces_without_an_id_are_not_mixed():
    light = LightFilter()
    assert [light.follow(0, k, np.full(8, float(k)), None, BlendSettings())[0] for k in range(3)] == [0.0, 1.0, 2.0]
    assert len(light) == 0


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 10_000)), max_size=300))
def test_memory_stays_bounded_and_times_may_jump(visits):
    light = LightFilter()
    for track, at_ms in visits:
        light.follow(track, at_ms * MS, np.zeros(8), None, BlendSettings())
        assert len(light) <= colour.MAX_TRACKS


def test_a_face_that_left_is_forgotten():
    light = LightFilter()
    follow(light, 0.5, 3)
    late = 3 * colour.FORGET_NS
    assert light.follow(1, late, np.zeros(8), None, BlendSettings())[0] == 0.0
    follow(light, 0.5, 1, track=2, begin_ns=3 * late)
    assert len(light) == 1
