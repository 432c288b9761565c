"""Frames to a network's input on a GPU, on a driver without one: what is read, what is copied, in which order."""

from __future__ import annotations

import importlib.util
import logging
import secrets
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facefusion_ros.engines.cuda import DevicePool
from facefusion_ros.engines.device import device_of
from facefusion_ros.engines.device_input import DeviceInput
from facefusion_ros.engines.engine import DeviceMemoryError, EngineError
from facefusion_ros.engines.kernels import crop
from facefusion_ros.engines.trt import TensorRtEngine, TensorRtSettings
from facefusion_ros.frames.frame import FrameInfo
from facefusion_ros.frames.pool import FramePool, FrameReader

_spec = importlib.util.spec_from_file_location('fake_tensorrt', Path(__file__).with_name('fake_tensorrt.py'))
fake_tensorrt = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_tensorrt)

WIDTH, HEIGHT = 20, 12
NORM = crop.Normalisation((1 / 127.5,) * 3, (-1.0, -0.5, 0.0))


def save(path, kind=TensorProto.FLOAT, count=1, layout='nchw'):
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


class Machine:
    """A GPU with TensorRT and the kernels, and a network on it."""

    def __init__(self, folder, monkeypatch, library, **gpu):
        self.cuda = fake_tensorrt.FakeCuda(**gpu)
        self.cuda.library = library
        self.refusals = fake_tensorrt.Refusals()
        module = fake_tensorrt.tensorrt(self.cuda, self.refusals, eleven=False)
        monkeypatch.setitem(sys.modules, 'tensorrt', module)
        self.pool = DevicePool(self.cuda, 1 << 20)
        self.frames = fake_tensorrt.gpu_frames(self.cuda, folder, monkeypatch)
        self.path = folder / 'net.onnx'

    def load(self, **options):
        save(self.path, **options)
        self.engine = TensorRtEngine(self.path, self.cuda, self.pool, TensorRtSettings(), frames=self.frames)
        planar = options.get('layout', 'nchw') == 'nchw'
        self.input = DeviceInput(device_of(self.engine), 'picture', NORM, planar=planar)
        spec = self.engine.outputs[0]
        self.gain = np.ones(1, spec.dtype)
        self.out = np.zeros(spec.shape, spec.dtype)
        return self

    def run(self):
        self.input.run({'gain': self.gain}, {'out': self.out})
        return self.out

    def close(self):
        self.engine.close()
        assert self.pool.free_bytes == self.pool.size
        self.pool.close()
        self.frames.map.close()
        assert self.cuda.left() == 0
        assert self.cuda.depth == 0


@pytest.fixture(params=['jetson', 'card', 'no mapping on a jetson', 'no mapping on a card'])
def machine(request, tmp_path, monkeypatch, library):
    integrated, register = 'jetson' in request.param, not request.param.startswith('no')
    made = Machine(tmp_path, monkeypatch, library, integrated=integrated, host_register=register)
    yield made
    made.close()


@pytest.fixture
def jetson(tmp_path, monkeypatch, library):
    made = Machine(tmp_path, monkeypatch, library, integrated=True)
    yield made
    made.close()


@pytest.fixture
def camera():
    """A pool of frames, and how to make one."""
    with FramePool.create(f'test/{secrets.token_hex(6)}', slots=3, slot_bytes=60 * 80 * 3) as pool:

        def frame(seed):
            with pool.writing() as slot:
                slot.picture(80, 60)[...] = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8)
                return slot.publish(FrameInfo(seed, 'camera', seed))

        yield frame


def turned(angle, scale, x, y):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


def expected(pixels, sampling, dtype=np.float32):
    where = crop.Bgr(0, pixels.shape[1], pixels.shape[0], pixels.strides[0], pixels.shape[2])
    task = crop.task(where, crop.Output(0, WIDTH, HEIGHT), sampling, NORM)
    return crop.crop((pixels,), task, dtype)


class TestFill:
    @pytest.mark.parametrize('kind', [TensorProto.FLOAT, TensorProto.FLOAT16])
    def test_the_network_gets_what_the_reference_gives(self, machine, camera, kind):
        machine.load(kind=kind)
        with FrameReader([machine.frames.map]) as reader:
            for seed in range(5):
                with reader.lease(camera(seed)) as lease:
                    part = lease.pixels[7 + seed : 50, 5:70]
                    sampling = crop.Sampling((33, 20), turned(0.3, 1.2, 4, 2), (1, 0, 18, 11), 114)
                    machine.input.fill(part, sampling)
                    machine.gain[:] = seed
                    got = machine.run().copy()
                    np.testing.assert_array_equal(got[0], seed * expected(part, sampling, got.dtype.type))
        assert not machine.cuda.mapped, 'the reader has let go'

    def test_pixels_of_a_channel_may_lie_together_or_those_of_a_pixel(self, machine, camera):
        machine.load(layout='nhwc')
        sampling = crop.Sampling((80, 60), turned(0.3, 1.2, 4, 2))
        with FrameReader([machine.frames.map]) as reader, reader.lease(camera(0)) as lease:
            machine.input.fill(lease.pixels, sampling)
            np.testing.assert_array_equal(machine.run()[0].transpose(2, 0, 1), expected(lease.pixels, sampling))

    def test_several_pictures_in_one_run(self, machine, camera):
        machine.load(count=3)
        maps = [crop.Sampling((80, 40), turned(0.1 * turn, 1.0, 9, 9)) for turn in range(3)]
        with FrameReader([machine.frames.map]) as reader, reader.lease(camera(0)) as lease:
            parts = [lease.pixels[5 * place :][:40] for place in range(3)]
            for _ in range(3):
                for place, (part, sampling) in enumerate(zip(parts, maps, strict=True)):
                    machine.input.fill(part, sampling, place)
                got = machine.run()
                for place, (part, sampling) in enumerate(zip(parts, maps, strict=True)):
                    np.testing.assert_array_equal(got[place], expected(part, sampling))

    @pytest.mark.parametrize(
        'change',
        [lambda p: p.copy(), lambda p: p[::2, ::-1], lambda p: np.dstack([p, p[..., :1]]), lambda p: p[::-1]],
        ids=['in no pool', 'with steps', 'bgra', 'upside down'],
    )
    def test_any_pixels_will_do(self, machine, camera, change):
        machine.load()
        with FrameReader([machine.frames.map]) as reader, reader.lease(camera(0)) as lease:
            pixels = change(lease.pixels)
            sampling = crop.Sampling(pixels.shape[1::-1], turned(0.3, 1.2, 4, 2))
            machine.input.fill(pixels, sampling)
            np.testing.assert_array_equal(machine.run()[0], expected(pixels, sampling))


class TestCopies:
    """Copies: besides that of the gain on a card, which has memory of its own."""

    def crop(self, machine, camera, rows=slice(20, 30), columns=slice(10, 60)):
        machine.load()
        for seed in range(3):
            with FrameReader([machine.frames.map]) as reader, reader.lease(camera(seed)) as lease:
                part = lease.pixels[rows, columns]
                machine.input.fill(part, crop.Sampling(part.shape[1::-1], np.eye(2, 3)))
                machine.cuda.copied_bytes = 0
                machine.run()
        # What the other input and the output take.
        return machine.cuda.copied_bytes - (0 if machine.cuda.device.integrated else 4 + machine.out.nbytes)

    def test_none_on_a_device_that_shares_the_hosts_memory(self, jetson, camera):
        pinned = len(jetson.cuda.host)
        assert self.crop(jetson, camera) == 0
        assert len(jetson.cuda.host) - pinned == 3, 'the inputs and the output, and nothing for the frame'

    def test_the_rows_of_the_crop_elsewhere(self, tmp_path, monkeypatch, library, camera):
        card = Machine(tmp_path, monkeypatch, library)
        assert self.crop(card, camera) == 9 * 80 * 3 + 50 * 3
        assert len(card.cuda.host) == 3
        card.close()

    @pytest.mark.parametrize('integrated', [False, True])
    def test_the_crop_alone_where_the_pool_cannot_be_mapped(
        self, tmp_path, monkeypatch, library, camera, integrated, caplog
    ):
        card = Machine(tmp_path, monkeypatch, library, integrated=integrated, host_register=False)
        assert self.crop(card, camera) == (0 if integrated else 10 * 50 * 3)
        assert len(card.cuda.host) == 4
        lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(lines) == 3, 'once for each reader'
        assert lines[0].endswith('are copied to the GPU: Fake Nano cannot map memory that is there already: copy '
                                 'through pinned memory')  # fmt: skip
        card.close()

    def test_memory_is_taken_for_the_largest_crop_only(self, machine, camera):
        machine.load()
        with FrameReader([machine.frames.map]) as reader, reader.lease(camera(0)) as lease:
            for height in (10, 40, 20, 40, 5):
                sampling = crop.Sampling((80, height), np.eye(2, 3))
                machine.input.fill(lease.pixels[:height], sampling)
                np.testing.assert_array_equal(machine.run()[0], expected(lease.pixels[:height], sampling))
                if height == 40:
                    taken = machine.cuda.allocations, machine.pool.free_bytes
            assert (machine.cuda.allocations, machine.pool.free_bytes) == taken


class TestFrameMap:
    def test_sees_what_lies_in_a_pool_that_a_reader_has_open(self, jetson, camera):
        frames = jetson.load().frames.map
        with FrameReader([frames]) as reader, FrameReader([frames]) as other:
            with reader.lease(camera(0)) as lease, other.lease(camera(1)) as another:
                assert frames.find(lease.pixels) == lease.pixels.ctypes.data + fake_tensorrt.SEEN_AT
                part = another.pixels[5:9, 3:]
                assert frames.find(part) == part.ctypes.data + fake_tensorrt.SEEN_AT
                assert frames.find(lease.pixels.copy()) is None
                assert len(jetson.cuda.mapped) == 2
            with reader.lease(camera(2)) as lease:
                other.close()
                assert len(jetson.cuda.mapped) == 1
                assert frames.find(lease.pixels) is not None
        assert not jetson.cuda.mapped

    def test_closes_what_readers_have_left(self, jetson, camera):
        frames = jetson.load().frames.map
        reader = FrameReader([frames])
        reader.lease(camera(0)).release()
        frames.close()
        frames.close()
        assert not jetson.cuda.mapped
        reader.close()

    def test_a_refusal_to_unmap_is_told_and_keeps_nothing_from_closing(self, jetson, camera, monkeypatch, caplog):
        frames = jetson.load().frames.map
        reader = FrameReader([frames])
        reader.lease(camera(0)).release()

        def refuse(mapped):
            type(jetson.cuda).unmap_host(jetson.cuda, mapped)
            raise EngineError('the driver has gone')

        monkeypatch.setattr(jetson.cuda, 'unmap_host', refuse)
        reader.close()
        assert 'stays mapped into the GPU: the driver has gone' in caplog.text


class TestRefusals:
    def test_a_network_without_a_way_to_frames_has_none(self, jetson):
        jetson.load()
        plain = TensorRtEngine(jetson.path, jetson.cuda, jetson.pool)
        assert device_of(plain) is None
        with pytest.raises(EngineError, match='was loaded without a way to frames'):
            _ = plain.frames
        plain.close()

    def test_what_is_no_picture(self, jetson):
        jetson.load()
        device = device_of(jetson.engine)
        with pytest.raises(EngineError, match=r'input gain of \(1,\), float32, is no picture'):
            DeviceInput(device, 'gain', NORM, planar=True)
        with pytest.raises(EngineError, match='is no picture'):
            DeviceInput(device, 'picture', NORM, planar=False)
        with pytest.raises(EngineError, match='has no input other: it has picture, gain'):
            DeviceInput(device, 'other', NORM, planar=True)
        with pytest.raises(EngineError, match='has no input out'):
            device.device_input('out')

    def test_a_crop_for_which_there_is_no_room_leaves_the_network_usable(self, tmp_path, monkeypatch, library):
        card = Machine(tmp_path, monkeypatch, library).load()
        small = card.pool.take(card.pool.free_bytes - 1024, 'all but a little')
        pixels = np.zeros((60, 80, 3), np.uint8)
        with pytest.raises(DeviceMemoryError, match='a part of a frame for picture takes 15 KiB'):
            card.input.fill(pixels, crop.Sampling((80, 60), np.eye(2, 3)))
        card.engine.run({'picture': np.ones_like(card.out), 'gain': card.gain}, {'out': card.out})
        assert (card.out == 1).all()
        card.pool.give_back(small)
        card.input.fill(pixels, crop.Sampling((80, 60), np.eye(2, 3)))
        np.testing.assert_array_equal(card.run()[0, :, 0, 0], [-1.0, -0.5, 0.0])
        card.close()

    def test_a_run_that_is_refused_leaves_nothing_under_way(self, machine, camera):
        machine.load()
        sampling = crop.Sampling((80, 60), np.eye(2, 3))
        with FrameReader([machine.frames.map]) as reader, reader.lease(camera(0)) as lease:
            machine.input.fill(lease.pixels, sampling)
            with pytest.raises(EngineError, match='wants an input gain'):
                machine.input.run({}, {'out': machine.out})
            assert not any(machine.cuda.queues.values())
            machine.input.fill(lease.pixels, sampling)
            machine.refusals.execute = 'Cask'
            with pytest.raises(EngineError, match='Cask'):
                machine.run()
            assert not any(machine.cuda.queues.values())
            machine.refusals.execute = ''
            machine.input.fill(lease.pixels, sampling)
            np.testing.assert_array_equal(machine.run()[0], expected(lease.pixels, sampling))

    def test_inputs_are_taken_from_the_host_again_when_it_says_so(self, machine, camera):
        machine.load()
        sampling = crop.Sampling((80, 60), np.eye(2, 3))
        with FrameReader([machine.frames.map]) as reader, reader.lease(camera(0)) as lease:
            for _ in range(3):
                machine.input.fill(lease.pixels, sampling)
                np.testing.assert_array_equal(machine.run()[0], expected(lease.pixels, sampling))
                machine.engine.run(
                    {'picture': np.full_like(machine.out, 7), 'gain': machine.gain}, {'out': machine.out}
                )
                assert (machine.out == 7).all()
        assert machine.cuda.launched == 5, 'a graph from the second run on, the same for both'
