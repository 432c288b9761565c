"""A screen without a desktop: the kernel's own mode setting (DRM/KMS).

Sources: Linux, Documentation/gpu/drm-kms and drm-uapi; drivers/gpu/drm/drm_auth.c for who is master and
drm_fb_helper.c for when the console comes back.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.displays import kms
from facefusion_ros.displays.connectors import Wanted, choose_connector, choose_mode
from facefusion_ros.displays.letterbox import Painter, fit, picture_size
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.frames.frame import Encoding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from facefusion_ros.displays.connectors import Connector, Mode
    from facefusion_ros.displays.kms import Buffer, Card, Kernel
    from facefusion_ros.displays.letterbox import Region
    from facefusion_ros.displays.sink import Told
    from facefusion_ros.frames.frame import Frame, FrameInfo

LOOK_S = 1.0
"""How often a screen that is away is looked for, and one that is there is looked after."""
PATIENCE_LOOKS = 3
"""A flip takes one period of the screen; where as many looks find it outstanding, the driver has lost it. No span of
time: after one in which the whole machine stood still, this program may run before the driver does."""
BUFFERS = 3
"""One on the screen, one about to come, one to paint into: with two, painting would have to wait for the screen."""

_CURSOR = 2
_ELSEWHERE = 'use another display, such as web:8080'


def holders(path: str, processes: Path = Path('/proc')) -> list[str]:
    """Name the other programs that have a device open, as far as this user may know: 'Xorg, pid 812'."""
    found = []
    for process in sorted(processes.glob('[0-9]*'), key=lambda each: int(each.name)):
        with suppress(OSError):
            opened = {str(link.readlink()) for link in (process / 'fd').iterdir()}
            if path in opened and process.name != str(os.getpid()):
                found.append(f'{(process / "comm").read_text().strip()}, pid {process.name}')
    return found


@dataclass(frozen=True, slots=True)
class Survey:
    """A card that can show pictures, and what its connectors have."""

    path: str
    driver: str
    connectors: tuple[Connector, ...]
    card: Card


def survey(kernel: Kernel) -> tuple[list[Survey], list[str]]:
    """Open every card; returns those that can show pictures, to be closed by the caller, and what is with the others.

    Each of the latter is one line for a person.
    """
    found, others = [], []
    for path in kernel.cards():
        try:
            card = kms.Card(path, kernel)
        except OSError as error:
            others.append(_cannot_open(path, error))
            continue
        try:
            driver = card.driver()
            connectors = tuple(card.connector(number) for number in card.resources()[1])
        except OSError as error:
            card.close()
            others.append(f'{path} computes pictures and shows none ({error.strerror})')
            continue
        found.append(Survey(path, driver, connectors, card))
    return found, others


def _cannot_open(path: str, error: OSError) -> str:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"no permission to use {path}: 'sudo usermod -aG video $USER' and log in again"
    return f'{path} cannot be opened ({error.strerror}): look into dmesg'


class Chain:
    """Buffers that take turns on the screen: at most one is shown, one asked for and one painted."""

    def __init__(self, buffers: list[Buffer], flip: Callable[[int, int], None]) -> None:
        self.buffers = buffers
        self.flip = flip
        """Asks for a frame buffer; the number comes back with the event. Raises OSError."""
        self.shown: Buffer | None = None
        self.ready: tuple[Buffer, FrameInfo] | None = None
        """Painted, and to be asked for as soon as may be."""
        self.places: dict[int, Region] = {}

    def spare(self, asked: Buffer | None) -> Buffer:
        """Return one that is neither on the screen nor about to be."""
        return next(buffer for buffer in self.buffers if buffer is not self.shown and buffer is not asked)


@dataclass(slots=True)
class Asked:
    """A flip that has been asked for."""

    number: int
    chain: Chain
    buffer: Buffer
    info: FrameInfo
    looks: int = 0
    """How often it was found outstanding."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A plane of an atomic driver that pictures may be tried on."""

    id: int
    formats: frozenset[int]
    kind: int
    properties: dict[str, int]
    """Name -> id."""


@dataclass(slots=True)
class Lit:
    """A connector that shows pictures."""

    card: Card
    connector: Connector
    mode: Mode
    crtc: int
    screen: Chain
    """As large as the screen; pictures are scaled into it by the CPU."""
    layers: list[Layer]
    picture: tuple[Encoding, tuple[int, int]] | None = None
    """What it was last chosen for how pictures come to the screen."""
    plane: Chain | None = None
    """As large as the picture, scaled by the card; used in place of ``screen`` where there is one."""

    @property
    def chains(self) -> list[Chain]:
        """Those that there are."""
        return [self.plane, self.screen] if self.plane else [self.screen]

    def destroy(self) -> None:
        """Give all buffers back."""
        for chain in self.chains:
            for buffer in chain.buffers:
                self.card.destroy(buffer)


class DrmScreen:
    """Shows frames on a connector of a graphics card, as large as fits; the rest is black.

    Frames are painted into one of three buffers right away and come on the screen at its next refresh; a newer frame
    replaces one that still waits, so that nothing ever waits for the screen and delay cannot grow. ``told`` hears of
    every frame when its first pixel left for the screen, by the driver's own clock. An atomic driver with a plane that
    takes the picture as it is (NV12 or XRGB8888) and scales it does so; otherwise the CPU converts and scales.

    Where the screen is pulled out, or the card is lost or taken away, ``failed`` says so and frames go nowhere; a
    thread looks every ``LOOK_S`` and sets the mode again. The kernel's events of devices tell it at once, and make it
    ask the screen itself, because some drivers (nvidia-drm) find out only when asked; what the kernel already knows is
    looked at every time, because such events may be lost or be withheld from a container.

    What was on the screen before comes back with ``close``; where the process dies, the kernel sees to that.
    """

    compares = shows_numbers = False
    tells_when = True

    def __init__(self, wanted: Wanted, told: Told, kernel: Kernel | None = None) -> None:
        """Find the screen and set its mode; raises DisplayError. ``told`` is as ``Sink.tells_when`` has it."""
        self.failed: str | None = None
        self._wanted = wanted
        self._told = told
        self._kernel = kernel or kms.Linux()
        self._painter = Painter()
        self._numbers = count(1)
        self._dropped = self._missed = 0
        self._drawing = threading.Lock()
        """Held while a frame is painted, and while the buffers are exchanged for others; before ``_lock``."""
        self._lock = threading.Lock()
        self._card: Card | None = None
        self._before: dict[int, tuple[kms.Crtc, list[int]]] = {}
        self._lit: Lit | None = None
        self._asked: Asked | None = None
        self._lost: str | None = None
        self._monotonic = True
        self._without_planes = False
        self._closing = False
        self._hotplug = self._kernel.hotplug()
        self._waker, self._waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._connect()
        except DisplayError:
            self._let_go()
            raise
        self._watcher = threading.Thread(target=self._watch, name='display', daemon=True)
        self._watcher.start()

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced before the screen took them, or that came while there was no screen."""
        return self._dropped + self._missed

    @property
    def mode(self) -> Mode | None:
        """What the screen runs at; None while there is none."""
        return self._lit.mode if self._lit else None

    @property
    def connector(self) -> str:
        """Where the picture goes; empty while it goes nowhere."""
        return self._lit.connector.name if self._lit else ''

    @property
    def scales(self) -> bool:
        """Whether the card scales the picture."""
        return bool(self._lit and self._lit.plane)

    def show(self, frame: Frame, original: Frame | None) -> None:  # noqa: ARG002 - the screen shows the result
        """Paint a frame of any encoding and ask for it; never waits for the screen."""
        if not self._drawing.acquire(blocking=False):  # buffers are being exchanged, and that is not waited for
            self._missed += 1
            self._told(frame.info, None)
            return
        try:
            self._show(frame)
        finally:
            self._drawing.release()

    def update(self, numbers: Mapping[str, float | int | str]) -> None:
        """Do nothing: the screen shows no numbers."""

    def close(self) -> None:
        """Show again what was shown before, and let the card go; may be called twice."""
        if self._closing:
            return
        self._closing = True
        self._wake()
        self._watcher.join()
        self._let_go()

    # Frames.

    def _show(self, frame: Frame) -> None:
        with self._lock:
            lit = self._lit
            if lit is None or self._lost:
                self._leave_out(frame.info)
                return
            try:
                chain = self._chain(lit, frame)
            except OSError as error:
                self._lose(error)
                self._leave_out(frame.info)
                return
            if chain.ready:
                self._leave_out(chain.ready[1])
                chain.ready = None
            buffer = chain.spare(self._asked.buffer if self._asked else None)
        if chain is lit.plane and frame.encoding is Encoding.NV12:
            height = lit.plane.buffers[0].size[1]
            np.copyto(buffer.pixels, frame.pixels[:height])
            np.copyto(buffer.chroma, frame.pixels[height:])
        else:
            chain.places[buffer.fb] = self._painter.paint(frame, buffer.pixels, chain.places.get(buffer.fb))
        with self._lock:
            chain.ready = buffer, frame.info
            if self._asked is None:
                self._ask(chain)

    def _ask(self, chain: Chain) -> None:
        """Ask for what is ready; with the lock."""
        if chain.ready is None or self._lost:
            return
        (buffer, info), chain.ready = chain.ready, None
        number = next(self._numbers)
        try:
            chain.flip(buffer.fb, number)
        except OSError as error:
            self._without_planes |= bool(self._lit and chain is self._lit.plane)  # it had promised to do so
            self._leave_out(info)
            self._lose(error)
        else:
            self._asked = Asked(number, chain, buffer, info)

    def _flipped(self, flip: kms.Flip) -> None:
        with self._lock:
            asked = self._asked
            if asked is None or flip.number != asked.number:  # of a time before the mode was set anew
                return
            self._asked = None
            asked.chain.shown = asked.buffer
            now_ns = time.monotonic_ns()
            self._told(asked.info, flip.time_ns if self._monotonic and flip.time_ns else now_ns)
            if self._lit:
                self._ask(self._lit.plane or self._lit.screen)

    def _leave_out(self, info: FrameInfo) -> None:
        self._dropped += 1
        self._told(info, None)

    def _lose(self, error: OSError) -> None:
        """Take note that the card does not do as it was told; the watcher sees to it. With the lock."""
        if error.errno in {errno.EACCES, errno.EPERM} and self._card:
            self._lost = _taken(self._card.path)
        else:
            self._lost = f'the graphics card shows nothing any more ({error.strerror}): is the screen plugged in?'
        self._wake()

    # Planes.

    def _chain(self, lit: Lit, frame: Frame) -> Chain:
        """Choose how a frame comes to the screen; raises OSError."""
        picture = frame.encoding, picture_size(frame)
        if picture != lit.picture:
            lit.picture = picture
            if lit.plane:
                self._leave_plane(lit, lit.plane)
            lit.plane = self._try_planes(lit, *picture)
        return lit.plane or lit.screen

    def _try_planes(self, lit: Lit, encoding: Encoding, size: tuple[int, int]) -> Chain | None:
        """Find a plane that takes a picture as it is and scales it to the screen."""
        wanted = kms.Format.NV12 if encoding is Encoding.NV12 else kms.Format.XRGB8888
        screen = lit.mode.width_px, lit.mode.height_px
        layers = [layer for layer in lit.layers if wanted in layer.formats]
        if not layers or (size == screen and wanted is kms.Format.XRGB8888):
            return None
        placed = _placed(lit.crtc, size, fit(size, screen))
        card, buffers = lit.card, []
        try:
            buffers.append(card.create(size, wanted))
            found = next((layer for layer in layers if _takes(card, layer, buffers[0].fb, placed)), None)
            if found:
                buffers += [card.create(size, wanted) for _ in range(BUFFERS - 1)]
        except OSError:  # no memory of this kind: the CPU does without
            found = None
        if found is None:
            for buffer in buffers:
                card.destroy(buffer)
            return None
        for behind in lit.screen.buffers:
            behind.pixels[...] = 0
        lit.screen.places.clear()

        def flip(fb: int, number: int) -> None:
            card.commit(_showing(found, fb, placed), kms.NONBLOCK | kms.FLIP_EVENT, number)

        return Chain(buffers, flip)

    def _leave_plane(self, lit: Lit, chain: Chain) -> None:
        """Go back to the buffers that are as large as the screen; raises OSError."""
        lit.plane = None
        for info in [chain.ready and chain.ready[1], self._asked and self._asked.info]:
            if info:
                self._leave_out(info)
        self._asked = None
        try:
            _set_mode(lit)
        finally:
            for buffer in chain.buffers:  # with these a plane goes dark that is not the CRTC's own
                lit.card.destroy(buffer)

    # The screen.

    def _watch(self) -> None:
        looked_s = time.monotonic()
        while not self._closing:
            heard = self._wait()
            if self._lost:
                self._darken(self._lost, keep_card=False)
            elif self._lit and (heard or time.monotonic() - looked_s >= LOOK_S):
                looked_s = time.monotonic()
                try:
                    why = self._look_after(self._lit, heard=heard)
                except OSError as error:
                    self._darken(f'the graphics card is gone ({error.strerror}): look into dmesg', keep_card=False)
                else:
                    if why:
                        self._darken(why, keep_card=True)
            if not self._lit and not self._closing:
                self._try_again()

    def _wait(self) -> bool:
        """Wait for a while, or until something happens; returns whether the kernel has spoken of displays."""
        poll = select.poll()
        listened = [self._waker, *([self._hotplug.fileno()] if self._hotplug else [])]
        # Without a screen there are no flips, and a card that has gone away would wake this thread all the time.
        if self._card and self._lit:
            listened.append(self._card.descriptor)
        for descriptor in listened:
            poll.register(descriptor, select.POLLIN)
        awake = {descriptor for descriptor, _ in poll.poll(LOOK_S * 1000)}
        if self._waker in awake:
            with suppress(BlockingIOError):
                os.read(self._waker, 4096)
        if self._card and self._card.descriptor in awake:
            self._take_flips(self._card)
        return bool(self._hotplug and self._hotplug.fileno() in awake and kms.heard_of_displays(self._hotplug))

    def _take_flips(self, card: Card) -> None:
        try:
            flips = card.events()
        except OSError as error:
            with self._lock:
                self._lose(error)
        else:
            for flip in flips:
                self._flipped(flip)

    def _look_after(self, lit: Lit, *, heard: bool) -> str | None:
        """Return why the screen can show nothing any more, None where it can; raises OSError."""
        plugged = f'nothing is plugged into {lit.connector.name} any more: plug the screen in'
        if heard:
            now = lit.card.connector(lit.connector.id)
            if now.connected and lit.mode not in now.modes:
                return f'another screen is plugged into {lit.connector.name}'
            return None if now.connected else plugged
        if not lit.card.still_connected(lit.connector.id):
            return plugged
        with self._lock:
            if self._asked:
                self._asked.looks += 1
                if self._asked.looks == PATIENCE_LOOKS:
                    seconds = (PATIENCE_LOOKS - 1) * LOOK_S
                    return f'{lit.connector.name} has not shown a frame for {seconds:g} s: look into dmesg'
        return None

    def _try_again(self) -> None:
        try:
            self._connect()
        except DisplayError as error:
            self.failed = str(error)
            if isinstance(error.__cause__, OSError):  # opened anew, the card may do as it is told
                self._close_card()

    def _connect(self) -> None:
        """Find the screen and set its mode; raises DisplayError."""
        if self._card is None:
            found, others = survey(self._kernel)
            try:
                self._card = self._choose_card(found, others)
            finally:
                for each in found:
                    if each.card is not self._card:
                        each.card.close()
            self._monotonic = bool(self._card.capability(kms.CAP_TIMESTAMP_MONOTONIC))
        try:
            self._card.take_master()
            lit = self._light(self._card)
        except OSError as error:
            if error.errno in {errno.EBUSY, errno.EACCES, errno.EPERM}:
                raise DisplayError(_taken(self._card.path)) from error
            text = f'{self._card.path} does not take the mode ({error.strerror}): choose another, or {_ELSEWHERE}'
            raise DisplayError(text) from error
        with self._lock:
            self._lit, self._lost, self.failed = lit, None, None

    def _choose_card(self, found: list[Survey], others: list[str]) -> Card:
        if not found:
            if others:
                raise DisplayError(f'no graphics card can be used: {"; ".join(others)}')
            raise DisplayError(f'there is no graphics card (/dev/dri/card*): load its driver, or {_ELSEWHERE}')
        for each in found:
            with suppress(DisplayError):
                choose_connector(each.connectors, self._wanted)
                return each.card
        choose_connector([connector for each in found for connector in each.connectors], self._wanted)
        raise AssertionError  # the connectors of one card would have done

    def _light(self, card: Card) -> Lit:
        """Set the mode; raises OSError and DisplayError."""
        if not card.capability(kms.CAP_DUMB_BUFFER):
            raise DisplayError(f'{card.path} ({card.driver()}) has no buffers that the CPU can paint: {_ELSEWHERE}')
        crtcs, numbers = card.resources()
        connectors = [card.connector(number) for number in numbers]
        connector = choose_connector(connectors, self._wanted)
        mode = choose_mode(connector, self._wanted)
        crtc = _choose_crtc(card, connector, connectors, crtcs)
        if crtc not in self._before:
            self._before[crtc] = card.crtc(crtc), _fed_by(card, crtc, connectors)
        screen = Chain([], lambda fb, number: card.flip(crtc, fb, number))
        layers = [] if self._without_planes else _layers(card, crtc, 1 << crtcs.index(crtc))
        lit = Lit(card, connector, mode, crtc, screen, layers)
        try:
            for _ in range(BUFFERS):
                screen.buffers.append(card.create((mode.width_px, mode.height_px), kms.Format.XRGB8888))
            _set_mode(lit)
        except OSError:
            lit.destroy()
            raise
        return lit

    def _darken(self, why: str | None, *, keep_card: bool) -> None:
        """Give the buffers back, which the screen no longer shows."""
        with self._drawing, self._lock:
            lit, self._lit = self._lit, None
            asked, self._asked = self._asked, None
            self.failed, self._lost = why, None
            if asked:
                self._leave_out(asked.info)
            for chain in lit.chains if lit else ():
                if chain.ready:
                    self._leave_out(chain.ready[1])
            if lit:
                lit.destroy()
        if not keep_card:
            self._close_card()

    def _close_card(self) -> None:
        card, self._card = self._card, None
        self._before.clear()
        if card:
            card.close()

    def _let_go(self) -> None:
        """Show what was shown before, and give everything back."""
        if self._card:
            for before, connectors in self._before.values():
                _restore(self._card, before, connectors)
        self._darken(None, keep_card=False)
        if self._hotplug:
            self._hotplug.close()
        os.close(self._waker)
        os.close(self._waking)

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._waking, b'.')


def _taken(path: str) -> str:
    by = ' and '.join(holders(path)) or 'root can tell which'
    return (
        f'another program ({by}) owns the display {path}: end it or its desktop '
        '(sudo systemctl isolate multi-user.target), or use display:=window there'
    )


def _choose_crtc(card: Card, connector: Connector, connectors: Sequence[Connector], crtcs: tuple[int, ...]) -> int:
    """Return the CRTC that feeds the connector, or one that could and feeds no other; raises OSError, DisplayError."""
    if connector.encoder and (feeding := card.encoder(connector.encoder)[0]):
        return feeding
    taken = {card.encoder(each.encoder)[0] for each in connectors if each.encoder}
    for encoder in connector.encoders:
        _, possible = card.encoder(encoder)
        for place, crtc in enumerate(crtcs):
            if possible >> place & 1 and crtc not in taken:
                return crtc
    raise DisplayError(f'{card.path} cannot feed {connector.name} too: pull another screen out')


def _fed_by(card: Card, crtc: int, connectors: Sequence[Connector]) -> list[int]:
    return [each.id for each in connectors if each.encoder and card.encoder(each.encoder)[0] == crtc]


def _set_mode(lit: Lit) -> None:
    wanted = kms.Crtc(crtc_id=lit.crtc, fb_id=lit.screen.buffers[0].fb, mode_valid=1)
    wanted.mode = kms.ModeInfo.from_buffer_copy(lit.mode.timing)
    lit.card.set_crtc(wanted, [lit.connector.id])
    lit.screen.shown = lit.screen.buffers[0]


def _restore(card: Card, before: kms.Crtc, connectors: list[int]) -> None:
    """Let a CRTC show what it showed; off where that is gone. Raises nothing: the card may be gone."""
    if before.mode_valid and before.fb_id and connectors:
        with suppress(OSError):
            card.set_crtc(before, connectors)
            return
    with suppress(OSError):
        card.set_crtc(kms.Crtc(crtc_id=before.crtc_id), [])


def _layers(card: Card, crtc: int, bit: int) -> list[Layer]:
    """Return the planes that pictures may be tried on, those above the CRTC's own first; raises OSError."""
    if not (card.speak_as(kms.CLIENT_UNIVERSAL_PLANES) and card.speak_as(kms.CLIENT_ATOMIC)):
        return []
    found = []
    for plane in card.planes():
        properties = card.properties(plane.id, kms.Object.PLANE)
        kind, feeding = properties.get('type', (0, _CURSOR))[1], properties.get('CRTC_ID', (0, 0))[1]
        if plane.possible_crtcs & bit and kind != _CURSOR and feeding in {0, crtc}:
            ids = {name: number for name, (number, _) in properties.items()}
            found.append(Layer(plane.id, plane.formats, kind, ids))
    return sorted(found, key=lambda layer: (layer.kind, layer.id))


def _takes(card: Card, layer: Layer, fb: int, placed: Mapping[str, int]) -> bool:
    """Ask the driver, without effect, whether a plane would show a frame buffer so."""
    try:
        card.commit(_showing(layer, fb, placed), kms.TEST_ONLY)
    except OSError:
        return False
    return True


def _showing(layer: Layer, fb: int, placed: Mapping[str, int]) -> dict[int, dict[int, int]]:
    return {layer.id: {layer.properties[name]: value for name, value in {'FB_ID': fb, **placed}.items()}}


def _placed(crtc: int, size: tuple[int, int], place: Region) -> dict[str, int]:
    """Properties of a plane that shows all of a picture at a place; the source's are in 1/65536 of a pixel."""
    width, height = size
    source = {'SRC_X': 0, 'SRC_Y': 0, 'SRC_W': width << 16, 'SRC_H': height << 16}
    target = {'CRTC_X': place.left, 'CRTC_Y': place.top, 'CRTC_W': place.width, 'CRTC_H': place.height}
    return {'CRTC_ID': crtc, **source, **target}
