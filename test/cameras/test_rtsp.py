"""Both ways of reading RTSP, against GStreamer's RTSP server in a process of its own.

What its pictures show is known: coloured bars, a ball that goes round once a second, or black and white by turns.
"""

import ctypes
import itertools
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from facefusion_ros.cameras.choose import choose_source
from facefusion_ros.cameras.gst_library import GstMissing, gst
from facefusion_ros.cameras.reconnect import Backoff
from facefusion_ros.cameras.source import SourceLost

SERVER = Path(__file__).with_name('rtsp_server.py')


def absent():
    """What is not installed of the server and of what its stream needs, one line; empty where all is."""
    try:
        ctypes.CDLL('libgstrtspserver-1.0.so.0')
        decodes = any(map(gst().has_element, ('avdec_h264', 'openh264dec')))
        return '' if decodes and gst().has_element('openh264enc') else 'there is no encoder or decoder of H.264'
    except (OSError, GstMissing) as missing:
        return str(missing)


if absent():
    pytest.skip(f'left out: apt install libgstrtspserver-1.0-0 ({absent()})', allow_module_level=True)

# White, yellow, cyan, green, magenta, red, blue: SMPTE's bars of full saturation, BGR.
BARS = [(255, 255, 255), (0, 255, 255), (255, 255, 0), (0, 255, 0), (255, 0, 255), (0, 0, 255), (255, 0, 0)]
RATE_HZ = 30
SLOW_HZ = 15
SIZE = (160, 120)
TCP = ['rtsp://', 'gst:rtsp://']
WAYS = [*TCP, 'rtspu://', 'gst:rtspu://']


def pipeline(what, rate_hz=RATE_HZ):
    caps = f'video/x-raw,format=I420,width={SIZE[0]},height={SIZE[1]},framerate={rate_hz}/1'
    return f'videotestsrc is-live=true {what} ! {caps} ! openh264enc gop-size=8 ! rtph264pay name=pay0 pt=96 mtu=48'


STREAMS = {
    'bars': pipeline('pattern=smpte'),
    'ball': pipeline('pattern=ball animation-mode=wall-time motion=sweep', SLOW_HZ),
    'blink': pipeline('pattern=blink'),
    'locked': pipeline('pattern=smpte'),
}


class Server:
    def __init__(self, port=0):
        texts = itertools.chain.from_iterable(STREAMS.items())
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), str(port), *texts], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope='module')
def server():
    one = Server()
    yield one
    one.kill()


@pytest.fixture
def source():
    """Make a source of a way and the rest of a URL."""
    made = []

    def make(way, rest, timeout_s=10.0, look_s=0.3):
        options = {'analyzeduration': f'{look_s * 1e6:.0f}'}
        made.append(choose_source(f'{way}{rest}', clock=time.time_ns, options=options))
        made[-1]._timeout_s = timeout_s
        return made[-1]

    yield make
    for each in made:
        each.close()


def shows_bars(out):
    columns = [out.shape[1] * (2 * bar + 1) // 14 for bar in range(7)]
    return np.abs(out[5, columns].astype(int) - BARS).max() <= 8


def is_plain(out):
    return out.max() < 40 or out.min() > 215


def pictures(source, count):
    out = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for _ in range(count):
        capture = source.capture(out)
        yield capture, out


@pytest.mark.parametrize('way', WAYS)
def test_a_stream_has_its_size_its_rate_and_its_colours(server, source, way):
    camera = source(way, f'127.0.0.1:{server.port}/bars', look_s=1.0)
    form = camera.open()
    assert (form.width, form.height) == SIZE
    assert form.rate_hz == pytest.approx(RATE_HZ, rel=0.02)
    for capture, out in pictures(camera, 4):
        assert shows_bars(out)
        assert capture.damaged == 0


def drawn_s(out):
    """When the ball was drawn, of the present second."""
    ball = out[..., 1] > 128
    x, y = (float(np.average(np.arange(length), weights=ball.sum(axis))) for axis, length in enumerate(SIZE))
    return np.arctan2(x - SIZE[0] / 2, SIZE[1] / 2 - y) / (2 * np.pi) % 1.0


@pytest.mark.parametrize('way', WAYS)
def test_stamps_say_when_pictures_were_taken(server, source, way):
    camera = source(way, f'127.0.0.1:{server.port}/ball')
    camera.open()
    # GStreamer draws a picture as soon as the one before it has gone, so a picture's time before it is due.
    late_s, stamps, missing = [], [], []
    for capture, out in pictures(camera, 15):
        stamps.append(capture.stamp_ns)
        missing.append(capture.dropped)
        late_s.append((capture.stamp_ns / 1e9 - drawn_s(out) - 1 / SLOW_HZ + 0.5) % 1.0 - 0.5)
    assert np.median(late_s) == pytest.approx(0.0, abs=0.5 / SLOW_HZ)
    steps = np.diff(stamps) / 1e9 * SLOW_HZ - missing[1:]
    assert np.median(steps) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize('way', WAYS)
def test_a_server_that_is_killed_and_comes_back(source, way):
    server = Server()
    camera = source(way, f'127.0.0.1:{server.port}/bars')
    camera.open()
    list(pictures(camera, 2))
    server.kill()
    camera._timeout_s = 0.7
    with pytest.raises(SourceLost) as loss:
        list(pictures(camera, 100))
    camera._timeout_s = 10.0
    assert '\n' not in str(loss.value)
    said, backoff = [], Backoff(first_s=0.05, longest_s=0.4)
    try:
        while True:  # as the camera node does
            camera.close()
            threading.Event().wait(backoff.next_s())
            try:
                camera.open()
                break
            except SourceLost as still:
                said.append(str(still))
            if len(said) == 2:
                server = Server(server.port)
        assert any(re.search('nobody answers|Failed to connect', one) for one in said)
        # Over UDP a packet may be lost for any reason.
        assert any(shows_bars(out) for _, out in pictures(camera, 30 if 'rtspu' in way else 3))
    finally:
        server.kill()


class Relay:
    """Passes on RTSP over TCP, until something befalls a packet of the stream, in the middle of a picture."""

    def __init__(self, port, fate, after=150):
        self.fate = fate
        self.after = after
        """Packets."""
        self.whole = 0
        """Pictures of which all has been passed on."""
        self.befell = threading.Event()
        self._port = port
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self):
        try:
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(('127.0.0.1', self._port))
                self._open += [client, server]
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()
        except OSError:
            return

    def _ask(self, client, server):
        try:
            while asked := client.recv(4096):
                server.sendall(asked)
        except OSError:
            return

    def _answer(self, server, client):
        """RFC 2326, section 10.12: a $, the channel, and how much follows; everything else is text."""
        packets, inside = 0, False
        try:
            with server.makefile('rb') as answers:
                while first := answers.read(1):
                    if first != b'$':
                        client.sendall(first + answers.readline())
                        continue
                    head = answers.read(3)
                    packet = answers.read(int.from_bytes(head[1:], 'big'))
                    if head[0] == 0:
                        packets += 1
                        ends = bool(packet[1] & 0x80)
                        if packets > self.after and inside and not ends and not self.befell.is_set():
                            self.befell.set()
                            if self.fate == 'lost':
                                continue
                            if self.fate == 'cut':
                                client.sendall(first + head + packet[:20])
                                client.shutdown(socket.SHUT_RDWR)
                            if self.fate in {'cut', 'silent'}:
                                return
                        self.whole += ends
                        inside = not ends
                    client.sendall(first + head + packet)
        except OSError:
            return


@pytest.fixture
def relay(server):
    running = []

    def make(*arguments):
        running.append(Relay(server.port, *arguments))
        return running[-1]

    yield make
    for one in running:
        one.close()


@pytest.mark.parametrize('way', TCP)
@pytest.mark.parametrize('fate', ['cut', 'silent'])
def test_a_stream_that_dies_in_mid_picture_is_lost_and_shows_no_half_of_it_as_whole(source, relay, way, fate):
    between = relay(fate)
    camera = source(way, f'127.0.0.1:{between.port}/blink', timeout_s=1.0)
    camera.open()
    seen, said = 0, ''
    try:
        for capture, out in pictures(camera, 1000):
            seen += 1 + capture.dropped
            assert is_plain(out) or capture.damaged
    except SourceLost as loss:
        said = str(loss)
    assert re.search('the stream has ended|no picture for 1 s', said)
    assert between.befell.is_set()
    assert 0 < seen <= between.whole
    assert '\n' not in said
    between.fate = ''
    camera.open()
    list(pictures(camera, 2))


@pytest.mark.parametrize('way', TCP)
def test_a_packet_that_is_lost_costs_pictures_not_the_stream(source, relay, way):
    between = relay('lost')
    camera = source(way, f'127.0.0.1:{between.port}/blink')
    camera.open()
    for _ in pictures(camera, 200):
        if between.befell.is_set():
            break
    damaged = sum(capture.damaged for capture, _ in pictures(camera, 12))
    [(_, out)] = pictures(camera, 1)
    assert is_plain(out)
    assert damaged or way.startswith('gst:')  # its depayloader leaves such a picture out


@pytest.mark.parametrize(
    ('rest', 'said'),
    [
        ('127.0.0.1:{}/nothing', 'mend what follows the host in the URL'),
        ('127.0.0.1:{}/locked', r'user and password.* as scheme://user:password@host/'),
        ('owner:wrong@127.0.0.1:{}/locked', r'user and password.* as scheme://user:password@host/'),
        ('127.0.0.1:9/bars', 'nobody answers there|Failed to connect'),
    ],
)
@pytest.mark.parametrize('way', TCP)
def test_what_cannot_be_opened_says_why_in_one_line(server, source, way, rest, said):
    with pytest.raises(SourceLost, match=said) as loss:
        source(way, rest.format(server.port)).open()
    assert '\n' not in str(loss.value)
    assert 'wrong' not in str(loss.value)


@pytest.mark.parametrize('way', TCP)
def test_the_right_password_opens(server, source, way):
    camera = source(way, f'owner:pass%20word@127.0.0.1:{server.port}/locked')
    camera.open()
    for _, out in pictures(camera, 1):
        assert shows_bars(out)
