"""A gRPC port of ours: what clients may do with HTTP/2's frames, though most do not, and what none may."""

import asyncio
import struct
from collections.abc import Iterator

import pytest

from serving.http2 import frames, grpc_server, hpack
from serving.http2.calls import Call, Reply
from serving.http2.frames import Reason, frame, number
from serving.http2.grpc_messages import framed
from serving.http2.hpack import encode
from serving.http2.listening import GrpcPort
from tests.serving.http2.raw import LAST, SETTLED, Peer, client, pieces, port, request
from tests.serving.model_server.conformance.process import until

_working: set[str] = set()
DATA, HEADERS, END = frames.DATA, frames.HEADERS, frames.END_STREAM


async def answer(call: Call) -> Reply:
    """Says the message, or hangs."""
    if call.path == b"/test.Echo/Hang":
        name = call.message.decode()
        _working.add(name)
        try:
            await asyncio.Event().wait()
        finally:
            _working.discard(name)
    return Reply(call.message)


@pytest.fixture(scope="module")
def started() -> Iterator[GrpcPort]:
    with port(answer) as made:
        yield made


@pytest.fixture
def peer(started: GrpcPort) -> Iterator[Peer]:
    with client(started) as made:
        yield made


def answered(peer: Peer, message: bytes = b"ask") -> None:
    """The next answer is this one."""
    assert peer.headers()[b":status"] == b"200"
    content = b""
    while len(content) < len(message) + 5:
        content += peer.wait(DATA).payload
    assert content == framed(message)
    assert peer.headers() == {b"grpc-status": b"0"}


def refused(peer: Peer) -> int:
    """The status of the next answer, which is an error."""
    headers = peer.headers()
    assert headers[b":status"] == b"200"
    return int(headers[b"grpc-status"])


def test_the_greeting_may_come_in_pieces_with_a_call_at_its_end(started: GrpcPort) -> None:
    with client(started, greeting=b"") as peer:
        for byte in frames.PREFACE + SETTLED + request(1):
            peer.send(bytes((byte,)))
        answered(peer)


def test_a_message_may_come_in_frames_of_a_byte_with_padding_and_strangers_between(peer: Peer) -> None:
    block = request(1, None)[frames.HEAD_BYTES :]
    payload = b"\x03" + bytes(5) + block + bytes(3)
    peer.send(frame(HEADERS, frames.END_HEADERS | frames.PADDED | frames.PRIORITIZED, 1, payload))
    for byte in framed(b"ask"):
        peer.send(
            frame(DATA, frames.PADDED, 1, b"\x02" + bytes((byte,)) + bytes(2)),
            frame(frames.PRIORITY, 0, 1, bytes(5)),
            frame(99, 0, 1, b"of a kind that nobody knows"),
            frame(frames.WINDOW_UPDATE, 0, 7, number(1)),
        )
    peer.send(frame(DATA, END, 1, b""))
    answered(peer)


def test_headers_may_come_in_many_frames_and_the_message_end_with_trailers(peer: Peer) -> None:
    block = request(1, None)[frames.HEAD_BYTES :]
    parts = [block[at : at + 10] for at in range(0, len(block), 10)]
    peer.send(frame(HEADERS, 0, 1, parts[0]))
    peer.send(*(frame(frames.CONTINUATION, 0, 1, piece) for piece in parts[1:-1]))
    peer.send(frame(frames.CONTINUATION, frames.END_HEADERS, 1, parts[-1]), frame(DATA, 0, 1, framed(b"ask")))
    peer.send(frame(HEADERS, LAST, 1, encode([(b"x-checksum", b"1")])))
    answered(peer)


def test_pings_are_answered(peer: Peer) -> None:
    peer.send(frame(frames.PING, 0, 0, b"12345678"))
    assert peer.wait(frames.PING) == (frames.PING, frames.ACK, 0, b"12345678")


def test_an_answer_waits_for_the_clients_windows(started: GrpcPort) -> None:
    with client(started, greeting=frames.PREFACE + frames.settings(initial_window_size=4)) as peer:
        peer.send(request(1, b"0123456789"))
        assert peer.wait(DATA).payload == framed(b"0123456789")[:4]
        peer.send(frame(frames.WINDOW_UPDATE, 0, 1, number(3)))
        assert peer.wait(DATA).payload == framed(b"0123456789")[4:7]
        peer.send(frames.settings(initial_window_size=0), frame(frames.PING, 0, 0, bytes(8)))
        peer.wait(frames.PING)
        peer.send(frames.settings(initial_window_size=5))  # one more than at first
        assert peer.wait(DATA).payload == framed(b"0123456789")[7:8]
        peer.send(frame(frames.WINDOW_UPDATE, 0, 1, number(1000)))
        last = peer.wait(DATA)
        assert last.payload == framed(b"0123456789")[8:]
        assert not last.flags & END
        assert peer.headers() == {b"grpc-status": b"0"}


def test_all_answers_wait_for_the_connections_window(peer: Peer) -> None:
    peer.send(frames.settings(initial_window_size=1_000_000))
    message = bytes(50_000)
    peer.send(
        request(1, None), *(frame(DATA, 0, 1, piece) for piece in pieces(framed(message))), frame(DATA, END, 1, b"")
    )
    peer.send(
        request(3, None), *(frame(DATA, 0, 3, piece) for piece in pieces(framed(message))), frame(DATA, END, 3, b"")
    )
    got = 0
    while got < frames.WINDOW:
        got += len(peer.wait(DATA).payload)
    peer.send(frame(frames.PING, 0, 0, b"anything"))
    assert peer.frame() == (frames.PING, frames.ACK, 0, b"anything")
    peer.send(frame(frames.WINDOW_UPDATE, 0, 0, number(1_000_000)))
    while got < 2 * len(framed(message)):
        got += len(peer.wait(DATA).payload)
    assert got == 2 * len(framed(message))


def test_what_is_not_grpc_gets_a_status_of_http(peer: Peer) -> None:
    headers = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"localhost")]
    peer.send(frame(HEADERS, LAST, 1, encode(headers)))
    assert peer.headers() == {b":status": b"415"}
    peer.send(request(3))
    answered(peer)


@pytest.mark.parametrize(
    ("content", "encoding", "code"),
    [
        (b"", b"identity", 13),  # no message
        (b"\x00\x00\x00", b"identity", 13),
        (framed(b"ask")[:-1], b"identity", 13),
        (framed(b"ask") + framed(b"ask"), b"identity", 13),
        (b"\x01" + framed(b"ask")[1:], b"gzip", 13),  # is not
        (b"\x01" + framed(b"ask")[1:], b"brotli", 12),
        (b"\x01" + framed(b"ask")[1:], b"identity", 12),
        (b"\x02" + framed(b"ask")[1:], b"identity", 12),
    ],
)
def test_data_that_are_not_one_message_are_refused(peer: Peer, content: bytes, encoding: bytes, code: int) -> None:
    peer.send(request(1, None, (b"grpc-encoding", encoding)), frame(DATA, END, 1, content))
    assert refused(peer) == code
    peer.send(request(3))
    answered(peer)


def test_a_message_that_says_that_it_is_too_large_is_refused_before_it_has_come(peer: Peer) -> None:
    peer.send(request(1, None), frame(DATA, 0, 1, b"\x00" + struct.pack(">I", 1_000_001)))
    assert refused(peer) == 8
    assert peer.wait(frames.RST_STREAM) == (frames.RST_STREAM, 0, 1, number(Reason.NO_ERROR))
    peer.send(frame(DATA, END, 1, b"late"), request(3))
    answered(peer)


@pytest.mark.parametrize("timeout", [b"", b"5", b"u", b"123456789S", b"-1S", b"1x", b"\xff"])
def test_a_deadline_that_cannot_be_understood_is_none(peer: Peer, timeout: bytes) -> None:
    peer.send(request(1, b"ask", (b"grpc-timeout", timeout)))
    answered(peer)


def test_a_call_that_is_dropped_at_once_or_later_leaves_nothing_behind(started: GrpcPort, peer: Peer) -> None:
    path = b"/test.Echo/Hang"
    cancel = frame(frames.RST_STREAM, 0, 1, number(Reason.CANCEL))
    peer.send(request(1, b"at once", path=path) + cancel)
    peer.send(request(3, b"later", path=path))
    until(lambda: _working == {"later"}, "the call is worked on")
    peer.send(frame(frames.RST_STREAM, 0, 3, number(Reason.CANCEL)), request(5))
    answered(peer)
    until(lambda: not _working, "the work has ended")


def test_more_calls_than_allowed_are_refused_and_may_be_made_later(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "STREAMS", 2)
    peer.send(*(request(stream, None) for stream in (1, 3, 5)))
    assert peer.wait(frames.RST_STREAM) == (frames.RST_STREAM, 0, 5, number(Reason.REFUSED_STREAM))
    peer.send(frame(DATA, END, 1, framed(b"ask")))
    answered(peer)
    peer.send(request(7))
    answered(peer)


def test_blocks_of_headers_that_repeat_are_read_alike(peer: Peer) -> None:
    usual = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b"content-type", b"application/grpc")]
    block = b"".join(b"\x40" + hpack._literal(name) + hpack._literal(value) for name, value in usual)
    peer.send(frame(HEADERS, 4, 1, block), frame(DATA, END, 1, framed(b"ask")))
    answered(peer)
    for stream in (3, 5, 7):
        peer.send(frame(HEADERS, 4, stream, b"\xc1\xc0\xbf\xbe"), frame(DATA, END, stream, framed(b"ask")))
        answered(peer)
