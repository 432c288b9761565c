"""Reading ONNX files: what is in them, and the ways in which they are broken."""

import contextlib
import tracemalloc

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.models.entry import ModelError
from facefusion_ros.models.graph import read_graph, read_skeleton, read_weight
from facefusion_ros.models.tiny import family_names

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize('family', family_names())
def test_it_says_what_the_onnx_package_says(family, tiny_network):
    path = tiny_network(family)
    model = onnx.load(path)
    graph = read_graph(path)
    assert [t.name for t in graph.inputs] == [v.name for v in model.graph.input]
    assert [t.name for t in graph.outputs] == [v.name for v in model.graph.output]
    for tensor, value in zip((*graph.inputs, *graph.outputs), (*model.graph.input, *model.graph.output), strict=True):
        assert tensor.shape == tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim)
        assert tensor.dtype == helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    assert [w.name for w in graph.initializers] == [w.name for w in model.graph.initializer]
    assert graph.parameters == sum(int(np.prod(w.dims)) for w in model.graph.initializer)
    assert sum(graph.operators.values()) == len(model.graph.node)
    assert graph.opset == 17
    for weight in model.graph.initializer:
        np.testing.assert_array_equal(read_weight(path, weight.name), numpy_helper.to_array(weight))


def test_inputs_that_only_name_weights_are_not_inputs(tiny_network, tmp_path):
    model = onnx.load(tiny_network('inswapper'))
    # As exporters of IR version 3 wrote it.
    for weight in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    path = tmp_path / 'old.onnx'
    onnx.save(model, path)
    assert [tensor.name for tensor in read_graph(path).inputs] == ['target', 'source']


def test_weights_are_not_loaded(tmp_path):
    weight = np.zeros(5_000_000, np.float32)
    path = tmp_path / 'big.onnx'
    _save(path, weight)
    tracemalloc.start()
    graph = read_graph(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert graph.parameters == weight.size
    assert peak < 200_000 < weight.nbytes


def test_a_skeleton_keeps_small_weights_alone(tiny_network):
    path = tiny_network('inswapper')
    whole, skeleton = onnx.load(path), read_skeleton(path, 100)
    assert skeleton.graph.node == whole.graph.node
    assert [value.name for value in skeleton.graph.output] == [value.name for value in whole.graph.output]
    kept = 0
    for weight, left in zip(whole.graph.initializer, skeleton.graph.initializer, strict=True):
        assert (left.name, left.dims, left.data_type) == (weight.name, weight.dims, weight.data_type)
        assert left == weight or (not left.raw_data and weight.ByteSize() > 100)
        kept += left == weight
    assert 0 < kept < len(whole.graph.initializer)


def test_the_real_yunet(yunet_file):
    graph = read_graph(yunet_file)
    assert [str(tensor) for tensor in graph.inputs] == ['input [1, 3, 640, 640] float32']
    assert len(graph.outputs) == 12
    assert graph.operators['Conv'] == 59
    assert 70_000 < graph.parameters < 80_000
    assert graph.producer.startswith('pytorch')


@RELAXED
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_short_is_refused_and_called_so(part, tiny_network, tmp_path):
    whole = tiny_network('gfpgan').read_bytes()
    path = tmp_path / 'cut.onnx'
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ModelError, match=r'cut short|is empty|not an ONNX file') as error:
        read_graph(path)
    assert str(error.value).startswith(str(path))
    assert '\n' not in str(error.value)


@RELAXED
@given(data=st.binary(min_size=1, max_size=300))
def test_any_other_bytes_are_refused(data, tmp_path):
    path = tmp_path / 'x.onnx'
    path.write_bytes(data)
    with pytest.raises(ModelError) as error:
        read_graph(path)
    assert '\n' not in str(error.value)


@RELAXED
@given(where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_damaged_byte_never_causes_anything_but_a_plain_refusal(where, value, tiny_network, tmp_path):
    data = bytearray(tiny_network('codeformer').read_bytes())
    data[int(where * len(data))] = value
    path = tmp_path / 'x.onnx'
    path.write_bytes(data)
    with contextlib.suppress(ModelError):
        assert read_graph(path).outputs


@pytest.mark.parametrize(
    ('start', 'what'),
    [
        (b'<!DOCTYPE html><html>', 'a web page'),
        (b'\n<HTML>', 'a web page'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'a Git LFS pointer'),
        (b'PK\x03\x04archive', 'an archive or a PyTorch file'),
        (b'plain words', 'is not an ONNX file'),
    ],
)
def test_files_of_other_kinds_are_named(start, what, tmp_path):
    path = tmp_path / 'x.onnx'
    path.write_bytes(start)
    with pytest.raises(ModelError, match=what):
        read_graph(path)


class TestWeightsBesideTheFile:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / 'net.onnx'
        _save(path, np.arange(2000, dtype=np.float32), beside='net.onnx.data')
        return path

    def test_are_found(self, path):
        graph = read_graph(path)
        assert graph.files_beside == ('net.onnx.data',)
        np.testing.assert_array_equal(read_weight(path, 'weight'), np.arange(2000, dtype=np.float32))

    def test_are_missed(self, path):
        (path.parent / 'net.onnx.data').unlink()
        with pytest.raises(ModelError, match=r'its weights are in net\.onnx\.data, which is missing'):
            read_graph(path)

    def test_are_cut_short(self, path):
        data = path.parent / 'net.onnx.data'
        data.write_bytes(data.read_bytes()[:-1])
        with pytest.raises(ModelError, match=r'net\.onnx\.data: is cut short: it has 7999 bytes'):
            read_graph(path)

    @pytest.mark.parametrize('location', ['../net.onnx.data', '/etc/passwd', ''])
    def test_may_not_be_elsewhere(self, location, path):
        model = onnx.load(path, load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            if entry.key == 'location':
                entry.value = location
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match='which is not beside it'):
            read_graph(path)
        with pytest.raises(ModelError, match='which is not beside it'):
            read_weight(path, 'weight')


def test_a_weight_that_is_not_there_is_named(tiny_network):
    with pytest.raises(ModelError, match="has no weight named 'emap'"):
        read_weight(tiny_network('inswapper'), 'emap')


def _save(path, weight, beside=None):
    graph = helper.make_graph(
        [helper.make_node('Add', ['x', 'weight'], ['y'])],
        'net',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, weight.shape)],
        [numpy_helper.from_array(weight, 'weight')],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)])
    onnx.save_model(model, path, save_as_external_data=beside is not None, location=beside, size_threshold=0)
