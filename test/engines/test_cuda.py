"""CUDA's back ends on a driver without a GPU, in processes of their own; the pool; what is said where there is none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.engines.cuda import BINDINGS, DevicePool, missing, open_cuda
from facefusion_ros.engines.engine import DeviceMemoryError, EngineError
from facefusion_ros.engines.kernels import nvcc

HERE = Path(__file__).parent


def compiler(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f'{name} is not on this machine')
    return found


def built(command: list[str]) -> None:
    done = subprocess.run(command, text=True, capture_output=True)
    assert not done.returncode, done.stderr


@pytest.fixture(scope='module')
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a libcuda.so.1 that needs no GPU; give its folder."""
    folder = tmp_path_factory.mktemp('driver')
    source = folder / 'driver.c'
    source.write_text((HERE / 'fake_driver.c').read_text() + unused_functions())
    flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-Wl,-soname,libcuda.so.1']
    built([compiler('gcc'), *flags, str(source), '-o', str(folder / 'libcuda.so.1'), '-ldl'])
    return folder


def unused_functions() -> str:
    """PyCUDA's module wants every function it knows to be there before it loads; these refuse when called."""
    found = find_spec('pycuda')
    if found is None or found.origin is None:
        return ''
    here = (HERE / 'fake_driver.c').read_text()
    library = next(Path(found.origin).parent.glob('_driver*.so'))
    listing = subprocess.run([compiler('nm'), '-D', '--undefined-only', str(library)], text=True, capture_output=True)
    names = [line.split()[-1] for line in listing.stdout.splitlines()]
    wanted = [name for name in names if name.startswith('cu') and name[2].isupper() and f' {name}(' not in here]
    return ''.join(f'API int {name}(void) {{ return 801; }}\n' for name in wanted)


@pytest.fixture(scope='module')
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Build the kernels for the driver that runs on the CPU."""
    if nvcc.find_nvcc() is None or shutil.which('g++') is None:
        return None
    library = tmp_path_factory.mktemp('kernels') / 'kernels.so'
    flags = ['-std=c++17', '-O2', '-ffp-contract=off', '-shared', '-fPIC', '-x', 'c++', f'-I{nvcc.SOURCES}']
    built([compiler('g++'), *flags, str(HERE / 'kernels_on_cpu.cpp'), '-o', str(library)])
    return library


@pytest.mark.parametrize('register', ['', 'plain', 'none', 'unseen'])
@pytest.mark.parametrize('binding', BINDINGS)
def test_a_back_end_does_what_it_must(driver, kernels, binding, register):
    """``register``: what the driver says to memory that is there already."""
    if find_spec(binding.split('.')[0]) is None:
        pytest.skip(f'{binding} is not installed')
    environment = {
        **os.environ,
        'LD_LIBRARY_PATH': os.pathsep.join([str(driver), os.environ.get('LD_LIBRARY_PATH', '')]),
        'CHECK_BINDING': binding,
        'FAKE_REGISTER': register,
    }
    if kernels and not register:
        environment['FAKE_KERNELS'] = str(kernels)
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-q',
        '--noconftest',
        '-p',
        'no:cacheprovider',
        str(HERE / 'checks_on_driver.py'),
        *(['-k', 'describes or map_host or maps or MapHost'] if register else []),
    ]
    done = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert not done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ('state', 'words'), [('none', r'does not start \(CUDA_ERROR_NO_DEVICE\)'), ('empty', 'sees no GPU')]
)
def test_says_what_the_driver_lacks(driver, state, words):
    script = 'from facefusion_ros.engines.cuda import missing; print(missing())'
    environment = {**os.environ, 'LD_LIBRARY_PATH': str(driver), 'FAKE_DRIVER': state}
    done = subprocess.run([sys.executable, '-c', script], env=environment, text=True, capture_output=True, check=True)
    line = done.stdout.strip()
    assert line.count('\n') == 0
    assert re.search(words, line), line


def test_says_that_there_is_no_driver():
    assert missing('libnobody.so.1').startswith('no NVIDIA driver: libnobody.so.1 is not on this machine')
    assert 'is no NVIDIA driver' in missing('libc.so.6')


@pytest.mark.skipif(missing() == '', reason='CUDA works on this machine')
def test_opens_nothing_without_a_driver():
    with pytest.raises(EngineError):
        open_cuda()
    assert 'cuda.bindings.driver' not in sys.modules


@dataclass
class Memory:
    """The one piece that a pool asks for."""

    pieces: list[int] = field(default_factory=list)

    def current(self) -> object:
        return nullcontext()

    def allocate(self, size: int) -> int:
        self.pieces.append(size)
        return 1 << 20

    def free(self, address: int) -> None:
        assert address == 1 << 20
        self.pieces.clear()


class TestPool:
    @given(st.lists(st.tuples(st.integers(0, 3000), st.booleans()), max_size=60))
    def test_pieces_never_overlap_and_nothing_is_lost(self, wishes):
        memory = Memory()
        pool = DevicePool(memory, 10_000)  # type: ignore[arg-type]
        whole = pool.free_bytes
        lent: dict[int, int] = {}
        for size, back in wishes:
            try:
                address = pool.take(size, 'a test')
            except DeviceMemoryError:
                continue
            assert address % 256 == 0
            assert 1 << 20 <= address <= (1 << 20) + pool.size - size
            assert all(address + size <= other or other + length <= address for other, length in lent.items())
            lent[address] = size
            if back:
                del lent[address]
                pool.give_back(address)
        for address in lent:
            pool.give_back(address)
        assert pool.free_bytes == whole
        assert pool.take(whole, 'all of it') == 1 << 20
        assert memory.pieces == [pool.size]

    def test_says_what_does_not_fit(self):
        pool = DevicePool(Memory(), 1 << 20)  # type: ignore[arg-type]
        pool.take(512 << 10, 'the detector')
        with pytest.raises(DeviceMemoryError, match=r'the swapper takes 600 KiB .* pool of 1024 KiB 512 are free'):
            pool.take(600 << 10, 'the swapper')

    def test_is_closed_once_all_is_back(self):
        memory = Memory()
        pool = DevicePool(memory, 1 << 20)  # type: ignore[arg-type]
        piece = pool.take(1, 'the detector')
        with pytest.raises(EngineError, match='has lent 1 pieces: close the networks that use it first'):
            pool.close()
        assert memory.pieces == [1 << 20]
        pool.give_back(piece)
        pool.close()
        pool.close()
        assert memory.pieces == []
        with pytest.raises(EngineError, match='the swapper takes device memory of a pool that is closed'):
            pool.take(1, 'the swapper')

    def test_nothing_is_lent_of_what_is_being_freed(self):
        refusals: list[str] = []

        def late() -> None:
            try:
                pool.take(1, 'a late thread')
            except EngineError as error:
                refusals.append(str(error))

        class Slow(Memory):
            """Memory for which others ask while it is freed."""

            def free(self, address: int) -> None:
                thread.start()
                # It has to wait for the end of this; were it served, that would be in time.
                thread.join(0.1)
                super().free(address)

        thread = threading.Thread(target=late)
        pool = DevicePool(Slow(), 10_000)  # type: ignore[arg-type]
        pool.close()
        thread.join()
        assert refusals == ['a late thread takes device memory of a pool that is closed: open another']
