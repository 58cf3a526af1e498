"""Whatever comes, in whatever order, under whatever limits: rows are neither lost, mixed up nor run twice."""

import asyncio
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.servable import Run
from serving.model_server.signature import Array
from serving.status import Code, StatusError
from tests.serving.model_server.batching_fakes import Model, RecordedMetrics, go, run_of, scheduler, signature, until

TENSORS = (("xa:0", "ya:0"), ("xb:0", "yb:0"))
MOST_ROWS = 9  # of a request here; some are larger than a batch may be


@dataclass(frozen=True)
class Ask:
    """A request: which queue it goes to, its rows, and whether its caller goes away at once."""

    queue: int
    rows: int
    leaves: bool


@dataclass(frozen=True)
class Pause:
    """The loop has so many turns."""

    turns: int


STEPS = st.lists(
    st.one_of(
        st.builds(Ask, st.integers(0, 1), st.integers(0, MOST_ROWS), st.sampled_from([False, False, False, True])),
        st.builds(Pause, st.integers(1, 4)),
    ),
    max_size=30,
)


@dataclass
class Asked:
    """A request that was made: its rows, and what came of it."""

    ask: Ask
    ids: Array
    refusal: StatusError | None = None
    answer: "asyncio.Future[list[Array]] | None" = None


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    largest = draw(st.integers(1, MOST_ROWS))
    chosen: dict[str, Any] = {
        "max_batch_size": largest,
        "max_enqueued_batches": draw(st.integers(1, 4)),
        "num_batch_threads": draw(st.integers(1, 3)),
        "batch_timeout_micros": draw(st.sampled_from([0, 0, 1000])),
    }
    if draw(st.booleans()):
        chosen["allowed_batch_sizes"] = tuple(sorted(draw(st.sets(st.integers(1, largest))) | {largest}))
    if draw(st.booleans()):
        chosen["enable_large_batch_splitting"] = True
        chosen["max_execution_batch_size"] = draw(st.integers(1, largest))
    return chosen


async def play(steps: list[Ask | Pause], hold: bool, runs: list[Run], model: Model) -> list[Asked]:
    """Makes the requests, each row of which has a number of its own, and waits until every one has its answer."""
    numbers, asked = count(), []

    async def all_steps() -> None:
        for step in steps:
            if isinstance(step, Pause):
                for _ in range(step.turns):
                    await asyncio.sleep(0)
                continue
            request = Asked(step, np.fromiter(numbers, np.int64, step.rows))
            asked.append(request)
            fed, fetched = TENSORS[step.queue]
            try:
                request.answer = asyncio.ensure_future(runs[step.queue]({fed: request.ids}, (fetched,), 60.0))
            except StatusError as error:
                request.refusal = error
                continue
            if step.leaves:
                request.answer.cancel()

    if hold:
        with model.held():
            await all_steps()
    else:
        await all_steps()
    await asyncio.gather(*(request.answer for request in asked if request.answer), return_exceptions=True)
    return asked


def check_answers(asked: list[Asked], parameters: BatchingParameters) -> None:
    for request in asked:
        too_large = request.ask.rows > parameters.max_batch_size
        if request.answer is None:
            assert request.refusal is not None
            assert request.refusal.code == (Code.INVALID_ARGUMENT if too_large else Code.UNAVAILABLE)
            continue
        assert not too_large
        assert request.answer.done()
        if not request.ask.leaves:
            (rows,) = request.answer.result()
            np.testing.assert_array_equal(rows, request.ids)


def check_batches(asked: list[Asked], batches: list[list[int]], parameters: BatchingParameters) -> None:
    for batch in batches:
        asked_for = len(dict.fromkeys(batch))
        assert asked_for <= parameters.execution_batch_size
        if parameters.allowed_batch_sizes and batch:
            assert len(batch) == min(size for size in parameters.allowed_batch_sizes if size >= asked_for)
        else:
            assert len(batch) == asked_for
    ran = list(chain.from_iterable(dict.fromkeys(batch) for batch in batches))
    assert len(ran) == len(set(ran))
    accepted = [request for request in asked if request.answer is not None]
    assert set(ran) <= {row for request in accepted for row in request.ids.tolist()}
    assert set(ran) >= {row for request in accepted if not request.ask.leaves for row in request.ids.tolist()}


@settings(deadline=None, max_examples=200)
@given(STEPS, limits(), st.booleans())
def test_every_request_is_answered_once_with_its_own_rows(
    steps: list[Ask | Pause], chosen: dict[str, Any], hold: bool
) -> None:
    parameters = BatchingParameters(**chosen)
    model, metrics = Model(), RecordedMetrics()

    async def test() -> list[Asked]:
        async with scheduler(metrics, **chosen) as batches:
            runs = [run_of(batches, model, signature(*tensors)) for tensors in TENSORS]
            asked = await play(steps, hold, runs, model)
            # Runs whose callers have left may still be under way.
            await until(lambda: len(batches._idle) == len(batches._workers))
            return asked

    asked = go(test())
    check_answers(asked, parameters)
    batches = [next(iter(feeds.values())).tolist() for feeds in model.batches]
    check_batches(asked, batches, parameters)
    assert model.most_running <= parameters.num_batch_threads
    if parameters.num_batch_threads == 1:  # then batches end in the order in which they began, and so do their rows
        for tensor, _ in TENSORS:
            of_queue = [dict.fromkeys(feeds[tensor].tolist()) for feeds in model.batches if tensor in feeds]
            rows = list(chain.from_iterable(of_queue))
            assert rows == sorted(rows)
        assert metrics.processed_batch_size.values == [len(batch) for batch in batches]
    assert len(metrics.wrapped_run_count.seen) == len(batches)
