"""The screen without a desktop, on a simulated card; test_drm_guest.py has the kernel's own."""

from __future__ import annotations

import errno
import itertools
import os
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facefusion_ros.displays import drm, kms
from facefusion_ros.displays.connectors import Wanted
from facefusion_ros.displays.drm import DrmScreen, holders, survey
from facefusion_ros.displays.letterbox import fit
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.frames.frame import Encoding


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(drm, 'LOOK_S', 0.02)
    monkeypatch.setattr(drm, 'PATIENCE_LOOKS', 100)


@contextmanager
def opened(card, told, wanted=''):
    screen = DrmScreen(Wanted.parse(wanted), told, card)
    try:
        yield screen
    finally:
        screen.close()


def colourful(width, height, seed=4):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def test_a_frame_comes_on_the_screen_at_its_next_refresh_and_not_before(card, told, make_frame):
    with opened(card, told) as screen:
        assert (screen.connector, str(screen.mode)) == ('HDMI-A-1', '1280x720@60')
        assert not card.picture().any()
        frame = replace(make_frame(), pixels=colourful(1280, 720))
        screen.show(frame, None)
        assert not card.picture().any()
        assert told.all == []
        time_ns = card.refresh()
        assert told.wait(1) == [(0, time_ns // 1000 * 1000)]
        assert (card.picture() == frame.pixels).all()
        assert (screen.failed, screen.dropped) == (None, 0)


def test_flips_are_a_refresh_apart(card, told, make_frame):
    with opened(card, told) as screen:
        for number in range(8):
            screen.show(make_frame(number), None)
            card.refresh()
            told.wait(number + 1)
    times = [time_ns for _, time_ns in told.all]
    assert set(np.diff(times) // 1000) == {16_666}


def test_the_newest_frame_wins_and_nothing_waits(card, told, make_frame):
    with opened(card, told) as screen:
        for number in range(10):
            screen.show(make_frame(number), None)
        card.refresh()
        told.wait(9)
        assert (card.picture()[360, 640] == 10).all()
        card.refresh()
        told.wait(10)
        assert (card.picture()[360, 640] == 10 + 27).all()
        assert told.shown == [0, 9]
        assert screen.dropped == 8
    assert kms.PAGE_FLIP in card.calls


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(['show', 'show', 'refresh']), max_size=30))
def test_every_frame_is_told_of_once_and_those_shown_in_order(make_card, make_told, make_frame, steps):
    card, told, numbers = make_card(), make_told(), itertools.count()
    with opened(card, told, '@640x480') as screen:
        for step in steps:
            if step == 'show':
                seen = card.picture()
                screen.show(make_frame(next(numbers)), None)
                assert np.array_equal(card.picture(), seen)  # nothing is painted where it is seen
            elif card.asked:
                before = len(told.shown)
                card.refresh()
                told.until(lambda before=before: len(told.shown) > before)
    frames = next(numbers)
    assert sorted(sequence for sequence, _ in told.all) == list(range(frames))
    assert told.shown == sorted(told.shown)
    assert len(told.shown) + screen.dropped == frames
    assert card.shows_console


@pytest.mark.parametrize('size', [(640, 480), (320, 480), (1280, 800), (64, 48)])
def test_a_picture_of_another_size_is_scaled_and_the_rest_is_black(card, told, make_frame, size):
    with opened(card, told, '@640x480') as screen:
        frame = replace(make_frame(), pixels=colourful(*size))
        screen.show(frame, None)
        card.refresh()
        told.wait(1)
        shown = card.picture()
    left, top, width, height = fit(size, (640, 480))
    method = cv2.INTER_AREA if 2 * width <= size[0] else cv2.INTER_LINEAR
    wanted = np.zeros((480, 640, 3), np.uint8)
    wanted[top : top + height, left : left + width] = cv2.resize(frame.pixels, (width, height), interpolation=method)
    assert np.abs(shown.astype(int) - wanted).max() <= 1


def test_the_console_comes_back(card, told, make_frame):
    with opened(card, told, 'HDMI-A-1@1920x1080@50') as screen:
        assert (card.mode.hdisplay, card.mode.vdisplay, card.mode.vrefresh) == (1920, 1080, 50)
        screen.show(make_frame(), None)
        assert not card.shows_console
    assert card.calls[::-1].index(kms.SETCRTC) < card.calls[::-1].index(kms.PAGE_FLIP)
    assert card.shows_console
    assert card.mode.vrefresh == 60
    assert not card.memory
    assert list(card.fbs) == [7]
    assert told.all == [(0, None)]
    screen.close()
    screen.show(make_frame(1), None)
    assert told.all[-1] == (1, None)


def test_what_is_gone_from_before_is_left_off(card, told):
    with opened(card, told):
        del card.fbs[7]
    assert kms.SETCRTC in card.calls[-12:]


@pytest.mark.parametrize('notices', [True, False])
def test_the_screen_is_pulled_out_and_plugged_in_again(card, told, make_frame, wait_until, notices):
    card.notices = notices
    with opened(card, told) as screen:
        screen.show(make_frame(0), None)
        card.plug(plugged=False)
        wait_until(lambda: screen.failed, 'the screen to be missed')
        assert screen.failed.startswith('nothing is plugged into')
        assert told.wait(1) == [(0, None)]
        screen.show(make_frame(1), None)
        assert told.all[1:] == [(1, None)]
        assert screen.dropped == 2
        card.plug()
        wait_until(lambda: screen.failed is None, 'the screen to be found again')
        screen.show(make_frame(2), None)
        card.refresh()
        told.wait(3)
        assert told.shown == [2]
        assert (card.picture()[360, 640] == 16).all()


def test_it_notices_without_the_kernel_s_events(card, told, wait_until):
    with opened(card, told) as screen:
        card.plug(plugged=False, say=False)
        wait_until(lambda: screen.failed, 'the screen to be missed')


def test_events_of_other_devices_ask_nothing_of_the_screen(card, told, wait_until):
    card.notices = False
    with opened(card, told) as screen:
        card.plug(plugged=False, say=False)
        card.say(b'add@/devices/usb\0ACTION=add\0SUBSYSTEM=usb')
        calls = len(card.calls)
        wait_until(lambda: len(card.calls) > calls + 3, 'the watcher to look')
        assert screen.failed is None
        card.say(b'change@/devices/card0\0ACTION=change\0SUBSYSTEM=drm')
        wait_until(lambda: screen.failed, 'the screen to be missed')


def test_another_screen_in_the_same_socket_gets_its_own_mode(card, told, wait_until):
    with opened(card, told) as screen:
        card.sockets[50].modes = card.sockets[50].modes[3:]
        card.plug()
        wait_until(lambda: screen.mode and screen.mode.width_px == 640, 'the mode of the other screen')
        assert screen.failed is None


@pytest.mark.parametrize('error', [errno.EACCES, errno.ENODEV, errno.EBUSY])
def test_a_card_that_refuses_is_opened_anew(card, told, make_frame, wait_until, error):
    with opened(card, told) as screen:
        card.errors |= {kms.PAGE_FLIP: error, kms.SETCRTC: error}
        screen.show(make_frame(0), None)
        wait_until(lambda: screen.failed, 'the failure')
        assert told.all == [(0, None)]
        card.errors.clear()
        wait_until(lambda: screen.failed is None, 'the card to do again as it is told')
        screen.show(make_frame(1), None)
        card.refresh()
        told.wait(2)
        assert told.shown == [1]


def test_a_flip_that_never_comes_ends_in_a_new_mode(card, told, make_frame, wait_until, monkeypatch):
    monkeypatch.setattr(drm, 'PATIENCE_LOOKS', 2)
    with opened(card, told) as screen:
        screen.show(make_frame(0), None)
        wait_until(lambda: told.all == [(0, None)] and screen.failed is None, 'the mode to be set anew')
        screen.show(make_frame(1), None)
        card.refresh()
        told.wait(2)
        assert told.shown == [1]


def test_where_the_whole_machine_stood_still_no_flip_is_lost(card, told, make_frame, wait_until, monkeypatch):
    """A virtual machine does so: a minute later it is this program that runs first, and the driver after it."""
    with opened(card, told) as screen:
        screen.show(make_frame(0), None)
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 60.0, monotonic_ns=time.monotonic_ns)
        monkeypatch.setattr(drm, 'time', later)
        before = card.calls.count(kms.GETCONNECTOR)
        wait_until(lambda: card.calls.count(kms.GETCONNECTOR) > before + 2, 'a look at the screen')
        card.refresh()
        told.wait(1)
        assert (told.shown, screen.failed) == ([0], None)


def test_word_of_a_flip_from_before_means_nothing(card, told, make_frame):
    with opened(card, told) as screen:
        screen.show(make_frame(0), None)
        screen._flipped(kms.Flip(number=77, time_ns=1))
        assert told.all == []
        card.refresh()
        told.wait(1)
        assert told.shown == [0]


# Planes.


def with_plane(card, *formats, scales=True):
    card.atomic, card.scales = True, scales
    card.layers[31] = replace(card.layers[30], id=31, kind=0, formats=formats, fb=0, values={})
    return card


def nv12(frame):
    height, width = frame.pixels.shape[:2]
    planes = cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2YUV_I420)
    chroma = planes[height:].reshape(2, -1).T.reshape(height // 2, width)
    return replace(frame, pixels=np.concatenate([planes[:height], chroma]), encoding=Encoding.NV12)


def shown_of(card, screen, told, frame):
    count = len(told.all) + 1
    screen.show(frame, None)
    card.refresh()
    told.wait(count)
    assert told.all[-1][1] is not None
    return card.picture()


def test_nv12_goes_to_a_plane_that_takes_it_as_it_is(card, told, make_frame):
    frame = nv12(replace(make_frame(), pixels=cv2.blur(colourful(320, 240), (31, 31))))
    with opened(with_plane(card, kms.Format.NV12), told, '@1280x720') as screen:
        shown = shown_of(card, screen, told, frame)
        assert screen.scales
        assert kms.PAGE_FLIP not in card.calls
        assert {each & (kms.NONBLOCK | kms.FLIP_EVENT) for each in card.commits} == {kms.NONBLOCK | kms.FLIP_EVENT}
        wanted = cv2.resize(cv2.cvtColor(frame.pixels, cv2.COLOR_YUV2BGR_NV12), (960, 720))
        assert np.abs(shown[:, 160:1120].astype(int) - wanted).max() <= 1
        assert not shown[:, :160].any()
        assert not shown[:, 1120:].any()
    assert card.shows_console
    assert not card.memory


@pytest.mark.parametrize('how', ['no plane', 'no scaling', 'another format', 'not atomic'])
def test_nv12_is_converted_where_no_plane_takes_it(card, told, make_frame, how):
    formats = [kms.Format.XRGB8888 if how == 'another format' else kms.Format.NV12]
    if how != 'no plane':
        with_plane(card, *formats, scales=how != 'no scaling')
    card.atomic &= how != 'not atomic'
    frame = nv12(replace(make_frame(), pixels=cv2.blur(colourful(640, 360), (31, 31))))
    with opened(card, told) as screen:
        shown = shown_of(card, screen, told, frame)
        assert not screen.scales
    wanted = cv2.resize(cv2.cvtColor(frame.pixels, cv2.COLOR_YUV2BGR_NV12), (1280, 720))
    assert np.abs(shown.astype(int) - wanted).max() <= 1


def test_frames_may_change_between_plane_and_cpu(card, told, make_frame):
    picture = cv2.blur(colourful(320, 240), (31, 31))
    whole = cv2.resize(picture, (1280, 720))
    frames = [nv12(replace(make_frame(0), pixels=picture)), replace(make_frame(1), pixels=whole)] * 3
    with opened(with_plane(card, kms.Format.NV12), told) as screen:
        for frame in frames:
            shown = shown_of(card, screen, told, frame)
            assert screen.scales == (frame.encoding is Encoding.NV12)
            wanted = whole
            if screen.scales:
                wanted = cv2.resize(cv2.cvtColor(frame.pixels, cv2.COLOR_YUV2BGR_NV12), (960, 720))
                wanted = np.pad(wanted, ((0, 0), (160, 160), (0, 0)))
            assert np.abs(shown.astype(int) - wanted).max() <= 1
            assert len(card.memory) == len(card.fbs) - 1 == (6 if screen.scales else 3)
    assert screen.dropped == 0


def test_the_primary_plane_may_scale_too(card, told, make_frame):
    card.atomic = card.scales = True
    frame = replace(make_frame(), pixels=colourful(640, 480))
    with opened(card, told) as screen:
        shown = shown_of(card, screen, told, frame)
        assert screen.scales
        assert (shown == np.pad(cv2.resize(frame.pixels, (960, 720)), ((0, 0), (160, 160), (0, 0)))).all()
        whole = replace(make_frame(), pixels=colourful(1280, 720))
        assert (shown_of(card, screen, told, whole) == whole.pixels).all()
        assert not screen.scales


def test_a_plane_that_does_not_keep_its_promise_is_not_tried_again(card, told, make_frame, wait_until):
    with opened(with_plane(card, kms.Format.NV12), told) as screen:
        card.errors['commit'] = errno.EINVAL
        frame = nv12(make_frame())
        screen.show(frame, None)
        told.wait(1)
        wait_until(lambda: screen.failed is None and screen.mode and not screen.scales, 'the mode to be set anew')
        shown_of(card, screen, told, frame)
        assert not screen.scales


# What cannot be opened.


def refusal(card, wanted=''):
    with pytest.raises(DisplayError) as caught:
        DrmScreen(Wanted.parse(wanted), lambda _info, _time_ns: None, card)
    text = str(caught.value)
    assert '\n' not in text
    return text


def test_no_card(card, monkeypatch):
    monkeypatch.setattr(card, 'cards', list)
    assert refusal(card).startswith('there is no graphics card (/dev/dri/card*): load its driver, or use another')


def test_no_permission_names_the_group(card):
    card.errors['open'] = errno.EACCES
    assert "no permission to use /dev/dri/card0: 'sudo usermod -aG video $USER'" in refusal(card)


def test_a_card_that_only_computes_is_refused(card):
    card.can_show = False
    assert '/dev/dri/card0 computes pictures and shows none' in refusal(card)


def test_nothing_plugged_in_lists_the_connectors(card):
    card.plug(plugged=False)
    assert refusal(card).endswith('there are HDMI-A-1 (nothing plugged in), DP-1 (nothing plugged in)')
    assert card.shows_console


def test_a_mode_that_is_not_there_lists_those_that_are(card):
    text = refusal(card, '@800x600')
    assert text == ('HDMI-A-1 has no mode 800x600: there are 1280x720@60, 1920x1080@60, 1920x1080@50, 640x480@59.94')


@pytest.mark.parametrize('error', [errno.EBUSY, errno.EACCES])
def test_a_desktop_that_owns_the_display_is_named(card, monkeypatch, error):
    monkeypatch.setattr(drm, 'holders', lambda path: [f'Xorg, pid 812 of {path}'])
    card.errors[kms.SET_MASTER] = error
    assert refusal(card).startswith('another program (Xorg, pid 812 of /dev/dri/card0) owns the display')


def test_memory_that_cannot_be_had_is_told_and_given_back(card):
    card.errors[kms.ADDFB2] = errno.ENOMEM
    assert 'does not take the mode (Cannot allocate memory)' in refusal(card)
    assert not card.memory
    assert card.master is None


def test_a_card_without_buffers_for_the_cpu(card):
    card.dumb = 0
    assert '(simulated) has no buffers that the CPU can paint' in refusal(card)


def test_who_holds_a_device(tmp_path):
    for pid, name, path in (
        (31, 'Xorg', '/dev/dri/card0'),
        (4, 'cat', '/dev/null'),
        (os.getpid(), 'us', '/dev/dri/card0'),
    ):
        (tmp_path / str(pid) / 'fd').mkdir(parents=True)
        (tmp_path / str(pid) / 'comm').write_text(name + '\n')
        (tmp_path / str(pid) / 'fd' / '7').symlink_to(path)
    (tmp_path / '99').mkdir()  # a process that ends while one looks
    assert holders('/dev/dri/card0', tmp_path) == ['Xorg, pid 31']


def test_a_survey_tells_what_there_is(card):
    [found], others = survey(card)
    assert (found.path, found.driver, others) == ('/dev/dri/card0', 'simulated', [])
    assert [str(each) for each in found.connectors] == ['HDMI-A-1 (1280x720@60)', 'DP-1 (nothing plugged in)']
    found.card.close()
