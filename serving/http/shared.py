"""The clock, the limits and the list of connections of one REST port."""

import asyncio
import time
from collections.abc import Collection
from email.utils import formatdate
from typing import TYPE_CHECKING

from serving.http.message import Answer, Limits

if TYPE_CHECKING:
    from serving.http.connection import Connection

NOTED = (b"content-encoding", b"origin", b"expect", b"content-length")  # headers that connections act on


class Shared:
    """What the connections of one server have in common.

    Attributes:
        answer: called with each request; what it returns at once, or a coroutine for it. It raises nothing.
        keep: lower-case names of the headers that requests carry.
        noted_lengths: of the names of all headers that are looked at.
        now: seconds, as of the last `tick`: exact enough for limits of seconds, and free.
        closing: whether every answer is its connection's last.
        emptied: set when the last connection ends.
    """

    def __init__(
        self, answer: Answer, limits: Limits, loop: asyncio.AbstractEventLoop, keep: Collection[bytes] = ()
    ) -> None:
        self.answer = answer
        self.limits = limits
        self.keep = frozenset(keep)
        self.noted_lengths = frozenset(map(len, (*NOTED, *keep)))
        self.loop = loop
        self.connections: set[Connection] = set()
        self.closing = False
        self.emptied = asyncio.Event()
        self.now = 0.0
        self.date = b""
        self.tick()

    def lose(self, connection: "Connection") -> None:
        """Forgets a connection that has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self.emptied.set()

    def tick(self) -> None:
        """Sets the clock and ends connections that are over a limit."""
        self.now = time.monotonic()
        self.date = f"Date: {formatdate(usegmt=True)}\r\n".encode()
        for connection in tuple(self.connections):
            connection.check()
