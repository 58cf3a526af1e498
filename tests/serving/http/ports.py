"""A REST port in a thread of its own, and a client that sends bytes as they are."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar

import uvloop

from serving.http.message import Answer, Limits
from serving.http.server import RestServer, serve

LIMIT_S = 30.0
T = TypeVar("T")


@dataclass(frozen=True)
class Heard:
    """One answer as it came; headers by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Port:
    """A port that answers, and the event loop that it does so on."""

    number: int
    server: RestServer
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns, run on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT_S)

    def connect(self) -> socket.socket:
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.number), LIMIT_S)

    def exchange(self, *pieces: bytes, half_close: bool = False) -> bytes:
        """Everything that the server says to these bytes until it closes the connection."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return hear_all(connection)

    def ask(self, request: bytes) -> Heard:
        """The only answer to a request, on a connection of its own."""
        with self.connect() as connection:
            connection.sendall(request)
            return hear(connection)


@contextlib.contextmanager
def listening(
    answer: Answer,
    limits: Limits | None = None,
    host: str = "127.0.0.1",
    keep: tuple[bytes, ...] = (),
    tls: ssl.SSLContext | None = None,
) -> Iterator[Port]:
    """A port on a free number, closed in the end."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started = asyncio.run_coroutine_threadsafe(
            serve(SimpleNamespace(answer=answer), host, 0, limits, keep, tls), loop
        )
        server = started.result(LIMIT_S)
        try:
            yield Port(server.port, server, loop)
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(LIMIT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LIMIT_S)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def hear_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    heard = bytearray()
    while piece := connection.recv(1 << 16):
        heard += piece
    return bytes(heard)


def hear(connection: socket.socket, method: str = "GET") -> Heard:
    """One answer, read byte by byte up to its body's end so that nothing of the next one is taken."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        assert piece, f"closed behind {bytes(head)!r}"
        head += piece
    status, headers = _head(bytes(head))
    body = bytearray()
    while method != "HEAD" and len(body) < int(headers["content-length"]):
        piece = connection.recv(int(headers["content-length"]) - len(body))
        assert piece, "the body is cut off"
        body += piece
    return Heard(status, headers, bytes(body))


def answers(heard: bytes) -> list[Heard]:
    """The answers in everything that came."""
    found = []
    while heard:
        head, _, rest = heard.partition(b"\r\n\r\n")
        status, headers = _head(head)
        size = int(headers.get("content-length", 0))
        assert len(rest) >= size, "the last body is cut off"
        found.append(Heard(status, headers, rest[:size]))
        heard = rest[size:]
    return found


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    lines = head.decode("latin-1").strip().split("\r\n")
    version, status, _ = lines[0].split(" ", 2)
    assert version == "HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert len(headers) == len(lines) - 1, "a header came twice"
    return int(status), {name.lower(): value for name, value in headers.items()}


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until something is so, and fails where it never is."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
