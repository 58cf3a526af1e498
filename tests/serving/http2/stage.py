"""A connection of ours to a gRPC server that a test plays frame by frame. Not a test module."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving.http2 import frames
from serving.http2.frames import frame
from serving.http2.grpc_client import ClientConnection, LostError
from serving.http2.grpc_messages import framed
from serving.http2.hpack import Header, encode
from serving.status import Code, StatusError
from tests.serving.http2.raw import LAST, Peer
from tests.serving.model_server.grpc_running import LIMIT_S, loop

DATA, HEADERS, END = frames.DATA, frames.HEADERS, frames.END_STREAM
OK = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
GOOD = encode([(b"grpc-status", b"0")])


def headers(stream: int, *fields: Header, last: bool = False) -> bytes:
    return frame(HEADERS, LAST if last else frames.END_HEADERS, stream, encode(fields) if fields else OK)


def good(stream: int, message: bytes = b"said") -> bytes:
    return headers(stream) + frame(DATA, 0, stream, framed(message)) + frame(HEADERS, LAST, stream, GOOD)


@dataclass
class Stage:
    """A connection of ours and the server that is played."""

    client: ClientConnection
    server: Peer
    lost: list[Any] = field(default_factory=list)

    def ask(self, message: bytes = b"ask", timeout_s: float = 20.0) -> "Future[bytes]":
        """Begins a call; the server has its frames to read."""

        async def begin() -> tuple[int, Any]:
            return self.client.ask("/test.Echo/Say", message, timeout_s)

        async def wait() -> bytes:
            try:
                content: bytes = await answer
            except BaseException:
                self.client.drop(call)
                raise
            return content

        call, answer = loop().run(begin())  # before the server says anything to it
        return asyncio.run_coroutine_threadsafe(wait(), loop().loop)

    def on_loop(self, work: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return work()

        return loop().run(run())


def refusal(answer: "Future[bytes]") -> tuple[Code, str]:
    with pytest.raises(StatusError) as caught:
        answer.result(LIMIT_S)
    return caught.value.code, caught.value.message


def loss(answer: "Future[bytes]") -> bool:
    """Whether the lost call was untouched."""
    with pytest.raises(LostError) as caught:
        answer.result(LIMIT_S)
    return caught.value.untouched


def has_room(stage: Stage) -> bool:
    return bool(stage.on_loop(lambda: stage.client.has_room))
