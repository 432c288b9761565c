from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending.masks import feather
from facefusion_ros.blending.paste import (
    Scratch,
    contrast,
    layer_size,
    paste,
    prepare,
    region_of,
    scaling,
    tint,
    warp,
    window_of,
)
from facefusion_ros.faces.alignment import compose

maps = st.builds(
    lambda scale, turn, x, y: np.array(
        [[scale * np.cos(turn), -scale * np.sin(turn), x], [scale * np.sin(turn), scale * np.cos(turn), y]]
    ),
    st.floats(0.05, 4),
    st.floats(-3.2, 3.2),
    st.floats(-300, 300),
    st.floats(-300, 300),
)


def put(frame, pixels, image_from_patch, fraction=0.1, gains=None):
    scratch = Scratch()
    size = pixels.shape[0]
    region = region_of(image_from_patch, size, frame.shape[1], frame.shape[0])
    if region is not None:
        layer = prepare(pixels, feather(size, fraction), layer_size(image_from_patch, size), scratch)
        if gains is not None:
            tint(layer, gains, scratch)
        paste(frame, region, warp(layer, region, image_from_patch, scratch))
    return region


@given(maps, st.integers(1, 80), st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_only_the_region_changes_and_only_where_the_patch_lies(image_from_patch, size, width, height, seed):
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (height, width, 3), np.uint8)
    pixels = rng.integers(0, 256, (size, size, 4), np.uint8)
    before = frame.copy()
    region = put(frame, pixels, image_from_patch, gains=rng.uniform(0.1, 4, (5, 5, 3)))
    changed = (frame != before).any(axis=2)
    if region is None:
        assert not changed.any()
        return
    left, top, w, h = region
    assert 0 <= left < left + w <= width
    assert 0 <= top < top + h <= height
    changed[top : top + h, left : left + w] = False
    assert not changed.any()
    # In the patch's own coordinates: nothing changes beyond its edge (plus the warp's 1/32 pixel grid).
    ys, xs = np.nonzero((frame != before).any(axis=2))
    back = cv2.invertAffineTransform(image_from_patch)
    inside = back @ np.stack([xs, ys, np.ones(len(xs))])
    slack = 0.05 * max(1.0, np.abs(back[:, :2]).max())
    assert (inside > -slack).all()
    assert (inside < size - 1 + slack).all()


@given(maps, st.integers(2, 80), st.integers(0, 2**32 - 1))
def test_alpha_0_keeps_every_bit_whatever_colours_lie_under_it(image_from_patch, size, seed):
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (90, 120, 3), np.uint8)
    pixels = rng.integers(0, 256, (size, size, 4), np.uint8)
    pixels[..., 3] = 0
    before = frame.copy()
    put(frame, pixels, image_from_patch, gains=np.full((4, 4, 3), 3.0))
    assert np.array_equal(frame, before)


@given(maps, st.integers(8, 64), st.integers(0, 2**32 - 1))
def test_pixels_under_a_warped_alpha_of_0_keep_every_bit(image_from_patch, size, seed):
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (90, 120, 3), np.uint8)
    pixels = rng.integers(0, 256, (size, size, 4), np.uint8)
    pixels[..., 3] = 255 * (rng.random((size, size)) < 0.1)
    before = frame.copy()
    scratch = Scratch()
    region = region_of(image_from_patch, size, 120, 90)
    if region is None:
        return
    layer = prepare(pixels, feather(size, 0.1), layer_size(image_from_patch, size), scratch)
    whole = compose(image_from_patch, layer.patch_from_layer)
    # The region's own corner is where the warp counts from: the last bit of an interpolation hangs on it.
    left, top, w, h = region
    whole[:, 2] -= (left, top)
    alpha = cv2.warpAffine(layer.alpha, whole, (w, h))
    tint(layer, rng.uniform(0.2, 5, (4, 4, 3)), scratch)
    paste(frame, region, warp(layer, region, image_from_patch, scratch))
    hidden = alpha == 0
    view = (slice(top, top + h), slice(left, left + w))
    assert np.array_equal(frame[view][hidden], before[view][hidden])


@pytest.mark.parametrize('scale', [1.0, 1.37, 3.0])
def test_alpha_255_gives_the_warped_patch(scale):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (64, 64, 4), np.uint8)
    pixels[..., 3] = 255
    frame = rng.integers(0, 256, (300, 400, 3), np.uint8)
    image_from_patch = np.array([[scale * 0.96, -scale * 0.28, 80.3], [scale * 0.28, scale * 0.96, 40.7]])
    region = put(frame, pixels, image_from_patch, fraction=0.1)
    left, top, w, h = region
    moved = image_from_patch.copy()
    moved[:, 2] -= (left, top)
    warped = cv2.warpAffine(np.ascontiguousarray(pixels[..., :3]), moved, (w, h))
    opaque = cv2.warpAffine(feather(64, 0.1), moved, (w, h)) == 255
    opaque = cv2.erode(opaque.astype(np.uint8), np.ones((7, 7))) > 0
    assert opaque.sum() > 1000
    assert np.array_equal(frame[top : top + h, left : left + w][opaque], warped[opaque])


def test_between_the_ends_it_is_the_weighted_mean():
    image_from_patch = np.array([[1.0, 0, 3], [0, 1.0, 4]])
    for alpha in range(0, 256, 5):
        pixels = np.full((32, 32, 4), 200, np.uint8)
        pixels[..., 3] = alpha
        frame = np.full((40, 40, 3), 40, np.uint8)
        put(frame, pixels, image_from_patch)
        assert abs(int(frame[20, 20, 0]) - (40 + 160 * alpha / 255)) <= 1.0


def test_no_dark_fringe_from_colours_under_the_mask():
    """White patch with black under its transparent part, on white: everything stays white."""
    pixels = np.zeros((256, 256, 4), np.uint8)
    cv2.circle(pixels, (128, 128), 90, (255, 255, 255, 255), -1)
    frame = np.full((100, 100, 3), 255, np.uint8)
    put(frame, pixels, np.array([[0.31, 0.02, 8.3], [-0.02, 0.31, 11.4]]))
    assert frame.min() >= 254


@pytest.mark.parametrize('size', [256, 512])
def test_a_large_patch_on_a_small_face_does_not_alias(size):
    """Fine stripes far below the small picture's resolution become an even grey."""
    pixels = np.zeros((size, size, 4), np.uint8)
    pixels[:, ::2, :3] = 255
    pixels[..., 3] = 255
    frame = np.zeros((100, 100, 3), np.uint8)
    scale = 80 / size
    put(frame, pixels, np.array([[scale, 0, 10.2], [0, scale, 9.7]]))
    middle = frame[30:70, 30:70].astype(float)
    assert abs(middle.mean() - 127.5) < 3
    assert middle.std() < 4


def test_the_reduced_patch_stays_in_its_place():
    pixels = np.zeros((512, 512, 4), np.uint8)
    pixels[..., 3] = 255
    at = np.array([301.0, 177.0])
    cv2.circle(pixels, (301, 177), 24, (255, 255, 255, 255), -1, cv2.LINE_AA)
    for scale in (0.9, 0.5, 0.33, 0.21, 0.1):
        frame = np.zeros((480, 640, 3), np.uint8)
        image_from_patch = np.array([[scale, 0.0, 20.4], [0.0, scale, 11.3]])
        put(frame, pixels, image_from_patch)
        moments = cv2.moments(frame[..., 0])
        centre = np.array([moments['m10'], moments['m01']]) / moments['m00']
        assert np.abs(centre - image_from_patch @ (*at, 1.0)).max() < 0.06


def test_maps_that_place_nothing():
    identity = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    assert region_of(identity * np.nan, 64, 100, 100) is None
    assert region_of(np.full((2, 3), np.inf), 64, 100, 100) is None
    assert region_of(identity * 0.0, 64, 100, 100) is None
    assert region_of(identity * 1e7, 64, 100, 100) is None
    assert region_of(np.array([[1.0, 0, 200], [0, 1.0, 0]]), 64, 100, 100) is None
    assert region_of(np.array([[1.0, 0, -64.0], [0, 1.0, 0]]), 64, 100, 100) is None
    assert region_of(identity, 64, 1, 1) == (0, 0, 1, 1)


@given(st.integers(1, 500), st.integers(1, 500))
def test_scaling_maps_corners_to_corners(new_size, size):
    to = scaling(new_size, size)
    assert np.allclose(to @ (-0.5, -0.5, 1.0), -0.5)
    assert np.allclose(to @ (new_size - 0.5, new_size - 0.5, 1.0), size - 0.5)


def test_scratch_only_grows():
    scratch = Scratch()
    large = scratch.take('a', 100, 100, 3)
    held = scratch.size_bytes
    small = scratch.take('a', 10, 20)
    assert np.shares_memory(large, small)
    assert scratch.size_bytes == held == 30_000


@given(st.integers(8, 200), st.integers(0, 2**32 - 1))
def test_a_window_holds_all_that_shows(size, seed):
    rng = np.random.default_rng(seed)
    pixels = np.zeros((size, size, 4), np.uint8)
    (left, right), (top, bottom) = np.sort(rng.integers(0, size, (2, 2)), axis=1)
    pixels[top : bottom + 1, left : right + 1, 3] = 9
    window = window_of(pixels)
    for _ in range(2):
        x, y, side = window
        assert x >= 0
        assert y >= 0
        assert max(x, y) + side <= size
        outside = pixels[..., 3].copy()
        outside[y : y + side, x : x + side] = 0
        assert not outside.any()
        window = window_of(pixels, window)
    assert window_of(np.zeros_like(pixels)) is None


def test_a_window_stays_while_the_mask_trembles():
    pixels = np.zeros((256, 256, 4), np.uint8)
    pixels[60:200, 70:190, 3] = 255
    first = window_of(pixels)
    for shift in (1, -1, 2, -2):
        assert window_of(np.roll(pixels, shift, axis=1), first) == first
    pixels[10:250, 20:220, 3] = 255
    assert window_of(pixels, first) != first


@pytest.mark.parametrize('strength', [-0.4, 0.3])
def test_contrast_is_about_the_mean_and_premultiplied(strength):
    rng = np.random.default_rng(2)
    pixels = rng.integers(90, 170, (64, 64, 4), np.uint8)
    pixels[..., 3] = np.linspace(0, 255, 64).astype(np.uint8)[:, None]
    scratch = Scratch()
    layer = prepare(pixels, np.full((64, 64), 255, np.uint8), 64, scratch)
    mean = np.array([120.0, 130.0, 140.0])
    stretch = np.eye(3) * (1.0 + strength) + 0.05
    contrast(layer, stretch, mean, scratch)
    alpha = layer.alpha[2:-2, 2:-2, None] / 255.0
    wanted = ((pixels[2:-2, 2:-2, :3] - mean) @ stretch.T + mean) * alpha
    assert np.abs(layer.colour[2:-2, 2:-2] - np.clip(wanted, 0, 255)).max() < 4
