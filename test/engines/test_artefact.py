"""Files of reduced precision: what they are made from, and what becomes of those that do not fit."""

import importlib.util
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from facefusion_ros.app.bench.restorer import Restorer
from facefusion_ros.engines import artefact as artefacts
from facefusion_ros.engines import chain, trt_build
from facefusion_ros.engines.artefact import Calibration, damage, every, make, parity_file, read, recipe_of
from facefusion_ros.engines.chain import EngineSettings
from facefusion_ros.engines.crops import template_landmarks
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.kernels import launch
from facefusion_ros.engines.ort import OrtSettings
from facefusion_ros.engines.parity import drawn_faces
from facefusion_ros.engines.reduced import IntegerKernels, Precision
from facefusion_ros.engines.region_engine import RegionEngine
from facefusion_ros.engines.stored import Network, load_stored
from facefusion_ros.engines.yardsticks import yardstick
from facefusion_ros.models.entry import Role

_spec = importlib.util.spec_from_file_location('fake_tensorrt', Path(__file__).with_name('fake_tensorrt.py'))
fake_tensorrt = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_tensorrt)

CPU = IntegerKernels.ONNXRUNTIME


def calibration(count=3, size=256, digest='d'):
    faces = ({'input': face.rgb * 2 - 1} for face in drawn_faces(size, size, count, seed=4))
    return Calibration(faces, digest, [f'{count} drawn faces'])


@pytest.fixture
def build(store):
    """Make an artefact of a model of the store."""

    def build(entry, precision, kernels=CPU, **options):
        path = store.folder / entry.file
        samples = None if precision == 'fp16' else calibration(**options)
        return make(
            path, entry, recipe_of(entry, Precision(precision), kernels, samples.digest if samples else ''), samples
        )

    return build


@pytest.fixture
def load(caplog):
    """Load 'mine' as an enhancer; returns the network and the lines of the log."""
    opened = []

    def load(precision, role=Role.ENHANCER, settings=None):
        caplog.clear()
        opened.append(load_stored('mine', role, settings, precision=precision))
        return opened[-1], [each.message for each in caplog.records if each.levelno >= logging.WARNING]

    yield load
    for network in opened:
        network.engine.close()


def result(engine, size=256):
    picture, out = drawn_faces(size, size, 1)[0].rgb * 2 - 1, np.zeros((1, 3, size, size), np.float32)
    engine.run({'input': picture}, {'output': out})
    return out


# Making


def test_an_artefact_and_all_that_is_known_of_it(store, build, restoring):
    entry = store.add(restoring())
    made = build(entry, 'int8')
    stored = json.loads((store.built() / 'mine-int8-onnxruntime.json').read_text())
    assert stored['recipe'] == {
        'model': 'mine',
        'precision': 'int8',
        'kernels': 'onnxruntime',
        'source': entry.sha256,
        'calibration': 'd',
        'version': artefacts.__version__,
    }
    assert stored['report'] == ['2 convolutions compute in int8', '1 stay float (last convolution): last']
    assert stored['calibrated_on'] == '3 drawn faces'
    assert stored['source_bytes'] == (store.folder / entry.file).stat().st_size
    assert stored['bytes'] == (store.built() / 'mine-int8-onnxruntime.onnx').stat().st_size
    assert stored['opset'] == 19
    assert read(store.built(), made.recipe) == made
    assert damage(store.built(), made) == ''
    onnx.checker.check_model(store.built() / 'mine-int8-onnxruntime.onnx', full_check=True)
    assert sorted(file.name for file in store.built().iterdir()) == [
        'mine-int8-onnxruntime.json',
        'mine-int8-onnxruntime.onnx',
    ]


def test_the_rest_of_a_file_for_tensorrt_is_float16(store, build, restoring):
    made = build(store.add(restoring()), 'int8', IntegerKernels.TENSORRT)
    assert 'other nodes compute in float16' in made.report[2]
    model = onnx.load(store.built() / 'mine-int8-tensorrt.onnx')
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT16} <= kinds
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_fp16_keeps_what_was_seen_beyond_its_range(store, restoring):
    entry = store.add(restoring(shift=1e5))
    path = store.folder / entry.file
    made = make(path, entry, recipe_of(entry, Precision.FP16, CPU, 'd'), calibration())
    assert any('values seen beyond float16' in line for line in made.report)
    plain = make(path, entry, recipe_of(entry, Precision.FP16, CPU))
    assert not any('values seen' in line for line in plain.report)


def test_the_report_tells_constants_that_float16_does_not_hold(store, restoring):
    model = restoring()
    weights = np.full((3, 3, 3, 3), 1e-9, np.float32)
    weights[0] = 0.5
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, model.graph.initializer[0].name))
    bias = next(each for each in model.graph.initializer if each.name == 'b')
    bias.CopyFrom(onnx.numpy_helper.from_array(np.array([1e6, 0, 0], np.float32), 'b'))
    entry = store.add(model)
    made = make(store.folder / entry.file, entry, recipe_of(entry, Precision.FP16, CPU))
    assert made.report == (
        '2 nodes compute in float16',
        '1 stay float (constant beyond float16): last',
        '1 constants with values too large for float16 stay float: b',
        '54 values of 1 constants are too small for float16 and become 0: first_w',
    )


def test_open_batches_are_fixed(store, build):
    build(store.add('arcface'), 'fp16')
    model = onnx.load(store.built() / 'mine-fp16.onnx')
    for value, wanted in ((model.graph.input[0], [1, 3, 112, 112]), (model.graph.output[0], [1, 512])):
        assert [size.dim_value for size in value.type.tensor_type.shape.dim] == wanted


@pytest.mark.parametrize(
    ('family', 'precision', 'why'),
    [
        ('inswapper', 'int8_keep_regions', 'int8_keep_regions is for enhancers, and mine is a swapper: use int8'),
        ('gpen_256', 'int8', 'no convolution of this network can be computed in int8: use fp16'),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(store, build, family, precision, why):
    with pytest.raises(EngineError, match=why) as refused:
        build(store.add(family), precision)
    assert '\n' not in str(refused.value)
    assert not store.built().exists()


def test_int8_without_calibration_is_refused(store, restoring):
    entry = store.add(restoring())
    with pytest.raises(EngineError, match='cannot be made int8 without pictures to calibrate with'):
        make(store.folder / entry.file, entry, recipe_of(entry, Precision.INT8, CPU))


def test_weights_beside_the_file_belong_to_its_source(store, restoring, tmp_path):
    folder = tmp_path / 'external'
    folder.mkdir()
    onnx.save(restoring(), folder / 'net.onnx', save_as_external_data=True, location='net.data', size_threshold=0)
    entry = store.store.add(folder / 'net.onnx', name='mine', licence='MIT')
    recipe = recipe_of(entry, Precision.FP16, CPU)
    assert recipe.source != entry.sha256
    made = make(store.folder / entry.file, entry, recipe)
    assert made.source_bytes > (store.folder / entry.file).stat().st_size
    # The artefact needs no file beside it.
    onnx.load(store.built() / 'mine-fp16.onnx')


def test_two_recipes_differ_by_a_field_that_is_named():
    one = artefacts.Recipe('mine', 'int8', 'onnxruntime', 'a' * 64, 'c', '1')
    assert one.differs(one) == ''
    other = artefacts.Recipe('mine', 'int8', 'onnxruntime', 'b' * 64, '', '1')
    assert one.differs(other) == f'source is {"b" * 12}, and here it is {"a" * 12}'
    assert one.differs(other, 'source') == 'calibration is none, and here it is c'
    assert one.differs(other, 'source', 'calibration') == ''


def test_all_artefacts_of_a_folder(store, build, restoring):
    entry = store.add(restoring())
    made = build(entry, 'fp16')
    (store.built() / 'mine-int8-tensorrt.json').write_text('{}')
    (store.built() / 'mine-fp16.parity.json').write_text('{}')
    found = dict(every(store.built()))
    assert found['mine-fp16'] == made
    assert 'mine-int8-tensorrt.json is damaged: fields are missing' in found['mine-int8-tensorrt']
    assert len(found) == 2


# Loading


def test_fp16_is_made_then_and_there_and_believed_later(store, load, restoring):
    store.add(restoring())
    network, said = load('fp16')
    assert network.precision is Precision.FP16
    assert said == ['mine: making its fp16 file, once']
    whole, _ = load('fp32')
    assert whole.precision is Precision.FP32
    apart = np.abs(result(network.engine) - result(whole.engine))
    assert 0 < apart.max() < 0.01
    assert json.loads((store.built() / 'mine-fp16.parity.json').read_text())['passed'] is True
    stamps = {file: file.stat().st_mtime_ns for file in store.built().iterdir()}
    again, said = load(Precision.FP16)
    assert again.precision is Precision.FP16
    assert said == []
    assert stamps == {file: file.stat().st_mtime_ns for file in store.built().iterdir()}


def test_threads_that_want_one_file_make_it_once(store, restoring, caplog):
    store.add(restoring())
    with ThreadPoolExecutor(4) as threads:
        networks = list(threads.map(lambda _: load_stored('mine', Role.ENHANCER, precision='fp16'), range(4)))
    assert {network.precision for network in networks} == {Precision.FP16}
    assert [each.message for each in caplog.records].count('mine: making its fp16 file, once') == 1
    for network in networks:
        network.engine.close()


def test_int8_has_to_be_built_first(store, load, restoring):
    store.add(restoring())
    with pytest.raises(
        EngineError,
        match=r'^mine was not built for int8-onnxruntime: make it with '
        r'`facefusion-ros models build mine --precision int8 --calibration PICTURES_OR_BAG`$',
    ):
        load('int8')
    with pytest.raises(EngineError, match=r'int8-tensorrt: .* --engine tensorrt`$'):
        load('int8', settings=EngineSettings(chain=('tensorrt', 'onnxruntime')))


def test_int8_is_used_where_it_passes(store, build, load, restoring):
    build(store.add(restoring()), 'int8')
    network, said = load('int8')
    assert network.precision is Precision.INT8
    assert said == []
    whole, _ = load('fp32')
    assert 0 < np.abs(result(network.engine) - result(whole.engine)).max() < 0.1


def test_what_does_not_pass_falls_back_in_one_line(store, build, load, monkeypatch, restoring):
    entry = store.add(restoring())
    # As a conversion with a fault would: another bias.
    with monkeypatch.context() as patch:
        patch.setattr(artefacts, 'fixed', lambda *_: restoring(shift=0.1))
        build(entry, 'int8')
    for _ in range(2):
        network, said = load('int8')
        assert network.precision is Precision.FP32
        assert len(said) == 1
        assert said[0].startswith('mine int8 differs from fp32 on CPUExecutionProvider: skin shift lab ')
        assert said[0].endswith(': fp32 is used instead')
        whole, _ = load('fp32')
        np.testing.assert_array_equal(result(network.engine), result(whole.engine))


def test_a_result_of_another_artefact_or_machine_is_not_believed(store, build, load, monkeypatch, restoring):
    entry = store.add(restoring())
    made = build(entry, 'int8')
    load('int8')
    file = parity_file(store.built(), made.recipe)
    before = json.loads(file.read_text())
    monkeypatch.setattr('facefusion_ros.engines.machine.this_machine', lambda: 'another machine')
    load('int8')
    after = json.loads(file.read_text())
    assert after['key'].endswith('another machine')
    assert after['measured'] == before['measured']
    build(entry, 'int8', count=2)
    load('int8')
    assert json.loads(file.read_text())['key'] != after['key']


@pytest.mark.parametrize(
    ('spoil', 'why'),
    [
        (
            lambda folder: (folder / 'mine-fp16.onnx').write_bytes(b'x'),
            'sha256 of mine-fp16.onnx is not that of its bytes',
        ),
        (lambda folder: (folder / 'mine-fp16.onnx').unlink(), 'mine-fp16.onnx is missing'),
        (lambda folder: (folder / 'mine-fp16.json').write_text('{'), 'mine-fp16.json cannot be read'),
        (
            lambda folder: (folder / 'mine-fp16.json').write_text(
                (folder / 'mine-fp16.json').read_text().replace('"source": "', '"source": "0')
            ),
            'source is 0',
        ),
    ],
)
def test_a_damaged_or_foreign_fp16_file_is_made_anew(store, load, restoring, spoil, why):
    store.add(restoring())
    load('fp16')
    spoil(store.built())
    network, said = load('fp16')
    assert network.precision is Precision.FP16
    assert len(said) == 1
    assert said[0].startswith('mine: making its fp16 file anew (')
    assert why in said[0]
    assert load('fp16')[1] == []


def test_a_damaged_int8_file_is_refused_with_the_command(store, build, load, restoring):
    build(store.add(restoring()), 'int8')
    (store.built() / 'mine-int8-onnxruntime.onnx').write_bytes(b'')
    with pytest.raises(EngineError, match=r'the int8 file of mine does not fit \(sha256 of .*\): make it with `face'):
        load('int8')


def test_what_another_version_made_is_measured_and_used(store, build, load, restoring):
    build(store.add(restoring()), 'int8')
    sidecar = store.built() / 'mine-int8-onnxruntime.json'
    stored = json.loads(sidecar.read_text())
    stored['recipe']['version'] = '0.0.1'
    sidecar.write_text(json.dumps(stored))
    assert load('int8')[0].precision is Precision.INT8


def test_a_precision_that_no_engine_loads_falls_back(store, load, monkeypatch, restoring):
    store.add(restoring())
    load('fp16')

    def refuse(*_):
        raise EngineError('no room')

    monkeypatch.setattr(Network, 'reduced', refuse)
    network, said = load('fp16')
    assert network.precision is Precision.FP32
    assert said == ['mine fp16 cannot be loaded (no room): fp32 is used instead']


def test_int8_with_eyes_and_lips_kept_is_one_engine(store, build, load, restoring):
    made = build(store.add(restoring()), 'int8_keep_regions')
    assert list(made.files) == [
        'mine-int8_keep_regions-onnxruntime.onnx',
        'mine-int8_keep_regions-onnxruntime-detail.onnx',
    ]
    network, said = load('int8_keep_regions')
    assert said == []
    assert network.precision is Precision.INT8_KEEP_REGIONS
    assert isinstance(network.engine, RegionEngine)
    stored = json.loads((store.built() / 'mine-int8_keep_regions-onnxruntime.parity.json').read_text())
    assert stored['limits'].keys() == {
        'skin_shift_lab',
        'skin_mean_de2000',
        'skin_p95_de2000',
        'eyes_and_lips_p95_de2000',
    }
    assert stored['measured']['eyes_and_lips_p95_de2000'] < stored['measured']['skin_p95_de2000']


def test_a_true_restorer_keeps_its_eyes_and_lips(store, build):
    entry = store.add(Restorer().model())
    network = Network(store.folder / entry.file, entry, EngineSettings())
    apart = {}
    for precision in ('int8', 'int8_keep_regions'):
        made = build(entry, precision, count=2)
        engine, whole = network.reduced(made), network.whole()
        # Of plain int8 the same regions are measured.
        apart[precision] = yardstick(entry, template_landmarks(entry, (256, 256))).measure(whole, engine)
        engine.close()
        whole.close()
    plain, kept = (apart[name]['eyes_and_lips_p95_de2000'] for name in ('int8', 'int8_keep_regions'))
    assert kept < 0.6 * plain
    assert apart['int8_keep_regions']['skin_p95_de2000'] <= apart['int8']['skin_p95_de2000']


def test_precisions_that_there_are_not(store, load, restoring):
    store.add(restoring())
    with pytest.raises(EngineError, match=r"no precision 'fp8': choose from fp32, fp16, int8, int8_keep_regions"):
        load('fp8')
    with pytest.raises(EngineError, match='is a enhancer'):
        load('fp16', Role.SWAPPER)


def test_without_room_for_fp16_the_line_says_so(store, load, monkeypatch, restoring):
    store.add(restoring())

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(artefacts, 'atomic_write', full)
    with pytest.raises(EngineError, match=r'fp16 file of mine cannot be written \(No space left on device\): use fp32'):
        load('fp16')


@pytest.mark.parametrize(
    ('chain', 'providers', 'kernels'),
    [
        (('tensorrt', 'onnxruntime'), ('cpu',), 'tensorrt'),
        (('onnxruntime',), ('tensorrt', 'cuda', 'cpu'), 'tensorrt'),
        (('onnxruntime',), ('TensorrtExecutionProvider',), 'tensorrt'),
        (('onnxruntime', 'tensorrt'), ('cpu',), 'onnxruntime'),
        (('onnxruntime',), ('openvino', 'cpu'), 'onnxruntime'),
    ],
)
def test_the_kernels_are_those_of_the_first_engine(store, restoring, chain, providers, kernels):
    entry = store.add(restoring())
    settings = EngineSettings(chain=chain, onnxruntime=OrtSettings(providers=providers))
    assert Network(store.folder / entry.file, entry, settings).kernels.value == kernels


# With TensorRT


class FakeCuda(fake_tensorrt.FakeCuda):
    def close(self):
        pass


@pytest.fixture
def gpu(monkeypatch):
    """A runtime without a GPU behind the native engine."""

    def no_kernels(*_):
        raise EngineError('no compiler')

    cuda = FakeCuda()
    refusals = fake_tensorrt.Refusals()
    monkeypatch.setattr(launch, 'compile_kernels', no_kernels)
    monkeypatch.setattr(chain, 'open_cuda', lambda _device: cuda)
    monkeypatch.setattr(chain, '_gpus', {})
    monkeypatch.setattr(trt_build, 'missing_cuda', lambda: '')
    monkeypatch.setitem(sys.modules, 'tensorrt', fake_tensorrt.tensorrt(cuda, refusals, eleven=False))
    return refusals


def test_an_engine_of_tensorrt_is_built_once_and_compared_on_its_own(store, gpu):
    store.add('arcface')
    settings = EngineSettings(chain=('tensorrt', 'onnxruntime'), pool_bytes=1 << 22)
    network = load_stored('mine', Role.RECOGNITION, settings, precision='fp16')
    assert network.precision is Precision.FP16
    assert network.engine.provider.startswith('TensorRT 10')
    network.engine.close()
    parity = json.loads((store.built() / 'mine-fp16.parity.json').read_text())
    assert parity['provider'].startswith('TensorRT 10')
    assert parity['passed'] is True
    sidecars = [json.loads(file.read_text()) for file in (store.built() / 'tensorrt').glob('*.json')]
    assert sorted(each['precision'] for each in sidecars) == ['fp16', 'fp32']
    assert gpu.builds == 2
    load_stored('mine', Role.RECOGNITION, settings, precision='fp16').engine.close()
    assert gpu.builds == 2
    # What was found with TensorRT says nothing of ONNX Runtime.
    load_stored('mine', Role.RECOGNITION, precision='fp16').engine.close()
    assert json.loads((store.built() / 'mine-fp16.parity.json').read_text())['provider'] == 'CPUExecutionProvider'


def test_the_progress_of_a_build_is_told(store, gpu):
    entry = store.add('arcface')
    told = []

    def progress(phase, done, total):
        told.append((phase, done, total))
        return True

    settings = EngineSettings(chain=('tensorrt',), pool_bytes=1 << 22)
    Network(store.folder / entry.file, entry, settings, progress).whole().close()
    assert told
    assert gpu.builds == 1
