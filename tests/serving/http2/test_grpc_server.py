"""A gRPC port of ours: what gRPC's own client gets of it."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from serving.http2.calls import Call, Reply
from serving.http2.listening import GrpcPort, serve
from serving.status import Code, StatusError
from tests.serving.http2.raw import port
from tests.serving.model_server.conformance.process import until
from tests.serving.model_server.grpc_running import LIMIT_S, loop

LARGEST = 8 << 20
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]
_seen: list[Call] = []
_cancelled = threading.Event()


async def answer(call: Call) -> Reply:
    """Does what the method's name says."""
    _seen.append(call)
    if call.path == b"/test/Fail":
        raise_ = StatusError(Code.NOT_FOUND, "gibt es nicht: 100 %, „schade“\n")
        return Reply(b"", ((b"x-why", b"because"),), raise_)
    if call.path == b"/test/Break":
        raise RuntimeError("a defect")
    if call.path == b"/test/Hang":
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            _cancelled.set()
            raise
    if call.path == b"/test/Grow":
        return Reply(call.message * 1000)
    return Reply(call.message, ((b"x-said", call.metadata.get(b"x-say", b"")),))


@pytest.fixture(scope="module")
def started() -> Iterator[GrpcPort]:
    with port(answer, LARGEST) as made:
        yield made


@pytest.fixture
def channel(started: GrpcPort) -> Iterator[grpc.Channel]:
    _seen.clear()
    _cancelled.clear()
    with grpc.insecure_channel(f"127.0.0.1:{started.port}", UNLIMITED) as made:
        yield made


def ask(channel: grpc.Channel, message: bytes, method: str = "Echo", **more: Any) -> tuple[bytes, Any]:
    said: tuple[bytes, Any] = channel.unary_unary(f"/test/{method}").with_call(message, **{"timeout": LIMIT_S, **more})
    return said


def refusal(channel: grpc.Channel, method: str, message: bytes = b"", **more: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, message, method, **more)
    return caught.value


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 70_000, LARGEST])
def test_messages_of_every_size_pass_both_ways(channel: grpc.Channel, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert ask(channel, message)[0] == message


def test_an_answer_is_larger_than_any_window(channel: grpc.Channel) -> None:
    assert ask(channel, bytes(50_000), "Grow")[0] == bytes(50_000_000)


def test_metadata_path_and_deadline_are_told(channel: grpc.Channel) -> None:
    _, call = ask(channel, b"", metadata=(("x-say", "hello"),), timeout=30)
    assert dict(call.trailing_metadata())["x-said"] == "hello"
    (seen,) = _seen
    assert seen.path == b"/test/Echo"
    assert seen.metadata[b"x-say"] == b"hello"
    assert seen.timeout_s is not None
    assert 0 < seen.timeout_s <= 33
    ask(channel, b"", timeout=None)
    assert _seen[1].timeout_s is None


def test_an_error_comes_with_its_text_and_its_metadata(channel: grpc.Channel) -> None:
    error = refusal(channel, "Fail")
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "gibt es nicht: 100 %, „schade“\n")
    assert dict(error.trailing_metadata())["x-why"] == "because"


def test_a_defect_is_logged_and_told_without_its_text(channel: grpc.Channel, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        error = refusal(channel, "Break")
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "a defect of this server" in error.details().lower()
    assert "RuntimeError: a defect" in caplog.text
    assert ask(channel, b"on")[0] == b"on"


def test_a_message_that_is_too_large_is_refused_and_the_connection_goes_on(channel: grpc.Channel) -> None:
    assert refusal(channel, "Echo", bytes(LARGEST + 1)).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal(channel, "Echo", bytes(4 * LARGEST)).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ask(channel, b"on")[0] == b"on"
    assert len(_seen) == 1


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_are_taken_up_to_the_same_size(channel: grpc.Channel, compression: Any) -> None:
    assert ask(channel, bytes(100_000), compression=compression)[0] == bytes(100_000)
    error = refusal(channel, "Echo", bytes(LARGEST + 1), compression=compression)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("leave", ["cancel", "deadline", "close"])
def test_a_client_that_does_not_wait_ends_the_work(channel: grpc.Channel, leave: str) -> None:
    call = channel.unary_unary("/test/Hang").future(b"", timeout=0.2 if leave == "deadline" else LIMIT_S)
    until(lambda: _seen, "the call is there")
    if leave == "cancel":
        call.cancel()
    elif leave == "close":
        channel.close()
    assert _cancelled.wait(LIMIT_S)


def test_many_calls_at_a_time_get_each_its_own_answer(channel: grpc.Channel) -> None:
    method = channel.unary_unary("/test/Echo")
    messages = [b"%d" % number * (number * 50) for number in range(300)]
    calls = [method.future(message, timeout=LIMIT_S) for message in messages]
    assert [call.result() for call in calls] == messages


def test_calls_with_more_messages_than_one_are_refused(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary("/test/Echo")(iter([b"one", b"two"]), timeout=LIMIT_S)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary("/test/Echo")(iter([]), timeout=LIMIT_S)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert list(channel.unary_stream("/test/Echo")(b"one", timeout=LIMIT_S)) == [b"one"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "::"])
def test_it_listens_on_names_and_addresses(host: str) -> None:
    made = loop().run(serve(answer, host, 0, LARGEST))
    try:
        shown = "[::1]" if host in ("[::1]", "::") else host
        with grpc.insecure_channel(f"{shown}:{made.port}") as channel:
            assert ask(channel, b"here")[0] == b"here"
    finally:
        loop().run(made.close())


def test_a_port_that_is_taken_and_a_host_that_does_not_exist_are_told(started: GrpcPort) -> None:
    with pytest.raises(StatusError, match=f"127.0.0.1:{started.port}"):
        loop().run(serve(answer, "127.0.0.1", started.port, LARGEST))
    with pytest.raises(StatusError, match="no.such.host.invalid"):
        loop().run(serve(answer, "no.such.host.invalid", 0, LARGEST))


def test_closing_takes_no_new_calls_and_lets_those_under_way_end() -> None:
    release = threading.Event()

    async def wait(call: Call) -> Reply:
        while not release.is_set():
            await asyncio.sleep(0.005)
        return Reply(b"done")

    made = loop().run(serve(wait, "127.0.0.1", 0, LARGEST))
    with grpc.insecure_channel(f"127.0.0.1:{made.port}", UNLIMITED) as channel:
        call = channel.unary_unary("/test/Wait").future(b"", timeout=LIMIT_S)
        until(lambda: made._shared.connections and any(one.streams for one in made._shared.connections), "it is there")
        closing = asyncio.run_coroutine_threadsafe(made.close(LIMIT_S), loop().loop)
        late = channel.unary_unary("/test/Wait")

        def is_refused() -> bool:
            try:
                late(b"", timeout=0.05)
            except grpc.RpcError as error:
                return bool(error.code() == grpc.StatusCode.UNAVAILABLE)
            return False

        until(is_refused, "new calls are refused")
        assert not closing.done()
        release.set()
        assert call.result() == b"done"
        closing.result(LIMIT_S)


def test_closing_without_patience_drops_what_is_under_way() -> None:
    made = loop().run(serve(answer, "127.0.0.1", 0, LARGEST))
    _seen.clear()
    _cancelled.clear()
    with grpc.insecure_channel(f"127.0.0.1:{made.port}", UNLIMITED) as channel:
        call = channel.unary_unary("/test/Hang").future(b"", timeout=LIMIT_S)
        until(lambda: _seen, "the call is there")
        loop().run(made.close(0.0))
        assert call.exception() is not None
    assert _cancelled.wait(LIMIT_S)
