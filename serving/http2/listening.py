"""The listening gRPC port."""

import asyncio
import socket
import ssl

from serving.http2.calls import Answer
from serving.http2.grpc_server import ServerConnection
from serving.http2.incoming import Shared
from serving.status import Code, StatusError

BACKLOG = 1024  # connections that wait to be accepted
LOOK_S = 1.0  # between two looks at the connections' limits
FAREWELL_S = 1.0  # for a client to take note that it is to open no more streams


class GrpcPort:
    """A port that answers. Made by `serve`."""

    def __init__(self, shared: Shared, server: asyncio.Server, port: int) -> None:
        self.port = port
        self._shared = shared
        self._server = server
        self._timer = shared.loop.call_later(LOOK_S, self._look)

    async def close(self, grace_s: float = 0.0) -> None:
        """Takes no more connections, answers what is under way, then closes all.

        Args:
            grace_s: after which calls that are still under way are dropped.
        """
        shared = self._shared
        self._server.close()
        for connection in tuple(shared.connections):
            connection.drain()
        end = shared.loop.time() + grace_s
        if not await self._empty(min(FAREWELL_S, grace_s)):
            for connection in tuple(shared.connections):
                connection.refuse_more()
        if not await self._empty(end - shared.loop.time()):
            for connection in tuple(shared.connections):
                connection.abort()
            await self._empty(None)
        self._timer.cancel()
        await self._server.wait_closed()

    async def _empty(self, limit_s: float | None) -> bool:
        """Waits until there is no connection, and says whether that is so."""
        shared = self._shared
        if shared.connections:
            shared.emptied.clear()
            try:
                await asyncio.wait_for(shared.emptied.wait(), limit_s)
            except TimeoutError:
                return not shared.connections
        return True

    def _look(self) -> None:
        shared = self._shared
        self._timer = shared.loop.call_later(LOOK_S, self._look)
        shared.now = shared.loop.time()
        for connection in tuple(shared.connections):
            connection.check()


async def serve(
    answer: Answer, host: str, port: int, message_bytes: int, tls: ssl.SSLContext | None = None
) -> GrpcPort:
    """Listens and answers on the running event loop.

    Args:
        host: name or address, one in brackets too.
        port: 0 lets the system choose; see `GrpcPort.port`.
        message_bytes: the largest message that is taken.
        tls: with h2 among its ALPN protocols; None speaks plain text.

    Raises:
        StatusError: INVALID_ARGUMENT: no such host. UNAVAILABLE: the port is taken or not allowed.
    """
    loop = asyncio.get_running_loop()
    listener = _listen(host, port)
    shared = Shared(answer, message_bytes, loop, set(), asyncio.Event(), loop.time())
    try:
        server = await loop.create_server(lambda: ServerConnection(shared), sock=listener, backlog=BACKLOG, ssl=tls)
    except BaseException:
        listener.close()
        raise
    return GrpcPort(shared, server, listener.getsockname()[1])


def _listen(host: str, port: int) -> socket.socket:
    bare = host.removeprefix("[").removesuffix("]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bare, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise StatusError(Code.INVALID_ARGUMENT, f"gRPC cannot listen on {host}:{port}: no such host") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # calls may be rare, and clients gone
        if family == socket.AF_INET6 and bare == "::" and socket.has_dualstack_ipv6():
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StatusError(Code.UNAVAILABLE, f"gRPC cannot listen on {host}:{port}: {error.strerror}") from error
    return listener
