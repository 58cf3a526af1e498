"""How much the gateway takes on at a time, over REST and gRPC together: what is more is refused, not queued."""

import asyncio
import contextlib
from dataclasses import dataclass

from serving.status import Code

RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken.

    Attributes:
        code: RESOURCE_EXHAUSTED (429), this gateway has too much to do; UNAVAILABLE (503), it is stopping, so that
            another one is to be asked.
        message: for the client.
        retry_after_s: whole seconds, for the header of that name.
    """

    code: Code
    message: str
    retry_after_s: int = RETRY_AFTER_S


_STOPPING = Refusal(Code.UNAVAILABLE, "The gateway is stopping")


class Admission:
    """Counts what is under way. Of one event loop; each `enter` that gives None needs one `leave`."""

    def __init__(self, max_in_flight: int = 1024, max_bytes: int = 1 << 30) -> None:
        """
        Args:
            max_in_flight: requests at a time.
            max_bytes: of their bodies together; a single larger one is taken when there is no other.
        """
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._in_flight = 0
        self._bytes = 0
        self._closed = False
        self._emptied = asyncio.Event()
        self._too_many = Refusal(Code.RESOURCE_EXHAUSTED, f"{max_in_flight} requests are under way, which is the limit")
        self._too_large = Refusal(
            Code.RESOURCE_EXHAUSTED, f"Requests of {max_bytes >> 20} MiB are under way, which is the limit"
        )

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self._in_flight

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closed

    def enter(self, size_bytes: int = 0) -> Refusal | None:
        """Takes a request, or says why not.

        Args:
            size_bytes: of its body; the same is told to `leave`.
        """
        if self._closed:
            return _STOPPING
        if self._in_flight >= self._max_in_flight:
            return self._too_many
        if self._bytes + size_bytes > self._max_bytes and self._in_flight:
            return self._too_large
        self._in_flight += 1
        self._bytes += size_bytes
        return None

    def leave(self, size_bytes: int = 0) -> None:
        """Ends one that was taken."""
        self._in_flight -= 1
        self._bytes -= size_bytes
        if self._closed and not self._in_flight:
            self._emptied.set()

    def close(self) -> None:
        """Takes nothing more."""
        self._closed = True
        if not self._in_flight:
            self._emptied.set()

    async def drained(self, limit_s: float) -> bool:
        """Waits after `close` until nothing is under way; whether that was so within the limit."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._emptied.wait(), limit_s)
        return not self._in_flight
