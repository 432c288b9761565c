"""The kernels' arithmetic: their source, built for the CPU, equals the reference, and that does what OpenCV does."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.kernels import blend, crop, nvcc

NUMBERS = {'float32': np.float32, 'float16': np.float16}


@pytest.fixture(scope='module')
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Build the kernels as a library for this CPU."""
    compiler = shutil.which('g++')
    if compiler is None:
        pytest.skip('g++ is not on this machine')
    library = tmp_path_factory.mktemp('kernels') / 'kernels.so'
    # -O2 as nvcc does; no contraction, as the kernels ask for.
    flags = ['-std=c++17', '-O2', '-ffp-contract=off', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC']
    flags += ['-x', 'c++', f'-I{nvcc.SOURCES}']
    source = Path(__file__).with_name('kernels_on_cpu.cpp')
    done = subprocess.run([compiler, *flags, str(source), '-o', str(library)], text=True, capture_output=True)
    assert not done.returncode, done.stderr
    return ctypes.CDLL(str(library))


def run(library: ctypes.CDLL, name: str, task: np.void) -> None:
    raw = ctypes.create_string_buffer(task.tobytes(), task.nbytes)
    getattr(library, f'run_{name}')(raw)


def address(array: np.ndarray) -> int:
    return array.ctypes.data


@dataclass(frozen=True)
class Nv12Picture:
    """An NV12 frame whose rows lie further apart than they are long."""

    luma: np.ndarray
    chroma: np.ndarray

    @property
    def place(self) -> crop.Nv12:
        height, width = self.luma.shape
        return crop.Nv12(
            address(self.luma), address(self.chroma), width, height, self.luma.strides[0], self.chroma.strides[0]
        )

    @property
    def planes(self) -> tuple[np.ndarray, ...]:
        return self.luma, self.chroma

    def bgr(self) -> np.ndarray:
        height, width = self.luma.shape
        joined = np.concatenate((self.luma, self.chroma.reshape(height // 2, width)))
        return cv2.cvtColor(joined, cv2.COLOR_YUV2BGR_NV12)


def nv12(seed: int, width: int, height: int) -> Nv12Picture:
    rng = np.random.default_rng(seed)
    luma = rng.integers(0, 256, (height, width + 6), np.uint8)[:, :width]
    chroma = rng.integers(0, 256, (height // 2, width // 2 + 5, 2), np.uint8)[:, : width // 2]
    return Nv12Picture(luma, chroma)


def smooth(seed: int, width: int, height: int) -> Nv12Picture:
    rng = np.random.default_rng(seed)
    luma = cv2.GaussianBlur(rng.integers(0, 256, (height, width), np.uint8), (0, 0), 6)
    luma = cv2.normalize(luma, None, 0, 255, cv2.NORM_MINMAX)
    chroma = cv2.GaussianBlur(rng.integers(0, 256, (height // 2, width // 2, 2), np.uint8), (0, 0), 6)
    return Nv12Picture(luma, chroma)


def turned(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


maps = st.builds(turned, st.floats(-3.2, 3.2), st.floats(0.05, 4.0), st.floats(-60.0, 120.0), st.floats(-60.0, 120.0))
odd_maps = arrays(np.float64, (2, 3), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))
# OpenCV rounds places to 1/32 of a pixel; maps made of such steps it follows exactly.
maps_of_opencv = st.builds(
    lambda a, b, c, d, e, f: np.array([[a, b, c], [d, e, f]]) / 32.0,
    *[st.integers(-96, 96), st.integers(-96, 96), st.integers(-1500, 3000)] * 2,
)
PIXELS = crop.Normalisation((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class BgrPicture:
    """A part of a BGR or BGRA frame: its rows lie further apart than they are long."""

    pixels: np.ndarray

    @property
    def place(self) -> crop.Bgr:
        height, width, step = self.pixels.shape
        return crop.Bgr(address(self.pixels), width, height, self.pixels.strides[0], step)

    @property
    def planes(self) -> tuple[np.ndarray, ...]:
        return (self.pixels,)


def bgr(seed: int, width: int, height: int, channels: int = 3) -> BgrPicture:
    return BgrPicture(np.random.default_rng(seed).integers(0, 256, (height, width + 3, channels), np.uint8)[:, :width])


def described(picture, output, affine, norm=PIXELS, *, grid=None, place=None, grey=0, matrix=crop.BT601) -> np.void:
    if not isinstance(output, crop.Output):
        output = crop.Output(0, *output)
    where = picture.place
    sampling = crop.Sampling(grid or (where.width, where.height), affine, place, grey)
    return crop.task(where, output, sampling, norm, matrix)


def cropped(picture, task: np.void, number: str = 'float32') -> np.ndarray:
    return crop.crop(picture.planes, task, NUMBERS[number])


class TestCrop:
    @pytest.mark.parametrize('number', NUMBERS)
    @settings(max_examples=80, deadline=None)
    @given(data=st.data(), seed=st.integers(0, 2**32), affine=maps | odd_maps, gain=st.floats(-600.0, 600.0))
    def test_the_kernel_equals_the_reference(self, on_cpu, number, data, seed, affine, gain):
        kind = data.draw(st.sampled_from(['nv12', 'bgr', 'bgra']))
        frame = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
        size = data.draw(st.tuples(st.integers(1, 50), st.integers(1, 50)))
        if kind == 'nv12':
            frame = (2 * frame[0], 2 * frame[1])
            picture = nv12(seed, *frame)
        else:
            picture = bgr(seed, *frame, len(kind))
        averaged = data.draw(st.booleans())
        grid = tuple(data.draw(st.integers(1, side)) for side in frame) if averaged else frame
        places = st.tuples(*[st.integers(-2, 40)] * 2, *[st.integers(0, 60)] * 2)
        beside = {'place': data.draw(st.none() | places), 'grey': data.draw(st.integers(0, 255))}
        matrix = data.draw(st.sampled_from([crop.BT601, crop.BT709]))
        norm = crop.Normalisation(
            (gain, 1 / 127.5, 0.0171), (-1.0, 3.0e4, 0.5 / gain if gain else 0.0), data.draw(st.booleans())
        )
        planar = data.draw(st.booleans())
        guard = 7
        room = np.full(3 * size[0] * size[1] + guard, -77.0, NUMBERS[number])
        with np.errstate(over='ignore', invalid='ignore'):
            output = crop.Output(address(room), *size, planar)
            task = described(picture, output, affine, norm, grid=grid, matrix=matrix, **beside)
            expected = cropped(picture, task, number)
        run(on_cpu, f'crop_{number}', task)
        written = room[:-guard]
        if planar:
            np.testing.assert_array_equal(written.reshape(3, size[1], size[0]), expected)
        else:
            np.testing.assert_array_equal(written.reshape(size[1], size[0], 3).transpose(2, 0, 1), expected)
        np.testing.assert_array_equal(room[-guard:], -77.0)

    def test_both_describe_a_task_with_the_same_bytes(self, on_cpu):
        assert on_cpu.size_of_crop() == crop.TASK.itemsize
        assert on_cpu.size_of_blend() == blend.TASK.itemsize

    def test_the_reference_converts_colours_as_opencv_does_to_the_byte(self):
        picture = nv12(1, 64, 48)
        rgb = cropped(picture, described(picture, (64, 48), np.eye(2, 3)))
        np.testing.assert_array_equal(rgb.transpose(1, 2, 0)[..., ::-1], picture.bgr())

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 1000), affine=maps_of_opencv)
    def test_the_reference_warps_as_opencv_does(self, seed, affine):
        picture = smooth(seed, 96, 80)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(picture.bgr(), affine, (64, 56), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        result = cropped(picture, described(picture, (64, 56), affine))
        assert np.abs(result.transpose(1, 2, 0)[..., ::-1] - warped).max() <= 0.52  # OpenCV's result is whole

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 1000), data=st.data())
    def test_the_reference_averages_as_opencv_does(self, seed, data):
        width, height = data.draw(st.integers(2, 90)), data.draw(st.integers(2, 90))
        grid = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
        picture = bgr(seed, width, height)
        smaller = cv2.resize(picture.pixels, grid, interpolation=cv2.INTER_AREA)
        result = cropped(picture, described(picture, grid, np.eye(2, 3), grid=grid))
        # OpenCV leaves out what a cell has of a pixel where that is less than a thousandth, and its result is whole.
        assert np.abs(result.transpose(1, 2, 0)[..., ::-1] - smaller).max() <= 1.02

    def test_beside_its_place_is_grey(self, on_cpu):
        picture = bgr(2, 40, 30)
        written = np.zeros((3, 16, 20), np.float32)
        output = crop.Output(address(written), 20, 16)
        task = described(picture, output, np.eye(2, 3), place=(3, 4, 18, 15), grey=114)
        run(on_cpu, 'crop_float32', task)
        whole = cropped(picture, described(picture, (20, 16), np.eye(2, 3)))
        seen = cropped(picture, task)
        np.testing.assert_array_equal(written, seen)
        np.testing.assert_array_equal(seen[:, 4:15, 3:18], whole[:, 4:15, 3:18])
        seen[:, 4:15, 3:18] = 114
        assert (seen == 114).all()

    def test_bt709_keeps_grey_grey_and_gives_its_primaries(self):
        """Y, U, V of red and white by the formula of ITU-R BT.709, luma 16 to 235."""
        red_y, blue_y = 16 + 219 * 0.2126, 16 + 219 * 0.0722
        for y, u, v, rgb in [
            (235, 128, 128, (255, 255, 255)),
            (16, 128, 128, (0, 0, 0)),
            (red_y, 128 - 112 * 0.2126 / 0.9278, 240, (255, 0, 0)),
            (blue_y, 240, 128 - 112 * 0.0722 / 0.7874, (0, 0, 255)),
        ]:
            picture = Nv12Picture(np.full((2, 2), round(y), np.uint8), np.array([[[round(u), round(v)]]], np.uint8))
            task = described(picture, (2, 2), np.eye(2, 3), matrix=crop.BT709)
            assert np.abs(cropped(picture, task)[:, 0, 0] - rgb).max() <= 2

    def test_normalises_in_the_terms_of_the_network(self):
        picture = nv12(3, 16, 16)
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        norm = crop.Normalisation.of(1 / 255, mean, std, blue_first=True)
        expected = (picture.bgr() / 255 - mean) / std
        result = cropped(picture, described(picture, (16, 16), np.eye(2, 3), norm))
        np.testing.assert_allclose(result.transpose(1, 2, 0), expected, atol=1e-6)

    @pytest.mark.parametrize(
        ('picture', 'size', 'options', 'words'),
        [
            (crop.Nv12(0, 0, 3, 4, 4, 4), (8, 8), {}, 'even'),
            (crop.Bgr(0, 4, 4, 12), (0, 8), {}, 'no crop of 0 x 8'),
            (crop.Bgr(0, 4, 4, 12), (8, 20000), {}, '16384'),
            (crop.Bgr(0, 4, 4, 12), (8, 8), {'grey': 256}, 'no grey'),
            (crop.Bgr(0, 4, 4, 12), (8, 8), {'grid': (5, 4)}, 'cannot be averaged to 5 x 4'),
            (crop.Bgr(0, 4, 4, 12), (8, 8), {'grid': (4, 0)}, 'cannot be averaged to 4 x 0'),
        ],
    )
    def test_refuses_what_the_kernel_cannot_do(self, picture, size, options, words):
        with pytest.raises(EngineError, match=words):
            described(SimpleNamespace(place=picture), size, np.eye(2, 3), **options)


def blend_task(frame, patch, mask, region, affine, colours) -> np.void:
    height, width = frame.shape[:2]
    return blend.task(
        blend.BgrFrame(address(frame), width, height, frame.strides[0]),
        region,
        blend.Patch(address(patch), address(mask), mask.shape[1], mask.shape[0]),
        affine,
        colours,
    )


TO_BYTES = blend.ColourMap((127.5,) * 3, (127.5,) * 3)


class TestBlend:
    @pytest.mark.parametrize('number', NUMBERS)
    @settings(max_examples=60, deadline=None)
    @given(
        seed=st.integers(0, 2**32),
        size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
        affine=maps | odd_maps,
        blue_first=st.booleans(),
        gain=st.floats(-300.0, 300.0),
        rows=st.integers(1, 50),
        columns=st.integers(1, 50),
        odd=st.sampled_from([0.0, np.nan, np.inf, -np.inf, 6.0e4]),
        solid=st.booleans(),
    )
    def test_the_kernel_equals_the_reference(
        self, on_cpu, number, seed, size, affine, blue_first, gain, rows, columns, odd, solid
    ):
        rng = np.random.default_rng(seed)
        frame = rng.integers(0, 256, (60, 63, 3), np.uint8)[:, :60]
        patch = rng.uniform(-1.2, 1.2, (3, size[1], size[0])).astype(NUMBERS[number])
        patch.flat[rng.integers(patch.size)] = odd
        mask = rng.integers(0, 256, patch.shape[1:], np.uint8)
        if solid:
            mask[:] = 255
        region = (int(rng.integers(0, 61 - columns)), int(rng.integers(0, 61 - rows)), columns, rows)
        colours = blend.ColourMap((gain, 127.5, 140.0), (127.5, 100.0, 128.5), blue_first)
        with np.errstate(over='ignore', invalid='ignore'):
            task = blend_task(frame, patch, mask, region, affine, colours)
        expected = frame.copy()
        blend.blend(expected, patch, mask, task)
        run(on_cpu, f'blend_{number}', task)
        np.testing.assert_array_equal(frame, expected)

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 1000), affine=maps)
    def test_touches_nothing_where_the_mask_is_zero_nor_beyond_the_region(self, seed, affine):
        rng = np.random.default_rng(seed)
        frame = rng.integers(0, 256, (48, 64, 3), np.uint8)
        patch = rng.uniform(-1, 1, (3, 24, 24)).astype(np.float32)
        mask = np.full((24, 24), 255, np.uint8)
        mask[:8] = 0
        region = (10, 5, 40, 30)
        task = blend_task(frame, patch, mask, region, affine, TO_BYTES)
        result = frame.copy()
        blend.blend(result, patch, mask, task)
        u, v = np.meshgrid(np.arange(64), np.arange(48))
        y = affine[1, 0] * u + affine[1, 1] * v + affine[1, 2]
        untouched = (y < 7 - 1e-3) | (u < 10) | (v < 5) | (u >= 50) | (v >= 35)
        np.testing.assert_array_equal(result[untouched], frame[untouched])

    def test_a_full_mask_gives_the_patch_and_ties_go_to_the_even_value(self, on_cpu):
        frame = np.full((1, 4, 3), 9, np.uint8)
        patch = np.tile(np.array([[0.5, 1.5, 2.5, 300.0]], np.float32), (3, 1, 1))
        mask = np.full((1, 4), 255, np.uint8)
        plain = blend.ColourMap((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
        task = blend_task(frame, patch, mask, (0, 0, 4, 1), np.eye(2, 3), plain)
        by_reference = frame.copy()
        blend.blend(by_reference, patch, mask, task)
        run(on_cpu, 'blend_float32', task)
        even = np.array([[0, 2, 2, 255]], np.uint8)[..., None].repeat(3, 2)
        np.testing.assert_array_equal(by_reference, even)
        np.testing.assert_array_equal(frame, even)

    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 1000), affine=maps_of_opencv)
    def test_the_reference_is_opencvs_warp_and_the_textbooks_mix(self, seed, affine):
        rng = np.random.default_rng(seed)
        patch = cv2.GaussianBlur(rng.uniform(-1, 1, (48, 40, 3)).astype(np.float32), (0, 0), 4)
        mask = cv2.GaussianBlur(rng.integers(0, 256, (48, 40), np.uint8), (0, 0), 4)
        frame = rng.integers(0, 256, (60, 60, 3), np.uint8)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        value = cv2.warpAffine(patch, affine, (60, 60), flags=flags, borderMode=cv2.BORDER_REPLICATE)[..., ::-1]
        alpha = cv2.warpAffine(mask.astype(np.float32), affine, (60, 60), flags=flags)[..., None] / 255.0
        expected = np.clip(value * 127.5 + 127.5, 0, 255) * alpha + frame * (1 - alpha)
        planes = np.ascontiguousarray(patch.transpose(2, 0, 1))
        task = blend_task(frame, planes, mask, (0, 0, 60, 60), affine, TO_BYTES)
        blend.blend(frame, planes, mask, task)
        assert np.abs(frame - expected).max() <= 0.502

    @pytest.mark.parametrize('region', [(-1, 0, 4, 4), (0, 0, 0, 4), (6, 0, 3, 4), (0, 8, 1, 1)])
    def test_refuses_a_region_beyond_the_frame(self, region):
        frame = np.zeros((8, 8, 3), np.uint8)
        patch, mask = np.zeros((3, 4, 4), np.float32), np.zeros((4, 4), np.uint8)
        with pytest.raises(EngineError, match='does not lie within the frame of 8 x 8'):
            blend_task(frame, patch, mask, region, np.eye(2, 3), TO_BYTES)


class TestCompiler:
    @pytest.mark.parametrize('compute_capability', [(8, 7), (9, 0)])
    def test_every_kernel_compiles_for_the_gpu(self, tmp_path, compute_capability):
        if nvcc.find_nvcc() is None:
            pytest.skip('nvcc, the CUDA compiler, is not on this machine')
        cubin = nvcc.compile_kernels(compute_capability, tmp_path / 'new')
        code = cubin.read_bytes()
        assert code[:4] == b'\x7fELF'
        for kind in ('crop', 'blend'):
            for number in NUMBERS:
                assert f'.text.{kind}_{number}\0'.encode() in code
        before = cubin.stat().st_mtime_ns
        assert nvcc.compile_kernels(compute_capability, tmp_path / 'new') == cubin
        assert cubin.stat().st_mtime_ns == before
        assert [path.name for path in cubin.parent.iterdir()] == [cubin.name]

    def test_nothing_is_fused_that_the_reference_rounds_twice(self, tmp_path):
        if nvcc.find_nvcc() is None:
            pytest.skip('nvcc, the CUDA compiler, is not on this machine')
        ptx = tmp_path / 'kernels.ptx'
        command = [str(nvcc.find_nvcc()), '-ptx', '-arch=sm_87', nvcc.ROUNDING, '-o', str(ptx), str(nvcc.MAIN)]
        subprocess.run(command, check=True)
        assert 'mul.rn.f32' in ptx.read_text()
        assert 'fma.rn' not in ptx.read_text()

    def test_says_what_to_install_where_there_is_no_compiler(self, tmp_path, monkeypatch):
        monkeypatch.setattr(nvcc, 'find_nvcc', lambda: None)
        with pytest.raises(EngineError, match='install the CUDA toolkit'):
            nvcc.compile_kernels((8, 7), tmp_path)

    def test_says_what_the_compiler_said(self, tmp_path):
        if nvcc.find_nvcc() is None:
            pytest.skip('nvcc, the CUDA compiler, is not on this machine')
        with pytest.raises(EngineError, match='does not compile the kernels for sm_11'):
            nvcc.compile_kernels((1, 1), tmp_path)
        assert list(tmp_path.iterdir()) == []
