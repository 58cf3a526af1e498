"""Shadow mode: copies of requests, sent to the canary in the background. Nobody waits for them, nobody sees the answer.

Copies never queue: they are of use only while they cost users nothing, so those beyond the limit are dropped, and
counted.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Shadow:
    """The copies under way, of both front ends. Of one event loop."""

    def __init__(self, max_in_flight: int = 64, dropped: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            max_in_flight: copies at a time; 0 for none.
            dropped: called for each that is dropped.
        """
        self._max_in_flight = max_in_flight
        self._on_drop = dropped
        self._tasks: set[asyncio.Task[None]] = set()
        self._dropped = 0

    @property
    def in_flight(self) -> int:
        """Copies under way."""
        return len(self._tasks)

    @property
    def dropped(self) -> int:
        """Copies that were not sent because too many were under way."""
        return self._dropped

    def run(self, copy: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Begins a copy, after what the caller still does for the user's own answer; whether it was taken.

        Args:
            copy: makes the coroutine; an error that it raises is logged.
        """
        if len(self._tasks) >= self._max_in_flight:
            self._dropped += 1
            self._on_drop()
            return False
        task = asyncio.get_running_loop().create_task(copy())
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return True

    async def close(self) -> None:
        """Drops what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A copy for the canary failed because of a defect of this gateway.", exc_info=error)
