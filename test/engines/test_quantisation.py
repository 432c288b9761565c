import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.precision import to_fp16
from facefusion_ros.engines.quantisation import KEEPS_FLOAT, IntegerKernels, quantise_weights, to_int8

RNG = np.random.default_rng(11)
SHAPE = (1, 3, 24, 24)
BOTH = pytest.mark.parametrize('kernels', IntegerKernels)


def normal(*shape):
    return RNG.normal(0.0, 1.0 / np.sqrt(np.prod(shape[1:]) or 1), shape).astype(np.float32)


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def model(nodes, weights, opset=17, inputs=None):
    value = helper.make_tensor_value_info
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    sources = [value(name, TensorProto.FLOAT, shape) for name, shape in (inputs or {'x': SHAPE}).items()]
    graph = helper.make_graph(nodes, 'graph', sources, [value('y', TensorProto.FLOAT, (None,) * 4)], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=7)
    onnx.checker.check_model(made, full_check=True)
    return made


def restorer(opset=17):
    """Three convolutions, the middle one in groups, around a bend."""
    nodes = [
        node('Conv', 'x w1 b1', 'first', pads=[1] * 4),
        node('Sigmoid', 'first', 'gate'),
        node('Mul', 'first gate', 'bent'),
        node('Conv', 'bent w2', 'second', pads=[1] * 4, group=2),
        node('Add', 'second first', 'sum'),
        node('Conv', 'sum w3 b3', 'y', pads=[1] * 4),
    ]
    weights = {'w1': normal(8, 3, 3, 3), 'b1': normal(8), 'w2': normal(8, 4, 3, 3)}
    return model(nodes, {**weights, 'w3': normal(3, 8, 3, 3), 'b3': normal(3)}, opset)


def samples(count=3):
    return [{'x': RNG.uniform(-1, 1, SHAPE).astype(np.float32)} for _ in range(count)]


def run(made, sample, optimised=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, ['CPUExecutionProvider'])
    return session.run(None, sample)[0]


@BOTH
def test_close_to_float_with_the_last_convolution_in_float(kernels):
    whole, calibration = restorer(), samples()
    small, report = to_int8(whole, iter(calibration), kernels=kernels)
    onnx.checker.check_model(small, full_check=True)
    assert report.quantised == ('first', 'second')
    assert report.kept == (('y', 'last convolution'),)
    wanted = run(whole, calibration[0])
    found = run(small, calibration[0])
    assert 0.0 < np.abs(found - wanted).max() < 0.05 * np.ptp(wanted)
    last = next(each for each in small.graph.node if each.name == 'y')
    assert list(last.input) == ['sum', 'w3', 'b3']


@BOTH
def test_all_is_symmetric_with_a_step_per_channel_of_weights(kernels):
    small, report = to_int8(restorer(), samples(), kernels=kernels)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    quantisers = [each for each in small.graph.node if each.op_type.endswith('Linear')]
    for each in quantisers:
        scale, zero = (constants[name] for name in each.input[1:])
        assert (zero == (128 if zero.dtype == np.uint8 else 0)).all()
        assert (scale > 0).all()
        assert zero.shape == scale.shape
        if each.op_type == 'QuantizeLinear':
            assert scale.shape == ()
            assert zero.dtype == (np.int8 if kernels is IntegerKernels.TENSORRT else np.uint8)
            assert scale == np.float32(report.scales[each.input[0]])
        elif each.input[0] in constants:
            assert scale.shape == (8,)
    assert {'w1', 'w2'}.isdisjoint(constants)


def test_onnxruntime_computes_it_in_integers(tmp_path):
    small, _ = to_int8(restorer(), samples(), kernels=IntegerKernels.ONNXRUNTIME)
    run(small, samples(1)[0], tmp_path / 'optimised.onnx')
    kinds = [each.op_type for each in onnx.load(tmp_path / 'optimised.onnx').graph.node]
    assert kinds.count('QLinearConv') == 2


def test_for_tensorrt_biases_and_results_are_float():
    small, report = to_int8(restorer(), samples())
    assert set(report.scales) == {'x', 'bent'}
    constants = {tensor.name: tensor.data_type for tensor in small.graph.initializer}
    assert TensorProto.INT32 not in constants.values()
    made_by = {name: each.op_type for each in small.graph.node for name in each.output}
    for each in small.graph.node:
        if each.name in report.quantised:
            assert [made_by.get(name) for name in each.input[:2]] == ['DequantizeLinear'] * 2
            assert constants[each.input[2]] == TensorProto.FLOAT


def test_the_range_is_that_of_the_samples():
    small = {'x': np.full(SHAPE, 0.5, np.float32)}
    large = {'x': np.full(SHAPE, -2.0, np.float32)}
    _, report = to_int8(restorer(), [small, large])
    assert 2.0 / 127 <= report.scales['x'] < 2.0 / 127 * (1 + 2**-10)


def test_rounding_of_weights_does_not_shift_the_mean():
    # A large weight makes the steps coarse, and a bright picture makes their errors add up.
    weights = normal(4, 3, 3, 3)
    weights[:, 0, 0, 0] = 8.0
    nodes = [node('Conv', 'x w', 'm'), node('Conv', 'm w2', 'y')]
    whole = model(nodes, {'w': weights, 'w2': np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)})
    bright = [{'x': RNG.uniform(0.6, 1.0, SHAPE).astype(np.float32)} for _ in range(3)]
    tested = {'x': RNG.uniform(0.6, 1.0, SHAPE).astype(np.float32)}
    held, steps = quantise_weights(weights)
    rounding = np.abs((held * steps.reshape(-1, 1, 1, 1) - weights).sum(axis=(1, 2, 3)) * 0.8)
    small, _ = to_int8(whole, bright)
    shift = np.abs((run(small, tested) - run(whole, tested)).mean(axis=(0, 2, 3)))
    assert rounding.max() > 0.05
    assert shift.max() < 0.1 * rounding.max()


def test_what_stays_float():
    nodes = [
        node('Conv', 'x w', 'plain'),
        node('Conv', 'plain v', 'asked'),
        node('ConvTranspose', 'asked t', 'turned'),
        node('Conv', 'turned computed', 'dynamic'),
        node('Conv', 'dynamic v', 'y'),
    ]
    weights = {'w': normal(4, 3, 1, 1), 'v': normal(4, 4, 1, 1), 't': normal(4, 4, 1, 1), 'emap': normal(4, 4)}
    whole = model(nodes, weights, inputs={'x': SHAPE, 'computed': (4, 4, 1, 1)})
    calibration = [{**sample, 'computed': normal(4, 4, 1, 1)} for sample in samples()]
    small, report = to_int8(whole, calibration, keep=['asked'])
    said = onnx.ModelProto.FromString(whole.SerializeToString())
    onnx.helper.set_model_props(said, {KEEPS_FLOAT: 'asked gone'})
    assert to_int8(said, calibration)[1] == report
    assert report.quantised == ('plain',)
    assert dict(report.kept) == {
        'asked': 'as asked',
        'turned': 'transposed convolution',
        'dynamic': 'weights are computed',
        'y': 'last convolution',
    }
    assert {'v', 't', 'emap'} <= {tensor.name for tensor in small.graph.initializer}
    with pytest.raises(EngineError, match='use fp16'):
        to_int8(whole, calibration, keep=['plain', 'asked'])


@BOTH
def test_files_of_older_opsets(kernels):
    whole, calibration = restorer(opset=11), samples()
    small, _ = to_int8(whole, calibration, kernels=kernels)
    onnx.checker.check_model(small, full_check=True)
    np.testing.assert_allclose(run(small, calibration[0]), run(whole, calibration[0]), atol=0.2)


@pytest.mark.parametrize('opset', [11, 17, 19])
def test_the_rest_in_half_precision(opset):
    whole, calibration = restorer(opset), samples()
    small, _ = to_int8(whole, calibration)
    mixed, _ = to_fp16(small)
    onnx.checker.check_model(mixed, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(mixed, check_type=True, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    made_by = {name: each.op_type for each in mixed.graph.node for name in each.output}
    for each in mixed.graph.node:
        if each.name in {'first', 'second'}:
            assert [made_by[name] for name in each.input[:2]] == ['DequantizeLinear'] * 2
            assert {types[name] for name in each.input[:2]} == {TensorProto.FLOAT16}
    wanted = run(whole, calibration[0])
    assert np.abs(run(mixed, calibration[0]) - wanted).max() < 0.06 * np.ptp(wanted)


@given(
    arrays.arrays(
        np.float32, (3, 2, 2, 2), elements=st.floats(-1024, 1024, width=32).filter(lambda v: abs(v) > 1e-30 or v == 0)
    )
)
def test_weights_are_off_by_half_a_step_at_most(weights):
    held, steps = quantise_weights(weights)
    assert held.dtype == np.int8
    assert np.abs(held.astype(int)).max() <= 127
    assert (steps > 0).all()
    errors = np.abs(held * steps.reshape(-1, 1, 1, 1).astype(np.float64) - weights).reshape(3, -1)
    assert (errors <= 0.50001 * steps[:, None].astype(np.float64)).all()
    assert (steps.astype(np.float16) == steps).all()
    for channel, step in zip(held, steps, strict=True):
        # Below float16's least normal number its steps are coarser.
        assert np.abs(channel).max() == 127 or step < 2**-14 or step == 1.0


def test_a_channel_all_but_dead_keeps_a_step_in_half_precision():
    weights = normal(4, 3, 3, 3)
    weights[1] *= 1e-7
    weights[2] = 0.0
    nodes = [node('Conv', 'x w', 'm'), node('Conv', 'm v', 'y')]
    small, _ = to_int8(model(nodes, {'w': weights, 'v': normal(3, 4, 1, 1)}), samples())

    def steps(of):
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in of.graph.initializer}
        return [constants[each.input[1]] for each in of.graph.node if each.op_type.endswith('Linear')]

    whole, half = steps(small), steps(to_fp16(small)[0])
    assert {array.dtype for array in half} == {np.dtype(np.float16)}
    assert all((array > 0).all() for array in half)
    assert all((one == other).all() for one, other in zip(half, whole, strict=True))
