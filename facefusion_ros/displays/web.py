"""A web page with the live picture and the live numbers."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import math
import select
import socket
import threading
from collections import deque
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Generic, TypeVar

import cv2
import numpy as np

from facefusion_ros.displays.letterbox import picture_size
from facefusion_ros.displays.page import CONTENT_SECURITY_POLICY, PAGE
from facefusion_ros.displays.scaling import bgr_of, scale_into
from facefusion_ros.displays.sink import DisplayError
from facefusion_ros.frames.frame import Encoding
from facefusion_ros.frames.layout import nv12_planes, picture_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from facefusion_ros.frames.frame import Frame

WIDEST_PX = 1280
"""Wider pictures are scaled down before they are sent."""
JPEG_QUALITY = 82
NUMBERS_PERIOD_S = 0.2
"""The page gets numbers no more often than this."""
MOST_VIEWERS = 32
"""Pictures and number streams that may be open at once; a page has one of each."""
SEND_BUFFER_BYTES = 1 << 17
"""The kernel may hold this much for a client: about one picture, so that what a slow client sees is not old."""

_PATIENCE_S = 5.0
_CURES = {
    errno.EADDRINUSE: 'another program has this port: choose another, or 0 for any free one',
    errno.EACCES: 'ports below 1024 need privileges: choose a higher one',
    errno.EADDRNOTAVAIL: 'this machine has no such address: choose 127.0.0.1, or 0.0.0.0 for all',
}

T = TypeVar('T')


class Newest(Generic[T]):
    """A place for the newest value of a kind; whoever is slow misses those between."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._value: T | None = None
        self._number = 0
        self._closed = False

    @property
    def number(self) -> int:
        """How many values there have been."""
        return self._number

    def put(self, value: T) -> T | None:
        """Replace the value; returns the one before, None where it was taken."""
        with self._changed:
            before, self._value = self._value, value
            self._number += 1
            self._changed.notify_all()
            return before

    def after(self, number: int, timeout_s: float | None = None, *, take: bool = False) -> tuple[int, T] | None:
        """Wait for a value newer than the one of this number; None when closed or out of time."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > number, timeout_s)
            if self._closed or self._number <= number or self._value is None:
                return None
            value = self._value
            if take:
                self._value = None
            return self._number, value

    def close(self) -> None:
        """Let everyone who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class WebPage:
    """Serves one page with the live picture and the numbers, to browsers on this machine unless told otherwise.

    ``/`` is the page, ``/stream.mjpg`` the picture as multipart JPEG, ``/still.jpg`` the next picture, ``/events``
    the numbers as server-sent events. While nobody looks, ``show`` costs nothing; otherwise one copy. A picture is
    compressed once for all viewers, in a thread of its own; late pictures are left out, for everyone or for the one
    client that is slow. There is no password: whoever reaches the address sees the picture.
    """

    failed: None = None
    compares = False
    shows_numbers = True
    tells_when = False

    def __init__(self, host: str = '127.0.0.1', port: int = 8080) -> None:
        """Open the page; port 0 takes a free one, which ``url`` tells. Raises DisplayError where that fails."""
        self._pictures: Newest[tuple[NDArray[np.uint8], Encoding]] = Newest()
        self._spare: deque[NDArray[np.uint8]] = deque(maxlen=3)
        self._dropped = 0
        try:
            self._server = _Server(host, port)
        except (OSError, OverflowError, UnicodeError) as error:  # the last two: no port, no name at all
            reason = error.strerror if isinstance(error, OSError) else str(error)
            cure = _CURES.get(getattr(error, 'errno', 0), 'choose another address and port')
            raise DisplayError(f'cannot serve a page at {host}:{port}: {reason}; {cure}') from error
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.1,), name='web page', daemon=True),
            threading.Thread(target=self._compress, name='web picture', daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def url(self) -> str:
        """Where the page is, for a person to open."""
        host, port = self._server.server_address[:2]
        return f'http://{socket.gethostname() if host == "0.0.0.0" else host!s}:{port}/'  # noqa: S104 - compared only

    @property
    def dropped(self) -> int:
        """Pictures left out because the one before was still being compressed."""
        return self._dropped

    def show(self, frame: Frame, original: Frame | None) -> None:  # noqa: ARG002 - the page shows the result
        """Offer a frame to whoever looks at the page."""
        if not self._server.watchers:
            return
        width, height = picture_size(frame)
        scale = min(1.0, WIDEST_PX / width)
        step = 2 if frame.encoding is Encoding.NV12 else 1
        size = [max(step, int(side * scale) // step * step) for side in (width, height)]
        shape = picture_shape(frame.encoding, *size)
        picture = self._spare.pop() if self._spare else np.empty(shape, np.uint8)
        if picture.shape != shape:
            picture = np.empty(shape, np.uint8)
        if frame.encoding is Encoding.NV12:
            for plane, view in zip(nv12_planes(frame.pixels), nv12_planes(picture), strict=True):
                scale_into(plane, view)
        else:
            scale_into(frame.pixels, picture)
        late = self._pictures.put((picture, frame.encoding))
        if late is not None:
            self._dropped += 1
            self._spare.append(late[0])

    def update(self, numbers: Mapping[str, float | int | str]) -> None:
        """Offer the numbers; values that are no number are shown as missing."""
        readable = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in numbers.items()}
        self._server.numbers.put(json.dumps(readable, allow_nan=False))

    def close(self) -> None:
        """End every connection and free the port; may be called twice."""
        self._pictures.close()
        self._server.end()
        for thread in self._threads:
            thread.join()

    def _compress(self) -> None:
        number = 0
        while waiting := self._pictures.after(number, take=True):
            number, (picture, encoding) = waiting
            # OpenCV's JPEG begins with BGR; FFmpeg's would spare that and take longer altogether.
            _, jpeg = cv2.imencode('.jpg', bgr_of(picture, encoding), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
            self._spare.append(picture)
            self._server.jpegs.put(jpeg.tobytes())


class _Server(ThreadingHTTPServer):
    """What the connections share."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int) -> None:
        self.jpegs: Newest[bytes] = Newest()
        self.numbers: Newest[str] = Newest()
        self.watchers = 0
        """Connections that want pictures."""
        self._viewers = threading.BoundedSemaphore(MOST_VIEWERS)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._ended = threading.Event()
        super().__init__((host, port), _Connection)
        self.is_local = ipaddress.ip_address(str(self.server_address[0])).is_loopback

    def server_bind(self) -> None:
        # Accepted sockets inherit the buffer. The base class would look up the host's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @contextlib.contextmanager
    def viewer(self, *, of_pictures: bool) -> Iterator[bool]:
        """Count a viewer while it looks; gives False where there are too many."""
        if not self._viewers.acquire(blocking=False):
            yield False
            return
        with self._lock:
            self.watchers += of_pictures
        try:
            yield True
        finally:
            with self._lock:
                self.watchers -= of_pictures
            self._viewers.release()

    def pause(self, seconds: float) -> bool:
        """Wait; gives False where the page ends."""
        return not self._ended.wait(seconds)

    def keep(self, connection: socket.socket) -> None:
        """Remember a connection, so that ``end`` can end it."""
        with self._lock:
            self._connections.add(connection)

    def forget(self, connection: socket.socket) -> None:
        """Forget a connection that is over."""
        with self._lock:
            self._connections.discard(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser that goes away is no error."""

    def end(self) -> None:
        """End every connection and the server."""
        if self._ended.is_set():
            return
        self._ended.set()
        self.jpegs.close()
        self.numbers.close()
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    """One client."""

    server: _Server
    protocol_version = 'HTTP/1.1'
    server_version = 'facefusion_ros'
    sys_version = ''
    timeout = 10.0
    """Seconds a client may take to ask, or to read a picture, before it is let go."""
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.keep(self.connection)

    def finish(self) -> None:
        self.server.forget(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep quiet: the terminal belongs to the pipeline."""

    def do_HEAD(self) -> None:
        """Answer as to GET, without the content."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer a request."""
        # A page of another site could make its own name resolve to this machine and read the picture.
        name = self.headers.get('Host', 'localhost').rsplit(':', 1)[0]
        if self.server.is_local and name not in {'localhost', '127.0.0.1', self.server.server_name}:
            self.send_error(HTTPStatus.FORBIDDEN, explain=f'Open http://127.0.0.1:{self.server.server_port}/ instead.')
            return
        answers: dict[str, Callable[[], None]] = {
            '/': self._page,
            '/stream.mjpg': self._stream,
            '/still.jpg': self._still,
            '/events': self._events,
        }
        answer = answers.get(self.path.partition('?')[0])
        if answer:
            answer()
        else:
            self.send_error(HTTPStatus.NOT_FOUND, explain=f'There is: {", ".join(answers)}')

    def _page(self) -> None:
        if self._begin('text/html; charset=utf-8', len(PAGE)):
            self.wfile.write(PAGE)

    def _still(self) -> None:
        if self.command == 'HEAD':
            self._begin('image/jpeg', None)
            return
        with self.server.viewer(of_pictures=True) as welcome:
            newest = self.server.jpegs.after(self.server.jpegs.number, _PATIENCE_S) if welcome else None
        if newest is None:
            self._refuse(welcome=welcome)
        elif self._begin('image/jpeg', len(newest[1])):
            self.wfile.write(newest[1])

    def _stream(self) -> None:
        with self.server.viewer(of_pictures=True) as welcome:
            if not welcome:
                self._refuse(welcome=False)
                return
            if not self._begin('multipart/x-mixed-replace; boundary=picture', None):
                return
            number = self.server.jpegs.number
            self.wfile.write(b'--picture\r\n')
            while self.server.pause(0) and not self._is_gone():
                newest = self.server.jpegs.after(number, _PATIENCE_S)
                if newest:
                    number, jpeg = newest
                    head = f'Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n'
                    # A browser shows a part when it sees the boundary after it, so that follows at once.
                    self.wfile.write(b'%b%b\r\n--picture\r\n' % (head.encode(), jpeg))

    def _events(self) -> None:
        with self.server.viewer(of_pictures=False) as welcome:
            if not welcome:
                self._refuse(welcome=False)
                return
            if not self._begin('text/event-stream', None):
                return
            number = 0
            self.wfile.write(b'retry: 1000\n\n')
            while self.server.pause(NUMBERS_PERIOD_S) and not self._is_gone():
                newest = self.server.numbers.after(number, _PATIENCE_S)
                if newest:
                    number, numbers = newest
                    self.wfile.write(f'data: {numbers}\n\n'.encode())

    def _begin(self, kind: str, length: int | None) -> bool:
        """Send the head of an answer, one without an end where the length is None; True where content follows."""
        self.send_response(HTTPStatus.OK)
        self.send_header('Content-Type', kind)
        if length is None:
            self.send_header('Connection', 'close')
            self.close_connection = True
        else:
            self.send_header('Content-Length', str(length))
        self.send_header('Cache-Control', 'no-store')
        self.send_header('X-Content-Type-Options', 'nosniff')
        self.send_header('Cross-Origin-Resource-Policy', 'same-origin')
        self.send_header('Content-Security-Policy', CONTENT_SECURITY_POLICY)
        self.end_headers()
        return self.command != 'HEAD'

    def _refuse(self, *, welcome: bool) -> None:
        explain = (
            'No picture has come; is the camera on?' if welcome else 'Too many viewers; close a page and try again.'
        )
        self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain=explain)

    def _is_gone(self) -> bool:
        """Tell whether the client has hung up; writing to it would tell only the time after next."""
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        return bool(poll.poll(0))
