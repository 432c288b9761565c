"""The screen without a desktop on the kernel's own driver (bochs), as a person in front of it sees it."""

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facefusion_ros.displays import kms
from facefusion_ros.displays.connectors import Wanted
from facefusion_ros.displays.drm import DrmScreen, survey
from facefusion_ros.displays.letterbox import fit
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.frames.frame import Frame, FrameInfo

pytestmark = pytest.mark.hardware

STATUS = Path('/sys/class/drm/card0-Virtual-1/status')


@pytest.fixture
def console(text_console):
    """The kernel's console on the screen, with something on it; what it looks like."""
    return text_console()


@pytest.fixture
def told(make_told):
    return make_told(60.0)


@pytest.fixture
def open_screen(console, told):  # noqa: ARG001 - there has to be a console to come back to
    opened = []

    def begin(wanted='', kernel=None):
        opened.append(DrmScreen(Wanted.parse(wanted), told, kernel))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()


def colourful(width, height):
    coarse = np.random.default_rng(7).integers(0, 255, (height // 40, width // 40, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


class WithoutAtomic(kms.Linux):
    """The same driver, as if it were an old one."""

    def ioctl(self, descriptor, request, argument):
        if request == kms.SET_CLIENT_CAP:
            raise OSError(95, 'not supported')
        return super().ioctl(descriptor, request, argument)


@pytest.mark.parametrize('kernel', [None, WithoutAtomic()], ids=['atomic', 'legacy'])
def test_the_picture_is_on_the_screen_pixel_by_pixel(open_screen, told, make_frame, screen, kernel):
    display = open_screen(kernel=kernel)
    frame = replace(make_frame(), pixels=colourful(display.mode.width_px, display.mode.height_px))
    display.show(frame, None)
    told.wait(1)
    seen = screen('drm-picture')
    assert (seen[..., ::-1] == frame.pixels).all()


@pytest.mark.parametrize('size', [(640, 360), (300, 400)])
def test_another_size_is_scaled_between_black_borders(open_screen, told, make_frame, screen, size):
    display = open_screen('Virtual-1@1024x768')
    frame = replace(make_frame(), pixels=colourful(*size))
    display.show(frame, None)
    told.wait(1)
    seen = screen(f'drm-scaled-{size[0]}')[..., ::-1]
    left, top, width, height = fit(size, (1024, 768))
    wanted = np.zeros((768, 1024, 3), np.uint8)
    wanted[top : top + height, left : left + width] = cv2.resize(frame.pixels, (width, height))
    assert np.abs(seen.astype(int) - wanted).max() <= 1


def test_every_frame_waited_for_is_shown_at_a_time_of_its_own(open_screen, told, make_frame, screen, out):
    display = open_screen('@1024x768')
    for number in range(40):
        display.show(make_frame(number, 1024, 768), None)
        told.wait(number + 1)
    assert [sequence for sequence, _ in told.all] == list(range(40))
    times = np.array([time_ns for _, time_ns in told.all])
    assert (np.diff(times) > 0).all()
    assert display.dropped == 0
    (out / 'drm-flips.txt').write_text(f'between flips, ms: {np.percentile(np.diff(times) / 1e6, (5, 50, 95))}\n')
    assert (screen() == 10 + 3 * 39).all()


def test_a_burst_leaves_the_newest_on_the_screen(open_screen, told, make_frame, screen):
    display = open_screen('@800x600')
    for number in range(60):
        display.show(make_frame(number, 800, 600), None)
    told.wait(60)
    shown = told.shown
    assert shown == sorted(shown)
    assert shown[-1] == 59
    assert len(shown) + display.dropped == 60
    assert (screen() == 10 + 3 * 59).all()


def test_pulled_out_and_plugged_in(open_screen, told, make_frame, screen, wait_until):
    display = open_screen()
    STATUS.write_text('off')
    wait_until(lambda: display.failed, 'the screen to be missed')
    assert display.failed.startswith('nothing is plugged into')
    display.show(make_frame(0), None)
    assert told.all == [(0, None)]
    STATUS.write_text('on')
    wait_until(lambda: display.failed is None, 'the screen to be found again')
    display.show(make_frame(5, 640, 400), None)
    told.wait(2)
    assert (screen()[300:500, 400:600] == 25).all()
    STATUS.write_text('detect')


def test_the_console_comes_back_after_the_end(open_screen, told, make_frame, screen, console):
    display = open_screen()
    display.show(make_frame(30, 640, 400), None)
    told.wait(1)
    assert (screen() != console).mean() > 0.5
    display.close()
    assert np.array_equal(screen(), console)


def show_red():
    seen = threading.Event()
    display = DrmScreen(Wanted(), lambda *_: seen.set())
    display.show(Frame(np.full((600, 800, 3), (0, 0, 250), np.uint8), FrameInfo(0, 'camera', 0)), None)
    seen.wait()
    return display


def test_the_console_comes_back_after_a_crash(console, screen, told, other_program):
    other = other_program(show_red)
    assert (screen()[400, 640] == (250, 0, 0)).all()
    with pytest.raises(DisplayError, match=rf'another program \(.*, pid {other.pid}\) owns the display'):
        DrmScreen(Wanted(), told)
    other.kill()
    other.join()
    assert np.array_equal(screen(), console)


@pytest.mark.usefixtures('console')
def test_what_is_not_there_is_told_with_what_is(told):
    with pytest.raises(DisplayError, match=r'Virtual-1 has no mode 333x222: there are .*1024x768@'):
        DrmScreen(Wanted.parse('@333x222'), told)
    with pytest.raises(DisplayError, match=r'no connector HDMI-A-1: there are Virtual-1 \(\d+x\d+@'):
        DrmScreen(Wanted.parse('HDMI-A-1'), told)
    [found], others = survey(kms.Linux())
    found.card.close()
    assert (found.driver, others) == ('bochs-drm', [])


def test_the_driver_goes_away_under_a_running_display(open_screen, told, make_frame, wait_until):
    display = open_screen()
    device = next(Path('/sys/bus/pci/drivers/bochs-drm').glob('0000:*')).name
    Path('/sys/bus/pci/drivers/bochs-drm/unbind').write_text(device)
    wait_until(lambda: display.failed, 'the card to be missed')
    display.show(make_frame(0), None)
    Path('/sys/bus/pci/drivers/bochs-drm/bind').write_text(device)
    wait_until(lambda: display.failed is None, 'the card to be found again')
    before = len(told.all)
    display.show(make_frame(1), None)
    assert told.wait(before + 1)[-1][1] is not None
