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
    Parity,
    PictureCode,
    Yardstick,
    difference,
    drawn_faces,
    gate,
    load,
    measure,
    save,
)

CODE = PictureCode('picture', 'result', black=-1.0, white=1.0)


def network(shift=0.0, size=8):
    """Returns the picture, moved by so much."""
    shape = (1, 3, size, size)
    graph = helper.make_graph(
        [helper.make_node('Add', ['picture', 'shift'], ['result'])],
        'graph',
        [helper.make_tensor_value_info('picture', TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('result', TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.float32(shift), 'shift')],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def moved(reference, reduced):
    """How far apart two networks are on nothing."""
    results = []
    for engine in (reference, reduced):
        results.append(np.zeros((1, 3, 8, 8), np.float32))
        engine.run({'picture': np.zeros((1, 3, 8, 8), np.float32)}, {'result': results[-1]})
    return {'shift_of_all': float((results[1] - results[0]).mean()), 'to_be_read': 7.0}


YARDSTICK = Yardstick({'shift_of_all': 0.5}, moved)


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


def test_codes_of_channels_of_their_own_and_of_pixels_side_by_side():
    rgb = np.random.default_rng(0).random((1, 3, 4, 6), np.float32)
    code = PictureCode('x', 'y', (-2.0, -1.0, 0.0), (2.0, 1.0, 4.0), bgr=True, nhwc=True)
    coded = code.encode(rgb)
    assert coded.shape == (1, 4, 6, 3)
    np.testing.assert_allclose(coded[0, ..., 2], rgb[0, 0] * 4, atol=1e-6)
    np.testing.assert_allclose(coded[0, ..., 0], rgb[0, 2] * 4 - 2, atol=1e-6)
    np.testing.assert_allclose(code.decode(coded), rgb, atol=1e-6)


def through(reduced, reference, file, said, *, key='k', yardstick=YARDSTICK):
    return gate(reduced, reference, yardstick, what='swap fp16', key=key, file=file, warn=said.append)


def test_equal_networks_pass_and_the_result_is_kept(engine, tmp_path):
    said, file = [], tmp_path / 'swap.parity.json'
    reduced, whole = engine(shift=-0.4), engine()
    gated = through(reduced, lambda: whole, file, said)
    assert gated.engine is reduced
    assert said == []
    with pytest.raises(EngineError, match='closed'):
        whole.warm_up()
    stored = json.loads(file.read_text())
    assert stored['passed'] is True
    assert stored['key'] == 'k'
    assert stored['provider'] == 'CPUExecutionProvider'
    assert stored['measured'] == {'shift_of_all': pytest.approx(-0.4), 'to_be_read': 7.0}
    # Known to be good: the reference is not even loaded.
    again = through(reduced, lambda: pytest.fail('loaded'), file, said)
    assert again.engine is reduced
    assert again.parity == gated.parity


def test_a_shifted_network_falls_back_with_one_line(engine, tmp_path):
    said, file = [], tmp_path / 'swap.parity.json'
    whole, reduced = engine(), engine(shift=-0.6)
    gated = through(reduced, lambda: whole, file, said)
    assert gated.engine is whole
    assert not gated.parity.passed
    assert said == [
        'swap fp16 differs from fp32 on CPUExecutionProvider: shift of all -0.6 (at most 0.5): fp32 is used instead'
    ]
    whole.warm_up()
    with pytest.raises(EngineError, match='closed'):
        reduced.warm_up()
    # And again at the next start, without measuring.
    before = file.stat().st_mtime_ns
    assert through(engine(shift=-0.6), lambda: whole, file, said).engine is whole
    assert said[0] == said[1]
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize('stale', ['key', 'limits', 'damaged', 'of another kind'])
def test_a_result_that_does_not_fit_is_measured_again(engine, tmp_path, stale):
    file = tmp_path / 'swap.parity.json'
    assert load(file) is None
    save(measure(engine(), engine(shift=9.0), YARDSTICK, what='swap', key='k'), file)
    assert not load(file).passed
    yardstick = Yardstick({'shift_of_all': 5.0}, moved) if stale == 'limits' else YARDSTICK
    if stale == 'damaged':
        file.write_text('{"key": "k"')
    if stale == 'of another kind':
        stored = json.loads(file.read_text())
        file.write_text(json.dumps({**stored, 'measured': {'another': 0.0}}))
    gated = through(engine(), engine, file, [], key='other' if stale == 'key' else 'k', yardstick=yardstick)
    assert gated.parity.passed
    assert load(file) == gated.parity


def test_results_that_are_not_finite_do_not_pass(engine, tmp_path):
    said, file = [], tmp_path / 'swap.parity.json'
    whole = engine()
    assert through(engine(shift=np.inf), lambda: whole, file, said).engine is whole
    assert said == ['swap fp16: results are not finite on CPUExecutionProvider: fp32 is used instead']
    assert load(file).measured is None


def test_a_result_that_cannot_be_stored_costs_a_line(engine, tmp_path):
    said = []
    reduced = engine()
    assert through(reduced, engine, tmp_path / 'missing' / 'p.json', said).engine is reduced
    assert len(said) == 1
    assert 'p.json cannot be written (No such file or directory): swap fp16 is compared' in said[0]


def test_what_is_stored_comes_back(tmp_path):
    parity = Parity('swap fp16', 'k', 'CPU', {'a': 0.1, 'b': 2.0}, {'a': 0.3})
    save(parity, tmp_path / 'p.json')
    assert load(tmp_path / 'p.json') == parity
    assert [file.name for file in tmp_path.glob('*p.json*')] == ['p.json']


def test_networks_that_cannot_be_compared_are_closed(engine, tmp_path):
    whole, reduced = engine(), engine(size=4)
    with pytest.raises(EngineError, match='inputs of the two precisions differ'):
        through(reduced, lambda: whole, tmp_path / 'p.json', [])
    for each in (whole, reduced):
        with pytest.raises(EngineError, match='closed'):
            each.warm_up()
