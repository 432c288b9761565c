import itertools
import socket
import threading

import av
import numpy as np
import pytest


@pytest.fixture
def clock():
    """A clock that goes on by one millisecond whenever somebody looks at it."""
    return itertools.count(1_000_000_000, 1_000_000).__next__


@pytest.fixture
def film():
    """Encode pictures, (height, width, 3) BGR each, to a file; returns its path."""

    def encode(path, pictures, *, codec='mpeg4', rate=25, pixels='yuv420p', form=None, times=None, keys=None):
        container = av.open(str(path), 'w', format=form)
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        stream.bit_rate = 8_000_000
        if keys:
            stream.gop_size = keys
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format='bgr24')
            frame.pts = times[number] if times else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        container.close()
        return path

    return encode


@pytest.fixture
def greys():
    """Pictures of one grey each, 10 apart, so that the number of a picture can be told from its pixels."""

    def pictures(count, size=(64, 48)):
        return [np.full((size[1], size[0], 3), 10 * number + 5, np.uint8) for number in range(count)]

    return pictures


class Camera:
    """A network camera: gives everyone who comes some bytes, then hangs up or falls silent."""

    def __init__(self, content, port=0, *, silent=False):
        self.listener = socket.create_server(('127.0.0.1', port))
        self.port = self.listener.getsockname()[1]
        self.url = f'tcp://127.0.0.1:{self.port}'
        self.content = content
        self.silent = silent
        self.visitors = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                visitor, _ = self.listener.accept()
            except OSError:
                return
            self.visitors.append(visitor)
            try:
                visitor.sendall(self.content)
            except OSError:
                continue
            if not self.silent:
                visitor.shutdown(socket.SHUT_RDWR)

    def die(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for visitor in self.visitors:
            visitor.close()


@pytest.fixture
def camera():
    """Start network cameras."""
    running = []

    def start(*arguments, **options):
        running.append(Camera(*arguments, **options))
        return running[-1]

    yield start
    for one in running:
        if one.thread.is_alive():
            one.die()
