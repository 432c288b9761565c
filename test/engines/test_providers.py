from pathlib import Path

import onnxruntime
import pytest

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.providers import PROVIDERS, options, provider


def test_names_are_those_of_onnxruntime():
    assert {each.name for each in PROVIDERS.values()} <= set(onnxruntime.get_all_providers())


@pytest.mark.parametrize('name', PROVIDERS)
def test_short_and_full_names_mean_the_same(name):
    assert provider(name) is provider(PROVIDERS[name].name) is PROVIDERS[name]


def test_a_provider_that_is_not_ours():
    assert provider('QNNExecutionProvider').name == 'QNNExecutionProvider'
    with pytest.raises(EngineError, match="there is no provider 'gpu'"):
        provider('gpu')


def test_caches_of_the_providers():
    cache = Path('/var/cache/networks')
    tensorrt = options(provider('tensorrt'), cache, {})
    assert tensorrt['trt_engine_cache_enable'] == tensorrt['trt_timing_cache_enable'] == '1'
    assert tensorrt['trt_engine_cache_path'] == '/var/cache/networks/tensorrt'
    assert options(provider('openvino'), cache, {}) == {'cache_dir': '/var/cache/networks/openvino'}
    for name in ('tensorrt', 'openvino', 'cpu'):
        assert options(provider(name), None, {}) == {}


def test_the_users_options_prevail():
    wanted = {'cudnn_conv_algo_search': 'EXHAUSTIVE', 'device_id': '1'}
    made = options(provider('cuda'), None, wanted)
    assert made == {'arena_extend_strategy': 'kSameAsRequested', **wanted}
