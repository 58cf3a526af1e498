"""One keep-alive HTTP/1.1 connection of the load generator: one request at a time, every answer's status looked at."""

import contextlib
import re
import socket

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
READ_BYTES = 1 << 16  # a larger buffer would be mapped and unmapped at each read


class Http1Connection:
    """Sends prepared requests and tells which are answered.

    Attributes:
        socket: non-blocking; select on it.
        room: how many more requests it can take now.
        unsent: bytes that the socket did not take yet; select for writing while there are some.
        tickets: of the requests that are not answered yet.
    """

    def __init__(self, address: tuple[str, int], path: str, bodies: list[bytes], keyed: bool = False) -> None:
        """Connects at once.

        Args:
            address: host and port.
            path: of the POST.
            bodies: of the requests; the others of a connection share them.
            keyed: each comes from a user of its own, `x-user-id: user-<number of the body>`.

        Raises:
            OSError: nobody listens.
        """
        head = f"POST {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Type: application/json\r\n"
        keys = [f"x-user-id: user-{number}\r\n" if keyed else "" for number in range(len(bodies))]
        self._requests = [
            f"{head}{key}Content-Length: {len(body)}\r\n\r\n".encode() + body
            for key, body in zip(keys, bodies, strict=True)
        ]
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.room = 1
        self.unsent = memoryview(b"")
        self.tickets: list[int] = []
        self._received = b""
        self._end = 0  # of the answer, once its head is there

    def ask(self, ticket: int, body: int) -> None:
        """Sends the request number `body`; only where there is room."""
        self.room = 0
        self.tickets = [ticket]
        self.unsent = memoryview(self._requests[body])
        self.flush()

    def flush(self) -> None:
        """Sends what the socket takes."""
        with contextlib.suppress(BlockingIOError):
            self.unsent = self.unsent[self.socket.send(self.unsent) :]

    def read(self) -> list[tuple[int, str, bytes]]:
        """Ticket, complaint ("" for a good answer) and body of each request that is answered now.

        Raises:
            OSError: the connection is lost.
        """
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        data = self._received = self._received + data if self._received else data
        if not self._end and not self._find_end(data):
            return []
        if len(data) < self._end or not self.tickets:
            return []
        body = data[data.index(b"\r\n\r\n") + 4 : self._end]
        complaint = "" if data[9:12] == b"200" else f"HTTP {data[9:12].decode()}: {body[:300].decode(errors='replace')}"
        self._received, self._end = b"", 0
        ticket = self.tickets.pop()
        self.room = 1
        return [(ticket, complaint, body)]

    def _find_end(self, data: bytes) -> bool:
        head = data.find(b"\r\n\r\n")
        if head < 0:
            return False
        length = LENGTH.search(data, 0, head)
        if length:
            self._end = head + 4 + int(length[1])
        elif CHUNKED.search(data, 0, head):
            if not data.endswith(b"\r\n0\r\n\r\n"):
                return False
            self._end = len(data)
        else:
            self._end = head + 4
        return True
