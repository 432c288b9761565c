import hashlib
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from facefusion_ros.engines.optimised import (
    BLOCK_BYTES,
    OptimisedGraphs,
    Recipe,
    digest,
    fingerprint,
    instructions,
)

RECIPE = Recipe(model='ab' * 32, shapes='[]', providers='CPUExecutionProvider', onnxruntime='1.30.0', processor='x')


@pytest.fixture
def graphs(tmp_path):
    return OptimisedGraphs(tmp_path)


def keep(graphs, content, recipe=RECIPE, weights=b''):
    with graphs.writing('net', recipe) as part:
        part.graph.write_bytes(content)
        if weights:
            part.weights.write_bytes(weights)


def suffixes(folder):
    return sorted(each.suffix for each in folder.iterdir() if each.name != '.lock')


@pytest.mark.parametrize('size', [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_the_digest_is_that_of_all_bytes(tmp_path, size):
    content = bytes(range(256)) * (size // 256 + 1)
    file = tmp_path / 'file'
    file.write_bytes(content[:size])
    assert digest(file) == hashlib.sha256(content[:size]).hexdigest()


def test_a_fingerprint_is_of_every_byte_and_of_where_files_end(tmp_path):
    one, other = tmp_path / 'one', tmp_path / 'other'
    content = bytearray(b'x' * (BLOCK_BYTES + 1))
    seen = set()
    for size in (0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1):
        one.write_bytes(content[:size])
        other.write_bytes(content[size:])
        seen.add(fingerprint(one, other))
        assert fingerprint(one, other) in seen
    assert len(seen) == 5
    for at in (0, BLOCK_BYTES - 1, BLOCK_BYTES):
        changed = content.copy()
        changed[at] ^= 1
        one.write_bytes(changed)
        seen.add(fingerprint(one))
    assert len(seen) == 8


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


def test_weights_lie_beside_and_go_with_their_graph(graphs, tmp_path):
    keep(graphs, b'old', weights=b'old weights')
    (old,) = tmp_path.glob('*.weights')
    assert graphs.find('net', RECIPE).read_bytes() == b'old'
    keep(graphs, b'new', weights=b'new weights')
    (new,) = tmp_path.glob('*.weights')
    assert new != old
    assert new.read_bytes() == b'new weights'
    keep(graphs, b'small')
    assert graphs.find('net', RECIPE).read_bytes() == b'small'
    assert suffixes(tmp_path) == ['.json', '.onnx']


@pytest.mark.parametrize(
    ('harm', 'word'), [(lambda file: file.write_bytes(b'other'), 'damaged'), (Path.unlink, 'incomplete')]
)
def test_a_graph_whose_weights_are_gone_is_not_trusted(graphs, tmp_path, caplog, harm, word):
    keep(graphs, b'graph', weights=b'weights')
    harm(*tmp_path.glob('*.weights'))
    assert graphs.find('net', RECIPE) is None
    assert f'is {word}; making it anew' in caplog.text


def test_nothing_is_left_of_what_failed(graphs, tmp_path):
    def fail():
        with graphs.writing('net', RECIPE) as part:
            part.graph.write_bytes(b'graph')
            part.weights.write_bytes(b'weights')
            raise OSError

    keep(graphs, b'good', weights=b'good weights')
    with pytest.raises(OSError):  # noqa: PT011  it has no text
        fail()
    assert graphs.find('net', RECIPE).read_bytes() == b'good'
    assert suffixes(tmp_path) == ['.json', '.onnx', '.weights']


def test_weights_left_by_a_dead_process_go(graphs, tmp_path):
    keep(graphs, b'graph', weights=b'weights')
    (used,) = tmp_path.glob('*.weights')
    old, young = tmp_path / 'net.11-a.weights', tmp_path / 'net.12-b.weights'
    for each in (old, young):
        each.write_bytes(b'half')
    for each in (old, used):
        os.utime(each, (0, 0))
    keep(graphs, b'other', replace(RECIPE, shapes="[('x', 1)]"))
    assert (used.exists(), old.exists(), young.exists()) == (True, False, True)


def test_those_who_write_at_once_leave_one_whole(tmp_path):
    start = threading.Barrier(8)

    def write(number):
        graphs = OptimisedGraphs(tmp_path)
        start.wait()
        for _ in range(20):
            keep(graphs, bytes([number]) * (1000 + number), weights=bytes([number]))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    (weights,) = tmp_path.glob('*.weights')
    assert set(OptimisedGraphs(tmp_path).find('net', RECIPE).read_bytes()) == set(weights.read_bytes())
    assert suffixes(tmp_path) == ['.json', '.onnx', '.weights']
