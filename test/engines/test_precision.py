import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.engines.precision import range_losses, to_fp16

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
RNG = np.random.default_rng(5)


def model(nodes, weights=(), inputs=None, outputs=None, opset=17):
    """A checked model; inputs and outputs are shapes by name, float32."""
    values = [
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in side.items()]
        for side in (inputs or {'x': (1, 3, 16, 16)}, outputs or {'y': (None,) * 4})
    ]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(weights).items()]
    graph = helper.make_graph([*nodes], 'graph', *values, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def normal(*shape):
    return RNG.normal(0.0, 0.3, shape).astype(np.float32)


def types(made):
    """Element types of all tensors, as ONNX itself infers them; strict, so that a missing Cast is an error."""
    onnx.checker.check_model(made, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True).graph
    found = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    return found | {
        value.name: value.type.tensor_type.elem_type
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }


def computes_in(made, name):
    """Types of the float tensors which a node takes."""
    known = types(made)
    found = next(each for each in made.graph.node if each.name == name)
    return {known[each] for each in found.input if each and known[each] in {FLOAT, HALF}}


def run(made, **inputs):
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, inputs)


def conv_model():
    nodes = [
        node('Conv', 'x w1 b1', 'first', pads=[1] * 4),
        node('Relu', 'first', 'relu'),
        node('Resize', 'relu  scales', 'larger', mode='nearest'),
        node('Conv', 'larger w2', 'y', pads=[1] * 4),
    ]
    nodes[2].input[:] = ['relu', '', 'scales']
    scales = np.array([1, 1, 2, 2], np.float32)
    return model(nodes, {'w1': normal(8, 3, 3, 3), 'b1': normal(8), 'w2': normal(3, 8, 3, 3), 'scales': scales})


def test_convolutions_are_halved_and_the_ends_are_not():
    whole = conv_model()
    half, report = to_fp16(whole)
    known = types(half)
    assert known['x'] == known['y'] == FLOAT
    assert known['first'] == known['relu'] == known['larger'] == HALF
    assert computes_in(half, 'y') == {HALF}
    assert known['scales'] == FLOAT  # the standard allows no other
    assert report.halved == 4
    assert report.kept == report.losses == ()
    x = normal(1, 3, 16, 16)
    np.testing.assert_allclose(run(half, x=x)[0], run(whole, x=x)[0], atol=5e-3)
    assert half.ByteSize() < 0.7 * whole.ByteSize()


def test_the_given_model_stays_as_it_is():
    whole = conv_model()
    before = whole.SerializeToString()
    to_fp16(whole)
    assert whole.SerializeToString() == before


def test_ends_in_half_where_wanted():
    whole = conv_model()
    half, _ = to_fp16(whole, keep_io=False)
    assert {types(half)[name] for name in 'xy'} == {HALF}
    x = normal(1, 3, 16, 16)
    found = run(half, x=x.astype(np.float16))[0]
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, run(whole, x=x)[0], atol=5e-3)


def test_statistics_softmax_and_normalisations_stay_float():
    nodes = [
        node('Conv', 'x w', 'c', pads=[1] * 4),
        node('InstanceNormalization', 'c one zero', 'normed'),
        # A normalisation written out, as exporters do.
        node('ReduceMean', 'normed', 'mean', axes=[2, 3]),
        node('Sub', 'normed mean', 'centred'),
        node('Pow', 'centred two', 'square'),
        node('ReduceMean', 'square', 'variance', axes=[2, 3]),
        node('Add', 'variance eps', 'safe'),
        node('Sqrt', 'safe', 'deviation'),
        node('Div', 'centred deviation', 'divided'),
        node('Conv', 'divided w2', 'd', pads=[1] * 4),
        node('Softmax', 'd', 'y', axis=1),
    ]
    weights = {'w': normal(4, 3, 3, 3), 'w2': normal(4, 4, 3, 3), 'one': np.ones(4, 'f4'), 'zero': np.zeros(4, 'f4')}
    weights |= {'two': np.float32(2), 'eps': np.float32(1e-8)}
    whole = model(nodes, weights)
    half, report = to_fp16(whole)
    kept = dict(report.kept)
    for name in ('normed', 'mean', 'centred', 'square', 'variance', 'safe', 'deviation', 'divided', 'y'):
        assert computes_in(half, name) == {FLOAT}, name
        assert name in kept
    assert computes_in(half, 'c') == computes_in(half, 'd') == {HALF}
    x = normal(1, 3, 16, 16)
    np.testing.assert_allclose(run(half, x=x)[0], run(whole, x=x)[0], atol=5e-3)


def test_demodulation_stays_float_and_the_modulated_convolution_does_not():
    nodes = [
        node('Gemm', 'style affine', 'modulation'),
        node('Mul', 'w modulation', 'modulated'),
        node('Mul', 'modulated modulated', 'square'),
        node('ReduceSum', 'square axes', 'energy'),
        node('Add', 'energy eps', 'safe'),
        node('Sqrt', 'safe', 'root'),
        node('Reciprocal', 'root', 'demodulation'),
        node('Mul', 'modulated demodulation', 'weight'),
        node('Conv', 'x weight', 'y', pads=[1] * 4),
    ]
    nodes.insert(1, node('Reshape', 'modulation shape', 'row'))
    nodes[2].input[1] = 'row'
    weights = {
        'affine': normal(8, 3),
        'w': normal(4, 3, 3, 3),
        'shape': np.array([1, 3, 1, 1]),
        'axes': np.array([1, 2, 3]),
        'eps': np.float32(1e-8),
    }
    inputs = {'x': (1, 3, 16, 16), 'style': (1, 8)}
    whole = model(nodes, weights, inputs)
    half, report = to_fp16(whole)
    for name in ('modulated', 'square', 'energy', 'safe', 'root', 'demodulation', 'weight'):
        assert computes_in(half, name) == {FLOAT}, name
    assert computes_in(half, 'y') == computes_in(half, 'modulation') == {HALF}
    assert [(loss.tensor, loss.underflow) for loss in report.losses] == [('eps', 1)]
    given_inputs = {'x': normal(1, 3, 16, 16), 'style': normal(1, 8)}
    np.testing.assert_allclose(run(half, **given_inputs)[0], run(whole, **given_inputs)[0], atol=5e-3)


def test_codes_are_looked_up_in_float():
    nodes = [
        node('Conv', 'x w', 'code'),
        node('Transpose', 'code', 'rows', perm=[0, 2, 3, 1]),
        node('MatMul', 'rows turned', 'product'),
        node('Sub', 'squares product', 'distance'),
        node('ArgMin', 'distance', 'index', axis=-1, keepdims=0),
        node('Gather', 'book index', 'found', axis=0),
        node('Transpose', 'found', 'back', perm=[0, 3, 1, 2]),
        node('Conv', 'back w2', 'y'),
    ]
    book = normal(32, 4)
    weights = {'w': normal(4, 3, 1, 1), 'w2': normal(3, 4, 1, 1), 'book': book, 'turned': 2 * book.T.copy()}
    whole = model(nodes, {**weights, 'squares': (book**2).sum(axis=1)})
    half, report = to_fp16(whole)
    reasons = dict(report.kept)
    for name in ('product', 'distance', 'index', 'found'):
        assert reasons[name] == 'code look-up'
        assert computes_in(half, name) == {FLOAT}
    assert types(half)['book'] == FLOAT
    assert computes_in(half, 'code') == computes_in(half, 'y') == {HALF}


def test_codes_that_a_transformer_picks_are_looked_up_in_float():
    # As CodeFormer does: logits, softmax, the likeliest code, a one-hot row, its product with the codebook.
    nodes = [
        node('MatMul', 'x q', 'query'),
        node('LayerNormalization', 'query gain', 'normed'),
        node('Transpose', 'normed', 'key', perm=[0, 2, 1]),
        node('MatMul', 'normed key', 'likeness'),
        node('Softmax', 'likeness', 'attention', axis=-1),
        node('MatMul', 'attention normed', 'mixed'),
        node('MatMul', 'mixed head', 'logits'),
        node('Softmax', 'logits', 'chances', axis=-1),
        helper.make_node('TopK', ['chances', 'one'], ['best', 'codes'], name='best'),
        node('ScatterElements', 'zeros codes ones', 'rows', axis=2),
        node('MatMul', 'rows book', 'found'),
        node('MatMul', 'found out', 'y'),
    ]
    weights = {'q': normal(8, 8), 'gain': np.ones(8, 'f4'), 'head': normal(8, 32), 'book': normal(32, 8)}
    weights |= {'one': np.array([1]), 'zeros': np.zeros((1, 4, 32), 'f4'), 'ones': np.ones((1, 4, 1), 'f4')}
    whole = model(nodes, {**weights, 'out': normal(8, 8)}, {'x': (1, 4, 8)}, {'y': (1, 4, 8)})
    half, report = to_fp16(whole)
    reasons = dict(report.kept)
    assert {name for name, reason in reasons.items() if reason == 'code look-up'} == {'logits', 'best', 'found'}
    assert reasons['attention'] == reasons['chances'] == 'softmax'
    assert reasons['normed'] == 'statistics'
    for name in ('query', 'likeness', 'mixed', 'y'):
        assert computes_in(half, name) == {HALF}
    x = normal(1, 4, 8)
    np.testing.assert_allclose(run(half, x=x)[0], run(whole, x=x)[0], atol=5e-3)


@pytest.mark.parametrize(('value', 'loss'), [(1e5, (1, 0)), (1e-9, (0, 1))])
def test_a_number_that_half_does_not_hold_keeps_its_node_float(value, loss):
    whole = model([node('Mul', 'x big', 'm'), node('Relu', 'm', 'y')], {'big': np.float32(value)})
    half, report = to_fp16(whole)
    assert [(each.tensor, each.overflow, each.underflow, each.values) for each in report.losses] == [('big', *loss, 1)]
    assert ('m', 'constant beyond float16') in report.kept
    assert computes_in(half, 'm') == {FLOAT}
    assert computes_in(half, 'y') == {HALF}
    assert numpy_helper.to_array(half.graph.initializer[0]) == np.float32(value)


def test_small_weights_are_reported_and_halved():
    weights = normal(4, 3, 3, 3)
    weights[0, 0, 0, :2] = 1e-9
    half, report = to_fp16(model([node('Conv', 'x w', 'y')], {'w': weights}))
    assert [(each.tensor, each.underflow, each.values) for each in report.losses] == [('w', 2, 108)]
    assert computes_in(half, 'y') == {HALF}


def test_activations_seen_too_large_keep_their_nodes_float():
    whole = model([node('Mul', 'x a', 'm'), node('Mul', 'm b', 'y')], {'a': np.float32(1000), 'b': np.float32(1e-3)})
    assert computes_in(to_fp16(whole)[0], 'm') == {HALF}
    half, report = to_fp16(whole, ranges={'m': (-70000.0, 10.0)})
    assert {reason for _, reason in report.kept} == {'values seen beyond float16'}
    assert computes_in(half, 'm') == computes_in(half, 'y') == {FLOAT}


@pytest.mark.parametrize('keep', ['first', 'Conv'])
def test_nodes_and_operators_are_kept_as_asked(keep):
    half, report = to_fp16(conv_model(), keep=[keep])
    assert ('first', 'as asked') in report.kept
    assert computes_in(half, 'first') == {FLOAT}
    assert computes_in(half, 'relu') == {HALF}


def test_constants_that_nobody_takes_are_kept():
    # inswapper's map of embeddings is one.
    whole = model([node('Relu', 'x', 'y')], {'buff2fs': normal(5, 5)})
    half, _ = to_fp16(whole)
    assert [(tensor.name, tensor.data_type) for tensor in half.graph.initializer] == [('buff2fs', FLOAT)]


def test_constant_nodes_and_outputs_taken_inside():
    constant = helper.make_node('Constant', [], ['k'], value=numpy_helper.from_array(np.float32(3.0)))
    nodes = [constant, node('Mul', 'x k', 'y'), node('Relu', 'y', 'z'), node('Softmax', 'y', 's')]
    whole = model(nodes, outputs=dict.fromkeys('yzs', (None,) * 4))
    half, _ = to_fp16(whole)
    assert {types(half)[name] for name in 'xyzs'} == {FLOAT}
    assert computes_in(half, 'z') == {HALF}
    x = normal(1, 3, 16, 16)
    for found, wanted in zip(run(half, x=x), run(whole, x=x), strict=True):
        np.testing.assert_allclose(found, wanted, atol=5e-3)


def test_operators_of_other_makers_stay_float_with_what_they_touch():
    whole = model([node('Relu', 'x', 'a'), node('Relu', 'a', 'b'), node('Abs', 'b', 'c'), node('Neg', 'c', 'y')])
    whole.graph.node[1].CopyFrom(node('QuickGelu', 'a', 'b', domain='com.microsoft'))
    whole.opset_import.append(helper.make_opsetid('com.microsoft', 1))
    half, report = to_fp16(whole)
    # Nobody but its maker knows of which type its result is.
    assert report.kept == (('b', 'types not known'), ('y', 'types not known'))
    assert report.halved == 1
    x = normal(1, 3, 16, 16)
    np.testing.assert_allclose(run(half, x=x)[0], run(whole, x=x)[0], atol=5e-3)


def test_functions_of_the_file_are_opened():
    body = [helper.make_node('Mul', ['a', 'a'], ['m']), helper.make_node('Relu', ['m'], ['b'])]
    function = helper.make_function('own', 'Twice', ['a'], ['b'], body, [helper.make_opsetid('', 17)])
    whole = model([node('Neg', 'x', 'n'), node('Abs', 'n', 'y')])
    whole.graph.node[0].CopyFrom(node('Twice', 'x', 'n', domain='own'))
    whole.functions.append(function)
    whole.opset_import.append(helper.make_opsetid('own', 1))
    onnx.checker.check_model(whole, full_check=True)
    half, report = to_fp16(whole)
    assert (report.halved, report.kept) == (3, ())
    x = normal(1, 3, 16, 16)
    np.testing.assert_allclose(run(half, x=x)[0], run(whole, x=x)[0], atol=5e-3)


def test_what_a_branch_takes_from_outside_stays_float():
    value = helper.make_tensor_value_info
    branches = [
        helper.make_graph([helper.make_node(kind, ['m'], [kind])], kind, [], [value(kind, FLOAT, None)])
        for kind in ('Relu', 'Neg')
    ]
    nodes = [
        node('Mul', 'x two', 'm'),
        node('Identity', 'yes', 'same'),
        node('If', 'same', 'chosen', then_branch=branches[0], else_branch=branches[1]),
        node('Abs', 'chosen', 'y'),
    ]
    whole = model(nodes, {'two': np.float32(2), 'yes': np.bool_(True)})
    half, _ = to_fp16(whole)
    assert computes_in(half, 'm') == {FLOAT}
    assert computes_in(half, 'y') == {HALF}
    x = normal(1, 3, 16, 16)
    np.testing.assert_allclose(run(half, x=x)[0], run(whole, x=x)[0], atol=5e-3)


def test_quantised_networks_take_half_from_opset_19():
    scales = {'s': np.float32(0.1), 'z': np.int8(0)}
    nodes = [node('QuantizeLinear', 'x s z', 'q'), node('DequantizeLinear', 'q s z', 'd'), node('Relu', 'd', 'y')]
    assert types(to_fp16(model(nodes, scales, opset=19))[0])['d'] == HALF
    assert types(to_fp16(model(nodes, scales, opset=13))[0])['d'] == FLOAT


@given(arrays.arrays(np.float32, 20, elements=st.floats(width=32, allow_nan=False)))
def test_range_losses_are_those_of_a_cast(values):
    with np.errstate(over='ignore'):
        cast = values.astype(np.float16)
    lost = range_losses({'w': values, 'i': np.arange(3)})
    overflow = sum(bool(np.isinf(h) and np.isfinite(v)) for h, v in zip(cast, values, strict=True))
    underflow = sum(bool(h == 0 and v != 0) for h, v in zip(cast, values, strict=True))
    assert lost.keys() == ({'w'} if overflow or underflow else set())
    if lost:
        assert (lost['w'].overflow, lost['w'].underflow, lost['w'].values) == (overflow, underflow, 20)
