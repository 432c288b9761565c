import threading

import numpy as np
import pytest

from facefusion_ros.cameras.source import SourceLost
from facefusion_ros.sim.camera import SimulatedCamera

EPOCH_NS = 1_700_000_000_000_000_000


class Clock:
    """A clock that passes only while somebody waits for it."""

    def __init__(self, now_ns):
        self.now_ns = now_ns
        self.waits = []

    def __call__(self):
        return self.now_ns

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock(EPOCH_NS + 1_000_000)


@pytest.fixture
def camera(still, clock):
    camera = SimulatedCamera(still, clock=clock, epoch_ns=EPOCH_NS, wait=clock.wait)
    camera.open()
    return camera


def test_format(still):
    picture = SimulatedCamera(still).open()
    assert (picture.width, picture.height, picture.rate_hz) == (640, 480, 30.0)
    assert picture.intrinsics == still.camera.intrinsics
    assert picture.intrinsics.fx == pytest.approx(320 / np.tan(np.radians(30)))


def test_pictures_come_at_the_ticks(camera, clock, still, picture):
    stamps = [camera.capture(picture).stamp_ns for _ in range(4)]
    assert stamps == [still.frame_stamp_ns(k, EPOCH_NS) for k in (1, 2, 3, 4)]
    assert stamps[2] == EPOCH_NS + 100_000_000
    # Never before its stamp, and by absolute deadlines, not by adding periods.
    assert 0 <= clock.now_ns - stamps[-1] < 1000


def test_a_late_reader_gets_the_newest_tick_at_once(camera, clock, still, picture):
    camera.capture(picture)
    clock.now_ns = EPOCH_NS + 510_000_000
    clock.waits.clear()
    late = camera.capture(picture)
    assert (late.stamp_ns, late.dropped) == (still.frame_stamp_ns(15, EPOCH_NS), 13)
    assert not clock.waits
    in_time = camera.capture(picture)
    assert (in_time.stamp_ns, in_time.dropped) == (still.frame_stamp_ns(16, EPOCH_NS), 0)


def test_waits_that_end_early_are_resumed(still, picture):
    clock = Clock(EPOCH_NS)
    camera = SimulatedCamera(still, clock=clock, epoch_ns=EPOCH_NS, wait=lambda s: clock.wait(s / 2 + 1e-6))
    camera.open()
    assert camera.capture(picture).stamp_ns == still.frame_stamp_ns(1, EPOCH_NS)
    assert len(clock.waits) > 3


def test_a_clock_set_back_does_not_stop_the_camera(camera, clock, picture):
    camera.capture(picture)
    clock.now_ns -= 3_600_000_000_000
    now = clock.now_ns
    stamp = camera.capture(picture).stamp_ns
    assert now < stamp <= now + 34_000_000


def test_picture_and_truth_belong_to_the_stamp(camera, still, picture):
    capture = camera.capture(picture)
    truth = camera.truth(capture.stamp_ns)
    assert truth.index == 1
    assert (capture.exposure_s, capture.gain) == (truth.exposure_s, truth.gain)
    expected = np.empty_like(picture)
    still.render(1, expected)
    np.testing.assert_array_equal(picture, expected)


def test_closing_ends_a_waiting_capture(still, picture):
    # A clock that stands still: without close the wait would never end.
    errors = []
    waiting = threading.Event()

    def clock():
        waiting.set()
        return EPOCH_NS

    camera = SimulatedCamera(still, clock=clock)
    camera.open()

    def read():
        try:
            camera.capture(picture)
        except SourceLost as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert waiting.wait(10.0)
    camera.close()
    camera.close()
    reader.join(10.0)
    assert not reader.is_alive()
    assert len(errors) == 1


def test_a_closed_camera_can_be_opened_again(camera, clock, still, picture):
    camera.capture(picture)
    camera.close()
    clock.now_ns += 1_000_000_000
    camera.open()
    assert camera.capture(picture).stamp_ns == still.frame_stamp_ns(32, EPOCH_NS)


def test_a_camera_that_is_not_open(still, picture):
    with pytest.raises(SourceLost, match='open it'):
        SimulatedCamera(still).capture(picture)
