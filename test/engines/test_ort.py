import gc
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper

from facefusion_ros.app.bench.inference import steady
from facefusion_ros.engines.engine import DeviceMemoryError, EngineError, TensorSpec
from facefusion_ros.engines.optimised import fingerprint
from facefusion_ros.engines.ort import OrtEngine, OrtSettings, cores
from facefusion_ros.errors import SettingError


def buffers(engine):
    return (
        {each.name: np.zeros(each.shape, each.dtype) for each in engine.inputs},
        {each.name: np.zeros(each.shape, each.dtype) for each in engine.outputs},
    )


def refusal(make):
    with pytest.raises(EngineError) as caught:
        make()
    text = str(caught.value)
    assert '\n' not in text
    return text


class TestRun:
    def test_the_file_says_what_goes_in_and_out(self, nets, saved):
        engine = OrtEngine(saved(nets.mixed()))
        assert engine.provider == 'CPUExecutionProvider'
        assert engine.inputs == (
            TensorSpec('picture', (1, 3, 8, 8), np.dtype(np.float32)),
            TensorSpec('gain', (1, 3, 1, 1), np.dtype(np.float32)),
        )
        assert [(each.name, each.shape) for each in engine.outputs] == [
            ('clipped', (1, 3, 8, 8)),
            ('brightest', (1, 3)),
        ]

    def test_it_writes_into_the_callers_arrays(self, nets, saved):
        engine = OrtEngine(saved(nets.mixed()))
        inputs, outputs = buffers(engine)
        inputs['picture'][:] = np.random.default_rng(1).normal(size=(1, 3, 8, 8))
        inputs['gain'][:] = [[[[1]], [[2]], [[-1]]]]
        engine.run(inputs, outputs)
        wanted = np.maximum(inputs['picture'] * inputs['gain'], 0)
        np.testing.assert_allclose(outputs['clipped'], wanted, rtol=1e-6)
        np.testing.assert_allclose(outputs['brightest'], wanted.max((2, 3)), rtol=1e-6)

    def test_an_output_left_out_is_not_needed(self, nets, saved):
        engine = OrtEngine(saved(nets.mixed()))
        inputs, outputs = buffers(engine)
        inputs['picture'][:] = 3
        inputs['gain'][:] = 2
        engine.run(inputs, {'brightest': outputs['brightest']})
        assert (outputs['brightest'] == 6).all()
        assert (outputs['clipped'] == 0).all()

    def test_other_arrays_are_bound_anew(self, nets, saved):
        engine = OrtEngine(saved(nets.blur()))
        for value in (1, 2, 3):
            inputs, outputs = buffers(engine)
            inputs['x'][:] = value
            engine.run(inputs, outputs)
            assert outputs['y'].max() == 9 * value
            inputs['x'][:] = -value
            engine.run(inputs, outputs)
            assert outputs['y'].min() == -9 * value

    def test_half_floats(self, nets, saved):
        engine = OrtEngine(saved(nets.blur(dtype=np.float16)))
        inputs, outputs = buffers(engine)
        assert inputs['x'].dtype == outputs['y'].dtype == np.float16
        inputs['x'][:] = 0.5
        engine.run(inputs, outputs)
        assert outputs['y'].max() == 4.5

    def test_dimensions_left_open_follow_the_arrays(self, nets, saved):
        engine = OrtEngine(saved(nets.blur(('n', 3, 'h', 'w'), ('n', 3, 'oh', 'ow'))))
        assert engine.inputs[0].shape == engine.outputs[0].shape == (None, 3, None, None)
        for shape in ((1, 3, 4, 6), (2, 3, 5, 5), (1, 3, 4, 6)):
            pixels, sums = np.ones(shape, np.float32), np.zeros(shape, np.float32)
            engine.run({'x': pixels}, {'y': sums})
            assert (sums[:, :, 1:-1, 1:-1] == 9).all()

    def test_shapes_may_be_fixed_by_settings(self, nets, saved):
        path = saved(nets.blur(('n', 3, 'h', 'w'), ('n', 3, 'oh', 'ow')))
        engine = OrtEngine(path, OrtSettings(shapes={'x': (1, 3, 4, 6)}))
        assert engine.inputs[0].shape == engine.outputs[0].shape == (1, 3, 4, 6)
        engine.warm_up()

    def test_warm_up_needs_shapes(self, nets, saved):
        engine = OrtEngine(saved(nets.blur(('n', 3, 8, 8))))
        engine.warm_up()
        engine = OrtEngine(saved(nets.blur((1, 3, 'h', 8))))
        assert 'leaves x open as 1x3x?x8' in refusal(engine.warm_up)

    def test_closed(self, nets, saved):
        engine = OrtEngine(saved(nets.blur()))
        inputs, outputs = buffers(engine)
        engine.run(inputs, outputs)
        engine.close()
        engine.close()
        assert 'is closed' in refusal(lambda: engine.run(inputs, outputs))
        assert 'is closed' in refusal(engine.warm_up)

    def test_engines_do_not_know_of_each_other(self, nets, saved):
        first, second = OrtEngine(saved(nets.blur())), OrtEngine(saved(nets.mixed()))
        inputs, outputs = buffers(first)
        inputs['x'][:] = 1
        first.run(inputs, outputs)
        second.warm_up()
        second.close()
        outputs['y'][:] = 0
        first.run(inputs, outputs)
        assert outputs['y'].max() == 9

    @pytest.mark.parametrize('spin_us', [0, 200, 5000])
    @pytest.mark.parametrize('threads', [0, 1, 2])
    def test_threads_change_nothing_in_the_result(self, nets, saved, spin_us, threads):
        engine = OrtEngine(saved(nets.blur((1, 3, 32, 32))), OrtSettings(threads=threads, spin_us=spin_us))
        inputs, outputs = buffers(engine)
        inputs['x'][:] = np.arange(32)
        engine.run(inputs, outputs)
        assert (outputs['y'][0, :, 5, 1:-1] == 9 * np.arange(1, 31)).all()


def test_nothing_is_allocated_once_the_arrays_are_known(nets, saved):
    engine = OrtEngine(saved(nets.blur((1, 3, 256, 256))))
    inputs, outputs = buffers(engine)
    for _ in range(50):
        engine.run(inputs, outputs)
    told = steady(lambda: engine.run(inputs, outputs), 500)
    # Names and iterators of a call, and nothing of the size of a picture (786 432 bytes) or that adds up over runs.
    assert told['traced_peak'] < 8192
    assert told['traced_growth'] < 4096
    assert told['resident_growth'] < 393_216


@pytest.fixture(scope='module')
def loaded_blur(nets, tmp_path_factory):
    path = tmp_path_factory.mktemp('net') / 'blur.onnx'
    onnx.save(nets.blur(), path)
    return OrtEngine(path)


class TestArrays:
    @pytest.fixture
    def engine(self, nets, saved):
        return OrtEngine(saved(nets.mixed()))

    @pytest.mark.parametrize(
        ('change', 'words'),
        [
            (lambda a: a.inputs.pop('gain'), 'input gain is missing: give all of picture, gain'),
            (lambda a: a.inputs.update(size=a.inputs['gain']), 'there is no input size: the file has picture, gain'),
            (
                lambda a: a.outputs.update(mask=a.outputs['clipped'].copy()),
                'there is no output mask: the file has clipped, brightest',
            ),
            (
                lambda a: a.inputs.update(gain=a.inputs['gain'].astype(np.float64)),
                'input gain is float64: it must be float32',
            ),
            (lambda a: a.outputs.update(brightest=np.zeros((1, 3), np.int32)), 'output brightest is int32'),
            (
                lambda a: a.inputs.update(gain=np.zeros((1, 3), np.float32)),
                'input gain is 1x3: the shape must be 1x3x1x1',
            ),
            (
                lambda a: a.outputs.update(brightest=np.zeros((1, 4), np.float32)),
                'output brightest is 1x4: the shape must',
            ),
            (
                lambda a: a.inputs.update(picture=np.zeros((1, 8, 8, 3), np.float32).transpose(0, 3, 1, 2)),
                'input picture is not C-contiguous',
            ),
            (lambda a: a.outputs['clipped'].setflags(write=False), 'output clipped is read-only'),
            (lambda a: a.outputs.update(clipped=a.inputs['picture']), 'clipped and picture share memory'),
            (lambda a: a.outputs.clear(), 'no output is asked for'),
        ],
    )
    def test_what_does_not_fit_is_refused(self, engine, change, words):
        inputs, outputs = buffers(engine)
        change(SimpleNamespace(inputs=inputs, outputs=outputs))
        assert words in refusal(lambda: engine.run(inputs, outputs))

    def test_a_refusal_leaves_the_engine_as_it_was(self, engine):
        inputs, outputs = buffers(engine)
        inputs['gain'][:] = inputs['picture'][:] = 2
        engine.run(inputs, outputs)
        refusal(lambda: engine.run({**inputs, 'gain': np.zeros(3, np.float32)}, outputs))
        outputs['brightest'][:] = 0
        engine.run(inputs, outputs)
        assert (outputs['brightest'] == 4).all()

    def test_an_output_of_open_shape_must_fit_what_comes_out(self, nets, saved):
        engine = OrtEngine(saved(nets.blur(('n', 3, 'h', 'w'), ('n', 3, 'oh', 'ow'))))
        pixels = np.ones((1, 3, 4, 4), np.float32)
        said = refusal(lambda: engine.run({'x': pixels}, {'y': np.zeros((1, 3, 4, 5), np.float32)}))
        assert 'comes out as 1x3x4x4, its array is 1x3x4x5' in said
        sums = np.zeros_like(pixels)
        engine.run({'x': pixels}, {'y': sums})
        assert sums.max() == 9

    @given(
        shape=arrays.array_shapes(min_dims=3, max_dims=5, max_side=9),
        dtype=st.sampled_from([np.float32, np.float16, np.float64, np.uint8]),
    )
    @settings(max_examples=60, deadline=None)
    def test_only_the_shape_and_type_of_the_file_run(self, loaded_blur, shape, dtype):
        outputs = {'y': np.zeros((1, 3, 8, 8), np.float32)}
        if shape == (1, 3, 8, 8) and dtype is np.float32:
            loaded_blur.run({'x': np.zeros(shape, dtype)}, outputs)
        else:
            refusal(lambda: loaded_blur.run({'x': np.zeros(shape, dtype)}, outputs))


class TestFiles:
    def test_no_file(self, tmp_path):
        said = refusal(lambda: OrtEngine(tmp_path / 'gone.onnx'))
        assert 'gone.onnx cannot be read (No such file or directory)' in said

    @pytest.mark.parametrize(
        ('content', 'words'),
        [
            (b'', 'is empty'),
            (b'\xff\xd8\xff\xe0 a picture' * 9, 'is no ONNX file'),
            (b'<html>404</html>', 'is no ONNX'),
        ],
    )
    def test_no_onnx(self, tmp_path, content, words):
        path = tmp_path / 'net.onnx'
        path.write_bytes(content)
        assert words in refusal(lambda: OrtEngine(path))
        assert words in refusal(lambda: OrtEngine(path, OrtSettings(cache=tmp_path / 'cache')))

    def test_cut_off(self, nets, saved):
        path = saved(nets.blur())
        whole = path.read_bytes()
        for end in range(1, len(whole)):
            path.write_bytes(whole[:end])
            assert str(path) in refusal(lambda: OrtEngine(path))
        path.write_bytes(whole[: len(whole) // 2])
        assert 'is cut off' in refusal(lambda: OrtEngine(path))

    def test_unknown_operator(self, nets, saved):
        model = nets.blur()
        model.graph.node[0].op_type = 'GridBlur'
        assert 'needs the operator GridBlur' in refusal(lambda: OrtEngine(saved(model)))
        model.graph.node[0].domain = 'com.vendor'
        model.opset_import.append(helper.make_opsetid('com.vendor', 1))
        assert 'needs the operator com.vendor:GridBlur' in refusal(lambda: OrtEngine(saved(model)))

    def test_a_type_that_no_provider_has(self, nets, saved):
        assert 'needs Conv for a type of number' in refusal(lambda: OrtEngine(saved(nets.blur(dtype=np.float64))))

    def test_later_onnx(self, nets, saved):
        model = nets.blur()
        model.opset_import[0].version = 999
        assert 'is of a later ONNX' in refusal(lambda: OrtEngine(saved(model)))
        model = nets.blur()
        model.ir_version = 999
        assert 'is of a later ONNX' in refusal(lambda: OrtEngine(saved(model)))

    def test_types_that_numpy_has_not(self, nets, saved):
        model = nets.network(
            [helper.make_node('Identity', ['a'], ['b'])],
            [('a', TensorProto.STRING, (1,))],
            [('b', TensorProto.STRING, (1,))],
        )
        assert 'a is a tensor(string), which numpy has not' in refusal(lambda: OrtEngine(saved(model)))

    @pytest.mark.parametrize('cached', [False, True])
    def test_weights_beside_the_file(self, nets, saved, tmp_path, cached):
        chosen = OrtSettings(cache=tmp_path / 'cache') if cached else None
        path = saved(nets.blur(), save_as_external_data=True, location='weights.bin', size_threshold=0)
        engine = OrtEngine(path, chosen)
        inputs, outputs = buffers(engine)
        inputs['x'][:] = 1
        engine.run(inputs, outputs)
        assert outputs['y'].max() == 9
        assert not list(tmp_path.glob('cache/*'))
        (tmp_path / 'weights.bin').unlink()
        assert 'another file weights.bin, which is not there' in refusal(lambda: OrtEngine(path, chosen))

    @pytest.mark.parametrize(
        ('shape', 'words'),
        [
            ({'z': (1, 3, 8, 8)}, 'there is no input z'),
            ({'x': (1, 4, 8, 8)}, 'x cannot be 1x4x8x8: the file has ?x3x?x?'),
            ({'x': (1, 3, 8)}, 'x cannot be 1x3x8'),
            ({'x': (1, 3, 8, 9)}, 'side of x is both 8 and 9'),
        ],
    )
    def test_shapes_that_the_file_does_not_take(self, nets, saved, shape, words):
        path = saved(nets.blur(('n', 3, 'side', 'side'), ('n', 3, 'side', 'side')))
        assert words in refusal(lambda: OrtEngine(path, OrtSettings(shapes=shape)))

    def test_memory_runs_out(self, nets, saved):
        model = nets.network(
            [helper.make_node('ConstantOfShape', ['size'], ['zeros']), helper.make_node('ReduceMax', ['zeros'], ['y'])],
            [('size', TensorProto.INT64, (1,))],
            [('y', TensorProto.FLOAT, (1,))],
        )
        engine = OrtEngine(saved(model))
        with pytest.raises(DeviceMemoryError, match='memory ran out in a run'):
            engine.run({'size': np.array([1 << 45])}, {'y': np.zeros(1, np.float32)})
        engine.run({'size': np.array([4])}, {'y': np.zeros(1, np.float32)})


class TestProviders:
    """The build these tests run with has the CPU, and a cloud service that runs no node."""

    IDLE = 'AzureExecutionProvider'

    @pytest.mark.parametrize(
        ('name', 'cure'),
        [
            ('tensorrt', 'onnxruntime-gpu'),
            ('cuda', 'onnxruntime-gpu'),
            ('directml', 'onnxruntime-directml'),
            ('openvino', 'onnxruntime-openvino'),
            ('MagicExecutionProvider', 'a build of onnxruntime with MagicExecutionProvider'),
        ],
    )
    def test_one_that_is_not_there(self, nets, saved, name, cure, caplog):
        path = saved(nets.blur())
        said = refusal(lambda: OrtEngine(path, OrtSettings(providers=(name, 'cpu'))))
        assert f'provider {name} is not in this build' in said
        assert cure in said
        engine = OrtEngine(path, OrtSettings(providers=(name, 'cpu'), missing='warn'))
        assert engine.provider == 'CPUExecutionProvider'
        assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [said]

    def test_with_none_left_the_cpu_runs_it(self, nets, saved):
        engine = OrtEngine(saved(nets.blur()), OrtSettings(providers=('cuda',), missing='warn'))
        assert engine.provider == 'CPUExecutionProvider'

    def test_one_that_runs_no_part_of_the_graph(self, nets, saved, caplog):
        path = saved(nets.blur())
        if not hasattr(onnxruntime.InferenceSession, 'get_provider_graph_assignment_info'):
            # Before 1.24 nobody can tell; what loads counts as used, and the log says so.
            with caplog.at_level(logging.INFO):
                engine = OrtEngine(path, OrtSettings(providers=(self.IDLE, 'cpu')))
            assert engine.provider == self.IDLE
            assert f'does not tell which of {self.IDLE} and CPUExecutionProvider runs the graph' in caplog.text
            return
        said = refusal(lambda: OrtEngine(path, OrtSettings(providers=(self.IDLE, 'cpu'))))
        assert f'provider {self.IDLE} runs no part of this graph, it all runs on CPUExecutionProvider' in said
        engine = OrtEngine(path, OrtSettings(providers=(self.IDLE, 'cpu'), missing='warn'))
        assert engine.provider == 'CPUExecutionProvider'
        assert said in caplog.messages

    def test_without_the_cpu_in_the_chain_nothing_runs_there(self, nets, saved):
        said = refusal(lambda: OrtEngine(saved(nets.blur()), OrtSettings(providers=(self.IDLE,))))
        assert 'would run in part on the CPU: put cpu at the end' in said

    @pytest.mark.parametrize(
        'bad',
        [{'providers': ()}, {'missing': 'hope'}, {'spin_us': -1}, {'threads': -1}],
    )
    def test_settings_that_cannot_be(self, bad):
        ((name, value),) = bad.items()
        with pytest.raises(SettingError, match=f'^{name} must .*, not {re.escape(repr(value))}$'):
            OrtSettings(**bad)

    def test_an_unknown_name(self, nets, saved):
        said = refusal(lambda: OrtEngine(saved(nets.blur()), OrtSettings(providers=('gpu',))))
        assert "there is no provider 'gpu': choose from tensorrt, cuda, directml, openvino, cpu" in said

    def test_nothing_is_printed(self, nets, saved, capfd):
        OrtEngine(saved(nets.blur()), OrtSettings(providers=('cuda', 'cpu'), missing='warn'))
        assert capfd.readouterr().out == ''


@pytest.fixture
def one_core():
    """This process on one core only."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    yield
    os.sched_setaffinity(0, usable)


def _threads():
    return len(list(Path('/proc/self/task').iterdir()))


@pytest.mark.usefixtures('one_core')
def test_cores_are_those_of_this_process(nets, saved):
    assert cores() == 1
    gc.collect()
    before = _threads()
    engine = OrtEngine(saved(nets.blur()))
    assert _threads() == before
    engine.close()
    engine = OrtEngine(saved(nets.blur()), OrtSettings(threads=3))
    assert _threads() == before + 2
    engine.close()
    gc.collect()
    assert _threads() == before


def test_there_is_a_core():
    assert 1 <= cores() <= os.cpu_count()


class TestCache:
    def run(self, path, cache, **kwargs):
        engine = OrtEngine(path, OrtSettings(cache=cache, **kwargs))
        inputs, outputs = buffers(engine)
        inputs['x'][:] = np.arange(8)
        engine.run(inputs, outputs)
        return outputs['y']

    @pytest.fixture
    def cache(self, tmp_path):
        return tmp_path / 'cache'

    @pytest.fixture
    def path(self, nets, saved):
        return saved(nets.blur())

    def files(self, cache):
        return sorted(each.suffix for each in cache.iterdir() if each.name != '.lock')

    def test_the_graph_is_kept_and_used(self, path, cache, caplog):
        first = self.run(path, cache)
        assert self.files(cache) == ['.json', '.onnx']
        (kept,) = cache.glob('*.onnx')
        stamp = kept.stat().st_mtime_ns
        np.testing.assert_array_equal(self.run(path, cache), first)
        assert kept.stat().st_mtime_ns == stamp
        # What is read is that graph and not the user's.
        model = onnx.load(kept)
        weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(2 * weights, model.graph.initializer[0].name))
        onnx.save(model, kept)
        sidecar = kept.with_suffix('.json')
        sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), 'sha256': fingerprint(kept)}))
        np.testing.assert_array_equal(self.run(path, cache), 2 * first)
        assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []

    def test_large_weights_are_mapped(self, nets, saved, cache, caplog):
        weights = np.random.default_rng(0).random((256, 512, 1, 1), np.float32)
        path = saved(
            nets.network(
                [onnx.helper.make_node('Conv', ['x', 'w', 'b'], ['y'])],
                [('x', onnx.TensorProto.FLOAT, (1, 512, 1, 1))],
                [('y', onnx.TensorProto.FLOAT, (1, 256, 1, 1))],
                [('w', weights), ('b', np.ones(256, np.float32))],
            )
        )
        x, y = {'x': np.ones((1, 512, 1, 1), np.float32)}, {'y': np.empty((1, 256, 1, 1), np.float32)}
        wanted = weights.sum(axis=1)[None] + 1
        for _ in range(2):
            engine = OrtEngine(path, OrtSettings(cache=cache))
            engine.run(x, y)
            np.testing.assert_allclose(y['y'], wanted, rtol=1e-5)
        assert self.files(cache) == ['.json', '.onnx', '.weights']
        (kept,), (beside,) = cache.glob('*.onnx'), cache.glob('*.weights')
        assert kept.stat().st_size < weights.nbytes <= beside.stat().st_size
        assert beside.name in Path('/proc/self/maps').read_text()
        # Who has them goes on with them when another process replaces them.
        beside.unlink()
        OrtEngine(path, OrtSettings(cache=cache))
        assert 'is incomplete; making it anew' in caplog.text
        engine.run(x, y)
        np.testing.assert_allclose(y['y'], wanted, rtol=1e-5)
        assert self.files(cache) == ['.json', '.onnx', '.weights']

    def test_each_set_of_shapes_has_its_own(self, nets, saved, cache):
        path = saved(nets.blur(('n', 3, 8, 'w'), ('n', 3, 8, 'w')))
        for width in (8, 9, 8, 9):
            engine = OrtEngine(path, OrtSettings(cache=cache, shapes={'x': (1, 3, 8, width)}))
            assert engine.inputs[0].shape == engine.outputs[0].shape == (1, 3, 8, width)
        assert self.files(cache) == ['.json'] * 2 + ['.onnx'] * 2

    def test_another_file_of_the_same_name(self, path, cache):
        first = self.run(path, cache)
        model = onnx.load(path)
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full((3, 1, 3, 3), 2, np.float32), 'w'))
        onnx.save(model, path)
        np.testing.assert_array_equal(self.run(path, cache), 2 * first)

    @pytest.mark.parametrize('field', ['onnxruntime', 'processor', 'model', 'shapes', 'providers'])
    def test_a_stale_graph_is_made_anew(self, path, cache, caplog, field):
        first = self.run(path, cache)
        (sidecar,) = cache.glob('*.json')
        written = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps({**written, field: 'other'}))
        np.testing.assert_array_equal(self.run(path, cache), first)
        (line,) = [each for each in caplog.messages if 'anew' in each]
        assert f'is stale: {field} was other, is {written[field]}; making it anew' in line
        assert json.loads(sidecar.read_text())[field] == written[field]
        assert self.files(cache) == ['.json', '.onnx']

    @pytest.mark.parametrize(
        ('suffix', 'harm', 'word'),
        [
            ('.onnx', lambda file: file.write_bytes(file.read_bytes()[:-10]), 'damaged'),
            ('.onnx', lambda file: file.write_bytes(b''), 'damaged'),
            ('.onnx', lambda file: file.write_bytes(file.read_bytes()[:-1] + b'\x99'), 'damaged'),
            ('.onnx', Path.unlink, 'incomplete'),
            ('.json', Path.unlink, 'incomplete'),
            ('.json', lambda file: file.write_text('{'), 'damaged'),
            ('.json', lambda file: file.write_text('[]'), 'damaged'),
            ('.json', lambda file: file.write_bytes(b'\xff\xfe'), 'damaged'),
        ],
    )
    def test_a_damaged_graph_is_made_anew(self, path, cache, caplog, suffix, harm, word):
        first = self.run(path, cache)
        (file,) = cache.glob(f'*{suffix}')
        harm(file)
        np.testing.assert_array_equal(self.run(path, cache), first)
        (line,) = [each for each in caplog.messages if 'anew' in each]
        assert f'is {word}; making it anew' in line
        caplog.clear()
        self.run(path, cache)
        assert not [each for each in caplog.messages if 'anew' in each]

    def test_a_part_left_by_a_dead_process_goes(self, path, cache):
        cache.mkdir()
        old, young = cache / '.net-1.11.part', cache / '.net-1.12.part'
        for each in (old, young):
            each.write_bytes(b'half')
        os.utime(old, (0, 0))
        self.run(path, cache)
        assert young.exists()
        assert not old.exists()

    def test_a_folder_that_cannot_be_written(self, path, tmp_path, caplog):
        blocked = tmp_path / 'file'
        blocked.write_text('no folder')
        assert self.run(path, blocked).max() > 0
        (line,) = [each for each in caplog.messages if 'cannot keep' in each]
        assert 'Not a directory' in line or 'File exists' in line

    def test_no_space(self, nets, saved, cache):
        """With a limit on the size of files, writing fails as on a full disk; the network runs all the same."""
        big = np.random.default_rng(0).normal(size=(64, 3, 32, 32)).astype(np.float32)
        node = helper.make_node('Conv', ['x', 'w'], ['y'])
        shapes = [('x', TensorProto.FLOAT, (1, 3, 32, 32))], [('y', TensorProto.FLOAT, (1, 64, 1, 1))]
        path = saved(nets.network([node], *shapes, [('w', big)]))
        program = (
            'import logging, resource, signal, sys\n'
            'from pathlib import Path\n'
            'from facefusion_ros.engines.ort import OrtEngine, OrtSettings\n'
            'logging.basicConfig(stream=sys.stdout, format="%(message)s")\n'
            'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
            'resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n'
            f'OrtEngine({str(path)!r}, OrtSettings(cache=Path({str(cache)!r}))).warm_up()\n'
        )
        done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        assert f'{cache} cannot keep an optimised graph of {path.name}' in line
        assert 'make room there or choose another folder' in line
        assert list(cache.iterdir()) == []

    def test_a_digest_that_the_caller_has_is_believed(self, path, cache):
        OrtEngine(path, OrtSettings(cache=cache), sha256='ab' * 32)
        (sidecar,) = cache.glob('*.json')
        assert json.loads(sidecar.read_text())['model'] == 'ab' * 32
