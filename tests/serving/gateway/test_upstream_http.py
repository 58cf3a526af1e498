"""The client of the model servers' REST ports: what it sends, what it understands, which connections it takes."""

import asyncio
import random
import socket

import pytest

from serving.errors import InputError
from serving.gateway import upstream_target
from serving.gateway.upstream_connection import Answer
from serving.gateway.upstream_http import HttpUpstream
from serving.http.message import Request, Response
from serving.status import Code, StatusError
from tests.serving.gateway.rest_fakes import answering, hear_request, raw_server, run, until, wait_for_end
from tests.serving.http.ports import listening
from tests.serving.model_server.conformance.process import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nhi"
HI = Answer(200, b"Content-Type: application/json\r\n", b"hi")


def echo(request: Request) -> Response:
    head = f"{request.method} {request.target.decode()} ".encode() + request.encoding
    return Response(200, b"X-Other: not passed on\r\n", head + b"|" + request.body)


async def ask(upstream: HttpUpstream, body: bytes = b"{}", timeout_s: float = 20.0) -> Answer:
    return await upstream.ask(b"POST", b"/v1/models/m:predict", b"", body, timeout_s)


async def code_of(upstream: HttpUpstream, timeout_s: float = 20.0) -> Code:
    """How an ask fails."""
    with pytest.raises(StatusError) as caught:
        await ask(upstream, timeout_s=timeout_s)
    return caught.value.code


def asked_once(address: str, **options: int) -> Answer:
    async def once() -> Answer:
        upstream = HttpUpstream([address], **options)
        answer = await ask(upstream)
        await upstream.close()
        return answer

    return run(once())


def test_a_request_arrives_as_it_was_given() -> None:
    async def send(address: str) -> Answer:
        upstream = HttpUpstream([address])
        answer = await upstream.ask(b"POST", b"/a%20b?c=d", b"Content-Encoding: gzip\r\n", b"\x00body", 20.0)
        await upstream.close()
        return answer

    with listening(echo) as port:
        assert run(send(f"127.0.0.1:{port.number}")) == Answer(200, b"", b"POST /a%20b?c=d gzip|\x00body")


def test_what_one_server_does_not_have_is_asked_of_another_once() -> None:
    asked: list[str] = []

    def lacking(connection: socket.socket) -> None:
        while hear_request(connection):
            asked.append("lacking")
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")

    async def often(*addresses: str) -> list[Answer]:
        upstream = HttpUpstream(addresses)
        answers = list(await asyncio.gather(*(ask(upstream) for _ in range(9))))
        await upstream.close()
        return answers

    no = Answer(404, b"", b"no")
    with raw_server(lacking) as first, raw_server(lacking) as second, raw_server(answering(OK)) as whole:
        assert run(often(first.address, whole.address)) == [HI] * 9
        asked.clear()
        assert run(often(first.address)) == [no] * 9
        assert len(asked) == 9
        assert run(often(first.address, second.address)) == [no] * 9
        assert len(asked) == 3 * 9
        assert run(often(first.address, f"127.0.0.1:{free_port()}")) == [no] * 9


def test_a_server_that_is_back_is_asked_as_soon_as_no_other_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_target, "BACK_OFF_S", 60.0)
    port = free_port()

    async def come_and_go() -> None:
        upstream = HttpUpstream([f"127.0.0.1:{port}", other.address])
        for _ in range(4):
            assert await ask(upstream) == HI
        with raw_server(answering(OK), port):
            other.close()
            for _ in range(4):
                assert await ask(upstream) == HI
            await upstream.close()

    with raw_server(answering(OK)) as other:
        run(come_and_go())


@pytest.mark.parametrize("size", [0, 1 << 16, 9_000_003])
def test_bodies_of_any_size_pass_both_ways(size: int) -> None:
    async def send(address: str) -> None:
        upstream = HttpUpstream([address])
        for _ in range(2):
            body = random.randbytes(size)
            assert (await ask(upstream, body)).body.partition(b"|")[2] == body
        await upstream.close()

    with listening(echo) as port:
        run(send(f"http://127.0.0.1:{port.number}/"))


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 204])
def test_every_status_is_an_answer_and_the_headers_that_matter_are_kept(status: int) -> None:
    length = b"" if status == 204 else b"Content-Length: 0\r\n"
    head = b"HTTP/1.1 %d X\r\ncontent-TYPE:  text/plain\r\nSet-Cookie: a\r\nRetry-After: 7\r\n%b\r\n" % (status, length)
    with raw_server(answering(head)) as server:
        answer = asked_once(server.address)
    assert answer == Answer(status, b"content-TYPE: text/plain\r\nRetry-After: 7\r\n", b"")


def test_an_answer_may_come_in_single_bytes() -> None:
    with raw_server(answering(*(OK[at : at + 1] for at in range(len(OK))))) as server:
        assert asked_once(server.address) == HI


def test_an_answer_in_chunks_is_put_together() -> None:
    chunks = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
        b"3;x=y\r\n of\r\n",
        b"0\r\nA: b\r\n\r\n",
    )
    with raw_server(answering(*chunks)) as server:
        assert asked_once(server.address).body == b"body of"


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    with raw_server(answering(b"HTTP/1.1 200 OK\r\n\r\nall", b" of it", then_close=True)) as server:
        assert asked_once(server.address).body == b"all of it"


def test_interim_answers_are_passed_over() -> None:
    with raw_server(answering(b"HTTP/1.1 100 Continue\r\nRetry-After: 1\r\n\r\n" + OK)) as server:
        assert asked_once(server.address) == HI


@pytest.mark.parametrize("said", ["HTTP/1.0 200 OK", "HTTP/1.1 200 OK\r\nConnection: close"])
def test_a_connection_that_the_server_will_close_is_not_used_again(said: str) -> None:
    async def twice(address: str) -> None:
        upstream = HttpUpstream([address])
        for _ in range(3):
            assert (await ask(upstream)).body == b"hi"

    with raw_server(answering(f"{said}\r\nContent-Length: 2\r\n\r\nhi".encode())) as server:
        run(twice(server.address))
        assert server.connections == 3


def test_a_connection_is_kept_and_used_again() -> None:
    async def often(address: str) -> None:
        upstream = HttpUpstream([address])
        for _ in range(5):
            assert await ask(upstream) == HI
        await upstream.close()

    with raw_server(answering(OK)) as server:
        run(often(server.address))
        assert server.connections == 1


def test_requests_at_the_same_time_share_no_connection_and_wait_for_one_over_the_limit() -> None:
    async def at_once(address: str) -> None:
        upstream = HttpUpstream([address], connections=3)
        answers = await asyncio.gather(*(ask(upstream, b"%d" % number) for number in range(40)))
        assert [answer.body for answer in answers] == [b"%d" % number for number in range(40)]
        await upstream.close()

    def talk(connection: socket.socket) -> None:
        while request := hear_request(connection):
            body = request.partition(b"\r\n\r\n")[2]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with raw_server(talk) as server:
        run(at_once(server.address))
        assert server.connections == 3


def test_replicas_are_asked_in_turn() -> None:
    async def often(*addresses: str) -> list[bytes]:
        upstream = HttpUpstream(addresses)
        bodies = [(await ask(upstream)).body for _ in range(6)]
        await upstream.close()
        return bodies

    with raw_server(answering(OK)) as first, raw_server(answering(OK.replace(b"hi", b"ho"))) as second:
        assert sorted(run(often(first.address, second.address))) == [b"hi"] * 3 + [b"ho"] * 3


def test_a_replica_whose_connections_hang_does_not_hold_up_the_others() -> None:
    async def often(*addresses: str) -> None:
        upstream = HttpUpstream(addresses, connections=2)
        hanging = [asyncio.create_task(ask(upstream)) for _ in range(4)]
        await until(lambda: sum(task.done() for task in hanging) == 2 and silent.connections == 2)
        for _ in range(20):
            assert await ask(upstream) == HI
        await upstream.close()
        ends = await asyncio.gather(*hanging, return_exceptions=True)
        assert sum(isinstance(end, StatusError) for end in ends) == 2

    with raw_server(wait_for_end) as silent, raw_server(answering(OK)) as server:
        run(often(silent.address, server.address))


def test_answers_belong_to_their_requests_whatever_is_given_up_meanwhile() -> None:
    """Deadlines, cancelled requests and servers that hang up, all at once: nobody gets another's answer."""
    chance = random.Random(7)
    hanging: set[socket.socket] = set()

    def talk(connection: socket.socket) -> None:
        while request := hear_request(connection):
            body = request.partition(b"\r\n\r\n")[2]
            if body.endswith(b"7"):
                return
            if body.endswith(b"3"):
                hanging.add(connection)
                wait_for_end(connection)
                hanging.discard(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def one(upstream: HttpUpstream, number: int) -> bool:
        body = b"%d" % number
        try:
            async with asyncio.timeout(chance.choice([0.001, 0.02, 30])):
                answer = await ask(upstream, body, chance.choice([0.001, 0.05, 0.05, 20]) if number % 10 != 3 else 0.05)
        except (StatusError, TimeoutError):
            return False
        assert answer.body == body
        return True

    async def storm(*addresses: str) -> None:
        upstream = HttpUpstream(addresses, connections=4)
        ends = await asyncio.gather(*(one(upstream, number) for number in range(400)))
        assert any(ends)
        assert not all(ends)
        await until(lambda: not hanging)
        every_slot = [asyncio.create_task(ask(upstream, b"3")) for _ in range(9)]
        await until(lambda: len(hanging) == 8)  # none was lost, and none was won
        await upstream.close()
        for task in every_slot:
            with pytest.raises(StatusError, match="stopping"):
                await task

    with raw_server(talk) as first, raw_server(talk) as second:
        run(storm(first.address, second.address))


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", ":8501", "host:x", "host:70000", "https://host:8501", "http://host:1/path", "h:1?q", "u@h:1"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    async def make() -> None:
        with pytest.raises(InputError, match="host:port"):
            HttpUpstream([address])

    run(make())


def test_no_replicas_at_all_are_refused() -> None:
    async def make() -> None:
        with pytest.raises(InputError, match="No model server"):
            HttpUpstream([])

    run(make())
