"""Build a network with TensorRT-RTX and tell as JSON what became of it; a process of its own for each (test_rtx.py).

Without a GPU no runtime may be made: the next call on it crashes the process.
"""

import json
import logging
import sys
from pathlib import Path

import tensorrt_rtx_bindings as trt

from facefusion_ros.engines import trt_build

AIM = trt.ComputeCapability.SM86
"""The nearest to Jetson Orin's 8.7 that TensorRT-RTX builds for."""

networks = []
said = []
steps = []


class Listener(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())


def aim():
    """Build for a GPU that is not here, and keep the networks to look at."""
    create_network, create_config = trt.Builder.create_network, trt.Builder.create_builder_config

    def network(builder, flags):
        networks.append(create_network(builder, flags))
        return networks[-1]

    def config(builder):
        made = create_config(builder)
        made.num_compute_capabilities = 1
        made.set_compute_capability(AIM, 0)
        return made

    trt.Builder.create_network, trt.Builder.create_builder_config = network, config


def described(tensor):
    return tensor.name, tensor.dtype.name, list(tensor.shape)


def look(network):
    """Inputs and outputs, and of each tensor its type, its layer's kind and what the layer takes."""
    tensors = {}
    for layer in map(network.get_layer, range(network.num_layers)):
        taken = [layer.get_input(index) for index in range(layer.num_inputs)]
        for index in range(layer.num_outputs):
            made = layer.get_output(index)
            tensors[made.name] = made.dtype.name, layer.type.name, [each.name for each in taken if each is not None]
    return {
        'inputs': [described(network.get_input(index)) for index in range(network.num_inputs)],
        'outputs': [described(network.get_output(index)) for index in range(network.num_outputs)],
        'tensors': tensors,
    }


def main(file, shapes, typing='auto', timing='', stop=False):
    def progress(*step):
        steps.append(step)
        return not stop

    logging.getLogger('facefusion_ros').addHandler(Listener(logging.WARNING))
    aim()
    settings = trt_build.BuildSettings(typing=typing)
    shapes = {name: tuple(shape) for name, shape in shapes.items()}
    try:
        built = trt_build.build(trt, Path(file), shapes, settings, bytes.fromhex(timing), progress)
    except trt_build.EngineError as error:
        return {'error': str(error), 'said': said}
    sizes = {'plan': len(built.plan), 'timing': built.timing.hex(), 'seconds': built.seconds}
    return {**sizes, 'typing': built.typing, 'steps': len(steps), 'said': said, **look(networks[-1])}


print(json.dumps(main(**json.loads(sys.argv[1]))))
