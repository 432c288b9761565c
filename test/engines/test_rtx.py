"""Every network, in every precision, is one that NVIDIA's own parser and builder take, strongly typed.

TensorRT-RTX has TensorRT's interface without weak typing, as TensorRT 11 has it, and builds without a GPU. It is not
TensorRT: what holds here is that the files are well formed under strong typing, and not that a Jetson runs them.
`make test-rtx` fetches it (PyPI: onnxruntime-ep-nv-tensorrt-rtx-cu13 brings the library and the parser,
tensorrt-rtx-cu13-bindings the Python side) and names the folder in TENSORRT_RTX.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.app.bench import architectures
from facefusion_ros.app.bench.networks import NETWORKS, write_network
from facefusion_ros.app.bench.restorer import Restorer
from facefusion_ros.engines import graph as onnx_graph
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.precision import to_fp16
from facefusion_ros.engines.quantisation import to_int8
from facefusion_ros.engines.statistics import give_statistics, take_statistics
from facefusion_ros.models.entry import Role
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import WEIGHTS
from facefusion_ros.models.tiny import family_names, write_tiny

pytestmark = pytest.mark.rtx

FOLDER = os.environ.get('TENSORRT_RTX')
if not FOLDER:
    pytest.skip('TensorRT-RTX is not here: make test-rtx fetches it', allow_module_level=True)

BUILD = Path(__file__).with_name('build_with_rtx.py')
TYPES = {
    TensorProto.FLOAT: 'FLOAT',
    TensorProto.FLOAT16: 'HALF',
    TensorProto.INT8: 'INT8',
    TensorProto.INT32: 'INT32',
    TensorProto.INT64: 'INT64',
    TensorProto.BOOL: 'BOOL',
    # The parser makes float32 of it (onnx-tensorrt, docs/operators.md): CodeFormer's weight.
    TensorProto.DOUBLE: 'FLOAT',
}
KNOWN = (
    # Of int8 convolutions in a float16 network; no step is lost by it.
    'Converting conv activation scales to fp32',
    'Converting conv weight scales to fp32',
    # Of Resize in YuNet's file.
    'Empty initializer',
)
PRECISIONS = {
    'fp32': lambda model: model,
    'fp16': lambda model: to_fp16(model)[0],
}
PICTURES = [name for name in family_names() if catalogue().family(name).decoder == 'picture']


# Networks


def tiny(family, folder):
    write_tiny(family, folder / 'tiny.onnx')
    return onnx.load(folder / 'tiny.onnx')


def bench(role, folder):
    return onnx.load(write_network(role, folder))


@functools.cache
def restorer():
    return Restorer()


def dead_channel():
    """A network with a channel that training has left all but dead, as YuNet has one."""
    model = restorer().model()
    for tensor in model.graph.initializer:
        if tensor.name == 'encoder.1.weight':
            weights = numpy_helper.to_array(tensor).copy()
            weights[3] *= 1e-8
            tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
            return model
    raise AssertionError('the restorer has no encoder.1')


def yunet():
    """Give the real third-party file, which lies beside the repository on machines that have it."""
    for folder in Path(__file__).resolve().parents:
        file = folder / 'shared' / 'models' / 'yunet_n_640_640.onnx'
        if file.is_file():
            return onnx.load(file)
    pytest.skip('the real YuNet file (shared/models/yunet_n_640_640.onnx beside the repository) is not here')


LARGER = {
    **{f'bench_{role.value}': functools.partial(bench, role) for role in NETWORKS},
    'restorer': lambda _: restorer().model(),
    'restorer_dead_channel': lambda _: dead_channel(),
    'restorer_whole': lambda _: give_statistics(restorer().model()),
    'restorer_detail': lambda _: take_statistics(restorer().model(128, 64, 2)),
    'yunet': lambda _: yunet(),
    **{f'shipped_{file.stem}': lambda _, file=file: onnx.load(file) for file in sorted(WEIGHTS.glob('*.onnx'))},
}
"""Each takes a folder for a file."""


def values_of(model):
    """Inputs and outputs, without the weights that old files list among the inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights], list(model.graph.output)


def shapes_of(model):
    """Shapes of the inputs, with a batch of 1 and pictures of 64 x 64 where the file leaves that open."""
    sizes = {value.name: value.type.tensor_type.shape.dim for value in values_of(model)[0]}
    return {name: [size.dim_value or (64 if at else 1) for at, size in enumerate(dim)] for name, dim in sizes.items()}


def sample(model):
    rng, shapes = np.random.default_rng(0), shapes_of(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values_of(model)[0]}
    return {
        name: rng.uniform(0.0, 1.0, shape).astype(helper.tensor_dtype_to_np_dtype(kinds[name]))
        for name, shape in shapes.items()
    }


# Building


@pytest.fixture(scope='session')
def build(tmp_path_factory):
    """Return a function that builds a model, in a process that may crash, and gives what build_with_rtx says."""
    folder = tmp_path_factory.mktemp('rtx')
    libraries = list(Path(FOLDER, 'onnxruntime_ep_nv_tensorrt_rtx').glob('lib*.so.*.*.*'))
    assert libraries, f'{FOLDER} holds no TensorRT-RTX'
    for library in libraries:
        # The wheel has the files by their full versions only.
        stem, version = library.name.split('.so.')
        (folder / f'{stem}.so.{version.split(".")[0]}').symlink_to(library.resolve())
    environment = {
        **os.environ,
        'LD_LIBRARY_PATH': str(folder),
        'PYTHONPATH': os.pathsep.join([FOLDER, *sys.path]),
    }

    def run(model, **options):
        file = folder / 'model.onnx'
        onnx.save(model, file)
        command = [sys.executable, str(BUILD), json.dumps({'file': str(file), 'shapes': shapes_of(model), **options})]
        done = subprocess.run(command, env=environment, text=True, capture_output=True)
        ended = signal.Signals(-done.returncode).name if done.returncode < 0 else done.returncode
        file.unlink()
        assert not done.returncode, f'{ended}: {done.stderr}'
        return json.loads(done.stdout.splitlines()[-1])

    return run


def same_shape(file, found):
    return len(file.dim) == len(found) and all(
        size == here.dim_value if here.HasField('dim_value') else size == -1 or size > 0
        for here, size in zip(file.dim, found, strict=True)
    )


def check(model, found):
    """The network that was built is the file's: its inputs and outputs, and the type of every tensor in it."""
    assert 'error' not in found, found['error']
    assert found['typing'] == 'strong'
    assert found['plan'] > 10_000
    assert [line for line in found['said'] if not any(known in line for known in KNOWN)] == []
    for values, there in zip(values_of(model), (found['inputs'], found['outputs']), strict=True):
        for value, (name, kind, shape) in zip(values, there, strict=True):
            form = value.type.tensor_type
            assert (name, kind) == (value.name, TYPES[form.elem_type])
            assert same_shape(form.shape, shape), (name, shape)
    types = onnx_graph.element_types(onnx.shape_inference.infer_shapes(model).graph)
    constants = {node.output[0] for node in model.graph.node if node.op_type == 'Constant'}
    made = {name for node in model.graph.node for name in node.output if name} - constants
    tensors = found['tensors']
    assert {name: TYPES[types[name]] for name in made} == {name: tensors[name][0] for name in made}


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
@pytest.mark.parametrize('family', family_names())
def test_a_network_of_each_family(family, precision, build, tmp_path):
    model = PRECISIONS[precision](tiny(family, tmp_path))
    found = build(model)
    check(model, found)
    assert ('HALF' in {kind for kind, _, _ in found['tensors'].values()}) == (precision == 'fp16')


@pytest.mark.parametrize('family', PICTURES)
def test_tiny_networks_are_too_small_for_int8(family, tmp_path):
    model = tiny(family, tmp_path)
    with pytest.raises(EngineError, match='no convolution of this network can be computed in int8: use fp16'):
        to_int8(model, [sample(model)])


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
@pytest.mark.parametrize('network', LARGER)
def test_larger_networks(network, precision, build, tmp_path):
    model = PRECISIONS[precision](LARGER[network](tmp_path))
    found = build(model)
    check(model, found)
    products = [made for made in found['tensors'].values() if made[1] in {'CONVOLUTION', 'MATRIX_MULTIPLY'}]
    kinds = {'HALF': precision == 'fp16', 'FLOAT': precision == 'fp32' or network.startswith('restorer')}
    # The look-up of codes stays float32 in every precision.
    assert {kind for kind, _, _ in products} == {kind for kind, there in kinds.items() if there}


def check_int8(model, report, found):
    """The convolutions that were quantised take what was dequantised, and nothing is between."""
    check(model, found)
    tensors = found['tensors']
    mixed = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    rest = 'HALF' if mixed else 'FLOAT'
    convolutions = [node for node in model.graph.node if onnx_graph.label(node) in report.quantised]
    assert len(convolutions) == len(report.quantised) > 0
    for node in convolutions:
        kind, layer, (picture, weights, *_) = tensors[node.output[0]]
        assert (kind, layer) == (rest, 'CONVOLUTION')
        for taken in (picture, weights):
            kind, layer, (held, *_) = tensors[taken]
            assert (kind, layer, tensors[held][0]) == (rest, 'DEQUANTIZE', 'INT8')


@pytest.mark.parametrize('network', [name for name in LARGER if name != 'bench_identity'])
def test_larger_networks_in_int8(network, build, tmp_path):
    model = LARGER[network](tmp_path)
    int8, report = to_int8(model, [sample(model)])
    for made in (int8, to_fp16(int8)[0]):
        check_int8(made, report, build(made))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize('network', architectures.ARCHITECTURES)
def test_true_architectures(network, build):
    model = architectures.build(network)
    check(model, build(model))
    half, report = to_fp16(model)
    found = build(half)
    check(half, found)
    float32 = {name for name, _ in report.kept}
    for node in half.graph.node:
        if node.op_type == 'Conv':
            kept = onnx_graph.label(node) in float32
            assert found['tensors'][node.output[0]][:2] == ['FLOAT' if kept else 'HALF', 'CONVOLUTION']


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize('network', architectures.ARCHITECTURES)
def test_true_architectures_in_int8(network, build):
    model = architectures.build(network)
    int8, report = to_int8(model, [sample(model)])
    for made in (int8, to_fp16(int8)[0]):
        check_int8(made, report, build(made))


# What else the builder does


@pytest.fixture
def landmarks(tmp_path):
    return bench(Role.LANDMARKS, tmp_path)


def test_a_build_tells_how_far_it_is_and_can_be_given_up(build, landmarks):
    assert build(landmarks)['steps'] > 10
    assert 'was given up: it was asked to stop' in build(landmarks, stop=True)['error']


def test_a_damaged_timing_cache_is_no_hindrance(build, landmarks):
    found = build(landmarks, timing=b'nothing of the kind'.hex())
    assert found['plan']
    assert found['timing']


def test_weak_typing_is_refused_where_there_is_none(build, landmarks):
    found = build(landmarks, typing='weak')
    assert found['error'].endswith('has no weak typing: use typing auto, and a file of the precision you want')


def test_what_is_not_taken_is_named(build, landmarks):
    node = landmarks.graph.node[3]
    node.op_type, node.name, node.domain = 'Sharpen', 'after_the_second', 'of.nobody'
    landmarks.opset_import.append(helper.make_opsetid('of.nobody', 1))
    error = build(landmarks)['error']
    assert 'does not take' in error
    assert 'Sharpen after_the_second: ' in error
