"""From the parameters of a node's networks to what runs them."""

import pytest

from facefusion_ros.engines.ort import cores
from facefusion_ros.ros.networks import RUNTIME, engine_settings
from facefusion_ros.ros.parameters import ParameterError

USUAL = {row.name: row.default for row in RUNTIME}


def test_stages_share_the_cores_unless_told_otherwise():
    assert engine_settings(USUAL).onnxruntime.threads == max(1, cores() // 2)
    assert engine_settings(USUAL | {'threads': 3}).onnxruntime.threads == 3


def test_engines_and_providers_are_taken_in_their_order():
    settings = engine_settings(USUAL | {'engine': 'tensorrt, onnxruntime', 'providers': 'cuda,cpu'})
    assert settings.chain == ('tensorrt', 'onnxruntime')
    assert settings.onnxruntime.providers == ('cuda', 'cpu')


def test_an_unknown_engine_is_told_in_one_line():
    with pytest.raises(ParameterError, match='engine or providers') as caught:
        engine_settings(USUAL | {'engine': 'magic'})
    assert '\n' not in str(caught.value)
