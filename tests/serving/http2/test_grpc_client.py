"""A connection of ours to a gRPC server, which is played frame by frame: what it makes of whatever servers say."""

import asyncio
import gzip
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from serving.http2 import frames
from serving.http2.frames import Reason, frame, number
from serving.http2.grpc_client import ClientConnection
from serving.http2.grpc_messages import framed
from serving.http2.hpack import Header
from serving.status import Code
from tests.serving.http2.raw import LAST, SETTLED, Peer
from tests.serving.http2.stage import GOOD, OK, Stage, good, has_room, headers, loss, refusal
from tests.serving.model_server.conformance.process import until
from tests.serving.model_server.grpc_running import LIMIT_S, loop

DATA, HEADERS, END = frames.DATA, frames.HEADERS, frames.END_STREAM


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def stage(listener: socket.socket) -> Iterator[Stage]:
    lost: list[Any] = []

    async def connect() -> ClientConnection:
        made = ClientConnection("models:8500", False, lost.append, 100_000)
        await loop().loop.create_connection(lambda: made, "127.0.0.1", listener.getsockname()[1])
        return made

    client = loop().run(connect())
    accepted, _ = listener.accept()
    with accepted:
        server = Peer(accepted)
        assert server._exactly(len(frames.PREFACE)) == frames.PREFACE
        assert [server.wait(kind).stream for kind in (frames.SETTINGS, frames.WINDOW_UPDATE)] == [0, 0]
        server.send(SETTLED)
        assert server.wait(frames.SETTINGS).flags == frames.ACK
        yield Stage(client, server, lost)
        loop().run(asyncio.sleep(0))
        if not client.lost:
            loop().loop.call_soon_threadsafe(client.abort)


def test_a_call_says_all_that_grpc_wants_to_be_said(stage: Stage) -> None:
    answer = stage.ask(timeout_s=2.5)
    assert stage.server.headers() == {
        b":method": b"POST",
        b":scheme": b"http",
        b":authority": b"models:8500",
        b":path": b"/test.Echo/Say",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
        b"user-agent": b"pressline",
        b"grpc-timeout": b"2500000u",
    }
    data = stage.server.wait(DATA)
    assert (data.flags, data.payload) == (END, framed(b"ask"))
    stage.server.send(good(1))
    assert answer.result(LIMIT_S) == b"said"
    again = stage.ask(timeout_s=200)
    assert stage.server.headers()[b"grpc-timeout"] == b"200000m"
    stage.server.send(good(3))
    assert again.result(LIMIT_S) == b"said"


def test_an_answer_may_come_in_pieces_with_everything_else_between(stage: Stage) -> None:
    answer = stage.ask()
    stage.server.send(headers(1, (b":status", b"103")), frame(HEADERS, 0, 1, OK[:3]))
    stage.server.send(
        frame(frames.CONTINUATION, 4, 1, OK[3:]), frame(frames.PING, 0, 0, bytes(8)), frame(77, 9, 1, b"?")
    )
    for byte in framed(b"said"):
        stage.server.send(frame(DATA, frames.PADDED, 1, b"\x01" + bytes((byte, 0))))
    stage.server.send(frame(HEADERS, LAST, 1, GOOD))
    assert answer.result(LIMIT_S) == b"said"
    assert stage.server.wait(frames.PING).flags == frames.ACK


def test_a_compressed_answer_is_taken(stage: Stage) -> None:
    answer, content = stage.ask(), gzip.compress(b"said")
    stage.server.send(headers(1, (b":status", b"200"), (b"grpc-encoding", b"gzip")))
    stage.server.send(frame(DATA, 0, 1, b"\x01" + framed(content)[1:]), frame(HEADERS, LAST, 1, GOOD))
    assert answer.result(LIMIT_S) == b"said"


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ([(b"grpc-status", b"5"), (b"grpc-message", b"not %E2%82%AC %")], Code.NOT_FOUND, "not € %"),
        ([(b"grpc-status", b"14")], Code.UNAVAILABLE, ""),
        ([(b"grpc-status", b"99")], Code.UNKNOWN, ""),
        ([(b"grpc-status", b"x"), (b"grpc-message", b"%ff")], Code.UNKNOWN, "\ufffd"),
        ([(b"x-other", b"5")], Code.UNKNOWN, "The answer has no status"),
    ],
)
def test_an_error_is_told_with_or_without_headers_before_it(
    stage: Stage, fields: list[Header], code: Code, text: str
) -> None:
    answer = stage.ask()
    stage.server.send(headers(1), headers(1, *fields, last=True))
    assert refusal(answer) == (code, text)
    answer = stage.ask()
    stage.server.send(headers(3, (b":status", b"200"), *fields, last=True))
    if b"grpc-status" in dict(fields):
        assert refusal(answer) == (code, text)
    else:
        assert refusal(answer)[0] is Code.UNKNOWN


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b"503", Code.UNAVAILABLE),
        (b"502", Code.UNAVAILABLE),
        (b"429", Code.UNAVAILABLE),
        (b"404", Code.UNIMPLEMENTED),
        (b"401", Code.UNAUTHENTICATED),
        (b"418", Code.UNKNOWN),
        (b"", Code.UNKNOWN),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>no</html>"])
def test_an_answer_of_something_on_the_way_is_an_error(stage: Stage, status: bytes, code: Code, body: bytes) -> None:
    answer = stage.ask()
    stage.server.send(headers(1, (b":status", status), last=not body))
    if body:
        stage.server.send(frame(DATA, END, 1, body))
    assert refusal(answer)[0] is code
    answer = stage.ask()
    stage.server.send(good(3))
    assert answer.result(LIMIT_S) == b"said"


def test_an_answer_without_message_or_without_trailers_is_an_error(stage: Stage) -> None:
    one, other = stage.ask(), stage.ask()
    stage.server.send(headers(1), frame(HEADERS, LAST, 1, GOOD))
    stage.server.send(headers(3), frame(DATA, END, 3, framed(b"said")))
    assert refusal(one)[0] is Code.INTERNAL
    assert refusal(other) == (Code.UNKNOWN, "The answer has no status")


def test_an_answer_that_is_too_large_is_ended(stage: Stage) -> None:
    answer = stage.ask()
    stage.server.send(headers(1), *(frame(DATA, 0, 1, bytes(16_000)) for _ in range(7)))
    assert refusal(answer)[0] is Code.RESOURCE_EXHAUSTED
    assert stage.server.wait(frames.RST_STREAM).stream == 1


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.REFUSED_STREAM, Code.UNAVAILABLE),
        (Reason.CANCEL, Code.CANCELLED),
        (Reason.ENHANCE_YOUR_CALM, Code.RESOURCE_EXHAUSTED),
        (Reason.INTERNAL_ERROR, Code.INTERNAL),
        (77, Code.INTERNAL),
    ],
)
def test_a_call_that_the_server_ends_has_failed(stage: Stage, reason: int, code: Code) -> None:
    answer = stage.ask()
    stage.server.send(frame(frames.RST_STREAM, 0, 1, number(reason)))
    assert refusal(answer)[0] is code


def test_a_server_that_takes_its_leave_answers_what_it_has_and_leaves_the_rest_untouched(stage: Stage) -> None:
    one, other = stage.ask(), stage.ask()
    stage.server.send(frame(frames.GOAWAY, 0, 0, number(1) + number(0)))
    assert loss(other)
    assert not has_room(stage)
    stage.server.send(good(1))
    assert one.result(LIMIT_S) == b"said"
    stage.server.left()
    until(lambda: stage.lost == [stage.client], "the connection is told to be lost")


def test_calls_on_a_connection_that_breaks_are_lost_and_perhaps_not_untouched(stage: Stage) -> None:
    answers = [stage.ask() for _ in range(3)]
    stage.server.wait(DATA)
    stage.server.connection.close()
    assert [loss(answer) for answer in answers] == [False, False, False]
    assert not has_room(stage)


def test_no_more_calls_are_made_than_the_server_takes(stage: Stage) -> None:
    stage.server.send(frames.settings(max_concurrent_streams=1))
    assert stage.server.wait(frames.SETTINGS).flags == frames.ACK
    assert has_room(stage)
    answer = stage.ask()
    stage.server.wait(DATA)
    assert not has_room(stage)
    stage.server.send(good(1))
    assert answer.result(LIMIT_S)
    assert has_room(stage)


def test_a_large_request_waits_for_the_servers_windows_and_is_ended_by_an_early_error(stage: Stage) -> None:
    answer = stage.ask(bytes(100_000))
    got = 0
    while got < frames.WINDOW:
        got += len(stage.server.wait(DATA).payload)
    stage.server.send(frame(frames.WINDOW_UPDATE, 0, 1, number(10)), frame(frames.WINDOW_UPDATE, 0, 0, number(10)))
    assert len(stage.server.wait(DATA).payload) == 10
    stage.server.send(headers(1, (b":status", b"200"), (b"grpc-status", b"8"), last=True))
    assert refusal(answer)[0] is Code.RESOURCE_EXHAUSTED
    assert stage.server.wait(frames.RST_STREAM).stream == 1


def test_a_call_that_is_dropped_is_ended_and_its_late_answer_passed_over(stage: Stage) -> None:
    answer = stage.ask()
    stage.server.wait(DATA)
    answer.cancel()
    assert stage.server.wait(frames.RST_STREAM).payload == number(Reason.CANCEL)
    stage.server.send(good(1))
    answer = stage.ask()
    stage.server.send(good(3))
    assert answer.result(LIMIT_S) == b"said"


def test_a_connection_that_is_retired_ends_with_its_last_answer(stage: Stage) -> None:
    answer = stage.ask()
    stage.server.wait(DATA)
    stage.on_loop(stage.client.retire)
    assert not has_room(stage)
    stage.server.send(good(1))
    assert answer.result(LIMIT_S) == b"said"
    assert [one.kind for one in stage.server.left()] == []


def test_a_server_that_breaks_the_protocol_is_told_so_and_its_calls_are_lost(stage: Stage) -> None:
    answer = stage.ask()
    stage.server.send(good(9))
    assert stage.server.wait(frames.GOAWAY).payload[4:8] == number(Reason.PROTOCOL_ERROR)
    assert loss(answer) is False
