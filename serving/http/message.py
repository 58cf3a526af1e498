"""What HTTP requests and answers are, and what one connection may ask for."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

NO_HEADERS: Mapping[bytes, bytes] = MappingProxyType({})
REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}


@dataclass(frozen=True)
class Limits:
    """What one connection may ask for.

    Attributes:
        head_bytes: request line and headers.
        body_bytes: body as it is sent.
        ahead: requests that may wait behind the one that is worked on.
        idle_s: without any request.
        head_s: from a request's first byte until its headers are complete.
        body_s: between two pieces of a body.
        write_s: during which a client takes nothing of its answer.
    """

    head_bytes: int = 64 << 10
    body_bytes: int = 256 << 20
    ahead: int = 32
    idle_s: float = 600.0
    head_s: float = 30.0
    body_s: float = 60.0
    write_s: float = 60.0


class Request(NamedTuple):
    """One request, complete.

    Attributes:
        method: as sent.
        target: path and query as sent.
        body: whole; still compressed where `encoding` says so.
        encoding: the Content-Encoding header.
        origin: the Origin header.
        headers: those that the server was told to keep, by lower-case name; of a repeated one the last.
    """

    method: str
    target: bytes
    body: bytes
    encoding: bytes
    origin: bytes
    headers: Mapping[bytes, bytes] = NO_HEADERS


class Response(NamedTuple):
    """One answer.

    Attributes:
        status: a code that has a reason phrase here.
        headers: lines with their ends; Date, Content-Length and Connection are added.
        body: empty for none.
        close: whether this is the connection's last answer.
    """

    status: int
    headers: bytes
    body: bytes
    close: bool = False


class Turn(NamedTuple):
    """One thing to write: the answer to a request, or one that is ready.

    Attributes:
        asked: either.
        last: whether the client wants, or gets, no more.
        is_1_0: whether a connection that stays open has to be announced.
    """

    asked: Request | Response
    last: bool
    is_1_0: bool


Answer = Callable[[Request], "Response | Coroutine[Any, Any, Response]"]


def page(status: int) -> Response:
    """What libevent, TF Serving's HTTP library, says where no handler is asked; it closes the connection."""
    reason = REASONS[status]
    body = (
        f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    ).encode()
    return Response(status, b"Content-Type: text/html\r\n", body, close=True)
