"""What frames were taken with, read back from controls that tell what was set last."""

import math

import numpy as np
import pytest

from facefusion_ros.cameras.controls import ControlError, Readback, SourceWithSettings
from facefusion_ros.cameras.exposure import Delays, Setting
from facefusion_ros.cameras.source import Capture, PictureFormat


@pytest.mark.parametrize('delays', [Delays(2, 1), Delays(1, 1), Delays(3, 2), Delays(0, 0)])
@pytest.mark.parametrize('every', [1, 3])
def test_settings_reach_the_frames_they_are_true_of(delays, every):
    """Written while frame w is exposed, the time of w is in force from w + delay; asked as each frame has come."""
    readback = Readback(delays)
    written = {number: Setting(0.001 * (number + 1), 1.0 + number) for number in range(60)}
    for number in range(0, 50, every):  # frame number has come; the next one is being exposed
        exposure_s, gain = readback.of_frame(number, written[number + 1])
        if number <= 3 * every + 3:
            continue
        if every == 1:
            assert exposure_s == written[number - delays.exposure_frames].exposure_s
            assert gain == written[number - delays.gain_frames].gain
        else:  # what was written between two questions is not seen
            assert number - delays.exposure_frames - every < exposure_s / 0.001 - 1.0 <= number - delays.exposure_frames


def test_the_first_frames_settings_are_not_known():
    readback = Readback(Delays(2, 1))
    told = [readback.of_frame(number, Setting(0.01, 2.0)) for number in range(4)]
    assert [math.isnan(exposure_s) for exposure_s, _ in told] == [True, True, True, False]
    assert [math.isnan(gain) for _, gain in told] == [True, True, False, False]
    assert math.isnan(readback.of_frame(0, Setting(0.01, 2.0))[0])  # the camera counts anew


def test_frames_about_a_change_are_told_nothing_where_the_delays_may_be_wrong():
    readback = Readback(Delays(2, 1), slack_frames=1)
    told = [readback.of_frame(number, Setting(0.01 if number < 9 else 0.02, 1.0)) for number in range(20)]
    exposures = [exposure_s for exposure_s, _ in told]
    # 0.02 s is set by frame 10, which tells from frame 11 on at the soonest and from frame 13 on at the latest.
    assert exposures[5:11] == [0.01] * 6
    assert all(map(math.isnan, exposures[11:13]))
    assert exposures[13:] == [0.02] * 7
    assert [gain for _, gain in told[5:]] == [1.0] * 15


class FakeSource:
    def __init__(self):
        self.closed = False
        self.captures = iter([Capture(number, dropped=int(number == 4)) for number in range(20)])

    def open(self):
        return PictureFormat(4, 4, 30.0)

    def capture(self, out):  # noqa: ARG002 - as a source
        return next(self.captures)

    def close(self):
        self.closed = True


class FakeControl:
    def __init__(self, refusals=()):
        self.refusals = set(refusals)
        self.closed = False
        self.reads = 0

    def open(self):
        if 'open' in self.refusals:
            raise ControlError('none')

    def read(self):
        self.reads += 1
        if self.reads in self.refusals:
            raise ControlError('gone')
        return Setting(0.01 if self.reads < 4 else 0.02, 1.0)

    def close(self):
        self.closed = True


def test_a_source_tells_what_its_controls_tell():
    source, control = FakeSource(), FakeControl()
    camera = SourceWithSettings(source, control)
    assert camera.open().width == 4
    out = np.empty((4, 4, 3), np.uint8)
    captures = [camera.capture(out) for _ in range(12)]
    assert [capture.stamp_ns for capture in captures] == list(range(12))
    # Set by picture 3; the picture that was dropped after it has passed some of the time until that tells.
    assert all(math.isnan(capture.exposure_s) for capture in captures[:6])
    assert [capture.exposure_s for capture in captures[6:]] == [0.02] * 6
    assert captures[6].gain == 1.0
    camera.close()
    assert source.closed
    assert control.closed


@pytest.mark.parametrize('refusals', [{'open'}, {3}])
def test_a_source_without_such_controls_is_what_it_was(refusals):
    camera = SourceWithSettings(FakeSource(), FakeControl(refusals))
    camera.open()
    captures = [camera.capture(np.empty((4, 4, 3), np.uint8)) for _ in range(8)]
    assert [capture.stamp_ns for capture in captures] == list(range(8))
    assert math.isnan(captures[-1].exposure_s)
