"""Two precisions of a network, told apart by what the network is for."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.ort import OrtEngine, OrtSettings
from facefusion_ros.engines.yardsticks import (
    DETECTOR,
    EYES_AND_LIPS,
    FACE,
    LANDMARKS,
    MASK,
    SKIN,
    VECTOR,
    picture_code,
    yardstick,
)
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes

LIMITS = {'detector': DETECTOR, 'landmarks': LANDMARKS, 'recognition': VECTOR, 'identity': VECTOR, 'mask': MASK}
FAMILIES = (
    'yolov4_tiny', 'yolov4_tiny_points', 'yoloface', 'scrfd', 'retinaface', 'yunet', '2dfan4', 'landmarks_68',
    'pfld_68', 'arcface', 'crossface', 'inswapper', 'uniface', 'persona_swapper', 'dfm', 'codeformer_256',
    'face_restorer', 'xseg',
)  # fmt: skip


@pytest.fixture
def compared(store, tmp_path):
    """Compare a tiny network of a family with a changed copy of itself."""
    opened = []

    def compare(family, change=None, **options):
        entry = store.add(family, family)
        path = store.folder / entry.file
        shapes = OrtSettings(shapes=input_shapes(entry, read_graph(path).inputs))
        model = onnx.load(path)
        if change:
            change(model, entry)
        onnx.save(model, tmp_path / 'changed.onnx')
        opened.extend(OrtEngine(each, shapes) for each in (path, tmp_path / 'changed.onnx'))
        return yardstick(entry, **options), yardstick(entry, **options).measure(*opened[-2:])

    yield compare
    for each in opened:
        each.close()


def after(role, kind, number):
    """Return a change that puts an operation with a number behind an output."""

    def change(model, entry):
        name = entry.outputs[role]
        for node in model.graph.node:
            for place, made in enumerate(node.output):
                if made == name:
                    node.output[place] = f'{name}_before'
        model.graph.initializer.append(numpy_helper.from_array(np.array(number, np.float32), f'{name}_number'))
        model.graph.node.append(helper.make_node(kind, [f'{name}_before', f'{name}_number'], [name]))

    return change


@pytest.mark.parametrize('family', FAMILIES)
def test_a_network_does_not_differ_from_itself(family, compared, store):
    how, found = compared(family)
    limits = LIMITS.get(store.store.entries()[family].family.role.value, SKIN)
    assert dict(how.limits) == ({**limits, **FACE} if family == 'landmarks_68' else limits)
    assert how.limits.keys() <= found.keys()
    assert max(map(abs, found.values())) < 1e-12


def test_a_shifted_picture_is_told_with_sign_and_size(compared):
    _, found = compared('gpen_256', after('picture', 'Add', 2 * 3 / 255))
    for colour in ('red', 'green', 'blue'):
        assert found[f'skin_shift_of_{colour}_in_255ths'] == pytest.approx(3.0, abs=0.3)
    assert 0.8 < found['skin_shift_lab'] < 1.5
    assert 0.5 < found['skin_mean_de2000'] <= found['skin_p95_de2000']


def test_eyes_and_lips_are_compared_where_that_is_asked_for(compared):
    points = np.array([[95.0, 105.0], [161.0, 105.0], [128.0, 142.0], [101.0, 180.0], [155.0, 180.0]])

    def change(model, entry):
        # Only where the left eye is.
        shift = np.zeros((1, 3, 256, 256), np.float32)
        shift[..., 85:125, 65:125] = 0.2
        after('picture', 'Add', shift)(model, entry)

    how, found = compared('gpen_256', change, template=points)
    assert dict(how.limits) == {**SKIN, **EYES_AND_LIPS}
    assert found['eyes_and_lips_p95_de2000'] > EYES_AND_LIPS['eyes_and_lips_p95_de2000']


def test_grain_is_told_from_a_shift(compared):
    def change(model, entry):
        grain = 2 * 4 / 255 * np.random.default_rng(0).standard_normal((1, 3, 256, 256))
        after('picture', 'Add', grain)(model, entry)

    _, found = compared('gpen_256', change)
    assert abs(found['skin_shift_lab']) < 0.3
    assert found['skin_p95_de2000'] > 2.0


@pytest.mark.parametrize(
    ('family', 'role', 'kind', 'number', 'figure', 'expected'),
    [
        # A right angle from nothing: the vector turned by a known angle is tested below.
        ('arcface', 'vector', 'Mul', -1.0, 'cosine_distance', 2.0),
        ('arcface', 'vector', 'Mul', 3.0, 'cosine_distance', 0.0),
        ('pfld_106', 'points', 'Add', 0.02, 'p95_distance_of_crop', 0.02 * np.sqrt(2)),
        ('2dfan4', 'points', 'Add', [0.64, 0.0, 0.0], 'p95_distance_of_crop', 0.01),
        ('scrfd', 'score_32', 'Mul', 0.5, 'score_difference', 0.48),
        ('scrfd', 'box_16', 'Mul', 0.5, 'score_difference', 0.0),
        ('retinaface', 'scores', 'Mul', 0.75, 'score_difference', 0.24),
        ('yunet', 'class_32', 'Mul', 0.25, 'score_difference', 0.48),
    ],
)
def test_a_known_difference_is_measured(compared, family, role, kind, number, figure, expected):
    _, found = compared(family, after(role, kind, number))
    assert found[figure] == pytest.approx(expected, rel=0.02, abs=1e-3)


def test_boxes_are_measured_by_their_own_spread(compared):
    _, found = compared('scrfd', after('box_32', 'Mul', 1.5))
    assert found['score_difference'] == 0.0
    # Half of what is mostly spread, not offset.
    assert 0.3 < found['box_difference_of_spread'] < 0.6
    _, found = compared('yoloface', after('rows', 'Mul', np.where(np.arange(20) == 4, 0.5, 1.0).reshape(1, 20, 1)))
    assert found['score_difference'] == pytest.approx(0.48, abs=1e-3)
    assert found['box_difference_of_spread'] == 0.0
    _, found = compared('yolov4_tiny', after('head_32', 'Mul', np.float32(0.5)))
    assert found['score_difference'] > 0.1
    assert found['box_difference_of_spread'] > 0.3


def test_masks_are_measured_by_the_pixels_that_change_sides(compared):
    _, found = compared('xseg', after('mask', 'Mul', 0.0))
    _, nothing = compared('xseg', after('mask', 'Mul', 0.9))
    assert 0.2 < found['changed_share_of_pixels'] < 0.6
    assert nothing['changed_share_of_pixels'] < 0.1


def test_classes_are_measured_by_the_pixels_that_change_theirs(compared):
    _, found = compared('bisenet', after('classes', 'Mul', -1.0))
    assert found['changed_share_of_pixels'] > 0.9


@pytest.mark.parametrize(
    ('family', 'role'),
    [('gpen_256', 'picture'), ('arcface', 'vector'), ('scrfd', 'score_8'), ('xseg', 'mask'), ('2dfan4', 'points')],
)
def test_what_is_not_finite_is_told(compared, family, role):
    _, found = compared(family, after(role, 'Mul', np.nan))
    assert not all(np.isfinite(value) for value in found.values())


def test_a_picture_of_unknown_size_is_refused(store, saved):
    entry = store.add('gpen_256')
    model = onnx.load(store.folder / entry.file)
    for value in (*model.graph.input, *model.graph.output):
        for place, name in ((2, 'h'), (3, 'w')):
            value.type.tensor_type.shape.dim[place].dim_param = name
    engine = OrtEngine(saved(model))
    with pytest.raises(EngineError, match='input input of mine is no picture of a fixed size'):
        yardstick(entry).measure(engine, engine)
    engine.close()


@pytest.mark.parametrize('family', ['inswapper', 'simswap', 'hififace', 'dfm', 'codeformer', 'blendswap'])
def test_the_code_of_a_family_is_that_of_its_preprocessing(family, store):
    entry = store.add(family)
    fed, code = entry.family.preprocessing, picture_code(entry)
    rgb = np.random.default_rng(1).random((1, 3, 4, 4), np.float32)
    channels = rgb[0] if fed.colour == 'rgb' else rgb[0, ::-1]
    wanted = np.stack(
        [
            (channel * 255 * fed.scale - mean) / std
            for channel, mean, std in zip(channels, fed.mean, fed.std, strict=True)
        ]
    )
    if fed.layout == 'nhwc':
        wanted = wanted.transpose(1, 2, 0)
    np.testing.assert_allclose(code.encode(rgb)[0], wanted, atol=1e-5)


def test_a_network_without_a_picture_has_no_code(store):
    with pytest.raises(EngineError, match='makes no picture'):
        picture_code(store.add('yunet'))
