"""All that the engine uses of TensorRT exists in NVIDIA's own bindings, for each version that is to be supported.

The bindings are small wheels on PyPI (1 MB each, of TensorRT's Python side only); they load over libraries that hold
nothing. The behaviour tests run on a module that has nothing but what is compared here, so that a call that a version
lacks fails here or there. `make test` fetches the wheels (TENSORRT_BINDINGS in the Makefile) and names their folder in
TENSORRT_WHEELS. JetPack 7.2 has TensorRT 10.16.2; of 10.16 PyPI has 10.16.1 at the latest.
"""

from __future__ import annotations

import enum
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

VERSIONS = ('10.3.0', '10.7.0', '10.13.3.9', '10.16.1.11', '11.4.0.106')
LIBRARIES = ('nvinfer', 'nvinfer_plugin', 'nvonnxparser')

_spec = importlib.util.spec_from_file_location('fake_tensorrt', Path(__file__).with_name('fake_tensorrt.py'))
fake_tensorrt = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_tensorrt)

LISTING = """
import json, tensorrt_bindings as trt
def members(thing):
    found = {name: str(getattr(getattr(thing, name), '__doc__', None) or '') for name in dir(thing)}
    return {name: text for name, text in found.items() if not name.startswith('_')}
kinds = {name: members(value) for name, value in vars(trt).items() if isinstance(value, type)}
kinds['ILogger.Severity'] = members(trt.ILogger.Severity)

from facefusion_ros.engines.trt_build import Features, Voice, _monitor
voice = Voice(trt)
voice.logger.log(trt.ILogger.Severity.ERROR, 'a first error')
monitor = _monitor(trt, lambda *step: step == ('Tactics', 2, 3))
monitor.phase_start('Tactics', None, 3)
said = [monitor.step_complete('Tactics', 1), monitor.step_complete('Tactics', 2), monitor.stopped]
features = Features.of(trt)
made = {'errors': list(voice.errors), 'said': said, 'features': [features.strong_typing, features.progress]}
print(json.dumps({'made': made, 'version': trt.__version__, 'kinds': kinds, 'functions': [n for n in dir(trt)]}))
"""


def wheel(version: str) -> Path:
    folder = os.environ.get('TENSORRT_WHEELS')
    if not folder:
        pytest.skip('TENSORRT_WHEELS names no folder with the wheels of the bindings (make test names it)')
    tag = f'cp{sys.version_info.major}{sys.version_info.minor}'
    found = list(Path(folder).rglob(f'tensorrt_cu1?_bindings-{version}-{tag}-*.whl'))
    if not found:
        pytest.skip(f'{folder} holds no bindings of TensorRT {version} for {tag}')
    return found[0]


@pytest.fixture(scope='module', params=VERSIONS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Load the real bindings in a process of their own; give their names, with the signatures."""
    file = wheel(request.param)
    compiler = shutil.which('gcc')
    if compiler is None:
        pytest.skip('gcc is not on this machine')
    folder = tmp_path_factory.mktemp('bindings')
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    module = next(folder.rglob('tensorrt*.so'))
    # Whatever the module wants of TensorRT's libraries is there and gives nothing.
    listing = subprocess.run(['nm', '-D', '--undefined-only', str(module)], text=True, capture_output=True, check=True)
    wanted = {line.split()[-1].split('@')[0] for line in listing.stdout.splitlines()}
    names = [name for name in wanted if re.search(r'_INTERNAL$|^getInfer|Registry$|^initLib|Nv[A-Z]|^getLogger$', name)]
    names = [name for name in names if not name.startswith('_Z')]
    source = folder / 'nothing.c'
    source.write_text(''.join(f'void *{name}(void) {{ return 0; }}\n' for name in sorted(names)))
    major = request.param.split('.')[0]
    for library in LIBRARIES:
        soname = f'lib{library}.so.{major}'
        command = [compiler, '-shared', '-fPIC', f'-Wl,-soname,{soname}', str(source), '-o', str(folder / soname)]
        subprocess.run(command, check=True)
    environment = {
        **os.environ,
        'LD_LIBRARY_PATH': str(folder),
        'PYTHONPATH': os.pathsep.join([str(folder), *sys.path]),
    }
    done = subprocess.run([sys.executable, '-c', LISTING], env=environment, text=True, capture_output=True)
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert found['version'] == request.param
    return found


def names_of(kind: type) -> set[str]:
    """What the engine may use of a class: what the tests' own module has of it."""
    if issubclass(kind, enum.Enum):
        return set(kind.__members__)
    return {name for name in vars(kind) if not name.startswith('_')}


@pytest.fixture
def ours(real):
    """The tests' module of the same generation."""
    eleven = 'FP16' not in real['kinds']['BuilderFlag']
    return fake_tensorrt.tensorrt(fake_tensorrt.FakeCuda(), fake_tensorrt.Refusals(), eleven=eleven)


def test_all_that_is_used_exists(real, ours):
    kinds = {name: kind for name, kind in vars(ours).items() if isinstance(kind, type)}
    assert len(kinds) > 15
    for name, kind in kinds.items():
        wanted = 'ILogger.Severity' if name == 'Severity' else name
        assert wanted in real['kinds'], name
        assert names_of(kind) - real['kinds'][wanted].keys() == set(), name
    assert 'nptype' in real['functions']


@pytest.mark.parametrize(
    ('kind', 'method', 'arguments'),
    [
        ('Builder', 'create_network', ['flags']),
        ('Builder', 'build_serialized_network', ['network', 'config']),
        ('OnnxParser', 'parse_from_file', ['model']),
        ('IBuilderConfig', 'set_memory_pool_limit', ['pool', 'pool_size']),
        ('IBuilderConfig', 'create_timing_cache', ['serialized_timing_cache']),
        ('IBuilderConfig', 'set_timing_cache', ['cache', 'ignore_mismatch']),
        ('IOptimizationProfile', 'set_shape', ['input', 'min', 'opt', 'max']),
        ('Runtime', 'deserialize_cuda_engine', ['serialized_engine']),
        ('ICudaEngine', 'create_execution_context', ['strategy']),
        ('ICudaEngine', 'get_tensor_profile_shape', ['name', 'profile_index']),
        ('IExecutionContext', 'set_device_memory', ['memory', 'size']),
        ('IExecutionContext', 'set_input_shape', ['name', 'shape']),
        ('IExecutionContext', 'set_tensor_address', ['name', 'memory']),
        ('IExecutionContext', 'execute_async_v3', ['stream_handle']),
    ],
)
def test_methods_take_what_they_are_given_in_that_order(real, kind, method, arguments):
    signatures = re.findall(rf'{method}\((self[^\n]*)\) ->', real['kinds'][kind][method])
    taken = [re.findall(r'(?:^|, )(\w+): ', each) for each in signatures]
    assert ['self', *arguments] in taken, signatures


def test_our_classes_derive_from_theirs(real):
    assert real['made'] == {
        'errors': ['a first error'],
        'said': [True, False, 'it was asked to stop'],
        'features': [True, True],
    }


def test_what_the_generations_differ_in_is_known(real):
    flags, creation = real['kinds']['BuilderFlag'], real['kinds']['NetworkDefinitionCreationFlag']
    assert 'STRONGLY_TYPED' in creation
    assert ('FP16' in flags) == ('INT8' in flags) == ('EXPLICIT_BATCH' in creation)
