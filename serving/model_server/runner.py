"""Threads that run models, so that the event loop never waits for one.

`loop.run_in_executor` would do it too; each of its calls makes two futures and two wake-ups, which is more than a small
model takes (half-plus-two: 8 us). Here a call is one queue entry and one wake-up of the loop.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from serving.status import Code, StatusError

T = TypeVar("T")
_Work = tuple[Callable[[], object], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Runner:
    """A fixed number of daemon threads that take work from one queue."""

    def __init__(self, threads: int, name: str) -> None:
        """
        Args:
            threads: at least 1.
            name: prefix of the threads' names.
        """
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._take, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[[], T], timeout_s: float | None = None) -> T:
        """What `work` returns or raises, from one of the threads.

        Raises:
            StatusError: DEADLINE_EXCEEDED after `timeout_s` seconds. Work that had not begun is dropped then; work
                under way goes on, since TensorFlow cannot be stopped inside an operation, and its result is dropped.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put((work, future, loop))
        if timeout_s is None:
            return await future
        timer = loop.call_later(timeout_s, _expire, future, timeout_s)
        try:
            return await future
        finally:
            timer.cancel()

    def close(self) -> None:
        """Lets the threads end after what is queued; does not wait for them."""
        for _ in self._threads:
            self._queue.put(None)

    def _take(self) -> None:
        while (entry := self._queue.get()) is not None:
            work, future, loop = entry
            if future.done():  # expired or cancelled while it waited
                continue
            try:
                result, error = work(), None
            except BaseException as raised:  # it is the caller's, in another thread
                result, error = None, raised
            del entry, work
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop has closed: nobody waits any more
                return


def _settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _expire(future: "asyncio.Future[Any]", timeout_s: float) -> None:
    if not future.done():
        future.set_exception(StatusError(Code.DEADLINE_EXCEEDED, f"Timed out after {timeout_s:g} s."))
