"""What frames were taken with, read back from controls that tell what was set last."""

import math

import pytest

from facefusion_ros.cameras.controls import Readback
from facefusion_ros.cameras.exposure import Delays, Setting


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
