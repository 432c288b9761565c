"""Crops of a network, and the engine that composes the two."""

import tracemalloc

import numpy as np
import onnx
import pytest

from facefusion_ros.app.bench.restorer import Restorer
from facefusion_ros.engines import graph as onnx_graph
from facefusion_ros.engines.crops import crops_of, for_crops, template_landmarks, windows_of
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.engines.parity import drawn_faces
from facefusion_ros.engines.region_engine import RegionEngine
from facefusion_ros.engines.regions import masks
from facefusion_ros.engines.statistics import give_statistics

SIZE = (256, 256)


@pytest.fixture(scope='module')
def true_restorer():
    """Group normalisation, code look-up, sizes as constants: as exporters write networks."""
    return Restorer().model()


@pytest.fixture
def composed(store, saved):
    """Compose two networks of gpen_256; returns the engine and the networks by themselves."""
    engines = []

    def compose(whole, detail=None):
        entry = store.add(whole)
        crops = crops_of(onnx_graph.prepared(detail or whole), entry, SIZE)
        windows = windows_of(entry, SIZE, crops.halo_px, crops.multiple_px)
        first = OrtEngine(saved(give_statistics(whole)))
        second = OrtEngine(saved(crops.model))
        engines.append(RegionEngine(first, second, windows, picture_in='input', picture_out='output'))
        engines.extend(OrtEngine(saved(model)) for model in (whole, detail or whole))
        return engines[-3:], masks(template_landmarks(entry, SIZE), *SIZE)

    yield compose
    for engine in engines:
        engine.close()


def result(engine, picture):
    out = np.zeros_like(picture)
    engine.run({'input': picture}, {'output': out})
    return out


@pytest.fixture
def picture():
    return drawn_faces(*SIZE, 1, seed=8)[0].rgb * 2 - 1


def test_where_both_are_one_network_nothing_shows(composed, true_restorer, picture):
    (engine, whole, _), _ = composed(true_restorer)
    assert np.abs(result(engine, picture) - result(whole, picture)).max() < 0.05
    assert [spec.name for spec in engine.inputs] == ['input']
    assert [spec.name for spec in engine.outputs] == ['output']
    assert engine.provider == 'CPUExecutionProvider'


def test_eyes_and_lips_are_of_the_one_and_the_face_of_the_other(composed, restoring, picture):
    (engine, first, second), shown = composed(restoring(shift=0.5), restoring())
    found, shown = result(engine, picture), np.maximum(*shown)
    np.testing.assert_array_equal(found[..., shown == 0], result(first, picture)[..., shown == 0])
    np.testing.assert_allclose(found[..., shown == 1], result(second, picture)[..., shown == 1], atol=1e-5)


def test_nothing_of_the_picture_s_size_is_allocated(composed, restoring, picture):
    (engine, *_), _ = composed(restoring())
    out = np.zeros_like(picture)
    for _ in range(2):
        engine.run({'input': picture}, {'output': out})
    tracemalloc.start()
    engine.run({'input': picture}, {'output': out})
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 150_000


def test_an_input_beside_the_picture_goes_to_both(store, saved, restoring, picture):
    def weighted():
        model = restoring()
        model.graph.input.append(onnx.helper.make_tensor_value_info('weight', onnx.TensorProto.DOUBLE, [1]))
        model.graph.node[-1].output[0] = 'unweighted'
        cast = onnx.helper.make_node('Cast', ['weight'], ['single'], to=onnx.TensorProto.FLOAT)
        model.graph.node.extend([cast, onnx.helper.make_node('Mul', ['unweighted', 'single'], ['output'])])
        return model

    entry = store.add(weighted(), family='codeformer_256')
    crops = crops_of(onnx_graph.prepared(weighted()), entry, SIZE)
    windows = windows_of(entry, SIZE, crops.halo_px, crops.multiple_px)
    first, second = OrtEngine(saved(weighted())), OrtEngine(saved(crops.model))
    engine = RegionEngine(first, second, windows, picture_in='input', picture_out='output')
    assert [spec.name for spec in engine.inputs] == ['input', 'weight']
    out = np.zeros_like(picture)
    for weight in (0.5, 0.25):
        engine.run({'input': picture, 'weight': np.array([weight])}, {'output': out})
        np.testing.assert_allclose(out[..., 8:-8, 8:-8], weight * picture[..., 8:-8, 8:-8], atol=1e-5)
    engine.close()


def test_it_is_an_engine(composed, restoring, picture):
    (engine, *_), _ = composed(restoring())
    engine.warm_up()
    with pytest.raises(EngineError, match='wants an input input: give it'):
        engine.run({}, {'output': picture})
    with pytest.raises(EngineError, match=r'output is \(1, 3, 8, 8\) of float32: give \(1, 3, 256, 256\)'):
        engine.run({'input': picture}, {'output': np.zeros((1, 3, 8, 8), np.float32)})
    engine.run({'input': picture}, {})
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match='closed'):
        engine.run({'input': picture}, {'output': np.zeros_like(picture)})


def test_networks_that_do_not_belong_together_are_closed(store, saved, restoring):
    entry = store.add(restoring())
    windows = windows_of(entry, SIZE, 32, 8)
    first, second = (OrtEngine(saved(restoring())) for _ in range(2))
    with pytest.raises(EngineError, match=r'takes no crops .*: build int8_keep_regions again'):
        RegionEngine(first, second, windows, picture_in='input', picture_out='output')
    for each in (first, second):
        with pytest.raises(EngineError, match='closed'):
            each.warm_up()


@pytest.mark.parametrize(
    ('look', 'why'),
    [
        ('far', r'looks further than a crop of eyes or lips shows \(they would differ by \d+\.\d dE2000\)'),
        ('attention', r'\(Softmax\) looks at the whole face'),
        ('vector', 'Reshape Reshape_1 looks at the whole face, so the network cannot be run on crops'),
    ],
)
def test_a_network_that_needs_the_whole_face_is_refused(store, restoring, look, why):
    entry = store.add(restoring())
    with pytest.raises(EngineError, match=f'{why}.*use fp16 instead of int8_keep_regions') as refused:
        crops_of(onnx_graph.prepared(restoring(look=look)), entry, SIZE)
    assert '\n' not in str(refused.value)


def test_families_without_aligned_crops_have_no_regions(store):
    with pytest.raises(EngineError, match='takes no aligned crops of faces'):
        template_landmarks(store.add('xseg'), SIZE)


def test_sizes_that_are_constants_become_those_of_crops(true_restorer):
    made = for_crops(true_restorer, 'input', (2, 3, 64, 96))
    onnx.checker.check_model(made, full_check=True)
    (output,) = made.graph.output
    assert [size.dim_value for size in output.type.tensor_type.shape.dim] == [2, 3, 64, 96]


def test_the_template_is_where_the_enhancer_puts_the_landmarks(store):
    points = template_landmarks(store.add('codeformer'), (512, 512))
    assert points.shape == (5, 2)
    np.testing.assert_allclose(points[0], (192.9814, 239.9471), atol=1e-9)
