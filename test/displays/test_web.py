from __future__ import annotations

import base64
import hashlib
import http.client
import json
import math
import re
import socket
import threading
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from facefusion_ros.displays.sink import DisplayError, Sink
from facefusion_ros.displays.web import MOST_VIEWERS, WIDEST_PX, Newest, WebPage
from facefusion_ros.frames.frame import Encoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facefusion_ros.frames.frame import Frame


@pytest.fixture
def page() -> Iterator[WebPage]:
    page = WebPage(port=0)
    yield page
    page.close()


@pytest.fixture
def show_on(page: WebPage) -> Iterator[Callable[[Frame], None]]:
    """Show a frame again and again, as a camera does, until the test is over."""
    over = threading.Event()
    threads = []

    def show_on(frame: Frame) -> None:
        def run() -> None:
            while not over.wait(0.01):
                page.show(frame, None)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield show_on
    over.set()
    for thread in threads:
        thread.join()


def address(page: WebPage) -> tuple[str, int]:
    host, port = page.url.removeprefix('http://').rstrip('/').split(':')
    return host, int(port)


def ask(page: WebPage, path: str, method: str = 'GET', **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*address(page), timeout=20)
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def parts(response: http.client.HTTPResponse) -> Iterator[np.ndarray]:
    """Decode the pictures of a multipart stream as they come, each complete with the boundary after it."""
    assert response.readline() == b'--picture\r\n'
    while True:
        assert response.readline() == b'Content-Type: image/jpeg\r\n'
        length = int(response.readline().removeprefix(b'Content-Length: '))
        assert response.readline() == b'\r\n'
        jpeg = response.read(length)
        assert response.readline() == b'\r\n'
        assert response.readline() == b'--picture\r\n'
        yield cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_the_page_loads_nothing_from_elsewhere(page: WebPage) -> None:
    response = ask(page, '/')
    text = response.read().decode()
    assert response.status == 200
    assert response.headers['Content-Type'] == 'text/html; charset=utf-8'
    assert not re.search(r'https?://', text)
    assert not re.search(r'\s(style|on\w+)=', text)  # the policy refuses them
    policy = response.headers['Content-Security-Policy']
    for tag in ('style', 'script'):
        [content] = re.findall(f'<{tag}>(.*?)</{tag}>', text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize('path', ['/', '/still.jpg', '/stream.mjpg', '/events'])
def test_head_has_no_content(page: WebPage, path: str) -> None:
    response = ask(page, path, 'HEAD')
    assert response.status == 200
    assert response.read() == b''


def test_other_paths_and_methods(page: WebPage) -> None:
    missing = ask(page, '/nothing')
    assert missing.status == 404
    assert '/stream.mjpg' in missing.read().decode()
    assert ask(page, '/', 'POST').status == 501
    assert ask(page, '/?from=phone').status == 200


def test_a_name_of_another_site_is_refused(page: WebPage) -> None:
    assert ask(page, '/', Host='evil.example:80').status == 403
    assert ask(page, '/', Host='localhost:9999').status == 200  # as through a tunnel


def test_still_is_the_newest_picture(
    page: WebPage, make_frame: Callable[..., Frame], show_on: Callable[[Frame], None]
) -> None:
    page.show(make_frame(5), None)  # before anyone looks: not kept
    show_on(make_frame(20, 640, 480))
    response = ask(page, '/still.jpg')
    picture = cv2.imdecode(np.frombuffer(response.read(), np.uint8), cv2.IMREAD_COLOR)
    assert response.headers['Content-Type'] == 'image/jpeg'
    assert picture.shape == (480, 640, 3)
    assert picture.mean() == pytest.approx(70, abs=2)


@pytest.mark.parametrize(('size', 'sent'), [((1, 1), (1, 1)), ((7680, 4320), (WIDEST_PX, 720))])
def test_pictures_of_any_size(
    page: WebPage,
    make_frame: Callable[..., Frame],
    show_on: Callable[[Frame], None],
    size: tuple[int, int],
    sent: tuple[int, int],
) -> None:
    show_on(make_frame(20, *size))
    picture = next(parts(ask(page, '/stream.mjpg')))
    assert picture.shape[:2] == sent[::-1]
    assert picture.mean() == pytest.approx(70, abs=2)


@pytest.mark.parametrize(
    ('encoding', 'size', 'sent'),
    [
        (Encoding.NV12, (640, 480), (640, 480)),
        (Encoding.NV12, (2, 2), (2, 2)),
        (Encoding.NV12, (1922, 1082), (1280, 720)),
        (Encoding.BGRA8, (64, 48), (64, 48)),
        (Encoding.MONO8, (64, 48), (64, 48)),
    ],
)
def test_pictures_of_any_encoding(
    page: WebPage,
    make_frame: Callable[..., Frame],
    as_encoding: Callable[..., Frame],
    show_on: Callable[[Frame], None],
    encoding: Encoding,
    size: tuple[int, int],
    sent: tuple[int, int],
) -> None:
    frame = make_frame(0, *size, blue=200)
    show_on(as_encoding(frame, encoding))
    picture = next(parts(ask(page, '/stream.mjpg')))
    assert picture.shape[:2] == sent[::-1]
    wanted = (22.8,) * 3 if encoding is Encoding.MONO8 else (200, 0, 0)
    assert picture.reshape(-1, 3).mean(axis=0) == pytest.approx(wanted, abs=6)


def test_nothing_is_compressed_while_nobody_looks(page: WebPage, make_frame: Callable[..., Frame]) -> None:
    for number in range(5):
        page.show(make_frame(number), None)
    assert page._server.jpegs.number == 0
    stream = ask(page, '/stream.mjpg')
    assert stream.readline() == b'--picture\r\n'  # now somebody looks
    page.show(make_frame(9), None)
    assert page._server.jpegs.after(0, 20)
    stream.close()


def test_pixels_are_the_callers_again(page: WebPage, make_frame: Callable[..., Frame]) -> None:
    stream = ask(page, '/stream.mjpg')
    pictures = parts(stream)
    assert stream.peek(11)
    frame = make_frame(20)
    page.show(frame, None)
    frame.pixels[:] = 255
    assert next(pictures).mean() == pytest.approx(70, abs=2)


def test_a_slow_client_skips_to_the_newest(page: WebPage, make_frame: Callable[..., Frame]) -> None:
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.settimeout(20)
        slow.connect(address(page))
        slow.sendall(b'GET /stream.mjpg HTTP/1.0\r\n\r\n')
        response = http.client.HTTPResponse(slow)
        response.begin()
        assert response.peek(11)
        noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
        shown = 30
        for number in range(shown):  # each is compressed before the next; the client reads none of them
            frame = make_frame(number, 1280, 720)
            frame.pixels[:] = noise
            frame.pixels[:64, :64] = 8 * number
            page.show(frame, None)
            assert page._server.jpegs.after(number, 20)
        assert page.dropped == 0
        seen = []
        for picture in parts(response):
            seen.append(round(picture[8:56, 8:56].mean() / 8))
            if seen[-1] == shown - 1:
                break
    assert seen == sorted(set(seen))
    assert len(seen) <= 5


def test_numbers_arrive_as_they_change(page: WebPage) -> None:
    page.update({'fps': 1.0})
    page.update({'fps': 29.5, 'faces': 2, 'persona': 'porcelain', 'lux': math.nan, 'stage.camera_ms': 2.5})
    response = ask(page, '/events')
    assert response.headers['Content-Type'] == 'text/event-stream'
    lines = iter(response.readline, b'')

    def numbers() -> dict[str, object]:
        line = next(line for line in lines if line.startswith(b'data: '))
        return json.loads(line.removeprefix(b'data: '))

    expected = {'fps': 29.5, 'faces': 2, 'persona': 'porcelain', 'lux': None, 'stage.camera_ms': 2.5}
    first = numbers()
    assert first == expected
    assert list(first) == list(expected)
    page.update({'fps': 30.0})
    assert numbers() == {'fps': 30.0}


def test_too_many_viewers_are_refused_and_leaving_makes_room(page: WebPage) -> None:
    viewers = [ask(page, '/events') for _ in range(MOST_VIEWERS)]
    refused = ask(page, '/stream.mjpg')
    assert refused.status == 503
    assert 'Too many viewers' in refused.read().decode()
    for viewer in viewers:
        viewer.close()
    never = threading.Event()
    for number in range(400):  # whoever left is noticed with the next numbers
        page.update({'fps': number})
        if ask(page, '/events').status == 200:
            break
        never.wait(0.05)
    else:
        pytest.fail('nobody was let in')


def test_closing_ends_every_client_and_frees_the_port(make_frame: Callable[..., Frame]) -> None:
    page: Sink = WebPage(port=0)
    assert isinstance(page, WebPage)
    stream, events = ask(page, '/stream.mjpg'), ask(page, '/events')
    assert stream.peek(11)
    page.close()
    page.close()
    assert stream.read() in {b'', b'--picture\r\n'}
    events.read()
    page.show(make_frame(), None)
    page.update({'fps': 1.0})
    again = WebPage(*address(page))
    again.close()


def test_a_busy_port_is_said_with_its_cure(page: WebPage) -> None:
    with pytest.raises(DisplayError, match=r':\d+: Address already in use; .*choose another, or 0 for any free one'):
        WebPage(*address(page))


@pytest.mark.parametrize(('host', 'port'), [('192.0.2.1', 0), ('no..host', 0), ('127.0.0.1', 70000)])
def test_an_address_that_cannot_be_had(host: str, port: int) -> None:
    with pytest.raises(DisplayError, match=f'cannot serve a page at {host}:{port}: .*; .*choose') as caught:
        WebPage(host, port)
    assert '\n' not in str(caught.value)


def test_newest_value_wins() -> None:
    values: Newest[int] = Newest()
    assert values.after(0, 0) is None
    assert values.put(1) is None
    assert values.put(2) == 1
    assert values.after(0) == (2, 2)
    assert values.after(0, take=True) == (2, 2)
    assert values.put(3) is None
    values.close()
    assert values.after(0) is None
