import json

import pytest

from facefusion_ros.app.bench.architectures import ARCHITECTURES
from facefusion_ros.app.bench.roofline import CHAINS, DEVICES, floor, roofline
from facefusion_ros.models.cost import Cost
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store, open_store, store_folder
from facefusion_ros.models.tiny import write_tiny

ORIN = DEVICES[0]


@pytest.fixture(autouse=True)
def no_store(monkeypatch, tmp_path):
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path / 'store'))


def test_peaks_are_those_of_dense_matrices():
    # 170 sparse INT8 TOPS of the GPU alone: dense is half, and float16 half of that.
    assert ORIN.name == 'Jetson AGX Orin 64GB'
    assert ORIN.tera['int8'] == pytest.approx(170 / 2, rel=0.005)
    assert ORIN.tera['fp16'] == pytest.approx(170 / 4, rel=0.005)
    for device in DEVICES:
        assert device.tera['int8'] == pytest.approx(2 * device.tera['fp16'], rel=1e-3)
        assert device.source


def test_the_floor_is_the_longer_of_arithmetic_and_memory():
    heavy = Cost(matrix_flop=426_000_000_000, other_flop=0, parameters=2_048_000, stored_bytes=0, activations=1_024_000)
    assert floor(heavy, ORIN, 'fp16') == {
        'floor_ms': pytest.approx(10.0, rel=1e-3),
        'compute_ms': pytest.approx(10.0, rel=1e-3),
        'weights_ms': 0.02,
        'activations_ms': 0.01,
    }
    assert floor(heavy, ORIN, 'int8')['floor_ms'] == pytest.approx(5.0, rel=1e-3)
    light = Cost(matrix_flop=426_000, other_flop=0, parameters=204_800_000, stored_bytes=0, activations=102_400_000)
    assert floor(light, ORIN, 'fp16')['floor_ms'] == 3.0
    assert floor(light, ORIN, 'int8')['floor_ms'] == 1.5


def test_every_architecture_on_every_device(facefusion):
    done = facefusion('bench', 'roofline')
    assert (done.code, done.err) == (0, '')
    result = json.loads(done.out)
    shipped = {f'shipped: {entry.name}' for entry in open_store().entries().values()}
    assert result['networks'].keys() == ARCHITECTURES.keys() | shipped
    codeformer = result['networks']['codeformer_512']
    assert codeformer['gflop'] == pytest.approx(810, rel=0.01)
    assert codeformer['weights_fp16_mb'] == pytest.approx(188, rel=0.01)
    # 810 GFLOP at 42.6 TFLOPS, and half of it in eight bits.
    assert codeformer['devices'][ORIN.name]['fp16']['floor_ms'] == pytest.approx(19.0, rel=0.01)
    assert codeformer['devices'][ORIN.name]['int8']['floor_ms'] == pytest.approx(9.5, rel=0.01)
    for name, row in result['networks'].items():
        assert 'not_counted' not in row or name in shipped
        assert row['devices'].keys() == result['devices'].keys() == {each.name for each in DEVICES}
    assert result['chains'].keys() == CHAINS.keys()
    chain = result['chains']['swap, restore 512 by CodeFormer']
    assert chain['fp16_floor_ms'] == pytest.approx(0.2 + 8.2 + 19.0, abs=0.1)
    low, high = chain['fp16_at_measured_share_ms']
    assert chain['fp16_floor_ms'] < low < high


def test_the_users_networks_are_among_them(tmp_path):
    write_tiny('arcface', tmp_path / 'arcface_w600k_r50.onnx')
    store = Store(store_folder(), catalogue())
    store.add(tmp_path / 'arcface_w600k_r50.onnx', accept_noncommercial=True)
    row = roofline()['networks']['store: arcface_w600k_r50']
    assert row['parameters_m'] >= 0.0
    assert row['devices'][ORIN.name]['fp16']['floor_ms'] >= 0.0
