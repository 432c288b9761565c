"""Small true networks, made as files."""

import itertools
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9


def network(nodes, inputs, outputs, weights=(), *, opset=OPSET):
    """A model of nodes; inputs and outputs are (name, type, shape), weights (name, array)."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            'net',
            [helper.make_tensor_value_info(*each) for each in inputs],
            [helper.make_tensor_value_info(*each) for each in outputs],
            [numpy_helper.from_array(array, name) for name, array in weights],
        ),
        opset_imports=[helper.make_opsetid('', opset)],
        ir_version=IR_VERSION,
    )


def blur(shape=(1, 3, 8, 8), out=None, dtype=np.float32):
    """Sum over 3x3 neighbours of each channel: what it returns is known."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights = np.ones((3, 1, 3, 3), dtype)
    node = helper.make_node('Conv', ['x', 'w'], ['y'], pads=[1] * 4, group=3)
    return network([node], [('x', kind, shape)], [('y', kind, out or shape)], [('w', weights)])


def mixed():
    """Two inputs, two outputs: a scaled sum and its maximum over the picture."""
    nodes = [
        helper.make_node('Mul', ['picture', 'gain'], ['scaled']),
        helper.make_node('Relu', ['scaled'], ['clipped']),
        helper.make_node('ReduceMax', ['clipped'], ['brightest'], axes=[2, 3], keepdims=0),
    ]
    return network(
        nodes,
        [('picture', TensorProto.FLOAT, (1, 3, 8, 8)), ('gain', TensorProto.FLOAT, (1, 3, 1, 1))],
        [('clipped', TensorProto.FLOAT, (1, 3, 8, 8)), ('brightest', TensorProto.FLOAT, (1, 3))],
    )


@pytest.fixture(scope='session')
def nets():
    """The makers of networks."""
    return SimpleNamespace(network=network, blur=blur, mixed=mixed)


@pytest.fixture
def saved(tmp_path):
    """Write a model, and return its path."""
    numbers = itertools.count()

    def save(model, **options):
        path = tmp_path / f'net{next(numbers)}.onnx'
        onnx.save(model, path, **options)
        return path

    return save


@pytest.fixture
def resident_bytes():
    """Tell how much memory this process holds now."""
    page = os.sysconf('SC_PAGE_SIZE')
    return lambda: int(Path('/proc/self/statm').read_text().split()[1]) * page
