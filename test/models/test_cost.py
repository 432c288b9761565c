import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.models.cost import Cost, file_cost, network_cost

FLOAT, HALF, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8


def tensor(name, *shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name, *shape, dtype=np.float32):
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def numbers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def network(nodes, inputs, weights=(), outputs=('y',), **options):
    values = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, 'net', inputs, values, weights)
    opsets = [helper.make_opsetid('', 17), helper.make_opsetid('own', 1)]
    return helper.make_model(graph, opset_imports=opsets, **{'ir_version': 9, **options})


def node(kind, inputs, output='y', **attributes):
    return helper.make_node(kind, inputs.split(' '), [output], name=f'{kind}_{output}', **attributes)


def test_two_convolutions_and_what_is_between():
    cost = network_cost(
        network(
            [
                node('Conv', 'x k1 b1', 'a', pads=[1, 1, 1, 1], strides=[2, 2]),
                node('Relu', 'a', 'b'),
                node('InstanceNormalization', 'b gain bias', 'c'),
                node('Conv', 'c k2'),
            ],
            [tensor('x', 1, 3, 32, 20)],
            [weight('k1', 8, 3, 3, 3), weight('b1', 8), weight('gain', 8), weight('bias', 8), weight('k2', 4, 8, 1, 1)],
        )
    )
    # 8 maps of 16 x 10, each value of 3 x 3 x 3 products; then 4 maps, each value of 8.
    first, second = 8 * 16 * 10 * 27, 4 * 16 * 10 * 8
    assert cost == Cost(
        matrix_flop=2 * (first + second),
        other_flop=8 * 16 * 10 * (1 + 7),
        parameters=8 * 27 + 8 + 8 + 8 + 32,
        stored_bytes=4 * (8 * 27 + 8 + 8 + 8 + 32),
        activations=3 * 32 * 20 + 8 * 160 + 8 * 160 + 4 * 160,
    )


def test_bytes_at_each_precision():
    cost = Cost(matrix_flop=1, other_flop=1, parameters=10, stored_bytes=40, activations=100)
    assert [cost.weight_bytes(each) for each in ('fp32', 'fp16', 'int8')] == [40, 20, 10]
    assert [cost.activation_bytes(each) for each in ('fp32', 'fp16', 'int8')] == [400, 200, 100]


def products(nodes, inputs, weights):
    """Count multiplications by the graph itself: of ones without padding, the sum of what comes out is their number."""
    model = network(nodes, inputs, weights)
    feeds = {each.name: np.ones([d.dim_value for d in each.type.tensor_type.shape.dim], np.float32) for each in inputs}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    counted = int(session.run(None, feeds)[0].astype(np.float64).sum())
    assert network_cost(model).matrix_flop == 2 * counted
    return counted


few = st.integers(1, 4)


@given(batch=few, groups=few, taken=few, made=few, kernel=st.tuples(few, few), stride=few, more=st.tuples(few, few))
def test_convolutions_of_any_form(batch, groups, taken, made, kernel, stride, more):
    x = tensor('x', batch, groups * taken, *(k + m for k, m in zip(kernel, more, strict=True)))
    attributes = {'group': groups, 'strides': [stride] * 2}
    assert products([node('Conv', 'x k', **attributes)], [x], [weight('k', groups * made, taken, *kernel)]) > 0
    assert products([node('ConvTranspose', 'x k', **attributes)], [x], [weight('k', groups * taken, made, *kernel)]) > 0


@given(batch=few, rows=few, inner=few, columns=few, turned=st.booleans(), other=st.booleans())
def test_matrix_products_of_any_form(batch, rows, inner, columns, turned, other):
    a = tensor('x', *((inner, rows) if turned else (rows, inner)))
    b = weight('b', *((columns, inner) if other else (inner, columns)))
    assert products([node('Gemm', 'x b', transA=int(turned), transB=int(other))], [a], [b]) == rows * inner * columns
    many = tensor('x', batch, 2, rows, inner)
    assert (
        products([node('MatMul', 'x b')], [many], [weight('b', inner, columns)]) == batch * 2 * rows * inner * columns
    )
    assert products([node('MatMul', 'x z')], [many, tensor('z', inner, columns)], []) > 0


def test_the_product_of_two_activations_has_no_weights():
    cost = network_cost(network([node('MatMul', 'x z')], [tensor('x', 1, 8, 5, 7), tensor('z', 1, 8, 7, 3)]))
    assert (cost.matrix_flop, cost.parameters) == (2 * 8 * 5 * 3 * 7, 0)
    assert cost.activations == 8 * (5 * 7 + 7 * 3 + 5 * 3)


def test_a_weight_counts_once_and_only_where_it_is_read():
    cost = network_cost(
        network(
            [node('MatMul', 'x k', 'a'), node('MatMul', 'a k')],
            [tensor('x', 1, 6)],
            [weight('k', 6, 6, dtype=np.float32), weight('projection', 512, 512)],
        )
    )
    assert (cost.parameters, cost.stored_bytes, cost.matrix_flop) == (36, 144, 2 * 2 * 36)


def test_weights_in_eight_bits():
    scale, zero = numpy_helper.from_array(np.float32(0.1), 's'), numpy_helper.from_array(np.int8(0), 'z')
    cost = network_cost(
        network(
            [
                node('DequantizeLinear', 'k s z', 'k32'),
                node('Transpose', 'k32', 'turned', perm=[1, 0]),
                node('QuantizeLinear', 'x s z', 'q'),
                node('DequantizeLinear', 'q s z', 'x32'),
                node('MatMul', 'x32 turned'),
            ],
            [tensor('x', 1, 64)],
            [weight('k', 32, 64, dtype=np.int8), scale, zero],
        )
    )
    assert cost.matrix_flop == 2 * 32 * 64
    assert (cost.parameters, cost.stored_bytes) == (32 * 64 + 2, 32 * 64 + 4 + 1)
    assert cost.activations == 64 + 32
    inputs = [tensor('x', 1, 3, 9, 9, dtype=BYTE)]
    weights = [weight('k', 5, 3, 3, 3, dtype=np.int8), scale, zero]
    whole = network_cost(network([node('QLinearConv', 'x s z k s z s z')], inputs, weights))
    assert (whole.matrix_flop, whole.activations) == (2 * 5 * 49 * 27, 3 * 81 + 5 * 49)


def test_shapes_that_follow_from_numbers():
    cost = network_cost(
        network(
            [
                node('Resize', 'x  scales', 'big', mode='nearest'),
                node('Reshape', 'big rows', 'flat'),
                node('MatMul', 'flat k'),
            ],
            [tensor('x', 1, 2, 4, 4)],
            [
                numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), 'scales'),
                numbers('rows', 2, -1),
                weight('k', 64, 5),
            ],
        )
    )
    assert not cost.untold
    assert cost.matrix_flop == 2 * 2 * 64 * 5


def test_an_open_batch_is_one_and_other_shapes_are_given():
    model = network([node('Conv', 'x k')], [tensor('x', 'n', 3, 'h', 'w')], [weight('k', 4, 3, 1, 1)])
    assert network_cost(model).untold == ('Conv Conv_y',)
    assert network_cost(model, {'x': (2, 3, 10, 20)}).matrix_flop == 2 * 2 * 4 * 200 * 3
    fixed = network([node('Conv', 'x k')], [tensor('x', 'n', 3, 10, 20)], [weight('k', 4, 3, 1, 1)])
    assert network_cost(fixed).matrix_flop == 2 * 4 * 200 * 3


def test_what_is_not_counted_is_named():
    model = network(
        [
            helper.make_node('Mystery', ['x'], ['a'], 'm', domain='own'),
            node('Einsum', 'x x', 'b', equation='ij,ij->i'),
            node('MatMul', 'x k'),
        ],
        [tensor('x', 1, 6)],
        [weight('k', 6, 6)],
    )
    cost = network_cost(model)
    assert cost.untold == ('Mystery m', 'Einsum Einsum_b')
    assert cost.matrix_flop == 2 * 36


def test_a_product_that_cannot_be():
    model = network([node('MatMul', 'x k')], [tensor('x', 1, 6)], [weight('k', 7, 6)])
    assert network_cost(model).untold == ('MatMul MatMul_y',)


@pytest.mark.parametrize('listed', [False, True])
def test_large_weights_need_no_values(listed, tmp_path):
    inputs = [tensor('x', 1, 100)]
    # Before version 4 of the format, weights were listed among the inputs too.
    inputs += [tensor('k', 100, 90)] * listed
    model = network([node('MatMul', 'x k')], inputs, [weight('k', 100, 90)], ir_version=3 if listed else 9)
    cost = network_cost(model)
    assert (cost.matrix_flop, cost.parameters, cost.activations) == (2 * 9000, 9000, 190)
    onnx.save(model, tmp_path / 'own.onnx')
    assert file_cost(tmp_path / 'own.onnx') == cost
    model.graph.initializer[0].ClearField('raw_data')
    assert network_cost(model) == cost


def test_the_weights_beside_a_file_are_not_needed(tmp_path):
    path = tmp_path / 'own.onnx'
    model = network([node('MatMul', 'x k')], [tensor('x', 1, 100)], [weight('k', 100, 90)])
    onnx.save(model, path, save_as_external_data=True, location='own.data', size_threshold=0)
    (tmp_path / 'own.data').unlink()
    assert file_cost(path).matrix_flop == 2 * 9000


def test_every_family_is_counted(tiny_network):
    for family in ('yunet', 'inswapper', 'codeformer', 'arcface'):
        cost = file_cost(tiny_network(family))
        assert not cost.untold, family
        assert cost.parameters > 0
        assert cost.other_flop > 0


def test_a_real_network(yunet_file):
    cost = file_cost(yunet_file)
    assert not cost.untold
    # OpenCV's and libfacedetection's tables say 0.15 GFLOP (products) and 75 856 parameters for 320 x 320, with
    # the batch normalisations that this file has folded away.
    assert cost.matrix_flop / 2 / 4 == pytest.approx(0.149e9, rel=0.1)
    assert cost.parameters == pytest.approx(75_856, rel=0.03)
    # The numbers that arrange shapes are of eight bytes.
    assert 0 <= cost.stored_bytes - 4 * cost.parameters < 100
