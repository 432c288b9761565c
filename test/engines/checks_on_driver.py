"""What a CUDA back end must do, on the driver that this process finds; test_cuda.py runs it on one without a GPU."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facefusion_ros.engines import cuda as module
from facefusion_ros.engines.cuda import DevicePool, missing, open_cuda
from facefusion_ros.engines.engine import DeviceMemoryError, EngineError
from facefusion_ros.engines.frame_map import FrameMap
from facefusion_ros.engines.kernels import blend, crop
from facefusion_ros.engines.kernels.launch import FaceKernels


@pytest.fixture
def cuda():
    """Open CUDA, current on this thread, and see that nothing is left when it is closed."""
    opened = open_cuda(binding=os.environ['CHECK_BINDING'])
    with opened.current():
        yield opened
    opened.close()
    opened.close()
    assert ctypes.CDLL('libcuda.so.1').fake_left() == 0


@pytest.fixture
def stream(cuda):
    made = cuda.stream()
    yield made
    cuda.synchronize(made)
    cuda.drop_stream(made)


def test_describes_the_device(cuda):
    assert missing() == ''
    can = os.environ.get('FAKE_REGISTER', '')
    expected = module.Device('Fake Orin', (8, 7), 64 << 20, 16, integrated=True)
    maps = can != 'none'
    guards = maps and can != 'plain'
    assert cuda.device == replace(expected, host_register=maps, read_only_register=guards, host_pointers=maps)
    assert cuda.binding.lower().startswith(os.environ['CHECK_BINDING'])


def test_copies_in_the_streams_order(cuda, stream):
    there = cuda.allocate(1000)
    sent, received = cuda.pinned(1000), cuda.pinned(1000)
    sent[:] = np.arange(1000) % 251
    received[:] = 0
    cuda.copy_in(there, sent, stream)
    cuda.zero(there + 10, 5, stream)
    cuda.copy_out(received, there, stream)
    assert not received.any(), 'work is done when somebody waits for it'
    cuda.synchronize(stream)
    expected = sent.copy()
    expected[10:15] = 0
    np.testing.assert_array_equal(received, expected)
    cuda.free(there)
    cuda.free_pinned(sent)
    cuda.free_pinned(received)


def test_copies_arrays_of_any_shape_and_kind(cuda, stream):
    values = np.linspace(-1, 1, 24, dtype=np.float16).reshape(2, 3, 4)
    back = np.zeros_like(values)
    there = cuda.allocate(values.nbytes)
    cuda.copy_in(there, values, stream)
    cuda.copy_out(back, there, stream)
    cuda.synchronize(stream)
    np.testing.assert_array_equal(back, values)
    cuda.free(there)


def test_replays_a_graph_on_what_lies_in_its_buffers_then(cuda, stream):
    there, host = cuda.allocate(16), cuda.pinned(16)
    back = cuda.pinned(16)
    cuda.begin_capture(stream)
    cuda.copy_in(there, host, stream)
    cuda.copy_out(back, there, stream)
    graph = cuda.end_capture(stream)
    for value in (3, 4):
        host[:] = value
        back[:] = 0
        cuda.launch_graph(graph, stream)
        cuda.synchronize(stream)
        np.testing.assert_array_equal(back, value)
    cuda.drop_graph(graph)
    cuda.free(there)
    cuda.free_pinned(host)
    cuda.free_pinned(back)


def test_maps_pinned_memory(cuda):
    if os.environ.get('FAKE_REGISTER') == 'unseen':
        pytest.skip('this driver does not say where it sees memory')
    pinned = cuda.pinned(4096, mapped=True)
    assert cuda.address_of(pinned)
    cuda.free_pinned(pinned)


def pages(count: int) -> np.ndarray:
    """Memory of that many pages, shared with other processes as a frame pool's is."""
    file = os.open('/dev/shm', os.O_RDWR | os.O_TMPFILE, 0o600)
    os.ftruncate(file, count * mmap.PAGESIZE)
    shared = np.frombuffer(mmap.mmap(file, count * mmap.PAGESIZE), np.uint8)
    os.close(file)
    return shared


class TestMapHost:
    def test_the_device_reads_and_copies_what_the_host_writes_there_later(self, cuda, stream):
        if os.environ.get('FAKE_REGISTER') in ('none', 'unseen'):
            pytest.skip('this driver maps nothing')
        shared = pages(3)
        mapped = cuda.map_host(shared[: 2 * mmap.PAGESIZE])
        driver = ctypes.CDLL('libcuda.so.1')
        read_only = os.environ.get('FAKE_REGISTER') != 'plain'
        assert driver.fake_flags(ctypes.c_void_p(shared.ctypes.data)) == 1 | 2 | 8 * read_only
        assert mapped.read_only == read_only
        shared[5000] = 77
        back = np.zeros(1, np.uint8)
        cuda.copy_out(back, mapped.address + 5000, stream)
        cuda.synchronize(stream)
        assert back == 77
        cuda.unmap_host(mapped)
        assert driver.fake_registered() == 0
        written = cuda.map_host(shared, read_only=False)
        assert not written.read_only
        assert driver.fake_flags(ctypes.c_void_p(shared.ctypes.data)) == 3
        # The fixture sees that ``close`` unmaps it.

    def test_a_kernel_reads_a_frame_in_its_place(self, cuda, stream, tmp_path):
        if not os.environ.get('FAKE_KERNELS'):
            pytest.skip('nvcc or g++ is not on this machine')
        kernels, frames = FaceKernels(cuda, tmp_path), FrameMap(cuda)
        shared = pages(3)
        frames.attached('a pool', shared)
        picture = shared[: 50 * 60 * 3].reshape(50, 60, 3)
        picture[...] = np.random.default_rng(1).integers(0, 256, picture.shape)
        part = picture[7:43, 5:47]
        planes = cuda.allocate(3 * 20 * 16 * 4)
        place = crop.Bgr(frames.find(part), 42, 36, 180)
        sampling = crop.Sampling((21, 12), np.array([[0.9, 0.3, 1.0], [-0.3, 0.9, 4.0]]), (1, 2, 19, 15), 114)
        norm = crop.Normalisation((1 / 127.5,) * 3, (-1.0,) * 3)
        task = crop.task(place, crop.Output(planes, 20, 16), sampling, norm)
        kernels.crop(task, 'float32', stream)
        result = np.zeros((3, 16, 20), np.float32)
        cuda.copy_out(result, planes, stream)
        cuda.synchronize(stream)
        np.testing.assert_array_equal(result, crop.crop((part,), task, np.float32))
        cuda.free(planes)
        frames.letting_go(shared)
        assert frames.find(part) is None
        assert ctypes.CDLL('libcuda.so.1').fake_registered() == 0

    def test_knows_what_lies_in_it(self, cuda):
        if os.environ.get('FAKE_REGISTER') in ('none', 'unseen'):
            pytest.skip('this driver maps nothing')
        shared = pages(3)
        mapped = cuda.map_host(shared[mmap.PAGESIZE : 2 * mmap.PAGESIZE])
        assert mapped.pages in mapped
        assert mapped.pages.reshape(64, 64)[3:9, 5:8] in mapped
        assert mapped.pages[::-1] in mapped
        assert shared[mmap.PAGESIZE - 1 : mmap.PAGESIZE + 5] not in mapped
        assert shared[2 * mmap.PAGESIZE - 1 :] not in mapped
        assert shared[: mmap.PAGESIZE] not in mapped

    def test_refuses_what_are_no_whole_pages(self, cuda):
        shared = pages(2)
        for part in (shared[1:4097], shared[:100], shared[:0], shared.reshape(2, -1), shared[::2]):
            with pytest.raises(EngineError, match='copy through pinned memory'):
                cuda.map_host(part)

    def test_a_refusal_leaves_nothing(self, cuda):
        if os.environ.get('FAKE_REGISTER') in ('none', 'unseen'):
            words = 'cannot map memory' if os.environ['FAKE_REGISTER'] == 'none' else 'refuses to map'
            with pytest.raises(EngineError, match=words):
                cuda.map_host(pages(2))
        else:
            shared = pages(2)
            cuda.map_host(shared)
            with pytest.raises(EngineError, match=r'refuses to map pages of the host: .*REGISTERED'):
                cuda.map_host(shared)


def test_times_between_events(cuda, stream):
    start, end = cuda.event(), cuda.event()
    cuda.record(start, stream)
    cuda.record(end, stream)
    assert cuda.elapsed_ms(start, end) >= 0.0
    cuda.drop_event(start)
    cuda.drop_event(end)


def test_says_when_memory_runs_out_and_goes_on(cuda):
    before = cuda.free_bytes()
    with pytest.raises(DeviceMemoryError, match=f'no memory left to reserve {before + 1} bytes'):
        cuda.allocate(before + 1)
    there = cuda.allocate(before)
    assert cuda.free_bytes() == 0
    cuda.free(there)
    assert cuda.free_bytes() == before


def test_needs_the_context_and_gets_it_on_any_thread(cuda):
    seen: list[object] = []

    def work() -> None:
        try:
            cuda.free_bytes()
        except EngineError as error:
            seen.append(error)
        with cuda.current():
            seen.append(cuda.free_bytes())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(seen[0], EngineError)
    assert seen[1] == cuda.free_bytes()


def test_a_pool_takes_its_memory_once(cuda):
    before = cuda.free_bytes()
    pool = DevicePool(cuda, 1 << 20)
    taken = before - cuda.free_bytes()
    assert taken >= 1 << 20
    pieces = [pool.take(1000, 'a test') for _ in range(100)]
    assert before - cuda.free_bytes() == taken
    for piece in pieces:
        pool.give_back(piece)
    pool.close()
    pool.close()
    assert cuda.free_bytes() == before


def test_runs_the_kernels(cuda, stream, tmp_path):
    if not os.environ.get('FAKE_KERNELS'):
        pytest.skip('nvcc or g++ is not on this machine')
    kernels = FaceKernels(cuda, tmp_path)
    rng = np.random.default_rng(1)
    luma, chroma = rng.integers(0, 256, (32, 48), np.uint8), rng.integers(0, 256, (16, 24, 2), np.uint8)
    norm = crop.Normalisation((1 / 127.5,) * 3, (-1.0,) * 3)
    frame, planes = cuda.allocate(luma.nbytes + chroma.nbytes), cuda.allocate(3 * 37 * 21 * 2)
    cuda.copy_in(frame, luma, stream)
    cuda.copy_in(frame + luma.nbytes, chroma, stream)
    place = crop.Nv12(frame, frame + luma.nbytes, 48, 32, 48, 48)
    affine = np.array([[0.9, 0.3, 1.0], [-0.3, 0.9, 9.0]])
    sampling = crop.Sampling((48, 32), affine)
    task = crop.task(place, crop.Output(planes, 37, 21), sampling, norm)
    kernels.crop(task, 'float16', stream)
    result = np.zeros((3, 21, 37), np.float16)
    cuda.copy_out(result, planes, stream)
    cuda.synchronize(stream)
    np.testing.assert_array_equal(result, crop.crop((luma, chroma), task, np.float16))

    picture = rng.integers(0, 256, (50, 60, 3), np.uint8)
    mask = rng.integers(0, 256, (21, 37), np.uint8)
    target, cover = cuda.allocate(picture.nbytes), cuda.allocate(mask.nbytes)
    cuda.copy_in(target, picture, stream)
    cuda.copy_in(cover, mask, stream)
    blending = blend.task(
        blend.BgrFrame(target, 60, 50, 180),
        (5, 6, 41, 33),
        blend.Patch(planes, cover, 37, 21),
        affine,
        blend.ColourMap((127.5,) * 3, (127.5,) * 3),
    )
    kernels.blend(blending, 'float16', stream)
    blended = np.zeros_like(picture)
    cuda.copy_out(blended, target, stream)
    cuda.synchronize(stream)
    blend.blend(picture, result, mask, blending)
    np.testing.assert_array_equal(blended, picture)
    for address in (frame, planes, target, cover):
        cuda.free(address)


def test_refuses_kernels_that_are_none(cuda):
    with pytest.raises(EngineError, match='refuses to load kernels'):
        cuda.kernels(b'no code at all', ('crop_float32',))


def test_is_of_no_use_once_closed():
    opened = open_cuda(binding=os.environ['CHECK_BINDING'])
    opened.close()
    with pytest.raises(EngineError, match='was closed'), opened.current():
        pass


def test_says_which_gpu_is_not_there():
    with pytest.raises(EngineError, match='GPU 3'):
        open_cuda(3, os.environ['CHECK_BINDING'])


def test_the_driver_is_the_one_without_a_gpu():
    """Or all of the above says nothing."""
    assert Path(os.environ['LD_LIBRARY_PATH'].split(os.pathsep)[0], 'libcuda.so.1').exists()
