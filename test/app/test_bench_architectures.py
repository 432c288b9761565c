import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from facefusion_ros.app.bench.architectures import ARCHITECTURES, build, write
from facefusion_ros.errors import FacefusionError
from facefusion_ros.models.cost import network_cost
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import recognise

# GFLOP of one run (two for each product) and millions of parameters. AlexeyAB/darknet says 6.9 BFLOPs for 80 classes,
# deepinsight/inswapper-512-live 174.7 G products and 138.3 M for inswapper_128; the others are PyTorch's own count
# (torch.utils.flop_counter) of the authors' code.
KNOWN = {
    'yolov4_tiny_416': (6.78, 5.88),
    'inswapper_128': (349.0, 138.3),
    'gpen_bfr_256': (17.1, 18.9),
    'gpen_bfr_512': (274.0, 71.0),
    'gfpgan_512': (396.0, 86.4),
    'codeformer_512': (810.0, 94.1),
    'codeformer_256': (202.0, 94.0),
    # 3 to 64 to ... to 64 to 48 maps by 3 x 3, of 128 x 128 values: 2 x 9 x 16 384 x (3 + 32 x 64 + 48) x 64.
    'real_esrgan_general_x4v3': (39.6, 1.213),
}


def test_every_architecture_is_checked():
    assert KNOWN.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize('name', KNOWN)
def test_costs_what_the_published_one_costs(name, tmp_path):
    model = build(name, values=False)
    cost = network_cost(model)
    gflop, millions = KNOWN[name]
    assert not cost.untold
    assert cost.matrix_flop / 1e9 == pytest.approx(gflop, rel=0.025)
    assert cost.parameters / 1e6 == pytest.approx(millions, rel=0.025)
    # What surrounds the matrices is the small part it is taken for.
    assert cost.other_flop < 0.02 * cost.matrix_flop
    # The catalogue takes the file for what it stands in for.
    path = tmp_path / f'{name}.onnx'
    onnx.save(model, path)
    assert recognise(read_graph(path), catalogue()).family.name == ARCHITECTURES[name].family


def _random_feeds(session, seed):
    random = np.random.default_rng(seed)
    return {each.name: random.random(each.shape, np.float32) for each in session.get_inputs()}


@pytest.mark.parametrize('name', ['yolov4_tiny_416', 'gpen_bfr_256'])
def test_runs_and_answers_to_what_it_is_shown(name):
    model = build(name)
    onnx.checker.check_model(model)
    inside = [helper.make_empty_tensor_value_info(made) for node in model.graph.node for made in node.output]
    known = {each.name for each in model.graph.output}
    model.graph.output.extend(each for each in inside if each.name not in known)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    first, second = (session.run(None, _random_feeds(session, seed)) for seed in (0, 1))
    for one in first:
        # Within half precision, so that a run in it means something.
        assert np.abs(one).max(initial=0.0) < 6e4
    for one, other in zip(first[: len(known)], second[: len(known)], strict=True):
        assert np.isfinite(one).all()
        assert 1e-3 < np.abs(one).max() < 1e3
        assert np.abs(one - other).max() > 1e-4


def test_is_written_once_and_always_the_same(tmp_path):
    path = write('yolov4_tiny_416', tmp_path / 'cache')
    assert [each.name for each in path.parent.iterdir()] == ['yolov4_tiny_416-0.onnx']
    before = path.stat().st_mtime_ns
    assert write('yolov4_tiny_416', tmp_path / 'cache') == path
    assert path.stat().st_mtime_ns == before
    assert write('yolov4_tiny_416', tmp_path / 'other').read_bytes() == path.read_bytes()
    assert write('yolov4_tiny_416', tmp_path / 'other', seed=1).read_bytes() != path.read_bytes()


def test_an_unknown_name():
    with pytest.raises(FacefusionError, match="no architecture is named 'resnet': choose from yolov4_tiny_416, "):
        build('resnet')
