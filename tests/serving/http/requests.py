"""Requests as bytes and handlers that say what was asked, for the tests of the connection."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from serving.http.message import Limits, Request, Response
from tests.serving.http.ports import Port

HASTY = Limits(idle_s=0.2, head_s=0.2, body_s=0.2, write_s=0.2)


def echo(request: Request) -> Response:
    """Says what was asked."""
    body = b"%b %b %b %b" % (request.method.encode(), request.target, request.encoding + request.origin, request.body)
    return Response(200, b"Content-Type: text/plain\r\n", body)


class Waiting:
    """Answers each request as `echo` does, but when it is told to."""

    def __init__(self) -> None:
        self.begun: list[Request] = []
        self.cancelled = 0
        self._going = asyncio.Event()

    def answer(self, request: Request) -> Coroutine[Any, Any, Response]:
        """What a connection asks."""
        self.begun.append(request)
        return self._answer(request)

    async def _answer(self, request: Request) -> Response:
        try:
            await self._going.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return echo(request)

    def go(self, port: Port) -> None:
        """Lets every request be answered."""
        port.loop.call_soon_threadsafe(self._going.set)


def post(body: bytes, *headers: str, target: str = "/x", version: str = "1.1") -> bytes:
    """A POST request with a Content-Length."""
    lines = [f"POST {target} HTTP/{version}", "Host: h", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


LAST = "Connection: close"
