"""The window, on an X server of the test's own (Xvfb), whose screen is a file."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from facefusion_ros.displays import window
from facefusion_ros.displays.letterbox import fit
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.displays.window import Window, parse_size

SCREEN = (1000, 700)


class Desktop:
    """An X server without a window manager."""

    def __init__(self, folder, name, display):
        self.name = name
        self.display = display
        self._file = folder / 'Xvfb_screen0'

    def picture(self):
        """What the screen shows: (height, width, 3) BGR."""
        data = self._file.read_bytes()
        header = np.frombuffer(data[:100], '>u4')  # X11/XWDFile.h
        size, width, height, pitch, colours = (int(header[number]) for number in (0, 4, 5, 12, 19))
        rows = np.frombuffer(data, np.uint8, pitch * height, size + 12 * colours).reshape(height, pitch)
        return rows[:, : width * 4].reshape(height, width, 4)[..., :3]

    def window(self):
        """The only window that is there."""
        children = self.display.screen().root.query_tree().children
        found = [each for each in children if each.get_attributes().map_state]
        assert len(found) == 1
        return found[0]

    def place(self):
        """Where it is: left, top, width, height."""
        found = self.window().get_geometry()
        return found.x, found.y, found.width, found.height

    def shows(self, picture):
        """Whether the window's inside is this, pixel by pixel."""
        left, top, width, height = self.place()
        return np.array_equal(self.picture()[top : top + height, left : left + width], picture)


@pytest.fixture(scope='module')
def desktop(tmp_path_factory):
    server = shutil.which('Xvfb')
    if server is None:
        pytest.skip('left out: no Xvfb to open a window on (apt install xvfb)')
    pytest.importorskip('pygame', reason="left out: a window needs pygame-ce (pip install 'facefusion_ros[window]')")
    from Xlib.display import Display  # noqa: PLC0415 - only where there is a server

    folder = tmp_path_factory.mktemp('x')
    reading, writing = os.pipe()
    words = [server, '-displayfd', str(writing), '-fbdir', folder, '-nolisten', 'tcp', '-noreset']
    words += ['-screen', '0', f'{SCREEN[0]}x{SCREEN[1]}x24']
    with subprocess.Popen(words, pass_fds=[writing], stderr=subprocess.DEVNULL) as process:
        os.close(writing)
        with os.fdopen(reading) as told:
            name = f':{told.readline().strip()}'
        display = Display(name)
        yield Desktop(folder, name, display)
        display.close()
        process.terminate()


class Told:
    def __init__(self):
        self.all = []

    def __call__(self, info, time_ns):
        self.all.append((info.sequence, time_ns))


@pytest.fixture
def open_window(desktop, monkeypatch):
    monkeypatch.setenv('DISPLAY', desktop.name)
    monkeypatch.setenv('SDL_VIDEODRIVER', 'x11')
    opened = []

    def begin(size, told=None):
        opened.append(Window(size, told or Told()))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()


def colourful(width, height):
    return np.random.default_rng(3).integers(0, 255, (height, width, 3), np.uint8)


def test_the_picture_is_in_the_window_pixel_by_pixel(desktop, open_window, make_frame, wait_until):
    told = Told()
    opened = open_window((640, 480), told)
    frame = replace(make_frame(3), pixels=colourful(640, 480))
    opened.show(frame, None)
    wait_until(lambda: told.all, 'the picture to be shown')
    assert told.all[0][0] == 3
    wait_until(lambda: desktop.shows(frame.pixels), 'the picture on the screen')
    assert (opened.failed, opened.dropped) == (None, 0)


def test_made_larger_it_keeps_the_proportions(desktop, open_window, make_frame, wait_until):
    opened = open_window((320, 240))
    frame = make_frame(40, 320, 240)  # grey 130
    opened.show(frame, None)
    wait_until(lambda: desktop.shows(frame.pixels), 'the picture on the screen')
    desktop.window().configure(width=600, height=300)
    desktop.display.sync()
    left, top, width, height = fit((320, 240), (600, 300))
    wanted = np.zeros((300, 600, 3), np.uint8)
    wanted[top : top + height, left : left + width] = 130
    wait_until(lambda: desktop.shows(wanted), 'the picture in the larger window, between borders')
    opened.show(make_frame(50, 320, 240), None)
    wanted[wanted > 0] = 160
    wait_until(lambda: desktop.shows(wanted), 'the next picture')


def test_every_frame_is_told_of_once_and_the_newest_stays(desktop, open_window, make_frame, wait_until):
    told = Told()
    opened = open_window((64, 48), told)
    for number in range(80):
        opened.show(make_frame(number), None)
    wait_until(lambda: len(told.all) == 80, 'word of all frames')
    assert sorted(sequence for sequence, _ in told.all) == list(range(80))
    shown = [sequence for sequence, time_ns in told.all if time_ns is not None]
    assert shown[-1] == 79
    assert shown == sorted(shown)
    assert opened.dropped == 80 - len(shown)
    wait_until(lambda: desktop.shows(make_frame(79).pixels), 'the newest')


def press_escape(desktop):
    from Xlib import XK, X  # noqa: PLC0415 - only where there is a server
    from Xlib.protocol import event  # noqa: PLC0415

    code = desktop.display.keysym_to_keycode(XK.XK_Escape)
    target = desktop.window()
    for kind in (event.KeyPress, event.KeyRelease):
        pressed = kind(
            detail=code, time=X.CurrentTime, root=desktop.display.screen().root, window=target, child=X.NONE,
            root_x=5, root_y=5, event_x=5, event_y=5, state=0, same_screen=1,
        )  # fmt: skip
        target.send_event(pressed, propagate=True)
    desktop.display.sync()


def press_the_cross(desktop):
    from Xlib.protocol import event  # noqa: PLC0415 - only where there is a server

    delete = desktop.display.intern_atom('WM_DELETE_WINDOW')
    target = desktop.window()
    asked = event.ClientMessage(
        window=target, client_type=desktop.display.intern_atom('WM_PROTOCOLS'), data=(32, [delete, 0, 0, 0, 0])
    )
    target.send_event(asked)
    desktop.display.sync()


@pytest.mark.parametrize('close', [press_escape, press_the_cross])
def test_a_person_may_close_it(desktop, open_window, make_frame, wait_until, close):
    told = Told()
    opened = open_window((64, 48), told)
    opened.show(make_frame(0), None)
    wait_until(lambda: told.all, 'the picture to be shown')
    close(desktop)
    wait_until(lambda: opened.failed, 'the window to be closed')
    assert opened.failed.startswith('the window was closed: start the renderer anew')
    opened.show(make_frame(1), None)
    assert told.all[-1] == (1, None)
    assert opened.dropped == 1


def test_a_server_that_does_not_answer_is_told(desktop, monkeypatch):  # noqa: ARG001 - SDL has to be there
    monkeypatch.setenv('DISPLAY', ':98765')
    monkeypatch.setenv('SDL_VIDEODRIVER', 'x11')
    with pytest.raises(DisplayError, match=r'no window can be opened .*: is the desktop there'):
        Window((64, 48), Told())


def test_no_desktop(monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    with pytest.raises(DisplayError, match=r'no desktop to open a window on .*: log in to one, or use drm or web:8080'):
        Window((64, 48), Told())


def test_no_library(monkeypatch):
    monkeypatch.setenv('DISPLAY', ':0')
    monkeypatch.setattr(window.importlib.util, 'find_spec', lambda _: None)
    with pytest.raises(DisplayError, match=r"pip install 'facefusion_ros\[window\]'"):
        Window((64, 48), Told())


def test_sizes():
    assert parse_size('') == (1280, 720)
    assert parse_size('640x360') == (640, 360)
    for text in ('640', '0x5', 'x', '640x-1', '640x360x2'):
        with pytest.raises(DisplayError, match='window:1280x720'):
            parse_size(text)
