"""HTTP as bytes: what the protocol makes of them, and what clients that misbehave get."""

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from serving.http.message import Limits, Request, Response
from tests.serving.http.ports import answers, hear, hear_all, listening, wait_for
from tests.serving.http.requests import LAST, Waiting, echo, post
from tests.serving.model_server import certificates


def test_a_request_is_passed_on_and_answered_with_its_length() -> None:
    with listening(echo) as port:
        heard = port.ask(post(b"body", "Content-Encoding: gzip", "ORIGIN: o", target="/a%20b?c=d"))
    assert heard.body == b"POST /a%20b?c=d gzipo body"
    assert set(heard.headers) == {"content-type", "date", "content-length"}
    assert heard.headers["date"].endswith(" GMT")


def test_requests_carry_the_headers_that_the_server_keeps_and_no_others() -> None:
    seen: list[dict[bytes, bytes]] = []

    def answer(request: Request) -> Response:
        seen.append(dict(request.headers))
        return echo(request)

    with listening(answer, keep=(b"x-user-id",)) as port, port.connect() as connection:
        for headers in (("X-User-Id: first", "x-user-id: ann", "X-Other: o"), ()):
            connection.sendall(post(b"", *headers))
            hear(connection)
    assert seen == [{b"x-user-id": b"ann"}, {}]


def test_over_tls_answers_and_refusals_arrive_whole(tmp_path: Path) -> None:
    authority = certificates.authority("ours")
    for name, content in zip(("key", "certificate"), authority.issue("localhost"), strict=True):
        (tmp_path / name).write_bytes(content)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    trust = ssl.create_default_context(cadata=authority.pem.decode())
    with listening(echo, Limits(body_bytes=10), tls=tls) as port:
        for request, status in ((post(b"body"), 200), (post(b"x" * 20_000), 413)):
            with port.connect() as plain, trust.wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(request)
                assert hear(connection).status == status


def test_a_request_may_come_in_single_bytes() -> None:
    request = post(b"body", target="/path")
    with listening(echo) as port, port.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(request)):
            connection.sendall(request[position : position + 1])
        assert hear(connection).body == b"POST /path  body"


def test_a_connection_is_kept_and_answers_come_in_order() -> None:
    with listening(echo) as port, port.connect() as connection:
        for number in range(3):
            connection.sendall(post(b"%d" % number))
            assert hear(connection).body == b"POST /x  %d" % number


@pytest.mark.parametrize("count", [2, 500])
def test_requests_sent_ahead_are_answered_in_order(count: int) -> None:
    requests = [post(b"%d" % number) for number in range(count)]
    with listening(echo) as port:
        heard = answers(port.exchange(b"".join(requests), post(b"last", LAST)))
    assert [one.body for one in heard] == [*(b"POST /x  %d" % number for number in range(count)), b"POST /x  last"]


def test_requests_of_one_connection_are_worked_on_one_after_the_other() -> None:
    waiting = Waiting()
    with listening(waiting.answer, Limits(ahead=4)) as port, port.connect() as connection:
        connection.sendall(b"".join(post(b"%d" % number) for number in range(20)))
        wait_for(lambda: bool(waiting.begun))
        assert len(waiting.begun) == 1
        waiting.go(port)
        assert [hear(connection).body for _ in range(20)] == [b"POST /x  %d" % number for number in range(20)]


def test_reading_stops_while_too_many_requests_wait() -> None:
    waiting = Waiting()
    with listening(waiting.answer, Limits(ahead=4)) as port, port.connect() as connection:
        connection.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1 << 28:
                sent += connection.send(post(b"x" * 100_000))
        connection.settimeout(30)
        assert sent < 1 << 28
        waiting.go(port)
        for _ in range(sent // 100_200):
            assert len(hear(connection).body) == 100_009


def test_a_chunked_body_is_put_together_and_its_trailers_are_ignored() -> None:
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [b"4\r\nbody\r\n", b"3;name=value\r\n of\r\n", b"0\r\nOrigin: late\r\n\r\n"]
    with listening(echo) as port, port.connect() as connection:
        connection.sendall(head)
        for chunk in chunks:
            connection.sendall(chunk)
        assert hear(connection).body == b"POST /x  body of"
        connection.sendall(head + b"".join(chunks))
        assert hear(connection).body == b"POST /x  body of"


@pytest.mark.parametrize(
    ("request_bytes", "connection"),
    [
        (post(b"", version="1.0"), "close"),
        (post(b"", "Connection: keep-alive", version="1.0"), "keep-alive"),
        (post(b"", "Connection: close"), "close"),
        (post(b""), None),
        (post(b"", "Connection: upgrade, HTTP2-Settings", "Upgrade: h2c"), "close"),
    ],
)
def test_the_answer_says_whether_the_connection_stays(request_bytes: bytes, connection: str | None) -> None:
    with listening(echo) as port, port.connect() as client:
        client.sendall(request_bytes)
        heard = hear(client)
        assert (heard.status, heard.headers.get("connection")) == (200, connection)
        if connection == "close":
            assert client.recv(1) == b""
        else:
            client.sendall(request_bytes)
            assert hear(client).body == heard.body


def test_head_is_answered_without_a_body() -> None:
    with listening(echo) as port, port.connect() as connection:
        connection.sendall(b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n")
        assert hear(connection, "HEAD").headers["content-length"] == "9"
        connection.sendall(post(b"next"))
        assert hear(connection).body == b"POST /x  next"


def test_a_client_that_asks_whether_to_send_its_body_is_told_to() -> None:
    with listening(echo) as port, port.connect() as connection:
        connection.sendall(post(b"body", "Expect: 100-continue")[:-4])
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        assert hear(connection).body == b"POST /x  body"


def test_it_is_told_so_only_behind_the_answers_that_come_first() -> None:
    waiting = Waiting()
    with listening(waiting.answer) as port, port.connect() as connection:
        connection.sendall(post(b"first") + post(b"body", "Expect: 100-continue")[:-4])
        wait_for(lambda: bool(waiting.begun))
        waiting.go(port)
        assert hear(connection).body == b"POST /x  first"
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        assert hear(connection).body == b"POST /x  body"


def test_who_has_closed_the_sending_half_is_not_told_to_send_a_body() -> None:
    waiting = Waiting()
    errors: list[Any] = []
    with listening(waiting.answer) as port:
        port.loop.set_exception_handler(lambda loop, context: errors.append(context))
        with port.connect() as connection:
            connection.sendall(post(b"first") + post(b"body", "Expect: 100-continue")[:-4])
            connection.shutdown(socket.SHUT_WR)
            wait_for(lambda: any(each._last for each in port.server._shared.connections))
            waiting.go(port)
            (only,) = answers(hear_all(connection))
            assert only.status == 200
        wait_for(lambda: not port.server.connections)
    assert errors == []
