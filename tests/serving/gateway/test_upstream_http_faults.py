"""Model servers that are away, hang up, hang, or talk garbage."""

import asyncio
import contextlib
import itertools
import socket
import time

import pytest

from serving.gateway.upstream_connection import HEAD_BYTES
from serving.gateway.upstream_http import HttpUpstream
from serving.status import Code, StatusError
from tests.serving.gateway.rest_fakes import (
    answering,
    hear_request,
    raw_server,
    run,
    until,
    wait_for_end,
)
from tests.serving.gateway.test_upstream_http import HI, OK, ask, code_of
from tests.serving.model_server.conformance.process import free_port

GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "another version": b"HTTP/9.9 200 OK\r\n\r\n",
    "a strange status": b"HTTP/1.1 299 What\r\nContent-Length: 0\r\n\r\n",
    "a status below all": b"HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n" * 2,
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a header that goes on": b"HTTP/1.1 200 OK\r\nContent-Type: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a change of protocol": b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nxyz",
    "an endless header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * (HEAD_BYTES + 100),
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (HEAD_BYTES // 6 + 10),
    "a body over the limit": b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001,
    "chunks over the limit": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"64\r\n"
    + b"x" * 100
    + b"\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_no_answer_and_its_connection_is_dropped(said: bytes) -> None:
    garbage = [True]

    def talk(connection: socket.socket) -> None:
        while hear_request(connection):
            pieces = itertools.repeat(b"64\r\n" + b"x" * 100 + b"\r\n", 10) if said.endswith(b"x\r\n") else ()
            for piece in (said, *pieces) if garbage[0] else (OK,):
                connection.sendall(piece)

    async def twice(address: str) -> None:
        upstream = HttpUpstream([address], answer_bytes=1000)
        assert await code_of(upstream) is Code.UNAVAILABLE
        garbage[0] = False
        assert await ask(upstream) == HI
        await upstream.close()

    with raw_server(talk) as server:
        run(twice(server.address))
        assert server.connections == 2


@pytest.mark.parametrize("cut", [1, 20, len(OK) - 3, len(OK) - 1])
def test_an_answer_that_is_cut_off_is_none_and_is_not_asked_for_again(cut: int) -> None:
    asked: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        asked.append(hear_request(connection))
        connection.sendall(OK[:cut])

    async def once(address: str) -> None:
        assert await code_of(HttpUpstream([address])) is Code.UNAVAILABLE

    with raw_server(talk) as server:
        run(once(server.address))
    assert len(asked) == 1


def test_a_kept_connection_that_the_server_closed_meanwhile_costs_nothing() -> None:
    """The server ends it just when the next request comes: the client cannot have known."""

    def talk(connection: socket.socket) -> None:
        hear_request(connection)
        connection.sendall(OK)
        hear_request(connection)

    async def often(address: str) -> None:
        upstream = HttpUpstream([address])
        for _ in range(5):
            assert await ask(upstream) == HI
        await upstream.close()

    with raw_server(talk) as server:
        run(often(server.address))
        assert server.connections == 5


def test_a_server_that_hangs_up_on_every_request_is_asked_twice_at_most() -> None:
    served = [1]

    def talk(connection: socket.socket) -> None:
        while hear_request(connection) and served[0]:
            served[0] -= 1
            connection.sendall(OK)

    async def often(address: str) -> None:
        upstream = HttpUpstream([address])
        assert await ask(upstream) == HI
        assert await code_of(upstream) is Code.UNAVAILABLE
        assert server.connections == 2
        assert await code_of(upstream) is Code.UNAVAILABLE
        assert server.connections == 4

    with raw_server(talk) as server:
        run(often(server.address))


def test_what_comes_unasked_is_nobodys_answer() -> None:
    """A second answer to one request must not become the answer to the next."""
    said = [OK + OK.replace(b"hi", b"NO")]

    def talk(connection: socket.socket) -> None:
        while hear_request(connection):
            connection.sendall(said.pop() if said else OK)

    async def often(address: str) -> None:
        upstream = HttpUpstream([address])
        for _ in range(3):
            assert await ask(upstream) == HI
        await upstream.close()

    with raw_server(talk) as server:
        run(often(server.address))
        assert server.connections == 2


def test_an_answer_before_the_whole_request_is_taken_and_ends_the_connection() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(OK)
        wait_for_end(connection)

    async def large(address: str) -> None:
        upstream = HttpUpstream([address])
        assert await ask(upstream, bytes(30 << 20)) == HI
        await until(lambda: server.ended == 1)

    with raw_server(talk) as server:
        run(large(server.address))


def test_an_answer_that_comes_too_late_is_an_error_and_the_server_learns_that_nobody_waits() -> None:
    async def late(address: str) -> None:
        upstream = HttpUpstream([address])
        assert await code_of(upstream, 0.05) is Code.DEADLINE_EXCEEDED
        await until(lambda: server.ended == 1)

    with raw_server(wait_for_end) as server:
        run(late(server.address))


def test_the_deadline_is_of_the_whole_answer_not_of_each_piece() -> None:
    def talk(connection: socket.socket) -> None:
        hear_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.01)

    async def late(address: str) -> None:
        assert await code_of(HttpUpstream([address]), 0.2) is Code.DEADLINE_EXCEEDED

    with raw_server(talk) as server:
        run(late(server.address))


def test_a_request_that_is_given_up_ends_its_connection() -> None:
    async def give_up(address: str) -> None:
        upstream = HttpUpstream([address])
        asking = asyncio.create_task(ask(upstream))
        await until(lambda: server.connections == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: server.ended == 1)

    with raw_server(wait_for_end) as server:
        run(give_up(server.address))


def test_who_waits_for_a_connection_waits_until_the_deadline() -> None:
    async def wait(address: str) -> None:
        upstream = HttpUpstream([address], connections=1)
        hanging = asyncio.create_task(ask(upstream))
        await until(lambda: server.connections == 1)
        assert await code_of(upstream, 0.05) is Code.DEADLINE_EXCEEDED
        waiting = asyncio.create_task(ask(upstream))
        await asyncio.sleep(0)
        hanging.cancel()  # its slot goes to the one that waits
        await until(lambda: server.connections == 2)
        await upstream.close()
        with pytest.raises(StatusError, match="stopping"):
            await waiting

    with raw_server(wait_for_end) as server:
        run(wait(server.address))


def test_a_replica_that_refuses_is_skipped_for_the_others() -> None:
    async def often(*addresses: str) -> None:
        upstream = HttpUpstream(addresses)
        assert [await ask(upstream) for _ in range(20)] == [HI] * 20
        await upstream.close()

    with raw_server(answering(OK)) as server:
        run(often(f"127.0.0.1:{free_port()}", server.address, f"127.0.0.1:{free_port()}"))


def test_when_all_refuse_it_is_unavailable_and_when_one_is_back_it_is_asked_again() -> None:
    port = free_port()

    async def away() -> None:
        upstream = HttpUpstream([f"127.0.0.1:{port}"])
        for _ in range(3):
            assert await code_of(upstream) is Code.UNAVAILABLE
        with raw_server(answering(OK), port):
            answer = None
            while answer is None:
                with contextlib.suppress(StatusError):
                    answer = await ask(upstream)
                await asyncio.sleep(0.01)
            assert answer == HI
            await upstream.close()

    run(away())


def test_a_host_that_has_no_address_is_unavailable() -> None:
    async def ask_nobody() -> None:
        assert await code_of(HttpUpstream(["no-such-host.invalid:80"])) is Code.UNAVAILABLE

    run(ask_nobody())


def test_a_replica_that_dies_with_requests_under_way_is_left_for_the_other() -> None:
    async def die(*addresses: str) -> None:
        upstream = HttpUpstream(addresses)
        for _ in range(4):
            assert await ask(upstream) == HI
        first.close()
        assert [await ask(upstream) for _ in range(10)] == [HI] * 10
        await upstream.close()

    with raw_server(answering(OK)) as first, raw_server(answering(OK)) as second:
        run(die(first.address, second.address))


def test_what_a_dying_replica_broke_off_is_asked_of_the_other_however_many_requests_come() -> None:
    """A process that is killed closes its connections one by one, and takes new ones until it closes its port."""

    async def at_a_time(*addresses: str) -> None:
        upstream = HttpUpstream(addresses)
        answers = await asyncio.gather(*(ask(upstream) for _ in range(9)), return_exceptions=True)
        await upstream.close()
        assert answers == [HI] * 9

    def hang_up(connection: socket.socket) -> None:
        hear_request(connection)

    with raw_server(answering(OK)) as healthy, raw_server(hang_up) as dying:
        run(at_a_time(healthy.address, dying.address))


def test_whether_anybody_answers_is_asked_anew() -> None:
    async def look(alive: str, silent: str, dead: str) -> None:
        assert await HttpUpstream([alive]).answers()
        assert await HttpUpstream([dead, silent, alive]).answers(timeout_s=20)
        assert not await HttpUpstream([dead]).answers(timeout_s=20)
        assert not await HttpUpstream([dead, silent]).answers(timeout_s=0.05)

    error = b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"
    with raw_server(answering(error)) as server, raw_server(wait_for_end) as silent:
        run(look(server.address, silent.address, f"127.0.0.1:{free_port()}"))
