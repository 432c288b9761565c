from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.displays.file import WIDEST_PX, Canvas, FilmTime, VideoFile
from facefusion_ros.displays.sink import DisplayError, Sink
from facefusion_ros.frames.frame import Encoding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facefusion_ros.frames.frame import Frame


def read(path: Path) -> list[tuple[float, np.ndarray]]:
    """Decode a film: seconds and BGR picture of each frame, in order."""
    with av.open(str(path)) as container:
        return [(float(frame.time), frame.to_ndarray(format='bgr24')) for frame in container.decode(video=0)]


def show_all(sink: VideoFile, frames: list[Frame]) -> None:
    for frame in frames:
        sink.show(frame, None)


def test_every_frame_is_in_the_film_in_order(tmp_path: Path, make_frame: Callable[..., Frame]) -> None:
    sink: Sink = VideoFile(tmp_path / 'film.mp4', 30.0)
    frames = [make_frame(number) for number in range(8)]
    for frame in frames:
        sink.show(frame, None)
        frame.pixels[:] = 255  # the pixels are the caller's again
    sink.close()
    sink.close()
    assert sink.failed is None
    assert sink.dropped == 0
    film = read(tmp_path / 'film.mp4')
    assert [round(picture.mean()) for _, picture in film] == pytest.approx([10 + 3 * n for n in range(8)], abs=2)
    assert [seconds for seconds, _ in film] == pytest.approx([n / 30 for n in range(8)], abs=1e-3)


def test_dropped_frames_leave_their_time(tmp_path: Path, make_frame: Callable[..., Frame]) -> None:
    numbers = [0, 1, 2, 7, 8, 30]
    sink = VideoFile(tmp_path / 'film.mp4', 30.0, patient=True)
    show_all(sink, [make_frame(number) for number in numbers])
    sink.close()
    assert [seconds for seconds, _ in read(tmp_path / 'film.mp4')] == pytest.approx([n / 30 for n in numbers], abs=1e-3)


def test_colours_survive(tmp_path: Path, make_frame: Callable[..., Frame]) -> None:
    sink = VideoFile(tmp_path / 'film.mp4', 30.0)
    sink.show(make_frame(blue=200), None)
    sink.close()
    with av.open(str(tmp_path / 'film.mp4')) as container:
        assert container.streams.video[0].codec_context.colorspace == 6
    [(_, picture)] = read(tmp_path / 'film.mp4')
    assert picture.reshape(-1, 3).mean(axis=0) == pytest.approx((200, 0, 0), abs=6)


@pytest.mark.parametrize(('width', 'height'), [(1, 1), (2, 2), (63, 47), (7, 200)])
@pytest.mark.parametrize('compare', [False, True])
def test_any_size(tmp_path: Path, make_frame: Callable[..., Frame], width: int, height: int, compare: bool) -> None:
    sink = VideoFile(tmp_path / 'film.mp4', 30.0, compare=compare)
    sink.show(make_frame(20, width, height), make_frame(20, width, height))
    sink.close()
    assert sink.failed is None
    [(_, picture)] = read(tmp_path / 'film.mp4')
    assert picture.shape[0] >= height
    assert picture.shape[1] >= width * (1 + compare)
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    top = picture.shape[0] - height - (picture.shape[0] - height) % 2 if compare else 0
    assert picture[top : top + height, :width].mean() == pytest.approx(70, abs=12)


def test_a_frame_of_8k_is_scaled_down(tmp_path: Path, make_frame: Callable[..., Frame]) -> None:
    sink = VideoFile(tmp_path / 'film.mp4', 30.0)
    sink.show(make_frame(20, 7680, 4320), None)
    sink.close()
    assert sink.failed is None
    [(_, picture)] = read(tmp_path / 'film.mp4')
    assert WIDEST_PX - 4 <= picture.shape[1] <= WIDEST_PX
    assert picture.mean() == pytest.approx(70, abs=2)


def picture_of(make_frame: Callable[..., Frame], number: int, width: int = 96, height: int = 64) -> Frame:
    """Draw four colours, one in each quarter, the first of which tells the number."""
    frame = make_frame(number, width, height)
    frame.pixels[: height // 2, : width // 2] = (20 * number + 20, 60, 90)
    frame.pixels[: height // 2, width // 2 :] = (30, 40, 220)
    frame.pixels[height // 2 :, : width // 2] = (40, 190, 60)
    frame.pixels[height // 2 :, width // 2 :] = (200, 60, 30)
    return frame


def quarters(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    return picture[height // 4 :: height // 2, width // 4 :: width // 2].reshape(-1, 3).astype(int)


@pytest.mark.parametrize('first', Encoding)
def test_every_encoding_is_shown_whichever_comes_first(
    tmp_path: Path, make_frame: Callable[..., Frame], as_encoding: Callable[..., Frame], first: Encoding
) -> None:
    order = [first, *Encoding, first]
    shown = [as_encoding(picture_of(make_frame, number), encoding) for number, encoding in enumerate(order)]
    sink = VideoFile(tmp_path / 'film.mp4', 30.0, patient=True)
    show_all(sink, shown)
    sink.close()
    assert sink.failed is None
    film = read(tmp_path / 'film.mp4')
    assert len(film) == len(order)
    for number, (encoding, (_, picture)) in enumerate(zip(order, film, strict=True)):
        wanted = picture_of(make_frame, number).pixels
        if encoding is Encoding.MONO8:
            wanted = np.repeat(as_encoding(picture_of(make_frame, number), encoding).pixels[..., None], 3, 2)
        assert picture.shape == wanted.shape
        assert np.abs(quarters(picture) - quarters(wanted)).max() <= 10


@pytest.mark.parametrize(('width', 'height'), [(96, 64), (40, 100), (6000, 20)])
def test_nv12_is_compared_beside_the_camera_of_any_encoding_and_size(
    tmp_path: Path, make_frame: Callable[..., Frame], as_encoding: Callable[..., Frame], width: int, height: int
) -> None:
    sink = VideoFile(tmp_path / 'film.mp4', 30.0, compare=True, patient=True, captions=('a', 'b'))
    nv12 = as_encoding(picture_of(make_frame, 2, width, height), Encoding.NV12)
    originals = [nv12, picture_of(make_frame, 2, 61, 33), as_encoding(picture_of(make_frame, 2, 64, 48), Encoding.NV12)]
    for original in originals:
        sink.show(nv12, original)
    sink.close()
    assert sink.failed is None
    wanted = quarters(picture_of(make_frame, 2).pixels)
    for _, picture in read(tmp_path / 'film.mp4'):
        half = (picture.shape[1] - 2) // 2
        tall = height if half == width else round(height * half / width) // 2 * 2
        for side in (picture[-tall:, :half], picture[-tall:, -half:]):
            assert np.abs(quarters(side) - wanted).max() <= 12
        assert picture[: picture.shape[0] - tall].mean() < 60


def test_the_encoder_takes_nv12_as_it_is(
    tmp_path: Path, make_frame: Callable[..., Frame], as_encoding: Callable[..., Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, np.ndarray]] = []
    made = av.VideoFrame.from_ndarray

    def look(pixels: np.ndarray, **options: str) -> av.VideoFrame:
        taken.append((options['format'], pixels.copy()))
        return made(pixels, **options)

    monkeypatch.setattr(av, 'VideoFrame', SimpleNamespace(from_ndarray=look))
    frame = as_encoding(picture_of(make_frame, 3), Encoding.NV12)
    sink = VideoFile(tmp_path / 'film.mp4', 30.0)
    sink.show(frame, None)
    sink.close()
    [(name, pixels)] = taken
    assert name == 'nv12'
    assert np.array_equal(pixels, frame.pixels)


def test_a_frame_of_another_size_is_fitted(tmp_path: Path, make_frame: Callable[..., Frame]) -> None:
    sink = VideoFile(tmp_path / 'film.mp4', 30.0, patient=True)
    show_all(sink, [make_frame(10), make_frame(20, 640, 480)])
    sink.close()
    assert [round(picture.mean()) for _, picture in read(tmp_path / 'film.mp4')] == pytest.approx([40, 70], abs=2)


def test_compare_shows_the_camera_left(tmp_path: Path, make_frame: Callable[..., Frame]) -> None:
    sink = VideoFile(tmp_path / 'film.mp4', 30.0, compare=True, captions=('camera', 'porcelain'))
    sink.show(make_frame(60, 320, 240), make_frame(20, 320, 240))
    sink.close()
    [(_, picture)] = read(tmp_path / 'film.mp4')
    assert picture.shape[1] == 642
    assert picture[-240:, :318].mean() == pytest.approx(70, abs=2)
    assert picture[-240:, 324:].mean() == pytest.approx(190, abs=2)
    captions = picture[:22]
    assert captions[:, :160].max() > 120
    assert captions[:, 322:480].max() > 120
    assert captions.mean() < 50


def test_captions_that_do_not_fit_are_left_out() -> None:
    film = Canvas(20, 400, ('camera', 'x' * 100)).blank()
    assert film.max() <= 64


def test_full_queue_drops_and_counts(tmp_path: Path, make_frame: Callable[..., Frame]) -> None:
    sink = VideoFile(tmp_path / 'film.mp4', 30.0)
    frame = make_frame(20, 1920, 1080)
    frame.pixels[:] = np.random.default_rng(0).integers(0, 255, frame.pixels.shape, np.uint8)
    shown = 0
    while sink.dropped == 0:  # noise at this size takes the encoder far longer than a copy takes us
        sink.show(frame, None)
        shown += 1
    sink.close()
    assert len(read(tmp_path / 'film.mp4')) == shown - sink.dropped == sink.written


def test_a_patient_film_has_every_frame(tmp_path: Path, make_frame: Callable[..., Frame]) -> None:
    sink = VideoFile(tmp_path / 'film.mp4', 30.0, patient=True)
    show_all(sink, [make_frame(number % 80, 640, 480, stamp_ns=number * 10**7) for number in range(100)])
    sink.close()
    assert sink.dropped == 0
    assert len(read(tmp_path / 'film.mp4')) == sink.written == 100


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DisplayError, match=r'missing/film\.mp4: No such file or directory; .*folder'):
        VideoFile(tmp_path / 'missing' / 'film.mp4', 30.0)


def test_closing_without_a_frame(tmp_path: Path) -> None:
    sink = VideoFile(tmp_path / 'film.mp4', 30.0)
    sink.close()
    assert sink.failed is None


def test_a_disk_that_is_full_from_the_start(make_frame: Callable[..., Frame]) -> None:
    sink = VideoFile('/dev/full', 30.0, patient=True)
    show_all(sink, [make_frame(number) for number in range(60)])
    sink.close()
    assert sink.failed is not None
    assert 'No space left on device' in sink.failed
    assert 'free some space' in sink.failed
    assert '\n' not in sink.failed


LIMITED = """
    import resource, signal, sys
    import numpy as np
    from facefusion_ros.displays.file import VideoFile
    from facefusion_ros.frames.frame import Frame, FrameInfo

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    sink = VideoFile(sys.argv[1], 10.0)
    rng = np.random.default_rng(0)
    for number in range(100_000):
        pixels = rng.integers(0, 255, (120, 160, 3), np.uint8)
        sink.show(Frame(pixels, FrameInfo(number * 100_000_000, 'camera', number)), None)
        if sink.failed:
            break
    sink.show(Frame(pixels, FrameInfo(number * 100_000_000, 'camera', number)), None)  # the pipeline goes on
    sink.close()
    print(sink.failed)
"""


def test_a_disk_that_fills_up_leaves_a_playable_film(tmp_path: Path) -> None:
    path = tmp_path / 'film.mp4'
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(LIMITED), path], capture_output=True, text=True, timeout=100
    )
    assert done.stderr == ''
    assert 'File too large' in done.stdout
    assert 0 < path.stat().st_size <= 300_000
    assert len(read(path)) >= 10


KILLED = """
    import sys
    import numpy as np
    from facefusion_ros.displays.file import VideoFile
    from facefusion_ros.frames.frame import Frame, FrameInfo

    sink = VideoFile(sys.argv[1], 10.0)
    for number in range(1_000_000):
        pixels = np.full((48, 64, 3), number % 200, np.uint8)
        sink.show(Frame(pixels, FrameInfo(number * 100_000_000, 'camera', number)), None)
        if number % 100 == 0:
            print(sink.path.stat().st_size, flush=True)
"""


def test_a_killed_process_leaves_a_playable_film(tmp_path: Path) -> None:
    path = tmp_path / 'film.mp4'
    with subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(KILLED), path], stdout=subprocess.PIPE, text=True
    ) as child:
        for line in child.stdout or ():
            if int(line) > 20_000:
                child.send_signal(signal.SIGKILL)
                break
    assert len(read(path)) > 10


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1), st.floats(1, 240))
def test_film_time_always_rises(stamps: list[int], rate_hz: float) -> None:
    time = FilmTime(rate_hz)
    ticks = [time.tick(stamp) for stamp in stamps]
    assert ticks[0] == 0
    assert all(b > a for a, b in itertools.pairwise(ticks))


@given(st.lists(st.integers(1_000_000, 2_000_000_000), min_size=1), st.integers(0, 2**62))
def test_film_time_is_the_stamps_time(steps: list[int], begin: int) -> None:
    time = FilmTime(30)
    stamp = begin
    time.tick(stamp)
    for step in steps:
        stamp += step
        assert time.tick(stamp) == (stamp - begin) * 9 // 100_000


def test_film_time_forgives_a_clock_that_is_set() -> None:
    time = FilmTime(30)
    ticks = [time.tick(stamp) for stamp in (0, 33_333_333, 10**18, 10**18 + 33_333_333, 5)]
    assert np.diff(ticks) == pytest.approx([3000] * 4, abs=2)
