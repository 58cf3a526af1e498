"""What no client should send: the server refuses it, lives, and answers the next one."""

import random
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.serving.model_server.conformance.clients import Rest
from tests.serving.model_server.conformance.process import Server, until

PATH = "/v1/models/half_plus_two:predict"
BODY = b'{"instances": [2.0]}'
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: ".encode()


@pytest.fixture(autouse=True)
def _is_still_well(server: Server, rest: Rest) -> Iterator[None]:
    """After each of these the server answers as before."""
    yield
    assert server.alive(), server.printed[-4000:]
    assert rest.post(PATH, BODY).json == {"predictions": [3.0]}


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_as_a_body_are_refused(rest: Rest, seed: int) -> None:
    draw = random.Random(seed)
    for size in (1, 7, 100, 10_000):
        came = rest.post(PATH, draw.randbytes(size))
        assert came.status == 400
        assert came.error.startswith("JSON")


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_instead_of_http_end_the_connection(rest: Rest, seed: int) -> None:
    heard = rest.raw(random.Random(seed).randbytes(2000) + b"\r\n\r\n", half_close=True, limit_s=10)
    assert heard == b"" or heard.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"POST\r\n\r\n", id="no path"),
        pytest.param(b"GET /v1/models/two HTTP/9.9\r\n\r\n", id="no such version"),
        pytest.param(HEAD + b"-5\r\n\r\n", id="negative length"),
        pytest.param(HEAD + b"many\r\n\r\n", id="length is no number"),
        pytest.param(HEAD + b"99999999999999999999999\r\n\r\n", id="length beyond 64 bits"),
        pytest.param(HEAD + b"5\r\nContent-Length: 7\r\n\r\n1234567", id="two lengths"),
        pytest.param(b"GET /v1/models/two HTTP/1.1\r\nno colon\r\n\r\n", id="header without colon"),
        pytest.param(b"GET /" + b"a" * 1_000_000, id="endless path"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200_000, id="endless headers"),
        pytest.param(HEAD[:-16] + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", id="chunk size is no number"),
        pytest.param(b"\r\n" * 1000, id="empty lines"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
    ],
)
def test_what_is_no_http_is_refused_or_cut_off(rest: Rest, content: bytes) -> None:
    heard = rest.raw(content, half_close=True, limit_s=10)
    assert b"200 OK" not in heard


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"instances": ' + b"[" * 500_000, id="lists, open"),
        pytest.param(b'{"instances": ' + b"[" * 500_000 + b"]" * 500_000 + b"}", id="lists"),
        pytest.param(b'{"inputs": ' + b"[" * 500_000 + b"1" + b"]" * 500_000 + b"}", id="lists, columnar"),
        pytest.param(b'{"a":' * 500_000, id="objects, open"),
        pytest.param(b'{"a":' * 500_000 + b"1" + b"}" * 500_000, id="objects"),
        pytest.param(b'{"x": ' + b"[" * 500_000 + b"]" * 500_000 + b"}", id="under a key nobody reads"),
    ],
)
def test_deep_nesting_is_refused(rest: Rest, body: bytes) -> None:
    came = rest.post(PATH, body)
    assert came.status == 400
    assert came.error


def test_a_deeply_nested_example_is_refused(rest: Rest) -> None:
    body = b'{"examples": [{"x": ' + b"[" * 500_000 + b"]" * 500_000 + b"}]}"
    came = rest.post("/v1/models/half_plus_two:regress", body)
    assert came.status == 400
    assert came.error


def test_a_body_of_100_megabytes_is_read(rest: Rest) -> None:
    spaces = b" " * (100 << 20)
    came = rest.post(PATH, spaces + BODY)
    assert (came.status, came.json) == (200, {"predictions": [3.0]})


def test_a_list_of_100_megabytes_that_does_not_end_is_refused(rest: Rest) -> None:
    came = rest.post(PATH, b'{"instances": [' + b"0," * (50 << 20))
    assert came.status == 400
    assert came.error.startswith("JSON Parse error: ")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(HEAD[:20], id="within the first line"),
        pytest.param(HEAD, id="within the headers"),
        pytest.param(HEAD + b"1000\r\n\r\n" + BODY, id="within the body"),
        pytest.param(HEAD + b"20\r\n\r\n" + BODY, id="before the answer"),
    ],
)
def test_a_client_that_hangs_up_costs_nothing(server: Server, rest: Rest, sent: bytes) -> None:
    before = server.open_files
    for abruptly in (False, True) * 10:
        connection = socket.create_connection(("127.0.0.1", rest.port))
        connection.sendall(sent)
        if abruptly:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()
    until(lambda: server.open_files <= before + 2, "the connections are given back")


def test_a_client_that_hangs_up_while_the_model_runs_costs_nothing(server: Server, rest: Rest) -> None:
    body = b'{"instances": [0.5]}'
    before = server.open_files
    connections = [socket.create_connection(("127.0.0.1", rest.port)) for _ in range(3)]
    for connection in connections:
        connection.sendall(HEAD.replace(b"half_plus_two", b"slow") + b"20\r\n\r\n" + body)
        connection.close()
    until(lambda: server.open_files <= before + 2, "the connections are given back")


def test_many_clients_that_say_nothing_keep_nobody_waiting(rest: Rest) -> None:
    idle = [socket.create_connection(("127.0.0.1", rest.port)) for _ in range(200)]
    try:
        assert rest.post(PATH, BODY).json == {"predictions": [3.0]}
    finally:
        for connection in idle:
            connection.close()


def test_a_slow_client_keeps_nobody_waiting(rest: Rest) -> None:
    with socket.create_connection(("127.0.0.1", rest.port), timeout=30) as slow:
        content = HEAD + b"20\r\nConnection: close\r\n\r\n" + BODY
        for at in range(0, len(content), 10):
            slow.sendall(content[at : at + 10])
            assert rest.post(PATH, BODY).json == {"predictions": [3.0]}
        assert b"3.0" in slow.recv(65536)


def test_a_client_that_does_not_read_keeps_nobody_waiting(rest: Rest) -> None:
    values = b",".join([b"1.5"] * 200_000)
    body = b'{"signature_name": "float", "instances": [' + values + b"]}"
    head = b"POST /v1/models/identity:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", rest.port)) as deaf:
        sender = threading.Thread(target=send_what_goes, args=(deaf, (head + body) * 20), daemon=True)
        sender.start()
        for _ in range(20):
            assert rest.post(PATH, BODY).json == {"predictions": [3.0]}
    sender.join(30)


def send_what_goes(connection: socket.socket, content: bytes) -> None:
    """Sends until the other side takes no more or is gone."""
    connection.settimeout(5)
    try:
        connection.sendall(content)
    except OSError:
        return
