"""GStreamer's own test pictures through its own elements; what they show and when is known exactly."""

import gc
import itertools
import os
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facefusion_ros.cameras import gstreamer
from facefusion_ros.cameras.calibration import CalibrationError
from facefusion_ros.cameras.gst_library import GstFailure, GstMissing, gst
from facefusion_ros.cameras.gstreamer import GstSource, csi_pipeline, rtsp_pipeline
from facefusion_ros.cameras.source import SourceEnded, SourceLost
from facefusion_ros.frames.intrinsics import Intrinsics

try:
    ABSENT = [
        each for each in ('videotestsrc', 'videoconvert', 'jpegdec', 'matroskademux') if not gst().has_element(each)
    ]
except GstMissing as missing:
    ABSENT = [str(missing)]
installed = pytest.mark.skipif(
    bool(ABSENT),
    reason='left out, GStreamer is not here: apt install gstreamer1.0-plugins-base gstreamer1.0-plugins-good',
)

# White, yellow, cyan, green, magenta, red, blue: SMPTE's bars of full saturation, BGR.
BARS = [(255, 255, 255), (0, 255, 255), (255, 255, 0), (0, 255, 0), (255, 0, 255), (0, 0, 255), (255, 0, 0)]
LIVE = 'videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=30/1'
FILM = 'videotestsrc num-buffers={} ! video/x-raw,width=64,height=48,framerate=30/1'
FRAME_NS = 1e9 / 30


@pytest.fixture
def opened():
    """Open a pipeline: the source, what it delivers, and a picture of that size."""
    sources = []

    def make(text, *, clock=time.monotonic_ns, timeout_s=20.0, **options):
        sources.append(GstSource(f'gst:{text}', clock=clock, timeout_s=timeout_s, **options))
        form = sources[-1].open()
        return sources[-1], form, np.zeros((form.height, form.width, 3), np.uint8)

    yield make
    for source in sources:
        source.close()


def lost(text, **options):
    source = GstSource(text, clock=time.monotonic_ns, **{'timeout_s': 20.0, **options})
    with pytest.raises(SourceLost) as refusal:
        source.open()
    source.close()
    assert '\n' not in str(refusal.value)
    return str(refusal.value)


def until_over(source, out, over=SourceEnded, most=30):
    """What the source delivers until it raises: captures, the mean of each picture, and what was raised."""
    captures, means = [], []
    try:
        for _ in range(most):
            captures.append(source.capture(out))
            means.append(float(out.mean()))
    except over as end:
        return captures, means, str(end)
    pytest.fail(f'still pictures after {most}')


@installed
@pytest.mark.parametrize(
    'caps',
    [
        *(f'format={name},width=330,height=240' for name in ('BGR', 'BGRx', 'RGB', 'RGBA', 'NV12', 'NV21', 'I420')),
        *(f'format={name},width=330,height=240' for name in ('YUY2', 'UYVY', 'Y444', 'YV12', 'ARGB', 'P010_10LE')),
        'format=RGB,width=331,height=241',
        'format=NV12,width=1280,height=720',  # BT.709, by its size
        'format=BGR,width=330,height=240 ! videoconvert ! video/x-raw,format=I420,colorimetry=1:4:0:0',  # as of JPEG
        'format=YUY2,width=330,height=240,colorimetry=bt709',
    ],
)
def test_the_bars_have_their_colours_in_every_format(opened, caps):
    source, form, out = opened(f'videotestsrc num-buffers=2 ! video/x-raw,{caps}')
    source.capture(out)
    columns = [form.width * (2 * bar + 1) // 14 for bar in range(7)]
    for rows in (2, form.height // 2):
        assert np.abs(out[rows, columns].astype(int) - BARS).max() <= 6


@installed
def test_grey_stays_grey(opened):
    source, _, out = opened(
        'videotestsrc num-buffers=2 pattern=gradient ! video/x-raw,format=GRAY8,width=66,height=240'
    )
    source.capture(out)
    assert (np.diff(out[:, 0, 0].astype(int)) >= 0).all()
    assert out[0, 0].max() < 30
    assert out[-1, -1].min() > 225
    assert (out == out[..., :1]).all()


@installed
def test_live_stamps_are_those_of_the_pictures(opened):
    source, form, out = opened(LIVE)
    assert (form.width, form.height, form.rate_hz, form.intrinsics) == (64, 48, 30.0, None)
    begun_ns = time.monotonic_ns()
    captures = [source.capture(out) for _ in range(12)]
    ended_ns = time.monotonic_ns()
    stamps = [capture.stamp_ns for capture in captures]
    assert all(begun_ns - 1e9 < stamp < ended_ns for stamp in stamps)
    steps = np.diff(stamps) / FRAME_NS
    off = np.abs(steps - [capture.dropped + 1 for capture in captures[1:]])
    assert np.median(off) < 0.1  # two clocks are read one after the other, and this thread may wait between


@installed
def test_the_newest_picture_wins_and_the_others_are_counted(opened):
    source, _, out = opened(LIVE)
    first, begun_ns = source.capture(out), time.monotonic_ns()
    while time.monotonic_ns() - begun_ns < 10 * FRAME_NS:  # a reader that is late
        time.sleep(0.01)
    taken = [source.capture(out) for _ in range(4)]
    passed_over = sum(capture.dropped for capture in taken)
    assert passed_over >= 7
    assert round((taken[-1].stamp_ns - first.stamp_ns) / FRAME_NS) == pytest.approx(passed_over + 4, abs=1)


@installed
def test_every_picture_of_a_film_comes_with_its_time(opened):
    source, _, out = opened(FILM.format(8), realtime=False)
    captures, _, end = until_over(source, out)
    assert 'the video is over; let it loop' in end
    assert [capture.dropped for capture in captures] == [0] * 8
    assert np.median(np.diff([capture.stamp_ns for capture in captures])) == pytest.approx(FRAME_NS, abs=5e6)


@installed
def test_a_film_is_played_at_its_own_pace(opened):
    source, _, out = opened(FILM.format(5))
    begun_ns = time.monotonic_ns()
    captures, _, _ = until_over(source, out)
    assert time.monotonic_ns() - begun_ns > 2 * FRAME_NS
    assert sum(capture.dropped + 1 for capture in captures) == pytest.approx(5, abs=1)


@installed
def test_a_film_that_loops_goes_on(opened):
    source, _, out = opened(FILM.format(2), loop=True)
    stamps = [source.capture(out).stamp_ns for _ in range(7)]
    assert all(before < after for before, after in itertools.pairwise(stamps))


@installed
def test_a_live_stream_that_ends_is_lost(opened):
    source, _, out = opened(LIVE.replace('is-live', 'num-buffers=3 is-live'))
    assert 'the stream has ended: start it again' in until_over(source, out, SourceLost)[2]
    source.open()
    source.capture(out)


@installed
def test_a_failing_element_is_named(opened):
    source, _, out = opened(f'{LIVE} ! identity name=cable error-after=5')
    said = until_over(source, out, SourceLost)[2]
    assert re.search('cable: Failed after iterations as requested: .*gst-launch', said)
    assert '\n' not in said


@installed
@pytest.mark.parametrize('sizes', [((64, 48), (128, 96)), ((128, 96), (64, 48)), ((64, 48), (50, 70))])
def test_a_change_of_size_and_format_on_the_way_is_scaled_to_the_size_of_the_start(opened, sizes):
    parts = [
        f'videotestsrc num-buffers=4 ! video/x-raw,width={width},height={height},format={name},framerate=30/1 ! join. '
        for (width, height), name in zip(sizes, ('I420', 'BGRx'), strict=True)
    ]
    source, form, out = opened(f'{"".join(parts)} concat name=join', realtime=False)
    assert (form.width, form.height) == sizes[0]
    columns = [form.width * (2 * bar + 1) // 14 for bar in range(7)]
    for _ in range(8):
        source.capture(out)
        assert np.abs(out[5, columns].astype(int) - BARS).max() <= 12
    with pytest.raises(SourceEnded):
        source.capture(out)


@installed
def test_another_size_is_made_by_scaling_and_the_calibration_follows(opened):
    calibrated = Intrinsics(640, 480, 500.0, 500.0, 319.5, 239.5)
    source, form, out = opened(FILM.format(2), size=(32, 24), intrinsics=calibrated)
    assert form.intrinsics == Intrinsics(32, 24, 25.0, 25.0, 15.5, 11.5)
    source.capture(out)
    assert np.abs(out[4, 2].astype(int) - 255).max() < 4
    with pytest.raises(ValueError, match='do not fit'):
        source.capture(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(CalibrationError, match='another shape'):
        opened(FILM.format(2), size=(32, 32), intrinsics=calibrated)


@installed
def test_of_a_truncated_file_what_is_readable_is_played(tmp_path, film, greys, opened):
    whole = film(tmp_path / 'whole.mkv', greys(20), codec='mjpeg', pixels='yuvj420p').read_bytes()
    (tmp_path / 'part.mkv').write_bytes(whole[: len(whole) * 6 // 10])
    source, _, out = opened(f'filesrc location={tmp_path}/part.mkv ! matroskademux ! jpegdec', realtime=False)
    seen = [round((mean - 5) / 10) for mean in until_over(source, out, (SourceEnded, SourceLost))[1]]
    assert seen == list(range(len(seen)))
    assert 5 <= len(seen) < 20


@installed
def test_close_ends_a_waiting_capture(opened):
    source, _, out = opened('videotestsrc is-live=true ! video/x-raw,framerate=1/100', timeout_s=100.0)
    raised = []

    def capture():
        try:
            while True:
                source.capture(out)
        except SourceLost as error:
            raised.append(str(error))

    thread = threading.Thread(target=capture)
    thread.start()
    source.close()
    thread.join()
    assert 'closed' in raised[0]
    source.close()


@installed
def test_a_camera_that_falls_silent_is_lost_in_time():
    assert 'no picture for 0.2 s: look at the camera' in lost(
        'gst:videotestsrc is-live=true ! valve drop=true', timeout_s=0.2
    )


@installed
def test_nothing_is_left_behind(opened):
    source, _, out = opened(LIVE)
    source.close()
    # Threads of GStreamer's pool end by themselves after a while; more of them must not come.
    before = len(list(Path('/proc/self/task').iterdir()))
    for _ in range(6):
        source.open()
        source.capture(out)
        source.close()
    assert len(list(Path('/proc/self/task').iterdir())) <= before + 1
    assert source._pipeline is None


@installed
def test_memory_does_not_grow(opened):
    source, _, out = opened('videotestsrc pattern=black ! video/x-raw,format=NV12,width=640,height=480', realtime=False)

    def resident():
        gc.collect()
        return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    for _ in range(50):
        source.capture(out)
    before = resident()
    for _ in range(200):
        source.capture(out)
    assert resident() - before < 20e6  # pictures alone would be 92 MB


@installed
@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('nvarguscamerasrc ! nvvidconv', r"no GStreamer element 'nvarguscamerasrc': apt install nvidia-l4t-gstreamer"),
        ('videotestsrc ! warpfield', r"no GStreamer element 'warpfield': mend its name, or install the plugin"),
        ('videotestsrc ! fakesink', 'end the pipeline with raw video, before any sink'),
        ('audiotestsrc', 'end the pipeline with raw video'),
        ('videotestsrc sparkle=1', 'no property "sparkle".*mend the text of the pipeline'),
        ('', 'mend the text of the pipeline'),
        ('filesrc location=/nowhere.mkv ! matroskademux ! jpegdec', r'filesrc0: .*"/nowhere.mkv".*: look whether'),
        ('filesrc location=/etc/passwd ! decodebin', r'decodebin\d+: This appears to be a text file'),
        ('videotestsrc num-buffers=0', 'there is no picture in it'),
        ('videotestsrc ! video/x-raw,format=I420,width=31,height=21', r'I420 of 31 x 21 is odd: .*format=BGR'),
        ('v4l2src device=/dev/video987', r"v4l2src0: .*'/dev/video987'.*: look whether the camera is there"),
        ('rtsp://127.0.0.1:9/secret', r'rtspsrc\d+: .*Failed to connect.*: look whether .* at its address'),
    ],
)
def test_what_cannot_be_opened_says_what_and_what_to_do(text, said):
    assert re.search(said, re.sub(r'(v4l2src|filesrc)\d+:', r'\g<1>0:', lost(f'gst:{text}')))


@installed
def test_a_password_is_not_told():
    said = lost('gst:rtsp://me:word@127.0.0.1:9/1')
    assert 'word' not in said
    assert '127.0.0.1:9' in said


@pytest.mark.parametrize(
    ('domain', 'code', 'text', 'detail', 'cure'),
    [
        ('gst-resource-error-quark', 7, 'Could not open', 'system error: Permission denied', 'usermod -aG video'),
        ('gst-resource-error-quark', 4, 'Device is busy', '', 'end the other program'),
        ('gst-resource-error-quark', 15, 'Unauthorized', '', 'scheme://user:password@host/'),
        ('gst-stream-error-quark', 6, 'no suitable plugins found', 'Missing decoder: H.264', 'gstreamer1.0-libav'),
        ('gst-stream-error-quark', 1, 'Internal data stream error', 'reason not-negotiated (-4)', 'nvvidconv'),
    ],
)
def test_what_gstreamer_says_becomes_a_cure(domain, code, text, detail, cure):
    said = gstreamer._cure(GstFailure(text, element='eye', domain=domain, code=code, detail=detail))
    assert said.startswith(f'eye: {text}')
    assert cure in said


def has(monkeypatch, *elements):
    monkeypatch.setattr(gstreamer, 'gst', lambda: SimpleNamespace(has_element=elements.__contains__))


def test_a_csi_camera_of_a_jetson_goes_through_its_image_processor(monkeypatch):
    has(monkeypatch, 'nvarguscamerasrc', 'nvvidconv')
    assert csi_pipeline('1', (1920, 1080), 30000 / 1001) == (
        'nvarguscamerasrc sensor-id=1 ! '
        'video/x-raw(memory:NVMM),width=1920,height=1080,framerate=30000/1001,format=NV12 ! '
        'nvvidconv ! video/x-raw,format=BGRx'
    )
    with pytest.raises(GstFailure, match='has a number'):
        csi_pipeline('front', (1920, 1080), None)


def test_a_csi_camera_of_a_raspberry_pi_goes_through_libcamera(monkeypatch):
    has(monkeypatch, 'libcamerasrc')
    wanted = 'video/x-raw,width=640,height=480,framerate=30/1,format=NV12'
    assert csi_pipeline('0', (640, 480), None) == f'libcamerasrc ! {wanted}'
    name = '/base/soc/i2c0mux/i2c@1/imx219@10'
    assert csi_pipeline(name, (640, 480), 30.0) == f'libcamerasrc camera-name="{name}" ! {wanted}'
    with pytest.raises(GstFailure, match='by name'):
        csi_pipeline('1', (640, 480), None)


def test_a_machine_without_csi_says_what_it_lacks(monkeypatch):
    has(monkeypatch)
    with pytest.raises(GstFailure, match=r'nvarguscamerasrc .* or libcamerasrc'):
        csi_pipeline('0', (640, 480), None)


def test_rtsp_is_decoded_by_the_jetson_where_it_is_one(monkeypatch):
    has(monkeypatch)
    assert rtsp_pipeline('rtsp://eye/1').endswith('decodebin')
    has(monkeypatch, 'nvvidconv')
    assert rtsp_pipeline('rtsp://eye/1').endswith('decodebin ! nvvidconv ! video/x-raw,format=BGRx')
    with pytest.raises(GstFailure, match='%22'):
        rtsp_pipeline('rtsp://eye/" ! filesink location="x')


@pytest.mark.parametrize(
    ('running_age_ms', 'told_age_ms', 'live', 'age_ms'),
    [
        (40, None, True, 40),
        (40, 90, True, 90),  # the sender's time of day
        (40, 20_000, True, 40),  # of a sender whose clock is wrong
        (40, -5_000, True, 40),
        (-7, None, True, 0),  # from the future
        (60_000, None, True, 0),
        (None, None, True, 0),
        (-500, None, False, -500),  # of a film, read ahead
    ],
)
def test_the_age_of_a_picture_is_the_senders_or_the_pipelines(monkeypatch, running_age_ms, told_age_ms, live, age_ms):
    source = GstSource('gst:x', clock=lambda: 10**12)
    day_ns = 10**18
    monkeypatch.setattr(time, 'time_ns', lambda: day_ns)
    source._live = live
    source._pipeline = SimpleNamespace(since_ns=lambda running_ns: running_ns)
    picture = SimpleNamespace(
        running_ns=None if running_age_ms is None else running_age_ms * 1_000_000,
        taken_at_ns=None if told_age_ms is None else day_ns - told_age_ms * 1_000_000,
    )
    stamp_ns = source._stamp_ns(picture)
    source._pipeline = None
    assert stamp_ns == 10**12 - age_ms * 1_000_000


@pytest.mark.parametrize(
    ('pictures', 'missing'),
    [
        ([(0, 0), (1, 33), (5, 166)], [0, 0, 3]),
        ([(None, 0), (None, 33), (None, 133)], [0, 0, 2]),
        ([(7, 0), (3, 33)], [0, 0]),  # counts anew
        ([(None, None), (None, None)], [0, 0]),
    ],
)
def test_pictures_passed_over_are_told_by_numbers_or_times(pictures, missing):
    source = GstSource('gst:x', clock=lambda: 0)
    samples = [
        SimpleNamespace(
            number=number,
            running_ns=None if running_ms is None else running_ms * 1_000_000,
            format=SimpleNamespace(rate_hz=30.0),
        )
        for number, running_ms in pictures
    ]
    assert [source._passed_over(sample) for sample in samples] == missing
