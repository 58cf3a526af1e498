"""gRPC servers of ours in a thread of the test's process. Not a test module."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, TypeVar

import uvloop

from serving.model_server.grpc_server import GrpcServer, Listening, serve

T = TypeVar("T")
LIMIT_S = 60.0  # for what a test waits for
LOCAL = ("127.0.0.1:0",)


class Loop:
    """An event loop in a thread of its own, of the kind that the server has.

    One for all tests: grpc.aio keeps its queue with the first loop that it sees.
    """

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="test-loop", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What it returns or raises."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT_S)


_LOOP: list[Loop] = []


def loop() -> Loop:
    """The one of this process."""
    if not _LOOP:
        _LOOP.append(Loop())
    return _LOOP[0]


@contextlib.contextmanager
def running(handlers: Sequence[Any], listening: Listening | None = None) -> Generator[GrpcServer]:
    """A server that serves them; on a free port of this machine unless `listening` says otherwise."""
    server = loop().run(serve(handlers, listening or Listening(LOCAL)))
    try:
        yield server
    finally:
        loop().run(server.stop(0))
