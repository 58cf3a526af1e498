"""Stands in for what the REST door talks to: a router by simple rules, a model server that says what it is told to."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import uvloop

from serving.gateway.access import Access
from serving.gateway.admission import Admission
from serving.gateway.exchange import Exchange, Routed
from serving.gateway.rest_front import RestFront
from serving.gateway.rest_parts import Parts
from serving.gateway.settings import Settings
from serving.gateway.shadow import Shadow
from serving.gateway.upstream_connection import Answer
from serving.http.message import Request, Response
from serving.status import Code, StatusError
from serving.traffic_plan import TrafficPlan

LIMIT_S = 30.0
JSON = b"Content-Type: application/json\r\n"
STABLE = Routed("m", "stable", 1, "stable", "key", 7, 3, 1, False)
CANARY = Routed("m", "canary", 2, "canary", "key", 7, 3, 1, False)
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, on an event loop as the gateway has one."""

    async def limited() -> T:
        async with asyncio.timeout(LIMIT_S):
            return await work

    return uvloop.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so; `run` limits the wait."""
    while not condition():
        await asyncio.sleep(0.002)


class FakeRouter:
    """The user `canary` meets the canary, everybody else stable; only the model `m` has a plan."""

    def __init__(self, stable: Routed = STABLE, canary: Routed = CANARY) -> None:
        self.stable = stable
        self.canary = canary
        self.keys: list[bytes | None] = []

    def route(self, model: str, key: bytes | None, override: bytes | None) -> Routed:
        self.keys.append(key)
        if override not in (None, b"stable", b"canary"):
            raise StatusError(Code.INVALID_ARGUMENT, "no such variant")
        if model != "m":
            return Routed(model, "", None, None, "unplanned", None, None, 0, False)
        if override is not None:
            return replace(self.canary if override == b"canary" else self.stable, how="override")
        return self.canary if key == b"canary" else self.stable

    def fallback(self, routed: Routed) -> Routed | None:
        return self.stable if routed.variant == "canary" and routed.how != "override" else None

    def shadow(self, routed: Routed) -> Routed | None:
        return self.canary


@dataclass(frozen=True)
class Asked:
    """One request as the upstream was asked."""

    method: bytes
    path: bytes
    headers: bytes
    body: bytes
    timeout_s: float


Says = Callable[[bytes], Answer | Awaitable[Answer]]


class FakeUpstream:
    """Answers by the path; an error that `says` raises is the answer too."""

    def __init__(self, says: Says) -> None:
        self.says = says
        self.asked: list[Asked] = []
        self.alive = True

    async def ask(self, method: bytes, path: bytes, headers: bytes, body: bytes, timeout_s: float) -> Answer:
        self.asked.append(Asked(method, path, headers, body, timeout_s))
        said = self.says(path)
        return said if isinstance(said, Answer) else await said

    async def answers(self) -> bool:
        return self.alive

    @property
    def paths(self) -> list[str]:
        return [one.path.decode() for one in self.asked]


class Recorded:
    """What was told of exchanges."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def record(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


class FakeMetrics:
    """Counts what was shed."""

    sheds = 0

    def shed(self, reason: str = "busy") -> None:
        self.sheds += 1

    def page(self) -> bytes:
        return b"a_metric 1\n"


class FakeCounting:
    def tallies(self) -> bytes:
        return b'{"instance": "x"}'


class FakeFeedback:
    async def answer(self, request: Request) -> Response:
        return Response(202, JSON, b"took " + request.body)


@dataclass
class FakeWatch:
    plan: TrafficPlan = field(default_factory=lambda: TrafficPlan(1))


def right(path: bytes) -> Answer:
    """A success that says what was asked."""
    return Answer(200, JSON, b"answer to " + path)


class Door:
    """A REST door with fakes behind it."""

    def __init__(self, says: Says = right, *, cors: bool = False, token: bytes | None = None, **settings: Any) -> None:
        self.router = FakeRouter()
        self.upstream = FakeUpstream(says)
        self.recorded = Recorded()
        self.admission = Admission(max_in_flight=2, max_bytes=1 << 20)
        self.metrics = FakeMetrics()
        self.shadow = Shadow(1)
        self.watch = FakeWatch()
        self.parts = Parts(
            router=self.router,
            watch=self.watch,
            upstream=self.upstream,
            recorder=self.recorded,
            admission=self.admission,
            access=Access(token),
            feedback=FakeFeedback(),
            counting=FakeCounting(),
            metrics=self.metrics,
            shadow=self.shadow,
        )
        self.front = RestFront(self.parts, Settings(**settings), cors=cors)

    async def ask(
        self, target: str, body: bytes = b"{}", method: str = "POST", encoding: bytes = b"", **headers: bytes
    ) -> Response:
        """The answer to a request; underscores in the names of headers are dashes."""
        kept = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        answer = self.front.answer(Request(method, target.encode(), body, encoding, b"", kept))
        return answer if isinstance(answer, Response) else await answer

    def say(self, target: str, body: bytes = b"{}", method: str = "POST", **headers: bytes) -> Response:
        """The same from outside of an event loop, with what it left behind done."""

        async def asked() -> Response:
            answer = await self.ask(target, body, method, **headers)
            await until(lambda: not self.shadow.in_flight)
            return answer

        return run(asked())


def headers_of(response: Response) -> dict[str, str]:
    """By lower-case name; one that comes twice is an error."""
    lines = response.headers.decode().split("\r\n")[:-1]
    found = dict(line.lower().split(": ", 1) for line in lines)
    assert len(found) == len(lines), "a header came twice"
    return found


class RawServer:
    """Says bytes: each connection is handed to `talk` in a thread of its own, and closed when that returns."""

    def __init__(self, talk: Callable[[socket.socket], None], port: int = 0) -> None:
        self.talk = talk
        self.connections = 0
        self.ended = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT_S)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.add(connection)
                self._threads.append(threading.Thread(target=self._talk, args=(connection,)))
                self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.talk(connection)
        self._open.discard(connection)
        self.ended += 1


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None], port: int = 0) -> Iterator[RawServer]:
    """See RawServer."""
    server = RawServer(talk, port)
    try:
        yield server
    finally:
        server.close()


def hear_request(connection: socket.socket) -> bytes:
    """One request with its body; empty where the client has closed."""
    heard = bytearray()
    while b"\r\n\r\n" not in heard:
        piece = connection.recv(1 << 16)
        if not piece:
            return b""
        heard += piece
    head, _, body = bytes(heard).partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    pieces = [body]
    while (got := sum(map(len, pieces))) < size:
        pieces.append(connection.recv(size - got))
        if not pieces[-1]:
            return b""
    return head + b"\r\n\r\n" + b"".join(pieces)


def wait_for_end(connection: socket.socket) -> None:
    """Waits until the client closes."""
    with contextlib.suppress(OSError):
        while connection.recv(1 << 16):
            pass


def answering(*pieces: bytes, then_close: bool = False) -> Callable[[socket.socket], None]:
    """Says these bytes to every request."""

    def talk(connection: socket.socket) -> None:
        while hear_request(connection):
            for piece in pieces:
                connection.sendall(piece)
            if then_close:
                return

    return talk
