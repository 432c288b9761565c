"""Capture from a V4L2 device, on one at the seam of the kernel's calls: memory and waiting are real."""

import errno
import gc
import importlib.util
import itertools
import math
import os
import re
import select
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.cameras.calibration import CalibrationError
from facefusion_ros.cameras.source import SourceLost
from facefusion_ros.cameras.v4l2 import V4l2Source
from facefusion_ros.cameras.v4l2_device import V4l2Device, holders, stable_names
from facefusion_ros.frames.intrinsics import Intrinsics

spec = importlib.util.spec_from_file_location('v4l2_device', Path(__file__).with_name('v4l2_device.py'))
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)

MS = 1_000_000
WIDTH, HEIGHT = 64, 48
SIZE = (WIDTH, HEIGHT)
EPOCH_NS = 1_700_000_000_000_000_000
WEIGHTS = {1: (0.299, 0.114), 2: (0.2126, 0.0722), 6: (0.2627, 0.0593)}
BARS = [
    (20, 40, 200),
    (200, 60, 30),
    (0, 0, 0),
    (255, 255, 255),
    (135, 170, 220),
    (40, 190, 60),
    (0, 0, 255),
    (128,) * 3,
]
RAW = ['NV12', 'NM12', 'NV21', 'NM21', 'YU12', 'YUYV', 'UYVY', 'BGR3', 'RGB3', 'GREY']


class Clock:
    """CLOCK_MONOTONIC and the node's clock, which the test sets."""

    def __init__(self):
        self.monotonic_ns = 5_000_000_000
        self.offset_ns = EPOCH_NS

    def monotonic(self):
        return self.monotonic_ns

    def now(self):
        return self.monotonic_ns + self.offset_ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def film(clock):
    """Open a source on a device of the test; returns both and the format."""
    opened = []

    def start(camera, path='/dev/video9', **options):
        source = V4l2Source(path, clock=clock.now, monotonic=clock.monotonic, kernel=camera, **options)
        opened.append((source, camera))
        return source, source.open()

    yield start
    for source, _ in opened:
        source.close()
    assert all(camera.opened == 0 for _, camera in opened)


def camera(code='GREY', **options):
    return fake.FakeCamera({code: {SIZE: [30]}}, **options)


def grey(value):
    return bytes([value]) * (WIDTH * HEIGHT)


def picture():
    return np.full((HEIGHT, WIDTH, 3), 77, np.uint8)


def numbers(bgr, encoding=1, *, full=False):
    """Y'CbCr of a colour, by the definition (ITU-R BT.601, 709, 2020)."""
    red_weight, blue_weight = WEIGHTS[encoding]
    blue, green, red = (each / 255 for each in bgr)
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    chroma = (blue - luma) / 2 / (1 - blue_weight), (red - luma) / 2 / (1 - red_weight)
    scale = (255, 0, 255) if full else (219, 16, 224)
    values = (scale[0] * luma + scale[1], *(scale[2] * each + 128 for each in chroma))
    return [int(np.clip(round(each), 0, 255)) for each in values]


def bars(code, encoding=1, *, full=False, padding=0):
    """Eight bars of a colour each, as a device lays them down; with rubbish between the rows."""
    step = WIDTH // len(BARS)
    yuv = np.repeat([numbers(each, encoding, full=full) for each in BARS], step, axis=0).astype(np.uint8)
    y, u, v = (np.tile(yuv[:, each], (HEIGHT, 1)) for each in range(3))
    bgr = np.tile(np.repeat(np.uint8(BARS), step, axis=0), (HEIGHT, 1, 1))
    if code == 'GREY':
        rows = [y]
    elif code in ('BGR3', 'RGB3'):
        rows = [(bgr if code == 'BGR3' else bgr[..., ::-1]).reshape(HEIGHT, -1)]
    elif code in ('YUYV', 'UYVY'):
        chroma = np.where(np.arange(WIDTH) % 2, v, u)
        pairs = (y, chroma) if code == 'YUYV' else (chroma, y)
        rows = [np.dstack(pairs).reshape(HEIGHT, -1)]
    elif code == 'YU12':
        rows = [y, u[::2, ::2], v[::2, ::2]]
    else:
        pairs = (u, v) if code in ('NV12', 'NM12') else (v, u)
        rows = [y, np.dstack([each[::2, ::2] for each in pairs]).reshape(HEIGHT // 2, -1)]
    padded = []
    for number, each in enumerate(rows):
        pad = padding // 2 if code == 'YU12' and number else padding
        padded.append(np.pad(each, ((0, 0), (0, pad)), constant_values=99).tobytes())
    return padded if code in ('NM12', 'NM21') else [b''.join(padded)]


def worst(out, expected=BARS):
    """The greatest difference from the bars' colours, away from their edges."""
    step = WIDTH // len(BARS)
    return max(
        int(np.abs(out[:, place * step + 2 : (place + 1) * step - 2].astype(int) - colour).max())
        for place, colour in enumerate(expected)
    )


# -- pictures


@pytest.mark.parametrize('several', [False, True])
@pytest.mark.parametrize('padding', [0, 32])
@pytest.mark.parametrize('code', RAW)
def test_every_format_shows_the_colours_that_were_filmed(film, code, padding, several):
    if code in ('NM12', 'NM21') and not several:
        return
    device = camera(code, padding=padding, several=several)
    device.data_offset = 64 if several else 0
    source, form = film(device)
    assert (form.width, form.height, form.rate_hz) == (*SIZE, 30.0)
    out = picture()
    for _ in range(6):  # more than there are buffers
        assert device.film(*bars(code, padding=padding))
        out[...] = 0
        source.capture(out)
        if code == 'GREY':
            assert worst(out, [(numbers(each)[0],) * 3 for each in BARS]) == 0
        else:
            assert worst(out) <= (0 if code in ('BGR3', 'RGB3') else 4)


@pytest.mark.parametrize('code', ['NV12', 'YUYV', 'UYVY', 'YU12', 'NM21'])
@pytest.mark.parametrize(
    ('colours', 'encoding', 'full'),
    [
        ((8, 0, 0), 1, False),  # sRGB, all by default
        ((8, 0, 1), 1, True),
        ((7, 0, 0), 1, True),  # JPEG
        ((3, 0, 0), 2, False),  # REC709
        ((3, 2, 1), 2, True),
        ((8, 2, 2), 2, False),
        ((10, 0, 0), 6, False),  # BT2020
        ((3, 1, 0), 1, False),
    ],
)
def test_range_and_matrix_are_those_that_the_device_tells(film, code, colours, encoding, full):
    several = code == 'NM21'
    device = camera(code, several=several)
    device.colours = colours
    source, _ = film(device)
    out = picture()
    for _ in range(2):
        device.film(*bars(code, encoding, full=full))
        source.capture(out)
        assert worst(out) <= 4


def test_limited_rgb_becomes_full(film):
    device = camera('BGR3')
    device.colours = (8, 0, 2)
    source, _ = film(device)
    device.film(bytes([16, 235, 126]) * (WIDTH * HEIGHT))
    out = picture()
    source.capture(out)
    assert np.unique(out.reshape(-1, 3), axis=0).tolist() == [[0, 255, 128]]


def jpeg(quality=95):
    content = np.frombuffer(bars('BGR3')[0], np.uint8).reshape(HEIGHT, WIDTH, 3)
    return cv2.imencode('.jpg', content, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@pytest.mark.parametrize('code', ['MJPG', 'JPEG'])
def test_a_jpeg_is_decoded_and_one_that_is_cut_is_passed_over_and_counted(film, code):
    device = fake.FakeCamera({code: {SIZE: [30]}})
    source, _ = film(device, pixel_format='MJPEG')
    whole = jpeg()
    out = picture()
    device.film(whole + bytes(500))  # cameras may pad
    assert source.capture(out).dropped == 0
    assert worst(out) < 25
    first = out.copy()
    rng = np.random.default_rng(3)
    begin = whole.index(b'\xff\xda') + 20  # after the header of the scan
    for _ in range(20):
        lost = int(rng.integers(begin, len(whole) - 40))
        length = int(rng.integers(20, len(whole) - lost - 10))
        spoilt = [whole[:lost], whole[:lost] + whole[lost + length :], b'', bytes(rng.bytes(300))][int(rng.integers(4))]
        out[...] = 0
        waits = device.waits
        device.film(spoilt)
        with ThreadPoolExecutor() as pool:
            taken = pool.submit(source.capture, out)
            while device.waits < waits + 2:  # until it has been looked at and the next is waited for
                select.select([], [], [], 0.001)
            device.film(whole)
            assert taken.result().dropped == 1
        assert np.array_equal(out, first)


def test_a_jpeg_of_another_size_is_a_change_of_the_picture(film):
    device = fake.FakeCamera({'MJPG': {SIZE: [30], (128, 96): [30]}})
    source, _ = film(device)
    device.now = ('MJPG', 128, 96)
    device.film(cv2.imencode('.jpg', np.zeros((96, 128, 3), np.uint8))[1].tobytes())
    with pytest.raises(SourceLost, match='it delivers 128x96 now: opening it anew'):
        source.capture(picture())
    assert source.open().width == 128


def test_pictures_that_are_short_or_that_the_driver_calls_spoilt_are_counted_not_shown(film):
    device = camera()
    source, _ = film(device)
    out = picture()
    device.film(grey(1), flags=fake.MONOTONIC | fake.SPOILT)
    device.film(grey(2))
    device.film(grey(3), flags=fake.MONOTONIC | fake.SPOILT)
    assert source.capture(out).dropped == 1
    assert out[0, 0, 0] == 2
    device.film(grey(4)[:-1])
    device.film(grey(5))
    assert source.capture(out).dropped == 2
    assert out[0, 0, 0] == 5


# -- the newest wins


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3)), min_size=1, max_size=12))
def test_the_newest_is_shown_and_all_others_are_counted(steps):
    """Some pictures are filmed, of which some find no buffer, and some never reach the kernel; then one is taken."""
    clock, device = Clock(), camera()
    source = V4l2Source('/dev/video9', clock=clock.now, monotonic=clock.monotonic, kernel=device)
    source.open()
    out = picture()
    shown = lost = number = 0
    first = True
    for filmed, missing in steps:
        device.sequence += missing
        newest = None
        for _ in range(filmed):
            number = device.sequence
            if device.film(grey(number % 251)):
                newest = number
        if newest is None:
            continue
        lost += source.capture(out).dropped
        shown += 1
        assert out[0, 0, 0] == newest % 251
        if first:  # what came before the first cannot be known but by what was there
            lost, first = newest, False
        assert shown + lost == newest + 1
    source.close()


def test_numbers_that_mean_nothing_are_not_counted_by(film):
    device = camera()
    source, _ = film(device)
    out = picture()
    for sequence, dropped in [(7, 0), (9, 1), (0xFFFFFFFF, 0), (0, 0), (2, 1), (2, 0), (900_000, 0)]:
        device.film(grey(1), sequence=sequence)
        assert source.capture(out).dropped == dropped


# -- times


@pytest.mark.parametrize(
    ('flags', 'exposure', 'early_ms'),
    [
        (fake.MONOTONIC | fake.BEGUN, None, 40),
        (fake.MONOTONIC | fake.BEGUN, 100, 35),  # 10 ms
        (fake.MONOTONIC, 100, 45),
        (fake.MONOTONIC, None, 40),
        (0x4000, None, 0),  # a time that was copied from elsewhere
        (0, None, 0),
    ],
)
def test_stamps_are_the_middle_of_the_exposure_on_the_nodes_clock(film, clock, flags, exposure, early_ms):
    knobs = [] if exposure is None else [fake.Knob(0x009A0902, 'Exposure Time, Absolute', exposure, 1, 1000)]
    device = camera(knobs=knobs)
    source, _ = film(device)
    out = picture()
    for number in range(8):
        clock.monotonic_ns += 33 * MS
        device.film(grey(number), stamp_ns=clock.monotonic_ns - 40 * MS, flags=flags)
        capture = source.capture(out)
        known = math.isfinite(capture.exposure_s)
        assert known == (exposure is not None and number > 3)
        if known:
            assert capture.exposure_s == pytest.approx(exposure * 1e-4)
        early = early_ms if known or exposure is None else 40
        assert capture.stamp_ns == clock.now() - early * MS


def test_a_clock_that_is_set_is_followed_and_no_stamp_comes_twice(film, clock):
    device = camera()
    source, _ = film(device)
    out = picture()

    def stamp(step_ns=0):
        clock.offset_ns += step_ns
        device.film(grey(1), stamp_ns=clock.monotonic_ns)
        return source.capture(out).stamp_ns

    before = stamp()
    assert [stamp(), stamp()] == [before + 1, before + 2]
    assert stamp(3600_000 * MS) == before + 3600_000 * MS
    assert stamp(-7200_000 * MS) == before - 3600_000 * MS


def test_a_stamp_of_another_age_is_that_of_arrival(film, clock):
    device = camera()
    source, _ = film(device)
    out = picture()
    for stamp_ns in (clock.monotonic_ns - 10_000 * MS, clock.monotonic_ns + 5 * MS):
        clock.monotonic_ns += MS
        device.film(grey(1), stamp_ns=stamp_ns)
        assert source.capture(out).stamp_ns == clock.now()


# -- what is chosen

WEBCAM = {
    'YUYV': {(640, 480): [30, 15], (1280, 720): [10, 5], (1920, 1080): [5]},
    'MJPG': {(640, 480): [60, 30], (1280, 720): [60, 30, 15], (1920, 1080): [30]},
}


@pytest.mark.parametrize(
    ('options', 'now', 'rate_hz'),
    [
        ({}, ('YUYV', 640, 480), 30.0),
        ({'size': (1280, 720)}, ('MJPG', 1280, 720), 30.0),
        ({'size': (1280, 720), 'rate_hz': 10.0}, ('YUYV', 1280, 720), 10.0),
        ({'rate_hz': 60.0}, ('MJPG', 640, 480), 60.0),
        ({'rate_hz': 29.97}, ('YUYV', 640, 480), 30.0),
        ({'pixel_format': 'mjpeg'}, ('MJPG', 640, 480), 30.0),
        ({'pixel_format': 'YUYV', 'size': (1920, 1080), 'rate_hz': 5.0}, ('YUYV', 1920, 1080), 5.0),
    ],
)
def test_the_best_that_the_device_has_is_chosen(film, options, now, rate_hz):
    device = fake.FakeCamera(WEBCAM)
    _, form = film(device, **options)
    assert device.now == now
    assert device.rate_hz == rate_hz
    assert (form.width, form.height, form.rate_hz) == (*now[1:], rate_hz)


def test_a_device_left_in_a_format_of_another_program_is_set_to_one_that_can_be_read(film):
    device = fake.FakeCamera({'H264': {(1920, 1080): [30]}, 'YUYV': {(640, 480): [30], (1280, 720): [10]}})
    _, form = film(device)
    assert (device.now[0], form.width) == ('YUYV', 1280)


def test_sizes_of_a_range(film):
    device = fake.FakeCamera({'NV12': {(16, 16): [], (4096, 2160): []}}, step=16)
    _, form = film(device, size=(1280, 720))
    assert (form.width, form.height) == (1280, 720)
    with pytest.raises(
        SourceLost, match='1281x720 is not available: set width and height to one of 16x16 to 4096x2160'
    ):
        film(fake.FakeCamera({'NV12': {(16, 16): [], (4096, 2160): []}}, step=16), size=(1281, 720))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'pixel_format': 'NV12'}, 'no pixel format NV12, it has YUYV, MJPG: set pixel_format to YUYV, MJPG'),
        ({'size': (800, 600)}, '800x600 is not available: set width and height to one of 640x480, 1280x720, 1920x1080'),
        (
            {'size': (1280, 720), 'rate_hz': 90.0},
            '90 Hz is not available at 1280x720: set rate_hz to one of 10 Hz, 5 Hz, 60 Hz, 30 Hz, 15 Hz',
        ),
        (
            {'size': (1280, 720), 'rate_hz': 60.0, 'pixel_format': 'YUYV'},
            '60 Hz is not available at 1280x720 in YUYV: set rate_hz to one of 10 Hz, 5 Hz',
        ),
    ],
)
def test_what_is_not_available_is_told_with_what_is(film, options, said):
    device = fake.FakeCamera(WEBCAM)
    with pytest.raises(SourceLost) as lost:
        film(device, **options)
    assert str(lost.value) == f'/dev/video9: {said}'
    assert device.opened == 0


def test_formats_that_cannot_be_read_are_named(film):
    with pytest.raises(
        SourceLost, match=r'no pixel format that can be read, it has BA81, pRAA: what can be read is NV12'
    ):
        film(fake.FakeCamera({'BA81': {SIZE: []}, 'pRAA': {SIZE: []}}))
    with pytest.raises(SourceLost, match=r'pixel_format H265 cannot be read: use one of NV12, YUYV'):
        V4l2Source('/dev/video9', clock=int, pixel_format='H265')


def test_a_driver_that_does_what_it_likes_is_told(film):
    device = fake.FakeCamera({'NV12': {(640, 480): []}})
    device.refusals['sizes'] = errno.ENOTTY  # nor does it tell
    with pytest.raises(SourceLost, match='NV12 of 1280x720 is not available, it makes NV12 of 640x480 of it'):
        film(device, size=(1280, 720))
    device.refusals['get_rate'] = errno.ENOTTY
    with pytest.raises(SourceLost, match='its rate cannot be set: leave rate_hz at 0'):
        film(device, rate_hz=20.0)
    assert film(device)[1].width == 640
    fields = camera()
    fields.field = 7
    with pytest.raises(SourceLost, match='single fields of interlaced video'):
        film(fields)


def test_the_calibration_follows_the_size(film):
    calibrated = Intrinsics(640, 480, 500.0, 500.0, 319.5, 239.5)
    _, form = film(camera(), intrinsics=calibrated)
    assert form.intrinsics == Intrinsics(64, 48, 50.0, 50.0, 31.5, 23.5)
    device = fake.FakeCamera({'GREY': {(64, 64): []}})
    with pytest.raises(CalibrationError, match='another shape'):
        film(device, intrinsics=calibrated)
    assert device.opened == 0


# -- what is not there, and what goes away


@pytest.mark.parametrize(
    ('can', 'said'),
    [
        (fake.META | fake.STREAMING, 'gives the metadata of a camera and no pictures: '),
        (0x2 | fake.STREAMING, 'is no camera: '),
        (fake.CAPTURE, 'is no camera: '),
    ],
)
def test_a_node_that_gives_no_pictures_is_told(film, can, said):
    with pytest.raises(SourceLost, match=re.escape(f'/dev/video9: this node (Camera of the test) {said}')):
        film(camera(can=can))


def test_a_real_file_that_is_no_device_is_told(clock):
    for path, said in ((os.devnull, 'is no camera'), ('/dev/video987', 'there is no camera /dev/video987')):
        with pytest.raises(SourceLost, match=said):
            V4l2Source(path, clock=clock.now).open()


@pytest.mark.parametrize('call', ['set_format', 'request', 'start'])
def test_a_device_that_another_program_films_with_is_told(film, call):
    device = camera()
    device.refusals[call] = errno.EBUSY
    with pytest.raises(SourceLost, match=r'/dev/video9 is busy, .* cannot be used: end the other program'):
        film(device)
    assert device.opened == 0
    device.refusals.clear()
    film(device)


def test_the_program_that_has_a_device_is_named(tmp_path):
    node = tmp_path / 'video9'
    node.touch()
    for number, name, path in ((12, 'cheese', node), (7, 'bash', tmp_path), (os.getpid(), 'python', node)):
        process = tmp_path / 'proc' / str(number)
        (process / 'fd').mkdir(parents=True)
        (process / 'comm').write_text(f'{name}\n')
        (process / 'fd' / '5').symlink_to(path)
    assert holders(str(node), tmp_path / 'proc') == ['cheese (process 12)']
    with node.open() as _:
        assert holders(str(node)) == []  # nobody but this program itself


def test_no_permission_tells_whose_it_would_take(film):
    device = camera()
    device.open_refusal = errno.EACCES
    with pytest.raises(SourceLost, match=r"no permission to use /dev/video9: 'sudo usermod -aG video \$USER'"):
        film(device)


def test_a_closed_source_holds_nothing_of_the_device(film):
    """Not even until the next collection of garbage: who pulls a module, or films next, need not wait for that."""
    device = camera('NV12')
    source, _ = film(device)
    gc.disable()
    try:
        for _ in range(6):
            device.film(*bars('NV12'))
            source.capture(picture())
        source.close()
        maps = Path('/proc/self/maps').read_text()
        inode = os.fstat(device.memory).st_ino
        assert not [line for line in maps.splitlines() if 'memfd:camera' in line and line.split()[4] == str(inode)]
    finally:
        gc.enable()


def test_close_ends_a_waiting_capture(film):
    device = camera()
    source, _ = film(device, timeout_s=60.0)
    raised = []

    def capture():
        try:
            source.capture(picture())
        except SourceLost as error:
            raised.append(str(error))

    thread = threading.Thread(target=capture)
    thread.start()
    while not device.waits:
        select.select([], [], [], 0.001)
    source.close()
    thread.join()
    assert raised == ['/dev/video9: closed']
    source.close()
    with pytest.raises(SourceLost, match='closed'):
        source.capture(picture())
    source.open()
    device.film(grey(3))
    source.capture(picture())


def test_a_camera_that_falls_silent_is_lost_in_time(film):
    source, _ = film(camera(), timeout_s=0.05)
    with pytest.raises(SourceLost, match=r'no picture for 0\.05 s: look at the cable'):
        source.capture(picture())


def test_a_camera_that_is_unplugged_is_lost_and_found_again(film):
    device = camera()
    source, _ = film(device)
    device.film(grey(1))
    out = picture()
    source.capture(out)
    device.unplug()
    with pytest.raises(SourceLost, match='the camera /dev/video9 has gone away: plug it in again'):
        source.capture(out)
    source.close()
    assert device.opened == 0
    with pytest.raises(SourceLost, match='there is no camera'):
        source.open()
    device.gone = False
    source.open()
    device.film(grey(9))
    source.capture(out)
    assert out[0, 0, 0] == 9


@pytest.fixture
def devices(tmp_path):
    """A /dev of the test: plug cameras in and out of it, with the names that udev gives them."""

    class Devices:
        path = tmp_path

        def plug(self, number, place, make=''):
            node = tmp_path / f'video{number}'
            node.touch()
            for folder, name in (('by-path', place), ('by-id', make)):
                link = tmp_path / 'v4l' / folder / f'{name}-video-index0'
                link.parent.mkdir(parents=True, exist_ok=True)
                if name:
                    link.unlink(missing_ok=True)
                    link.symlink_to(f'../../video{number}')
            return str(node)

        def pull(self, number):
            node = tmp_path / f'video{number}'
            for link in (tmp_path / 'v4l').glob('*/*'):
                if link.resolve() == node:
                    link.unlink()
            node.unlink()

    return Devices()


class Opened:
    """The kernel, of which only the names that were opened matter."""

    def __init__(self):
        self.paths = []

    def open(self, path, flags):
        os.close(os.open(path, flags))
        self.paths.append(Path(path).resolve().name)
        return 5

    def close(self, descriptor):
        assert descriptor == 5


def test_a_camera_that_comes_back_under_another_number_is_found(devices):
    kernel = Opened()
    path = devices.plug(0, 'usb-1', 'Acme')
    device = V4l2Device(path, kernel, devices.path)
    device.open()
    device.close()
    devices.pull(0)
    devices.plug(0, 'usb-2', 'Bolt')  # another camera has taken the number
    with pytest.raises(Exception, match=r'video0 has gone away: plug it in again \(.*by-path/usb-1'):
        device.open()
    devices.plug(3, 'usb-1', 'Acme')
    device.open()
    device.close()
    devices.pull(3)
    devices.plug(4, 'usb-7', 'Acme')  # in another socket
    device.open()
    device.close()
    assert kernel.paths == ['video0', 'video3', 'video4']


def test_names_that_stay(devices):
    path = devices.plug(2, 'usb-1', 'Acme')
    devices.plug(3, 'usb-2')
    names = stable_names(path, devices.path)
    assert [str(Path(name).relative_to(devices.path)) for name in names] == [
        'v4l/by-path/usb-1-video-index0',
        'v4l/by-id/Acme-video-index0',
    ]
    assert stable_names(names[0], devices.path) == ()
    assert stable_names(str(devices.path / 'video9'), devices.path) == ()


def test_a_picture_that_changes_its_size_is_opened_anew(film):
    device = fake.FakeCamera({'GREY': {SIZE: [30], (128, 96): [30]}})
    source, _ = film(device)
    device.change(128, 96)
    with pytest.raises(SourceLost, match='has changed its size or rate: opening it anew'):
        source.capture(picture())
    form = source.open()
    assert (form.width, form.height) == (128, 96)
    device.film(bytes([5]) * (128 * 96))
    out = np.zeros((96, 128, 3), np.uint8)
    source.capture(out)
    assert out.min() == 5


def test_a_grabber_takes_what_is_plugged_into_it(film):
    device = fake.FakeCamera({'GREY': {SIZE: [], (128, 96): []}})
    device.signal = (128, 96)
    assert film(device)[1].width == 128
    silent = camera()
    silent.refusals['signal'] = errno.ENOLINK
    with pytest.raises(SourceLost, match='no picture comes in that it can take: plug in what it films'):
        film(silent)


def test_settings_that_cannot_be_read_any_more_cost_no_picture(film):
    device = camera(knobs=fake.webcam())
    source, _ = film(device)
    out = picture()
    for number in itertools.count():
        device.film(grey(number))
        capture = source.capture(out)
        if number == 2:
            device.refusal = errno.EIO
        if number == 6:
            break
    assert math.isnan(capture.exposure_s)
    device.refusal = 0


def test_a_picture_of_another_shape_is_refused(film):
    source, _ = film(camera())
    with pytest.raises(ValueError, match='do not fit'):
        source.capture(np.empty((48, 65, 3), np.uint8))
