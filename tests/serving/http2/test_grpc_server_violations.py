"""A gRPC port of ours: who breaks the protocol, floods it, or leaves it waiting."""

import contextlib
from collections.abc import Iterator

import pytest

from serving.http2 import frames, grpc_server
from serving.http2.calls import Call, Reply
from serving.http2.frames import Reason, frame, number
from serving.http2.grpc_messages import framed
from serving.http2.listening import GrpcPort
from tests.serving.http2.raw import SETTLED, Peer, client, pieces, port, request
from tests.serving.model_server.conformance.process import until
from tests.serving.model_server.grpc_running import loop

DATA, HEADERS, END = frames.DATA, frames.HEADERS, frames.END_STREAM


async def answer(call: Call) -> Reply:
    return Reply(call.message)


@pytest.fixture
def started() -> Iterator[GrpcPort]:
    with port(answer) as made:
        yield made


@pytest.fixture
def peer(started: GrpcPort) -> Iterator[Peer]:
    with client(started) as made:
        yield made


SENT = {
    "no settings first": (request(1), Reason.PROTOCOL_ERROR),
    "a frame that is too large": (SETTLED + frame(DATA, 0, 1, bytes(frames.FRAME_BYTES + 1)), Reason.FRAME_SIZE_ERROR),
    "a call on stream 0": (SETTLED + request(0), Reason.PROTOCOL_ERROR),
    "a call on an even stream": (SETTLED + request(2), Reason.PROTOCOL_ERROR),
    "data of no call": (SETTLED + frame(DATA, 0, 1, b""), Reason.PROTOCOL_ERROR),
    "headers twice": (SETTLED + request(1, None) + request(1, None), Reason.PROTOCOL_ERROR),
    "frames between headers": (SETTLED + frame(HEADERS, 0, 1, b"") + frame(DATA, 0, 1, b""), Reason.PROTOCOL_ERROR),
    "headers of another stream": (
        SETTLED + frame(HEADERS, 0, 1, b"") + frame(frames.CONTINUATION, 0, 3, b""),
        Reason.PROTOCOL_ERROR,
    ),
    "a continuation of nothing": (SETTLED + frame(frames.CONTINUATION, 4, 1, b""), Reason.PROTOCOL_ERROR),
    "headers without end": (
        SETTLED + frame(HEADERS, 0, 1, b"") + frame(frames.CONTINUATION, 0, 1, b"") * 100,
        Reason.ENHANCE_YOUR_CALM,
    ),
    "headers that cannot be read": (SETTLED + frame(HEADERS, 4, 1, b"\xff"), Reason.COMPRESSION_ERROR),
    "too many headers": (
        SETTLED + frame(HEADERS, 4, 1, b"\x40\x01a\x7f\x81\x4e" + bytes(10_000)) + frame(HEADERS, 4, 3, b"\xbe" * 10),
        Reason.COMPRESSION_ERROR,
    ),
    "padding beyond the frame": (SETTLED + frame(DATA, frames.PADDED, 1, b"\x05abc"), Reason.PROTOCOL_ERROR),
    "a push": (SETTLED + frame(frames.PUSH_PROMISE, 4, 1, number(2)), Reason.PROTOCOL_ERROR),
    "a window that grows by nothing": (SETTLED + frame(frames.WINDOW_UPDATE, 0, 0, number(0)), Reason.PROTOCOL_ERROR),
    "a window that grows too large": (
        SETTLED + frame(frames.WINDOW_UPDATE, 0, 0, number(frames.LARGEST_WINDOW)),
        Reason.FLOW_CONTROL_ERROR,
    ),
    "a window that is too large": (frames.settings(initial_window_size=1 << 31), Reason.FLOW_CONTROL_ERROR),
    "a window of another length": (SETTLED + frame(frames.WINDOW_UPDATE, 0, 0, b"1"), Reason.FRAME_SIZE_ERROR),
    "a ping of another length": (SETTLED + frame(frames.PING, 0, 0, b"1"), Reason.FRAME_SIZE_ERROR),
    "a ping on a stream": (SETTLED + frame(frames.PING, 0, 1, bytes(8)), Reason.PROTOCOL_ERROR),
    "settings of another length": (frame(frames.SETTINGS, 0, 0, b"1"), Reason.FRAME_SIZE_ERROR),
    "a farewell that is too short": (SETTLED + frame(frames.GOAWAY, 0, 0, b"1"), Reason.FRAME_SIZE_ERROR),
    "a reset of nothing": (SETTLED + frame(frames.RST_STREAM, 0, 0, number(8)), Reason.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("wrong", SENT)
def test_who_breaks_the_protocol_is_told_why_and_left(started: GrpcPort, wrong: str) -> None:
    sent, reason = SENT[wrong]
    with client(started, greeting=frames.PREFACE + sent) as peer:
        assert peer.wait(frames.GOAWAY).payload[4:8] == number(reason)
        assert peer.left() == []


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00", bytes(64)])
def test_who_does_not_speak_http2_is_left(started: GrpcPort, sent: bytes) -> None:
    with client(started, greeting=sent) as peer, contextlib.suppress(ConnectionResetError):
        assert [one.kind for one in peer.left()] == [frames.SETTINGS, frames.WINDOW_UPDATE]


def look(started: GrpcPort, later_s: float = 0.0) -> None:
    """Lets the port look at its connections' limits, as if it were later."""

    async def now() -> None:
        started._shared.now = started._shared.loop.time() + later_s
        for connection in tuple(started._shared.connections):
            connection.check()
        started._shared.now = started._shared.loop.time()

    loop().run(now())


def test_who_begins_calls_only_to_drop_them_is_left(
    started: GrpcPort, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_server, "RESETS", 10)
    for stream in range(1, 41, 2):
        peer.send(request(stream), frame(frames.RST_STREAM, 0, stream, number(Reason.CANCEL)))
    peer.send(frame(frames.PING, 0, 0, bytes(8)))
    peer.wait(frames.PING)
    look(started)
    assert peer.wait(frames.GOAWAY).payload[4:8] == number(Reason.ENHANCE_YOUR_CALM)


def test_a_message_that_stops_coming_is_not_waited_for(started: GrpcPort, peer: Peer) -> None:
    peer.send(request(1, None), frame(frames.PING, 0, 0, bytes(8)))
    peer.wait(frames.PING)
    look(started)
    look(started, 2 * grpc_server.SILENT_S)
    assert peer.headers()[b"grpc-status"] == b"1"
    peer.send(request(3))
    assert peer.headers()[b":status"] == b"200"


def test_messages_that_come_in_crumbs_take_no_more_room_than_they_have(started: GrpcPort, peer: Peer) -> None:
    peer.send(request(1, None), *(frame(DATA, 0, 1, b"") for _ in range(1000)), frame(DATA, 0, 1, framed(b"abc")[:6]))
    peer.send(frame(frames.PING, 0, 0, bytes(8)))
    peer.wait(frames.PING)
    assert started._shared.received_bytes == 6
    peer.send(frame(DATA, END, 1, b"bc"))
    assert peer.headers()[b":status"] == b"200"
    assert started._shared.received_bytes == 0


def test_more_unfinished_messages_than_there_is_room_for_are_refused_and_forgotten(
    started: GrpcPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_server, "MOST_RECEIVED_BYTES", 100_000)
    with client(started) as peer:
        for stream in (1, 3):
            peer.send(request(stream, None), *(frame(DATA, 0, stream, one) for one in pieces(framed(bytes(60_000)))))
        assert peer.headers()[b"grpc-status"] == b"8"
        peer.send(frame(DATA, END, 1, b""))
        assert peer.headers()[b":status"] == b"200"
        peer.send(request(5, None), frame(DATA, 0, 5, framed(b"half")[:7]))
    until(lambda: not started._shared.connections, "the connection is gone")
    assert started._shared.received_bytes == 0


def test_an_answer_that_nobody_opens_a_window_for_is_dropped(started: GrpcPort) -> None:
    with client(started, greeting=frames.PREFACE + frames.settings(initial_window_size=0)) as peer:
        peer.send(request(1))
        assert peer.headers()[b":status"] == b"200"
        look(started)
        look(started, 2 * grpc_server.SILENT_S)
        assert peer.wait(frames.RST_STREAM) == (frames.RST_STREAM, 0, 1, number(Reason.CANCEL))


def test_who_does_not_even_greet_is_left(started: GrpcPort) -> None:
    with client(started, greeting=b"PRI") as peer:
        peer.wait(frames.SETTINGS)
        look(started, 2 * grpc_server.SILENT_S)
        assert [one.kind for one in peer.left()] == [frames.WINDOW_UPDATE]


def test_who_does_not_take_answers_is_not_read_and_left_in_the_end(started: GrpcPort) -> None:
    windows = frames.settings(initial_window_size=frames.LARGEST_WINDOW) + frame(
        frames.WINDOW_UPDATE, 0, 0, number(frames.LARGEST_WINDOW - frames.WINDOW)
    )
    message = framed(bytes(900_000))
    with client(started, greeting=frames.PREFACE + windows) as peer:
        peer.connection.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for stream in range(1, 401, 2):
                peer.send(request(stream, None), *(frame(DATA, 0, stream, one) for one in pieces(message)))
                peer.send(frame(DATA, END, stream, b""))
            pytest.fail("everything is read though no answer is taken")
        (connection,) = started._shared.connections
        assert connection.transport.get_write_buffer_size() < 64 << 20
        look(started)
        look(started)
        look(started, 2 * grpc_server.SILENT_S)
        until(lambda: not started._shared.connections, "the connection is dropped")
