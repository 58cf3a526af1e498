"""What waits to be batched: the requests of one signature, in batches of which the last is open to more."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence

from serving.model_server.batch_shapes import Outcome
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.servable import Feeds, Fetches, Session
from serving.model_server.signature import Array
from serving.status import Code, StatusError

Answer = asyncio.Future[list[Array]]

FULL = "The batch scheduling queue to which this task was submitted is full"


class Task:
    """One request, or a part of one, that waits for its batch."""

    __slots__ = ("dispatched", "feeds", "future", "order", "rows", "since_s", "timer")

    def __init__(self, feeds: Feeds, rows: int, order: Sequence[int] | None, future: Answer) -> None:
        self.feeds = feeds
        self.rows = rows
        self.order = order  # of what it fetches among the queue's fetches; None: the same
        self.future = future
        self.since_s = time.perf_counter()
        self.timer: asyncio.TimerHandle | None = None
        self.dispatched = False

    def settle(self, outcome: Outcome) -> None:
        """Answers the request, unless its caller has gone."""
        self.drop_timer()
        if self.future.done():
            return
        if isinstance(outcome, StatusError):
            # Callers add their frames to what they raise, so each gets an error of its own.
            error = StatusError(outcome.code, outcome.message)
            error.__cause__ = outcome.__cause__
            self.future.set_exception(error)
        elif self.order is None:
            self.future.set_result(outcome)
        else:
            self.future.set_result([outcome[place] for place in self.order])

    def expire(self, timeout_s: float) -> None:
        """Answers that time is up: while it waits as upstream does, during the run as a session does."""
        if self.future.done():
            return
        if self.dispatched:
            error = StatusError(Code.DEADLINE_EXCEEDED, f"Timed out after {timeout_s:g} s.")
        else:
            error = StatusError(Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue")
        self.future.set_exception(error)

    def drop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Batch:
    __slots__ = ("ready", "rows", "tasks", "timer")

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.rows = 0
        self.ready = False  # may run
        self.timer: asyncio.TimerHandle | None = None


class Queue:
    """The batches of one signature of one version that wait for a thread; only the last is open."""

    def __init__(self, session: Session, fetches: Fetches, parameters: BatchingParameters) -> None:
        self.session = session
        self.fetches = tuple(fetches)
        self.parameters = parameters
        self.splitting = parameters.enable_large_batch_splitting
        self.batch_rows = parameters.execution_batch_size
        self.most_batches = parameters.max_enqueued_batches
        # Loops round a delay to whole milliseconds, to 0 below half of one; upstream looks every millisecond, too.
        self.timeout_s = math.ceil(parameters.batch_timeout_micros / 1000) / 1000
        self.batches: deque[Batch] = deque()

    def admit(self, rows: int) -> int:
        """The rows that the open batch still takes, if there is room for a request.

        Raises:
            StatusError: INVALID_ARGUMENT for more rows than a request may have, UNAVAILABLE if the queue is full.
        """
        longest = self.parameters.max_batch_size
        if rows > longest:
            message = f"Task size {rows} is larger than maximum input batch size {longest}"
            raise StatusError(Code.INVALID_ARGUMENT, message)
        waiting = len(self.batches) or 1  # an open batch counts, empty or not
        free = self.batch_rows - self.batches[-1].rows if self.batches else self.batch_rows
        if self.splitting:
            capacity = (self.most_batches - waiting) * self.batch_rows + free
            if rows > capacity:
                message = (
                    f"{FULL}; task size is {rows} but scheduling capacity is only {capacity} "
                    f"(num_enqueued_batches={waiting}, max_enqueued_batches={self.most_batches}, "
                    f"open_batch_size={self.batch_rows - free}, max_execution_batch_size={self.batch_rows})"
                )
                raise StatusError(Code.UNAVAILABLE, message)
        elif rows > free and waiting >= self.most_batches:
            message = f"{FULL}; currently {waiting} batches enqueued and max_enqueued_batches is {self.most_batches}"
            raise StatusError(Code.UNAVAILABLE, message)
        return free

    def parts(self, rows: int, free: int) -> list[int]:
        """The rows of the pieces that a request is cut into so that they fill up batches, the open one first."""
        first = min(rows, free or self.batch_rows)
        whole, rest = divmod(rows - first, self.batch_rows)
        return [first] + [self.batch_rows] * whole + ([rest] if rest else [])

    def order(self, fetches: Fetches) -> Sequence[int] | None:
        """Where the fetches of a request are among the queue's; None: they are the same."""
        if tuple(fetches) == self.fetches:
            return None
        return [self.fetches.index(name) for name in fetches]
