import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.engines.calibration import activation_ranges, measure
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.errors import FacefusionError


def network(opset=17):
    """Doubles, then cuts what is below zero."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node('Mul', ['x', 'two'], ['doubled']), helper.make_node('Relu', ['doubled'], ['y'])],
        'graph',
        [value('x', TensorProto.FLOAT, (1, 2, 3, 3))],
        [value('y', TensorProto.FLOAT, (1, 2, 3, 3))],
        [numpy_helper.from_array(np.float32(2), 'two')],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)


def sample(low, high):
    return {'x': np.linspace(low, high, 18, dtype=np.float32).reshape(1, 2, 3, 3)}


def test_the_extremes_over_all_samples():
    samples = iter([sample(-1, 1), sample(-0.5, 3), sample(-4, 0)])
    assert activation_ranges(network(), samples) == {'x': (-4, 3), 'doubled': (-8, 6), 'y': (0, 6)}


def test_some_tensors_only():
    assert activation_ranges(network(), [sample(-1, 1)], ['y']) == {'y': (0, 2)}
    with pytest.raises(EngineError, match='no such float32 tensor in the graph: nothing'):
        activation_ranges(network(), [sample(-1, 1)], ['y', 'nothing'])


@pytest.mark.parametrize('opset', [11, 17, 18])
def test_means_of_channels(opset):
    seen = measure(network(opset), [sample(-1, 1), sample(-3, 0)], ranges_of=(), means_of={'doubled': 4})
    wanted = 2 * np.mean([sample(-1, 1)['x'], sample(-3, 0)['x']], axis=(0, 1, 3, 4))
    np.testing.assert_allclose(seen.means['doubled'], wanted, rtol=1e-6)
    assert seen.ranges == {}


@pytest.mark.parametrize(
    ('samples', 'why'),
    [
        ([], 'no samples to calibrate with'),
        ([{'z': np.zeros(3, np.float32)}], 'does not run on the calibration samples'),
        ([sample(0, 1), sample(np.nan, 1), sample(0, 1)], 'x is not finite'),
    ],
)
def test_samples_that_do_not_serve(samples, why):
    with pytest.raises(EngineError, match=why):
        activation_ranges(network(), samples)


def test_what_is_wrong_with_a_sample_is_told_as_it_is():
    def samples():
        yield sample(0, 1)
        raise FacefusionError('there is no bag')

    with pytest.raises(FacefusionError, match=r'^there is no bag$'):
        activation_ranges(network(), samples())


def test_the_network_is_not_changed():
    model = network()
    before = model.SerializeToString()
    activation_ranges(model, [sample(0, 1)])
    assert model.SerializeToString() == before
    onnx.checker.check_model(model)
