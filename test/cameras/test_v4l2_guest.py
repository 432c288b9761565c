"""Capture from vivid, the kernel's own camera: its colours, times and controls, and what it refuses."""

import itertools
import re
import time

import numpy as np
import pytest
from guest import Modules

from facefusion_ros.cameras.source import SourceLost
from facefusion_ros.cameras.v4l2 import V4l2Source
from facefusion_ros.cameras.v4l2_controls import V4l2Controls
from facefusion_ros.cameras.v4l2_device import V4l2Device, stable_names
from facefusion_ros.cameras.v4l2_modes import PIXEL_FORMATS

pytestmark = pytest.mark.hardware

SIZE = (320, 180)
# RGB of the kernel's 75 % colour bars, drivers/media/common/v4l2-tpg/v4l2-tpg-colors.c.
BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191)]
META = 0x20000


class Knobs:
    """The controls of a device, by the names that v4l2-ctl has for them."""

    def __init__(self, path):
        self._device = V4l2Device(path)
        self._device.open()
        self._controls = V4l2Controls(self._device)
        self._controls.find()
        self._ids = {control.name: control.id for control in self._controls.present.values()}

    def reset(self, *names):
        present = self._controls.present
        self._controls.set({self._ids[name]: present[self._ids[name]].default for name in names})

    def set(self, **values):
        self._controls.set({self._ids[name]: value for name, value in values.items()})

    def get(self, *names):
        return self._controls.get([self._ids[name] for name in names])

    def names(self):
        return set(self._ids)

    def close(self):
        self._device.close()


def plain(path):
    """Have a camera show the colour bars with nothing written over them."""
    controls = Knobs(path)
    controls.reset('brightness', 'contrast', 'colorspace', 'y_cbcr_encoding', 'quantization')
    controls.set(test_pattern=0, osd_text_mode=2)
    controls.close()


@pytest.fixture
def knobs():
    """Reach the controls of a camera; closed at the end, or the module stays in use."""
    opened = []

    def reach(path):
        opened.append(Knobs(path))
        return opened[-1]

    yield reach
    for each in opened:
        each.close()


@pytest.fixture(scope='module')
def _two_cameras():
    Modules().load('vivid', n_devs=2, node_types=[1, 1], multiplanar=[1, 2])


@pytest.fixture
def vivid(_two_cameras):
    """Two cameras, the second of which keeps the planes of a picture apart: their paths."""
    paths = ['/dev/video0', '/dev/video1']
    for path in paths:
        plain(path)
    return paths


@pytest.fixture
def film():
    """Open sources; closed at the end."""
    opened = []

    def start(path, **options):
        source = V4l2Source(path, clock=time.time_ns, timeout_s=60.0, **options)
        opened.append(source)
        return source, source.open()

    yield start
    for source in opened:
        source.close()


def shown(source, form):
    """A picture, and the colour in the middle of each of its bars, BGR."""
    picture = np.zeros((form.height, form.width, 3), np.uint8)
    capture = source.capture(picture)
    width = form.width / 8
    middles = [round((bar + 0.5) * width) for bar in range(8)]
    patch = [picture[form.height // 2 :, at - 3 : at + 3].reshape(-1, 3) for at in middles]
    assert max(int(np.ptp(each, axis=0).max()) for each in patch) <= 3  # one colour each
    return picture, capture, [tuple(np.median(each, axis=0).astype(int).tolist()) for each in patch]


def many(source, form):
    """Take pictures, more than there are buffers."""
    for _ in range(9):
        shown(source, form)


def grey_of(rgb):
    return [round(0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2])] * 3  # as vivid weighs them


@pytest.mark.parametrize('camera', [0, 1])
@pytest.mark.parametrize('name', [name for name in PIXEL_FORMATS if name != 'MJPG'])
def test_colours_of_every_format(vivid, film, out, camera, name):
    source, form = film(vivid[camera], pixel_format=name, size=SIZE)
    assert (form.width, form.height) == SIZE
    assert source._mode.code in PIXEL_FORMATS[name]
    for _ in range(2):
        picture, _, colours = shown(source, form)
    if name in ('NV12', 'YUYV'):
        (out / f'vivid-{name}-{camera}.ppm').write_bytes(b'P6 320 180 255\n' + picture[..., ::-1].tobytes())
    expected = [list(each[::-1]) if name != 'GREY' else grey_of(each) for each in BARS]
    away = np.abs(np.array(colours[:7]) - expected)
    assert away.max() <= (8 if name == 'GREY' else 6), (colours, expected)


# The control's menu of colour spaces begins with SMPTE 170M, Rec. 709, sRGB; the others have the kernel's numbers.
@pytest.mark.parametrize('name', ['NV12', 'YUYV'])
@pytest.mark.parametrize('encoding', [1, 2, 6])
@pytest.mark.parametrize('quantization', [1, 2])
def test_colours_of_every_range_and_matrix(vivid, knobs, film, name, encoding, quantization):
    controls = knobs(vivid[0])
    controls.set(colorspace=2, y_cbcr_encoding=encoding, quantization=quantization)
    source, form = film(vivid[0], pixel_format=name, size=SIZE)
    colours = shown(source, form)[2]
    expected = [list(each[::-1]) for each in BARS]
    assert np.abs(np.array(colours[:7]) - expected).max() <= 6, (colours, source._mode)


def test_times_are_those_of_the_kernel(vivid, film):
    source, form = film(vivid[0], size=SIZE, rate_hz=15.0)
    assert form.rate_hz == pytest.approx(15.0)
    captures, arrived = [], []
    for _ in range(30):
        captures.append(shown(source, form)[1])
        arrived.append(time.time_ns())
    stamps = [each.stamp_ns for each in captures]
    assert all(a < b for a, b in itertools.pairwise(stamps))
    assert all(stamp < now and now - stamp < 1_000_000_000 for stamp, now in zip(stamps, arrived, strict=True))
    frames = sum(1 + each.dropped for each in captures[1:])
    # By the kernel's clock and count, whatever came between it and this program.
    assert (stamps[-1] - stamps[0]) / frames == pytest.approx(1e9 / 15.0, rel=0.05)


def test_the_newest_comes_after_a_pause_and_the_others_are_counted(vivid, film):
    source, form = film(vivid[0], size=SIZE, rate_hz=30.0)
    shown(source, form)
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        time.sleep(0.1)
    _, capture, _ = shown(source, form)
    # Four buffers were filled and the device waited; the last of the four is shown.
    assert capture.dropped >= 3
    assert shown(source, form)[1].stamp_ns > capture.stamp_ns


def test_controls_are_set_and_read_back(vivid, knobs, film):
    source, form = film(vivid[0], size=SIZE)
    controls = knobs(vivid[0])  # while the source films
    assert {'brightness', 'contrast', 'gain', 'test_pattern'} <= controls.names()
    controls.set(brightness=60, contrast=100)
    assert controls.get('brightness', 'contrast') == [60, 100]
    for _ in range(6):  # buffers that were filled before
        dark = shown(source, form)[0].mean()
    controls.set(brightness=128, contrast=128)
    for _ in range(6):
        bright = shown(source, form)[0].mean()
    assert bright > dark + 20


def test_a_picture_that_changes_on_the_way(vivid, knobs, film):
    source, form = film(vivid[0], size=SIZE)
    shown(source, form)
    controls = knobs(vivid[0])
    controls.set(colorspace=1)
    with pytest.raises(SourceLost, match='has changed its size or rate: opening it anew'):
        many(source, form)
    source.open()
    shown(source, form)


def test_what_it_cannot_do_is_told_with_what_it_can(vivid, film):
    with pytest.raises(SourceLost, match=r'321x180 is not available: set width and height to one of 320x180, 640x360'):
        film(vivid[0], size=(321, 180))
    with pytest.raises(SourceLost, match=r'999 Hz is not available at 320x180: set rate_hz to one of .*\d+ Hz'):
        film(vivid[0], size=SIZE, rate_hz=999.0)


def test_the_program_that_films_with_it_is_named(vivid, film, other_program):
    def filming():
        source = V4l2Source(vivid[0], clock=time.time_ns)
        source.open()
        return source

    other = other_program(filming)
    with pytest.raises(SourceLost, match=rf'{vivid[0]} is busy.*: end .+ \(process {other.pid}\)'):
        film(vivid[0])
    other.kill()
    other.join()
    film(vivid[0])


def test_a_node_of_metadata_is_no_camera(modules, film):
    modules.load('vivid', n_devs=1, node_types=1 | META)
    with pytest.raises(
        SourceLost, match=re.escape('gives the metadata of a camera and no pictures: use /dev/video0 (')
    ):
        film('/dev/video1')


def test_a_camera_that_comes_back_under_another_number(modules, film):
    modules.load('vivid', n_devs=1, node_types=1, vid_cap_nr=0)
    names = stable_names('/dev/video0')
    assert any('by-path' in name for name in names)
    plain('/dev/video0')
    source, form = film('/dev/video0', size=SIZE)
    shown(source, form)
    controls = Knobs('/dev/video0')
    controls.set(disconnect=1)
    controls.close()
    with pytest.raises(SourceLost, match='has gone away: plug it in again'):
        many(source, form)
    source.close()
    modules.unload('vivid')
    with pytest.raises(SourceLost, match='has gone away: plug it in again'):
        source.open()
    modules.load('vivid', n_devs=1, node_types=1, vid_cap_nr=5)
    plain('/dev/video5')
    source.open()
    shown(source, form)
