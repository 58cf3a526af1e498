import asyncio
import contextlib
import socket
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from serving.http.message import Limits, Request, Response
from serving.http.server import serve
from serving.status import Code, StatusError
from tests.serving.http.ports import hear, hear_all, listening, wait_for
from tests.serving.http.requests import HASTY, Waiting, echo, post

HANDLER: Any = SimpleNamespace(answer=echo)


def test_a_port_that_is_taken_is_named() -> None:
    with listening(echo) as port:
        with pytest.raises(StatusError) as caught:
            port.run(serve(HANDLER, "127.0.0.1", port.number))
        assert caught.value.code is Code.UNAVAILABLE
        assert caught.value.message == (
            f"REST cannot listen on 127.0.0.1:{port.number}: Address already in use; another process has it, "
            "choose another port"
        )


def test_a_port_can_be_had_again_at_once() -> None:
    with listening(echo) as port, port.connect() as connection:
        connection.sendall(post(b""))
        hear(connection)
        number = port.number
        port.run(port.server.close())

        async def again() -> None:
            server = await serve(HANDLER, "127.0.0.1", number)
            assert server.port == number
            await server.close()

        port.run(again())


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(StatusError, match=r"REST cannot listen on no\.such\.host\.invalid:0: no such host"):
        uvloop.run(serve(HANDLER, "no.such.host.invalid", 0))


@pytest.mark.parametrize("host", ["[::]", "::", ""])
def test_the_any_address_takes_ipv4_and_ipv6(host: str) -> None:
    with listening(echo, host=host) as port:
        assert port.ask(post(b"")).status == 200
        if socket.has_dualstack_ipv6():
            with socket.create_connection(("::1", port.number)) as connection:
                connection.sendall(post(b""))
                assert hear(connection).status == 200


def test_the_any_address_is_ipv4_alone_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listening(echo, host="[::]") as port:
        assert port.ask(post(b"")).status == 200


def test_it_runs_on_the_standard_event_loop_too() -> None:
    async def main() -> bytes:
        server = await serve(HANDLER, "localhost", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(post(b"body", "Connection: close"))
        heard = await reader.read()
        writer.close()
        await server.close()
        return heard

    assert asyncio.run(main()).endswith(b"POST /x  body")


def test_closing_closes_what_is_idle_and_answers_what_is_under_way() -> None:
    waiting = Waiting()
    with listening(waiting.answer) as port, port.connect() as idle, port.connect() as busy, port.connect() as sending:
        busy.sendall(post(b"a") + post(b"b"))
        sending.sendall(post(b"body")[:-2])
        wait_for(lambda: len(waiting.begun) == 1 and len(port.server.connections) == 3)
        closing = asyncio.run_coroutine_threadsafe(port.server.close(30), port.loop)
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionError):
            port.connect()
        assert not closing.done()
        sending.sendall(b"dy")
        waiting.go(port)
        first, second = hear(busy), hear(busy)
        assert [first.body, second.body] == [b"POST /x  a", b"POST /x  b"]
        assert ("connection" in first.headers, second.headers["connection"]) == (False, "close")
        assert hear(sending).body == b"POST /x  body"
        closing.result(30)
        assert busy.recv(1) == sending.recv(1) == b""


def test_closing_drops_what_is_under_way_when_its_grace_is_over() -> None:
    waiting = Waiting()
    with listening(waiting.answer) as port, port.connect() as busy:
        busy.sendall(post(b"a"))
        wait_for(lambda: bool(waiting.begun))
        port.run(port.server.close(0.05))
        assert not port.server.connections
        assert waiting.cancelled == 1
        with contextlib.suppress(ConnectionResetError):
            assert busy.recv(1) == b""


def test_a_client_that_takes_its_last_answer_slowly_holds_up_closing_no_longer_than_the_grace() -> None:
    with listening(lambda request: Response(200, b"", bytes(30_000_000))) as port, port.connect() as slow:
        slow.sendall(post(b""))
        slow.recv(1)
        port.run(port.server.close(0.05))
        assert not port.server.connections


def test_many_clients_are_served_at_a_time() -> None:
    waiting = Waiting()
    with listening(waiting.answer) as port:
        connections = [port.connect() for _ in range(200)]
        for number, connection in enumerate(connections):
            connection.sendall(post(b"%d" % number, "Connection: close"))
        wait_for(lambda: len(waiting.begun) == 200)
        waiting.go(port)
        for number, connection in enumerate(connections):
            assert hear_all(connection).endswith(b"POST /x  %d" % number)
            connection.close()
        wait_for(lambda: not port.server.connections)


def test_limits_are_kept_while_others_are_served() -> None:
    done = threading.Event()

    def slow(request: Request) -> Response:
        time.sleep(0.01)  # the event loop is busy
        return echo(request)

    with listening(slow, HASTY) as port, port.connect() as idle:

        def busy() -> None:
            with port.connect() as connection:
                while not done.is_set():
                    connection.sendall(post(b""))
                    hear(connection)

        thread = threading.Thread(target=busy)
        thread.start()
        assert idle.recv(1) == b""
        done.set()
        thread.join(30)


def test_the_default_limits_let_a_hundred_megabytes_through() -> None:
    assert Limits().body_bytes > 100e6
    with listening(lambda request: Response(200, b"", b"%d" % len(request.body))) as port, port.connect() as connection:
        connection.sendall(post(bytes(100_000_000)))
        assert hear(connection).body == b"100000000"
