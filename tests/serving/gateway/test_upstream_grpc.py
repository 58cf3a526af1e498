"""The way to the model servers' gRPC ports: taken in turn, dead, hanging and busy ones avoided."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import grpc
import pytest

from serving.gateway import upstream_grpc
from serving.gateway.upstream_grpc import GrpcUpstream
from serving.http2 import frames
from serving.model_server.grpc_server import Listening, serve
from serving.status import Code, StatusError
from tests.serving.gateway.asking import PREDICT, ask, refusal, upstream
from tests.serving.gateway.grpc_stub import Stub, failing, hanging, predict, stub, wait_for
from tests.serving.gateway.rest_fakes import raw_server
from tests.serving.http2.raw import SETTLED, Peer
from tests.serving.model_server.conformance.process import free_port
from tests.serving.model_server.grpc_running import LIMIT_S, loop


@pytest.fixture
def three() -> Iterator[list[Stub]]:
    with stub() as one, stub() as two, stub() as three:
        yield [one, two, three]


def counts(servers: list[Stub]) -> list[int]:
    return [len(server.seen) for server in servers]


def test_servers_take_turns(three: list[Stub]) -> None:
    with upstream(*(server.target for server in three)) as asked:
        for _ in range(9):
            ask(asked)
    assert counts(three) == [3, 3, 3]


def test_an_error_of_the_servers_is_told_with_its_code_and_text() -> None:
    with stub() as server, upstream(server.target) as asked:
        server.faults[1] = failing(grpc.StatusCode.FAILED_PRECONDITION, "Serving signature key “s” not found.")
        error = refusal(asked)
        assert (error.code, error.message) == (Code.FAILED_PRECONDITION, "Serving signature key “s” not found.")
        assert len(server.seen) == 1


def test_a_server_that_is_away_costs_no_request_and_is_asked_again_when_it_is_back(three: list[Stub]) -> None:
    away = three[0]
    assert away.server is not None
    port = away.server.ports[0]
    with upstream(*(server.target for server in three)) as asked:
        for _ in range(3):
            ask(asked)
        loop().run(away.server.stop(0))
        for _ in range(20):
            ask(asked)
        before = len(away.seen)
        away.server = loop().run(serve(away.handlers(), Listening((f"127.0.0.1:{port}",))))

        def is_back() -> bool:
            ask(asked)
            return len(away.seen) > before + 1

        wait_for(is_back)


def test_without_any_server_it_is_unavailable_and_the_next_one_that_comes_is_found() -> None:
    port = free_port()
    with upstream(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}") as asked:
        assert refusal(asked).code is Code.UNAVAILABLE
        server = Stub()
        server.server = loop().run(serve(server.handlers(), Listening((f"127.0.0.1:{port}",))))

        def answers() -> bool:
            with contextlib.suppress(StatusError):
                return bool(ask(asked))
            return False

        try:
            wait_for(answers)
        finally:
            loop().run(server.server.stop(0))


def test_a_server_that_dies_at_work_loses_no_request(three: list[Stub]) -> None:
    dying = three[0]
    dying.faults[1] = hanging
    servers = (dying, three[1])

    async def ask_all(asked: GrpcUpstream) -> list[bytes]:
        tasks = [asyncio.ensure_future(asked.ask(PREDICT, predict(), LIMIT_S)) for _ in range(8)]
        while len(dying.seen) < 4:
            await asyncio.sleep(0.005)
        assert dying.server is not None
        await dying.server.stop(0)
        return await asyncio.gather(*tasks)

    with upstream(*(server.target for server in servers)) as asked:
        assert len(loop().run(ask_all(asked))) == 8
    assert len(three[1].seen) == 8


def test_what_a_dying_server_lost_is_asked_of_the_other_however_many_calls_come() -> None:
    """A process that is killed closes its connections one by one, and takes new ones until it closes its port."""

    def lose(connection: socket.socket) -> None:
        connection.recv(len(frames.PREFACE), socket.MSG_WAITALL)
        peer = Peer(connection)
        peer.send(SETTLED)
        while (one := peer.frame()) is not None and one.kind != frames.HEADERS:
            pass

    async def ask_all(asked: GrpcUpstream) -> list[bytes]:
        return await asyncio.gather(*(asked.ask(PREDICT, predict(), LIMIT_S) for _ in range(9)))

    with raw_server(lose) as dying, stub() as whole, upstream(dying.address, whole.target) as asked:
        assert len(loop().run(ask_all(asked))) == 9


def test_a_server_that_is_to_be_left_alone_is_asked_when_the_others_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_grpc, "PAUSE_S", 60.0)
    monkeypatch.setattr(upstream_grpc, "BACK_OFF_S", 0.0)
    port = free_port()
    with stub() as dying, upstream(f"127.0.0.1:{port}", dying.target) as asked:
        for _ in range(4):
            ask(asked)
        back = Stub()
        back.server = loop().run(serve(back.handlers(), Listening((f"127.0.0.1:{port}",))))
        try:
            assert dying.server is not None
            loop().run(dying.server.stop(0))
            for _ in range(4):
                ask(asked)
            assert len(back.seen) == 4
        finally:
            loop().run(back.server.stop(0))


def test_what_one_server_does_not_have_is_asked_of_another_once(three: list[Stub]) -> None:
    for server in three[:2]:
        server.faults[1] = failing(grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(m, 1)")
    with upstream(three[0].target, three[2].target) as asked:
        for _ in range(9):
            ask(asked)
    three[0].seen.clear()
    with upstream(three[0].target, three[1].target) as asked:
        assert refusal(asked).code is Code.NOT_FOUND
    with upstream(three[0].target) as asked:
        assert refusal(asked).code is Code.NOT_FOUND
    assert counts(three[:2]) == [2, 1]


def test_a_server_that_hangs_is_left_alone_but_for_a_request_now_and_then(
    three: list[Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_grpc, "PAUSE_S", 60.0)
    hung = three[0]
    hung.faults[1] = hanging
    with upstream(*(server.target for server in three[:2])) as asked:
        failed = 0
        for _ in range(10):
            try:
                ask(asked, 0.3)
            except StatusError:
                failed += 1
    assert failed == 1
    assert counts(three[:2]) == [1, 9]


def test_one_slow_version_does_not_make_its_server_a_dead_one(three: list[Stub]) -> None:
    slow = three[0]
    slow.faults[2] = hanging
    with upstream(slow.target, three[1].target) as asked:
        for target in (2, 1, 2, 1):  # each of both servers is asked for the hanging version, and in between for others
            if target == 2:
                with contextlib.suppress(StatusError):
                    ask(asked, 0.2, predict(version=2))
            else:
                ask(asked)
        for _ in range(6):
            ask(asked)
    assert min(counts([slow, three[1]])) >= 3


def test_a_busy_server_is_helped_by_one_other_and_not_by_all(three: list[Stub]) -> None:
    for server in three:
        server.faults[1] = failing(grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue is full")
    with upstream(*(server.target for server in three)) as asked:
        error = refusal(asked)
        assert (error.code, error.message) == (Code.UNAVAILABLE, "The batch scheduling queue is full")
        assert sum(counts(three)) == 2
        three[0].faults.clear()
        three[1].faults.clear()
        for _ in range(6):
            ask(asked)
    three[2].seen.clear()
    with upstream(three[2].target) as asked:
        assert refusal(asked).code is Code.UNAVAILABLE
    assert len(three[2].seen) == 1


def test_a_deadline_that_passes_is_told_as_such() -> None:
    with stub() as server, upstream(server.target) as asked:
        server.faults[1] = hanging
        assert refusal(asked, 0.1).code is Code.DEADLINE_EXCEEDED
        wait_for(server.seen[0].cancelled.is_set)
        assert refusal(asked, -1.0).code is Code.DEADLINE_EXCEEDED


def test_a_port_that_accepts_and_says_nothing_does_not_outlast_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, stub() as server:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with upstream(target, server.target) as asked:
            for _ in range(4):
                with contextlib.suppress(StatusError):
                    ask(asked, 3.0)
        assert server.seen


def test_a_port_that_speaks_something_else_is_away() -> None:
    def greet() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = other.accept()
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as other, stub() as server:
        threading.Thread(target=greet, daemon=True).start()
        with upstream(f"127.0.0.1:{other.getsockname()[1]}", server.target) as asked:
            for _ in range(4):
                ask(asked)
        other.shutdown(socket.SHUT_RDWR)
