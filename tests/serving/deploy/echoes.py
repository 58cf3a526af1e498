"""Model servers that are none: they say who they are and what they were asked. Not a test module."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from serving.http.message import Answer, Request, Response
from serving.http.server import serve
from tests.serving.model_server.conformance.process import free_port

JSON = b"Content-Type: application/json\r\n"
REQUEST_ID = b"x-request-id"


class Echo:
    """One server with both protocols.

    Attributes:
        name: what it says it is.
        status: of its REST answers.
        code: of its gRPC answers.
        mute: whether it takes REST requests and never answers.
        asked: REST paths and gRPC methods, as they came.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = 200
        self.code = grpc.StatusCode.OK
        self.mute = False
        self.asked: list[str] = []
        self.rest_port, self.grpc_port = free_port(), free_port()
        self.start()

    @property
    def rest(self) -> str:
        return f"127.0.0.1:{self.rest_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def answer(self) -> Answer:
        return self._answer

    def start(self) -> None:
        """On the same ports as ever."""
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(started,))
        self._thread.start()
        # Without SO_REUSEPORT, so that two servers never share a port unseen.
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Methods(self),))
        assert self._server.add_insecure_port(self.grpc)
        self._server.start()
        assert started.wait(10)

    def stop(self) -> None:
        """Nobody listens any more."""
        self._server.stop(None).wait()
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def well(self) -> None:
        """Answers well again, and has been asked nothing."""
        self.status, self.code, self.mute = 200, grpc.StatusCode.OK, False
        self.asked.clear()

    def _run(self, started: threading.Event) -> None:
        async def listen() -> None:
            self._end = asyncio.Event()
            server = await serve(self, "127.0.0.1", self.rest_port, keep=(REQUEST_ID,))
            started.set()
            await self._end.wait()
            await server.close()

        with contextlib.closing(self._loop):
            self._loop.run_until_complete(listen())

    async def _answer(self, request: Request) -> Response:
        self.asked.append(request.target.decode())
        if self.mute:
            await self._end.wait()
        said = {
            "by": self.name,
            "path": request.target.decode(),
            "bytes": len(request.body),
            "id": request.headers.get(REQUEST_ID, b"").decode(),
        }
        return Response(self.status, JSON, json.dumps(said).encode())


class _Methods(grpc.GenericRpcHandler):
    """Any method: bytes in, the server's name out."""

    def __init__(self, echo: Echo) -> None:
        self._echo = echo

    def service(self, details: Any) -> Any:
        def answer(request: bytes, context: Any) -> bytes:
            self._echo.asked.append(details.method)
            if self._echo.code is not grpc.StatusCode.OK:
                context.abort(self._echo.code, f"{self._echo.name} fails")
            return f"{self._echo.name} {len(request)}".encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@contextlib.contextmanager
def echo(name: str) -> Iterator[Echo]:
    """A server for the length of a `with`."""
    made = Echo(name)
    try:
        yield made
    finally:
        made.stop()
