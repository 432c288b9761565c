import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from facefusion_ros.engines.regions import crop_shape, keep_regions, masks, plan

LANDMARKS = np.array([[95.0, 105.0], [161.0, 105.0], [128.0, 142.0], [101.0, 180.0], [155.0, 180.0]])
SHAPE = (1, 3, 256, 256)
RNG = np.random.default_rng(3)


def scratch(windows):
    shape = crop_shape(windows)
    return {'crops': np.empty(shape, np.float32), 'details': np.empty(shape, np.float32)}


def brighter(step):
    return lambda picture, out: np.add(picture, np.float32(step), out=out)


def test_masks_cover_eyes_and_lips_and_nothing_else():
    eyes, lips = masks(LANDMARKS, 256, 256)
    assert eyes.dtype == lips.dtype == np.float32
    left, right, nose, *corners = (tuple(np.rint(point).astype(int))[::-1] for point in LANDMARKS)
    assert eyes[left] == eyes[right] == 1.0
    assert lips[corners[0]] == lips[corners[1]] == lips[180, 128] == 1.0
    assert eyes[nose] == lips[nose] == 0.0
    assert not ((eyes > 0) & (lips > 0)).any()
    assert 0.02 < (eyes > 0).mean() < 0.12
    # Soft: no seam to see.
    for mask in (eyes, lips):
        assert max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1)) < 0.3
        assert 0.0 < mask[mask > 0].min() < 0.01


@given(angle=st.floats(-0.6, 0.6), scale=st.floats(0.4, 1.2))
def test_masks_turn_with_the_face(angle, scale):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    grid = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).reshape(-1, 2)[::97]
    turned = (grid - 128) @ turn.T + 128
    inside = ((turned >= 0) & (turned <= 255)).all(axis=1)
    assume(inside.any())
    for mask, other in zip(masks(LANDMARKS, 256, 256), masks((LANDMARKS - 128) @ turn.T + 128, 256, 256), strict=True):
        at = np.rint(turned[inside]).astype(int)
        before = mask[grid[inside][:, 1], grid[inside][:, 0]]
        assert np.abs(before - other[at[:, 1], at[:, 0]]).max() < 0.25 / scale  # half a pixel of rounding on the ramp


@given(
    shift=st.tuples(st.floats(-90, 90), st.floats(-90, 70)),
    halo=st.integers(0, 60),
    step=st.sampled_from([1, 8, 32]),
)
def test_windows_hold_their_masks_with_a_halo(shift, halo, step):
    points = LANDMARKS + shift
    windows = plan(points, 256, 256, halo_px=halo, multiple_px=step)
    assert len({window.mask.shape for window in windows}) == 1
    for window, mask in zip(windows, masks(points, 256, 256), strict=True):
        height, width = window.mask.shape
        assert {window.left % step, window.top % step, width % step, height % step} == {0}
        assert window.left >= 0
        assert window.top >= 0
        assert window.left + width <= 256
        assert window.top + height <= 256
        outside = mask.copy()
        outside[window.part[1:]] = 0.0
        assert not outside.any()
        rows, columns = (np.flatnonzero(window.mask.any(axis=axis)) for axis in (1, 0))
        assert rows[0] >= min(halo, rows[0] + window.top)
        assert columns[0] >= min(halo, columns[0] + window.left)
        assert height - 1 - rows[-1] >= min(halo, 255 - rows[-1] - window.top)
        assert width - 1 - columns[-1] >= min(halo, 255 - columns[-1] - window.left)


def test_two_networks_that_agree_give_the_same_as_one():
    picture, out = RNG.random(SHAPE, np.float32), np.empty(SHAPE, np.float32)
    windows = plan(LANDMARKS, 256, 256)
    keep_regions(picture, out, windows, whole=brighter(0.25), detail=brighter(0.25), **scratch(windows))
    np.testing.assert_array_equal(out, picture + np.float32(0.25))


def test_eyes_and_lips_are_the_second_networks_and_the_rest_the_firsts():
    picture, out = RNG.random(SHAPE, np.float32), np.empty(SHAPE, np.float32)
    windows = plan(LANDMARKS, 256, 256)
    keep_regions(picture, out, windows, whole=brighter(0.25), detail=brighter(-0.5), **scratch(windows))
    shown = np.maximum(*masks(LANDMARKS, 256, 256))
    np.testing.assert_array_equal(out[..., shown == 0], (picture + np.float32(0.25))[..., shown == 0])
    np.testing.assert_allclose(out[..., shown == 1], (picture - np.float32(0.5))[..., shown == 1], atol=1e-6)
    np.testing.assert_allclose(out, picture + 0.25 - 0.75 * shown, atol=1e-6)


def test_nothing_is_allocated():
    picture, out = RNG.random(SHAPE, np.float32), np.empty(SHAPE, np.float32)
    windows = plan(LANDMARKS, 256, 256)
    given_arrays = scratch(windows)
    whole, detail = brighter(0.25), brighter(0.5)
    keep_regions(picture, out, windows, whole=whole, detail=detail, **given_arrays)
    tracemalloc.start()
    keep_regions(picture, out, windows, whole=whole, detail=detail, **given_arrays)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # numpy's buffer for operands that are not contiguous is small and does not grow with the picture.
    assert peak_bytes < 150_000


@pytest.mark.parametrize(
    ('landmarks', 'width', 'why'),
    [
        (np.full((5, 2), 50.0), 256, 'eyes are in one place'),
        (LANDMARKS + 5000, 256, 'outside the patch'),
        (LANDMARKS, 250, '250 x 256 is not in steps of 8'),
    ],
)
def test_what_cannot_be_planned(landmarks, width, why):
    with pytest.raises(ValueError, match=why):
        plan(landmarks, width, 256)
