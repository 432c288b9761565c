import importlib.util
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facefusion_ros.engines import chain, trt_build
from facefusion_ros.engines.chain import EngineSettings, frame_maps, load_engine
from facefusion_ros.engines.device import device_of
from facefusion_ros.engines.engine import DeviceMemoryError, EngineError
from facefusion_ros.engines.kernels import launch
from facefusion_ros.engines.ort import OrtEngine, OrtSettings
from facefusion_ros.errors import SettingError

_spec = importlib.util.spec_from_file_location('fake_tensorrt', Path(__file__).with_name('fake_tensorrt.py'))
fake_tensorrt = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_tensorrt)


class FakeCuda(fake_tensorrt.FakeCuda):
    closed = False
    refuse_copies = False

    def copy_in(self, address, host, stream):
        if self.refuse_copies:
            raise DeviceMemoryError('the GPU has no memory left')
        super().copy_in(address, host, stream)

    def close(self):
        self.closed = True


def lines(caplog):
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING]


class SmallDevice(OrtEngine):
    """The true engine on a device whose memory is full from a given run on; no such device is at hand."""

    def __init__(self, path, runs):
        super().__init__(path)
        self.left = runs
        self.closed = False

    def _execute(self, binding):
        if not self.left:
            raise DeviceMemoryError('the small device is full: close other networks')
        self.left -= 1
        super()._execute(binding)

    def close(self):
        self.closed = True
        super().close()


@pytest.fixture
def device(monkeypatch):
    """Engines ``small`` with the number of runs that their device has room for."""
    state = SimpleNamespace(runs=0, made=[])

    def make(network):
        state.made.append(SmallDevice(network.path, state.runs))
        return state.made[-1]

    monkeypatch.setitem(chain.ENGINES, 'small', make)
    return state


@pytest.fixture
def picture():
    return {'x': np.ones((1, 3, 8, 8), np.float32)}, {'y': np.zeros((1, 3, 8, 8), np.float32)}


def test_the_first_that_can_be_had(nets, saved, caplog, picture):
    engine = load_engine(saved(nets.blur()))
    assert engine.provider == 'CPUExecutionProvider'
    assert [each.name for each in (*engine.inputs, *engine.outputs)] == ['x', 'y']
    engine.warm_up()
    engine.run(*picture)
    assert picture[1]['y'].max() == 9
    assert lines(caplog) == []


def test_without_a_gpu_the_next_engine_runs(nets, saved, caplog, picture):
    path = saved(nets.blur())
    engine = load_engine(path, EngineSettings(chain=('tensorrt', 'onnxruntime')))
    engine.run(*picture)
    assert picture[1]['y'].max() == 9
    (line,) = lines(caplog)
    assert line.startswith(f'{path.name}: going on with onnxruntime in place of tensorrt (')
    assert '\n' not in line


def test_with_none_left_all_reasons_are_told(nets, saved):
    settings = EngineSettings(('tensorrt', 'onnxruntime'), OrtSettings(providers=('cuda',)))
    with pytest.raises(
        EngineError, match=r'^no engine runs .*net0\.onnx: tensorrt: .*; onnxruntime: .*provider cuda is not'
    ):
        load_engine(saved(nets.blur()), settings)


def test_a_bad_file_is_told_as_its_only_engine_tells_it(tmp_path):
    with pytest.raises(EngineError, match=r'^.*gone\.onnx cannot be read'):
        load_engine(tmp_path / 'gone.onnx')


def test_memory_that_runs_out_at_the_first_run(nets, saved, caplog, device, picture):
    engine = load_engine(saved(nets.blur()), EngineSettings(('small', 'onnxruntime')))
    assert device.made[0].closed
    assert lines(caplog) == [
        'net0.onnx: going on with onnxruntime in place of small (the small device is full: close other networks)'
    ]
    engine.run(*picture)
    assert picture[1]['y'].max() == 9


def test_memory_that_runs_out_later(nets, saved, caplog, device, picture):
    device.runs = 3
    engine = load_engine(saved(nets.blur()), EngineSettings(('small', 'onnxruntime')))
    for value in (1, 2, 3, 4, 5):
        picture[0]['x'][:] = value
        engine.run(*picture)
        assert picture[1]['y'].max() == 9 * value
        assert device.made[0].closed == (value > 2)
    assert len(device.made) == len(lines(caplog)) == 1


def test_memory_that_runs_out_at_warming_up(nets, saved, device, picture):
    device.runs = 1
    engine = load_engine(saved(nets.blur()), EngineSettings(('small', 'onnxruntime')))
    engine.warm_up()
    assert device.made[0].closed
    engine.run(*picture)
    assert picture[1]['y'].max() == 9


def test_the_last_engine_stays_when_memory_runs_out(nets, saved, device, picture):
    device.runs = 1
    engine = load_engine(saved(nets.blur()), EngineSettings(('small',)))
    with pytest.raises(DeviceMemoryError, match='the small device is full'):
        engine.run(*picture)
    device.made[0].left = 1
    engine.run(*picture)
    assert picture[1]['y'].max() == 9


def test_wrong_arrays_are_no_reason_to_change(nets, saved, device):
    device.runs = 9
    engine = load_engine(saved(nets.blur()), EngineSettings(('small', 'onnxruntime')))
    with pytest.raises(EngineError, match='input x is missing'):
        engine.run({}, {})
    assert not device.made[0].closed


def test_open_shapes_are_not_tried_at_loading(nets, saved, device):
    load_engine(saved(nets.blur((1, 3, 'h', 'w'))), EngineSettings(('small', 'onnxruntime')))
    assert not device.made[0].closed


def test_closed(nets, saved, picture):
    engine = load_engine(saved(nets.blur()))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match='is closed'):
        engine.run(*picture)


def test_settings_that_cannot_be():
    with pytest.raises(SettingError, match=r"^chain must be of tensorrt, onnxruntime, not \('gpu',\)$"):
        EngineSettings(('gpu',))
    with pytest.raises(SettingError, match=r'^chain must name at least one engine, such as onnxruntime, not \(\)$'):
        EngineSettings(())


class TestGpu:
    """The native engine in the chain, on a runtime without a GPU."""

    BOTH = EngineSettings(('tensorrt', 'onnxruntime'), pool_bytes=1 << 20)

    @pytest.fixture
    def gpu(self, monkeypatch, tmp_path):
        gpu = SimpleNamespace(cuda=FakeCuda(), opened=0)
        cubin = tmp_path / 'kernels.cubin'
        cubin.write_bytes(b'')
        monkeypatch.setattr(launch, 'compile_kernels', lambda *_: cubin)

        def open_cuda(_device):
            gpu.opened += 1
            return gpu.cuda

        monkeypatch.setattr(chain, 'open_cuda', open_cuda)
        monkeypatch.setattr(chain, '_gpus', {})
        monkeypatch.setattr(trt_build, 'missing_cuda', lambda: '')
        module = fake_tensorrt.tensorrt(gpu.cuda, fake_tensorrt.Refusals(), eleven=False)
        monkeypatch.setitem(sys.modules, 'tensorrt', module)
        return gpu

    def test_networks_share_one_context_and_one_pool(self, nets, saved, gpu, picture, caplog):
        engines = [load_engine(saved(nets.blur()), self.BOTH) for _ in range(3)]
        for engine in engines:
            assert engine.provider.startswith('TensorRT 10')
            picture[1]['y'][:] = 0
            engine.run(*picture)
            assert picture[1]['y'].max() == 9
        assert gpu.opened == 1
        assert not [line for line in lines(caplog) if 'in place of' in line]
        for engine in engines:
            engine.close()
        pool = chain._gpus[0].pool
        assert pool.free_bytes == pool.size

    def test_a_network_takes_frames_on_the_gpu_for_as_long_as_it_runs_there(self, nets, saved, gpu, picture):
        assert frame_maps() == ()
        engine = load_engine(saved(nets.blur()), self.BOTH)
        device = device_of(engine)
        assert device.cuda is gpu.cuda
        assert device.frames.map in frame_maps()
        assert device.device_input('x').shape == engine.inputs[0].shape
        gpu.cuda.refuse_copies = True
        engine.run(*picture)
        assert engine.provider == 'CPUExecutionProvider'
        assert device_of(engine) is None
        engine.close()

    def test_without_a_compiler_the_cpu_crops_the_frames(self, nets, saved, gpu, monkeypatch, caplog):
        def compile_kernels(*_):
            raise EngineError('nvcc is not on this machine')

        monkeypatch.setattr(launch, 'compile_kernels', compile_kernels)
        engine = load_engine(saved(nets.blur()), self.BOTH)
        assert engine.provider.startswith('TensorRT 10')
        assert device_of(engine) is None
        assert frame_maps() == ()
        assert lines(caplog) == ['the CPU crops the frames for the networks: nvcc is not on this machine']
        engine.close()
        assert gpu.opened == 1

    @pytest.mark.usefixtures('gpu')
    def test_a_pool_that_is_full(self, nets, saved, caplog):
        small = EngineSettings(('tensorrt', 'onnxruntime'), pool_bytes=1 << 10)
        engine = load_engine(saved(nets.blur((1, 3, 64, 64))), small)
        assert engine.provider == 'CPUExecutionProvider'
        (line,) = [line for line in lines(caplog) if 'in place of' in line]
        assert 'going on with onnxruntime in place of tensorrt' in line
        assert 'make the pool larger' in line

    def test_a_device_without_room_for_the_pool(self, nets, saved, gpu):
        gpu.cuda.room = 100
        assert load_engine(saved(nets.blur()), self.BOTH).provider == 'CPUExecutionProvider'
        assert gpu.cuda.closed
        assert chain._gpus == {}

    def test_a_gpu_without_tensorrt(self, nets, saved, gpu, monkeypatch, caplog):
        monkeypatch.setitem(sys.modules, 'tensorrt', None)
        assert load_engine(saved(nets.blur()), self.BOTH).provider == 'CPUExecutionProvider'
        assert gpu.cuda.closed
        assert chain._gpus == {}
        (line,) = [line for line in lines(caplog) if 'in place of' in line]
        assert 'TensorRT' in line
