"""One gRPC connection of the load generator: HTTP/2 by hand, many calls at a time, each answer's status looked at.

grpc.aio's client takes more CPU for a call than the servers measured take to answer it, and h2load does not look at
grpc-status, which stands in the trailers. The server is told to keep no table of headers (RFC 7541, 4.2), so that the
trailers of each answer are spelled out.
"""

import contextlib
import socket
import struct
from collections import deque

READ_BYTES = 1 << 16  # a larger buffer would be mapped and unmapped at each read
LARGEST_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = (1 << 16) - 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 4, 5
GOOD = b"grpc-status\x010"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(value: str) -> bytes:
    """A string literal of HPACK, at most 126 bytes."""
    return bytes([len(value)]) + value.encode()


def _request_head(address: tuple[str, int], path: str) -> bytes:
    """The request's headers: `:method POST` and `:scheme http` by their index, the others spelled out."""
    authority = f"{address[0]}:{address[1]}"
    named = _text("content-type") + _text("application/grpc") + b"\x00" + _text("te") + _text("trailers")
    return b"\x83\x86\x04" + _text(path) + b"\x01" + _text(authority) + b"\x00" + named


def _user(number: int) -> bytes:
    return b"\x00" + _text("x-user-id") + _text(f"user-{number}")


def _said_good(trailers: bytes) -> bool:
    """For servers that shorten what they say by HPACK's own code of letters."""
    from serving.http2.hpack import Decoder

    return (b"grpc-status", b"0") in Decoder(0).decode(trailers)


class Http2Connection:
    """Sends prepared calls and tells which are answered.

    Attributes:
        socket: non-blocking; select on it.
        room: how many more calls it can take now.
        unsent: bytes that the socket did not take yet; select for writing while there are some.
        tickets: stream -> ticket of the calls that are not answered yet.
    """

    def __init__(
        self, address: tuple[str, int], path: str, bodies: list[bytes], streams: int, keyed: bool = False
    ) -> None:
        """Connects at once.

        Args:
            address: host and port.
            path: /package.Service/Method.
            bodies: serialized messages; the others of a connection share them.
            streams: calls at a time.
            keyed: each comes from a user of its own, `x-user-id: user-<number of the body>`.

        Raises:
            OSError: nobody listens.
        """
        head = _request_head(address, path)
        self._heads = [head + _user(number) if keyed else head for number in range(len(bodies))]
        self._messages = [b"\x00" + struct.pack(">I", len(body)) + body for body in bodies]
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.room = streams
        self.tickets: dict[int, int] = {}
        self._next_stream = 1
        self._received = b""
        self._answers: dict[int, bytes] = {}
        self._window, self._stream_window, self._largest_frame = DEFAULT_WINDOW, DEFAULT_WINDOW, 1 << 14
        self._windows: dict[int, int] = {}  # of the streams whose message is not sent to its end
        self._waiting: deque[tuple[int, memoryview]] = deque()  # messages that no window had room for
        settings = ((HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
        said = b"".join(struct.pack(">HI", *one) for one in settings)
        more = _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - DEFAULT_WINDOW))
        self.unsent = memoryview(PREFACE + _frame(SETTINGS, 0, 0, said) + more)
        self.flush()

    def ask(self, ticket: int, body: int) -> None:
        """Sends the message number `body`; only where there is room."""
        self.room -= 1
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self.tickets[stream] = ticket
        message = self._messages[body]
        size = len(message)
        head = _frame(HEADERS, END_HEADERS, stream, self._heads[body])
        if size <= min(self._window, self._stream_window, self._largest_frame) and not self._waiting:
            self._window -= size
            self._send(head + _frame(DATA, END_STREAM, stream, message))
            return
        self._windows[stream] = self._stream_window
        self._waiting.append((stream, memoryview(message)))
        self._send(head)
        self._send_waiting()

    def flush(self) -> None:
        """Sends what the socket takes."""
        with contextlib.suppress(BlockingIOError):
            self.unsent = self.unsent[self.socket.send(self.unsent) :]

    def read(self) -> list[tuple[int, str, bytes]]:
        """Ticket, complaint ("" for a good answer) and message of each call that is answered now.

        Raises:
            OSError: the connection is lost, or the server refuses new calls on it.
        """
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        data = self._received + data if self._received else data
        answered: list[tuple[int, str, bytes]] = []
        at, end = 0, len(data)
        while end - at >= 9:
            length, kind, flags, stream = (
                int.from_bytes(data[at : at + 3]),
                data[at + 3],
                data[at + 4],
                data[at + 5 : at + 9],
            )
            if end - at < 9 + length:
                break
            self._take(kind, flags, int.from_bytes(stream), data[at + 9 : at + 9 + length], answered)
            at += 9 + length
        self._received = data[at:]
        return answered

    def _take(self, kind: int, flags: int, stream: int, payload: bytes, answered: list[tuple[int, str, bytes]]) -> None:
        if kind == DATA:
            self._answers[stream] = self._answers.get(stream, b"") + payload
        if (kind in (DATA, HEADERS) and flags & END_STREAM) or kind == RST_STREAM:
            ticket = self.tickets.pop(stream, None)
            message = self._answers.pop(stream, b"")[5:]
            if ticket is not None:
                self.room += 1
                good = kind == HEADERS and (GOOD in payload or _said_good(payload))
                answered.append((ticket, "" if good else f"not grpc-status 0, but {payload!r}", message))
        elif kind == PING and not flags & ACK:
            self._send(_frame(PING, ACK, 0, payload))
        elif kind == SETTINGS and not flags & ACK:
            self._settle(payload)
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(payload) & LARGEST_WINDOW
            if stream == 0:
                self._window += more
            elif stream in self._windows:
                self._windows[stream] += more
            self._send_waiting()
        elif kind == GOAWAY:
            raise ConnectionResetError(f"the server refuses more calls: {payload[8:]!r}")

    def _settle(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == INITIAL_WINDOW_SIZE:
                for stream in self._windows:
                    self._windows[stream] += value - self._stream_window
                self._stream_window = value
            elif name == MAX_FRAME_SIZE:
                self._largest_frame = value
        self._send(_frame(SETTINGS, ACK, 0, b""))
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Sends of the messages that wait what the windows have room for."""
        for _ in range(len(self._waiting)):
            stream, rest = self._waiting.popleft()
            while rest:
                size = min(self._window, self._windows[stream], self._largest_frame, len(rest))
                if size <= 0:
                    self._waiting.append((stream, rest))
                    break
                self._window -= size
                self._windows[stream] -= size
                self._send(_frame(DATA, END_STREAM if size == len(rest) else 0, stream, bytes(rest[:size])))
                rest = rest[size:]
            else:
                del self._windows[stream]

    def _send(self, data: bytes) -> None:
        if self.unsent:
            self.unsent = memoryview(bytes(self.unsent) + data)
        else:
            self.unsent = memoryview(data)
            self.flush()
