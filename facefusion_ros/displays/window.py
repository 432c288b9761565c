"""A window on a desktop, X11 or Wayland, by SDL (pygame-ce)."""

from __future__ import annotations

import importlib.util
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from facefusion_ros.displays.letterbox import Painter
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.frames.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facefusion_ros.displays.sink import Told
    from facefusion_ros.frames.frame import FrameInfo

LOOK_S = 0.02
"""How long keys and the mouse may wait where no frame comes."""
FIRST_SIZE = (1280, 720)

_BGRX = (0xFF0000, 0xFF00, 0xFF)
_SERVERS = ('DISPLAY', 'WAYLAND_DISPLAY')
_CLOSED = 'the window was closed: start the renderer anew to open it again'


def parse_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT in pixels; the usual size where the text is empty. Raises DisplayError."""
    if not text:
        return FIRST_SIZE
    found = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', text)
    if not found:
        raise DisplayError(f'no window of the size {text!r}: write window, or window:1280x720')
    return int(found[1]), int(found[2])


class Window:
    """Shows frames in a window that can be made larger and smaller; the picture keeps its proportions.

    ``show`` costs one copy: SDL wants to be spoken to by one thread, which is one of its own. A newer frame replaces
    one that still waits. Where a person closes the window or presses Escape, ``failed`` says so and frames go nowhere.
    ``told`` gets the time at which a picture was handed to the desktop, which knows more and does not say it.
    """

    compares = shows_numbers = False
    tells_when = True

    def __init__(self, size: tuple[int, int], told: Told, title: str = 'facefusion_ros') -> None:
        """Open a window of a (width, height); raises DisplayError."""
        self._size = size
        self._told = told
        self._title = title
        self._failed: str | None = None
        self._dropped = 0
        self._change = threading.Condition()
        self._waiting: Frame | None = None
        self._spare: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._opened = self._closing = False
        if not any(os.environ.get(name) for name in _SERVERS):
            raise DisplayError(
                f'no desktop to open a window on ({" and ".join(_SERVERS)} are not set): log in to one, or use drm '
                'or web:8080'
            )
        if importlib.util.find_spec('pygame') is None:
            raise DisplayError("a window needs pygame-ce: pip install 'facefusion_ros[window]', or use web:8080")
        self._thread = threading.Thread(target=self._run, name='window', daemon=True)
        self._thread.start()
        with self._change:
            self._change.wait_for(lambda: self._opened or self._failed)
        if self.failed:
            self._thread.join()
            raise DisplayError(self.failed)

    @property
    def failed(self) -> str | None:
        """Why the window is not there any more; None while it is."""
        return self._failed

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced, or that came when the window was closed."""
        return self._dropped

    def show(self, frame: Frame, original: Frame | None) -> None:  # noqa: ARG002 - the window shows the result
        """Take a frame of any encoding to be shown next."""
        with self._change:
            if self._failed or self._closing:
                self._leave_out(frame.info)
                return
            if self._waiting:
                self._leave_out(self._waiting.info)
                copy, self._waiting = self._waiting.pixels, None
            else:
                copy = self._spare
            if copy.shape != frame.pixels.shape:
                copy = np.empty_like(frame.pixels)
            np.copyto(copy, frame.pixels)
            self._waiting = Frame(copy, frame.info, frame.encoding)
            self._change.notify_all()

    def update(self, numbers: Mapping[str, float | int | str]) -> None:
        """Do nothing: the window shows no numbers."""

    def close(self) -> None:
        """Close the window; may be called twice."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join()

    def _leave_out(self, info: FrameInfo) -> None:
        self._dropped += 1
        self._told(info, None)

    def _run(self) -> None:
        os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
        os.environ.setdefault('SDL_NO_SIGNAL_HANDLERS', '1')  # the nodes have their own
        import pygame  # noqa: PLC0415 - loads SDL, which only a window needs

        try:
            pygame.display.init()
            if pygame.display.get_driver() not in {'x11', 'wayland'}:
                self._fail(f'no desktop to open a window on: {pygame.display.get_driver()!r} is none, use drm')
                return
            pygame.display.set_caption(self._title)
            surface = pygame.display.set_mode(self._size, pygame.RESIZABLE)
            if surface.get_bytesize() != 4 or surface.get_masks()[:3] != _BGRX:
                self._fail('a window needs a desktop with 24 bits of colour: set its colour depth, or use web:8080')
                return
            with self._change:
                self._opened = True
                self._change.notify_all()
            self._live(pygame)
        except pygame.error as error:
            self._fail(
                f'no window can be opened or kept open ({error}): is the desktop there, and may this user use it?'
            )
        finally:
            pygame.display.quit()

    def _fail(self, why: str) -> None:
        with self._change:
            self._failed = why
            if self._waiting:
                self._leave_out(self._waiting.info)
                self._waiting = None
            self._change.notify_all()

    def _live(self, pygame: Any) -> None:  # noqa: ANN401 - a module that need not be installed
        painter = Painter()
        painted: Frame | None = None
        while not self._closing:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closing, LOOK_S)
                frame, self._waiting = self._waiting, None
                if frame:  # its memory comes back below, and the next frame needs some meanwhile
                    self._spare = painted.pixels if painted else np.empty(0, np.uint8)
            resized = False
            for event in pygame.event.get():
                if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
                    self._fail(_CLOSED)
                    if frame:
                        self._leave_out(frame.info)
                    return
                resized |= event.type in {pygame.VIDEORESIZE, pygame.WINDOWEXPOSED}
            picture = frame or (painted if resized else None)
            if picture is None:
                continue
            self._paint(pygame.display.get_surface(), painter, picture)
            pygame.display.flip()
            painted = picture
            if frame:
                self._told(frame.info, time.monotonic_ns())
        with self._change:
            if self._waiting:
                self._leave_out(self._waiting.info)
                self._waiting = None

    def _paint(self, surface: Any, painter: Painter, frame: Frame) -> None:  # noqa: ANN401 - of pygame
        width, height = surface.get_size()
        # The array is let go before the flip: SDL locks a surface while its memory is looked at.
        memory = surface.get_buffer()
        canvas: NDArray[np.uint8] = np.ndarray((height, width, 4), np.uint8, memory, 0, (surface.get_pitch(), 4, 1))
        painter.paint(frame, canvas, None)
