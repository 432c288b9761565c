import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.engines.engine import EngineError, TensorSpec
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.personas.background import BackgroundEnhancer, BackgroundSettings, input_size, reduction_of

X2, X4 = (catalogue().family(f'real_esrgan_{scale}') for scale in ('x2', 'x4'))
SCALES = {'real_esrgan_x2': 2, 'real_esrgan_x4': 4}
ALL_OF_IT = BackgroundSettings(strength=1.0)


class Larger:
    """Makes each pixel larger, then what ``answer`` makes of it; ``size``: width and height, None leaves them open."""

    provider = 'written by hand'

    def __init__(self, scale, size=None, answer=lambda picture: picture, dtype=np.float32):
        width, height = size or (None, None)
        larger = (width * scale, height * scale) if size else (None, None)
        self.inputs = (TensorSpec('x', (1, 3, height, width), np.dtype(dtype)),)
        self.outputs = (TensorSpec('y', (1, 3, *larger[::-1]), np.dtype(dtype)),)
        self.scale, self.answer = scale, answer
        self.asked = []
        self.closed = False

    def run(self, inputs, outputs):
        self.asked.append(inputs['x'].copy())
        outputs['y'][...] = self.answer(inputs['x'].repeat(self.scale, axis=2).repeat(self.scale, axis=3))

    def close(self):
        self.closed = True


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def enhanced(enhancer, frame):
    out = np.full_like(frame, 7)
    enhancer.enhance(frame, out)
    return out


def means(frame, divisor):
    """Mean of each square of pixels, as wide as the frame; incomplete ones of what there is of them."""
    height, width = frame.shape[:2]
    out = np.zeros(frame.shape)
    for y in range(0, height, divisor):
        for x in range(0, width, divisor):
            part = slice(y, y + divisor), slice(x, x + divisor)
            out[part] = frame[part].mean(axis=(0, 1))
    return out


SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))
TILES = st.none() | st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=150, deadline=None)
@given(
    size=SIZES, tile=TILES, family=st.sampled_from([X2, X4]), divisor=st.sampled_from([1, 2, 4]), seed=st.integers(0)
)
def test_a_network_that_only_enlarges_gives_the_frame_back(size, tile, family, divisor, seed):
    """In whatever tiles; reduced first, the mean of what became one pixel."""
    scale = SCALES[family.name]
    divisor = min(divisor, scale)
    tile = tile and tuple(n * family.multiple for n in tile)
    frame = noise(*size, seed)
    enhancer = BackgroundEnhancer(
        Larger(scale, tile), family, size, BackgroundSettings(strength=1.0, reduction=divisor)
    )
    for _ in range(2):
        out = enhanced(enhancer, frame)
        if divisor == 1:
            np.testing.assert_array_equal(out, frame)
        else:
            np.testing.assert_allclose(out, means(frame, divisor), atol=1)


@settings(max_examples=50, deadline=None)
@given(size=SIZES, tile=TILES, family=st.sampled_from([X2, X4]), value=st.integers(0, 200))
def test_tiles_have_no_seams(size, tile, family, value):
    """A network that makes everything brighter makes everything as much brighter."""
    tile = tile and tuple(n * family.multiple for n in tile)
    network = Larger(SCALES[family.name], tile, lambda picture: picture + 40 / 255)
    frame = np.full((size[1], size[0], 3), (value, 200 - value, value // 2), np.uint8)
    out = enhanced(BackgroundEnhancer(network, family, size, ALL_OF_IT), frame)
    np.testing.assert_array_equal(out, frame + 40)


@pytest.mark.parametrize('reduction', [1, 2, 4])
def test_what_a_network_makes_of_its_rim_does_not_show_within_the_frame(reduction):
    def dark_rim(picture):
        picture = picture.copy()
        picture[..., : 4 * 8, :] = picture[..., -4 * 8 :, :] = picture[..., : 4 * 8] = picture[..., -4 * 8 :] = 0
        return picture

    frame = np.full((300, 400, 3), 200, np.uint8)
    network = Larger(4, (64, 48), dark_rim)
    out = enhanced(BackgroundEnhancer(network, X4, (400, 300), BackgroundSettings(1.0, 1.0, reduction)), frame)
    rim = 8 * reduction
    assert (out[rim:-rim, rim:-rim] == 200).all()
    assert not out[:rim].any()


def test_two_tiles_that_disagree_fade_into_each_other():
    calls = iter(range(100))
    network = Larger(4, (64, 64), lambda picture: np.full_like(picture, next(calls) % 2))
    frame = np.zeros((64, 104, 3), np.uint8)
    out = enhanced(BackgroundEnhancer(network, X4, (104, 64), BackgroundSettings(1.0, 1.0, 1)), frame)
    assert len(network.asked) == 2
    row = out[30, :, 0].astype(int)
    assert row[:48].max() == 0
    assert row[56:].min() == 255
    assert 0 < np.diff(row).max() <= 33


def test_a_file_of_any_size_takes_the_frame_at_once():
    network = Larger(2)
    enhanced(BackgroundEnhancer(network, X2, (101, 51), ALL_OF_IT), noise(101, 51))
    # Halved, and to an even number: what is beyond the frame is as its edge.
    (asked,) = network.asked
    assert asked.shape == (1, 3, 26, 52)
    np.testing.assert_array_equal(asked[..., 50:51], asked[..., 51:])
    assert input_size(X2, (101, 51), ALL_OF_IT) == (52, 26)


def test_a_frame_smaller_than_a_tile_is_continued_by_its_edge():
    network = Larger(4, (32, 32))
    frame = noise(5, 3)
    enhanced(BackgroundEnhancer(network, X4, (5, 3), BackgroundSettings(1.0, 1.0, 1)), frame)
    (asked,) = network.asked
    rows, columns = np.minimum(np.arange(32), 2), np.minimum(np.arange(32), 4)
    wanted = frame[rows][:, columns, ::-1].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(asked[0], wanted, atol=1e-6)


def test_the_network_is_given_rgb_from_0_to_1():
    network = Larger(4)
    frame = np.full((8, 8, 3), (255, 51, 0), np.uint8)
    out = enhanced(BackgroundEnhancer(network, X4, (8, 8), ALL_OF_IT), frame)
    np.testing.assert_allclose(network.asked[0][0, :, 1, 1], [0, 0.2, 1], atol=1e-6)
    np.testing.assert_array_equal(out, frame)


def test_what_is_beyond_0_to_1_is_clipped():
    network = Larger(4, answer=lambda picture: picture * 3 - 1)
    frame = np.full((8, 8, 3), (10, 128, 240), np.uint8)
    assert enhanced(BackgroundEnhancer(network, X4, (8, 8), ALL_OF_IT), frame)[3, 3].tolist() == [0, 129, 255]


def test_half_precision_networks_are_read():
    frame = noise(40, 30)
    network = Larger(4, dtype=np.float16)
    out = enhanced(BackgroundEnhancer(network, X4, (40, 30), BackgroundSettings(1.0, 1.0, 1)), frame)
    np.testing.assert_array_equal(out, frame)


def test_strength_goes_from_the_frame_to_the_networks_picture():
    frame = noise(32, 32)
    enhancer = BackgroundEnhancer(Larger(4, answer=np.ones_like), X4, (32, 32))
    for strength, wanted in ((0.0, frame), (0.5, (frame.astype(float) + 255) / 2), (1.0, np.full_like(frame, 255))):
        enhancer.settings = BackgroundSettings(strength=strength)
        np.testing.assert_allclose(enhanced(enhancer, frame), wanted, atol=0.5)
    # The same in place, and with a frame that is only lent.
    lent = frame.copy()
    lent.flags.writeable = False
    np.testing.assert_array_equal(enhanced(enhancer, lent), np.full_like(frame, 255))
    enhancer.enhance(frame, frame)
    assert (frame == 255).all()


def test_rows_of_a_frame_may_lie_apart():
    wide, out = noise(64, 20), noise(64, 20, 1)
    enhancer = BackgroundEnhancer(Larger(4), X4, (40, 20), BackgroundSettings(1.0, 1.0, 1))
    beside = out[:, 40:].copy()
    enhancer.enhance(wide[:, :40], out[:, :40])
    np.testing.assert_array_equal(out[:, :40], wide[:, :40])
    np.testing.assert_array_equal(out[:, 40:], beside)


@pytest.mark.parametrize(('reduction', 'pixels'), [(0, 160 * 90), (4, 160 * 90), (2, 320 * 180), (1, 640 * 360)])
def test_reduced_frames_are_less_for_the_network(reduction, pixels):
    network = Larger(4)
    out = enhanced(
        BackgroundEnhancer(network, X4, (640, 360), BackgroundSettings(reduction=reduction)), noise(640, 360)
    )
    assert [asked[0, 0].size for asked in network.asked] == [pixels]
    assert out.shape == (360, 640, 3)


@pytest.mark.parametrize('tile', [None, (64, 64)])
@pytest.mark.parametrize('reduction', [1, 2, 4])
def test_enhancing_again_allocates_nothing(tile, reduction):
    network = Larger(4, tile)
    network.run = lambda *_: None
    frame, out = noise(321, 241), noise(321, 241)
    enhancer = BackgroundEnhancer(network, X4, (321, 241), BackgroundSettings(0.02, 1.0, reduction))
    enhancer.enhance(frame, out)
    tracemalloc.start()
    try:
        for _ in range(3):
            enhancer.enhance(frame, out)
        growth, peak = tracemalloc.get_traced_memory()
        assert growth < 4096
        # numpy's own casting buffers; the frame is 232 kB.
        assert peak < 100_000
    finally:
        tracemalloc.stop()


@pytest.fixture(scope='module')
def tiny_engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp('backgrounds')

    def engine(family):
        path = folder / f'{family.name}.onnx'
        if not path.exists():
            write_tiny(family.name, path)
        return OrtEngine(path)

    return engine


@pytest.mark.parametrize('family', [X2, X4], ids=lambda family: family.name)
@pytest.mark.parametrize('reduction', [0, 1])
def test_a_network_keeps_a_picture_where_it_is(tiny_engine, family, reduction):
    y, x = np.mgrid[:120, :160]
    frame = np.stack([128 + 80 * np.sin(x / 17), 128 + 80 * np.cos(y / 13), 100 + 50 * np.sin((x + y) / 19)], axis=-1)
    frame = np.rint(frame).astype(np.uint8)
    enhancer = BackgroundEnhancer(
        tiny_engine(family), family, (160, 120), BackgroundSettings(strength=1.0, reduction=reduction)
    )
    out = enhanced(enhancer, frame).astype(int)
    inner = slice(8, -8), slice(8, -8)
    error = np.abs(out[inner] - frame[inner])
    assert error.max() <= 6
    # Half a pixel beside its place it would be further from the frame.
    for shift in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        assert error.mean() < np.abs(np.roll(out, shift, axis=(0, 1))[inner] - frame[inner]).mean()


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_picture_that_is_not_finite_is_refused(value):
    def answer(picture):
        picture = picture.copy()
        picture[0, 1, 5, 7] = value
        return picture

    with pytest.raises(EngineError, match='higher precision'):
        enhanced(BackgroundEnhancer(Larger(4, answer=answer), X4, (20, 10)), noise(20, 10))


def test_other_frames_are_refused():
    enhancer = BackgroundEnhancer(Larger(4), X4, (20, 10))
    with pytest.raises(ValueError, match=r'pixels must be uint8 \(10, 20, 3\), not uint8 \(20, 10, 3\)'):
        enhancer.enhance(noise(10, 20), noise(20, 10))
    with pytest.raises(ValueError, match='out must be'):
        enhancer.enhance(noise(20, 10), np.zeros((10, 20, 3), np.float32))


def test_networks_that_do_not_suit_are_refused():
    with pytest.raises(EngineError, match='gfpgan is no family of backgrounds'):
        reduction_of(catalogue().family('gfpgan'), (20, 10), BackgroundSettings())
    with pytest.raises(EngineError, match=r'reduction by 3 does not suit real_esrgan_x4: choose from 1, 2, 4'):
        BackgroundEnhancer(Larger(4), X4, (20, 10), BackgroundSettings(reduction=3))
    with pytest.raises(EngineError, match='hold no picture of 128x128: set the right family'):
        BackgroundEnhancer(Larger(2, (32, 32)), X4, (20, 10))
    with pytest.raises(EngineError, match='multiples of 2'):
        BackgroundEnhancer(Larger(2, (31, 32)), X2, (20, 10))
    network = Larger(4)
    network.inputs *= 2
    with pytest.raises(EngineError, match='set the right family'):
        BackgroundEnhancer(network, X4, (20, 10))


def test_closing_releases_the_network():
    network = Larger(4)
    BackgroundEnhancer(network, X4, (20, 10)).close()
    assert network.closed


@pytest.mark.parametrize(
    ('wrong', 'text'),
    [
        ({'budget_s': 0}, 'no frame is ever restored in time'),
        ({'budget_s': -1}, 'budget_s must be more than 0'),
        ({'budget_s': float('nan')}, 'budget_s must be more than 0'),
        ({'strength': 1.1}, 'strength must be 0 to 1'),
        ({'reduction': -1}, 'reduction must be 0 to 8'),
    ],
)
def test_settings_out_of_range_are_refused(wrong, text):
    with pytest.raises(ValueError, match=text):
        BackgroundSettings(**wrong)
