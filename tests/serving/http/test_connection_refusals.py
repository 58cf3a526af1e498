"""What clients that misbehave get, and what they cannot do to others."""

import socket
from dataclasses import replace

import pytest

from serving.http.connection import LARGE_BYTES
from serving.http.message import Limits, Request, Response, page
from tests.serving.http.ports import answers, hear, hear_all, listening, wait_for
from tests.serving.http.requests import HASTY, LAST, Waiting, echo, post


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /x HTTP/9.9\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost h\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1x\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /x HTTP/1.1\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /x HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", 431),
        (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /x HTTP/1.1\r\n" + b"X: " + b"y" * 700_000, 431),
        (post(b"x" * 1001), 413),
        (post(b"")[:-2].replace(b"Length: 0", b"Length: 99999999999999999999999") + b"\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1f4\r\n" + b"x" * 500 + b"\r\n" * 1, None),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1f4\r\n" + b"x" * 500 + b"\r\n") * 3, 413),
    ],
)
def test_what_is_not_http_or_too_large_is_refused_and_the_connection_closed(
    request_bytes: bytes, status: int | None
) -> None:
    with listening(echo, Limits(body_bytes=1000)) as port:
        heard = answers(port.exchange(post(b"first") + request_bytes, half_close=True))
    assert heard[0].body == b"POST /x  first"
    if status is None:
        assert heard[1:] == []
    else:
        assert [(one.status, one.headers["connection"]) for one in heard[1:]] == [(status, "close")]
        assert heard[1].headers["content-type"] == "text/html"


def test_a_client_that_sends_a_refused_body_on_still_reads_why() -> None:
    with listening(echo, Limits(body_bytes=1000)) as port, port.connect() as connection:
        connection.sendall(post(b"x" * 5_000_000)[:100_000])
        for _ in range(20):
            connection.sendall(b"x" * 100_000)
        assert hear(connection).status == 413
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_what_follows_the_last_request_is_ignored() -> None:
    with listening(echo) as port:
        heard = answers(port.exchange(post(b"a", LAST) + post(b"b")))
    assert [one.body for one in heard] == [b"POST /x  a"]


def test_a_client_may_close_its_sending_half_before_the_answer() -> None:
    waiting = Waiting()
    with listening(waiting.answer) as port, port.connect() as connection:
        connection.sendall(post(b"a") + post(b"b"))
        connection.shutdown(socket.SHUT_WR)
        wait_for(lambda: bool(waiting.begun))
        waiting.go(port)
        assert [one.body for one in answers(hear_all(connection))] == [b"POST /x  a", b"POST /x  b"]


def test_a_request_whose_client_is_gone_is_cancelled() -> None:
    waiting = Waiting()
    with listening(waiting.answer) as port:
        connection = port.connect()
        connection.sendall(post(b"a") + post(b"b"))
        wait_for(lambda: bool(waiting.begun))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
        connection.close()
        wait_for(lambda: waiting.cancelled == 1)
        assert port.ask(post(b"c", LAST)[:4] + b"?" * 4 + b"\r\n\r\n").status == 400  # others are not affected
        assert len(waiting.begun) == 1


def test_a_handler_that_fails_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: Request) -> Response:
        raise ValueError("defect")

    with listening(fail) as port:
        assert port.ask(post(b"")).status == 500
    assert "defect" in caplog.text


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, 30_000_000])
def test_bodies_of_any_size_are_sent(size: int) -> None:
    body = bytes(size)
    with listening(lambda request: Response(200, b"", body)) as port, port.connect() as connection:
        connection.sendall(post(b"") * 2)
        assert hear(connection).body == hear(connection).body == body


def test_nothing_is_begun_for_a_client_that_does_not_take_its_answers() -> None:
    begun = []

    def large(request: Request) -> Response:
        begun.append(request)
        return Response(200, b"", bytes(30_000_000))

    with listening(large) as port, port.connect() as connection:
        connection.sendall(post(b"") * 5)
        wait_for(lambda: bool(begun))
        assert len(begun) == 1
        for _ in range(5):
            assert len(hear(connection).body) == 30_000_000


def test_a_client_that_takes_nothing_of_its_answer_is_dropped() -> None:
    with listening(lambda request: Response(200, b"", bytes(30_000_000)), HASTY) as port, port.connect() as connection:
        connection.sendall(post(b""))
        wait_for(lambda: not port.server.connections)


@pytest.mark.parametrize(
    ("start", "status"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(post(b""), 200, id="a request and no other"),
        pytest.param(b"POST /x HTTP/1.1\r\nHo", 408, id="half a head"),
        pytest.param(post(b"body")[:-1], 408, id="half a body"),
    ],
)
def test_a_client_that_sends_nothing_more_is_dropped(start: bytes, status: int | None) -> None:
    with listening(echo, HASTY) as port:
        heard = answers(port.exchange(start))
    assert [one.status for one in heard] == ([] if status is None else [status])


def test_a_head_has_to_be_complete_in_time_however_steadily_it_comes() -> None:
    with listening(echo, replace(HASTY, idle_s=60)) as port, port.connect() as connection:
        connection.settimeout(0.05)
        connection.sendall(b"GET /x HTTP/1.1\r\n")
        heard = b""
        for _ in range(1000):
            try:
                connection.sendall(b"X: y\r\n")
                heard = connection.recv(1000)
                break
            except TimeoutError:
                continue
        assert answers(heard)[0].status == 408


def test_a_request_that_is_worked_on_has_time() -> None:
    waiting = Waiting()
    with listening(waiting.answer, HASTY) as port, port.connect() as connection, port.connect() as idle:
        connection.sendall(post(b"a"))
        assert idle.recv(1) == b""  # another one's idle time is over
        assert idle.recv(1) == b""
        waiting.go(port)
        assert hear(connection).status == 200


def test_answers_are_not_held_back_until_more_is_written() -> None:
    with listening(echo) as port, port.connect() as connection:
        connection.sendall(post(b""))
        hear(connection)

        async def nodelay() -> int:
            (served,) = port.server.connections
            option = served.transport.get_extra_info("socket")
            return int(option.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        assert port.run(nodelay()) != 0


def test_the_error_page_is_libevents() -> None:
    assert page(404).body == (
        b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
    )
