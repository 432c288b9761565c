"""TensorRT's engine on a runtime without a GPU: results, buffers, graphs, the cache, and what goes wrong."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facefusion_ros.engines import trt_build
from facefusion_ros.engines.cuda import DevicePool
from facefusion_ros.engines.engine import DeviceMemoryError, EngineError
from facefusion_ros.engines.trt import Scratch, TensorRtEngine, TensorRtSettings
from facefusion_ros.engines.trt_build import BuildSettings
from facefusion_ros.engines.trt_cache import atomic_write

_spec = importlib.util.spec_from_file_location('fake_tensorrt', Path(__file__).with_name('fake_tensorrt.py'))
fake_tensorrt = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_tensorrt)
FakeCuda, Refusals, tensorrt = fake_tensorrt.FakeCuda, fake_tensorrt.Refusals, fake_tensorrt.tensorrt


def save(path, *, batch=1, factor=2.0, kind=TensorProto.FLOAT):
    """A network of two inputs and two outputs: twice a plus b, and the mean of a."""
    shape = [batch, 3, 4, 5]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constant = onnx.numpy_helper.from_array(np.array(factor, dtype), 'factor')
    nodes = [
        helper.make_node('Mul', ['a', 'factor'], ['scaled']),
        helper.make_node('Add', ['scaled', 'b'], ['sum']),
        helper.make_node('GlobalAveragePool', ['a'], ['mean']),
    ]
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name in ('a', 'b')]
    outputs = [
        helper.make_tensor_value_info('sum', kind, shape),
        helper.make_tensor_value_info('mean', kind, [batch, 3, 1, 1]),
    ]
    graph = helper.make_graph(nodes, 'net', inputs, outputs, [constant])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    return path


class Machine:
    """A GPU with TensorRT on it, and a network in a file."""

    def __init__(self, folder, monkeypatch, *, eleven=False, **gpu):
        self.monkeypatch = monkeypatch
        self.cuda = FakeCuda(**gpu)
        self.refusals = Refusals()
        self.pool = DevicePool(self.cuda, 1 << 16)
        self.path = save(folder / 'net.onnx')
        self.cache = folder / 'cache'
        self.install(eleven=eleven)

    def install(self, *, eleven=False, version=''):
        self.module = tensorrt(self.cuda, self.refusals, eleven=eleven, version=version)
        self.monkeypatch.setitem(sys.modules, 'tensorrt', self.module)

    def engine(self, *, settings=None, **options):
        return TensorRtEngine(
            self.path, self.cuda, self.pool, settings or TensorRtSettings(cache=self.cache), **options
        )


@pytest.fixture(params=[False, True], ids=['ten', 'eleven'])
def machine(request, tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch, eleven=request.param)
    yield made
    made.pool.close()
    assert made.cuda.left() == 0
    assert made.cuda.depth == 0


@pytest.fixture
def ten(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.pool.close()
    assert made.cuda.left() == 0


def values(seed=0, shape=(1, 3, 4, 5), dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-1, 1, shape).astype(dtype) for name in ('a', 'b')}


def check_runs(engine, seed=0, dtype=np.float32):
    given = values(seed, dtype=dtype)
    total, mean = np.zeros((1, 3, 4, 5), dtype), np.zeros((1, 3, 1, 1), dtype)
    engine.run(given, {'sum': total, 'mean': mean})
    np.testing.assert_allclose(total, 2 * given['a'] + given['b'], rtol=1e-2 if dtype == np.float16 else 1e-6)
    np.testing.assert_allclose(mean, given['a'].mean((2, 3), keepdims=True), rtol=1e-2, atol=1e-3)


def told(caplog):
    return '\n'.join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


class TestRun:
    def test_gives_the_networks_results_run_after_run(self, machine):
        engine = machine.engine()
        assert [(spec.name, spec.shape, spec.dtype) for spec in engine.inputs] == [
            ('a', (1, 3, 4, 5), np.float32),
            ('b', (1, 3, 4, 5), np.float32),
        ]
        assert [spec.name for spec in engine.outputs] == ['sum', 'mean']
        assert engine.provider == f'TensorRT {machine.module.__version__}'
        for seed in range(5):
            check_runs(engine, seed)
        assert machine.cuda.launched == 4, 'the first run is plain, the others replay a graph'
        engine.close()
        engine.close()

    def test_takes_nothing_more_once_it_is_loaded(self, machine):
        engine = machine.engine()
        engine.warm_up()
        before, free = machine.cuda.allocations, machine.pool.free_bytes
        for seed in range(20):
            check_runs(engine, seed)
        assert (machine.cuda.allocations, machine.pool.free_bytes) == (before, free)
        engine.close()

    def test_is_warm_when_warmed_up(self, machine):
        engine = machine.engine()
        engine.warm_up()
        launched = machine.cuda.launched
        check_runs(engine)
        assert machine.cuda.launched == launched + 1
        engine.close()

    def test_copies_only_the_outputs_that_are_wanted(self, machine):
        engine = machine.engine()
        given = values()
        mean = np.zeros((1, 3, 1, 1), np.float32)
        for _ in range(3):
            machine.cuda.copies = 0
            engine.run(given, {'mean': mean})
            assert machine.cuda.copies == 3
            machine.cuda.copies = 0
            engine.run(given, {})
            assert machine.cuda.copies == 2
            check_runs(engine)
        np.testing.assert_allclose(mean, given['a'].mean((2, 3), keepdims=True), rtol=1e-5)
        engine.close()

    def test_copies_nothing_where_the_device_sees_the_hosts_memory(self, tmp_path, monkeypatch):
        machine = Machine(tmp_path, monkeypatch, integrated=True)
        engine = machine.engine()
        for seed in range(4):
            check_runs(engine, seed)
        assert machine.cuda.copies == 0
        engine.close()
        machine.pool.close()
        assert machine.cuda.left() == 0

    def test_its_own_arrays_are_used_as_they_are(self, machine):
        engine = machine.engine()
        given = values()
        own = {name: engine.pinned(name) for name in ('a', 'b', 'sum')}
        for seed in range(3):
            for name, array in values(seed).items():
                own[name][:] = given[name] = array
            engine.run({'a': own['a'], 'b': own['b']}, {'sum': own['sum']})
            np.testing.assert_allclose(own['sum'], 2 * given['a'] + given['b'], rtol=1e-6)
        engine.close()

    def test_runs_float16(self, machine):
        save(machine.path, kind=TensorProto.FLOAT16)
        engine = machine.engine()
        check_runs(engine, dtype=np.float16)
        engine.close()

    def test_runs_without_a_graph_where_that_is_wanted(self, machine):
        engine = machine.engine(settings=TensorRtSettings(graph=False))
        for seed in range(3):
            check_runs(engine, seed)
        assert machine.cuda.launched == 0
        engine.close()

    def test_runs_without_a_graph_where_the_network_does_not_allow_one(self, machine, caplog):
        machine.refusals.capture = True
        engine = machine.engine()
        for seed in range(4):
            check_runs(engine, seed)
        assert machine.cuda.launched == 0
        assert told(caplog).count('runs without a CUDA graph') == 1
        engine.close()

    def test_engines_that_run_in_turn_share_their_scratch(self, machine):
        address = machine.pool.take(8192, 'scratch')
        free = machine.pool.free_bytes
        shared = [machine.engine(scratch=Scratch(address, 8192)) for _ in range(2)]
        taken = free - machine.pool.free_bytes
        for seed in range(3):
            for engine in shared:
                check_runs(engine, seed)
        for engine in shared:
            engine.close()
        assert machine.pool.free_bytes == free
        small = machine.engine(scratch=Scratch(address, 256))
        assert free - machine.pool.free_bytes > taken / 2, 'one that needs more has its own'
        check_runs(small)
        small.close()
        machine.pool.give_back(address)

    def test_an_open_batch_is_one_unless_said(self, machine):
        save(machine.path, batch='n')
        engine = machine.engine()
        check_runs(engine)
        engine.close()
        settings = TensorRtSettings(shapes={'a': (4, 3, 4, 5), 'b': (4, 3, 4, 5)})
        engine = machine.engine(settings=settings)
        assert engine.outputs[0].shape == (4, 3, 4, 5)
        given = values(shape=(4, 3, 4, 5))
        total = np.zeros((4, 3, 4, 5), np.float32)
        for _ in range(3):
            engine.run(given, {'sum': total})
            np.testing.assert_allclose(total, 2 * given['a'] + given['b'], rtol=1e-6)
        engine.close()


class TestRefusals:
    def test_names_what_is_wrong_with_the_arrays(self, machine):
        engine = machine.engine()
        given = values()
        with pytest.raises(EngineError, match='wants an input b'):
            engine.run({'a': given['a']}, {})
        with pytest.raises(EngineError, match='no tensor c: it has a, b, sum, mean'):
            engine.run({**given, 'c': given['a']}, {})
        with pytest.raises(EngineError, match='a is float32 of 1x3x4x5, and not float64 of 1x3x4x5'):
            engine.run({**given, 'a': given['a'].astype(np.float64)}, {})
        with pytest.raises(EngineError, match='sum is float32 of 1x3x4x5, and not float32 of 3x4x5'):
            engine.run(given, {'sum': np.zeros((3, 4, 5), np.float32)})
        check_runs(engine)
        engine.close()

    def test_a_run_that_is_refused_says_why_and_the_next_works(self, machine):
        engine = machine.engine()
        machine.refusals.execute = 'Error Code 1: Cask'
        with pytest.raises(EngineError, match=r'does not run .*net.onnx: Error Code 1: Cask'):
            engine.run(values(), {})
        machine.refusals.execute = ''
        check_runs(engine)
        machine.refusals.execute = 'Error Code 1: Cask'
        with pytest.raises(EngineError, match='Cask'):
            engine.run(values(), {'mean': np.zeros((1, 3, 1, 1), np.float32)})
        engine.close()

    def test_is_of_no_use_once_closed(self, machine):
        engine = machine.engine()
        engine.close()
        for use in (engine.warm_up, lambda: engine.run(values(), {})):
            with pytest.raises(EngineError, match='is closed'):
                use()

    def test_a_missing_file(self, machine):
        machine.path = machine.path.with_name('other.onnx')
        with pytest.raises(EngineError, match=r'other\.onnx cannot be read: No such file'):
            machine.engine()

    def test_a_file_that_is_no_network(self, machine):
        machine.path.write_bytes(b'not a network')
        with pytest.raises(EngineError, match=r'does not take .*net.onnx .* Failed to parse'):
            machine.engine()

    def test_shapes_that_do_not_fit(self, machine):
        settings = TensorRtSettings(shapes={'a': (1, 3, 9, 5)})
        with pytest.raises(EngineError, match='input a of shape 1x3x4x5: give a shape that fits'):
            machine.engine(settings=settings)

    def test_numbers_that_numpy_has_not(self, machine):
        machine.refusals.dtypes['sum'] = machine.module.DataType.BF16
        with pytest.raises(EngineError, match=r'sum is DataType\.BF16, which numpy has not'):
            machine.engine()

    def test_a_pool_that_is_too_small(self, machine):
        machine.pool.close()
        machine.pool = DevicePool(machine.cuda, 5376)
        with pytest.raises(DeviceMemoryError, match=r'b of net\.onnx takes 1 KiB'):
            machine.engine()

    def test_device_memory_that_ran_out_in_tensorrt(self, machine):
        machine.refusals.deserialize = 'Requested amount of GPU memory could not be allocated. OutOfMemory'
        with pytest.raises(DeviceMemoryError, match='no memory left'):
            machine.engine()

    def test_a_tensorrt_of_before_ten(self, machine):
        del machine.module.IExecutionContext.set_device_memory
        with pytest.raises(EngineError, match='too old, 10 is the oldest'):
            machine.engine()

    @pytest.mark.parametrize(
        ('error', 'words'),
        [
            (ModuleNotFoundError("No module named 'tensorrt'", name='tensorrt'), 'is not installed'),
            (ImportError('libnvdla_compiler.so: cannot open shared object file'), 'made for an older JetPack'),
            (ImportError('libnvinfer.so.10: cannot open shared object file'), 'does not load .*libnvinfer'),
        ],
    )
    def test_says_what_to_install(self, monkeypatch, error, words):
        def fail(_):
            raise error

        monkeypatch.setattr(trt_build, 'import_module', fail)
        with pytest.raises(EngineError, match=words):
            trt_build.load_tensorrt()
        monkeypatch.setattr(trt_build, 'missing_cuda', lambda: '')
        assert '\n' not in trt_build.missing()

    def test_asks_for_the_driver_before_tensorrt_is_touched(self, monkeypatch):
        monkeypatch.setattr(trt_build, 'missing_cuda', lambda: 'no NVIDIA driver')
        monkeypatch.setitem(sys.modules, 'tensorrt', None)
        assert trt_build.missing() == 'no NVIDIA driver'


class TestBuild:
    def test_keeps_the_files_own_precision(self, machine):
        settings = TensorRtSettings(cache=machine.cache, build=BuildSettings(precision='fp16'))
        machine.engine(settings=settings).close()
        assert machine.refusals.flags == set()
        assert json.loads(next(machine.cache.glob('*.json')).read_text())['built_with_typing'] == 'strong'

    @pytest.mark.parametrize(('precision', 'flags'), [('fp32', set()), ('fp16', {'FP16'}), ('int8', {'FP16', 'INT8'})])
    def test_falls_back_to_weak_typing_where_there_is_one(self, ten, caplog, precision, flags):
        ten.refusals.strong = 'no strongly typed InstanceNormalization'
        settings = TensorRtSettings(cache=ten.cache, build=BuildSettings(precision=precision))
        engine = ten.engine(settings=settings)
        check_runs(engine)
        engine.close()
        assert ten.refusals.flags == flags
        assert 'no strongly typed InstanceNormalization; trying with weak typing' in told(caplog)
        assert json.loads(next(ten.cache.glob('*.json')).read_text())['built_with_typing'] == 'weak'

    def test_does_not_where_there_is_none(self, tmp_path, monkeypatch):
        machine = Machine(tmp_path, monkeypatch, eleven=True)
        machine.refusals.strong = 'Mul of HALF and FLOAT'
        with pytest.raises(EngineError, match=r'strong typing\): Mul of HALF and FLOAT'):
            machine.engine()
        with pytest.raises(EngineError, match='has no weak typing'):
            machine.engine(settings=TensorRtSettings(build=BuildSettings(typing='weak')))

    def test_nor_where_strong_typing_was_asked_for(self, ten):
        ten.refusals.strong = 'Mul of HALF and FLOAT'
        with pytest.raises(EngineError, match='Mul of HALF and FLOAT'):
            ten.engine(settings=TensorRtSettings(build=BuildSettings(typing='strong')))
        assert ten.refusals.builds == 0

    def test_tells_its_progress(self, machine):
        seen = []
        machine.engine(progress=lambda *step: seen.append(step) or True).close()
        assert seen == [('Tactics', 1, 3), ('Tactics', 2, 3), ('Tactics', 3, 3)]

    def test_can_be_given_up(self, machine):
        with pytest.raises(EngineError, match='given up: it was asked to stop'):
            machine.engine(progress=lambda *_: False)
        with pytest.raises(EngineError, match='given up: its progress could not be told: division'):
            machine.engine(progress=lambda *_: 1 / 0)
        machine.engine(progress=lambda *_: True).close()

    def test_learns_from_earlier_builds(self, machine):
        machine.engine().close()
        assert machine.refusals.timing_taken == b''
        save(machine.path, factor=3.0)
        machine.engine().close()
        assert machine.refusals.timing_taken == b'measured'

    @pytest.mark.parametrize('content', [b'damaged', b'foreign'])
    def test_does_without_measurements_that_do_not_fit(self, machine, content):
        machine.engine().close()
        next(machine.cache.glob('timing-*')).write_bytes(content)
        save(machine.path, factor=3.0)
        machine.engine().close()
        assert machine.refusals.timing_taken == b''


class TestCache:
    def test_builds_once(self, machine, caplog):
        for _ in range(3):
            engine = machine.engine()
            check_runs(engine)
            engine.close()
        assert machine.refusals.builds == 1
        assert told(caplog) == ''

    def test_the_sidecar_can_be_read(self, machine):
        machine.engine().close()
        plan = next(machine.cache.glob('*.plan'))
        sidecar = json.loads(plan.with_suffix('.json').read_text())
        assert plan.name.startswith('net-')
        assert sidecar['tensorrt'] == machine.module.__version__
        assert (sidecar['gpu'], sidecar['compute_capability']) == ('Fake Orin', '8.7')
        assert (sidecar['precision'], sidecar['bytes']) == ('fp32', plan.stat().st_size)

    @pytest.mark.parametrize(
        ('change', 'words'),
        [
            (lambda m: m.install(version='10.7.0'), 'tensorrt is 10.3.0, and here it is 10.7.0'),
            (lambda m: rename(m, 'Fake Thor'), 'gpu is Fake Orin, and here it is Fake Thor'),
            (lambda m: spoil(m, lambda plan: plan[:-3]), 'sha256 is not that of its bytes'),
            (lambda m: spoil(m, lambda plan: plan[:-1] + bytes([plan[-1] ^ 1])), 'sha256 is not that of its bytes'),
            (lambda m: edit(m, '{'), 'cannot be read'),
            (lambda m: edit(m, '[]'), 'its sidecar holds no fields'),
            (lambda m: edit(m, '{}'), 'model is None'),
            (lambda m: next(m.cache.glob('*.json')).unlink(), r'has lost net-.*\.json'),
        ],
    )
    def test_builds_anew_and_says_what_differs(self, ten, caplog, change, words):
        ten.engine().close()
        change(ten)
        caplog.clear()
        engine = ten.engine()
        check_runs(engine)
        engine.close()
        assert ten.refusals.builds == 2
        assert re.search(words, told(caplog)), told(caplog)
        assert 'building it anew' in told(caplog)
        caplog.clear()
        ten.engine().close()
        assert (ten.refusals.builds, told(caplog)) == (2, '')
        assert len(list(ten.cache.glob('*.plan'))) == 1

    def test_builds_anew_what_tensorrt_refuses(self, ten, caplog):
        ten.engine().close()
        original = ten.module.Runtime.deserialize_cuda_engine
        answers = iter([None])

        def once(runtime, plan):
            return next(answers, original(runtime, plan))

        ten.monkeypatch.setattr(ten.module.Runtime, 'deserialize_cuda_engine', once)
        ten.engine().close()
        assert ten.refusals.builds == 2
        assert 'refuses the kept engine' in told(caplog)

    def test_another_file_or_precision_has_its_own(self, ten, caplog):
        ten.engine().close()
        ten.engine(settings=TensorRtSettings(cache=ten.cache, build=BuildSettings(precision='fp16'))).close()
        save(ten.path, factor=3.0)
        ten.engine().close()
        assert len(list(ten.cache.glob('*.plan'))) == 3
        assert told(caplog) == ''

    def test_runs_where_nothing_can_be_kept(self, ten, caplog):
        ten.cache.write_text('a file where the folder should be')
        engine = ten.engine()
        check_runs(engine)
        engine.close()
        assert 'cannot be kept' in told(caplog)

    def test_a_write_that_fails_leaves_what_was_there(self, tmp_path, monkeypatch):
        target = tmp_path / 'x.plan'
        atomic_write(target, b'old')

        def full(_):
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(os, 'fsync', full)
        with pytest.raises(OSError, match='No space left'):
            atomic_write(target, b'new')
        assert target.read_bytes() == b'old'
        assert [path.name for path in tmp_path.iterdir()] == ['x.plan']

    def test_a_stop_between_plan_and_sidecar_costs_a_build_only(self, ten, caplog):
        ten.engine().close()
        sidecar = next(ten.cache.glob('*.json')).read_bytes()
        ten.install(version='10.7.0')
        ten.engine().close()
        next(ten.cache.glob('*.json')).write_bytes(sidecar)
        caplog.clear()
        engine = ten.engine()
        check_runs(engine)
        engine.close()
        assert 'tensorrt is 10.3.0' in told(caplog)


def rename(machine, name):
    machine.cuda.device = FakeCuda(name=name).device


def spoil(machine, change):
    plan = next(machine.cache.glob('*.plan'))
    plan.write_bytes(change(plan.read_bytes()))


def edit(machine, text):
    next(machine.cache.glob('*.json')).write_text(text)


def test_the_cache_is_a_folder_of_nothing_but_engines(ten):
    ten.engine().close()
    assert {path.suffix for path in ten.cache.iterdir()} == {'.plan', '.json', '.cache'}
