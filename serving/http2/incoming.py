"""Calls that a server is asked, while they come and are worked on, and what its connections have in common."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.http2.calls import Answer, Reply
from serving.http2.connection import Stream

if TYPE_CHECKING:
    from serving.http2.grpc_server import ServerConnection


@dataclass
class Shared:
    """What the connections of a port have in common.

    Attributes:
        answer: is cancelled where the client does not wait any longer.
        message_bytes: the largest message that is taken.
        now: loop's clock, as of the last look.
        received_bytes: of all messages that are not whole.
    """

    answer: Answer
    message_bytes: int
    loop: asyncio.AbstractEventLoop
    connections: "set[ServerConnection]"
    emptied: asyncio.Event
    now: float
    received_bytes: int = 0


class Incoming(Stream):
    """A call.

    Attributes:
        received: of its message, while that is not whole.
        heard: when it last went on.
        left: bytes of the answer that were unsent when that was looked at.
        task: works on it.
    """

    __slots__ = ("heard", "left", "metadata", "received", "task")

    def __init__(self, number: int, window: int, metadata: dict[bytes, bytes], now: float) -> None:
        super().__init__(number, window)
        self.metadata = metadata
        self.received = bytearray()
        self.heard = now
        self.left = 0
        self.task: asyncio.Task[Reply] | None = None
