"""The listening REST port."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Collection
from typing import Protocol

from serving.http.connection import Connection
from serving.http.message import Answer, Limits
from serving.http.shared import Shared
from serving.status import Code, StatusError

BACKLOG = 1024  # connections that wait to be accepted
LONGEST_TICK_S = 1.0


class Handler(Protocol):
    """What answers requests: serving.model_server.rest.handler.Handler."""

    @property
    def answer(self) -> Answer: ...


class RestServer:
    """A port that answers. Made by `serve`."""

    def __init__(self, shared: Shared, server: asyncio.Server, port: int) -> None:
        self.port = port
        self._shared = shared
        self._server = server
        limits = shared.limits
        self._tick_s = min(LONGEST_TICK_S, limits.idle_s / 4, limits.head_s / 4, limits.body_s / 4, limits.write_s / 4)
        self._timer = shared.loop.call_later(self._tick_s, self._tick)

    @property
    def connections(self) -> frozenset[Connection]:
        """Those that are open."""
        return frozenset(self._shared.connections)

    async def close(self, grace_s: float = 0.0) -> None:
        """Takes no more connections, answers what is under way, then closes all.

        Args:
            grace_s: after which requests that are still under way are dropped.
        """
        shared = self._shared
        self._server.close()
        shared.closing = True
        for connection in tuple(shared.connections):
            connection.close_when_done()
        for limit_s in (grace_s, None):
            if shared.connections:
                shared.emptied.clear()
                try:
                    await asyncio.wait_for(shared.emptied.wait(), limit_s)
                except TimeoutError:
                    for connection in tuple(shared.connections):
                        connection.abort()
        self._timer.cancel()
        await self._server.wait_closed()

    def _tick(self) -> None:
        self._timer = self._shared.loop.call_later(self._tick_s, self._tick)
        self._shared.tick()


async def serve(
    handler: Handler,
    host: str,
    port: int,
    limits: Limits | None = None,
    keep: Collection[bytes] = (),
    tls: ssl.SSLContext | None = None,
) -> RestServer:
    """Listens and answers on the running event loop.

    Args:
        handler: see there.
        host: name or address; `::` (also `[::]`) means every interface, IPv4 and IPv6, or IPv4 alone where there is no
            IPv6.
        port: 0 lets the system choose; see `RestServer.port`.
        limits: of a connection.
        keep: lower-case names of the headers that requests shall carry.
        tls: None speaks plain text.

    Raises:
        StatusError: INVALID_ARGUMENT: no such host. UNAVAILABLE: the port is taken or not allowed.
    """
    loop = asyncio.get_running_loop()
    listener = _listen(host, port)
    shared = Shared(handler.answer, limits or Limits(), loop, keep)
    try:
        server = await loop.create_server(lambda: Connection(shared), sock=listener, backlog=BACKLOG, ssl=tls)
    except BaseException:
        listener.close()
        raise
    return RestServer(shared, server, listener.getsockname()[1])


def _listen(host: str, port: int) -> socket.socket:
    bare = host.removeprefix("[").removesuffix("]")
    any_address = bare in ("", "::")
    if any_address and not socket.has_dualstack_ipv6():
        bare = "0.0.0.0"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bare or "::", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise StatusError(Code.INVALID_ARGUMENT, f"REST cannot listen on {host}:{port}: no such host") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if any_address and family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except OSError as error:
        listener.close()
        advice = "; another process has it, choose another port" if error.errno == errno.EADDRINUSE else ""
        reason = os.strerror(error.errno or 0)
        raise StatusError(Code.UNAVAILABLE, f"REST cannot listen on {host}:{port}: {reason}{advice}") from error
    return listener
