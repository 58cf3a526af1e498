"""What the tests of the batcher put in the place of a model and of the metrics, and how they wait."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest

from serving.model_server.batching import BatchScheduler
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.runner import Runner
from serving.model_server.servable import Feeds, Fetches, Run
from serving.model_server.signature import Array, Signature, TensorInfo
from serving.status import Code, StatusError

LIMIT_S = 20.0  # for what takes milliseconds

T = TypeVar("T")


class Model:
    """A session whose output `y...` is its input `x...`; it keeps what it was fed, and can be made to wait.

    Attributes:
        batches: what it was fed, in the order of the runs' beginnings.
        fetches: of each run.
        running, most_running: runs under way, and the most that ever were.
    """

    def __init__(self, answer: Callable[[Feeds], dict[str, Any]] | None = None) -> None:
        self._answer = answer or (lambda feeds: {name.replace("x", "y"): array for name, array in feeds.items()})
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self.batches: list[Feeds] = []
        self.fetches: list[Fetches] = []
        self.running = self.most_running = 0

    def run(self, feeds: Feeds, fetches: Fetches) -> list[Array]:
        with self._lock:
            self.batches.append(feeds)
            self.fetches.append(fetches)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            assert self._open.wait(LIMIT_S)
            outputs = self._answer(feeds)
            return [outputs[name] for name in fetches]
        finally:
            with self._lock:
                self.running -= 1

    def close(self) -> None: ...

    @contextmanager
    def held(self) -> Iterator[None]:
        """Runs begin, but do not end."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    @property
    def rows(self) -> list[int]:
        """Of each batch that it was fed."""
        return [len(next(iter(feeds.values()))) for feeds in self.batches]


class Recorded:
    """A metric that keeps what it was told: (labels, value)."""

    def __init__(self) -> None:
        self.seen: list[tuple[tuple[str, ...], float]] = []

    def add(self, *labels: str, by: int = 1) -> None:
        self.seen.append((labels, by))

    def observe(self, *labels: str, value: float) -> None:
        self.seen.append((labels, value))

    @property
    def values(self) -> list[float]:
        return [value for _, value in self.seen]


class RecordedMetrics:
    """serving.model_server.batching.Metrics, kept."""

    def __init__(self) -> None:
        self._metrics: defaultdict[str, Recorded] = defaultdict(Recorded)

    def __getattr__(self, name: str) -> Recorded:
        return self._metrics[name]


def signature(inputs: str = "x:0", outputs: str = "y:0", name: str = "serving_default") -> Signature:
    """A signature with the tensors of two lists with blanks between, under aliases of their own."""

    def infos(tensors: str) -> dict[str, TensorInfo]:
        return {f"the_{tensor}": TensorInfo(tensor, 1) for tensor in tensors.split()}

    return Signature(name, "", infos(inputs), infos(outputs))


@asynccontextmanager
async def scheduler(
    metrics: Any = None, runner: Runner | None = None, num_batch_threads: int = 1, **parameters: Any
) -> AsyncIterator[BatchScheduler]:
    """A scheduler with one batch thread unless said otherwise, closed at the end."""
    made = BatchScheduler(
        BatchingParameters(num_batch_threads=num_batch_threads, **parameters), metrics or RecordedMetrics(), runner
    )
    try:
        yield made
    finally:
        made.close()


def run_of(scheduler: BatchScheduler, model: Model, *signatures: Signature, **parameters: Any) -> Run:
    """How to ask a model with these signatures, or with `x:0` -> `y:0`; parameters of its own where given."""
    named = {item.name: item for item in signatures or (signature(),)}
    return scheduler.run_for(model, named, BatchingParameters(**parameters) if parameters else None)


def ask(run: Run, values: Any, timeout_s: float | None = None) -> "asyncio.Future[list[Array]]":
    """Submits a request that feeds `x:0` and fetches `y:0`."""
    return asyncio.ensure_future(run({"x:0": np.asarray(values)}, ("y:0",), timeout_s))


async def values(answers: list[Awaitable[list[Array]]]) -> list[list[Any]]:
    """The one output of each answer, as lists."""
    return [outputs[0].tolist() for outputs in await asyncio.gather(*answers)]


def status(error: pytest.ExceptionInfo[StatusError]) -> tuple[Code, str]:
    """What was raised, to compare."""
    return error.value.code, error.value.message


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition that a thread brings about."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def go(work: Coroutine[Any, Any, T]) -> T:
    """Runs a test's coroutine, for LIMIT_S at most; what the loop would only log fails the test."""
    problems: list[dict[str, Any]] = []

    async def watched() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        async with asyncio.timeout(LIMIT_S):
            return await work

    result = asyncio.run(watched())
    assert not problems
    return result
