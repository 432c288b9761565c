"""Small true networks, made as files."""

import itertools
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store, store_folder
from facefusion_ros.models.tiny import write_tiny

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


def restorer(shift=0.0, size=256, *, look=None):
    """A network of the family gpen_256: three convolutions that give the picture back, but for a shift.

    ``look`` of ``far``: one looks 96 pixels up and down; ``attention``: there is a softmax over the whole
    picture; ``vector``: it passes through a vector of all pixels.
    """
    pick = np.zeros((3, 3, 3, 3), np.float32)
    pick[range(3), range(3), 1, 1] = 1.0
    shape = [1, 3, size, size]
    weights = {'first_w': pick, 'second_w': pick * np.float32(0.9), 'last_w': pick / np.float32(0.9)}
    weights['b'] = np.full(3, shift, np.float32)
    nodes = [helper.make_node('Conv', ['input', 'first_w'], ['a'], name='first', pads=[1] * 4)]
    last = 'a'

    def op(kind, *inputs, **attributes):
        nonlocal last
        last = f'{kind}_{len(nodes)}'
        nodes.append(helper.make_node(kind, list(inputs), [last], name=last, **attributes))
        return last

    if look == 'far':
        weights['far_w'] = np.zeros((3, 1, 3, 3), np.float32)
        weights['far_w'][:, 0, :, 1] = [0.25, 0.5, 0.25]
        op('Conv', last, 'far_w', pads=[96] * 4, dilations=[96] * 2, group=3)
    elif look == 'attention':
        op('Mul', 'a', op('Softmax', 'a', axis=-1))
        op('Add', 'a', last)
    elif look == 'vector':
        weights |= {'flat': np.array([1, 3 * size * size]), 'square': np.array(shape)}
        weights['gain'] = np.ones((1, 3 * size * size), np.float32)
        op('Reshape', op('Mul', op('Reshape', 'a', 'flat'), 'gain'), 'square')
    nodes += [
        helper.make_node('Conv', [last, 'second_w'], ['s'], name='second', pads=[1] * 4),
        helper.make_node('Conv', ['s', 'last_w', 'b'], ['output'], name='last', pads=[1] * 4),
    ]
    value = [('input', TensorProto.FLOAT, shape)]
    return network(nodes, value, [('output', TensorProto.FLOAT, shape)], weights.items())


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The user's store, and a way into it: ``store.add(model or family, name)``."""
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path / 'store'))
    stored = Store(store_folder(), catalogue())

    def add(model, name='mine', family=None, licence='MIT'):
        file = tmp_path / f'{name}.onnx'
        if isinstance(model, str):
            write_tiny(model, file)
            family = model
        else:
            onnx.save(model, file)
        return stored.add(file, name=name, family=family, licence=licence)

    return SimpleNamespace(
        add=add, folder=stored.folder, built=lambda name='mine': stored.folder / name / 'built', store=stored
    )


@pytest.fixture(scope='session')
def restoring():
    """Make a small restorer of faces."""
    return restorer
