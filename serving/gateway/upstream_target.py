"""One model server's REST port, as the pool of `upstream_http` sees it: its connections, and whether it is away."""

import asyncio
from collections import deque
from urllib.parse import urlsplit

from serving.errors import InputError
from serving.gateway.upstream_connection import Connection

BACK_OFF_S = 0.1  # after a server's first refusal, twice as long after each further one, up to the longest
LONGEST_BACK_OFF_S = 1.0


class Target:
    """One model server, as the pool sees it.

    Attributes:
        name: host:port.
        idle: connections that can be used, the last used last.
        all: those that are open.
        slots: how many are open or being opened.
        down_until: loop's clock; it is not asked before.
        waiting: for a connection, or (None) for a slot to open one in.
    """

    def __init__(self, address: str) -> None:
        self.name, self.host, self.port = _parsed(address)
        self.host_line = b"Host: %b\r\n" % self.name.encode()
        self.idle: list[Connection] = []
        self.all: set[Connection] = set()
        self.slots = 0
        self.down_until = 0.0
        self.waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._back_off_s = BACK_OFF_S

    def refused(self, now: float) -> None:
        """It could not be connected to; what comes of several attempts at a time counts once."""
        if now >= self.down_until:
            self.down_until = now + self._back_off_s
            self._back_off_s = min(LONGEST_BACK_OFF_S, 2 * self._back_off_s)

    def accepted(self) -> None:
        """It could be connected to."""
        self.down_until = 0.0
        self._back_off_s = BACK_OFF_S

    def give(self, connection: Connection) -> None:
        """Takes back a connection, for whoever has waited longest."""
        if not connection.usable:
            connection.close()
        elif not self._hand_on(connection):
            self.idle.append(connection)

    def lose(self, connection: Connection) -> None:
        """Forgets a connection that has ended. (One that ended while it was being opened is not among them yet.)"""
        if connection in self.all:
            self.all.remove(connection)
            if connection in self.idle:
                self.idle.remove(connection)
            self.free()

    def free(self) -> None:
        """A slot is free."""
        if not self._hand_on(None):
            self.slots -= 1

    def _hand_on(self, connection: Connection | None) -> bool:
        while self.waiting:
            waiting = self.waiting.popleft()
            if not waiting.done():
                waiting.set_result(connection)
                return True
        return False


def _parsed(address: str) -> tuple[str, str, int]:
    """Name, host and port of an address.

    Raises:
        InputError: it is none.
    """
    try:
        is_url = "://" in address
        parts = urlsplit(address if is_url else f"//{address}", "http")
        host, port = parts.hostname, parts.port or (80 if is_url and parts.port is None else None)
    except ValueError:
        host = port = None
    bare = host and port and parts.scheme == "http" and not parts.username and parts.path in ("", "/")
    if not bare or parts.query or parts.fragment or not host or not port:
        raise InputError(f"{address!r} is not the address of a model server's REST port: write host:port")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", host, port
