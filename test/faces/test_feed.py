"""Frames to a network's input, by the CPU and by a GPU that there is not: alike, and one in place of the other."""

from __future__ import annotations

import importlib.util
import logging
import secrets
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from facefusion_ros.engines import chain, trt_build
from facefusion_ros.engines.chain import EngineSettings, frame_maps, load_engine
from facefusion_ros.engines.cuda import DevicePool
from facefusion_ros.engines.engine import DeviceMemoryError, TensorSpec
from facefusion_ros.engines.kernels import crop as kernel
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.engines.trt import TensorRtEngine
from facefusion_ros.faces.crop import crop, view
from facefusion_ros.faces.feed import Feed
from facefusion_ros.faces.letterbox import Letterbox
from facefusion_ros.faces.network import NetworkDetector
from facefusion_ros.faces.tensors import PictureTensor
from facefusion_ros.frames.frame import FrameInfo
from facefusion_ros.frames.pool import FramePool, FrameReader
from facefusion_ros.models.entry import Preprocessing
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.tiny import write_tiny

_spec = importlib.util.spec_from_file_location(
    'fake_tensorrt', Path(__file__).parents[1] / 'engines' / 'fake_tensorrt.py'
)
fake_tensorrt = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_tensorrt)

WIDTH, HEIGHT = 48, 40
SHARE = Preprocessing('rgb', 1 / 255, (0.5, 0.4, 0.3), (0.5, 0.25, 1.0))
INTO_PIXELS = kernel.Normalisation((1.0,) * 3, (0.0,) * 3, blue_first=True)


def turned(angle, scale, x, y):
    """A similarity whose middle sees (x, y)."""
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, np.array([x, y]) - linear @ [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]])


def by_kernel(pixels, sampling, size):
    """What the kernel's reference makes of it, (h, w, 3) of 0 to 255, not rounded."""
    where = kernel.Bgr(0, pixels.shape[1], pixels.shape[0], pixels.strides[0])
    task = kernel.task(where, kernel.Output(0, *size), sampling, INTO_PIXELS)
    return kernel.crop((pixels,), task, np.float32).transpose(1, 2, 0)


def noise(seed, width, height):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class TestAlike:
    """The kernel's reference beside what the CPU does; test_kernels.py holds the kernel to its reference."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(0, 100),
        st.booleans(),
        st.floats(0.2, 6.0),
        st.floats(-3.2, 3.2),
        st.floats(-100.0, 420.0),
        st.floats(-100.0, 340.0),
    )
    def test_a_crop(self, portrait, seed, natural, scale, angle, x, y):
        pixels = portrait.pixels[:240, :320] if natural else noise(seed, 320, 240)
        image_from_crop = turned(angle, scale, x, y)
        out = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        crop(pixels, image_from_crop, out)
        seen = view(pixels, image_from_crop, (WIDTH, HEIGHT))
        sampling = kernel.Sampling(seen.grid, seen.grid_from_patch)
        difference = np.abs(by_kernel(seen.region, sampling, (WIDTH, HEIGHT)) - out)
        averaged = cv2.resize(seen.region, seen.grid, interpolation=cv2.INTER_AREA).astype(int)
        steps = sum(np.abs(np.diff(averaged, axis=axis)).max(initial=0) for axis in (0, 1))
        # Two roundings, and places that OpenCV rounds to 1/32 of a pixel in either direction.
        assert difference.max() <= 1.1 + steps / 60
        assert difference.mean() <= 0.6 + steps / 300

    @pytest.mark.parametrize(('fit', 'grey'), [('corner', 0), ('centre', 114), ('stretch', 0)])
    @pytest.mark.parametrize('size', [(96, 64), (640, 480), (1280, 720), (240, 320), (40, 30)])
    def test_a_whole_picture(self, size, fit, grey):
        pixels = noise(1, *size)
        box = Letterbox((128, 96), fit, grey)
        box.draw(pixels)
        difference = np.abs(by_kernel(pixels, box.sampling(size[1], size[0]), (128, 96)) - box.picture)
        assert difference.max() <= 1.5

    def test_a_whole_picture_of_odd_size(self, portrait):
        """The CPU's halves leave out pixels of an odd size, the kernel's do not."""
        pixels = portrait.pixels[:479, :509]
        box = Letterbox((128, 96), 'corner', 0)
        box.draw(pixels)
        difference = np.abs(by_kernel(pixels, box.sampling(479, 509), (128, 96)) - box.picture)
        assert difference.mean() <= 1.5
        ground = cv2.GaussianBlur(pixels, (0, 0), 6)
        box.draw(ground)
        assert np.abs(by_kernel(ground, box.sampling(479, 509), (128, 96)) - box.picture).max() <= 4


def test_a_letterbox_follows_the_size_of_the_picture():
    box = Letterbox((64, 64), 'centre', 9)
    for width, height in ((128, 64), (30, 90), (128, 64)):
        box.draw(np.full((height, width, 3), 200, np.uint8))
        left, top = box.corner
        shown = box.picture[top:, left:][: box.shown[1], : box.shown[0]]
        assert (shown == 200).all()
        assert (box.picture == 9).sum() == box.picture.size - shown.size
        assert box.shown[0] / box.shown[1] == pytest.approx(width / height, rel=0.05)


def save(path, count=1, layout='nchw', kind=TensorProto.FLOAT):
    """A network that gives its picture back, times a gain."""
    shape = [count, 3, HEIGHT, WIDTH] if layout == 'nchw' else [count, HEIGHT, WIDTH, 3]
    values = [('picture', shape), ('gain', [1]), ('out', shape)]
    picture, gain, out = (helper.make_tensor_value_info(name, kind, sides) for name, sides in values)
    graph = helper.make_graph([helper.make_node('Mul', ['picture', 'gain'], ['out'])], 'net', [picture, gain], [out])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    return path


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    return fake_tensorrt.kernels_on_cpu(tmp_path_factory.mktemp('kernels'))


class FakeCuda(fake_tensorrt.FakeCuda):
    full = False

    def launch_graph(self, graph, stream):
        if self.full:
            raise DeviceMemoryError('the GPU has no memory left')
        super().launch_graph(graph, stream)


@pytest.fixture(params=['jetson', 'card', 'no mapping'])
def gpu(request, tmp_path, monkeypatch, library):
    """A GPU that the chain of engines finds."""
    cuda = FakeCuda(integrated=request.param == 'jetson', host_register=request.param != 'no mapping')
    cuda.library = library
    cuda.close = lambda: None
    fake_tensorrt.gpu_frames(cuda, tmp_path, monkeypatch)
    monkeypatch.setattr(chain, 'open_cuda', lambda _: cuda)
    monkeypatch.setattr(chain, '_gpus', {})
    monkeypatch.setattr(trt_build, 'missing_cuda', lambda: '')
    monkeypatch.setitem(sys.modules, 'tensorrt', fake_tensorrt.tensorrt(cuda, fake_tensorrt.Refusals(), eleven=False))
    return cuda


BOTH = EngineSettings(('tensorrt', 'onnxruntime'), pool_bytes=1 << 22)


@pytest.fixture
def leased():
    """Give a picture as the frame that a reader has leased from a pool."""
    with FramePool.create(f'test/{secrets.token_hex(6)}', slots=2, slot_bytes=640 * 480 * 3) as pool:
        readers = []

        def lease(pixels):
            readers.append(FrameReader(frame_maps()))
            with pool.writing() as slot:
                slot.picture(*pixels.shape[1::-1])[...] = pixels
                return readers[-1].lease(slot.publish(FrameInfo(0, 'camera', 0))).pixels

        yield lease
        for reader in readers:
            reader.close()


def fed(engine, preprocessing=SHARE, count=1):
    """A feed, its network's gain and its output."""
    spec = engine.inputs[0]
    gain = np.ones(1, spec.dtype)
    tensor = PictureTensor(spec, preprocessing, (WIDTH, HEIGHT), count=count)
    return Feed(engine, tensor, {'gain': gain}), gain, {'out': np.zeros(spec.shape, spec.dtype)}


class TestFeed:
    @pytest.mark.parametrize(
        ('layout', 'kind'),
        [('nchw', TensorProto.FLOAT), ('nhwc', TensorProto.FLOAT), ('nchw', TensorProto.FLOAT16)],
    )
    @pytest.mark.parametrize('colour', ['rgb', 'bgr'])
    def test_the_network_sees_the_same_either_way(self, gpu, tmp_path, leased, portrait, layout, kind, colour):
        preprocessing = replace(SHARE, layout=layout, colour=colour)
        path = save(tmp_path / 'net.onnx', layout=layout, kind=kind)
        pixels = leased(cv2.GaussianBlur(portrait.pixels[:480], (0, 0), 2))
        there, here = fed(load_engine(path, BOTH), preprocessing), fed(OrtEngine(path), preprocessing)
        assert there[0].on_device
        assert not here[0].on_device
        for number, how in enumerate(
            [turned(0.3, 3.1, 200, 120), turned(0.3, 0.7, 500, 80), Letterbox((WIDTH, HEIGHT), 'centre', 114)]
        ):
            for feed, gain, out in (there, here):
                gain[:] = number + 1
                feed.fill(pixels, how)
                feed.run(out)
            ours, theirs = there[2]['out'].astype(np.float32), here[2]['out'].astype(np.float32)
            # Steps of a pixel's value, in the numbers of the channel with the largest.
            step = (number + 1) / 255 / 0.25
            assert np.abs(ours - theirs).max() <= 1.6 * step + 2e-3
            assert np.abs(ours - theirs).mean() <= 0.5 * step
            assert theirs.std() > 10 * step
        if gpu.device.integrated:
            assert gpu.copied_bytes == 0

    @pytest.mark.usefixtures('gpu')
    def test_several_pictures_in_one_run(self, tmp_path, leased, portrait):
        path = save(tmp_path / 'net.onnx', count=3)
        pixels = leased(portrait.pixels[:480])
        maps = [turned(0.1, 1.0, 100 + 90 * place, 90) for place in range(3)]
        results = []
        for engine in (load_engine(path, BOTH), OrtEngine(path)):
            feed, _, out = fed(engine, count=3)
            for place, how in enumerate(maps):
                feed.fill(pixels, how, place)
            feed.run(out)
            results.append(out['out'])
        np.testing.assert_allclose(*results, atol=8 / 255 / 0.25)
        assert np.abs(results[0][0] - results[0][1]).max() > 0.5

    @pytest.mark.usefixtures('gpu')
    def test_a_patch_with_alpha_will_do(self, tmp_path, portrait):
        path = save(tmp_path / 'net.onnx')
        patch = np.dstack([portrait.pixels[:128, 160:288], np.full((128, 128), 77, np.uint8)])
        results = []
        for engine in (load_engine(path, BOTH), OrtEngine(path), OrtEngine(path)):
            feed, _, out = fed(engine)
            feed.fill(patch if len(results) < 2 else patch[..., :3].copy(), turned(0.2, 1.3, 60, 60))
            feed.run(out)
            results.append(out['out'])
        np.testing.assert_array_equal(results[1], results[2])
        np.testing.assert_allclose(results[0], results[1], atol=5 / 255 / 0.25)

    def test_without_a_gpu_it_is_the_crop_and_the_tensor(self, tmp_path, portrait):
        path = save(tmp_path / 'net.onnx')
        feed, _, out = fed(OrtEngine(path))
        how = turned(0.2, 1.7, 200, 120)
        feed.fill(portrait.pixels, how)
        feed.run(out)
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        crop(portrait.pixels, how, picture)
        tensor = PictureTensor(TensorSpec('picture', (1, 3, HEIGHT, WIDTH), np.dtype(np.float32)), SHARE, (0, 0))
        tensor.fill(picture)
        np.testing.assert_array_equal(out['out'], tensor.array)

    def test_the_next_engine_gets_the_same_picture_when_the_gpu_has_no_memory_left(
        self, gpu, tmp_path, leased, portrait, caplog
    ):
        path = save(tmp_path / 'net.onnx', count=2)
        engine = load_engine(path, BOTH)
        feed, _, out = fed(engine, count=2)
        pixels = leased(portrait.pixels[:480])
        maps = [turned(0.2, 1.7, 200, 120), turned(0.2, 1.7, 230, 120)]
        seen = []
        for frame in range(4):
            gpu.full = frame >= 2
            for place, how in enumerate(maps):
                feed.fill(pixels, how, place)
            feed.run(out)
            seen.append(out['out'].copy())
        assert engine.provider == 'CPUExecutionProvider'
        assert not feed.on_device
        np.testing.assert_array_equal(seen[0], seen[1])
        np.testing.assert_array_equal(seen[2], seen[3])
        np.testing.assert_allclose(seen[1], seen[2], atol=5 / 255 / 0.25)
        lines = [each.getMessage() for each in caplog.records if 'in place of tensorrt' in each.getMessage()]
        assert len(lines) == 1

    def test_crops_that_do_not_fit_the_gpu_are_the_cpus(self, tmp_path, monkeypatch, library, portrait, caplog):
        cuda = fake_tensorrt.FakeCuda()
        cuda.library = library
        module = fake_tensorrt.tensorrt(cuda, fake_tensorrt.Refusals(), eleven=False)
        monkeypatch.setitem(sys.modules, 'tensorrt', module)
        pool = DevicePool(cuda, 200 << 10)
        path = save(tmp_path / 'net.onnx', count=2)
        frames = fake_tensorrt.gpu_frames(cuda, tmp_path, monkeypatch)
        engine = TensorRtEngine(path, cuda, pool, frames=frames)
        feed, _, out = fed(engine, count=2)
        other, _, expected = fed(OrtEngine(path), count=2)
        assert feed.on_device
        for scale in (0.5, 9.0, 0.5):
            for each in (feed, other):
                each.fill(portrait.pixels, turned(0.0, 0.5, 200, 120), 0)
                each.fill(portrait.pixels, turned(0.0, scale, 240, 240), 1)
            feed.run(out)
            other.run(expected)
            np.testing.assert_allclose(out['out'], expected['out'], atol=5 / 255 / 0.25)
        np.testing.assert_array_equal(out['out'], expected['out'])
        assert not feed.on_device
        lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
        assert len(lines) == 1
        assert lines[0].startswith('the CPU crops the frames for input picture: a part of a frame for picture takes')
        engine.close()
        assert pool.free_bytes == pool.size

    def test_keeps_no_frame(self, tmp_path, portrait):
        feed, _, out = fed(OrtEngine(save(tmp_path / 'net.onnx')))
        pixels = portrait.pixels.copy()
        before = sys.getrefcount(pixels)
        feed.fill(pixels, turned(0.0, 1.0, 200, 120))
        feed.run(out)
        assert sys.getrefcount(pixels) == before


@pytest.mark.usefixtures('gpu')
def test_a_detector_finds_the_same_faces_either_way(tmp_path, leased, portrait):
    path = tmp_path / 'scrfd.onnx'
    write_tiny('scrfd', path)
    family = catalogue().family('scrfd')
    pixels = leased(portrait.picture(eye_distance=60.0)[0])
    engine = load_engine(path, replace(BOTH, pool_bytes=1 << 25))
    assert engine.provider.startswith('TensorRT')
    there, here = NetworkDetector(engine, family), NetworkDetector(OrtEngine(path), family)
    expected, found = here.detect(pixels), there.detect(pixels)
    assert len(found) == len(expected) == 1
    np.testing.assert_allclose(found[0].box, expected[0].box, atol=0.5)
    again = there.again(pixels, found[0])
    assert again is None or len(again.landmarks) == 5
