"""Requests gathered into batches, as TF Serving's BatchingSession over a SharedBatchScheduler gathers them.

Each signature of each loaded version has a queue of batches, of which the last is open to further requests. A batch
may run when it is full, when a later one had to be begun, or when it has waited its time-out; a free batch thread takes
the next such batch, going round the queues. With a time-out of 0 a batch may run at once, and batches grow while every
thread is busy.

All of that is the event loop's alone: no locks. A thread's place in the loop is one task that takes a batch, has it run
(serving.model_server.batch_shapes) and settles the futures of its requests, so a request costs no task of its own.
"""

import asyncio
import functools
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

import numpy as np

from serving.model_server.batch_queue import Answer, Batch, Queue, Task
from serving.model_server.batch_shapes import Outcome, execute, row_count, slices
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.runner import Runner
from serving.model_server.servable import Feeds, Fetches, Run, Session
from serving.model_server.signature import Array, Signature
from serving.status import Code, StatusError, from_exception

logger = logging.getLogger(__name__)

BYPASS_LOG_S = 120.0  # between two lines about requests that fit no signature


class Counter(Protocol):
    def add(self, *labels: str, by: int = 1) -> None: ...


class Histogram(Protocol):
    def observe(self, *labels: str, value: float) -> None: ...


class Metrics(Protocol):
    """What is counted; serving.model_server.metrics.Metrics has them all. Latencies in microseconds, sizes in rows."""

    @property
    def queuing_latency(self) -> Histogram: ...  # of requests; label: the name of the batch threads

    @property
    def wrapped_run_count(self) -> Counter: ...  # runs of batches

    @property
    def padding_size(self) -> Histogram: ...  # of batches; label: the rows of the batch with its padding

    @property
    def input_batch_size(self) -> Histogram: ...  # of requests

    @property
    def processed_batch_size(self) -> Histogram: ...  # of batches, padding included


class BatchScheduler:
    """Runs the requests of all servables in batches on one set of threads. For one event loop."""

    def __init__(self, parameters: BatchingParameters, metrics: Metrics, runner: Runner | None = None) -> None:
        """
        Args:
            parameters: the threads, and how batches are made unless `run_for` is told otherwise.
            metrics: what is counted.
            runner: runs requests that are not batched; the batch threads do where there is none.
        """
        self._parameters = parameters
        self._metrics = metrics
        self._threads = Runner(parameters.num_batch_threads, parameters.thread_pool_name)
        self._runner = runner or self._threads
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._idle: list[asyncio.Future[None]] = []  # each wakes a worker
        self._waiting: deque[Queue] = deque()  # the queues that are not empty; the first is asked next
        self._closed = False
        self._bypass_logged_s = -math.inf

    def run_for(
        self, session: Session, signatures: Mapping[str, Signature], parameters: BatchingParameters | None = None
    ) -> Run:
        """How requests reach a session from the event loop, batched where they feed and fetch what a signature names.

        Any other request runs by itself. May be called in any thread; what it returns in the event loop's only.

        Args:
            session: what runs.
            signatures: by key.
            parameters: for this session; the threads and their name are always the scheduler's.
        """
        parameters = parameters or self._parameters
        queues = {}
        for signature in signatures.values():
            fetches = list(dict.fromkeys(info.tensor for info in signature.outputs.values()))
            key = frozenset(info.tensor for info in signature.inputs.values()), frozenset(fetches)
            queues[key] = Queue(session, fetches, parameters)

        def run(feeds: Feeds, fetches: Fetches, timeout_s: float | None) -> Awaitable[list[Array]]:
            queue = queues.get((frozenset(feeds), frozenset(fetches)))
            if queue is None:
                return self._bypass(session, feeds, fetches, timeout_s)
            return self._submit(queue, feeds, fetches, timeout_s)

        return run

    def close(self) -> None:
        """Fails what waits with UNAVAILABLE and refuses what comes; batches under way are still answered."""
        self._closed = True
        for queue in self._waiting:
            for batch in queue.batches:
                if batch.timer is not None:
                    batch.timer.cancel()
                for task in batch.tasks:
                    task.settle(_closed())
            queue.batches.clear()
        self._waiting.clear()
        for waiter in self._idle:
            if not waiter.done():
                waiter.set_result(None)
        self._threads.close()

    def _submit(self, queue: Queue, feeds: Feeds, fetches: Fetches, timeout_s: float | None) -> Answer:
        rows = row_count(feeds)
        # Upstream counts the number once for each input. The distribution is the same, and with eight inputs that would
        # cost more than the rest of this function.
        self._metrics.input_batch_size.observe(value=rows)
        if self._closed:
            raise _closed()
        free = queue.admit(rows)
        order = queue.order(fetches)
        if rows <= free or not queue.splitting:
            return self._put(queue, feeds, rows, order, timeout_s)
        parts = queue.parts(rows, free)
        cut = [{name: array[place] for name, array in feeds.items()} for place in slices(parts)]
        return _joined([self._put(queue, *part, order, timeout_s) for part in zip(cut, parts, strict=True)])

    def _put(
        self, queue: Queue, feeds: Feeds, rows: int, order: Sequence[int] | None, timeout_s: float | None
    ) -> Answer:
        loop = self._loop or self._start()
        task = Task(feeds, rows, order, loop.create_future())
        if timeout_s is not None:
            task.timer = loop.call_later(timeout_s, task.expire, timeout_s)
        batches = queue.batches
        if not batches:
            self._waiting.append(queue)
        if not batches or batches[-1].rows + rows > queue.batch_rows:
            if batches:
                self._announce(batches[-1])
            batch = Batch()
            batches.append(batch)
            if queue.timeout_s:
                batch.timer = loop.call_later(queue.timeout_s, self._announce, batch)
            else:
                self._announce(batch)
        batch = batches[-1]
        batch.tasks.append(task)
        batch.rows += rows
        if batch.rows >= queue.batch_rows:
            self._announce(batch)
        return task.future

    def _announce(self, batch: Batch) -> None:
        """Lets a batch run; wakes a worker for it if one is idle."""
        if batch.ready:
            return
        batch.ready = True
        if batch.timer is not None:
            batch.timer.cancel()
        # The worker comes to it after the loop's ready callbacks, so that what these submit is in the same batch.
        while self._idle:
            waiter = self._idle.pop()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = self._loop = asyncio.get_running_loop()
        self._workers = [loop.create_task(self._work(loop)) for _ in range(self._parameters.num_batch_threads)]
        return loop

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop's side of one batch thread."""
        while True:
            if (taken := self._take()) is not None:
                await self._execute(*taken)
                continue
            if self._closed:
                return
            waiter = loop.create_future()
            self._idle.append(waiter)
            await waiter

    def _take(self) -> tuple[Queue, list[Task]] | None:
        """The next batch that may run, without requests whose callers have gone; each queue has its turn."""
        for _ in range(len(self._waiting)):
            queue = self._waiting.popleft()
            tasks: list[Task] = []
            while not tasks and queue.batches and queue.batches[0].ready:
                for task in queue.batches.popleft().tasks:
                    if task.future.done():
                        task.drop_timer()
                    else:
                        tasks.append(task)
            if queue.batches:
                self._waiting.append(queue)
            if tasks:
                return queue, tasks
        return None

    async def _execute(self, queue: Queue, tasks: list[Task]) -> None:
        self._observe_wait(tasks)
        requests = [task.feeds for task in tasks]
        rows = [task.rows for task in tasks]
        work = functools.partial(execute, queue.session, requests, rows, queue.fetches, queue.parameters)
        metrics = self._metrics
        outcomes: list[Outcome]
        try:
            outcomes, runs = await self._threads.run(work)
            for run in runs:
                metrics.padding_size.observe(str(run.rows), value=run.padding)
                metrics.processed_batch_size.observe(value=run.rows)
                if run.ran:
                    metrics.wrapped_run_count.add()
        except Exception as error:  # a defect, which must not cost the worker
            logger.exception("a batch was lost")
            outcomes = [from_exception(error)] * len(tasks)
        for task, outcome in zip(tasks, outcomes, strict=True):
            task.settle(outcome)

    def _observe_wait(self, tasks: Sequence[Task]) -> None:
        now_s = time.perf_counter()
        observe, name = self._metrics.queuing_latency.observe, self._parameters.thread_pool_name
        for task in tasks:
            task.dispatched = True
            observe(name, value=(now_s - task.since_s) * 1e6)

    def _bypass(
        self, session: Session, feeds: Feeds, fetches: Fetches, timeout_s: float | None
    ) -> Awaitable[list[Array]]:
        if self._closed:
            raise _closed()
        now_s = time.monotonic()
        if now_s - self._bypass_logged_s >= BYPASS_LOG_S:
            self._bypass_logged_s = now_s
            logger.warning(
                "Request doesn't match any declared signature. Bypassing batcher. Request signature is: "
                "{input_tensors: <%s>, output_tensors: <%s>}",
                ", ".join(sorted(feeds)),
                ", ".join(sorted(set(fetches))),
            )
        return self._runner.run(functools.partial(session.run, feeds, fetches), timeout_s)


def _closed() -> StatusError:
    return StatusError(Code.UNAVAILABLE, "The server is shutting down.")


def _joined(parts: Sequence[Answer]) -> Answer:
    """The outputs of a request that was cut into parts; the first failure is that of the whole.

    Not a coroutine: one that is cancelled before it has begun could not tell the parts that nobody wants them.
    """
    gathered = asyncio.gather(*parts)
    whole: Answer = gathered.get_loop().create_future()

    def finish(_: object) -> None:
        error = None if gathered.cancelled() else gathered.exception()
        for part in parts:
            part.cancel()  # after a failure; those that still wait are not run then
        if whole.done():
            return
        try:
            if error is not None:
                raise error
            whole.set_result([np.concatenate(outputs) for outputs in zip(*gathered.result(), strict=True)])
        except Exception as failure:
            whole.set_exception(failure)

    def leave(_: object) -> None:
        if whole.cancelled():
            gathered.cancel()

    gathered.add_done_callback(finish)
    whole.add_done_callback(leave)
    return whole
