"""What a stream had waiting when it was opened, and when its pictures were taken."""

import itertools
import threading
from fractions import Fraction
from types import SimpleNamespace

import pytest

from facefusion_ros.cameras import live
from facefusion_ros.cameras.live import NewestPicture

MS, S = 1_000_000, 1_000_000_000
FRAME = 40 * MS


class Stream:
    """A stream of pictures that are taken every 40 ms, as a container of a format; time goes on by its own doing."""

    def __init__(self, monkeypatch, form, waiting, coming):
        self.format = SimpleNamespace(name=form)
        self.codec_context = SimpleNamespace(name='h264')
        self.late = form == 'rtsp'
        self.now = (waiting + self.late) * FRAME + 3 * MS
        self.taken = threading.Semaphore(0)
        self.pictures = itertools.chain(range(waiting), range(waiting, waiting + coming))
        self.waiting = waiting
        monkeypatch.setattr(
            live, 'time', SimpleNamespace(monotonic_ns=lambda: self.now, monotonic=lambda: self.now / S)
        )
        monkeypatch.setattr(live, 'decoded', lambda packet: ([packet], 0))

    def demux(self, _):
        for number in self.pictures:
            if number >= self.waiting:
                self.taken.acquire()
                # A parser gives a picture when the next begins.
                self.now = (number + 1 + self.late) * FRAME + 3 * MS
            yield SimpleNamespace(pts=number, time_base=Fraction(1, 25))

    def close(self):
        pass


@pytest.mark.parametrize('form', ['mpegts', 'rtsp'])
def test_what_waited_is_passed_over_and_stamps_are_those_of_the_pictures(monkeypatch, form):
    stream = Stream(monkeypatch, form, 20, 6)
    newest = NewestPicture(stream, stream, lambda: stream.now)
    for _ in range(3):
        stream.taken.release()
    seen = []
    for _ in range(4):
        picture, stamp_ns, passed_over, damaged = newest.take(20.0)
        seen.append((picture.pts, passed_over))
        assert stamp_ns == (picture.pts + 1) * FRAME + 3 * MS
        assert not damaged
        stream.taken.release()
    newest.join()
    assert seen[0][0] >= 21
    assert [number for number, _ in seen] == list(itertools.accumulate((1 + over for _, over in seen), initial=-1))[1:]


def test_a_stream_that_ends_at_once_gives_its_last_picture(monkeypatch):
    stream = Stream(monkeypatch, 'mpegts', 20, 0)
    newest = NewestPicture(stream, stream, lambda: stream.now)
    picture, _, passed_over, _ = newest.take(20.0)
    assert (picture.pts, passed_over) == (19, 19)
    assert newest.take(20.0) is None
    assert newest.ended
