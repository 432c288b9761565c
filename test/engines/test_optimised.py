import hashlib
import threading
from dataclasses import replace

import pytest

from facefusion_ros.engines.optimised import OptimisedGraphs, Recipe, digest, instructions

RECIPE = Recipe(model='ab' * 32, shapes='[]', providers='CPUExecutionProvider', onnxruntime='1.30.0', processor='x')


@pytest.fixture
def graphs(tmp_path):
    return OptimisedGraphs(tmp_path)


def keep(graphs, content, recipe=RECIPE):
    part = graphs.part('net', recipe)
    part.write_bytes(content)
    graphs.keep(part, 'net', recipe)


@pytest.mark.parametrize('size', [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_the_digest_is_that_of_all_bytes(tmp_path, size):
    content = bytes(range(256)) * (size // 256 + 1)
    file = tmp_path / 'file'
    file.write_bytes(content[:size])
    assert digest(file) == hashlib.sha256(content[:size]).hexdigest()


def test_a_processor_has_one_name():
    assert instructions() == instructions()


def test_what_is_kept_is_found(graphs):
    assert graphs.find('net', RECIPE) is None
    keep(graphs, b'graph')
    assert graphs.find('net', RECIPE).read_bytes() == b'graph'
    assert graphs.find('other', RECIPE) is None


def test_shapes_and_providers_lie_beside_each_other(graphs):
    other = replace(RECIPE, shapes="[('x', 1)]")
    keep(graphs, b'one')
    keep(graphs, b'two', other)
    assert graphs.find('net', RECIPE).read_bytes() == b'one'
    assert graphs.find('net', other).read_bytes() == b'two'


def test_a_new_release_replaces(graphs, tmp_path):
    keep(graphs, b'old')
    newer = replace(RECIPE, onnxruntime='1.31.0')
    assert graphs.find('net', newer) is None
    keep(graphs, b'new', newer)
    assert graphs.find('net', newer).read_bytes() == b'new'
    assert len(list(tmp_path.glob('*.onnx'))) == 1


def test_those_who_write_at_once_leave_one_whole(tmp_path):
    """Every writer has a part of its own, as processes have."""
    start = threading.Barrier(8)

    def write(number):
        graphs = OptimisedGraphs(tmp_path)
        start.wait()
        for turn in range(20):
            part = tmp_path / f'.{number}.{turn}.part'
            part.write_bytes(bytes([number]) * (1000 + number))
            graphs.keep(part, 'net', RECIPE)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert len(set(OptimisedGraphs(tmp_path).find('net', RECIPE).read_bytes())) == 1
    assert sorted(each.suffix for each in tmp_path.iterdir() if each.name != '.lock') == ['.json', '.onnx']
