import errno
import itertools
import os
import re
import socket
import threading
from types import SimpleNamespace

import av
import numpy as np
import pytest

from facefusion_ros.cameras import decode
from facefusion_ros.cameras.calibration import CalibrationError
from facefusion_ros.cameras.source import SourceEnded, SourceLost
from facefusion_ros.cameras.video import VideoSource
from facefusion_ros.frames.intrinsics import Intrinsics

COLOURS = {'blue': (200, 60, 30), 'green': (40, 190, 60), 'red': (30, 40, 220), 'skin': (135, 170, 220)}


def number_of(picture):
    return round((float(picture.mean()) - 5) / 10)


def numbers(source, size, until=SourceEnded, most=100):
    """Numbers of the greys the source delivers until it stops, and their captures."""
    out = np.empty((size[1], size[0], 3), np.uint8)
    seen, captures = [], []
    try:
        for _ in range(most):
            captures.append(source.capture(out))
            seen.append(number_of(out))
    except until:
        return seen, captures
    pytest.fail(f'still pictures after {most}')


def opened(path, clock, **options):
    source = VideoSource(str(path), clock=clock, **options)
    return source, source.open()


# -- files


@pytest.mark.parametrize('realtime', [True, False])
def test_every_picture_of_a_file_comes_in_order_with_its_time(tmp_path, film, greys, realtime):
    clock = itertools.count(0, 15_000_000).__next__
    path = film(tmp_path / 'film.mp4', greys(12))
    source, form = opened(path, clock, realtime=realtime)
    assert (form.width, form.height, form.rate_hz, form.intrinsics) == (64, 48, 25.0, None)
    seen, captures = numbers(source, (64, 48))
    assert seen == list(range(12))
    stamps = [capture.stamp_ns for capture in captures]
    assert np.diff(stamps).tolist() == [40_000_000] * 11
    assert all(capture.dropped == 0 for capture in captures)
    source.close()
    source.close()


def test_uneven_times_are_kept(tmp_path, film, greys, clock):
    path = film(tmp_path / 'film.mkv', greys(4), times=[0, 1, 5, 6])
    source, _ = opened(path, clock, realtime=False)
    _, captures = numbers(source, (64, 48))
    gaps = np.diff([capture.stamp_ns for capture in captures])
    assert gaps == pytest.approx([40e6, 160e6, 40e6], abs=1e6)  # Matroska's times are whole milliseconds


def test_a_film_that_loops_goes_on(tmp_path, film, greys, clock):
    source, _ = opened(film(tmp_path / 'film.mp4', greys(3)), clock, realtime=False, loop=True)
    out = np.empty((48, 64, 3), np.uint8)
    seen, stamps = [], []
    for _ in range(8):
        stamps.append(source.capture(out).stamp_ns)
        seen.append(number_of(out))
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1]
    assert np.diff(stamps).tolist() == [40_000_000] * 7
    source.close()


def test_a_still_picture_can_loop(tmp_path, clock):
    still = np.full((30, 41, 3), COLOURS['skin'], np.uint8)
    frame = av.VideoFrame.from_ndarray(still, format='bgr24')
    with av.open(str(tmp_path / 'still.png'), 'w') as container:
        stream = container.add_stream('png')
        stream.width, stream.height, stream.pix_fmt = 41, 30, 'rgb24'
        container.mux(stream.encode(frame))
    source, form = opened(tmp_path / 'still.png', clock, realtime=False, loop=True)
    out = np.zeros((form.height, form.width, 3), np.uint8)
    for _ in range(3):
        source.capture(out)
        assert np.array_equal(out, still)
        out[...] = 0
    source.close()


@pytest.mark.parametrize('colour', COLOURS)
@pytest.mark.parametrize(
    ('codec', 'pixels', 'off'), [('ffv1', 'bgr0', 0), ('ffv1', 'yuv444p', 4), ('mpeg4', 'yuv420p', 8)]
)
def test_colours_are_those_that_were_filmed(tmp_path, film, clock, colour, codec, pixels, off):
    picture = np.full((48, 66, 3), COLOURS[colour], np.uint8)
    picture[:, 33:] = (128, 128, 128)
    source, _ = opened(film(tmp_path / 'film.mkv', [picture], codec=codec, pixels=pixels), clock, realtime=False)
    out = np.empty_like(picture)
    source.capture(out)
    away = np.abs(out.astype(int) - picture)
    assert away[:, :28].max() <= off
    assert away[:, 38:].max() <= off
    source.close()


def test_a_picture_goes_into_memory_that_is_not_dense(tmp_path, film, clock):
    picture = np.random.default_rng(1).integers(0, 256, (21, 33, 3), np.uint8)
    source, _ = opened(film(tmp_path / 'film.mkv', [picture], codec='ffv1', pixels='bgr0'), clock, realtime=False)
    wide = np.zeros((21, 50, 3), np.uint8)
    source.capture(wide[:, 5:38])
    assert np.array_equal(wide[:, 5:38], picture)
    assert not wide[:, :5].any()
    assert not wide[:, 38:].any()
    source.close()


def test_another_size_is_made_by_scaling_and_the_calibration_follows(tmp_path, film, greys, clock):
    calibrated = Intrinsics(640, 480, 500.0, 500.0, 319.5, 239.5)
    path = film(tmp_path / 'film.mp4', greys(2))
    source, form = opened(path, clock, realtime=False, size=(32, 24), intrinsics=calibrated)
    assert form.intrinsics == Intrinsics(32, 24, 25.0, 25.0, 15.5, 11.5)
    assert numbers(source, (32, 24))[0] == [0, 1]
    with pytest.raises(ValueError, match='do not fit'):
        source.capture(np.empty((48, 64, 3), np.uint8))
    source.close()
    with pytest.raises(CalibrationError, match='another shape'):
        opened(path, clock, size=(32, 32), intrinsics=calibrated)


@pytest.mark.parametrize('codec', ['mpeg2video', 'libx264'])
def test_a_change_of_size_on_the_way_is_scaled_to_the_size_of_the_start(tmp_path, film, greys, clock, codec):
    first = film(tmp_path / 'a.ts', greys(6), codec=codec, form='mpegts', keys=1)
    second = film(tmp_path / 'b.ts', greys(12, (128, 96))[6:], codec=codec, form='mpegts', keys=1)
    both = tmp_path / 'both.ts'
    both.write_bytes(first.read_bytes() + second.read_bytes())
    source, form = opened(both, clock, realtime=False)
    size = (form.width, form.height)
    assert size in {(64, 48), (128, 96)}  # of so short a film FFmpeg has seen the end before it shows the beginning
    seen, _ = numbers(source, size)
    assert seen == sorted(set(seen))
    assert {0, 1, 2, 3, 4} | {7, 8, 9, 10, 11} <= set(seen)  # the decoder may lose what was in it at the change
    source.close()


def test_a_file_can_be_opened_again(tmp_path, film, greys, clock):
    source, _ = opened(film(tmp_path / 'film.mp4', greys(3)), clock, realtime=False)
    assert numbers(source, (64, 48))[0] == [0, 1, 2]
    source.open()
    assert numbers(source, (64, 48))[0] == [0, 1, 2]
    source.close()
    assert numbers(source, (64, 48), until=SourceLost)[0] == []


def test_close_ends_a_waiting_capture(tmp_path, film, greys):
    looked = threading.Event()

    def stopped():
        looked.set()
        return 0  # time stands still: the second picture is never due

    source, _ = opened(film(tmp_path / 'film.mp4', greys(2)), stopped)
    out = np.empty((48, 64, 3), np.uint8)
    source.capture(out)
    looked.clear()
    raised = []

    def capture():
        try:
            source.capture(out)
        except SourceLost as error:
            raised.append(str(error))

    thread = threading.Thread(target=capture)
    thread.start()
    looked.wait()
    source.close()
    thread.join()
    assert 'closed' in raised[0]


# -- files that are none


@pytest.mark.parametrize('name', ['letter.txt', 'letter.mp4', 'letter', 'letter.srt'])
def test_a_text_is_no_video(tmp_path, clock, name):
    (tmp_path / name).write_text('1\n00:00:01,000 --> 00:00:02,000\nDear camera,\n' * 50)
    with pytest.raises(SourceLost, match=r'letter.*(not a video|no video)'):
        opened(tmp_path / name, clock)


def test_missing_empty_and_other_things_say_what_to_do(tmp_path, clock):
    with pytest.raises(SourceLost, match='no such file: give the path'):
        opened(tmp_path / 'none.mp4', clock)
    with pytest.raises(SourceLost, match='not a file'):
        opened(tmp_path, clock)
    (tmp_path / 'empty.mp4').touch()
    with pytest.raises(SourceLost, match='not a video, or it is damaged'):
        opened(tmp_path / 'empty.mp4', clock)


@pytest.mark.parametrize(
    ('url', 'number', 'cure'),
    [
        ('film.mp4', errno.EACCES, 'make it readable'),
        ('film.mp4', errno.EIO, r'Input/output error.*ffprobe'),
        ('rtsp://camera/1', errno.ETIMEDOUT, 'look at the address'),
    ],
)
def test_what_the_system_says_becomes_a_cure(clock, url, number, cure):
    said = VideoSource(url, clock=clock)._cure(OSError(number, os.strerror(number)))
    assert re.search(cure, said)


def test_of_a_truncated_file_what_is_readable_is_played(tmp_path, film, greys, clock):
    whole = film(tmp_path / 'whole.mkv', greys(20), keys=1).read_bytes()
    (tmp_path / 'part.mkv').write_bytes(whole[: len(whole) * 6 // 10])
    source, _ = opened(tmp_path / 'part.mkv', clock, realtime=False)
    seen, _ = numbers(source, (64, 48))
    assert seen == list(range(len(seen)))
    assert 5 <= len(seen) < 20
    source.close()
    whole = film(tmp_path / 'whole.mp4', greys(20)).read_bytes()
    (tmp_path / 'part.mp4').write_bytes(whole[: len(whole) * 6 // 10])  # its index is at the end, and lost
    with pytest.raises(SourceLost, match=r'damaged|missing'):
        opened(tmp_path / 'part.mp4', clock)


def test_damage_in_the_middle_costs_pictures_not_the_rest(tmp_path, film, greys, clock):
    content = bytearray(film(tmp_path / 'film.ts', greys(20), codec='mpeg2video', form='mpegts', keys=1).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = np.random.default_rng(2).bytes(400)
    (tmp_path / 'film.ts').write_bytes(content)
    source, _ = opened(tmp_path / 'film.ts', clock, realtime=False)
    seen, _ = numbers(source, (64, 48))
    assert seen[:5] == [0, 1, 2, 3, 4]
    assert seen[-3:] == [17, 18, 19]
    source.close()


@pytest.fixture
def damaged(tmp_path, film, greys):
    """A film whose middle is noise: the path."""

    def make(codec, **options):
        grain = np.random.default_rng(1).integers(0, 5, (48, 64, 3))  # so that a picture is more than a packet
        pictures = [np.clip(grey + grain - 2, 0, 255).astype(np.uint8) for grey in greys(24)]
        content = bytearray(film(tmp_path / 'film.ts', pictures, codec=codec, form='mpegts', **options).read_bytes())
        begin = len(content) // 2
        content[begin : begin + 600] = np.random.default_rng(2).bytes(600)
        (tmp_path / 'damaged.ts').write_bytes(content)
        return tmp_path / 'damaged.ts'

    return make


@pytest.mark.parametrize('codec', ['mpeg2video', 'libx264', 'libx265'])
def test_damage_is_counted_and_the_rest_is_played(damaged, clock, codec):
    source, _ = opened(damaged(codec, keys=1), clock, realtime=False, decoder='software')
    seen, captures = numbers(source, (64, 48))
    assert seen[:4] == [0, 1, 2, 3]
    assert seen[-3:] == [21, 22, 23]
    assert sum(capture.damaged for capture in captures) >= 1
    source.close()


def test_a_sound_film_has_no_damage(tmp_path, film, greys, clock):
    source, _ = opened(film(tmp_path / 'film.ts', greys(12), codec='libx264', form='mpegts'), clock, realtime=False)
    assert sum(capture.damaged for capture in numbers(source, (64, 48))[1]) == 0
    source.close()


def test_damage_of_a_stream_is_counted_too(damaged, camera, clock):
    source, _ = opened(camera(damaged('mpeg2video', keys=1).read_bytes()).url, clock)
    source._newest.join()
    seen, captures = numbers(source, (64, 48), until=SourceLost)
    assert seen == [23]
    assert captures[0].damaged >= 1
    source.close()


# -- decoders


@pytest.mark.parametrize('decoder', ['auto', 'software', 'cuda', 'vaapi'])
@pytest.mark.parametrize(
    ('codec', 'name', 'pixels'),
    [('libx264', 'h264', 'yuv420p'), ('libx265', 'hevc', 'yuv420p'), ('mjpeg', 'mjpeg', 'yuvj420p')],
)
def test_every_codec_is_read_by_whatever_decodes_here(tmp_path, film, greys, clock, codec, name, pixels, decoder):
    path = film(tmp_path / 'film.mkv', greys(20), codec=codec, pixels=pixels)
    source, form = opened(path, clock, realtime=False, decoder=decoder)
    assert numbers(source, (64, 48))[0] == list(range(20))
    said = {
        'auto': f'{name} (in software|by (cuda|vaapi))',
        'software': f'{name} in software',
        'cuda': rf'{name} (by cuda|in software \((not one for|there is no|this FFmpeg knows no) cuda.*\))',
        'vaapi': rf'{name} (by vaapi|in software \((not one for|there is no|this FFmpeg knows no) vaapi.*\))',
    }[decoder]
    assert re.fullmatch(said, form.decoder)
    source.close()


@pytest.mark.parametrize(
    ('asked', 'devices', 'found'),
    [
        ('auto', {'cuda': None, 'vaapi': None}, ('cuda', '')),
        ('auto', {'cuda': PermissionError, 'vaapi': None}, ('vaapi', '')),
        ('auto', {'cuda': OSError, 'vaapi': NotImplementedError}, (None, '')),
        ('vaapi', {'vaapi': None}, ('vaapi', '')),
        ('vaapi', {'vaapi': NotImplementedError}, (None, 'this FFmpeg knows no vaapi')),
        ('cuda', {'cuda': OSError}, (None, 'there is no cuda device here, or it is not allowed to be used')),
        ('software', {}, (None, '')),
    ],
)
def test_the_device_is_the_one_that_is_there(monkeypatch, asked, devices, found):
    class Device:
        def __init__(self, name):
            self.problem = devices[name]

        def create(self, _):
            if self.problem:
                raise self.problem

    monkeypatch.setattr(decode, 'HWAccel', Device)
    assert decode.accelerator(asked) == found


def test_a_device_that_cannot_decode_this_codec_leaves_it_to_software():
    def stream(is_hwaccel):
        return SimpleNamespace(codec_context=SimpleNamespace(name='mpeg4', is_hwaccel=is_hwaccel))

    assert decode.described(stream(True), 'cuda', '') == 'mpeg4 by cuda'
    assert decode.described(stream(False), 'cuda', '') == 'mpeg4 in software (not one for cuda)'
    assert decode.described(stream(False), None, '') == 'mpeg4 in software'


def test_a_clock_that_is_set_back_is_followed_and_gives_no_stamp_twice(tmp_path, film, greys):
    hour = 3_600_000_000_000
    times = iter([hour, hour, hour, *[5] * 40])
    source, _ = opened(film(tmp_path / 'film.mp4', greys(3)), times.__next__)
    out = np.empty((48, 64, 3), np.uint8)
    assert source.capture(out).stamp_ns == hour
    assert source.capture(out).stamp_ns == 5
    source.close()


# -- streams


@pytest.fixture
def stream(tmp_path, film, greys):
    """Two seconds: every grey twice."""
    pictures = [picture for picture in greys(25) for _ in range(2)]
    return film(tmp_path / 'stream.ts', pictures, codec='mpeg2video', form='mpegts', keys=1).read_bytes()


def test_the_newest_picture_wins_and_the_others_are_counted(stream, camera, clock):
    source, form = opened(camera(stream).url, clock)
    assert (form.width, form.height) == (64, 48)
    source._newest.join()
    seen, captures = numbers(source, (64, 48), until=SourceLost)
    assert seen == [24]
    assert [capture.dropped for capture in captures] == [49]
    source.close()


def test_a_camera_that_dies_and_comes_back(stream, camera, clock):
    first = camera(stream)
    source, _ = opened(first.url, clock)
    seen, captures = numbers(source, (64, 48), until=SourceLost)
    assert seen[-1] == 24
    stamps = [capture.stamp_ns for capture in captures]
    assert all(a < b for a, b in itertools.pairwise(stamps))
    assert sum(capture.dropped + 1 for capture in captures) == 50
    first.die()
    source.close()
    with pytest.raises(SourceLost, match='nobody answers there'):
        source.open()
    second = camera(stream, first.port)
    assert second.url == first.url
    source.open()
    assert numbers(source, (64, 48), until=SourceLost)[0][-1] == 24
    source.close()


def test_a_silent_stream_is_lost_in_time(stream, camera, clock):
    source, _ = opened(camera(stream, silent=True).url, clock, timeout_s=0.3)
    seen, _ = numbers(source, (64, 48), until=SourceLost)
    assert seen
    source.close()


def test_a_camera_that_says_nothing_is_lost_in_time(camera, clock):
    with pytest.raises(SourceLost, match=r'no answer within 0\.3 s|damaged'):
        opened(camera(b'', silent=True).url, clock, timeout_s=0.3)


def test_close_ends_a_capture_of_a_silent_stream(stream, camera, clock):
    source, _ = opened(camera(stream, silent=True).url, clock, timeout_s=30.0)
    out = np.empty((48, 64, 3), np.uint8)
    first = threading.Event()
    raised = []

    def capture():
        try:
            while True:
                source.capture(out)
                first.set()
        except SourceLost as error:
            raised.append(str(error))

    thread = threading.Thread(target=capture)
    thread.start()
    first.wait()
    source.close()
    thread.join()
    assert 'closed' in raised[0]


def test_noise_from_the_network_is_no_video(camera, clock):
    with pytest.raises(SourceLost, match=r'not a video|no video'):
        opened(camera(b'220 smtp ready\r\n' * 200).url, clock)


def test_a_password_is_not_told(clock):
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SourceLost) as lost:
        opened(f'rtsp://me:secret@127.0.0.1:{port}/1', clock, timeout_s=2.0)
    assert 'secret' not in str(lost.value)
    assert f'127.0.0.1:{port}' in str(lost.value)
