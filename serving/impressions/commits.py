"""Group commit: whatever came while the disk was busy goes to the journal in one write and one sync."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from serving.impressions.journal import Journal


class FullError(Exception):
    """More is waiting than may."""


class _Waiting(NamedTuple):
    line: bytes
    done: "asyncio.Future[None]"


class Commits:
    """Appends to the journal for one event loop, in a thread."""

    def __init__(
        self, journal: Journal, most_waiting: int, most_bytes: int, noted: Callable[[OSError | None], None]
    ) -> None:
        """
        Args:
            most_waiting, most_bytes: lines that may wait for the disk.
            noted: told, in the thread, of every failure, and with None of every success.
        """
        self._journal = journal
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._noted = noted
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="feedback-commits", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    async def append(self, line: bytes) -> None:
        """Returns when the line is on disk.

        Raises:
            FullError: too much is waiting.
            OSError: it could not be written.
        """
        done = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closing or len(self._waiting) >= self._most_waiting or self._bytes + len(line) > self._most_bytes:
                raise FullError
            self._waiting.append(_Waiting(line, done))
            self._bytes += len(line)
            self._changed.notify()
        await done

    def close(self, limit_s: float) -> None:
        """Commits what is waiting, for at most so long; takes no more."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(limit_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                taken, self._waiting = self._waiting, deque()
                self._bytes = 0
            self._commit(taken)

    def _commit(self, taken: deque[_Waiting]) -> None:
        error: OSError | None = None
        try:
            self._journal.append(b"".join(one.line for one in taken))
        except OSError as raised:
            error = raised
        self._noted(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            taken[0].done.get_loop().call_soon_threadsafe(_tell, taken, error)


def _tell(taken: deque[_Waiting], error: OSError | None) -> None:
    for one in taken:
        if one.done.done():  # its client has gone
            continue
        if error is None:
            one.done.set_result(None)
        else:
            one.done.set_exception(error)
