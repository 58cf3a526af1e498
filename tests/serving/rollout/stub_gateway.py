"""A gateway that says what a test wants of its tallies. Not a test module."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving.tallies import Tally, TallyKey, to_json

MODEL, ROLLOUT = "clicks", 3
Answer = Callable[[BaseHTTPRequestHandler], None]


def key(variant: str = "stable", /, **changes: Any) -> TallyKey:
    """Of the rollout's first step."""
    known = {
        "model": MODEL,
        "rollout": ROLLOUT,
        "step": 1,
        "variant": variant,
        "version": 8 if variant == "canary" else 7,
    }
    return TallyKey(**{**known, **changes})


def content(instance: str, tallies: Mapping[TallyKey, Tally]) -> Answer:
    """A good answer."""
    return raw(to_json(instance, tallies))


def raw(body: bytes, status: int = 200, length: int | None = None) -> Answer:
    """Any body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@dataclass
class StubGateway:
    """What it answers, and what it was asked."""

    port: int
    answer: Answer
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def stub(
    answer: Answer, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[StubGateway]:
    """One that runs in this process."""

    open_now: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            open_now.append(self.connection)

        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers["Host"]))
            try:
                made.answer(self)
            except OSError:  # who asked has gone
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    made = StubGateway(server.server_address[1], answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for connection in open_now:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
