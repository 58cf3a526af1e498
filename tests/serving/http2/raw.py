"""HTTP/2 by hand over a socket, for tests of what a decent peer never does. Not a test module."""

import contextlib
import socket
from collections.abc import Iterator
from typing import NamedTuple

from serving.http2 import frames, hpack
from serving.http2.calls import Answer
from serving.http2.frames import frame
from serving.http2.grpc_messages import framed
from serving.http2.hpack import Decoder, Header
from serving.http2.listening import GrpcPort, serve
from tests.serving.model_server.grpc_running import LIMIT_S, loop

LAST = frames.END_HEADERS | frames.END_STREAM
SETTLED = frames.settings()


class Frame(NamedTuple):
    """One that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Peer:
    """One side of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(LIMIT_S)
        self.connection = connection
        self._decoder = Decoder()
        self._rest = b""

    def send(self, *sent: bytes) -> None:
        self.connection.sendall(b"".join(sent))

    def frame(self) -> Frame | None:
        """The next one; None where the other side has closed."""
        head = self._exactly(frames.HEAD_BYTES)
        if head is None:
            return None
        upper, lower, kind, flags, stream = frames.HEAD.unpack(head)
        payload = self._exactly(upper << 8 | lower)
        assert payload is not None, "a frame is cut off"
        return Frame(kind, flags, stream, payload)

    def wait(self, kind: int) -> Frame:
        """The next frame of a kind; others are passed over."""
        while True:
            found = self.frame()
            assert found is not None, f"the connection was closed without a frame of kind {kind}"
            if found.kind == kind:
                return found

    def headers(self) -> dict[bytes, bytes]:
        """Those of the next frame that has any."""
        return dict(self._decoder.decode(self.wait(frames.HEADERS).payload))

    def left(self) -> list[Frame]:
        """What comes until the other side closes."""
        found = []
        while (one := self.frame()) is not None:
            found.append(one)
        return found

    def _exactly(self, size: int) -> bytes | None:
        while len(self._rest) < size:
            try:
                piece = self.connection.recv(1 << 16)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return None
            self._rest += piece
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


def request(
    stream: int,
    message: bytes | None = b"ask",
    *headers: Header,
    path: bytes = b"/test.Echo/Say",
    flags: int = frames.END_HEADERS,
) -> bytes:
    """The frames of a call; None for a call that goes on."""
    usual = [
        *((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost")),
        *((b"te", b"trailers"), (b"content-type", b"application/grpc")),
    ]
    head = frame(frames.HEADERS, flags, stream, hpack.encode([*usual, *headers]))
    return head if message is None else head + frame(frames.DATA, frames.END_STREAM, stream, framed(message))


def pieces(content: bytes) -> list[bytes]:
    """A content, cut into what frames may hold."""
    return [content[at : at + frames.FRAME_BYTES] for at in range(0, len(content), frames.FRAME_BYTES)]


@contextlib.contextmanager
def port(answer: Answer, message_bytes: int = 1_000_000) -> Iterator[GrpcPort]:
    """A port of ours that answers."""
    made = loop().run(serve(answer, "127.0.0.1", 0, message_bytes))
    try:
        yield made
    finally:
        loop().run(made.close())


@contextlib.contextmanager
def client(of: GrpcPort | int, *, greeting: bytes = frames.PREFACE + SETTLED) -> Iterator[Peer]:
    """A client of a port, which has said its greeting."""
    number = of if isinstance(of, int) else of.port
    with socket.create_connection(("127.0.0.1", number), LIMIT_S) as connection:
        peer = Peer(connection)
        peer.send(greeting)
        yield peer
