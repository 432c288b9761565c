import tracemalloc

import numpy as np
import pytest

from facefusion_ros.engines.engine import EngineError, TensorSpec
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.faces.alignment import apply as moved
from facefusion_ros.faces.alignment import whole_face
from facefusion_ros.faces.face import Face
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.personas.enhancer import Enhancer, EnhancerSettings, read_plane
from facefusion_ros.personas.swapper import WarpSwapper

ENHANCERS = ('codeformer', 'codeformer_256', 'face_restorer', 'gfpgan', 'gpen', 'gpen_256', 'restoreformer')


@pytest.fixture(scope='module')
def engine_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp('enhancers')
    engines = {}

    def engine(family):
        if family not in engines:
            write_tiny(family, folder / f'{family}.onnx')
            engines[family] = OrtEngine(folder / f'{family}.onnx')
        return engines[family]

    return engine


@pytest.fixture(scope='module')
def patch_of(porcelain):
    def patch(size):
        landmarks = whole_face(size).landmarks
        out = np.zeros((size, size, 4), np.uint8)
        WarpSwapper(porcelain, size).swap(out, Face((0, 0, size, size), 1.0, landmarks.astype(np.float32)), out)
        return out, landmarks

    return patch


class Copies:
    """Returns its picture, or what ``answer`` makes of it."""

    provider = 'written by hand'

    def __init__(self, size, answer=lambda picture: picture, dtype=np.float32, weight=()):
        self.inputs = (
            TensorSpec('x', (1, 3, size, size), np.dtype(dtype)),
            *(TensorSpec('w', shape, np.dtype(kind)) for shape, kind in weight),
        )
        self.outputs = (TensorSpec('y', (1, 3, size, size), np.dtype(dtype)),)
        self.answer = answer

    def run(self, inputs, outputs):
        self.asked = {name: array.copy() for name, array in inputs.items()}
        outputs['y'][...] = self.answer(inputs['x'])


def detail(pixels):
    """Mean squared difference between neighbours, in the middle of the patch."""
    s = pixels.shape[0]
    return float((np.diff(pixels[s // 4 : 3 * s // 4, s // 4 : 3 * s // 4, :3].astype(float), axis=1) ** 2).mean())


@pytest.mark.parametrize('name', ENHANCERS)
@pytest.mark.parametrize('size', [128, 256])
def test_every_family_changes_a_patch_and_keeps_its_alpha(engine_of, patch_of, name, size):
    patch, landmarks = patch_of(size)
    out = np.zeros_like(patch)
    Enhancer(engine_of(name), catalogue().family(name), EnhancerSettings(1.0, 0.0)).enhance(patch, landmarks, out)
    np.testing.assert_array_equal(out[..., 3], patch[..., 3])
    assert (out[..., :3] != patch[..., :3]).mean() > 0.1
    # The same face: colours are not swapped and nothing has moved.
    assert np.abs(out[..., :3].astype(int) - patch[..., :3]).mean(axis=(0, 1)).max() < 8


def test_fidelity_keeps_more_of_the_patch(engine_of, patch_of):
    patch, landmarks = patch_of(256)
    details = []
    for fidelity in (0.0, 0.5, 1.0):
        out = np.zeros_like(patch)
        settings = EnhancerSettings(1.0, fidelity)
        Enhancer(engine_of('face_restorer'), catalogue().family('face_restorer'), settings).enhance(
            patch, landmarks, out
        )
        details.append(detail(out))
    assert details[0] > details[1] > details[2]


@pytest.mark.parametrize('name', ['codeformer', 'codeformer_256', 'gpen_256'])
@pytest.mark.parametrize('size', [100, 256, 512, 1024])
def test_a_network_that_changes_nothing_leaves_the_patch(name, size):
    """There and back again: what the two warps lose is little, and the rim is untouched."""
    y, x = np.mgrid[:size, :size] / size
    patch = np.empty((size, size, 4), np.uint8)
    for channel, wave in enumerate((np.sin(7 * x + 3 * y), np.cos(9 * y), np.sin(5 * x * y + 1), np.cos(8 * x))):
        patch[..., channel] = np.round(127 + 120 * wave)
    family = catalogue().family(name)
    network = Copies(family.size[0], weight=[((1,), np.float64)] if name.startswith('code') else ())
    enhancer = Enhancer(network, family, EnhancerSettings(1.0))
    landmarks = moved(np.array([[0.97, -0.05, 0.02 * size], [0.05, 0.97, 0.01 * size]]), whole_face(size).landmarks)
    out = np.zeros_like(patch)
    enhancer.enhance(patch, landmarks, out)
    assert np.abs(out.astype(int) - patch).max() <= 6
    np.testing.assert_array_equal(out[..., 3], patch[..., 3])


def test_the_network_is_given_the_aligned_face_as_published():
    """RGB, -1..1, landmarks on the template."""
    patch = np.zeros((256, 256, 4), np.uint8)
    patch[..., :3] = (10, 100, 200)
    points = np.array(catalogue().templates['ffhq_512'].points)
    landmarks = moved(np.array([[0.45, -0.05, 20], [0.05, 0.45, 10]]), points)
    for x, y in np.round(landmarks).astype(int):
        patch[y - 4 : y + 5, x - 4 : x + 5, :3] = 255
    network = Copies(512)
    Enhancer(network, catalogue().family('gfpgan')).enhance(patch, landmarks, np.zeros_like(patch))
    asked = network.asked['x'][0]
    np.testing.assert_allclose(asked[:, 3, 3], np.array([200, 100, 10]) / 127.5 - 1, atol=1e-5)
    for x, y in np.round(points).astype(int):
        assert (asked[:, y - 1 : y + 2, x - 1 : x + 2] > 0.95).all()


def centre(picture):
    """Centre of what is bright, pixels (x, y)."""
    weight = np.clip(picture.astype(float) - picture.min() - 0.2 * np.ptp(picture), 0, None)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


@pytest.mark.parametrize('size', [128, 256, 512, 1024])
@pytest.mark.parametrize('name', ['gpen', 'gpen_256'])
def test_a_dot_is_where_it_belongs_to_a_fraction_of_a_pixel(name, size):
    """In the network's picture, and back in the patch, however both are scaled."""
    family = catalogue().family(name)
    side = 256 if family.size else 512
    template = catalogue().templates[family.template]
    # To the template from edge to edge, then to the centres of pixels.
    patch_from_crop = np.array([[1.02, -0.03, 0.03 * size], [0.03, 1.02, -0.02 * size]])
    patch_from_crop[:, :2] *= size / side
    points = (np.array(template.points) + 0.5) * side / template.size - 0.5
    landmarks = moved(patch_from_crop, points)
    at = landmarks[2]
    rows, columns = np.mgrid[:size, :size]
    dot = np.exp(-0.5 * ((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / (0.02 * size) ** 2)
    patch = np.repeat(np.rint(250 * dot)[..., None], 4, axis=2).astype(np.uint8)
    network, out = Copies(side), np.zeros_like(patch)
    Enhancer(network, family, EnhancerSettings(1.0)).enhance(patch, landmarks, out)
    np.testing.assert_allclose(centre(network.asked['x'][0, 0]), points[2], atol=0.05)
    np.testing.assert_allclose(centre(out[..., 0]), at, atol=0.05)


def test_strength_goes_from_the_patch_to_the_networks_picture(patch_of):
    patch, landmarks = patch_of(256)
    enhancer = Enhancer(Copies(512, np.ones_like), catalogue().family('gfpgan'))
    outs = []
    for strength in (0.0, 0.5, 1.0):
        enhancer.settings = EnhancerSettings(strength)
        outs.append(np.zeros_like(patch))
        enhancer.enhance(patch, landmarks, outs[-1])
    np.testing.assert_array_equal(outs[0], patch)
    assert (outs[2][40:-40, 40:-40, :3] == 255).all()
    middle = (patch[40:-40, 40:-40, :3].astype(float) + 255) / 2
    np.testing.assert_allclose(outs[1][40:-40, 40:-40, :3], middle, atol=1)
    # The same in place.
    enhancer.enhance(patch_again := patch.copy(), landmarks, patch_again)
    np.testing.assert_array_equal(patch_again, outs[2])


def test_what_lies_outside_the_networks_picture_stays():
    patch = np.random.default_rng(0).integers(0, 256, (256, 256, 4), np.uint8)
    landmarks = moved(np.array([[0.4, 0, 20], [0, 0.4, 30]]), whole_face(256).landmarks)
    out = np.zeros_like(patch)
    Enhancer(Copies(256, lambda x: -x), catalogue().family('gpen_256'), EnhancerSettings(1.0)).enhance(
        patch, landmarks, out
    )
    changed = (out != patch).any(axis=2)
    assert changed[60:100, 50:90].mean() > 0.9
    assert not changed[150:].any()
    assert not changed[:, 150:].any()


@pytest.mark.parametrize('kind', [np.float64, np.float32, np.float16])
@pytest.mark.parametrize('shape', [(1,), (), (1, 1), (None,)])
def test_the_fidelity_weight_has_the_networks_type_and_shape(patch_of, kind, shape):
    patch, landmarks = patch_of(128)
    network = Copies(256, weight=[(shape, kind)])
    enhancer = Enhancer(network, catalogue().family('codeformer_256'), EnhancerSettings(fidelity=0.75))
    enhancer.enhance(patch, landmarks, np.zeros_like(patch))
    assert network.asked['w'].dtype == kind
    assert network.asked['w'].shape == (1,) * len(shape)
    assert network.asked['w'].item() == 0.75


def test_less_fidelity_restores_more(engine_of, patch_of):
    patch, landmarks = patch_of(256)
    enhancer = Enhancer(engine_of('codeformer'), catalogue().family('codeformer'))
    details = []
    for fidelity in (0.0, 0.5, 1.0):
        enhancer.settings = EnhancerSettings(1.0, fidelity)
        out = np.zeros_like(patch)
        enhancer.enhance(patch, landmarks, out)
        details.append(detail(out))
    assert details[0] > details[1] > details[2]


def test_half_precision_networks_are_read(patch_of):
    patch, landmarks = patch_of(256)
    outs = [np.zeros_like(patch) for _ in range(2)]
    for dtype, out in zip((np.float32, np.float16), outs, strict=True):
        Enhancer(Copies(512, dtype=dtype), catalogue().family('gfpgan')).enhance(patch, landmarks, out)
    np.testing.assert_allclose(outs[0].astype(int), outs[1], atol=1)


def test_enhancing_again_allocates_nothing(engine_of, patch_of):
    patch, landmarks = patch_of(256)
    enhancer, out = Enhancer(engine_of('codeformer'), catalogue().family('codeformer')), np.zeros_like(patch)
    enhancer.enhance(patch, landmarks, out)
    tracemalloc.start()
    try:
        enhancer.enhance(patch, landmarks, out)
        # numpy's own casting buffers; the patch is 262 kB, the network's picture 1 MB.
        assert tracemalloc.get_traced_memory()[1] < 150_000
    finally:
        tracemalloc.stop()


def test_a_plane_is_clipped_and_rounded():
    values = np.array([[-3.0, -1.0, 0.0, 0.999, 1.0, 5.0]], np.float32)
    out = np.zeros((1, 6), np.uint8)
    read_plane(values, 0.5, 0.5, np.zeros((1, 6), np.float32), out)
    assert out.tolist() == [[0, 0, 128, 255, 255, 255]]


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_a_picture_that_is_not_finite_is_refused(patch_of, value):
    patch, landmarks = patch_of(128)

    def answer(picture):
        picture = picture.copy()
        picture[0, 1, 5, 7] = value
        return picture

    with pytest.raises(EngineError, match='higher precision'):
        Enhancer(Copies(512, answer), catalogue().family('gfpgan')).enhance(patch, landmarks, np.zeros_like(patch))


def test_wrong_arrays_and_landmarks_are_named(patch_of):
    patch, landmarks = patch_of(128)
    enhancer = Enhancer(Copies(512), catalogue().family('gfpgan'))
    with pytest.raises(ValueError, match='patch must be'):
        enhancer.enhance(patch[..., :3], landmarks, patch)
    with pytest.raises(ValueError, match='out must be'):
        enhancer.enhance(patch, landmarks, np.zeros((64, 64, 4), np.uint8))
    with pytest.raises(ValueError, match='in one place'):
        enhancer.enhance(patch, np.ones((5, 2)), np.zeros_like(patch))


def test_networks_of_other_families_are_refused(engine_of):
    known = catalogue()
    with pytest.raises(EngineError, match='no family of enhancers'):
        Enhancer(engine_of('gfpgan'), known.family('inswapper'))
    with pytest.raises(EngineError, match='set the right family'):
        Enhancer(engine_of('gfpgan'), known.family('codeformer'))
    with pytest.raises(EngineError, match='set the right family'):
        Enhancer(engine_of('codeformer'), known.family('gfpgan'))


@pytest.mark.parametrize('wrong', [{'strength': 1.1}, {'strength': -0.1}, {'fidelity': 2}, {'fidelity': float('nan')}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match='must be 0 to 1'):
        EnhancerSettings(**wrong)
