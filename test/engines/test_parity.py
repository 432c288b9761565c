import json

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.engines.parity import (
    Limits,
    PictureCode,
    difference,
    drawn_faces,
    gate,
    load,
    measure,
    save,
)

CODE = PictureCode('picture', 'result', black=-1.0, white=1.0)


def network(shift=(0.0, 0.0, 0.0), grain=0.0, size=64, picture='picture'):
    """Returns the picture, moved by so many steps of 255 in red, green and blue, with some fixed grain."""
    moved = np.array(shift).reshape(1, 3, 1, 1) + grain * np.random.default_rng(0).standard_normal((1, 3, size, size))
    nodes = [
        helper.make_node('Add', [picture, 'moved'], ['m']),
        helper.make_node('Mul', ['source', 'nothing'], ['n']),
        helper.make_node('ReduceSum', ['n', 'axes'], ['s'], keepdims=0),
        helper.make_node('Add', ['m', 's'], ['result']),
    ]
    value = helper.make_tensor_value_info
    shape = (1, 3, size, size)
    weights = {'moved': (moved * 2 / 255).astype(np.float32), 'nothing': np.float32(0), 'axes': np.array([0, 1])}
    graph = helper.make_graph(
        nodes,
        'graph',
        [value(picture, TensorProto.FLOAT, shape), value('source', TensorProto.FLOAT, (1, 512))],
        [value('result', TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


@pytest.fixture
def engine(tmp_path):
    """Load networks."""
    loaded = []

    def make(**how):
        file = tmp_path / f'{len(loaded)}.onnx'
        onnx.save(network(**how), file)
        loaded.append(OrtEngine(file))
        return loaded[-1]

    yield make
    for each in loaded:
        each.close()


def test_the_faces_are_the_same_each_time_and_of_many_tones():
    faces, again = drawn_faces(96, 64, count=4, seed=3), drawn_faces(96, 64, count=4, seed=3)
    for face, other in zip(faces, again, strict=True):
        np.testing.assert_array_equal(face.rgb, other.rgb)
        assert face.rgb.shape == (1, 3, 64, 96)
        assert face.rgb.dtype == np.float32
        assert 0.0 <= face.rgb.min() <= face.rgb.max() <= 1.0
        assert 0.2 < face.skin.mean() < 0.7
    means = [face.rgb[0][:, face.skin].mean() for face in faces]
    assert means == sorted(means, reverse=True)
    assert means[0] > 0.7
    assert means[-1] < 0.25
    assert not np.array_equal(faces[0].rgb, drawn_faces(96, 64, count=4, seed=4)[0].rgb)


@given(st.tuples(*[st.integers(-20, 20)] * 3))
def test_a_shift_is_found_with_its_sign(shift):
    grey = np.full((3, 8, 8), 0.5, np.float32)
    moved = grey + np.array(shift, np.float32)[:, None, None] / 255
    found = difference(grey, moved, np.ones((8, 8), np.bool_))
    np.testing.assert_allclose(found.shift_rgb, shift, atol=1e-3)
    if len(set(shift)) == 1:
        assert np.sign(round(found.shift_lab[0], 4)) == np.sign(shift[0])
    assert (found.mean_de2000 > 1e-6) == any(shift)
    assert found.p95_de2000 == pytest.approx(found.mean_de2000)


def test_only_skin_counts():
    skin = np.zeros((8, 8), np.bool_)
    skin[:4] = True
    grey = np.full((3, 8, 8), 0.5, np.float32)
    other = np.where(skin, grey, 0.9).astype(np.float32)
    assert difference(grey, other, skin).mean_de2000 == 0.0


def test_the_codes_of_pictures():
    rgb = np.random.default_rng(0).random((1, 3, 4, 4), np.float32)
    coded = CODE.encode(rgb)
    np.testing.assert_allclose(coded, rgb * 2 - 1, atol=1e-6)
    np.testing.assert_allclose(CODE.decode(coded), rgb, atol=1e-6)
    mixed = PictureCode('x', 'y', black=0.0, white=255.0, bgr=True, input_black=-1.0, input_white=1.0)
    np.testing.assert_allclose(mixed.encode(rgb), rgb[:, ::-1] * 2 - 1, atol=1e-6)
    np.testing.assert_allclose(mixed.decode(rgb[:, ::-1] * 255), rgb, atol=1e-6)


def test_colour_moved_by_a_known_amount(engine):
    found = measure(engine(), engine(shift=(3, 0, -2)), CODE, key='k').difference
    # A little less where skin is as light as can be.
    np.testing.assert_allclose(found.shift_rgb, (3, 0, -2), atol=0.3)
    assert found.shift_lab[2] > 0.5
    assert found.mean_de2000 > 0.5


def test_grain_is_told_from_a_shift(engine):
    found = measure(engine(), engine(grain=4.0), CODE, key='k').difference
    assert max(map(abs, found.shift_lab)) < 0.3
    assert found.p95_de2000 > 2.0


def test_equal_networks_pass_and_the_result_is_kept(engine, tmp_path):
    said, file = [], tmp_path / 'swap.parity.json'
    reduced = engine()
    assert gate(reduced, engine, CODE, key='swap fp16', file=file, warn=said.append) is reduced
    assert said == []
    stored = json.loads(file.read_text())
    assert stored['passed'] is True
    assert stored['key'] == 'swap fp16'
    assert stored['provider'] == 'CPUExecutionProvider'
    assert stored['difference']['p95_de2000'] == 0.0
    # Known to be good: the reference is not even loaded.
    assert gate(reduced, lambda: pytest.fail('loaded'), CODE, key='swap fp16', file=file, warn=said.append) is reduced


def test_a_shifted_network_falls_back_with_one_line(engine, tmp_path):
    said, file = [], tmp_path / 'swap.parity.json'
    whole, reduced = engine(), engine(shift=(6, 6, 6))
    assert gate(reduced, lambda: whole, CODE, key='swap int8', file=file, warn=said.append) is whole
    assert len(said) == 1
    assert '\n' not in said[0]
    assert said[0].startswith('swap int8: skin differs by ')
    assert said[0].endswith('fp32 is used instead')
    whole.warm_up()
    with pytest.raises(EngineError, match='closed'):
        reduced.warm_up()
    # And again at the next start, without measuring.
    assert gate(engine(shift=(6, 6, 6)), lambda: whole, CODE, key='swap int8', file=file, warn=said.append) is whole
    assert said[0] == said[1]


@pytest.mark.parametrize('stale', ['key', 'limits', 'damaged'])
def test_a_result_that_does_not_fit_is_measured_again(engine, tmp_path, stale):
    file = tmp_path / 'swap.parity.json'
    assert load(file) is None
    save(measure(engine(), engine(shift=(9, 9, 9)), CODE, key='k'), file)
    assert not load(file).passed
    key, limits = ('other', None) if stale == 'key' else ('k', Limits(5.0, 5.0, 5.0) if stale == 'limits' else None)
    if stale == 'damaged':
        file.write_text('{"key": "k"')
    reduced = engine()
    assert gate(reduced, engine, CODE, key=key, file=file, warn=pytest.fail, limits=limits) is reduced
    assert load(file).passed


def test_results_that_are_not_finite_do_not_pass(engine, tmp_path):
    said = []
    file = tmp_path / 'swap.parity.json'
    whole = engine()
    assert gate(engine(shift=(np.inf, 0, 0)), lambda: whole, CODE, key='k', file=file, warn=said.append) is whole
    assert said == ['k: results are not finite on CPUExecutionProvider: fp32 is used instead']
    assert load(file).difference is None


def test_what_is_stored_comes_back(engine, tmp_path):
    parity = measure(engine(), engine(shift=(1, 2, 3)), CODE, key='k', limits=Limits(0.1, 0.2, 0.3))
    save(parity, tmp_path / 'p.json')
    assert load(tmp_path / 'p.json') == parity
    assert [file.name for file in tmp_path.glob('*p.json*')] == ['p.json']


def test_networks_that_cannot_be_compared(engine):
    with pytest.raises(EngineError, match='inputs of the two precisions differ'):
        measure(engine(), engine(size=32), CODE, key='k')
    with pytest.raises(EngineError, match='no picture input'):
        measure(engine(picture='x'), engine(picture='x'), CODE, key='k')
    with pytest.raises(EngineError, match='no output nothing; it has result'):
        measure(engine(), engine(), PictureCode('picture', 'nothing'), key='k')
