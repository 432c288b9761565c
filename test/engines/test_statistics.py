import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.engines.region_engine import RegionEngine
from facefusion_ros.engines.regions import crop_shape, plan
from facefusion_ros.engines.statistics import give_statistics, take_statistics

LANDMARKS = np.array([[44.0, 44.0], [84.0, 44.0], [64.0, 70.0], [48.0, 90.0], [80.0, 90.0]])
SIZE = 128


def network(batch=1, height=SIZE, width=SIZE, opset=17, extra=()):
    """Two convolutions of reach 1, each followed by a normalisation of groups."""
    rng = np.random.default_rng(8)
    weights = {
        'w0': rng.normal(0, 0.3, (8, 3, 3, 3)),
        'w1': rng.normal(0, 0.2, (3, 8, 3, 3)),
        'one': rng.normal(1, 0.1, 4),
        'zero': rng.normal(0, 0.1, 4),
    }
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    tensors += [
        numpy_helper.from_array(np.array([0, 4, -1]), 'groups'),
        numpy_helper.from_array(np.array([batch, 8, height, width]), 'back'),
    ]
    nodes = [
        helper.make_node('Conv', ['x', 'w0'], ['c0'], pads=[1] * 4),
        helper.make_node('Reshape', ['c0', 'groups'], ['rows']),
        helper.make_node('InstanceNormalization', ['rows', 'one', 'zero'], ['n'], epsilon=1e-6),
        helper.make_node('Reshape', ['n', 'back'], ['grid']),
        helper.make_node('Relu', ['grid'], ['bent']),
        helper.make_node('Conv', ['bent', 'w1'], ['c1' if extra else 'y'], pads=[1] * 4),
        *extra,
    ]
    value = helper.make_tensor_value_info
    shape = (batch, 3, height, width)
    ends = [value('x', TensorProto.FLOAT, shape)], [value('y', TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, 'graph', *ends, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)


def session(made):
    onnx.checker.check_model(made, full_check=True)
    return onnxruntime.InferenceSession(made.SerializeToString(), providers=['CPUExecutionProvider'])


@pytest.mark.parametrize('opset', [11, 17, 18])
def test_what_one_gives_the_other_takes(opset):
    x = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)
    whole = session(network(opset=opset))
    giving, taking = session(give_statistics(network(opset=opset))), session(take_statistics(network(opset=opset)))
    names = [each.name for each in giving.get_outputs()]
    assert names == ['y', 'n_mean', 'n_deviation']
    y, *statistics = giving.run(names, {'x': x})
    np.testing.assert_array_equal(y, whole.run(None, {'x': x})[0])
    assert [each.shape for each in statistics] == [(1, 4, 1)] * 2
    assert [(each.name, tuple(each.shape)) for each in taking.get_inputs()[1:]] == [
        (name, (1, 4, 1)) for name in names[1:]
    ]
    found = taking.run(None, {'x': x, **dict(zip(names[1:], statistics, strict=True))})[0]
    np.testing.assert_allclose(found, y, atol=1e-4)


def test_a_crop_returns_what_the_whole_patch_does(tmp_path):
    windows = plan(LANDMARKS, SIZE, SIZE, halo_px=2, multiple_px=1)
    shape = crop_shape(windows)
    files = [tmp_path / 'whole.onnx', tmp_path / 'crops.onnx', tmp_path / 'plain.onnx']
    crops_model = network(shape[0], shape[2], shape[3])
    for file, made in zip(files, (give_statistics(network()), take_statistics(crops_model), crops_model), strict=True):
        onnx.save(made, file)
    # Light on one side, so that a crop's own statistics are far from those of the patch.
    x = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32) * np.linspace(0, 3, SIZE, dtype=np.float32)
    wanted, out = np.empty_like(x), np.empty_like(x)
    errors = []
    for crops_file in files[1:]:
        whole = OrtEngine(files[0])
        whole.run({'x': x}, {'y': wanted})
        engine = RegionEngine(whole, OrtEngine(crops_file), windows, picture_in='x', picture_out='y')
        engine.run({'x': x}, {'y': out})
        errors.append(np.abs(out - wanted).max())
        engine.close()
    carried, own = errors
    assert carried < 1e-4
    assert own > 0.05


@pytest.mark.parametrize('kind', ['Softmax', 'GlobalAveragePool'])
def test_a_network_that_looks_everywhere_is_not_cropped(kind):
    extra = [helper.make_node(kind, ['c1'], ['g']), helper.make_node('Add', ['c1', 'g'], ['y'])]
    with pytest.raises(EngineError, match=rf'{kind}.*use fp16 instead'):
        take_statistics(network(extra=extra))
