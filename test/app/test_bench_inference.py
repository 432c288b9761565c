import itertools
import mmap

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from facefusion_ros.app.bench.architectures import ARCHITECTURES
from facefusion_ros.app.bench.inference import inference, steady
from facefusion_ros.app.bench.networks import NETWORKS, write_network
from facefusion_ros.errors import FacefusionError
from facefusion_ros.models.entry import Role


@pytest.fixture
def no_starts(monkeypatch):
    monkeypatch.setattr('facefusion_ros.app.bench.inference._starts', lambda *_: {})


def test_every_role_has_a_network():
    assert NETWORKS.keys() == set(Role)


@pytest.mark.parametrize('role', Role)
def test_a_network_is_sound_and_always_the_same(role, tmp_path):
    path = write_network(role, tmp_path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    first = path.read_bytes()
    assert write_network(role, tmp_path).read_bytes() == first
    assert write_network(role, tmp_path, seed=1).read_bytes() != first
    session = onnxruntime.InferenceSession(path)
    random = np.random.default_rng(0)
    feeds = [{each.name: random.random(each.shape, np.float32) for each in session.get_inputs()} for _ in range(2)]
    results = [session.run(None, each) for each in feeds]
    for one, other in zip(*results, strict=True):
        # It answers to what it is shown, with numbers of a sensible size.
        assert np.isfinite(one).all()
        assert 1e-3 < np.abs(one).max() < 1e3
        assert np.abs(one - other).max() > 1e-4


def test_the_engine_beside_a_plain_loop(tmp_path):
    result = inference(11, [write_network(Role.LANDMARKS, tmp_path)], 200)
    assert list(result['networks']) == ['landmarks']
    row = result['networks']['landmarks']
    assert row['frames'] == 12  # a whole number of turns
    assert row['inputs'] == {'input': [1, 3, 112, 112]}
    for way in ('engine', 'loop'):
        assert 0.0 < row[way]['p50'] <= row[way]['p99']
        assert row[way]['throughput_hz'] > 0.0
        assert row[way]['cpu_ms'] > 0.0
        assert 0.0 < row[way]['loaded_s'] <= row[way]['start_s']
        assert row[way]['peak_rss_mb'] > 10.0
    assert row['ratio_p50'] == pytest.approx(row['loop']['p50'] / row['engine']['p50'], rel=0.02)
    assert row['largest_difference'] < 1e-5
    _check_steady(row['steady'], 200)


def _check_steady(told, runs):
    assert told['runs'] == runs
    assert told['traced_growth'] < 4096
    assert told['traced_peak'] < 8192
    assert told['resident_growth'] < 1 << 20


@pytest.mark.parametrize('role', Role)
@pytest.mark.usefixtures('no_starts')
def test_runs_of_every_role_take_no_memory(role, tmp_path):
    (row,) = inference(2, [write_network(role, tmp_path)], 100)['networks'].values()
    _check_steady(row['steady'], 100)


def test_a_leak_is_seen_and_what_is_taken_once_is_not():
    held = []
    runs = itertools.count(1)

    def take(size_bytes):
        pages = mmap.mmap(-1, size_bytes)
        pages.write(b'1' * size_bytes)
        held.append(pages)

    assert steady(lambda: take(100_000), 100)['resident_growth'] > 5_000_000
    assert steady(lambda: next(runs) == 50 and take(50_000_000), 100)['resident_growth'] < 1 << 20


@pytest.mark.usefixtures('no_starts')
def test_a_slow_network_is_run_less(tmp_path, monkeypatch):
    monkeypatch.setattr('facefusion_ros.app.bench.inference.SLOW_S', 0.0)
    monkeypatch.setattr('facefusion_ros.app.bench.inference.LONGEST_S', 0.0)
    (row,) = inference(100, [write_network(Role.IDENTITY, tmp_path)], 100)['networks'].values()
    assert (row['frames'], row['steady']['runs']) == (4, 4)


@pytest.mark.usefixtures('no_starts')
def test_large_networks_are_written_once(tmp_path, monkeypatch):
    only = {'yolov4_tiny_416': ARCHITECTURES['yolov4_tiny_416']}
    monkeypatch.setattr('facefusion_ros.app.bench.inference.ARCHITECTURES', only)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    for _ in range(2):
        result = inference(1, runs=1, full=True)
        assert list(result['networks']) == ['yolov4_tiny_416-0']
    assert [each.name for each in tmp_path.glob('*/*/*')] == ['yolov4_tiny_416-0.onnx']


def _scaling(path, shape):
    node = helper.make_node('Mul', ['x', 'x'], ['y'])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in 'xy']
    graph = helper.make_graph([node], 'net', values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9), path)
    return path


@pytest.mark.usefixtures('no_starts')
def test_a_file_with_an_open_batch(tmp_path):
    row = inference(1, [_scaling(tmp_path / 'own.onnx', ('n', 3))], runs=1)['networks']['own']
    assert row['inputs'] == {'x': [1, 3]}


def test_a_file_that_cannot_be_measured(tmp_path):
    with pytest.raises(FacefusionError, match='leaves the shape of x open: export it with fixed dimensions'):
        inference(1, [_scaling(tmp_path / 'own.onnx', (1, 'h'))])
    with pytest.raises(FacefusionError, match='cannot be read'):
        inference(1, [tmp_path / 'gone.onnx'])
